/** Whom an address counts for. */
import test from 'ava'
import { buildAddressSet } from './address-set.ts'
import { Filters } from './filters.ts'
import type { FiltersPlan } from './plan.ts'
import { allocateRateTable, KeyHash } from './rate-table.ts'
import { allocateSourceConnections, SourceConnections } from './source-connections.ts'
import { rateOf } from './token-bucket.ts'

const nothing: FiltersPlan = {
  allow: [], deny: [], maxPerSource: 0, rate: undefined, routeRates: [], accessLog: undefined, requestId: undefined, traceShare: undefined,
}

function filtersOf(plan: Partial<FiltersPlan>, requests = false): Filters {
  return new Filters({ ...nothing, ...plan }, 0, requests, { hash: new KeyHash(1, 2), sources: new SourceConnections(allocateSourceConnections(1), 0), zeroMs: 0 })
}

test('bug: a link-local client, whose address has a zone, was on no access list', (t) => {
  t.is(filtersOf({ allow: [buildAddressSet(['fe80::/10'])] }).enter('fe80::1%eth0'), '')
  t.is(filtersOf({ deny: [buildAddressSet(['fe80::1'])] }).enter('fe80::2%eth0'), '')
  t.is(filtersOf({ deny: [buildAddressSet(['fe80::1'])] }).enter('fe80::1%eth0'), 'address-denied')
})

test('bug: a client whose address could not be read was counted as the one before it', (t) => {
  const filters = filtersOf({ maxPerSource: 1 })
  t.is(filters.enter('192.0.2.7'), '')
  // Gone before it was accepted.
  t.is(filters.enter(''), '')
  t.is(filters.enter('fe80::1%eth0'), '')
  t.is(filters.enter('192.0.2.7'), 'source-connection-limit')
  const limited = filtersOf({ rate: { rate: rateOf(1, 1000, 1), header: '', table: allocateRateTable() } })
  t.is(limited.enter('192.0.2.7'), '')
  t.is(limited.enter('fe80::1%eth0'), '')
  t.is(limited.enter('192.0.2.7'), 'rate-limited')
})

test('an IPv6 client counts for its /64, IPv4-mapped ones as IPv4', (t) => {
  const filters = filtersOf({ rate: { rate: rateOf(1, 1000, 1), header: '', table: allocateRateTable() } }, true)
  const one = filters.sourceOf('2001:db8::1')
  t.deepEqual(filters.sourceOf('2001:db8::ffff:1'), one)
  t.notDeepEqual(filters.sourceOf('2001:db8:0:1::1'), one)
  t.deepEqual(filters.sourceOf('::ffff:192.0.2.7'), filters.sourceOf('192.0.2.7'))
})

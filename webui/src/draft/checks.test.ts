import test from 'ava'
import { busyDocument } from '../../fixture/documents.ts'
import { check, isAddress, isDuration } from './checks.ts'
import { changeListener, changePool, editPool, newListener, newMember, putListener } from './operations.ts'

test('a valid document has no findings', (t) => {
  t.deepEqual(check(busyDocument()), [])
})

test('addresses', (t) => {
  for (const good of ['10.0.0.1', '0.0.0.0', '255.255.255.255', '::', '::1', 'fe80::1', '2001:db8::8:800:200c:417a', '1:2:3:4:5:6:7:8', '::ffff:10.0.0.1', '1:2:3:4:5:6:10.0.0.1']) t.true(isAddress(good), good)
  for (const bad of ['', '10.0.0', '10.0.0.256', '10.0.0.01', '10.0.0.1.2', 'host', ':', ':::', '1::2::3', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '12345::', '::10.0.0.300', 'fe80::1%eth0', '1:2:3:4:5:6:7::8']) t.false(isAddress(bad), bad)
})

test('durations', (t) => {
  for (const good of ['0s', '250ms', '5s', '1m', '1h']) t.true(isDuration(good), good)
  for (const bad of ['', '5', '05s', '-1s', '1.5s', '5 s', '1d', null]) t.false(isDuration(bad), String(bad))
})

test('findings name the field by JSON pointer', (t) => {
  const base = busyDocument()
  const of = (document: typeof base) => check(document).map(({ field, code }) => `${field} ${code}`)
  t.deepEqual(of(changePool('shop', { members: [newMember('a'), newMember('a')] })(base)), [
    '/pools/0/members/1/name duplicateName', '/pools/0/members/0/address required', '/pools/0/members/1/address required',
  ])
  t.deepEqual(of(changePool('shop', { retries: 11, keepAlive: '5' })(base)), ['/pools/0/keepAlive duration', '/pools/0/retries integer'])
  t.deepEqual(of(changePool('shop', { retries: null as unknown as number })(base)), ['/pools/0/retries required'])
  const hash = (on: 'header' | 'source', name: string, balanceFactor: number) => of(editPool('shop', (pool) => ({ ...pool, balance: 'hash', hash: { on, name, balanceFactor } }))(base))
  t.deepEqual(hash('header', '', 0), ['/pools/0/hash/name required'])
  t.deepEqual(hash('header', 'a b', 90), ['/pools/0/hash/name fieldOrCookie', '/pools/0/hash/balanceFactor integer'])
  t.deepEqual(hash('header', 'X-Tenant', 125), [])
  t.deepEqual(of(editPool('shop', (pool) => ({ ...pool, minimumMembers: 0, members: [{ ...pool.members[0]!, priority: 256, maxConnections: null as unknown as number }] }))(base)), [
    '/pools/0/members/0/maxConnections required', '/pools/0/members/0/priority integer', '/pools/0/minimumMembers integer',
  ])
  t.deepEqual(of(changeListener('orders-db', ({ pool: _pool, ...rest }) => rest)(base)), ['/listeners/2/pool tcpNeedsPool'])
  t.deepEqual(of(changeListener('web', (l) => ({ ...l, vip: 'gone', pool: 'gone' }))(base)), ['/listeners/0/vip unknownVip', '/listeners/0/pool unknownPool'])
  t.deepEqual(of(putListener({ ...newListener('x'), vip: 'public', port: 80 })(base)), ['/listeners/3/port addressAndPortTaken'])
  t.deepEqual(of(putListener(newListener('x'))(base)), ['/listeners/3/vip noPlace'])
})

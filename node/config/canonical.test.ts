/** Hashes, durations and addresses: the small parts. */
import test from 'ava'
import * as fc from 'fast-check'
import { createHash } from 'node:crypto'
import { familyOf, kindOf, readAddress } from './address.ts'
import { canonicalText, documentHash } from './canonical.ts'
import { durationMs, formatDuration, parseDuration } from './duration.ts'
import { arbitraryDocument, randomness } from './fixture/documents.ts'
import { sha256Hex } from './sha256.ts'
import { nearest } from './suggest.ts'
import { validateDocument } from './validate.ts'

const platform = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

test('SHA-256 is that of the platform, at every length around a block', (t) => {
  for (let length = 0; length <= 260; length++) {
    const data = Uint8Array.from({ length }, (_, index) => (index * 167 + length) & 255)
    t.is(sha256Hex(data), platform(data))
  }
  const part = new Uint8Array(1000).fill(7).subarray(13, 900)
  t.is(sha256Hex(part), platform(part))
})

test('the hash of a document is that of its canonical text', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(arbitraryDocument, (document) => documentHash(document) === platform(Buffer.from(canonicalText(document))) && documentHash(document, platform) === documentHash(document)),
    randomness(t, 30),
  )
  t.pass()
})

test('the canonical text of a small document stays what it is: hashes of stored revisions rest on it', (t) => {
  const result = validateDocument({ vips: [{ address: '10.0.0.100', name: 'main' }] })
  t.is(result.ok ? canonicalText(result.document) : '', '{"haechi":1,"vips":[{"name":"main","address":"10.0.0.100","mode":"active-passive","interface":""}],"pools":[],"listeners":[]}')
})

test('failover is completed where it is given, and only there', (t) => {
  const result = validateDocument({ failover: { preferredNode: 'n1' } })
  const text = '{"haechi":1,"vips":[],"pools":[],"listeners":[],"failover":{"preferredNode":"n1","preempt":false,"preemptDelay":"30s"}}'
  t.is(result.ok ? canonicalText(result.document) : '', text)
})

test('durations', (t) => {
  for (const [text, ms] of [['0ms', 0], ['0h', 0], ['250ms', 250], ['5s', 5000], ['1m', 60_000], ['1h', 3600_000], ['999999999h', 3_599_999_996_400_000]] as const) {
    t.is(parseDuration(text), ms)
    t.is(durationMs(text), ms)
    t.true(Number.isSafeInteger(ms))
  }
  for (const text of ['', '5', 's', '1.5s', '-1s', '+1s', '05s', '1 s', '1S', '1d', '1s ', '1s\n', '1000000000h', '1e3s', '１s']) {
    t.is(parseDuration(text), undefined, text)
    t.throws(() => durationMs(text), { message: /not a duration/ })
  }
  t.deepEqual([0, 1, 999, 1000, 90_000, 60_000, 3600_000, 5400_000].map(formatDuration), ['0ms', '1ms', '999ms', '1s', '90s', '1m', '1h', '90m'])
})

test('durations are read back as they were written', (t) => {
  t.plan(1)
  fc.assert(fc.property(fc.nat(999_999_999), (ms) => parseDuration(formatDuration(ms)) === ms), randomness(t, 200))
  t.pass()
})

test('IPv6 addresses have one spelling', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const result = readAddress(text)
      // The mapped form of an IPv4 address is refused by rule.
      if (!result.ok) return result.expected.includes('mapped')
      const again = readAddress(result.address)
      const shouted = readAddress(text.toUpperCase())
      return result.family === 6 && familyOf(result.address) === 6 && again.ok && again.address === result.address && shouted.ok && shouted.address === result.address
    }),
    randomness(t, 300),
  )
  t.pass()
})

/** RFC 5952 §4. */
const spellings: readonly (readonly [string, string])[] = [
  ['2001:0db8::0001', '2001:db8::1'], ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'], ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'], ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'], ['2001:DB8::A', '2001:db8::a'], ['0:0:0:0:0:0:0:0', '::'], ['64:ff9b::192.0.2.1', '64:ff9b::c000:201'],
]
for (const [text, expected] of spellings) {
  test(`${text} is ${expected}`, (t) => {
    const result = readAddress(text)
    t.is(result.ok ? result.address : result.expected, expected)
  })
}

test('kinds of addresses', (t) => {
  t.deepEqual(
    ['10.0.0.1', '127.0.0.9', '::1', '0.0.0.0', '::', '224.0.0.1', 'ff02::1', '255.255.255.255', 'fe80::1', '169.254.1.1', 'fd00::1'].map(kindOf),
    ['unicast', 'loopback', 'loopback', 'unspecified', 'unspecified', 'multicast', 'multicast', 'broadcast', 'link-local', 'unicast', 'unicast'],
  )
})

test('suggestions are near, or there are none', (t) => {
  const known = ['members', 'healthCheck', 'connectTimeout', 'keepAlive', 'name']
  t.is(nearest('memebrs', known), 'members')
  t.is(nearest('health_check', known), 'healthCheck')
  t.is(nearest('HEALTHCHECK', known), 'healthCheck')
  t.is(nearest('conectTimeout', known), 'connectTimeout')
  t.is(nearest('nam', known), 'name')
  t.is(nearest('zzz', known), undefined)
  t.is(nearest('', known), undefined)
  t.is(nearest('x'.repeat(5000), known), undefined)
})

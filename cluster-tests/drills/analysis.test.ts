/** The figures of a drill, on traces made by hand. */
import test from 'ava'
import {
  blackout,
  dualHolder,
  dualHttpAnswers,
  failedRequests,
  firstClaim,
  inForceAt,
  lastClaimBefore,
  longestGapBefore,
  summarise,
  type ArpSample,
  type HttpSample,
  type Trace,
} from './analysis.ts'
import { readAnswer } from './answer.ts'
import { seededRandom } from './random.ts'

const ok = (sentMs: number, doneMs = sentMs + 1, node = 'node1'): HttpSample => ({ sentMs, doneMs, ok: true, node, backend: 'b' })
const failed = (sentMs: number, doneMs = sentMs + 1): HttpSample => ({ sentMs, doneMs, ok: false, node: '', backend: '' })
const every = (from: number, to: number, make: (at: number) => HttpSample): HttpSample[] => {
  const samples: HttpSample[] = []
  for (let at = from; at < to; at += 10) samples.push(make(at))
  return samples
}
const trace = (http: HttpSample[], endMs: number): Trace => ({ startMs: 0, endMs, http, arp: [] })
const claims = (mac: string, from: number, to: number): ArpSample[] => {
  const samples: ArpSample[] = []
  for (let at = from; at < to; at += 5) samples.push({ atMs: at, mac, kind: 'reply' })
  return samples
}

test('no outage: no blackout', (t) => {
  const result = blackout(trace(every(0, 3000, ok), 3000), 1000, 10)
  t.deepEqual([result?.blackoutMs, result?.open], [0, false])
})

test('the blackout is the gap between successes less the period', (t) => {
  const http = [...every(0, 1000, ok), ...every(1000, 1300, failed), ...every(1300, 3000, ok)]
  const result = blackout(trace(http, 3000), 1000, 10)
  t.is(result?.blackoutMs, 300)
  t.is(result?.open, false)
})

test('a gap before the fault does not count, one that spans it does', (t) => {
  const http = [...every(0, 200, ok), ...every(700, 980, ok), ...every(1100, 3000, ok)]
  t.is(blackout(trace(http, 3000), 1000, 10)?.blackoutMs, 120)
})

test('a stuck request that completes in the middle of an outage does not hide it', (t) => {
  const http = [...every(0, 1000, ok), ok(1000, 1150), ...every(1300, 3000, ok)]
  t.is(blackout(trace(http, 3000), 1000, 10)?.blackoutMs, 290)
})

test('requests that all hang and complete together do not hide it', (t) => {
  const http = [...every(0, 1000, ok), ...every(1000, 1300, (at) => ok(at, 1301 + at / 1e4)), ...every(1310, 3000, ok)]
  const result = blackout(trace(http, 3000), 1000, 10)
  t.true(result!.blackoutMs > 295 && result!.blackoutMs < 305)
})

test('a service that does not come back is an open blackout', (t) => {
  const result = blackout(trace([...every(0, 1000, ok), ...every(1000, 3000, failed)], 3000), 1000, 10)
  t.is(result?.open, true)
  t.true(result!.blackoutMs > 1990)
})

test('a second, longer outage after the first counts', (t) => {
  const http = [...every(0, 1000, ok), ...every(1100, 3000, ok), ...every(3500, 5000, ok)]
  t.is(blackout(trace(http, 5000), 1000, 10)?.blackoutMs, 500)
})

test('without a success before the fault nothing can be said', (t) => {
  t.is(blackout(trace(every(1100, 2000, ok), 2000), 1000, 10), undefined)
  t.is(blackout(trace([], 2000), 1000, 10), undefined)
})

test('the noise before the fault is told apart from the fault', (t) => {
  const http = [...every(0, 500, ok), ...every(530, 1000, ok), ...every(1300, 2000, ok)]
  t.is(longestGapBefore(http, 1000, 10), 30)
  t.is(longestGapBefore([], 1000, 10), 0)
})

test('one holder after the other is no dual holder', (t) => {
  t.deepEqual(dualHolder([...claims('a', 0, 1000), ...claims('b', 1200, 3000)]), { dualMs: 0, replies: 0, changes: 1 })
})

test('one late answer of the old holder counts from the first answer of the new one', (t) => {
  const arp = [...claims('a', 0, 1000), ...claims('b', 1200, 3000), ...claims('a', 2003, 2004)]
  t.deepEqual(dualHolder(arp), { dualMs: 803, replies: 1, changes: 1 })
})

test('both answer every probe', (t) => {
  const arp = [...claims('a', 0, 1500), ...claims('b', 1000.5, 3000)]
  const result = dualHolder(arp)
  t.is(result.dualMs, 494.5)
  t.is(result.replies, 99)
})

test('one early answer of the new holder counts', (t) => {
  const arp = [...claims('a', 0, 1000), ...claims('b', 500.5, 501), ...claims('b', 1200, 3000)]
  const result = dualHolder(arp)
  t.is(result.dualMs, 494.5)
  t.is(result.replies, 99)
})

test('two answers at the same instant count', (t) => {
  const arp: ArpSample[] = [
    ...claims('a', 0, 1000),
    { atMs: 1000, mac: 'b', kind: 'announcement' },
    { atMs: 1000, mac: 'a', kind: 'reply' },
    ...claims('b', 1005, 2000),
  ]
  const result = dualHolder(arp)
  t.true(result.dualMs > 0)
  t.is(result.replies, 1)
})

test('a clean hand-back is no dual holder', (t) => {
  const arp = [...claims('a', 0, 1000), ...claims('b', 1200, 3000), ...claims('a', 3200, 5000), ...claims('b', 5300, 6000)]
  t.deepEqual(dualHolder(arp), { dualMs: 0, replies: 0, changes: 3 })
})

test('a late answer after a hand-back counts', (t) => {
  const arp = [...claims('a', 0, 1000), ...claims('b', 1200, 3000), ...claims('a', 3200, 5000), ...claims('b', 4001, 4002)]
  const result = dualHolder(arp)
  t.is(result.replies, 1)
  t.is(result.dualMs, 801)
})

test('a third address that answers now and then counts', (t) => {
  const arp = [...claims('a', 0, 3000), ...claims('c', 1001, 1002), ...claims('c', 2001, 2002)]
  t.true(dualHolder(arp).replies > 0)
})

test('nothing answered: nothing dual', (t) => {
  t.deepEqual(dualHolder([]), { dualMs: 0, replies: 0, changes: 0 })
})

test('HTTP answers of two nodes in turn are counted, a take-over is not', (t) => {
  const takeOver = [...every(0, 1000, (at) => ok(at, at + 1, 'node1')), ...every(1200, 3000, (at) => ok(at, at + 1, 'node2'))]
  t.is(dualHttpAnswers(takeOver), 0)
  t.is(dualHttpAnswers([...takeOver, ok(2003, 2004, 'node1')]), 1)
  t.is(dualHttpAnswers(every(0, 1000, (at) => ok(at, at + 1, ''))), 0)
})

test('failed requests count from the given instant', (t) => {
  t.is(failedRequests([failed(10), ok(20), failed(30), failed(40)], 30), 2)
})

test('first and last claims', (t) => {
  const arp = [...claims('a', 0, 1000), ...claims('b', 1200, 3000)]
  t.is(firstClaim(arp, 'b', 990), 1200)
  t.is(lastClaimBefore(arp, 'a', 'b', 990), 995)
  t.is(firstClaim(arp, 'c', 0), undefined)
})

test('percentiles are values that were measured', (t) => {
  t.is(summarise([]), undefined)
  t.deepEqual(summarise([5]), { n: 1, min: 5, p50: 5, p99: 5, max: 5 })
  t.deepEqual(summarise([4, 1, 3, 2]), { n: 4, min: 1, p50: 2, p99: 4, max: 4 })
  t.deepEqual(summarise(Array.from({ length: 200 }, (_, i) => i + 1)), { n: 200, min: 1, p50: 100, p99: 198, max: 200 })
})

test('a change is in force when no worker answers the old way any more', (t) => {
  const seen = (sentMs: number, answer: string) => ({ sentMs, doneMs: sentMs + 1, answer })
  t.is(inForceAt([seen(0, 'old'), seen(5, 'new'), seen(10, 'new')], 'new'), 6)
  t.is(inForceAt([seen(0, 'old'), seen(5, 'new'), seen(10, 'old'), seen(15, 'new')], 'new'), 16)
  t.is(inForceAt([seen(0, 'new'), seen(5, 'old')], 'new'), undefined)
  t.is(inForceAt([], 'new'), undefined)
})

test('a seed gives the same numbers again', (t) => {
  const [a, b, c] = [seededRandom(7), seededRandom(7), seededRandom(8)]
  const first = Array.from({ length: 100 }, a)
  t.deepEqual(first, Array.from({ length: 100 }, b))
  t.notDeepEqual(first, Array.from({ length: 100 }, c))
  t.true(first.every((x) => x >= 0 && x < 1))
})

test('an answer is read when it is whole, and names its node and backend', (t) => {
  const whole = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nVia: 1.1 node2\r\n\r\nbackend1\n'
  t.deepEqual(readAnswer(whole), { node: 'node2', backend: 'backend1' })
  t.is(readAnswer(whole.slice(0, -1)), undefined)
  t.is(readAnswer('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n'), undefined)
  t.deepEqual(readAnswer('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nb\n'), { node: '', backend: 'b' })
})

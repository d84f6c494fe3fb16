/** Histograms: buckets, percentiles, and the rows of several workers. */
import test from 'ava'
import fc from 'fast-check'
import { boundsMs, bucketCount, bucketOf, countOf, quantile, since, type Histogram } from './histogram.ts'
import { LatencyWindow, PoolLatencies } from './latency.ts'
import { allocateTraffic, Traffic } from './traffic.ts'

function histogramOf(values: readonly number[]): Histogram {
  const counts = Array.from({ length: bucketCount }, () => 0)
  for (const value of values) counts[bucketOf(value)]! += 1
  return { counts, sumMs: values.reduce((sum, value) => sum + value, 0) }
}

test('a value is in the bucket whose bound it does not exceed', (t) => {
  t.is(bucketOf(0), 0)
  t.is(bucketOf(0.1), 0)
  t.is(bucketOf(0.1001), 1)
  t.is(bucketOf(100_000), boundsMs.length - 1)
  t.is(bucketOf(100_001), boundsMs.length)
  for (let i = 1; i < boundsMs.length; i++) t.true(boundsMs[i]! > boundsMs[i - 1]!)
})

test('a percentile is off by no more than its bucket', (t) => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.1, max: 90_000, noNaN: true }), { minLength: 1, maxLength: 200, size: 'max' }), fc.constantFrom(0.5, 0.9, 0.99, 1), (values, share) => {
      const found = quantile(histogramOf(values), share)!
      const exact = values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(share * values.length) - 1)]!
      return bucketOf(found) === bucketOf(exact) || Math.abs(bucketOf(found) - bucketOf(exact)) === 1
    }),
  )
  t.is(quantile(histogramOf([]), 0.5), undefined)
  t.is(quantile(histogramOf([200_000]), 0.5), 100_000)
})

test('what came since; all of it after a reset', (t) => {
  const before = histogramOf([1, 2])
  const now = histogramOf([1, 2, 500])
  t.is(countOf(since(now, before)), 1)
  t.is(since(now, before).sumMs, 500)
  t.is(since(before, now), before)
  t.is(since(now, undefined), now)
})

test('rows of workers are summed up; a place with another name begins at zero', (t) => {
  const sizes = { codes: ['rate-limited', 'no-route'], routes: 2, pools: 2, members: 2 }
  const buffer = allocateTraffic(2, sizes)
  const [one, two] = [new Traffic(buffer, sizes, 0), new Traffic(buffer, sizes, 1)] as const
  const add = (traffic: Traffic, status: number, failure: number, ms: number): void =>
    traffic.add(traffic.row('members', 1), status, failure, 10, 20, status === 0 ? -1 : ms, bucketOf(ms), ms, bucketOf(ms))
  add(one, 200, -1, 3)
  add(two, 503, 1, 700)
  add(two, 0, 0, 5)
  const all = one.read('members', 1)
  t.deepEqual(all.responsesTotal, [0, 1, 0, 0, 1])
  t.deepEqual(all.failuresTotal, { 'rate-limited': 1, 'no-route': 1 })
  t.is(all.bytesInTotal, 30)
  t.is(all.bytesOutTotal, 60)
  t.is(countOf(all.firstByte), 2)
  t.is(countOf(all.duration), 3)
  t.is(all.duration.sumMs, 708)
  t.is(countOf(one.read('members', 0).duration), 0)
  t.is(countOf(one.read('pools', 1).duration), 0)
  one.renew('members', 1)
  t.is(countOf(one.read('members', 1).duration), 0)
  add(two, 200, -1, 3)
  t.is(countOf(one.read('members', 1).duration), 1)
  one.renew('members', 1)
  t.is(countOf(one.read('members', 1).duration), 0)
})

test('percentiles of late are those of the last half minute', (t) => {
  const window = new LatencyWindow()
  t.is(window.take(histogramOf([]), 0), undefined)
  const slow = histogramOf([400, 400, 400])
  const first = window.take(slow, 1000)!
  t.true(first.p50Ms > 300 && first.p50Ms <= 500)
  for (let ms = 2000; ms <= 40_000; ms += 1000) window.take(slow, ms)
  t.is(window.take(slow, 41_000), undefined, 'nothing came within the window')
  const fast = { counts: slow.counts.map((count, i) => count + (i === bucketOf(2) ? 100 : 0)), sumMs: slow.sumMs + 200 }
  t.true(window.take(fast, 42_000)!.p99Ms <= 2)
})

test('a pool that is gone is forgotten', (t) => {
  const pools = new PoolLatencies()
  const sizes = { codes: [], routes: 1, pools: 1, members: 1 }
  const traffic = new Traffic(allocateTraffic(1, sizes), sizes, 0)
  traffic.add(traffic.row('pools', 0), 200, -1, 1, 1, 3, bucketOf(3), 3, bucketOf(3))
  const counters = traffic.read('pools', 0)
  t.is(pools.take([{ pool: 'web', waiting: 0, counters }], 0).length, 1)
  t.is(pools.take([], 1000).length, 0)
  t.is(pools.take([{ pool: 'web', waiting: 0, counters }], 2000).length, 1, 'as if it were new')
})

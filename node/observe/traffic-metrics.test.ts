/** The metrics by route, pool and member. */
import test from 'ava'
import { bucketOf } from './histogram.ts'
import { Page } from './metrics.ts'
import { trafficMetrics } from './traffic-metrics.ts'
import { allocateTraffic, Traffic, type TrafficReport } from './traffic.ts'

const sizes = { codes: ['member-timeout', 'rate-limited'], routes: 2, pools: 2, members: 700 }

function report(fill: (traffic: Traffic) => void, members = 1): TrafficReport {
  const traffic = new Traffic(allocateTraffic(1, sizes), sizes, 0)
  fill(traffic)
  return {
    routes: [{ listener: 'front', route: 'api', counters: traffic.read('routes', 0) }],
    pools: [{ pool: 'web', waiting: 3, counters: traffic.read('pools', 0) }, { pool: 'idle', waiting: 0, counters: traffic.read('pools', 1) }],
    members: Array.from({ length: members }, (_, i) => ({ pool: 'web', member: `m${i}`, counters: traffic.read('members', i) })),
    logLinesDroppedTotal: 7,
  }
}

function pageOf(traffic: TrafficReport): string {
  const page = new Page()
  trafficMetrics(page, traffic)
  return page.text()
}

test('counts and histograms; buckets are cumulative, and their last is the count', (t) => {
  const text = pageOf(report((traffic) => {
    const row = traffic.row('pools', 0)
    for (const [ms, status, failure] of [[0.05, 200, -1], [1, 200, -1], [1.2, 404, -1], [30, 504, 0], [200_000, 200, -1]] as const) {
      traffic.add(row, status, failure, 100, 1000, ms, bucketOf(ms), ms * 2, bucketOf(ms * 2))
    }
  }))
  t.true(text.includes('haechi_pool_responses_total{pool="web",class="2xx"} 3\n'))
  t.true(text.includes('haechi_pool_responses_total{pool="web",class="5xx"} 1\n'))
  t.true(text.includes('haechi_pool_failures_total{pool="web",code="member-timeout"} 1\n'))
  t.false(text.includes('rate-limited'))
  t.true(text.includes('haechi_pool_received_bytes_total{pool="web"} 500\n'))
  t.true(text.includes('haechi_pool_sent_bytes_total{pool="web"} 5000\n'))
  t.true(text.includes('haechi_pool_waiting{pool="web"} 3\n'))
  t.true(text.includes('haechi_access_log_dropped_total 7\n'))
  t.true(text.includes('# TYPE haechi_pool_first_byte_seconds histogram\n'))
  const buckets = [...text.matchAll(/haechi_pool_first_byte_seconds_bucket\{pool="web",le="([^"]+)"\} (\d+)/g)].map((match) => [match[1]!, Number(match[2])] as const)
  t.deepEqual(buckets.map(([bound]) => bound), [
    '0.0001', '0.0002', '0.0005', '0.001', '0.002', '0.005', '0.01', '0.02', '0.05', '0.1', '0.2', '0.5', '1', '2', '5', '10', '20', '50', '100', '+Inf',
  ])
  const counts = new Map(buckets)
  t.is(counts.get('0.0001'), 1)
  t.is(counts.get('0.001'), 2)
  t.is(counts.get('0.002'), 3)
  t.is(counts.get('0.05'), 4)
  t.is(counts.get('100'), 4)
  t.is(counts.get('+Inf'), 5)
  t.true(text.includes('haechi_pool_first_byte_seconds_count{pool="web"} 5\n'))
  t.true(text.includes('haechi_pool_first_byte_seconds_sum{pool="web"} 200.03225\n'))
  // Of what has had no request there is nothing.
  t.false(text.includes('pool="idle",'))
  t.false(text.includes('haechi_route_'))
})

test('histograms of members are bounded, counts are not', (t) => {
  const text = pageOf(report((traffic) => {
    for (let i = 0; i < 700; i++) traffic.add(traffic.row('members', i), 200, -1, 1, 1, 1, bucketOf(1), 1, bucketOf(1))
  }, 700))
  t.is((text.match(/haechi_member_duration_seconds_count/g) ?? []).length, 500)
  t.is((text.match(/haechi_member_sent_bytes_total\{/g) ?? []).length, 700)
})

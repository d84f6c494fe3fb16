/**
 * The metrics by route, pool and member: answers by status class, failures by code, bytes, and latency histograms. Pure.
 *
 * Of a row without a request there is nothing on the page. Histograms have three buckets to a decade, and are there for the pools and for
 * the first 500 routes and members that have had requests: a page must stay readable for who collects it (20 lines each).
 */
import { boundsMs, countOf, type Histogram } from './histogram.ts'
import type { HistogramSeries, Page, Sample } from './metrics.ts'
import type { TrafficCounters, TrafficReport } from './traffic.ts'

type Labels = Readonly<Record<string, string>>
interface Row {
  readonly labels: Labels
  readonly counters: TrafficCounters
}

const maxHistograms = 500

/** Bounds on the page, seconds as text, and the number of the bucket: 1, 2 and 5 of the six in each decade. */
const shown = boundsMs.flatMap((bound, i): [string, number][] => (i % 2 === 1 ? [] : [[String(Number((bound / 1000).toPrecision(3))), i]]))

export function trafficMetrics(page: Page, traffic: TrafficReport): void {
  family(page, 'route', 'of the route', traffic.routes.map(({ listener, route, counters }) => ({ labels: { listener, route }, counters })))
  family(page, 'pool', 'of the pool', traffic.pools.map(({ pool, counters }) => ({ labels: { pool }, counters })))
  family(page, 'member', 'of the member', traffic.members.map(({ pool, member, counters }) => ({ labels: { pool, member }, counters })))
  page.gauge(
    'haechi_pool_waiting',
    'Requests and connections that wait in the queue of the pool.',
    traffic.pools.map(({ pool, waiting }): Sample => [{ pool }, waiting]),
  )
  page.counter('haechi_access_log_dropped_total', 'Lines of the access log that were dropped because writing was slower than the traffic.', [
    [{}, traffic.logLinesDroppedTotal],
  ])
}

function family(page: Page, kind: string, of: string, all: readonly Row[]): void {
  const rows = all.filter(({ counters }) => countOf(counters.duration) > 0)
  page.counter(
    `haechi_${kind}_responses_total`,
    `Answers to requests ${of} by status class.`,
    rows.flatMap(({ labels, counters }) => counters.responsesTotal.map((count, i): Sample => [{ ...labels, class: `${i + 1}xx` }, count])),
  )
  page.counter(
    `haechi_${kind}_failures_total`,
    `Requests and sessions ${of} that failed, by error code.`,
    rows.flatMap(({ labels, counters }) => Object.entries(counters.failuresTotal).map(([code, count]): Sample => [{ ...labels, code }, count])),
  )
  page.counter(
    `haechi_${kind}_received_bytes_total`,
    `Bytes of requests ${of} received from clients.`,
    rows.map(({ labels, counters }): Sample => [labels, counters.bytesInTotal]),
  )
  page.counter(
    `haechi_${kind}_sent_bytes_total`,
    `Bytes of answers ${of} sent to clients.`,
    rows.map(({ labels, counters }): Sample => [labels, counters.bytesOutTotal]),
  )
  const measured = kind === 'pool' ? rows : rows.slice(0, maxHistograms)
  page.histogram(
    `haechi_${kind}_first_byte_seconds`,
    `Time from the head of a request ${of} to the head of its answer.`,
    measured.filter(({ counters }) => countOf(counters.firstByte) > 0).map(({ labels, counters }) => seriesOf(labels, counters.firstByte)),
  )
  page.histogram(
    `haechi_${kind}_duration_seconds`,
    `Time from the head of a request ${of} (or the beginning of a session) to its end.`,
    measured.map(({ labels, counters }) => seriesOf(labels, counters.duration)),
  )
}

function seriesOf(labels: Labels, histogram: Histogram): HistogramSeries {
  const buckets: [string, number][] = []
  let below = 0
  let bucket = 0
  for (const [bound, index] of shown) {
    for (; bucket <= index; bucket++) below += histogram.counts[bucket]!
    buckets.push([bound, below])
  }
  return { labels, buckets, count: countOf(histogram), sumSeconds: histogram.sumMs / 1000 }
}

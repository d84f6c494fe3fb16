/**
 * Prometheus metrics of one node: the counters of the data plane and the state of consensus and VIPs as text.
 * Pure: values in, text out. Format: Prometheus text exposition 0.0.4; base units (seconds, bytes) in the names.
 */
import type { NodeReport } from '../api/types.ts'
import type { HeartStatus } from '../link.ts'
import type { ClusterSessionCounters } from '../sessions/cluster.ts'
import { trafficMetrics } from './traffic-metrics.ts'
import type { TrafficReport } from './traffic.ts'
import type { ListenerCounters, MemberCounters, PoolCircuit } from './counters.ts'

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8'

export interface MetricsInput {
  /** What this node reports about itself. */
  readonly report: NodeReport
  /** Undefined for a node without a heart (`haechi run`), and until the heart has spoken. */
  readonly heart: HeartStatus | undefined
  /** Committed configuration revision as known here; left out when there is none. */
  readonly revision?: number
  /** Entries of the replicated session table; left out when there is none. */
  readonly sessions?: number
  /** This node's shared session table; left out when no pool has needed it. */
  readonly sessionTable?: ClusterSessionCounters | undefined
  /** What is counted by route, pool and member; left out when it is not known. */
  readonly traffic?: TrafficReport
  /** Certificates of the store; left out when there is none. */
  readonly certificates?: readonly { readonly name: string; readonly kind: string; readonly notAfterEpochMs: number }[]
}

type Labels = Readonly<Record<string, string>>

const memberStates = ['checking', 'up', 'down', 'draining', 'disabled', 'ejected'] as const
const circuitStates = ['closed', 'open', 'half-open'] as const

/** The metrics page of one node. */
export function metricsText({ report, heart, revision, sessions, sessionTable, traffic, certificates = [] }: MetricsInput): string {
  const page = new Page()
  page.gauge('haechi_build_info', 'Version of this node; always 1.', [
    [{ version: report.version, node: report.id }, 1],
  ])
  page.gauge('haechi_start_time_seconds', 'When the node process started, seconds since the epoch.', [
    [{}, report.startedEpochMs / 1000],
  ])
  page.gauge('haechi_resident_memory_bytes', 'Resident memory by process.', [
    [{ process: 'node' }, report.residentBytes],
    ...(heart === undefined ? [] : ([[{ process: 'heart' }, heart.residentBytes]] as const)),
  ])
  page.gauge('haechi_degraded', '1 when this node does not serve all that it should, else 0.', [
    [{}, report.degraded === '' ? 0 : 1],
  ])
  page.gauge('haechi_applied_index', 'Log index up to which the replicated state is applied.', [
    [{}, report.appliedIndex],
  ])
  if (revision !== undefined)
    page.gauge('haechi_config_revision', 'Committed configuration revision as known here.', [[{}, revision]])
  if (sessions !== undefined)
    page.gauge('haechi_session_entries', 'Entries of the replicated session table as applied here.', [[{}, sessions]])
  page.gauge('haechi_config_revision_in_force', 'Configuration revision that the data plane has in force.', [
    [{}, report.revisionInForce],
  ])
  if (sessionTable !== undefined) sessionMetrics(page, sessionTable)
  listenerMetrics(page, report.listeners)
  memberMetrics(page, report.members)
  circuitMetrics(page, report.circuits ?? [])
  if (traffic !== undefined) trafficMetrics(page, traffic)
  page.gauge(
    'haechi_certificate_expiry_seconds',
    'Time until the certificate expires (a chain: its first link); negative once it has.',
    certificates.map(({ name, kind, notAfterEpochMs }): Sample => [{ name, kind }, (notAfterEpochMs - report.atEpochMs) / 1000]),
  )
  if (heart !== undefined) heartMetrics(page, heart)
  return page.text()
}

function listenerMetrics(page: Page, listeners: readonly ListenerCounters[]): void {
  const each = (value: (listener: ListenerCounters) => number): Sample[] =>
    listeners.map((listener) => [{ listener: listener.name }, value(listener)])
  page.gauge(
    'haechi_listener_up',
    '1 when the listener listens on this node, else 0.',
    each((listener) => (listener.error === '' ? 1 : 0)),
  )
  page.gauge(
    'haechi_listener_connections',
    'Open client connections.',
    each((listener) => listener.connections),
  )
  page.counter(
    'haechi_listener_connections_total',
    'Client connections accepted.',
    each((listener) => listener.connectionsTotal),
  )
  page.counter(
    'haechi_listener_requests_total',
    'Requests (http) or connections (tcp) taken.',
    each((listener) => listener.requestsTotal),
  )
  page.counter(
    'haechi_listener_responses_total',
    'Answers to clients by status class.',
    listeners.flatMap((listener) =>
      listener.responsesTotal.map((count, index): Sample => [
        { listener: listener.name, class: `${index + 1}xx` },
        count,
      ]),
    ),
  )
  page.counter(
    'haechi_listener_received_bytes_total',
    'Bytes received from clients.',
    each((listener) => listener.bytesInTotal),
  )
  page.counter(
    'haechi_listener_sent_bytes_total',
    'Bytes sent to clients.',
    each((listener) => listener.bytesOutTotal),
  )
  page.counter(
    'haechi_listener_errors_total',
    'Answers that Haechi itself made and connections that it ended, by error code.',
    listeners.flatMap((listener) =>
      Object.entries(listener.errorsTotal).map(([code, count]): Sample => [{ listener: listener.name, code }, count]),
    ),
  )
  page.counter(
    'haechi_listener_retries_total',
    'Further members tried for a request, by whether the budget of the route allowed it.',
    listeners.flatMap(({ name, routing }): Sample[] =>
      routing === undefined ? [] : [[{ listener: name, result: 'sent' }, routing.retriesTotal], [{ listener: name, result: 'refused' }, routing.retriesRefusedTotal]],
    ),
  )
  page.counter(
    'haechi_listener_copies_total',
    'Copies of requests for shadow pools, sent or left out.',
    listeners.flatMap(({ name, routing }): Sample[] =>
      routing === undefined ? [] : [[{ listener: name, result: 'sent' }, routing.copiesTotal], [{ listener: name, result: 'skipped' }, routing.copiesSkippedTotal]],
    ),
  )
}

function memberMetrics(page: Page, members: readonly MemberCounters[]): void {
  const each = (value: (member: MemberCounters) => number): Sample[] =>
    members.map((member) => [{ pool: member.pool, member: member.member }, value(member)])
  page.gauge(
    'haechi_member_active',
    'Requests in flight (http) or connections (tcp) to the member.',
    each((member) => member.active),
  )
  page.counter(
    'haechi_member_requests_total',
    'Requests (http) or connections (tcp) sent to the member.',
    each((member) => member.requestsTotal),
  )
  page.counter(
    'haechi_member_connect_failures_total',
    'Connections to the member that failed.',
    each((member) => member.connectFailuresTotal),
  )
  page.counter(
    'haechi_member_errors_total',
    'Exchanges with the member that ended in an error.',
    each((member) => member.errorsTotal),
  )
  page.counter(
    'haechi_member_ejections_total',
    'How often live traffic had the member ejected.',
    members.flatMap(({ pool, member, ejectionsTotal }): Sample[] => (ejectionsTotal === undefined ? [] : [[{ pool, member }, ejectionsTotal]])),
  )
  page.gauge(
    'haechi_member_weight_factor',
    'What the member has of its weight now, 0 to 1: less in a slow start, or by dynamic weights.',
    members.flatMap(({ pool, member, weightFactor }): Sample[] => (weightFactor === undefined ? [] : [[{ pool, member }, weightFactor]])),
  )
  page.gauge(
    'haechi_member_health',
    '1 for the state that the member is in, 0 for the others.',
    members.flatMap((member) =>
      memberStates.map((state): Sample => [
        { pool: member.pool, member: member.member, state },
        member.health === state ? 1 : 0,
      ]),
    ),
  )
}

function sessionMetrics(page: Page, table: ClusterSessionCounters): void {
  page.gauge(
    'haechi_session_table_entries',
    'Clients that the pool keeps on members, in the session table of this node.',
    table.pools.map(({ pool, entries }): Sample => [{ pool }, entries]),
  )
  page.counter('haechi_session_evictions_total', 'Live entries that gave way to others because their places in the table were full.', [
    [{}, table.evictedTotal],
  ])
  page.counter('haechi_session_dropped_updates_total', 'Clients that were served and not remembered, or not on the other nodes, by reason.', [
    [{ reason: 'pool-full' }, table.fullTotal],
    [{ reason: 'busy' }, table.busyTotal],
    [{ reason: 'not-replicated' }, table.notReplicatedTotal],
  ])
}

function circuitMetrics(page: Page, circuits: readonly PoolCircuit[]): void {
  page.gauge(
    'haechi_pool_circuit',
    '1 for the state that the circuit breaker of the pool is in, 0 for the others.',
    circuits.flatMap(({ pool, state: now }) => circuitStates.map((state): Sample => [{ pool, state }, now === state ? 1 : 0])),
  )
}

function heartMetrics(page: Page, heart: HeartStatus): void {
  const { consensus } = heart
  page.gauge('haechi_consensus_term', 'Current term.', [[{}, consensus.term]])
  page.gauge('haechi_consensus_leader', '1 when this node is the leader, else 0.', [
    [{}, consensus.role === 'leader' ? 1 : 0],
  ])
  page.gauge('haechi_consensus_quorum', '1 when this node knows a leader, else 0.', [
    [{}, consensus.leader === '' ? 0 : 1],
  ])
  page.gauge('haechi_consensus_commit_index', 'Highest index known to be committed.', [[{}, consensus.commitIndex]])
  page.gauge('haechi_consensus_last_index', 'Last index of the log.', [[{}, consensus.lastIndex]])
  page.gauge('haechi_consensus_snapshot_index', 'Index of the newest snapshot.', [[{}, consensus.snapshotIndex]])
  page.gauge('haechi_consensus_lease_remaining_seconds', 'Lease left; 0 when none.', [
    [{}, consensus.leaseRemainingMs / 1000],
  ])
  page.gauge(
    'haechi_consensus_peer_connected',
    '1 when the log stream to the peer is connected, else 0.',
    consensus.peers.map((peer): Sample => [{ peer: peer.peer.id, role: peer.peer.role }, peer.connected ? 1 : 0]),
  )
  page.gauge(
    'haechi_consensus_peer_last_heard_seconds',
    'Time since the last authenticated message from the peer.',
    consensus.peers.flatMap((peer): Sample[] =>
      peer.lastHeardAgoMs === null ? [] : [[{ peer: peer.peer.id }, peer.lastHeardAgoMs / 1000]],
    ),
  )
  page.counter(
    'haechi_consensus_unknown_frames_total',
    'What nodes of newer versions have sent that this version passed over.',
    consensus.unknownFrames === undefined ? [] : [[{}, consensus.unknownFrames]],
  )
  page.gauge('haechi_heart_loop_gap_seconds', 'Longest event-loop gap of the heart since its last report.', [
    [{}, heart.loopGapMs / 1000],
  ])
  page.gauge('haechi_heart_loop_gap_max_seconds', 'Longest event-loop gap of the heart in the last minute.', [
    [{}, heart.loopGapMaxMs / 1000],
  ])
  page.gauge(
    'haechi_vip_held',
    '1 when this node holds the VIP, else 0.',
    heart.vips.map((vip): Sample => [{ vip: vip.name, address: vip.address }, vip.state === 'held' ? 1 : 0]),
  )
  page.gauge(
    'haechi_vip_failed',
    '1 when this node should hold the VIP and cannot, else 0.',
    heart.vips.map((vip): Sample => [{ vip: vip.name, address: vip.address }, vip.state === 'failed' ? 1 : 0]),
  )
  page.counter(
    'haechi_vip_announcements_total',
    'Announcements of the VIP sent (gratuitous ARP, unsolicited NA).',
    heart.vips.map((vip): Sample => [{ vip: vip.name, address: vip.address }, vip.announcements]),
  )
}

export type Sample = readonly [Labels, number]

/** One histogram of a family. */
export interface HistogramSeries {
  readonly labels: Labels
  readonly buckets: readonly (readonly [bound: string, below: number])[]
  readonly count: number
  readonly sumSeconds: number
}

/** Collects families in order and writes them as text. A family without samples is left out. */
export class Page {
  readonly #lines: string[] = []

  gauge(name: string, help: string, samples: readonly Sample[]): void {
    this.#family('gauge', name, help, samples)
  }

  counter(name: string, help: string, samples: readonly Sample[]): void {
    this.#family('counter', name, help, samples)
  }

  /** @param series of each: its labels and its buckets, cumulative, by upper bound in seconds; then count and sum */
  histogram(name: string, help: string, series: readonly HistogramSeries[]): void {
    if (series.length === 0) return
    this.#head('histogram', name, help)
    for (const { labels, buckets, count, sumSeconds } of series) {
      const text = labelText(labels)
      for (const [bound, below] of buckets) this.#lines.push(`${name}_bucket{${text}${text === '' ? '' : ','}le="${bound}"} ${below}`)
      this.#lines.push(`${name}_bucket{${text}${text === '' ? '' : ','}le="+Inf"} ${count}`)
      const braces = text === '' ? '' : `{${text}}`
      this.#lines.push(`${name}_sum${braces} ${number(sumSeconds)}`, `${name}_count${braces} ${count}`)
    }
  }

  text(): string {
    return `${this.#lines.join('\n')}\n`
  }

  #head(type: string, name: string, help: string): void {
    this.#lines.push(
      `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
      `# TYPE ${name} ${type}`,
    )
  }

  #family(type: 'gauge' | 'counter', name: string, help: string, samples: readonly Sample[]): void {
    if (samples.length === 0) return
    this.#head(type, name, help)
    for (const [labels, value] of samples) {
      const text = labelText(labels)
      this.#lines.push(`${name}${text === '' ? '' : `{${text}}`} ${number(value)}`)
    }
  }
}

function labelText(labels: Labels): string {
  return Object.entries(labels)
    .map(([label, text]) => `${label}="${escapeLabel(text)}"`)
    .join(',')
}

/** A label value: backslash, double quote and line feed are escaped. */
export function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function number(value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}

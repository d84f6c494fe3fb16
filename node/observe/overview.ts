/**
 * The overview of the cluster, made of what every node last reported about itself. Pure.
 *
 * Nothing here decides anything: who holds a VIP is decided by the lease alone, and this is only what the nodes last
 * said about it.
 */
import type {
  ClusterOverview,
  ExpiringCertificate,
  ListenerView,
  MemberView,
  NodeReport,
  NodeView,
  PoolView,
  VipView,
} from '../api/types.ts'
import type { ConfigurationDocument, Listener, Member, Pool } from '../config/schema.ts'
import type { HeartStatus } from '../link.ts'
import type { MemberCounters, MemberHealth } from './counters.ts'
import { Rates } from './rates.ts'

export { Rates }

/** A node that was not heard from for this long is not reachable. Milliseconds. */
export const freshMs = 2000

export interface OverviewInput {
  readonly self: string
  readonly clusterId: string
  /** Wall-clock milliseconds since the epoch: when the overview is made. */
  readonly atEpochMs: number
  readonly revision: number
  readonly document: ConfigurationDocument
  /** Undefined until the heart has spoken. */
  readonly heart: HeartStatus | undefined
  /** The newest report of every node by id, this node's own included; without those that are too old to be a fact. */
  readonly reports: ReadonlyMap<string, NodeReport>
  readonly rates: Rates
  /** Certificates that expire soon or have expired, the most urgent first; left out: none. */
  readonly expiring?: readonly ExpiringCertificate[]
  /** With the last five minutes of traffic; else only the newest point. */
  readonly history: boolean
}

/** Certificates in one overview: whoever has more of them to renew looks at the list. */
const maxExpiring = 50

export function buildOverview(input: OverviewInput): ClusterOverview {
  const { heart, document, rates, expiring = [] } = input
  const fresh = [...input.reports.values()]
  const vips = document.vips.map((vip) => vipView(vip.name, vip.address, vip.mode, fresh))
  // The node whose word on a member's health counts is the one that takes the traffic, else the leader, else this one.
  const holder = vips.find((vip) => vip.holder !== '')?.holder ?? ''
  const order = [holder, heart?.consensus.leader ?? '', input.self]
  const byWord = fresh.toSorted((a, b) => rank(order, a.id) - rank(order, b.id))
  return {
    clusterId: input.clusterId,
    self: input.self,
    atEpochMs: input.atEpochMs,
    revision: input.revision,
    leader: heart?.consensus.leader ?? '',
    term: heart?.consensus.term ?? 0,
    quorum: (heart?.consensus.leader ?? '') !== '',
    nodes: nodeViews(input),
    vips,
    listeners: listenerViews(document.listeners, document, byWord, rates),
    pools: poolViews(document.pools, byWord, rates),
    ...(expiring.length === 0 ? {} : { expiring: expiring.slice(0, maxExpiring) }),
    traffic: rates.traffic(input.history),
  }
}

function rank(order: readonly string[], id: string): number {
  const at = order.indexOf(id)
  return at < 0 ? order.length : at
}

function nodeViews(input: OverviewInput): NodeView[] {
  const { heart, self, reports } = input
  if (heart === undefined) return []
  const { membership, peers, leader } = heart.consensus
  const views: NodeView[] = []
  for (const [voter, list] of [
    [true, membership.voters],
    [false, membership.learners],
  ] as const) {
    for (const peer of list) {
      const own = peer.id === self
      const status = peers.find((candidate) => candidate.peer.id === peer.id)
      const ago = own ? 0 : heardAgo(peer.id, status?.lastHeardAgoMs ?? null, reports)
      views.push({
        id: peer.id,
        role: peer.role,
        address: peer.address,
        apiAddress: peer.apiAddress,
        voter,
        leader: peer.id === leader,
        self: own,
        reachable: ago !== null && ago <= freshMs,
        lastHeardAgoMs: ago,
        matchIndex: own ? heart.consensus.lastIndex : (status?.matchIndex ?? null),
        report: reports.get(peer.id) ?? null,
      })
    }
  }
  return views.toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** Followers hardly talk to each other, and a witness sends no reports: what any node has heard counts for all. */
function heardAgo(id: string, direct: number | null, reports: ReadonlyMap<string, NodeReport>): number | null {
  let least = direct ?? Infinity
  for (const report of reports.values()) {
    for (const heard of report.heard ?? []) if (heard.id === id) least = Math.min(least, heard.agoMs)
  }
  return Number.isFinite(least) ? Math.round(least) : null
}

function vipView(name: string, address: string, mode: string, fresh: readonly NodeReport[]): VipView {
  let holder: { readonly id: string; readonly vip: NodeReport['vips'][number] } | undefined
  const errors: string[] = []
  for (const report of fresh) {
    const vip = report.vips.find((candidate) => candidate.name === name)
    if (vip === undefined) continue
    if (vip.error !== '') errors.push(`${report.id}: ${vip.error}`)
    // Reports are up to a second old: right after a hand-over two may claim it, and the later claim is the true one.
    if (vip.state === 'held' && (holder === undefined || vip.sinceEpochMs > holder.vip.sinceEpochMs))
      holder = { id: report.id, vip }
  }
  return {
    name,
    address,
    mode,
    holder: holder?.id ?? '',
    sinceEpochMs: holder?.vip.sinceEpochMs ?? 0,
    leaseRemainingMs: holder?.vip.leaseRemainingMs ?? 0,
    error: errors.join('; '),
  }
}

function listenerViews(
  listeners: readonly Listener[],
  document: ConfigurationDocument,
  reports: readonly NodeReport[],
  rates: Rates,
): ListenerView[] {
  const addresses = new Map(document.vips.map((vip) => [vip.name, vip.address]))
  const found = index(
    reports,
    (report) => report.listeners,
    (listener) => listener.name,
  )
  return listeners.map((listener) => {
    const counters = found.get(listener.name) ?? []
    return {
      name: listener.name,
      address: listener.address ?? addresses.get(listener.vip ?? '') ?? '',
      port: listener.port,
      ...(listener.portEnd === undefined ? {} : { portEnd: listener.portEnd }),
      protocol: listener.protocol,
      connections: counters.reduce((sum, { item }) => sum + item.connections, 0),
      ...rates.listener(listener.name),
      problems: counters
        .filter(({ item }) => item.error !== '')
        .map(({ report, item }) => `${report.id}: ${item.error}`),
    }
  })
}

function poolViews(pools: readonly Pool[], reports: readonly NodeReport[], rates: Rates): PoolView[] {
  const found = index(
    reports,
    (report) => report.members,
    (member) => `${member.pool}/${member.member}`,
  )
  const circuits = index(
    reports,
    (report) => report.circuits ?? [],
    (circuit) => circuit.pool,
  )
  const latencies = index(
    reports,
    (report) => report.latencies ?? [],
    (latency) => latency.pool,
  )
  return pools.map((pool) => {
    const latency = latencies.get(pool.name)?.[0]?.item
    const members = pool.members.map((member) =>
      memberView(pool, member, found.get(`${pool.name}/${member.name}`) ?? [], rates),
    )
    return {
      name: pool.name,
      balance: pool.balance,
      requestsPerSecond: members.reduce((sum, member) => sum + member.requestsPerSecond, 0),
      active: members.reduce((sum, member) => sum + member.active, 0),
      up: members.filter((member) => member.health === 'up').length,
      circuit: circuits.get(pool.name)?.[0]?.item.state ?? 'none',
      latency: latency === undefined ? null : { p50Ms: latency.p50Ms, p90Ms: latency.p90Ms, p99Ms: latency.p99Ms },
      members,
    }
  })
}

function memberView(pool: Pool, member: Member, counters: readonly Found<MemberCounters>[], rates: Rates): MemberView {
  const word = counters[0]?.item
  return {
    name: member.name,
    address: member.address,
    port: member.port,
    weight: member.weight,
    health: word?.health ?? unreported(member),
    healthSinceEpochMs: word?.healthSinceEpochMs ?? 0,
    lastProbe: word?.lastProbe ?? '',
    active: counters.reduce((sum, { item }) => sum + item.active, 0),
    ...rates.member(pool.name, member.name),
  }
}

function unreported(member: Member): MemberHealth {
  if (member.state === 'disabled') return 'disabled'
  return member.state === 'drain' ? 'draining' : 'checking'
}

interface Found<T> {
  readonly report: NodeReport
  readonly item: T
}

/** One pass over the reports, so that an overview of thousands of members stays linear. Keeps the order of `reports`. */
function index<T>(
  reports: readonly NodeReport[],
  items: (report: NodeReport) => readonly T[],
  key: (item: T) => string,
): Map<string, Found<T>[]> {
  const map = new Map<string, Found<T>[]>()
  for (const report of reports) {
    for (const item of items(report)) {
      const name = key(item)
      const list = map.get(name)
      if (list === undefined) map.set(name, [{ report, item }])
      else list.push({ report, item })
    }
  }
  return map
}

/** What an operator should look at, worked out from the overview. Pure: words come from the caller. Worst first. */
import type { ClusterOverview } from '../../../node/api/types.ts'

export type AttentionCode =
  | 'noQuorum' | 'vipUnheld' | 'vipError' | 'nodeUnreachable' | 'nodeDegraded' | 'nodeBehind' | 'circuitOpen' | 'membersEjected' | 'poolDown' | 'memberDown' | 'membersDown'
  | 'listenerProblem' | 'loopGap' | 'noRedundancy' | 'stateDiffers' | 'certificateExpires' | 'certificateExpired'

export interface Attention {
  readonly code: AttentionCode
  readonly severity: 'bad' | 'warn'
  /** Values for the text: name, detail and so on. */
  readonly values: { readonly [key: string]: string | number }
  /** Page where something can be done about it; empty: none. */
  readonly href: string
}

/** A heart that stood still longer than this came near its lease, milliseconds. */
const loopGapWarnMs = 100

export function attentionOf(overview: ClusterOverview): Attention[] {
  const found: Attention[] = []
  const add = (severity: Attention['severity'], code: AttentionCode, values: Attention['values'], href = '') => found.push({ code, severity, values, href })

  if (!overview.quorum) add('bad', 'noQuorum', {}, '/nodes')
  for (const vip of overview.vips) {
    if (vip.error !== '') add('bad', 'vipError', { name: vip.name, detail: vip.error }, `/vips/${vip.name}`)
    else if (vip.holder === '') add('bad', 'vipUnheld', { name: vip.name, address: vip.address }, '/nodes')
  }
  for (const pool of overview.pools) {
    const wanted = pool.members.filter((member) => member.health !== 'disabled' && member.health !== 'draining')
    const down = wanted.filter((member) => member.health === 'down')
    const href = `/pools/${pool.name}`
    const ejected = wanted.filter((member) => member.health === 'ejected')
    if (ejected.length > 0) add('warn', 'membersEjected', { pool: pool.name, names: ejected.slice(0, 3).map((member) => member.name).join(', '), count: ejected.length }, href)
    if (pool.circuit === 'open') add('bad', 'circuitOpen', { name: pool.name }, href)
    if (wanted.length > 0 && down.length === wanted.length) add('bad', 'poolDown', { name: pool.name, count: down.length }, href)
    else if (down.length === 1) add('warn', 'memberDown', { pool: pool.name, name: down[0]?.name ?? '', detail: down[0]?.lastProbe ?? '' }, href)
    else if (down.length > 1) add('warn', 'membersDown', { pool: pool.name, count: down.length, all: pool.members.length }, href)
  }
  for (const listener of overview.listeners) {
    for (const problem of listener.problems.slice(0, 3)) add('bad', 'listenerProblem', { name: listener.name, detail: problem }, `/listeners/${listener.name}`)
  }
  for (const node of overview.nodes) {
    if (!node.reachable && !node.self) {
      add('bad', 'nodeUnreachable', { name: node.id, ms: node.lastHeardAgoMs ?? -1 }, '/nodes')
      continue
    }
    const report = node.report
    if (report === null || node.role === 'witness') continue
    if (report.degraded !== '') add('warn', 'nodeDegraded', { name: node.id, detail: report.degraded }, '/nodes')
    else if (report.revisionInForce < overview.revision) add('warn', 'nodeBehind', { name: node.id, revision: report.revisionInForce, newest: overview.revision }, '/nodes')
    if (report.heartLoopGapMs >= loopGapWarnMs) add('warn', 'loopGap', { name: node.id, ms: Math.round(report.heartLoopGapMs) }, '/nodes')
  }
  for (const { name, state, what, notAfterEpochMs } of (overview.expiring ?? []).slice(0, 10)) {
    const days = Math.max(0, Math.floor((notAfterEpochMs - overview.atEpochMs) / 86_400_000))
    if (state === 'expired') add('bad', 'certificateExpired', { name, what }, '/certificates')
    else add(state === 'urgent' ? 'bad' : 'warn', 'certificateExpires', { name, what, days }, '/certificates')
  }
  // The state machine is deterministic: the same entries applied must give the same state on every node.
  const states = new Map<number, { readonly id: string; readonly hash: string }>()
  for (const node of overview.nodes) {
    const report = node.report
    if (report === null || node.role === 'witness' || (report.stateHash ?? '') === '') continue
    const other = states.get(report.appliedIndex)
    if (other !== undefined && other.hash !== report.stateHash) add('bad', 'stateDiffers', { name: node.id, other: other.id, index: report.appliedIndex }, '/nodes')
    states.set(report.appliedIndex, { id: node.id, hash: report.stateHash })
  }
  const serving = overview.nodes.filter((node) => node.role === 'node' && (node.reachable || node.self))
  if (overview.nodes.filter((node) => node.role === 'node').length === 1 && serving.length === 1) add('warn', 'noRedundancy', {}, '/nodes')
  return found.sort((a, b) => (a.severity === b.severity ? 0 : a.severity === 'bad' ? -1 : 1))
}

/** Entries that a node's log is behind the newest known one; null when unknown. */
export function logLag(overview: Pick<ClusterOverview, 'nodes'>, id: string): number | null {
  const position = (node: ClusterOverview['nodes'][number]) => node.matchIndex ?? node.report?.appliedIndex ?? null
  const newest = Math.max(0, ...overview.nodes.map((node) => Math.max(position(node) ?? 0, node.report?.appliedIndex ?? 0)))
  const own = overview.nodes.find((node) => node.id === id)
  const at = own === undefined ? null : position(own)
  return at === null ? null : Math.max(0, newest - at)
}

/** What a cluster looks like between faults and after them: calm while clients go on, equal once they have stopped. */
import type { ClusterOverview, NodeReport, NodeView } from '../../node/api/types.ts'
import { monotonicMs } from '../drills/clock.ts'
import type { LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { waitFor } from '../lab/wait.ts'
import type { Members } from './faults.ts'

/**
 * Waits until every member is up, votes and is heard, all agree on the leader, and one node holds the VIPs; clients may
 * go on changing things meanwhile, so revisions are not compared. Who is who.
 *
 * @throws Error saying what is missing when the time is over.
 */
export async function calm(lab: Lab, timeoutMs: number): Promise<Members> {
  const witness = lab.nodes().find((node) => node.witness)!
  const serving = lab.cluster.serving()
  return await waitFor('a calm cluster', async () => {
    for (const node of lab.nodes()) if (node.heartPid() === undefined) return `${node.name} does not run`
    const views = await Promise.all(serving.map((node) => node.get<ClusterOverview>('/status', { timeoutMs: 3000 })))
    const holder = calmHolder(views, lab.nodes().length)
    if (typeof holder === 'object') return holder.missing
    return { holder: lab.node(holder), other: serving.find((node) => node.name !== holder)!, witness }
  }, { timeoutMs, everyMs: 100 })
}

/** The holder of all VIPs, by every node's own view, or what is missing. Pure. */
export function calmHolder(views: readonly ClusterOverview[], members: number): string | { readonly missing: string } {
  const [first] = views
  if (first === undefined) return { missing: 'no node answers' }
  for (const view of views) {
    const missing = (what: string): { missing: string } => ({ missing: `${view.self}: ${what}` })
    if (!view.quorum) return missing('knows no leader')
    if (view.leader !== first.leader || view.term !== first.term) return missing('another leader')
    if (view.nodes.length !== members) return missing(`sees ${view.nodes.length} members, not ${members}`)
    const odd = view.nodes.find((node) => !node.voter || !node.reachable)
    if (odd !== undefined) return missing(`${odd.id} ${odd.voter ? 'is not heard' : 'is no voter'}`)
    const degraded = view.nodes.find((node) => node.self)?.report?.degraded ?? 'no report of itself'
    if (degraded !== '') return missing(degraded)
    const vip = view.vips.find((one) => one.holder === '' || one.error !== '' || one.holder !== first.vips[0]?.holder)
    if (vip !== undefined) return missing(`${vip.name}: ${vip.error || `held by ${vip.holder || 'nobody'}`}`)
  }
  return first.vips[0]?.holder ?? { missing: 'no VIP' }
}

async function ownReport(node: LabNode): Promise<NodeReport | undefined> {
  const nodes = await node.get<NodeView[]>('/nodes', { timeoutMs: 3000 })
  return nodes.find((view) => view.self)?.report ?? undefined
}

/**
 * Milliseconds from now until all nodes say the same state hash at the same index, and the witness has the log up to
 * there. @throws Error with what differs when the time is over.
 */
export async function equalHashes(lab: Lab, timeoutMs: number): Promise<{ readonly afterMs: number; readonly hash: string }> {
  const startMs = monotonicMs()
  return await waitFor('equal state hashes', async () => {
    const reports = await Promise.all(lab.cluster.serving().map(ownReport))
    const [first] = reports
    if (first === undefined) return 'no report'
    for (const report of reports) {
      if (report?.appliedIndex !== first.appliedIndex) return `applied ${first.appliedIndex} and ${report?.appliedIndex}`
      if (report.stateHash !== first.stateHash) return `different hashes at ${first.appliedIndex}`
    }
    const leader = (await lab.cluster.serving()[0]!.get<ClusterOverview>('/status')).leader
    if (leader === '' || lab.node(leader).witness) return 'no node leads'
    const nodes = await lab.node(leader).get<NodeView[]>('/nodes')
    const behind = nodes.find((view) => !view.self && (view.matchIndex ?? 0) < first.appliedIndex)
    if (behind !== undefined) return `${behind.id} has the log up to ${behind.matchIndex} of ${first.appliedIndex}`
    return { afterMs: Math.round(monotonicMs() - startMs), hash: first.stateHash }
  }, { timeoutMs, everyMs: 50 })
}

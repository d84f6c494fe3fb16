/** Upgrades: which versions the members run, and the one command that ends an upgrade (`../state/level.ts`). */
import type { FastifyInstance } from 'fastify'
import type { PeerStatus } from '../../consensus/consensus.ts'
import type { NodeId, Peer } from '../../consensus/core/types.ts'
import type { Versions } from '../../consensus/versions.ts'
import { lacking, type Support } from '../state/level.ts'
import { submit } from './change.ts'
import type { NodeContext } from './context.ts'
import { actorOf } from './guard.ts'
import { problem } from './problems.ts'
import type { RouteOptions } from './routes.ts'
import { UpgradeView } from './schemas.ts'
import type { UpgradeNode, UpgradeView as UpgradeViewType } from './types.ts'

export function upgradeRoutes(app: FastifyInstance, { context, log }: RouteOptions): void {
  app.get(
    '/upgrade',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['cluster'],
        summary: 'Versions of the members, and whether an upgrade can be finished',
        description: 'As seen by this node: what each member announced when it last connected here.',
        response: { 200: UpgradeView },
      },
    },
    () => upgradeView(context),
  )

  app.post(
    '/upgrade/finish',
    {
      config: { access: 'administrator' },
      schema: {
        tags: ['cluster'],
        summary: 'Finish an upgrade: the cluster may use what is new',
        description:
          'Raises the level of the replicated commands to the highest one that every member understands. Afterwards no member can go back to a version that does not understand it. Refused with `upgrade-refused` while a member runs an older version or is not connected. Does nothing when there is nothing to finish.',
        response: { 200: UpgradeView },
      },
    },
    async (request, reply) => {
      const view = upgradeView(context)
      if (view.state === 'current') return view
      if (view.state === 'blocked') {
        return problem(reply, 'upgrade-refused', `Nothing was changed: ${view.blockers.join('; ')}.`)
      }
      const actor = actorOf(request, context)
      log('info', 'cluster.raise-level', { user: actor.name, from: actor.from, to: view.target })
      const support = view.nodes.map(({ id, commandLevel, version }): Support => ({ id, commandLevel: commandLevel ?? 0, version }))
      const outcome = await submit(context, { kind: 'raise-level', actor, to: view.target, support }, reply)
      return outcome === undefined ? reply : upgradeView(context)
    },
  )
}

/** What this node knows of the members' versions, and what follows from it. */
export function upgradeView(context: Pick<NodeContext, 'selfId' | 'state' | 'heart'>): UpgradeViewType {
  const { level } = context.state()
  const consensus = context.heart()?.consensus
  // The log's newest membership: the one that a raise would meet when it is applied.
  const membership = consensus?.membership ?? context.state().membership
  const peers = new Map(consensus?.peers.map((status) => [status.peer.id, status]))
  const nodes = [...membership.voters, ...membership.learners]
    .map((peer) =>
      peer.id === context.selfId ? ownNode(peer, consensus?.versions) : otherNode(peer, peers.get(peer.id)),
    )
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const known = nodes.flatMap(({ commandLevel }) => commandLevel ?? [])
  const lowest = known.length === nodes.length ? Math.min(...known) : level
  if (nodes.length === 0 || Math.max(level, ...known) <= level) {
    return { level, target: level, state: 'current', blockers: [], nodes }
  }
  const target = Math.max(lowest, level + 1)
  const blockers = nodes.flatMap((node) => {
    // It may have gone back to the old version since it was last heard of.
    if (!node.connected) return [`${node.id} is not connected to ${context.selfId}, so it is not certain which version it runs`]
    return lacking({ voters: [node], learners: [] }, supportOf(node), target)
  })
  return { level, target, state: blockers.length === 0 ? 'ready' : 'blocked', blockers, nodes }
}

function supportOf({ id, commandLevel, version }: UpgradeNode): Support[] {
  return commandLevel === null ? [] : [{ id, commandLevel, version }]
}

function ownNode({ id, role }: Peer, versions: Versions | undefined): UpgradeNode {
  return { ...announced(id, role, versions), connected: true, protocol: null }
}

function otherNode({ id, role }: Peer, status: PeerStatus | undefined): UpgradeNode {
  return {
    ...announced(id, role, status?.versions ?? undefined),
    connected: status?.connected ?? false,
    protocol: status?.protocol ?? null,
  }
}

function announced(id: NodeId, role: Peer['role'], versions: Versions | undefined): Omit<UpgradeNode, 'connected' | 'protocol'> {
  return {
    id,
    role,
    version: versions?.product ?? '',
    commandLevel: versions?.commandLevel ?? null,
    protocols: versions === undefined ? null : { min: versions.protocol.min, max: versions.protocol.max },
  }
}

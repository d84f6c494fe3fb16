/**
 * Whom this node connects to and whom it lets connect, as the membership in its log changes. A removed member may stay
 * connected for a moment, so that it learns of its removal.
 */
import { find } from './core/membership.ts'
import type { Raft } from './core/raft.ts'
import type { Membership, NodeId, Peer } from './core/types.ts'

/** How long a removed member may still connect. */
export const leavingMs = 10_000

export class Members {
  readonly #raft: Raft
  #membership: Membership
  readonly #left = new Map<NodeId, { readonly peer: Peer; readonly atMs: number }>()

  constructor(raft: Raft) {
    this.#raft = raft
    this.#membership = raft.membership
  }

  /** Follows the core's membership; what has changed, or undefined when nothing has. */
  follow(now: number): { readonly selfRemoved: boolean } | undefined {
    const before = this.#membership
    const after = this.#raft.membership
    if (before === after) return undefined
    this.#membership = after
    for (const peer of [...before.voters, ...before.learners]) {
      if (find(after, peer.id) === undefined) this.#left.set(peer.id, { peer, atMs: now })
    }
    for (const id of this.#left.keys()) if (find(after, id) !== undefined) this.#left.delete(id)
    const { id } = this.#raft
    return { selfRemoved: find(before, id) !== undefined && find(after, id) === undefined }
  }

  /** Members, and those who have left a moment ago. */
  toReach(now: number): Peer[] {
    const leaving = [...this.#left.values()].filter(({ atMs }) => now - atMs < leavingMs).map(({ peer }) => peer)
    return [...this.#membership.voters, ...this.#membership.learners, ...leaving]
  }

  /**
   * Whether the bearer of a certificate of the cluster may connect: a member; the leader, even if this node's log is too
   * old to know it; and, as long as this node follows no leader and so cannot know who is a member by now, anybody who
   * is not known to have been removed.
   */
  mayConnect(id: NodeId, now: number): boolean {
    const { leader, membership } = this.#raft
    const left = this.#left.get(id)
    if (find(membership, id) !== undefined || id === leader) return true
    if (left !== undefined) return now - left.atMs < leavingMs
    return leader === ''
  }
}

/**
 * Whom this node connects to and whom it lets connect, as the membership in its log changes. A removed member may stay
 * connected for a moment, so that it learns of its removal.
 */
import { find } from './core/membership.ts'
import type { Raft } from './core/raft.ts'
import type { Membership, NodeId, Peer } from './core/types.ts'

/** What the log says about this node's own place that it must act on. */
export type OwnFate = 'removed' | 'replaced'

/** How long a removed member may still connect. */
export const leavingMs = 10_000

export class Members {
  readonly #raft: Raft
  /** Of this node's own certificate; undefined where there are none (simulation). */
  readonly #fingerprint: string | undefined
  /** Voters that refuse this node because its name belongs to another certificate. */
  readonly #disownedBy = new Set<NodeId>()
  #membership: Membership
  /** The log has named this node's own certificate since it was opened. */
  #admitted: boolean
  /** As others say, as of that index; counts only for connecting, and only as long as this node's own log is older. */
  #heard: { readonly index: number; readonly membership: Membership } | undefined
  readonly #left = new Map<NodeId, { readonly peer: Peer; readonly atMs: number }>()

  /** Told when this machine joined: newer than all of the log before its own admission. */
  readonly #told: Membership | undefined

  constructor(raft: Raft, fingerprint: string | undefined, told?: { readonly membership: Membership; readonly demotedAtIndex?: number }) {
    this.#raft = raft
    this.#fingerprint = fingerprint
    this.#told = told?.membership
    if (told?.demotedAtIndex !== undefined) this.#heard = { index: told.demotedAtIndex, membership: told.membership }
    this.#membership = raft.membership
    this.#admitted = this.#ownRecord()
  }

  /**
   * The log names another certificate for this node's id, after it had named this one: the name was given to another
   * machine, or directory. A machine that has just joined under a name used before reads of its predecessor first, in a
   * snapshot or entries older than its own admission: that says nothing of itself. (An old directory that begins with
   * such a log is refused by the others: see `disowners`.)
   */
  get replaced(): boolean {
    const recorded = find(this.#raft.membership, this.#raft.id)?.fingerprint
    return this.#admitted && recorded !== undefined && recorded !== this.#fingerprint
  }

  /** What a machine was told when it joined (or began anew) stands before its log, at index 0: older entries come after it. */
  #ownRecord(): boolean {
    return this.#fingerprint !== undefined && this.#raft.membershipIndex > 0 && find(this.#raft.membership, this.#raft.id)?.fingerprint === this.#fingerprint
  }

  /** Follows the core's membership; what has changed for this node, or undefined when nothing has changed at all. */
  follow(now: number): { readonly own: OwnFate | undefined } | undefined {
    const before = this.#membership
    const after = this.#raft.membership
    if (before === after) return undefined
    this.#membership = after
    this.#admitted ||= this.#ownRecord()
    for (const peer of [...before.voters, ...before.learners]) {
      if (find(after, peer.id) === undefined) this.#left.set(peer.id, { peer, atMs: now })
    }
    for (const id of this.#left.keys()) if (find(after, id) !== undefined) this.#left.delete(id)
    const { id } = this.#raft
    if (this.replaced) return { own: 'replaced' }
    // A predecessor's removal, read by a machine that joins under the same name, is not its own.
    const was = this.#fingerprint === undefined || this.#admitted
    return { own: was && find(before, id) !== undefined && find(after, id) === undefined ? 'removed' : undefined }
  }

  /** A peer refuses this node's certificate. True when that is news. */
  disowned(by: NodeId): boolean {
    if (this.#disownedBy.has(by)) return false
    this.#disownedBy.add(by)
    return true
  }

  /** A peer took this node's certificate. True when that is news. */
  owned(by: NodeId): boolean {
    return this.#disownedBy.delete(by)
  }

  /**
   * Who refuses this node's certificate, once they are so many that it cannot be that only their logs are old: a majority
   * of the voters that this node knows, or all others. Empty before.
   */
  get disowners(): readonly NodeId[] {
    const { voters } = this.#raft.membership
    const others = voters.filter(({ id }) => id !== this.#raft.id)
    const against = others.filter(({ id }) => this.#disownedBy.has(id)).map(({ id }) => id)
    const enough = against.length > 0 && (against.length === others.length || against.length > voters.length / 2)
    return enough ? against : []
  }

  /**
   * What a peer says of the members, as of `index` of the log. Of use to a node that was away while others were replaced:
   * it must know the new ones to get the log from them. True when that is news.
   */
  hear(index: number, membership: Membership): boolean {
    if (index <= Math.max(this.#raft.commitIndex, this.#raft.membershipIndex, this.#heard?.index ?? 0)) return false
    this.#heard = { index, membership }
    return true
  }

  /** Members, and those who have left a moment ago. */
  toReach(now: number): Peer[] {
    const leaving = [...this.#left.values()].filter(({ atMs }) => now - atMs < leavingMs).map(({ peer }) => peer)
    const peers = new Map([...leaving, ...this.#membership.voters, ...this.#membership.learners].map((peer) => [peer.id, peer]))
    const heard = this.#newer()
    if (heard !== undefined) for (const peer of [...heard.voters, ...heard.learners]) peers.set(peer.id, peer)
    return [...peers.values()]
  }

  /**
   * Whether the bearer of a certificate of the cluster may connect: a member; the leader, even if this node's log is too
   * old to know it; and, as long as this node follows no leader and so cannot know who is a member by now, anybody who
   * is not known to have been removed.
   */
  mayConnect(id: NodeId, now: number): boolean {
    const { leader, membership } = this.#raft
    const left = this.#left.get(id)
    const heard = this.#newer()
    if (find(membership, id) !== undefined || id === leader || (heard !== undefined && find(heard, id) !== undefined)) return true
    if (left !== undefined) return now - left.atMs < leavingMs
    return leader === ''
  }

  /**
   * What is known of the members beyond this node's own log. A log that is read from its beginning names members of long
   * ago, whose successors it is being read from.
   */
  #newer(): Membership | undefined {
    const heard = this.#heard
    if (heard !== undefined && heard.index > Math.max(this.#raft.commitIndex, this.#raft.membershipIndex)) return heard.membership
    const told = this.#told
    if (this.#admitted || told === undefined || this.#fingerprint === undefined) return undefined
    return find(told, this.#raft.id)?.fingerprint === this.#fingerprint ? told : undefined
  }
}

/**
 * Who votes, and since which log index. A membership entry counts from the moment it is *appended* (dissertation §4.1)
 * and stops counting when it is truncated, so the history above the snapshot is kept. Also the encoding of membership
 * entries and the single changes that are allowed. Pure.
 */
import type { Membership, NodeId, Peer } from './types.ts'

/** More participants than this are refused: every quorum would be slower and nothing safer. */
export const maxPeers = 15

const idPattern = /^[a-z0-9-]{1,63}$/
const fingerprintPattern = /^[0-9a-f]{64}$/
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Of a machine that has not heard from a cluster yet. Not valid in an entry or a snapshot. */
export const emptyMembership: Membership = { voters: [], learners: [] }

/**
 * One step of the membership. `update` changes addresses or the role, not the right to vote. `demote` takes the vote
 * from a member that has lost its disk and begins again with nothing; of a learner it only says that its log is gone.
 */
export type MembershipChange =
  | { readonly type: 'add-learner'; readonly peer: Peer }
  | { readonly type: 'promote'; readonly id: NodeId }
  | { readonly type: 'remove'; readonly id: NodeId }
  | { readonly type: 'update'; readonly peer: Peer }
  | { readonly type: 'demote'; readonly peer: Peer }

/** The membership after one change, or why it is not allowed. */
export function changed(
  membership: Membership, change: MembershipChange,
): { readonly ok: true; readonly membership: Membership } | { readonly ok: false; readonly detail: string } {
  const { voters, learners } = membership
  const refuse = (detail: string) => ({ ok: false, detail }) as const
  const allow = (nextVoters: readonly Peer[], nextLearners: readonly Peer[]) =>
    ({ ok: true, membership: { voters: nextVoters, learners: nextLearners } }) as const
  switch (change.type) {
    case 'add-learner':
      if (!isPeer(change.peer)) return refuse('not a valid peer')
      if (find(membership, change.peer.id) !== undefined) return refuse(`${change.peer.id} is already a member`)
      if (voters.length + learners.length >= maxPeers) return refuse(`there are already ${maxPeers} members`)
      return allow(voters, [...learners, change.peer])
    case 'promote': {
      const learner = learners.find(peer => peer.id === change.id)
      if (learner === undefined) return refuse(`${change.id} is not a learner`)
      return allow([...voters, learner], learners.filter(peer => peer.id !== change.id))
    }
    case 'remove':
      if (find(membership, change.id) === undefined) return refuse(`${change.id} is not a member`)
      if (voters.length === 1 && isVoter(membership, change.id)) return refuse(`${change.id} is the last voter`)
      return allow(voters.filter(peer => peer.id !== change.id), learners.filter(peer => peer.id !== change.id))
    case 'update': {
      if (!isPeer(change.peer)) return refuse('not a valid peer')
      if (find(membership, change.peer.id) === undefined) return refuse(`${change.peer.id} is not a member`)
      const replace = (peer: Peer) => peer.id === change.peer.id ? change.peer : peer
      return allow(voters.map(replace), learners.map(replace))
    }
    case 'demote': {
      const { peer } = change
      if (!isPeer(peer)) return refuse('not a valid peer')
      const known = find(membership, peer.id)
      if (known === undefined) return refuse(`${peer.id} is not a member`)
      if (known.role !== peer.role) return refuse(`${peer.id} is a ${known.role}, not a ${peer.role}`)
      const remaining = voters.filter(voter => voter.id !== peer.id)
      if (remaining.length === 0) return refuse(`${peer.id} is the last voter`)
      return allow(remaining, [...learners.filter(learner => learner.id !== peer.id), peer])
    }
  }
}

/** Whether two memberships differ by at most one voter, so that their majorities intersect (dissertation §4.1). */
export function isSingleChange(before: Membership, after: Membership): boolean {
  let differences = 0
  for (const voter of before.voters) if (!isVoter(after, voter.id)) differences += 1
  for (const voter of after.voters) if (!isVoter(before, voter.id)) differences += 1
  return differences <= 1 && after.voters.length > 0
}

export function isVoter(membership: Membership, id: NodeId): boolean {
  return membership.voters.some(peer => peer.id === id)
}

/** The voter or learner with this id. */
export function find(membership: Membership, id: NodeId): Peer | undefined {
  return membership.voters.find(peer => peer.id === id) ?? membership.learners.find(peer => peer.id === id)
}

/** The data of a membership entry: JSON, UTF-8. */
export function encodeMembership(membership: Membership): Uint8Array {
  return encoder.encode(JSON.stringify(membership))
}

/** The inverse; undefined for anything that is not a valid membership (it comes from the network). */
export function decodeMembership(data: Uint8Array): Membership | undefined {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(data))
  } catch {
    return undefined
  }
  return isMembership(value) ? value : undefined
}

/** Checks a value from the network or the disk: peers well formed, ids unique, at least one voter. */
export function isMembership(value: unknown): value is Membership {
  if (typeof value !== 'object' || value === null) return false
  const { voters, learners } = value as Partial<Membership>
  if (!Array.isArray(voters) || !Array.isArray(learners)) return false
  if (voters.length === 0 || voters.length + learners.length > maxPeers) return false
  if (!voters.every(isPeer) || !learners.every(isPeer)) return false
  return new Set([...voters, ...learners].map(peer => peer.id)).size === voters.length + learners.length
}

function isPeer(value: unknown): value is Peer {
  if (typeof value !== 'object' || value === null) return false
  const { id, role, address, apiAddress, fingerprint } = value as Partial<Peer>
  return typeof id === 'string' && idPattern.test(id) && (role === 'node' || role === 'witness')
    && typeof address === 'string' && typeof apiAddress === 'string'
    && (fingerprint === undefined || (typeof fingerprint === 'string' && fingerprintPattern.test(fingerprint)))
}

interface Stage {
  /** Index of the entry that brought it in; for the first one the snapshot's index. */
  readonly index: number
  readonly membership: Membership
}

/** The membership as of every index that may still become the end of the log. */
export class MembershipHistory {
  /** Ascending; the first stage is the one as of the snapshot. */
  #stages: Stage[]

  constructor(index: number, membership: Membership) {
    this.#stages = [{ index, membership }]
  }

  /** The newest one, committed or not: it is in force. */
  get current(): Membership {
    return this.#stages[this.#stages.length - 1]!.membership
  }

  /** Index of the entry that brought the current one in. */
  get index(): number {
    return this.#stages[this.#stages.length - 1]!.index
  }

  /** Whether `id` votes in the newest membership known to be committed or in any of the later ones. */
  mayVote(id: NodeId, commitIndex: number): boolean {
    for (let i = this.#stages.length - 1; i >= 0; i -= 1) {
      const stage = this.#stages[i]!
      if (isVoter(stage.membership, id)) return true
      if (stage.index <= commitIndex) return false
    }
    return false
  }

  append(index: number, membership: Membership): void {
    this.#stages.push({ index, membership })
  }

  /** Entries from `index` on are gone. Returns whether the current membership changed. */
  truncateFrom(index: number): boolean {
    const before = this.#stages.length
    while (this.#stages.length > 1 && this.index >= index) this.#stages.pop()
    return this.#stages.length !== before
  }

  /** Entries up to `index` are committed and compacted. */
  compact(index: number): void {
    while (this.#stages.length > 1 && this.#stages[1]!.index <= index) this.#stages.shift()
  }

  reset(index: number, membership: Membership): void {
    this.#stages = [{ index, membership }]
  }
}

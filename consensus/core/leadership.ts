/**
 * What exists only while a node leads, and dies with the term: the heartbeat and what its answers are worth (lease,
 * check-quorum), the replication, a transfer under way. Pure.
 */
import { HeartbeatClock } from './lease.ts'
import type { Outbox } from './outbox.ts'
import type { Preferred } from './preference.ts'
import type { Progress } from './progress.ts'
import { reachedByMajority } from './quorum.ts'
import { Reads } from './reads.ts'
import type { Replication } from './replication.ts'
import type { Membership, NodeId, Timing } from './types.ts'

/** A peer this close behind (one message) has caught up: a learner is promoted, a witness hands over. */
export const caughtUpEntries = 256

/** Heartbeats for the sake of waiting reads keep at least this distance, so that many reads share one. */
const readBeatMs = 2

export interface Transfer {
  readonly to: NodeId
  readonly deadlineMs: number
  /** It has been asked since the last heartbeat. */
  asked: boolean
}

export type TransferResult =
  | { readonly ok: true; readonly to: NodeId }
  | { readonly ok: false; readonly detail: string }

export interface LeadershipOptions {
  readonly self: NodeId
  readonly timing: Timing
  readonly term: number
  readonly replication: Replication
  readonly now: number
  /** Index of the no-op that starts the term. */
  readonly noopIndex: number
  /** Elected by others too, who were asked only when this node's own vote was durable. */
  readonly votesDurable: boolean
}

export class Leadership {
  readonly replication: Replication
  readonly noopIndex: number
  readonly #self: NodeId
  readonly #timing: Timing
  readonly #term: number
  readonly electedMs: number
  readonly #votesDurable: boolean
  readonly #clock = new HeartbeatClock()
  readonly #reads = new Reads()
  #beatMs = -Infinity
  heartbeatDueMs: number
  transfer: Transfer | undefined
  /** The fence was closed on purpose: there is no lease for the rest of this term (rule 4). */
  leaseGivenUp = false

  constructor(options: LeadershipOptions) {
    this.#self = options.self
    this.#timing = options.timing
    this.#term = options.term
    this.replication = options.replication
    this.noopIndex = options.noopIndex
    this.electedMs = options.now
    this.#votesDurable = options.votesDurable
    this.heartbeatDueMs = options.now
  }

  /**
   * When the newest heartbeat was sent that a majority has acknowledged: from then on a majority does not elect another
   * leader for a minimum election timeout. A leader hears itself at once.
   */
  quorumSentMs(membership: Membership, now: number): number {
    return reachedByMajority(
      membership.voters, id => id === this.#self ? now : this.replication.get(id)?.ackedSentMs ?? -Infinity,
    )
  }

  /** Check-quorum (rule 10): without a majority's answers for an election timeout, this is no leader. */
  quorumDueMs(membership: Membership, now: number): number {
    return Math.max(this.quorumSentMs(membership, now), this.electedMs) + this.#timing.maxElectionMs
  }

  /** Until when no other leader can exist, if a lease were counted: shorter than that by the margin for drift. */
  quorumLeaseMs(membership: Membership, now: number): number {
    return this.leaseGivenUp ? -Infinity : this.quorumSentMs(membership, now) + this.#timing.leaseMs
  }

  /** The newest heartbeat that a majority has acknowledged. */
  #quorumSequence(membership: Membership): number {
    return reachedByMajority(
      membership.voters, id => id === this.#self ? Infinity : this.replication.get(id)?.ackedSequence ?? 0,
    )
  }

  get mayWait(): boolean {
    return !this.#reads.isFull
  }

  /** A read at `index` waits for a majority; the heartbeat that asks for it is due at once, or very soon. */
  waitToRead(id: number, index: number, now: number): void {
    this.#reads.wait(id, index, this.#clock.sequence + 1)
    this.heartbeatDueMs = Math.min(this.heartbeatDueMs, Math.max(now, this.#beatMs + readBeatMs))
  }

  /** Answers the reads that a majority has confirmed. */
  confirmReads(membership: Membership, outbox: Outbox): void {
    if (this.#reads.firstSequence === undefined) return
    this.#reads.confirmed(this.#quorumSequence(membership), outbox)
  }

  /** Leadership is over. */
  failReads(outbox: Outbox): void {
    this.#reads.fail(outbox)
  }

  /** The largest index that a majority has, this node up to `stableIndex`. */
  matchedByMajority(membership: Membership, stableIndex: number): number {
    return reachedByMajority(
      membership.voters, id => id === this.#self ? stableIndex : this.replication.get(id)?.matchIndex ?? 0,
    )
  }

  nextDeadline(membership: Membership, now: number): number {
    return Math.min(this.heartbeatDueMs, this.quorumDueMs(membership, now), this.transfer?.deadlineMs ?? Infinity)
  }

  /**
   * A lone voter elects itself before its vote is durable; its no-op is written together with the vote. Until then no
   * learner may hear of the term: after a crash it would begin again, with other entries. (Other leaders' votes were
   * durable before they asked for any.)
   */
  mayTalk(stableIndex: number): boolean {
    return this.#votesDurable || stableIndex >= this.noopIndex
  }

  /** Registers a heartbeat and sends it to every peer. */
  beat(outbox: Outbox, commitIndex: number, stableIndex: number, now: number): void {
    // Keep the beat, but do not make up for beats that a pause swallowed.
    const next = this.heartbeatDueMs + this.#timing.heartbeatMs
    this.heartbeatDueMs = next > now ? next : now + this.#timing.heartbeatMs
    if (!this.mayTalk(stableIndex)) return
    this.#beatMs = now
    const sequence = this.#clock.sent(now)
    for (const [id, progress] of this.replication.peers) {
      // Not beyond what the peer is known to have: its log may end in entries that are not the committed ones.
      const commit = Math.min(commitIndex, progress.matchIndex)
      outbox.send({ type: 'heartbeat', from: this.#self, to: id, term: this.#term, sequence, commit })
    }
  }

  /** `from` acknowledged the heartbeat with this sequence number; its log ended at `lastIndex` then. */
  acknowledged(from: NodeId, sequence: number, lastIndex: number, now: number): void {
    const progress = this.replication.get(from)
    const sentMs = this.#clock.sentAt(sequence)
    if (progress === undefined || sentMs === undefined) return
    // Back after a while: whatever was under way to it, a snapshot included, is gone.
    if (progress.state === 'snapshot' && now - progress.heardMs > this.#timing.maxElectionMs) progress.becomeProbe()
    progress.heardMs = now
    if (sentMs > progress.ackedSentMs) {
      if (sentMs - progress.ackedSentMs > this.#timing.minElectionMs) progress.answeringSinceMs = sentMs
      progress.ackedSentMs = sentMs
    }
    if (sequence > progress.ackedSequence) progress.ackedSequence = sequence
    progress.observed(lastIndex, sentMs)
  }

  /** It answered a heartbeat that was sent within the last minimum election timeout. */
  responds(progress: Progress, now: number): boolean {
    return progress.state !== 'snapshot' && progress.ackedSentMs > now - this.#timing.minElectionMs
  }

  /**
   * To whom leadership would go: `to`, or a voter with role `node` that is not to be avoided: the preferred one if it is
   * hardly behind, else the most up-to-date one.
   */
  transferTarget(
    membership: Membership, to: NodeId | undefined, preferred: Preferred, now: number,
  ): TransferResult {
    if (this.transfer !== undefined) return { ok: false, detail: `already handing over to ${this.transfer.to}` }
    if (to === this.#self) return { ok: false, detail: `${to} is the leader already` }
    if (to !== undefined && !membership.voters.some(voter => voter.id === to)) {
      return { ok: false, detail: `${to} is not a voter` }
    }
    let best: NodeId | undefined
    let bestMatch = -1
    let isBehind = false
    for (const { id, role } of membership.voters) {
      if (to === undefined ? role !== 'node' || preferred.avoids(id, now) : id !== to) continue
      const progress = this.replication.get(id)
      if (progress === undefined || !this.responds(progress, now)) continue
      if (!this.replication.isWithinReach(progress)) {
        isBehind = true
        continue
      }
      const match = progress.matchIndex + (id === preferred.id ? caughtUpEntries : 0)
      if (match <= bestMatch) continue
      best = id
      bestMatch = match
    }
    if (best !== undefined) return { ok: true, to: best }
    // The fence would be closed for nothing: it could not have everything before the time for a transfer is over.
    if (isBehind) return { ok: false, detail: `${to ?? 'every other node'} lacks too much of the log yet` }
    return { ok: false, detail: to === undefined ? 'no other node answers' : `${to} does not answer` }
  }
}

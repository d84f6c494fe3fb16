/**
 * The leader's replication: one `Progress` per peer, and the messages that each may get now. Lives for one leadership.
 * Messages are made when a `Ready` is taken, so that everything proposed between two of them shares a message. Pure.
 */
import type { Log } from './log.ts'
import { find } from './membership.ts'
import type { Outbox } from './outbox.ts'
import { maxInflight, maxInflightBytes, Progress } from './progress.ts'
import type { RetryTiming } from './progress.ts'
import type { Membership, NodeId, SnapshotMeta, Timing } from './types.ts'

/** Bounds of one append message. */
export const maxMessageEntries = 256
export const maxMessageBytes = 256 * 1024

const noEntries: readonly never[] = []

export interface LeaderState {
  readonly term: number
  readonly commit: number
  readonly snapshot: SnapshotMeta | undefined
}

export class Replication {
  readonly #self: NodeId
  readonly #log: Log
  readonly #retry: RetryTiming
  readonly #leavingMs: number
  readonly #peers = new Map<NodeId, Progress>()

  constructor(self: NodeId, log: Log, timing: Timing) {
    this.#self = self
    this.#log = log
    this.#retry = {
      probeMs: timing.heartbeatMs * 2,
      replicateMs: timing.minElectionMs,
      snapshotMs: timing.maxElectionMs * 100,
    }
    this.#leavingMs = timing.maxElectionMs * 20
  }

  get peers(): ReadonlyMap<NodeId, Progress> {
    return this.#peers
  }

  get(id: NodeId): Progress | undefined {
    return this.#peers.get(id)
  }

  /** Follows the membership that the entry at `index` brought in. A removed peer is kept until it knows that it was. */
  follow(membership: Membership, index: number, now: number): void {
    for (const peer of [...membership.voters, ...membership.learners]) {
      if (peer.id === this.#self) continue
      const known = this.#peers.get(peer.id)
      // A peer that comes back after its removal may have an empty disk: nothing about it is known, and what its earlier life
      // still has to say does not count.
      if (known === undefined || known.leavingIndex !== undefined) {
        this.#peers.set(peer.id, new Progress(this.#log.lastIndex + 1, this.#retry, now, known === undefined ? 0 : index))
      }
    }
    for (const [id, progress] of this.#peers) {
      if (find(membership, id) !== undefined || progress.leavingIndex !== undefined) continue
      progress.leavingIndex = index
      progress.leavingUntilMs = now + this.#leavingMs
    }
  }

  /** The entry at `index` says that this peer has lost its log: forgets all that was known about it. */
  startAnew(id: NodeId, index: number, now: number): void {
    this.#peers.set(id, new Progress(index + 1, this.#retry, now, index))
  }

  /** What this peer lacks, as far as is known, may all be under way at once: it has it in a moment. */
  isWithinReach(progress: Progress): boolean {
    const { matchIndex } = progress
    const { baseIndex, lastIndex } = this.#log
    return matchIndex >= baseIndex && lastIndex - matchIndex <= maxInflight * maxMessageEntries
      && this.#log.bytesBetween(matchIndex, lastIndex) <= maxInflightBytes
  }

  /** Gives up on what was lost, forgets peers that have left. */
  expire(now: number): void {
    for (const [id, progress] of this.#peers) {
      progress.expire(now)
      const { leavingIndex } = progress
      if (leavingIndex === undefined) continue
      const knows = progress.matchIndex >= leavingIndex && progress.sentCommit >= leavingIndex
      if (knows || now >= progress.leavingUntilMs) this.#peers.delete(id)
    }
  }

  /** Sends every peer what it may get now. */
  fill(outbox: Outbox, leader: LeaderState, now: number): void {
    for (const [id, progress] of this.#peers) this.#fillOne(id, progress, outbox, leader, now)
  }

  #fillOne(id: NodeId, progress: Progress, outbox: Outbox, leader: LeaderState, now: number): void {
    while (progress.maySend(now) && progress.state !== 'snapshot') {
      const probing = progress.state === 'probe'
      const prevIndex = progress.nextIndex - 1
      const end = this.#log.batchEnd(prevIndex, maxMessageEntries, maxMessageBytes)
      if (end === prevIndex && !probing) {
        // All there is has been sent; the commit index alone is worth a message once nothing is under way that will
        // bring an acknowledgement, and with it the next chance.
        if (progress.inflight > 0 || progress.sentCommit >= leader.commit) return
      }
      const prevTerm = this.#log.termAt(prevIndex)
      if (prevTerm === undefined) {
        if (leader.snapshot === undefined) {
          throw new Error(`replication: entry ${prevIndex} is compacted, but there is no snapshot`)
        }
        outbox.send({ type: 'snapshot', from: this.#self, to: id, term: leader.term, meta: leader.snapshot })
        progress.snapshotSent(leader.snapshot.index, now)
        return
      }
      outbox.send({
        type: 'append', from: this.#self, to: id, term: leader.term,
        prevIndex, prevTerm, count: end - prevIndex, entries: noEntries, commit: leader.commit,
      })
      progress.sentCommit = leader.commit
      progress.sent(end, this.#log.bytesBetween(prevIndex, end), now)
      if (end === prevIndex) return
    }
  }
}

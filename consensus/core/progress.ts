/**
 * The leader's view of one peer's log, and the pacing of what is sent to it. Pure.
 *
 * - `probe`: it is not known where the logs agree; one message at a time.
 * - `replicate`: they agree up to `matchIndex`; messages are pipelined up to a window.
 * - `snapshot`: it needs entries that are compacted; nothing is sent until the snapshot is there.
 *
 * Every state has a way out by time alone: a lost message, acknowledgement or snapshot can delay a peer, never strand
 * it.
 */

export type ProgressState = 'probe' | 'replicate' | 'snapshot'

/** Messages under way to one peer. */
export const maxInflight = 16
/** Bytes under way to one peer (a single larger entry is sent alone). */
export const maxInflightBytes = 4 * 1024 * 1024
/** The slowest link for which a message is not believed lost: 8 KiB in a millisecond. */
const slowestBytesPerMs = 8 * 1024

/** Intervals after which something unanswered is believed lost, in milliseconds. */
export interface RetryTiming {
  readonly probeMs: number
  readonly replicateMs: number
  readonly snapshotMs: number
}

export class Progress {
  #state: ProgressState = 'probe'
  #matchIndex = 0
  #nextIndex: number
  /** When, by the leader's clock, the newest heartbeat that the peer acknowledged was sent. */
  ackedSentMs = -Infinity
  /** Since when, by the leader's clock, it has answered heartbeats without a gap of a minimum election timeout. */
  answeringSinceMs = Infinity
  /** The sequence number of the newest heartbeat that it acknowledged. */
  ackedSequence = 0
  /** When anything was last heard from it; at first, when this view began. */
  heardMs: number
  /** The commit index that the peer was last told. */
  sentCommit = 0
  /**
   * Set for a peer that a membership entry at this index removed; it is kept until it knows, or until
   * `leavingUntilMs`.
   */
  leavingIndex: number | undefined
  leavingUntilMs = Infinity
  #retryAtMs = -Infinity
  #snapshotIndex = 0
  /** The peer began anew and has not yet answered about this index, which its earlier life cannot have known. */
  #anewIndex: number
  readonly #retry: RetryTiming
  // A ring of what is under way: where each message ends, how large it is and when it left.
  readonly #ends = new Float64Array(maxInflight)
  readonly #sizes = new Float64Array(maxInflight)
  readonly #leftMs = new Float64Array(maxInflight)
  #head = 0
  #inflight = 0
  #inflightBytes = 0

  /** `anewIndex`: the entry that says that the peer has lost its log; 0 if it has not. */
  constructor(nextIndex: number, retry: RetryTiming, now: number, anewIndex = 0) {
    this.#nextIndex = nextIndex
    this.#anewIndex = anewIndex
    this.heardMs = now
    this.#retry = retry
  }

  get state(): ProgressState {
    return this.#state
  }
  /** Everything up to here is durable on the peer. */
  get matchIndex(): number {
    return this.#matchIndex
  }
  get nextIndex(): number {
    return this.#nextIndex
  }
  get inflight(): number {
    return this.#inflight
  }

  /** Whether a message may leave now. */
  maySend(now: number): boolean {
    if (this.#state === 'replicate') {
      return this.#inflight === 0 || (this.#inflight < maxInflight && this.#inflightBytes < maxInflightBytes)
    }
    return now >= this.#retryAtMs
  }

  /** A message with the entries from `nextIndex` up to `end` left; `end < nextIndex` for one without entries. */
  sent(end: number, bytes: number, now: number): void {
    if (this.#state === 'replicate') {
      if (end < this.#nextIndex) return
      const slot = (this.#head + this.#inflight) % maxInflight
      this.#ends[slot] = end
      this.#sizes[slot] = bytes
      this.#leftMs[slot] = now
      this.#inflight += 1
      this.#inflightBytes += bytes
      this.#nextIndex = end + 1
    } else {
      this.#retryAtMs = now + this.#retry.probeMs + bytes / slowestBytesPerMs
    }
  }

  snapshotSent(index: number, now: number): void {
    this.#clearInflight()
    this.#state = 'snapshot'
    this.#snapshotIndex = index
    this.#retryAtMs = now + this.#retry.snapshotMs
  }

  /** The transport has finished streaming a snapshot (or failed): the answer is due soon, or a new attempt. */
  snapshotEnded(ok: boolean, now: number): void {
    if (this.#state !== 'snapshot') return
    this.#retryAtMs = now + (ok ? this.#retry.replicateMs * 4 : this.#retry.probeMs)
  }

  /** The peer has everything up to `index`. Returns whether that is news. */
  acknowledged(index: number): boolean {
    if (index < this.#anewIndex) return false
    this.#anewIndex = 0
    while (this.#inflight > 0 && this.#ends[this.#head]! <= index) {
      this.#inflightBytes -= this.#sizes[this.#head]!
      this.#head = (this.#head + 1) % maxInflight
      this.#inflight -= 1
    }
    const news = index > this.#matchIndex
    if (news) this.#matchIndex = index
    if (this.#nextIndex <= this.#matchIndex) this.#nextIndex = this.#matchIndex + 1
    const arrived = this.#state === 'probe' || (this.#state === 'snapshot' && index >= this.#snapshotIndex)
    if (arrived) {
      // An old acknowledgement may arrive while probing further back: the peer agrees at least up to it.
      this.#clearInflight()
      this.#state = 'replicate'
      this.#nextIndex = this.#matchIndex + 1
    }
    return news
  }

  /**
   * The peer refused a message that followed on `previousIndex`; the logs may agree at `hint`. Stale refusals are
   * ignored.
   */
  refused(previousIndex: number, hint: number): void {
    if (previousIndex < this.#anewIndex) return
    this.#anewIndex = 0
    if (this.#state === 'snapshot') return
    if (this.#state === 'replicate') {
      if (previousIndex > this.#matchIndex) this.becomeProbe()
      return
    }
    if (this.#nextIndex - 1 !== previousIndex) return
    const nextIndex = Math.max(Math.min(previousIndex, hint + 1), this.#matchIndex + 1)
    // It refuses what it has acknowledged: that is an old refusal, or it has lost its memory. No news, so no hurry.
    if (nextIndex === this.#nextIndex) return
    this.#nextIndex = nextIndex
    this.#retryAtMs = -Infinity
  }

  /** Start again from what is known for certain, at once or at `retryAtMs`. */
  becomeProbe(retryAtMs = -Infinity): void {
    this.#clearInflight()
    this.#state = 'probe'
    this.#nextIndex = this.#matchIndex + 1
    this.#retryAtMs = retryAtMs
  }

  /** Gives up on messages that have not been answered for too long. */
  expire(now: number): void {
    if (this.#state === 'replicate') {
      if (this.#inflight > 0 && now >= this.#leftMs[this.#head]! + this.#retry.replicateMs + this.#allowance()) {
        this.becomeProbe()
      }
    } else if (this.#state === 'snapshot' && now >= this.#retryAtMs) this.becomeProbe()
  }

  /**
   * The peer acknowledged a heartbeat that was sent at `sentMs`, and its log ended at `lastIndex` then. A message that
   * left well before that heartbeat and has not arrived is lost: no need to wait for the whole retry time.
   */
  observed(lastIndex: number, sentMs: number): void {
    if (this.#state !== 'replicate' || this.#inflight === 0 || lastIndex >= this.#ends[this.#head]!) return
    if (sentMs >= this.#leftMs[this.#head]! + this.#retry.probeMs + this.#allowance()) this.becomeProbe()
  }

  #allowance(): number {
    return this.#inflightBytes / slowestBytesPerMs
  }

  #clearInflight(): void {
    this.#head = 0
    this.#inflight = 0
    this.#inflightBytes = 0
  }
}

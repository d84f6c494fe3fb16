/**
 * The clockwork of elections on one node: when it campaigns, until when it may not vote, and who has answered. Pure:
 * the role, the term and the vote themselves are `Raft`'s.
 */
import type { NodeId, Timing } from './types.ts'

export class Election {
  readonly #timing: Timing
  readonly #random: () => number
  /** When this node campaigns unless it hears from a leader. */
  dueMs = Infinity
  /** When a candidate asks again those who have not answered. */
  resendMs = Infinity
  /** Until then a leader may hold a lease that this node has acknowledged: no votes (rule 3). */
  stickyUntilMs: number
  /** Until then the candidate that got this node's vote is left alone to win. */
  graceUntilMs = -Infinity
  /** Until then this node's disk is believed to be stuck: it does not campaign (rule 9). */
  stalledUntilMs = -Infinity
  /** Votes or pre-votes of the present campaign. */
  readonly answers = new Map<NodeId, boolean>()
  /** The present campaign was asked for by the leader. */
  isTransfer = false
  /**
   * Votes cast since a leader was last known. Many: elections collide, or disks and network are slower than the
   * timeouts.
   */
  #contention = 0

  constructor(timing: Timing, random: () => number, stickyUntilMs: number) {
    this.#timing = timing
    this.#random = random
    this.stickyUntilMs = stickyUntilMs
  }

  /**
   * Milliseconds of silence, at random so that elections seldom collide. `first`: in the first half of the range;
   * `second`: in the second half and half a heartbeat later, so that who goes first has won by then, unless it is down.
   */
  timeout(turn: 'any' | 'first' | 'second' = 'any'): number {
    const { heartbeatMs, minElectionMs, maxElectionMs } = this.#timing
    const range = maxElectionMs - minElectionMs
    const at = this.#random() * range
    if (turn === 'any') return minElectionMs + at
    return minElectionMs + at / 2 + (turn === 'first' ? 0 : range / 2 + heartbeatMs / 2)
  }

  /** The same for a candidate; more if elections keep failing. */
  campaignTimeout(): number {
    return this.timeout() * this.#patience()
  }

  /** A refused or split election is repeated soon; the timeout proper has already passed. Milliseconds. */
  pause(): number {
    return this.#timing.heartbeatMs * (0.5 + this.#random()) * this.#patience()
  }

  /** A leader's message arrived: no votes for a minimum election timeout. */
  heardLeader(now: number): void {
    this.settled()
    this.stickTo(now)
  }

  /** This node acknowledged (or, as leader, sent) a heartbeat at `heartbeatMs`. */
  stickTo(heartbeatMs: number): void {
    this.stickyUntilMs = Math.max(this.stickyUntilMs, heartbeatMs + this.#timing.minElectionMs)
  }

  /** There is a leader: the next election starts afresh. */
  settled(): void {
    this.#contention = 0
    this.resendMs = Infinity
  }

  /** A vote was cast (for this node itself, perhaps): others must not outbid it before it can have won. */
  voted(now: number): void {
    this.#contention += 1
    this.graceUntilMs = now + this.#timing.heartbeatMs * 1.5 * this.#patience()
  }

  /** A campaign begins, with this node's own answer. */
  begin(self: NodeId): void {
    this.answers.clear()
    this.answers.set(self, true)
    this.resendMs = Infinity
  }

  /** The campaign is over, or there is none. */
  end(): void {
    this.answers.clear()
    this.resendMs = Infinity
  }

  /** Elections that keep failing need more time each: 1, 2, 4, 8, 16. */
  #patience(): number {
    return 2 ** Math.max(0, Math.min(this.#contention - 1, 4))
  }
}

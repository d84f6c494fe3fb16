/**
 * Who should lead when it can: the preferred node, and those that are passed over for a while because a hand-over to
 * them has just failed. Survives the leaderships of one process. Pure.
 */
import type { Preference } from './options.ts'
import type { Progress } from './progress.ts'
import type { Membership, NodeId, Timing } from './types.ts'

/** Election timeouts (the longest) before a hand-over that came to nothing is tried again by itself. */
const pauseTimeouts = 20

export class Preferred {
  readonly #self: NodeId
  readonly #pauseMs: number
  #preference: Preference = { preferred: '', preempt: false, preemptDelayMs: 0 }
  /** Until then the driver is not asked again to hand over to the preferred node. */
  #askedUntilMs = -Infinity
  readonly #avoidUntilMs = new Map<NodeId, number>()

  constructor(self: NodeId, timing: Timing) {
    this.#self = self
    this.#pauseMs = timing.maxElectionMs * pauseTimeouts
  }

  /** Empty string for nobody. */
  get id(): NodeId {
    return this.#preference.preferred
  }

  /** Returns whether it is another node than before. */
  set(preference: Preference): boolean {
    const isOther = preference.preferred !== this.id
    this.#preference = preference
    if (isOther) this.#askedUntilMs = -Infinity
    return isOther
  }

  /** There is one, and it may lead for good: a witness hands over at once. */
  mayLead(membership: Membership): boolean {
    if (this.id === '') return false
    for (const { id, role } of membership.voters) if (id === this.id) return role === 'node'
    return false
  }

  /** When this node times out, compared with the others, after a leadership of `leader` (empty string if unknown). */
  turn(membership: Membership, leader: NodeId): 'any' | 'first' | 'second' {
    if (this.id === this.#self) return 'first'
    // Nobody waits for a preferred node that was the leader and is silent.
    return this.id !== leader && this.mayLead(membership) ? 'second' : 'any'
  }

  /** A hand-over to this node has failed: it is not chosen again by itself for a while. */
  avoid(id: NodeId, now: number): void {
    this.#avoidUntilMs.set(id, now + this.#pauseMs)
  }

  avoids(id: NodeId, now: number): boolean {
    return (this.#avoidUntilMs.get(id) ?? -Infinity) > now
  }

  /**
   * Whether this leader should hand over to the preferred node now, which has caught up and is seen as `progress`. If
   * so, not again for a while.
   */
  takesOver(membership: Membership, progress: Progress, now: number): boolean {
    const { preempt, preemptDelayMs } = this.#preference
    if (!preempt || this.id === this.#self || now - progress.answeringSinceMs < preemptDelayMs) return false
    if (now < this.#askedUntilMs || this.avoids(this.id, now) || !this.mayLead(membership)) return false
    this.#askedUntilMs = now + this.#pauseMs
    return true
  }
}

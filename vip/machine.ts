/**
 * The lease machine: from leases, fitness and time to whether this node may answer for its VIPs now, and when it has to
 * announce them. Pure: every instant comes in as an argument (milliseconds of one monotonic clock).
 *
 * Safety rules: holding needs an unexpired lease, whatever else is known (1); after `close` nothing of the same term opens
 * again (4); after a pause the lease is checked against the time of the call, not of the last one (6).
 */
import type { VipLease } from './types.ts'

/** Instants after the acquisition at which a VIP is announced, milliseconds; then every `announceEveryMs`. */
export const announceAtMs: readonly number[] = [0, 100, 500, 2000]
export const announceEveryMs = 60_000

export class VipMachine {
  #lease: VipLease = null
  #fit = false
  /** Leases of this term and of earlier ones are void: the fence was closed on purpose. */
  #closedTerm = -1
  #highestTerm = -1
  /** Since when it has been held without interruption; undefined when it is not. */
  #heldSinceMs: number | undefined
  #announced = 0

  lease(lease: VipLease): void {
    if (lease !== null) this.#highestTerm = Math.max(this.#highestTerm, lease.term)
    // An older lease can arrive late, never shorten a newer one's right; null always ends it.
    const current = this.#lease
    if (lease !== null && current !== null) {
      if (lease.term < current.term) return
      if (lease.term === current.term && lease.untilMs < current.untilMs) return
    }
    this.#lease = lease
  }

  setFit(fit: boolean): void {
    this.#fit = fit
  }

  /** Gives up for the rest of every term seen so far. */
  close(): void {
    this.#closedTerm = this.#highestTerm
    this.#lease = null
  }

  /** The instant until which this node may answer, or undefined: it may not. */
  mayAnswerUntil(nowMs: number): number | undefined {
    const lease = this.#lease
    if (lease === null || !this.#fit || lease.term <= this.#closedTerm || lease.untilMs <= nowMs) {
      this.#heldSinceMs = undefined
      return undefined
    }
    return lease.untilMs
  }

  /** Says that the VIPs have just become held (fence open, addresses added). Starts the announcements. */
  acquired(nowMs: number): void {
    if (this.#heldSinceMs !== undefined) return
    this.#heldSinceMs = nowMs
    this.#announced = 0
  }

  /** When the next announcement is due; undefined when not held. */
  announcementDueMs(): number | undefined {
    if (this.#heldSinceMs === undefined) return undefined
    const listed = announceAtMs[this.#announced]
    if (listed !== undefined) return this.#heldSinceMs + listed
    const last = announceAtMs.at(-1)!
    return this.#heldSinceMs + last + (this.#announced - announceAtMs.length + 1) * announceEveryMs
  }

  /** True exactly once per due announcement, and only while this node may answer. Missed ones are not made up for. */
  takeAnnouncement(nowMs: number): boolean {
    if (this.mayAnswerUntil(nowMs) === undefined) return false
    const due = this.announcementDueMs()
    if (due === undefined || due > nowMs) return false
    do this.#announced++
    while (this.announcementDueMs()! <= nowMs)
    return true
  }

  /** Announce as if just acquired: an address was added later, or a foreign claim was seen. */
  announceAgain(nowMs: number): void {
    if (this.#heldSinceMs === undefined) return
    this.#heldSinceMs = nowMs
    this.#announced = 0
  }
}

/**
 * The clock of the lease: when each heartbeat was *sent* (safety rule 2). A majority that acknowledges heartbeat n has
 * heard from the leader no earlier than n was sent, and refuses to elect another one for a minimum election timeout
 * from then on (safety rule 3); so a lease that is counted from the sending and is shorter than that timeout by more
 * than clocks drift is over before another leader exists (dissertation §6.4.1). Pure.
 */
import type { Timing } from './types.ts'

/** Clock rates of two nodes may differ by this much from true time, each in its own direction. */
export const maxDrift = 0.05

/** Heartbeats whose sending time is remembered. Older ones could not extend any lease. */
const remembered = 256

/** Throws if the timing could not keep the promise of the lease; a wrong configuration must not start. */
export function checkTiming(timing: Timing): void {
  const { heartbeatMs, leaseMs, minElectionMs, maxElectionMs } = timing
  for (const [name, value] of Object.entries(timing)) {
    if (!Number.isFinite(value) || value <= 0) {
      throw new Error(`timing: ${name} must be a positive number of milliseconds`)
    }
  }
  if (heartbeatMs >= leaseMs) {
    throw new Error(`timing: heartbeat ${heartbeatMs} ms is not shorter than lease ${leaseMs} ms`)
  }
  if (leaseMs / (1 - maxDrift) >= minElectionMs / (1 + maxDrift)) {
    throw new Error(`timing: lease ${leaseMs} ms leaves no margin for drift below minElection ${minElectionMs} ms`)
  }
  if (maxElectionMs < minElectionMs) {
    throw new Error(`timing: maxElection ${maxElectionMs} ms is below minElection ${minElectionMs} ms`)
  }
}

/** Sequence numbers of one leadership's heartbeats and the instants at which they were sent. */
export class HeartbeatClock {
  #sequence = 0
  #sentMs = new Float64Array(remembered)

  /** The newest sequence number, 0 before the first. */
  get sequence(): number {
    return this.#sequence
  }

  /** Registers a heartbeat that is about to be sent; returns its sequence number. */
  sent(now: number): number {
    this.#sequence += 1
    this.#sentMs[this.#sequence % remembered] = now
    return this.#sequence
  }

  /** When `sequence` was sent; undefined if it never was or is too old to matter. */
  sentAt(sequence: number): number | undefined {
    if (sequence < 1 || sequence > this.#sequence || sequence <= this.#sequence - remembered) return undefined
    return this.#sentMs[sequence % remembered]
  }
}

/** When a member turns up or down: a count of probe results in a row. Pure. */
import type { MemberHealth } from '../observe/counters.ts'

/** What the probes say about a member; `checking` until they have said enough. */
export type Verdict = Extract<MemberHealth, 'checking' | 'up' | 'down'>

export interface Thresholds {
  /** Successes in a row that bring a member that is down up again. */
  readonly rise: number
  /** Failures in a row that take a member down. */
  readonly fall: number
}

export interface Transitions {
  readonly verdict: Verdict
  /** Results in a row that speak against the verdict: failures while up or checking, successes while down. */
  readonly against: number
  /** How often the verdict turned between up and down since the first one. A member that flaps shows here. */
  readonly turns: number
}

export const unchecked: Transitions = { verdict: 'checking', against: 0, turns: 0 }

/**
 * The state after one more probe.
 *
 * The first success after a start brings the member up at once, whatever `rise` is: a node that has just started must not
 * turn traffic away from healthy members. The first `down` takes `fall` failures like any other.
 */
export function afterProbe(before: Transitions, success: boolean, { rise, fall }: Thresholds): Transitions {
  const { verdict, against, turns } = before
  switch (verdict) {
    case 'checking':
      if (success) return { verdict: 'up', against: 0, turns }
      return against + 1 >= fall ? { verdict: 'down', against: 0, turns } : { verdict, against: against + 1, turns }
    case 'up':
      if (success) return against === 0 ? before : { verdict, against: 0, turns }
      return against + 1 >= fall ? { verdict: 'down', against: 0, turns: turns + 1 } : { verdict, against: against + 1, turns }
    case 'down':
      if (!success) return against === 0 ? before : { verdict, against: 0, turns }
      return against + 1 >= rise ? { verdict: 'up', against: 0, turns: turns + 1 } : { verdict, against: against + 1, turns }
    default:
      throw new Error(`unknown verdict ${String(verdict satisfies never)}`)
  }
}

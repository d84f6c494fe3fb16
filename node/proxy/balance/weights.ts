/**
 * The weight that a member has at the moment: the configured one times factors, in steps of a sixteenth, so that schedules and
 * tables are made anew only when something has really changed. Pure.
 */

/** A factor of 1, in the unit of all factors here. */
export const sixteenths = 16
/** The least that measurements leave of a weight: an eighth, enough to see when a member is well again. */
const lowest = 2

/**
 * @param weight as configured
 * @param factors in sixteenths, each 1 to 16
 * @returns a whole number, in sixteenths of a configured weight; 0 only for weight 0
 */
export function effectiveWeight(weight: number, slowStart: number, dynamic: number): number {
  if (weight === 0) return 0
  return Math.max(1, Math.round((weight * slowStart * dynamic) / sixteenths))
}

/** What was measured of a member lately: sums in which each second counts less than the one after it. */
export interface Measure {
  readonly requests: number
  readonly errors: number
  readonly answers: number
  /** Of all answers together, microseconds. */
  readonly latencyUs: number
}
export const unmeasured: Measure = { requests: 0, errors: 0, answers: 0, latencyUs: 0 }

/** What of a second's sums is left after another one. */
const keptPerSecond = 0.8
/** With fewer than so many nothing is said. */
const enough = 8

/** The sums after one more second in which this much came to them. */
export function measureSecond(before: Measure, added: Measure): Measure {
  return {
    requests: before.requests * keptPerSecond + added.requests,
    errors: before.errors * keptPerSecond + added.errors,
    answers: before.answers * keptPerSecond + added.answers,
    latencyUs: before.latencyUs * keptPerSecond + added.latencyUs,
  }
}

/** A member may be so much slower than the typical one before it loses weight. */
const tolerance = 1.5
/** A factor moves by at most so many sixteenths in a second: what traffic does to latency must be seen before the next step. */
const stepPerSecond = 2

/**
 * What measurements make of the members' weights. The typical latency is the (lower) median of the pool, so that one fast or slow
 * member does not move the others; a member's factor is typical ÷ own latency, times the square of its share of successes.
 * @param measures per member
 * @param before the factors of a second ago, sixteenths
 * @returns factors in sixteenths, 2 to 16
 */
export function dynamicFactors(measures: readonly Measure[], before: readonly number[]): number[] {
  const latencies = measures.map(({ answers, latencyUs }) => (answers >= enough ? latencyUs / answers : 0))
  const known = latencies.filter((latency) => latency > 0).toSorted((a, b) => a - b)
  const typical = known[(known.length - 1) >> 1] ?? 0
  return measures.map(({ requests, errors }, member) => {
    const latency = latencies[member]!
    const byLatency = latency > typical * tolerance ? (typical * tolerance) / latency : 1
    const success = requests >= enough ? 1 - Math.min(1, errors / requests) : 1
    const wanted = Math.min(sixteenths, Math.max(lowest, byLatency * success * success * sixteenths))
    const now = before[member]!
    // Less than a step is noise, except on the way back to the whole weight.
    if (Math.abs(wanted - now) < 1 && wanted !== sixteenths) return now
    return Math.round(Math.min(now + stepPerSecond, Math.max(now - stepPerSecond, wanted)))
  })
}

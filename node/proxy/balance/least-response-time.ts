/**
 * Least response time by peak EWMA: a member's cost is its recent latency times what it has to do, so that one that begins to be
 * slow loses traffic within one answer, and gets it back as the memory of its peak fades (Finagle's `peakEwma`). Pure.
 */

/** The memory of a peak fades by a factor of e in this time, milliseconds (Finagle's default). */
const decayMs = 10_000
/** The fading is read from a table in steps of this, milliseconds: as fine as the clock that ages are measured with. */
const stepMs = 100
const fading = Float64Array.from({ length: 1000 }, (_, step) => Math.exp((-step * stepMs) / decayMs))

/** The cost of a member of which nothing is known but that has been asked already: it gets no more before it has answered. */
const unknownUs = 1e9
/** A failure counts as an answer after so long, microseconds: who fails fast must not look fast. */
export const failureUs = 1_000_000
/** Largest latency that is kept, microseconds. */
const longestUs = 0x7fffffff

/** The clocks of two workers are looked at a sweep apart: what one has just measured may lie ahead of the other's clock by so much. */
const aheadMs = 60_000

/** What is left of a latency after some time, in the latency's unit. `ageMs` far below 0 (a clock that went round) is long ago. */
export function faded(latencyUs: number, ageMs: number): number {
  if (ageMs < 0) return ageMs > -aheadMs ? latencyUs : 0
  const step = (ageMs / stepMs) | 0
  return step < fading.length ? latencyUs * fading[step]! : 0
}

/**
 * The latency after one more answer.
 * @param beforeUs what was known, microseconds; 0: nothing
 * @param ageMs since when, milliseconds
 * @param sampleUs the new answer's, microseconds
 * @returns microseconds, a whole number ≥ 1
 */
export function peakEwma(beforeUs: number, ageMs: number, sampleUs: number): number {
  const sample = Math.max(1, sampleUs)
  // Exactly, not by the table: many short ages must add up.
  const kept = ageMs <= -aheadMs ? 0 : Math.exp(-Math.max(0, ageMs) / decayMs)
  const old = beforeUs * kept
  const next = sample > old ? sample : old + sample * (1 - kept)
  return Math.min(longestUs, Math.max(1, Math.round(next)))
}

/**
 * @param weights per member; 0 or not eligible: never picked
 * @param active requests per member now, over all workers; Infinity: it has no place left
 * @param latencyUs per member, faded to now, microseconds; 0: nothing is known
 * @param start where to begin among equals, so that ties go round
 * @param excluded members already tried for this request
 * @returns an index, or -1
 */
export function leastResponseTime(
  weights: ArrayLike<number>,
  active: (member: number) => number,
  latencyUs: (member: number) => number,
  start: number,
  excluded: readonly number[],
): number {
  const { length } = weights
  let best = -1
  let bestCost = Infinity
  for (let step = 0; step < length; step++) {
    const at = start + step
    const member = at < length ? at : at - length
    const weight = weights[member]!
    if (weight === 0 || (excluded.length > 0 && excluded.includes(member))) continue
    const busy = active(member)
    const latency = latencyUs(member)
    const cost = latency > 0 ? (latency * (busy + 1)) / weight : busy === 0 ? 0 : (unknownUs * (busy + 1)) / weight
    if (cost < bestCost) {
      best = member
      bestCost = cost
    }
  }
  return best
}

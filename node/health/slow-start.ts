/** How the share of a member grows after it came up. Pure. */

/** Factors are whole sixteenths, so that weights change in few steps. */
const steps = 16
/** The first step: enough to warm up, and to see whether it works. */
const least = 2

/**
 * Linear over the time, from an eighth.
 * @param sinceUpMs since it came up, milliseconds
 * @param slowStartMs 0: none
 * @returns sixteenths of its weight, 2 to 16
 */
export function slowStartFactor(sinceUpMs: number, slowStartMs: number): number {
  if (sinceUpMs >= slowStartMs) return steps
  return Math.max(least, Math.min(steps, Math.floor((sinceUpMs / slowStartMs) * steps)))
}

/**
 * The factors of a pool's members that are up. The one that has been up longest has its whole weight: when all have come up
 * together (a start, the end of an outage) they share as always, and nobody waits.
 * @param sinceUpMs per member, milliseconds; undefined: not up
 */
export function slowStartFactors(sinceUpMs: readonly (number | undefined)[], slowStartMs: number): number[] {
  const factors = sinceUpMs.map((since) => (since === undefined ? steps : slowStartFactor(since, slowStartMs)))
  let most = 0
  sinceUpMs.forEach((since, member) => {
    if (since !== undefined) most = Math.max(most, factors[member]!)
  })
  if (most === 0 || most === steps) return factors
  return factors.map((factor, member) => (sinceUpMs[member] === undefined ? factor : Math.max(least, Math.round((factor * steps) / most))))
}

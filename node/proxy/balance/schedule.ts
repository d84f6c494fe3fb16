/**
 * Round robin, smooth and weighted, as a schedule: the order in which members are picked, in which each appears as often as
 * its weight and as evenly spread as can be. A cursor that all workers share walks through it, so that the order is exact
 * across workers. Pure.
 */

/** A schedule is at most this long; larger sums of weights are scaled down (every positive weight keeps at least one place). */
export const maxScheduleLength = 65_536

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/**
 * @param weights per member; 0: never picked
 * @returns indices into `weights`; empty when none has a weight
 */
export function schedule(weights: readonly number[]): Uint32Array {
  let divisor = 0
  let total = 0
  for (const weight of weights) {
    divisor = gcd(divisor, weight)
    total += weight
  }
  if (total === 0) return new Uint32Array(0)
  const scale = Math.max(divisor, total / maxScheduleLength)
  const places: { at: number; member: number }[] = []
  weights.forEach((weight, member) => {
    if (weight === 0) return
    const times = Math.max(1, Math.round(weight / scale))
    for (let k = 0; k < times; k++) places.push({ at: (k + 0.5) / times, member })
  })
  places.sort((a, b) => a.at - b.at || a.member - b.member)
  return Uint32Array.from(places, (place) => place.member)
}

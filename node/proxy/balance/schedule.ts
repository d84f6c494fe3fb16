/**
 * Round robin, smooth and weighted, as a schedule: the order in which members are picked, in which each appears as often as
 * its weight and as evenly spread as can be. A cursor that all workers share walks through it, so that the order is exact
 * across workers. Pure.
 */

/** A schedule is at most this long; larger sums of weights are scaled down (every positive weight keeps at least one place). */
export const maxScheduleLength = 65_536

/** Members that a schedule can tell apart (a document allows 4096 in a pool). */
const memberBits = 13
const maxMembers = 1 << memberBits
/** Places are ordered in steps of this share of the round: with the member behind it still an exact number. */
const steps = 2 ** (53 - memberBits)

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/**
 * @param weights per member, whole numbers; 0: never picked
 * @returns indices into `weights`; empty when none has a weight
 */
export function schedule(weights: ArrayLike<number>, maxLength = maxScheduleLength): Uint32Array {
  const members = weights.length
  if (members > maxMembers) throw new Error(`a schedule of ${members} members`)
  let divisor = 0
  let total = 0
  for (let member = 0; member < members; member++) {
    divisor = gcd(divisor, weights[member]!)
    total += weights[member]!
  }
  if (total === 0) return new Uint32Array(0)
  const scale = Math.max(divisor, total / maxLength)
  const times = (member: number): number => (weights[member] === 0 ? 0 : Math.max(1, Math.round(weights[member]! / scale)))
  let length = 0
  for (let member = 0; member < members; member++) length += times(member)
  // Where in the round, and the member behind it, in one number: sorted without an object per place.
  const places = new Float64Array(length)
  let at = 0
  for (let member = 0; member < members; member++) {
    const count = times(member)
    for (let k = 0; k < count; k++) places[at++] = Math.floor(((k + 0.5) / count) * steps) * maxMembers + member
  }
  places.sort()
  return Uint32Array.from(places, (place) => place % maxMembers)
}

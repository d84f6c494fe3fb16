/**
 * Random of two choices, weighted: two members are drawn by weight, the less busy one is taken. Nearly as even as least
 * connections, without looking at every member (Mitzenmacher, “The Power of Two Choices in Randomized Load Balancing”, 2001). Pure.
 */
import { firstAvailable } from './first-available.ts'
import { mix32 } from './hash.ts'

/** Places of the schedule looked at for a draw that falls on a member which cannot be taken. */
const reach = 64

/**
 * @param order from `schedule`, of eligible members only: a place in it is a draw by weight
 * @param weights what it was made of
 * @param draw a running number; its hash is the randomness
 * @param active connections per member now; Infinity: it has no place left
 * @param excluded members already tried for this request
 * @param take takes a place of the member; false: it has none left
 * @returns an index into the weights, or -1
 */
export function randomTwoChoices(
  order: ArrayLike<number>,
  weights: ArrayLike<number>,
  draw: number,
  active: (member: number) => number,
  excluded: readonly number[],
  take: (member: number) => boolean,
): number {
  const { length } = order
  if (length === 0) return -1
  const random = mix32(draw)
  const one = drawn(order, random % length, excluded, -1)
  const two = one < 0 ? -1 : drawn(order, mix32(random ^ 0x5bd1e995) % length, excluded, one)
  if (two < 0) {
    if (one >= 0 && take(one)) return one
  } else {
    const oneFirst = (active(one) + 1) / weights[one]! <= (active(two) + 1) / weights[two]!
    if (take(oneFirst ? one : two)) return oneFirst ? one : two
    if (take(oneFirst ? two : one)) return oneFirst ? two : one
  }
  return firstAvailable(weights, random % weights.length, excluded, take)
}

/** The member at a place of the schedule, or the next one there that is neither excluded nor the other draw. */
function drawn(order: ArrayLike<number>, from: number, excluded: readonly number[], other: number): number {
  const { length } = order
  let at = from
  for (let step = Math.min(reach, length); step > 0; step--) {
    const member = order[at]!
    if (member !== other && (excluded.length === 0 || !excluded.includes(member))) return member
    if (++at === length) at = 0
  }
  return -1
}

/** Round robin over a prepared schedule. Pure: the cursor comes in. */
import { firstAvailable } from './first-available.ts'

/** Places of the schedule looked at before the members are gone through one by one: a heavy member can fill many in a row. */
const reach = 64

/**
 * @param order from `schedule`, of eligible members only
 * @param weights what it was made of
 * @param cursor a running number, one more for each pick
 * @param excluded members already tried for this request
 * @param take takes a place of the member; false: it has none left
 * @returns an index into the weights, or -1
 */
export function roundRobin(
  order: ArrayLike<number>,
  weights: ArrayLike<number>,
  cursor: number,
  excluded: readonly number[],
  take: (member: number) => boolean,
): number {
  const { length } = order
  if (length === 0) return -1
  let at = cursor % length
  for (let step = Math.min(reach, length); step > 0; step--) {
    const member = order[at]!
    if ((excluded.length === 0 || !excluded.includes(member)) && take(member)) return member
    if (++at === length) at = 0
  }
  return firstAvailable(weights, cursor % weights.length, excluded, take)
}

/** Round robin over a prepared schedule. Pure: the cursor comes in. */

/**
 * @param order from `schedule`, of eligible members only
 * @param cursor a running number, one more for each pick
 * @param excluded members already tried for this request
 * @returns an index into the weights that the schedule was made of, or -1
 */
export function roundRobin(order: Uint32Array, cursor: number, excluded: readonly number[]): number {
  const { length } = order
  if (length === 0) return -1
  const from = cursor % length
  for (let step = 0; step < length; step++) {
    const member = order[(from + step) % length]!
    if (excluded.length === 0 || !excluded.includes(member)) return member
  }
  return -1
}

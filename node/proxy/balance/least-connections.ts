/** Least connections, weighted: the member whose share of connections is smallest. Pure. */

/**
 * @param weights per member; 0 or not eligible: never picked
 * @param active connections per member now, over all workers
 * @param start where to begin among equals, so that ties go round
 * @param excluded members already tried for this request
 * @returns an index, or -1
 */
export function leastConnections(
  weights: ArrayLike<number>,
  active: (member: number) => number,
  start: number,
  excluded: readonly number[],
): number {
  const { length } = weights
  let best = -1
  let bestLoad = Infinity
  for (let step = 0; step < length; step++) {
    const member = (start + step) % length
    const weight = weights[member]!
    if (weight === 0 || (excluded.length > 0 && excluded.includes(member))) continue
    const load = (active(member) + 1) / weight
    if (load < bestLoad) {
      best = member
      bestLoad = load
    }
  }
  return best
}

/** First available: the first member, in the document's order, that has a place left; the next ones get what overflows. Pure. */

/**
 * @param weights per member; 0: not eligible
 * @param start where to begin; goes round
 * @param excluded members already tried for this request
 * @param take takes a place of the member; false: it has none left
 * @returns an index, or -1
 */
export function firstAvailable(
  weights: ArrayLike<number>,
  start: number,
  excluded: readonly number[],
  take: (member: number) => boolean,
): number {
  const { length } = weights
  for (let step = 0; step < length; step++) {
    const at = start + step
    const member = at < length ? at : at - length
    if (weights[member] === 0 || (excluded.length > 0 && excluded.includes(member))) continue
    if (take(member)) return member
  }
  return -1
}

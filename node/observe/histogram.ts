/**
 * Latency histograms with fixed bounds, six to a decade from 0.1 ms to 100 s: a percentile read from one is off by at most a
 * quarter of its value, whatever the distribution. Pure.
 */

const steps = [1, 1.5, 2, 3, 5, 7]
/** Upper bounds of all buckets but the last, milliseconds, ascending; the last bucket has no bound. */
export const boundsMs: readonly number[] = [...[0.1, 1, 10, 100, 1000, 10_000].flatMap((decade) => steps.map((step) => step * decade)), 100_000]
/** Buckets of a histogram. */
export const bucketCount = boundsMs.length + 1
/** What a histogram keeps: its buckets, then the sum of all values in milliseconds. */
export const histogramStride = bucketCount + 1

const bounds = Float64Array.from(boundsMs)

/** The bucket of a value: the first whose bound is not below it. */
export function bucketOf(ms: number): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (bounds[middle]! < ms) low = middle + 1
    else high = middle
  }
  return low
}

/** A histogram as numbers: counts by bucket (not cumulative), and the sum of all values. */
export interface Histogram {
  readonly counts: readonly number[]
  readonly sumMs: number
}

export function countOf({ counts }: Histogram): number {
  let sum = 0
  for (const count of counts) sum += count
  return sum
}

/** What came since an earlier state of the same histogram; all of it if it has been reset since. */
export function since(now: Histogram, before: Histogram | undefined): Histogram {
  if (before === undefined || now.counts.some((count, i) => count < before.counts[i]!)) return now
  return { counts: now.counts.map((count, i) => count - before.counts[i]!), sumMs: now.sumMs - before.sumMs }
}

/**
 * The value that a share of all values does not exceed, by straight lines inside buckets; the last bucket counts as its lower bound.
 * @param share 0 to 1
 * @returns milliseconds; undefined for an empty histogram
 */
export function quantile({ counts }: Histogram, share: number): number | undefined {
  const total = countOf({ counts, sumMs: 0 })
  if (total === 0) return undefined
  const wanted = share * total
  let before = 0
  for (let bucket = 0; bucket < counts.length; bucket++) {
    const count = counts[bucket]!
    if (count > 0 && before + count >= wanted) {
      const low = bucket === 0 ? 0 : boundsMs[bucket - 1]!
      const high = boundsMs[bucket]
      return high === undefined ? low : low + ((high - low) * (wanted - before)) / count
    }
    before += count
  }
  return boundsMs.at(-1)
}

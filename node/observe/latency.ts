/** How long requests of a pool took of late, for the overview: percentiles over the last half minute. Pure. */
import { countOf, quantile, since, type Histogram } from './histogram.ts'
import type { TrafficReport } from './traffic.ts'

/** Time to the first byte of an answer over the last half minute or so, milliseconds. */
export interface Latency {
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
}

const keptEveryMs = 5000
const windowMs = 30_000

/** Remembers the running totals of half a minute. */
export class LatencyWindow {
  /** The oldest one first. */
  readonly #kept: { readonly atMs: number; readonly histogram: Histogram }[] = []

  /**
   * Takes the running total as it is now.
   * @returns undefined when nothing came within the window
   */
  take(histogram: Histogram, nowMs: number): Latency | undefined {
    const kept = this.#kept
    // The newest of those that are a whole window old is where the window begins.
    while (kept.length > 1 && kept[1]!.atMs <= nowMs - windowMs) kept.shift()
    const recent = since(histogram, kept[0]?.histogram)
    if (kept.length === 0 || nowMs - kept.at(-1)!.atMs >= keptEveryMs) kept.push({ atMs: nowMs, histogram })
    if (countOf(recent) === 0) return undefined
    return { p50Ms: quantile(recent, 0.5)!, p90Ms: quantile(recent, 0.9)!, p99Ms: quantile(recent, 0.99)! }
  }
}

export interface PoolLatency extends Latency {
  readonly pool: string
}

/** Pools that are reported at once: reports travel to all nodes, and have to stay small. */
const maxPools = 256

/** The latencies of all pools that have had requests of late. */
export class PoolLatencies {
  readonly #windows = new Map<string, LatencyWindow>()

  take(pools: TrafficReport['pools'], nowMs: number): PoolLatency[] {
    const found: PoolLatency[] = []
    const names = new Set<string>()
    for (const { pool, counters } of pools) {
      names.add(pool)
      let window = this.#windows.get(pool)
      if (window === undefined) this.#windows.set(pool, (window = new LatencyWindow()))
      const latency = window.take(counters.firstByte, nowMs)
      if (latency !== undefined && found.length < maxPools) found.push({ pool, ...latency })
    }
    for (const pool of this.#windows.keys()) if (!names.has(pool)) this.#windows.delete(pool)
    return found
  }
}

/**
 * A token bucket as one number: the time at which it will be full again. That is all a bucket has to remember (the generic cell
 * rate algorithm, ITU-T I.371 annex A, in its virtual-scheduling form); an unused bucket is any time in the past. Pure.
 */

/** How fast a bucket fills and how much it holds. */
export interface Rate {
  /** Time in which one token comes, milliseconds. */
  readonly intervalMs: number
  /** Tokens that a full bucket holds; at least 1. */
  readonly burst: number
}

/** `requests` in each `perMs` milliseconds, at most `burst` at once. */
export function rateOf(requests: number, perMs: number, burst: number): Rate {
  return { intervalMs: perMs / requests, burst: Math.max(1, burst) }
}

/**
 * Takes one token.
 * @param fullAtMs when the bucket would be full
 * @returns when it will be full now, at least `nowMs`; or, if it is empty, the time until a token comes as a negative number
 */
export function takeToken({ intervalMs, burst }: Rate, fullAtMs: number, nowMs: number): number {
  const next = Math.max(fullAtMs, nowMs) + intervalMs
  const waitMs = next - nowMs - burst * intervalMs
  // Rounding of sums of fractions must not refuse what is due.
  return waitMs > 1e-6 * intervalMs ? -waitMs : next
}

/** Durations as operators write them (`250ms`, `5s`, `1m`, `1h`) and milliseconds. */

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3600_000 } as const

/**
 * Milliseconds, or undefined when the text is no duration. The count has at most nine digits, so that the product
 * (< 3.6 × 10¹⁵) is an exact integer; which durations a field takes is `durationLimits` in schema.ts.
 */
export function parseDuration(text: string): number | undefined {
  const match = /^(0|[1-9][0-9]{0,8})(ms|s|m|h)$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) * unitMs[match[2] as keyof typeof unitMs]
}

/** Milliseconds of a duration from a validated document; anything else is a bug of the caller and throws. */
export function durationMs(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined) throw new Error(`not a duration: ${JSON.stringify(text.slice(0, 40))}`)
  return ms
}

/** The shortest exact text: `90000` → `90s`. `ms` is a whole number ≥ 0. */
export function formatDuration(ms: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    if (ms > 0 && ms % unitMs[unit] === 0) return `${ms / unitMs[unit]}${unit}`
  }
  return `${ms}ms`
}

/** When a certificate needs attention: pure, so that console, metrics and log say the same. */

/** `soon` and `urgent`: it expires within the warning times. */
export type ExpiryState = 'ok' | 'soon' | 'urgent' | 'expired' | 'not-yet-valid'

export interface Validity {
  /** Milliseconds since the epoch. */
  readonly notBeforeEpochMs: number
  readonly notAfterEpochMs: number
}

const dayMs = 86_400_000
/** For certificates of a year. Those that live shorter are renewed later: a quarter and a tenth of their life count then. */
const soonMs = 30 * dayMs
const urgentMs = 7 * dayMs

export function expiryOf({ notBeforeEpochMs, notAfterEpochMs }: Validity, nowEpochMs: number): ExpiryState {
  const left = notAfterEpochMs - nowEpochMs
  const life = Math.max(0, notAfterEpochMs - notBeforeEpochMs)
  if (left <= 0) return 'expired'
  if (left < Math.min(urgentMs, life / 10)) return 'urgent'
  if (left < Math.min(soonMs, life / 4)) return 'soon'
  return notBeforeEpochMs > nowEpochMs ? 'not-yet-valid' : 'ok'
}

/** Whole days, rounded down; negative once it has expired. */
export function daysLeft(notAfterEpochMs: number, nowEpochMs: number): number {
  return Math.floor((notAfterEpochMs - nowEpochMs) / dayMs)
}

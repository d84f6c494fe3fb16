/** When a certificate needs attention, for those of a year and for short ones. */
import test from 'ava'
import { daysLeft, expiryOf } from './expiry.ts'

const dayMs = 86_400_000
const at = (lifeDays: number, leftDays: number): string => expiryOf({ notBeforeEpochMs: -lifeDays * dayMs + leftDays * dayMs, notAfterEpochMs: leftDays * dayMs }, 0)

test('a certificate of a year: from 30 days on, and from 7', (t) => {
  t.deepEqual([31, 30.5, 29.9, 7.1, 6.9, 0.1, 0, -1].map((left) => at(365, left)), ['ok', 'ok', 'soon', 'soon', 'urgent', 'urgent', 'expired', 'expired'])
})

test('one of six days: from a quarter and from a tenth of its life on', (t) => {
  t.deepEqual([1.6, 1.4, 0.61, 0.59].map((left) => at(6, left)), ['ok', 'soon', 'soon', 'urgent'])
})

test('one that begins later', (t) => {
  t.is(expiryOf({ notBeforeEpochMs: 10, notAfterEpochMs: 100 * dayMs }, 0), 'not-yet-valid')
  t.deepEqual([1.5, 0.5, -0.5].map((left) => daysLeft(left * dayMs, 0)), [1, 0, -1])
})

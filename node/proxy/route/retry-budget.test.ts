/** The retry budget against a plain count of what happened in the last ten seconds. */
import test from 'ava'
import fc from 'fast-check'
import { randomness } from '../../config/fixture/documents.ts'
import { RetryBudget } from './retry-budget.ts'

test('never more than the share of the last ten seconds and the floor, and never less', (t) => {
  const event = fc.record({ waitMs: fc.constantFrom(0, 0, 1, 10, 300, 999, 1000, 4000, 11_000, 60_000), retry: fc.boolean(), times: fc.integer({ min: 1, max: 40 }) })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 100 }), fc.array(event, { maxLength: 60 }), fc.nat(100_000), (percent, events, start) => {
      const budget = new RetryBudget(percent)
      const requests: number[] = []
      const retries: number[] = []
      let nowMs = start
      const recent = (list: readonly number[]): number => list.filter((at) => Math.floor(at / 1000) > Math.floor(nowMs / 1000) - 10).length
      for (const { waitMs, retry, times } of events) {
        nowMs += waitMs
        for (let i = 0; i < times; i++) {
          if (!retry) {
            requests.push(nowMs)
            budget.request(nowMs)
            continue
          }
          const allowed = recent(retries) < Math.floor((recent(requests) * percent) / 100) + 30
          if (budget.take(nowMs) !== allowed) throw new Error(`at ${nowMs}: expected ${allowed}`)
          if (allowed) retries.push(nowMs)
        }
      }
      t.pass()
      return true
    }),
    randomness(t, 500),
  )
})

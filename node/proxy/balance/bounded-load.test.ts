import test from 'ava'
import * as fc from 'fast-check'
import { capacity, hasCapacity } from './bounded-load.ts'
import { maglev, maglevTable } from './maglev.ts'

const weights = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 2, maxLength: 10 })

/** Places so many requests, of which `hot` percent ask for one key. */
function place(given: readonly number[], requests: number, hot: number, factor: number): number[] {
  const table = maglevTable(given.map((_, i) => `m${i}`), given, 1021)
  const totalWeight = given.reduce((a, b) => a + b, 0)
  const active = given.map(() => 0)
  for (let total = 0; total < requests; total++) {
    const key = total % 100 < hot ? 4711 : Math.imul(total, 0x9e3779b1) >>> 0
    const picked = maglev(table, table, given, key, [], (member) => hasCapacity(active[member]!, given[member]!, totalWeight, total, factor))
    if (picked < 0) throw new Error(`no member for request ${total}`)
    active[picked]!++
  }
  return active
}

test('nobody ever has more than c times its fair share, and everybody finds a place', (t) => {
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 400 }), fc.nat(100), fc.integer({ min: 101, max: 300 }), (given, requests, hot, percent) => {
      const totalWeight = given.reduce((a, b) => a + b, 0)
      const active = place(given, requests, hot, percent / 100)
      return active.every((count, member) => count <= capacity(given[member]!, totalWeight, requests - 1, percent / 100))
    }),
  )
  t.pass()
})

test('without load the choice is that of the hash', (t) => {
  t.true(hasCapacity(0, 1, 1000, 0, 1.01))
  fc.assert(fc.property(fc.integer({ min: 1, max: 256 }), fc.nat(1000), fc.integer({ min: 101, max: 1000 }), (weight, total, percent) => hasCapacity(0, weight, 4096 * 256, total, percent / 100)))
})

test('one hot key fills its own member to the bound, and the next ones after it', (t) => {
  const active = place([1, 1, 1, 1], 100, 100, 1.25).toSorted((a, b) => b - a)
  t.is(active[0], Math.ceil((1.25 * 100) / 4))
  t.is(active.reduce((a, b) => a + b, 0), 100)
})

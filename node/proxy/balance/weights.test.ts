import test from 'ava'
import * as fc from 'fast-check'
import { dynamicFactors, effectiveWeight, measureSecond, sixteenths, unmeasured, type Measure } from './weights.ts'

const measure = fc.record({ requests: fc.nat(10_000), errors: fc.nat(10_000), answers: fc.nat(10_000), latencyUs: fc.nat(1_000_000_000) })
const steady = (requests: number, errors: number, latencyUs: number): Measure => ({ requests, errors, answers: requests, latencyUs: latencyUs * requests })

/** The factors when the same is measured for so many seconds. */
function after(seconds: number, measures: readonly Measure[], from = measures.map(() => sixteenths)): number[] {
  let factors = from
  for (let second = 0; second < seconds; second++) factors = dynamicFactors(measures, factors)
  return factors
}

test('effective weights are whole numbers that are never 0 unless the weight is', (t) => {
  fc.assert(
    fc.property(fc.nat(256), fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 16 }), (weight, slowStart, dynamic) => {
      const effective = effectiveWeight(weight, slowStart, dynamic)
      if (weight === 0) return effective === 0
      return Number.isInteger(effective) && effective >= 1 && effective <= weight * sixteenths && Math.abs(effective - (weight * slowStart * dynamic) / 16) <= 1
    }),
  )
  t.is(effectiveWeight(3, 16, 16), 48)
})

test('factors are bounded, move by small steps, and stand still when nothing changes', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(measure, fc.integer({ min: 2, max: 16 })), { minLength: 1, maxLength: 8 }), (members) => {
      const measures = members.map(([one]) => one)
      const before = members.map(([, factor]) => factor)
      const next = dynamicFactors(measures, before)
      const settled = after(20, measures, before)
      return next.every((factor, at) => Number.isInteger(factor) && factor >= 2 && factor <= 16 && Math.abs(factor - before[at]!) <= 2)
        && dynamicFactors(measures, settled).every((factor, at) => factor === settled[at])
    }),
  )
  t.pass()
})

test('equal members keep their whole weight; a slow one loses some, a failing one too', (t) => {
  t.deepEqual(after(20, [steady(100, 0, 3000), steady(100, 0, 4000), steady(50, 0, 3500)]), [16, 16, 16])
  const [fast, alsoFast, slow] = after(20, [steady(100, 0, 2000), steady(100, 0, 2000), steady(100, 0, 12_000)])
  t.deepEqual([fast, alsoFast], [16, 16])
  t.is(slow, 4)
  const [well, failing, dead] = after(20, [steady(100, 0, 2000), steady(100, 30, 2000), steady(100, 100, 2000)])
  t.is(well, 16)
  t.is(failing, 8)
  t.is(dead, 2)
})

test('of two members the faster one is typical', (t) => {
  t.deepEqual(after(20, [steady(100, 0, 1000), steady(100, 0, 30_000)]), [16, 2])
})

test('without enough answers nothing is said, and a member comes back', (t) => {
  t.deepEqual(after(20, [steady(100, 0, 1000), steady(3, 3, 90_000)]), [16, 16])
  t.deepEqual(after(20, [unmeasured, unmeasured], [2, 9]), [16, 16])
})

test('what was measured fades: a minute later nothing of it is left', (t) => {
  let sums = measureSecond(unmeasured, steady(1000, 500, 9000))
  t.like(sums, { requests: 1000, errors: 500 })
  for (let second = 0; second < 60; second++) sums = measureSecond(sums, unmeasured)
  t.true(sums.requests < 1 && sums.errors < 1)
})

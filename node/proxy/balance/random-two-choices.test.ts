import test from 'ava'
import * as fc from 'fast-check'
import { randomTwoChoices } from './random-two-choices.ts'
import { schedule } from './schedule.ts'

const weights = fc.array(fc.integer({ min: 0, max: 32 }), { minLength: 1, maxLength: 12 })
const always = (): boolean => true

test('an eligible member is found whenever there is one, and never another', (t) => {
  fc.assert(
    fc.property(weights, fc.nat(), fc.array(fc.nat(11), { maxLength: 8 }), (given, draw, unusable) => {
      const order = schedule(given)
      const left = given.some((weight, member) => weight > 0 && !unusable.includes(member))
      const ofExcluded = randomTwoChoices(order, given, draw, () => 0, unusable, always)
      const ofFull = randomTwoChoices(order, given, draw, (member) => (unusable.includes(member) ? Infinity : 3), [], (member) => !unusable.includes(member))
      return [ofExcluded, ofFull].every((picked) => (left ? given[picked]! > 0 && !unusable.includes(picked) : picked === -1))
    }),
  )
  t.pass()
})

test('the busiest of several members gets nothing: the other draw is always less busy', (t) => {
  const given = [1, 1, 1, 1]
  const order = schedule(given)
  for (let draw = 0; draw < 1000; draw++) t.not(randomTwoChoices(order, given, draw, (member) => (member === 2 ? 9 : 1), [], always), 2)
})

test('open connections stay as the weights', (t) => {
  const given = [1, 2, 4, 8]
  const order = schedule(given)
  const active = [0, 0, 0, 0]
  for (let draw = 0; draw < 15_000; draw++) {
    active[randomTwoChoices(order, given, draw, (member) => active[member]!, [], always)]!++
  }
  given.forEach((weight, member) => t.true(Math.abs(active[member]! / 1000 - weight) / weight < 0.05, `${member}: ${active[member]}`))
})

test('the largest excess over the mean is small, as theory says, and that of one choice is not', (t) => {
  const given = Array.from({ length: 100 }, () => 1)
  const order = schedule(given)
  const active = Array.from({ length: 100 }, () => 0)
  const one = Array.from({ length: 100 }, () => 0)
  for (let draw = 0; draw < 10_000; draw++) {
    active[randomTwoChoices(order, given, draw, (member) => active[member]!, [], always)]!++
    one[randomTwoChoices(order, given, draw, () => 0, [], always)]!++
  }
  t.true(Math.max(...active) - 100 <= 6, `two choices: ${Math.max(...active)}`)
  t.true(Math.max(...one) - 100 > 10, `one choice: ${Math.max(...one)}`)
})

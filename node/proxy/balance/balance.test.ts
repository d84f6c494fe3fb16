import test from 'ava'
import * as fc from 'fast-check'
import { leastConnections } from './least-connections.ts'
import { roundRobin } from './round-robin.ts'
import { maxScheduleLength, schedule } from './schedule.ts'

const weights = fc.array(fc.integer({ min: 0, max: 256 }), { minLength: 1, maxLength: 12 })

test('a schedule gives each member exactly its weight', (t) => {
  fc.assert(
    fc.property(weights, (given) => {
      const order = schedule(given)
      const total = given.reduce((a, b) => a + b, 0)
      if (total === 0) return order.length === 0
      const counts = given.map((_, member) => order.filter((at) => at === member).length)
      return given.every((weight, member) => counts[member]! * total === weight * order.length)
    }),
  )
  t.pass()
})

test('a schedule spreads: in any stretch no member is more than two picks from its share', (t) => {
  fc.assert(
    fc.property(weights, fc.nat(), fc.nat(), (given, from, length) => {
      const order = schedule(given)
      if (order.length === 0) return true
      const total = given.reduce((a, b) => a + b, 0)
      const start = from % order.length
      const take = length % (order.length + 1)
      return given.every((weight, member) => {
        let picked = 0
        for (let i = 0; i < take; i++) if (order[(start + i) % order.length] === member) picked++
        return Math.abs(picked - (take * weight) / total) <= 2
      })
    }),
  )
  t.pass()
})

test('weights beyond the longest schedule are scaled down, and nobody with a weight is left out', (t) => {
  const given = Array.from({ length: 4096 }, (_, i) => 1 + (i % 256))
  const order = schedule(given)
  t.true(order.length <= maxScheduleLength + given.length)
  t.is(new Set(order).size, given.length)
})

test('round robin never picks an excluded member while another is left', (t) => {
  fc.assert(
    fc.property(weights, fc.nat(), fc.array(fc.nat({ max: 11 }), { maxLength: 6 }), (given, cursor, excluded) => {
      const picked = roundRobin(schedule(given), given, cursor, excluded, () => true)
      const left = given.some((weight, member) => weight > 0 && !excluded.includes(member))
      return left ? picked >= 0 && given[picked]! > 0 && !excluded.includes(picked) : picked === -1
    }),
  )
  t.pass()
})

test('round robin passes over members without a place left, and finds the one that has one wherever it is', (t) => {
  fc.assert(
    fc.property(weights, fc.nat(), fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (given, cursor, room) => {
      const taken: number[] = []
      const picked = roundRobin(schedule(given), given, cursor, [], (member) => room[member]! && taken.push(member) > 0)
      const left = given.some((weight, member) => weight > 0 && room[member]!)
      return left ? taken.length === 1 && taken[0] === picked && given[picked]! > 0 : picked === -1 && taken.length === 0
    }),
  )
  t.pass()
})

test('round robin finds a light member wherever the cursor is, when the heavy one is excluded or full', (t) => {
  const given = [256, 1]
  const order = schedule(given)
  for (let cursor = 0; cursor < order.length; cursor++) {
    t.is(roundRobin(order, given, cursor, [0], () => true), 1)
    t.is(roundRobin(order, given, cursor, [], (member) => member === 1), 1)
  }
})

test('a schedule of a bounded length keeps every member in', (t) => {
  fc.assert(
    fc.property(weights, (given) => {
      const order = schedule(given.map((weight) => weight * 16), 64)
      return order.length <= 64 + given.length && given.every((weight, member) => order.includes(member) === weight > 0)
    }),
  )
  t.pass()
})

test('least connections picks the smallest share and takes turns among equals', (t) => {
  fc.assert(
    fc.property(weights, fc.array(fc.nat({ max: 50 }), { minLength: 12, maxLength: 12 }), fc.nat(), (given, active, start) => {
      const picked = leastConnections(given, (member) => active[member]!, start, [])
      const share = (member: number): number => (active[member]! + 1) / given[member]!
      if (given.every((weight) => weight === 0)) return picked === -1
      return given.every((weight, member) => weight === 0 || share(picked) <= share(member))
    }),
  )
  // A member without a place left says that it is infinitely busy.
  t.is(leastConnections([1, 1], (member) => (member === 0 ? Infinity : 900), 0, []), 1)
  t.is(leastConnections([1, 1], () => Infinity, 0, []), -1)
  const turns = [0, 1, 2, 3].map((start) => leastConnections([1, 1, 1], () => 0, start, []))
  t.deepEqual(turns, [0, 1, 2, 0])
})

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
      const picked = roundRobin(schedule(given), cursor, excluded)
      const left = given.some((weight, member) => weight > 0 && !excluded.includes(member))
      return left ? picked >= 0 && given[picked]! > 0 && !excluded.includes(picked) : picked === -1
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
  const turns = [0, 1, 2, 3].map((start) => leastConnections([1, 1, 1], () => 0, start, []))
  t.deepEqual(turns, [0, 1, 2, 0])
})

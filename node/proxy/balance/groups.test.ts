import test from 'ava'
import * as fc from 'fast-check'
import { firstAvailable } from './first-available.ts'
import { inForce } from './groups.ts'

const member = fc.record({ priority: fc.nat(3), backup: fc.boolean(), up: fc.boolean() })

test('groups join in order until there are enough; backups come last and alone', (t) => {
  fc.assert(
    fc.property(fc.array(member, { maxLength: 12 }), fc.integer({ min: 1, max: 6 }), (members, minimum) => {
      const now = inForce(members, members.map(({ up }) => up), minimum)
      const eligible = members.filter(({ up, backup }) => up && !backup)
      if (eligible.length === 0) return members.every(({ up, backup }, at) => (now[at] === 1) === (up && backup))
      // The last group in force: the first with which there are enough, or the last one that there is.
      const last = [0, 1, 2, 3].find((group) => eligible.filter(({ priority }) => priority <= group).length >= minimum) ?? 3
      return members.every(({ up, backup, priority }, at) => (now[at] === 1) === (up && !backup && priority <= last))
    }),
  )
  t.pass()
})

test('first available fills one member before the next, in the order of the list', (t) => {
  fc.assert(
    fc.property(fc.array(fc.record({ limit: fc.nat(5), weight: fc.nat(2) }), { minLength: 1, maxLength: 8 }), fc.nat(50), (members, requests) => {
      const active = members.map(() => 0)
      const take = (at: number): boolean => active[at]! < members[at]!.limit && ++active[at]! > 0
      for (let i = 0; i < requests; i++) firstAvailable(members.map(({ weight }) => weight), 0, [], take)
      let left = requests
      return members.every(({ limit, weight }, at) => {
        const expected = weight === 0 ? 0 : Math.min(limit, left)
        left -= expected
        return active[at] === expected
      })
    }),
  )
  t.is(firstAvailable([1, 1, 1], 0, [0, 1], () => true), 2)
  t.is(firstAvailable([1, 1, 1], 2, [], () => true), 2)
  t.is(firstAvailable([], 0, [], () => true), -1)
})

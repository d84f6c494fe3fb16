import test from 'ava'
import * as fc from 'fast-check'
import { maglev, maglevTable, nobody, resolve, tableSize } from './maglev.ts'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255} 80`)
const weights = fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 2, maxLength: 12 })
const shares = (table: Uint16Array, count: number): number[] => {
  const counts = Array.from({ length: count }, () => 0)
  for (const member of table) if (member !== nobody) counts[member]!++
  return counts.map((places) => places / table.length)
}
const sum = (given: readonly number[]): number => given.reduce((a, b) => a + b, 0)
const always = (): boolean => true

test('each member has its share of the table', (t) => {
  fc.assert(
    fc.property(weights, (given) => {
      const size = tableSize(given)
      const table = maglevTable(names(given.length), given, size)
      // A few places more or less: in its last turn each takes what is left.
      return shares(table, given.length).every((share, member) => Math.abs(share - given[member]! / sum(given)) <= 4 / size)
    }),
    { numRuns: 50 },
  )
  t.pass()
})

test('sizes are primes, large enough for the smallest share, and bounded', (t) => {
  const prime = (n: number): boolean => {
    for (let i = 2; i * i <= n; i++) if (n % i === 0) return false
    return n > 1
  }
  for (const given of [[1], [1, 1], [256, 1], Array.from({ length: 100 }, () => 3), Array.from({ length: 4096 }, () => 1)]) t.true(prime(tableSize(given)), String(given.length))
  t.true(tableSize([256, 1]) >= 25_700)
  t.is(tableSize(Array.from({ length: 4096 }, () => 1)), 65_537)
  t.true(maglevTable(names(3), [0, 0, 0], tableSize([0, 0, 0])).every((member) => member === nobody))
})

test('the order of the members does not matter, only who they are', (t) => {
  const given = [3, 1, 2, 5]
  const size = tableSize(given)
  const forward = maglevTable(names(4), given, size)
  const backward = maglevTable(names(4).toReversed(), given.toReversed(), size)
  let same = 0
  for (let place = 0; place < size; place++) if (forward[place] === 3 - backward[place]!) same++
  // In each turn the members choose in their order, so that neighbours can meet at a place the other way round.
  t.true(same / size > 0.7, String(same / size))
})

test('a member that is removed from or added to the document moves few other keys', (t) => {
  for (const count of [5, 20, 100]) {
    const size = tableSize(Array.from({ length: count }, () => 1))
    const all = maglevTable(names(count), Array.from({ length: count }, () => 1), size)
    const less = maglevTable(names(count - 1), Array.from({ length: count - 1 }, () => 1), size)
    let moved = 0
    for (let place = 0; place < size; place++) if (all[place] !== count - 1 && all[place] !== less[place]) moved++
    // The paper measures a few percent at this size of table (§5.3); a hash by modulo moves nearly all.
    t.true(moved / size < 0.2, `${count} members: ${moved / size}`)
  }
})

test('a member that goes down moves its own keys only, and gets exactly them back', (t) => {
  fc.assert(
    fc.property(weights, fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), fc.nat(11), (given, up, at) => {
      const member = at % given.length
      const table = maglevTable(names(given.length), given, 1021)
      const factors = given.map((_, i) => (up[i]! ? 16 : 0))
      const withIt = resolve(table, factors.with(member, 16))
      const without = resolve(table, factors.with(member, 0))
      for (let place = 0; place < table.length; place++) {
        if (withIt[place] !== member && withIt[place] !== without[place]) return false
        if (without[place] === member) return false
      }
      return true
    }),
  )
  t.pass()
})

test('the keys of a member that is down are spread over the others by weight', (t) => {
  const given = [1, 1, 2, 4, 2]
  const table = maglevTable(names(5), given, 65_537)
  const spread = shares(resolve(table, [0, 16, 16, 16, 16]), 5)
  t.is(spread[0], 0)
  for (let member = 1; member < 5; member++) t.true(Math.abs(spread[member]! - given[member]! / 9) < 0.01, `${member}: ${spread[member]}`)
})

test('a member at a part of its weight has that part of its share, and grows without moving other keys', (t) => {
  const given = [1, 1, 2]
  const table = maglevTable(names(3), given, 65_537)
  let before = resolve(table, [0, 16, 16])
  for (let factor = 1; factor <= 16; factor++) {
    const now = resolve(table, [factor, 16, 16])
    for (let place = 0; place < table.length; place++) {
      if (now[place] !== before[place] && now[place] !== 0) return t.fail(`factor ${factor} moved place ${place} to ${now[place]}`)
    }
    const expected = factor / 16 / (factor / 16 + 3)
    t.true(Math.abs(shares(now, 3)[0]! - expected) < 0.015, `factor ${factor}: ${shares(now, 3)[0]} for ${expected}`)
    before = now
  }
  return undefined
})

test('all at the same part are as at the whole', (t) => {
  const table = maglevTable(names(3), [1, 2, 3], 1021)
  t.deepEqual(resolve(table, [4, 4, 4]), table)
  t.true(resolve(table, [0, 0, 0]).every((member) => member === nobody))
})

test('a key keeps its member; excluded and full ones are passed over in a fixed order, until none is left', (t) => {
  fc.assert(
    fc.property(weights, fc.nat(), fc.array(fc.nat(11), { maxLength: 11 }), (given, key, excluded) => {
      const table = maglevTable(names(given.length), given, 1021)
      const first = maglev(table, table, given, key, [], always)
      const again = maglev(table, table, given, key, excluded, always)
      const full = maglev(table, table, given, key, [], (member) => !excluded.includes(member))
      const left = given.some((_, member) => !excluded.includes(member))
      if (!left) return again === -1 && full === -1
      if (again !== full || excluded.includes(again)) return false
      return excluded.includes(first) || again === first
    }),
  )
  t.pass()
})

// Bug: each place was searched for by itself, so that one member left of thousands stopped a worker for seconds.
test('bug: laying over who is eligible takes no longer when hardly anybody is', (t) => {
  const count = 4096
  const table = maglevTable(names(count), Array.from({ length: count }, () => 1), 65_537)
  let looked = 0
  const factors = new Proxy(Array.from({ length: count }, (_, member) => (member === 77 ? 16 : 0)), {
    get(target, key) {
      if (key !== 'length') looked++
      return Reflect.get(target, key) as unknown
    },
  })
  t.true(resolve(table, factors).every((member) => member === 77))
  t.true(looked < 5 * table.length, `${looked} looks`)
})

test('a pool whose eligible members are too light for a place has nobody there, and is served all the same', (t) => {
  const given = [256, ...Array.from({ length: 4095 }, () => 256)].with(5, 1)
  const table = maglevTable(names(4096), given, 1021 * 8 + 3)
  t.false(table.includes(5))
  const resolved = resolve(table, given.map((_, member) => (member === 5 ? 16 : 0)))
  t.is(maglev(table, resolved, given.map((weight, member) => (member === 5 ? weight : 0)), 12_345, [], always), 5)
})

test('bug: the order of the members in the document moves no key', (t) => {
  const several = fc.uniqueArray(fc.nat(2000), { minLength: 2, maxLength: 12 }).chain((ids) => fc.tuple(fc.constant(ids), fc.shuffledSubarray(ids, { minLength: ids.length, maxLength: ids.length })))
  fc.assert(
    fc.property(several, ([ids, shuffled]) => {
      const tableOf = (order: readonly number[]): number[] => {
        const given = order.map((id) => 1 + (id % 5))
        return [...maglevTable(order.map((id) => `10.0.${id >> 8}.${id & 255} 80`), given, tableSize(given))].map((member) => order[member]!)
      }
      const [a, b] = [tableOf(ids), tableOf(shuffled)]
      return a.every((id, place) => id === b[place])
    }),
    { numRuns: 40 },
  )
  t.pass()
})

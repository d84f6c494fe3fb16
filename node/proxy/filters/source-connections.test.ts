/** Connections by client address: several workers, and what becomes of a dead one's. */
import test from 'ava'
import fc from 'fast-check'
import { allocateSourceConnections, SourceConnections } from './source-connections.ts'

test('the limit is over all workers, and places come back', (t) => {
  const buffer = allocateSourceConnections(2)
  const [one, two] = [new SourceConnections(buffer, 0), new SourceConnections(buffer, 1)] as const
  const first = one.open(1, 2, 3)
  t.true(first >= 0)
  t.true(two.open(1, 2, 3) >= 0)
  t.true(two.open(1, 2, 3) >= 0)
  t.is(one.open(1, 2, 3), -1)
  t.true(one.open(9, 2, 3) >= 0, 'another key of the same place')
  one.close(first)
  t.true(two.open(1, 2, 3) >= 0)
  t.is(one.open(1, 2, 3), -1)
  two.clear(1)
  t.true(one.open(1, 2, 3) >= 0, 'what a dead worker had is free')
})

test('counts as a map of counts does, in any order', (t) => {
  const action = fc.record({ worker: fc.constantFrom(0, 1), key: fc.integer({ min: 0, max: 40 }), open: fc.boolean(), limit: fc.integer({ min: 1, max: 4 }) })
  fc.assert(
    fc.property(fc.array(action, { maxLength: 300, size: 'max' }), (actions) => {
      const buffer = allocateSourceConnections(2)
      const workers = [new SourceConnections(buffer, 0), new SourceConnections(buffer, 1)]
      const counts = new Map<number, number>()
      const open: { worker: number; key: number; place: number }[] = []
      for (const { worker, key, open: opens, limit } of actions) {
        if (opens) {
          // Keys share starting places, so that they stand in each other's way.
          const place = workers[worker]!.open(key, key % 3, limit)
          const count = counts.get(key) ?? 0
          if (place === -1 !== count >= limit) throw new Error(`key ${key}: ${count} of ${limit}, ${place}`)
          if (place < 0) continue
          counts.set(key, count + 1)
          open.push({ worker, key, place })
        } else {
          const at = open.findIndex((one) => one.worker === worker)
          if (at < 0) continue
          const [closed] = open.splice(at, 1)
          workers[worker]!.close(closed!.place)
          counts.set(closed!.key, counts.get(closed!.key)! - 1)
        }
      }
    }),
    { numRuns: 300 },
  )
  t.pass()
})

test('when all places near a key are taken, it is not counted and not limited', (t) => {
  const sources = new SourceConnections(allocateSourceConnections(1), 0)
  for (let key = 0; key < 32; key++) t.true(sources.open(key, 7, 1) >= 0)
  t.is(sources.open(99, 7, 1), -2)
  sources.close(-2)
  t.is(sources.open(5, 7, 1), -1)
})

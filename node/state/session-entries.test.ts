/** The session table against a plain map, and session blocks against all kinds of bytes. */
import test from 'ava'
import * as fc from 'fast-check'
import { randomness } from '../config/fixture/documents.ts'
import { FormatError } from './msgpack.ts'
import { decodeSessions, encodeSessions } from './session-block.ts'
import { SessionEntries } from './session-entries.ts'
import type { SessionUpdate } from './types.ts'

const limits = { updates: 100, keyLength: 256, memberLength: 128, ttlMs: 2 ** 35 }

/** What the table should be, the slow way. */
class Model {
  readonly #limit: number
  readonly entries = new Map<string, SessionUpdate>()

  constructor(limit: number) {
    this.#limit = limit
  }

  apply(update: SessionUpdate): void {
    this.entries.delete(update.key)
    if (update.ttlMs === 0) return
    this.entries.set(update.key, update)
    if (this.entries.size > this.#limit) this.entries.delete(this.entries.keys().next().value!)
  }
}

const update = fc.record({
  key: fc.oneof(fc.nat(30).map((n) => `key ${n}`), fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' })),
  member: fc.constantFrom('web/a', 'web/b', 'web/c', '한/1', ''),
  ttlMs: fc.oneof(fc.constant(0), fc.nat(5), fc.integer({ min: 1, max: 2 ** 35 })),
})

test('entries, order and bound are those of a plain map; snapshots on the way stay what they were', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(fc.array(update, { maxLength: 120, size: 'max' }), fc.integer({ min: 1, max: 25 }), fc.array(fc.nat(120), { maxLength: 4 }), (updates, limit, cuts) => {
      const table = new SessionEntries(limit)
      const model = new Model(limit)
      const frozen: [Iterable<SessionUpdate>, string][] = []
      for (const [at, one] of updates.entries()) {
        if (cuts.includes(at)) frozen.push([table.freeze(), JSON.stringify([...model.entries.values()])])
        table.apply(one)
        model.apply(one)
        if (table.size !== model.entries.size) return false
      }
      const expected = [...model.entries.values()]
      if (JSON.stringify([...table]) !== JSON.stringify(expected)) return false
      if (expected.some(({ key, member, ttlMs }) => table.get(key)?.member !== member || table.get(key)?.ttlMs !== ttlMs)) return false
      if (updates.some(({ key }) => !model.entries.has(key) && table.get(key) !== undefined)) return false
      // The hash is one of what is there, not of how it came to be.
      const other = new SessionEntries(limit)
      for (const one of expected.toReversed()) other.apply(one)
      if (other.hash !== table.hash) return false
      return frozen.every(([entries, json]) => JSON.stringify([...entries]) === json)
    }),
    randomness(t, 300),
  )
  t.pass()
})

test('the hash tells key, member and lifetime apart', (t) => {
  const hashOf = (...updates: SessionUpdate[]) => {
    const table = new SessionEntries(10)
    for (const one of updates) table.apply(one)
    return table.hash
  }
  const one = { key: 'k1', member: 'web/a', ttlMs: 1000 }
  const others = [{ ...one, key: 'k2' }, { ...one, member: 'web/b' }, { ...one, ttlMs: 1001 }, { ...one, ttlMs: 1000 + 2 ** 32 }]
  t.is(new Set([hashOf(), hashOf(one), ...others.map((other) => hashOf(other)), hashOf(one, others[0]!)]).size, 7)
  t.is(hashOf(one, { ...one, ttlMs: 0 }), hashOf())
})

test('across many slabs: deleted slots are used again, the oldest go beyond the limit', (t) => {
  const table = new SessionEntries(20_000)
  for (let at = 0; at < 30_000; at++) table.apply({ key: `session ${at}`, member: `web/${at % 7}`, ttlMs: at + 1 })
  t.is(table.size, 20_000)
  t.is(table.get('session 9999'), undefined)
  t.deepEqual(table.get('session 10000'), { member: `web/${10_000 % 7}`, ttlMs: 10_001 })
  const frozen = table.freeze()
  for (let at = 10_000; at < 30_000; at += 2) table.apply({ key: `session ${at}`, member: '', ttlMs: 0 })
  t.is(table.size, 10_000)
  for (let at = 0; at < 10_000; at++) table.apply({ key: `again ${at}`, member: 'web/x', ttlMs: 1 })
  t.is(table.size, 20_000)
  t.deepEqual([...frozen].map(({ key }) => key), Array.from({ length: 20_000 }, (_, at) => `session ${at + 10_000}`))
  const [first] = table
  t.deepEqual(first, { key: 'session 10001', member: `web/${10_001 % 7}`, ttlMs: 10_002 })
})

test('blocks come back as they were, and the same updates are the same bytes', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(fc.array(update, { maxLength: 100 }), (updates) => {
      const block = encodeSessions(updates)
      const back: SessionUpdate[] = []
      decodeSessions(block, limits, (one) => back.push(one))
      return JSON.stringify(back) === JSON.stringify(updates) && Buffer.from(encodeSessions(back)).equals(block)
    }),
    randomness(t, 300),
  )
  t.pass()
})

test('bytes that are no block give an error and nothing else', (t) => {
  t.plan(1)
  const block = encodeSessions([{ key: 'k1', member: 'web/a', ttlMs: 300 }, { key: '한', member: 'web/b', ttlMs: 0 }, { key: 'k3', member: 'web/a', ttlMs: 2 ** 34 }])
  fc.assert(
    fc.property(fc.array(fc.record({ at: fc.nat(block.length - 1), byte: fc.nat(255) }), { maxLength: 3 }), fc.nat(block.length), (changes, length) => {
      const data = block.slice(0, length)
      for (const { at, byte } of changes) if (at < length) data[at] = byte
      try {
        decodeSessions(data, limits, ({ key, ttlMs }) => {
          if (key === '' || ttlMs > limits.ttlMs) throw new Error('beyond the limits')
        })
      } catch (error) {
        if (!(error instanceof FormatError)) throw error
      }
      return true
    }),
    randomness(t, 2000),
  )
  t.pass()
})

const wrong: [string, number[], RegExp][] = [
  ['nothing', [], /ends too early/],
  ['no updates', [0], /ends too early/],
  ['too many updates', [0, 101], /too large/],
  ['a member that is not named', [0, 1, 1, 97, 0, 1], /no such member/],
  ['an empty key', [1, 1, 97, 1, 0, 0, 1], /1 to 256 characters/],
  ['a text beyond the end', [1, 1, 97, 1, 9, 97], /ends too early/],
  ['more than it says', [0, 0, 0], /bytes too many/],
  ['a number without end', [128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 1], /too large/],
  ['a number that is longer than it need be', [128, 0, 0], /longer than it need be/],
  ['a lifetime beyond the limit', [1, 1, 97, 1, 1, 97, 0, 255, 255, 255, 255, 255, 1], /too large/],
]
for (const [what, bytes, message] of wrong) {
  test(`refused: ${what}`, (t) => {
    t.throws(() => decodeSessions(Uint8Array.from(bytes), limits, () => undefined), { instanceOf: FormatError, message })
  })
}

test('a scan in pieces meets every entry once, and can be ended anywhere', (t) => {
  fc.assert(
    fc.property(fc.array(update, { maxLength: 60 }), fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 5 }), (updates, slots, most) => {
      const table = new SessionEntries(1000)
      for (const one of updates) table.apply(one)
      const met: string[] = []
      for (let from = 0; from >= 0; ) {
        let now = 0
        from = table.scan(from, slots, ({ key, member, ttlMs }) => {
          met.push(`${key} ${member} ${ttlMs}`)
          return ++now < most
        })
      }
      const all = [...table].map(({ key, member, ttlMs }) => `${key} ${member} ${ttlMs}`)
      return met.length === all.length && [...met].sort().join('\n') === [...all].sort().join('\n')
    }),
  )
  t.pass()
})

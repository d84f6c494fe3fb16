/** The log's runs and totals against a plain array, under random operations. */
import test from 'ava'
import * as fc from 'fast-check'
import { Log } from './log.ts'
import { majority, reachedByMajority, tally } from './quorum.ts'
import { Stable } from './stable.ts'

type Step =
  | { readonly do: 'append'; readonly count: number; readonly newTerm: boolean; readonly bytes: number }
  | { readonly do: 'truncate' | 'compact'; readonly share: number }
  | { readonly do: 'reset'; readonly ahead: number }

const share = fc.double({ min: 0, max: 1, noNaN: true })
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 700 }), newTerm: fc.boolean(),
      bytes: fc.integer({ min: 0, max: 90 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('truncate' as const, 'compact' as const), share }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const), ahead: fc.integer({ min: 0, max: 50 }) }) },
)

test('the log agrees with a plain array', t => {
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), steps => {
    const log = new Log(0, 0)
    let base = { index: 0, term: 0 }
    let entries: { term: number; bytes: number }[] = []
    let term = 1
    for (const now of steps) {
      const last = base.index + entries.length
      if (now.do === 'append') {
        if (now.newTerm) term += 1
        for (let i = 0; i < now.count; i += 1) {
          log.append(term, now.bytes + (i % 7))
          entries.push({ term, bytes: now.bytes + (i % 7) })
        }
      } else if (now.do === 'truncate' && entries.length > 0) {
        const keep = Math.floor(now.share * entries.length)
        log.truncateFrom(base.index + keep + 1)
        entries = entries.slice(0, keep)
      } else if (now.do === 'compact' && entries.length > 0) {
        const gone = Math.ceil(now.share * entries.length)
        log.compact(base.index + gone)
        base = { index: base.index + gone, term: gone > 0 ? entries[gone - 1]!.term : base.term }
        entries = entries.slice(gone)
      } else if (now.do === 'reset') {
        term += 1
        base = { index: last + now.ahead, term }
        log.reset(base.index, base.term)
        entries = []
      }
      check(log, base, entries)
    }
  }), { numRuns: 150 })
  t.pass()
})

function check(log: Log, base: { index: number; term: number }, entries: { term: number; bytes: number }[]): void {
  const last = base.index + entries.length
  const termOf = (index: number) => index === base.index ? base.term : entries[index - base.index - 1]?.term
  equal(log.lastIndex, last)
  equal(log.baseIndex, base.index)
  equal(log.lastTerm, entries.at(-1)?.term ?? base.term)
  const middle = base.index + (entries.length >> 1)
  for (const index of [base.index - 1, base.index, base.index + 1, middle, last, last + 1]) {
    if (index < base.index || index > last) {
      equal(log.termAt(index), undefined)
      continue
    }
    equal(log.termAt(index), termOf(index))
    equal(log.bytesBetween(index, last), entries.slice(index - base.index).reduce((sum, entry) => sum + entry.bytes, 0))
    // The batch is what fits, and at least one entry.
    let end = Math.min(last, index + 1)
    let bytes = entries[index - base.index]?.bytes ?? 0
    while (end < last && end - index < 64 && bytes + entries[end - base.index]!.bytes <= 1500) {
      bytes += entries[end - base.index]!.bytes
      end += 1
    }
    equal(log.batchEnd(index, 64, 1500), end)
    for (const term of [termOf(index)! - 1, termOf(index)!]) {
      let at = index
      while (at > base.index && termOf(at)! > term) at -= 1
      equal(log.lastAtMost(index, term), at)
    }
  }
}

function equal(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`${String(actual)} instead of ${String(expected)}`)
}

test('what a majority has reached', t => {
  const voters = ['a', 'b', 'c', 'd', 'e'].map(id => ({ id, role: 'node' as const, address: '', apiAddress: '' }))
  const values: Record<string, number> = { a: 9, b: 2, c: 7, d: 7, e: 1 }
  const reached = (count: number) => reachedByMajority(voters.slice(0, count), id => values[id]!)
  t.deepEqual([1, 2, 3, 4, 5].map(reached), [9, 2, 7, 7, 7])
  t.is(reached(0), -Infinity)
  t.deepEqual([1, 2, 3, 4, 5].map(majority), [1, 2, 2, 3, 3])
})

test('an election is won, lost or open', t => {
  const voters = ['a', 'b', 'c', 'd'].map(id => ({ id, role: 'node' as const, address: '', apiAddress: '' }))
  const of = (granted: string, refused: string) =>
    tally(voters, new Map([...granted + refused].map(id => [id, granted.includes(id)] as const)))
  t.is(of('ab', ''), 'open')
  t.is(of('abc', ''), 'won')
  t.is(of('a', 'b'), 'open')
  t.is(of('ab', 'cd'), 'lost')
  t.is(of('abxyz', ''), 'open', 'strangers do not count')
})

test('writes complete in order; one completion may stand for several', t => {
  const stable = new Stable(0)
  const termAt = () => 1
  stable.writing(2, 1)
  stable.writing(5, 1)
  t.true(stable.completed(5, 1, termAt))
  t.is(stable.index, 5)
  t.false(stable.completed(2, 1, termAt))
  stable.writing(7, 1)
  stable.replaced()
  t.false(stable.completed(7, 1, termAt), 'the log was replaced by a snapshot meanwhile')
})

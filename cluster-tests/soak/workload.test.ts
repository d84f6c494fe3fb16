/** What the torture clients make of an answer: the judgement of a history depends on it. */
import test from 'ava'
import { fateOf } from './workload.ts'

test('a revision was written', (t) => {
  t.deepEqual(fateOf(200, { revision: 8, changed: true }, 7), { kind: 'written', revision: 8 })
})

test('a later revision proves a conflict; a node that is behind proves nothing', (t) => {
  t.deepEqual(fateOf(412, { revision: 9 }, 7), { kind: 'conflict' })
  t.is(fateOf(412, { revision: 6 }, 7), 'failed')
})

test('what certainly was not done, and what nobody knows', (t) => {
  t.is(fateOf(503, { code: 'no-quorum' }, 7), 'failed')
  t.is(fateOf(504, { code: 'unknown-fate' }, 7), 'unknown')
  t.is(fateOf(500, { code: 'internal' }, 7), 'unknown')
  t.is(fateOf(200, 'no JSON', 7), 'unknown')
})

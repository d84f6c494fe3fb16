/** Two holders at once, told apart from two changes of holder in quick succession. */
import test from 'ava'
import type { ArpSample, HttpSample } from '../drills/analysis.ts'
import { overlapOfAnswers, overlapOfClaims } from './overlap.ts'

const claims = (mac: string, fromMs: number, toMs: number): ArpSample[] =>
  Array.from({ length: Math.floor((toMs - fromMs) / 5) + 1 }, (_, i) => ({ atMs: fromMs + i * 5, mac, kind: 'reply' }))
const answers = (node: string, fromMs: number, toMs: number): HttpSample[] =>
  claims(node, fromMs, toMs).map(({ atMs }) => ({ sentMs: atMs, doneMs: atMs + 2, ok: true, node, backend: 'b' }))

test('a new holder that is killed at once, and the old one back after a silence: no overlap', (t) => {
  t.deepEqual(overlapOfClaims([...claims('a', 0, 1000), ...claims('b', 1250, 1300), ...claims('a', 1500, 3000)]), { dualMs: 0, replies: 0 })
  t.is(overlapOfAnswers([...answers('a', 0, 1000), ...answers('b', 1250, 1300), ...answers('a', 1500, 3000)]), 0)
})

test('one late answer of the old holder beside the new one is an overlap', (t) => {
  const found = overlapOfClaims([...claims('a', 0, 1000), ...claims('b', 1250, 3000), ...claims('a', 1402, 1402)])
  // How long is not known by that: within this time of answers the old holder looks like the newer one.
  t.true(found.replies > 0 && found.dualMs > 0)
})

test('two nodes that both answer, from the take-over on or after a quiet change', (t) => {
  t.true(overlapOfClaims([...claims('a', 0, 2000), ...claims('b', 1002, 3000)]).dualMs > 900)
  t.true(overlapOfClaims([...claims('a', 0, 1000), ...claims('b', 1250, 3000), ...claims('a', 1252, 1600)]).dualMs > 300)
  t.true(overlapOfAnswers([...answers('a', 0, 2000), ...answers('b', 1002, 3000)]) > 0)
})

test('bug: two planned hand-overs in quick succession, there and back, were taken for an overlap', (t) => {
  // As it was seen: the first holder until 7 ms, the other one from 18 to 162 ms, the first one again from 175 ms on.
  t.deepEqual(overlapOfClaims([...claims('a', -1263, 7), ...claims('b', 18, 162), ...claims('a', 175, 4858)]), { dualMs: 0, replies: 0 })
  t.is(overlapOfAnswers([...answers('a', -1263, 7), ...answers('b', 18, 162), ...answers('a', 175, 4858)]), 0)
  // One answer of the one within the time of the other is still one too many, at either end of its time and in its middle.
  for (const stray of [20, 90, 150]) {
    t.true(overlapOfClaims([...claims('a', -1263, 7), ...claims('b', 18, 162), ...claims('a', stray, stray), ...claims('a', 175, 4858)]).replies > 0, `${stray}`)
  }
  t.true(overlapOfClaims([...claims('a', -1263, 7), ...claims('b', 18, 162), ...claims('a', 175, 4858), ...claims('b', 300, 300)]).replies > 0)
})

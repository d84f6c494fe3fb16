/** Rise, fall and the first verdict. */
import test from 'ava'
import { afterProbe, unchecked, type Transitions } from './transitions.ts'

/** `+` a success, `-` a failure; the verdict after each: `?` checking, `U` up, `D` down. */
const cases: readonly (readonly [string, number, number, string, string])[] = [
  ['one success is enough after a start', 3, 3, '+', 'U'],
  ['failures need fall after a start', 2, 3, '---', '??D'],
  ['a success among first failures', 2, 3, '--+', '??U'],
  ['fall failures take it down', 2, 3, '+---', 'UUUD'],
  ['failures must be in a row', 2, 3, '+--+--+---', 'UUUUUUUUUD'],
  ['rise successes bring it up', 2, 1, '-++', 'DDU'],
  ['successes must be in a row', 3, 1, '-++-+++', 'DDDDDDU'],
  ['rise 1, fall 1', 1, 1, '+-+-', 'UDUD'],
]
for (const [what, rise, fall, results, expected] of cases) {
  test(what, (t) => {
    let state: Transitions = unchecked
    let verdicts = ''
    for (const result of results) {
      state = afterProbe(state, result === '+', { rise, fall })
      verdicts += { checking: '?', up: 'U', down: 'D' }[state.verdict]
    }
    t.is(verdicts, expected)
  })
}

test('turns are counted, the first verdict is none', (t) => {
  let state: Transitions = unchecked
  const turns: number[] = []
  for (const success of [true, false, true, false, false]) {
    state = afterProbe(state, success, { rise: 1, fall: 1 })
    turns.push(state.turns)
  }
  t.deepEqual(turns, [0, 1, 2, 3, 3])
})

test('lower thresholds count at the next probe', (t) => {
  let state: Transitions = { verdict: 'up', against: 4, turns: 0 }
  state = afterProbe(state, false, { rise: 2, fall: 2 })
  t.is(state.verdict, 'down')
})

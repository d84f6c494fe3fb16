import test from 'ava'
import { Liveness, word, Words } from './fitness.ts'
import { aliveEveryMs } from './link.ts'

/** Turns until the child is ended. */
function patience(liveness: Liveness, otherCanServe: boolean): number {
  for (let turn = 1; turn < 1000; turn++) if (liveness.turn(otherCanServe) !== '') return turn * aliveEveryMs
  return Infinity
}

test('a child that stalls for half a second is not even suspected', (t) => {
  const liveness = new Liveness()
  liveness.started()
  liveness.spoke()
  for (let ms = 0; ms < 500; ms += aliveEveryMs) t.is(liveness.turn(true), '')
  t.false(liveness.suspect)
})

test('a hanging child is ended after 1.5 s when another node can serve, and later when none can', (t) => {
  const liveness = new Liveness()
  liveness.started()
  liveness.spoke()
  t.is(patience(liveness, true), 3000)
  liveness.spoke()
  t.is(patience(liveness, false), 10_000)
})

test('a hanging child is suspect before it is ended, so that nobody hands over to it', (t) => {
  const liveness = new Liveness()
  liveness.started()
  liveness.spoke()
  let ended = ''
  while (!liveness.suspect && ended === '') ended = liveness.turn(true)
  t.is(ended, '')
  liveness.spoke()
  t.false(liveness.suspect)
})

test('a child that never says a word is ended too', (t) => {
  const liveness = new Liveness()
  liveness.started()
  t.is(patience(liveness, true), 30_000)
})

test('a word counts only for its time', (t) => {
  const words = new Words(2000)
  words.heard('b', word.fit, 0)
  t.is(words.best(['b'], 2000), 'b')
  t.is(words.best(['b'], 2001), undefined)
})

test('VIPs that fail on both nodes do not make them hand over to each other without end', (t) => {
  const words = new Words(2000)
  words.heard('b', word.vipsFail, 0)
  t.is(words.bestVips(['b'], 0), undefined, 'b could not hold them either')
  t.is(words.best(['b'], 0), 'b', 'but b can serve when the own child has died')
})

test('a node whose VIPs work goes before one whose VIPs fail', (t) => {
  const words = new Words(2000)
  words.heard('b', word.vipsFail, 0)
  words.heard('c', word.fit, 0)
  t.is(words.best(['b', 'c'], 0), 'c')
})

test('what is no word is ignored', (t) => {
  const words = new Words(2000)
  words.heard('b', word.fit, 0)
  words.heard('b', 77, 0)
  words.heard('b', undefined, 0)
  t.is(words.of('b', 0), word.fit)
})

test('the preferred node is handed over to only by its own good word', (t) => {
  const words = new Words(2000)
  t.regex(words.againstPreferred('a', 0), /not fit/)
  words.heard('a', word.fit, 0)
  t.is(words.againstPreferred('a', 2000), '')
  t.regex(words.againstPreferred('a', 2001), /not fit/)
  words.heard('a', word.vipsFail, 3000)
  t.regex(words.againstPreferred('a', 3000), /VIP/, 'it would only hand over again')
  words.heard('a', word.fit, 4000, true)
  t.regex(words.againstPreferred('a', 4000), /an operator has handed over from a/)
  t.is(words.best(['a'], 4000), 'a', 'it takes over when it is needed')
})

/** Revisions in little memory: any text of any revision comes back, the oldest go. */
import test from 'ava'
import * as fc from 'fast-check'
import { randomness } from '../config/fixture/documents.ts'
import { DocumentHistory } from './history.ts'

const roomy = { revisions: 1000, bytes: 1_000_000, groupSize: 4 }

test('every revision comes back as it was, also after a restore', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 }), { minLength: 1, maxLength: 30 }), (texts) => {
      const history = new DocumentHistory(roomy)
      for (const text of texts) history.add(text)
      const restored = DocumentHistory.from(history.groups(), roomy)
      return (
        restored.bytes === history.bytes &&
        texts.every((text, index) => history.text(index + 1) === text && restored.text(index + 1) === text) &&
        [0, -1, 1.5, texts.length + 1, NaN].every((revision) => history.text(revision) === undefined)
      )
    }),
    randomness(t, 300),
  )
  t.pass()
})

test('a small change of a large document takes little', (t) => {
  const history = new DocumentHistory()
  const large = JSON.stringify(Array.from({ length: 10_000 }, (_, index) => ({ name: `m${index}`, port: 80 })))
  for (let i = 0; i < 60; i++) history.add(large.replace('"m5000","port":80', `"m5000","port":${i + 1000}`))
  t.true(history.bytes < large.length + 60 * 100, `${history.bytes} bytes`)
  t.true(history.text(30)!.includes('"m5000","port":1029'))
})

test('the oldest revisions go, by number', (t) => {
  const history = new DocumentHistory({ revisions: 10, bytes: 1_000_000, groupSize: 4 })
  for (let i = 1; i <= 30; i++) history.add(`the same text with ${i} in it, and more text`)
  t.is(history.newest, 30)
  t.true(history.oldest >= 21 && history.oldest <= 30 - 10 + 1 + 3, String(history.oldest))
  t.is(history.text(history.oldest - 1), undefined)
  t.is(history.text(history.oldest), `the same text with ${history.oldest} in it, and more text`)
})

test('the oldest revisions go, by bytes, but never the newest', (t) => {
  const history = new DocumentHistory({ revisions: 1000, bytes: 250, groupSize: 4 })
  for (let i = 0; i < 10; i++) {
    history.add(String(i).repeat(100))
    t.is(history.text(history.newest), String(i).repeat(100))
    t.true(history.bytes <= 250)
  }
  history.add('x'.repeat(1000))
  t.is(history.oldest, history.newest)
  t.is(history.text(history.newest), 'x'.repeat(1000))
})

test('groups do not change after they were taken', (t) => {
  const history = new DocumentHistory(roomy)
  history.add('one text')
  const groups = history.groups()
  history.add('one more text')
  t.is(DocumentHistory.from(groups, roomy).newest, 1)
})

test('groups that do not fit together are refused', (t) => {
  t.throws(() => DocumentHistory.from([{ first: 1, base: 'a', splices: [] }, { first: 3, base: 'b', splices: [] }]), { instanceOf: RangeError })
  t.throws(() => DocumentHistory.from([{ first: 1, base: 'a', splices: [{ keepStart: 1, keepEnd: 1, insert: '' }] }]), { instanceOf: RangeError })
})

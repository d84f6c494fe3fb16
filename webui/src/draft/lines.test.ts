/** Lists as lines: what was typed means the same after it was read and written again. */
import test from 'ava'
import { fieldLines, fieldsOf, ruleLines, rulesOf } from './lines.ts'

test('rules about values', (t) => {
  const rules = [
    { name: 'X-A', not: false },
    { name: 'X-B', equals: 'one two', not: false },
    { name: 'X-C', prefix: 'beta/', not: true },
    { name: 'X-D', regex: '^a = b$', not: false },
    { name: 'X-E', equals: '', not: false },
  ]
  t.is(ruleLines(rules), 'X-A\nX-B = one two\n!X-C ^= beta/\nX-D ~ ^a = b$\nX-E = ')
  t.deepEqual(rulesOf(ruleLines(rules)), rules)
  t.deepEqual(rulesOf(' \n!a\n  b   =   c  \n'), [{ name: 'a', not: true }, { name: 'b', equals: 'c', not: false }])
})

test('header fields', (t) => {
  const fields = [{ name: 'A', value: 'b: c' }, { name: 'D', value: '' }]
  t.is(fieldLines(fields), 'A: b: c\nD: ')
  t.deepEqual(fieldsOf(fieldLines(fields)), fields)
  t.deepEqual(fieldsOf('A\n\n b : c '), [{ name: 'A', value: '' }, { name: 'b', value: 'c' }])
})

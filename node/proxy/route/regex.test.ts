/** The matcher of regular expressions against the platform's own, on random patterns and inputs; limits; linear time. */
import test from 'ava'
import fc from 'fast-check'
import { compilePattern, maxPatternSize } from '../../config/pattern.ts'
import { randomness } from '../../config/fixture/documents.ts'
import { Regex } from './regex.ts'

function regex(text: string, ignoreCase = false): Regex {
  const compiled = compilePattern(text, ignoreCase)
  if (!compiled.ok) throw new Error(`${text} ${compiled.error}`)
  return new Regex(compiled.pattern)
}
const matches = (text: string, input: string): boolean => {
  const bytes = Buffer.from(`<${input}>`, 'latin1')
  return regex(text).test(bytes, 1, bytes.length - 1)
}

const letters = fc.constantFrom('a', 'b', 'c', '/', '0')
/** An atom that takes at least one byte. */
const atom = fc.oneof(
  { weight: 6, arbitrary: letters },
  fc.constantFrom('.', '\\d', '\\w', '[ab]', '[^a]', '[a-c0]', '\\.', '\\D', '[\\w/]', '[^\\d]', '\\x61', '[-a]', '[a-]'),
)
const quantifier = fc.constantFrom('', '', '', '?', '*', '+', '{2}', '{1,3}', '{0,2}', '{2,}', '??', '*?', '+?', '{1,2}?')
const pattern = fc.letrec<{ alternatives: string; sequence: string; piece: string }>((tie) => ({
  alternatives: fc.array(tie('sequence'), { minLength: 1, maxLength: 3 }).map((list) => list.join('|')),
  sequence: fc.array(tie('piece'), { maxLength: 4 }).map((list) => list.join('')),
  piece: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.tuple(atom, quantifier).map(([one, many]) => one + many),
    fc.constantFrom('^', '$'),
    fc.tuple(tie('alternatives'), quantifier).map(([inner, many]) => `(?:${inner})${many}`),
  ),
})).alternatives
const input = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '/', '0', '.', 'A', '\x80', 'ÿ'), maxLength: 24 })

test('the verdict is that of the platform, on random patterns and inputs', (t) => {
  let matched = 0
  let runs = 0
  fc.assert(
    fc.property(pattern, fc.array(input, { minLength: 1, maxLength: 8 }), fc.boolean(), (text, inputs, ignoreCase) => {
      const mine = compilePattern(text, ignoreCase)
      if (!mine.ok) return mine.error.includes('too large')
      const engine = new Regex(mine.pattern)
      const theirs = new RegExp(text, ignoreCase ? 'is' : 's')
      // A repeated empty match may be counted otherwise; whether there is a match may not.
      for (const one of inputs) {
        const bytes = Buffer.from(one, 'latin1')
        const expected = theirs.test(one)
        runs++
        if (expected) matched++
        if (engine.test(bytes, 0, bytes.length) !== expected) throw new Error(`${text} on ${JSON.stringify(one)}: expected ${expected}`)
        if (engine.exec(bytes, 0, bytes.length, new Int32Array(20)) !== expected) throw new Error(`exec of ${text} on ${JSON.stringify(one)}: expected ${expected}`)
      }
      return true
    }),
    randomness(t, 3000),
  )
  t.true(matched > runs / 20 && matched < runs, `${matched} of ${runs}`)
})

test('the groups are those of the platform, where nothing that can be empty is repeated', (t) => {
  const piece = fc.tuple(fc.boolean(), fc.oneof(fc.tuple(atom, quantifier).map(([one, many]) => one + many), fc.tuple(atom, atom).map(([a, b]) => `${a}|${b}${a}`)))
  const grouped = fc
    .tuple(fc.constantFrom('', '^'), fc.array(piece, { minLength: 1, maxLength: 5 }), fc.constantFrom('', '$'))
    .map(([begin, pieces, end]) => begin + pieces.map(([capture, text]) => (capture ? `(${text})` : `(?:${text})`)).join('') + end)
  fc.assert(
    fc.property(grouped, fc.array(input, { minLength: 1, maxLength: 6 }), (text, inputs) => {
      const engine = regex(text)
      const theirs = new RegExp(text, 'ds')
      for (const one of inputs) {
        const bytes = Buffer.from(one, 'latin1')
        const out = new Int32Array(2 * (engine.groups + 1)).fill(-1)
        const expected = theirs.exec(one)
        const found = engine.exec(bytes, 0, bytes.length, out)
        if (found !== (expected !== null)) throw new Error(`${text} on ${JSON.stringify(one)}`)
        const places = expected === null ? undefined : [...expected.indices!].flatMap((range) => range ?? [-1, -1])
        if (places !== undefined && places.join() !== [...out].join()) throw new Error(`${text} on ${JSON.stringify(one)}: ${[...out].join()} instead of ${places.join()}`)
      }
      t.pass()
      return true
    }),
    randomness(t, 2000),
  )
})

test('the automaton is thrown away when it grows, and stays right', (t) => {
  // Needs 2^12 states to be remembered: which of the last 12 bytes were an `a`.
  const engine = regex('a[ab]{11}$')
  const theirs = /a[ab]{11}$/
  let seed = 7
  for (let run = 0; run < 300; run++) {
    const one = Array.from({ length: 60 }, () => ((seed = (seed * 48271) % 0x7fffffff) & 1) === 0 ? 'a' : 'b').join('')
    t.is(engine.test(Buffer.from(one), 0, 60), theirs.test(one))
  }
  // One input that needs more of them than there may be.
  const long = Array.from({ length: 6000 }, () => ((seed = (seed * 48271) % 0x7fffffff) & 1) === 0 ? 'a' : 'b').join('')
  for (let end = 5900; end <= 6000; end++) t.is(engine.test(Buffer.from(long), 0, end), theirs.test(long.slice(0, end)))
  const inside = regex('a[ab]{11}c')
  for (const at of [10, 3000, 5990]) {
    const one = `${long.slice(0, at)}c${long.slice(at)}`
    t.is(inside.test(Buffer.from(one), 0, one.length), /a[ab]{11}c/.test(one))
  }
})

test('what makes a backtracking matcher slow is over at once', (t) => {
  const bytes = Buffer.from(`${'a'.repeat(16_000)}!`)
  for (const text of ['^(a+)+$', '^(a|aa)+$', '(a*)*b$', '^(?:a?){50}a{50}b']) t.false(regex(text).test(bytes, 0, bytes.length))
  t.false(regex('^(a|aa)+$').exec(bytes, 0, bytes.length, new Int32Array(4)))
})

test('what matches and what does not', (t) => {
  t.true(matches('^/users/[0-9]+(/|$)', '/users/17'))
  t.true(matches('^/users/[0-9]+(/|$)', '/users/17/posts'))
  t.false(matches('^/users/[0-9]+(/|$)', '/users/17x'))
  t.true(matches('\\.(?:png|jpe?g)$', '/a/b.jpeg'))
  t.true(matches('(?i)^/API', '/api/x'))
  t.false(matches('^/API', '/api/x'))
  t.true(matches('', ''))
  t.true(matches('^$', ''))
  t.false(matches('^$', 'a'))
  t.true(matches('$^', ''))
  t.false(matches('a^b', 'ab'))
  t.true(matches('[]a]'.replace(']', '\\]'), ']'))
  t.true(matches('x{2,3}', 'axxb'))
  t.false(matches('(?i)[^a]', 'A'))
})

const wrong: readonly (readonly [string, RegExp])[] = [
  ['(a', /unclosed "\(" at character 1/], ['a)', /"\)" without "\(" at character 2/], ['[a', /unclosed "\["/], ['[]', /empty "\[\]"/], ['a**', /nothing to repeat at character 3/],
  ['*', /nothing to repeat/], ['(?=a)', /no look-around/], ['(?<n>a)', /no named groups/], ['(a)\\1', /no back-references/], ['\\bword', /no word boundaries/], ['\\q', /not known/],
  ['a{2', /"\\\\?\{"/], ['{', /repeats nothing/], ['a{3,2}', /from 3 to 2/], ['^*', /repeats an anchor/], ['\\', /ends with/], ['\\xz1', /two hexadecimal digits/], ['[z-a]', /leads nowhere/],
  ['[\\d-z]', /leads nowhere/], ['[[:alpha:]]', /POSIX class/], ['é', /not ASCII/], ['a{1001}', /more than 1000 times/], ['(?:a{500}){500}', /too large/],
  [`${'('.repeat(10)}a${')'.repeat(10)}`, /more than 9 groups/], [`${'(?:'.repeat(60)}a${')'.repeat(60)}`, /nested more than/], ['(((((a{1000}){1000}){1000}){1000}){1000})', /more than a million/],
]
for (const [text, message] of wrong) {
  test(`refused: ${text.slice(0, 40)}`, (t) => {
    const result = compilePattern(text)
    t.false(result.ok)
    if (!result.ok) t.regex(result.error, message)
  })
}

test('a program is no larger than was counted', (t) => {
  fc.assert(
    fc.property(pattern, (text) => {
      const result = compilePattern(text)
      t.pass()
      return !result.ok || result.pattern.ops.length <= maxPatternSize
    }),
    randomness(t, 500),
  )
})

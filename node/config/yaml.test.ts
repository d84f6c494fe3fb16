/** YAML in and out: positions of problems, strictness, limits, round trips. */
import test from 'ava'
import * as fc from 'fast-check'
import { parse } from 'yaml'
import { arbitraryDocument, randomness } from './fixture/documents.ts'
import { documentLimits } from './schema.ts'
import { parseYaml, toYaml } from './yaml.ts'

/** Text, field, message, line, column of the first problem. */
const bad: readonly (readonly [string, string, string, RegExp, number, number])[] = [
  ['empty', '', '', /the text is empty/, 1, 1],
  ['comments only', '# nothing\n\n', '', /the text is empty/, 1, 1],
  ['null document', 'null\n', '', /the text is empty/, 1, 1],
  ['a list', '- a\n', '', /expected an object, found a list/, 1, 1],
  ['value', 'haechi: 1\npools:\n  - name: web\n    retries: many\n', '/pools/0/retries', /whole number.*found "many"/, 4, 14],
  ['unknown field', 'haechi: 1\npools:\n  - name: web\n    retires: 2\n', '/pools/0/retires', /did you mean "retries"/, 4, 5],
  ['missing field', 'haechi: 1\npools:\n  - name: web\n    members:\n      - name: a\n        port: 80\n', '/pools/0/members/0/address', /is missing/, 5, 9],
  ['field without value', 'pools:\n', '/pools', /found nothing \(null\)/, 1, 1],
  ['duplicate key', 'haechi: 1\npools: []\nhaechi: 1\n', '/haechi', /is here twice; the first is on line 1/, 3, 1],
  ['duplicate key below', 'pools:\n  - name: a\n    name: b\n', '/pools/0/name', /is here twice; the first is on line 2/, 3, 5],
  ['octal port as YAML 1.1 has it', 'pools: [{name: a, members: [{name: b, address: 10.0.0.1, port: 0o120, weight: x}]}]\n', '/pools/0/members/0/weight', /found "x"/, 1, 79],
  ['unknown tag', 'haechi: !int 1\n', '', /[Uu]nresolved tag/, 1, 9],
  ['binary tag', 'haechi: !!binary AAAA\n', '', /[Uu]nresolved tag/, 1, 9],
  ['second document', 'haechi: 1\n---\nhaechi: 1\n', '', /found a second one/, 2, 1],
  ['tab', 'pools:\n\t- name: a\n', '', /[Tt]ab/, 2, 1],
  ['unclosed bracket', 'pools: [\n', '', /[Ff]low sequence|end with a \]/, 2, 1],
  ['unknown alias', 'pools: *no\n', '', /alias/, 1, 1],
  ['merge key', 'pools:\n  - &a\n    name: a\n  - <<: *a\n    name: b\n', '/pools/1/<<', /not a known field/, 4, 5],
  ['key that is a list', '? [a]\n: 1\n', '', /expected a plain key/, 1, 3],
  ['semantic problem', 'pools:\n  - name: web\nlisteners:\n  - name: front\n    address: 10.0.0.1\n    port: 80\n    pool: wbe\n', '/listeners/0/pool', /did you mean "web"/, 7, 11],
  ['behind an alias', 'pools:\n  - name: a\n    members: &m\n      - {name: x, address: 10.0.0.1, port: 0}\n  - name: b\n    members: *m\n', '/pools/0/members/0/port', /found 0/, 4, 44],
]
for (const [what, text, field, message, line, column] of bad) {
  test(`refused: ${what}`, (t) => {
    const result = parseYaml(text)
    if (result.ok) return t.fail('it was taken')
    const [problem] = result.problems
    t.is(problem!.field, field, JSON.stringify(result.problems))
    t.regex(problem!.message, message)
    t.deepEqual([problem!.line, problem!.column], [line, column], problem!.message)
    t.true(result.problems.every((each) => each.line! >= 1 && each.column! >= 1))
  })
}

/** What would take memory, time or stack without end. */
const hostile: readonly (readonly [string, () => string, RegExp])[] = [
  ['too large', () => `# ${'x'.repeat(documentLimits.yamlBytes)}`, /at most 4194304 bytes/],
  ['too large in UTF-8 only', () => `# ${'한'.repeat(documentLimits.yamlBytes / 3)}`, /at most 4194304 bytes of YAML, found 41943/],
  ['deep flow', () => '['.repeat(50_000), /nested deeper than 32/],
  ['very many brackets', () => '['.repeat(4_000_000), /at most 100000 opening brackets/],
  ['deep maps in one line', () => '{a: '.repeat(10_000), /nested deeper than 32/],
  ['deep sequences in one line', () => '- '.repeat(20_000), /nested deeper than 32/],
  ['deep indentation', () => Array.from({ length: 500 }, (_, indent) => `${' '.repeat(indent)}a:`).join('\n'), /nested deeper than 32/],
  ['very many lines', () => 'a:\n'.repeat(1_000_000), /at most 300000 lines/],
  ['very many documents', () => '---\n'.repeat(200_000), /found a second one/],
  ['very many keys', () => Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n'), /not a known field/],
  ['billion laughs', () => `a: &a [x,x,x,x,x,x,x,x,x,x]\n${[...'bcdefghi'].map((key, i) => `${key}: &${key} [${Array.from({ length: 10 }, () => `*${'abcdefghi'[i]}`).join()}]`).join('\n')}\n`, /alias|not a known field/],
]
for (const [what, text, message] of hostile) {
  test(`bounded: ${what}`, (t) => {
    const result = parseYaml(text())
    t.false(result.ok)
    t.regex(result.ok ? '' : result.problems[0]!.message, message)
  })
}

test('aliases are taken where they stand for something valid', (t) => {
  const result = parseYaml('pools:\n  - name: a\n    members: &m\n      - {name: x, address: 10.0.0.1, port: 80}\n  - name: b\n    members: *m\n')
  t.is(result.ok ? result.document.pools[1]!.members[0]!.address : '', '10.0.0.1')
})

test('JSON is YAML', (t) => {
  const result = parseYaml('{"haechi":1,"pools":[{"name":"web","members":[{"name":"a","address":"10.0.0.1","port":80}]}]}')
  t.true(result.ok)
})

test('what is written is read back the same, with and without defaults, here and by a YAML 1.1 reader', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(arbitraryDocument, fc.boolean(), (document, omitDefaults) => {
      const text = toYaml(document, { omitDefaults })
      const back = parseYaml(text)
      if (!back.ok || JSON.stringify(back.document) !== JSON.stringify(document)) return false
      return omitDefaults || JSON.stringify(parse(text, { version: '1.1' })) === JSON.stringify(document)
    }),
    randomness(t, 100),
  )
  t.pass()
})

test('text for git is short and in the order of the schema', (t) => {
  const result = parseYaml('listeners: [{port: 80, name: front, address: "::1", pool: web}]\npools: [{name: web, healthCheck: {rise: 5}, members: [{name: "no", address: 10.0.0.1, port: 80}]}]')
  if (!result.ok) return t.fail(JSON.stringify(result.problems))
  t.is(
    toYaml(result.document, { omitDefaults: true }),
    [
      'haechi: 1', 'pools:', '  - name: web', '    members:', '      - name: "no"', '        address: 10.0.0.1', '        port: 80', '    healthCheck:',
      '      rise: 5', 'listeners:', '  - name: front', '    address: "::1"', '    port: 80', '    pool: web', '',
    ].join('\n'),
  )
  t.regex(toYaml(result.document), /\n {4}connectTimeout: 5s\n/)
})

test('text that a YAML 1.1 reader takes for a number without digits is quoted', (t) => {
  const checked = parseYaml('haechi: 1\npools:\n  - name: e0\n    healthCheck: {type: http, host: E15}\n')
  t.true(checked.ok)
  if (checked.ok) t.regex(toYaml(checked.document), /name: "e0"[^]*host: "e15"|name: "e0"[^]*host: "E15"/)
})

test('bug: a key that a YAML 1.1 reader takes for a truth value was written as it is', (t) => {
  const checked = parseYaml('haechi: 1\npools:\n  - {name: web, balance: hash, hash: {on: uri}}\n')
  if (!checked.ok) return t.fail(JSON.stringify(checked.problems))
  const text = toYaml(checked.document)
  t.regex(text, /\n {6}"on": uri\n/)
  t.deepEqual(parse(text, { version: '1.1' }), checked.document)
})

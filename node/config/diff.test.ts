/** Differences of documents in words and as unified text. */
import test from 'ava'
import { applyPatch } from 'diff'
import * as fc from 'fast-check'
import { canonicalText } from './canonical.ts'
import { diffDocuments, unifiedDiff } from './diff.ts'
import { arbitraryDocument, randomness } from './fixture/documents.ts'
import type { ConfigurationDocument } from './schema.ts'
import { unifiedText } from './unified.ts'
import { validateDocument } from './validate.ts'
import { toYaml } from './yaml.ts'

function document(value: unknown): ConfigurationDocument {
  const result = validateDocument(value)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.document
}

const a = { name: 'a', address: '10.0.0.1', port: 80 }
const b = { name: 'b', address: '10.0.0.2', port: 80 }
const c = { name: 'c', address: '10.0.0.3', port: 80 }
const web = (...members: object[]) => ({ pools: [{ name: 'web', members }] })
const front = (change: object) => ({
  vips: [{ name: 'main', address: '10.0.0.100' }],
  pools: [{ name: 'web' }, { name: 'api' }],
  listeners: [{ name: 'front', vip: 'main', port: 80, pool: 'web', ...change }],
})
const r1 = { name: 'r1', pool: 'api', paths: ['/a'] }
const r2 = { name: 'r2', pool: 'web', paths: ['/b'] }

const cases: readonly (readonly [string, unknown, unknown, readonly string[]])[] = [
  ['nothing', web(a), web(a), []],
  ['member added', web(a), web(a, b), ['added pools/web/members/b: pool web: member b added']],
  ['member added before others', web(b, c), web(a, b, c), ['added pools/web/members/a: pool web: member a added']],
  ['member removed', web(a, b, c), web(a, c), ['removed pools/web/members/b: pool web: member b removed']],
  ['members reordered', web(a, b), web(b, a), ['changed pools/web/members: pool web: members reordered']],
  ['member changed', web(a), web({ ...a, port: 81 }), ['changed pools/web/members/a/port: pool web: member a: port 80 → 81']],
  ['pool added', {}, web(a), ['added pools/web: pool web added']],
  ['pool removed', web(a), {}, ['removed pools/web: pool web removed']],
  ['pool renamed', web(a), { pools: [{ name: 'www', members: [a] }] }, ['removed pools/web: pool web removed', 'added pools/www: pool www added']],
  ['health check', web(), { pools: [{ name: 'web', healthCheck: { type: 'http', interval: '5s' } }] }, [
    'changed pools/web/healthCheck/type: pool web: health check: type tcp → http',
    'changed pools/web/healthCheck/interval: pool web: health check: interval 2s → 5s',
  ]],
  ['routes reordered', front({ routes: [r1, r2] }), front({ routes: [r2, r1] }), ['changed listeners/front/routes: listener front: routes reordered']],
  ['route added in between and one changed', front({ routes: [r2] }), front({ routes: [r1, { ...r2, paths: [] }] }), [
    'changed listeners/front/routes/r2/paths: listener front: route r2: paths /b → none',
    'added listeners/front/routes/r1: listener front: route r1 added',
  ]],
  ['VIP to address', front({}), front({ vip: undefined, address: '10.0.0.9' }), [
    'removed listeners/front/vip: listener front: VIP main removed',
    'added listeners/front/address: listener front: address 10.0.0.9 added',
  ]],
  ['fallback pool gone', front({}), front({ pool: undefined }), ['removed listeners/front/pool: listener front: pool web removed']],
  ['VIP address', front({}), { ...front({}), vips: [{ name: 'main', address: '10.0.0.101' }] }, ['changed vips/main/address: VIP main: address 10.0.0.100 → 10.0.0.101']],
  ['failover added', {}, { failover: { preferredNode: 'n1', preempt: true } }, ['added failover: failover added: preferred node n1, preemption true, preemption delay 30s']],
  ['failover without a word added', {}, { failover: {} }, ['added failover: failover added: preemption false, preemption delay 30s']],
  ['failover removed', { failover: { preferredNode: 'n1' } }, {}, ['removed failover: failover removed: preferred node n1, preemption false, preemption delay 30s']],
  ['failover changed', { failover: { preferredNode: 'n1' } }, { failover: { preempt: true, preemptDelay: '5s' } }, [
    'removed failover/preferredNode: failover: preferred node n1 removed',
    'changed failover/preempt: failover: preemption false → true',
    'changed failover/preemptDelay: failover: preemption delay 30s → 5s',
  ]],
  ['VIPs reordered', { vips: [{ name: 'x', address: '10.0.0.1' }, { name: 'y', address: '10.0.0.2' }] }, { vips: [{ name: 'y', address: '10.0.0.2' }, { name: 'x', address: '10.0.0.1' }] }, ['changed vips: VIPs reordered']],
]
for (const [what, before, after, expected] of cases) {
  test(`in words: ${what}`, (t) => {
    const changes = diffDocuments(document(before), document(after))
    t.deepEqual(changes.map(({ kind, path, text }) => `${kind} ${path}: ${text}`), expected)
    for (const change of changes) {
      t.is('before' in change, change.kind !== 'added')
      t.is('after' in change, change.kind !== 'removed')
    }
  })
}

test('values are JSON', (t) => {
  const [change] = diffDocuments(document(front({ routes: [r2] })), document(front({ routes: [{ ...r2, paths: ['/x', '/y'] }] })))
  t.is(change!.before, '["/b"]')
  t.is(change!.after, '["/x","/y"]')
})

test('more changes than the limit are counted', (t) => {
  const changes = diffDocuments(document({}), document({ pools: Array.from({ length: 30 }, (_, i) => ({ name: `p${i}` })) }), 10)
  t.is(changes.length, 11)
  t.deepEqual(changes[10], { path: '', kind: 'changed', text: '… and 20 more changes' })
})

test('documents differ exactly when there are changes, and the unified diff leads from one to the other', (t) => {
  t.plan(1)
  fc.assert(
    fc.property(arbitraryDocument, arbitraryDocument, fc.boolean(), (before, other, equal) => {
      const after = equal ? structuredClone(before) : other
      const same = canonicalText(before) === canonicalText(after)
      const unified = unifiedDiff(before, after)
      if ((diffDocuments(before, after).length === 0) !== same || (unified === '') !== same) return false
      return same || applyPatch(toYaml(before, { omitDefaults: true }), unified) === toYaml(after, { omitDefaults: true })
    }),
    randomness(t, 100),
  )
  t.pass()
})

test('a patch of random lines leads from one text to the other, and has no line too many', (t) => {
  t.plan(1)
  const lines = fc.array(fc.constantFrom('a', 'b', 'c', '', ' x'), { maxLength: 40 }).map((all) => all.map((line) => `${line}\n`).join(''))
  fc.assert(
    fc.property(lines, lines, fc.nat(4), (from, to, context) => {
      const patch = unifiedText(from, to, 'from', 'to', context)
      if (patch === '') return from === to
      const body = patch.split('\n').slice(2)
      const edits = body.filter((line) => line.startsWith('+') || line.startsWith('-')).length
      return applyPatch(from, patch) === to && edits === shortest(from.split('\n').slice(0, -1), to.split('\n').slice(0, -1))
    }),
    randomness(t, 500),
  )
  t.pass()
})

/** Insertions plus deletions of the shortest script, by the table of the longest common subsequence. */
function shortest(from: readonly string[], to: readonly string[]): number {
  let last = Array.from({ length: to.length + 1 }, () => 0)
  for (const line of from) {
    const row = [0]
    for (const [j, other] of to.entries()) row.push(line === other ? last[j]! + 1 : Math.max(last[j + 1]!, row[j]!))
    last = row
  }
  return from.length + to.length - 2 * last.at(-1)!
}

test('texts with nothing in common are replaced whole, in bounded time', (t) => {
  const from = Array.from({ length: 20_000 }, (_, i) => `from ${i}\n`).join('')
  const to = Array.from({ length: 20_000 }, (_, i) => `to ${i}\n`).join('')
  t.is(applyPatch(from, unifiedText(from, to, 'from', 'to')), to)
})

test('the format is that of diff -u', (t) => {
  const from = ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12', ''].join('\n')
  const to = from.replace('2\n', 'two\n').replace('12\n', '12\n13\n')
  t.is(
    unifiedText(from, to, 'revision 1', 'revision 2', 2),
    ['--- revision 1', '+++ revision 2', '@@ -1,4 +1,4 @@', ' 1', '-2', '+two', ' 3', ' 4', '@@ -11,2 +11,3 @@', ' 11', ' 12', '+13', ''].join('\n'),
  )
})

test('weights of a route are told as such, and a pool in that list is no object of its own', (t) => {
  const documentWith = (route: object): ConfigurationDocument => {
    const result = validateDocument({ pools: [{ name: 'blue' }, { name: 'green' }], listeners: [{ name: 'front', address: '10.0.0.1', port: 80, routes: [{ name: 'all', ...route }] }] })
    if (!result.ok) throw new Error(JSON.stringify(result.problems))
    return result.document
  }
  const before = documentWith({ pools: [{ pool: 'blue', weight: 100 }, { pool: 'green', weight: 0 }] })
  const after = documentWith({ pools: [{ pool: 'blue', weight: 0 }, { pool: 'green', weight: 100 }] })
  t.deepEqual(diffDocuments(before, after).map(({ path, kind, text }) => [path, kind, text]), [
    ['listeners/front/routes/all/pools', 'changed', 'listener front: route all: pools blue 100, green 0 → blue 0, green 100'],
  ])
  t.deepEqual(diffDocuments(before, documentWith({ pool: 'green' })).map(({ path, kind }) => [path, kind]), [
    ['listeners/front/routes/all/pools', 'removed'], ['listeners/front/routes/all/pool', 'added'],
  ])
})

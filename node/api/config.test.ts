import { call, document, listener, pool, problemOf, putConfig, test } from './test-api.ts'
import { emptyDocument } from './test-node.ts'
import type { ApplyResult } from './types.ts'

test('PUT /config: applied, unchanged, stale, missing and odd If-Match', async (t) => {
  const { api, node } = t.context
  const token = await t.context.token('operator')
  const first = await call(api, 'GET', '/config', { token })
  t.is(first.headers.get('etag'), '"1"')
  const applied = await putConfig(t.context, document, '"1"')
  t.is(applied.status, 200, applied.text)
  t.like(applied.body, { revision: 2, changed: true })
  t.true((applied.body as ApplyResult).changes.some(({ text }) => text.includes('web')))
  t.is(applied.headers.get('etag'), '"2"')
  const same = await putConfig(t.context, document, '"2"')
  t.deepEqual(same.body, { revision: 2, changed: false, changes: [] })
  t.is(node.state().revision, 2)
  const stale = await putConfig(t.context, emptyDocument, '"1"')
  t.is(problemOf(t, stale, 412, 'revision-conflict').revision, 2)
  problemOf(t, await putConfig(t.context, emptyDocument), 428, 'precondition-required')
  t.regex(
    problemOf(t, await putConfig(t.context, emptyDocument, '*'), 428, 'precondition-required').detail,
    /overwrite/,
  )
  for (const odd of ['2', 'W/"2"', '"1", "2"', '"x"', '"-1"', '"02"'])
    problemOf(t, await putConfig(t.context, emptyDocument, odd), 400, 'invalid-if-match')
  t.is(node.state().revision, 2)
  const cached = await call(api, 'GET', '/config', { token, headers: { 'if-none-match': '"2"' } })
  t.is(cached.status, 304)
})

test('a revision that this node has not seen is waited for, then refused', async (t) => {
  const ahead = putConfig(t.context, document, '"2"')
  await putConfig(t.context, { haechi: 1, pools: [pool] }, '"1"')
  t.like((await ahead).body, { revision: 3, changed: true })
  problemOf(t, await putConfig(t.context, emptyDocument, '"99"'), 412, 'revision-conflict')
})

test('an invalid document changes nothing and names the field', async (t) => {
  const bad = { haechi: 1, pools: [{ name: 'web', members: [{ name: 'a', address: '192.0.2.10', port: 99_999 }] }] }
  const problem = problemOf(t, await putConfig(t.context, bad, '"1"'), 422, 'invalid-document')
  t.like(problem.problems, [{ field: '/pools/0/members/0/port' }])
  t.is(t.context.node.state().revision, 1)
  const validated = await call(t.context.api, 'POST', '/config/validate', {
    token: await t.context.token('viewer'),
    body: bad,
  })
  t.like(validated.body, { valid: false, problems: [{ field: '/pools/0/members/0/port' }], changes: [] })
})

test('YAML in and out', async (t) => {
  const { api } = t.context
  const token = await t.context.token('operator')
  const yaml = { 'content-type': 'application/yaml' }
  const text = 'haechi: 1\npools:\n  - name: web\n    members:\n      - {name: a, address: 192.0.2.10, port: 8080}\n'
  const applied = await putConfig(t.context, text, '"1"', 'operator', yaml)
  t.like(applied.body, { revision: 2, changed: true }, applied.text)
  const out = await call(api, 'GET', '/config', { token, headers: { accept: 'application/yaml' } })
  t.regex(out.headers.get('content-type')!, /^application\/yaml/)
  t.is(out.headers.get('vary'), 'accept')
  t.regex(out.text, /name: web/)
  const again = await putConfig(t.context, out.text, '"2"', 'operator', yaml)
  t.like(again.body, { revision: 2, changed: false }, again.text)
  const bad = problemOf(
    t,
    await putConfig(t.context, text.replace('8080', 'http'), '"2"', 'operator', yaml),
    422,
    'invalid-document',
  )
  t.like(bad.problems, [{ field: '/pools/0/members/0/port', line: 5 }])
  problemOf(t, await putConfig(t.context, 'a: [', '"2"', 'operator', yaml), 422, 'invalid-document')
  problemOf(
    t,
    await putConfig(t.context, '<x/>', '"2"', 'operator', { 'content-type': 'application/xml' }),
    415,
    'unsupported-media-type',
  )
  problemOf(
    t,
    await putConfig(t.context, '{', '"2"', 'operator', { 'content-type': 'application/json' }),
    400,
    'malformed-body',
  )
})

test('bodies are limited: 4 MiB for the document, 64 KiB else', async (t) => {
  const big = { haechi: 1, filler: 'x'.repeat(3 * 1024 * 1024) }
  problemOf(t, await putConfig(t.context, big, '"1"'), 422, 'invalid-document')
  problemOf(t, await putConfig(t.context, { filler: 'x'.repeat(5 * 1024 * 1024) }, '"1"'), 413, 'too-large')
  problemOf(
    t,
    await call(t.context.api, 'POST', '/session', { body: { name: 'x'.repeat(70_000), password: 'x' } }),
    413,
    'too-large',
  )
})

test('revisions: list, get, diff, roll back', async (t) => {
  const { api } = t.context
  const token = await t.context.token('operator')
  await putConfig(t.context, document, '"1"')
  const summaries = (await call(api, 'GET', '/config/revisions?limit=1', { token })).body as {
    revision: number
    summary: string[]
  }[]
  t.like(summaries, [{ revision: 2, author: 'olga', from: '127.0.0.1', rolledBackTo: null }])
  t.true(summaries[0]!.summary.length > 0)
  t.like((await call(api, 'GET', '/config/revisions?before=2', { token })).body, [{ revision: 1 }])
  t.like((await call(api, 'GET', '/config/revisions/1', { token })).body, { revision: 1, document: emptyDocument })
  problemOf(t, await call(api, 'GET', '/config/revisions/7', { token }), 404, 'not-found')
  t.like(
    problemOf(t, await call(api, 'GET', '/config/revisions?limit=1000', { token }), 400, 'invalid-request').problems,
    [{ field: '/querystring/limit' }],
  )
  const diff = (await call(api, 'GET', '/config/revisions/2/diff', { token })).body as { from: number; unified: string }
  t.is(diff.from, 1)
  t.regex(diff.unified, /^\+.*web/m)
  t.like((await call(api, 'GET', '/config/revisions/1/diff?against=2', { token })).body, { from: 2, to: 1 })
  const rollback = (toRevision: number, match: string) =>
    call(api, 'POST', '/config/rollback', { token, body: { toRevision }, headers: { 'if-match': match } })
  problemOf(t, await rollback(9, '"2"'), 404, 'not-found')
  problemOf(t, await rollback(1, '"1"'), 412, 'revision-conflict')
  t.like((await rollback(1, '"2"')).body, { revision: 3, changed: true })
  t.like((await call(api, 'GET', '/config/revisions?limit=1', { token })).body, [{ revision: 3, rolledBackTo: 1 }])
  t.like((await rollback(1, '"3"')).body, { revision: 3, changed: false })
})

test('a comment of any language is kept with the revision', async (t) => {
  const token = await t.context.token('operator')
  const put = (comment: string) =>
    call(t.context.api, 'PUT', `/config?comment=${encodeURIComponent(comment)}`, {
      token,
      body: document,
      headers: { 'if-match': '"1"' },
    })
  problemOf(t, await put('x'.repeat(501)), 400, 'invalid-request')
  await put('점검 & 50% 증설')
  t.like((await call(t.context.api, 'GET', '/config', { token })).body, { comment: '점검 & 50% 증설' })
})

test('parts: list, get, put, delete', async (t) => {
  const { api } = t.context
  const token = await t.context.token('operator')
  const write = (method: string, path: string, match: string, body?: unknown) =>
    call(api, method, path, { token, headers: { 'if-match': match }, ...(body === undefined ? {} : { body }) })
  t.like((await write('PUT', '/pools/web', '"1"', { members: pool.members })).body, { revision: 2, changed: true })
  t.like((await write('PUT', '/listeners/front', '"2"', listener)).body, { revision: 3 })
  const one = await call(api, 'GET', '/pools/web', { token })
  t.is(one.headers.get('etag'), '"3"')
  t.like(one.body, { name: 'web', balance: 'round-robin' })
  t.is(((await call(api, 'GET', '/pools', { token })).body as unknown[]).length, 1)
  problemOf(t, await call(api, 'GET', '/pools/other', { token }), 404, 'not-found')
  t.like(
    problemOf(t, await write('PUT', '/pools/web', '"3"', { ...pool, name: 'other' }), 422, 'invalid-document').problems,
    [{ field: '/pools/0/name' }],
  )
  t.like(problemOf(t, await write('PUT', '/pools/new', '"3"', { retries: -1 }), 422, 'invalid-document').problems, [
    { field: '/pools/1/retries' },
  ])
  problemOf(t, await write('PUT', '/pools/web', '"3"', []), 422, 'invalid-document')
  t.like(problemOf(t, await write('DELETE', '/pools/web', '"3"'), 409, 'in-use').problems, [
    { field: '/listeners/0/pool' },
  ])
  problemOf(t, await write('DELETE', '/pools/web', '"2"'), 412, 'revision-conflict')
  t.like((await write('DELETE', '/listeners/front', '"3"')).body, { revision: 4 })
  t.like((await write('DELETE', '/pools/web', '"4"')).body, { revision: 5 })
  problemOf(t, await write('DELETE', '/pools/web', '"5"'), 404, 'not-found')
  t.deepEqual(t.context.node.state().document, emptyDocument)
})

test('what consensus refuses is told apart: certainly not made, or not known', async (t) => {
  const { node } = t.context
  await t.context.token('operator')
  node.refusal = { code: 'no-leader', retrySafe: true }
  const none = await putConfig(t.context, document, '"1"')
  problemOf(t, none, 503, 'no-quorum')
  t.is(none.headers.get('retry-after'), '1')
  node.refusal = { code: 'timeout', retrySafe: false }
  t.regex(
    problemOf(t, await putConfig(t.context, document, '"1"'), 504, 'unknown-fate').detail,
    /may or may not.*GET \/api\/v1\/config/,
  )
  node.refusal = { code: 'overloaded', retrySafe: true }
  problemOf(t, await putConfig(t.context, document, '"1"'), 503, 'overloaded')
  node.refusal = { code: 'stopped', retrySafe: true }
  problemOf(t, await putConfig(t.context, document, '"1"'), 503, 'stopping')
  node.refusal = { code: 'too-large', retrySafe: true }
  problemOf(t, await putConfig(t.context, document, '"1"'), 413, 'too-large')
  node.refusal = undefined
  t.is(node.state().revision, 1)
})

test('GET /config?consistency=linearizable: confirmed by a majority, else 503, and never from what came before', async (t) => {
  const { api, node } = t.context
  const token = await t.context.token('viewer')
  const get = (query: string) => call(api, 'GET', `/config${query}`, { token })
  // What the barrier lets in must be in the answer: it is read after, not before.
  node.barrier = async () => {
    await putConfig(t.context, document, '"1"')
    return { ok: true }
  }
  t.like((await get('?consistency=linearizable')).body, { revision: 2 })
  let asked = 0
  node.barrier = () => {
    asked++
    return { ok: false, code: 'no-quorum', detail: 'no majority' }
  }
  const refused = await get('?consistency=linearizable')
  t.regex(problemOf(t, refused, 503, 'no-quorum').detail, /no majority.*Without consistency=linearizable/)
  t.is(refused.headers.get('retry-after'), '1')
  t.is((await get('')).status, 200)
  t.is((await get('?consistency=local')).status, 200)
  t.is(asked, 1, 'a local read asks nobody')
  problemOf(t, await get('?consistency=strong'), 400, 'invalid-request')
  problemOf(t, await get('?consistent=1'), 400, 'invalid-request')
  node.barrier = () => ({ ok: false, code: 'not-ready', detail: 'behind' })
  problemOf(t, await get('?consistency=linearizable'), 503, 'not-ready')
})

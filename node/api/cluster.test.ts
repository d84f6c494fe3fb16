import { call, document, problemOf, putConfig, test } from './test-api.ts'
import { passwords } from './test-node.ts'
import type { ClusterOverview } from './types.ts'

test('status, nodes, audit', async (t) => {
  const { api } = t.context
  const token = await t.context.token('viewer')
  await putConfig(t.context, { ...document, vips: [{ name: 'main', address: '192.0.2.100' }] }, '"1"')
  const overview = (await call(api, 'GET', '/status', { token })).body as ClusterOverview
  t.like(overview, { self: 'n1', revision: 2, leader: 'n1', quorum: true })
  t.like(overview.vips, [{ name: 'main', holder: 'n1' }])
  t.like(overview.pools, [{ name: 'web', up: 1 }])
  t.deepEqual(
    ((await call(api, 'GET', '/nodes', { token })).body as { id: string }[]).map(({ id }) => id),
    ['n1', 'n2', 'w'],
  )
  t.like((await call(api, 'GET', '/audit?limit=1', { token })).body, [
    { action: 'config.apply', actor: { name: 'olga', from: '127.0.0.1' }, revision: 2 },
  ])
})

test('a join token is shown once and only its hash is kept', async (t) => {
  const { api, node } = t.context
  const token = await t.context.token('administrator')
  const answer = await call(api, 'POST', '/nodes/tokens', { token, body: { role: 'witness', ttlMinutes: 5 } })
  t.is(answer.status, 201, answer.text)
  const made = answer.body as { token: string; role: string; expiresEpochMs: number }
  t.is(made.role, 'witness')
  const content = JSON.parse(Buffer.from(made.token.slice('haechi1.'.length), 'base64url').toString()) as {
    s: string
    a: string[]
  }
  t.deepEqual(content.a, ['192.0.2.1:7400', '192.0.2.2:7400'])
  t.false(JSON.stringify(node.commands).includes(content.s))
  problemOf(t, await call(api, 'POST', '/nodes/tokens', { token, body: { role: 'king' } }), 400, 'invalid-request')
  problemOf(
    t,
    await call(api, 'POST', '/nodes/tokens', { token, body: { role: 'node', ttlMinutes: 0 } }),
    400,
    'invalid-request',
  )
})

test('hand-over and removal of nodes', async (t) => {
  const { api, node } = t.context
  const operator = await t.context.token('operator')
  const administrator = await t.context.token('administrator')
  t.is((await call(api, 'POST', '/hand-over', { token: operator, body: { to: 'n2' } })).status, 200)
  t.is((await call(api, 'POST', '/hand-over', { token: operator })).status, 200, 'no body: the best other node')
  const empty = { token: operator, headers: { 'content-type': 'application/json' } }
  t.is((await call(api, 'POST', '/hand-over', empty)).status, 200, 'an empty JSON body is no body')
  t.deepEqual(node.handOvers, ['n2', '', ''])
  problemOf(t, await call(api, 'POST', '/hand-over', { token: operator, body: { to: 'w' } }), 400, 'invalid-request')
  problemOf(
    t,
    await call(api, 'POST', '/hand-over', { token: operator, body: { to: 'nosuch' } }),
    400,
    'invalid-request',
  )
  node.handOverDetail = 'no other node is fit to serve'
  problemOf(t, await call(api, 'POST', '/hand-over', { token: operator, body: {} }), 409, 'hand-over-refused')
  problemOf(t, await call(api, 'DELETE', '/nodes/nosuch', { token: administrator }), 404, 'not-found')
  t.is((await call(api, 'DELETE', '/nodes/n2', { token: administrator })).status, 204)
  t.deepEqual(node.removed, ['n2'])
  const audit = (await call(api, 'GET', '/audit?limit=1', { token: operator })).body
  t.like(audit, [{ action: 'node.remove', detail: 'n2', actor: { name: 'anna' } }])
})

test('metrics: with a token, with Basic, not without', async (t) => {
  const { api } = t.context
  const none = await call(api, 'GET', '/metrics')
  problemOf(t, none, 401, 'not-signed-in')
  t.regex(none.headers.get('www-authenticate')!, /^Basic /)
  const withToken = await call(api, 'GET', '//metrics', { token: await t.context.token('viewer') })
  t.is(withToken.status, 200, withToken.text)
  t.regex(withToken.headers.get('content-type')!, /^text\/plain; version=0\.0\.4/)
  t.regex(withToken.text, /^haechi_consensus_term 3$/m)
  const basic = (text: string) => ({ headers: { authorization: `Basic ${Buffer.from(text).toString('base64')}` } })
  for (let index = 0; index < 20; index++)
    t.is((await call(api, 'GET', '/metrics', basic(`vera:${passwords.viewer}`))).status, 200)
  problemOf(t, await call(api, 'GET', '/metrics', basic('vera:wrong')), 401, 'wrong-credentials')
  problemOf(t, await call(api, 'GET', '/status', basic(`vera:${passwords.viewer}`)), 401, 'not-signed-in')
})

import { call, document, problemOf, putConfig, test } from './test-api.ts'
import { listRoutes, passwords } from './test-node.ts'

test('every route answers by role: nobody, viewer, operator, administrator', async (t) => {
  const { api, node } = t.context
  const routes = await listRoutes(node)
  t.true(routes.length > 25)
  const ranks = { viewer: 0, operator: 1, administrator: 2 }
  for (const { method, url, access } of routes) {
    const path = url
      .replace('/api/v1', '')
      .replace(':revision', '1')
      .replace(':name', 'nosuch')
      .replace(':id', 'nosuch')
    const anonymous = await call(api, method, path)
    if (access === 'public') t.not(anonymous.status, 401, `${method} ${url} for nobody`)
    else problemOf(t, anonymous, 401, 'not-signed-in')
    if (access === 'public' || access === 'session') continue
    for (const role of ['viewer', 'operator', 'administrator'] as const) {
      const answer = await call(api, method, path, {
        token: await t.context.token(role),
        ...(method === 'GET' ? {} : { body: {} }),
      })
      const needed = access === 'metrics' ? 'viewer' : access
      if (ranks[role] < ranks[needed]) problemOf(t, answer, 403, 'forbidden')
      else
        t.false([401, 403, 500].includes(answer.status), `${method} ${url} as ${role}: ${answer.status} ${answer.text}`)
    }
  }
  t.deepEqual(node.removed, [], 'nothing was removed by asking')
})

test('the routes and their roles are these', async (t) => {
  const routes = await listRoutes(t.context.node)
  t.deepEqual(routes.map(({ method, url, access }) => `${method} ${url} ${access}`).toSorted(), [
    'DELETE /api/v1/certificates/:name operator',
    'DELETE /api/v1/listeners/:name operator',
    'DELETE /api/v1/nodes/:id administrator',
    'DELETE /api/v1/pools/:name operator',
    'DELETE /api/v1/session session',
    'DELETE /api/v1/sessions operator',
    'DELETE /api/v1/users/:name administrator',
    'DELETE /api/v1/vips/:name operator',
    'GET /api/v1/audit viewer',
    'GET /api/v1/certificates viewer',
    'GET /api/v1/certificates/:name viewer',
    'GET /api/v1/config viewer',
    'GET /api/v1/config/revisions viewer',
    'GET /api/v1/config/revisions/:revision viewer',
    'GET /api/v1/config/revisions/:revision/diff viewer',
    'GET /api/v1/health public',
    'GET /api/v1/listeners viewer',
    'GET /api/v1/listeners/:name viewer',
    'GET /api/v1/live viewer',
    'GET /api/v1/metrics metrics',
    'GET /api/v1/nodes viewer',
    'GET /api/v1/pools viewer',
    'GET /api/v1/pools/:name viewer',
    'GET /api/v1/session session',
    'GET /api/v1/sessions viewer',
    'GET /api/v1/status viewer',
    'GET /api/v1/upgrade viewer',
    'GET /api/v1/users administrator',
    'GET /api/v1/vips viewer',
    'GET /api/v1/vips/:name viewer',
    'GET /metrics metrics',
    'POST /api/v1/config/rollback operator',
    'POST /api/v1/config/validate viewer',
    'POST /api/v1/hand-over operator',
    'POST /api/v1/nodes/tokens administrator',
    'POST /api/v1/route-test viewer',
    'POST /api/v1/session public',
    'POST /api/v1/session/password session',
    'POST /api/v1/upgrade/finish administrator',
    'PUT /api/v1/certificates/:name operator',
    'PUT /api/v1/config operator',
    'PUT /api/v1/listeners/:name operator',
    'PUT /api/v1/pools/:name operator',
    'PUT /api/v1/users/:name administrator',
    'PUT /api/v1/vips/:name operator',
  ])
})

test('what changes needs If-Match or makes nothing: no route changes the document without it', async (t) => {
  const before = t.context.node.state().revision
  const token = await t.context.token('administrator')
  for (const path of ['/config', '/pools/web', '/vips/web', '/listeners/web']) {
    problemOf(t, await call(t.context.api, 'PUT', path, { token, body: document }), 428, 'precondition-required')
  }
  problemOf(t, await call(t.context.api, 'DELETE', '/pools/web', { token }), 428, 'precondition-required')
  problemOf(
    t,
    await call(t.context.api, 'POST', '/config/rollback', { token, body: { toRevision: 1 } }),
    428,
    'precondition-required',
  )
  t.is(t.context.node.state().revision, before)
})

test('no secret in any answer or log', async (t) => {
  const { api, node, log } = t.context
  const token = await t.context.token('administrator')
  const tokens = await call(api, 'POST', '/nodes/tokens', { token, body: { role: 'node' } })
  await call(api, 'PUT', '/users/kim', { token, body: { role: 'viewer', password: 'kims first password' } })
  await putConfig(t.context, document, '"1"')
  const texts: string[] = []
  for (const { method, url } of await listRoutes(node)) {
    if (method !== 'GET') continue
    const path = url.replace('/api/v1', '').replace(':revision', '2').replace(':name', 'web').replace(':id', 'n1')
    if (path.includes('live')) continue
    texts.push(
      (await call(api, 'GET', path.startsWith('/metrics') && !url.startsWith('/api') ? `/${path}` : path, { token }))
        .text,
    )
  }
  const secret = JSON.parse(Buffer.from((tokens.body as { token: string }).token.slice(8), 'base64url').toString())
    .s as string
  const secrets = [node.sessionKey, secret, 'argon2id', token, ...Object.values(passwords), 'kims first password']
  for (const text of [...texts, ...log])
    for (const word of secrets) t.false(text.includes(word), `${word} in ${text.slice(0, 200)}`)
  t.true(log.length > 5, 'something was logged')
})

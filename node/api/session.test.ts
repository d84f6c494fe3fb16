import { apiLimits } from './server.ts'
import { call, cookieSession, document, problemOf, test } from './test-api.ts'
import { passwords, storedUser } from './test-node.ts'
import type { SessionInfo } from './types.ts'

test('sign-in gives a cookie for browsers and a token for others', async (t) => {
  const { api } = t.context
  const body = { name: 'olga', password: passwords.operator }
  const answer = await call(api, 'POST', '/session', { body })
  t.is(answer.status, 200)
  t.like(answer.body, { user: { name: 'olga', role: 'operator', mustChangePassword: false } })
  const cookie = answer.headers.get('set-cookie')!
  t.regex(cookie, /^haechi_session=/)
  for (const attribute of ['HttpOnly', 'SameSite=Strict', 'Path=/']) t.true(cookie.includes(attribute), attribute)
  t.false(cookie.includes('Secure'), 'plain HTTP on loopback')
  t.is(typeof (answer.body as SessionInfo).token, 'string')
  const browser = await call(api, 'POST', '/session', {
    body,
    headers: { origin: api.url, 'sec-fetch-site': 'same-origin' },
  })
  t.is(browser.status, 200)
  t.is((browser.body as SessionInfo).token, undefined)
  t.is(answer.headers.get('cache-control'), 'no-store')
})

test('a change with the cookie needs the CSRF token of that session, and its own origin', async (t) => {
  const { api } = t.context
  const { cookie, csrfToken } = await cookieSession(t.context, 'operator')
  const other = await cookieSession(t.context, 'administrator')
  const change = (headers: Record<string, string>) =>
    call(api, 'POST', '/hand-over', { body: {}, headers: { cookie, ...headers } })
  t.is((await call(api, 'GET', '/status', { headers: { cookie } })).status, 200, 'reading does not')
  problemOf(t, await change({}), 403, 'csrf-token')
  problemOf(t, await change({ 'x-csrf-token': `${csrfToken}x` }), 403, 'csrf-token')
  problemOf(t, await change({ 'x-csrf-token': other.csrfToken }), 403, 'csrf-token')
  problemOf(t, await change({ 'x-csrf-token': csrfToken, origin: 'https://evil.example' }), 403, 'wrong-origin')
  problemOf(t, await change({ 'x-csrf-token': csrfToken, origin: 'null' }), 403, 'wrong-origin')
  t.deepEqual(t.context.node.handOvers, [])
  t.is((await change({ 'x-csrf-token': csrfToken, origin: api.url })).status, 200)
  t.is((await change({ 'x-csrf-token': csrfToken })).status, 200)
})

test('another site cannot sign a browser in', async (t) => {
  const body = { name: 'olga', password: passwords.operator }
  problemOf(
    t,
    await call(t.context.api, 'POST', '/session', { body, headers: { origin: 'https://evil.example' } }),
    403,
    'wrong-origin',
  )
})

test('a wrong password and an unknown user get the same answer', async (t) => {
  const wrong = await call(t.context.api, 'POST', '/session', { body: { name: 'olga', password: 'not it at all' } })
  const unknown = await call(t.context.api, 'POST', '/session', { body: { name: 'nobody', password: 'not it at all' } })
  problemOf(t, wrong, 401, 'wrong-credentials')
  t.is(wrong.text, unknown.text)
})

test('sign-ins are in the audit log; what may be a password is not', async (t) => {
  const { api, node } = t.context
  await call(api, 'POST', '/session', { body: { name: 'hunter2 typed as name', password: 'x' } })
  await call(api, 'POST', '/session', { body: { name: 'olga', password: 'wrong wrong' } })
  const token = await t.context.token('operator')
  const audit = (await call(api, 'GET', '/audit', { token })).body as {
    action: string
    actor: { name: string; from: string }
  }[]
  t.like(audit[0], { action: 'session.sign-in', actor: { name: 'olga', from: '127.0.0.1', node: 'n1' } })
  t.like(audit[1], { action: 'session.sign-in-failed', actor: { name: 'olga' } })
  t.like(audit[2], { action: 'session.sign-in-failed', actor: { name: 'unknown' } })
  t.false(JSON.stringify(node.commands).includes('hunter2'))
  t.false(t.context.log.join('').includes('hunter2'))
})

test('guessing is slowed down, and does not fill the audit log', async (t) => {
  const { api, node } = t.context
  const guess = () => call(api, 'POST', '/session', { body: { name: 'olga', password: 'guess guess' } })
  for (let index = 0; index < 5; index++) t.is((await guess()).status, 401)
  const refused = await guess()
  problemOf(t, refused, 429, 'too-many-requests')
  t.true(Number(refused.headers.get('retry-after')) >= 1)
  const before = node.commands.length
  await t.context.start({ ...apiLimits, signIn: { ...apiLimits.signIn, freePerName: 100, freePerAddress: 100 } })
  for (let index = 0; index < 14; index++)
    await call(t.context.api, 'POST', '/session', { body: { name: 'olga', password: 'guess guess' } })
  t.is(node.commands.length - before, 10)
})

test('sign-in works without a quorum', async (t) => {
  t.context.node.refusal = { code: 'no-leader', retrySafe: true }
  t.is(
    (await call(t.context.api, 'POST', '/session', { body: { name: 'vera', password: passwords.viewer } })).status,
    200,
  )
})

test('signing out ends the session', async (t) => {
  const { api } = t.context
  const token = await t.context.token('viewer')
  const gone = await call(api, 'DELETE', '/session', { token })
  t.is(gone.status, 204)
  t.regex(gone.headers.get('set-cookie')!, /haechi_session=;.*Expires=Thu, 01 Jan 1970/)
  problemOf(t, await call(api, 'GET', '/status', { token }), 401, 'not-signed-in')
})

test('tokens that are not ours are refused', async (t) => {
  const token = await t.context.token('administrator')
  const [head, payload, signature] = token.split('.') as [string, string, string]
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const forged = [
    `${encode({ alg: 'none' })}.${payload}.`,
    `${head}.${encode({ ...claims, sub: 'anna', exp: claims.exp + 9999 })}.${signature}`,
    `${head}.${payload}.${signature.slice(0, -2)}`,
    'x',
    'a.b.c',
    'x'.repeat(5000),
  ]
  for (const bad of forged)
    problemOf(t, await call(t.context.api, 'GET', '/status', { token: bad }), 401, 'not-signed-in')
  t.is((await call(t.context.api, 'GET', '/status', { token })).status, 200)
})

test('the first password has to be changed before anything else', async (t) => {
  const { api, node } = t.context
  const first = 'first password of admin'
  await node.submit({
    kind: 'user-put',
    actor: { name: 'system', from: '', node: 'n1' },
    user: await storedUser('admin', 'administrator', first, { mustChangePassword: true }),
  })
  const answer = await call(api, 'POST', '/session', { body: { name: 'admin', password: first } })
  const session = answer.body as SessionInfo
  t.true(session.user.mustChangePassword)
  const token = session.token!
  problemOf(t, await call(api, 'GET', '/status', { token }), 403, 'password-change-required')
  problemOf(t, await call(api, 'PUT', '/config', { token, body: document }), 403, 'password-change-required')
  t.is((await call(api, 'GET', '/session', { token })).status, 200)
  const change = (next: string, current = first) =>
    call(api, 'POST', '/session/password', { token, body: { current, next } })
  t.like(problemOf(t, await change('short'), 400, 'invalid-request').problems, [{ field: '/next' }])
  t.like(problemOf(t, await change(first), 400, 'invalid-request').problems, [{ field: '/next' }])
  t.like(problemOf(t, await change('a new good password', 'wrong'), 401, 'wrong-credentials').problems, [
    { field: '/current' },
  ])
  const changed = await change('a new good password')
  t.is(changed.status, 200, changed.text)
  t.false((changed.body as SessionInfo).user.mustChangePassword)
  t.is((await call(api, 'GET', '/status', { token: (changed.body as SessionInfo).token! })).status, 200)
  problemOf(t, await call(api, 'GET', '/status', { token }), 401, 'not-signed-in')
  t.is((await call(api, 'POST', '/session', { body: { name: 'admin', password: first } })).status, 401)
})

test('users: add, change, remove; sessions end with a change; passwords never come back', async (t) => {
  const { api } = t.context
  const token = await t.context.token('administrator')
  const put = (name: string, body: object) => call(api, 'PUT', `/users/${name}`, { token, body })
  t.like(problemOf(t, await put('kim', { role: 'viewer' }), 400, 'invalid-request').problems, [{ field: '/password' }])
  t.like(problemOf(t, await put('kim', { role: 'king', password: 'long enough 1' }), 400, 'invalid-request').problems, [
    { field: '/role' },
  ])
  t.like(problemOf(t, await put('kim', { role: 'viewer', password: 'short' }), 400, 'invalid-request').problems, [
    { field: '/password' },
  ])
  t.like(problemOf(t, await put('kim', { role: 'viewer', admin: true }), 400, 'invalid-request').problems, [
    { field: '/admin', message: 'is not known' },
  ])
  problemOf(t, await put('local', { role: 'viewer', password: 'long enough 1' }), 400, 'invalid-request')
  problemOf(t, await put('Kim%20K', { role: 'viewer', password: 'long enough 1' }), 400, 'invalid-request')
  const added = await put('kim', { role: 'viewer', password: 'long enough 1', mustChangePassword: false })
  t.is(added.status, 201)
  t.deepEqual(added.body, { name: 'kim', role: 'viewer', mustChangePassword: false })
  const session = (await call(api, 'POST', '/session', { body: { name: 'kim', password: 'long enough 1' } }))
    .body as SessionInfo
  t.is((await call(api, 'GET', '/status', { token: session.token! })).status, 200)
  t.is((await put('kim', { role: 'operator' })).status, 200)
  problemOf(t, await call(api, 'GET', '/status', { token: session.token! }), 401, 'not-signed-in')
  const list = await call(api, 'GET', '/users', { token })
  t.deepEqual((list.body as { name: string }[]).map(({ name }) => name).toSorted(), ['anna', 'kim', 'olga', 'vera'])
  t.false(list.text.includes('argon2'))
  t.is((await call(api, 'DELETE', '/users/kim', { token })).status, 204)
  problemOf(t, await call(api, 'DELETE', '/users/kim', { token }), 404, 'not-found')
  problemOf(t, await call(api, 'DELETE', '/users/anna', { token }), 409, 'last-administrator')
  problemOf(t, await put('anna', { role: 'viewer' }), 409, 'last-administrator')
})

test('a user made anew does not get the sessions of a namesake', async (t) => {
  const { api } = t.context
  const token = await t.context.token('administrator')
  const put = () =>
    call(api, 'PUT', '/users/kim', {
      token,
      body: { role: 'operator', password: 'long enough 1', mustChangePassword: false },
    })
  await put()
  const session = (await call(api, 'POST', '/session', { body: { name: 'kim', password: 'long enough 1' } }))
    .body as SessionInfo
  await call(api, 'DELETE', '/users/kim', { token })
  await new Promise((resolve) => setTimeout(resolve, 2))
  t.is((await put()).status, 201)
  problemOf(t, await call(api, 'GET', '/status', { token: session.token! }), 401, 'not-signed-in')
})

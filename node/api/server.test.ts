import { rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { request as overSocket } from '../cli/client.ts'
import { apiLimits, createApi } from './server.ts'
import { call, document, problemOf, test } from './test-api.ts'
import { listRoutes } from './test-node.ts'

test('what is not there is a problem, a page, or a file', async (t) => {
  const { api } = t.context
  problemOf(t, await call(api, 'GET', '/nosuch'), 404, 'not-found')
  problemOf(t, await call(api, 'POST', '/status', { body: {} }), 404, 'not-found')
  problemOf(t, await call(api, 'GET', '//assets/nosuch.js', { headers: { accept: '*/*' } }), 404, 'not-found')
  const page = await call(api, 'GET', '//pools/web', { headers: { accept: 'text/html' } })
  t.is(page.status, 200)
  t.regex(page.text, /Haechi console/)
  t.is(page.headers.get('cache-control'), 'no-cache')
  const policy = page.headers.get('content-security-policy')!
  t.regex(policy, /script-src 'self'(;|$)/)
  t.regex(policy, /frame-ancestors 'none'/)
  t.is(page.headers.get('x-content-type-options'), 'nosniff')
  const root = await call(api, 'GET', '//')
  t.is(root.headers.get('cache-control'), 'no-cache')
  const asset = await call(api, 'GET', '//assets/index-abc123.js')
  t.is(asset.text, 'console')
  t.is(asset.headers.get('cache-control'), 'public, max-age=31536000, immutable')
  problemOf(t, await call(api, 'GET', '//..%2f..%2fapi.sock'), 404, 'not-found')
})

test('health needs no sign-in', async (t) => {
  t.deepEqual((await call(t.context.api, 'GET', '/health')).body, { ok: true })
})

test('the OpenAPI document has every route', async (t) => {
  const { api, node } = t.context
  const document = (await call(api, 'GET', '//api/docs/json')).body as {
    openapi: string
    paths: Record<string, Record<string, object>>
    components: { schemas: object }
  }
  t.is(document.openapi, '3.1.0')
  for (const { method, url } of await listRoutes(node)) {
    const path = url.replaceAll(/:(\w+)/g, '{$1}')
    t.truthy(document.paths[path]?.[method.toLowerCase()], `${method} ${path}`)
  }
  t.true('ConfigurationDocument' in document.components.schemas)
  const references = JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)
  for (const [, reference] of references) {
    const name = /^#\/components\/schemas\/(.+)$/.exec(reference!)?.[1]
    t.true(name !== undefined && name in document.components.schemas, reference)
  }
  t.is((await call(api, 'GET', '//api/docs', { headers: { accept: 'text/html' } })).status, 200)
})

test('an address that asks too often is told to wait', async (t) => {
  const api = await t.context.start({ ...apiLimits, requestsPerMinute: 5 })
  for (let index = 0; index < 5; index++) t.is((await call(api, 'GET', '/health')).status, 200)
  const refused = await call(api, 'GET', '/health')
  problemOf(t, refused, 429, 'too-many-requests')
  t.true(Number(refused.headers.get('retry-after')) > 0)
  const socketPath = join(t.context.directory, 'api.sock')
  for (let index = 0; index < 10; index++)
    t.is((await overSocket({ socketPath }, { method: 'GET', path: '/api/v1/health' })).status, 200)
})

test('plain HTTP is for loopback only', async (t) => {
  const options = {
    port: 0,
    socketPath: join(t.context.directory, 'other.sock'),
    consoleDirectory: t.context.directory,
  }
  await t.throwsAsync(
    createApi(t.context.node, { host: '0.0.0.0', ...options }, () => undefined),
    { message: /plain HTTP/ },
  )
  await t.throwsAsync(
    createApi(t.context.node, { host: '192.0.2.1', ...options }, () => undefined),
    { message: /plain HTTP/ },
  )
})

test('the unix socket is for its owner, who is the administrator local', async (t) => {
  const socketPath = join(t.context.directory, 'api.sock')
  t.is(statSync(socketPath).mode & 0o777, 0o600)
  const local = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    overSocket({ socketPath }, { method, path: `/api/v1${path}`, headers, ...(body === undefined ? {} : { body }) })
  t.like((await local('GET', '/session')).body, {
    user: { name: 'local', role: 'administrator', mustChangePassword: false },
  })
  t.like((await local('PUT', '/config?comment=x', document, { 'if-match': '"1"' })).body, { revision: 2 })
  t.is((await local('GET', '/users')).status, 200)
  t.like((await local('GET', '/audit?limit=1')).body, [{ actor: { name: 'local', from: '', node: 'n1' } }])
  t.is((await local('GET', '/nosuch')).status, 404)
})

test('a socket left by a dead process is replaced; a live one is an error', async (t) => {
  const { directory, node } = t.context
  const socketPath = join(directory, 'stale.sock')
  const options = { host: '127.0.0.1', port: 0, socketPath, consoleDirectory: directory }
  writeFileSync(socketPath, 'a file')
  await t.throwsAsync(
    createApi(node, options, () => undefined),
    { message: /not a socket/ },
  )
  rmSync(socketPath)
  const server = createServer().listen(socketPath)
  await new Promise((resolve) => server.once('listening', resolve))
  await t.throwsAsync(
    createApi(node, options, () => undefined),
    { message: /another process/ },
  )
  await new Promise((resolve) => server.close(resolve))
  const first = await createApi(node, options, () => undefined)
  await first.close()
  const second = await createApi(node, options, () => undefined)
  await second.close()
  t.pass()
})

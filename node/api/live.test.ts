import type { ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { apiLimits } from './server.ts'
import { call, cookieSession, document, putConfig, test, type World } from './test-api.ts'
import type { LiveMessage } from './types.ts'

class Live {
  readonly messages: LiveMessage[] = []
  readonly socket: WebSocket
  closed: { code: number } | undefined
  #wake: (() => void)[] = []
  constructor(url: string, headers: Record<string, string>) {
    this.socket = new WebSocket(url, { headers })
    this.socket.on('message', (data) => {
      this.messages.push(JSON.parse(String(data)) as LiveMessage)
      this.#woken()
    })
    this.socket.on('close', (code) => {
      this.closed = { code }
      this.#woken()
    })
    this.socket.on('error', () => undefined)
  }
  #woken(): void {
    for (const wake of this.#wake.splice(0)) wake()
  }
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }
}

function live(t: ExecutionContext<World>, headers: Record<string, string>): Live {
  const connection = new Live(`${t.context.api.url.replace('http', 'ws')}/api/v1/live`, headers)
  t.teardown(() => connection.socket.terminate())
  return connection
}

test('live: overview with history at once, then regularly, and revisions as they are made', async (t) => {
  const token = await t.context.token('operator')
  const connection = live(t, { authorization: `Bearer ${token}` })
  await connection.until(() => connection.messages.length >= 1)
  t.like(connection.messages[0], { type: 'overview', overview: { self: 'n1', revision: 1 } })
  await connection.until(() => connection.messages.length >= 2)
  const before = connection.messages.length
  await call(t.context.api, 'PUT', '/config?comment=why', { token, body: document, headers: { 'if-match': '"1"' } })
  t.context.node.changed()
  await connection.until(() => connection.messages.some(({ type }) => type === 'revision'))
  t.deepEqual(
    connection.messages.find(({ type }) => type === 'revision'),
    { type: 'revision', revision: 2, author: 'olga', comment: 'why' },
  )
  await connection.until(() =>
    connection.messages.slice(before).some((message) => message.type === 'overview' && message.overview.revision === 2),
  )
})

test('live: many changes make few messages', async (t) => {
  await t.context.start({ ...apiLimits, live: { ...apiLimits.live, everyMs: 60_000, leastMs: 50 } })
  const connection = live(t, { authorization: `Bearer ${await t.context.token('viewer')}` })
  await connection.until(() => connection.messages.length === 1)
  for (let index = 0; index < 100; index++) t.context.node.changed()
  await connection.until(() => connection.messages.length === 2)
  for (let index = 0; index < 100; index++) t.context.node.changed()
  await connection.until(() => connection.messages.length === 3)
  t.is(connection.messages.length, 3)
})

test('live: who may connect', async (t) => {
  const { api } = t.context
  const { cookie } = await cookieSession(t.context, 'viewer')
  const refused = async (headers: Record<string, string>): Promise<number> => {
    const socket = new WebSocket(`${api.url.replace('http', 'ws')}/api/v1/live`, { headers })
    socket.on('error', () => undefined)
    return new Promise((resolve) => {
      socket.on('unexpected-response', (_request, response) => {
        response.resume()
        resolve(response.statusCode ?? 0)
      })
      socket.on('open', () => {
        socket.terminate()
        resolve(101)
      })
    })
  }
  t.is(await refused({}), 403)
  t.is(await refused({ origin: api.url }), 401)
  t.is(await refused({ cookie, origin: 'https://evil.example' }), 403)
  t.is(await refused({ cookie }), 403)
  t.is(await refused({ cookie, origin: api.url }), 101)
})

test('live: a session that ends is told so and closed', async (t) => {
  const connection = live(t, { authorization: `Bearer ${await t.context.token('viewer')}` })
  await connection.until(() => connection.messages.length >= 1)
  const administrator = await t.context.token('administrator')
  await call(t.context.api, 'DELETE', '/users/vera', { token: administrator })
  await connection.until(() => connection.closed !== undefined)
  t.deepEqual(connection.messages.at(-1), { type: 'signed-out' })
  t.is(connection.closed?.code, 4401)
})

test('live: a client that does not read is dropped, and others are served', async (t) => {
  const limits = {
    ...apiLimits,
    live: { ...apiLimits.live, everyMs: 20, maxBufferedBytes: 64 * 1024, maxBehindMs: 200 },
  }
  await t.context.start(limits)
  const many = {
    name: 'web',
    members: Array.from({ length: 300 }, (_, index) => ({ name: `m${index}`, address: '192.0.2.10', port: index + 1 })),
  }
  const token = await t.context.token('operator')
  await putConfig(t.context, { haechi: 1, pools: [many] }, '"1"')
  const slow = live(t, { authorization: `Bearer ${token}` })
  await slow.until(() => slow.messages.length >= 1)
  slow.socket.pause()
  const good = live(t, { authorization: `Bearer ${token}` })
  await good.until(() => t.context.log.some((line) => line.includes('did not keep up')))
  const seen = good.messages.length
  await good.until(() => good.messages.length > seen)
  t.is(good.closed, undefined)
})

/** Probes against real servers on loopback, well-behaved and not. */
import test, { type ExecutionContext } from 'ava'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createProbe, type ProbeTarget } from './probes.ts'

const probe = createProbe(undefined)

interface Server {
  readonly port: number
  readonly requests: string[]
  readonly closed: Promise<void>
}

/** A server on loopback that does `serve` with each connection; ends with the test. */
async function server(t: ExecutionContext, serve: (socket: Socket, request: string) => void, onConnect?: (socket: Socket) => void): Promise<Server> {
  const sockets = new Set<Socket>()
  const requests: string[] = []
  let closed = (): void => undefined
  const closedOnce = new Promise<void>((resolve) => (closed = resolve))
  const listening = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => closed())
    onConnect?.(socket)
    let text = ''
    socket.on('data', (data) => {
      text += data.toString('latin1')
      if (!text.endsWith('\r\n\r\n')) return
      requests.push(text)
      serve(socket, text)
      text = ''
    })
  })
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listening.close()
  })
  return { port: (listening.address() as AddressInfo).port, requests, closed: closedOnce }
}

const target = (port: number, change: Partial<ProbeTarget> = {}): ProbeTarget => ({
  type: 'http', address: '127.0.0.1', port, path: '/healthz', host: '', expectStatus: '200-399', timeoutMs: 5000, ...change,
})
const run = (given: ProbeTarget, signal: AbortSignal = new AbortController().signal) => probe(given, () => performance.now(), signal)

test('a 200 is a success, and the connection is not kept', async (t) => {
  const { port, requests, closed } = await server(t, (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello'))
  const result = await run(target(port))
  t.true(result.success, result.detail)
  t.regex(result.detail, /^200 in \d+ ms$/)
  t.is(requests[0], `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: haechi-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n`)
  await closed
})

test('the Host header is the one that is configured', async (t) => {
  const { port, requests } = await server(t, (socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n'))
  t.true((await run(target(port, { host: 'www.example.com', path: '/a?b' }))).success)
  t.regex(requests[0]!, /^GET \/a\?b HTTP\/1\.1\r\nHost: www\.example\.com\r\n/)
})

test('another status is a failure, unless it is expected', async (t) => {
  const { port } = await server(t, (socket) => socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n'))
  const refused = await run(target(port))
  t.false(refused.success)
  t.regex(refused.detail, /^503 in \d+ ms$/)
  t.true((await run(target(port, { expectStatus: '200,503' }))).success)
})

test('a status line in pieces', async (t) => {
  const { port } = await server(t, (socket) => {
    const pieces = ['H', 'TTP/1.', '1 20', '0 OK\r', '\n']
    const next = (): void => {
      const piece = pieces.shift()
      if (piece !== undefined && !socket.destroyed) socket.write(piece, () => setImmediate(next))
    }
    next()
  })
  t.true((await run(target(port))).success)
})

test('interim responses are passed over', async (t) => {
  const { port } = await server(t, (socket) => socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'))
  t.true((await run(target(port))).success)
})

const failures: readonly (readonly [string, (socket: Socket) => void, RegExp, Partial<ProbeTarget>?])[] = [
  ['no answer at all', () => undefined, /^no answer within 500 ms$/, { timeoutMs: 500 }],
  ['half a status line and silence', (socket) => socket.write('HTTP/1.1 20'), /^no answer within 500 ms$/, { timeoutMs: 500 }],
  ['half a status line and the end', (socket) => socket.end('HTTP/1.1 20'), /^connection closed: an incomplete answer: "HTTP\/1\.1 20"$/],
  ['the end at once', (socket) => socket.end(), /^connection closed: no answer$/],
  ['a reset', (socket) => socket.resetAndDestroy(), /^connection (reset|closed: no answer)$/],
  ['another protocol', (socket) => socket.write('SSH-2.0-x\r\n'), /^not an HTTP status line: "SSH-2\.0-x\.\."$/],
  ['garbage without end', (socket) => socket.write(Buffer.alloc(1_000_000, 0x48)), /^not HTTP: "HHHH/],
  ['a header without end', (socket) => socket.write(`HTTP/1.1 200 ${'x'.repeat(1_000_000)}`), /^a status line without end$/],
]
for (const [what, serve, detail, change] of failures) {
  test(`failure: ${what}`, async (t) => {
    const { port } = await server(t, serve)
    const result = await run(target(port, change))
    t.false(result.success)
    t.regex(result.detail, detail)
  })
}

test('a server that speaks first', async (t) => {
  const { port } = await server(t, () => undefined, (socket) => socket.write('220 mail.example.com ESMTP\r\n'))
  const result = await run(target(port))
  t.regex(result.detail, /^not an HTTP status line: "220 mail/)
  t.true((await run(target(port, { type: 'tcp' }))).success)
})

test('nobody listens', async (t) => {
  const { port } = await freePort()
  for (const type of ['http', 'tcp'] as const) {
    const result = await run(target(port, { type }))
    t.false(result.success)
    t.is(result.detail, 'connection refused')
  }
})

async function freePort(): Promise<{ port: number }> {
  const listening = createServer()
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const { port } = listening.address() as AddressInfo
  await new Promise((resolve) => listening.close(resolve))
  return { port }
}

test('a TCP probe is content with a connection, and closes it', async (t) => {
  const { port, closed } = await server(t, () => undefined)
  const result = await run(target(port, { type: 'tcp' }))
  t.true(result.success)
  t.regex(result.detail, /^connected in \d+ ms$/)
  await closed
})

test('a probe can be ended, before and while it runs', async (t) => {
  const controller = new AbortController()
  const { port, closed } = await server(t, () => controller.abort())
  t.like(await run(target(port), controller.signal), { success: false, detail: 'ended' })
  await closed
  t.like(await run(target(port), controller.signal), { success: false, detail: 'ended' })
})

test('a PROXY header that names nobody goes first, before TLS too; a refusal is still told as one', async (t) => {
  const seen: string[] = []
  const plain = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      seen.push(data.toString('latin1'))
      if (data.toString('latin1').endsWith('\r\n\r\n')) socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve))
  const { port } = plain.address() as AddressInfo
  const target = (type: ProbeTarget['type'], more: object = {}): ProbeTarget => ({ type, address: '127.0.0.1', port, path: '/', host: '', expectStatus: '200', timeoutMs: 2000, ...more })
  const run = (one: ProbeTarget): ReturnType<typeof probe> => probe(one, () => performance.now(), new AbortController().signal)
  t.true((await run(target('http', { proxyProtocol: 'v1' }))).success)
  t.regex(seen.join(''), /^PROXY UNKNOWN\r\nGET \/ HTTP\/1\.1\r\n/)
  seen.length = 0
  t.false((await run(target('tls', { proxyProtocol: 'v2', timeoutMs: 300 }))).success)
  const bytes = Buffer.from(seen.join(''), 'latin1')
  t.is(bytes.toString('hex', 0, 18), '0d0a0d0a000d0a515549540a200000001603', 'LOCAL, then a ClientHello')
  await new Promise((resolve) => plain.close(resolve))
  for (const type of ['tcp', 'tls'] as const) t.is((await run(target(type, { proxyProtocol: 'v2' }))).detail, 'connection refused', type)
})

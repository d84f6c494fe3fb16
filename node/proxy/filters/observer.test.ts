/** What a running proxy writes down: the access log, request ids and traces, and the counts of routes, pools and members. */
import { createSocket } from 'node:dgram'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { countOf } from '../../observe/histogram.ts'
import { errorCodes } from '../shared.ts'
import { Backend, TestProxy, until } from '../test-proxy.ts'

interface Line {
  readonly [field: string]: string | number | undefined
}

/** A connection to the member for each request, so that each is recorded apart. */
const oneEach = { maxIdleConnections: 0 }

async function started(t: ExecutionContext, workers = 1): Promise<{ proxy: TestProxy; path: string; lines: () => Line[] }> {
  const directory = mkdtempSync(join(tmpdir(), 'haechi-observer-'))
  const path = join(directory, 'access.log')
  const proxy = await TestProxy.start(workers, { accessLogPath: path })
  t.teardown(async () => {
    await proxy.stop()
    rmSync(directory, { recursive: true })
  })
  const lines = (): Line[] => {
    let text = ''
    try {
      text = readFileSync(path, 'utf8')
    } catch {
      // Not made yet.
    }
    return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as Line)
  }
  return { proxy, path, lines }
}

async function exchange(proxy: TestProxy, request: string): Promise<string> {
  const client = proxy.client()
  client.send(request)
  await client.ends()
  client.close()
  return client.text
}

test('a line for each request, with what became of it', async (t) => {
  const backend = await Backend.answering('hello')
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t)
  await proxy.apply(proxy.document([backend.port], { listener: { accessLog: {}, routes: [{ name: 'api', paths: ['/api'], pool: 'web' }] } }))
  await exchange(proxy, 'GET /api/x?q=%22 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test "1"\r\nCookie: secret=1\r\nAuthorization: Basic c2VjcmV0\r\nConnection: close\r\n\r\n')
  await exchange(proxy, 'POST /other HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody')
  await exchange(proxy, 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n')
  await until('three lines', () => lines().length === 3)
  const [first, second, third] = lines() as [Line, Line, Line]
  t.like(first, { listener: 'web', client: '127.0.0.1', method: 'GET', host: 'a.example', target: '/api/x?q=%22', status: 200, route: 'api', pool: 'web', member: 'm1', userAgent: 'test "1"' })
  t.is(first['error'], undefined)
  t.true((first['totalMs'] as number) >= (first['firstByteMs'] as number))
  t.true((first['connectMs'] as number) > 0)
  t.is(second['route'], undefined)
  t.true((second['bytesIn'] as number) > 'POST /other HTTP/1.1'.length + 4)
  t.true((second['bytesOut'] as number) > 5)
  t.like(third, { status: 400, error: 'bad-request' })
  t.is(third['target'], undefined)
  const text = JSON.stringify(lines())
  t.false(text.includes('secret') || text.includes('c2VjcmV0'))
})

test('what has been answered before the end is in the log', async (t) => {
  const backend = await Backend.answering('hello')
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t, 2)
  await proxy.apply(proxy.document([backend.port], { listener: { accessLog: {} } }))
  for (let i = 0; i < 20; i++) await exchange(proxy, `GET /${i} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  await proxy.stop()
  t.deepEqual(lines().map(({ target }) => Number(String(target).slice(1))).toSorted((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i))
})

test('a sample: errors are always there', async (t) => {
  const backend = await Backend.answering('hello')
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t)
  await proxy.apply(proxy.document([backend.port], { listener: { accessLog: { sample: 20 }, pool: undefined, routes: [{ name: 'api', paths: ['/api'], pool: 'web' }] } }))
  const client = proxy.client()
  for (let i = 0; i < 300; i++) client.send('GET /api HTTP/1.1\r\nHost: a\r\n\r\n')
  for (let i = 0; i < 10; i++) client.send('GET /none HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('all are answered', () => (client.text.match(/HTTP\/1.1 404/g) ?? []).length === 10)
  client.close()
  await until('errors are logged', () => lines().filter(({ error }) => error === 'no-route').length === 10)
  const logged = lines().length - 10
  // Of 300 at 20 %: five standard deviations on both sides.
  t.true(logged > 25 && logged < 95, String(logged))
})

test('a tcp session is logged at its end', async (t) => {
  const backend = await Backend.start((socket, data) => socket.write(data))
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t)
  await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp', accessLog: {} } }))
  const client = proxy.client()
  client.send('12345')
  await client.gets('12345')
  client.close()
  await until('one line', () => lines().length === 1)
  t.like(lines()[0], { protocol: 'tcp', listener: 'web', pool: 'web', member: 'm1', bytesIn: 5, bytesOut: 5 })
  const { pools } = proxy.proxy.traffic()
  t.is(countOf(pools[0]!.counters.duration), 1)
  t.is(pools[0]!.counters.bytesOutTotal, 5)
})

test('request ids: made, replaced or kept; in the log and in the answer', async (t) => {
  const backend = await Backend.start((socket, data) => {
    // Its own id must not reach the client beside the request's.
    if (data.includes('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nX-Request-Id: of-the-member\r\nContent-Length: 0\r\n\r\n')
  })
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t)
  const apply = (requestId: object): Promise<unknown> => proxy.apply(proxy.document([backend.port], { pool: oneEach, listener: { accessLog: {}, requestId } }))
  const request = (more: string): Promise<string> => exchange(proxy, `GET / HTTP/1.1\r\nHost: a\r\n${more}Connection: close\r\n\r\n`)
  const idsOf = (text: string): string[] => [...text.matchAll(/^x-request-id: (.*)\r$/gim)].map((match) => match[1]!)
  await apply({ respond: true })
  const answers = [await request(''), await request('x-request-ID: mine\r\nX-Request-Id: twice\r\n')]
  await until('two lines', () => lines().length === 2)
  for (const [i, answer] of answers.entries()) {
    const sent = idsOf(backend.received[i]!)
    t.is(sent.length, 1)
    t.regex(sent[0]!, /^[0-9a-f]{32}$/)
    t.deepEqual(idsOf(answer), sent)
    t.is(lines()[i]!['requestId'], sent[0]!)
  }
  t.not(lines()[0]!['requestId'], lines()[1]!['requestId'])
  await apply({ trust: true, header: 'X-Correlation-Id' })
  await request('X-Correlation-Id: given-1\r\n')
  await request(`X-Correlation-Id: ${'x'.repeat(129)}\r\n`)
  await request('X-Correlation-Id: two\r\nX-Correlation-Id: of-them\r\n')
  await until('all lines', () => lines().length === 5)
  t.is(lines()[2]!['requestId'], 'given-1')
  t.regex(backend.received[2]!, /\r\nX-Correlation-Id: given-1\r\n/)
  for (const line of [3, 4]) {
    t.regex(String(lines()[line]!['requestId']), /^[0-9a-f]{32}$/)
    t.is((backend.received[line]!.match(/X-Correlation-Id/gi) ?? []).length, 1)
  }
})

test('trace context: kept when it is valid, begun anew when it is not there or cannot be read', async (t) => {
  const backend = await Backend.answering('')
  t.teardown(() => backend.close())
  const { proxy, lines } = await started(t)
  const id = '4bf92f3577b34da6a3ce929d0e0e4736'
  const parent = '00f067aa0ba902b7'
  const valid = `00-${id}-${parent}-01`
  await proxy.apply(proxy.document([backend.port], { pool: oneEach, listener: { accessLog: {}, trace: {}, requestId: {} } }))
  const bad = [
    '', `traceparent: ff-${id}-${parent}-01\r\n`, `traceparent: 00-${'0'.repeat(32)}-${parent}-01\r\n`, `traceparent: 00-${id}-${'0'.repeat(16)}-01\r\n`,
    `traceparent: ${valid}-x\r\n`, `traceparent: ${valid.toUpperCase()}\r\n`, `traceparent: ${valid}\r\ntraceparent: ${valid}\r\n`, 'tracestate: a=b\r\n',
  ]
  for (const [i, more] of [...bad, `Traceparent: ${valid}\r\ntracestate: a=b\r\n`, `traceparent: 01-${id}-${parent}-01-what\r\n`].entries()) {
    await exchange(proxy, `GET / HTTP/1.1\r\nHost: a\r\n${more}Connection: close\r\n\r\n`)
    await until('a line', () => lines().length === i + 1)
    const sent = [...backend.received[i]!.matchAll(/^traceparent: (.*)\r$/gim)].map((match) => match[1]!)
    t.is(sent.length, 1, more)
    if (i < bad.length) {
      t.regex(sent[0]!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/, more)
      t.false(sent[0]!.includes(id))
      t.false(/tracestate/i.test(backend.received[i]!), more)
      t.is(lines()[i]!['traceId'], sent[0]!.slice(3, 35))
      t.is(lines()[i]!['requestId'], sent[0]!.slice(3, 35), 'one id for both')
    } else {
      t.true(sent[0]!.includes(`${id}-${parent}`))
      t.is(lines()[i]!['traceId'], id)
    }
  }
  t.regex(backend.received[bad.length]!, /tracestate: a=b/)
  await proxy.apply(proxy.document([backend.port], { pool: oneEach, listener: { trace: { sample: 0 } } }))
  await exchange(proxy, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  t.regex(backend.received.at(-1)!, /traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\r\n/)
})

test('routes, pools and members are counted, over a change of the document and over workers', async (t) => {
  const backend = await Backend.answering('hello')
  t.teardown(() => backend.close())
  const { proxy } = await started(t, 2)
  const document = proxy.document([backend.port], { listener: { routes: [{ name: 'api', paths: ['/api'], pool: 'web' }] } })
  await proxy.apply(document)
  for (let i = 0; i < 6; i++) {
    if (i === 3) await proxy.apply(document)
    await exchange(proxy, `GET /${i % 2 === 0 ? 'api' : 'x'} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  }
  await backend.close()
  await exchange(proxy, 'GET /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  const { routes, pools, members } = proxy.proxy.traffic()
  t.deepEqual(routes[0]!.counters.responsesTotal, [0, 3, 0, 0, 1])
  t.deepEqual(pools[0]!.counters.responsesTotal, [0, 6, 0, 0, 1])
  t.deepEqual(members[0]!.counters.responsesTotal, [0, 6, 0, 0, 1])
  t.deepEqual(pools[0]!.counters.failuresTotal, { 'member-connect-failed': 1 })
  t.is(countOf(pools[0]!.counters.firstByte), 6)
  t.is(countOf(pools[0]!.counters.duration), 7)
  t.true(pools[0]!.counters.firstByte.sumMs > 0)
})

test('every error code is in the manual', (t) => {
  const manual = readFileSync(new URL('../../../docs/observability.md', import.meta.url), 'utf8')
  t.deepEqual(errorCodes.filter((code) => !manual.includes(`\`${code}\``)), [])
})

test('a udp session is logged at its end', async (t) => {
  const server = createSocket('udp4', (data, from) => server.send(data, from.port, from.address))
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve))
  const client = createSocket('udp4')
  t.teardown(() => (server.close(), client.close()))
  const { proxy, lines } = await started(t)
  await proxy.apply(proxy.document([server.address().port], { listener: { protocol: 'udp', udpTimeout: '1s', accessLog: {} } }))
  client.send('12345', proxy.port, '127.0.0.1')
  await until('one line', () => lines().length === 1)
  t.like(lines()[0], { protocol: 'udp', listener: 'web', pool: 'web', member: 'm1', client: '127.0.0.1', bytesIn: 5, bytesOut: 5 })
})

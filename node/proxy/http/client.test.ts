/** A client's connection on fakes: orders of events that real sockets show only by luck. Most were bugs once. */
import test from 'ava'
import { FakeProxy } from '../fake-transport.ts'

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const answer = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('bug: answers to a client that pipelines and does not read piled up without limit', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.stuck = true
  client.receives(get('/1') + get('/2') + get('/3'))
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  t.regex(client.sent, /one$/)
  t.is(proxy.last.sent.split('GET ').length - 1, 1, 'the second request waits until the first answer was taken')
  client.receives(get('/4'))
  t.is(proxy.last.sent.split('GET ').length - 1, 1)
  client.drains()
  t.is(proxy.last.sent.split('GET ').length - 1, 2)
  for (const body of ['two', 'three', 'four']) proxy.last.receives(answer(body))
  t.deepEqual([...client.sent.matchAll(/\r\n\r\n([a-z]+)/g)].map((found) => found[1]), ['one', 'two', 'three', 'four'])
  t.is(proxy.connections.length, 1)
  t.false(client.paused)
  client.breaks('')
  await settled()
  t.is(proxy.active(), 0)
})

test('bug: the same for answers of the proxy itself; and what such a client sends is bounded too', (t) => {
  const proxy = FakeProxy.with(1, { pool: undefined, routes: [{ name: 'r', hosts: ['b'], pool: 'web' }] })
  const client = proxy.client()
  client.stuck = true
  client.receives(get('/').repeat(100))
  t.is(client.sent.split('HTTP/1.1 404').length - 1, 1)
  for (let i = 0; i < 100 && !client.paused; i++) client.receives('GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n'.repeat(100))
  t.true(client.paused)
  client.drains()
  t.true(client.sent.split('HTTP/1.1 404').length > 100)
  t.false(client.paused)
  t.is(client.sent.includes('400 Bad'), false)
})

test('a client that never takes its answer is cut off after its idle timeout, with a failure', (t) => {
  const proxy = FakeProxy.with(1, { clientIdleTimeout: '5s', clientKeepAlive: '1s' })
  const client = proxy.client()
  client.stuck = true
  client.receives(get('/'))
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  proxy.passes(4900)
  t.false(client.isClosed)
  proxy.passes(200)
  t.true(client.isAborted)
  t.deepEqual(proxy.errors(), { 'client-timeout': 1 })
})

test('bug: the rest of a last answer was cut off two seconds after the member had sent it, however slowly the client read', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.stuck = true
  client.receives('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  t.true(client.isEnded)
  for (let i = 0; i < 100; i++) proxy.passes(100)
  t.false(client.isClosed)
  client.drains()
  proxy.passes(1900)
  t.false(client.isClosed)
  proxy.passes(200)
  t.true(client.isClosed)
})

test('bug: a client that half-closed while its last answer was on its way lost the rest of it', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.stuck = true
  client.receives('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  client.peerEnds()
  t.false(client.isClosed)
})

test('bug: a client that half-closed after an answer that it had not yet taken lost that, and what it had pipelined', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.stuck = true
  client.receives(get('/1'))
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  client.receives(get('/2'))
  client.peerEnds()
  t.false(client.isClosed)
  client.drains()
  proxy.last.receives(answer('two'))
  t.regex(client.sent, /one[^]*two$/)
  await settled()
  t.true(client.isClosed)
  t.deepEqual(proxy.errors(), {})
})

test('a client that half-closes after its request gets its answer, then the end', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives(get('/'))
  client.peerEnds()
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  t.regex(client.sent, /one$/)
  t.true(client.isEnded)
  t.deepEqual(proxy.errors(), {})
})

test('bug: a broken answer was counted as an error of the member and as one of the client', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives(get('/'))
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc')
  proxy.last.breaks('ECONNRESET')
  t.true(client.isAborted)
  await settled()
  t.deepEqual(proxy.errors(), { 'member-closed': 1 })
  t.is(proxy.active(), 0)
  t.is(proxy.shared.connections(0), 0)
})

test('bug: a client that ended within its body was counted twice', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc')
  proxy.last.connects()
  client.peerEnds()
  await settled()
  t.true(client.isClosed && proxy.last.isClosed)
  t.deepEqual(proxy.errors(), { 'client-closed': 1 })
  t.is(proxy.active(), 0)
})

test('bug: after a member had refused, a body was never sent on a kept connection of the next one', (t) => {
  const proxy = FakeProxy.with(2)
  // A kept connection to each member.
  const clients = [proxy.client(), proxy.client()]
  for (const client of clients) {
    client.receives(get('/'))
    proxy.last.connects()
  }
  for (const connection of proxy.connections) connection.receives(answer('x'))
  // The first member restarts: its kept connection is gone, and it refuses a new one.
  proxy.connections[0]!.peerEnds()
  clients[0]!.receives('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nfour')
  clients[0]!.receives('more')
  t.is(proxy.connections.length, 3)
  t.is(proxy.last.address, '192.0.2.10:80')
  proxy.last.breaks('ECONNREFUSED')
  t.is(proxy.connections.length, 3, 'the kept connection is used')
  t.regex(proxy.connections[1]!.sent, /POST [^]*\r\n\r\nfourmore$/)
  t.false(clients[0]!.paused)
  proxy.connections[1]!.receives(answer('done'))
  t.regex(clients[0]!.sent, /done$/)
  t.is(proxy.active(), 0)
})

test('bug: a client that had half-closed before its upgrade was granted left the member waiting for its end', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nlast words')
  client.peerEnds()
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
  t.regex(proxy.last.sent, /last words$/)
  t.true(proxy.last.isEnded)
  proxy.last.receives('answer')
  t.regex(client.sent, /answer$/)
  proxy.last.peerEnds()
  t.true(client.isEnded)
  client.breaks('')
  proxy.last.breaks('')
  await settled()
  t.is(proxy.active(), 0)
  t.is(proxy.shared.connections(0), 0)
})

test('bug: small pieces for a tunnel that is stuck held a large buffer each', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
  proxy.last.connects()
  client.stuck = true
  proxy.last.receives('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
  for (let i = 0; i < 500; i++) proxy.last.receives('tiny')
  const memory = [...new Set(client.held.map((buffer) => buffer.buffer))].reduce((sum, buffer) => sum + buffer.byteLength, 0)
  t.true(memory < 512 * 1024, `${memory} bytes are held for ${500 * 4}`)
  t.true(client.sent.endsWith('tiny'.repeat(500)))
})

test('bug: Via named HTTP/1.1 for messages of HTTP/1.0', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('GET / HTTP/1.0\r\n\r\n')
  proxy.last.connects()
  t.regex(proxy.last.sent, /\r\nVia: 1\.0 test\r\n/)
  proxy.last.receives('HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx')
  t.regex(client.sent, /\r\nVia: 1\.0 test\r\n/)
})

test('bug: a trusted proxy in front that had terminated TLS was said to have been asked over http', (t) => {
  const forwarded = 'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n\r\n'
  const sent = (forwardedHeaders: string): string => {
    const proxy = FakeProxy.with(1, { forwardedHeaders })
    proxy.client().receives(forwarded)
    proxy.last.connects()
    return proxy.last.sent
  }
  t.regex(sent('append'), /X-Forwarded-Proto: https\r\n[^]*X-Forwarded-For: 198\.51\.100\.1, 192\.0\.2\.1\r\n/)
  t.is(sent('append').split('X-Forwarded-Proto').length, 2)
  t.regex(sent('replace'), /X-Forwarded-For: 192\.0\.2\.1\r\nX-Forwarded-Proto: http\r\n/)
})

test('a head in single bytes is kept in one growing buffer, and looked at once', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  const whole = `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`
  for (const byte of whole) client.receives(byte)
  proxy.last.connects()
  t.regex(proxy.last.sent, /X: y{20000}\r\n/)
  proxy.last.receives(answer('one'))
  client.receives(get('/2'))
  t.regex(proxy.last.sent, /GET \/2 HTTP/)
})

test('a member that is silent while connecting: the next one, then 504', (t) => {
  const proxy = FakeProxy.with(3, {}, { connectTimeout: '1s', retries: 1 })
  const client = proxy.client()
  client.receives(get('/'))
  proxy.passes(1000)
  t.is(proxy.connections.length, 2)
  t.true(proxy.connections[0]!.isClosed)
  proxy.passes(1000)
  t.is(proxy.connections.length, 2, 'one retry is allowed')
  t.regex(client.sent, /^HTTP\/1\.1 504 [^]*X-Haechi-Error: member-connect-timeout\r\n/)
  t.is(proxy.active(), 0)
})

test('a table that is swapped while a request waits does not concern it', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives(get('/'))
  proxy.listener.update({ ...proxy.listener.plan, pool: -1 }, [])
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  t.regex(client.sent, /one$/)
  client.receives(get('/'))
  t.regex(client.sent, /404 Not Found[^]*no-route/)
  t.is(proxy.active(), 0)
})

test('a member that does not take the body pauses the client; the rest follows when it does', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n')
  proxy.last.connects()
  proxy.last.stuck = true
  client.receives('one')
  t.true(client.paused)
  proxy.last.drains()
  t.false(client.paused)
  client.receives('twosix')
  t.regex(proxy.last.sent, /onetwosix$/)
  proxy.last.receives(answer('ok'))
  t.regex(client.sent, /ok$/)
})

test('bytes from a member that nobody asked for close its kept connection', (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives(get('/'))
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  proxy.last.receives(answer('stray'))
  t.true(proxy.last.isClosed)
  client.receives(get('/'))
  t.is(proxy.connections.length, 2)
})

test('idle connections to members end after their keep-alive time', (t) => {
  const proxy = FakeProxy.with(1, {}, { keepAlive: '10s' })
  const client = proxy.client()
  client.receives(get('/'))
  proxy.last.connects()
  proxy.last.receives(answer('one'))
  proxy.passes(9900)
  t.false(proxy.last.isClosed)
  proxy.passes(200)
  t.true(proxy.last.isClosed)
})

test('bug: a client that half-closed behind its whole request got no answer when the body still waited for the member', async (t) => {
  const proxy = FakeProxy.with(1)
  const client = proxy.client()
  client.receives('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello')
  client.peerEnds()
  t.false(client.isClosed)
  proxy.last.connects()
  t.regex(proxy.last.sent, /hello$/)
  proxy.last.receives(answer('one'))
  t.regex(client.sent, /one$/)
  t.deepEqual(proxy.errors(), {})
})

test('a body that its client cut short is not waited for, whether its member is there or not', async (t) => {
  for (const body of ['', 'hel']) {
    const proxy = FakeProxy.with(1)
    const client = proxy.client()
    // The end comes before the second request is looked at: nobody says again that the client has ended.
    client.receives(get('/1'))
    client.receives(`POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n${body}`)
    client.peerEnds()
    proxy.last.connects()
    t.false(client.isClosed)
    proxy.last.receives(answer('one'))
    t.regex(client.sent, /one$/)
    await settled()
    t.true(client.isClosed)
    t.true(proxy.last.isClosed)
    t.deepEqual(proxy.errors(), { 'client-closed': 1 })
    t.is(proxy.active(), 0)
  }
})

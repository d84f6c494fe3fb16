/** Limits of a running proxy: access lists, connections and requests for each address, and the queue in front of a full pool. */
import { connect, type Socket } from 'node:net'
import test from 'ava'
import { Backend, TestProxy, until } from '../test-proxy.ts'

type Options = NonNullable<Parameters<TestProxy['document']>[1]>

/** The test's document with access lists. */
function withLists(proxy: TestProxy, ports: readonly number[], lists: object[], options: Options): object {
  return { ...(proxy.document(ports, options) as object), accessLists: lists }
}

function errors(proxy: TestProxy): Readonly<Record<string, number>> {
  return proxy.proxy.listeners()[0]!.errorsTotal
}

/** How many wait in the queue of the pool. */
function waitingAt(proxy: TestProxy): number {
  return proxy.proxy.poolTraffic()[0]!.waiting
}

/** A connection from another address of loopback. */
function from(address: string, port: number): Socket & { text: string; over: boolean } {
  const socket = connect({ host: '127.0.0.1', port, localAddress: address }) as Socket & { text: string; over: boolean }
  socket.text = ''
  socket.over = false
  socket.on('data', (data) => (socket.text += data.toString('latin1')))
  socket.on('error', () => undefined)
  socket.on('close', () => (socket.over = true))
  return socket
}

test('access lists: who is denied, or not allowed, is cut off before a byte is read', async (t) => {
  const backend = await Backend.answering('hello')
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  const lists = [{ name: 'bad', prefixes: ['127.17.1.0/24', '2001:db8::/32'] }, { name: 'good', prefixes: ['127.17.0.0/16', '127.0.0.1'] }]
  await proxy.apply(withLists(proxy, [backend.port], lists, { listener: { allow: ['good'], deny: ['bad'] } }))
  const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
  for (const [address, served] of [['127.17.1.1', false], ['127.17.2.1', true], ['127.18.0.1', false], ['127.0.0.1', true]] as const) {
    const client = from(address, proxy.port)
    client.write(request)
    await until(`${address} is over`, () => client.over)
    t.is(client.text.includes('200 OK'), served, address)
  }
  t.is(errors(proxy)['address-denied'], 2)
  // The list changes; nothing else does.
  await proxy.apply(withLists(proxy, [backend.port], [{ name: 'bad', prefixes: ['127.17.2.0/24'] }], { listener: { deny: ['bad'] } }))
  const client = from('127.17.1.1', proxy.port)
  client.write(request)
  await until('served', () => client.over)
  t.regex(client.text, /200 OK/)
})

test('connections for each address: one more than the limit is closed, and a place comes back', async (t) => {
  const backend = await Backend.answering('hello')
  const proxy = await TestProxy.start(2)
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { listener: { maxConnectionsPerSource: 4 } }))
  const clients = [1, 2, 3, 4].map(() => from('127.17.0.5', proxy.port))
  for (const client of clients) client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('all four are served', () => clients.every(({ text }) => text.includes('hello')))
  const fifth = from('127.17.0.5', proxy.port)
  await until('the fifth is closed', () => fifth.over)
  const other = from('127.17.0.6', proxy.port)
  other.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('another address is served', () => other.text.includes('hello'))
  t.is(errors(proxy)['source-connection-limit'], 1)
  clients[0]!.destroy()
  await until('a place comes back', async () => {
    const again = from('127.17.0.5', proxy.port)
    again.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('either', () => again.over || again.text.includes('hello'))
    const served = again.text.includes('hello')
    if (!served) again.destroy()
    return served
  })
  for (const client of [...clients, other]) client.destroy()
})

test('rate limit by address: 429 with Retry-After, others are not concerned, over both workers', async (t) => {
  const backend = await Backend.answering('hello')
  const proxy = await TestProxy.start(2)
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { listener: { rateLimit: { requests: 5, per: '10m' } } }))
  const statuses: number[] = []
  for (let i = 0; i < 8; i++) {
    const client = from('127.17.0.7', proxy.port)
    client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await until('answered', () => client.over)
    statuses.push(Number(client.text.slice(9, 12)))
    // One of five comes every two minutes.
    if (i >= 5) t.regex(client.text, /Retry-After: (1[12]\d)\r\n/)
  }
  t.deepEqual(statuses, [200, 200, 200, 200, 200, 429, 429, 429])
  const client = from('127.17.0.8', proxy.port)
  client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await until('answered', () => client.over)
  t.regex(client.text, /200 OK/)
  t.is(errors(proxy)['rate-limited'], 3)
  // A new revision forgets nothing.
  await proxy.apply(proxy.document([backend.port], { listener: { rateLimit: { requests: 6, per: '10m', burst: 5 } } }))
  const again = from('127.17.0.7', proxy.port)
  again.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  await until('answered', () => again.over)
  t.regex(again.text, /^HTTP\/1.1 429/)
})

test('rate limit of a route by header; a refused request keeps its connection, with what follows on it', async (t) => {
  const backend = await Backend.answering('hello')
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], {
    listener: { routes: [{ name: 'api', paths: ['/api'], pool: 'web', rateLimit: { requests: 1, per: '1h', key: 'header', header: 'X-Api-Key' } }] },
  }))
  const client = proxy.client()
  const send = (path: string, key: string): void => client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n${key === '' ? '' : `x-api-key: ${key}\r\n`}\r\n`)
  for (const [path, key] of [['/api', 'a'], ['/api', 'a'], ['/api', 'b'], ['/other', 'a'], ['/api', ''], ['/api', '']] as const) send(path, key)
  const statuses = (): string => (client.text.match(/HTTP\/1.1 \d+/g) ?? []).map((line) => line.slice(9)).join(' ')
  await until(`six answers: ${statuses()}`, () => statuses().split(' ').length === 6)
  t.is(statuses(), '200 429 200 200 200 429')
  client.close()
  const { routes } = proxy.proxy.traffic()
  t.deepEqual(routes[0]!.counters.failuresTotal, { 'rate-limited': 2 })
  t.deepEqual(routes[0]!.counters.responsesTotal, [0, 3, 0, 2, 0])
})

test('a tcp listener limits connections', async (t) => {
  const backend = await Backend.start((socket, data) => socket.write(data))
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp', rateLimit: { requests: 2, per: '1h' } } }))
  const clients = [1, 2, 3].map(() => from('127.17.0.9', proxy.port))
  for (const client of clients) client.write('x')
  await until('two are served', () => clients.filter(({ text }) => text === 'x').length === 2)
  await until('one is closed', () => clients.filter(({ over }) => over).length === 1)
  t.is(errors(proxy)['rate-limited'], 1)
  for (const client of clients) client.destroy()
})

/** A server whose answers wait until they are let go, in the order of the requests. */
async function slowBackend(): Promise<{ backend: Backend; waiting: string[]; answer: () => void }> {
  const waiting: string[] = []
  const open: { path: string; socket: Socket }[] = []
  const backend = await Backend.start((socket, data) => {
    for (const head of data.toString('latin1').split('\r\n\r\n').slice(0, -1)) {
      const path = head.split(' ')[1] ?? ''
      open.push({ path, socket })
      waiting.push(path)
    }
  })
  return {
    backend,
    waiting,
    answer: () => {
      const { path, socket } = open.shift()!
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
    },
  }
}

function ask(proxy: TestProxy, path: string, more = ''): ReturnType<TestProxy['client']> {
  const client = proxy.client()
  client.send(`GET ${path} HTTP/1.1\r\nHost: a\r\n${more}Connection: close\r\n\r\n`)
  return client
}

for (const [what, pool, member] of [
  ['the pool', { maxConnections: 1 }, {}],
  ['its members', {}, { maxConnections: 1 }],
] as const) {
  test(`queue: when ${what} can take no more, requests wait in the order of their class`, async (t) => {
    const { backend, waiting, answer } = await slowBackend()
    const proxy = await TestProxy.start()
    t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
    await proxy.apply(proxy.document([backend.port], {
      pool: { ...pool, queue: { maxLength: 10, timeout: '1m', priorityHeader: 'X-Class' } },
      member: () => member,
      listener: { routes: [{ name: 'low', paths: ['/low'], pool: 'web', priority: 'low' }, { name: 'high', paths: ['/high'], pool: 'web', priority: 'high' }] },
    }))
    const clients = [ask(proxy, '/first')]
    await until('the first is there', () => waiting.length === 1)
    const queued = ['/low/1', '/normal/1', '/high/1', '/normal/2']
    for (const path of queued) {
      clients.push(ask(proxy, path))
      await until(`${path} waits`, () => waitingAt(proxy) === clients.length - 1)
    }
    clients.push(ask(proxy, '/low/urgent', 'x-class: High\r\n'))
    await until('all wait', () => waitingAt(proxy) === 5)
    for (let count = 1; count <= 6; count++) {
      await until(`${count} have come through`, () => waiting.length === count)
      answer()
    }
    for (const client of clients) await client.ends()
    t.deepEqual(waiting, ['/first', '/high/1', '/low/urgent', '/normal/1', '/normal/2', '/low/1'])
    t.true(clients.every(({ text }) => text.startsWith('HTTP/1.1 200')))
    t.is(waitingAt(proxy), 0)
  })
}

test('queue: full, too long, given up; without one there is 503 at once', async (t) => {
  const { backend, waiting, answer } = await slowBackend()
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { pool: { maxConnections: 1, queue: { maxLength: 2, timeout: '3s' } } }))
  const first = ask(proxy, '/first')
  await until('the first is there', () => waiting.length === 1)
  const [second, third] = [ask(proxy, '/second'), ask(proxy, '/third')]
  await until('two wait', () => waitingAt(proxy) === 2)
  const fourth = ask(proxy, '/fourth')
  await fourth.ends()
  t.regex(fourth.text, /^HTTP\/1.1 503 .*X-Haechi-Error: queue-full/s)
  third.socket.resetAndDestroy()
  await until('one has given up', () => waitingAt(proxy) === 1)
  await second.ends()
  t.regex(second.text, /^HTTP\/1.1 503 .*X-Haechi-Error: queue-timeout/s)
  answer()
  await first.ends()
  t.regex(first.text, /200 OK/)
  t.is(errors(proxy)['queue-full'], 1)
  t.is(errors(proxy)['queue-timeout'], 1)
  t.is(errors(proxy)['client-closed'], 1)
  await proxy.apply(proxy.document([backend.port], { pool: { maxConnections: 1 } }))
  const again = ask(proxy, '/first')
  await until('it is there', () => waiting.length === 2)
  const refused = ask(proxy, '/second')
  await refused.ends()
  t.regex(refused.text, /no-member-available/)
  answer()
  await again.ends()
})

test('queue: a place that becomes free on one worker is taken by those who wait on the other; with bodies', async (t) => {
  const { backend, waiting, answer } = await slowBackend()
  const proxy = await TestProxy.start(2)
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { member: () => ({ maxConnections: 2 }), pool: { queue: { timeout: '1m' } } }))
  const clients = Array.from({ length: 20 }, (_, i) => {
    const client = proxy.client()
    client.send(`POST /${i} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`)
    return client
  })
  await until('two are in, the others wait', () => waiting.length === 2 && waitingAt(proxy) === 18)
  for (let count = 1; count <= 20; count++) {
    await until(`${count} have come through`, () => waiting.length >= count)
    t.true(waiting.length - count < 2, 'never more than two at once')
    answer()
  }
  for (const client of clients) await client.ends()
  t.true(clients.every(({ text }) => text.startsWith('HTTP/1.1 200')))
  t.is(backend.received.filter((text) => text.includes('hello')).length, backend.received.length)
})

test('queue: when no member is left, those who wait are told', async (t) => {
  const { backend, waiting } = await slowBackend()
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { pool: { maxConnections: 1, queue: { timeout: '1m' } } }))
  const first = ask(proxy, '/first')
  await until('the first is there', () => waiting.length === 1)
  const second = ask(proxy, '/second')
  await until('the second waits', () => waitingAt(proxy) === 1)
  proxy.proxy.setMemberHealth('web', 'm1', 'down')
  await second.ends()
  t.regex(second.text, /^HTTP\/1.1 503 .*no-member-available/s)
  first.close()
})

test('bug: a member that was added while requests waited got nothing until those who could not use it had gone', async (t) => {
  const { backend, waiting } = await slowBackend()
  const fresh = await Backend.answering('fresh')
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close(), fresh.close()]))
  const options = { pool: { queue: { timeout: '1m', maxLength: 3 } }, member: () => ({ maxConnections: 1 }) }
  await proxy.apply(proxy.document([backend.port], options))
  const first = ask(proxy, '/first')
  await until('the first is there', () => waiting.length === 1)
  const second = ask(proxy, '/second')
  await until('the second waits', () => waitingAt(proxy) === 1)
  await proxy.apply(proxy.document([backend.port, fresh.port], options))
  // It began with the new table; the second keeps the one that it began with.
  const third = ask(proxy, '/third')
  await third.ends()
  t.regex(third.text, /fresh$/)
  t.is(waitingAt(proxy), 1)
  t.deepEqual(waiting, ['/first'])
  second.socket.resetAndDestroy()
  first.close()
  await until('nobody waits', () => waitingAt(proxy) === 0)
})

test('queue: tcp connections wait too', async (t) => {
  const backend = await Backend.start((socket, data) => socket.write(data))
  const proxy = await TestProxy.start()
  t.teardown(() => Promise.all([proxy.stop(), backend.close()]))
  await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp' }, pool: { maxConnections: 1, queue: { maxLength: 1, timeout: '1m' } } }))
  const first = proxy.client()
  first.send('one')
  await first.gets('one')
  const second = proxy.client()
  second.send('two')
  await until('it waits', () => waitingAt(proxy) === 1)
  const third = proxy.client()
  await third.ends()
  t.is(errors(proxy)['queue-full'], 1)
  first.close()
  await second.gets('two')
  second.close()
  await until('nothing is left', () => proxy.proxy.listeners()[0]!.connections === 0)
  t.is(proxy.proxy.members()[0]!.active, 0)
})

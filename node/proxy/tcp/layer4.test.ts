/** The PROXY protocol in and out, port ranges, and listeners that go while they have connections; real sockets on loopback. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import ava from 'ava'
import { Backend, Client, TestProxy, until } from '../test-proxy.ts'
import { proxyHeader, readProxyHeader, scanProxyHeader } from './proxy-protocol.ts'

const test = ava.serial
const front = '127.15.2.1'
const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const v1 = 'PROXY TCP4 203.0.113.7 198.51.100.9 40123 443\r\n'

async function withProxy(use: (proxy: TestProxy, started: (backend: Promise<Backend>) => Promise<Backend>) => Promise<void>, workers = 1): Promise<void> {
  const proxy = await TestProxy.start(workers)
  const backends: Backend[] = []
  try {
    await use(proxy, async (starting) => {
      const backend = await starting
      backends.push(backend)
      return backend
    })
  } finally {
    await proxy.stop()
    for (const backend of backends) await backend.close()
  }
}
const errors = (proxy: TestProxy): Readonly<Record<string, number>> => proxy.proxy.listeners()[0]!.errorsTotal

/** So many free ports in a row; those that look free may be taken a moment later, so it is tried from another place then. */
async function freePorts(count: number): Promise<number> {
  for (;;) {
    const start = 20_000 + Math.floor(Math.random() * 20_000)
    const servers: Server[] = []
    try {
      for (let i = 0; i < count; i++) {
        const server = createServer()
        await new Promise<void>((resolve, reject) => server.once('error', reject).listen(start + i, front, resolve))
        servers.push(server)
      }
      return start
    } catch {
      // Another place.
    } finally {
      for (const server of servers) await new Promise((resolve) => server.close(resolve))
    }
  }
}

test('http: the address of a PROXY header is the client’s, in both versions and split anywhere', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('ok'))
    await proxy.apply(proxy.document([backend.port], { listener: { proxyProtocol: 'accept' } }))
    const one = proxy.client()
    one.send(v1 + get)
    await one.gets(/ok$/)
    one.send(get)
    await until('kept', () => one.text.split('200 OK').length === 3)
    t.is(backend.received[0]!.split('X-Forwarded-For: 203.0.113.7\r\n').length, 3)
    one.close()
    const two = proxy.client()
    const header = proxyHeader(2, { source: '2001:db8::5', destination: '2001:db8::1', sourcePort: 5, destinationPort: 443 })
    for (const byte of header) {
      two.socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    two.send(get)
    await two.gets(/ok$/)
    t.true(backend.received.join('').includes('X-Forwarded-For: 2001:db8::5\r\n'))
    two.close()
    // LOCAL: the connection's own address.
    const three = proxy.client()
    three.socket.write(Buffer.concat([proxyHeader(2, undefined), Buffer.from(get)]))
    await three.gets(/ok$/)
    t.true(backend.received.join('').includes('X-Forwarded-For: 127.0.0.1\r\n'))
    three.close()
    t.deepEqual(errors(proxy), {})
    await until('all is given back', () => proxy.proxy.listeners()[0]!.connections === 0)
  })
})

test('a connection without a PROXY header is closed and counted; one that brings nothing is no error', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('ok'))
    await proxy.apply(proxy.document([backend.port], { listener: { proxyProtocol: 'accept', requestHeadTimeout: '300ms' } }))
    const plain = proxy.client()
    plain.send(get)
    await plain.ends()
    const short = proxy.client()
    short.send('PROXY TCP4 203.0')
    await short.ends()
    const cut = proxy.client()
    cut.send('PROXY TCP4 203.0')
    cut.socket.end()
    await cut.ends()
    const check = proxy.client()
    check.socket.end()
    await check.ends()
    await until('given back', () => proxy.proxy.listeners()[0]!.connections === 0)
    t.deepEqual(errors(proxy), { 'proxy-header-invalid': 2, 'proxy-header-timeout': 1 })
    t.is(backend.accepted, 0)
    for (const client of [plain, short, cut, check]) t.is(client.text, '')
  })
})

test('trustedSources: others have no header, and cannot claim an address', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('ok'))
    await proxy.apply(proxy.document([backend.port], { listener: { proxyProtocol: 'accept', trustedSources: ['127.15.2.0/28', '2001:db8::/32'] } }))
    const from = (address: string): Client => new Client(proxy.port, '127.0.0.1', address)
    const trusted = from('127.15.2.9')
    trusted.send(v1 + get)
    await trusted.gets(/ok$/)
    t.true(backend.received.join('').includes('X-Forwarded-For: 203.0.113.7\r\n'))
    const other = from('127.15.2.16')
    other.send(get)
    await other.gets(/ok$/)
    t.true(backend.received.join('').includes('X-Forwarded-For: 127.15.2.16\r\n'))
    const liar = from('127.15.2.17')
    liar.send(v1 + get)
    await liar.gets('400 Bad Request')
    for (const client of [trusted, other, liar]) client.close()
  })
})

test('tcp: what comes behind a PROXY header in the same packet reaches the member, with a header of its own', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.start((socket, data) => void socket.write(`echo ${data.length}`)))
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp', proxyProtocol: 'accept' }, pool: { sendProxyProtocol: 'v1' } }))
    const client = proxy.client()
    client.send(`${v1}hello`)
    await client.gets('echo')
    client.send(' there')
    await until('all', () => backend.received[0] === `${v1}hello there`)
    client.socket.end()
    await client.ends()
    await until('given back', () => proxy.proxy.members()[0]!.active === 0)
    t.deepEqual(errors(proxy), {})
  })
})

test('tcp: version 2 names the client and where it had connected to', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.start(() => undefined))
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp' }, pool: { sendProxyProtocol: 'v2' } }))
    const client = proxy.client()
    client.send('hello')
    await until('it comes', () => backend.received[0]?.endsWith('hello') === true)
    const bytes = Buffer.from(backend.received[0]!, 'latin1')
    const length = scanProxyHeader(bytes, 0, bytes.length)
    t.is(bytes.toString('latin1', length), 'hello')
    t.deepEqual(readProxyHeader(bytes, 0, length), {
      source: '127.0.0.1', sourcePort: (client.socket.address() as AddressInfo).port, destination: '127.0.0.1', destinationPort: proxy.port,
    })
    client.close()
  })
})

test('http: with PROXY headers to members each client has connections of its own, and keeps them', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('ok'))
    await proxy.apply(proxy.document([backend.port], { pool: { sendProxyProtocol: 'v1' } }))
    const [one, two] = [proxy.client(), proxy.client()]
    for (const client of [one, two]) {
      client.send(get)
      await client.gets(/ok$/)
    }
    for (let i = 0; i < 3; i++) {
      const before = one.text.length
      one.send(get)
      await until('answered', () => one.text.length > before)
    }
    t.is(backend.accepted, 2)
    for (const [i, client] of [one, two].entries()) {
      const { port } = client.socket.address() as AddressInfo
      t.true(backend.received[i]!.startsWith(`PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${proxy.port}\r\nGET / HTTP/1.1\r\n`))
      t.is(backend.received[i]!.split('PROXY').length, 2, 'one header for each connection')
    }
    one.close()
    await until('its connection goes with it', () => backend.sockets.size === 1)
    // What the member closes meanwhile is replaced.
    for (const socket of backend.sockets) socket.end()
    await until('closed', () => backend.sockets.size === 0)
    const before = two.text.length
    two.send(get)
    await until('answered', () => two.text.length > before)
    t.is(backend.accepted, 3)
    two.close()
    await until('none is left', () => backend.sockets.size === 0)
  })
})

test('a range of ports: all are served, memberPort same reaches the same port, and one that is taken is named', async (t) => {
  const start = await freePorts(6)
  const members = '127.15.2.77'
  const servers: Server[] = []
  await withProxy(async (proxy) => {
    try {
      for (const port of [start, start + 1, start + 2, start + 3, start + 4]) {
        const server = createServer((socket) => void socket.end(`port ${port}`))
        await new Promise<void>((resolve) => server.listen(port, members, resolve))
        servers.push(server)
      }
      const taken = createServer()
      await new Promise<void>((resolve) => taken.listen(start + 1, front, resolve))
      servers.push(taken)
      const document = (portEnd: number): unknown => ({
        haechi: 1,
        pools: [{ name: 'many', healthCheck: { type: 'none' }, members: [{ name: 'm', address: members, port: 9 }] }],
        listeners: [{ name: 'many', address: front, port: start, portEnd, protocol: 'tcp', pool: 'many', memberPort: 'same' }],
      })
      const asks = async (port: number): Promise<string> => {
        const client = new Client(port, front)
        await client.ends()
        client.close()
        return client.text
      }
      await proxy.apply(document(start + 2))
      t.is(proxy.proxy.listeners()[0]!.error, `${front}:${start + 1} is in use by another program`)
      t.is(await asks(start), `port ${start}`)
      t.is(await asks(start + 2), `port ${start + 2}`)
      await new Promise((resolve) => taken.close(resolve))
      await until('that one too', () => proxy.proxy.listeners()[0]!.error === '')
      t.is(await asks(start + 1), `port ${start + 1}`)
      // It grows, and shrinks again.
      await proxy.apply(document(start + 4))
      t.is(await asks(start + 4), `port ${start + 4}`)
      t.is(proxy.proxy.listeners()[0]!.connectionsTotal, 4)
      await proxy.apply(document(start))
      t.is(await asks(start), `port ${start}`)
      await until('left', async () => (await asks(start + 4)) === '')
    } finally {
      for (const server of servers) server.close()
    }
  })
})

test('bug: ports of a move that had failed were still listened on after it was taken back', async (t) => {
  const start = await freePorts(5)
  const taken = createServer()
  await new Promise<void>((resolve) => taken.listen(start + 3, front, resolve))
  await withProxy(async (proxy, started) => {
    try {
      const backend = await started(Backend.answering('ok'))
      const document = (portEnd: number): unknown => proxy.document([backend.port], { listener: { address: front, port: start, portEnd } })
      await proxy.apply(document(start + 1))
      await proxy.apply(document(start + 4))
      t.regex(proxy.proxy.listeners()[0]!.error, /in use by another program/)
      await proxy.apply(document(start + 1))
      t.is(proxy.proxy.listeners()[0]!.error, '')
      for (const port of [start + 2, start + 4]) {
        const refused = new Client(port, front)
        await until('an end', () => refused.closed)
        t.is(refused.error, 'ECONNREFUSED')
      }
    } finally {
      taken.close()
    }
  })
})

test('a range that changes keeps its connections', async (t) => {
  const start = await freePorts(4)
  await withProxy(async (proxy, started) => {
    const backend = await started(Backend.answering('ok'))
    const document = (port: number, portEnd: number): unknown => proxy.document([backend.port], { listener: { address: front, port, portEnd } })
    await proxy.apply(document(start, start + 2))
    const client = new Client(start + 2, front)
    client.send(get)
    await client.gets(/ok$/)
    await proxy.apply(document(start, start + 1))
    client.send(get)
    await until('it goes on', () => client.text.split('200 OK').length === 3)
    await proxy.apply(document(start + 3, start + 3))
    client.send(get)
    await until('it goes on', () => client.text.split('200 OK').length === 4)
    t.false(client.ended)
    client.close()
  })
})

/** A member that grants every upgrade and sends back what it gets. */
function granting(): Promise<Backend> {
  return Backend.start((socket, data) => {
    if (data.toString().includes('Upgrade: websocket')) socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    else socket.write(data)
  })
}
const upgrade = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

test('a tunnel outlives its listener, and ends when drainTimeout is over', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(granting())
    const tunnel = proxy.document([backend.port], { listener: { drainTimeout: '600ms' } })
    await proxy.apply(tunnel)
    const client = proxy.client()
    client.send(upgrade)
    await client.gets('101 Switching')
    const began = performance.now()
    await proxy.apply({ haechi: 1 })
    const refused = proxy.client()
    await refused.ends()
    t.is(refused.error, 'ECONNREFUSED')
    client.send('still here')
    await client.gets('still here')
    await client.ends()
    t.true(performance.now() - began >= 500)
    await until('the member is free', () => backend.sockets.size === 0)
    await proxy.apply(tunnel)
    t.is(errors(proxy)['drain-timeout'], 1)
    t.is(proxy.proxy.listeners()[0]!.connections, 0)
  })
})

test('two hundred WebSockets are held through a hundred changes of the document, and through the listener’s removal', async (t) => {
  await withProxy(async (proxy, started) => {
    const backend = await started(granting())
    const document = (i: number): unknown => ({
      ...(proxy.document([backend.port], { listener: { tunnelTimeout: `${60 + i}s`, maxConnections: 5000 + i }, pool: { retries: i % 3 } }) as object),
      vips: i % 2 === 0 ? [] : [{ name: 'v', address: '127.15.2.200' }],
    })
    await proxy.apply(document(0))
    const clients = Array.from({ length: 200 }, () => proxy.client())
    for (const client of clients) client.send(upgrade)
    for (const client of clients) await client.gets('101 Switching')
    for (let i = 1; i <= 100; i++) {
      await proxy.apply(document(i))
      const client = clients[i]!
      client.send(`change ${i};`)
      await client.gets(`change ${i};`)
    }
    await proxy.apply({ haechi: 1 })
    await proxy.apply(document(0))
    for (const client of clients) client.send('end.')
    for (const client of clients) await client.gets('end.')
    t.is(clients.filter((client) => client.ended || client.closed).length, 0)
    t.is(proxy.proxy.listeners()[0]!.connections, 200)
    for (const client of clients) client.socket.end()
    await until('all is given back', () => proxy.proxy.listeners()[0]!.connections === 0 && proxy.proxy.members()[0]!.active === 0)
    t.deepEqual(errors(proxy), {})
  }, 2)
})

test('why a tunnel ended is counted', async (t) => {
  await withProxy(async (proxy, started) => {
    const sockets: Socket[] = []
    const backend = await started(Backend.start((socket) => void sockets.push(socket)))
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'tcp', tunnelTimeout: '500ms' } }))
    const opened = async (): Promise<Client> => {
      const client = proxy.client()
      client.send('x')
      const count = sockets.length
      await until('with the member', () => sockets.length > count)
      return client
    }
    ;(await opened()).socket.resetAndDestroy()
    await until('counted', () => errors(proxy)['client-reset'] === 1)
    const broken = await opened()
    sockets.at(-1)!.resetAndDestroy()
    await broken.ends()
    await until('counted', () => errors(proxy)['member-reset'] === 1)
    const orderly = await opened()
    orderly.socket.end()
    await orderly.ends()
    await (await opened()).ends()
    await until('given back', () => proxy.proxy.members()[0]!.active === 0)
    t.deepEqual(errors(proxy), { 'client-reset': 1, 'member-reset': 1, 'tunnel-timeout': 1 })
  })
})

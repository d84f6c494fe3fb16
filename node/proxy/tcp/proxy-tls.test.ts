/** PROXY headers in front of TLS, in both directions; and descriptors are counted until they are closed, with TLS too. */
import { connect as connectPlain, createServer, type AddressInfo, type Server } from 'node:net'
import { connect, createSecureContext, TLSSocket } from 'node:tls'
import test from 'ava'
import { Backend, TestProxy, until } from '../test-proxy.ts'
import { TestAuthority } from '../tls/test-certificates.ts'
import { createNetTransport } from '../transport/net.ts'
import type { Acceptor, Connection, ConnectionOwner } from '../transport/transport.ts'
import { proxyHeader } from './proxy-protocol.ts'

const authority = await TestAuthority.create('one')
const pair = await authority.issue('one', ['one.test'])
const endpoints = { source: '203.0.113.7', sourcePort: 40123, destination: '198.51.100.9', destinationPort: 443 }
const get = 'GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n'

async function withProxy(use: (proxy: TestProxy) => Promise<void>): Promise<void> {
  const proxy = await TestProxy.start(1)
  try {
    await proxy.proxy.setTlsMaterial({ keyPairs: [pair], authorities: [await authority.material()], ticketKeys: new Uint8Array(48).map((_, i) => i * 3) })
    await use(proxy)
  } finally {
    await proxy.stop()
  }
}

/** Sends a PROXY header, then speaks TLS. `apart`: the handshake begins in another packet. */
async function through(port: number, header: Buffer, apart: boolean, request: string): Promise<string> {
  const raw = connectPlain(port, '127.0.0.1')
  raw.setNoDelay(true)
  raw.on('error', () => undefined)
  // While corked, the ClientHello goes out with the header.
  if (!apart) raw.cork()
  raw.write(header)
  if (apart) await new Promise((resolve) => setTimeout(resolve, 30))
  const socket = connect({ socket: raw, servername: 'one.test', ca: authority.pem })
  if (!apart) setImmediate(() => raw.uncork())
  let text = ''
  let over = ''
  socket.on('secureConnect', () => socket.write(request))
  socket.on('data', (data) => (text += data.toString('latin1')))
  socket.on('error', (error) => (over ||= error.message))
  socket.on('close', () => (over ||= 'closed'))
  try {
    await until('an answer', () => over !== '' || text.endsWith('ok'))
  } finally {
    socket.destroy()
  }
  return text
}

test('https: the header comes before the handshake, and the client’s address is the one in it', async (t) => {
  const backend = await Backend.answering('ok')
  try {
    await withProxy(async (proxy) => {
      await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'https', tls: { certificates: ['one'] }, proxyProtocol: 'accept' } }))
      for (const apart of [true, false]) {
        for (const version of [1, 2] as const) {
          t.regex(await through(proxy.port, proxyHeader(version, endpoints), apart, get), /200 OK[^]*ok$/)
          t.regex(backend.received.at(-1)!, /X-Forwarded-For: 203\.0\.113\.7\r\nX-Forwarded-Proto: https\r\n/)
        }
      }
      t.is(await through(proxy.port, Buffer.alloc(0), true, get), '', 'without one there is no handshake')
      await until('given back', () => proxy.proxy.listeners()[0]!.connections === 0)
      t.deepEqual(proxy.proxy.listeners()[0]!.errorsTotal, { 'proxy-header-invalid': 1 })
    })
  } finally {
    await backend.close()
  }
})

/** A server that wants a PROXY header, then TLS. */
async function tlsBehindHeader(): Promise<{ server: Server; port: number; headers: string[] }> {
  const headers: string[] = []
  const context = createSecureContext({ cert: pair.chain, key: pair.key })
  const server = createServer((raw) => {
    raw.on('error', () => undefined)
    let kept = Buffer.alloc(0)
    const read = (data: Buffer): void => {
      kept = Buffer.concat([kept, data])
      const end = kept.indexOf('\r\n')
      if (end < 0) return
      raw.off('data', read)
      raw.pause()
      headers.push(kept.toString('latin1', 0, end))
      if (kept.length > end + 2) raw.unshift(kept.subarray(end + 2))
      const socket = new TLSSocket(raw, { isServer: true, secureContext: context })
      socket.on('error', () => undefined)
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    }
    raw.on('data', read)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port, headers }
}

test('to members with TLS: the header goes before the handshake, over http and tcp', async (t) => {
  const member = await tlsBehindHeader()
  try {
    await withProxy(async (proxy) => {
      for (const protocol of ['http', 'tcp']) {
        await proxy.apply(proxy.document([member.port], { listener: { protocol }, pool: { sendProxyProtocol: 'v1', tls: { authority: 'one', serverName: 'one.test' } } }))
        const client = proxy.client()
        client.send(get)
        await client.gets(/200 OK[^]*ok$/)
        const { port } = client.socket.address() as AddressInfo
        t.is(member.headers.at(-1), `PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${proxy.port}`)
        client.close()
      }
      await until('given back', () => proxy.proxy.members()[0]!.active === 0)
    })
  } finally {
    member.server.close()
  }
})

test('tls-passthrough: the header is taken off, and the rest goes through unopened', async (t) => {
  const context = createSecureContext({ cert: pair.chain, key: pair.key })
  const server = createServer((raw) => {
    const socket = new TLSSocket(raw, { isServer: true, secureContext: context })
    socket.on('error', () => undefined)
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    await withProxy(async (proxy) => {
      await proxy.apply(proxy.document([(server.address() as AddressInfo).port], { listener: { protocol: 'tls-passthrough', proxyProtocol: 'accept' } }))
      for (const apart of [true, false]) t.regex(await through(proxy.port, proxyHeader(2, endpoints), apart, get), /200 OK[^]*ok$/)
    })
  } finally {
    server.close()
  }
})

const quiet: ConnectionOwner = { connected: () => undefined, received: () => undefined, ended: () => undefined, drained: () => undefined, closed: () => undefined }

test('every descriptor is counted once, and no longer than it is open', async (t) => {
  let used = 0
  const transport = createNetTransport({ countDescriptors: (amount) => (used += amount), mayConnect: () => used < 100 })
  const accepted: Connection[] = []
  const early: Buffer[] = []
  const acceptor: Acceptor = await transport.listen({ host: '127.15.2.20', port: 4433, backlog: 16 }, (connection) => {
    // What comes before the handshake is begun belongs to it.
    connection.owner = { ...quiet, received: (_, buffer, start, end) => void early.push(Buffer.from(buffer.subarray(start, end))), closed: () => undefined }
    accepted.push(connection)
  })
  t.is(used, 1)
  const outgoing: Connection[] = []
  for (let i = 0; i < 3; i++) outgoing.push(transport.connect('127.15.2.20', 4433, quiet))
  await until('accepted', () => accepted.length === 3)
  t.is(used, 7)
  // A handshake that fails, and one that succeeds.
  const serverTls = { default: { context: createSecureContext({ cert: pair.chain, key: pair.key }), ocspResponse: undefined }, needsName: false, clientCertificate: 'none' as const, alpn: [] }
  let failed = 0
  transport.secure(accepted[0]!, serverTls, Buffer.from('no handshake'), { secured: () => undefined, failed: () => failed++ })
  const clientTls = { context: createSecureContext({ ca: authority.pem }), serverName: 'one.test', verify: true, alpn: [], session: () => undefined, keep: () => undefined }
  let secured: Connection | undefined
  const inside = transport.connect('127.15.2.20', 4433, quiet, clientTls)
  await until('accepted', () => accepted.length === 4)
  transport.secure(accepted[3]!, serverTls, early.length === 0 ? undefined : Buffer.concat(early), { secured: (connection) => (secured = connection), failed: () => failed++ })
  await until('both', () => failed === 1 && secured !== undefined)
  secured!.owner = quiet
  for (const connection of [...outgoing, ...accepted.slice(1, 3), inside, secured!]) connection.close()
  await until('all are closed', () => used === 1)
  // None is to be had, and none listens there.
  let error = ''
  used = 100
  transport.connect('127.15.2.20', 4433, { ...quiet, closed: (_, name) => (error = name) })
  await until('refused', () => error === 'EMFILE')
  t.is(used, 100)
  used = 1
  transport.connect('127.15.2.21', 4434, { ...quiet, closed: (_, name) => (error = name) })
  await until('refused', () => error === 'ECONNREFUSED')
  acceptor.close()
  await until('nothing is left', () => used === 0)
  t.pass()
})

/** TLS to members, and TLS that is passed on unopened, on a real proxy. */
import { connect as connectPlain } from 'node:net'
import type { TLSSocket } from 'node:tls'
import ava from 'ava'
import { Backend, TestProxy, until } from '../test-proxy.ts'
import type { KeyPairMaterial, TlsMaterial } from './material.ts'
import { TestAuthority } from './test-certificates.ts'
import { authority, materialOf, pairs, TlsClient, tlsMember, type TlsMember } from './test-tls.ts'

// One after the other: each starts workers, and some look at deadlines.
const test = ava.serial

async function toMember(pair: KeyPairMaterial, tls: object, use: (proxy: TestProxy, member: TlsMember) => Promise<void>, options: { server?: object; pool?: object; material?: TlsMaterial; protocol?: string } = {}): Promise<void> {
  const member = await tlsMember(pair, options.server)
  const proxy = await TestProxy.start()
  try {
    await proxy.proxy.setTlsMaterial(options.material ?? (await materialOf()))
    await proxy.apply(proxy.document([member.port], { pool: { tls, ...options.pool }, listener: { protocol: options.protocol ?? 'http' } }))
    await use(proxy, member)
  } finally {
    await proxy.proxy.stop(0)
    await member.close()
  }
}

test('to members: verified by name with SNI, by address without; the connection is kept', async (t) => {
  const addressed = await authority.issue('addressed', ['127.0.0.1'])
  await toMember(pairs.two, { authority: 'one', serverName: 'two.test', alpn: ['http/1.1'] }, async (proxy, member) => {
    const client = proxy.client()
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets(/secure$/)
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.gets(/secure[^]*secure$/)
    t.is(member.sockets.length, 1)
    t.is((member.sockets[0] as TLSSocket & { servername: string }).servername, 'two.test')
    client.close()
  }, { server: { ALPNProtocols: ['http/1.1'] } })
  await toMember(addressed, { authority: 'one' }, async (proxy) => void t.regex(await proxy.once(), /secure$/))
})

test('to members: what cannot be verified is not spoken to: member-tls-failed', async (t) => {
  const other = await TestAuthority.create('other')
  const material = await materialOf({ authorities: [await authority.material(), await other.material()] })
  const refused: [string, object][] = [
    ['the wrong name', { authority: 'one', serverName: 'one.test' }],
    ['no name, and not its address', { authority: 'one' }],
    ['another authority', { authority: 'other', serverName: 'two.test' }],
    ['the system, which does not know it', { serverName: 'two.test' }],
    ['an authority that there is not', { authority: 'missing', serverName: 'two.test' }],
    ['a client certificate that there is not, unverified', { verify: false, certificate: 'missing' }],
  ]
  for (const [what, tls] of refused) {
    await toMember(pairs.two, tls, async (proxy, member) => {
      t.regex(await proxy.once(), /^HTTP\/1\.1 502[^]*X-Haechi-Error: member-tls-failed/, what)
      t.is(proxy.proxy.members()[0]!.requestsTotal, 0, what)
      t.true(proxy.proxy.members()[0]!.connectFailuresTotal > 0, what)
      for (const socket of member.sockets) t.is(socket.bytesRead, 0, what)
    }, { material })
  }
  await toMember(pairs.two, { verify: false }, async (proxy) => void t.regex(await proxy.once(), /secure$/))
  await toMember(pairs.two, { authority: 'one', serverName: 'one.test' }, async (proxy) => {
    t.is(await proxy.once(), '')
    t.is(proxy.proxy.listeners()[0]!.errorsTotal['member-tls-failed'], 1)
  }, { protocol: 'tcp' })
})

test('to members: a member that speaks no TLS, and one that never answers the handshake', async (t) => {
  const plain = await Backend.start((socket, data) => socket.write(data.toString('latin1').startsWith('GET ') ? 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain' : 'HTTP/1.1 400 Bad Request\r\n\r\n'))
  const silent = await Backend.start(() => undefined)
  const proxy = await TestProxy.start()
  try {
    await proxy.apply(proxy.document([plain.port], { pool: { tls: {}, retries: 0 } }))
    t.regex(await proxy.once(), /502[^]*member-tls-failed/)
    await proxy.apply(proxy.document([silent.port], { pool: { tls: {}, retries: 0, connectTimeout: '300ms' } }))
    t.regex(await proxy.once(), /504[^]*member-connect-timeout/)
    await proxy.apply(proxy.document([plain.port]))
    t.regex(await proxy.once(), /plain$/)
    t.is(proxy.proxy.members()[0]!.active, 0)
  } finally {
    await proxy.proxy.stop(0)
    await plain.close()
    await silent.close()
  }
})

test('to members: mutual TLS, and sessions that go on', async (t) => {
  const server = { requestCert: true, rejectUnauthorized: true, ca: authority.pem }
  await toMember(pairs.two, { authority: 'one', serverName: 'two.test', certificate: 'one' }, async (proxy, member) => {
    for (let i = 0; i < 3; i++) t.regex(await proxy.once(), /secure$/)
    t.is(member.sockets[0]!.getPeerX509Certificate()?.subjectAltName, 'DNS:one.test')
  }, { server })
  await toMember(pairs.two, { authority: 'one', serverName: 'two.test' }, async (proxy) => {
    t.notRegex(await proxy.once(), /secure$/)
  }, { server })
  await toMember(pairs.two, { authority: 'one', serverName: 'two.test' }, async (proxy, member) => {
    for (let i = 0; i < 4; i++) t.regex(await proxy.once(), /secure$/)
    t.deepEqual(member.resumed, [false, true, true, true])
  }, { pool: { maxIdleConnections: 0 } })
})

// — passed through —

test('tls-passthrough: by name to pools, unopened; other names to the default, or refused', async (t) => {
  const one = await tlsMember(pairs.one)
  const wild = await tlsMember(pairs.wild)
  const proxy = await TestProxy.start()
  const pool = (name: string, port: number): object => ({ name, healthCheck: { type: 'none' }, members: [{ name: 'm', address: '127.0.0.1', port }] })
  const document = (more: object): object => ({
    haechi: 1,
    pools: [pool('one', one.port), pool('wild', wild.port)],
    listeners: [{
      name: 'pass', address: '127.0.0.1', port: proxy.port, protocol: 'tls-passthrough',
      routes: [{ name: 'w', hosts: ['*.wild.test'], pool: 'wild' }, { name: 'o', hosts: ['one.test'], pool: 'one' }], ...more,
    }],
  })
  const names = async (servername: string): Promise<string> => {
    const client = await new TlsClient(proxy.port, { servername, rejectUnauthorized: false, ALPNProtocols: [] }).ready()
    client.socket.write('x')
    await until('answered', () => client.text.includes('secure'))
    const { names: shown } = client
    client.close()
    return shown
  }
  const errors = (): Partial<Record<string, number>> => proxy.proxy.listeners()[0]!.errorsTotal
  try {
    await proxy.apply(document({}))
    t.is(await names('one.test'), 'DNS:one.test')
    t.regex(await names('ONE.test'), /one\.test/)
    t.regex(await names('a.wild.test'), /^DNS:\*\.wild/)
    const lost = new TlsClient(proxy.port, { servername: 'nobody.test' })
    t.not(await lost.refused(), '')
    const nameless = new TlsClient(proxy.port, { servername: '', rejectUnauthorized: false })
    t.not(await nameless.refused(), '')
    await until('both are counted', () => errors()['tls-name-refused'] === 2)
    await proxy.apply(document({ requestHeadTimeout: '300ms' }))
    const silent = connectPlain(proxy.port, '127.0.0.1')
    silent.on('error', () => undefined)
    silent.write(Buffer.from([22, 3, 1]))
    const wrong = proxy.client()
    wrong.send('GET / HTTP/1.1\r\n\r\n')
    await until('counted', () => errors()['tls-hello-invalid'] === 1 && errors()['tls-handshake-timeout'] === 1)
    await until('nothing is held', () => proxy.proxy.listeners()[0]!.connections === 0)
    await proxy.apply(document({ pool: 'wild' }))
    t.regex(await names('nobody.test'), /^DNS:\*\.wild/)
    t.regex(await names(''), /^DNS:\*\.wild/)
    silent.destroy()
    wrong.close()
  } finally {
    await proxy.proxy.stop(0)
    await one.close()
    await wild.close()
  }
})

test('tls-passthrough: a member that is down refuses the client and gives everything back', async (t) => {
  const proxy = await TestProxy.start()
  const gone = await tlsMember(pairs.one)
  await gone.close()
  try {
    await proxy.apply(proxy.document([gone.port], { listener: { protocol: 'tls-passthrough' }, pool: { retries: 0 } }))
    t.not(await new TlsClient(proxy.port).refused(), '')
    await until('counted', () => proxy.proxy.listeners()[0]!.errorsTotal['member-connect-failed'] === 1)
    t.is(proxy.proxy.listeners()[0]!.connections, 0)
    t.is(proxy.proxy.members()[0]!.active, 0)
  } finally {
    await proxy.proxy.stop(0)
  }
})

/** TLS of the data plane on a real proxy: which certificate a client gets, who is refused, resumption, and changes that cut nothing. */
import { connect as connectPlain } from 'node:net'
import type { Worker } from 'node:worker_threads'
import { connect, type ConnectionOptions } from 'node:tls'
import ava from 'ava'
import { Backend, TestProxy, until } from '../test-proxy.ts'
import type { KeyPairMaterial, TlsMaterial } from './material.ts'
import { TestAuthority } from './test-certificates.ts'
import { authority, materialOf, pairs, TlsClient } from './test-tls.ts'

// One after the other: each starts workers, and some look at deadlines.
const test = ava.serial

/** A member that answers with the head that it got. */
function echo(): Promise<Backend> {
  return Backend.start((socket, data) => {
    const text = data.toString('latin1')
    if (text.endsWith('\r\n\r\n')) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`)
  })
}

interface Running {
  readonly proxy: TestProxy
  readonly backend: Backend
  client(options?: ConnectionOptions): TlsClient
  errors(): Partial<Record<string, number>>
}

async function running(use: (running: Running) => Promise<void>, tls: object = {}, options: { listener?: object; material?: TlsMaterial; workers?: number } = {}): Promise<void> {
  const backend = await echo()
  const proxy = await TestProxy.start(options.workers ?? 1)
  const clients: TlsClient[] = []
  try {
    await proxy.proxy.setTlsMaterial(options.material ?? (await materialOf()))
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'https', tls: { certificates: ['one', 'two', 'wild'], ...tls }, ...options.listener } }))
    await use({
      proxy,
      backend,
      client: (clientOptions) => {
        const client = new TlsClient(proxy.port, clientOptions)
        clients.push(client)
        return client
      },
      errors: () => proxy.proxy.listeners()[0]!.errorsTotal,
    })
  } finally {
    for (const client of clients) client.close()
    await proxy.proxy.stop(0)
    await backend.close()
  }
}

test('the certificate is chosen by name: exact, then wildcard, else the first', async (t) => {
  await running(async ({ client }) => {
    const shown = async (servername: string): Promise<string> => (await client({ servername, rejectUnauthorized: false }).ready()).names
    t.is(await shown('one.test'), 'DNS:one.test')
    t.regex(await shown('TWO.test'), /^DNS:two\.test/)
    t.regex(await shown('a.wild.test'), /^DNS:\*\.wild\.test/)
    t.regex(await shown('both.test'), /^DNS:two\.test/)
    t.is(await shown('a.b.wild.test'), 'DNS:one.test')
    t.is(await shown('unknown.test'), 'DNS:one.test')
    t.is((await client({ servername: '', rejectUnauthorized: false }).ready()).names, 'DNS:one.test')
  })
})

test('requests go through with X-Forwarded-Proto: https, over ALPN http/1.1, several on a connection', async (t) => {
  await running(async ({ client, proxy }) => {
    const one = await client().ready()
    t.is(one.socket.alpnProtocol, 'http/1.1')
    t.is(one.socket.getProtocol(), 'TLSv1.3')
    t.regex(await one.get(), /X-Forwarded-Proto: https/)
    t.regex(await one.get('/again', 'X-Client-Cert-Verified: SUCCESS\r\nX-CLIENT-CERT-SUBJECT: CN=root\r\n'), /^HTTP\/1\.1 200[^]*GET \/again/)
    t.notRegex(one.text, /client-cert/i)
    t.is(proxy.proxy.listeners()[0]!.requestsTotal, 2)
    t.is(proxy.proxy.listeners()[0]!.connectionsTotal, 1)
  })
})

test('strict: an unknown name and no name are refused and counted', async (t) => {
  await running(
    async ({ client, errors }) => {
      t.is((await client({ servername: 'two.test' }).ready()).names.split(',')[0], 'DNS:two.test')
      t.not(await client({ servername: 'unknown.test' }).refused(), '')
      const nameless = client({ servername: '', rejectUnauthorized: false })
      await until('closed', () => nameless.closed)
      await until('both are counted', () => errors()['tls-name-refused'] === 2)
      t.is(errors()['tls-handshake-failed'], undefined)
    },
    { strictSni: true },
  )
})

test('profiles: modern takes TLS 1.3 alone, compatible 1.2 with forward secrecy; older ones are refused', async (t) => {
  const old: ConnectionOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
  await running(async ({ client, errors }) => {
    const twelve = await client({ maxVersion: 'TLSv1.2' }).ready()
    t.is(twelve.socket.getProtocol(), 'TLSv1.2')
    t.regex(twelve.socket.getCipher().name, /^ECDHE-ECDSA-(AES|CHACHA20).*(GCM|POLY1305)/)
    t.not(await client(old).refused(), '')
    t.not(await client({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }).refused(), '')
    await until('counted', () => errors()['tls-handshake-failed'] === 2)
  })
  await running(
    async ({ client, errors }) => {
      t.is((await client().ready()).socket.getProtocol(), 'TLSv1.3')
      t.not(await client({ maxVersion: 'TLSv1.2' }).refused(), '')
      t.not(await client(old).refused(), '')
      await until('counted', () => errors()['tls-handshake-failed'] === 2)
    },
    { profile: 'modern' },
  )
})

async function sessionOf(client: TlsClient): Promise<Buffer> {
  await client.ready()
  await client.get()
  await until('a ticket', () => client.session !== undefined)
  return client.session!
}

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${maxVersion}: a session goes on at other workers, and at another proxy with the same ticket keys`, async (t) => {
    await running(
      async ({ client }) => {
        const session = await sessionOf(client({ maxVersion }))
        let resumed = 0
        for (let i = 0; i < 8; i++) {
          const again = await client({ maxVersion, session }).ready()
          if (again.socket.isSessionReused()) resumed++
          again.close()
        }
        t.is(resumed, 8)
        await running(
          async (other) => {
            t.true((await other.client({ maxVersion, session }).ready()).socket.isSessionReused())
            await other.proxy.proxy.setTlsMaterial(await materialOf({ ticketKeys: new Uint8Array(48).fill(7) }))
            t.false((await other.client({ maxVersion, session }).ready()).socket.isSessionReused())
          },
          {},
        )
      },
      {},
      { workers: 2 },
    )
  })
}

test('without session tickets nothing is resumed', async (t) => {
  await running(
    async ({ client }) => {
      const first = await client({ maxVersion: 'TLSv1.2' }).ready()
      await first.get()
      const session = first.socket.getSession()
      t.false((await client({ maxVersion: 'TLSv1.2', ...(session === undefined ? {} : { session }) }).ready()).socket.isSessionReused())
    },
    { sessionTickets: false },
  )
})

test('the OCSP response of the certificate that was chosen is stapled for a client that asks', async (t) => {
  const stapled = (pair: KeyPairMaterial, text: string): KeyPairMaterial => ({ ...pair, ocspResponse: Buffer.from(text) })
  const material = await materialOf({ keyPairs: [stapled(pairs.one, 'first response'), stapled(pairs.two, 'second response'), pairs.wild] })
  const staple = async (client: TlsClient): Promise<string | undefined> => {
    await client.ready()
    await client.get()
    return client.ocsp?.toString()
  }
  await running(
    async ({ client }) => {
      t.is(await staple(client({ requestOCSP: true })), 'first response')
      t.is(await staple(client({ requestOCSP: true, servername: 'two.test' })), 'second response')
      t.is(await staple(client()), undefined)
    },
    {},
    { material },
  )
  await running(async ({ client }) => void t.is(await staple(client({ requestOCSP: true })), 'first response'), { certificates: ['one'] }, { material })
})

test('client certificates: optional and required; expired, foreign and revoked ones are refused; members are told', async (t) => {
  const clients = await TestAuthority.create('clients')
  const strangers = await TestAuthority.create('strangers')
  const good = await clients.issue('good', ['good.test'], { subject: 'Ann, of 해치' })
  const revoked = await clients.issue('revoked', ['revoked.test'])
  const expired = await clients.issue('expired', ['expired.test'], { days: -1 })
  const foreign = await strangers.issue('foreign', ['foreign.test'])
  clients.revoke(revoked.serial)
  const material = await materialOf({ authorities: [await clients.material()] })
  const as = (pair: KeyPairMaterial): ConnectionOptions => ({ cert: pair.chain, key: pair.key })
  for (const mode of ['optional', 'required'] as const) {
    await running(
      async ({ client, errors }) => {
        const text = await (await client(as(good)).ready()).get('/', 'X-Client-Cert-Subject: CN=root\r\nX-Client-Cert-Fingerprint: 00\r\n')
        t.regex(text, /X-Client-Cert-Verified: SUCCESS\r\nX-Client-Cert-Subject: CN=Ann\\, of %ED%95%B4%EC%B9%98\r\nX-Client-Cert-Fingerprint: [0-9a-f]{64}\r\n/)
        t.notRegex(text, /CN=root|Fingerprint: 00/)
        for (const bad of [revoked, expired, foreign]) {
          const refused = client(as(bad))
          await until(`closed ${bad.name}`, () => refused.closed || refused.error !== '')
        }
        await until('three are refused', () => errors()['tls-certificate-refused'] === 3)
        const bare = client()
        if (mode === 'optional') t.regex(await (await bare.ready()).get(), /X-Client-Cert-Verified: NONE\r\n/)
        else {
          await until('closed', () => bare.closed || bare.error !== '')
          await until('counted', () => errors()['tls-certificate-refused'] === 4)
        }
      },
      { clientAuth: { mode, authority: 'clients', forwardHeaders: true } },
      { material },
    )
  }
})

test('a client whose certificate is revoked after its session began cannot go on with the session', async (t) => {
  const clients = await TestAuthority.create('clients')
  const pair = await clients.issue('later', ['later.test'])
  const other = await clients.issue('other', ['other.test'])
  const as: ConnectionOptions = { cert: pair.chain, key: pair.key }
  await running(
    async ({ client, proxy, errors }) => {
      const session = await sessionOf(client(as))
      t.true((await client({ ...as, session }).ready()).socket.isSessionReused())
      clients.revoke(pair.serial)
      await proxy.proxy.setTlsMaterial(await materialOf({ authorities: [await clients.material()] }))
      const late = client({ ...as, session })
      await until('closed', () => late.closed || late.error !== '')
      await until('counted', () => (errors()['tls-certificate-refused'] ?? 0) > 0)
      t.regex(await (await client({ cert: other.chain, key: other.key }).ready()).get(), /200 OK/)
    },
    { clientAuth: { mode: 'required', authority: 'clients' } },
    { material: await materialOf({ authorities: [await clients.material()] }) },
  )
})

test('certificates swap for new handshakes without dropping a connection', async (t) => {
  await running(async ({ client, proxy }) => {
    const before = await client().ready()
    const serial = before.socket.getPeerX509Certificate()!.serialNumber
    await before.get()
    const renewed = await authority.issue('one', ['one.test'])
    await proxy.proxy.setTlsMaterial(await materialOf({ keyPairs: [renewed, pairs.two, pairs.wild] }))
    const after = await client().ready()
    t.not(after.socket.getPeerX509Certificate()!.serialNumber, serial)
    t.regex(await before.get('/still'), /GET \/still/)
    t.false(before.closed)
  })
})

test('a listener whose certificate is missing says so and listens once it is there; one that loses it keeps what it has', async (t) => {
  const backend = await echo()
  const proxy = await TestProxy.start()
  try {
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'https', tls: { certificates: ['one'] } } }))
    t.is(proxy.proxy.listeners()[0]!.error, 'there is no certificate named one')
    await proxy.proxy.setTlsMaterial(await materialOf())
    t.is(proxy.proxy.listeners()[0]!.error, '')
    const first = await new TlsClient(proxy.port).ready()
    t.regex(await first.get(), /200 OK/)
    await proxy.proxy.setTlsMaterial(await materialOf({ keyPairs: [] }))
    t.is(proxy.proxy.listeners()[0]!.error, 'there is no certificate named one')
    const second = await new TlsClient(proxy.port).ready()
    t.regex(await second.get(), /200 OK/)
    first.close()
    second.close()
  } finally {
    await proxy.proxy.stop(0)
    await backend.close()
  }
})

test('a worker that dies is replaced by one that has the certificates and the ticket keys', async (t) => {
  const workers: Worker[] = []
  const note = (worker: Worker): void => void workers.push(worker)
  process.on('worker', note)
  try {
    await running(async ({ client }) => {
      const session = await sessionOf(client())
      await workers[0]!.terminate()
      await until('another is there', () => workers.length === 2)
      await until('it answers, and goes on with the session', async () => {
        const again = client({ session })
        await until('an end', () => again.secure || again.error !== '' || again.closed)
        return again.secure && again.socket.isSessionReused()
      })
      t.pass()
    })
  } finally {
    process.off('worker', note)
  }
})

test('a plain listener that becomes https never serves plain ones again, even without its certificate', async (t) => {
  const backend = await echo()
  const proxy = await TestProxy.start()
  try {
    await proxy.apply(proxy.document([backend.port]))
    t.regex(await proxy.once(), /200 OK/)
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'https', tls: { certificates: ['one'] } } }))
    t.is(await proxy.once(), '')
    await proxy.proxy.setTlsMaterial(await materialOf())
    const client = await new TlsClient(proxy.port).ready()
    t.regex(await client.get(), /200 OK/)
    client.close()
  } finally {
    await proxy.proxy.stop(0)
    await backend.close()
  }
})

test('handshakes are bounded in time and number, and plain text is no handshake', async (t) => {
  await running(
    async ({ proxy, client, errors }) => {
      const silent = [proxy.client(), proxy.client()]
      await until('both wait', () => proxy.proxy.listeners()[0]!.connections === 2)
      const third = proxy.client()
      await until('refused', () => third.error === 'ECONNRESET' || third.closed)
      t.is(errors()['tls-handshake-limit'], 1)
      await until('both are given up', () => errors()['tls-handshake-timeout'] === 2)
      await until('nothing is held', () => proxy.proxy.listeners()[0]!.connections === 0)
      const plain = proxy.client()
      plain.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      await plain.ends()
      await until('counted', () => errors()['tls-handshake-failed'] === 1)
      t.regex(await (await client().ready()).get(), /200 OK/)
      t.is(proxy.failedReason, '')
      for (const one of [...silent, third, plain]) one.close()
    },
    { maxHandshakes: 2, handshakeTimeout: '1500ms' },
  )
})

test('tcp with TLS: bytes both ways, half-close, and the protocol that was agreed on', async (t) => {
  await running(
    async ({ client, backend }) => {
      const one = await client({ ALPNProtocols: ['mqtt'] }).ready()
      t.is(one.socket.alpnProtocol, 'mqtt')
      one.socket.end('GET / HTTP/1.1\r\n\r\n')
      await until('the answer and the end', () => one.text.includes('200 OK') && one.closed)
      t.is(backend.received[0], 'GET / HTTP/1.1\r\n\r\n')
      t.not(await client({ ALPNProtocols: ['smtp'] }).refused(), '')
    },
    { alpn: ['mqtt'] },
    { listener: { protocol: 'tcp' } },
  )
})

test('a large answer and a large body pass whole, in both directions', async (t) => {
  const size = 3 * 1024 * 1024
  const backend = await Backend.start((socket, _data, whole) => {
    const at = whole.indexOf('\r\n\r\n')
    if (at >= 0 && whole.length === at + 4 + size) socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${whole.slice(at + 4)}`)
  })
  const proxy = await TestProxy.start()
  try {
    await proxy.proxy.setTlsMaterial(await materialOf())
    await proxy.apply(proxy.document([backend.port], { listener: { protocol: 'https', tls: { certificates: ['one'] } } }))
    const client = await new TlsClient(proxy.port).ready()
    const body = Buffer.alloc(size, 'abcdefghij')
    client.socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    client.socket.write(body)
    await until('all is back', () => client.text.length > size && client.text.length === client.text.indexOf('\r\n\r\n') + 4 + size)
    t.is(client.text.slice(-size), body.toString())
    client.close()
  } finally {
    await proxy.proxy.stop(0)
    await backend.close()
  }
})

test('a PROXY header comes before the handshake, in one piece with it or in many', async (t) => {
  await running(
    async ({ proxy }) => {
      for (const together of [true, false]) {
        const raw = connectPlain(proxy.port, '127.0.0.1')
        await new Promise((resolve) => raw.once('connect', resolve))
        const header = 'PROXY TCP4 203.0.113.9 192.0.2.1 4444 443\r\n'
        if (together) raw.cork()
        raw.write(header.slice(0, 9))
        if (!together) await new Promise((resolve) => setTimeout(resolve, 30))
        raw.write(header.slice(9))
        const client = connect({ socket: raw, ca: authority.pem, servername: 'one.test' })
        client.on('error', () => undefined)
        setImmediate(() => raw.uncork())
        let text = ''
        client.on('data', (data) => (text += data.toString()))
        client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
        await until('an answer', () => text.includes('\r\n\r\nGET'))
        t.regex(text, /X-Forwarded-For: 203\.0\.113\.9\r\n/)
        client.destroy()
      }
    },
    {},
    { listener: { proxyProtocol: 'accept' } },
  )
})

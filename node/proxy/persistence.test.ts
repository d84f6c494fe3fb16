import { createSocket, type Socket } from 'node:dgram'
import { connect as connectTls } from 'node:tls'
import ava, { type ExecutionContext } from 'ava'
import { parseEntryKey } from '../sessions/keys.ts'
import { Backend, Client, TestProxy, until } from './test-proxy.ts'
import { TestAuthority } from './tls/test-certificates.ts'

// One after the other: each starts workers.
const test = ava.serial

interface Setup {
  readonly proxy: TestProxy
  readonly backends: readonly Backend[]
  /** The member that answered, and the whole answer. */
  ask(headers?: string, host?: string): Promise<{ member: string; text: string }>
  apply(more?: object): Promise<void>
}

/** Three members that answer with their names, `m1` to `m3`, and what `answer` adds to their heads. */
async function setup(t: ExecutionContext, persistence: object, options: { workers?: number; answer?: (member: string, request: string) => string; pool?: object } = {}): Promise<Setup> {
  const backends = await Promise.all(
    ['m1', 'm2', 'm3'].map((name) =>
      Backend.start((socket, data) => {
        const request = data.toString('latin1')
        if (request.includes('X-Hold')) return
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n${options.answer?.(name, request) ?? ''}\r\n${name}`)
      }),
    ),
  )
  const proxy = await TestProxy.start(options.workers ?? 1)
  t.teardown(async () => {
    await proxy.stop()
    await Promise.all(backends.map((backend) => backend.close()))
  })
  const ports = backends.map((backend) => backend.port)
  const apply = async (more: object = {}): Promise<void> => {
    await proxy.apply(proxy.document(ports, { pool: { persistence, ...options.pool, ...more }, listener: { address: '0.0.0.0' } }))
  }
  await apply()
  const ask = async (headers = '', host = '127.0.0.1'): Promise<{ member: string; text: string }> => {
    const client = new Client(proxy.port, host)
    client.send(`GET / HTTP/1.1\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`)
    await client.ends()
    client.close()
    return { member: client.text.slice(-2), text: client.text }
  }
  return { proxy, backends, ask, apply }
}

function cookieOf(text: string): string {
  return /Set-Cookie: (haechi-web=[^;]*)/.exec(text)?.[1] ?? ''
}

test('cookie: set once, and whoever brings it goes to its member', async (t) => {
  const { ask, backends } = await setup(t, { type: 'cookie' })
  const first = await ask()
  t.regex(first.text, /\r\nSet-Cookie: haechi-web=[\w-]{24}; Path=\/; HttpOnly; SameSite=Lax\r\n/)
  const cookie = cookieOf(first.text)
  for (let i = 0; i < 6; i++) {
    const { member, text } = await ask(`Cookie: ${cookie}\r\n`)
    t.is(member, first.member)
    t.notRegex(text, /set-cookie/i)
  }
  // Others are still spread.
  const members = new Set<string>()
  for (let i = 0; i < 6; i++) members.add((await ask()).member)
  t.is(members.size, 3)
  // The value is no address and no name.
  t.false(backends.some(({ port }) => cookie.includes(String(port))))
})

test('cookie: members do not see it, and get the others whole', async (t) => {
  const { ask, backends } = await setup(t, { type: 'cookie' })
  const cookie = cookieOf((await ask()).text)
  for (const [sent, seen] of [
    [cookie, undefined],
    [`a=1; ${cookie}`, 'a=1'],
    [`${cookie}; b=2`, 'b=2'],
    [`a=1; ${cookie}; b=2`, 'a=1; b=2'],
    [`a=1;${cookie};b=2`, 'a=1;b=2'],
    [`a=1; haechi-web=old; x=y; ${cookie}`, 'a=1; x=y'],
    [`xhaechi-web=1; haechi-webx=2; ${cookie}`, 'xhaechi-web=1; haechi-webx=2'],
  ] as const) {
    const before = backends.map(({ received }) => received.length)
    await ask(`Cookie: ${sent}\r\nX-After: yes\r\n`)
    const request = backends.flatMap(({ received }, i) => received.slice(Math.max(0, before[i]! - 1))).filter((text) => text.includes('X-After')).map((text) => text.split('\r\n\r\n').at(-2)!).at(-1)!
    t.is(/\r\nCookie:(.*)\r\n/.exec(request)?.[1]?.trim(), seen, sent)
    t.regex(request, /\r\nX-After: yes\r\n/)
  }
})

test('cookie: toMember leaves it in', async (t) => {
  const { ask, backends } = await setup(t, { type: 'cookie', cookie: { toMember: true } })
  const cookie = cookieOf((await ask()).text)
  await ask(`Cookie: a=1; ${cookie}\r\n`)
  t.true(backends.some(({ received }) => received.some((text) => text.includes(`Cookie: a=1; ${cookie}\r\n`))))
})

test('cookie: one that was tampered with, or of another pool or cluster, means nothing and is replaced', async (t) => {
  const { ask } = await setup(t, { type: 'cookie' })
  const other = await setup(t, { type: 'cookie' })
  const cookie = cookieOf((await ask()).text)
  const foreign = cookieOf((await other.ask()).text)
  const last = cookie.at(-1) === 'A' ? 'B' : 'A'
  for (const bad of [cookie.slice(0, -1) + last, foreign, 'haechi-web=', 'haechi-web=m1', `${cookie}x`, 'haechi-web="', `haechi-web=${'é'.repeat(24)}`]) {
    const { text } = await ask(`Cookie: ${bad}\r\n`)
    t.regex(cookieOf(text), /^haechi-web=[\w-]{24}$/, bad)
  }
  // In quotes it is the same value (RFC 6265 §4.1.1).
  t.is(cookieOf((await ask(`Cookie: haechi-web="${cookie.slice('haechi-web='.length)}"\r\n`)).text), '')
})

test('cookie: attributes are as configured', async (t) => {
  const { ask } = await setup(t, {
    type: 'cookie', cookieName: 'route', cookie: { path: '/shop', domain: 'example.com', maxAge: '1h', secure: 'always', httpOnly: false, sameSite: 'none' },
  })
  t.regex((await ask()).text, /\r\nSet-Cookie: route=[\w-]{24}; Path=\/shop; Domain=example\.com; Max-Age=3600; SameSite=None; Secure\r\n/)
})

test('cookie: when the member is down another is chosen and named; when it drains it keeps its clients', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'cookie' })
  const first = await ask()
  const cookie = cookieOf(first.text)
  proxy.proxy.setMemberHealth('web', first.member, 'draining')
  t.is((await ask(`Cookie: ${cookie}\r\n`)).member, first.member)
  t.not((await ask()).member, first.member)
  for (const health of ['down', 'disabled'] as const) {
    proxy.proxy.setMemberHealth('web', first.member, health)
    const moved = await ask(`Cookie: ${cookie}\r\n`)
    t.not(moved.member, first.member)
    const next = cookieOf(moved.text)
    t.regex(next, /^haechi-web=/)
    for (let i = 0; i < 3; i++) t.is((await ask(`Cookie: ${next}\r\n`)).member, moved.member)
  }
})

test('cookie: a member that refuses the connection is left, and the new one is named', async (t) => {
  const { ask, backends } = await setup(t, { type: 'cookie' })
  const first = await ask()
  await backends[Number(first.member[1]) - 1]!.close()
  const moved = await ask(`Cookie: ${cookieOf(first.text)}\r\n`)
  t.not(moved.member, first.member)
  t.regex(cookieOf(moved.text), /^haechi-web=[\w-]{24}$/)
})

test('a member at its limit keeps its client though another serves it meanwhile', async (t) => {
  const { ask, proxy, backends } = await setup(t, { type: 'cookie' })
  const ports = backends.map(({ port }) => port)
  await proxy.apply(proxy.document(ports, { pool: { persistence: { type: 'cookie' } }, listener: { address: '0.0.0.0' }, member: () => ({ maxConnections: 1 }) }))
  const first = await ask()
  const cookie = cookieOf(first.text)
  // Takes the member's only place and keeps it: there is no answer.
  const busy = new Client(proxy.port)
  t.teardown(() => busy.close())
  const seen = backends[Number(first.member[1]) - 1]!
  const before = seen.received.join('').length
  busy.send(`GET / HTTP/1.1\r\nHost: a\r\nX-Hold: yes\r\nCookie: ${cookie}\r\n\r\n`)
  await until('the member has the request', () => seen.received.join('').length > before)
  const other = await ask(`Cookie: ${cookie}\r\n`)
  t.not(other.member, first.member)
  t.is(cookieOf(other.text), '')
})

/** Waits until the main thread has as many entries. */
async function entries(proxy: TestProxy, count: number): Promise<void> {
  await until(`${count} entries`, () => proxy.proxy.sessions!.counters.pools.reduce((sum, pool) => sum + pool.entries, 0) === count)
}

test('header: the same value goes to the same member, on every worker', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'header', header: 'X-Tenant' }, { workers: 2 })
  const first = new Map<string, string>()
  for (const tenant of ['a', 'b', 'c', 'd', 'e']) first.set(tenant, (await ask(`x-tenant: ${tenant}\r\n`)).member)
  await entries(proxy, 5)
  t.true(new Set(first.values()).size > 1)
  for (let round = 0; round < 6; round++) {
    for (const [tenant, member] of first) t.is((await ask(`X-Tenant: ${tenant}\r\n`)).member, member)
  }
  // Without the field there is nothing to go by.
  const members = new Set<string>()
  for (let i = 0; i < 6; i++) members.add((await ask()).member)
  t.is(members.size, 3)
  await entries(proxy, 5)
})

test('header: another member when the first is down, and from then on that one', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'header', header: 'x-tenant' }, { workers: 2 })
  const { member } = await ask('X-Tenant: a\r\n')
  await entries(proxy, 1)
  proxy.proxy.setMemberHealth('web', member, 'down')
  t.not((await ask('X-Tenant: a\r\n')).member, member)
  const key = proxy.proxy.sessions!.keyOfValue('web', 'a')!
  t.true(proxy.proxy.sessions!.remainingMs(key) > 0)
  // Two workers may move it at the same moment: then it is the one of which the main thread hears first.
  let moved = ''
  await until('it has moved for all workers', async () => {
    await new Promise((resolve) => setTimeout(resolve, 60))
    const found = new Set<string>()
    for (let i = 0; i < 6; i++) found.add((await ask('X-Tenant: a\r\n')).member)
    moved = [...found][0]!
    return found.size === 1
  })
  t.not(moved, member)
  proxy.proxy.setMemberHealth('web', member, 'up')
  for (let i = 0; i < 4; i++) t.is((await ask('X-Tenant: a\r\n')).member, moved)
})

test('source: clients are told apart by address, and the entry is readable', async (t) => {
  const { proxy, apply } = await setup(t, { type: 'source' })
  await apply()
  const members = new Map<string, string>()
  const ask = async (from: string): Promise<string> => {
    const { connect } = await import('node:net')
    const socket = connect({ port: proxy.port, host: '127.0.0.1', localAddress: from })
    t.teardown(() => socket.destroy())
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    let text = ''
    for await (const data of socket) text += String(data)
    return text.slice(-2)
  }
  for (let i = 1; i <= 6; i++) members.set(`127.16.0.${i}`, await ask(`127.16.0.${i}`))
  t.is(new Set(members.values()).size, 3)
  for (let round = 0; round < 2; round++) for (const [from, member] of members) t.is(await ask(from), member)
  await entries(proxy, 6)
  t.true(proxy.proxy.sessions!.remainingMs('web/source/127.16.0.3') > 29 * 60_000)
  t.is(proxy.proxy.sessions!.remainingMs('web/source/127.16.0.9'), 0)
})

test('app-cookie: what a member sets is learnt, and its client comes back to it', async (t) => {
  let sessions = 0
  const { ask, proxy } = await setup(t, { type: 'app-cookie', cookieName: 'JSESSIONID' }, {
    workers: 2,
    answer: (member, request) => (request.includes('JSESSIONID=') ? '' : `Set-Cookie: other=1\r\nSet-Cookie: JSESSIONID=${member}-${++sessions}; Path=/\r\n`),
  })
  const clients = new Map<string, string>()
  for (let i = 0; i < 6; i++) {
    const { member, text } = await ask()
    clients.set(/JSESSIONID=([^;]+)/.exec(text)![1]!, member)
    t.notRegex(text, /haechi/i)
  }
  await entries(proxy, 6)
  for (let round = 0; round < 3; round++) {
    for (const [id, member] of clients) t.is((await ask(`Cookie: a=b; JSESSIONID=${id}\r\n`)).member, member)
  }
  // The value itself is nowhere: an entry is known by a hash that needs the cluster's secret.
  const key = proxy.proxy.sessions!.keyOfValue('web', [...clients.keys()][0]!)!
  t.like(parseEntryKey(key), { pool: 'web', type: 'app-cookie' })
  t.false(key.includes([...clients.keys()][0]!))
})

test('entries end with their lifetime, live on while they are used, and can be removed', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'header', header: 'x-tenant', ttl: '2s' })
  await ask('X-Tenant: a\r\n')
  await entries(proxy, 1)
  const key = proxy.proxy.sessions!.keyOfValue('web', 'a')!
  const sessions = proxy.proxy.sessions!
  const started = performance.now()
  while (performance.now() - started < 3000) {
    await ask('X-Tenant: a\r\n')
    t.true(sessions.remainingMs(key) > 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await until('it expires', () => sessions.remainingMs(key) === 0)
  await ask('X-Tenant: a\r\n')
  await until('it is set again', () => sessions.remainingMs(key) > 0)
  sessions.apply({ key, member: '', ttlMs: 0 })
  t.is(sessions.remainingMs(key), 0)
})

test('maxEntries: further clients are served without being remembered, and counted', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'header', header: 'x-tenant', maxEntries: 2 })
  for (const tenant of ['a', 'b']) await ask(`X-Tenant: ${tenant}\r\n`)
  await entries(proxy, 2)
  t.regex((await ask('X-Tenant: c\r\n')).text, /200 OK/)
  await until('it is counted', () => proxy.proxy.sessions!.counters.fullTotal === 1)
  await entries(proxy, 2)
})

test('an entry that another node has set is followed here', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'header', header: 'x-tenant' })
  const sessions = proxy.proxy.sessions!
  for (const member of ['m1', 'm2', 'm3']) {
    sessions.apply({ key: sessions.keyOfValue('web', 'z')!, member: `web/${member}`, ttlMs: 60_000 })
    t.is((await ask('X-Tenant: z\r\n')).member, member)
  }
  // A member that is not there (any more) is as none.
  sessions.apply({ key: sessions.keyOfValue('web', 'y')!, member: 'web/m9', ttlMs: 60_000 })
  t.regex((await ask('X-Tenant: y\r\n')).text, /200 OK/)
})

test('tcp: source keeps a client on its member', async (t) => {
  const backends = await Promise.all(['m1', 'm2', 'm3'].map((name) => Backend.start((socket) => socket.end(name))))
  const proxy = await TestProxy.start(1)
  t.teardown(async () => {
    await proxy.stop()
    await Promise.all(backends.map((backend) => backend.close()))
  })
  const document = proxy.document(backends.map(({ port }) => port), { pool: { persistence: { type: 'source' } }, listener: { protocol: 'tcp' } })
  await proxy.apply(document)
  const ask = async (): Promise<string> => {
    const client = proxy.client()
    client.send('x')
    await client.ends()
    client.close()
    return client.text
  }
  const first = await ask()
  t.regex(first, /^m[123]$/)
  for (let i = 0; i < 5; i++) t.is(await ask(), first)
  proxy.proxy.setMemberHealth('web', first, 'down')
  const moved = await ask()
  t.not(moved, first)
  proxy.proxy.setMemberHealth('web', first, 'up')
  for (let i = 0; i < 5; i++) t.is(await ask(), moved)
})

test('a pool may begin and end to have persistence while it serves', async (t) => {
  const { ask, apply, proxy } = await setup(t, { type: 'none' })
  t.is(proxy.proxy.sessions, undefined)
  t.notRegex((await ask('X-Tenant: a\r\n')).text, /set-cookie/i)
  await apply({ persistence: { type: 'cookie' } })
  t.regex((await ask()).text, /set-cookie/i)
  await apply({ persistence: { type: 'header', header: 'x-tenant' } })
  const { member } = await ask('X-Tenant: a\r\n')
  for (let i = 0; i < 4; i++) t.is((await ask('X-Tenant: a\r\n')).member, member)
  await apply({ persistence: { type: 'none' } })
  const members = new Set<string>()
  for (let i = 0; i < 6; i++) members.add((await ask('X-Tenant: a\r\n')).member)
  t.is(members.size, 3)
})


test('udp: source keeps a client on its member over its ports', async (t) => {
  const members = await Promise.all(['m1', 'm2', 'm3'].map(async (name) => {
    const socket = createSocket('udp4')
    socket.on('message', (_data, { address, port }) => socket.send(name, port, address))
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
    return socket
  }))
  const proxy = await TestProxy.start(1)
  const clients: Socket[] = []
  t.teardown(async () => {
    await proxy.stop()
    for (const socket of [...members, ...clients]) socket.close()
  })
  await proxy.apply(proxy.document(members.map((socket) => socket.address().port), { pool: { persistence: { type: 'source' } }, listener: { protocol: 'udp', address: '127.16.6.1' } }))
  const ask = async (from: string): Promise<string> => {
    const socket = createSocket('udp4')
    clients.push(socket)
    await new Promise<void>((resolve) => socket.bind(0, from, resolve))
    const answer = new Promise<string>((resolve) => socket.once('message', (data) => resolve(data.toString())))
    socket.send('x', proxy.port, '127.16.6.1')
    return answer
  }
  const first = new Map<string, string>()
  for (const i of [1, 2, 3]) first.set(`127.16.6.1${i}`, await ask(`127.16.6.1${i}`))
  t.is(new Set(first.values()).size, 3)
  for (let round = 0; round < 3; round++) for (const [from, member] of first) t.is(await ask(from), member)
})

test('cookie: Secure where the client speaks TLS', async (t) => {
  const authority = await TestAuthority.create('persistence')
  const backend = await Backend.answering('m1')
  const proxy = await TestProxy.start(1)
  t.teardown(async () => {
    await proxy.stop()
    await backend.close()
  })
  await proxy.proxy.setTlsMaterial({ keyPairs: [await authority.issue('one', ['one.test'])], authorities: [], ticketKeys: new Uint8Array(48) })
  await proxy.apply(proxy.document([backend.port], { pool: { persistence: { type: 'cookie' } }, listener: { protocol: 'https', tls: { certificates: ['one'] } } }))
  const socket = connectTls({ port: proxy.port, host: '127.0.0.1', servername: 'one.test', ca: authority.pem })
  t.teardown(() => socket.destroy())
  socket.write('GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n')
  let text = ''
  for await (const data of socket) text += String(data)
  t.regex(text, /\r\nSet-Cookie: haechi-web=[\w-]{24}; Path=\/; HttpOnly; SameSite=Lax; Secure\r\n/)
})

test('source: IPv6 clients of one network count as one, and no longer than as configured', async (t) => {
  const backends = await Promise.all(['m1', 'm2', 'm3'].map((name) => Backend.answering(name)))
  const proxy = await TestProxy.start(1)
  t.teardown(async () => {
    await proxy.stop()
    await Promise.all(backends.map((backend) => backend.close()))
  })
  const document = proxy.document(backends.map(({ port }) => port), { pool: { persistence: { type: 'source', ipv6PrefixLength: 56 } }, listener: { address: '::1' } })
  await proxy.apply(document)
  const ask = async (): Promise<string> => {
    const client = new Client(proxy.port, '::1')
    client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await client.ends()
    client.close()
    return client.text.slice(-2)
  }
  const first = await ask()
  for (let i = 0; i < 4; i++) t.is(await ask(), first)
  await until('the entry is there', () => proxy.proxy.sessions!.remainingMs('web/source/::/56') > 0)
})

test('a member that drains keeps its clients until its deadline, and no longer; an ejected one does not keep them', async (t) => {
  const { ask, proxy } = await setup(t, { type: 'cookie' }, { pool: { drainTimeout: '1s' } })
  const first = await ask()
  const cookie = cookieOf(first.text)
  proxy.proxy.setMemberHealth('web', first.member, 'draining')
  t.is((await ask(`Cookie: ${cookie}\r\n`)).member, first.member)
  let moved = ''
  await until('its clients have left', async () => {
    const { member, text } = await ask(`Cookie: ${cookie}\r\n`)
    moved = cookieOf(text)
    return member !== first.member
  })
  t.regex(moved, /^haechi-web=/)
  proxy.proxy.setMemberHealth('web', first.member, 'up')
  t.is((await ask(`Cookie: ${cookie}\r\n`)).member, first.member)
  proxy.proxy.setMemberHealth('web', first.member, 'ejected')
  t.not((await ask(`Cookie: ${cookie}\r\n`)).member, first.member)
})

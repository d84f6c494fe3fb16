/** What routes do with requests, on fakes: rewrites, redirects, fixed responses, weighted pools, copies, timeouts and retries. */
import test from 'ava'
import { FakeProxy, type FakeConnection } from '../fake-transport.ts'
import { ListenerField } from '../shared.ts'

const request = (path: string, more = '', method = 'GET'): string => `${method} ${path} HTTP/1.1\r\nHost: a.example\r\n${more}\r\n`
const answer = (body: string, status = '200 OK', more = ''): string => `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Pools web (192.0.2.10, .11), green (.20) and shadow (.30). */
function proxyWith(routes: readonly object[], listener: object = {}, web: object = {}): FakeProxy {
  const pool = (name: string, addresses: readonly number[], more: object = {}) => ({
    name, healthCheck: { type: 'none' }, members: addresses.map((last) => ({ name: `m${last}`, address: `192.0.2.${last}`, port: 80 })), ...more,
  })
  return new FakeProxy({
    pools: [pool('web', [10, 11], web), pool('green', [20]), pool('shadow', [30])],
    listeners: [{ name: 'web', address: '127.0.0.1', port: 80, routes: routes.map((route, i) => ({ name: `r${i}`, ...route })), ...listener }],
  })
}

/** What a member gets of one request, and what the client gets of the answer. */
function pass(proxy: FakeProxy, text: string, reply = answer('ok', '200 OK', 'Connection: close\r\n')): { head: string; line: string; answer: string; client: FakeConnection } {
  const client = proxy.client()
  client.receives(text)
  const member = proxy.last
  member.connects()
  const head = member.sent
  member.receives(reply)
  client.receives('')
  return { head, line: head.slice(0, head.indexOf('\r\n')), answer: client.sent, client }
}
/** The answer to a request that goes to no member. */
function own(proxy: FakeProxy, text: string): string {
  const client = proxy.client()
  client.receives(text)
  return client.sent
}
const location = (text: string): string | undefined => /\r\nLocation: ([^\r]*)\r\n/.exec(text)?.[1]

// — rewrites —

test('a prefix is replaced, the query stays', (t) => {
  const proxy = proxyWith([{ paths: ['/api/v1', '/old/'], pool: 'web', rewrite: { prefix: '/v1' } }, { paths: ['/strip'], pool: 'web', rewrite: { prefix: '/' } }])
  t.is(pass(proxy, request('/api/v1/users?id=1')).line, 'GET /v1/users?id=1 HTTP/1.1')
  t.is(pass(proxy, request('/api/v1')).line, 'GET /v1 HTTP/1.1')
  t.is(pass(proxy, request('/old/x')).line, 'GET /v1/x HTTP/1.1')
  t.is(pass(proxy, request('/strip/x')).line, 'GET /x HTTP/1.1')
  t.is(pass(proxy, request('/strip?a')).line, 'GET /?a HTTP/1.1')
})

test('what a regular expression finds is replaced, with its groups', (t) => {
  const proxy = proxyWith([{ pool: 'web', rewrite: { regex: '^/users/([0-9]+)/(.*)$', replacement: '/u/$2/$1$$' } }])
  t.is(pass(proxy, request('/users/17/posts?x=/users/1/2')).line, 'GET /u/posts/17$?x=/users/1/2 HTTP/1.1')
  t.is(pass(proxy, request('/users/x/posts')).line, 'GET /users/x/posts HTTP/1.1')
  const bare = proxyWith([{ pool: 'web', rewrite: { regex: '^/(.*)$', replacement: '$1' } }])
  t.is(pass(bare, request('/a/b')).line, 'GET /a/b HTTP/1.1')
})

test('a target that would become too long is refused, and nothing stays counted', async (t) => {
  const proxy = proxyWith([{ pool: 'web', rewrite: { regex: '^/(.*)$', replacement: '/$1$1$1' } }])
  t.regex(own(proxy, request(`/${'a'.repeat(8000)}`)), /^HTTP\/1\.1 414 /)
  await settled()
  t.is(proxy.active(), 0)
})

test('normalised paths go on normalised only where that is wanted', (t) => {
  const route = { paths: ['/a'], pool: 'web' }
  t.is(pass(proxyWith([route]), request('/%61//b?c=%61')).line, 'GET /%61//b?c=%61 HTTP/1.1')
  t.is(pass(proxyWith([route], { normalizePath: 'forward' }), request('/x/../%61//b?c=%61')).line, 'GET /a/b?c=%61 HTTP/1.1')
  t.is(pass(proxyWith([], { pool: 'web', normalizePath: 'forward' }), request('/x/../%61')).line, 'GET /a HTTP/1.1')
  t.regex(own(proxyWith([route]), request('/x/../a')), /^HTTP\/1\.1 400 /)
})

test('the host is replaced, also that of an absolute target', (t) => {
  const proxy = proxyWith([{ pool: 'web', rewrite: { host: 'inner.example:81' } }])
  for (const text of [request('/'), 'GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n', 'GET / HTTP/1.0\r\n\r\n']) {
    const { head } = pass(proxy, text)
    t.deepEqual(head.match(/^Host: .*$/gm), ['Host: inner.example:81'], text)
  }
})

test('header fields are set and removed on both ways; what the route says of a name holds', (t) => {
  const proxy = proxyWith(
    [{
      paths: ['/r'], pool: 'web',
      headers: { setRequest: [{ name: 'X-Team', value: 'route' }], removeRequest: ['X-Secret'], setResponse: [{ name: 'X-Both', value: 'route' }], removeResponse: ['Server', 'x-old'] },
    }],
    { pool: 'web', headers: { setRequest: [{ name: 'x-team', value: 'listener' }], setResponse: [{ name: 'X-Both', value: 'listener' }, { name: 'Strict-Transport-Security', value: 'max-age=1' }] } },
  )
  const reply = answer('ok', '200 OK', 'Server: s\r\nX-Old: 1\r\nX-Both: member\r\nX-Keep: 2\r\n')
  const { head, answer: got } = pass(proxy, request('/r', 'X-Secret: s\r\nX-Team: client\r\nX-Other: o\r\n'), reply)
  t.deepEqual(head.match(/^X-(Team|Secret|Other): .*$/gim), ['X-Other: o', 'X-Team: route'])
  t.deepEqual(got.match(/^(Server|X-\w+|Strict-Transport-Security): .*$/gm)?.toSorted(), ['Strict-Transport-Security: max-age=1', 'X-Both: route', 'X-Keep: 2'])
  t.true(got.endsWith('\r\n\r\nok'))
  const other = pass(proxy, request('/', 'X-Secret: s\r\n'), reply)
  t.deepEqual(other.head.match(/^X-(Team|Secret): .*$/gim), ['X-Secret: s', 'x-team: listener'])
  t.regex(other.answer, /\r\nX-Both: listener\r\n/)
})

test('a route without edits passes a message as one without routes does', (t) => {
  const text = request('/a?b', 'X-A: 1\r\nVia: 1.1 x\r\nConnection: x-a, close\r\n')
  t.is(pass(proxyWith([{ paths: ['/a'], pool: 'web' }]), text).head, pass(proxyWith([], { pool: 'web' }), text).head)
})

// — answers of its own —

test('redirects', (t) => {
  const at = (redirect: object, path = '/a/b?c=d', route: object = {}, listener: object = {}) => {
    const text = own(proxyWith([{ redirect, ...route }], listener), request(path))
    return { status: text.slice(9, 12), location: location(text), length: /\r\nContent-Length: 0\r\n/.test(text) }
  }
  t.deepEqual(at({ scheme: 'https' }), { status: '302', location: 'https://a.example/a/b?c=d', length: true })
  t.is(at({ scheme: 'https', port: 8443, status: 308 }).location, 'https://a.example:8443/a/b?c=d')
  t.is(at({ scheme: 'https', port: 443, status: 301 }).status, '301')
  t.is(at({ scheme: 'https', port: 443 }).location, 'https://a.example/a/b?c=d')
  t.is(at({ host: 'b.example' }).location, 'http://b.example/a/b?c=d')
  t.is(at({ host: 'b.example:81', path: '/new', keepQuery: false }).location, 'http://b.example:81/new')
  t.is(at({ path: '/new' }).location, 'http://a.example/new?c=d')
  t.is(at({ prefix: '/x' }, '/a/b?c', { paths: ['/a'] }).location, 'http://a.example/x/b?c')
  t.is(at({ prefix: '/' }, '/a', { paths: ['/a'] }).location, 'http://a.example/')
})

test('a redirect keeps the port that was asked for while scheme and host stay', (t) => {
  const ask = (redirect: object, host: string): string | undefined => location(own(proxyWith([{ redirect }]), `GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`))
  t.is(ask({ path: '/y' }, 'a.example:8080'), 'http://a.example:8080/y')
  t.is(ask({ scheme: 'https' }, 'a.example:8080'), 'https://a.example/x')
  t.is(ask({ scheme: 'https' }, '[2001:db8::1]:8080'), 'https://[2001:db8::1]/x')
  t.is(ask({ port: 81 }, 'a.example:8080'), 'http://a.example:81/x')
})

test('a redirect of a request without a host cannot be made to lead to another host', (t) => {
  const text = own(proxyWith([{ redirect: { status: 301 } }]), 'GET //evil.example/x HTTP/1.0\r\n\r\n')
  t.is(location(text), '/evil.example/x')
})

test('everything of a listener is redirected to https', (t) => {
  const proxy = proxyWith([{ paths: ['/a'], pool: 'web' }], { redirectToHttps: 443, pool: 'web', headers: { setResponse: [{ name: 'X-A', value: '1' }] } })
  for (const path of ['/a', '/b?c']) {
    const text = own(proxy, request(path))
    t.regex(text, /^HTTP\/1\.1 308 Permanent Redirect\r\n/)
    t.is(location(text), `https://a.example${path}`)
    t.regex(text, /\r\nX-A: 1\r\n/)
  }
  t.is(proxy.connections.length, 0)
})

test('fixed responses, with a body, without, and for HEAD; the connection goes on', (t) => {
  const proxy = proxyWith([
    { paths: ['/down'], respond: { status: 503, contentType: 'text/html; charset=utf-8', body: '<h1>점검 중</h1>' }, headers: { setResponse: [{ name: 'Retry-After', value: '60' }] } },
    { paths: ['/none'], respond: { status: 204, body: 'ignored' } },
  ])
  const client = proxy.client()
  client.receives(request('/down') + request('/down', '', 'HEAD') + request('/none'))
  const body = Buffer.from('<h1>점검 중</h1>', 'utf8')
  const head = `HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: ${body.length}\r\nRetry-After: 60\r\n\r\n`
  t.is(client.sent, `${head}${body.toString('latin1')}${head}HTTP/1.1 204 No Content\r\n\r\n`)
  t.false(client.isEnded)
  t.deepEqual(proxy.errors(), {})
})

test('an answer of its own before a request has ended closes the connection', (t) => {
  const proxy = proxyWith([{ respond: { status: 403 } }])
  const client = proxy.client()
  client.receives(request('/', 'Content-Length: 10\r\n', 'POST'))
  t.regex(client.sent, /^HTTP\/1\.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n$/)
  t.true(client.isEnded)
})

// — pools —

test('weighted pools share exactly, and a swap of the weights moves everything at once', (t) => {
  const count = (pools: readonly object[]): number => {
    const proxy = proxyWith([{ pools }])
    let green = 0
    for (let i = 0; i < 100; i++) if (pass(proxy, request('/', 'Connection: close\r\n')).client && proxy.last.address === '192.0.2.20:80') green++
    return green
  }
  t.is(count([{ pool: 'web', weight: 90 }, { pool: 'green', weight: 10 }]), 10)
  t.is(count([{ pool: 'web', weight: 0 }, { pool: 'green', weight: 1 }]), 100)
})

test('a client address stays with one of the pools when they are split by source', (t) => {
  const proxy = proxyWith([{ pools: [{ pool: 'web', weight: 1 }, { pool: 'green', weight: 1 }], split: 'source' }])
  const seen = new Set<boolean>()
  for (let i = 0; i < 20; i++) {
    pass(proxy, request('/', 'Connection: close\r\n'))
    seen.add(proxy.last.address === '192.0.2.20:80')
  }
  t.is(seen.size, 1)
})

// — copies —

const copies = (proxy: FakeProxy): FakeConnection[] => proxy.connections.filter(({ address }) => address === '192.0.2.30:80')

test('a share of the requests is copied, whatever becomes of the copies', async (t) => {
  const proxy = proxyWith([{ pool: 'web', mirror: { pool: 'shadow', percent: 50 } }])
  for (let i = 0; i < 10; i++) {
    const client = proxy.client()
    client.receives(request(`/${i}`))
    const member = proxy.connections.findLast(({ address }) => address !== '192.0.2.30:80')!
    member.connects()
    member.receives(answer(`body ${i}`, '200 OK', 'Connection: close\r\n'))
    t.true(client.sent.endsWith(`body ${i}`))
  }
  const found = copies(proxy)
  t.is(found.length, 5)
  found[0]!.connects()
  t.regex(found[0]!.sent, /^GET \/1 HTTP\/1\.1\r\nHost: a\.example\r\n/)
  found[0]!.receives('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Le')
  found[0]!.receives('ngth: 3\r\n\r\nx')
  found[0]!.receives('yz')
  found[1]!.breaks('ECONNREFUSED')
  found[2]!.connects()
  found[2]!.receives('nonsense\r\n\r\n')
  found[3]!.connects()
  proxy.passes(5000)
  proxy.passes(60_000)
  await settled()
  t.true(found.slice(2).every(({ isClosed }) => isClosed))
  t.false(found[0]!.isClosed && found[0]!.isAborted)
  t.is(proxy.active(), 0)
  t.deepEqual(proxy.errors(), {})
})

test('the connection of a copy is used again', async (t) => {
  const proxy = proxyWith([{ pool: 'web', mirror: { pool: 'shadow' } }])
  for (let i = 0; i < 3; i++) {
    const client = proxy.client()
    client.receives(request(`/${i}`))
    for (const connection of proxy.connections) if (connection.sent === '') connection.connects()
    for (const connection of proxy.connections) if (connection.sent.includes(`/${i} `)) connection.receives(answer('ok'))
  }
  await settled()
  t.is(copies(proxy).length, 1)
  t.is(copies(proxy)[0]!.sent.split('GET ').length - 1, 3)
  t.is(proxy.active(), 0)
})

test('bodies are copied up to their limit, and upgrades are not', async (t) => {
  const proxy = proxyWith([{ pool: 'web', mirror: { pool: 'shadow', maxBodyBytes: 8 } }])
  const client = proxy.client()
  client.receives(`${request('/one', 'Content-Length: 8\r\n', 'POST')}1234`)
  proxy.last.connects()
  t.is(copies(proxy).length, 0)
  client.receives('5678')
  t.is(copies(proxy).length, 1)
  copies(proxy)[0]!.connects()
  t.true(copies(proxy)[0]!.sent.endsWith('\r\n\r\n12345678'))
  const large = proxy.client()
  large.receives(`${request('/two', 'Content-Length: 9\r\n', 'POST')}123456789`)
  proxy.last.connects()
  const upgrade = proxy.client()
  upgrade.receives(request('/three', 'Connection: upgrade\r\nUpgrade: websocket\r\n'))
  t.is(copies(proxy).length, 1)
  for (const one of [client, large, upgrade]) one.breaks('')
  copies(proxy)[0]!.breaks('')
  await settled()
  t.is(proxy.active(), 0)
})

test('there are never too many copies', (t) => {
  const proxy = proxyWith([{ pool: 'web', mirror: { pool: 'shadow' } }])
  for (let i = 0; i < 100; i++) proxy.client().receives(request('/'))
  t.is(copies(proxy).length, 64)
  t.is(proxy.shared.listenerTotal(0, ListenerField.copies), 64)
  t.is(proxy.shared.listenerTotal(0, ListenerField.copiesSkipped), 36)
})

// — timeouts —

test('the time for the whole exchange: before an answer 504, within one a broken connection', async (t) => {
  const proxy = proxyWith([{ pool: 'web', timeouts: { request: '3s' } }])
  const one = proxy.client()
  one.receives(request('/'))
  proxy.last.connects()
  proxy.passes(2900)
  t.is(one.sent, '')
  proxy.passes(100)
  t.regex(one.sent, /^HTTP\/1\.1 504 [^]*X-Haechi-Error: route-timeout/)
  const two = proxy.client()
  two.receives(request('/'))
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n')
  for (let i = 0; i < 30; i++) {
    proxy.passes(100)
    if (!two.isClosed) proxy.last.receives('x')
  }
  t.true(two.isAborted)
  await settled()
  t.deepEqual(proxy.errors(), { 'route-timeout': 2 })
  t.is(proxy.active(), 0)
})

test('the silence that a route allows a member and a tunnel', async (t) => {
  const proxy = proxyWith([{ pool: 'web', timeouts: { serverIdle: '1s', tunnel: '2s' } }])
  const one = proxy.client()
  one.receives(request('/'))
  proxy.last.connects()
  proxy.passes(1000)
  t.regex(one.sent, /X-Haechi-Error: member-timeout/)
  const two = proxy.client()
  two.receives(request('/', 'Connection: upgrade\r\nUpgrade: websocket\r\n'))
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n')
  proxy.passes(1900)
  t.false(two.isClosed)
  proxy.passes(100)
  t.true(two.isClosed)
  await settled()
  t.is(proxy.active(), 0)
})

// — retries —

test('after a status of the list another member is asked, and its answer is the one', async (t) => {
  const proxy = proxyWith([{ pool: 'web', retries: { statuses: [503] } }])
  const client = proxy.client()
  client.receives(request('/'))
  proxy.last.connects()
  proxy.last.receives(answer('busy', '503 Service Unavailable'))
  t.is(client.sent, '')
  t.is(proxy.connections.length, 2)
  t.not(proxy.connections[0]!.address, proxy.connections[1]!.address)
  t.true(proxy.connections[0]!.isClosed)
  proxy.last.connects()
  t.is(proxy.last.sent, proxy.connections[0]!.sent)
  proxy.last.receives(answer('fine'))
  t.true(client.sent.endsWith('fine'))
  t.is(client.sent.split('HTTP/1.1').length - 1, 1)
  await settled()
  t.is(proxy.active(), 0)
  t.deepEqual(proxy.errors(), {})
})

test('when every member has failed the last answer goes through', (t) => {
  const proxy = proxyWith([{ pool: 'web', retries: { attempts: 5, statuses: [503] } }])
  const client = proxy.client()
  client.receives(request('/'))
  for (let i = 0; i < 2; i++) {
    proxy.last.connects()
    proxy.last.receives(answer(`busy ${i}`, '503 Service Unavailable'))
  }
  t.is(proxy.connections.length, 2)
  t.true(client.sent.endsWith('busy 1'))
})

test('a member that breaks off or is silent is passed over only where that is wanted and safe', async (t) => {
  const play = (retries: object | undefined, method: string, fail: (proxy: FakeProxy) => void): number => {
    const proxy = proxyWith([{ pool: 'web', ...(retries === undefined ? {} : { retries }) }])
    const client = proxy.client()
    client.receives(request('/', '', method))
    proxy.last.connects()
    fail(proxy)
    return proxy.connections.length
  }
  const breaks = (proxy: FakeProxy): void => proxy.last.breaks('ECONNRESET')
  const silence = (proxy: FakeProxy): void => proxy.passes(60_000)
  t.is(play(undefined, 'GET', breaks), 1)
  t.is(play({}, 'GET', breaks), 2)
  t.is(play({}, 'PUT', breaks), 2)
  t.is(play({}, 'POST', breaks), 1)
  t.is(play({}, 'PATCH', breaks), 1)
  t.is(play({ after: ['connect-failure'] }, 'GET', breaks), 1)
  t.is(play({ attempts: 0 }, 'GET', breaks), 1)
  t.is(play({}, 'GET', silence), 1)
  t.is(play({ after: ['timeout'] }, 'GET', silence), 2)
  await settled()
})

test('what a member has begun to answer is never repeated', (t) => {
  const proxy = proxyWith([{ pool: 'web', retries: {} }])
  const client = proxy.client()
  client.receives(request('/'))
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxx')
  proxy.last.breaks('ECONNRESET')
  t.is(proxy.connections.length, 1)
  t.true(client.isAborted)
})

test('a body that was kept goes out again, in whole, and one that is too long does not', async (t) => {
  const proxy = proxyWith([{ pool: 'web', retries: { maxBodyBytes: 12, statuses: [503] } }])
  const client = proxy.client()
  client.receives(`${request('/', 'Content-Length: 8\r\n', 'PUT')}1234`)
  proxy.last.connects()
  // The first member breaks off after half of the body; the rest comes while the second one is being connected.
  proxy.last.breaks('ECONNRESET')
  t.is(proxy.connections.length, 2)
  t.true(client.paused)
  client.receives('56')
  proxy.last.connects()
  t.false(client.paused)
  client.receives('78')
  t.true(proxy.last.sent.endsWith('\r\n\r\n12345678'), proxy.last.sent)
  proxy.last.receives(answer('ok', '200 OK', 'Connection: close\r\n'))
  t.true(client.sent.endsWith('ok'))
  const chunked = proxy.client()
  const body = '2\r\nab\r\n0\r\n\r\n'
  chunked.receives(`${request('/', 'Transfer-Encoding: chunked\r\n', 'PUT')}${body}`)
  proxy.last.connects()
  proxy.last.receives(answer('no', '503 Service Unavailable'))
  t.is(proxy.connections.length, 4)
  proxy.last.connects()
  t.true(proxy.last.sent.endsWith(`\r\n\r\n${body}`))
  proxy.last.receives(answer('yes', '200 OK', 'Connection: close\r\n'))
  t.true(chunked.sent.endsWith('yes'))
  const large = proxy.client()
  large.receives(`${request('/large', 'Content-Length: 13\r\n', 'PUT')}1234567890123`)
  const open = proxy.last
  open.connects()
  open.breaks('ECONNRESET')
  t.regex(large.sent, /member-closed/)
  for (const one of [client, chunked]) one.breaks('')
  await settled()
  t.is(proxy.active(), 0)
})

test('the budget ends retries, whatever the members do', (t) => {
  const proxy = proxyWith([{ pool: 'web', retries: { budgetPercent: 0 } }])
  let repeated = 0
  for (let i = 0; i < 50; i++) {
    const client = proxy.client()
    client.receives(request('/', 'Connection: close\r\n'))
    const before = proxy.connections.length
    proxy.last.connects()
    proxy.last.breaks('ECONNRESET')
    if (proxy.connections.length > before) {
      repeated++
      proxy.last.breaks('ECONNREFUSED')
    }
  }
  // Three a second, over ten seconds.
  t.is(repeated, 30)
  t.is(proxy.shared.listenerTotal(0, ListenerField.retries), 30)
  t.is(proxy.shared.listenerTotal(0, ListenerField.retriesRefused), 20)
  proxy.passes(11_000)
  proxy.client().receives(request('/', 'Connection: close\r\n'))
  const before = proxy.connections.length
  proxy.last.connects()
  proxy.last.breaks('ECONNRESET')
  t.is(proxy.connections.length, before + 1)
})

test('connection failures follow the route, else the pool', (t) => {
  const tries = (route: object): number => {
    const proxy = proxyWith([{ pool: 'web', ...route }], {}, { retries: 1 })
    proxy.client().receives(request('/'))
    for (let i = 0; i < 3 && !proxy.last.isClosed; i++) proxy.last.breaks('ECONNREFUSED')
    return proxy.connections.length
  }
  t.is(tries({}), 2)
  t.is(tries({ retries: { attempts: 0 } }), 1)
  t.is(tries({ retries: { after: ['reset'] } }), 1)
  t.is(tries({ retries: {} }), 2)
})

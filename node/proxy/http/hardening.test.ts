/** What attackers and the largest sizes do to routes and their actions, on fakes. */
import test from 'ava'
import { FakeProxy, type FakeConnection } from '../fake-transport.ts'
import { ListenerField } from '../shared.ts'
import { Redirection } from './redirect.ts'
import { Action } from './action.ts'

const request = (path: string, more = '', method = 'GET'): string => `${method} ${path} HTTP/1.1\r\nHost: a.example\r\n${more}\r\n`
const answer = (body: string, more = ''): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`
const location = (text: string): string | undefined => /\r\nLocation: ([^\r]*)\r\n/.exec(text)?.[1]

function proxyWith(routes: readonly object[], listener: object = {}, shadow: object = {}): FakeProxy {
  const pool = (name: string, last: number, more: object = {}) => ({
    name, healthCheck: { type: 'none' }, members: [{ name: 'm', address: `192.0.2.${last}`, port: 80 }], ...more,
  })
  return new FakeProxy({
    pools: [pool('web', 10), pool('shadow', 30, shadow)],
    listeners: [{ name: 'web', address: '127.0.0.1', port: 80, routes: routes.map((route, i) => ({ name: `r${i}`, ...route })), ...listener }],
  })
}
function sentFor(proxy: FakeProxy, text: string): { head: string; client: FakeConnection } {
  const client = proxy.client()
  client.receives(text)
  proxy.last.connects()
  return { head: proxy.last.sent, client }
}
const manyFields = (letter: string) => Array.from({ length: 32 }, (_, i) => ({ name: `X-${letter}${i}-${'n'.repeat(110)}`, value: 'v'.repeat(1024) }))

test('bug: the largest answer head and all the fields that may be set did not fit the buffer: a head without an end went out', (t) => {
  const proxy = proxyWith([{ pool: 'web', headers: { setResponse: manyFields('R') } }], { headers: { setResponse: manyFields('L') }, maxHeaders: 1000 })
  const { client } = sentFor(proxy, request('/'))
  const fill = `X-Fill: ${'f'.repeat(8000)}\r\n`.repeat(8)
  proxy.last.receives(answer('ok', fill))
  const end = client.sent.indexOf('\r\n\r\n')
  t.is(client.sent.slice(end), '\r\n\r\nok')
  for (const { name } of [...manyFields('R'), ...manyFields('L')]) t.true(client.sent.includes(`\r\n${name}: ${'v'.repeat(1024)}\r\n`))
  // And what comes behind it is as it was.
  client.receives(request('/'))
  t.false(client.isClosed)
})

test('the largest request head and all the fields that may be set reach the member whole', (t) => {
  const proxy = proxyWith([{ paths: ['/a'], pool: 'web', rewrite: { prefix: `/${'p'.repeat(2047)}`, host: `${'h'.repeat(240)}.example` }, headers: { setRequest: manyFields('R') } }], {
    headers: { setRequest: manyFields('L') }, maxHeaders: 1000, forwardedHeaders: 'append', requestId: {}, trace: {},
  })
  const { head } = sentFor(proxy, request(`/a/${'x'.repeat(13_000)}`, `${`X-Fill: ${'f'.repeat(7000)}\r\n`.repeat(7)}Via: a\r\nVia: b\r\nX-Forwarded-For: c\r\n`))
  t.is(head.indexOf('\r\n\r\n'), head.length - 4)
  for (const { name } of [...manyFields('R'), ...manyFields('L')]) t.true(head.includes(`\r\n${name}: ${'v'.repeat(1024)}\r\n`))
})

test('bug: redirects of an https listener led to http', (t) => {
  const proxy = new FakeProxy({
    listeners: [{ name: 'web', address: '127.0.0.1', port: 443, protocol: 'https', tls: { certificates: ['a'] }, routes: [{ name: 'r', redirect: { path: '/new' } }] }],
  })
  const action = new Action(proxy.table.listeners[0]!, proxy.table.listeners[0]!.routes[0], [], undefined, 0)
  t.true(action.redirection instanceof Redirection)
  const client = proxy.client()
  client.receives(request('/old'))
  t.is(location(client.sent), 'https://a.example/new')
})

test('bug: a backslash led a redirect without a host to another host', (t) => {
  for (const path of ['/\\evil.example/x', '//evil.example/x', '/\\/evil.example/x']) {
    const client = proxyWith([{ redirect: { status: 301 } }]).client()
    client.receives(`GET ${path} HTTP/1.0\r\n\r\n`)
    t.is(location(client.sent), '/evil.example/x')
  }
})

test('bug: OPTIONS * was rewritten to a path that nobody had asked for', (t) => {
  for (const rewrite of [{ prefix: '/v1' }, { regex: '^.*$', replacement: '/x$0' }]) {
    const { head } = sentFor(proxyWith([{ paths: ['/'], pool: 'web', rewrite }]), request('*', '', 'OPTIONS'))
    t.regex(head, /^OPTIONS \* HTTP\/1\.1\r\n/)
  }
  const client = proxyWith([{ paths: ['/'], redirect: { prefix: '/new' } }]).client()
  client.receives(request('*', '', 'OPTIONS'))
  t.is(location(client.sent), 'http://a.example/new')
})

test('bug: a trailer could tell the member what only Haechi says of a client certificate', (t) => {
  for (const name of ['X-Client-Cert-Verified', 'X-Client-Cert-Subject', 'x-client-cert-fingerprint', 'X-Forwarded-For']) {
    const { client } = sentFor(proxyWith([], { pool: 'web' }), `${request('/', 'Transfer-Encoding: chunked\r\n', 'POST')}0\r\n${name}: SUCCESS\r\n\r\n`)
    t.regex(client.sent, /^HTTP\/1\.1 400 /, name)
  }
})

test('bug: with underscores a client could say what only Haechi says: many servers take X_A for X-A', (t) => {
  for (const listener of [{}, { forwardedHeaders: 'append' }]) {
    const { head } = sentFor(proxyWith([], { pool: 'web', ...listener }), request('/', 'X_Client_Cert_Verified: SUCCESS\r\nX-Client_Cert-Subject: CN=root\r\nX_Forwarded_For: 127.0.0.1\r\nx_forwarded_proto: https\r\nX_Other: 1\r\n'))
    t.notRegex(head, /_cert|x.forwarded_|x_forwarded/i)
    t.regex(head, /\r\nX_Other: 1\r\n/)
  }
})

test('bug: with underscores a client could say what a route removes or sets', (t) => {
  const proxy = proxyWith([{ pool: 'web', headers: { setRequest: [{ name: 'X-User', value: 'nobody' }], removeRequest: ['X-Admin'] } }])
  const { head } = sentFor(proxy, request('/', 'X_User: root\r\nx_admin: 1\r\nX_Other: 1\r\n'))
  t.deepEqual(head.match(/^x.(user|admin|other): .*$/gim), ['X_Other: 1', 'X-User: nobody'])
})

test('bug: a copy to a pool that wants a PROXY header came without one', async (t) => {
  const proxy = proxyWith([{ pool: 'web', mirror: { pool: 'shadow' } }], {}, { sendProxyProtocol: 'v1' })
  for (let i = 0; i < 2; i++) sentFor(proxy, request('/'))
  const copies = proxy.connections.filter(({ address }) => address === '192.0.2.30:80')
  t.is(copies.length, 2)
  t.deepEqual(copies.map(({ first }) => first), ['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN\r\n'])
  copies[0]!.connects()
  copies[0]!.receives(answer('ok'))
  await new Promise((resolve) => setImmediate(resolve))
  // Its header is of one request: nobody else gets it.
  t.true(copies[0]!.isClosed)
})

test('bug: bytes behind an upgrade that came before its answer were counted twice', (t) => {
  const proxy = proxyWith([], { pool: 'web' })
  const client = proxy.client()
  const head = request('/', 'Connection: upgrade\r\nUpgrade: x\r\n')
  client.receives(`${head}early`)
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n')
  t.true(proxy.last.sent.endsWith('early'))
  t.is(proxy.shared.listenerTotal(0, ListenerField.bytesIn), head.length + 5)
})

/** The choice of a route: against a slow and plain one on random routes and requests, and each kind of rule by itself. */
import test from 'ava'
import fc from 'fast-check'
import { randomness } from '../../config/fixture/documents.ts'
import { validateDocument } from '../../config/validate.ts'
import { KeptFilterMemory } from '../filters/memory.ts'
import { ascii } from '../http/bytes.ts'
import { Head } from '../http/head.ts'
import { Matcher } from './matcher.ts'
import { compileTable, type ListenerPlan } from './table.ts'

function planOf(routes: readonly object[], listener: object = {}): ListenerPlan {
  const checked = validateDocument({
    pools: [{ name: 'web' }],
    listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: routes.map((route, i) => ({ name: `r${i}`, pool: 'web', ...route })), ...listener }],
  })
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return compileTable(1, checked.document, { listener: () => 0, route: () => 0, pool: () => 0, member: () => 0 }, new KeptFilterMemory()).listeners[0]!
}

const head = new Head()
function take(matcher: Matcher, request: string, source = '192.0.2.1'): number {
  const bytes = ascii(`junk${request}\r\n\r\njunk`)
  const fault = head.parseRequest(bytes, 4, bytes.length - 4, 100)
  if (fault !== 0) throw new Error(`fault ${fault}: ${request}`)
  return matcher.match(head, bytes, ascii(source))
}
const get = (path: string, host = 'a.example', more = ''): string => `GET ${path} HTTP/1.1\r\nHost: ${host}${more}`
const matcherOf = (routes: readonly object[], listener: object = {}): Matcher => new Matcher(planOf(routes, listener), ascii)

// — against a plain reader —

interface RouteInput {
  readonly hosts: readonly string[]
  readonly paths: readonly string[]
  readonly match: { readonly pathsExact: readonly string[]; readonly methods: readonly string[]; readonly headers: readonly { readonly name: string; readonly equals?: string; readonly not: boolean }[] }
}
interface RequestInput {
  readonly method: string
  readonly host: string
  readonly path: string
  readonly query: string
  readonly headers: readonly (readonly [string, string])[]
}

function plainMatch(routes: readonly RouteInput[], request: RequestInput): number {
  const host = request.host.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '')
  return routes.findIndex(({ hosts, paths, match }) => {
    if (hosts.length > 0 && !hosts.some((one) => (one.startsWith('*.') ? host.endsWith(one.slice(1)) && host.length > one.length - 1 : one === host))) return false
    const prefixes = paths.map((path) => path.replace(/\/+$/, ''))
    const anyPath = prefixes.includes('') || (prefixes.length === 0 && match.pathsExact.length === 0)
    if (!anyPath && !match.pathsExact.includes(request.path) && !prefixes.some((prefix) => request.path === prefix || request.path.startsWith(`${prefix}/`))) return false
    if (match.methods.length > 0 && !match.methods.includes(request.method)) return false
    return match.headers.every((rule) => request.headers.some(([name, value]) => name.toLowerCase() === rule.name.toLowerCase() && (rule.equals === undefined || rule.equals === value)) !== rule.not)
  })
}

test('the first route that matches, as a plain reader finds it', (t) => {
  const some = <T>(arbitrary: fc.Arbitrary<T>, max: number): fc.Arbitrary<T[]> => fc.oneof(fc.constant<T[]>([]), fc.uniqueArray(arbitrary, { maxLength: max }))
  const route: fc.Arbitrary<RouteInput> = fc.record({
    hosts: some(fc.constantFrom('a.example', 'b.example', '*.example', '*.a.example', 'x.a.example'), 3),
    paths: some(fc.constantFrom('/', '/a', '/a/', '/a/b', '/ab'), 2),
    match: fc.record({
      pathsExact: some(fc.constantFrom('/a', '/a/', '/c'), 2),
      methods: some(fc.constantFrom('GET', 'POST', 'PURGE', 'LIST'), 2),
      headers: fc.oneof(
        fc.constant([]),
        fc.array(fc.record({ name: fc.constantFrom('X-A', 'x-b'), equals: fc.constantFrom('1', '2'), not: fc.boolean() }, { requiredKeys: ['name', 'not'] }), { maxLength: 2 }),
      ),
    }),
  })
  const request: fc.Arbitrary<RequestInput> = fc.record({
    method: fc.constantFrom('GET', 'POST', 'PURGE', 'DELETE'),
    host: fc.constantFrom('a.example', 'A.EXAMPLE:8080', 'b.example.', 'x.a.example', 'y.x.a.example', 'other', 'example'),
    path: fc.constantFrom('/', '/a', '/a/', '/a/b', '/a/b/c', '/ab', '/c', '/d'),
    query: fc.constantFrom('', '?', '?/a', '?x=1'),
    headers: fc.array(fc.tuple(fc.constantFrom('X-A', 'x-a', 'X-B', 'X-C'), fc.constantFrom('1', '2', '')), { maxLength: 3 }),
  })
  let taken = 0
  let all = 0
  fc.assert(
    fc.property(fc.array(route, { maxLength: 6 }), fc.array(request, { minLength: 1, maxLength: 10 }), (routes, requests) => {
      const matcher = matcherOf(routes)
      for (const one of requests) {
        const text = `${one.method} ${one.path}${one.query} HTTP/1.1\r\nHost: ${one.host}${one.headers.map(([name, value]) => `\r\n${name}: ${value}`).join('')}`
        const expected = plainMatch(routes, one)
        const found = take(matcher, text)
        all++
        if (found >= 0) taken++
        if (found !== expected) throw new Error(`${JSON.stringify(routes)}\n${text}\nexpected ${expected}, found ${found}`)
      }
      t.pass()
      return true
    }),
    randomness(t, 1500),
  )
  t.true(taken > all / 10 && taken < all)
})

// — each kind of rule —

test('hosts and paths by regular expression', (t) => {
  const matcher = matcherOf([{ match: { hostRegex: '^shop-[0-9]+\\.example$' } }, { hosts: ['exact.example'], match: { hostRegex: '^v[0-9]\\.' } }, { match: { pathRegex: '^/users/[0-9]+$' } }])
  t.is(take(matcher, get('/', 'SHOP-17.example:80')), 0)
  t.is(take(matcher, get('/', 'shop-x.example')), -1)
  t.is(take(matcher, get('/', 'v1.other')), 1)
  t.is(take(matcher, get('/', 'Exact.Example')), 1)
  t.is(take(matcher, get('/users/17?x=y')), 2)
  t.is(take(matcher, get('/users/17/x')), -1)
})

test('header fields', (t) => {
  const matcher = matcherOf([
    { match: { headers: [{ name: 'X-Version', equals: '2' }, { name: 'X-Off', not: true }] } },
    { match: { headers: [{ name: 'user-agent', prefix: 'curl/' }] } },
    { match: { headers: [{ name: 'Accept', regex: 'json|xml' }] } },
  ])
  t.is(take(matcher, get('/', 'h', '\r\nx-version:  2 ')), 0)
  t.is(take(matcher, get('/', 'h', '\r\nX-Version: 1\r\nX-Version: 2')), 0)
  t.is(take(matcher, get('/', 'h', '\r\nX-Version: 22')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nX-Version: 2\r\nX-Off: ')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nUser-Agent: curl/8')), 1)
  t.is(take(matcher, get('/', 'h', '\r\nUser-Agent: cur')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nAccept: application/json')), 2)
})

test('cookies, wherever they stand', (t) => {
  const matcher = matcherOf([{ match: { cookies: [{ name: 'group', equals: 'beta' }] } }, { match: { cookies: [{ name: 'session' }] } }])
  t.is(take(matcher, get('/', 'h', '\r\nCookie: group=beta')), 0)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: a=b; group=beta; c=d')), 0)
  t.is(take(matcher, get('/', 'h', '\r\ncookie: a=b\r\nCookie: c;group=beta ')), 0)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: group=betas')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: xgroup=beta')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: Group=beta')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: session=')), 1)
  t.is(take(matcher, get('/', 'h', '\r\nCookie: session')), -1)
  t.is(take(matcher, get('/', 'h', '\r\nX: session=1')), -1)
})

test('query parameters, decoded', (t) => {
  const matcher = matcherOf([{ match: { query: [{ name: 'version', equals: 'a b' }] } }, { match: { query: [{ name: 'debug' }] } }, { match: { query: [{ name: 'page', regex: '^[0-9]+$' }] } }])
  t.is(take(matcher, get('/?version=a+b')), 0)
  t.is(take(matcher, get('/?x=1&%76ersion=a%20b&y')), 0)
  t.is(take(matcher, get('/?version=a')), -1)
  t.is(take(matcher, get('/?debug')), 1)
  t.is(take(matcher, get('/?debug=&x')), 1)
  t.is(take(matcher, get('/debug?x=debug')), -1)
  t.is(take(matcher, get('/?page=12')), 2)
  t.is(take(matcher, get('/?page=1x')), -1)
  t.is(take(matcher, get('/?page=%3')), -1)
  t.is(take(matcher, get('/?')), -1)
})

test('networks of clients, of both families', (t) => {
  const matcher = matcherOf([{ match: { sources: ['10.0.0.0/8', '192.0.2.7'] } }, { match: { sources: ['2001:db8::/32'] } }])
  t.is(take(matcher, get('/'), '10.255.0.1'), 0)
  t.is(take(matcher, get('/'), '11.0.0.1'), -1)
  t.is(take(matcher, get('/'), '192.0.2.7'), 0)
  t.is(take(matcher, get('/'), '192.0.2.8'), -1)
  t.is(take(matcher, get('/'), '2001:db8:1::5'), 1)
  t.is(take(matcher, get('/'), '2001:db9::5'), -1)
})

test('paths that can be read in two ways take the route that the server would see, or none', (t) => {
  const routes = [{ paths: ['/admin'] }, { paths: ['/public'] }]
  const matched = matcherOf(routes)
  t.is(take(matched, get('/%61dmin/x')), 0)
  t.is(take(matched, get('//admin')), 0)
  t.is(take(matched, get('/public/a%2Fb')), 1)
  for (const path of ['/public/../admin', '/public/%2e%2e/admin', '/public/..%2fadmin', '/public/..;/admin', '/public/..', '/./admin']) t.is(take(matched, get(path)), -2, path)
  const forwarded = matcherOf(routes, { normalizePath: 'forward' })
  t.is(take(forwarded, get('/public/../admin')), 0)
  t.is(take(forwarded, get('/public/%2e%2e/admin?a=b')), 0)
  t.is(take(forwarded, get('/public/..%2fadmin')), -2)
  const off = matcherOf(routes, { normalizePath: 'off' })
  t.is(take(off, get('/public/../admin')), 1)
  t.is(take(off, get('//admin')), -1)
  // Where no rule looks at paths they are nobody's business.
  t.is(take(matcherOf([{ hosts: ['a.example'] }]), get('/public/../admin')), 0)
})

test('absolute targets, with and without a path, and a star', (t) => {
  const matcher = matcherOf([{ paths: ['/x'], hosts: ['a.example'] }, { match: { pathsExact: ['/'] } }])
  t.is(take(matcher, 'GET http://a.example/x/y?z HTTP/1.1\r\nHost: a.example'), 0)
  t.is(take(matcher, 'GET http://a.example HTTP/1.1\r\nHost: a.example'), 1)
  t.is(take(matcher, 'GET http://a.example?q=/x HTTP/1.1\r\nHost: a.example'), 1)
  t.is(take(matcher, 'OPTIONS * HTTP/1.1\r\nHost: a.example'), -1)
  t.is(take(matcher, 'GET / HTTP/1.0'), 1)
})

test('the prefix that matched is the longest of its route', (t) => {
  const matcher = matcherOf([{ paths: ['/a', '/a/b/'], rewrite: { prefix: '/x' } }, { paths: ['/'], rewrite: { prefix: '/y' } }])
  t.is(take(matcher, get('/a/b/c')), 0)
  t.is(matcher.prefixLength, 4)
  t.is(take(matcher, get('/a/c')), 0)
  t.is(matcher.prefixLength, 2)
  t.is(take(matcher, get('/c')), 1)
  t.is(matcher.prefixLength, 0)
})

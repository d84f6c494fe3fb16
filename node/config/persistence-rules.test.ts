import test from 'ava'
import { validateDocument } from './validate.ts'

function problems(persistence: object, listener: object = {}): string[] {
  const result = validateDocument({
    haechi: 1,
    pools: [{ name: 'p', members: [{ name: 'a', address: '192.0.2.1', port: 80 }], persistence }],
    listeners: [{ name: 'l', address: '127.0.0.1', port: 80, pool: 'p', ...listener }],
  })
  return result.ok ? [] : result.problems.map(({ field, message }) => `${field}: ${message}`)
}

test('what is left out has a default, and a pool without persistence stays as it was', (t) => {
  const result = validateDocument({ haechi: 1, pools: [{ name: 'p', persistence: { type: 'cookie' } }, { name: 'q' }] })
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  t.deepEqual(result.document.pools[0]!.persistence, {
    type: 'cookie', ttl: '30m', maxEntries: 100_000, ipv6PrefixLength: 64,
    cookie: { path: '/', maxAge: '0s', secure: 'auto', httpOnly: true, sameSite: 'lax', toMember: false },
  })
  t.false('persistence' in result.document.pools[1]!)
})

test('each kind takes what belongs to it', (t) => {
  for (const good of [
    { type: 'none' }, { type: 'cookie' }, { type: 'cookie', cookieName: '__Host-lb', cookie: { secure: 'always' } }, { type: 'app-cookie', cookieName: 'JSESSIONID' }, { type: 'source', ipv6PrefixLength: 56 },
    { type: 'header', header: 'X-Session' },
  ]) t.deepEqual(problems(good), [], JSON.stringify(good))
  for (const [bad, field] of [
    [{ type: 'app-cookie' }, 'cookieName: is missing'],
    [{ type: 'header' }, 'header: is missing'],
    [{ type: 'source', cookieName: 'a' }, 'cookieName: expected no cookie name with type source'],
    [{ type: 'cookie', header: 'a' }, 'header: expected no header name with type cookie'],
    [{ type: 'cookie', cookieName: 'a b' }, 'cookieName: expected the name of a cookie'],
    [{ type: 'cookie', cookieName: 'a=b' }, 'cookieName: expected the name of a cookie'],
    [{ type: 'header', header: 'a:b' }, 'header: expected the name of a header field'],
    [{ type: 'cookie', cookie: { path: '/a;b' } }, 'cookie/path: expected a path'],
    [{ type: 'cookie', cookie: { path: 'a' } }, 'cookie/path: expected a path'],
    [{ type: 'cookie', cookie: { domain: 'a;b' } }, 'cookie/domain: expected a domain'],
    [{ type: 'cookie', cookie: { sameSite: 'none', secure: 'never' } }, 'cookie/secure: browsers refuse'],
    [{ type: 'cookie', cookieName: '__Secure-a' }, 'cookie/secure: browsers take'],
    [{ type: 'cookie', cookieName: '__Host-a', cookie: { secure: 'always', path: '/a' } }, 'cookieName: browsers take a __Host- cookie'],
    [{ type: 'source', ttl: '500ms' }, 'ttl: expected a duration'],
    [{ type: 'source', maxEntries: 2_000_000 }, 'maxEntries: expected a whole number'],
    [{ type: 'source', ipv6PrefixLength: 16 }, 'ipv6PrefixLength: expected a whole number'],
  ] as const) {
    const found = problems(bad)
    t.is(found.length, 1, JSON.stringify([bad, found]))
    t.true(found[0]!.startsWith(`/pools/0/persistence/${field}`), found[0])
  }
})

test('all pools together have no more entries than the table', (t) => {
  const pool = (name: string, maxEntries: number, type = 'source') => ({ name, persistence: { type, maxEntries } })
  t.true(validateDocument({ haechi: 1, pools: [pool('a', 500_000), pool('b', 500_000), pool('c', 500_000, 'cookie')] }).ok)
  const result = validateDocument({ haechi: 1, pools: [pool('a', 500_000), pool('b', 500_000), pool('c', 1), pool('d', 1)] })
  t.deepEqual(result.ok ? [] : result.problems.map(({ field }) => field), ['/pools/2/persistence/maxEntries'])
})

test('a tcp listener can use the source address alone', (t) => {
  t.deepEqual(problems({ type: 'source' }, { protocol: 'tcp' }), [])
  const passed = problems({ type: 'cookie' }, { protocol: 'tls-passthrough', pool: undefined, routes: [{ name: 'r', hosts: ['a.example'], pool: 'p' }] })
  t.regex(passed.join(), /^\/listeners\/0\/routes\/0: pool p has persistence by cookie/)
  t.regex(problems({ type: 'cookie' }, { protocol: 'tcp' }).join(), /^\/listeners\/0\/pool: pool p has persistence by cookie, which a tcp listener cannot see/)
})

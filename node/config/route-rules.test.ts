/** What is refused in routes, and the field that is named; and that the networks of `sources` are read strictly. */
import test from 'ava'
import fc from 'fast-check'
import { addressBytes, contains, readNetwork } from './cidr.ts'
import { randomness } from './fixture/documents.ts'
import { validateDocument } from './validate.ts'

const withRoute = (route: object, listener: object = {}): unknown => ({
  pools: [{ name: 'web', members: [] }, { name: 'new', members: [] }],
  listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: [{ name: 'r', ...route }], ...listener }],
})
const here = '/listeners/0/routes/0'

const wrong: readonly (readonly [string, unknown, string, RegExp])[] = [
  ['no action', withRoute({}), `${here}/pool`, /one of `pool`, `pools`, `redirect` and `respond`$/],
  ['two actions', withRoute({ pool: 'web', respond: {} }), `${here}/respond`, /found `pool` and `respond`/],
  ['weights of nothing', withRoute({ pools: [{ pool: 'web', weight: 0 }] }), `${here}/pools`, /at least one pool with a weight/],
  ['no pools', withRoute({ pools: [] }), `${here}/pools`, /at least one pool/],
  ['a pool twice', withRoute({ pools: [{ pool: 'web' }, { pool: 'web' }] }), `${here}/pools/1/pool`, /in this list already/],
  ['a weighted pool that is not there', withRoute({ pools: [{ pool: 'wbe' }] }), `${here}/pools/0/pool`, /no pool named "wbe"; did you mean "web"/],
  ['a shadow pool that is not there', withRoute({ pool: 'web', mirror: { pool: 'x' } }), `${here}/mirror/pool`, /no pool named "x"/],
  ['split of one pool', withRoute({ pool: 'web', split: 'source' }), `${here}/split`, /means nothing without `pools`/],
  ['retries of a redirect', withRoute({ redirect: {}, retries: {} }), `${here}/retries`, /means nothing with `redirect`/],
  ['a bad pattern for paths', withRoute({ pool: 'web', match: { pathRegex: '^/(a' } }), `${here}/match/pathRegex`, /the regular expression has an unclosed "\(" at character 3/],
  ['a bad pattern for hosts', withRoute({ pool: 'web', match: { hostRegex: '(?=a)' } }), `${here}/match/hostRegex`, /no look-around/],
  ['a pattern that is too large', withRoute({ pool: 'web', match: { headers: [{ name: 'A', regex: '(?:a{900}){900}' }] } }), `${here}/match/headers/0/regex`, /is too large/],
  ['two ways to compare', withRoute({ pool: 'web', match: { query: [{ name: 'a', equals: 'b', prefix: 'c' }] } }), `${here}/match/query/0/prefix`, /found `equals` and `prefix`/],
  ['a network with bits behind its prefix', withRoute({ pool: 'web', match: { sources: ['10.0.0.0/8', '10.1.0.0/8'] } }), `${here}/match/sources/1`, /\(10\.0\.0\.0\/8\)/],
  ['a prefix that is too long', withRoute({ pool: 'web', match: { sources: ['10.0.0.0/33'] } }), `${here}/match/sources/0`, /from 0 to 32/],
  ['a method in small letters', withRoute({ pool: 'web', match: { methods: ['get'] } }), `${here}/match/methods/0`, /capital letters/],
  ['a rewrite of no prefix', withRoute({ pool: 'web', rewrite: { prefix: '/x' } }), `${here}/rewrite/prefix`, /must have `paths`/],
  ['a redirect of a prefix and a path', withRoute({ paths: ['/a'], redirect: { path: '/x', prefix: '/y' } }), `${here}/redirect/prefix`, /either `path` or `prefix`/],
  ['a replacement of nothing', withRoute({ pool: 'web', rewrite: { replacement: '/x' } }), `${here}/rewrite/replacement`, /without `regex`/],
  ['a pattern without replacement', withRoute({ pool: 'web', rewrite: { regex: '^/a' } }), `${here}/rewrite/replacement`, /is missing/],
  ['a group that is not there', withRoute({ pool: 'web', rewrite: { regex: '^/(a)', replacement: '/$2' } }), `${here}/rewrite/replacement`, /has \$2, but the regular expression has one group/],
  ['a dollar alone', withRoute({ pool: 'web', rewrite: { regex: '^/(a)', replacement: '/$x' } }), `${here}/rewrite/replacement`, /"\$\$"/],
  ['a replacement with a query', withRoute({ pool: 'web', rewrite: { regex: '^/(a)', replacement: '/?x' } }), `${here}/rewrite/replacement`, /without spaces/],
  ['framing set', withRoute({ pool: 'web', headers: { setRequest: [{ name: 'Content-Length', value: '1' }] } }), `${here}/headers/setRequest/0/name`, /cannot be changed here/],
  ['host set', withRoute({ pool: 'web', headers: { setRequest: [{ name: 'host', value: 'a' }] } }), `${here}/headers/setRequest/0/name`, /`rewrite.host`/],
  ['what is known of a client certificate set', withRoute({ pool: 'web', headers: { setRequest: [{ name: 'X-Client-Cert-Subject', value: 'a' }] } }), `${here}/headers/setRequest/0/name`, /cannot be changed here/],
  ['a field set twice', withRoute({ pool: 'web', headers: { setResponse: [{ name: 'A', value: '1' }, { name: 'a', value: '2' }] } }), `${here}/headers/setResponse/1/name`, /in this list already/],
  ['a field that smuggles another', withRoute({ pool: 'web', headers: { setResponse: [{ name: 'A', value: '1\r\nB: 2' }] } }), `${here}/headers/setResponse/0/value`, /printable ASCII/],
  ['framing removed by the listener', withRoute({ pool: 'web' }, { headers: { removeResponse: ['Transfer-Encoding'] } }), '/listeners/0/headers/removeResponse/0', /cannot be changed/],
  ['a body that is too long', withRoute({ respond: { body: 'x'.repeat(16_385) } }), `${here}/respond/body`, /at most 16384/],
  ['a status that is none', withRoute({ respond: { status: 101 } }), `${here}/respond/status`, /200 to 599/],
  ['a redirect status that is none', withRoute({ redirect: { status: 304 } }), `${here}/redirect/status`, /one of 301/],
  ['a port twice', withRoute({ redirect: { host: 'a:81', port: 82 } }), `${here}/redirect/port`, /found both/],
]
for (const [what, document, field, message] of wrong) {
  test(`refused: ${what}`, (t) => {
    const result = validateDocument(document)
    if (result.ok) return t.fail('it was taken')
    t.deepEqual(result.problems.map((problem) => problem.field), [field], JSON.stringify(result.problems))
    t.regex(result.problems[0]!.message, message)
  })
}

test('a circle through a shadow pool is found', (t) => {
  const result = validateDocument({
    pools: [{ name: 'web', members: [] }, { name: 'back', members: [{ name: 'a', address: '127.0.0.1', port: 80 }] }],
    listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: [{ name: 'r', pool: 'web', mirror: { pool: 'back' } }] }],
  })
  t.false(result.ok)
  if (!result.ok) t.regex(result.problems[0]!.message, /traffic would go in a circle/)
})

test('a document with more patterns than workers can hold is refused', (t) => {
  const headers = Array.from({ length: 16 }, () => ({ name: 'A', regex: 'a' }))
  const result = validateDocument({
    pools: [{ name: 'web', members: [] }],
    listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: Array.from({ length: 130 }, (_, i) => ({ name: `r${i}`, pool: 'web', match: { headers } })) }],
  })
  t.false(result.ok)
  if (!result.ok) t.regex(result.problems[0]!.message, /at most 2000 regular expressions/)
})

test('what was valid before says the same, to the byte', (t) => {
  const result = validateDocument(withRoute({ pool: 'web', hosts: ['a.example'], paths: ['/x'] }))
  t.true(result.ok)
  if (result.ok) t.deepEqual(result.document.listeners[0]!.routes, [{ name: 'r', hosts: ['a.example'], paths: ['/x'], pool: 'web' }])
})

test('a network has exactly the addresses that begin with its prefix', (t) => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV4(), fc.integer({ min: 0, max: 32 }), (one, other, bits) => {
      const number = (address: string): number => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
      const size = 2 ** (32 - bits)
      const first = Math.floor(number(one) / size) * size
      const name = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.')
      const read = readNetwork(`${name}/${bits}`)
      t.true(read.ok)
      return read.ok && contains(read.network, addressBytes(other)!) === (Math.floor(number(other) / size) * size === first) && !contains(read.network, addressBytes('::1')!)
    }),
    randomness(t, 500),
  )
  t.true(readNetwork('2001:db8::/32').ok)
  t.false(readNetwork('2001:db8::/129').ok)
})

test('bug: bodies that are not ASCII were counted by their characters', (t) => {
  const respond = { body: '한'.repeat(16_000) }
  const result = validateDocument({ listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: Array.from({ length: 200 }, (_, i) => ({ name: `r${i}`, respond })) }] })
  t.false(result.ok)
  if (!result.ok) t.regex(result.problems[0]!.message, /at most 8388608 bytes/)
})

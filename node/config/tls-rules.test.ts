/** What is said of TLS in a document that does not fit together. */
import test from 'ava'
import { validateDocument } from './validate.ts'

function problems(listener: object, pool: object = {}): string[] {
  const result = validateDocument({
    haechi: 1,
    pools: [{ name: 'web', members: [{ name: 'a', address: '192.0.2.1', port: 80 }], ...pool }],
    listeners: [{ name: 'front', address: '127.0.0.1', port: 443, pool: 'web', ...listener }],
  })
  return result.ok ? [] : result.problems.map(({ field, message }) => `${field.replace('/listeners/0', '').replace('/pools/0', 'pool')}: ${message}`)
}

for (const [what, listener, pool, expected] of [
  ['https', { protocol: 'https', tls: { certificates: ['a', 'b'] } }, {}, undefined],
  ['tcp with and without', { protocol: 'tcp', tls: { certificates: ['a'], alpn: ['mqtt'] } }, {}, undefined],
  ['https without tls', { protocol: 'https' }, {}, /^\/tls: is missing/],
  ['no certificate', { protocol: 'https', tls: {} }, {}, /^\/tls\/certificates: expected at least one/],
  ['a certificate twice', { protocol: 'https', tls: { certificates: ['a', 'a'] } }, {}, /^\/tls\/certificates\/1: certificate a is in this list already/],
  ['tls on http', { protocol: 'http', tls: { certificates: ['a'] } }, {}, /^\/tls: has no meaning .* the protocol is https/],
  ['another ALPN on https', { protocol: 'https', tls: { certificates: ['a'], alpn: ['h2'] } }, {}, /^\/tls\/alpn: expected nothing but "http\/1.1"/],
  ['clients without authority', { protocol: 'https', tls: { certificates: ['a'], clientAuth: { mode: 'optional' } } }, {}, /^\/tls\/clientAuth\/authority: is missing/],
  ['an authority for nothing', { protocol: 'https', tls: { certificates: ['a'], clientAuth: { authority: 'x' } } }, {}, /^\/tls\/clientAuth\/mode: expected "optional" or "required"/],
  ['header fields on tcp', { protocol: 'tcp', tls: { certificates: ['a'], clientAuth: { mode: 'required', authority: 'x', forwardHeaders: true } } }, {}, /forwardHeaders: expected false/],
  ['a profile that there is not', { protocol: 'https', tls: { certificates: ['a'], profile: 'old' } }, {}, /^\/tls\/profile: expected one of "modern", "compatible"/],
  ['a handshake of a day', { protocol: 'https', tls: { certificates: ['a'], handshakeTimeout: '24h' } }, {}, /^\/tls\/handshakeTimeout: expected a duration from/],
  ['passthrough', { protocol: 'tls-passthrough', routes: [{ name: 'r', hosts: ['a.test'], pool: 'web' }] }, {}, undefined],
  ['passthrough without anywhere to go', { protocol: 'tls-passthrough', pool: undefined }, {}, /^\/pool: is missing/],
  ['passthrough with a certificate', { protocol: 'tls-passthrough', tls: { certificates: ['a'] } }, {}, /^\/tls: has no meaning/],
  ['passthrough by path', { protocol: 'tls-passthrough', routes: [{ name: 'r', hosts: ['a.test'], paths: ['/a'], pool: 'web' }] }, {}, /^\/routes\/0\/paths: has no meaning/],
  ['passthrough for every name', { protocol: 'tls-passthrough', routes: [{ name: 'r', pool: 'web' }] }, {}, /^\/routes\/0\/hosts: expected at least one host/],
  ['passthrough to a redirect', { protocol: 'tls-passthrough', routes: [{ name: 'r', hosts: ['a.test'], redirect: { scheme: 'https' } }] }, {}, /^\/routes\/0\/pool: is missing/],
  ['passthrough to TLS', { protocol: 'tls-passthrough' }, { tls: {} }, /^\/pool: pool web has TLS to its members/],
  ['udp to TLS', { protocol: 'udp' }, { tls: {} }, /^\/pool: pool web has TLS to its members/],
  ['udp to TLS that is off', { protocol: 'udp' }, { tls: { enabled: false } }, undefined],
  ['members', { protocol: 'http' }, { tls: { authority: 'x', serverName: 'a.test', certificate: 'y', alpn: ['http/1.1'] } }, undefined],
  ['members unverified by an authority', { protocol: 'http' }, { tls: { verify: false, authority: 'x' } }, /^pool\/tls\/authority: has no effect/],
  ['members by a name with a port', { protocol: 'http' }, { tls: { serverName: 'a.test:443' } }, /^pool\/tls\/serverName: expected a host name|^pool\/tls\/serverName: /],
] as [string, object, object, RegExp | undefined][]) {
  test(`${what}: ${expected === undefined ? 'taken' : 'refused'}`, (t) => {
    const found = problems(listener, pool)
    if (expected === undefined) t.deepEqual(found, [])
    else t.true(found.some((problem) => expected.test(problem)), found.join('\n') || 'taken')
  })
}

/** The rules for access lists, rate limits, queues, the access log and request ids. */
import test from 'ava'
import { limitsOfLimits } from './limits-schema.ts'
import { validateDocument } from './validate.ts'

const pools = [{ name: 'web', members: [{ name: 'm1', address: '10.0.0.1', port: 80 }] }]

function problemsOf(parts: object, listener: object = {}): { field: string; message: string }[] {
  const result = validateDocument({ haechi: 1, pools, listeners: [{ name: 'front', address: '192.0.2.1', port: 80, pool: 'web', ...listener }], ...parts })
  return result.ok ? [] : result.problems.map(({ field, message }) => ({ field, message }))
}

test('what is complete is valid, and gets its defaults', (t) => {
  const result = validateDocument({
    haechi: 1,
    accessLists: [{ name: 'office', prefixes: ['192.0.2.0/24', '2001:db8::/32', '198.51.100.7', '0.0.0.0/0'] }],
    pools: [{ ...pools[0], maxConnections: 100, queue: {} }],
    listeners: [{
      name: 'front', address: '192.0.2.1', port: 80, pool: 'web', allow: ['office'], deny: [], maxConnectionsPerSource: 10, rateLimit: { requests: 5 },
      accessLog: {}, requestId: {}, trace: {}, routes: [{ name: 'api', pool: 'web', priority: 'high', rateLimit: { requests: 1, key: 'header', header: 'X-Api-Key' } }],
    }],
  })
  if (!result.ok) return t.fail(JSON.stringify(result.problems))
  const [listener] = result.document.listeners
  t.deepEqual(listener!.rateLimit, { requests: 5, per: '1s', key: 'source' })
  t.deepEqual(listener!.accessLog, { format: 'json', sample: 100, destination: 'file' })
  t.deepEqual(listener!.requestId, { header: 'X-Request-Id', trust: false, respond: false })
  t.deepEqual(listener!.trace, { sample: 100 })
  t.deepEqual(result.document.pools[0]!.queue, { maxLength: 1000, timeout: '10s' })
})

const cases: readonly [string, object, object, string, RegExp][] = [
  ['list twice', { accessLists: [{ name: 'a' }, { name: 'a' }] }, {}, '/accessLists/1/name', /taken already/],
  ['no prefix', { accessLists: [{ name: 'a', prefixes: ['1.2.3'] }] }, {}, '/accessLists/0/prefixes/0', /four numbers/],
  ['length', { accessLists: [{ name: 'a', prefixes: ['10.0.0.0/8', '10.0.0.0/33'] }] }, {}, '/accessLists/0/prefixes/1', /at most 32/],
  ['length of IPv6', { accessLists: [{ name: 'a', prefixes: ['2001:db8::/129'] }] }, {}, '/accessLists/0/prefixes/0', /at most 128/],
  ['an IPv6 spelling of IPv4', { accessLists: [{ name: 'a', prefixes: ['::ffff:a00:1/20'] }] }, {}, '/accessLists/0/prefixes/0', /mapped/],
  ['no such list', { accessLists: [{ name: 'office' }] }, { allow: ['offise'] }, '/listeners/0/allow/0', /did you mean "office"/],
  ['no such list to deny', {}, { deny: ['office'] }, '/listeners/0/deny/0', /there is no access list/],
  ['header without a name', {}, { rateLimit: { requests: 1, key: 'header' } }, '/listeners/0/rateLimit/header', /is missing/],
  ['a name without header', {}, { rateLimit: { requests: 1, header: 'X-A' } }, '/listeners/0/rateLimit/header', /expected none/],
  ['header on tcp', {}, { protocol: 'tcp', rateLimit: { requests: 1, key: 'header', header: 'X-A' } }, '/listeners/0/rateLimit/key', /expected source/],
  ['no rate', {}, { rateLimit: {} }, '/listeners/0/rateLimit/requests', /is missing/],
  ['an id on tcp', {}, { protocol: 'tcp', requestId: {} }, '/listeners/0/requestId', /tcp listener/],
  ['an id in Host', {}, { requestId: { header: 'Host' } }, '/listeners/0/requestId/header', /a meaning of its own/],
  ['an id with a line feed', {}, { requestId: { header: 'X\nY' } }, '/listeners/0/requestId/header', /name of a header field/],
  ['a sample of nothing', {}, { accessLog: { sample: 0 } }, '/listeners/0/accessLog/sample', /from 1 to 100/],
]
for (const [what, parts, listener, field, message] of cases) {
  test(`refused: ${what}`, (t) => {
    const problems = problemsOf(parts, listener)
    t.is(problems.length, 1, JSON.stringify(problems))
    t.is(problems[0]!.field, field)
    t.regex(problems[0]!.message, message)
  })
}

test('there is a limit to limits', (t) => {
  const routes = Array.from({ length: limitsOfLimits.rateLimits }, (_, i) => ({ name: `r${i}`, pool: 'web', rateLimit: { requests: 1 } }))
  t.deepEqual(problemsOf({}, { routes }), [])
  t.is(problemsOf({}, { routes, rateLimit: { requests: 1 } })[0]!.field, '/listeners')
  const prefixes = Array.from({ length: limitsOfLimits.prefixes / 2 }, (_, i) => `${10 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}.0/24`)
  t.deepEqual(problemsOf({ accessLists: [{ name: 'a', prefixes }, { name: 'b', prefixes }] }), [])
  t.is(problemsOf({ accessLists: [{ name: 'a', prefixes }, { name: 'b', prefixes }, { name: 'c', prefixes: ['1.1.1.1'] }] })[0]!.field, '/accessLists')
})

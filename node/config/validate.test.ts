/** What a document may say, and the words with which a wrong one is refused. */
import { Ajv } from 'ajv'
import test from 'ava'
import * as fc from 'fast-check'
import { readAddress } from './address.ts'
import { compile, ProblemList, type SchemaNode } from './complete.ts'
import { arbitraryDocument, randomness } from './fixture/documents.ts'
import { ConfigurationDocument } from './schema.ts'
import { validateDocument, withoutDefaults } from './validate.ts'

const pool = { name: 'web', members: [{ name: 'a', address: '10.0.0.1', port: 80 }] }
const vip = { name: 'main', address: '10.0.0.100' }
const listener = { name: 'front', vip: 'main', port: 80, pool: 'web' }
const base = { vips: [vip], pools: [pool], listeners: [listener] }

const withVip = (change: object) => ({ ...base, vips: [{ ...vip, ...change }] })
const withPool = (change: object) => ({ ...base, pools: [{ ...pool, ...change }] })
const withMember = (change: object) => withPool({ members: [{ ...pool.members[0], ...change }] })
const withCheck = (healthCheck: unknown) => withPool({ healthCheck })
const withListener = (change: object) => ({ ...base, listeners: [{ ...listener, ...change }] })
const withRoute = (change: object) => withListener({ routes: [{ name: 'r', pool: 'web', ...change }] })
const without = (from: object, ...keys: string[]) => Object.fromEntries(Object.entries(from).filter(([key]) => !keys.includes(key)))
const many = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, index) => make(index))

const cyclic: Record<string, unknown> = {}
cyclic['pools'] = [{ name: 'web', self: cyclic }]

/** What is wrong, the field that must be named, and a part of the message. */
const bad: readonly (readonly [string, unknown, string, RegExp])[] = [
  ['not an object', 'x', '', /expected an object, found "x"/],
  ['null', null, '', /found nothing \(null\)/],
  ['a list', [], '', /expected an object, found a list/],
  ['a number', 42, '', /found 42/],
  ['unknown top field', { ...base, pols: [] }, '/pols', /not a known field; did you mean "pools"/],
  ['unknown top field, unlike any', { ...base, xyzzyxyz: 1 }, '/xyzzyxyz', /known here: haechi, vips, pools, listeners, failover/],
  ['prototype key', JSON.parse('{"__proto__": {"a": 1}}'), '/__proto__', /not a known field/],
  ['constructor key', { constructor: 1 }, '/constructor', /not a known field/],
  ['key with slash and tilde', { 'a/b~c': 1 }, '/a~1b~0c', /not a known field/],
  ['cyclic value', cyclic, '/pools/0/self', /not a known field/],
  ['newer format', { ...base, haechi: 2 }, '/haechi', /expected 1, found 2/],
  ['format as text', { ...base, haechi: '1' }, '/haechi', /expected 1, found "1"/],
  ['failover is a list', { ...base, failover: [] }, '/failover', /expected an object, found a list/],
  ['failover is null', { ...base, failover: null }, '/failover', /leave the field out/],
  ['unknown failover field', { ...base, failover: { prefered: 'n1' } }, '/failover/prefered', /did you mean "preferredNode"|known here/],
  ['preferred node in capitals', { ...base, failover: { preferredNode: 'N1' } }, '/failover/preferredNode', /expected a name.*found "N1"/],
  ['preferred node empty', { ...base, failover: { preferredNode: '' } }, '/failover/preferredNode', /expected a name/],
  ['preempt as text', { ...base, failover: { preempt: 'yes' } }, '/failover/preempt', /expected true or false, found "yes"/],
  ['preempt delay too short', { ...base, failover: { preemptDelay: '500ms' } }, '/failover/preemptDelay', /from 1s to 24h, found "500ms"/],
  ['preempt delay without unit', { ...base, failover: { preemptDelay: '30' } }, '/failover/preemptDelay', /a duration such as/],
  ['pools is an object', { ...base, pools: {} }, '/pools', /expected a list, found an object/],
  ['pools is null', { ...base, pools: null }, '/pools', /expected a list, found nothing \(null\); leave the field out/],
  ['a pool is text', { ...base, pools: ['web'] }, '/pools/0', /expected an object, found "web"/],
  ['too many VIPs', { vips: many(257, (i) => ({ name: `v${i}`, address: `10.0.${i >> 8}.${i & 255}` })) }, '/vips', /at most 256 entries, found 257/],

  ['name missing', withPool({ name: undefined }), '/pools/0/name', /is missing; expected a name/],
  ['name empty', withPool({ name: '' }), '/pools/0/name', /expected a name of lower-case letters/],
  ['name in capitals', withPool({ name: 'Web' }), '/pools/0/name', /lower-case letters.*found "Web"/],
  ['name with a hyphen at its end', withPool({ name: 'web-' }), '/pools/0/name', /no hyphen at either end/],
  ['name with 64 characters', withPool({ name: 'a'.repeat(64) }), '/pools/0/name', /at most 63 characters, found 64/],
  ['name is a number', withPool({ name: 7 }), '/pools/0/name', /expected a name.*found 7/],
  ['name with a line break', withPool({ name: 'web\n' }), '/pools/0/name', /expected a name/],

  ['port as text', withMember({ port: '80' }), '/pools/0/members/0/port', /a whole number from 1 to 65535, found "80"/],
  ['port 0', withMember({ port: 0 }), '/pools/0/members/0/port', /from 1 to 65535, found 0/],
  ['port 65536', withMember({ port: 65536 }), '/pools/0/members/0/port', /found 65536/],
  ['port 80.5', withMember({ port: 80.5 }), '/pools/0/members/0/port', /whole number.*found 80.5/],
  ['port NaN', withMember({ port: NaN }), '/pools/0/members/0/port', /found NaN/],
  ['port missing', withMember({ port: undefined }), '/pools/0/members/0/port', /is missing; expected a whole number from 1 to 65535/],
  ['negative weight', withMember({ weight: -1 }), '/pools/0/members/0/weight', /from 0 to 256, found -1/],
  ['unknown state', withMember({ state: 'draining' }), '/pools/0/members/0/state', /one of "enabled", "drain", "disabled", found "draining"/],
  ['unknown member field', withMember({ adress: '10.0.0.2' }), '/pools/0/members/0/adress', /did you mean "address"/],
  ['host name as address', withMember({ address: 'web.example.com' }), '/pools/0/members/0/address', /expected an IPv4 or IPv6 address, found "web.example.com"/],
  ['address with leading zero', withMember({ address: '010.0.0.1' }), '/pools/0/members/0/address', /without leading zeros/],
  ['short IPv4', withMember({ address: '10.1' }), '/pools/0/members/0/address', /four numbers/],
  ['IPv4 octet 256', withMember({ address: '10.0.0.256' }), '/pools/0/members/0/address', /from 0 to 255/],
  ['address with zone', withMember({ address: 'fe80::1%eth0' }), '/pools/0/members/0/address', /without zone/],
  ['mapped IPv4', withMember({ address: '::ffff:10.0.0.1' }), '/pools/0/members/0/address', /the IPv4 address 10.0.0.1 itself/],
  ['address with port', withMember({ address: '10.0.0.1:80' }), '/pools/0/members/0/address', /IPv4 or IPv6 address/],
  ['address with prefix', withMember({ address: '10.0.0.1/24' }), '/pools/0/members/0/address', /IPv4 or IPv6 address/],
  ['unspecified member', withMember({ address: '0.0.0.0' }), '/pools/0/members/0/address', /one machine; 0.0.0.0 is unspecified/],
  ['multicast member', withMember({ address: 'ff02::1' }), '/pools/0/members/0/address', /ff02::1 is multicast/],
  ['broadcast member', withMember({ address: '255.255.255.255' }), '/pools/0/members/0/address', /is broadcast/],
  ['link-local member', withMember({ address: 'fe80::1' }), '/pools/0/members/0/address', /is link-local/],
  ['two members with one name', withPool({ members: [pool.members[0], { name: 'a', address: '10.0.0.2', port: 80 }] }), '/pools/0/members/1/name', /"a" is taken already, by \/pools\/0\/members\/0/],
  ['two members with one address', withPool({ members: [pool.members[0], { name: 'b', address: '10.0.0.1', port: 80 }] }), '/pools/0/members/1/address', /is member a of this pool already; .*weight/],

  ['unknown balance', withPool({ balance: 'least-connection' }), '/pools/0/balance', /did you mean "least-connections"/],
  ['hash without balance: hash', withPool({ hash: {} }), '/pools/0/hash', /only `balance: hash` looks at this; the pool's balance is round-robin/],
  ['hash of an unknown input', withPool({ balance: 'hash', hash: { on: 'url' } }), '/pools/0/hash/on', /did you mean "uri"/],
  ['hash of a header without its name', withPool({ balance: 'hash', hash: { on: 'header' } }), '/pools/0/hash/name', /is missing; expected the name of the header field/],
  ['hash of a cookie with a bad name', withPool({ balance: 'hash', hash: { on: 'cookie', name: 'a b' } }), '/pools/0/hash/name', /the name of a header field or of a cookie/],
  ['hash of the source with a name', withPool({ balance: 'hash', hash: { name: 'x' } }), '/pools/0/hash/name', /means nothing when the source is hashed/],
  ['balance factor of 100', withPool({ balance: 'hash', hash: { balanceFactor: 100 } }), '/pools/0/hash/balanceFactor', /0 \(no bound\) or more than 100/],
  ['dynamic weights of a hash', withPool({ balance: 'hash', dynamicWeights: true }), '/pools/0/dynamicWeights', /would move keys/],
  ['minimum of no members', withPool({ minimumMembers: 0 }), '/pools/0/minimumMembers', /from 1 to 4096/],
  ['negative priority', withMember({ priority: -1 }), '/pools/0/members/0/priority', /from 0 to 255/],
  ['backup as text', withMember({ backup: 'yes' }), '/pools/0/members/0/backup', /true or false/],
  ['hash of requests behind tcp', { ...base, pools: [{ ...pool, balance: 'hash', hash: { on: 'uri' } }], listeners: [{ ...listener, protocol: 'tcp' }] }, '/listeners/0/pool', /hashes the uri of requests, which a tcp listener does not see/],
  ['duration without unit', withPool({ connectTimeout: '5' }), '/pools/0/connectTimeout', /a duration such as/],
  ['duration as number', withPool({ connectTimeout: 5 }), '/pools/0/connectTimeout', /a duration such as.*found 5/],
  ['duration with fraction', withPool({ connectTimeout: '1.5s' }), '/pools/0/connectTimeout', /a duration such as/],
  ['duration zero', withPool({ connectTimeout: '0s' }), '/pools/0/connectTimeout', /from 1ms to 10m, found "0s"/],
  ['duration that no timer holds', withPool({ keepAlive: '999999999h' }), '/pools/0/keepAlive', /from 1ms to 576h, found "999999999h"/],
  ['retries 11', withPool({ retries: 11 }), '/pools/0/retries', /from 0 to 10/],
  ['snake case', withPool({ health_check: {} }), '/pools/0/health_check', /did you mean "healthCheck"/],
  ['check is null', withCheck(null), '/pools/0/healthCheck', /leave the field out/],
  ['unknown check type', withCheck({ type: 'htps' }), '/pools/0/healthCheck/type', /one of "http", "https", "tcp".*did you mean "https"/],
  ['check method in small letters', withCheck({ type: 'http', method: 'get' }), '/pools/0/healthCheck/method', /a method in capital letters/],
  ['check method CONNECT', withCheck({ type: 'http', method: 'CONNECT' }), '/pools/0/healthCheck/method', /opens a tunnel/],
  ['check header that smuggles another', withCheck({ headers: [{ name: 'X-A', value: 'b\r\nX: y' }] }), '/pools/0/healthCheck/headers/0/value', /printable ASCII/],
  ['check header that is set anyway', withCheck({ headers: [{ name: 'Host', value: 'b' }] }), '/pools/0/healthCheck/headers/0/name', /write `host` instead/],
  ['check body of an answer without one', withCheck({ type: 'http', method: 'HEAD', expectBody: 'ok' }), '/pools/0/healthCheck/expectBody', /has no body/],
  ['check latency beyond the timeout', withCheck({ maxLatency: '3s', timeout: '2s' }), '/pools/0/healthCheck/maxLatency', /at most the timeout \(2s\)/],
  ['check script that is a path', withCheck({ type: 'script', script: '../sh' }), '/pools/0/healthCheck/script', /a program in the checks directory/],
  ['check script without a name', withCheck({ type: 'script' }), '/pools/0/healthCheck/script', /is missing/],
  ['check bytes with an unknown escape', withCheck({ type: 'udp', send: 'a\\q' }), '/pools/0/healthCheck/send', /other bytes as/],
  ['check address for many', withCheck({ address: '224.0.0.1' }), '/pools/0/healthCheck/address', /is multicast/],
  ['longest ejection shorter than the first', withPool({ passiveHealth: { ejectionTime: '1m', maxEjectionTime: '30s' } }), '/pools/0/passiveHealth/maxEjectionTime', /at least the first ejection time/],
  ['passive statuses backwards', withPool({ passiveHealth: { statuses: '599-500' } }), '/pools/0/passiveHealth/statuses', /from low to high/],
  ['maintenance body too long in bytes', withPool({ maintenance: { body: '점'.repeat(6000) } }), '/pools/0/maintenance/body', /at most 16384 bytes of UTF-8, found 18000/],
  ['maintenance body without a body', withPool({ maintenance: { status: 204, body: 'x' } }), '/pools/0/maintenance/body', /has no body/],
  ['check path without slash', withCheck({ path: 'healthz' }), '/pools/0/healthCheck/path', /starts with "\/"/],
  ['check path that smuggles a header', withCheck({ path: '/ HTTP/1.1\r\nX: y' }), '/pools/0/healthCheck/path', /without spaces/],
  ['check host that smuggles a header', withCheck({ host: 'a\r\nX: y' }), '/pools/0/healthCheck/host', /without spaces/],
  ['status out of range', withCheck({ expectStatus: '200-600' }), '/pools/0/healthCheck/expectStatus', /status codes such as/],
  ['status range backwards', withCheck({ expectStatus: '399-200' }), '/pools/0/healthCheck/expectStatus', /from low to high, found "399-200"/],
  ['interval too short', withCheck({ interval: '1ms' }), '/pools/0/healthCheck/interval', /from 10ms to 1h/],
  ['rise 0', withCheck({ rise: 0 }), '/pools/0/healthCheck/rise', /from 1 to 100/],
  ['two pools with one name', { ...base, pools: [pool, { name: 'web' }] }, '/pools/1/name', /pool name "web" is taken already, by \/pools\/0/],

  ['VIP without address', { vips: [{ name: 'main' }] }, '/vips/0/address', /is missing; expected an IPv4 or IPv6 address/],
  ['prefix of IPv6 on IPv4', withVip({ prefixLength: 64 }), '/vips/0/prefixLength', /at most 32 for an IPv4 address, found 64/],
  ['prefix 129', withVip({ address: '2001:db8::1', prefixLength: 129 }), '/vips/0/prefixLength', /from 8 to 128/],
  ['unspecified VIP', withVip({ address: '::' }), '/vips/0/address', /is unspecified/],
  ['two VIPs with one name', { ...base, vips: [vip, { name: 'main', address: '10.0.0.101' }] }, '/vips/1/name', /VIP name "main" is taken/],
  ['two VIPs with one address', { vips: [{ name: 'a', address: '2001:db8::1' }, { name: 'b', address: '2001:DB8:0::1' }] }, '/vips/1/address', /2001:db8::1 is the address of VIP a already/],
  ['VIP of a mode that is not there', withVip({ mode: 'active-active' }), '/vips/0/mode', /expected "active-passive", found "active-active"/],
  ['interface with a slash', withVip({ interface: '../eth0' }), '/vips/0/interface', /name of a network interface/],

  ['neither vip nor address', { ...base, listeners: [without(listener, 'vip')] }, '/listeners/0/vip', /either `vip` .* or `address`/],
  ['both vip and address', withListener({ address: '10.0.0.5' }), '/listeners/0/address', /either `vip` or `address`, found both/],
  ['VIP that does not exist', withListener({ vip: 'mian' }), '/listeners/0/vip', /no VIP named "mian"; did you mean "main"/],
  ['pool that does not exist', withListener({ pool: 'wbe' }), '/listeners/0/pool', /no pool named "wbe"; did you mean "web"/],
  ['empty pool name', withListener({ pool: '' }), '/listeners/0/pool', /no pool named ""/],
  ['VIP written as address', { ...base, listeners: [{ ...without(listener, 'vip'), address: '10.0.0.100' }] }, '/listeners/0/address', /write `vip: main` instead/],
  ['multicast listener', { ...base, listeners: [{ ...without(listener, 'vip'), address: '224.0.0.1' }] }, '/listeners/0/address', /is multicast/],
  ['odd unspecified listener', { ...base, listeners: [{ ...without(listener, 'vip'), address: '0.1.2.3' }] }, '/listeners/0/address', /is unspecified/],
  ['tcp without pool', { ...base, listeners: [{ name: 'front', vip: 'main', port: 80, protocol: 'tcp' }] }, '/listeners/0/pool', /a tcp listener needs a pool/],
  ['tcp with routes', withListener({ protocol: 'tcp', routes: [{ name: 'r', pool: 'web' }] }), '/listeners/0/routes', /no routes on a tcp listener/],
  ['unknown protocol', withListener({ protocol: 'htp' }), '/listeners/0/protocol', /did you mean "http"/],
  ['head limit too small', withListener({ maxHeadBytes: 100 }), '/listeners/0/maxHeadBytes', /from 1024 to 65536/],
  ['two listeners with one name', { ...base, listeners: [listener, { ...listener, port: 81 }] }, '/listeners/1/name', /listener name "front" is taken/],
  ['two listeners on one VIP port', { ...base, listeners: [listener, { ...listener, name: 'other' }] }, '/listeners/1/port', /port 80 of 10.0.0.100 is taken already, by listener front/],
  ['wildcard after a VIP port', { ...base, listeners: [listener, { name: 'all', address: '0.0.0.0', port: 80, pool: 'web' }] }, '/listeners/1/port', /taken already, by listener front/],
  ['VIP port after a wildcard', { ...base, listeners: [{ name: 'all', address: '0.0.0.0', port: 80, pool: 'web' }, listener] }, '/listeners/1/port', /port 80 of 10.0.0.100 is taken already, by listener all/],
  ['IPv4 after a wildcard of both families', { ...base, listeners: [{ name: 'all', address: '::', port: 80, pool: 'web' }, listener] }, '/listeners/1/port', /by listener all/],
  ['wildcard of both families after IPv4', { ...base, listeners: [listener, { name: 'all', address: '::', port: 80, pool: 'web' }] }, '/listeners/1/port', /by listener front/],
  ['both wildcards', { ...base, listeners: [{ name: 'all', address: '::', port: 80, pool: 'web' }, { name: 'four', address: '0.0.0.0', port: 80, pool: 'web' }] }, '/listeners/1/port', /by listener all/],

  ['route without pool', withRoute({ pool: undefined }), '/listeners/0/routes/0/pool', /is missing; expected one of `pool`, `pools`, `redirect` and `respond`/],
  ['route to a pool that does not exist', withRoute({ pool: 'api' }), '/listeners/0/routes/0/pool', /no pool named "api"/],
  ['route host with port', withRoute({ hosts: ['a.example.com:80'] }), '/listeners/0/routes/0/hosts/0', /without port/],
  ['route host with a star inside', withRoute({ hosts: ['ok', 'a.*.com'] }), '/listeners/0/routes/0/hosts/1', /a host name such as/],
  ['route path without slash', withRoute({ paths: ['api'] }), '/listeners/0/routes/0/paths/0', /starts with "\/"/],
  ['two routes with one name', withListener({ routes: [{ name: 'r', pool: 'web' }, { name: 'r', pool: 'web' }] }), '/listeners/0/routes/1/name', /route name "r" is taken/],

  ['member that is its own listener', withMember({ address: '10.0.0.100' }), '/pools/0/members/0/address', /this member is listener front itself: traffic would go in a circle/],
  ['member that is a wildcard listener', { pools: [{ name: 'web', members: [{ name: 'a', address: '127.0.0.1', port: 80 }] }], listeners: [{ name: 'all', address: '0.0.0.0', port: 80, pool: 'web' }] }, '/pools/0/members/0/address', /listener all itself/],
  ['circle through two listeners', {
    vips: [vip],
    pools: [{ name: 'one', members: [{ name: 'a', address: '10.0.0.100', port: 2 }] }, { name: 'two', members: [{ name: 'a', address: '10.0.0.100', port: 1 }] }],
    listeners: [{ name: 'l1', vip: 'main', port: 1, pool: 'one' }, { name: 'l2', vip: 'main', port: 2, routes: [{ name: 'r', pool: 'two' }] }],
  }, '/pools/1/members/0/address', /leads back here through listener l2/],
  ['too many members in all', {
    pools: many(6, (p) => ({ name: `p${p}`, members: many(4000, (m) => ({ name: `m${m}`, address: `10.${p}.${m >> 8}.${m & 255}`, port: 80 })) })),
  }, '/pools', /at most 20000 members in all pools together, found 24000/],
  ['too large in all', {
    pools: [pool],
    listeners: [{ ...without(listener, 'vip'), address: '10.0.0.1', port: 8080, routes: many(20, (r) => ({ name: `r${r}`, pool: 'web', paths: many(256, (p) => `/${p}`.padEnd(2048, 'x')) })) }],
  }, '', /at most 8388608 bytes with its defaults/],
]

for (const [what, document, field, message] of bad) {
  test(`refused: ${what}`, (t) => {
    const result = validateDocument(document)
    if (result.ok) return t.fail('it was taken')
    const problem = result.problems.find((candidate) => candidate.field === field)
    t.truthy(problem, JSON.stringify(result.problems))
    t.regex(problem!.message, message)
    // One fault is one problem.
    t.is(result.problems.length, 1, JSON.stringify(result.problems))
  })
}

const good: readonly (readonly [string, unknown])[] = [
  ['nothing', {}],
  ['the base of the bad ones', base],
  ['chained listeners', {
    vips: [vip],
    pools: [{ name: 'inner', members: [{ name: 'a', address: '10.0.0.100', port: 81 }] }, pool],
    listeners: [{ name: 'outer', vip: 'main', port: 80, protocol: 'tcp', pool: 'inner' }, { name: 'inner', vip: 'main', port: 81, pool: 'web' }],
  }],
  ['one port on two addresses', { ...base, vips: [vip, { name: 'other', address: '10.0.0.101' }], listeners: [listener, { ...listener, name: 'second', vip: 'other' }] }],
  ['wildcard of IPv4 beside IPv6', {
    ...base,
    listeners: [{ name: 'four', address: '0.0.0.0', port: 80, pool: 'web' }, { name: 'six', address: '2001:db8::1', port: 80, pool: 'web' }],
  }],
  ['http listener without pool', { ...base, listeners: [without(listener, 'pool')] }],
  ['one server in two pools', { pools: [pool, { ...pool, name: 'again' }] }],
  ['unused pool that points at a listener', { ...base, pools: [pool, { name: 'idle', members: [{ name: 'a', address: '10.0.0.100', port: 80 }] }] }],
]
for (const [what, document] of good) {
  test(`taken: ${what}`, (t) => {
    const result = validateDocument(document)
    t.true(result.ok, JSON.stringify(result))
  })
}

test('defaults, key order and spelling do not depend on how a document was written', (t) => {
  const one = validateDocument({ pools: [{ members: [{ port: 80, address: '2001:DB8:0::0001', name: 'a' }], name: 'web' }], listeners: [{ port: 80, address: '::1', name: 'f', routes: [{ pool: 'web', hosts: ['WWW.Example.COM'], name: 'r' }] }] })
  const two = validateDocument({ haechi: 1, listeners: [{ name: 'f', address: '0:0::1', port: 80, protocol: 'http', routes: [{ name: 'r', hosts: ['www.example.com'], paths: [], pool: 'web' }] }], pools: [{ name: 'web', retries: 2, members: [{ name: 'a', address: '2001:db8::1', port: 80, weight: 1 }] }], vips: [] })
  t.true(one.ok && two.ok)
  t.is(JSON.stringify(one), JSON.stringify(two))
})

test('a document that is all wrong makes a bounded number of problems', (t) => {
  const result = validateDocument({ pools: many(4000, () => ({ nmae: 1, prot: 2 })) })
  t.false(result.ok)
  t.is(result.ok ? 0 : result.problems.length, 100)
})

test('the value that was given is neither changed nor kept', (t) => {
  const given = structuredClone(base)
  const result = validateDocument(given)
  t.deepEqual(given, base)
  t.true(result.ok)
  if (result.ok) result.document.pools[0]!.members[0]!.port = 1
  t.deepEqual(given, base)
  const again = validateDocument({})
  if (again.ok) again.document.pools.push({} as never)
  t.deepEqual(validateDocument({}), { ok: true, document: { haechi: 1, vips: [], pools: [], listeners: [] } })
})

test('random documents are worth testing with', (t) => {
  const documents = fc.sample(arbitraryDocument, { seed: 1, numRuns: 50 })
  t.true(documents.filter((document) => document.pools.length > 1 && document.listeners.length > 1).length > 10)
})

test('validating a completed document changes nothing; stripping and completing is the same document', (t) => {
  fc.assert(
    fc.property(arbitraryDocument, (document) => {
      t.pass()
      const again = validateDocument(document)
      const back = validateDocument(withoutDefaults(document))
      return again.ok && back.ok && JSON.stringify(again.document) === JSON.stringify(document) && JSON.stringify(back.document) === JSON.stringify(document)
    }),
    randomness(t, 60),
  )
})

test('a general JSON Schema validator has the same verdict on the shape', (t) => {
  const ajv = new Ajv({ strict: false, useDefaults: true })
  ajv.addFormat('ip-address', (text: string) => readAddress(text).ok)
  const check = ajv.compile(JSON.parse(JSON.stringify(ConfigurationDocument)))
  const reader = compile(ConfigurationDocument as unknown as SchemaNode)
  const leaf = fc.constantFrom<unknown>(0, 1, 80, 70_000, -1, 1.5, null, true, '', 'web', 'Web', 'tcp', '5s', '0', '/', '10.0.0.1', '::1', '200', [], {}, ['a'], [{}])
  fc.assert(
    fc.property(arbitraryDocument, fc.array(fc.nat(), { minLength: 1, maxLength: 12 }), leaf, (document, way, value) => {
      const changed = structuredClone(document)
      replaceSomewhere(changed, way, value)
      const out = new ProblemList()
      reader.read(changed, '', out)
      t.is(out.problems.length === 0, check(structuredClone(changed)), JSON.stringify({ changed, mine: out.problems, ajv: check.errors }))
      return true
    }),
    randomness(t, 300),
  )
})

/** Replaces one value, or adds one, on the way through a document that the numbers choose. */
function replaceSomewhere(root: object, way: readonly number[], value: unknown): void {
  let at = root as Record<string, unknown>
  for (const [step, number] of way.entries()) {
    const keys = Object.keys(at)
    if (keys.length === 0) return
    const key = keys[number % keys.length]!
    const child = at[key]
    if (typeof child !== 'object' || child === null || step === way.length - 1) {
      at[key] = value
      return
    }
    at = child as Record<string, unknown>
  }
}

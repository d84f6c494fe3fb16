import test from 'ava'
import { validateDocument } from './validate.ts'

interface Parts {
  readonly listeners?: readonly object[]
  readonly pool?: object
  readonly members?: readonly object[]
}
const member = { name: 'm', address: '192.0.2.10', port: 53 }

/** Problems as `field: message`. */
function problems({ listeners = [], pool = {}, members = [member] }: Parts): string[] {
  const checked = validateDocument({
    haechi: 1,
    pools: [{ name: 'p', members, ...pool }],
    listeners: listeners.map((listener, i) => ({ name: `l${i}`, address: '127.0.0.1', port: 53, protocol: 'udp', pool: 'p', ...listener })),
  })
  return checked.ok ? [] : checked.problems.map(({ field, message }) => `${field}: ${message}`)
}

test('what a udp listener may say', (t) => {
  t.deepEqual(problems({ listeners: [{ udpTimeout: '5s', udpResponses: 1, memberPort: 'same', portEnd: 60, drainTimeout: '0s' }] }), [])
  t.regex(problems({ listeners: [{ pool: undefined }] })[0]!, /^\/listeners\/0\/pool: is missing; a udp listener needs a pool/)
  t.regex(problems({ listeners: [{ proxyProtocol: 'accept' }] })[0]!, /proxyProtocol: expected "off" on a udp listener/)
  t.regex(problems({ listeners: [{}], pool: { sendProxyProtocol: 'v2' } })[0]!, /pool p sends a PROXY header, which datagrams do not have/)
  t.regex(problems({ listeners: [{ udpTimeout: '99ms' }] })[0]!, /udpTimeout: expected a duration from 100ms to 24h/)
})

test('what only a udp listener may say, and what needs another field', (t) => {
  const tcp = { protocol: 'tcp' }
  t.deepEqual(problems({ listeners: [{ ...tcp, memberPort: 'same', proxyProtocol: 'accept', trustedSources: ['10.0.0.0/8', '::1', '192.0.2.1'] }], pool: { sendProxyProtocol: 'v1' } }), [])
  t.deepEqual(problems({ listeners: [{ ...tcp, udpTimeout: '5s', udpResponses: 0 }] }), [
    '/listeners/0/udpTimeout: only a udp listener has sessions; this one is tcp',
    '/listeners/0/udpResponses: only a udp listener has sessions; this one is tcp',
  ])
  t.regex(problems({ listeners: [{ protocol: 'http', memberPort: 'same' }] })[0]!, /memberPort: expected "member" on a listener of protocol http/)
  t.regex(problems({ listeners: [{ ...tcp, trustedSources: ['10.0.0.0/8'] }] })[0]!, /trustedSources: has no effect without `proxyProtocol: accept`/)
  for (const source of ['10.0.0.0/33', '256.1.1.1', '::/129', '::ffff:10.0.0.1']) {
    t.regex(problems({ listeners: [{ ...tcp, proxyProtocol: 'accept', trustedSources: [source] }] })[0]!, /trustedSources\/0: expected /, source)
  }
})

test('port ranges: direction, size, and all together', (t) => {
  t.deepEqual(problems({ listeners: [{ port: 7000, portEnd: 7999 }] }), [])
  t.deepEqual(problems({ listeners: [{ port: 7000, portEnd: 7000 }] }), [])
  t.deepEqual(problems({ listeners: [{ port: 7000, portEnd: 6999 }] }), ['/listeners/0/portEnd: expected at least `port` (7000), found 6999'])
  t.deepEqual(problems({ listeners: [{ port: 7000, portEnd: 8000 }] }), ['/listeners/0/portEnd: expected a range of at most 1000 ports, found 1001'])
  const many = [0, 1, 2, 3, 4].map((i) => ({ port: 10_000 + 1000 * i, portEnd: 10_999 + 1000 * i }))
  t.deepEqual(problems({ listeners: many.slice(0, 4) }), [])
  t.deepEqual(problems({ listeners: many }), ['/listeners: expected at most 4096 ports in all port ranges together, found 5000'])
})

test('ports are taken for each transport; ranges must not overlap', (t) => {
  t.deepEqual(problems({ listeners: [{}, { protocol: 'tcp' }] }), [], 'DNS has both')
  t.deepEqual(problems({ listeners: [{}, {}] }), ['/listeners/1/port: port 53 of 127.0.0.1 is taken already, by listener l0'])
  t.deepEqual(problems({ listeners: [{ port: 50, portEnd: 60 }, { port: 60, portEnd: 70 }] }), ['/listeners/1/port: port 60 of 127.0.0.1 is taken already, by listener l0'])
  t.deepEqual(problems({ listeners: [{ port: 50, portEnd: 60 }, { address: '0.0.0.0', port: 55 }] }), ['/listeners/1/port: port 55 of 0.0.0.0 is taken already, by listener l0'])
  t.deepEqual(problems({ listeners: [{ port: 50, portEnd: 59 }, { port: 60, portEnd: 70 }] }), [])
})

test('loops are found for each transport, in ranges and at the client’s port', (t) => {
  const here = [{ name: 'm', address: '127.0.0.1', port: 55 }]
  t.regex(problems({ listeners: [{ port: 50, portEnd: 60 }], members: here })[0]!, /this member is listener l0 itself: traffic would go in a circle/)
  t.deepEqual(problems({ listeners: [{ port: 50, portEnd: 54 }], members: here }), [])
  t.deepEqual(problems({ listeners: [{ port: 50, portEnd: 54 }, { port: 55, protocol: 'tcp', pool: 'p', address: '127.0.0.2' }], members: here }), [])
  // The member's port is another one, but that is for its health check.
  t.regex(problems({ listeners: [{ port: 50, portEnd: 54, memberPort: 'same' }], members: here })[0]!, /listener l0 itself/)
})

/** Transports of two versions on loopback: which protocol they use, what they pass over, when they refuse each other. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Packr } from 'msgpackr'
import test, { type ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { createAuthority, createRequest, issue, type CertificateAuthority } from '../certificates.ts'
import type { NodeId, Peer } from '../core/types.ts'
import type { Versions } from '../versions.ts'
import { Transport } from './transport.ts'
import { encodeFrame } from './wire.ts'

const clusterId = '01234567-89ab-cdef-0123-456789abcdef'
const older: Versions = { protocol: { min: 1, max: 1 }, commandLevel: 1, product: '0.1.0' }
const newer: Versions = { protocol: { min: 1, max: 2 }, commandLevel: 2, product: '0.2.0' }

async function until(what: string, condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out waiting until ${what}`)
    await sleep(5)
  }
}

interface Node {
  readonly transport: Transport
  readonly peer: Peer
  readonly certificate: string
  readonly key: string
  readonly gossip: string[]
  readonly requests: string[]
  readonly disconnected: NodeId[]
  readonly warnings: string[]
}

async function open(t: ExecutionContext, authority: CertificateAuthority, id: NodeId, versions: Versions, port = 0): Promise<Node> {
  const { csrPem, keyPem } = await createRequest(id)
  const certificate = await issue(authority, csrPem, { id, role: 'node', address: '127.0.0.1:1', apiAddress: '' })
  const [gossip, requests, disconnected, warnings]: string[][] = [[], [], [], []]
  const transport = await Transport.open({
    self: id, clusterId, listen: { host: '127.0.0.1', port }, key: keyPem, ca: authority.certificatePem, certificate, versions, join: undefined,
    mayConnect: () => true, log: (level, message) => void (level === 'warn' && warnings!.push(message)),
    handlers: {
      message: () => undefined,
      gossip: (from, data) => void gossip!.push(`${from}: ${Buffer.from(data).toString()}`),
      request: async (_from, request) => {
        requests!.push(request.type)
        return { ok: true, index: 1 }
      },
      snapshot: () => undefined, connected: () => undefined, disconnected: (peer) => void disconnected!.push(peer),
    },
  })
  t.teardown(() => transport.close(true))
  const peer: Peer = { id, role: 'node', address: `127.0.0.1:${transport.port}`, apiAddress: '' }
  return { transport, peer, certificate, key: keyPem, gossip: gossip!, requests: requests!, disconnected: disconnected!, warnings: warnings! }
}

function meet(...nodes: Node[]): void {
  for (const { transport } of nodes) transport.setPeers(nodes.map(({ peer }) => peer))
}

test.serial('an older and a newer one use what both speak, and each knows what the other is', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await open(t, authority, 'a', older), await open(t, authority, 'b', newer)]
  meet(a, b)
  await until('they are connected', () => a.transport.connected('b') && b.transport.connected('a'))
  t.deepEqual([a.transport.protocol('b'), b.transport.protocol('a')], [1, 1])
  t.deepEqual(a.transport.announced('b'), newer)
  t.deepEqual(b.transport.announced('a'), older)
  const c = await open(t, authority, 'c', newer)
  meet(a, b, c)
  await until('the newer ones are connected', () => b.transport.connected('c'))
  t.is(b.transport.protocol('c'), 2)
})

test.serial('a request that only the newer one knows is answered "not supported", and the stream goes on', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await open(t, authority, 'a', older), await open(t, authority, 'b', newer)]
  meet(a, b)
  await until('they are connected', () => a.transport.connected('b') && b.transport.connected('a'))
  t.deepEqual(await b.transport.request('a', { type: 'later', what: 1 } as never), {
    ok: false, code: 'not-supported', retrySafe: true, detail: 'a runs version 0.1.0, which does not know the request "later": upgrade a',
  })
  t.deepEqual(a.requests, [], 'nothing was done')
  t.deepEqual(await b.transport.request('a', { type: 'read-index', later: 'field' } as never), { ok: true, index: 1 }, 'a field more does not matter')
  t.deepEqual([a.transport.unknownFrames, a.disconnected, b.disconnected], [1, [], []])
})

test.serial('frames of a kind that is not known are counted and do not end the stream', async (t) => {
  const authority = await createAuthority(clusterId)
  const a = await open(t, authority, 'a', older)
  const { csrPem, keyPem } = await createRequest('b')
  const cert = await issue(authority, csrPem, { id: 'b', role: 'node', address: '127.0.0.1:1', apiAddress: '' })
  const ws = new WebSocket(`wss://127.0.0.1:${a.transport.port}/log`, { key: keyPem, cert, rejectUnauthorized: false })
  t.teardown(() => ws.terminate())
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  const packr = new Packr({ useRecords: false })
  ws.send(encodeFrame({ kind: 'hello', id: 'b', clusterId, session: Buffer.alloc(8, 1), key: Buffer.alloc(32, 2), versions: newer }))
  ws.send(packr.pack([57, 'what is this?']))
  ws.send(packr.pack([57]))
  ws.send(encodeFrame({ kind: 'gossip', data: Buffer.from('after it') }))
  await until('what came after it is there', () => a.gossip.length > 0)
  t.deepEqual(a.gossip, ['b: after it'])
  t.is(a.transport.unknownFrames, 2)
  t.true(a.transport.connected('b'))
})

test.serial('without a common protocol there is no stream; both say why; after the upgrade there is one', async (t) => {
  const authority = await createAuthority(clusterId)
  const far: Versions = { protocol: { min: 2, max: 3 }, commandLevel: 3, product: '0.3.0' }
  const [a, b] = [await open(t, authority, 'a', older), await open(t, authority, 'b', far)]
  meet(a, b)
  await until('both say so', () => a.warnings.length > 0 && b.warnings.length > 0)
  t.regex(a.warnings[0]!, /^b \(version 0\.3\.0\) speaks protocol 2 to 3, this node \(version 0\.1\.0\) 1: no stream .*; upgrade this node to a version that speaks protocol 2,/)
  t.regex(b.warnings[0]!, /^a \(version 0\.1\.0\) speaks protocol 1, this node \(version 0\.3\.0\) 2 to 3: no stream .*; upgrade a to a version that speaks protocol 2,/)
  t.false(a.transport.connected('b') || b.transport.connected('a'))
  t.deepEqual([a.transport.announced('b'), a.transport.protocol('b')], [far, undefined])
  const { port } = a.transport
  await a.transport.close(true)
  const upgraded = await open(t, authority, 'a', newer, port)
  meet(upgraded, b)
  await until('they are connected', () => upgraded.transport.connected('b') && b.transport.connected('a'))
  t.is(b.transport.protocol('a'), 2)
})

/** Two and three transports on loopback: mutual TLS, who may connect, datagrams and their fallback, snapshots. */
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { createAuthority, createRequest, issue, type CertificateAuthority } from '../certificates.ts'
import type { Message, NodeId, Peer } from '../core/types.ts'
import { DatagramSocket } from './datagrams.ts'
import type { NetworkHandlers } from '../environment.ts'
import { Transport } from './transport.ts'
import type { SnapshotSink } from './snapshots.ts'
import type { SnapshotMessage } from './wire.ts'

const clusterId = '01234567-89ab-cdef-0123-456789abcdef'

async function until(what: string, condition: () => boolean, timeoutMs = 15_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out waiting until ${what}`)
    await sleep(5)
  }
}

class Node {
  readonly id: NodeId
  readonly messages: Message[] = []
  readonly events: string[] = []
  members = new Set<NodeId>()
  sink: ((message: SnapshotMessage) => SnapshotSink | undefined) | undefined
  transport!: Transport

  constructor(id: NodeId) {
    this.id = id
  }

  get peer(): Peer {
    return { id: this.id, role: 'node', address: `127.0.0.1:${this.transport.port}`, apiAddress: '' }
  }

  async open(t: ExecutionContext, authority: CertificateAuthority, over: { port?: number; clusterId?: string } = {}): Promise<this> {
    const { csrPem, keyPem } = await createRequest(this.id)
    const peer: Peer = { id: this.id, role: 'node', address: '127.0.0.1:1', apiAddress: '' }
    const handlers: NetworkHandlers = {
      message: (message) => void this.messages.push(message),
      gossip: (from, data) => void this.events.push(`gossip ${from} ${Buffer.from(data).toString()}`),
      request: async (from, request) => {
        if (request.type === 'remove-peer' && request.id === 'never') return new Promise(() => undefined)
        return { from, type: request.type }
      },
      snapshot: (_from, message) => this.sink?.(message),
      connected: (id) => void this.events.push(`connected ${id}`),
      disconnected: (id) => void this.events.push(`disconnected ${id}`),
    }
    this.transport = await Transport.open({
      self: this.id, clusterId: over.clusterId ?? clusterId, listen: { host: '127.0.0.1', port: over.port ?? 0 }, key: keyPem, ca: authority.certificatePem,
      certificate: await issue(authority, csrPem, peer), mayConnect: (id) => this.members.has(id), join: undefined, handlers, log: () => undefined,
    })
    t.teardown(() => this.transport.close(true))
    return this
  }
}

function meet(...nodes: Node[]): void {
  for (const node of nodes) node.members = new Set(nodes.map(({ id }) => id))
  for (const node of nodes) node.transport.setPeers(nodes.map(({ peer }) => peer))
}

const connected = (a: Node, b: Node) => a.transport.connected(b.id) && b.transport.connected(a.id)

async function pair(t: ExecutionContext): Promise<[Node, Node, CertificateAuthority]> {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await new Node('a').open(t, authority), await new Node('b').open(t, authority)]
  meet(a, b)
  await until('they are connected', () => connected(a, b))
  return [a, b, authority]
}

const heartbeat = (from: NodeId, to: NodeId, sequence: number): Message => ({ type: 'heartbeat', from, to, term: 1, sequence, commit: 0 })

test.serial('messages of every kind arrive, in the name of the certificate', async (t) => {
  const [a, b] = await pair(t)
  const data = Buffer.alloc(3_000_000, 9)
  const append: Message = { type: 'append', from: 'mallory', to: 'b', term: 1, prevIndex: 0, prevTerm: 0, count: 1, commit: 0, entries: [{ index: 1, term: 1, type: 'command', data }] }
  t.true(a.transport.send(append))
  await until('it is there', () => b.messages.some(({ type }) => type === 'append'))
  const received = b.messages.find(({ type }) => type === 'append') as Extract<Message, { type: 'append' }>
  t.is(received.from, 'a')
  t.true(Buffer.from(received.entries[0]!.data).equals(data))
  b.transport.gossip(Buffer.from('hello'))
  await until('gossip', () => a.events.includes('gossip b hello'))
  t.deepEqual(await a.transport.request('b', { type: 'remove-peer', id: 'x' }), { from: 'a', type: 'remove-peer' })
  t.is(a.transport.request('c', { type: 'remove-peer', id: 'x' }), 'not-sent')
  t.true(a.transport.lastHeardMs('b')! <= performance.now())
  t.is(a.transport.lastHeardMs('c'), undefined)
})

test.serial('heartbeats become datagrams once they are known to arrive', async (t) => {
  const [a, b] = await pair(t)
  let sequence = 0
  const datagrams = () => {
    const counts = new Map<number, number>()
    for (const message of b.messages) if (message.type === 'heartbeat') counts.set(message.sequence, (counts.get(message.sequence) ?? 0) + 1)
    return counts
  }
  // At first over both ways, so twice; then only once.
  await until('only one copy arrives', () => {
    sequence += 1
    a.transport.send(heartbeat('a', 'b', sequence))
    return [...datagrams()].filter(([, count]) => count === 1).length > 20
  })
  t.is(b.transport.rejectedDatagrams, 0)
})

test.serial('where UDP is blocked heartbeats go over the stream', async (t) => {
  // eslint-disable-next-line typescript/unbound-method
  const { send } = DatagramSocket.prototype
  DatagramSocket.prototype.send = () => undefined
  t.teardown(() => (DatagramSocket.prototype.send = send))
  const [a, b] = await pair(t)
  for (let sequence = 1; sequence <= 50; sequence += 1) a.transport.send(heartbeat('a', 'b', sequence))
  await until('all are there', () => b.messages.length === 50)
  t.deepEqual(b.messages.map((message) => (message as { sequence: number }).sequence), Array.from({ length: 50 }, (_, at) => at + 1))
})

test.serial('a stream that breaks comes back, and what was asked on it is answered with "unknown"', async (t) => {
  const [a, b, authority] = await pair(t)
  const { port } = b.transport
  const open = a.transport.request('b', { type: 'remove-peer', id: 'never' })
  await b.transport.close(true)
  t.is(await open, undefined)
  await until('a knows', () => !a.transport.connected('b'))
  t.false(a.transport.send({ type: 'snapshot-request', from: 'a', to: 'b', term: 1 }))
  const again = new Node('b')
  again.members = new Set(['a', 'b'])
  await again.open(t, authority, { port })
  await until('it is back', () => a.transport.connected('b'))
  // The new process knows nothing of the old sessions: datagrams get through nevertheless.
  let sequence = 0
  await until('heartbeats arrive', () => {
    a.transport.send(heartbeat('a', 'b', (sequence += 1)))
    return again.messages.length > 0
  })
})

test.serial('strangers, impostors and removed members get no stream', async (t) => {
  const [a, b, authority] = await pair(t)
  const url = `wss://127.0.0.1:${a.transport.port}/log`
  const dial = (options: object, path = url) => new Promise<string>((resolve) => {
    const ws = new WebSocket(path, { rejectUnauthorized: false, ...options })
    ws.on('open', () => resolve('open'))
    ws.on('error', (error) => resolve(error.message))
  })
  const certified = async (id: string, by: CertificateAuthority) => {
    const { csrPem, keyPem } = await createRequest(id)
    return { key: keyPem, cert: await issue(by, csrPem, { id, role: 'node', address: 'x:1', apiAddress: '' }) }
  }
  t.regex(await dial({}), /403/, 'no certificate')
  t.regex(await dial(await certified('b', await createAuthority(clusterId))), /403/, 'another CA')
  t.regex(await dial(await certified('c', authority)), /403/, 'not a member')
  t.regex(await dial(await certified('a', authority)), /403/, 'itself')
  t.regex(await dial(await certified('b', authority), `wss://127.0.0.1:${a.transport.port}/other`), /403/, 'another path')
  t.is(await dial(await certified('b', authority)), 'open')

  // A server that is not who it should be: c answers at b's address.
  const c = await new Node('c').open(t, authority)
  c.members = new Set(['a', 'c'])
  a.members = new Set(['a', 'b', 'd'])
  a.transport.setPeers([{ ...c.peer, id: 'd' }, b.peer])
  await sleep(300)
  t.false(a.transport.connected('d'))
  t.false(c.events.includes('connected a'))

  a.members = new Set(['a'])
  a.transport.setPeers([])
  await until('b is cut off', () => !b.transport.connected('a'))
  t.false(a.transport.connected('b'))
  t.false(a.transport.send(heartbeat('a', 'b', 1)))
})

test.serial('a node of another cluster with the same CA is refused', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await new Node('a').open(t, authority), await new Node('b').open(t, authority, { clusterId: '11111111-89ab-cdef-0123-456789abcdef' })]
  meet(a, b)
  await sleep(500)
  t.false(a.transport.connected('b'))
  t.false(b.transport.connected('a'))
})

const membership = { voters: [{ id: 'a', role: 'node', address: 'a:1', apiAddress: 'a:2' }], learners: [] } as const
const snapshotMessage = (bytes: number): SnapshotMessage => ({ type: 'snapshot', from: 'a', to: 'b', term: 1, meta: { index: 9, term: 1, membership, bytes } })

async function* chunksOf(count: number, size = 200_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < count; at += 1) yield Buffer.alloc(size, at)
}

test.serial('a snapshot is streamed with bounded memory, and other messages pass it', async (t) => {
  const [a, b] = await pair(t)
  let written = 0
  let highest = 0
  let under = 0
  const gate = Promise.withResolvers<void>()
  const ended: string[] = []
  b.sink = () => ({
    write: async (data) => {
      under += 1
      highest = Math.max(highest, under)
      if (written === 3) await gate.promise
      written += 1
      t.is(data[0], written - 1)
      under -= 1
    },
    end: async () => void ended.push('end'),
    abort: () => void ended.push('abort'),
  })
  let produced = 0
  const sent = a.transport.sendSnapshot(snapshotMessage(8_000_000), (async function* () {
    for await (const chunk of chunksOf(40)) {
      produced += 1
      yield chunk
    }
  })())
  await until('it is held up', () => written === 3)
  a.transport.send({ type: 'snapshot-request', from: 'a', to: 'b', term: 1 })
  await until('another message passes', () => b.messages.length === 1)
  t.true(produced <= 3 + 4 + 1, `${produced} chunks were read ahead`)
  gate.resolve()
  t.true(await sent)
  t.is(written, 40)
  t.is(highest, 1, 'one write at a time')
  t.deepEqual(ended, ['end'])
})

test.serial('a snapshot that is refused, cannot be stored, or breaks off is not taken for sent', async (t) => {
  const [a, b] = await pair(t)
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), chunksOf(1)), 'refused')
  const ended: string[] = []
  b.sink = () => ({ write: () => Promise.reject(new Error('disk full')), end: async () => void ended.push('end'), abort: () => void ended.push('abort') })
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), chunksOf(10)), 'not stored')
  t.deepEqual(ended, ['abort'])
  b.sink = () => ({ write: async () => undefined, end: () => Promise.reject(new Error('too late')), abort: () => void ended.push('abort') })
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), chunksOf(2)), 'not ended')
  const never = Promise.withResolvers<void>()
  t.teardown(() => never.resolve())
  b.sink = () => ({ write: () => never.promise, end: async () => undefined, abort: () => void ended.push('abort') })
  const sent = a.transport.sendSnapshot(snapshotMessage(1), chunksOf(10))
  await sleep(50)
  await b.transport.close(true)
  t.false(await sent, 'broken off')
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), chunksOf(1)), 'not connected')
})

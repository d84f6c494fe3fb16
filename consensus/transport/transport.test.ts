/** Two and three transports on loopback: mutual TLS, who may connect, datagrams and their fallback, snapshots. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { WebSocket } from 'ws'
import { createAuthority, createRequest, issue, type CertificateAuthority } from '../certificates.ts'
import type { Message, NodeId, Peer } from '../core/types.ts'
import { certificateFingerprint } from '../identity.ts'
import { DatagramSocket } from './datagrams.ts'
import type { NetworkHandlers } from '../environment.ts'
import { Transport } from './transport.ts'
import { chunkChecksum } from '../storage/records.ts'
import { IncomingSnapshot, type SnapshotPayload, type SnapshotSink } from './snapshots.ts'
import type { Stream } from './stream.ts'
import type { Frame, SnapshotMessage } from './wire.ts'

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
  sink: ((message: SnapshotMessage, sha256: string) => SnapshotSink | undefined) | undefined
  transport!: Transport
  /** Of its certificate. */
  fingerprint = ''
  readonly warnings: string[] = []

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
      snapshot: (_from, message, sha256) => this.sink?.(message, sha256),
      connected: (id) => void this.events.push(`connected ${id}`),
      disconnected: (id) => void this.events.push(`disconnected ${id}`),
      disowned: (id) => void this.events.push(`disowned by ${id}`),
    }
    const certificate = await issue(authority, csrPem, peer)
    this.fingerprint = certificateFingerprint(certificate)
    this.transport = await Transport.open({
      self: this.id, clusterId: over.clusterId ?? clusterId, listen: { host: '127.0.0.1', port: over.port ?? 0 }, key: keyPem, ca: authority.certificatePem,
      certificate, mayConnect: (id) => this.members.has(id), join: undefined, handlers,
      log: (level, message) => void (level === 'warn' && this.warnings.push(message)),
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

test.serial('bug: what was asked on a stream that died unnoticed, while another took its place, was never answered', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await new Node('a').open(t, authority), await new Node('b').open(t, authority)]
  for (const node of [a, b]) node.members = new Set(['a', 'b'])
  // Between them: a way that swallows what b sends, and that a has hung up, on every connection made so far.
  const ways: { swallows: boolean }[] = []
  const sockets = new Set<Socket>()
  const between = createServer((near) => {
    const way = { swallows: false }
    ways.push(way)
    const far = connect(b.transport.port, '127.0.0.1')
    for (const socket of [near, far]) sockets.add(socket.on('error', () => undefined))
    near.on('data', (data) => far.write(data)).on('close', () => way.swallows || far.destroy())
    far.on('data', (data) => way.swallows || near.write(data)).on('close', () => near.destroy())
  })
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    between.close()
    for (const socket of sockets) socket.destroy()
  })
  a.transport.setPeers([{ ...b.peer, address: `127.0.0.1:${(between.address() as AddressInfo).port}` }])
  await until('they are connected', () => connected(a, b))
  for (const way of ways) way.swallows = true
  let answered = false
  const asked = b.transport.request('a', { type: 'read-index' })
  t.not(asked, 'not-sent')
  void (asked as Promise<unknown>).then((reply) => {
    t.is(reply, undefined, 'it is not known what became of it')
    answered = true
  })
  await until('a has made another stream', () => ways.length > 1 && connected(a, b))
  await until('it is answered', () => answered)
  t.true(connected(a, b))
  t.deepEqual(await b.transport.request('a', { type: 'read-index' }), { from: 'b', type: 'read-index' })
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

test.serial('a certified bearer of a member\'s name is refused, dialled or dialling, when the record names another certificate', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b, old] = [await new Node('a').open(t, authority), await new Node('b').open(t, authority), await new Node('b').open(t, authority)]
  a.members = new Set(['a', 'b'])
  b.members = new Set(['a', 'b'])
  old.members = new Set(['a', 'b'])
  // a dials the address of the old one, and the old one dials a.
  a.transport.setPeers([{ ...old.peer, fingerprint: b.fingerprint }])
  await until('a says so', () => a.warnings.length > 0)
  old.transport.setPeers([{ ...a.peer, fingerprint: a.fingerprint }])
  await until('the old one learns of it', () => old.events.includes('disowned by a'))
  await until('it goes on trying', () => old.events.filter((event) => event === 'disowned by a').length > 3)
  t.deepEqual(a.warnings, ['the certificate of b is not that of the member b: refused; was the node removed and joined again, and is its old data directory in use?'])
  t.false(a.transport.connected('b') || old.transport.connected('a'))
  // The right one.
  a.transport.setPeers([{ ...b.peer, fingerprint: b.fingerprint }])
  b.transport.setPeers([{ ...a.peer, fingerprint: a.fingerprint }])
  await until('they are connected', () => connected(a, b))
  t.false(old.transport.connected('a'))
  // It is removed and joins again with the certificate of the third: its streams end at once, datagrams too.
  let sequence = 0
  await until('datagrams arrive', () => {
    b.transport.send(heartbeat('b', 'a', (sequence += 1)))
    return a.messages.length > 0
  })
  a.transport.setPeers([{ ...b.peer, fingerprint: old.fingerprint }])
  t.false(a.transport.connected('b'))
  await sleep(50)
  const heard = a.messages.length
  for (let more = 1; more <= 20; more += 1) b.transport.send(heartbeat('b', 'a', sequence + more))
  await until('the old one is taken', () => connected(a, old))
  t.is(a.messages.length, heard)
})

test.serial('what the cluster was before a recovery is refused, and that is said', async (t) => {
  const authority = await createAuthority(clusterId)
  const [a, b] = [await new Node('a').open(t, authority), await new Node('b').open(t, authority, { clusterId: `${clusterId}/1` })]
  meet(a, b)
  await until('both say so', () => a.warnings.length > 0 && b.warnings.length > 0)
  t.regex(a.warnings[0]!, /another generation of this cluster/)
  t.false(connected(a, b))
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

function payloadOf(count: number, size = 200_000, produced: (chunk: number) => void = () => undefined): SnapshotPayload {
  return {
    sha256: 'that of the whole',
    open: async function* (from) {
      for (let at = from; at < count; at += 1) {
        produced(at)
        yield Buffer.alloc(size, at)
      }
    },
  }
}

test.serial('a snapshot is streamed with bounded memory, and other messages pass it', async (t) => {
  const [a, b] = await pair(t)
  let written = 0
  let highest = 0
  let under = 0
  const gate = Promise.withResolvers<void>()
  const ended: string[] = []
  b.sink = () => ({
    start: async () => 0,
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
  const sent = a.transport.sendSnapshot(snapshotMessage(8_000_000), payloadOf(40, 200_000, () => (produced += 1)))
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
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(1)), 'refused')
  const ended: string[] = []
  const sink = (over: Partial<SnapshotSink>) => () =>
    ({ start: async () => 0, write: async () => undefined, end: async () => undefined, abort: () => void ended.push('abort'), ...over })
  b.sink = sink({ start: () => Promise.reject(new Error('disk full')) })
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(10)), 'not begun')
  t.deepEqual(ended, ['abort'])
  b.sink = sink({ write: () => Promise.reject(new Error('disk full')), end: async () => void ended.push('end') })
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(10)), 'not stored')
  t.deepEqual(ended, ['abort', 'abort'])
  b.sink = sink({ end: () => Promise.reject(new Error('too late')) })
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(2)), 'not ended')
  const never = Promise.withResolvers<void>()
  t.teardown(() => never.resolve())
  b.sink = sink({ write: () => never.promise })
  const sent = a.transport.sendSnapshot(snapshotMessage(1), payloadOf(10))
  await sleep(50)
  await b.transport.close(true)
  t.false(await sent, 'broken off')
  t.false(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(1)), 'not connected')
})

test.serial('a snapshot starts at the chunk that the receiver asks for', async (t) => {
  const [a, b] = await pair(t)
  const got: number[] = []
  let announced = ''
  b.sink = (_message, sha256) => {
    announced = sha256
    return { start: async () => 7, write: async (data) => void got.push(data[0]!), end: async () => undefined, abort: () => undefined }
  }
  const produced: number[] = []
  t.true(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(10, 1000, (chunk) => produced.push(chunk))))
  t.deepEqual(got, [7, 8, 9])
  t.deepEqual(produced, [7, 8, 9])
  t.is(announced, 'that of the whole')
  b.sink = () => ({ start: async () => 10, write: async (data) => void got.push(data[0]!), end: async () => void got.push(-1), abort: () => undefined })
  t.true(await a.transport.sendSnapshot(snapshotMessage(1), payloadOf(10)), 'all of it is there already')
  t.deepEqual(got, [7, 8, 9, -1])
})

/** The receiving side of a transfer without a network: what it answers and what is stored. */
function receiver() {
  const answers: string[] = []
  const stored: number[] = []
  const stream = {
    send: (frame: Frame) => {
      if (frame.kind === 'snapshot-credit') answers.push(frame.ok ? 'ok' : 'no')
      else answers.push(frame.kind)
    },
  } as Stream
  let aborted = 0
  const incoming = new IncomingSnapshot(stream, 1, {
    start: async () => 2, write: async (data) => void stored.push(data[0]!), end: async () => void stored.push(-1), abort: () => (aborted += 1),
  })
  return { incoming, answers, stored, aborted: () => aborted }
}

const chunk = (number: number) => Buffer.alloc(1000, number)

test('a damaged chunk, and one that is not the next, is refused before it is stored', async (t) => {
  const bad: [string, (incoming: IncomingSnapshot) => void][] = [
    ['damaged', (incoming) => incoming.chunk(3, chunkChecksum(3, chunk(3)), Buffer.alloc(1000, 4))],
    ['checksum of another place', (incoming) => incoming.chunk(3, chunkChecksum(4, chunk(3)), chunk(3))],
    ['left out', (incoming) => incoming.chunk(4, chunkChecksum(4, chunk(4)), chunk(4))],
    ['twice', (incoming) => incoming.chunk(2, chunkChecksum(2, chunk(2)), chunk(2))],
  ]
  for (const [what, send] of bad) {
    const { incoming, answers, stored, aborted } = receiver()
    await until('it is ready', () => answers.length === 1)
    incoming.chunk(2, chunkChecksum(2, chunk(2)), chunk(2))
    await until('it is stored', () => stored.length === 1)
    send(incoming)
    incoming.chunk(3, chunkChecksum(3, chunk(3)), chunk(3))
    incoming.end()
    await new Promise((resolve) => setImmediate(resolve))
    t.deepEqual(answers, ['snapshot-ready', 'ok', 'no'], what)
    t.deepEqual(stored, [2], what)
    t.is(aborted(), 1, what)
  }
})

test('chunks that nobody asked for yet, or more than may be under way, are refused', async (t) => {
  const early = receiver()
  early.incoming.chunk(2, chunkChecksum(2, chunk(2)), chunk(2))
  await new Promise((resolve) => setImmediate(resolve))
  t.deepEqual(early.stored, [])
  t.true(early.answers.includes('no'))
  const flood = receiver()
  await until('it is ready', () => flood.answers.length === 1)
  for (let number = 2; number < 8; number += 1) flood.incoming.chunk(number, chunkChecksum(number, chunk(number)), chunk(number))
  await new Promise((resolve) => setImmediate(resolve))
  t.true(flood.stored.length <= 4)
  t.is(flood.answers.at(-1), 'no')
  t.is(flood.aborted(), 1)
})

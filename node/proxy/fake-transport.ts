/**
 * For tests: connections without a kernel. A test says when a peer connects, sends, ends, and how much is taken of what is written,
 * so that it can reach states that real sockets reach only by luck.
 */
import { validateDocument } from '../config/validate.ts'
import { HttpClient } from './http/client.ts'
import { MemberPool } from './http/member.ts'
import { KeptFilterMemory } from './filters/memory.ts'
import { poolsOf } from './pool.ts'
import { ListenerRuntime, Runtime } from './runtime.ts'
import { compileTable, type RouteTable } from './route/table.ts'
import { allocate, errorCodes, ListenerField, Shared, type ErrorCode } from './shared.ts'
import type { Connection, ConnectionOwner, Endpoints, Transport } from './transport/transport.ts'

const nobody: ConnectionOwner = {
  connected: () => undefined,
  received: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
}

export class FakeConnection implements Connection {
  owner: ConnectionOwner = nobody
  endpoints: Endpoints = { source: '192.0.2.1', sourcePort: 40000, destination: '192.0.2.2', destinationPort: 80 }
  readonly address: string
  /** What goes out in front of everything else. */
  first = ''
  /** Each buffer as it was handed over, for those who ask what is held. */
  readonly held: Buffer[] = []
  /** What was written. */
  sent = ''
  /** What the kernel has taken of it, read from the buffers only then: one that was written anew meanwhile shows. */
  taken = ''
  /** The kernel takes nothing: writes return false. */
  stuck = false
  paused = false
  isEnded = false
  isClosed = false
  isAborted = false

  constructor(address = '') {
    this.address = address
  }
  get remoteAddress(): string {
    return this.endpoints.source
  }
  announce(endpoints: Endpoints): void {
    this.endpoints = endpoints
  }
  get flushed(): boolean {
    return this.held.length === 0
  }
  write(data: Buffer): boolean {
    if (this.isEnded || this.isClosed) throw new Error('a write after the end')
    this.sent += data.toString('latin1')
    if (!this.stuck && this.held.length === 0) {
      this.taken += data.toString('latin1')
      return true
    }
    this.held.push(data)
    return false
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  end(): void {
    this.isEnded = true
  }
  close(): void {
    if (this.isClosed) return
    this.isClosed = true
    queueMicrotask(() => this.owner.closed(this, ''))
  }
  abort(): void {
    this.isAborted = true
    this.close()
  }

  // — what the peer does —

  receives(text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    // The buffer is the transport's: valid during the call only.
    this.owner.received(this, bytes, 0, bytes.length)
    bytes.fill(0x21)
  }
  connects(): void {
    this.owner.connected(this)
  }
  peerEnds(): void {
    this.owner.ended(this)
  }
  breaks(error: string): void {
    this.isClosed = true
    this.owner.closed(this, error)
  }
  drains(): void {
    this.stuck = false
    for (const data of this.held) this.taken += data.toString('latin1')
    this.held.length = 0
    this.owner.drained(this)
  }
}

/** One listener and its runtime, on fakes. */
export class FakeProxy {
  readonly connections: FakeConnection[] = []
  readonly shared: Shared
  readonly runtime: Runtime
  readonly listener: ListenerRuntime
  readonly members: MemberPool
  readonly table: RouteTable

  constructor(input: unknown) {
    const checked = validateDocument(input)
    if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
    let next = 0
    const table = compileTable(1, checked.document, { listener: () => 0, route: () => 0, pool: () => 0, member: () => next++ }, new KeptFilterMemory())
    this.table = table
    this.shared = new Shared(allocate(1), 0)
    for (let slot = 0; slot < next; slot++) this.shared.setHealth(slot, 'up')
    const transport: Transport = {
      listen: () => Promise.reject(new Error('a fake does not listen')),
      secure: () => {
        throw new Error('a fake has no TLS')
      },
      connect: (host, port, owner, _tls, first) => {
        const connection = new FakeConnection(`${host}:${port}`)
        connection.first = first?.toString('latin1') ?? ''
        connection.owner = owner
        this.connections.push(connection)
        return connection
      },
    }
    this.runtime = new Runtime(transport, this.shared, 'test', 0)
    this.listener = new ListenerRuntime(table.listeners[0]!, poolsOf(table, this.shared), this.runtime)
    this.members = new MemberPool(this.runtime)
  }

  /** A document with one listener `web` and one pool of so many members. */
  static with(members: number, listener: object = {}, pool: object = {}): FakeProxy {
    return new FakeProxy({
      haechi: 1,
      pools: [
        {
          name: 'web',
          healthCheck: { type: 'none' },
          members: Array.from({ length: members }, (_, i) => ({ name: `m${i}`, address: `192.0.2.${10 + i}`, port: 80 })),
          ...pool,
        },
      ],
      listeners: [{ name: 'web', address: '127.0.0.1', port: 80, pool: 'web', ...listener }],
    })
  }

  /** A fresh HTTP client of the listener. */
  client(): FakeConnection {
    const connection = new FakeConnection()
    this.shared.openConnection(0, 1000)
    void new HttpClient(this.runtime, this.listener, this.members, connection, () => undefined)
    return connection
  }

  /** The newest connection to a member. */
  get last(): FakeConnection {
    return this.connections.at(-1)!
  }

  /** The coarse clock goes on, and every deadline is looked at. */
  passes(ms: number): void {
    this.runtime.sweep(this.runtime.nowMs + ms)
  }

  errors(): Partial<Record<ErrorCode, number>> {
    const counted = errorCodes.map((code, i): [string, number] => [code, this.shared.listenerTotal(0, ListenerField.errors + i)])
    return Object.fromEntries(counted.filter(([, count]) => count > 0))
  }

  /** Active exchanges of all members. */
  active(): number {
    let sum = 0
    for (let slot = 0; slot < 16; slot++) sum += this.shared.active(slot)
    return sum
  }
}

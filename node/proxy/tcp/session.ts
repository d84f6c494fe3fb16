/** One client of a TCP listener: choose a member, connect (others if it fails), then tunnel. */
import { MemberField, ListenerField, type ErrorCode } from '../shared.ts'
import { ascii } from '../http/bytes.ts'
import { chooseFor, type Stick } from '../persistence.ts'
import type { PoolRuntime } from '../pool.ts'
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import { SessionFacts } from '../filters/observer.ts'
import type { PoolQueue, Waiter } from '../queue.ts'
import type { Ticket } from '../wait-queue.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { proxyHeader } from './proxy-protocol.ts'
import { Tunnel } from './tunnel.ts'

const nothing = Buffer.alloc(0)

export class TcpSession implements ConnectionOwner, Timed, Waiter {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #client: Connection
  readonly #pool: PoolRuntime | undefined
  readonly #port: number
  readonly #gone: (session: TcpSession) => void
  readonly #tried: number[] = []
  #stick: Stick | undefined
  #index = -1
  readonly #key: number
  readonly #address: Uint8Array
  readonly #facts: SessionFacts
  /** Its place in the queue of the pool, while it waits there. */
  #ticket: Ticket<Waiter> | undefined
  #member: Connection | undefined
  #deadlineMs = Infinity
  /** Of the member tried last. */
  #failure: ErrorCode = 'member-connect-failed'
  /** When connecting began; only where the pool measures. */
  #connectMs = 0
  #clientEnded = false
  #early: Buffer = nothing
  #tunnel: Tunnel | undefined
  #finished = false

  /** `port`: where the client has connected to. */
  constructor(runtime: Runtime, listener: ListenerRuntime, client: Connection, port: number, gone: (session: TcpSession) => void, pool = listener.pools[listener.plan.pool]) {
    this.#runtime = runtime
    this.#listener = listener
    this.#client = client
    this.#port = port
    this.#gone = gone
    this.#pool = pool
    this.#address = ascii(client.remoteAddress)
    this.#facts = new SessionFacts(this.#pool, listener.observer)
    this.#key = this.#pool?.keyOfAddress(this.#address) ?? 0
    client.owner = this
    client.pause()
    runtime.timed.add(this)
    runtime.shared.addListener(listener.plan.slot, ListenerField.requests, 1)
    const refusal = this.#pool?.health.gated === true ? this.#pool.health.refuses() : ''
    if (refusal === '') this.#connect()
    else this.#fail(refusal)
  }

  /** A shutdown that has waited long enough. */
  close(): void {
    this.#tunnel?.close()
    if (this.#tunnel === undefined) this.#fail('client-closed')
  }

  #connect(): void {
    const pool = this.#pool
    this.#index = -1
    // Nobody overtakes those who wait already.
    if (pool?.queue?.waits === true && this.#tried.length === 0) return this.#wait(pool.queue)
    if (pool !== undefined) [this.#index, this.#stick] = chooseFor(this.#client.remoteAddress, this.#stick, pool, this.#tried, this.#key)
    if (this.#index < 0 && pool?.queue !== undefined && pool.full && this.#tried.length === 0) return this.#wait(pool.queue)
    if (pool === undefined || this.#index < 0) return this.#fail(this.#tried.length === 0 ? 'no-member-available' : this.#failure)
    this.#reach(pool)
  }

  #reach(pool: PoolRuntime): void {
    const member = pool.plan.members[this.#index]!
    this.#facts.chosen(this.#index)
    this.#tried.push(this.#index)
    this.#deadlineMs = this.#runtime.nowMs + pool.plan.connectMs
    if (pool.measures) this.#connectMs = performance.now()
    const { proxyVersion } = pool.plan
    const header = proxyVersion === 0 ? undefined : proxyHeader(proxyVersion, this.#client.endpoints)
    this.#member = this.#runtime.transport.connect(member.address, this.#listener.plan.layer4.samePort ? this.#port : member.port, this, this.#runtime.memberTls(member), header)
  }

  // — in the queue of the pool, while all members are at their limits —

  #wait(queue: PoolQueue): void {
    this.#ticket = queue.join(this, undefined, undefined, undefined, this.#runtime)
    if (this.#ticket === undefined) this.#fail('queue-full')
  }

  takePlace(): boolean {
    const pool = this.#pool!
    ;[this.#index, this.#stick] = chooseFor(this.#client.remoteAddress, this.#stick, pool, this.#tried, this.#key)
    if (this.#index < 0) return false
    this.#ticket = undefined
    this.#reach(pool)
    return true
  }

  waitedInVain(code: ErrorCode): void {
    this.#fail(code)
  }

  get hopeless(): boolean {
    return !this.#pool!.full
  }

  connected(connection: Connection): void {
    if (connection !== this.#member || this.#pool === undefined) return
    const { slot } = this.#pool.plan.members[this.#index]!
    this.#facts.connectedMs = performance.now()
    this.#runtime.shared.addMember(slot, MemberField.requests, 1)
    if (this.#pool.health.counts) this.#pool.health.succeeded(slot)
    if (this.#pool.measures) this.#runtime.shared.recordLatency(slot, Math.round((performance.now() - this.#connectMs) * 1000))
    this.#runtime.timed.delete(this)
    const ended = this.#clientEnded
    this.#tunnel = new Tunnel(this.#runtime, this.#listener, this.#client, connection, slot, (error) => {
      if (error !== '') this.#runtime.error(this.#listener, error)
      this.#facts.code = error
      this.#finish()
    })
    const early = this.#early
    this.#early = nothing
    if (early.length > 0) this.#tunnel.received(this.#client, early, 0, early.length)
    if (ended) this.#tunnel.ended(this.#client)
  }

  /** The client is paused until there is a member; what had come before that (behind a PROXY header) waits. */
  received(connection: Connection, buffer: Buffer, start: number, end: number): void {
    if (connection === this.#client) this.#early = Buffer.concat([this.#early, buffer.subarray(start, end)])
  }
  ended(connection: Connection): void {
    if (connection === this.#client) this.#clientEnded = true
  }
  drained(): void {
    // Nothing has been written.
  }

  closed(connection: Connection, error: string): void {
    if (this.#finished) return
    if (connection === this.#client) {
      this.#runtime.error(this.#listener, 'client-closed')
      this.#facts.code = 'client-closed'
      this.#member?.close()
      return this.#finish()
    }
    if (connection !== this.#member) return
    // Not the member's fault, and another one would not help.
    if (error === 'EMFILE' || error === 'ENFILE') this.#fail('descriptor-limit')
    else this.#failed(error.startsWith('tls ') ? 'member-tls-failed' : 'member-connect-failed')
  }

  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return
    const member = this.#member
    this.#member = undefined
    member?.close()
    this.#failed()
  }

  #failed(code: ErrorCode = 'member-connect-failed'): void {
    const pool = this.#pool!
    const { slot } = pool.plan.members[this.#index]!
    pool.release(this.#index)
    this.#runtime.shared.addMember(slot, MemberField.connectFailures, 1)
    if (pool.health.counts) pool.health.failed(slot)
    if (pool.measures) this.#runtime.shared.recordFailure(slot)
    this.#member = undefined
    this.#index = -1
    this.#failure = code
    if (this.#tried.length > pool.plan.retries) return this.#fail(code)
    this.#connect()
  }

  #fail(code: ErrorCode): void {
    if (this.#finished) return
    this.#runtime.error(this.#listener, code)
    this.#facts.code = code
    this.#member?.close()
    // A reset, so that the client sees a refusal and no empty answer.
    this.#client.abort()
    this.#finish()
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    if (this.#ticket !== undefined) this.#pool!.queue!.leave(this.#ticket, this.#runtime)
    if (this.#tunnel !== undefined) {
      this.#facts.bytesIn = this.#tunnel.bytesIn
      this.#facts.bytesOut = this.#tunnel.bytesOut
    }
    this.#facts.finish(this.#client, this.#address)
    if (this.#index >= 0) this.#pool!.release(this.#index)
    this.#runtime.shared.closeConnection(this.#listener.plan.slot)
    this.#gone(this)
  }
}

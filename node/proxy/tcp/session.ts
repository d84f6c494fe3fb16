/** One client of a TCP listener: choose a member, connect (others if it fails), then tunnel. */
import { MemberField, ListenerField, type ErrorCode } from '../shared.ts'
import { ascii } from '../http/bytes.ts'
import type { PoolRuntime } from '../pool.ts'
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { Tunnel } from './tunnel.ts'

export class TcpSession implements ConnectionOwner, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #client: Connection
  readonly #pool: PoolRuntime | undefined
  readonly #gone: (session: TcpSession) => void
  readonly #tried: number[] = []
  #index = -1
  readonly #key: number
  #member: Connection | undefined
  #deadlineMs = Infinity
  #clientEnded = false
  #tunnel: Tunnel | undefined
  #finished = false

  constructor(runtime: Runtime, listener: ListenerRuntime, client: Connection, gone: (session: TcpSession) => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#client = client
    this.#gone = gone
    this.#pool = listener.pools[listener.plan.pool]
    this.#key = this.#pool?.keyOfAddress(ascii(client.remoteAddress)) ?? 0
    client.owner = this
    client.pause()
    runtime.timed.add(this)
    runtime.shared.addListener(listener.plan.slot, ListenerField.requests, 1)
    this.#connect()
  }

  /** A shutdown that has waited long enough. */
  close(): void {
    this.#tunnel?.close()
    if (this.#tunnel === undefined) this.#fail('client-closed')
  }

  #connect(): void {
    const pool = this.#pool
    this.#index = pool?.pick(this.#tried, this.#key) ?? -1
    if (pool === undefined || this.#index < 0) return this.#fail(this.#tried.length === 0 ? 'no-member-available' : 'member-connect-failed')
    const member = pool.plan.members[this.#index]!
    this.#tried.push(this.#index)
    this.#deadlineMs = this.#runtime.nowMs + pool.plan.connectMs
    this.#member = this.#runtime.transport.connect(member.address, member.port, this)
  }

  connected(connection: Connection): void {
    if (connection !== this.#member || this.#pool === undefined) return
    const { slot } = this.#pool.plan.members[this.#index]!
    this.#runtime.shared.addMember(slot, MemberField.requests, 1)
    this.#runtime.timed.delete(this)
    const ended = this.#clientEnded
    this.#tunnel = new Tunnel(this.#runtime, this.#listener, this.#client, connection, (error) => {
      if (error !== '') this.#runtime.error(this.#listener, error)
      this.#finish()
    })
    if (ended) this.#tunnel.ended(this.#client)
  }

  received(): void {
    // The client is paused until there is a member.
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
      this.#member?.close()
      return this.#finish()
    }
    if (connection === this.#member) this.#failed(error === '' ? 'ECONNRESET' : error)
  }

  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return
    const member = this.#member
    this.#member = undefined
    member?.close()
    this.#failed('ETIMEDOUT')
  }

  #failed(_error: string): void {
    const pool = this.#pool!
    const { slot } = pool.plan.members[this.#index]!
    this.#runtime.shared.addActive(slot, -1)
    this.#runtime.shared.addMember(slot, MemberField.connectFailures, 1)
    this.#member = undefined
    this.#index = -1
    if (this.#tried.length > pool.plan.retries) return this.#fail('member-connect-failed')
    this.#connect()
  }

  #fail(code: ErrorCode): void {
    if (this.#finished) return
    this.#runtime.error(this.#listener, code)
    this.#member?.close()
    // A reset, so that the client sees a refusal and no empty answer.
    this.#client.abort()
    this.#finish()
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    if (this.#index >= 0) this.#runtime.shared.addActive(this.#pool!.plan.members[this.#index]!.slot, -1)
    this.#runtime.shared.closeConnection(this.#listener.plan.slot)
    this.#gone(this)
  }
}

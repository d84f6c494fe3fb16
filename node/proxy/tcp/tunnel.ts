/**
 * Bytes both ways between two connections, with half-close and backpressure: TCP listeners, and HTTP connections after a
 * switch of protocols. Ends after a silence in both directions.
 */
import { ListenerField } from '../shared.ts'
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'

/** Why it ended before both sides did; empty: they did, or one closed in order. */
type TunnelError = 'tunnel-timeout' | 'member-drained' | 'client-reset' | 'member-reset' | ''

export class Tunnel implements ConnectionOwner, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #client: Connection
  readonly #member: Connection
  readonly #memberSlot: number
  readonly #done: (error: TunnelError) => void
  readonly #idleMs: number
  /** From the client to the member, and back. */
  bytesIn = 0
  bytesOut = 0
  #activeMs: number
  #clientEnded = false
  #memberEnded = false
  #clientClosed = false
  #memberClosed = false
  #reason: TunnelError = ''
  #finished = false

  /** `memberSlot`: the member's place in shared memory. `done` is called once, when both connections are closed: until then it counts, and its deadline holds. */
  constructor(runtime: Runtime, listener: ListenerRuntime, client: Connection, member: Connection, memberSlot: number, done: (error: TunnelError) => void, idleMs: number = listener.plan.tunnelMs) {
    this.#runtime = runtime
    this.#listener = listener
    this.#client = client
    this.#member = member
    this.#memberSlot = memberSlot
    this.#done = done
    this.#idleMs = idleMs
    this.#activeMs = runtime.nowMs
    client.owner = this
    member.owner = this
    runtime.timed.add(this)
    client.resume()
    member.resume()
  }

  connected(): void {
    // Both are.
  }

  received(connection: Connection, buffer: Buffer, start: number, end: number): void {
    this.#activeMs = this.#runtime.nowMs
    const fromClient = connection === this.#client
    if (fromClient) this.bytesIn += end - start
    else this.bytesOut += end - start
    this.#runtime.shared.addListener(this.#listener.plan.slot, fromClient ? ListenerField.bytesIn : ListenerField.bytesOut, end - start)
    if (!this.#runtime.forward(fromClient ? this.#member : this.#client, buffer, start, end)) connection.pause()
  }

  /** Sends what the client had sent before there was a tunnel; the listener has counted it already. */
  sendEarly(buffer: Buffer, length: number): void {
    this.bytesIn += length
    if (!this.#runtime.forward(this.#member, buffer, 0, length)) this.#client.pause()
  }

  ended(connection: Connection): void {
    this.#activeMs = this.#runtime.nowMs
    if (connection === this.#client) {
      this.#clientEnded = true
      this.#member.end()
    } else {
      this.#memberEnded = true
      this.#client.end()
    }
    // Both ended: what is still to be sent is sent, then they close by themselves.
  }

  drained(connection: Connection): void {
    this.#activeMs = this.#runtime.nowMs
    if (connection === this.#client) this.#member.resume()
    else this.#client.resume()
  }

  closed(connection: Connection, error: string): void {
    let other = this.#client
    // The first failure is the reason; what it does to the other side is not another one.
    if (error !== '' && this.#reason === '' && !this.#clientClosed && !this.#memberClosed) this.#reason = connection === this.#client ? 'client-reset' : 'member-reset'
    if (connection === this.#client) {
      this.#clientClosed = true
      other = this.#member
    } else this.#memberClosed = true
    if (this.#clientClosed && this.#memberClosed) return this.#finish(this.#reason)
    // After an orderly end the other one has time to send the rest; a failure of one side must be seen on the other.
    if (this.#clientEnded && this.#memberEnded) return
    if (error === '') other.close()
    else other.abort()
  }

  sweep(nowMs: number): void {
    if (this.#runtime.shared.isCut(this.#memberSlot)) this.#finish('member-drained')
    else if (nowMs - this.#activeMs >= this.#idleMs) this.#finish('tunnel-timeout')
    else return
    this.#client.close()
    this.#member.close()
  }

  close(): void {
    this.#client.close()
    this.#member.close()
  }

  #finish(error: TunnelError): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    this.#done(error)
  }
}

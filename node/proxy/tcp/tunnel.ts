/**
 * Bytes both ways between two connections, with half-close and backpressure: TCP listeners, and HTTP connections after a
 * switch of protocols. Ends after a silence in both directions.
 */
import { ListenerField } from '../shared.ts'
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'

export class Tunnel implements ConnectionOwner, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #client: Connection
  readonly #member: Connection
  readonly #done: (error: 'tunnel-timeout' | '') => void
  readonly #idleMs: number
  #activeMs: number
  #clientEnded = false
  #memberEnded = false
  #clientClosed = false
  #memberClosed = false
  #finished = false

  /** `done` is called once, when both connections are closed: until then it counts, and its deadline holds. */
  constructor(runtime: Runtime, listener: ListenerRuntime, client: Connection, member: Connection, done: (error: 'tunnel-timeout' | '') => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#client = client
    this.#member = member
    this.#done = done
    this.#idleMs = listener.plan.tunnelMs
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
    this.#runtime.shared.addListener(this.#listener.plan.slot, fromClient ? ListenerField.bytesIn : ListenerField.bytesOut, end - start)
    if (!this.#runtime.forward(fromClient ? this.#member : this.#client, buffer, start, end)) connection.pause()
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
    if (connection === this.#client) {
      this.#clientClosed = true
      other = this.#member
    } else this.#memberClosed = true
    if (this.#clientClosed && this.#memberClosed) return this.#finish('')
    // After an orderly end the other one has time to send the rest; a failure of one side must be seen on the other.
    if (this.#clientEnded && this.#memberEnded) return
    if (error === '') other.close()
    else other.abort()
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#activeMs < this.#idleMs) return
    this.#finish('tunnel-timeout')
    this.#client.close()
    this.#member.close()
  }

  close(): void {
    this.#client.close()
    this.#member.close()
  }

  #finish(error: 'tunnel-timeout' | ''): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    this.#done(error)
  }
}

/** An accepted connection until its TLS handshake is done: bounded in number and time, and counted when it fails. */
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { ErrorCode } from '../shared.ts'
import type { Connection } from '../transport/transport.ts'

export class TlsHandshake implements Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #deadlineMs: number
  readonly #done: (connection: Connection) => void
  readonly #failed: () => void
  #cancel: () => void = () => undefined
  #counted = false
  over = false

  /**
   * Exactly one of the two is called, perhaps before this returns. `done`: the secured connection has an owner to get; `failed`: it is closed.
   * @param first what has been received already
   */
  constructor(runtime: Runtime, listener: ListenerRuntime, connection: Connection, first: Buffer | undefined, done: (connection: Connection) => void, failed: () => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#done = done
    this.#failed = failed
    const plan = listener.plan.tls
    this.#deadlineMs = runtime.nowMs + (plan?.handshakeMs ?? 0)
    if (listener.tls === undefined || plan === undefined || listener.handshakes >= plan.maxHandshakes) {
      connection.abort()
      this.#fail(listener.tls === undefined ? 'tls-handshake-failed' : 'tls-handshake-limit')
      return
    }
    this.#counted = true
    listener.handshakes++
    runtime.timed.add(this)
    this.#cancel = runtime.transport.secure(connection, listener.tls, first, {
      secured: (secured) => {
        if (!this.#end()) return
        this.#done(secured)
      },
      failed: (_error, refusal) => this.#fail(refusal === '' ? 'tls-handshake-failed' : `tls-${refusal}-refused`),
    })
  }

  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return
    this.#cancel()
    this.#fail('tls-handshake-timeout')
  }

  /** The listener's time is over. */
  close(): void {
    this.#cancel()
    this.#fail('client-closed')
  }

  #fail(code: ErrorCode): void {
    if (!this.#end()) return
    this.#runtime.error(this.#listener, code)
    this.#failed()
  }

  #end(): boolean {
    if (this.over) return false
    this.over = true
    if (this.#counted) this.#listener.handshakes--
    this.#runtime.timed.delete(this)
    return true
  }
}

/** A connection of a tls-passthrough listener: its ClientHello is read, not opened; then it is a tunnel to the pool of its name. */
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { ErrorCode } from '../shared.ts'
import { TcpSession } from '../tcp/session.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { HelloReader, maxHelloBytes } from './client-hello.ts'

const nothing = Buffer.alloc(0)

export class Passthrough implements ConnectionOwner, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #client: Connection
  readonly #port: number
  readonly #gone: (client: Passthrough) => void
  readonly #deadlineMs: number
  #reader = new HelloReader()
  #kept: Buffer = nothing
  #length = 0
  #session: TcpSession | undefined
  #over = false

  /** `port`: where the client has connected to. */
  constructor(runtime: Runtime, listener: ListenerRuntime, client: Connection, port: number, gone: (client: Passthrough) => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#client = client
    this.#port = port
    this.#gone = gone
    this.#deadlineMs = runtime.nowMs + listener.plan.requestHeadMs
    client.owner = this
    runtime.timed.add(this)
  }

  close(): void {
    if (this.#session !== undefined) this.#session.close()
    else this.#fail('client-closed')
  }

  connected(): void {
    // Accepted connections are.
  }

  received(_connection: Connection, buffer: Buffer, start: number, end: number): void {
    if (this.#over) return
    if (this.#kept.length < this.#length + end - start) {
      const grown = Buffer.allocUnsafe(Math.max(2048, 2 * (this.#length + end - start)))
      this.#kept.copy(grown, 0, 0, this.#length)
      this.#kept = grown
    }
    buffer.copy(this.#kept, this.#length, start, end)
    this.#length += end - start
    const result = this.#reader.read(this.#kept, 0, this.#length)
    if (result === 'more' && this.#length < maxHelloBytes) return
    if (result !== 'done') return this.#fail('tls-hello-invalid')
    this.#go(this.#reader.serverName)
  }

  #go(serverName: string): void {
    const { plan, pools } = this.#listener
    const route = serverName === '' ? undefined : plan.routes.find(({ exactHosts, hostSuffixes }) => exactHosts.includes(serverName) || hostSuffixes.some((suffix) => serverName.endsWith(suffix)))
    const pool = pools[route?.pool ?? plan.pool]
    if (pool === undefined) return this.#fail('tls-name-refused')
    const kept = this.#kept
    this.#kept = nothing
    this.#runtime.timed.delete(this)
    const session: TcpSession = new TcpSession(this.#runtime, this.#listener, this.#client, this.#port, () => this.#end(), pool)
    this.#session = session
    // Behind a refusal nobody waits for it.
    if (!this.#over) session.received(this.#client, kept, 0, this.#length)
  }

  ended(): void {
    // A check that only connects is no error.
    if (this.#length === 0) this.#quit()
    else this.#fail('client-closed')
  }
  drained(): void {
    // Nothing has been written.
  }
  closed(): void {
    if (this.#over) return
    if (this.#length > 0) this.#runtime.error(this.#listener, 'client-closed')
    this.#leave()
  }

  sweep(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#fail('tls-handshake-timeout')
  }

  #fail(code: ErrorCode): void {
    if (this.#over) return
    this.#runtime.error(this.#listener, code)
    this.#client.abort()
    this.#leave()
  }

  #quit(): void {
    this.#client.close()
    this.#leave()
  }

  /** It never became a session. */
  #leave(): void {
    if (this.#over) return
    this.#runtime.shared.closeConnection(this.#listener.plan.slot)
    this.#end()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#runtime.timed.delete(this)
    this.#gone(this)
  }
}

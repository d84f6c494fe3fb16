/** An accepted connection until its PROXY header has been read: then it goes on with the addresses that the header names. */
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import type { ErrorCode } from '../shared.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { maxProxyHeaderBytes, readProxyHeader, scanProxyHeader } from './proxy-protocol.ts'

export class ProxyHeaderReader implements ConnectionOwner, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #connection: Connection
  readonly #sinceMs: number
  readonly #done: (rest: Buffer | undefined) => void
  readonly #failed: () => void
  /** What came so far; undefined while it came in one piece. */
  #kept: Buffer | undefined
  #length = 0
  #over = false

  /**
   * Exactly one of the two is called. `done`: the connection has another owner to get; `rest` is what came behind the header.
   * `failed`: it is closed.
   */
  constructor(runtime: Runtime, listener: ListenerRuntime, connection: Connection, done: (rest: Buffer | undefined) => void, failed: () => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#connection = connection
    this.#sinceMs = runtime.nowMs
    this.#done = done
    this.#failed = failed
    connection.owner = this
    runtime.timed.add(this)
  }

  connected(): void {
    // Accepted connections are.
  }

  received(connection: Connection, piece: Buffer, pieceStart: number, pieceEnd: number): void {
    if (this.#over) return
    let buffer = piece
    let start = pieceStart
    let end = pieceEnd
    const before = this.#length
    if (this.#kept !== undefined) {
      // Nothing longer is a header; what does not fit comes behind it.
      const taken = Math.min(pieceEnd - pieceStart, maxProxyHeaderBytes - this.#length)
      piece.copy(this.#kept, this.#length, pieceStart, pieceStart + taken)
      this.#length += taken
      buffer = this.#kept
      start = 0
      end = this.#length
    }
    const length = scanProxyHeader(buffer, start, end)
    if (length < 0) return this.#fail('proxy-header-invalid')
    if (length === 0) {
      if (this.#kept === undefined) {
        this.#kept = Buffer.alloc(maxProxyHeaderBytes)
        piece.copy(this.#kept, 0, pieceStart, pieceEnd)
        this.#length = pieceEnd - pieceStart
      }
      return
    }
    const endpoints = readProxyHeader(buffer, start, length)
    if (endpoints !== undefined) connection.announce(endpoints)
    // The header ends in this piece.
    const from = pieceStart + length - before
    this.#end()
    this.#done(from < pieceEnd ? Buffer.from(piece.subarray(from, pieceEnd)) : undefined)
  }

  ended(): void {
    // A check that only connects brings no header, and is no error.
    this.#fail(this.#length > 0 ? 'proxy-header-invalid' : '')
  }
  drained(): void {
    // Nothing has been written.
  }
  closed(): void {
    if (this.#over) return
    if (this.#length > 0) this.#runtime.error(this.#listener, 'client-closed')
    this.#end()
    this.#failed()
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#sinceMs >= this.#listener.plan.requestHeadMs) this.#fail('proxy-header-timeout')
  }

  /** The listener's time is over. */
  close(): void {
    this.#fail('')
  }

  #fail(code: ErrorCode | ''): void {
    if (this.#over) return
    this.#end()
    if (code !== '') this.#runtime.error(this.#listener, code)
    this.#connection.close()
    this.#failed()
  }

  #end(): void {
    this.#over = true
    this.#runtime.timed.delete(this)
  }
}

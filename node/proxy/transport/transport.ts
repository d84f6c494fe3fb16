/**
 * The seam to the kernel: connections and bytes. Protocol code is written once against it; `net.ts` is the implementation on
 * `node:net`, others may follow. `contract.ts` is the suite that each of them passes.
 */

/**
 * What a connection's owner wants to hear. One object may own many connections. After `closed` nothing more is called.
 */
export interface ConnectionOwner {
  /** Outgoing connections only: established. */
  connected(connection: Connection): void
  /** Bytes `[start, end)`; the buffer is valid during the call only. */
  received(connection: Connection, buffer: Buffer, start: number, end: number): void
  /** The peer will send no more. The other direction stays open. */
  ended(connection: Connection): void
  /** Everything that `write` took has been handed to the kernel, after it had returned false. */
  drained(connection: Connection): void
  /** Gone. `error`: empty for an orderly end, else the name of the error, such as `ECONNREFUSED` or `ECONNRESET`. */
  closed(connection: Connection, error: string): void
}

export interface Connection {
  /** Who hears of it; may be changed at any time. */
  owner: ConnectionOwner
  /** As text; an IPv4 client of a dual-stack listener has its IPv4 address. */
  readonly remoteAddress: string
  /**
   * Sends `[0, length)` of a buffer. Returns false when the kernel does not take it all now: stop writing until `drained`.
   * The buffer may be used again at once if `flushed` is true afterwards, else it belongs to the connection.
   */
  write(data: Buffer): boolean
  /** Nothing waits to be taken by the kernel. */
  readonly flushed: boolean
  /** Stop and go on delivering `received`. */
  pause(): void
  resume(): void
  /** Half-close: no more writes; what was written is still sent. */
  end(): void
  /** Closes now; what the kernel has not taken is lost. */
  close(): void
  /** Closes with a reset, so that the peer sees a failure and no orderly end. */
  abort(): void
}

export interface Acceptor {
  /** Stops accepting; connections live on. */
  close(): void
}

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Kernel queue of connections not yet accepted. */
  readonly backlog: number
}

export interface Transport {
  /** Resolves when it listens; rejects with the system's error. `accept` gives each new connection its owner. */
  listen(options: ListenOptions, accept: (connection: Connection) => void): Promise<Acceptor>
  /** Starts connecting; `connected` or `closed` follows. */
  connect(host: string, port: number, owner: ConnectionOwner): Connection
}

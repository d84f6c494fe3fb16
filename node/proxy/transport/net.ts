/** The transport on `node:net`: runs anywhere, needs no compiler. The default. */
import { connect, createServer, Socket } from 'node:net'
import { announce, endpointsOf, remoteAddressOf } from './endpoints.ts'
import { readInto } from './reading.ts'
import { connectSecurely, secureServer } from './tls.ts'
import type { Acceptor, ClientTls, Connection, ConnectionOwner, DescriptorCount, Endpoints, Handshake, ListenOptions, ServerTls, Transport } from './transport.ts'

const readBufferBytes = 64 * 1024

/** Nobody: for the moment between accepting and being owned. */
const nobody: ConnectionOwner = {
  connected: () => undefined,
  received: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
}

/** What Node's own writing passes for bytes; its type does not name it. */
const bytes = 'buffer' as BufferEncoding

/**
 * Writes go to `Socket._write`, past the queue of Node's stream: what the kernel takes at once is done when it returns, without
 * a request object kept, a tick or an event. And a failed write does not destroy the socket here: a server that answers early
 * (413) and closes makes the next write fail while its answer still waits to be read.
 */
class NetConnection implements Connection {
  owner: ConnectionOwner
  socket!: Socket
  #error = ''
  /** Writes that the kernel has not taken yet. */
  #waiting = 0
  #writing = false
  /** No write reaches the peer any more; what it sent before is still read. */
  #broken = false
  readonly #readsOn: boolean
  readonly #written = (error?: Error | null): void => {
    this.#waiting--
    if (error !== undefined && error !== null) this.#writeFailed(error)
    else if (this.#waiting === 0 && !this.#writing && !this.#broken && !this.socket.destroyed) this.owner.drained(this)
  }

  /** `readsOn`: after a failed write, what has arrived is delivered before `closed`. */
  constructor(owner: ConnectionOwner, readsOn: boolean) {
    this.owner = owner
    this.#readsOn = readsOn
  }

  attach(socket: Socket): void {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('end', () => {
      // The failure was told to the write: to a reader it looks like an orderly end, which it is not.
      if (this.#broken) socket.destroy()
      else this.owner.ended(this)
    })
    socket.on('error', (error) => (this.#error = codeOf(error)))
    socket.on('close', () => this.owner.closed(this, this.#error))
  }

  /** Gives its socket to a TLS handshake; the owner hears nothing more. */
  release(): Socket {
    this.owner = nobody
    this.socket.removeAllListeners('data')
    this.socket.pause()
    return this.socket
  }

  get remoteAddress(): string {
    return remoteAddressOf(this.socket)
  }
  get endpoints(): Endpoints {
    return endpointsOf(this.socket)
  }
  announce(endpoints: Endpoints): void {
    announce(this.socket, endpoints)
  }
  get flushed(): boolean {
    return this.#waiting === 0
  }
  write(data: Buffer): boolean {
    if (this.#broken || this.socket.destroyed) return true
    this.#waiting++
    this.#writing = true
    this.socket._write(data, bytes, this.#written)
    this.#writing = false
    return this.#waiting === 0
  }
  #writeFailed(error: Error): void {
    if (this.#broken || this.socket.destroyed) return
    this.#broken = true
    this.#error = codeOf(error)
    if (!this.#readsOn) this.socket.destroy()
  }
  pause(): void {
    this.socket.pause()
  }
  resume(): void {
    this.socket.resume()
  }
  end(): void {
    // What waits is sent first: the kernel's side of the socket keeps the order.
    this.socket.end()
  }
  close(): void {
    this.socket.destroy()
  }
  abort(): void {
    this.socket.resetAndDestroy()
  }
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}

/** A connection that fails as one does for which there is no descriptor. */
function refused(owner: ConnectionOwner): Connection {
  const connection = new NetConnection(owner, true)
  const socket = new Socket()
  connection.attach(socket)
  socket.destroy(Object.assign(new Error('no descriptor is left'), { code: 'EMFILE' }))
  return connection
}

/** `reads`: `events` is what a version of Node gets that does not let accepted sockets read into a given buffer (`reading.ts`). */
export function createNetTransport(descriptors?: DescriptorCount, reads: 'direct' | 'events' = 'direct'): Transport {
  const gone = (): void => descriptors?.countDescriptors(-1)
  /** A socket takes a descriptor until it is closed, whoever has it by then. */
  const count = (socket: Socket): void => {
    if (descriptors === undefined) return
    descriptors.countDescriptors(1)
    socket.on('close', gone)
  }
  // One buffer serves all reads of this thread: libuv reads into it and the owner takes the bytes before the next read.
  const readBuffer = Buffer.allocUnsafeSlow(readBufferBytes)
  const directBuffer = reads === 'direct' ? readBuffer : undefined
  return {
    listen(options: ListenOptions, accept: (connection: Connection) => void): Promise<Acceptor> {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        const connection = new NetConnection(nobody, false)
        connection.attach(socket)
        count(socket)
        const direct = readInto(socket, directBuffer, (length) => {
          connection.owner.received(connection, readBuffer, 0, length)
          return !socket.isPaused()
        })
        if (!direct) socket.on('data', (data: Buffer) => connection.owner.received(connection, data, 0, data.length))
        accept(connection)
      })
      return new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: options.host, port: options.port, backlog: options.backlog, reusePort: true, exclusive: true }, () => {
          server.off('error', reject)
          // A connection that could not be accepted: it is gone. Without a descriptor libuv closes it, and does not even tell.
          server.on('error', () => undefined)
          descriptors?.countDescriptors(1)
          resolve({
            close: () => {
              if (server.listening) gone()
              server.close()
            },
          })
        })
      })
    },

    secure(connection: Connection, tls: ServerTls, first: Buffer | undefined, handshake: Handshake): () => void {
      if (!(connection instanceof NetConnection)) throw new Error('only a plain connection of this transport can be secured')
      return secureServer(connection.release(), tls, first, handshake, directBuffer)
    },

    connect(host: string, port: number, owner: ConnectionOwner, tls?: ClientTls, first?: Buffer): Connection {
      if (descriptors?.mayConnect() === false) return refused(owner)
      if (tls !== undefined) return connectSecurely(host, port, owner, tls, first, count, directBuffer)
      const connection = new NetConnection(owner, true)
      const socket: Socket = connect({
        host,
        port,
        allowHalfOpen: true,
        noDelay: true,
        onread: {
          buffer: readBuffer,
          callback: (length: number) => {
            connection.owner.received(connection, readBuffer, 0, length)
            return !socket.isPaused()
          },
        },
      })
      connection.attach(socket)
      count(socket)
      socket.on('connect', () => {
        if (first !== undefined) connection.write(first)
        connection.owner.connected(connection)
      })
      return connection
    },
  }
}

/** The transport on `node:net`: runs anywhere, needs no compiler. The default. */
import { connect, createServer, type Socket } from 'node:net'
import type { Acceptor, Connection, ConnectionOwner, ListenOptions, Transport } from './transport.ts'

const readBufferBytes = 64 * 1024

/** Nobody: for the moment between accepting and being owned. */
const nobody: ConnectionOwner = {
  connected: () => undefined,
  received: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
}

class NetConnection implements Connection {
  owner: ConnectionOwner
  socket!: Socket
  #error = ''

  constructor(owner: ConnectionOwner) {
    this.owner = owner
  }

  attach(socket: Socket): void {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('end', () => this.owner.ended(this))
    socket.on('drain', () => this.owner.drained(this))
    socket.on('error', (error) => (this.#error = (error as NodeJS.ErrnoException).code ?? error.message))
    socket.on('close', () => this.owner.closed(this, this.#error))
  }

  get remoteAddress(): string {
    return this.socket.remoteAddress ?? ''
  }
  get flushed(): boolean {
    return this.socket.writableLength === 0
  }
  write(data: Buffer): boolean {
    return this.socket.destroyed || this.socket.write(data)
  }
  pause(): void {
    this.socket.pause()
  }
  resume(): void {
    this.socket.resume()
  }
  end(): void {
    this.socket.end()
  }
  close(): void {
    this.socket.destroy()
  }
  abort(): void {
    this.socket.resetAndDestroy()
  }
}

export function createNetTransport(): Transport {
  // One buffer serves all reads of this thread: libuv reads into it and the owner takes the bytes before the next read.
  const readBuffer = Buffer.allocUnsafeSlow(readBufferBytes)
  return {
    listen(options: ListenOptions, accept: (connection: Connection) => void): Promise<Acceptor> {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
        const connection = new NetConnection(nobody)
        connection.attach(socket)
        socket.on('data', (data: Buffer) => connection.owner.received(connection, data, 0, data.length))
        accept(connection)
      })
      return new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host: options.host, port: options.port, backlog: options.backlog, reusePort: true, exclusive: true }, () => {
          server.off('error', reject)
          server.on('error', () => undefined)
          resolve({ close: () => void server.close() })
        })
      })
    },

    connect(host: string, port: number, owner: ConnectionOwner): Connection {
      const connection = new NetConnection(owner)
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
      socket.on('connect', () => connection.owner.connected(connection))
      return connection
    },
  }
}

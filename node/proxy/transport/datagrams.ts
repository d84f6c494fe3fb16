/**
 * The seam to the kernel for datagrams, on `node:dgram`. Addresses are numeric, so that nothing is looked up and everything
 * happens at once. What the kernel does not take is dropped when too much waits: that is what a network does.
 */
import { createSocket, type Socket } from 'node:dgram'

/** Who hears of a socket. */
export interface DatagramOwner {
  /** The buffer is the owner's from here on. */
  received(data: Buffer, address: string, port: number): void
  /** `ECONNREFUSED`: the other side of a connected socket has said that nobody listens there. Other errors by their names. */
  failed(error: string): void
}

export interface DatagramSocket {
  /** To the peer of a connected socket, or to an address. @returns false: dropped, because too much waits to be sent */
  send(data: Buffer, address: string, port: number): boolean
  close(): void
}

export interface DatagramTransport {
  /** Listens; several sockets may have the same place, and the kernel gives each client's datagrams to one. Rejects with the system's error. */
  bind(host: string, port: number, owner: DatagramOwner): Promise<DatagramSocket>
  /** A socket of its own port that hears only of this peer. Throws the system's error. */
  connect(host: string, port: number, owner: DatagramOwner): DatagramSocket
}

/** A burst waits in the kernel (which may allow less). Bytes. */
const receiveBufferBytes = 1024 * 1024
/** Bytes that wait to be sent, of one socket. */
const maxQueuedBytes = 1024 * 1024

function isNumeric(address: string, _options: unknown, done: (error: Error | null, address: string, family: number) => void): void {
  done(null, address, address.includes(':') ? 6 : 4)
}

class NodeDatagrams implements DatagramSocket {
  readonly #socket: Socket
  readonly #connected: boolean
  /** A refusal is told to the send as well as to the reader, whichever comes first. */
  readonly #sent: ((error: Error | null) => void) | undefined
  #closed = false

  constructor(socket: Socket, connected: boolean, owner: DatagramOwner) {
    this.#socket = socket
    this.#connected = connected
    this.#sent = connected
      ? (error) => {
          if (error !== null && error !== undefined && !this.#closed) owner.failed(codeOf(error))
        }
      : undefined
    socket.on('message', (data, from) => owner.received(data, from.address, from.port))
    socket.on('error', (error) => {
      if (!this.#closed) owner.failed(codeOf(error))
    })
  }

  send(data: Buffer, address: string, port: number): boolean {
    if (this.#closed || this.#socket.getSendQueueSize() + data.length > maxQueuedBytes) return false
    if (this.#connected) this.#socket.send(data, this.#sent)
    // A failure to send an answer (no route, a fence) is a lost datagram.
    else this.#socket.send(data, port, address)
    return true
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#socket.close()
  }
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}

function socketFor(host: string, listens: boolean): Socket {
  return createSocket({
    type: host.includes(':') ? 'udp6' : 'udp4',
    lookup: isNumeric,
    ...(listens ? { reusePort: true, recvBufferSize: receiveBufferBytes } : {}),
  })
}

export function createNodeDatagrams(): DatagramTransport {
  return {
    bind(host, port, owner) {
      return new Promise((resolve, reject) => {
        const socket = socketFor(host, true)
        const failed = (error: Error): void => {
          socket.close()
          reject(error)
        }
        socket.once('error', failed)
        socket.bind({ address: host, port, exclusive: true }, () => {
          socket.off('error', failed)
          resolve(new NodeDatagrams(socket, false, owner))
        })
      })
    },

    connect(host, port, owner) {
      const socket = socketFor(host, false)
      let failure: Error | undefined
      const failed = (error: Error): void => void (failure = error)
      socket.once('error', failed)
      socket.connect(port, host)
      socket.off('error', failed)
      if (failure !== undefined) {
        socket.close()
        throw failure
      }
      return new NodeDatagrams(socket, true, owner)
    },
  }
}

/**
 * Bind mode's lock: an exclusive UDP socket on the VIP itself. On loopback all nodes share one kernel, so the kernel lets one
 * process have it. A frozen holder keeps it: nobody else can take over until it ends, which is the safe side.
 */
import { createSocket, type Socket } from 'node:dgram'

/** Not used for traffic: nothing listens on it and nothing is sent to it. */
export const defaultBindLockPort = 7946

export class BindLock {
  readonly address: string
  readonly #port: number
  #socket: Socket | undefined

  constructor(address: string, port: number) {
    this.address = address
    this.#port = port
  }

  get taken(): boolean {
    return this.#socket !== undefined
  }

  /** One attempt. Resolves with an error text, empty when taken. */
  take(): Promise<string> {
    if (this.#socket !== undefined) return Promise.resolve('')
    const socket = createSocket({ type: this.address.includes(':') ? 'udp6' : 'udp4', reuseAddr: false })
    return new Promise((resolve) => {
      socket.once('error', (error) => {
        socket.close()
        resolve((error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'another process holds it' : error.message)
      })
      socket.bind({ address: this.address, port: this.#port, exclusive: true }, () => {
        socket.on('error', () => undefined)
        this.#socket = socket
        resolve('')
      })
    })
  }

  release(): void {
    this.#socket?.close()
    this.#socket = undefined
  }
}

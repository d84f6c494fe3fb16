/**
 * Bind mode, for clusters on one machine's loopback: the holder alone listens on a VIP. All nodes share one kernel, so an
 * exclusive UDP socket on the VIP is the lock: the kernel gives it to one process and takes it back when that ends. A frozen
 * holder keeps it, and nobody else can listen before it ends: the safe side.
 *
 * Order of acquiring: lock → listen. Order of giving up: stop listening → lock.
 */
import { createSocket, type Socket } from 'node:dgram'

/** Not used for traffic: nothing listens on it and nothing is sent to it. */
export const defaultBindLockPort = 7946

const lockRetryMs = 20
const listenRetryMs = 1000
/** The former holder may take so long to let go before it counts as a failure. */
const patienceMs = 500

export interface BindOptions {
  readonly lockPort: number
  readonly clock: () => number
  /** Listen on exactly these addresses. Resolves with an error text, or empty. */
  readonly listenChange: (addresses: readonly string[]) => Promise<string>
  /** An address is listened on, or cannot be yet. */
  readonly report: (address: string, outcome: 'acquired' | 'blocked', error: string) => void
}

interface Claim {
  socket: Socket | undefined
  readonly sinceMs: number
}

export class BindAnnouncer {
  readonly #options: BindOptions
  #wanted: ReadonlySet<string> = new Set()
  readonly #claims = new Map<string, Claim>()
  /** What the listeners' owner was last told; after an error, what it may be listening on. */
  #listening: ReadonlySet<string> = new Set()
  #listenError = ''
  #working: Promise<void> | undefined
  #dirty = false
  #retry: NodeJS.Timeout | undefined

  constructor(options: BindOptions) {
    this.#options = options
  }

  /** Declares which addresses shall be held. */
  want(addresses: readonly string[]): void {
    const wanted = new Set(addresses)
    if (sameSet(wanted, this.#wanted)) return
    this.#wanted = wanted
    this.#kick()
  }

  /** Resolves when what is not wanted is no longer listened on and its lock is free. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  #kick(): void {
    clearTimeout(this.#retry)
    this.#dirty = true
    this.#working ??= this.#work().finally(() => (this.#working = undefined))
  }

  #again(afterMs: number): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.#kick(), afterMs)
  }

  async #work(): Promise<void> {
    while (this.#dirty) {
      this.#dirty = false
      await this.#giveUp()
      await this.#acquire()
    }
  }

  async #giveUp(): Promise<void> {
    const kept = new Set([...this.#listening].filter((address) => this.#wanted.has(address)))
    // An error here means that the owner does not answer: it has ended, or is being ended by who starts it.
    if (kept.size < this.#listening.size) await this.#listen(kept)
    for (const [address, { socket }] of this.#claims) {
      if (this.#wanted.has(address) || this.#listening.has(address)) continue
      socket?.close()
      this.#claims.delete(address)
    }
  }

  async #acquire(): Promise<void> {
    const now = this.#options.clock()
    let missing = false
    for (const address of this.#wanted) {
      const claim = this.#claims.get(address) ?? { socket: undefined, sinceMs: now }
      this.#claims.set(address, claim)
      if (claim.socket !== undefined) continue
      const { socket, error } = await bindExclusively(address, this.#options.lockPort)
      claim.socket = socket
      if (socket !== undefined) continue
      missing = true
      if (this.#options.clock() - claim.sinceMs >= patienceMs && this.#wanted.has(address)) this.#options.report(address, 'blocked', error)
    }
    // While waiting for the locks the lease may have gone.
    if (this.#dirty) return
    const locked = new Set([...this.#wanted].filter((address) => this.#claims.get(address)?.socket !== undefined))
    if (!sameSet(locked, this.#listening) || this.#listenError !== '') {
      const error = await this.#listen(locked)
      if (this.#dirty) return
      for (const address of locked) this.#options.report(address, error === '' ? 'acquired' : 'blocked', error)
    }
    if (missing) this.#again(lockRetryMs)
    else if (this.#listenError !== '' && locked.size > 0) this.#again(listenRetryMs)
  }

  async #listen(addresses: ReadonlySet<string>): Promise<string> {
    this.#listenError = await this.#options.listenChange([...addresses])
    this.#listening = addresses
    return this.#listenError
  }
}

function sameSet(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((one) => b.has(one))
}

function bindExclusively(address: string, port: number): Promise<{ socket: Socket | undefined; error: string }> {
  const socket = createSocket({ type: address.includes(':') ? 'udp6' : 'udp4', reuseAddr: false })
  return new Promise((resolve) => {
    socket.once('error', (error) => {
      socket.close()
      const taken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
      resolve({ socket: undefined, error: taken ? `another process holds ${address}` : `${address} cannot be locked: ${error.message}` })
    })
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error').on('error', () => undefined)
      resolve({ socket, error: '' })
    })
  })
}

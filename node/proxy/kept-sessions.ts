/** The session table of the data plane on the main thread: made when the first pool needs it, kept from then on. */
import { randomBytes } from 'node:crypto'
import { maxSessionEntries } from '../config/persistence-schema.ts'
import { SessionKeeper, type KeptPool } from '../sessions/keeper.ts'
import { allocateSessions, ticksPerSecond } from '../sessions/table.ts'
import type { ProxyOptions } from './proxy.ts'
import type { RouteTable } from './route/table.ts'
import type { Shared } from './shared.ts'

export class KeptSessions {
  readonly secret: Uint8Array
  /** Undefined until a pool needs it. */
  keeper: SessionKeeper | undefined
  buffer: SharedArrayBuffer | undefined
  readonly #options: ProxyOptions
  readonly #shared: Shared
  readonly #workers: number
  #timer: NodeJS.Timeout | undefined

  constructor(options: ProxyOptions, shared: Shared, workers: number) {
    this.secret = options.persistenceSecret ?? randomBytes(32)
    this.#options = options
    this.#shared = shared
    this.#workers = workers
  }

  /** To be called before a table comes into force. `made`: tells the workers of the memory. */
  configure(table: RouteTable, made: (buffer: SharedArrayBuffer) => void): void {
    const pools = table.pools.flatMap(({ name, slot, members, persistence }): KeptPool[] =>
      persistence === undefined || persistence.type === 'cookie'
        ? []
        : [{ name, slot, members, type: persistence.type, ttlMs: persistence.ttlMs, maxEntries: persistence.maxEntries }],
    )
    if (pools.length > 0 && this.keeper === undefined) this.#make(made)
    if (this.keeper?.configure(pools) === true) this.#options.sessionsWanted?.()
  }

  #make(made: (buffer: SharedArrayBuffer) => void): void {
    const buffer = allocateSessions(maxSessionEntries, this.#workers)
    const keeper = new SessionKeeper(
      {
        buffer,
        workers: this.#workers,
        secret: this.secret,
        usable: (member) => this.#shared.keepsClients(member),
        replicate: this.#options.replicate,
      },
      performance.now(),
    )
    this.buffer = buffer
    this.keeper = keeper
    this.#timer = setInterval(() => keeper.tick(performance.now()), 1000 / ticksPerSecond)
    this.#timer.unref()
    made(buffer)
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}

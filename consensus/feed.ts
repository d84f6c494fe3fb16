/**
 * Hands committed entries to the state machine: each exactly once and in order, one call at a time, from the cache or from
 * disk, starting with the stored snapshot. A replay starts over; the order is exact because there is only this one loop.
 */
import type { ConsensusHooks } from './consensus.ts'
import type { Entry } from './core/types.ts'
import { pause, type Clock } from './environment.ts'
import { StorageError, type LogStorage } from './storage/storage.ts'

const maxBatchEntries = 256
const maxBatchBytes = 1024 * 1024

export interface FeedOptions {
  readonly storage: LogStorage
  readonly clock: Clock
  readonly hooks: Pick<ConsensusHooks, 'committed' | 'restore'>
  /** Entries that are in memory; undefined when the first is not. */
  readonly cached: (from: number, to: number, maxBytes: number) => Entry[] | undefined
  /** The log cannot be read, or a hook threw. */
  readonly failed: (error: Error) => void
}

export class Feed {
  readonly #options: FeedOptions
  #commitIndex = 0
  #handed = 0
  #restoreWanted: boolean
  /** Raised by every replay: what a hook call that is under way does counts for the state machine before. */
  #round = 0
  #running = false
  #stopped = false
  #waiters: (() => void)[] = []

  constructor(options: FeedOptions) {
    this.#options = options
    this.#restoreWanted = options.storage.snapshot !== undefined
  }

  /** Known to be committed and durable here. */
  get commitIndex(): number {
    return this.#commitIndex
  }
  /** Handed on up to here. */
  get handed(): number {
    return this.#handed
  }

  /** Everything up to `index` is committed and durable. */
  committed(index: number): void {
    if (index > this.#commitIndex) this.#commitIndex = index
    this.#run()
  }

  /** Starts over for a new state machine; resolves when everything committed by then has been handed on. */
  replay(): Promise<void> {
    this.#round += 1
    this.#handed = 0
    this.#restoreWanted = this.#options.storage.snapshot !== undefined
    this.#commitIndex = Math.max(this.#commitIndex, this.#options.storage.snapshot?.index ?? 0)
    return new Promise((resolve) => {
      this.#waiters.push(resolve)
      this.#run()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#release()
  }

  #run(): void {
    if (this.#running || this.#stopped) return
    this.#running = true
    this.#loop().catch((error: unknown) => {
      // Left running: nothing may be handed on after a gap.
      if (!this.#stopped) this.#options.failed(error as Error)
    })
  }

  async #loop(): Promise<void> {
    const { storage, hooks } = this.#options
    while (!this.#stopped) {
      const round = this.#round
      if (this.#restoreWanted || this.#handed + 1 < storage.firstIndex) {
        const reading = storage.readSnapshot()
        if (reading === undefined) throw new Error('the log starts behind a snapshot that is not there')
        this.#restoreWanted = false
        try {
          await hooks.restore(reading.meta, reading.open(0))
        } finally {
          reading.close()
        }
        if (round !== this.#round) continue
        this.#handed = reading.meta.index
        this.#commitIndex = Math.max(this.#commitIndex, reading.meta.index)
        continue
      }
      if (this.#handed >= this.#commitIndex) break
      const from = this.#handed + 1
      const to = Math.min(this.#commitIndex, this.#handed + maxBatchEntries)
      const entries = this.#options.cached(from, to, maxBatchBytes) ?? (await this.#read(from, to))
      if (round !== this.#round || entries === undefined) continue
      // Nothing there: a snapshot has just replaced the log, and the next round restores it.
      if (entries.length === 0) {
        if (this.#handed + 1 >= storage.firstIndex) throw new Error(`committed entry ${from} is not in the log`)
        continue
      }
      await hooks.committed(entries)
      if (round === this.#round) this.#handed = entries.at(-1)!.index
    }
    this.#running = false
    this.#release()
  }

  /** Waits out a disk that cannot be read for the moment; a damaged log is an error. */
  async #read(from: number, to: number): Promise<Entry[] | undefined> {
    try {
      return await this.#options.storage.read(from, to, maxBatchBytes)
    } catch (error) {
      if (error instanceof StorageError || this.#stopped) throw error
      await pause(this.#options.clock, 100)
      return undefined
    }
  }

  #release(): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const resolve of waiters) resolve()
  }
}

/**
 * From the session entries of this node to the log, and what has expired out of it: batches, one after the other, as long as it takes.
 * While the cluster has no majority updates wait, the newest of each key, as many as there is room for; nothing else waits for them.
 */
import { randomUUID } from 'node:crypto'
import { SessionBatch } from './batch.ts'
import type { SessionUpdate } from './keeper.ts'

export interface SessionReplicationOptions {
  /**
   * Proposes a batch; the same `id` again is the same batch. Resolves with `done` when it is in the log, `again` when it is not (or that is
   * not known) and may be later, `refused` when it never will be.
   */
  readonly propose: (id: string, entries: readonly SessionUpdate[]) => Promise<'done' | 'again' | 'refused'>
  /** Monotonic, milliseconds. */
  readonly now?: () => number
  /** Between two attempts, milliseconds. */
  readonly retryMs?: number
}

/** Proposals at once: the next one is on its way while one is being written to disk. */
const maxInFlight = 2

export class SessionReplication {
  readonly #propose: SessionReplicationOptions['propose']
  readonly #now: () => number
  readonly #retryMs: number
  readonly #batch = new SessionBatch()
  #inFlight = 0
  #refused = 0
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor({ propose, now, retryMs }: SessionReplicationOptions) {
    this.#propose = propose
    this.#now = now ?? (() => performance.now())
    this.#retryMs = retryMs ?? 500
  }

  /** Updates that did not get into the log. */
  get dropped(): number {
    return this.#batch.dropped + this.#refused
  }

  /** Updates that wait. */
  get waiting(): number {
    return this.#batch.size
  }

  add(update: SessionUpdate): void {
    this.#batch.add(update, this.#now())
    this.#arm()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#stopped || this.#inFlight >= maxInFlight) return
    const due = this.#batch.due(this.#now())
    if (due === undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      const now = this.#now()
      if (this.#inFlight < maxInFlight && this.#batch.due(now) === 0) void this.#send(this.#batch.take(now), now)
      this.#arm()
    }, Math.ceil(due))
  }

  async #send(entries: readonly SessionUpdate[], takenMs: number): Promise<void> {
    this.#inFlight++
    const id = randomUUID()
    for (;;) {
      const waitedMs = this.#now() - takenMs
      const result = await this.#propose(id, waitedMs < 1000 ? entries : aged(entries, waitedMs))
      if (result === 'refused') this.#refused += entries.length
      if (result !== 'again' || this.#stopped) break
      await new Promise((resolve) => setTimeout(resolve, this.#retryMs))
    }
    this.#inFlight--
    this.#arm()
  }
}

/** Remaining lifetimes after so long; what has waited out its own is deleted. */
function aged(entries: readonly SessionUpdate[], waitedMs: number): SessionUpdate[] {
  return entries.map((entry) => (entry.ttlMs === 0 ? entry : { ...entry, ttlMs: Math.max(0, Math.floor(entry.ttlMs - waitedMs)) }))
}

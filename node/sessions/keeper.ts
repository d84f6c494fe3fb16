/**
 * The main thread's side of the session table: takes what the workers have decided, writes it into the shared table, and gives it on to
 * the cluster; writes what the cluster has agreed on; lets entries expire.
 */
import type { SessionUpdate } from '../state/types.ts'
import { hashKey, hashOfText, hashText, parseEntryKey, type EntryType } from './keys.ts'
import { SessionTableWriter, ticksPerSecond } from './table.ts'
import { readUpdates, wasNone, wasTold, type SessionUpdateRecord } from './updates.ts'

export type { SessionUpdate }

/** A pool with entries, as far as the table is concerned. Slots are its places in shared memory. */
export interface KeptPool {
  readonly name: string
  readonly slot: number
  readonly type: EntryType
  readonly ttlMs: number
  readonly maxEntries: number
  readonly members: readonly { readonly name: string; readonly slot: number }[]
}

export interface SessionKeeperOptions {
  readonly buffer: SharedArrayBuffer
  readonly workers: number
  readonly secret: Uint8Array
  /** A member that clients may be kept on: not down, not disabled. */
  readonly usable: (member: number) => boolean
  /** Told of each entry that this node has set or refreshed; undefined: there is no cluster. */
  readonly replicate: ((update: SessionUpdate) => void) | undefined
}

export interface SessionTableCounters {
  /** Live entries by pool. */
  readonly pools: readonly { readonly pool: string; readonly entries: number }[]
  /** Entries that gave way to others while they were live. */
  readonly evictedTotal: number
  /** Clients that were not remembered: their pool had as many entries as it may. */
  readonly fullTotal: number
  /** Updates that workers had to drop because the main thread did not keep up. */
  readonly busyTotal: number
}

interface Pool extends KeptPool {
  readonly ttlTicks: number
  readonly hashing: Int32Array
  readonly names: ReadonlyMap<number, string>
  readonly slots: ReadonlyMap<string, number>
}

const tickMs = 1000 / ticksPerSecond
/** The whole table is swept in as many ticks: a minute. */
const sweepTicks = 60 * ticksPerSecond
/** An entry is refreshed when a quarter of its lifetime has gone. */
export const refreshShare = 0.75

export class SessionKeeper {
  readonly #options: SessionKeeperOptions
  readonly #table: SessionTableWriter
  readonly #startMs: number
  readonly #hash = new Int32Array(2)
  #bySlot = new Map<number, Pool>()
  #byName = new Map<string, Pool>()
  #full = 0

  /** `nowMs`: an instant of the monotonic clock that `tick` goes by. */
  constructor(options: SessionKeeperOptions, nowMs: number) {
    this.#options = options
    this.#table = new SessionTableWriter(options.buffer)
    this.#startMs = nowMs
  }

  /**
   * The pools that have entries from now on.
   * @returns whether there is a pool or member that was not known before: entries of it that were agreed on are not in the table yet
   */
  configure(pools: readonly KeptPool[]): boolean {
    const before = this.#byName
    this.#bySlot = new Map()
    this.#byName = new Map()
    let fresh = false
    for (const pool of pools) {
      const known = before.get(pool.name)
      const same = known !== undefined && known.type === pool.type && known.slot === pool.slot
      const kept: Pool = {
        ...pool,
        ttlTicks: Math.ceil(pool.ttlMs / tickMs),
        hashing: same ? known.hashing : hashKey(this.#options.secret, pool.name, pool.type),
        names: new Map(pool.members.map(({ name, slot }) => [slot, name])),
        slots: new Map(pool.members.map(({ name, slot }) => [name, slot])),
      }
      fresh ||= !same || pool.members.some(({ name }) => !known.slots.has(name))
      this.#bySlot.set(pool.slot, kept)
      this.#byName.set(pool.name, kept)
    }
    for (const { name, type, slot } of before.values()) {
      const now = this.#byName.get(name)
      // Else they would count for what has the place, or the name, now. What the cluster still has of it is written anew when it comes back.
      if (now?.type !== type || now.slot !== slot) this.#table.clearPool(slot)
    }
    return fresh
  }

  /** Moves the table's clock on and sweeps a part of it. To be called every `tickMs`. */
  tick(nowMs: number): void {
    const ticks = 1 + Math.floor((nowMs - this.#startMs) / tickMs)
    if (ticks <= this.#table.ticks) return
    this.#table.setTicks(ticks)
    this.#table.sweep(Math.ceil(this.#table.places / sweepTicks))
  }

  /** A batch of a worker. */
  receive(worker: number, batch: Uint8Array): void {
    readUpdates(batch, (update) => this.#take(update))
    this.#table.addTaken(worker)
  }

  #take({ pool: slot, member, was, low, high, text }: SessionUpdateRecord): void {
    const table = this.#table
    const pool = this.#bySlot.get(slot)
    const name = pool?.names.get(member)
    if (pool === undefined || name === undefined) return
    if (table.find(low, high) && table.pool === slot) {
      const { member: now } = table
      if (now === member) {
        // Another worker may have refreshed it just before.
        if (table.remaining > pool.ttlTicks * refreshShare) return
      } else if (was === wasNone) {
        // Two workers met the same new client: the first one's choice stays.
        if (pool.names.has(now) && this.#options.usable(now)) return
      } else if (was !== wasTold && was !== now) return
    } else if (table.entriesOf(slot) >= pool.maxEntries) {
      this.#full++
      return
    }
    table.put(low, high, slot, member, pool.ttlTicks)
    const key = `${pool.name}/${pool.type}/${text === '' ? hashText(low, high) : text}`
    this.#options.replicate?.({ key, member: `${pool.name}/${name}`, ttlMs: pool.ttlMs })
  }

  /** An entry that the cluster has agreed on. */
  apply({ key, member, ttlMs }: SessionUpdate): void {
    const pool = this.#locate(key)
    if (pool === undefined) return
    const [low, high] = [this.#hash[0]!, this.#hash[1]!]
    if (ttlMs === 0) {
      this.#table.remove(low, high)
      return
    }
    const slot = member.startsWith(`${pool.name}/`) ? pool.slots.get(member.slice(pool.name.length + 1)) : undefined
    if (slot !== undefined) this.#table.put(low, high, pool.slot, slot, Math.ceil(ttlMs / tickMs))
  }

  /** The same, unless there is a live entry already: it knows better how long it has to live. */
  restore(update: SessionUpdate): void {
    if (this.remainingMs(update.key) === 0) this.apply(update)
  }

  /** How long an entry has to live, milliseconds; 0: it has expired, or is of a pool without entries. */
  remainingMs(key: string): number {
    const pool = this.#locate(key)
    if (pool === undefined) return 0
    return this.#table.find(this.#hash[0]!, this.#hash[1]!) && this.#table.pool === pool.slot ? this.#table.remaining * tickMs : 0
  }

  /** Whether this is an entry of a pool that has entries, and not live any more. */
  expired(key: string): boolean {
    return this.#locate(key) !== undefined && this.remainingMs(key) === 0
  }

  /** The entry's name for a client's value as it is sent: a cookie's, a header field's, an address. Undefined: the pool has no entries. */
  keyOfValue(poolName: string, value: string): string | undefined {
    const pool = this.#byName.get(poolName)
    if (pool === undefined) return undefined
    if (pool.type === 'source') return `${pool.name}/source/${value}`
    hashOfText('source', value, pool.hashing, this.#hash)
    return `${pool.name}/${pool.type}/${hashText(this.#hash[0]!, this.#hash[1]!)}`
  }

  /** Forgets everything: the state of the cluster has been replaced. */
  clear(): void {
    this.#table.clear()
  }

  get counters(): SessionTableCounters {
    let busyTotal = 0
    for (let worker = 0; worker < this.#options.workers; worker++) busyTotal += this.#table.dropped(worker)
    return {
      pools: [...this.#byName.values()].map(({ name, slot }) => ({ pool: name, entries: this.#table.entriesOf(slot) })),
      evictedTotal: this.#table.evicted,
      fullTotal: this.#full,
      busyTotal,
    }
  }

  /** The pool of an entry, with the hash of its text in `#hash`. */
  #locate(key: string): Pool | undefined {
    const parsed = parseEntryKey(key)
    const pool = parsed === undefined ? undefined : this.#byName.get(parsed.pool)
    if (parsed === undefined || pool === undefined || pool.type !== parsed.type) return undefined
    hashOfText(pool.type, parsed.text, pool.hashing, this.#hash)
    return pool
  }
}

/**
 * A disk that behaves like LevelDB's log on a real one: a write is all or nothing and durable once it has been confirmed;
 * a crash loses what was under way (or not, if it had just reached the platter), a bit may rot, the disk may be slow or
 * full, and after a failed write the store has to be opened anew.
 */
import { StorageError } from '../../consensus/storage/records.ts'
import type { Files, KeyRange, Operation, Rows, Store } from '../../consensus/storage/store.ts'
import type { Life, VirtualTime } from './time.ts'

type Row = readonly [key: Uint8Array, value: Uint8Array]

const name = (key: Uint8Array): string => Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')

export interface DiskFaults {
  /** Milliseconds of one write, uniform between the two. */
  writeMs: readonly [number, number]
  /** Every write fails. */
  full: boolean
}

interface SimulatedFile {
  content: Uint8Array
  /** What a power failure leaves for certain. */
  durable: Uint8Array
}

export class Disk {
  readonly faults: DiskFaults
  readonly #time: VirtualTime
  readonly #random: () => number
  /** What a power failure leaves. */
  readonly #durable = new Map<string, Row>()
  /** Confirmed or under way but not synced, in order: lost from some point on by a power failure. */
  #unsynced: (readonly Operation[])[] = []
  /** What a reader sees: durable and unsynced. */
  readonly #visible = new Map<string, Row>()
  readonly #files = new Map<number, SimulatedFile>()
  /** Removed, but the removal has not reached the platter for certain. */
  readonly #removed = new Map<number, SimulatedFile>()
  /** The write that the disk is working on. */
  #underWay: readonly Operation[] | undefined
  /** Called for everything that becomes visible. */
  onWrite: ((operations: readonly Operation[]) => void) | undefined

  constructor(time: VirtualTime, random: () => number, faults: DiskFaults) {
    this.#time = time
    this.#random = random
    this.faults = { ...faults }
  }

  get empty(): boolean {
    return this.#durable.size === 0
  }

  /** A machine's disk is replaced by a new one. */
  wipe(): void {
    this.#durable.clear()
    this.#visible.clear()
    this.#unsynced = []
    this.#underWay = undefined
    this.#files.clear()
    this.#removed.clear()
  }

  /** Power failure or kill: what had not been synced may be lost, in order; a write under way may just have made it. */
  crash(): void {
    const survivors = Math.floor(this.#random() * (this.#unsynced.length + 1))
    const all = survivors === this.#unsynced.length
    for (const operations of this.#unsynced.slice(0, survivors)) apply(this.#durable, operations)
    // A torn write is found by its checksum and dropped as a whole, by LevelDB.
    if (all && this.#underWay !== undefined && this.#random() < 0.5) {
      apply(this.#durable, this.#underWay)
      this.onWrite?.(this.#underWay)
    }
    this.#unsynced = []
    this.#underWay = undefined
    this.#visible.clear()
    for (const [key, row] of this.#durable) this.#visible.set(key, row)
    for (const file of this.#files.values()) file.durable = file.content = this.#torn(file)
    for (const [number, file] of this.#removed) {
      if (this.#random() < 0.3 && !this.#files.has(number)) this.#files.set(number, { content: file.durable, durable: file.durable })
    }
    this.#removed.clear()
  }

  /** What was not synced may be there, or in part, or as zeroes. */
  #torn({ content, durable }: SimulatedFile): Uint8Array {
    if (this.#random() < 0.4) return durable
    const torn = content.slice(0, Math.max(durable.length, Math.floor(this.#random() * (content.length + 1))))
    if (this.#random() < 0.5) torn.fill(0, durable.length + Math.floor(this.#random() * (torn.length - durable.length + 1)))
    torn.set(durable.subarray(0, torn.length))
    return torn
  }

  /** Flips one bit of one stored value. Returns what it hit, or undefined when there is nothing. */
  rot(): string | undefined {
    const rows = [...this.#durable]
    if (rows.length === 0) return undefined
    const files = [...this.#files].filter(([, { durable }]) => durable.length > 0)
    if (files.length > 0 && this.#random() < 0.3) {
      const [number, file] = files[Math.floor(this.#random() * files.length)]!
      const damaged = Uint8Array.from(file.durable)
      damaged[Math.floor(this.#random() * damaged.length)]! ^= 1 << Math.floor(this.#random() * 8)
      file.content = file.durable = damaged
      return `file ${number}`
    }
    const [key, [rawKey, value]] = rows[Math.floor(this.#random() * rows.length)]!
    const damaged = Uint8Array.from(value)
    const at = Math.floor(this.#random() * damaged.length)
    damaged[at]! ^= 1 << Math.floor(this.#random() * 8)
    const row = [rawKey, damaged] as const
    this.#durable.set(key, row)
    if (this.#visible.has(key)) this.#visible.set(key, row)
    return `${key[0]} ${Buffer.from(rawKey).toString('hex')}`
  }

  open(life: Life): Promise<Store> {
    return new Promise((resolve, reject) => {
      life.arrive(this.#takesMs(), () => {
        if (this.#durable.size === 0 && this.#visible.size === 0) reject(new StorageError('there is no log'))
        else resolve(this.#store(life))
      })
    })
  }

  /** For founding and joining: what is written is there at once. */
  prepare(): Pick<Store, 'write'> {
    return { write: async (operations) => this.#sync(operations.map(copied)) }
  }

  #store(life: Life): Store {
    let closed = false
    return {
      get: (key) => new Promise((resolve) => life.arrive(0.02, () => resolve(this.#visible.get(name(key))?.[1]))),
      write: (operations) => {
        const copy = operations.map(copied)
        return new Promise((resolve, reject) => {
          if (closed || life.over) return
          const takesMs = this.#takesMs()
          this.#underWay = copy
          // The disk works on while the process is frozen; the process hears of it later.
          this.#time.after(takesMs, () => {
            if (life.over) return
            this.#underWay = undefined
            const { full } = this.faults
            // A write that fails may have reached the disk all the same.
            if (!full || this.#random() < 0.2) this.#sync(copy)
            life.arrive(0, () => {
              if (full) reject(new Error('no space left on device'))
              else resolve()
            })
          })
        })
      },
      rows: ({ from, to }: KeyRange): Rows => {
        const rows = this.#range(from, to)
        let at = 0
        return {
          next: (limit) => new Promise((resolve) => life.arrive(0.02, () => {
            at += limit
            resolve(rows.slice(at - limit, at))
          })),
          close: () => Promise.resolve(),
        }
      },
      clear: async ({ from, to }: KeyRange) => {
        const operations = this.#range(from, to).map(([key]): Operation => ({ type: 'del', key }))
        if (operations.length === 0 || life.over) return
        this.#unsynced.push(operations)
        apply(this.#visible, operations)
      },
      files: this.#filesOf(life),
      close: async () => {
        closed = true
      },
    }
  }

  #filesOf(life: Life): Files {
    /** Takes `ms`, then happens on the disk, then the process hears of it; nothing of a dead process happens. */
    const task = <T>(ms: number, work: () => T, writes: boolean): Promise<T> =>
      new Promise((resolve, reject) => {
        this.#time.after(ms, () => {
          if (life.over) return
          const full = writes && this.faults.full
          const result = full ? undefined : work()
          life.arrive(0, () => (full ? reject(new Error('no space left on device')) : resolve(result as T)))
        })
      })
    return {
      write: (number, offset, data) => {
        const copy = Uint8Array.from(data)
        return task(0.05, () => {
          const file = this.#files.get(number) ?? { content: new Uint8Array(), durable: new Uint8Array() }
          this.#files.set(number, file)
          const content = new Uint8Array(Math.max(file.content.length, offset + copy.length))
          content.set(file.content)
          content.set(copy, offset)
          file.content = content
        }, true)
      },
      sync: (number) => task(this.#takesMs(), () => {
        const file = this.#files.get(number)
        if (file !== undefined) file.durable = file.content
      }, true),
      read: (number, offset, bytes) => task(0.02, () => this.#files.get(number)?.content.slice(offset, offset + bytes) ?? new Uint8Array(), false),
      list: () => task(0.02, () => [...this.#files.keys()], false),
      remove: (number) => task(0.02, () => {
        const file = this.#files.get(number)
        if (file === undefined) return
        this.#files.delete(number)
        this.#removed.set(number, file)
      }, false),
    }
  }

  #sync(operations: readonly Operation[]): void {
    for (const earlier of this.#unsynced) apply(this.#durable, earlier)
    this.#unsynced = []
    apply(this.#durable, operations)
    apply(this.#visible, operations)
    this.onWrite?.(operations)
  }

  #range(from: Uint8Array, to: Uint8Array): Row[] {
    const [first, last] = [name(from), name(to)]
    const keys = [...this.#visible.keys()].filter((key) => key >= first && key <= last)
    keys.sort()
    return keys.map((key) => this.#visible.get(key)!)
  }

  #takesMs(): number {
    const [low, high] = this.faults.writeMs
    return low + this.#random() * (high - low)
  }
}

function copied(operation: Operation): Operation {
  const key = Uint8Array.from(operation.key)
  return operation.type === 'del' ? { type: 'del', key } : { type: 'put', key, value: Uint8Array.from(operation.value) }
}

function apply(rows: Map<string, Row>, operations: readonly Operation[]): void {
  for (const operation of operations) {
    if (operation.type === 'del') rows.delete(name(operation.key))
    else rows.set(name(operation.key), [operation.key, operation.value])
  }
}

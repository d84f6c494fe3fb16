/**
 * The session table of the state machine: up to a million entries, the least recently set first. Made for that number:
 *
 * - Entries are slots in slabs of plain arrays (key, member, lifetime, neighbours in the order), about a third of what an
 *   object each would take. Members are named by number.
 * - Slots are found through many small maps rather than one large one, which would stop everything for as long as it takes
 *   to move a million keys whenever it grows.
 * - A snapshot shares the slabs and is made at once; whoever changes a shared slab afterwards changes a copy of it.
 * - A hash over all entries is kept up with each change.
 *
 * Lifetimes are counted by who reads them: the log has no clock. Pure.
 */
import type { SessionUpdate } from './types.ts'

export interface SessionEntry {
  readonly member: string
  readonly ttlMs: number
}

const slabBits = 12
const slabSlots = 1 << slabBits
const slotMask = slabSlots - 1
const shards = 256
const none = -1

interface Slab {
  /** Of the last snapshot when it was made: shared with the snapshots that came later. */
  readonly round: number
  readonly keys: string[]
  readonly members: Uint32Array
  readonly ttlsMs: Float64Array
  /** The entry that was set after this one, and the one before; of a free slot the next free one. */
  readonly next: Int32Array
  readonly previous: Int32Array
}

export class SessionEntries {
  readonly #limit: number
  readonly #slots: Map<string, number>[] = []
  readonly #slabs: Slab[] = []
  #round = 0
  #oldest = none
  #newest = none
  #free = none
  #size = 0
  readonly #members: Members
  #hashA = 0
  #hashB = 0

  constructor(limit: number) {
    this.#limit = limit
    this.#members = new Members()
    for (let shard = 0; shard < shards; shard++) this.#slots.push(new Map())
  }

  get size(): number {
    return this.#size
  }

  /** Equal for equal sets of entries, whatever their order. 16 hexadecimal digits. */
  get hash(): string {
    return hex(this.#hashA) + hex(this.#hashB)
  }

  get(key: string): SessionEntry | undefined {
    const slot = this.#shard(key).get(key)
    if (slot === undefined) return undefined
    const slab = this.#slabs[slot >> slabBits]!
    const at = slot & slotMask
    return { member: this.#members.name(slab.members[at]!), ttlMs: slab.ttlsMs[at]! }
  }

  apply({ key, member, ttlMs }: SessionUpdate): void {
    const shard = this.#shard(key)
    const known = shard.get(key)
    if (known !== undefined) {
      this.#unlink(known)
      this.#count(known, key, -1)
      this.#members.release(this.#slabs[known >> slabBits]!.members[known & slotMask]!)
      if (ttlMs === 0) {
        shard.delete(key)
        return this.#give(known)
      }
    } else if (ttlMs === 0) return
    const slot = known ?? this.#take()
    const slab = this.#writable(slot)
    const at = slot & slotMask
    slab.members[at] = this.#members.hold(member)
    slab.ttlsMs[at] = ttlMs
    if (known === undefined) {
      slab.keys[at] = key
      shard.set(key, slot)
    }
    this.#count(slot, key, 1)
    this.#append(slot)
    if (this.#size > this.#limit) this.#drop(this.#oldest)
  }

  *[Symbol.iterator](): Generator<SessionUpdate> {
    yield* entriesOf(this.#slabs, this.#oldest, this.#members.names)
  }

  /**
   * Calls `each` for the entries in at most `slots` slots, in the order of their places in memory. Unlike the iterator it may be gone on
   * with later: an entry that stays all the while is met once; one that comes or goes meanwhile is met or not.
   * @param from 0 to begin, else what the call before returned. @param each may return false to end it here
   * @returns where to go on; -1 at the end
   */
  scan(from: number, slots: number, each: (update: SessionUpdate) => unknown): number {
    const end = this.#slabs.length << slabBits
    const to = Math.min(end, from + slots)
    for (let slot = from; slot < to; slot++) {
      const slab = this.#slabs[slot >> slabBits]!
      const at = slot & slotMask
      const key = slab.keys[at]
      if (key === undefined || key === '') continue
      if (each({ key, member: this.#members.name(slab.members[at]!), ttlMs: slab.ttlsMs[at]! }) === false) return slot + 1
    }
    return to < end ? to : -1
  }

  /** The entries as they are now, whatever is applied later. */
  freeze(): Iterable<SessionUpdate> {
    this.#round++
    const slabs = [...this.#slabs]
    const oldest = this.#oldest
    const names = [...this.#members.names]
    return { [Symbol.iterator]: () => entriesOf(slabs, oldest, names) }
  }

  // — slots —

  #shard(key: string): Map<string, number> {
    let hash = 0
    for (let at = Math.max(0, key.length - 12); at < key.length; at++) hash = (Math.imul(hash, 31) + key.charCodeAt(at)) | 0
    return this.#slots[(hash ^ (hash >>> 8) ^ (hash >>> 16)) & (shards - 1)]!
  }

  #writable(slot: number): Slab {
    const number = slot >> slabBits
    const slab = this.#slabs[number]!
    if (slab.round === this.#round) return slab
    const copy: Slab = {
      round: this.#round, keys: [...slab.keys], members: slab.members.slice(), ttlsMs: slab.ttlsMs.slice(),
      next: slab.next.slice(), previous: slab.previous.slice(),
    }
    this.#slabs[number] = copy
    return copy
  }

  #take(): number {
    this.#size++
    if (this.#free !== none) {
      const slot = this.#free
      this.#free = this.#slabs[slot >> slabBits]!.next[slot & slotMask]!
      return slot
    }
    const last = this.#slabs.at(-1)
    if (last !== undefined && last.keys.length < slabSlots) {
      const slab = this.#writable((this.#slabs.length - 1) << slabBits)
      slab.keys.push('')
      return ((this.#slabs.length - 1) << slabBits) + slab.keys.length - 1
    }
    this.#slabs.push({
      round: this.#round, keys: [''], members: new Uint32Array(slabSlots), ttlsMs: new Float64Array(slabSlots),
      next: new Int32Array(slabSlots), previous: new Int32Array(slabSlots),
    })
    return (this.#slabs.length - 1) << slabBits
  }

  #give(slot: number): void {
    const slab = this.#writable(slot)
    slab.keys[slot & slotMask] = ''
    slab.next[slot & slotMask] = this.#free
    this.#free = slot
    this.#size--
  }

  #drop(slot: number): void {
    const slab = this.#slabs[slot >> slabBits]!
    const key = slab.keys[slot & slotMask]!
    this.#unlink(slot)
    this.#count(slot, key, -1)
    this.#members.release(slab.members[slot & slotMask]!)
    this.#shard(key).delete(key)
    this.#give(slot)
  }

  // — order —

  #append(slot: number): void {
    const slab = this.#writable(slot)
    slab.next[slot & slotMask] = none
    slab.previous[slot & slotMask] = this.#newest
    if (this.#newest === none) this.#oldest = slot
    else this.#writable(this.#newest).next[this.#newest & slotMask] = slot
    this.#newest = slot
  }

  #unlink(slot: number): void {
    const slab = this.#slabs[slot >> slabBits]!
    const next = slab.next[slot & slotMask]!
    const previous = slab.previous[slot & slotMask]!
    if (previous === none) this.#oldest = next
    else this.#writable(previous).next[previous & slotMask] = next
    if (next === none) this.#newest = previous
    else this.#writable(next).previous[next & slotMask] = previous
  }

  // — the hash —

  /** Adds the entry of a slot to the hash, or takes it out: sums, so that the order does not matter. */
  #count(slot: number, key: string, sign: 1 | -1): void {
    const slab = this.#slabs[slot >> slabBits]!
    const at = slot & slotMask
    const ttlMs = slab.ttlsMs[at]!
    let a = this.#members.hash(slab.members[at]!) ^ (ttlMs | 0)
    let b = a ^ Math.floor(ttlMs / 2 ** 32)
    for (let unit = 0; unit < key.length; unit++) {
      const code = key.charCodeAt(unit)
      a = Math.imul(a ^ code, 0x01000193)
      b = Math.imul(b ^ code, 0x5bd1e995)
      b ^= b >>> 15
    }
    this.#hashA = (this.#hashA + sign * mixed(a)) | 0
    this.#hashB = (this.#hashB + sign * mixed(b)) | 0
  }
}

function* entriesOf(slabs: readonly Slab[], oldest: number, names: readonly string[]): Generator<SessionUpdate> {
  for (let slot = oldest; slot !== none; ) {
    const slab = slabs[slot >> slabBits]!
    const at = slot & slotMask
    yield { key: slab.keys[at]!, member: names[slab.members[at]!]!, ttlMs: slab.ttlsMs[at]! }
    slot = slab.next[at]!
  }
}

/** The finish of MurmurHash3: every bit of the input reaches every bit of the output. */
function mixed(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) | 0
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0')
}

/** The names of the members that entries name, each once, for as long as one does. */
class Members {
  readonly names: string[] = []
  readonly #numbers = new Map<string, number>()
  readonly #holders: number[] = []
  readonly #hashes: number[] = []
  readonly #free: number[] = []

  name(number: number): string {
    return this.names[number]!
  }

  hash(number: number): number {
    return this.#hashes[number]!
  }

  hold(name: string): number {
    const known = this.#numbers.get(name)
    if (known !== undefined) {
      this.#holders[known]!++
      return known
    }
    const number = this.#free.pop() ?? this.names.length
    let hash = 0x811c9dc5
    for (let unit = 0; unit < name.length; unit++) hash = Math.imul(hash ^ name.charCodeAt(unit), 0x01000193)
    this.names[number] = name
    this.#numbers.set(name, number)
    this.#holders[number] = 1
    this.#hashes[number] = hash
    return number
  }

  release(number: number): void {
    if (--this.#holders[number]! > 0) return
    this.#numbers.delete(this.names[number]!)
    this.names[number] = ''
    this.#free.push(number)
  }
}

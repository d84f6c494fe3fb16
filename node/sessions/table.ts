/**
 * The session table in shared memory: which member a client is kept on. The main thread writes, all workers read; a lookup reads
 * at most sixteen places and locks nothing. Pure: ticks of the main thread's clock stand in the memory itself.
 *
 * - A key is 64 bits of a keyed hash (`hash.ts`). Each half names a bucket of eight places; an entry is in one of the two. So there
 *   are no chains and no gaps to keep, and with half as many places again as entries next to none is pushed out before its time.
 * - A place is five words, 20 bytes: version, two of hash, pool and member, expiry. At 1.5 places an entry that is 30 bytes.
 * - A writer makes a place's version odd, writes, and makes it even again; a reader that saw an odd version, or another one after than
 *   before, looks again. What it believes it has read atomically: plain accesses might be seen in another order.
 * - What has expired is as good as free. When both buckets are full, what would expire first gives way.
 */

const bucketPlaces = 8
const placeWords = 5
/** Places per entry that fits for sure. */
const slack = 1.5
const Word = { version: 0, low: 1, high: 2, target: 3, expiry: 4 } as const

/** Of the clock in the table. */
export const ticksPerSecond = 10

/** Words before the places: the clock, the number of buckets, the number of workers; then each worker's two. */
const Header = { ticks: 0, buckets: 1, workers: 2, size: 4 } as const
const workerWords = 2
const retries = 4

function placesFrom(workers: number): number {
  return Header.size + workers * workerWords
}

/** Memory for at least `entries` entries. The clock begins at 1. */
export function allocateSessions(entries: number, workers: number): SharedArrayBuffer {
  const buckets = Math.ceil((entries * slack) / bucketPlaces)
  const buffer = new SharedArrayBuffer(4 * (placesFrom(workers) + buckets * bucketPlaces * placeWords))
  const words = new Int32Array(buffer)
  words[Header.ticks] = 1
  words[Header.buckets] = buckets
  words[Header.workers] = workers
  return buffer
}

/** What a worker sees of the table. */
export class SessionTable {
  protected readonly words: Int32Array
  protected readonly buckets: number
  protected readonly first: number
  /** Of the entry that `find` found last. */
  pool = 0
  member = 0
  /** Ticks until it expires. */
  remaining = 0

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer)
    this.buckets = this.words[Header.buckets]!
    this.first = placesFrom(this.words[Header.workers]!)
  }

  get ticks(): number {
    return Atomics.load(this.words, Header.ticks)
  }

  /** Whether there is a live entry with this key; its `pool`, `member` and `remaining` are set then. */
  find(low: number, high: number): boolean {
    return this.#findIn(this.bucket(low), low, high) || this.#findIn(this.bucket(high), low, high)
  }

  #findIn(bucket: number, low: number, high: number): boolean {
    const { words } = this
    const end = bucket + bucketPlaces * placeWords
    for (let at = bucket; at < end; at += placeWords) {
      // Plain, as that costs a tenth: most places are another's, and of the rest everything is read again below.
      if (words[at + Word.low] !== low) continue
      // One that is being written all the time is missed rather than waited for: its writer may not be running.
      for (let again = 0; again < retries; again++) {
        const version = Atomics.load(words, at)
        const sameKey = Atomics.load(words, at + Word.low) === low && Atomics.load(words, at + Word.high) === high
        const target = Atomics.load(words, at + Word.target)
        const expiry = Atomics.load(words, at + Word.expiry)
        if ((version & 1) !== 0 || Atomics.load(words, at) !== version) continue
        const remaining = expiry - this.ticks
        if (!sameKey || expiry === 0 || remaining <= 0) break
        this.member = target & 0xffff
        this.pool = target >>> 16
        this.remaining = remaining
        return true
      }
    }
    return false
  }

  /** Where the bucket of half a key begins. */
  protected bucket(half: number): number {
    return this.first + ((half >>> 0) % this.buckets) * bucketPlaces * placeWords
  }

  // — what a worker and the main thread tell each other —

  /** Batches of this worker that the main thread has taken. */
  taken(worker: number): number {
    return Atomics.load(this.words, Header.size + worker * workerWords)
  }
  addTaken(worker: number): void {
    Atomics.add(this.words, Header.size + worker * workerWords, 1)
  }
  /** Updates that this worker had to drop. */
  dropped(worker: number): number {
    return Atomics.load(this.words, Header.size + worker * workerWords + 1)
  }
  addDropped(worker: number): void {
    Atomics.add(this.words, Header.size + worker * workerWords + 1, 1)
  }
}

/** What the main thread sees of the table: its only writer. Below 65,536 members and 8,192 pools. */
export class SessionTableWriter extends SessionTable {
  #size = 0
  #evicted = 0
  #cursor = 0
  readonly #perPool = new Map<number, number>()

  constructor(buffer: SharedArrayBuffer) {
    super(buffer)
    this.#cursor = this.first
  }

  /** Entries, expired ones that have not been swept included. */
  get size(): number {
    return this.#size
  }
  /** Entries that had to give way while they were live. */
  get evicted(): number {
    return this.#evicted
  }
  /** Entries of a pool. */
  entriesOf(pool: number): number {
    return this.#perPool.get(pool) ?? 0
  }

  setTicks(ticks: number): void {
    Atomics.store(this.words, Header.ticks, ticks)
  }

  /** Sets an entry. `ttl`: ticks, at least one. */
  put(low: number, high: number, pool: number, member: number, ttl: number): void {
    const { words } = this
    const expiry = this.ticks + Math.max(1, ttl)
    let at = this.#placeOf(low, high)
    if (at < 0) {
      at = this.#free(low, high)
      if (words[at + Word.expiry] !== 0) {
        if (words[at + Word.expiry]! > this.ticks) this.#evicted++
        this.#count(words[at + Word.target]! >>> 16, -1)
      }
      this.#count(pool, 1)
    } else if (words[at + Word.target]! >>> 16 !== pool) {
      this.#count(words[at + Word.target]! >>> 16, -1)
      this.#count(pool, 1)
    }
    this.#write(at, low, high, (pool << 16) | member, expiry)
  }

  /** @returns whether there was one, live or not */
  remove(low: number, high: number): boolean {
    const at = this.#placeOf(low, high)
    if (at < 0) return false
    this.#clear(at)
    return true
  }

  /** Frees what has expired among the next `places` places, going round. */
  sweep(places: number): void {
    const { words, ticks } = this
    const total = this.buckets * bucketPlaces
    for (let left = Math.min(places, total); left > 0; left--) {
      const expiry = words[this.#cursor + Word.expiry]!
      if (expiry !== 0 && expiry <= ticks) this.#clear(this.#cursor)
      this.#cursor += placeWords
      if (this.#cursor >= words.length) this.#cursor = this.first
    }
  }

  /** Places of the table. */
  get places(): number {
    return this.buckets * bucketPlaces
  }

  clear(): void {
    for (let at = this.first; at < this.words.length; at += placeWords) if (this.words[at + Word.expiry] !== 0) this.#clear(at)
  }

  /** All entries of a pool. */
  clearPool(pool: number): void {
    const { words } = this
    for (let at = this.first; at < words.length && this.entriesOf(pool) > 0; at += placeWords) {
      if (words[at + Word.expiry] !== 0 && words[at + Word.target]! >>> 16 === pool) this.#clear(at)
    }
  }

  #placeOf(low: number, high: number): number {
    const { words } = this
    for (const bucket of [this.bucket(low), this.bucket(high)]) {
      const end = bucket + bucketPlaces * placeWords
      for (let at = bucket; at < end; at += placeWords) {
        if (words[at + Word.low] === low && words[at + Word.high] === high && words[at + Word.expiry] !== 0) return at
      }
    }
    return -1
  }

  /** A place for a new entry: in the bucket that has more room, else that of the entry that would expire first. */
  #free(low: number, high: number): number {
    const { words, ticks } = this
    let best = -1
    let bestRoom = 0
    let first = -1
    let firstExpiry = Infinity
    for (const bucket of [this.bucket(low), this.bucket(high)]) {
      let room = 0
      let free = -1
      const end = bucket + bucketPlaces * placeWords
      for (let at = bucket; at < end; at += placeWords) {
        const expiry = words[at + Word.expiry]!
        if (expiry <= ticks) {
          room++
          free = at
        } else if (expiry < firstExpiry) {
          firstExpiry = expiry
          first = at
        }
      }
      if (room > bestRoom) {
        bestRoom = room
        best = free
      }
    }
    return best >= 0 ? best : first
  }

  #write(at: number, low: number, high: number, target: number, expiry: number): void {
    const { words } = this
    const version = Atomics.load(words, at)
    Atomics.store(words, at, version + 1)
    Atomics.store(words, at + Word.low, low)
    Atomics.store(words, at + Word.high, high)
    Atomics.store(words, at + Word.target, target)
    Atomics.store(words, at + Word.expiry, expiry)
    Atomics.store(words, at, (version + 2) | 0)
  }

  #clear(at: number): void {
    this.#count(this.words[at + Word.target]! >>> 16, -1)
    this.#write(at, 0, 0, 0, 0)
  }

  #count(pool: number, by: 1 | -1): void {
    this.#size += by
    this.#perPool.set(pool, (this.#perPool.get(pool) ?? 0) + by)
  }
}

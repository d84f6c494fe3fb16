/**
 * From a worker to the main thread: which clients it has put on which members. Gathered for a moment, never one message for each, and
 * bounded: while the main thread does not keep up, further updates are dropped and counted; their clients are served all the same.
 *
 * A batch is one update after the other: pool and member (u16 each), what the client was on before (u32), two halves of the hash, the
 * length of the text (u8), the text. Little-endian.
 */
import type { SessionTable } from './table.ts'

/** Longest text that travels beside the hash, bytes. */
export const maxTextBytes = 128
/** The client was on no member that is known. */
export const wasNone = 0xffff_ffff
/** The member itself has said that this client is its own. */
export const wasTold = 0xffff_fffe

const headBytes = 17
const batchBytes = 32 * 1024
/** Batches that the main thread has not taken yet. */
const maxOutstanding = 4
/** How long an update waits for company, milliseconds. */
const gatherMs = 50

export interface SessionUpdateRecord {
  /** Places in shared memory. */
  readonly pool: number
  readonly member: number
  /** Place of the member before, or `wasNone`, `wasTold`. */
  readonly was: number
  readonly low: number
  readonly high: number
  /** Empty: the hash is the text. */
  readonly text: string
}

/** A worker's updates on their way. What was posted and is not in the table yet is found here. */
export class SessionUpdates {
  readonly #table: SessionTable
  readonly #worker: number
  readonly #post: (batch: Uint8Array) => void
  readonly #batch = Buffer.allocUnsafe(batchBytes)
  #length = 0
  #posted = 0
  #timer: NodeJS.Timeout | undefined
  /** Members by hash: of the batch that is being gathered, and of those that the main thread has not taken yet, the oldest first.
   *  Inverted where an entry is only refreshed: the table knows better then. */
  #recent = new Map<number, number>()
  readonly #sent: Map<number, number>[] = []

  constructor(table: SessionTable, worker: number, post: (batch: Uint8Array) => void) {
    this.#table = table
    this.#worker = worker
    this.#post = post
    // A worker that took another's place counts on from there.
    this.#posted = table.taken(worker)
  }

  /** Place of the member that this worker has just put the client on; -1: none. */
  member(low: number, high: number): number {
    if (this.#recent.size === 0 && this.#sent.length === 0) return -1
    const key = keyOf(low, high)
    let found = this.#recent.get(key)
    for (let i = this.#sent.length - 1; found === undefined && i >= 0; i--) found = this.#sent[i]!.get(key)
    return Math.max(-1, found ?? -1)
  }

  /** `text`: bytes of the entry's text, at most `maxTextBytes`; empty where the hash is the text. */
  add(pool: number, member: number, was: number, low: number, high: number, text: Uint8Array): void {
    const key = keyOf(low, high)
    const seen = was === member ? ~member : member
    if (this.#recent.get(key) === seen) return
    if (this.#length + headBytes + text.length > batchBytes) this.flush()
    if (this.#length + headBytes + text.length > batchBytes) return this.#table.addDropped(this.#worker)
    const batch = this.#batch
    let at = this.#length
    at = batch.writeUInt16LE(pool, at)
    at = batch.writeUInt16LE(member, at)
    at = batch.writeUInt32LE(was, at)
    at = batch.writeInt32LE(low, at)
    at = batch.writeInt32LE(high, at)
    at = batch.writeUInt8(text.length, at)
    batch.set(text, at)
    this.#length = at + text.length
    this.#recent.set(key, seen)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.flush()
    }, gatherMs)
  }

  /** Posts what there is, unless the main thread has too much already: then it is tried again. And again until all of it was taken. */
  flush(): void {
    const outstanding = this.#posted - this.#table.taken(this.#worker)
    // What was taken is in the table, and need not be remembered here.
    while (this.#sent.length > Math.max(0, outstanding)) this.#sent.shift()
    if (this.#length > 0 && outstanding < maxOutstanding) {
      this.#post(new Uint8Array(this.#batch.subarray(0, this.#length)))
      this.#posted++
      this.#length = 0
      this.#sent.push(this.#recent)
      this.#recent = new Map()
    }
    if (this.#length === 0 && this.#sent.length === 0) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.flush()
    }, gatherMs)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

/** 53 bits of the hash as one number. */
function keyOf(low: number, high: number): number {
  return (low >>> 0) * 2 ** 21 + (high >>> 11)
}

/** Calls `each` for every update of a batch, in order. */
export function readUpdates(batch: Uint8Array, each: (update: SessionUpdateRecord) => void): void {
  const data = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength)
  for (let at = 0; at + headBytes <= data.length; ) {
    const length = data.readUInt8(at + 16)
    const end = at + headBytes + length
    each({
      pool: data.readUInt16LE(at),
      member: data.readUInt16LE(at + 2),
      was: data.readUInt32LE(at + 4),
      low: data.readInt32LE(at + 8),
      high: data.readInt32LE(at + 12),
      text: data.toString('latin1', at + headBytes, end),
    })
    at = end
  }
}

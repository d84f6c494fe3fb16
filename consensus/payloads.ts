/**
 * The payloads of the newest log entries, kept in memory so that replicating and applying them reads no disk. A contiguous
 * piece of the log up to its end. Pure.
 */
import type { Entry } from './core/types.ts'

/** What an entry costs beside its payload, bytes. */
const overheadBytes = 200
const bytesOf = ({ data }: Entry): number => data.length + overheadBytes

export class PayloadCache {
  readonly #maxBytes: number
  /** `#entries[#head]` is the first one. */
  #entries: Entry[] = []
  #head = 0
  #bytes = 0
  /** Of the entries before the head, which are still referred to. */
  #forgottenBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Appends an entry; those from its index on are replaced, a gap forgets everything before. */
  put(entry: Entry): void {
    const last = this.#entries.at(-1)
    if (last !== undefined && this.#head < this.#entries.length) {
      if (entry.index > last.index + 1 || entry.index < this.#entries[this.#head]!.index) this.clear()
      else while (this.#head < this.#entries.length && this.#entries.at(-1)!.index >= entry.index) this.#bytes -= bytesOf(this.#entries.pop()!)
    }
    this.#entries.push(entry)
    this.#bytes += bytesOf(entry)
  }

  /** Makes room, but never forgets what is not durable yet (beyond `stableIndex`): it is nowhere else. */
  trim(stableIndex: number): void {
    while (this.#bytes > this.#maxBytes && this.#head < this.#entries.length && this.#entries[this.#head]!.index <= stableIndex) {
      const bytes = bytesOf(this.#entries[this.#head]!)
      this.#bytes -= bytes
      this.#forgottenBytes += bytes
      this.#head += 1
    }
    // Moving the rest forward costs as much as there is; what is forgotten must not pile up meanwhile.
    if (this.#forgottenBytes > this.#maxBytes / 8 || (this.#head > 1024 && this.#head * 2 > this.#entries.length)) {
      this.#entries.splice(0, this.#head)
      this.#head = 0
      this.#forgottenBytes = 0
    }
  }

  clear(): void {
    this.#entries = []
    this.#head = 0
    this.#bytes = 0
    this.#forgottenBytes = 0
  }

  /** Entries `from` to `to`, at least one and as many as fit in `maxBytes`; undefined when the first is not kept. */
  range(from: number, to: number, maxBytes: number): Entry[] | undefined {
    const first = this.#entries[this.#head]
    if (first === undefined || from < first.index || from > this.#entries.at(-1)!.index) return undefined
    const start = this.#head + from - first.index
    const limit = Math.min(start + to - from + 1, this.#entries.length)
    let end = start
    let bytes = 0
    while (end < limit) {
      bytes += this.#entries[end]!.data.length
      if (end > start && bytes > maxBytes) break
      end += 1
    }
    return this.#entries.slice(start, end)
  }
}

/**
 * What the core remembers of the log: for every index its term and its size, never its payload.
 *
 * Terms are kept as runs (a leader writes thousands of entries in one term), sizes as running totals, so that appending
 * is O(1), "how many entries fit in 256 KiB" looks at no more entries than it returns, and nothing is allocated per
 * entry. Pure.
 */

interface TermRun {
  /** First index of the run; may lie below the base after a compaction. */
  readonly first: number
  readonly term: number
}

const initialCapacity = 1024

export class Log {
  #baseIndex: number
  #baseTerm: number
  #lastIndex: number
  /** Ascending by `first`, terms strictly ascending; describes the entries above the base. */
  #runs: TermRun[] = []
  /** `#totals[#offset + (index - #baseIndex)]` is the sum of bytes up to and including `index`. */
  #totals = new Float64Array(initialCapacity)
  #offset = 0

  /** An empty log that starts behind a snapshot at `baseIndex` (0 and term 0 when there is none). */
  constructor(baseIndex: number, baseTerm: number) {
    this.#baseIndex = baseIndex
    this.#baseTerm = baseTerm
    this.#lastIndex = baseIndex
  }

  /** Index of the last entry that was removed (the snapshot's, or 0); its term is still known. */
  get baseIndex(): number {
    return this.#baseIndex
  }
  get firstIndex(): number {
    return this.#baseIndex + 1
  }
  get lastIndex(): number {
    return this.#lastIndex
  }
  get lastTerm(): number {
    const last = this.#runs[this.#runs.length - 1]
    return last === undefined ? this.#baseTerm : last.term
  }

  /** The term of the entry at `index`, the base included; undefined outside the log. */
  termAt(index: number): number | undefined {
    if (index > this.#lastIndex || index < this.#baseIndex) return undefined
    if (index === this.#baseIndex) return this.#baseTerm
    const runs = this.#runs
    let low = 0
    let high = runs.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (runs[middle]!.first <= index) low = middle
      else high = middle - 1
    }
    return runs[low]!.term
  }

  /** Appends one entry of `bytes` bytes. Terms never decrease along a log. */
  append(term: number, bytes: number): void {
    const lastTerm = this.lastTerm
    if (term < lastTerm) throw new Error(`log: term ${term} after term ${lastTerm} at ${this.#lastIndex + 1}`)
    const before = this.#offset + this.#lastIndex - this.#baseIndex
    if (before + 1 >= this.#totals.length) this.#makeRoom()
    this.#lastIndex += 1
    if (this.#runs.length === 0 || term > lastTerm) this.#runs.push({ first: this.#lastIndex, term })
    const slot = this.#offset + this.#lastIndex - this.#baseIndex
    this.#totals[slot] = this.#totals[slot - 1]! + bytes
  }

  /** Removes the entries from `index` to the end. */
  truncateFrom(index: number): void {
    if (index <= this.#baseIndex) throw new Error(`log: truncation at ${index} below the base ${this.#baseIndex}`)
    if (index > this.#lastIndex) return
    this.#lastIndex = index - 1
    const runs = this.#runs
    while (runs.length > 0 && (runs[runs.length - 1]!.first >= index || this.#lastIndex === this.#baseIndex)) runs.pop()
  }

  /** Forgets the entries up to and including `index`. */
  compact(index: number): void {
    if (index <= this.#baseIndex) return
    const term = this.termAt(index)
    if (term === undefined) throw new Error(`log: compaction at ${index} beyond the end ${this.#lastIndex}`)
    this.#offset += index - this.#baseIndex
    this.#baseIndex = index
    this.#baseTerm = term
    const runs = this.#runs
    let gone = 0
    while (gone + 1 < runs.length && runs[gone + 1]!.first <= index + 1) gone += 1
    if (index === this.#lastIndex) gone = runs.length
    if (gone > 0) runs.splice(0, gone)
  }

  /** Replaces everything by a base (an installed snapshot). */
  reset(index: number, term: number): void {
    this.#baseIndex = index
    this.#baseTerm = term
    this.#lastIndex = index
    this.#runs = []
    this.#offset = 0
    this.#totals[0] = 0
  }

  /** Bytes of the entries in `(after, to]`. */
  bytesBetween(after: number, to: number): number {
    if (to <= after) return 0
    return this.#total(to) - this.#total(after)
  }

  /** The last index of a message that starts behind `after`: bounded by count and bytes, but at least one entry. */
  batchEnd(after: number, maxEntries: number, maxBytes: number): number {
    const limit = Math.min(this.#lastIndex, after + maxEntries)
    if (limit <= after) return after
    const start = this.#total(after)
    if (this.#total(limit) - start <= maxBytes) return limit
    let end = after + 1
    while (end < limit && this.#total(end + 1) - start <= maxBytes) end += 1
    return end
  }

  /**
   * The largest index not above `index` whose term is not above `term`: where two logs may agree when one of them has
   * `term` at `index` (fast backtracking, Raft paper §5.3). The base is the end of the search.
   */
  lastAtMost(index: number, term: number): number {
    if (index <= this.#baseIndex) return index
    let at = Math.min(index, this.#lastIndex)
    for (let i = this.#runs.length - 1; i >= 0 && at > this.#baseIndex; i -= 1) {
      const run = this.#runs[i]!
      if (run.first > at) continue
      if (run.term <= term) return at
      at = run.first - 1
    }
    return Math.max(at, this.#baseIndex)
  }

  #total(index: number): number {
    return this.#totals[this.#offset + index - this.#baseIndex]!
  }

  #makeRoom(): void {
    const used = this.#lastIndex - this.#baseIndex + 1
    const live = this.#totals.subarray(this.#offset, this.#offset + used)
    const target = used * 2 > this.#totals.length ? new Float64Array(this.#totals.length * 2) : this.#totals
    if (target === this.#totals) target.copyWithin(0, this.#offset, this.#offset + used)
    else target.set(live)
    this.#totals = target
    this.#offset = 0
  }
}

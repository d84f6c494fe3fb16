/**
 * How far the log is durable, from completions of writes that may belong to a suffix that has been truncated meanwhile.
 *
 * The term alone does not tell: entries 5..6 of term 2 may be written, truncated by term 3 and come back from a leader
 * of term 4, and the first completion would count for the last write. So the writes under way are remembered in order.
 * Pure.
 */

interface Write {
  readonly lastIndex: number
  readonly term: number
  /** A later truncation removed part of it. */
  superseded: boolean
}

export class Stable {
  #index: number
  #writes: Write[] = []

  constructor(index: number) {
    this.#index = index
  }

  /** All entries up to here are durable. */
  get index(): number {
    return this.#index
  }

  /** A batch that ends at `lastIndex` has been handed to the disk. */
  writing(lastIndex: number, term: number): void {
    this.#writes.push({ lastIndex, term, superseded: false })
  }

  /** Entries from `index` on were replaced in memory; what is under way for them no longer counts. */
  truncateFrom(index: number): void {
    if (this.#index >= index) this.#index = index - 1
    for (const write of this.#writes) if (write.lastIndex >= index) write.superseded = true
  }

  /**
   * The write that ends with this entry is durable, and with it all earlier ones. Returns whether the index advanced.
   */
  completed(lastIndex: number, term: number, termAt: (index: number) => number | undefined): boolean {
    const at = this.#writes.findIndex(write => write.lastIndex === lastIndex && write.term === term)
    const counts = at < 0 ? this.#writes.every(write => !write.superseded) : !this.#writes[at]!.superseded
    if (at >= 0) this.#writes.splice(0, at + 1)
    if (!counts || lastIndex <= this.#index || termAt(lastIndex) !== term) return false
    this.#index = lastIndex
    return true
  }

  /** A snapshot is about to replace the log: nothing that is under way for the old one counts. */
  replaced(): void {
    for (const write of this.#writes) write.superseded = true
  }

  /** The snapshot at `index` is durable and the base of the log. */
  reset(index: number): void {
    this.replaced()
    this.#index = index
  }
}

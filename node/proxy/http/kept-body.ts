/** A copy of a request's body as it goes to a member, up to a limit: for sending it again, or to another pool. */

const nothing = Buffer.alloc(0)

export class KeptBody {
  #limit = 0
  #bytes: Buffer = nothing
  #length = 0
  /** All that passed is here. */
  whole = true

  /** @param limit bytes; 0: nothing is kept, and the body is whole only if it is empty */
  begin(limit: number): void {
    this.#limit = limit
    this.#length = 0
    this.whole = true
  }

  add(buffer: Buffer, start: number, end: number): void {
    if (!this.whole) return
    const length = this.#length + end - start
    if (length > this.#limit) {
      this.whole = false
      this.#bytes = nothing
      this.#length = 0
      return
    }
    if (this.#bytes.length < length) {
      const grown = Buffer.allocUnsafe(Math.min(this.#limit, Math.max(1024, 2 * length)))
      this.#bytes.copy(grown, 0, 0, this.#length)
      this.#bytes = grown
    }
    buffer.copy(this.#bytes, this.#length, start, end)
    this.#length = length
  }

  /** Whether all that passed is here, and is no longer than that. With 0 nothing is kept: no body is. */
  isWithin(limit: number): boolean {
    return this.whole && limit > 0 && this.#length <= limit
  }

  /** What was kept; valid until the next `add` or `begin`. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Keeps no memory between exchanges. */
  rest(): void {
    this.#bytes = nothing
    this.#length = 0
    this.#limit = 0
  }
}

/** Reads the heads of a member's answers as their bytes arrive: interim ones and the final one, however they are split. */
import { ascii } from './bytes.ts'
import { HeadScanner, type Head } from './head.ts'

const nothing = Buffer.alloc(0)
const crlfcrlf = ascii('\r\n\r\n')

export class AnswerReader {
  /** What is there and not read yet: `[start, end)` of `buffer`. Valid until the call that took it returns. */
  buffer: Buffer = nothing
  start = 0
  end = 0
  /** Part of a head, from one piece to the next. */
  #kept: Buffer = nothing
  #keptLength = 0
  readonly #scanner = new HeadScanner()

  /** Nothing has come yet. */
  get empty(): boolean {
    return this.#keptLength === 0
  }

  /** Takes a piece, which is valid during this call and those of `next` that follow it. */
  take(piece: Buffer, start: number, end: number): void {
    if (this.#keptLength === 0) {
      this.buffer = piece
      this.start = start
      this.end = end
      return
    }
    const total = this.#keptLength + end - start
    if (this.#kept.length < total) {
      const grown = Buffer.allocUnsafe(total * 2)
      this.#kept.copy(grown, 0, 0, this.#keptLength)
      this.#kept = grown
    }
    piece.copy(this.#kept, this.#keptLength, start, end)
    this.buffer = this.#kept
    this.start = 0
    this.end = total
  }

  /**
   * Reads the next head.
   * @returns 1: it is in `head`, and `start` is behind it; 0: it is not whole, and what is there of it was kept; -1: malformed, or too long
   */
  next(head: Head, maxHeadBytes: number, maxHeaders: number): number {
    const { buffer, start, end } = this
    let length = 0
    if (start < end) {
      const found = this.#scanner.scanned === 0 ? buffer.indexOf(crlfcrlf, start) : -1
      if (found >= 0 && found + 4 <= end) length = found + 4 - start
      else length = this.#scanner.scan(buffer, start, end)
      if (length < 0 || length > maxHeadBytes || (length === 0 && end - start >= maxHeadBytes)) return -1
    }
    if (length === 0) {
      this.#keep()
      return 0
    }
    this.#scanner.reset()
    if (head.parseResponse(buffer, start, start + length, maxHeaders) !== 0) return -1
    this.start = start + length
    return 1
  }

  #keep(): void {
    const { buffer, start, end } = this
    const length = end - start
    if (buffer === this.#kept) {
      if (start > 0) buffer.copyWithin(0, start, end)
    } else if (length > 0) {
      if (this.#kept.length < length) this.#kept = Buffer.allocUnsafe(Math.max(1024, length * 2))
      buffer.copy(this.#kept, 0, start, end)
    }
    this.#keptLength = length
    this.buffer = nothing
  }

  /** Forgets everything: the next piece begins an answer. */
  reset(): void {
    this.buffer = nothing
    this.#keptLength = 0
    this.#kept = nothing
    this.#scanner.reset()
  }
}

/** Where a message's body ends (RFC 9112 §6.3), followed as its bytes pass. */
import { ChunkedReader } from './chunked.ts'
import { Method, type Head } from './head.ts'

export const Framing = { none: 0, length: 1, chunked: 2, close: 3 } as const

const noSpans: readonly number[] = []

/** One body after the other; reused. */
export class Body {
  framing: number = Framing.none
  /** All of it has passed. One that ends with its connection never has. */
  done = true
  #remaining = 0
  #chunks: ChunkedReader | undefined

  /** @param length of the body in bytes; only with `Framing.length` */
  begin(framing: number, length: number): void {
    this.framing = framing
    this.done = framing === Framing.none
    this.#remaining = length
    if (framing === Framing.chunked) {
      this.#chunks ??= new ChunkedReader()
      this.#chunks.reset()
    }
  }

  /**
   * Reads `[start, end)`.
   * @returns the position after what belongs to the body, or -1 when it is malformed
   */
  read(buffer: Buffer, start: number, end: number): number {
    if (this.framing === Framing.length) {
      const to = Math.min(end, start + this.#remaining)
      this.#remaining -= to - start
      this.done = this.#remaining === 0
      return to
    }
    if (this.framing === Framing.chunked) {
      const to = this.#chunks!.read(buffer, start, end)
      this.done = this.#chunks!.done
      return to
    }
    return this.framing === Framing.close ? end : start
  }

  /** Of a chunked body: the data in what was last read, as pairs of start and end. */
  get spans(): readonly number[] {
    return this.#chunks?.spans ?? noSpans
  }
}

/** How the body of an answer ends. @param method of the request, one of `Method` */
export function framingOfAnswer(head: Head, method: number): number {
  if (method === Method.head || head.status === 204 || head.status === 304) return Framing.none
  if (head.chunked) return Framing.chunked
  if (head.contentLength >= 0) return head.contentLength === 0 ? Framing.none : Framing.length
  return Framing.close
}

/** Whether the connection that brought this answer may bring another one behind it. */
export function isKept(head: Head, framing: number): boolean {
  // A 204 that announces a body (RFC 9110 §8.6, RFC 9112 §6.1 forbid it) may still send one: into the next answer.
  const bodyToCome = head.status === 204 && (head.chunked || head.contentLength > 0)
  return !head.close && (head.minor === 1 || head.keepAlive) && framing !== Framing.close && !bodyToCome
}

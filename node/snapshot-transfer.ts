/**
 * A snapshot on its way from the child, which has the state, to the heart, which has the disk. The child makes a chunk only
 * when the heart has stored an earlier one: a state of 100 MB never lies in a buffer, and everything else on the link goes on.
 * Both halves are here; the composition roots own the link.
 */

/** Chunks (≤ 256 KiB each) that are made before the first of them is stored. */
export const snapshotWindow = 4

/** The heart's half: chunks that have arrived, in order; `stored` is called when one has been taken and the next is wanted. */
export class ChunkQueue implements AsyncIterable<Uint8Array> {
  readonly #stored: () => void
  readonly #chunks: Uint8Array[] = []
  #ended = false
  #failed: Error | undefined
  #wake: (() => void) | undefined

  constructor(stored: () => void) {
    this.#stored = stored
  }

  push(chunk: Uint8Array): void {
    if (this.#ended) return
    this.#chunks.push(chunk)
    if (this.#chunks.length > snapshotWindow) return this.end(new Error('the child sent more than it may'))
    this.#wake?.()
  }

  end(failed?: Error): void {
    if (this.#ended) return
    this.#ended = true
    this.#failed = failed
    if (failed !== undefined) this.#chunks.length = 0
    this.#wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = this.#chunks.shift()
      if (next !== undefined) {
        yield next
        this.#stored()
      } else if (this.#failed !== undefined) throw this.#failed
      else if (this.#ended) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}

/** The child's half. One snapshot at a time: a new one takes the place of what the heart does not ask for any more. */
export class SnapshotFeed {
  #id = -1
  #chunks: Iterator<Uint8Array> | undefined
  #credits = 0
  #running = false

  /** `chunks` is of the state as it is now; they are made one a turn of the event loop, as `credit` allows. */
  start(id: number, chunks: Iterable<Uint8Array>, send: (chunk: Uint8Array | undefined) => void): void {
    this.#id = id
    this.#chunks = chunks[Symbol.iterator]()
    this.#credits = snapshotWindow
    this.#send = send
    this.#run()
  }

  /** The heart has stored one more (`ok`), or has given up. */
  credit(id: number, ok: boolean): void {
    if (id !== this.#id || this.#chunks === undefined) return
    if (!ok) {
      this.#chunks = undefined
      return
    }
    this.#credits += 1
    this.#run()
  }

  #send: (chunk: Uint8Array | undefined) => void = () => undefined

  #run(): void {
    if (this.#running) return
    this.#running = true
    setImmediate(() => {
      this.#running = false
      if (this.#chunks === undefined || this.#credits === 0) return
      const next = this.#chunks.next()
      if (next.done === true) {
        this.#chunks = undefined
        this.#send(undefined)
        return
      }
      this.#credits -= 1
      this.#send(next.value)
      this.#run()
    })
  }
}

/**
 * Open client connections by listener and client address. Each worker counts its own in its own part of shared memory (so there is
 * no lock, and a dead worker's part is simply emptied); what counts is the sum over all parts. Two workers that accept at the same
 * instant may both take the last place: the limit can be exceeded by at most the number of workers − 1.
 *
 * A part is an open-addressing table of a fixed size whose places are used again when their count is back at zero. A key has
 * its place within a window; when the whole window is taken, the connection is not counted and not limited.
 */

const places = 65_536
const window = 32
/** Two words of key and a count. */
const stride = 3
const partWords = places * stride

/** 768 KiB for each worker, of which the system gives only the pages that are used. */
export function allocateSourceConnections(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * partWords * workers)
}

export class SourceConnections {
  readonly #table: Int32Array
  readonly #workers: number
  readonly #own: number

  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.#table = new Int32Array(buffer)
    this.#workers = this.#table.length / partWords
    this.#own = worker * partWords
  }

  /**
   * Counts one more connection, unless the limit is reached.
   * @param high and `low`: a hash of 64 bits of listener and address
   * @returns its place, for `close`; -1: the limit is reached; -2: there is no place to count it
   */
  open(high: number, low: number, limit: number): number {
    const table = this.#table
    let sum = 0
    let free = -1
    let mine = -1
    for (let worker = 0; worker < this.#workers; worker++) {
      const part = worker * partWords
      for (let i = 0; i < window; i++) {
        const at = part + ((low + i) & (places - 1)) * stride
        const count = table[at + 2]!
        if (count === 0) {
          if (part === this.#own && free < 0) free = at
        } else if (table[at] === high && table[at + 1] === low) {
          sum += count
          if (part === this.#own) mine = at
          break
        }
      }
    }
    if (sum >= limit) return -1
    if (mine < 0) {
      if (free < 0) return -2
      mine = free
      table[mine] = high
      table[mine + 1] = low
    }
    table[mine + 2]! += 1
    return mine
  }

  /** A connection that had a place has ended. */
  close(place: number): void {
    if (place >= 0) this.#table[place + 2]! -= 1
  }

  /** What a dead worker had counted. Its successor begins at zero. */
  clear(worker: number): void {
    this.#table.fill(0, worker * partWords, (worker + 1) * partWords)
  }
}

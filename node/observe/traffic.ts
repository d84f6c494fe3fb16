/**
 * What the workers count by route, pool and member: requests by status class, errors, bytes, and how long they took. Rows in memory
 * that all threads share, one writer each: every worker has a row for each of them, and the main thread sums the rows up. Rows
 * cost address space only until they are used.
 */
import { bucketCount, histogramStride, type Histogram } from './histogram.ts'

/** Places by kind. */
export interface TrafficSizes {
  /** The codes of failures, in the order of their numbers. */
  readonly codes: readonly string[]
  readonly routes: number
  readonly pools: number
  readonly members: number
}
export type TrafficKind = 'routes' | 'pools' | 'members'

/** Fields of a row: counts by status class; bytes; two histograms, of the time to the first byte of an answer and of the whole; failures by code. */
const Field = { class1: 0, bytesIn: 5, bytesOut: 6, firstByte: 7, duration: 7 + histogramStride, failures: 7 + 2 * histogramStride } as const

/** Running totals of a route, pool or member on one node (since its child's start). */
export interface TrafficCounters {
  /** By status class that the client got: index 0 = 1xx … 4 = 5xx. */
  readonly responsesTotal: readonly [number, number, number, number, number]
  /** Requests and sessions that ended in an error (`docs/observability.md`), by its code; only those that came to pass. */
  readonly failuresTotal: Readonly<Record<string, number>>
  readonly bytesInTotal: number
  readonly bytesOutTotal: number
  /** From the request's head to the answer's head; http only. */
  readonly firstByte: Histogram
  /** From the request's head (or the connection) to the end. */
  readonly duration: Histogram
}

/** All of that on one node. */
export interface TrafficReport {
  readonly routes: readonly { readonly listener: string; readonly route: string; readonly counters: TrafficCounters }[]
  /** `waiting`: requests in the queue of the pool now. */
  readonly pools: readonly { readonly pool: string; readonly waiting: number; readonly counters: TrafficCounters }[]
  readonly members: readonly { readonly pool: string; readonly member: string; readonly counters: TrafficCounters }[]
  /** Lines of the access log that were dropped because the disk was slower than the traffic. */
  readonly logLinesDroppedTotal: number
}

export function allocateTraffic(workers: number, sizes: TrafficSizes): SharedArrayBuffer {
  return new SharedArrayBuffer(8 * workers * rowsOf(sizes) * strideOf(sizes))
}

function strideOf(sizes: TrafficSizes): number {
  return Field.failures + sizes.codes.length
}

function rowsOf(sizes: TrafficSizes): number {
  return sizes.routes + sizes.pools + sizes.members
}

export class Traffic {
  readonly #rows: Float64Array
  readonly #stride: number
  readonly #codes: readonly string[]
  readonly #workers: number
  readonly #perWorker: number
  readonly #own: number
  readonly #first: Readonly<Record<TrafficKind, number>>
  /** Main thread: what a place had counted for an earlier name. */
  readonly #base = new Map<number, Float64Array>()

  /** `worker`: whose rows `add` writes. */
  constructor(buffer: SharedArrayBuffer, sizes: TrafficSizes, worker: number) {
    this.#rows = new Float64Array(buffer)
    this.#stride = strideOf(sizes)
    this.#codes = sizes.codes
    this.#perWorker = rowsOf(sizes) * this.#stride
    this.#workers = this.#rows.length / this.#perWorker
    this.#own = worker * this.#perWorker
    this.#first = { routes: 0, pools: sizes.routes, members: sizes.routes + sizes.pools }
  }

  /** Where a place's row begins, to be given to `add`. */
  row(kind: TrafficKind, slot: number): number {
    return this.#own + (this.#first[kind] + slot) * this.#stride
  }

  /**
   * Counts one request or session.
   * @param status 0: the client got none
   * @param failure number of the code of its failure; -1: none
   * @param firstByteMs negative: there was no answer
   */
  add(row: number, status: number, failure: number, bytesIn: number, bytesOut: number, firstByteMs: number, firstByteBucket: number, totalMs: number, totalBucket: number): void {
    const rows = this.#rows
    if (status >= 100) rows[row + ((status / 100) | 0) - 1]! += 1
    if (failure >= 0) rows[row + Field.failures + failure]! += 1
    rows[row + Field.bytesIn]! += bytesIn
    rows[row + Field.bytesOut]! += bytesOut
    if (firstByteMs >= 0) {
      const first = row + Field.firstByte
      rows[first + firstByteBucket]! += 1
      rows[first + bucketCount]! += firstByteMs
    }
    const whole = row + Field.duration
    rows[whole + totalBucket]! += 1
    rows[whole + bucketCount]! += totalMs
  }

  read(kind: TrafficKind, slot: number): TrafficCounters {
    const sums = this.#sums(kind, slot)
    const base = this.#base.get(this.#first[kind] + slot)
    if (base !== undefined) for (let i = 0; i < sums.length; i++) sums[i]! -= base[i]!
    const histogram = (at: number): Histogram => ({ counts: Array.from(sums.subarray(at, at + bucketCount)), sumMs: sums[at + bucketCount]! })
    return {
      responsesTotal: Array.from(sums.subarray(Field.class1, Field.class1 + 5)) as unknown as TrafficCounters['responsesTotal'],
      failuresTotal: Object.fromEntries(this.#codes.map((code, i): [string, number] => [code, sums[Field.failures + i]!]).filter(([, count]) => count > 0)),
      bytesInTotal: sums[Field.bytesIn]!,
      bytesOutTotal: sums[Field.bytesOut]!,
      firstByte: histogram(Field.firstByte),
      duration: histogram(Field.duration),
    }
  }

  /** Totals of this place begin at zero again: it has another name now. The rows stay as they are, as each has one writer. */
  renew(kind: TrafficKind, slot: number): void {
    this.#base.set(this.#first[kind] + slot, this.#sums(kind, slot))
  }

  #sums(kind: TrafficKind, slot: number): Float64Array {
    const stride = this.#stride
    const sums = new Float64Array(stride)
    const first = (this.#first[kind] + slot) * stride
    for (let worker = 0; worker < this.#workers; worker++) {
      const at = worker * this.#perWorker + first
      for (let i = 0; i < stride; i++) sums[i]! += this.#rows[at + i]!
    }
    return sums
  }
}


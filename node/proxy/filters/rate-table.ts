/**
 * The buckets of one rate limit, by key, in memory that all workers share: a limit holds for the node, whichever worker a client's
 * connections come to. A set-associative table of a fixed size: a key has its place in one of eight ways of one set, and when all
 * are taken, the bucket that is fullest (the one whose loss changes least) makes room. No clock of its own.
 *
 * A set is changed under its lock, for some dozen instructions. A worker that dies in between leaves its lock locked: after a bounded
 * number of tries another one takes it over.
 */
import { takeToken, type Rate } from './token-bucket.ts'

const ways = 8
/** Buckets of a limit: client addresses (or header values) that it tells apart at once. */
export const rateTableKeys = 65_536
const sets = rateTableKeys / ways
const maxSpins = 20_000

/** Locks, then two words of key for each bucket, then their times. */
const keysAt = 4 * sets
const timesAt = keysAt + 8 * rateTableKeys
const tableBytes = timesAt + 8 * rateTableKeys

/** About 1 MiB, of which the system gives only the pages that are used. */
export function allocateRateTable(): SharedArrayBuffer {
  return new SharedArrayBuffer(tableBytes)
}

export class RateTable {
  readonly #locks: Int32Array
  readonly #keys: Int32Array
  readonly #times: Float64Array

  constructor(buffer: SharedArrayBuffer) {
    this.#locks = new Int32Array(buffer, 0, sets)
    this.#keys = new Int32Array(buffer, keysAt, 2 * rateTableKeys)
    this.#times = new Float64Array(buffer, timesAt, rateTableKeys)
  }

  /**
   * Takes a token of the key's bucket.
   * @param high and `low`: a hash of 64 bits of the key, keyed with a secret
   * @param nowMs the same monotonic clock for all workers
   * @returns 0 when there was one; else the time until there is, milliseconds
   */
  take(rate: Rate, high: number, low: number, nowMs: number): number {
    const set = low & (sets - 1)
    this.#lock(set)
    const first = set * ways
    const keys = this.#keys
    const times = this.#times
    let at = first
    let fullest = first
    for (; at < first + ways; at++) {
      if (keys[2 * at] === high && keys[2 * at + 1] === low) break
      if (times[at]! < times[fullest]!) fullest = at
    }
    let fullAtMs = 0
    if (at === first + ways) {
      at = fullest
      keys[2 * at] = high
      keys[2 * at + 1] = low
    } else {
      // No bucket is emptier than empty: one that filled more slowly until now, under an earlier limit, would stay so for long.
      fullAtMs = Math.min(times[at]!, nowMs + rate.burst * rate.intervalMs)
    }
    const next = takeToken(rate, fullAtMs, nowMs)
    times[at] = next >= 0 ? next : fullAtMs
    Atomics.store(this.#locks, set, 0)
    return next >= 0 ? 0 : -next
  }

  #lock(set: number): void {
    for (let spins = 0; spins < maxSpins; spins++) if (Atomics.compareExchange(this.#locks, set, 0, 1) === 0) return
    // Its owner is gone (or was stopped for long): at worst one token is counted for two requests.
  }
}

/** Keyed hash of a key for `RateTable`: two words, each of them seeded. Set by `hashBytes` and `hashWords`. */
export class KeyHash {
  high = 0
  low = 0
  readonly #seedHigh: number
  readonly #seedLow: number

  /** The seeds are secret and the same for all workers: who knows them could make keys that share a set. */
  constructor(seedHigh: number, seedLow: number) {
    this.#seedHigh = seedHigh
    this.#seedLow = seedLow
  }

  begin(kind: number): void {
    this.high = this.#seedHigh ^ kind
    this.low = this.#seedLow + kind
  }
  word(word: number): void {
    this.high = mix(this.high, word, 0xcc9e2d51, 0x1b873593)
    this.low = mix(this.low, word, 0x85ebca6b, 0xc2b2ae35)
  }
  bytes(buffer: Uint8Array, start: number, end: number): void {
    let at = start
    for (; at + 4 <= end; at += 4) this.word(buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24))
    let rest = end - start
    for (; at < end; at++) rest = (rest << 8) ^ buffer[at]!
    this.word(rest)
  }
  end(): void {
    this.high = finish(this.high ^ this.#seedLow)
    this.low = finish(this.low ^ this.#seedHigh)
  }
}

/** A round of MurmurHash3 (Appleby, public domain). */
function mix(hash: number, word: number, first: number, second: number): number {
  const k = Math.imul(word, first)
  const mixed = hash ^ Math.imul((k << 15) | (k >>> 17), second)
  return (Math.imul((mixed << 13) | (mixed >>> 19), 5) + 0xe6546b64) | 0
}
function finish(hash: number): number {
  let h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}

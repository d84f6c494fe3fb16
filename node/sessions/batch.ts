/**
 * Gathers session updates of a node into batches, each of which becomes one entry of the log. Pure: the caller has the
 * clock and sends. Bounded in every direction, so that a flood of sessions costs sessions, never memory or the log.
 */
import type { SessionUpdate } from '../state/types.ts'

export interface BatchLimits {
  /** Updates in one batch. */
  readonly entries: number
  /** Bytes of keys and members in one batch, with what their encoding adds. Below consensus' 256 KiB for bulk. */
  readonly bytes: number
  /** Longest time that an update waits for company. Milliseconds. */
  readonly waitMs: number
  /** Updates that wait in all; the oldest are dropped beyond it. */
  readonly pending: number
}

export const defaultBatchLimits: BatchLimits = { entries: 2000, bytes: 192 * 1024, waitMs: 50, pending: 100_000 }

/** What an update takes beside its texts (see state/session-block.ts), at most: two lengths, a member and a lifetime. */
const overheadBytes = 14

interface Pending {
  readonly update: SessionUpdate
  /** When its key began to wait, for the order and the wait. */
  readonly sinceMs: number
  /** When this update was made, for its lifetime. */
  readonly atMs: number
}

export class SessionBatch {
  readonly #limits: BatchLimits
  readonly #pending = new Map<string, Pending>()
  #bytes = 0
  #dropped = 0

  constructor(limits: BatchLimits = defaultBatchLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#pending.size
  }

  /** Updates that were dropped because too many waited. */
  get dropped(): number {
    return this.#dropped
  }

  /**
   * A newer update of a key replaces the one that waits, in its place: a key that is updated all the time is not put off
   * for ever. `nowMs` is an instant of the caller's monotonic clock, the same as in `due` and `take`. False: the update
   * alone is larger than a batch and was dropped.
   */
  add(update: SessionUpdate, nowMs: number): boolean {
    const bytes = bytesOf(update)
    if (bytes > this.#limits.bytes) {
      this.#dropped++
      return false
    }
    const waiting = this.#pending.get(update.key)
    if (waiting !== undefined) this.#bytes -= bytesOf(waiting.update)
    this.#pending.set(update.key, { update, sinceMs: waiting?.sinceMs ?? nowMs, atMs: nowMs })
    this.#bytes += bytes
    if (this.#pending.size > this.#limits.pending) {
      this.#remove(this.#pending.keys().next().value!)
      this.#dropped++
    }
    return true
  }

  /** Milliseconds until a batch should be taken: 0 now, undefined when nothing waits. */
  due(nowMs: number): number | undefined {
    const oldest = this.#pending.values().next()
    if (oldest.done === true) return undefined
    if (this.#pending.size >= this.#limits.entries || this.#bytes >= this.#limits.bytes) return 0
    return Math.max(0, oldest.value.sinceMs + this.#limits.waitMs - nowMs)
  }

  /** The next batch, oldest first, with remaining lifetimes as of now; empty when nothing waits. */
  take(nowMs: number): SessionUpdate[] {
    const batch: SessionUpdate[] = []
    let bytes = 0
    for (const [key, { update, atMs }] of this.#pending) {
      bytes += bytesOf(update)
      if (batch.length >= this.#limits.entries || bytes > this.#limits.bytes) break
      this.#remove(key)
      batch.push(aged(update, nowMs - atMs))
    }
    return batch
  }

  #remove(key: string): void {
    this.#bytes -= bytesOf(this.#pending.get(key)!.update)
    this.#pending.delete(key)
  }
}

/** What has waited out its lifetime is deleted (0). */
function aged(update: SessionUpdate, waitedMs: number): SessionUpdate {
  return update.ttlMs === 0 ? update : { ...update, ttlMs: Math.max(0, Math.floor(update.ttlMs - Math.max(0, waitedMs))) }
}

/** As if no member were named twice. */
function bytesOf({ key, member }: SessionUpdate): number {
  return utf8Bytes(key) + utf8Bytes(member) + overheadBytes
}

function utf8Bytes(text: string): number {
  let bytes = text.length
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    // A surrogate pair has four bytes in two units.
    if (code >= 0x80) bytes += code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 1 : 2
  }
  return bytes
}

/**
 * Reads that wait for a majority to confirm that their leader still was one when they were asked (dissertation §6.4,
 * ReadIndex): by acknowledging a heartbeat that was sent *after* that. Dies with its leadership. Pure.
 */
import type { Outbox } from './outbox.ts'

/** Reads that may wait at a time. One round of heartbeats answers all of them. */
export const maxWaitingReads = 4096

interface WaitingRead {
  readonly id: number
  /** The commit index when it was asked. */
  readonly index: number
  /** The first heartbeat that counts for it. */
  readonly sequence: number
}

export class Reads {
  /** Ascending by `sequence`. */
  #waiting: WaitingRead[] = []

  get isFull(): boolean {
    return this.#waiting.length >= maxWaitingReads
  }

  /** The first heartbeat that a waiting read needs; undefined when none waits. */
  get firstSequence(): number | undefined {
    return this.#waiting[0]?.sequence
  }

  wait(id: number, index: number, sequence: number): void {
    this.#waiting.push({ id, index, sequence })
  }

  /** A majority has acknowledged the heartbeat `sequence`, or a later one. */
  confirmed(sequence: number, outbox: Outbox): void {
    const waiting = this.#waiting
    let count = 0
    while (count < waiting.length && waiting[count]!.sequence <= sequence) {
      const { id, index } = waiting[count]!
      outbox.read(id, index, true)
      count += 1
    }
    if (count > 0) waiting.splice(0, count)
  }

  /** Leadership is lost. */
  fail(outbox: Outbox): void {
    for (const { id, index } of this.#waiting) outbox.read(id, index, false)
    this.#waiting = []
  }
}

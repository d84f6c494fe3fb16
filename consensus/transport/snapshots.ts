/**
 * Snapshots over a log stream, in chunks between the other frames. The receiver acknowledges every chunk once it is
 * stored, and the sender keeps only a few under way, so that neither memory grows and appends are not held up.
 */
import { createHash } from 'node:crypto'
import type { Stream } from './stream.ts'
import type { SnapshotMessage } from './wire.ts'

/** Chunks (≤ 256 KiB each) under way. */
const window = 4
/** Without an acknowledgement for this long the transfer has failed. */
const creditTimeoutMs = 15_000

/** Where a received snapshot goes. */
export interface SnapshotSink {
  write(data: Uint8Array): Promise<void>
  /** All chunks have been written and the checksum was right. */
  end(): Promise<void>
  abort(): void
}

interface Outgoing {
  readonly stream: Stream
  credits: number
  refused: boolean
  wake: (() => void) | undefined
}

/** The sending side, for one peer. */
export class OutgoingSnapshots {
  #next = 1
  readonly #sending = new Map<number, Outgoing>()

  async send(stream: Stream, message: SnapshotMessage, chunks: AsyncIterable<Uint8Array>): Promise<boolean> {
    if (this.#sending.size > 0) return false
    const number = this.#next
    this.#next += 1
    const outgoing: Outgoing = { stream, credits: window, refused: false, wake: undefined }
    this.#sending.set(number, outgoing)
    const hash = createHash('sha256')
    try {
      stream.send({ kind: 'snapshot-begin', stream: number, message })
      for await (const data of chunks) {
        if (!(await credited(outgoing, 1))) return false
        outgoing.credits -= 1
        hash.update(data)
        stream.send({ kind: 'snapshot-chunk', stream: number, data })
      }
      stream.send({ kind: 'snapshot-end', stream: number, sha256: hash.digest('hex') })
      // The last credit comes for the end itself.
      return await credited(outgoing, window + 1)
    } finally {
      this.#sending.delete(number)
    }
  }

  credit(number: number, ok: boolean): void {
    const outgoing = this.#sending.get(number)
    if (outgoing === undefined) return
    if (ok) outgoing.credits += 1
    else outgoing.refused = true
    outgoing.wake?.()
  }

  streamClosed(stream: Stream): void {
    for (const outgoing of this.#sending.values()) {
      if (outgoing.stream !== stream) continue
      outgoing.refused = true
      outgoing.wake?.()
    }
  }
}

async function credited(outgoing: Outgoing, needed: number): Promise<boolean> {
  while (!outgoing.refused && outgoing.credits < needed) {
    const before = outgoing.credits
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, creditTimeoutMs)
      outgoing.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    outgoing.wake = undefined
    if (outgoing.credits === before) return false
  }
  return !outgoing.refused
}

/** The receiving side of one transfer. */
export class IncomingSnapshot {
  readonly stream: Stream
  readonly number: number
  readonly #sink: SnapshotSink
  readonly #hash = createHash('sha256')
  #work: Promise<void> = Promise.resolve()
  #under = 0
  #over = false

  constructor(stream: Stream, number: number, sink: SnapshotSink) {
    this.stream = stream
    this.number = number
    this.#sink = sink
  }

  chunk(data: Uint8Array): void {
    this.#under += 1
    if (this.#under > window) return this.#fail()
    this.#hash.update(data)
    this.#then(async () => {
      await this.#sink.write(data)
      this.#under -= 1
    })
  }

  end(sha256: string): void {
    if (this.#hash.digest('hex') !== sha256) return this.#fail()
    this.#then(async () => {
      this.#over = true
      await this.#sink.end()
    })
  }

  abort(): void {
    if (this.#over) return
    this.#over = true
    this.#sink.abort()
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(async () => {
      if (this.#over) return
      try {
        await work()
        this.stream.send({ kind: 'snapshot-credit', stream: this.number, ok: true })
      } catch {
        this.#fail()
      }
    })
  }

  #fail(): void {
    this.stream.send({ kind: 'snapshot-credit', stream: this.number, ok: false })
    this.abort()
  }
}

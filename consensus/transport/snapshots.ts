/**
 * Snapshots over a log stream, in chunks between the other frames. The receiver first says from which chunk on it wants them,
 * then acknowledges each one once it is stored; the sender keeps only a few under way, so that neither memory grows nor
 * appends are held up. Every chunk has a checksum. Whatever goes wrong ends the transfer at once, on both sides: the next one
 * goes on from there.
 */
import { chunkChecksum } from '../storage/records.ts'
import type { Stream } from './stream.ts'
import type { SnapshotMessage } from './wire.ts'

/** Chunks (≤ 256 KiB each) under way. */
const window = 4
/** Without an acknowledgement for this long the transfer has failed. */
const creditTimeoutMs = 15_000

/** A stored snapshot that is to be sent. */
export interface SnapshotPayload {
  /** Of the whole, hex. */
  readonly sha256: string
  /** Its chunks from the given number on (0 is the first). */
  readonly open: (fromChunk: number) => AsyncIterable<Uint8Array>
}

/** Where a received snapshot goes. */
export interface SnapshotSink {
  /** Called once, first: the number of chunks that are there already, which need not be sent. */
  start(): Promise<number>
  /** The next chunk. One call at a time. */
  write(data: Uint8Array): Promise<void>
  /** All chunks have been written. Rejects when the whole is not what was announced, or cannot be stored. */
  end(): Promise<void>
  /** The stream is over before the end. What is stored is kept, for a while. */
  abort(): void
}

interface Outgoing {
  readonly stream: Stream
  credits: number
  /** Chunk to start at, once the receiver has said so. */
  from: number | undefined
  refused: boolean
  wake: (() => void) | undefined
}

/** The sending side, for one peer. */
export class OutgoingSnapshots {
  #next = 1
  readonly #sending = new Map<number, Outgoing>()

  async send(stream: Stream, message: SnapshotMessage, payload: SnapshotPayload): Promise<boolean> {
    if (this.#sending.size > 0) return false
    const number = this.#next
    this.#next += 1
    const outgoing: Outgoing = { stream, credits: window, from: undefined, refused: false, wake: undefined }
    this.#sending.set(number, outgoing)
    try {
      stream.send({ kind: 'snapshot-begin', stream: number, message, sha256: payload.sha256 })
      if (!(await reached(outgoing, () => outgoing.from !== undefined))) return false
      let chunk = outgoing.from!
      for await (const data of payload.open(chunk)) {
        if (!(await reached(outgoing, () => outgoing.credits > 0))) return false
        outgoing.credits -= 1
        stream.send({ kind: 'snapshot-chunk', stream: number, number: chunk, checksum: chunkChecksum(chunk, data), data })
        chunk += 1
      }
      stream.send({ kind: 'snapshot-end', stream: number })
      // The last credit comes for the end itself.
      return await reached(outgoing, () => outgoing.credits > window)
    } finally {
      this.#sending.delete(number)
    }
  }

  ready(number: number, from: number): void {
    const outgoing = this.#sending.get(number)
    if (outgoing === undefined) return
    outgoing.from ??= from
    outgoing.wake?.()
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

/** False when the receiver refused, the stream broke, or nothing came for too long. */
async function reached(outgoing: Outgoing, condition: () => boolean): Promise<boolean> {
  while (!outgoing.refused && !condition()) {
    const before = outgoing.credits
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, creditTimeoutMs)
      outgoing.wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    outgoing.wake = undefined
    if (outgoing.credits === before && !condition()) return false
  }
  return !outgoing.refused
}

/** The receiving side of one transfer. */
export class IncomingSnapshot {
  readonly stream: Stream
  readonly number: number
  readonly #sink: SnapshotSink
  #work: Promise<void> = Promise.resolve()
  /** Number of the next chunk; undefined until the sink has said where to start. */
  #due: number | undefined
  #under = 0
  #over = false

  constructor(stream: Stream, number: number, sink: SnapshotSink) {
    this.stream = stream
    this.number = number
    this.#sink = sink
    this.#then(async () => {
      this.#due = await sink.start()
      stream.send({ kind: 'snapshot-ready', stream: number, from: this.#due })
    })
  }

  chunk(number: number, checksum: number, data: Uint8Array): void {
    if (this.#over) return
    this.#under += 1
    if (this.#under > window || number !== this.#due || chunkChecksum(number, data) !== checksum) return this.#fail()
    this.#due += 1
    this.#then(async () => {
      await this.#sink.write(data)
      this.#under -= 1
      this.#credit(true)
    })
  }

  end(): void {
    this.#then(async () => {
      this.#over = true
      await this.#sink.end()
      this.#credit(true)
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
      } catch {
        this.#fail()
      }
    })
  }

  #credit(ok: boolean): void {
    this.stream.send({ kind: 'snapshot-credit', stream: this.number, ok })
  }

  #fail(): void {
    this.#credit(false)
    this.abort()
  }
}

/** The payload of a snapshot as a file: writing it chunk by chunk, going on with what was left unfinished, reading it back. */
import { createHash } from 'node:crypto'
import type { SnapshotIdentity, SnapshotRecord } from './records.ts'
import { chunkOffset, decodeChunk, encodeChunk, maxChunkBytes, storedChunkBytes, StorageError } from './records.ts'
import type { Files } from './store.ts'

/** What waits for the disk is bounded: a large sync would hold up the log's, which share a journal with it, for as long as it takes. */
const syncEveryBytes = 1024 * 1024

/** A snapshot that is being written and is not current yet. */
export interface SnapshotDraft {
  readonly bytes: number
  /** Chunks stored. A draft that is gone on with starts with those that were stored before. */
  readonly chunks: number
  /** Of the whole, hex; empty before `finish`. */
  readonly sha256: string
  /** Pieces of any size, in order. Durable once `finish` has resolved. */
  write(data: Uint8Array): Promise<void>
  /** Writes the rest; all of it is durable when it resolves. The draft can then be made current. */
  finish(): Promise<void>
  /** Forgets what was written. */
  abort(): Promise<void>
}

export interface DraftOptions {
  readonly file: number
  /** Of the store as it is open now: it may be opened anew meanwhile. */
  readonly files: () => Files
  readonly forget: () => Promise<void>
  /** Payload bytes of the whole log when the snapshot was begun. */
  readonly logBytesAtStart: number
}

export class Draft implements SnapshotDraft {
  readonly options: DraftOptions
  readonly #hash = createHash('sha256')
  #rest: Uint8Array[] = []
  #restBytes = 0
  #unsyncedBytes = 0
  #storedBytes = 0
  chunks = 0
  sha256 = ''

  constructor(options: DraftOptions) {
    this.options = options
  }

  /** Payload bytes written, whether or not their chunk is full yet. */
  get bytes(): number {
    return this.#storedBytes + this.#restBytes
  }

  /** Goes on behind the chunks of `identity` that are in the file and undamaged. */
  async resume(identity: SnapshotIdentity): Promise<void> {
    const { file, files } = this.options
    while (this.bytes < identity.bytes) {
      const chunk = decodeChunk(this.chunks, await files().read(file, chunkOffset(this.chunks), storedChunkBytes))
      if (chunk?.length !== Math.min(maxChunkBytes, identity.bytes - this.bytes)) break
      this.#count(chunk)
    }
    // A killed process may have left them to the kernel.
    this.#unsyncedBytes = this.bytes
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#restBytes === 0 && data.length === maxChunkBytes) return this.#chunk(data)
    this.#rest.push(data)
    this.#restBytes += data.length
    if (this.#restBytes < maxChunkBytes) return
    const all = Buffer.concat(this.#rest)
    let at = 0
    for (; at + maxChunkBytes <= all.length; at += maxChunkBytes) await this.#chunk(all.subarray(at, at + maxChunkBytes))
    this.#rest = at < all.length ? [all.subarray(at)] : []
    this.#restBytes = all.length - at
  }

  async finish(): Promise<void> {
    if (this.#restBytes > 0) {
      await this.#chunk(Buffer.concat(this.#rest))
      this.#rest = []
      this.#restBytes = 0
    }
    if (this.#unsyncedBytes > 0) await this.options.files().sync(this.options.file)
    this.#unsyncedBytes = 0
    if (this.sha256 === '') this.sha256 = this.#hash.digest('hex')
  }

  async abort(): Promise<void> {
    this.#rest = []
    await this.options.forget()
  }

  async #chunk(data: Uint8Array): Promise<void> {
    const { file, files } = this.options
    await files().write(file, chunkOffset(this.chunks), encodeChunk(this.chunks, data))
    this.#count(data)
    this.#unsyncedBytes += data.length
    if (this.#unsyncedBytes < syncEveryBytes) return
    await files().sync(file)
    this.#unsyncedBytes = 0
  }

  #count(data: Uint8Array): void {
    this.#hash.update(data)
    this.#storedBytes += data.length
    this.chunks += 1
  }
}

/** The chunks of a snapshot from number `from` on, each verified, and the whole when it is read from the start. */
export async function* readChunks(files: () => Files, record: SnapshotRecord, from: number): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let bytes = 0
  for (let number = from; number < record.chunks; number += 1) {
    const stored = await files().read(record.file, chunkOffset(number), storedChunkBytes)
    if (stored.length === 0) throw new StorageError(`snapshot chunk ${number} is missing`)
    const chunk = decodeChunk(number, stored)
    if (chunk === undefined) throw new StorageError(`snapshot chunk ${number} is damaged (checksum mismatch)`)
    if (from === 0) hash.update(chunk)
    bytes += chunk.length
    yield chunk
  }
  if (from > 0) return
  if (bytes !== record.meta.bytes || hash.digest('hex') !== record.sha256) {
    throw new StorageError('the snapshot is damaged (its checksum does not match)')
  }
}

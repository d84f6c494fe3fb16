/**
 * How the durable log looks on disk: keys and values. Every value starts with a CRC-32 that also covers its key, so that a
 * record that was damaged or that sits in the wrong place is noticed. Pure but for the checksum function.
 *
 *     s            state: sequence, term, vote, log bounds, commit index — one record, rewritten with every write
 *     e + u64      a run of log entries, from that index on (big-endian, so that the order of keys is the order of the log)
 *     p            which snapshot is current
 *     d            which snapshot is being received
 *     o            owner: cluster and node to which this log belongs
 *
 * The payload of a snapshot is a file of chunks, each with a head (CRC-32 over its number and data, length); all but the last
 * have the same length, so that the place of each is known.
 */
import { Buffer } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { isMembership } from '../core/membership.ts'
import type { Entry, HardState, SnapshotMeta } from '../core/types.ts'
import { packEntries, unpackEntries } from '../entries.ts'

/** Everything about the log that changes with a write, except the entries. */
export interface StateRecord {
  /** Number of the write, from 1. */
  readonly sequence: number
  readonly hardState: HardState
  /** The entry before the first one that is kept: index and term. */
  readonly baseIndex: number
  readonly baseTerm: number
  readonly lastIndex: number
  /** Committed at the time of the write at least up to here. */
  readonly commitIndex: number
}

export interface SnapshotRecord {
  /** Where its chunks are. */
  readonly file: number
  readonly chunks: number
  /** Of the whole payload, hex. */
  readonly sha256: string
  readonly meta: SnapshotMeta
}

/** What makes a stored snapshot the same as another one: its content, so that any node that has it can go on sending it. */
export interface SnapshotIdentity {
  readonly index: number
  readonly term: number
  /** Of the whole payload. */
  readonly bytes: number
  /** Of the whole payload, hex. */
  readonly sha256: string
}

/** A snapshot that is being received. How much of it is there the chunks themselves tell. */
export interface DraftRecord {
  readonly file: number
  readonly identity: SnapshotIdentity
}

export interface OwnerRecord {
  readonly clusterId: string
  readonly nodeId: string
  /** How often the cluster had been recovered (`haechi recover`) when this was written; absent: never. */
  readonly generation?: number
}

/**
 * The stored log cannot be trusted or used. The message says what is wrong, for the operator. `damaged`: what was stored
 * is not there any more as it was, so that only another member can give it back. `unusable`: it may be whole, but cannot
 * be used as it is (another process has it, it is another node's, the disk does not answer, a later version has written it:
 * what its checksum confirms is as it was written).
 */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly kind: 'damaged' | 'unusable'

  constructor(message: string, kind: 'damaged' | 'unusable' = 'damaged') {
    super(message)
    this.kind = kind
  }
}

/** Every chunk of a snapshot but the last has this many bytes, on disk and on the wire. */
export const maxChunkBytes = 256 * 1024

export const stateKey = Buffer.from('s')
export const snapshotKey = Buffer.from('p')
export const draftKey = Buffer.from('d')
export const ownerKey = Buffer.from('o')

/** 2: entries in runs. What another format means is not guessed: read as this one it would look damaged, and be set aside. */
const formatVersion = 2
const checksumBytes = 4
/** crc32, length. */
const chunkHeadBytes = 4 + 4
const stateHeadBytes = 4 + 1 + 6 * 8 + 1

export function entryKey(index: number): Buffer {
  const key = Buffer.allocUnsafe(9)
  key[0] = 0x65
  key.writeUInt32BE(Math.floor(index / 2 ** 32), 1)
  key.writeUInt32BE(index % 2 ** 32, 5)
  return key
}

export function indexOfKey(key: Uint8Array): number {
  const view = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return view.readUInt32BE(1) * 2 ** 32 + view.readUInt32BE(5)
}

/** Entries that follow on each other, with the key of the first. */
export function encodeRun(entries: readonly Entry[], key: Buffer): Buffer {
  return seal(key, packEntries(entries, checksumBytes))
}

/** Throws `StorageError` when damaged. */
export function decodeRun(key: Uint8Array, value: Uint8Array): Entry[] {
  const index = indexOfKey(key)
  const view = open(key, value, checksumBytes, `log entry ${index}`)
  const entries = unpackEntries(view, index, checksumBytes)
  if (entries === undefined || entries.length === 0) throw new StorageError(`log entry ${index} is not understood`, 'unusable')
  return entries
}

export function encodeState(state: StateRecord): Buffer {
  const vote = Buffer.from(state.hardState.vote)
  const value = Buffer.allocUnsafe(stateHeadBytes + vote.length)
  value[4] = formatVersion
  writeNumber(value, state.sequence, 5)
  writeNumber(value, state.hardState.term, 13)
  writeNumber(value, state.baseIndex, 21)
  writeNumber(value, state.baseTerm, 29)
  writeNumber(value, state.lastIndex, 37)
  writeNumber(value, state.commitIndex, 45)
  value[53] = vote.length
  value.set(vote, stateHeadBytes)
  return seal(stateKey, value)
}

export function decodeState(value: Uint8Array): StateRecord {
  const view = open(stateKey, value, stateHeadBytes, 'the record of term and vote')
  if (view[4] !== formatVersion) throw new StorageError(`the log has format ${view[4]}, this version of Haechi knows ${formatVersion}`, 'unusable')
  if (view.length !== stateHeadBytes + view[53]!) throw new StorageError('the record of term and vote has a wrong length')
  return {
    sequence: readNumber(view, 5),
    hardState: { term: readNumber(view, 13), vote: view.toString('utf8', stateHeadBytes) },
    baseIndex: readNumber(view, 21),
    baseTerm: readNumber(view, 29),
    lastIndex: readNumber(view, 37),
    commitIndex: readNumber(view, 45),
  }
}

/** Where a chunk starts in its file, bytes. */
export function chunkOffset(number: number): number {
  return number * storedChunkBytes
}

/** The most that one chunk takes in its file. */
export const storedChunkBytes = chunkHeadBytes + maxChunkBytes

/** CRC-32 over the number of a chunk and its data: one in the wrong place is noticed, too. */
export function chunkChecksum(number: number, data: Uint8Array): number {
  const place = Buffer.allocUnsafe(4)
  place.writeUInt32BE(number)
  return crc32(data, crc32(place))
}

export function encodeChunk(number: number, data: Uint8Array): Buffer {
  const stored = Buffer.allocUnsafe(chunkHeadBytes + data.length)
  stored.writeUInt32BE(chunkChecksum(number, data), 0)
  stored.writeUInt32BE(data.length, 4)
  stored.set(data, chunkHeadBytes)
  return stored
}

/** `stored` may be longer than the chunk. Undefined when the chunk is not there or damaged. */
export function decodeChunk(number: number, stored: Uint8Array): Buffer | undefined {
  const view = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
  if (view.length < chunkHeadBytes) return undefined
  const end = chunkHeadBytes + view.readUInt32BE(4)
  if (end === chunkHeadBytes || end > view.length) return undefined
  const data = view.subarray(chunkHeadBytes, end)
  return view.readUInt32BE(0) === chunkChecksum(number, data) ? data : undefined
}

export function encodeSnapshot(record: SnapshotRecord): Buffer {
  return sealJson(snapshotKey, record)
}

export function decodeSnapshot(value: Uint8Array): SnapshotRecord {
  const record = openJson(snapshotKey, value, 'the snapshot record') as Partial<SnapshotRecord>
  const { file, chunks, sha256, meta } = record
  if (!isCount(file) || !isCount(chunks) || typeof sha256 !== 'string' || typeof meta !== 'object'
    || !isCount(meta.index) || !isCount(meta.term) || !isCount(meta.bytes) || !isMembership(meta.membership)) {
    throw new StorageError('the snapshot record is not understood', 'unusable')
  }
  return record as SnapshotRecord
}

export function encodeDraft(record: DraftRecord): Buffer {
  return sealJson(draftKey, record)
}

/** Undefined when it is damaged: a draft is only worth the time that it saves. */
export function decodeDraft(value: Uint8Array): DraftRecord | undefined {
  try {
    const { file, identity } = openJson(draftKey, value, 'the draft record') as Partial<DraftRecord>
    if (!isCount(file) || typeof identity?.sha256 !== 'string') return undefined
    const { index, term, bytes, sha256 } = identity
    return isCount(index) && isCount(term) && isCount(bytes) ? { file, identity: { index, term, bytes, sha256 } } : undefined
  } catch {
    return undefined
  }
}

export function encodeOwner(owner: OwnerRecord): Buffer {
  return sealJson(ownerKey, owner)
}

export function decodeOwner(value: Uint8Array): OwnerRecord {
  const owner = openJson(ownerKey, value, 'the owner record') as Partial<OwnerRecord>
  if (typeof owner.clusterId !== 'string' || typeof owner.nodeId !== 'string'
    || (owner.generation !== undefined && !isCount(owner.generation))) throw new StorageError('the owner record is not understood', 'unusable')
  return owner as OwnerRecord
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function sealJson(key: Buffer, record: unknown): Buffer {
  return seal(key, Buffer.concat([Buffer.alloc(4), Buffer.from(JSON.stringify(record))]))
}

function openJson(key: Buffer, value: Uint8Array, what: string): Record<string, unknown> {
  const view = open(key, value, 4, what)
  const record: unknown = JSON.parse(view.toString('utf8', 4))
  if (typeof record !== 'object' || record === null) throw new StorageError(`${what} is not understood`, 'unusable')
  return record as Record<string, unknown>
}

/** Fills in the checksum over key and value. */
function seal(key: Uint8Array, value: Buffer): Buffer {
  value.writeUInt32BE(crc32(value.subarray(4), crc32(key)), 0)
  return value
}

function open(key: Uint8Array, value: Uint8Array, minBytes: number, what: string): Buffer {
  const view = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (view.length < minBytes || view.readUInt32BE(0) !== crc32(view.subarray(4), crc32(key))) {
    throw new StorageError(`${what} is damaged (checksum mismatch)`)
  }
  return view
}

function writeNumber(buffer: Buffer, value: number, offset: number): void {
  buffer.writeUInt32BE(Math.floor(value / 2 ** 32), offset)
  buffer.writeUInt32BE(value % 2 ** 32, offset + 4)
}

function readNumber(buffer: Buffer, offset: number): number {
  return buffer.readUInt32BE(offset) * 2 ** 32 + buffer.readUInt32BE(offset + 4)
}

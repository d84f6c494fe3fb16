/**
 * How the durable log looks on disk: keys and values. Every value starts with a CRC-32 that also covers its key, so that a
 * record that was damaged or that sits in the wrong place is noticed. Pure but for the checksum function.
 *
 *     s            state: sequence, term, vote, log bounds, commit index — one record, rewritten with every write
 *     e + u64      log entry at that index (big-endian, so that the order of keys is the order of the log)
 *     p            which snapshot is current
 *     c + u32 u32  snapshot chunk: generation, number
 *     o            owner: cluster and node to which this log belongs
 */
import { Buffer } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { isMembership } from '../core/membership.ts'
import type { Entry, EntryType, HardState, SnapshotMeta } from '../core/types.ts'

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
  readonly generation: number
  readonly chunks: number
  /** Of the whole payload, hex. */
  readonly sha256: string
  readonly meta: SnapshotMeta
}

export interface OwnerRecord {
  readonly clusterId: string
  readonly nodeId: string
}

/** The stored log cannot be trusted or used. The message says what is wrong, for the operator. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
}

/** The largest piece of a snapshot that is stored or sent as one, bytes. */
export const maxChunkBytes = 256 * 1024

export const stateKey = Buffer.from('s')
export const snapshotKey = Buffer.from('p')
export const ownerKey = Buffer.from('o')

const entryTypes: readonly EntryType[] = ['noop', 'command', 'membership']
const formatVersion = 1
/** crc32, term, type. */
const entryHeadBytes = 4 + 8 + 1
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

export function chunkKey(generation: number, number: number): Buffer {
  const key = Buffer.allocUnsafe(9)
  key[0] = 0x63
  key.writeUInt32BE(generation, 1)
  key.writeUInt32BE(number, 5)
  return key
}

export function encodeEntry(entry: Entry, key: Buffer): Buffer {
  const value = Buffer.allocUnsafe(entryHeadBytes + entry.data.length)
  writeNumber(value, entry.term, 4)
  value[12] = entryTypes.indexOf(entry.type)
  value.set(entry.data, entryHeadBytes)
  return seal(key, value)
}

/** Throws `StorageError` when damaged. */
export function decodeEntry(key: Uint8Array, value: Uint8Array): Entry {
  const index = indexOfKey(key)
  const view = open(key, value, entryHeadBytes, `log entry ${index}`)
  const type = entryTypes[view[12]!]
  if (type === undefined) throw new StorageError(`log entry ${index} has an unknown type ${view[12]}`)
  return { index, term: readNumber(view, 4), type, data: view.subarray(entryHeadBytes) }
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
  if (view[4] !== formatVersion) throw new StorageError(`the log has format ${view[4]}, this version of Haechi knows ${formatVersion}`)
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

export function encodeChunk(key: Buffer, data: Uint8Array): Buffer {
  const value = Buffer.allocUnsafe(4 + data.length)
  value.set(data, 4)
  return seal(key, value)
}

export function decodeChunk(key: Buffer, value: Uint8Array): Buffer {
  return open(key, value, 4, `snapshot chunk ${key.readUInt32BE(5)}`).subarray(4)
}

export function encodeSnapshot(record: SnapshotRecord): Buffer {
  return sealJson(snapshotKey, record)
}

export function decodeSnapshot(value: Uint8Array): SnapshotRecord {
  const record = openJson(snapshotKey, value, 'the snapshot record') as Partial<SnapshotRecord>
  const { generation, chunks, sha256, meta } = record
  if (!isCount(generation) || !isCount(chunks) || typeof sha256 !== 'string' || typeof meta !== 'object'
    || !isCount(meta.index) || !isCount(meta.term) || !isCount(meta.bytes) || !isMembership(meta.membership)) {
    throw new StorageError('the snapshot record is not understood')
  }
  return record as SnapshotRecord
}

export function encodeOwner(owner: OwnerRecord): Buffer {
  return sealJson(ownerKey, owner)
}

export function decodeOwner(value: Uint8Array): OwnerRecord {
  const owner = openJson(ownerKey, value, 'the owner record') as Partial<OwnerRecord>
  if (typeof owner.clusterId !== 'string' || typeof owner.nodeId !== 'string') throw new StorageError('the owner record is not understood')
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
  if (typeof record !== 'object' || record === null) throw new StorageError(`${what} is not understood`)
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

/**
 * How nodes talk: frames of the log stream (msgpack arrays) and the fixed-size body of datagrams. What arrives is checked
 * for its outer shape here; the core checks the messages themselves. Pure but for the codec.
 *
 * Newer versions may add frame kinds, request types, and fields at the end of frames and requests: all of these are passed
 * over by older ones (a request is answered with `notSupported`), and none of them ends the stream. What is there is only
 * changed together with `spokenProtocols` (`versions.ts`).
 */
import { Buffer } from 'node:buffer'
import { Packr } from 'msgpackr'
import type { Message, NodeId, Peer } from '../core/types.ts'
import { packEntries, unpackEntries } from '../entries.ts'
import { maxProductLength, type Versions } from '../versions.ts'

/** Largest frame: one entry of the largest size and its envelope. */
export const maxFrameBytes = 17 * 1024 * 1024
export const maxGossipBytes = 256 * 1024

/** What one node asks of another over the stream. */
export type Request =
  | { readonly type: 'propose'; readonly data: Uint8Array; readonly priority: 'normal' | 'bulk' }
  | { readonly type: 'add-peer'; readonly peer: Peer }
  | { readonly type: 'remove-peer'; readonly id: NodeId }
  | { readonly type: 'transfer'; readonly to: NodeId }
  | { readonly type: 'read-index' }
  /** The sender has lost its log and asks the leader to count it no more until it has got a new one (`repair.ts`). */
  | { readonly type: 'repair'; readonly fingerprint: string }
  /** Who is a member, as far as the receiver knows: the sender may have been away for long. */
  | { readonly type: 'members' }

export type SnapshotMessage = Extract<Message, { type: 'snapshot' }>

export type Frame =
  /** First frame in both directions; `session` and `key` are for the datagrams that the sender will send. */
  | { readonly kind: 'hello'; readonly id: NodeId; readonly clusterId: string; readonly session: Uint8Array; readonly key: Uint8Array; readonly versions: Versions }
  /** The session of the hello is known now and may be used. */
  | { readonly kind: 'hello-ack' }
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'request'; readonly id: number; readonly request: Request }
  | { readonly kind: 'reply'; readonly id: number; readonly reply: unknown }
  | { readonly kind: 'gossip'; readonly data: Uint8Array }
  /** Every half second. `datagrams`: some have arrived since the last one. */
  | { readonly kind: 'alive'; readonly datagrams: boolean }
  /** `sha256` (hex): of the whole payload. It tells which snapshot this is. */
  | { readonly kind: 'snapshot-begin'; readonly stream: number; readonly message: SnapshotMessage; readonly sha256: string }
  /** The receiver has the chunks before `from` already. */
  | { readonly kind: 'snapshot-ready'; readonly stream: number; readonly from: number }
  /** `checksum`: see `chunkChecksum`. */
  | { readonly kind: 'snapshot-chunk'; readonly stream: number; readonly number: number; readonly checksum: number; readonly data: Uint8Array }
  | { readonly kind: 'snapshot-end'; readonly stream: number }
  /** The receiver has stored one chunk (`ok`), or does not want the rest. */
  | { readonly kind: 'snapshot-credit'; readonly stream: number; readonly ok: boolean }

/** What arrives: a frame, or something of a newer version. */
export type ReceivedFrame =
  | Frame
  | { readonly kind: 'unknown'; readonly number: number }
  /** To be answered with `notSupported`. */
  | { readonly kind: 'unknown-request'; readonly id: number; readonly type: string }

/** Reply to a request of a type that this version does not know. Nothing was done. */
export interface NotSupported {
  readonly ok: false
  readonly code: 'not-supported'
  readonly retrySafe: true
  readonly detail: string
}

export function notSupported(self: NodeId, { product }: Versions, type: string): NotSupported {
  const version = product === '' ? 'an older version' : `version ${product}`
  return { ok: false, code: 'not-supported', retrySafe: true, detail: `${self} runs ${version}, which does not know the request ${JSON.stringify(type)}: upgrade ${self}` }
}

const noEntries: readonly never[] = []

const packr = new Packr({ useRecords: false, structuredClone: false })

const maxTypeLength = 64
const kinds = [
  'hello', 'hello-ack', 'message', 'request', 'reply', 'gossip', 'alive',
  'snapshot-begin', 'snapshot-ready', 'snapshot-chunk', 'snapshot-end', 'snapshot-credit',
] as const

export function encodeFrame(frame: Frame): Buffer {
  const kind = kinds.indexOf(frame.kind)
  switch (frame.kind) {
    case 'hello': {
      const { protocol, commandLevel, product } = frame.versions
      return packr.pack([kind, protocol.max, frame.id, frame.clusterId, frame.session, frame.key, protocol.min, commandLevel, product])
    }
    case 'hello-ack': return packr.pack([kind])
    case 'message': {
      const { message } = frame
      if (message.type !== 'append' || message.entries.length === 0) return packr.pack([kind, message])
      // One piece of bytes for all entries: this is most of what a leader sends.
      return packr.pack([kind, { ...message, entries: noEntries }, packEntries(message.entries)])
    }
    case 'request': return packr.pack([kind, frame.id, frame.request])
    case 'reply': return packr.pack([kind, frame.id, frame.reply])
    case 'gossip': return packr.pack([kind, frame.data])
    case 'alive': return packr.pack([kind, frame.datagrams])
    case 'snapshot-begin': return packr.pack([kind, frame.stream, frame.message, frame.sha256])
    case 'snapshot-ready': return packr.pack([kind, frame.stream, frame.from])
    case 'snapshot-chunk': return packr.pack([kind, frame.stream, frame.number, frame.checksum, frame.data])
    case 'snapshot-end': return packr.pack([kind, frame.stream])
    case 'snapshot-credit': return packr.pack([kind, frame.stream, frame.ok])
  }
}

/** Undefined for anything that is not a frame. */
export function decodeFrame(data: Uint8Array): ReceivedFrame | undefined {
  let value: unknown
  try {
    value = packr.unpack(data)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  const [number, a, b, c, d, e, f, g, h] = value as unknown[]
  const kind = typeof number === 'number' ? kinds[number] : undefined
  const bytes = (field: unknown): field is Uint8Array => field instanceof Uint8Array
  const count = (field: unknown): field is number => typeof field === 'number' && Number.isSafeInteger(field) && field >= 0
  const record = (field: unknown): field is object => typeof field === 'object' && field !== null
  switch (kind) {
    case 'hello':
      if (!count(a) || typeof b !== 'string' || typeof c !== 'string' || !bytes(d) || d.length !== 8 || !bytes(e) || e.length !== 32) return undefined
      if (!count(f) || f > a || !count(g) || typeof h !== 'string' || h.length > maxProductLength) return undefined
      return { kind, id: b, clusterId: c, session: d, key: e, versions: { protocol: { min: f, max: a }, commandLevel: g, product: h } }
    case 'hello-ack': return { kind }
    case 'message': {
      if (!record(a)) return undefined
      const message = a as Message
      if (b === undefined || message.type !== 'append') return { kind, message }
      const entries = bytes(b) && count(message.prevIndex) ? unpackEntries(b, message.prevIndex + 1) : undefined
      return entries === undefined ? undefined : { kind, message: { ...message, entries } }
    }
    case 'request': {
      if (!count(a)) return undefined
      if (isRequest(b)) return { kind, id: a, request: b }
      const type = unknownType(b)
      return type === undefined ? undefined : { kind: 'unknown-request', id: a, type }
    }
    case 'reply': return count(a) ? { kind, id: a, reply: b } : undefined
    case 'gossip': return bytes(a) ? { kind, data: a } : undefined
    case 'alive': return typeof a === 'boolean' ? { kind, datagrams: a } : undefined
    case 'snapshot-begin':
      if (!count(a) || !record(b) || (b as Message).type !== 'snapshot' || typeof c !== 'string') return undefined
      return { kind, stream: a, message: b as SnapshotMessage, sha256: c }
    case 'snapshot-ready': return count(a) && count(b) ? { kind, stream: a, from: b } : undefined
    case 'snapshot-chunk':
      return count(a) && count(b) && count(c) && bytes(d) ? { kind, stream: a, number: b, checksum: c, data: d } : undefined
    case 'snapshot-end': return count(a) ? { kind, stream: a } : undefined
    case 'snapshot-credit': return count(a) && typeof b === 'boolean' ? { kind, stream: a, ok: b } : undefined
    case undefined: return count(number) ? { kind: 'unknown', number } : undefined
  }
}

const requestTypes: { readonly [Type in Request['type']]: true } = {
  propose: true, 'add-peer': true, 'remove-peer': true, transfer: true, 'read-index': true, repair: true, members: true,
}

/** The type of a request that this version does not know; undefined when it is a known one or no request at all. */
function unknownType(value: unknown): string | undefined {
  const { type } = (typeof value === 'object' && value !== null ? value : {}) as { type?: unknown }
  return typeof type === 'string' && type.length <= maxTypeLength && !Object.hasOwn(requestTypes, type) ? type : undefined
}

function isRequest(value: unknown): value is Request {
  if (typeof value !== 'object' || value === null) return false
  const request = value as Partial<Record<string, unknown>>
  switch (request['type']) {
    case 'propose': return request['data'] instanceof Uint8Array && (request['priority'] === 'normal' || request['priority'] === 'bulk')
    case 'add-peer': return typeof request['peer'] === 'object' && request['peer'] !== null
    case 'remove-peer': return typeof request['id'] === 'string'
    case 'transfer': return typeof request['to'] === 'string'
    case 'read-index': return true
    case 'repair': return typeof request['fingerprint'] === 'string'
    case 'members': return true
    default: return false
  }
}

// — the body of a datagram: type, flag, then three numbers; who sent it follows from the session —

const datagramMessageTypes = ['pre-vote', 'pre-vote-reply', 'vote', 'vote-reply', 'heartbeat', 'heartbeat-ack', 'timeout-now'] as const
export const datagramBodyBytes = 2 + 3 * 8

/** Writes `message` at `offset`; false for types that do not travel as datagrams. */
export function writeDatagramBody(message: Message, out: Buffer, offset: number): boolean {
  let flag = false
  let a = 0
  let b = 0
  switch (message.type) {
    case 'pre-vote':
    case 'vote':
      a = message.lastIndex
      b = message.lastTerm
      flag = message.type === 'vote' && message.transfer
      break
    case 'pre-vote-reply':
    case 'vote-reply':
      flag = message.granted
      break
    case 'heartbeat':
      a = message.sequence
      b = message.commit
      break
    case 'heartbeat-ack':
      a = message.sequence
      b = message.lastIndex
      break
    case 'timeout-now':
      break
    default:
      return false
  }
  out[offset] = datagramMessageTypes.indexOf(message.type)
  out[offset + 1] = flag ? 1 : 0
  out.writeDoubleBE(message.term, offset + 2)
  out.writeDoubleBE(a, offset + 10)
  out.writeDoubleBE(b, offset + 18)
  return true
}

/** Undefined for an unknown type. The numbers are checked by the core. */
export function readDatagramBody(data: Buffer, offset: number, from: NodeId, to: NodeId): Message | undefined {
  const type = datagramMessageTypes[data[offset]!]
  const flag = data[offset + 1] === 1
  const term = data.readDoubleBE(offset + 2)
  const a = data.readDoubleBE(offset + 10)
  const b = data.readDoubleBE(offset + 18)
  switch (type) {
    case 'pre-vote': return { type, from, to, term, lastIndex: a, lastTerm: b }
    case 'vote': return { type, from, to, term, lastIndex: a, lastTerm: b, transfer: flag }
    case 'pre-vote-reply':
    case 'vote-reply': return { type, from, to, term, granted: flag }
    case 'heartbeat': return { type, from, to, term, sequence: a, commit: b }
    case 'heartbeat-ack': return { type, from, to, term, sequence: a, lastIndex: b }
    case 'timeout-now': return { type, from, to, term }
    case undefined: return undefined
  }
}

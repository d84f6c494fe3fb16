/**
 * The request id and the W3C trace context (Trace Context Level 1, §3.2) of requests on their way to a member: what a client sent is kept
 * where it may be, and made where it is missing. Fields that must not go on are marked as hop-by-hop in the parsed head, so that
 * whoever writes the head for the member leaves them out; new ones are appended to the written head.
 */
import { maxFieldBytes, maxTargetBytes, type RequestNote } from '../../observe/access-line.ts'
import { ascii } from '../http/bytes.ts'
import { FieldKind, fieldStride, type Head } from '../http/head.ts'
import { fieldNamed } from './filters.ts'
import type { FiltersPlan } from './plan.ts'

/** At most this much is appended to a head. */
export const markBytes = 320
const maxTrustedIdBytes = 128

const traceparentName = ascii('traceparent')
const tracestateName = ascii('tracestate')
const traceparentLine = ascii('traceparent: 00-')
const refererName = ascii('referer')
const userAgentName = ascii('user-agent')
/** Both digits of a byte. */
const highDigit = ascii(Array.from({ length: 256 }, (_, byte) => (byte >> 4).toString(16)).join(''))
const lowDigit = ascii(Array.from({ length: 256 }, (_, byte) => (byte & 15).toString(16)).join(''))

/**
 * Random numbers, fast (xoshiro128**, Blackman and Vigna, public domain). Ids must be unique and not be guessable from outside of the
 * node's traffic; they are no secrets.
 */
export class RandomWords {
  readonly #state: Uint32Array

  /** @param seed four words, not all zero */
  constructor(seed: readonly [number, number, number, number]) {
    this.#state = Uint32Array.from(seed)
  }

  /** 32 bits, unsigned. */
  next(): number {
    const s = this.#state
    const five = Math.imul(s[1]!, 5)
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0
    const t = s[1]! << 9
    s[2]! ^= s[0]!
    s[3]! ^= s[1]!
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= t
    s[3] = (s[3]! << 11) | (s[3]! >>> 21)
    return result
  }
}

/** A listener's request ids and traces. One request at a time: `read`, then `append`. */
export class RequestMarks {
  /** Whether there is anything to do at all. */
  readonly on: boolean
  /** Whether the id is in the answer too. */
  readonly responds: boolean
  readonly #random: RandomWords
  readonly #trust: boolean
  readonly #ids: boolean
  readonly #name: Uint8Array
  readonly #line: Uint8Array
  readonly #traceShare: number | undefined
  /** The id of the request that was read last, and its trace's. */
  readonly #id = Buffer.alloc(maxTrustedIdBytes)
  #idLength = 0
  readonly #traceId = Buffer.alloc(32)
  #traceLength = 0
  #newId = false
  #newTrace = false
  #sampled = false

  constructor(plan: FiltersPlan, random: RandomWords) {
    const { requestId, traceShare } = plan
    this.#random = random
    this.#ids = requestId !== undefined
    this.#trust = requestId?.trust ?? false
    this.#name = ascii((requestId?.header ?? '').toLowerCase())
    this.#line = ascii(`${requestId?.header ?? ''}: `)
    this.#traceShare = traceShare
    this.on = this.#ids || traceShare !== undefined
    this.responds = requestId?.respond ?? false
  }

  /** Looks at a request head and decides; call before the head is written for the member. */
  read(head: Head, buffer: Buffer): void {
    this.#idLength = 0
    this.#traceLength = 0
    this.#newId = false
    this.#newTrace = false
    if (this.#ids) this.#readId(head, buffer)
    if (this.#traceShare !== undefined) this.#readTrace(head, buffer)
  }

  #readId(head: Head, buffer: Buffer): void {
    const field = fieldNamed(head, buffer, this.#name)
    if (field >= 0 && this.#trust && isOnly(head, buffer, this.#name, field)) {
      const start = head.fields[field * fieldStride + 2]!
      const end = head.fields[field * fieldStride + 3]!
      if (end > start && end - start <= maxTrustedIdBytes && isPrintable(buffer, start, end)) {
        buffer.copy(this.#id, 0, start, end)
        this.#idLength = end - start
        return
      }
    }
    if (field >= 0) dropFields(head, buffer, this.#name)
    this.#hex(this.#id, 4)
    this.#idLength = 32
    this.#newId = true
  }

  #readTrace(head: Head, buffer: Buffer): void {
    const field = fieldNamed(head, buffer, traceparentName)
    if (field >= 0 && isOnly(head, buffer, traceparentName, field)) {
      const start = head.fields[field * fieldStride + 2]!
      if (isTraceparent(buffer, start, head.fields[field * fieldStride + 3]!)) {
        buffer.copy(this.#traceId, 0, start + 3, start + 35)
        this.#traceLength = 32
        return
      }
    }
    // What cannot be read is as if it were not there, and its state with it (§3.3).
    if (field >= 0) dropFields(head, buffer, traceparentName)
    dropFields(head, buffer, tracestateName)
    if (this.#newId) put(this.#traceId, 0, this.#id, 32)
    else this.#hex(this.#traceId, 4)
    this.#traceLength = 32
    this.#newTrace = true
    this.#sampled = this.#random.next() < this.#traceShare! * 0x1_0000_0000
  }

  #hex(target: Uint8Array, words: number): void {
    for (let word = 0; word < words; word++) {
      putHex(target, word * 8, this.#random.next())
    }
  }

  /** Adds what is new to a head that has been written, before its empty line. @returns its length */
  append(target: Buffer, length: number): number {
    let at = length - 2
    if (this.#newId) at = this.#putId(target, at)
    if (this.#newTrace) {
      at = put(target, at, traceparentLine, traceparentLine.length)
      at = put(target, at, this.#traceId, 32)
      target[at++] = 0x2d
      for (let word = 0; word < 2; word++) {
        // A parent id of zeros is not valid.
        putHex(target, at, this.#random.next() | word)
        at += 8
      }
      target[at++] = 0x2d
      target[at++] = 0x30
      target[at++] = this.#sampled ? 0x31 : 0x30
      target[at++] = 0x0d
      target[at++] = 0x0a
    }
    target[at++] = 0x0d
    target[at++] = 0x0a
    return at
  }

  #putId(target: Buffer, from: number): number {
    let at = put(target, from, this.#line, this.#line.length)
    at = put(target, at, this.#id, this.#idLength)
    target[at++] = 0x0d
    target[at++] = 0x0a
    return at
  }

  /** Copies id and trace into the note of the request, behind what is there. */
  note(note: RequestNote): void {
    note.requestIdEnd = note.append(note.userAgentEnd, this.#id, 0, this.#idLength, maxTrustedIdBytes)
    note.traceIdEnd = note.append(note.requestIdEnd, this.#traceId, 0, this.#traceLength, 32)
  }

  /** Leaves the member's own id out of its answer: call before the head is written for the client. */
  dropFromAnswer(head: Head, buffer: Buffer): void {
    dropFields(head, buffer, this.#name)
  }

  /** Adds a noted id to the head of an answer that has been written, before its empty line. @returns where it ends */
  appendToAnswer(target: Buffer, end: number, note: RequestNote): number {
    if (note.requestIdEnd === note.userAgentEnd) return end
    let at = put(target, end - 2, this.#line, this.#line.length)
    for (let i = note.userAgentEnd; i < note.requestIdEnd; i++) target[at++] = note.bytes[i]!
    target[at++] = 0x0d
    target[at++] = 0x0a
    target[at++] = 0x0d
    target[at++] = 0x0a
    return at
  }
}

/** Copies what is logged of a request head. */
export function noteRequest(note: RequestNote, head: Head, buffer: Buffer): void {
  note.minor = head.minor
  note.methodEnd = note.append(0, buffer, head.start, head.methodEnd, 64)
  note.targetEnd = note.append(note.methodEnd, buffer, head.targetStart, head.targetEnd, maxTargetBytes)
  note.hostEnd = note.append(note.targetEnd, buffer, head.hostStart, head.hostEnd, maxFieldBytes)
  note.refererEnd = appendField(note, note.hostEnd, head, buffer, refererName)
  note.userAgentEnd = appendField(note, note.refererEnd, head, buffer, userAgentName)
  note.requestIdEnd = note.userAgentEnd
  note.traceIdEnd = note.userAgentEnd
}

function appendField(note: RequestNote, at: number, head: Head, buffer: Buffer, name: Uint8Array): number {
  const field = fieldNamed(head, buffer, name)
  return field < 0 ? at : note.append(at, buffer, head.fields[field * fieldStride + 2]!, head.fields[field * fieldStride + 3]!, maxFieldBytes)
}

/** The eight digits of a word. */
function putHex(target: Uint8Array, from: number, word: number): void {
  for (let byte = 0; byte < 4; byte++) {
    const value = (word >>> (24 - 8 * byte)) & 255
    target[from + 2 * byte] = highDigit[value]!
    target[from + 2 * byte + 1] = lowDigit[value]!
  }
}

function put(target: Uint8Array, from: number, bytes: Uint8Array, length: number): number {
  if (length > 24 && length === bytes.length) target.set(bytes, from)
  else for (let i = 0; i < length; i++) target[from + i] = bytes[i]!
  return from + length
}

/** Marks all fields of that name so that they do not go on. */
function dropFields(head: Head, buffer: Buffer, name: Uint8Array): void {
  for (let i = fieldNamed(head, buffer, name); i >= 0; i = fieldNamed(head, buffer, name, i + 1)) head.kinds[i] = FieldKind.hopByHop
}

function isOnly(head: Head, buffer: Buffer, name: Uint8Array, first: number): boolean {
  return fieldNamed(head, buffer, name, first + 1) < 0
}

function isPrintable(buffer: Buffer, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (buffer[i]! <= 0x20 || buffer[i]! > 0x7e) return false
  return true
}

/** `00-<32 hex>-<16 hex>-<2 hex>`, ids not all zero; a higher version may go on after another hyphen (§4). */
export function isTraceparent(buffer: Buffer, start: number, end: number): boolean {
  const length = end - start
  if (length < 55) return false
  let idBits = 0
  let parentBits = 0
  for (let i = 0; i < 55; i++) {
    const byte = buffer[start + i]!
    if (i === 2 || i === 35 || i === 52) {
      if (byte !== 0x2d) return false
      continue
    }
    if (!((byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x66))) return false
    if (i > 2 && i < 35) idBits |= byte ^ 0x30
    else if (i > 35 && i < 52) parentBits |= byte ^ 0x30
  }
  if (idBits === 0 || parentBits === 0) return false
  const version0 = buffer[start] === 0x30 && buffer[start + 1] === 0x30
  if (buffer[start] === 0x66 && buffer[start + 1] === 0x66) return false
  return length === 55 || (!version0 && buffer[start + 55] === 0x2d)
}

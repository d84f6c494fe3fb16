/**
 * Session updates as bytes, in the log and in snapshots: what there are a million of must be small and quick to read. A
 * block is the members that it names, then for each update the key, which member, and its lifetime:
 *
 *     count of members, { length, UTF-8 }…, count of updates, { length, UTF-8 key, member, ttlMs }…
 *
 * All numbers are varints (seven bits a byte, least significant first). The same updates give the same bytes. Pure.
 */
import { FormatError } from './msgpack.ts'
import type { SessionUpdate } from './types.ts'

export interface SessionBlockLimits {
  readonly updates: number
  /** UTF-16 code units. */
  readonly keyLength: number
  readonly memberLength: number
  readonly ttlMs: number
}

const utf8 = new TextEncoder()
/** Most bytes of a varint below 2⁵³. */
const maxVarintBytes = 8

/** Lifetimes are whole numbers of milliseconds, from 0. */
export function encodeSessions(updates: readonly SessionUpdate[]): Uint8Array {
  const members = new Map<string, number>()
  let bytes = 2 * maxVarintBytes
  for (const { key, member, ttlMs } of updates) {
    if (!Number.isSafeInteger(ttlMs) || ttlMs < 0) throw new RangeError(`a session of ${ttlMs} ms`)
    bytes += 3 * key.length + 3 * maxVarintBytes
    if (members.has(member)) continue
    members.set(member, members.size)
    bytes += 3 * member.length + maxVarintBytes
  }
  const out = new Uint8Array(bytes)
  let at = writeVarint(out, 0, members.size)
  for (const member of members.keys()) at = writeText(out, at, member)
  at = writeVarint(out, at, updates.length)
  for (const { key, member, ttlMs } of updates) {
    at = writeText(out, at, key)
    at = writeVarint(out, at, members.get(member)!)
    at = writeVarint(out, at, ttlMs)
  }
  return out.slice(0, at)
}

function writeVarint(out: Uint8Array, at: number, value: number): number {
  let rest = value
  // Not with shifts: those are of 32 bits.
  while (rest >= 0x80) {
    out[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  out[at++] = rest
  return at
}

function writeText(out: Uint8Array, at: number, text: string): number {
  const { length } = text
  if (length < 0x80) {
    // Most are short and ASCII, and then the call of an encoder costs more than all the rest.
    let ascii = true
    for (let unit = 0; unit < length; unit++) {
      const code = text.charCodeAt(unit)
      out[at + 1 + unit] = code
      if (code >= 0x80) {
        ascii = false
        break
      }
    }
    if (ascii) {
      out[at] = length
      return at + 1 + length
    }
  }
  const data = utf8.encode(text)
  const start = writeVarint(out, at, data.length)
  out.set(data, start)
  return start + data.length
}

/**
 * Calls `each` for every update of a block, in order. Throws a `FormatError` when it is not one or goes beyond the limits;
 * then `each` may have been called for what came before. Bytes that are no UTF-8 become U+FFFD, on every node alike.
 */
export function decodeSessions(block: Uint8Array, limits: SessionBlockLimits, each: (update: SessionUpdate) => void): void {
  const reader = new Reader(block)
  const members: string[] = []
  for (let left = reader.count(limits.updates, 'members'); left > 0; left--) members.push(reader.text(limits.memberLength, 0, 'member'))
  for (let left = reader.count(limits.updates, 'updates'); left > 0; left--) {
    const key = reader.text(limits.keyLength, 1, 'key')
    const member = members[reader.count(limits.updates, 'member')]
    if (member === undefined) throw new FormatError('sessions: there is no such member')
    each({ key, member, ttlMs: reader.count(limits.ttlMs, 'ttlMs') })
  }
  reader.end()
}

class Reader {
  // Its texts are flat copies, and quick to make; a `TextDecoder` takes five times as long for short ones.
  readonly #data: Buffer
  #at = 0

  constructor(data: Uint8Array) {
    this.#data = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  }

  count(max: number, what: string): number {
    let value = 0
    let scale = 1
    for (;;) {
      const byte = this.#data[this.#at++]
      if (byte === undefined) throw new FormatError(`sessions: ${what} ends too early`)
      value += (byte % 0x80) * scale
      if (value > max) throw new FormatError(`sessions: ${what} is too large`)
      if (byte < 0x80) {
        // One way to write each number, so that equal updates are equal bytes.
        if (byte === 0 && scale > 1) throw new FormatError(`sessions: ${what} is longer than it need be`)
        return value
      }
      scale *= 0x80
      if (scale > 2 ** 49) throw new FormatError(`sessions: ${what} is too large`)
    }
  }

  text(maxLength: number, minLength: number, what: string): string {
    const length = this.count(3 * maxLength, what)
    const end = this.#at + length
    if (end > this.#data.length) throw new FormatError(`sessions: ${what} ends too early`)
    const text = this.#data.toString('utf8', this.#at, end)
    this.#at = end
    if (text.length < minLength || text.length > maxLength) {
      throw new FormatError(`sessions: ${what} is not a text of ${minLength} to ${maxLength} characters`)
    }
    return text
  }

  end(): void {
    if (this.#at !== this.#data.length) throw new FormatError(`sessions: ${this.#data.length - this.#at} bytes too many`)
  }
}

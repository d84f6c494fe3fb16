/**
 * Strict parser of HTTP/1.1 message heads, in place: nothing is allocated per message or per field, the fields are ranges of
 * the buffer. What is ambiguous is an error (RFC 9112 §2.2, §3, §5.1, §5.2, §6.1, §6.3, §11.2).
 */
import { ascii, equalsIgnoreCase, isFieldValue, isHost, isTarget, isToken, soundsLike } from './bytes.ts'

const CR = 0x0d
const LF = 0x0a
const SP = 0x20
const TAB = 0x09
const COLON = 0x3a

export const maxFields = 1000
/** A request line's target beyond this is answered with 414. */
export const maxTargetBytes = 16 * 1024
/** Of all Connection fields together. */
const maxOptionBytes = 1024

/** Why a head was refused. Internal: `codeOfFault` gives the code that clients and counters see. */
export const Fault = {
  none: 0,
  badRequestLine: 1,
  badVersion: 2,
  badTarget: 3,
  targetTooLong: 4,
  badFieldName: 5,
  badFieldValue: 6,
  folding: 7,
  bareLineFeed: 8,
  badHost: 9,
  badContentLength: 10,
  badTransferEncoding: 11,
  bothFramings: 12,
  tooManyFields: 13,
  badStatusLine: 14,
  connectMethod: 15,
  badExpectation: 16,
  badUpgrade: 17,
} as const

export const Method = { other: 0, get: 1, head: 2, post: 3, put: 4, delete: 5, options: 6, connect: 7, trace: 8, patch: 9 } as const
const methods: readonly (readonly [Buffer, number])[] = [
  [ascii('GET'), Method.get], [ascii('HEAD'), Method.head], [ascii('POST'), Method.post], [ascii('PUT'), Method.put],
  [ascii('DELETE'), Method.delete], [ascii('OPTIONS'), Method.options], [ascii('CONNECT'), Method.connect],
  [ascii('TRACE'), Method.trace], [ascii('PATCH'), Method.patch],
]

/** Whether doing it twice is the same as once (RFC 9110 §9.2.2). @param method one of `Method` */
export function isIdempotent(method: number): boolean {
  return method === Method.get || method === Method.head || method === Method.put || method === Method.delete || method === Method.options || method === Method.trace
}

/** What a field is to a proxy. `keep`: passes as it is. */
export const FieldKind = {
  keep: 0, host: 1, connection: 2, hopByHop: 3, contentLength: 4, transferEncoding: 5, upgrade: 6, expect: 7, forwardedFor: 8,
  forwardedProto: 9, via: 10, clientCertificate: 11,
} as const

const known: (readonly (readonly [Uint8Array, number])[])[] = []
for (const [name, kind] of [
  ['host', FieldKind.host], ['connection', FieldKind.connection], ['keep-alive', FieldKind.hopByHop], ['te', FieldKind.hopByHop],
  ['proxy-connection', FieldKind.hopByHop], ['content-length', FieldKind.contentLength], ['transfer-encoding', FieldKind.transferEncoding],
  ['upgrade', FieldKind.upgrade], ['expect', FieldKind.expect], ['x-forwarded-for', FieldKind.forwardedFor],
  ['x-forwarded-proto', FieldKind.forwardedProto], ['via', FieldKind.via], ['x-client-cert-verified', FieldKind.clientCertificate],
  ['x-client-cert-subject', FieldKind.clientCertificate], ['x-client-cert-fingerprint', FieldKind.clientCertificate],
] as const) {
  known[name.length] = [...(known[name.length] ?? []), [ascii(name), kind]]
}
for (let length = 0; length < 26; length++) known[length] ??= []

const chunkedName = ascii('chunked')
const closeName = ascii('close')
const keepAliveName = ascii('keep-alive')
const upgradeName = ascii('upgrade')
const continueName = ascii('100-continue')
const slash = 0x2f

/** Integers per field in `Head.fields`. */
export const fieldStride = 4

/** One parsed head. Reused: valid until the next parse, and only with the buffer that was parsed. */
export class Head {
  /** Per field: start of the line, end of the name, start and end of the value (trimmed). */
  readonly fields = new Int32Array(maxFields * fieldStride)
  readonly kinds = new Uint8Array(maxFields)
  count = 0
  /** First byte after the head's empty line. */
  end = 0
  /** Minor version: HTTP/1.`minor`. */
  minor = 1

  method = 0
  start = 0
  methodEnd = 0
  /** Origin-form of the target (path and query), or `*`. */
  targetStart = 0
  targetEnd = 0
  /** The target had no path in absolute-form: `/` stands for it. */
  targetEmpty = false
  /** From an absolute-form target, else from Host; equal when absent. */
  hostStart = 0
  hostEnd = 0
  hostField = -1

  status = 0
  reasonStart = 0
  reasonEnd = 0

  /** -1: none. */
  contentLength = -1
  chunked = false
  close = false
  keepAlive = false
  /** Connection names `upgrade` and there is an Upgrade field. */
  upgrade = false
  expectContinue = false

  #transferEncodings = 0
  #upgradeField = false
  #upgradeNamed = false
  /** Length of all Connection fields together. */
  #optionBytes = 0

  #reset(): void {
    this.count = 0
    this.contentLength = -1
    this.chunked = false
    this.close = false
    this.keepAlive = false
    this.upgrade = false
    this.expectContinue = false
    this.hostField = -1
    this.hostStart = 0
    this.hostEnd = 0
    this.targetEmpty = false
    this.#transferEncodings = 0
    this.#upgradeField = false
    this.#upgradeNamed = false
    this.#optionBytes = 0
  }

  /**
   * Parses a request head in `[start, end)`, where `end` is just after its empty line.
   * @returns 0, or one of `Fault`
   */
  parseRequest(buffer: Buffer, start: number, end: number, maxHeaders: number): number {
    this.#reset()
    this.start = start
    this.end = end
    let at = start
    while (isToken[buffer[at]!] === 1) at++
    if (at === start || buffer[at] !== SP || at - start > 64) return Fault.badRequestLine
    this.methodEnd = at
    this.method = methodOf(buffer, start, at)
    at++
    const targetStart = at
    while (isTarget[buffer[at]!] === 1) at++
    if (at - targetStart > maxTargetBytes) return Fault.targetTooLong
    if (at === targetStart) return Fault.badTarget
    if (buffer[at] !== SP) return buffer[at] === CR || buffer[at] === LF ? Fault.badRequestLine : Fault.badTarget
    const targetEnd = at
    const version = versionAt(buffer, at + 1)
    if (version < 0) return version === -2 ? Fault.badVersion : Fault.badRequestLine
    this.minor = version
    at += 9
    if (buffer[at] !== CR || buffer[at + 1] !== LF) return buffer[at] === LF ? Fault.bareLineFeed : Fault.badRequestLine
    if (this.method === Method.connect) return Fault.connectMethod
    const targetFault = this.#target(buffer, targetStart, targetEnd)
    if (targetFault !== 0) return targetFault
    const fault = this.#parseFields(buffer, at + 2, end, maxHeaders, true)
    if (fault !== 0) return fault
    return this.#requestFraming(buffer)
  }

  /** Parses a response head in `[start, end)`. @returns 0, or one of `Fault` */
  parseResponse(buffer: Buffer, start: number, end: number, maxHeaders: number): number {
    this.#reset()
    this.start = start
    this.end = end
    const version = versionAt(buffer, start)
    if (version < 0 || buffer[start + 8] !== SP) return Fault.badStatusLine
    this.minor = version
    let status = 0
    for (let i = start + 9; i < start + 12; i++) {
      const digit = buffer[i]! - 0x30
      if (!(digit >= 0 && digit <= 9)) return Fault.badStatusLine
      status = status * 10 + digit
    }
    if (status < 100 || status > 599) return Fault.badStatusLine
    this.status = status
    let at = start + 12
    this.reasonStart = at
    this.reasonEnd = at
    if (buffer[at] === SP) {
      at++
      this.reasonStart = at
      while (isFieldValue[buffer[at]!] === 1) at++
      this.reasonEnd = at
    }
    if (buffer[at] !== CR || buffer[at + 1] !== LF) return buffer[at] === LF ? Fault.bareLineFeed : Fault.badStatusLine
    const fault = this.#parseFields(buffer, at + 2, end, maxHeaders, false)
    if (fault !== 0) return fault
    if (this.#transferEncodings > 0) {
      if (this.contentLength >= 0) return Fault.bothFramings
      if (this.minor === 0) return Fault.badTransferEncoding
    }
    this.upgrade = this.#upgradeField && this.#upgradeNamed
    return 0
  }

  #parseFields(buffer: Buffer, from: number, end: number, maxHeaders: number, request: boolean): number {
    const { fields, kinds } = this
    let at = from
    let count = 0
    const last = end - 2
    while (at < last) {
      if (count >= maxHeaders) return Fault.tooManyFields
      const line = at
      while (isToken[buffer[at]!] === 1) at++
      if (buffer[at] !== COLON || at === line) {
        if (at === line && (buffer[at] === SP || buffer[at] === TAB)) return Fault.folding
        return buffer[at] === LF ? Fault.bareLineFeed : Fault.badFieldName
      }
      const nameEnd = at
      at++
      while (buffer[at] === SP || buffer[at] === TAB) at++
      const valueStart = at
      while (isFieldValue[buffer[at]!] === 1) at++
      if (buffer[at] !== CR || buffer[at + 1] !== LF) return buffer[at] === LF ? Fault.bareLineFeed : Fault.badFieldValue
      let valueEnd = at
      while (valueEnd > valueStart && (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === TAB)) valueEnd--
      at += 2
      const base = count * fieldStride
      fields[base] = line
      fields[base + 1] = nameEnd
      fields[base + 2] = valueStart
      fields[base + 3] = valueEnd
      const kind = kindOf(buffer, line, nameEnd, request)
      kinds[count] = kind
      if (kind !== FieldKind.keep) {
        const fault = this.#special(buffer, kind, valueStart, valueEnd, count, request)
        if (fault !== 0) return fault
      }
      count++
    }
    if (at !== last || buffer[at] !== CR || buffer[at + 1] !== LF) return Fault.badFieldValue
    this.count = count
    return 0
  }

  #special(buffer: Buffer, kind: number, start: number, end: number, index: number, request: boolean): number {
    switch (kind) {
      case FieldKind.host:
        if (!request) return 0
        if (this.hostField >= 0 || !isHost(buffer, start, end)) return Fault.badHost
        this.hostField = index
        if (this.hostEnd === this.hostStart) {
          this.hostStart = start
          this.hostEnd = end
        }
        return 0
      case FieldKind.contentLength: {
        // A second one, even if equal, and lists are refused: no two readers can then differ.
        if (this.contentLength >= 0) return Fault.badContentLength
        const length = decimal(buffer, start, end)
        if (length < 0) return Fault.badContentLength
        this.contentLength = length
        return 0
      }
      case FieldKind.transferEncoding:
        // Exactly one field with exactly `chunked`: anything else is read differently by somebody.
        if (++this.#transferEncodings > 1 || !equalsIgnoreCase(buffer, start, end, chunkedName)) return Fault.badTransferEncoding
        this.chunked = true
        return 0
      case FieldKind.connection:
        return this.#connection(buffer, start, end)
      case FieldKind.upgrade:
        this.#upgradeField = true
        return 0
      case FieldKind.expect:
        if (!request) return 0
        if (!equalsIgnoreCase(buffer, start, end, continueName)) return Fault.badExpectation
        this.expectContinue = true
        return 0
      default:
        return 0
    }
  }

  /** Options of Connection: `close`, `keep-alive`, `upgrade`, or names of fields that end here (`namedByConnection`). */
  #connection(buffer: Buffer, start: number, end: number): number {
    // Every field is looked for among the options: long lists would cost fields × options.
    this.#optionBytes += end - start
    if (this.#optionBytes > maxOptionBytes) return Fault.badFieldValue
    let at = start
    while (at < end) {
      while (at < end && (buffer[at] === SP || buffer[at] === TAB || buffer[at] === 0x2c)) at++
      const from = at
      while (at < end && isToken[buffer[at]!] === 1) at++
      if (at === from) {
        if (at < end) return Fault.badFieldValue
        break
      }
      if (equalsIgnoreCase(buffer, from, at, closeName)) this.close = true
      else if (equalsIgnoreCase(buffer, from, at, keepAliveName)) this.keepAlive = true
      else if (equalsIgnoreCase(buffer, from, at, upgradeName)) this.#upgradeNamed = true
      else if (isProtected(buffer, from, at)) return Fault.badFieldValue
      while (at < end && (buffer[at] === SP || buffer[at] === TAB)) at++
      if (at < end && buffer[at] !== 0x2c) return Fault.badFieldValue
    }
    return 0
  }

  /** Whether any Connection field names this one. */
  namedByConnection(buffer: Buffer, field: number): boolean {
    const nameStart = this.fields[field * fieldStride]!
    const nameEnd = this.fields[field * fieldStride + 1]!
    const length = nameEnd - nameStart
    for (let i = 0; i < this.count; i++) {
      if (this.kinds[i] !== FieldKind.connection) continue
      let at = this.fields[i * fieldStride + 2]!
      const end = this.fields[i * fieldStride + 3]!
      while (at < end) {
        while (at < end && isToken[buffer[at]!] === 0) at++
        const from = at
        while (at < end && isToken[buffer[at]!] === 1) at++
        if (at - from === length && sameIgnoreCase(buffer, from, nameStart, length)) return true
      }
    }
    return false
  }

  /** The request's host is going to be another one: neither its field nor that of an absolute target goes on. */
  replaceHost(): void {
    if (this.hostField >= 0) this.kinds[this.hostField] = FieldKind.hopByHop
    this.hostField = -1
    this.hostEnd = this.hostStart
  }

  #target(buffer: Buffer, start: number, end: number): number {
    const first = buffer[start]!
    this.targetStart = start
    this.targetEnd = end
    if (first === slash) return 0
    if (first === 0x2a && end === start + 1) return this.method === Method.options ? 0 : Fault.badTarget
    // absolute-form (RFC 9112 §3.2.2): http://host[/path]; its host replaces Host. Not https: that has to be refused when it
    // does not come over TLS (RFC 9110 §7.4), and behind here nobody would see that it was asked for.
    const scheme = schemeLength(buffer, start, end)
    if (scheme === 0) return Fault.badTarget
    const hostStart = start + scheme
    let at = hostStart
    while (at < end && buffer[at] !== slash && buffer[at] !== 0x3f) at++
    if (!isHost(buffer, hostStart, at)) return Fault.badTarget
    this.hostStart = hostStart
    this.hostEnd = at
    this.targetStart = at
    this.targetEmpty = at === end || buffer[at] !== slash
    return 0
  }

  #requestFraming(buffer: Buffer): number {
    if (this.#transferEncodings > 0) {
      if (this.contentLength >= 0) return Fault.bothFramings
      if (this.minor === 0) return Fault.badTransferEncoding
    }
    if (this.hostField < 0 && this.minor >= 1) return Fault.badHost
    // In absolute-form both must say the same, or somebody behind will choose the other one.
    if (this.hostField >= 0 && this.hostEnd > this.hostStart) {
      const valueStart = this.fields[this.hostField * fieldStride + 2]!
      const valueEnd = this.fields[this.hostField * fieldStride + 3]!
      const length = this.hostEnd - this.hostStart
      if (valueEnd - valueStart !== length || !sameIgnoreCase(buffer, valueStart, this.hostStart, length)) return Fault.badHost
    }
    if (this.#upgradeField && this.#upgradeNamed) {
      // An upgrade with a body: the bytes after the head would belong to two protocols.
      if (this.minor === 0) return 0
      if (this.chunked || this.contentLength > 0) return Fault.badUpgrade
      this.upgrade = true
    }
    return 0
  }
}

function methodOf(buffer: Buffer, start: number, end: number): number {
  const length = end - start
  for (const [name, method] of methods) {
    if (name.length !== length) continue
    let i = 0
    while (i < length && buffer[start + i] === name[i]) i++
    if (i === length) return method
  }
  return Method.other
}

/** 0 or 1 for `HTTP/1.0` and `HTTP/1.1`; -2 for another version; -1 for no version. */
function versionAt(buffer: Buffer, at: number): number {
  if (buffer[at] !== 0x48 || buffer[at + 1] !== 0x54 || buffer[at + 2] !== 0x54 || buffer[at + 3] !== 0x50 || buffer[at + 4] !== slash) return -1
  const major = buffer[at + 5]! - 0x30
  const minor = buffer[at + 7]! - 0x30
  if (buffer[at + 6] !== 0x2e || !(major >= 0 && major <= 9) || !(minor >= 0 && minor <= 9)) return -1
  return major === 1 && minor <= 1 ? minor : -2
}

/** @param disguises what only Haechi may say is also found with `_` for `-`: such a field ends here */
function kindOf(buffer: Buffer, start: number, end: number, disguises: boolean): number {
  const candidates = known[end - start]
  if (candidates === undefined) return FieldKind.keep
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i]!
    const kind = candidate[1]
    if (equalsIgnoreCase(buffer, start, end, candidate[0])) return kind
    if (disguises && isOwn(kind) && soundsLike(buffer, start, end, candidate[0])) return FieldKind.hopByHop
  }
  return FieldKind.keep
}

/** Written by Haechi: members believe it. */
function isOwn(kind: number): boolean {
  return kind === FieldKind.forwardedFor || kind === FieldKind.forwardedProto || kind === FieldKind.clientCertificate
}

/** Fields that Connection must not take away: framing and routing depend on them. */
function isProtected(buffer: Buffer, start: number, end: number): boolean {
  const kind = kindOf(buffer, start, end, false)
  return kind === FieldKind.host || kind === FieldKind.contentLength || kind === FieldKind.transferEncoding
}

/** Digits only, at most 15 of them (exact as a number); -1 otherwise. */
function decimal(buffer: Buffer, start: number, end: number): number {
  if (end === start || end - start > 15) return -1
  let value = 0
  for (let i = start; i < end; i++) {
    const digit = buffer[i]! - 0x30
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
}

function sameIgnoreCase(buffer: Buffer, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) {
    let x = buffer[a + i]!
    let y = buffer[b + i]!
    if (x >= 0x41 && x <= 0x5a) x |= 0x20
    if (y >= 0x41 && y <= 0x5a) y |= 0x20
    if (x !== y) return false
  }
  return true
}

const httpScheme = ascii('http://')

function schemeLength(buffer: Buffer, start: number, end: number): number {
  if (end - start > 7 && equalsIgnoreCase(buffer, start, start + 7, httpScheme)) return 7
  return 0
}

/**
 * Finds where a head ends as bytes arrive, looking at each byte once however they are split, and refuses a bare LF at once
 * instead of waiting for an end that never comes.
 */
export class HeadScanner {
  /** Bytes already looked at. */
  scanned = 0
  #lineStart = 0
  #anyLine = false

  reset(): void {
    this.scanned = 0
    this.#lineStart = 0
    this.#anyLine = false
  }

  /**
   * Looks at `[start + scanned, end)` of a head that begins at `start`.
   * @returns the head's length, 0 when it has not ended yet, -1 for a bare LF or an empty first line
   */
  scan(buffer: Buffer, start: number, end: number): number {
    let at = start + this.scanned
    for (;;) {
      const lf = buffer.indexOf(LF, at)
      if (lf < 0 || lf >= end) {
        this.scanned = end - start
        return 0
      }
      if (lf === start || buffer[lf - 1] !== CR) return -1
      if (lf - 1 - start === this.#lineStart) {
        if (!this.#anyLine) return -1
        return lf + 1 - start
      }
      this.#anyLine = true
      this.#lineStart = lf + 1 - start
      at = lf + 1
    }
  }
}

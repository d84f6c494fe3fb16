/**
 * Access log lines as bytes: JSON, and the common and combined formats of Apache's and NGINX's logs. One line is written into one
 * buffer, without strings or objects. Control characters, quotes and what is not ASCII are escaped, so that a client cannot
 * forge a line or a field. Pure but for the time, which comes as an argument.
 */

export type AccessFormat = 'json' | 'common' | 'combined'

/**
 * What a client sent of a request that is logged, copied from its head: the parts follow each other in `bytes`, and each ends where it
 * says. Lives as long as the client's connection and is used again for each request.
 */
export class RequestNote {
  bytes: Buffer = Buffer.alloc(0)
  methodEnd = 0
  targetEnd = 0
  hostEnd = 0
  refererEnd = 0
  userAgentEnd = 0
  requestIdEnd = 0
  traceIdEnd = 0
  /** HTTP/1.`minor`. */
  minor = 1
  /** Logged, even if all goes well. */
  sampled = false

  clear(): void {
    this.methodEnd = 0
    this.targetEnd = 0
    this.hostEnd = 0
    this.refererEnd = 0
    this.userAgentEnd = 0
    this.requestIdEnd = 0
    this.traceIdEnd = 0
  }

  /** Appends a part, at most `limit` bytes of it. @returns where it ends */
  append(at: number, source: Buffer, start: number, end: number, limit: number): number {
    const length = Math.min(limit, end - start)
    if (this.bytes.length < at + length) {
      const grown = Buffer.allocUnsafe(Math.max(512, (at + length) * 2))
      this.bytes.copy(grown, 0, 0, at)
      this.bytes = grown
    }
    const { bytes } = this
    if (length > 16) source.copy(bytes, at, start, start + length)
    else for (let i = 0; i < length; i++) bytes[at + i] = source[start + i]!
    return at + length
  }
}

/** What is known of a request (or, of a tcp or udp session) at its end. Texts are bytes; empty: there is none. Times are in milliseconds. */
export interface AccessRecord {
  /** Wall clock at the end, milliseconds since the epoch. */
  readonly atEpochMs: number
  /** `http`, or that of a session: `tcp`, `udp` … */
  readonly protocol: string
  readonly listener: Uint8Array
  readonly client: Uint8Array
  readonly route: Uint8Array
  readonly pool: Uint8Array
  readonly member: Uint8Array
  /** Undefined for sessions, and for requests that could not be read. */
  readonly note: RequestNote | undefined
  /** 0: the client got none. */
  readonly status: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly queueMs: number
  readonly connectMs: number
  /** Negative: no answer. */
  readonly firstByteMs: number
  readonly totalMs: number
  /** '' when all went well. */
  readonly error: string
  readonly retries: number
  readonly tlsVersion: string
  readonly sni: string
}

/** Longest part that is logged of what a client sends: target; Referer, User-Agent and Host. */
export const maxTargetBytes = 2048
export const maxFieldBytes = 512
/** No line is longer: every byte of a client may take six (`\u00xx`), and the rest is names and numbers. */
export const maxLineBytes = 6 * (maxTargetBytes + 5 * maxFieldBytes) + 4096

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const hex = Buffer.from('0123456789abcdef', 'latin1')
/** Bytes that stand for themselves in every format. */
const plain = new Uint8Array(256)
for (let byte = 0x20; byte < 0x7f; byte++) plain[byte] = byte === 0x22 || byte === 0x5c ? 0 : 1

/** The fixed parts of a line, as bytes: copied much faster than characters of texts are read. */
const Part = {
  listener: part('Z","listener":"'), client: part('","client":"'), method: part('","method":"'), host: part('","host":"'), target: part('","target":"'),
  status: part('","status":'), protocol: part('","protocol":"'), route: part(',"route":"'), pool: part(',"pool":"'), member: part(',"member":"'),
  bytesIn: part(',"bytesIn":'), bytesOut: part(',"bytesOut":'), queueMs: part(',"queueMs":'), connectMs: part(',"connectMs":'),
  firstByteMs: part(',"firstByteMs":'), totalMs: part(',"totalMs":'), retries: part(',"retries":'), error: part(',"error":"'),
  requestId: part(',"requestId":"'), traceId: part(',"traceId":"'), tls: part(',"tls":"'), sni: part(',"sni":"'), referer: part(',"referer":"'),
  userAgent: part(',"userAgent":"'), dashes: part(' - - '), http10: part(' HTTP/1.0'), http11: part(' HTTP/1.1'), end: part('" '), open: part(' "'), between: part('" "'),
} as const

function part(text: string): Uint8Array {
  return Buffer.from(text, 'latin1')
}

export class AccessLines {
  readonly buffer: Buffer
  length = 0
  lines = 0
  /** The time of the current second in both spellings, made once a second. */
  #second = -1
  #iso: Uint8Array = Buffer.alloc(0)
  #clf: Uint8Array = Buffer.alloc(0)

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  /** Whether another line is sure to fit. */
  get room(): boolean {
    return this.buffer.length - this.length >= maxLineBytes
  }

  clear(): void {
    this.length = 0
    this.lines = 0
  }

  /** Adds a line; there must be room. */
  add(format: AccessFormat, record: AccessRecord): void {
    const second = Math.floor(record.atEpochMs / 1000)
    if (second !== this.#second) {
      this.#second = second
      const iso = new Date(second * 1000).toISOString()
      this.#iso = Buffer.from(`{"time":"${iso.slice(0, 20)}`, 'latin1')
      this.#clf = Buffer.from(`[${iso.slice(8, 10)}/${months[Number(iso.slice(5, 7)) - 1]}/${iso.slice(0, 4)}:${iso.slice(11, 19)} +0000] "`, 'latin1')
    }
    if (format === 'json') this.#json(record)
    else this.#common(record, format === 'combined')
    this.buffer[this.length++] = 0x0a
    this.lines++
  }

  #json(record: AccessRecord): void {
    this.#put(this.#iso)
    const ms = Math.floor(record.atEpochMs) % 1000
    this.buffer[this.length++] = 0x30 + ((ms / 100) | 0)
    this.buffer[this.length++] = 0x30 + (((ms / 10) | 0) % 10)
    this.buffer[this.length++] = 0x30 + (ms % 10)
    this.#put(Part.listener)
    this.#put(record.listener)
    this.#put(Part.client)
    this.#put(record.client)
    const { note } = record
    if (note !== undefined) {
      const { bytes } = note
      this.#put(Part.method)
      this.#escape(bytes, 0, note.methodEnd, true)
      this.#put(Part.host)
      this.#escape(bytes, note.targetEnd, note.hostEnd, true)
      this.#put(Part.target)
      this.#escape(bytes, note.methodEnd, note.targetEnd, true)
    }
    if (record.protocol === 'http') {
      this.#put(Part.status)
      this.#number(record.status)
    } else {
      this.#put(Part.protocol)
      this.#text(record.protocol)
      this.#text('"')
    }
    this.#name(Part.route, record.route)
    this.#name(Part.pool, record.pool)
    this.#name(Part.member, record.member)
    this.#put(Part.bytesIn)
    this.#number(record.bytesIn)
    this.#put(Part.bytesOut)
    this.#number(record.bytesOut)
    if (record.queueMs > 0) {
      this.#put(Part.queueMs)
      this.#ms(record.queueMs)
    }
    if (record.connectMs > 0) {
      this.#put(Part.connectMs)
      this.#ms(record.connectMs)
    }
    if (record.firstByteMs >= 0) {
      this.#put(Part.firstByteMs)
      this.#ms(record.firstByteMs)
    }
    this.#put(Part.totalMs)
    this.#ms(record.totalMs)
    if (record.retries > 0) {
      this.#put(Part.retries)
      this.#number(record.retries)
    }
    if (record.error !== '') {
      this.#put(Part.error)
      this.#text(record.error)
      this.#text('"')
    }
    if (note !== undefined) {
      this.#field(Part.requestId, note.bytes, note.userAgentEnd, note.requestIdEnd)
      this.#field(Part.traceId, note.bytes, note.requestIdEnd, note.traceIdEnd)
    }
    if (record.tlsVersion !== '') {
      this.#put(Part.tls)
      this.#text(record.tlsVersion)
      this.#text('"')
    }
    if (record.sni !== '') {
      this.#put(Part.sni)
      const sni = Buffer.from(record.sni, 'latin1')
      this.#escape(sni, 0, Math.min(sni.length, maxFieldBytes), true)
      this.#text('"')
    }
    if (note !== undefined) {
      this.#field(Part.referer, note.bytes, note.hostEnd, note.refererEnd)
      this.#field(Part.userAgent, note.bytes, note.refererEnd, note.userAgentEnd)
    }
    this.buffer[this.length++] = 0x7d
  }

  #name(key: Uint8Array, name: Uint8Array): void {
    if (name.length === 0) return
    this.#put(key)
    this.#put(name)
    this.buffer[this.length++] = 0x22
  }

  #field(key: Uint8Array, bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return
    this.#put(key)
    this.#escape(bytes, start, end, true)
    this.buffer[this.length++] = 0x22
  }

  #common(record: AccessRecord, combined: boolean): void {
    this.#put(record.client)
    this.#put(Part.dashes)
    this.#put(this.#clf)
    const { note } = record
    if (note === undefined) this.#text(record.protocol === 'http' ? '-' : record.protocol)
    else {
      this.#escape(note.bytes, 0, note.methodEnd, false)
      this.buffer[this.length++] = 0x20
      this.#escape(note.bytes, note.methodEnd, note.targetEnd, false)
      this.#put(note.minor === 0 ? Part.http10 : Part.http11)
    }
    this.#put(Part.end)
    if (record.status === 0) this.buffer[this.length++] = 0x2d
    else this.#number(record.status)
    this.buffer[this.length++] = 0x20
    this.#number(record.bytesOut)
    if (!combined) return
    this.#put(Part.open)
    this.#orDash(note, note?.hostEnd ?? 0, note?.refererEnd ?? 0)
    this.#put(Part.between)
    this.#orDash(note, note?.refererEnd ?? 0, note?.userAgentEnd ?? 0)
    this.buffer[this.length++] = 0x22
  }

  #orDash(note: RequestNote | undefined, start: number, end: number): void {
    if (note === undefined || start === end) this.buffer[this.length++] = 0x2d
    else this.#escape(note.bytes, start, end, false)
  }

  #put(bytes: Uint8Array): void {
    const { buffer, length: at } = this
    const { length } = bytes
    // Short: a loop costs less than a call into native code.
    if (length > 16) buffer.set(bytes, at)
    else for (let i = 0; i < length; i++) buffer[at + i] = bytes[i]!
    this.length = at + length
  }

  #text(text: string): void {
    const { buffer } = this
    let at = this.length
    for (let i = 0; i < text.length; i++) buffer[at++] = text.charCodeAt(i)
    this.length = at
  }

  #escape(bytes: Uint8Array, start: number, end: number, json: boolean): void {
    const { buffer } = this
    let at = this.length
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      if (plain[byte] === 1) buffer[at++] = byte
      else at = escapeByte(buffer, at, byte, json)
    }
    this.length = at
  }

  /** A whole number ≥ 0. */
  #number(value: number): void {
    const { buffer } = this
    const from = this.length
    if (value < 0x4000_0000) {
      // The usual ones, as integers.
      let rest = value | 0
      let at = from + (rest < 10 ? 1 : rest < 100 ? 2 : rest < 1000 ? 3 : digitsOf(rest))
      this.length = at
      do {
        const next = (rest / 10) | 0
        buffer[--at] = 0x30 + rest - next * 10
        rest = next
      } while (at > from)
      return
    }
    let rest = Math.floor(value)
    const digits = digitsOf(rest)
    for (let at = from + digits - 1; at >= from; at--) {
      const next = Math.floor(rest / 10)
      buffer[at] = 0x30 + (rest - next * 10)
      rest = next
    }
    this.length = from + digits
  }

  /** Milliseconds with three decimals. */
  #ms(value: number): void {
    const micros = Math.round(value * 1000)
    const whole = Math.floor(micros / 1000)
    const rest = micros - whole * 1000
    this.#number(whole)
    this.buffer[this.length++] = 0x2e
    this.buffer[this.length++] = 0x30 + ((rest / 100) | 0)
    this.buffer[this.length++] = 0x30 + (((rest / 10) | 0) % 10)
    this.buffer[this.length++] = 0x30 + (rest % 10)
  }
}

function digitsOf(value: number): number {
  let digits = 1
  for (let power = 10; power <= value; power *= 10) digits++
  return digits
}

/** @returns the position after it */
function escapeByte(buffer: Buffer, from: number, byte: number, json: boolean): number {
  let at = from
  buffer[at++] = 0x5c
  if (json && (byte === 0x22 || byte === 0x5c)) {
    buffer[at++] = byte
    return at
  }
  if (json) {
    buffer[at++] = 0x75
    buffer[at++] = 0x30
    buffer[at++] = 0x30
  } else buffer[at++] = 0x78
  buffer[at++] = hex[byte >> 4]!
  buffer[at++] = hex[byte & 15]!
  return at
}

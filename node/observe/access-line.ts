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
  append(at: number, source: Uint8Array, start: number, end: number, limit: number): number {
    const length = Math.min(limit, end - start)
    if (this.bytes.length < at + length) {
      const grown = Buffer.allocUnsafe(Math.max(512, (at + length) * 2))
      this.bytes.copy(grown, 0, 0, at)
      this.bytes = grown
    }
    const { bytes } = this
    for (let i = 0; i < length; i++) bytes[at + i] = source[start + i]!
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
const hex = '0123456789abcdef'

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
    this.#text('Z","listener":"')
    this.#put(record.listener)
    this.#text('","client":"')
    this.#put(record.client)
    const { note } = record
    if (note !== undefined) {
      const { bytes } = note
      this.#text('","method":"')
      this.#escape(bytes, 0, note.methodEnd, true)
      this.#text('","host":"')
      this.#escape(bytes, note.targetEnd, note.hostEnd, true)
      this.#text('","target":"')
      this.#escape(bytes, note.methodEnd, note.targetEnd, true)
    }
    if (record.protocol === 'http') {
      this.#text('","status":')
      this.#number(record.status)
    } else {
      this.#text('","protocol":"')
      this.#text(record.protocol)
      this.#text('"')
    }
    this.#name(',"route":"', record.route)
    this.#name(',"pool":"', record.pool)
    this.#name(',"member":"', record.member)
    this.#text(',"bytesIn":')
    this.#number(record.bytesIn)
    this.#text(',"bytesOut":')
    this.#number(record.bytesOut)
    if (record.queueMs > 0) {
      this.#text(',"queueMs":')
      this.#ms(record.queueMs)
    }
    if (record.connectMs > 0) {
      this.#text(',"connectMs":')
      this.#ms(record.connectMs)
    }
    if (record.firstByteMs >= 0) {
      this.#text(',"firstByteMs":')
      this.#ms(record.firstByteMs)
    }
    this.#text(',"totalMs":')
    this.#ms(record.totalMs)
    if (record.retries > 0) {
      this.#text(',"retries":')
      this.#number(record.retries)
    }
    if (record.error !== '') {
      this.#text(',"error":"')
      this.#text(record.error)
      this.#text('"')
    }
    if (note !== undefined) {
      this.#field(',"requestId":"', note.bytes, note.userAgentEnd, note.requestIdEnd)
      this.#field(',"traceId":"', note.bytes, note.requestIdEnd, note.traceIdEnd)
    }
    if (record.tlsVersion !== '') {
      this.#text(',"tls":"')
      this.#text(record.tlsVersion)
      this.#text('"')
    }
    if (record.sni !== '') {
      this.#text(',"sni":"')
      const sni = Buffer.from(record.sni, 'latin1')
      this.#escape(sni, 0, Math.min(sni.length, maxFieldBytes), true)
      this.#text('"')
    }
    if (note !== undefined) {
      this.#field(',"referer":"', note.bytes, note.hostEnd, note.refererEnd)
      this.#field(',"userAgent":"', note.bytes, note.refererEnd, note.userAgentEnd)
    }
    this.buffer[this.length++] = 0x7d
  }

  #name(key: string, name: Uint8Array): void {
    if (name.length === 0) return
    this.#text(key)
    this.#put(name)
    this.buffer[this.length++] = 0x22
  }

  #field(key: string, bytes: Uint8Array, start: number, end: number): void {
    if (start === end) return
    this.#text(key)
    this.#escape(bytes, start, end, true)
    this.buffer[this.length++] = 0x22
  }

  #common(record: AccessRecord, combined: boolean): void {
    this.#put(record.client)
    this.#text(' - - ')
    this.#put(this.#clf)
    const { note } = record
    if (note === undefined) this.#text(record.protocol === 'http' ? '-' : record.protocol)
    else {
      this.#escape(note.bytes, 0, note.methodEnd, false)
      this.buffer[this.length++] = 0x20
      this.#escape(note.bytes, note.methodEnd, note.targetEnd, false)
      this.#text(note.minor === 0 ? ' HTTP/1.0' : ' HTTP/1.1')
    }
    this.#text('" ')
    if (record.status === 0) this.buffer[this.length++] = 0x2d
    else this.#number(record.status)
    this.buffer[this.length++] = 0x20
    this.#number(record.bytesOut)
    if (!combined) return
    this.#text(' "')
    this.#orDash(note, note?.hostEnd ?? 0, note?.refererEnd ?? 0)
    this.#text('" "')
    this.#orDash(note, note?.refererEnd ?? 0, note?.userAgentEnd ?? 0)
    this.buffer[this.length++] = 0x22
  }

  #orDash(note: RequestNote | undefined, start: number, end: number): void {
    if (note === undefined || start === end) this.buffer[this.length++] = 0x2d
    else this.#escape(note.bytes, start, end, false)
  }

  #put(bytes: Uint8Array): void {
    const { buffer } = this
    let at = this.length
    for (let i = 0; i < bytes.length; i++) buffer[at++] = bytes[i]!
    this.length = at
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
      if (byte >= 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c) {
        buffer[at++] = byte
        continue
      }
      buffer[at++] = 0x5c
      if (json && (byte === 0x22 || byte === 0x5c)) {
        buffer[at++] = byte
        continue
      }
      if (json) {
        buffer[at++] = 0x75
        buffer[at++] = 0x30
        buffer[at++] = 0x30
      } else buffer[at++] = 0x78
      buffer[at++] = hex.charCodeAt(byte >> 4)
      buffer[at++] = hex.charCodeAt(byte & 15)
    }
    this.length = at
  }

  /** A whole number ≥ 0. */
  #number(value: number): void {
    const { buffer } = this
    let rest = Math.floor(value)
    let digits = 1
    for (let power = 10; power <= rest; power *= 10) digits++
    for (let at = this.length + digits - 1; at >= this.length; at--) {
      const next = Math.floor(rest / 10)
      buffer[at] = 0x30 + (rest - next * 10)
      rest = next
    }
    this.length += digits
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

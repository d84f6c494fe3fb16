/**
 * Reads the ClientHello at the start of a TLS connection without opening it (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2): is it one, is
 * it well-formed, and which name does it ask for (RFC 6066 §3). Strict: what two readers could read differently is refused.
 */

/** The longest ClientHello with its record headers that is waited for. */
export const maxHelloBytes = 16 * 1024

const handshakeRecord = 22
const clientHello = 1
const serverNameExtension = 0
const hostNameType = 0
/** RFC 8446 §5.1: a record has at most 2^14 bytes. */
const maxRecordBytes = 1 << 14

/**
 * `more`: it is right so far, but not all there. The whole buffer is given again each time with more behind it; how far it was
 * understood is remembered, so that each record is gathered once.
 */
export class HelloReader {
  /** After `done`: the name asked for, in lower case; empty: none. */
  serverName = ''
  /** Length of the handshake message with its header; 0: not known yet. */
  #total = 0
  /** What of it is in records that are there completely. */
  #gathered = 0
  /** Position behind them. */
  #at = 0
  /** The message in one piece, when it comes in several records. */
  #message: Buffer | undefined
  #started = false

  read(buffer: Buffer, start: number, end: number): 'more' | 'done' | 'bad' {
    for (;;) {
      const at = start + this.#at
      if (end - at < 5) return this.#prefixFits(buffer, at, end) ? 'more' : 'bad'
      if (!this.#prefixFits(buffer, at, end)) return 'bad'
      const length = buffer.readUInt16BE(at + 3)
      if (length === 0 || length > maxRecordBytes) return 'bad'
      if (this.#at + 5 + length > maxHelloBytes) return 'bad'
      const from = at + 5
      if (!this.#started && end > from) {
        if (buffer[from] !== clientHello) return 'bad'
        this.#started = true
      }
      if (this.#total === 0 && this.#gathered === 0 && end - from >= 4 && length >= 4) {
        this.#total = 4 + buffer.readUIntBE(from + 1, 3)
        if (this.#total > maxHelloBytes) return 'bad'
      }
      if (end - from < length) return 'more'
      const done = this.#addRecord(buffer, from, length)
      if (done !== 'more') return done
      this.#at += 5 + length
    }
  }

  /** Type and version, as far as they are there: a handshake record of any version of TLS (and of SSL 3, which is refused by who opens it). */
  #prefixFits(buffer: Buffer, at: number, end: number): boolean {
    if (end > at && buffer[at] !== handshakeRecord) return false
    return !(end > at + 1 && buffer[at + 1] !== 3)
  }

  #addRecord(buffer: Buffer, from: number, length: number): 'more' | 'done' | 'bad' {
    if (this.#total > 0 && this.#gathered === 0) {
      // The usual case: all in one record, read where it is. Nothing may follow before the server has answered.
      if (length > this.#total) return 'bad'
      if (length === this.#total) return this.#hello(buffer, from + 4, from + length)
    }
    this.#message ??= Buffer.allocUnsafe(maxHelloBytes)
    if (this.#gathered + length > maxHelloBytes) return 'bad'
    buffer.copy(this.#message, this.#gathered, from, from + length)
    this.#gathered += length
    if (this.#total === 0) {
      if (this.#gathered < 4) return 'more'
      this.#total = 4 + this.#message.readUIntBE(1, 3)
      if (this.#total > maxHelloBytes) return 'bad'
    }
    if (this.#gathered > this.#total) return 'bad'
    return this.#gathered === this.#total ? this.#hello(this.#message, 4, this.#total) : 'more'
  }

  /** The body of the message. */
  #hello(buffer: Buffer, start: number, end: number): 'done' | 'bad' {
    let at = start + 2 + 32
    if (at + 1 > end || buffer[start] !== 3) return 'bad'
    const sessionBytes = buffer[at]!
    if (sessionBytes > 32) return 'bad'
    at += 1 + sessionBytes
    if (at + 2 > end) return 'bad'
    const cipherBytes = buffer.readUInt16BE(at)
    if (cipherBytes < 2 || cipherBytes % 2 !== 0) return 'bad'
    at += 2 + cipherBytes
    if (at + 1 > end) return 'bad'
    const compressionBytes = buffer[at]!
    if (compressionBytes < 1) return 'bad'
    at += 1 + compressionBytes
    // A hello of TLS 1.2 and before may end here.
    if (at === end) return 'done'
    if (at + 2 > end || at + 2 + buffer.readUInt16BE(at) !== end) return 'bad'
    at += 2
    let named = false
    while (at < end) {
      if (at + 4 > end) return 'bad'
      const type = buffer.readUInt16BE(at)
      const next = at + 4 + buffer.readUInt16BE(at + 2)
      if (next > end) return 'bad'
      if (type === serverNameExtension) {
        if (named || !this.#names(buffer, at + 4, next)) return 'bad'
        named = true
      }
      at = next
    }
    return 'done'
  }

  /** The list of names: exactly one, of a host. */
  #names(buffer: Buffer, start: number, end: number): boolean {
    if (end - start < 5 || start + 2 + buffer.readUInt16BE(start) !== end || buffer[start + 2] !== hostNameType) return false
    const from = start + 5
    const length = buffer.readUInt16BE(start + 3)
    if (length === 0 || length > 253 || from + length !== end) return false
    for (let i = from; i < end; i++) if (!isHostByte(buffer[i]!)) return false
    this.serverName = buffer.toString('latin1', from, end).toLowerCase()
    return true
  }
}

/** Letters, digits, hyphen, dot, underscore: names in the wild have it. */
function isHostByte(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e || byte === 0x5f
}

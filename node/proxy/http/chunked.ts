/**
 * Chunked transfer coding (RFC 9112 §7.1), validated in place as it passes. Strict: CRLF only, at most 15 hexadecimal digits,
 * extensions of printable characters up to a limit, trailer fields with valid names that cannot change framing or routing.
 */
import { equalsIgnoreCase, hexValue, isFieldValue, isToken, ascii } from './bytes.ts'

const CR = 0x0d
const LF = 0x0a

const maxSizeDigits = 15
const maxExtensionBytes = 256
const maxTrailerBytes = 8 * 1024
/** Extensions of a whole message: many tiny chunks with long extensions cost more than they carry. */
const maxExtensionsTotal = 16 * 1024

const State = {
  sizeStart: 0, size: 1, extension: 2, sizeLf: 3, data: 4, dataCr: 5, dataLf: 6,
  trailerStart: 7, trailerName: 8, trailerValue: 9, trailerLf: 10, endLf: 11, done: 12,
} as const

/** Framing, routing, what belongs to one connection, and what a member believes because Haechi alone says it. */
const forbiddenTrailers = [
  'content-length', 'transfer-encoding', 'host', 'connection', 'trailer', 'upgrade', 'te', 'keep-alive', 'proxy-connection', 'expect',
  'x-forwarded-for', 'x-forwarded-proto', 'x-client-cert-verified', 'x-client-cert-subject', 'x-client-cert-fingerprint',
].map(ascii)
const longestForbidden = 25

export class ChunkedReader {
  #state: number = State.sizeStart
  #digits = 0
  #remaining = 0
  #extensions = 0
  #extension = 0
  #trailer = 0
  readonly #name = Buffer.alloc(longestForbidden + 1)
  #nameLength = 0
  /** Data ranges of the last `read`: pairs of start and end, for receivers that do not take chunks. */
  readonly spans: number[] = []

  reset(): void {
    this.#state = State.sizeStart
    this.#digits = 0
    this.#remaining = 0
    this.#extensions = 0
    this.#trailer = 0
    this.spans.length = 0
  }

  get done(): boolean {
    return this.#state === State.done
  }

  /**
   * Reads `[start, end)`.
   * @returns the position after the last byte of the message, `end` when it goes on, or -1 when it is malformed
   */
  read(buffer: Buffer, start: number, end: number): number {
    this.spans.length = 0
    let at = start
    while (at < end) {
      const byte = buffer[at]!
      switch (this.#state) {
        case State.sizeStart:
        case State.size: {
          const digit = hexValue[byte]!
          if (digit >= 0) {
            if (++this.#digits > maxSizeDigits) return -1
            this.#remaining = this.#remaining * 16 + digit
            if (this.#remaining > Number.MAX_SAFE_INTEGER) return -1
            this.#state = State.size
          } else if (this.#state === State.sizeStart) return -1
          else if (byte === CR) this.#state = State.sizeLf
          else if (byte === 0x3b) {
            this.#extension = 0
            this.#state = State.extension
          } else return -1
          at++
          break
        }
        case State.extension:
          if (byte === CR) this.#state = State.sizeLf
          else if (isFieldValue[byte] === 0 || ++this.#extension > maxExtensionBytes || ++this.#extensions > maxExtensionsTotal) return -1
          at++
          break
        case State.sizeLf:
          if (byte !== LF) return -1
          at++
          if (this.#remaining > 0) this.#state = State.data
          else this.#state = State.trailerStart
          break
        case State.data: {
          const take = Math.min(this.#remaining, end - at)
          this.spans.push(at, at + take)
          this.#remaining -= take
          at += take
          if (this.#remaining === 0) this.#state = State.dataCr
          break
        }
        case State.dataCr:
          if (byte !== CR) return -1
          this.#state = State.dataLf
          at++
          break
        case State.dataLf:
          if (byte !== LF) return -1
          this.#state = State.sizeStart
          this.#digits = 0
          this.#remaining = 0
          at++
          break
        case State.trailerStart:
          if (byte === CR) {
            this.#state = State.endLf
            at++
            break
          }
          this.#nameLength = 0
          this.#state = State.trailerName
          break
        case State.trailerName:
          if (++this.#trailer > maxTrailerBytes) return -1
          if (byte === 0x3a) {
            if (this.#nameLength === 0 || this.#forbidden()) return -1
            this.#state = State.trailerValue
          } else if (isToken[byte] === 0) return -1
          else if (this.#nameLength <= longestForbidden) this.#name[this.#nameLength++] = byte
          at++
          break
        case State.trailerValue:
          if (++this.#trailer > maxTrailerBytes) return -1
          if (byte === CR) this.#state = State.trailerLf
          else if (isFieldValue[byte] === 0) return -1
          at++
          break
        case State.trailerLf:
          if (byte !== LF) return -1
          this.#state = State.trailerStart
          at++
          break
        case State.endLf:
          if (byte !== LF) return -1
          this.#state = State.done
          return at + 1
        default:
          return at
      }
    }
    return at
  }

  #forbidden(): boolean {
    const length = Math.min(this.#nameLength, longestForbidden + 1)
    return forbiddenTrailers.some((name) => equalsIgnoreCase(this.#name, 0, length, name))
  }
}

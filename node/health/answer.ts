/**
 * Reads the answer to a probe as far as the check asks: the status, and when a text is expected in the body, the first 16 KiB
 * of that, out of its chunks. The text is searched for as it is, so that no answer can make the search slow. Pure and incremental.
 */
import { StatusReader } from './status-line.ts'

export type AnswerResult =
  | { readonly kind: 'more' }
  /** `found`: whether the body contains the text; true when none is expected. */
  | { readonly kind: 'answer'; readonly status: number; readonly found: boolean }
  /** `reason`: what came instead, in words. */
  | { readonly kind: 'invalid'; readonly reason: string }

/** How much of a body is searched. */
export const maxBodyBytes = 16 * 1024
const maxHeadBytes = 16 * 1024
const maxChunkLineBytes = 256
/** Pieces in which data is given to the reader of the status, which drops what is beyond its limit. */
const pieceBytes = 4096

const more: AnswerResult = { kind: 'more' }

/** Where the reader is, behind the status line. */
type Part = 'status' | 'head' | 'body' | 'chunk-size' | 'chunk-data' | 'chunk-end'

export class AnswerReader {
  readonly #expectBody: string
  readonly #statusReader = new StatusReader()
  #part: Part = 'status'
  #status = 0
  /** What has come and is not used yet, a character for each byte. */
  #text = ''
  #headBytes = 0
  #chunked = false
  /** Bytes of the body, or of the chunk, that are still to come; Infinity: until the connection ends. */
  #left = Infinity
  #body = ''

  /** @param expectBody ASCII text that the body must contain; empty: only the status counts */
  constructor(expectBody: string) {
    this.#expectBody = expectBody
  }

  /** The next bytes from the server. Not to be called again after anything but `more`. */
  push(data: Uint8Array): AnswerResult {
    let at = 0
    while (this.#part === 'status') {
      if (at >= data.length) return more
      const result = this.#statusReader.push(data.subarray(at, at + pieceBytes))
      at += pieceBytes
      if (result.kind === 'invalid') return result
      if (result.kind === 'more') continue
      if (this.#expectBody === '') return { kind: 'answer', status: result.status, found: true }
      this.#status = result.status
      this.#part = 'head'
      this.#text = this.#statusReader.rest
    }
    for (; at < data.length; at += pieceBytes) {
      const result = this.#add(data.subarray(at, at + pieceBytes))
      if (result.kind !== 'more') return result
    }
    return this.#read()
  }

  /** The connection has ended. */
  ended(): AnswerResult {
    if (this.#part === 'status') return { kind: 'invalid', reason: `connection closed: ${this.#statusReader.received}` }
    if (this.#part === 'body' && this.#left === Infinity) return this.#verdict()
    return { kind: 'invalid', reason: `${this.#status}, but the connection closed within the answer` }
  }

  /** What has come so far, in words. */
  get received(): string {
    return this.#part === 'status' ? this.#statusReader.received : `${this.#status} and part of an answer`
  }

  #add(piece: Uint8Array): AnswerResult {
    for (const byte of piece) this.#text += String.fromCharCode(byte)
    return this.#read()
  }

  #read(): AnswerResult {
    for (;;) {
      switch (this.#part) {
        case 'head': {
          const line = this.#line()
          if (line === undefined) return this.#text.length > maxHeadBytes ? invalid('a head without end') : more
          if ((this.#headBytes += line.length + 1) > maxHeadBytes) return invalid('a head without end')
          if (line !== '') this.#field(line)
          else this.#part = this.#chunked ? 'chunk-size' : 'body'
          break
        }
        case 'chunk-size': {
          const line = this.#line()
          if (line === undefined) return this.#text.length > maxChunkLineBytes ? invalid('a chunk without size') : more
          const match = /^([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?$/.exec(line)
          if (match === null) return invalid('a chunk without size')
          this.#left = Number.parseInt(match[1]!, 16)
          if (this.#left === 0) return this.#verdict()
          this.#part = 'chunk-data'
          break
        }
        case 'chunk-end': {
          const line = this.#line()
          if (line === undefined) return this.#text.length > 2 ? invalid('a chunk longer than its size') : more
          if (line !== '') return invalid('a chunk longer than its size')
          this.#part = 'chunk-size'
          break
        }
        default: {
          const taken = this.#text.slice(0, Math.min(this.#left, maxBodyBytes - this.#body.length))
          this.#text = this.#text.slice(taken.length)
          this.#left -= taken.length
          // Only where the new part can complete it.
          const from = Math.max(0, this.#body.length - this.#expectBody.length + 1)
          this.#body += taken
          if (this.#body.includes(this.#expectBody, from) || this.#body.length >= maxBodyBytes) return this.#verdict()
          if (this.#left > 0) return more
          if (this.#part === 'body') return this.#verdict()
          this.#part = 'chunk-end'
        }
      }
    }
  }

  /** The next line without its end; undefined when it has not come whole. */
  #line(): string | undefined {
    const end = this.#text.indexOf('\n')
    if (end < 0) return undefined
    const line = this.#text.slice(0, end)
    this.#text = this.#text.slice(end + 1)
    return line.endsWith('\r') ? line.slice(0, -1) : line
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim().toLowerCase()
    if (name === 'transfer-encoding' && value === 'chunked') this.#chunked = true
    else if (name === 'content-length' && /^[0-9]{1,15}$/.test(value)) this.#left = Number(value)
  }

  #verdict(): AnswerResult {
    return { kind: 'answer', status: this.#status, found: this.#body.includes(this.#expectBody) }
  }
}

function invalid(reason: string): AnswerResult {
  return { kind: 'invalid', reason }
}

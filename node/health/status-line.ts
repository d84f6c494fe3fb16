/**
 * Reads the status code of an HTTP/1.1 response and nothing more (RFC 9112 §4). Pure and incremental; strict in what the
 * line is, because a port that answers with something else is not the server that is wanted.
 */

export type StatusResult =
  | { readonly kind: 'more' }
  /** Final status code, 200 to 599, or 101. */
  | { readonly kind: 'status'; readonly status: number }
  /** `reason`: what came instead, in words. */
  | { readonly kind: 'invalid'; readonly reason: string }

const maxLineBytes = 4096
/** Interim responses (1xx) before the final one, with their heads. */
const maxBytes = 16 * 1024

const more: StatusResult = { kind: 'more' }

export class StatusReader {
  #text = ''
  #bytes = 0
  #inInterimHead = false

  /** The next bytes from the server. Not to be called again after anything but `more`. */
  push(data: Uint8Array): StatusResult {
    this.#bytes += data.length
    // One character for each byte: the line is compared with ASCII only, and nothing is kept beyond the limit.
    for (const byte of data.subarray(0, maxBytes)) this.#text += String.fromCharCode(byte)
    for (;;) {
      if (this.#inInterimHead && !this.#skipHead()) return this.#bytes > maxBytes ? invalid('interim responses without end') : more
      const end = this.#text.indexOf('\n')
      if (end < 0) return this.#unfinished()
      const status = statusOf(this.#text.slice(0, end + 1))
      if (status === undefined) return invalid(`not an HTTP status line: ${printable(this.#text)}`)
      if (status >= 200 || status === 101) {
        this.#text = this.#text.slice(end + 1)
        return { kind: 'status', status }
      }
      // RFC 9110 §15.2: any number of interim responses may precede the final one.
      this.#text = this.#text.slice(end + 1)
      this.#inInterimHead = true
    }
  }

  /** After the status: what has come behind its line, a character for each byte. */
  get rest(): string {
    return this.#text
  }

  /** What came before the connection ended, in words. */
  get received(): string {
    return this.#bytes === 0 ? 'no answer' : `an incomplete answer: ${printable(this.#text)}`
  }

  #unfinished(): StatusResult {
    // What cannot become a status line any more need not be waited for.
    const start = 'HTTP/1.'
    const compared = Math.min(start.length, this.#text.length)
    if (this.#text.slice(0, compared) !== start.slice(0, compared)) return invalid(`not HTTP: ${printable(this.#text)}`)
    return this.#text.length > maxLineBytes || this.#bytes > maxBytes ? invalid('a status line without end') : more
  }

  /** Drops header lines up to and with the empty one; false when it has not come yet. */
  #skipHead(): boolean {
    for (;;) {
      const end = this.#text.indexOf('\n')
      if (end < 0) return false
      const line = this.#text.slice(0, end)
      this.#text = this.#text.slice(end + 1)
      if (line === '\r' || line === '') {
        this.#inInterimHead = false
        return true
      }
    }
  }
}

/** `HTTP/1.x SP 3DIGIT SP [reason] CRLF`; the space before an empty reason is often left out, and nothing hangs on it. */
function statusOf(line: string): number | undefined {
  const match = /^HTTP\/1\.[01] ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\r\n$/.exec(line)
  return match === null ? undefined : Number(match[1])
}

function invalid(reason: string): StatusResult {
  return { kind: 'invalid', reason }
}

/** At most 40 characters, nothing that a terminal or a log would act on. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, '.'))
}

/** Whether a status is in a list such as `200-299,401`, as the configuration has it. */
export function statusExpected(status: number, expected: string): boolean {
  return expected.split(',').some((range) => {
    const [low, high = low] = range.split('-')
    return status >= Number(low) && status <= Number(high)
  })
}

/** Answers that a route gives itself: redirects (RFC 9110 §15.4), whose place depends on the request, and fixed responses. */
import { STATUS_CODES } from 'node:http'
import { nameEnd, type Matcher } from '../route/matcher.ts'
import { pathEndOf } from '../route/path.ts'
import type { RedirectPlan, RespondPlan } from '../route/plan.ts'
import { ascii } from './bytes.ts'
import type { Answer } from './errors.ts'
import type { Head } from './head.ts'

const slash = 0x2f

/** A redirect in force. */
export class Redirection {
  readonly status: number
  readonly #plan: RedirectPlan
  readonly #secure: boolean
  readonly #fields: string

  /** @param secure clients came over https. @param fields further header fields, each with its line end */
  constructor(plan: RedirectPlan, secure: boolean, fields: string) {
    this.#plan = plan
    this.status = plan.status
    this.#secure = secure
    this.#fields = fields
  }

  /** The whole answer to a request. `matcher` has just matched it. */
  answer(head: Head, buffer: Buffer, matcher: Matcher, close: boolean): Buffer {
    const reason = STATUS_CODES[this.status] ?? ''
    const location = this.#location(head, buffer, matcher)
    return ascii(`HTTP/1.1 ${this.status} ${reason}\r\nLocation: ${location}\r\nContent-Length: 0\r\n${this.#fields}${close ? 'Connection: close\r\n' : ''}\r\n`)
  }

  #location(head: Head, buffer: Buffer, matcher: Matcher): string {
    const { scheme, host, port, path, prefix, keepQuery } = this.#plan
    const pathEnd = pathEndOf(buffer, head.targetStart, head.targetEnd)
    let newPath = path ?? buffer.toString('latin1', head.targetStart, pathEnd)
    if (path === undefined && (head.targetEmpty || newPath === '*')) newPath = '/'
    if (prefix !== undefined) {
      const rest = matcher.path[matcher.pathStart] === slash ? latin1(matcher.path, matcher.pathStart + matcher.prefixLength, matcher.pathEnd) : ''
      newPath = `${prefix}${rest}`
      if (newPath === '') newPath = '/'
    }
    if (keepQuery) newPath += buffer.toString('latin1', pathEnd, head.targetEnd)
    const secure = scheme === undefined ? this.#secure : scheme === 'https'
    const asked = buffer.toString('latin1', head.hostStart, head.hostEnd)
    const name = host ?? buffer.toString('latin1', head.hostStart, nameEnd(buffer, head.hostStart, head.hostEnd))
    // Without a name there is only the path; `//x` would be a host, and to browsers `/\x` too.
    if (name === '') return newPath.replace(/^[/\\]+/, '/')
    let place = name
    if (port !== undefined) place = `${name}${port === (secure ? 443 : 80) ? '' : `:${port}`}`
    else if (host === undefined && secure === this.#secure) place = asked
    return `${secure ? 'https' : 'http'}://${place}${newPath}`
  }
}

function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** A fixed response, whole. @param fields further header fields, each with its line end */
export function fixedAnswer({ status, contentType, body }: RespondPlan, fields: string): Answer {
  const content = Buffer.from(body, 'utf8')
  // Those have no body, and no length of one (RFC 9110 §8.6).
  const bodiless = status === 204 || status === 304
  const make = (connection: string, withBody: boolean): Buffer => {
    const type = content.length === 0 ? '' : `Content-Type: ${contentType}\r\n`
    const head = ascii(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${bodiless ? '' : `${type}Content-Length: ${content.length}\r\n`}${fields}${connection}\r\n`)
    return withBody && !bodiless ? Buffer.concat([head, content]) : head
  }
  const close = 'Connection: close\r\n'
  return { status, keep: make('', true), close: make(close, true), keepHead: make('', false), closeHead: make(close, false) }
}

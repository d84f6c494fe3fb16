/** What a client gets when Haechi itself answers. The codes are stable: operators and scripts match on them. */
import { STATUS_CODES } from 'node:http'
import type { Maintenance } from '../../config/schema.ts'
import type { ErrorCode } from '../shared.ts'
import { ascii } from './bytes.ts'
import { Fault } from './head.ts'

/** Status per code; codes without one end the connection without an answer. */
const statuses: Partial<Record<ErrorCode, readonly [number, string]>> = {
  'bad-request': [400, 'Bad Request'],
  'body-malformed': [400, 'Bad Request'],
  'no-route': [404, 'Not Found'],
  'request-timeout': [408, 'Request Timeout'],
  'client-timeout': [408, 'Request Timeout'],
  'target-too-long': [414, 'URI Too Long'],
  'expectation-failed': [417, 'Expectation Failed'],
  'rate-limited': [429, 'Too Many Requests'],
  'head-too-large': [431, 'Request Header Fields Too Large'],
  'not-implemented': [501, 'Not Implemented'],
  'member-connect-failed': [502, 'Bad Gateway'],
  'member-closed': [502, 'Bad Gateway'],
  'bad-member-response': [502, 'Bad Gateway'],
  'no-member-available': [503, 'Service Unavailable'],
  'member-tls-failed': [502, 'Bad Gateway'],
  'circuit-open': [503, 'Service Unavailable'],
  'member-drained': [503, 'Service Unavailable'],
  'queue-full': [503, 'Service Unavailable'],
  'descriptor-limit': [503, 'Service Unavailable'],
  'queue-timeout': [503, 'Service Unavailable'],
  'member-connect-timeout': [504, 'Gateway Timeout'],
  'member-timeout': [504, 'Gateway Timeout'],
  'route-timeout': [504, 'Gateway Timeout'],
  'version-not-supported': [505, 'HTTP Version Not Supported'],
}

export interface Answer {
  readonly status: number
  /** Whole answers, with and without body, that keep or close the connection. */
  readonly keep: Buffer
  readonly close: Buffer
  readonly keepHead: Buffer
  readonly closeHead: Buffer
}

/** Prepares the answers for a code. @param more further field lines */
function prepare(code: ErrorCode, status: number, reason: string, more: string): Answer {
  const body = `${status} ${reason}: ${code}\n`
  const make = (connection: string, withBody: boolean): Buffer =>
    ascii(
      `HTTP/1.1 ${status} ${reason}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\nX-Haechi-Error: ${code}\r\n` +
        `Cache-Control: no-store\r\n${more}${connection}\r\n${withBody ? body : ''}`,
    )
  return {
    status,
    keep: make('', true),
    close: make('Connection: close\r\n', true),
    keepHead: make('', false),
    closeHead: make('Connection: close\r\n', false),
  }
}

const answers = new Map<ErrorCode, Answer>()
for (const [code, [status, reason]] of Object.entries(statuses) as [ErrorCode, readonly [number, string]][]) {
  answers.set(code, prepare(code, status, reason, ''))
}

/** By seconds: whoever floods is answered without anything being made for it. */
const rateLimited = new Map<number, Answer>()
const maxRetryAfterS = 3600

/** The answer for a request that a rate limit refused, with Retry-After (RFC 6585 §4) in whole seconds. */
export function rateLimitedAnswer(waitMs: number): Answer {
  const seconds = Math.min(maxRetryAfterS, Math.max(1, Math.ceil(waitMs / 1000)))
  let answer = rateLimited.get(seconds)
  if (answer === undefined) {
    answer = prepare('rate-limited', 429, 'Too Many Requests', `Retry-After: ${seconds}\r\n`)
    rateLimited.set(seconds, answer)
  }
  return answer
}

/** The prepared answer for a code; undefined when the connection ends without one. */
export function answerFor(code: ErrorCode): Answer | undefined {
  return answers.get(code)
}

/** A pool's own answer, under this code. */
export function maintenanceAnswer({ status, contentType, body, retryAfter }: Maintenance, code: ErrorCode): Answer {
  const content = Buffer.from(body, 'utf8')
  // Those have no body, and no length of one (RFC 9110 §8.6).
  const bodiless = status === 204 || status === 304
  const make = (connection: string, withBody: boolean): Buffer => {
    const head = ascii(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${bodiless ? '' : `Content-Type: ${contentType}\r\nContent-Length: ${content.length}\r\n`}` +
        `X-Haechi-Error: ${code}\r\n${retryAfter === 0 ? '' : `Retry-After: ${retryAfter}\r\n`}Cache-Control: no-store\r\n${connection}\r\n`,
    )
    return withBody && !bodiless ? Buffer.concat([head, content]) : head
  }
  return {
    status,
    keep: make('', true),
    close: make('Connection: close\r\n', true),
    keepHead: make('', false),
    closeHead: make('Connection: close\r\n', false),
  }
}

/** The code for a request head that was refused. */
export function codeOfFault(fault: number): ErrorCode {
  switch (fault) {
    case Fault.targetTooLong:
      return 'target-too-long'
    case Fault.tooManyFields:
      return 'head-too-large'
    case Fault.badVersion:
      return 'version-not-supported'
    case Fault.connectMethod:
      return 'not-implemented'
    case Fault.badExpectation:
      return 'expectation-failed'
    default:
      return 'bad-request'
  }
}

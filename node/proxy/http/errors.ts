/** What a client gets when Haechi itself answers. The codes are stable: operators and scripts match on them. */
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
  'head-too-large': [431, 'Request Header Fields Too Large'],
  'not-implemented': [501, 'Not Implemented'],
  'member-connect-failed': [502, 'Bad Gateway'],
  'member-closed': [502, 'Bad Gateway'],
  'bad-member-response': [502, 'Bad Gateway'],
  'no-member-available': [503, 'Service Unavailable'],
  'member-connect-timeout': [504, 'Gateway Timeout'],
  'member-timeout': [504, 'Gateway Timeout'],
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

const answers = new Map<ErrorCode, Answer>()
for (const [code, [status, reason]] of Object.entries(statuses) as [ErrorCode, readonly [number, string]][]) {
  const body = `${status} ${reason}: ${code}\n`
  const make = (connection: string, withBody: boolean): Buffer =>
    ascii(
      `HTTP/1.1 ${status} ${reason}\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\nX-Haechi-Error: ${code}\r\n` +
        `Cache-Control: no-store\r\n${connection}\r\n${withBody ? body : ''}`,
    )
  answers.set(code, {
    status,
    keep: make('', true),
    close: make('Connection: close\r\n', true),
    keepHead: make('', false),
    closeHead: make('Connection: close\r\n', false),
  })
}

/** The prepared answer for a code; undefined when the connection ends without one. */
export function answerFor(code: ErrorCode): Answer | undefined {
  return answers.get(code)
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

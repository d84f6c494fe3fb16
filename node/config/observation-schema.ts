/**
 * The part of the configuration document about what is written down of each request: the access log, the request id, and the trace
 * context. Nothing here has a default that would stand in every document: those that were stored before stay the same, to the byte.
 */
import Type, { type Static } from 'typebox'
import { headerNamePattern } from './limits-schema.ts'
import { closed } from './parts.ts'

export const AccessLog = Type.Object(
  {
    format: Type.Union([Type.Literal('json'), Type.Literal('common'), Type.Literal('combined'), Type.Literal('off')], {
      default: 'json',
      description: 'json: one object a line, with all that is known. common, combined: the formats of Apache’s logs.',
    }),
    sample: Type.Integer({ minimum: 1, maximum: 100, default: 100, description: 'Percentage of requests that are logged. Those that end in an error of Haechi’s always are.' }),
    destination: Type.Union([Type.Literal('file'), Type.Literal('stdout')], {
      default: 'file',
      description: 'file: `access.log` in the data directory of each node, put aside at 64 MiB, five files at most. stdout: standard output of the process.',
    }),
  },
  { ...closed, description: 'A line for each request (tcp, udp: for each session) at its end. Never holds traffic up: when the disk is too slow, lines are dropped and counted. Left out: off.' },
)
export type AccessLog = Static<typeof AccessLog>

export const RequestId = Type.Object(
  {
    header: Type.String({ default: 'X-Request-Id', pattern: headerNamePattern, maxLength: 64, description: 'The header field that carries it to the member.' }),
    trust: Type.Boolean({ default: false, description: 'Whether the id of the client is kept, if there is one (up to 128 printable characters). Else it is replaced.' }),
    respond: Type.Boolean({ default: false, description: 'Whether the client gets the id too, in a header field of the answer.' }),
  },
  { ...closed, description: 'http: gives each request an id of 32 hexadecimal digits, which is also in the access log. Left out: off.' },
)
export type RequestId = Static<typeof RequestId>

export const Trace = Type.Object(
  {
    sample: Type.Integer({ minimum: 0, maximum: 100, default: 100, description: 'Percentage of the traces begun here whose `sampled` flag is set.' }),
  },
  { ...closed, description: 'http: a request without a valid `traceparent` (W3C Trace Context) gets one; one that has it keeps it. Left out: fields of the client pass as they are.' },
)
export type Trace = Static<typeof Trace>

export const listenerObservationFields = {
  accessLog: Type.Optional(AccessLog),
  requestId: Type.Optional(RequestId),
  trace: Type.Optional(Trace),
}

/**
 * Errors of the API: RFC 9457 `application/problem+json` with a stable code. The catalogue of codes is here, and every
 * answer that is an error goes through `problem`.
 */
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import type { Problem } from '../config/schema.ts'
import type { Log } from '../observe/log.ts'
import type { ApiProblem } from './types.ts'

/** Status and title of every code that the API gives out. Codes are part of the interface: they never change. */
export const problemCodes = {
  'invalid-request': [400, 'The request is not valid'],
  'malformed-body': [400, 'The body could not be read'],
  'invalid-if-match': [400, 'If-Match is not usable'],
  'not-signed-in': [401, 'Sign in first'],
  'wrong-credentials': [401, 'The user name or the password is wrong'],
  'csrf-token': [403, 'The X-CSRF-Token header is missing or wrong'],
  'wrong-origin': [403, 'The request comes from another site'],
  forbidden: [403, 'Your role does not allow this'],
  'password-change-required': [403, 'Change your password first'],
  'not-found': [404, 'There is no such thing'],
  'in-use': [409, 'Something else still uses it'],
  'last-administrator': [409, 'There must be an administrator'],
  'last-node': [409, 'The last node cannot be removed'],
  'membership-refused': [409, 'The cluster cannot be changed like that'],
  'hand-over-refused': [409, 'The hand-over is not possible'],
  'upgrade-refused': [409, 'The upgrade cannot be finished yet'],
  'not-supported': [409, 'The version of some node is too old'],
  'revision-conflict': [412, 'The configuration has changed'],
  'certificate-changed': [412, 'The certificate has changed'],
  'too-large': [413, 'The body is too large'],
  'unsupported-media-type': [415, 'This content type is not taken here'],
  'invalid-document': [422, 'The configuration is not valid'],
  'invalid-certificate': [422, 'The certificate is not usable'],
  'precondition-required': [428, 'If-Match is required'],
  'too-many-requests': [429, 'Too many requests'],
  internal: [500, 'Haechi made a mistake'],
  'no-quorum': [503, 'The cluster has no quorum'],
  overloaded: [503, 'The node is too busy'],
  stopping: [503, 'The node is stopping'],
  'not-ready': [503, 'The node is not ready'],
  'unknown-fate': [504, 'It is not known whether the change was made'],
} as const satisfies Record<string, readonly [number, string]>

export type ProblemCode = keyof typeof problemCodes

export interface ProblemExtras {
  readonly problems?: readonly Problem[]
  readonly revision?: number
  /** Sent as Retry-After, rounded up to seconds. */
  readonly retryAfterMs?: number
}

/** Ends the request with a problem. `detail` says what happened and what to do next, in a sentence. */
export function problem(
  reply: FastifyReply,
  code: ProblemCode,
  detail: string,
  extras: ProblemExtras = {},
): FastifyReply {
  const [status, title] = problemCodes[code]
  const { retryAfterMs, ...fields } = extras
  if (retryAfterMs !== undefined) void reply.header('retry-after', String(Math.max(1, Math.ceil(retryAfterMs / 1000))))
  const body: ApiProblem = { type: `urn:haechi:problem:${code}`, title, status, detail, code, ...fields }
  // Fastify adds a charset to types that it takes for JSON by default; the serializer is ours, so the text goes as it is.
  return reply
    .code(status)
    .header('cache-control', 'no-store')
    .type('application/problem+json; charset=utf-8')
    .serializer((value: unknown) => JSON.stringify(value))
    .send(body)
}

interface AjvError {
  readonly instancePath: string
  readonly keyword: string
  readonly message?: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Fastify's own failures (validation, parsing, limits) and our bugs, as problems. */
export function errorHandler(log: Log) {
  return (
    error: FastifyError & { retryAfterMs?: number },
    request: FastifyRequest,
    reply: FastifyReply,
  ): FastifyReply => {
    if (error.validation !== undefined) {
      const part = error.validationContext ?? 'request'
      const problems = (error.validation as readonly AjvError[]).slice(0, 100).map((fault) => toProblem(fault, part))
      const detail = problems.map((fault) => `${fault.field === '' ? part : fault.field} ${fault.message}`).join('; ')
      return problem(reply, 'invalid-request', detail, { problems })
    }
    const status = error.statusCode ?? 500
    if (status === 413) return problem(reply, 'too-large', 'The body exceeds the limit of this route.')
    if (status === 415) {
      const given = request.headers['content-type'] ?? 'none'
      return problem(
        reply,
        'unsupported-media-type',
        `Send application/json, or application/yaml for the configuration, not ${given.slice(0, 100)}.`,
      )
    }
    if (status === 429)
      return problem(reply, 'too-many-requests', error.message, { retryAfterMs: error.retryAfterMs ?? 1000 })
    if (status === 400) return problem(reply, 'malformed-body', error.message)
    if (status === 404) return problem(reply, 'not-found', error.message)
    if (status >= 400 && status < 500) return problem(reply, 'invalid-request', error.message)
    log('error', 'a request failed', { method: request.method, route: request.routeOptions.url, error })
    return problem(
      reply,
      'internal',
      'The node made a mistake; its log says more. Nothing was changed by this request if it was a read.',
    )
  }
}

function toProblem(fault: AjvError, part: string): Problem {
  const prefix = part === 'body' ? '' : `/${part}`
  const missing = fault.keyword === 'required' ? `/${String(fault.params['missingProperty'])}` : ''
  const extra = fault.keyword === 'additionalProperties' ? `/${String(fault.params['additionalProperty'])}` : ''
  let message = fault.message ?? 'is not valid'
  if (missing !== '') message = 'is required'
  if (extra !== '') message = 'is not known'
  return { field: `${prefix}${fault.instancePath}${missing}${extra}`, message }
}

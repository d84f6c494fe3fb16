/** One place that talks HTTP to this node: base path, CSRF header, problem documents, time limit. */
import type { ApiProblem } from '../../../node/api/types.ts'

const base = '/api/v1'
/** Longest wait for an answer, milliseconds. A change may need an election first. */
const patienceMs = 15_000

/**
 * What became of a request that did not succeed.
 * `unreachable`: no answer came, so a change may or may not have been made.
 */
export class ApiFailure extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number
  /** Stable code of the problem document, or `unreachable`, or `http-<status>`. */
  readonly code: string
  readonly problem: ApiProblem | undefined
  /** From Retry-After, seconds; 0 when the node did not say. */
  readonly retryAfterSeconds: number

  constructor(status: number, code: string, detail: string, problem?: ApiProblem, retryAfterSeconds = 0) {
    super(detail)
    this.name = 'ApiFailure'
    this.status = status
    this.code = code
    this.problem = problem
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export interface CallOptions {
  readonly body?: unknown
  /** Revision that the change was made against; sent as `If-Match`. */
  readonly ifMatch?: number
  readonly signal?: AbortSignal
}

let csrfToken = ''
let whenSignedOut: () => void = () => undefined

/** The token of the current session, sent with everything that is not a read. */
export function setCsrfToken(token: string): void {
  csrfToken = token
}

/** Called when a request other than a sign-in was answered with 401. */
export function onSignedOut(listener: () => void): void {
  whenSignedOut = listener
}

async function send(method: string, path: string, accept: string, options: CallOptions): Promise<Response> {
  const headers: Record<string, string> = { accept }
  if (method !== 'GET' && csrfToken !== '') headers['x-csrf-token'] = csrfToken
  if (options.ifMatch !== undefined) headers['if-match'] = `"${options.ifMatch}"`
  if (options.body !== undefined) headers['content-type'] = 'application/json'
  const limit = AbortSignal.timeout(patienceMs)
  let response: Response
  try {
    response = await fetch(base + path, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      signal: options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]),
    })
  } catch (error) {
    if (options.signal?.aborted === true) throw error
    throw new ApiFailure(0, 'unreachable', error instanceof Error ? error.message : String(error))
  }
  if (response.ok) return response
  const text = await response.text().catch(() => '')
  const problem = parseProblem(text)
  // `wrong-credentials` is a wrong password and says nothing about the session.
  if (response.status === 401 && path !== '/session' && problem?.code !== 'wrong-credentials') whenSignedOut()
  throw new ApiFailure(
    response.status,
    problem?.code ?? `http-${response.status}`,
    problem?.detail ?? problem?.title ?? response.statusText,
    problem,
    Number(response.headers.get('retry-after') ?? 0) || 0,
  )
}

function parseProblem(text: string): ApiProblem | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'status' in value ? (value as ApiProblem) : undefined
  } catch {
    return undefined
  }
}

/** Calls the API and gives the JSON answer (`undefined` for an empty one). Throws ApiFailure. */
export async function call<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, options: CallOptions = {}): Promise<T> {
  const response = await send(method, path, 'application/json', options)
  const text = await response.text()
  return (text === '' ? undefined : JSON.parse(text)) as T
}

/** The configuration document as YAML, as the node writes it. Throws ApiFailure. */
export async function configurationAsYaml(signal?: AbortSignal): Promise<string> {
  const response = await send('GET', '/config', 'application/yaml', signal === undefined ? {} : { signal })
  return await response.text()
}

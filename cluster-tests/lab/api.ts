/** A client of a node's API over its unix socket: what stands in for the operator in labs and drills. */
import { request } from 'node:http'

export interface ApiAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Parsed when the answer is JSON, else the text. */
  readonly body: unknown
}

export interface ApiRequestOptions {
  readonly headers?: Readonly<Record<string, string>>
  /** Default 10 s. */
  readonly timeoutMs?: number
}

/** More than this in one answer is refused. */
const maxAnswerBytes = 64 * 1024 * 1024

/**
 * One request over a unix socket, on a connection of its own. `path` is below `/api/v1` unless it begins with `/api`.
 *
 * @throws Error when there is no answer (no socket, refused, timed out). Any status is an answer.
 */
export function apiRequest(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  options: ApiRequestOptions = {},
): Promise<ApiAnswer> {
  const payload = body === undefined ? undefined : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const timeoutMs = options.timeoutMs ?? 10_000
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = { Accept: 'application/json', Host: 'localhost', ...options.headers }
    if (payload !== undefined) {
      headers['Content-Type'] ??= 'application/json'
      headers['Content-Length'] = String(payload.length)
    }
    const target = path.startsWith('/api') ? path : `/api/v1${path}`
    // An own agent-less connection: a kept connection to a process that was killed would fail in the next run.
    const outgoing = request({ socketPath, method, path: target, headers, agent: false }, (incoming) => {
      const parts: Buffer[] = []
      let size = 0
      incoming.on('data', (part: Buffer) => {
        size += part.length
        if (size > maxAnswerBytes) outgoing.destroy(new Error(`${method} ${target}: answer exceeds ${maxAnswerBytes} bytes`))
        else parts.push(part)
      })
      incoming.on('error', reject)
      incoming.on('end', () => {
        clearTimeout(timer)
        const text = Buffer.concat(parts).toString('utf8')
        const json = /^application\/([a-z0-9.+-]*\+)?json/.test(incoming.headers['content-type'] ?? '')
        try {
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: json && text !== '' ? JSON.parse(text) : text })
        } catch {
          reject(new Error(`${method} ${target}: answer is not the JSON it says it is`))
        }
      })
    })
    const timer = setTimeout(() => outgoing.destroy(new Error(`${method} ${target}: no answer in ${timeoutMs} ms`)), timeoutMs)
    outgoing.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    outgoing.end(payload)
  })
}

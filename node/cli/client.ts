/**
 * The API's client for the command line: HTTP over a unix socket or TLS, by node:http because fetch cannot do unix
 * sockets. An answer of any status is a value; only a connection that fails is an exception.
 */
import { request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { relative, resolve } from 'node:path'

/** Where the API is, and as whom. */
export type Target =
  | { readonly socketPath: string }
  | {
      /** Base URL, such as `https://192.0.2.1:8443`. */
      readonly url: string
      readonly token?: string
      /** PEM certificates to trust instead of the system's. */
      readonly ca?: string
    }

export interface ApiRequest {
  readonly method: string
  /** Path with query, such as `/api/v1/status`. */
  readonly path: string
  /** A string is sent as it is; anything else as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Default 30 s. */
  readonly timeoutMs?: number
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Parsed when it is JSON, else text; undefined when empty. */
  readonly body: unknown
}

/** No answer at all. `code` is the system's, such as `ECONNREFUSED`. */
export class ConnectionFailed extends Error {
  override readonly name = 'ConnectionFailed'
  readonly code: string
  constructor(message: string, code: string) {
    super(message)
    this.code = code
  }
}

const maxAnswerBytes = 64 * 1024 * 1024

/** Makes one request. Throws `ConnectionFailed`. */
export function request(
  target: Target,
  { method, path, body, headers, timeoutMs = 30_000 }: ApiRequest,
): Promise<ApiAnswer> {
  const payload = body === undefined ? undefined : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const options: RequestOptions = {
    method,
    timeout: timeoutMs,
    agent: false,
    headers: {
      accept: 'application/json',
      ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': payload.length }),
      ...headers,
    },
  }
  return new Promise((resolvePromise, reject) => {
    const fail = (error: NodeJS.ErrnoException) => reject(new ConnectionFailed(error.message, error.code ?? ''))
    let outgoing
    if ('socketPath' in target) {
      outgoing = httpRequest({
        ...options,
        socketPath: shortest(target.socketPath),
        path,
        headers: { ...options.headers, host: 'localhost' },
      })
    } else {
      const url = new URL(path, target.url)
      const own = {
        ...options,
        headers: {
          ...options.headers,
          ...(target.token === undefined ? {} : { authorization: `Bearer ${target.token}` }),
        },
      }
      outgoing =
        url.protocol === 'https:'
          ? httpsRequest(url, { ...own, ...(target.ca === undefined ? {} : { ca: target.ca }) })
          : httpRequest(url, own)
    }
    outgoing.on('timeout', () =>
      outgoing.destroy(Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`), { code: 'ETIMEDOUT' })),
    )
    outgoing.on('error', fail)
    outgoing.on('response', (incoming) => {
      const parts: Buffer[] = []
      let length = 0
      incoming.on('data', (chunk: Buffer) => {
        parts.push(chunk)
        length += chunk.length
        if (length > maxAnswerBytes) incoming.destroy(new Error(`the answer is longer than ${maxAnswerBytes} bytes`))
      })
      incoming.on('error', fail)
      incoming.on('end', () => {
        const text = Buffer.concat(parts).toString('utf8')
        resolvePromise({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: parse(text, incoming.headers['content-type']),
        })
      })
    })
    outgoing.end(payload)
  })
}

function parse(text: string, contentType: string | undefined): unknown {
  if (text === '') return undefined
  if (!/^application\/([\w.-]+\+)?json\b/.test(contentType ?? '')) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** The path of a unix socket has room for 107 bytes: from the working directory it may be shorter. */
function shortest(path: string): string {
  const absolute = resolve(path)
  const fromHere = relative(process.cwd(), absolute)
  return fromHere.length < absolute.length ? fromHere : absolute
}

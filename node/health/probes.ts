/** One probe of one member: an HTTP request or a TCP connection on a socket of its own. */
import { connect } from 'node:net'
import { StatusReader, statusExpected } from './status-line.ts'

export interface ProbeTarget {
  readonly type: 'http' | 'tcp'
  readonly address: string
  readonly port: number
  /** http: request target. */
  readonly path: string
  /** http: Host header; empty: address and port of the target. */
  readonly host: string
  /** http: status codes of success, such as `200-399`. */
  readonly expectStatus: string
  /** For the whole probe, connecting included. Milliseconds. */
  readonly timeoutMs: number
}

export interface ProbeResult {
  readonly success: boolean
  /** For people: `200 in 3 ms`, `connection refused`. */
  readonly detail: string
  readonly durationMs: number
}

/**
 * Probes once. Always resolves: every way in which a server can misbehave is a failed probe. `signal` ends it early, as a
 * failure. `now`: a monotonic clock in milliseconds.
 */
export function probe(target: ProbeTarget, now: () => number, signal: AbortSignal): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const startedMs = now()
    const socket = connect({ host: target.address, port: target.port, noDelay: true, autoSelectFamily: false })
    const reader = new StatusReader()
    let connected = false
    let settled = false

    const finish = (success: boolean, detail: string): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      socket.destroy()
      resolve({ success, detail, durationMs: now() - startedMs })
    }
    const took = (): string => `in ${Math.max(1, Math.round(now() - startedMs))} ms`
    const abort = (): void => finish(false, 'ended')
    const timer = setTimeout(() => finish(false, timeoutText(target, connected)), target.timeoutMs)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()

    socket.on('error', (error: NodeJS.ErrnoException) => finish(false, errorText(error, connected)))
    socket.on('connect', () => {
      connected = true
      if (target.type === 'tcp') finish(true, `connected ${took()}`)
      else socket.write(requestOf(target))
    })
    if (target.type === 'tcp') return
    socket.on('data', (data: Buffer) => {
      const result = reader.push(data)
      if (result.kind === 'invalid') finish(false, result.reason)
      else if (result.kind === 'status') finish(statusExpected(result.status, target.expectStatus), `${result.status} ${took()}`)
    })
    socket.on('end', () => finish(false, `connection closed: ${reader.received}`))
    socket.on('close', () => finish(false, `connection closed: ${reader.received}`))
  })
}

function requestOf({ path, host, address, port }: ProbeTarget): string {
  const authority = host !== '' ? host : `${address.includes(':') ? `[${address}]` : address}${port === 80 ? '' : `:${port}`}`
  return `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: haechi-health-check\r\nAccept: */*\r\nConnection: close\r\n\r\n`
}

function timeoutText(target: ProbeTarget, connected: boolean): string {
  return connected ? `no answer within ${target.timeoutMs} ms` : `no connection within ${target.timeoutMs} ms`
}

function errorText(error: NodeJS.ErrnoException, connected: boolean): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connection refused'
    case 'ECONNRESET':
    case 'EPIPE':
      return connected ? 'connection reset' : 'connection reset while connecting'
    case 'EHOSTUNREACH':
      return 'host unreachable'
    case 'ENETUNREACH':
      return 'network unreachable'
    case 'ETIMEDOUT':
      return 'no connection: timed out'
    default:
      return error.code ?? error.message.slice(0, 100)
  }
}


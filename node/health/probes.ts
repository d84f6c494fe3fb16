/**
 * One probe of one member, by type of check: an HTTP request, a TCP connection or a TLS handshake on a socket of its own here; a
 * datagram in `udp-probe.ts`, a program in `script-probe.ts`.
 */
import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { AnswerReader, type AnswerResult } from './answer.ts'
import { beginsWith } from './payload.ts'
import { ScriptProbes } from './script-probe.ts'
import { statusExpected } from './status-line.ts'
import { probeUdp } from './udp-probe.ts'

export interface ProbeTarget {
  readonly type: 'http' | 'https' | 'tcp' | 'tls' | 'udp' | 'script'
  readonly address: string
  readonly port: number
  /** http, https, tcp, tls: begins with a PROXY header of this version that names nobody: the connection is Haechi’s own. */
  readonly proxyProtocol?: 'v1' | 'v2'
  /** http: request target. */
  readonly path: string
  /** http: Host header; empty: address and port of the target. */
  readonly host: string
  /** http: status codes of success, such as `200-399`. */
  readonly expectStatus: string
  /** For the whole probe, connecting included. Milliseconds. */
  readonly timeoutMs: number
  /** A success that takes longer is a failure. Milliseconds. */
  readonly maxLatencyMs?: number
  readonly method?: string
  readonly headers?: readonly { readonly name: string; readonly value: string }[]
  /** http: text that the first 16 KiB of the body must contain; empty: none. */
  readonly expectBody?: string
  /** TLS: whether the certificate must be valid. */
  readonly verify?: boolean
  /** TLS: PEM of the authorities that may have issued it; absent: those that the machine trusts. */
  readonly authorities?: string
  /** TLS: what is shown to the member, PEM. */
  readonly keyPair?: { readonly chain: string; readonly key: string }
  /** Why it cannot even be tried. */
  readonly fault?: string
  /** TLS: server name; empty: for https that of `host`, else none. */
  readonly sni?: string
  /** tcp, tls, udp: sent once connected. */
  readonly send?: Uint8Array
  /** tcp, tls, udp: how the answer must begin; empty: none is waited for. */
  readonly expect?: Uint8Array
  /** script: name of the program. */
  readonly script?: string
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
export type Probe = (target: ProbeTarget, now: () => number, signal: AbortSignal) => Promise<ProbeResult>

/** What remains to be settled of a probe; `end` counts once. */
export interface Attempt {
  readonly settled: boolean
  /** `in 3 ms`, for the detail. */
  took(): string
  end(success: boolean, detail: string): void
}

/** @param checksDirectory where the programs of script checks are; undefined: there are none */
export function createProbe(checksDirectory: string | undefined): Probe {
  const scripts = new ScriptProbes(checksDirectory)
  return async (target, now, signal) => {
    const result = await probeOnce(target, now, signal, scripts)
    const { maxLatencyMs = Infinity } = target
    if (!result.success || result.durationMs <= maxLatencyMs) return result
    return { ...result, success: false, detail: `${result.detail}: slower than ${maxLatencyMs} ms` }
  }
}

async function probeOnce(target: ProbeTarget, now: () => number, signal: AbortSignal, scripts: ScriptProbes): Promise<ProbeResult> {
  if (target.fault !== undefined) return { success: false, detail: target.fault, durationMs: 0 }
  switch (target.type) {
    case 'udp':
      return attempt(now, signal, (one) => probeUdp(target, one))
    case 'script': {
      const turn = await scripts.turn(signal)
      if (turn === undefined) return { success: false, detail: 'ended', durationMs: 0 }
      try {
        return await attempt(now, signal, (one) => scripts.run(target, one))
      } finally {
        turn()
      }
    }
    default:
      return attempt(now, signal, (one) => probeStream(target, one))
  }
}

/** Runs one attempt. `start` gives back what ends it: called once it is settled. */
function attempt(now: () => number, signal: AbortSignal, start: (one: Attempt) => () => void): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const startedMs = now()
    let settled = false
    let cleanUp: (() => void) | undefined
    const abort = (): void => one.end(false, 'ended')
    const one: Attempt = {
      get settled() {
        return settled
      },
      took: () => `in ${Math.max(1, Math.round(now() - startedMs))} ms`,
      end(success, detail) {
        if (settled) return
        settled = true
        signal.removeEventListener('abort', abort)
        cleanUp?.()
        resolve({ success, detail, durationMs: now() - startedMs })
      },
    }
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      cleanUp = start(one)
    } catch (error) {
      // No memory for a process, say.
      const { code, message } = error as NodeJS.ErrnoException
      return one.end(false, `cannot be tried: ${code ?? message.slice(0, 100)}`)
    }
    // It may have been settled before there was anything to clean up.
    if (settled) cleanUp()
  })
}

function probeStream(target: ProbeTarget, one: Attempt): () => void {
  const secure = target.type === 'tls' || target.type === 'https'
  const http = target.type === 'http' || target.type === 'https'
  let socket: Socket
  try {
    socket = secure ? openTls(target) : openPlain(target)
  } catch (error) {
    if (!secure) throw error
    // A key that does not belong to its certificate, say.
    one.end(false, `TLS: ${tlsText(error as NodeJS.ErrnoException)}`)
    return () => undefined
  }
  let connected = false
  let ready = false
  const timer = setTimeout(() => one.end(false, timeoutText(target, connected, ready)), target.timeoutMs)
  socket.on('error', (error: NodeJS.ErrnoException) => one.end(false, errorText(error, connected, secure && !ready)))
  socket.on('connect', () => (connected = true))
  socket.on(secure ? 'secureConnect' : 'connect', () => {
    ready = true
    if (http) socket.write(requestOf(target))
    else if (target.send !== undefined && target.send.length > 0) socket.write(target.send)
    if (!http && (target.expect ?? nothing).length === 0) one.end(true, `${secure ? `handshake (${(socket as TLSSocket).getProtocol() ?? 'TLS'})` : 'connected'} ${one.took()}`)
  })
  if (http) readAnswer(socket, target, one)
  else if ((target.expect ?? nothing).length > 0) readBanner(socket, target.expect!, one)
  else socket.on('close', () => one.end(false, 'connection closed'))
  return () => {
    clearTimeout(timer)
    socket.destroy()
  }
}

const nothing = new Uint8Array(0)

function readAnswer(socket: Socket, target: ProbeTarget, one: Attempt): void {
  const reader = new AnswerReader(target.expectBody ?? '')
  const take = (result: AnswerResult): void => {
    if (result.kind === 'invalid') one.end(false, result.reason)
    else if (result.kind === 'answer') {
      const expected = statusExpected(result.status, target.expectStatus)
      one.end(expected && result.found, `${result.status} ${one.took()}${expected && !result.found ? ', without the expected text' : ''}`)
    }
  }
  socket.on('data', (data: Buffer) => {
    if (!one.settled) take(reader.push(data))
  })
  socket.on('end', () => !one.settled && take(reader.ended()))
  socket.on('close', () => !one.settled && take(reader.ended()))
}

function readBanner(socket: Socket, expected: Uint8Array, one: Attempt): void {
  let received = Buffer.alloc(0)
  socket.on('data', (data: Buffer) => {
    if (one.settled) return
    received = Buffer.concat([received, data.subarray(0, expected.length)])
    const verdict = beginsWith(received, expected)
    if (verdict === 'yes') one.end(true, `expected answer ${one.took()}`)
    else if (verdict === 'no') one.end(false, `another answer than expected: ${printable(received)}`)
  })
  const ended = (): void => one.end(false, received.length === 0 ? 'connection closed: no answer' : `connection closed: an incomplete answer: ${printable(received)}`)
  socket.on('end', ended)
  socket.on('close', ended)
}

/** UNKNOWN and LOCAL (PROXY protocol §2.1, §2.2): receivers then take the connection's own address. */
const proxyHeaders = { v1: Buffer.from('PROXY UNKNOWN\r\n'), v2: Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex') }

/** A header that is written now goes out first, once the connection stands. */
function openPlain({ address, port, proxyProtocol }: ProbeTarget): Socket {
  const socket = connect({ host: address, port, noDelay: true, autoSelectFamily: false })
  if (proxyProtocol !== undefined) socket.write(proxyHeaders[proxyProtocol])
  return socket
}

function openTls(target: ProbeTarget): TLSSocket {
  const servername = serverName(target)
  const raw = target.proxyProtocol === undefined ? undefined : openPlain(target)
  const socket = connectTls({
    ...(raw === undefined ? { host: target.address, port: target.port } : { socket: raw }),
    rejectUnauthorized: target.verify === true,
    ...(target.authorities === undefined ? {} : { ca: target.authorities }),
    ...(target.keyPair === undefined ? {} : { cert: target.keyPair.chain, key: target.keyPair.key }),
    ...(target.type === 'https' ? { ALPNProtocols: ['http/1.1'] } : {}),
    ...(servername === '' ? {} : { servername }),
  })
  // Why there is no connection is told to the socket beneath alone.
  raw?.on('error', (error) => socket.destroy(error))
  return socket
}

function serverName({ type, sni = '', host }: ProbeTarget): string {
  if (sni !== '') return sni
  if (type !== 'https') return ''
  const name = host.replace(/:[0-9]*$/, '')
  // RFC 6066 §3: an address is no server name.
  return isIP(name) !== 0 || name.startsWith('[') ? '' : name
}

function requestOf({ type, path, host, address, port, method = 'GET', headers = [] }: ProbeTarget): string {
  const usual = type === 'https' ? 443 : 80
  const authority = host !== '' ? host : `${address.includes(':') ? `[${address}]` : address}${port === usual ? '' : `:${port}`}`
  const own = headers.map(({ name, value }) => `${name}: ${value}\r\n`).join('')
  const given = (name: string): boolean => headers.some((header) => header.name.toLowerCase() === name)
  const length = method === 'POST' || method === 'PUT' || method === 'PATCH' ? 'Content-Length: 0\r\n' : ''
  return (
    `${method} ${path} HTTP/1.1\r\nHost: ${authority}\r\n${given('user-agent') ? '' : 'User-Agent: haechi-health-check\r\n'}` +
    `${given('accept') ? '' : 'Accept: */*\r\n'}${length}${own}Connection: close\r\n\r\n`
  )
}

function timeoutText({ timeoutMs, type }: ProbeTarget, connected: boolean, ready: boolean): string {
  if (!connected) return `no connection within ${timeoutMs} ms`
  return !ready && (type === 'tls' || type === 'https') ? `no handshake within ${timeoutMs} ms` : `no answer within ${timeoutMs} ms`
}

function errorText(error: NodeJS.ErrnoException, connected: boolean, handshake: boolean): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'connection refused'
    case 'ECONNRESET':
    case 'EPIPE':
      return connected ? (handshake ? 'connection reset in the handshake' : 'connection reset') : 'connection reset while connecting'
    case 'EHOSTUNREACH':
      return 'host unreachable'
    case 'ENETUNREACH':
      return 'network unreachable'
    case 'ETIMEDOUT':
      return 'no connection: timed out'
    default:
      return connected && handshake ? `TLS: ${tlsText(error)}` : (error.code ?? error.message.slice(0, 100))
  }
}

/** OpenSSL's message begins with numbers of no use; certificate errors have a code that says it all. */
function tlsText({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'the certificate is for another name'
  if (code !== undefined && !code.startsWith('ERR_SSL')) return code.toLowerCase().replaceAll('_', ' ')
  return (code ?? message).replace(/^ERR_SSL_/, '').toLowerCase().replaceAll('_', ' ').slice(0, 100)
}

/** At most 40 characters, nothing that a terminal or a log would act on. */
function printable(bytes: Uint8Array): string {
  return JSON.stringify(Buffer.from(bytes.subarray(0, 40)).toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.'))
}

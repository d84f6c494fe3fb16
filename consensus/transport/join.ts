/**
 * Joining over the consensus port, both sides. The joiner has no certificate yet: it trusts the server by the CA
 * fingerprint of its token, the server trusts it by the token's secret. One request: POST /join.
 */
import { createHash, X509Certificate } from 'node:crypto'
import { request as httpsRequest } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect, type DetailedPeerCertificate } from 'node:tls'
import { isMembership } from '../core/membership.ts'
import type { ConsensusHooks, JoinRequest, JoinResponse } from '../consensus.ts'
import { parseHostPort } from './address.ts'

const maxRequestBytes = 32 * 1024
const maxResponseBytes = 256 * 1024
/** Joins that are being decided at the same time. */
const maxPending = 4
const connectTimeoutMs = 5000
const answerTimeoutMs = 25_000

/** The answer of one address: an error of the cluster itself (`final`) is not worth asking another one. */
export type JoinAttempt =
  | { readonly ok: true; readonly response: JoinResponse }
  | { readonly ok: false; readonly error: string; readonly final: boolean }

/** Serves POST /join and refuses everything else. */
export class JoinServer {
  readonly #join: ConsensusHooks['join']
  readonly #log: (message: string, fields: Record<string, unknown>) => void
  #pending = 0

  constructor(join: ConsensusHooks['join'], log: (message: string, fields: Record<string, unknown>) => void) {
    this.#join = join
    this.#log = log
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    if (request.url !== '/join' || request.method !== 'POST') return answer(response, 404, { error: 'there is nothing here' })
    if (this.#join === undefined) return answer(response, 503, { error: 'this is a witness, or a node under repair; ask another node' })
    void this.#serve(request, response, this.#join)
  }

  async #serve(request: IncomingMessage, response: ServerResponse, join: NonNullable<ConsensusHooks['join']>): Promise<void> {
    const body = await readBody(request, maxRequestBytes)
    const parsed = body === undefined ? undefined : parseJoinRequest(body)
    if (parsed === undefined) return answer(response, 400, { error: 'the join request is malformed' })
    // Counted only now: who sends its request slowly, or never, holds up nobody. (How many may do so, the listener limits.)
    if (this.#pending >= maxPending) return answer(response, 503, { error: 'too many machines are joining at once; try again' })
    this.#pending += 1
    const fields = { peer: parsed.peer.id, role: parsed.peer.role, from: request.socket.remoteAddress }
    try {
      const result = await join(parsed)
      this.#log(result.ok ? 'a new member was admitted' : `a join was refused: ${result.error}`, fields)
      if (result.ok) answer(response, 200, result.response)
      else answer(response, 403, { error: result.error })
    } catch (error) {
      this.#log(`a join failed: ${(error as Error).message}`, fields)
      answer(response, 500, { error: 'the join failed on the node that was asked; see its log' })
    } finally {
      this.#pending -= 1
    }
  }
}

/** Asks one address. The CA that it presents must have the fingerprint (SHA-256, hex) of the token. */
export async function requestJoin(address: string, caFingerprint: string, request: JoinRequest): Promise<JoinAttempt> {
  const target = parseHostPort(address)
  if (target === undefined) return { ok: false, error: `${address} is not host:port`, final: false }
  const ca = await fetchAuthority(target.host, target.port, caFingerprint)
  if (typeof ca !== 'string') return { ok: false, error: `${address}: ${ca.error}`, final: ca.final }
  return new Promise((resolve) => {
    const fail = (error: string, final = false) => resolve({ ok: false, error: `${address}: ${error}`, final })
    // Verified from scratch with the pinned CA as the only one; any member may answer, so its name does not matter.
    const outgoing = httpsRequest(
      {
        host: target.host, port: target.port, path: '/join', method: 'POST', ca, rejectUnauthorized: true, minVersion: 'TLSv1.3',
        checkServerIdentity: () => undefined, agent: false, timeout: answerTimeoutMs, headers: { 'content-type': 'application/json' },
      },
      (incoming) => {
        void readBody(incoming, maxResponseBytes).then((body) => {
          const value = body === undefined ? undefined : parseJson(body)
          if (value === undefined) return fail('the answer is malformed')
          if (incoming.statusCode === 200) {
            return isJoinResponse(value) ? resolve({ ok: true, response: value }) : fail('the answer is malformed', true)
          }
          const text = typeof value['error'] === 'string' ? value['error'].slice(0, 500) : `status ${incoming.statusCode}`
          return fail(text, incoming.statusCode === 403)
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')))
    outgoing.on('error', (error) => fail(error.message))
    outgoing.end(JSON.stringify(request))
  })
}

/** The CA certificate (PEM) in the presented chain that has the fingerprint. Nothing is sent before it was found. */
function fetchAuthority(host: string, port: number, fingerprint: string): Promise<string | { error: string; final: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false, minVersion: 'TLSv1.3' })
    const done = (result: string | { error: string; final: boolean }) => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(connectTimeoutMs, () => done({ error: 'no answer in time', final: false }))
    socket.on('error', (error) => done({ error: error.message, final: false }))
    socket.once('secureConnect', () => {
      const seen = new Set<string>()
      let at: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true)
      while (at?.raw !== undefined && !seen.has(at.fingerprint256)) {
        if (createHash('sha256').update(at.raw).digest('hex') === fingerprint) return done(new X509Certificate(at.raw).toString())
        seen.add(at.fingerprint256)
        at = at.issuerCertificate
      }
      done({ error: 'this is not the cluster of the token (its CA has another fingerprint)', final: true })
    })
  })
}

function answer(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent || response.destroyed) return
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), connection: 'close' })
  response.end(text)
}

/** Undefined when it is too large or breaks off. */
async function readBody(stream: IncomingMessage, maxBytes: number): Promise<string | undefined> {
  const parts: Buffer[] = []
  let bytes = 0
  try {
    for await (const part of stream as AsyncIterable<Buffer>) {
      bytes += part.length
      if (bytes > maxBytes) return undefined
      parts.push(part)
    }
  } catch {
    return undefined
  }
  return Buffer.concat(parts).toString('utf8')
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function parseJoinRequest(body: string): JoinRequest | undefined {
  const value = parseJson(body)
  if (value === undefined) return undefined
  const { secret, peer, csr, commandLevel } = value as Partial<JoinRequest>
  if (typeof secret !== 'string' || secret.length > 256 || typeof csr !== 'string' || csr.length > 16_384) return undefined
  if (!isMembership({ voters: [peer], learners: [] })) return undefined
  const { id, role, address, apiAddress } = peer!
  if (!isReachable(address) || (role === 'node' ? !isReachable(apiAddress) : apiAddress !== '')) return undefined
  if (commandLevel !== undefined && (!Number.isSafeInteger(commandLevel) || commandLevel < 1)) return undefined
  return { secret, csr, peer: { id, role, address, apiAddress }, ...(commandLevel === undefined ? {} : { commandLevel }) }
}

function isReachable(address: string): boolean {
  const parsed = parseHostPort(address)
  return parsed !== undefined && parsed.port > 0
}

function isJoinResponse(value: object): value is JoinResponse {
  const { clusterId, caCertificate, certificate, caKey, membership, generation, joinedAtIndex } = value as Partial<JoinResponse>
  return typeof clusterId === 'string' && typeof caCertificate === 'string' && typeof certificate === 'string'
    && typeof caKey === 'string' && isMembership(membership)
    && (generation === undefined || (Number.isSafeInteger(generation) && generation >= 0))
    && (joinedAtIndex === undefined || (Number.isSafeInteger(joinedAtIndex) && joinedAtIndex > 0))
}

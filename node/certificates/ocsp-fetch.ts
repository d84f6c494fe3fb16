/**
 * Asks OCSP responders (RFC 6960 Appendix A: HTTP POST) for the responses that all nodes staple. Only the leader's node asks;
 * what it gets is checked, replicated, and asked for anew when half of its time has passed.
 */
import { type ClientRequest, request } from 'node:http'
import type { Log } from '../observe/log.ts'
import type { StoredCertificate } from '../state/types.ts'
import { certificatesOf } from './facts.ts'
import { checkOcspResponse, ocspFactsOf, ocspRequest, responderOf } from './ocsp.ts'

type KeyPair = Extract<StoredCertificate, { kind: 'key-pair' }>

export interface OcspAskerOptions {
  readonly log: Log
  /** Replicates a response; false: it was not taken. */
  readonly store: (of: KeyPair, response: Uint8Array) => Promise<boolean>
  readonly nowEpochMs: () => number
  /** Monotonic milliseconds. */
  readonly nowMs: () => number
  readonly timeoutMs?: number
}

const timeoutMs = 10_000
const maxResponseBytes = 64 * 1024
const maxAsking = 4
const retryMs = 60_000
const maxRetryMs = 3600_000
/** Of responses that do not say when they are replaced. */
const unlimitedMs = 12 * 3600_000

interface Attempt {
  readonly of: KeyPair
  asking: boolean
  failures: number
  againMs: number
  said: string
}

export class OcspAsker {
  readonly #options: OcspAskerOptions
  readonly #attempts = new Map<string, Attempt>()
  /** Responder by certificate: reading certificates every second would be waste. */
  readonly #responders = new WeakMap<KeyPair, string | null>()
  #asking = 0

  constructor(options: OcspAskerOptions) {
    this.#options = options
  }

  /** Asks about those that are due; returns at once. */
  look(pairs: readonly KeyPair[]): void {
    const names = new Set(pairs.map(({ name }) => name))
    for (const name of this.#attempts.keys()) if (!names.has(name)) this.#attempts.delete(name)
    for (const pair of pairs) {
      if (this.#asking >= maxAsking) return
      const url = this.#responder(pair)
      if (url === null) continue
      const known = this.#attempts.get(pair.name)
      // A replaced certificate has a responder of its own, and nothing of it has failed yet.
      const attempt = known !== undefined && (known.asking || known.of.index === pair.index) ? known : { of: pair, asking: false, failures: 0, againMs: -Infinity, said: '' }
      this.#attempts.set(pair.name, attempt)
      if (attempt.asking || this.#options.nowMs() < attempt.againMs || !this.#due(pair)) continue
      void this.#ask(pair, url, attempt)
    }
  }

  #responder(pair: KeyPair): string | null {
    const known = this.#responders.get(pair)
    if (known !== undefined) return known
    const chain = certificatesOf(pair.chain)
    const url = chain.length < 2 ? null : (responderOf(chain[0]!) ?? null)
    this.#responders.set(pair, url)
    return url
  }

  #due({ ocspResponse }: KeyPair): boolean {
    const facts = ocspResponse.length === 0 ? undefined : ocspFactsOf(ocspResponse)
    if (facts === undefined) return true
    const { thisUpdateEpochMs, nextUpdateEpochMs = thisUpdateEpochMs + 2 * unlimitedMs } = facts
    return this.#options.nowEpochMs() >= thisUpdateEpochMs + (nextUpdateEpochMs - thisUpdateEpochMs) / 2
  }

  async #ask(pair: KeyPair, url: string, attempt: Attempt): Promise<void> {
    const { log, nowMs, nowEpochMs, store } = this.#options
    attempt.asking = true
    this.#asking++
    try {
      const chain = certificatesOf(pair.chain)
      const answer = await post(url, ocspRequest(chain[0]!, chain[1]!), this.#options.timeoutMs ?? timeoutMs)
      const check = answer.ok ? checkOcspResponse(answer.response, chain, nowEpochMs()) : answer
      const stored = check.ok && answer.ok ? await store(pair, answer.response) : false
      attempt.failures = stored ? 0 : attempt.failures + 1
      // After success, too: a response that is old already when it comes must not be asked for every second.
      attempt.againMs = nowMs() + Math.min(maxRetryMs, retryMs * 2 ** Math.min(10, Math.max(0, attempt.failures - 1)))
      const said = check.ok ? '' : check.message
      if (said !== '' && said !== attempt.said) log('warn', `certificate ${pair.name}: the OCSP response of ${url} ${said}`, { certificate: pair.name })
      attempt.said = said
    } catch (error) {
      // A bug, and no reason for a node to end: traffic needs none of this.
      log('error', `certificate ${pair.name}: the OCSP response of ${url} could not be asked for`, { certificate: pair.name, error: String(error) })
      attempt.againMs = nowMs() + maxRetryMs
    } finally {
      attempt.asking = false
      this.#asking--
    }
  }
}

type Answer = { readonly ok: true; readonly response: Uint8Array } | { readonly ok: false; readonly message: string }

/** Never rejects. */
function post(url: string, body: Uint8Array, limitMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (message: string): void => resolve({ ok: false, message })
    let outgoing: ClientRequest
    try {
      outgoing = request(url, {
        method: 'POST',
        agent: false,
        headers: { 'content-type': 'application/ocsp-request', accept: 'application/ocsp-response', 'content-length': body.length },
        signal: AbortSignal.timeout(limitMs),
      })
    } catch (error) {
      // What a certificate names need not be a URL.
      return failed(`did not come: ${(error as Error).message}`)
    }
    outgoing.on('error', (error: NodeJS.ErrnoException) => failed(error.name === 'AbortError' || error.name === 'TimeoutError' ? `did not come within ${limitMs / 1000} s` : `did not come: ${error.code ?? error.message}`))
    outgoing.on('response', (incoming) => {
      const chunks: Buffer[] = []
      let length = 0
      incoming.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length > maxResponseBytes) {
          failed(`is longer than ${maxResponseBytes} bytes`)
          incoming.destroy()
        }
      })
      incoming.on('error', (error) => failed(`did not come: ${error.message}`))
      incoming.on('close', () => failed('did not come whole'))
      incoming.on('end', () => (incoming.statusCode === 200 ? resolve({ ok: true, response: new Uint8Array(Buffer.concat(chunks)) }) : failed(`did not come: status ${incoming.statusCode}`)))
    })
    outgoing.end(body)
  })
}

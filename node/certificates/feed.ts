/**
 * From the replicated store to the proxy: opens what is sealed, leaves out what cannot be used, and hands all of it on at each
 * change. Beside that the leader's node makes the keys of session tickets, and every node tells of what expires.
 */
import { randomBytes } from 'node:crypto'
import type { Submission, SubmitResult } from '../api/context.ts'
import { certificateNamesOf } from '../config/certificate-names.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import type { Log } from '../observe/log.ts'
import type { AuthorityMaterial, KeyPairMaterial, TlsMaterial } from '../proxy/tls/material.ts'
import { certificateLevel } from '../state/certificates.ts'
import type { StoredCertificate, StoredTicketKeys } from '../state/types.ts'
import { describe, expiring, expiringText, isDescribed, type Expiring } from './describe.ts'
import { OcspAsker } from './ocsp-fetch.ts'
import type { Sealer } from './seal.ts'
import { ticketKeyBytes, ticketKeysDue } from './ticket-keys.ts'

/** Of the replicated state, what matters here. */
export interface CertificateState {
  readonly level: number
  readonly certificates: readonly StoredCertificate[]
  readonly ticketKeys: StoredTicketKeys | undefined
  readonly document: ConfigurationDocument
}

export interface FeedOptions {
  /** Undefined: this machine has no key of the CA; then nothing can be opened. */
  readonly sealer: Sealer | undefined
  readonly nodeId: string
  readonly log: Log
  readonly submit: (submission: Submission) => Promise<SubmitResult>
  /** Brings it into force for new handshakes. */
  readonly use: (material: TlsMaterial) => Promise<void> | void
  /** Wall clock and monotonic clock, milliseconds. */
  readonly nowEpochMs?: () => number
  readonly nowMs?: () => number
}

const expiryEveryMs = 60_000
/** How often it is looked whether an OCSP response is due. */
const ocspEveryMs = 5000
const logEveryMs = 24 * 3600_000
/** Certificates that are read for the first time at one look: 2,000 at once would keep the main thread for a second or more. */
const maxFresh = 100
/** After a proposal that came to nothing. */
const retryMs = 10_000

export class CertificateFeed {
  readonly #options: FeedOptions
  readonly #nowEpochMs: () => number
  readonly #nowMs: () => number
  readonly #pairs = new Map<string, { readonly of: StoredCertificate; readonly material: KeyPairMaterial | undefined }>()
  #fed: { readonly certificates: readonly StoredCertificate[]; readonly ticketKeys: StoredTicketKeys | undefined } | undefined
  #feeding: Promise<void> = Promise.resolve()
  /** When the first OCSP response in use becomes too old, wall clock. */
  #staleEpochMs = Infinity
  #problems: readonly string[] = []
  #expiring: readonly Expiring[] = []
  #expiringOf: readonly StoredCertificate[] = []
  #expiringAtMs = -Infinity
  readonly #logged = new Map<string, number>()
  #keysSeen: { readonly generation: number; readonly atMs: number } | undefined
  #proposing = false
  readonly #ocsp: OcspAsker
  #asked = -Infinity
  #retryAtMs = -Infinity

  constructor(options: FeedOptions) {
    this.#options = options
    this.#nowEpochMs = options.nowEpochMs ?? (() => Date.now())
    this.#nowMs = options.nowMs ?? (() => performance.now())
    this.#ocsp = new OcspAsker({ log: options.log, nowEpochMs: this.#nowEpochMs, nowMs: this.#nowMs, store: (of, response) => this.#propose(of, response) })
  }

  /** Why some of it is not in use on this node, for the node's report. */
  get problems(): readonly string[] {
    return this.#problems
  }

  /** What expires, the most urgent first; at most a minute old. */
  get expiring(): readonly Expiring[] {
    return this.#expiring
  }

  /** Resolves once the proxy has what `state` holds. Costs nothing when it has it already. */
  feed(state: CertificateState): Promise<void> {
    const { certificates, ticketKeys } = state
    if (this.#fed?.certificates === certificates && this.#fed.ticketKeys === ticketKeys) return this.#feeding
    this.#fed = { certificates, ticketKeys }
    this.#notice(ticketKeys)
    const material = this.#material(certificates, ticketKeys)
    this.#feeding = this.#feeding.then(() => this.#options.use(material)).catch((error: Error) => {
      this.#problems = [...this.#problems, `certificates are not in use: ${error.message}`]
      this.#options.log('error', 'certificates are not in use', { error: error.message })
    })
    return this.#feeding
  }

  /** Once a second. `leader`: this node leads, and knows what has been committed. */
  tick(state: CertificateState, leader: boolean): void {
    if (this.#nowEpochMs() >= this.#staleEpochMs && this.#fed !== undefined) {
      this.#fed = undefined
      this.#pairs.clear()
      void this.feed(state)
    }
    this.#lookAtExpiry(state.certificates)
    if (!leader || state.level < certificateLevel || this.#fed === undefined) return
    void this.#rotate(state)
    if (this.#nowMs() - this.#asked >= ocspEveryMs) this.#askForOcsp(state)
  }

  // — what the proxy gets —

  #material(certificates: readonly StoredCertificate[], ticketKeys: StoredTicketKeys | undefined): TlsMaterial {
    const keyPairs: KeyPairMaterial[] = []
    const authorities: AuthorityMaterial[] = []
    const problems: string[] = []
    this.#staleEpochMs = Infinity
    for (const stored of certificates) {
      if (stored.kind === 'authority') {
        authorities.push({ name: stored.name, certificates: stored.certificates, revocations: stored.revocations })
        continue
      }
      const pair = this.#pair(stored)
      if (pair === undefined) problems.push(`certificate ${stored.name}: its key cannot be opened with this node's ca.key`)
      else keyPairs.push(pair)
    }
    const known = new Set(certificates.map(({ name }) => name))
    for (const name of this.#pairs.keys()) if (!known.has(name)) this.#pairs.delete(name)
    const opened = ticketKeys === undefined ? undefined : this.#options.sealer?.open({ ticketKeys: ticketKeys.generation }, ticketKeys.sealed)
    if (ticketKeys !== undefined && opened?.length !== ticketKeyBytes) problems.push("the keys of TLS session tickets cannot be opened with this node's ca.key")
    for (const text of problems) if (!this.#problems.includes(text)) this.#options.log('error', text)
    this.#problems = problems
    return { keyPairs, authorities, ticketKeys: opened?.length === ticketKeyBytes ? opened : undefined }
  }

  #pair(stored: Extract<StoredCertificate, { kind: 'key-pair' }>): KeyPairMaterial | undefined {
    const before = this.#pairs.get(stored.name)
    const stapled = this.#stapled(stored)
    if (before?.of === stored) return before.material
    const { name, chain, sealedKey } = stored
    const key = this.#options.sealer?.open({ keyPair: name }, sealedKey)
    const material = key === undefined ? undefined : { name, chain, key: Buffer.from(key).toString(), ...(stapled ? { ocspResponse: stored.ocspResponse } : {}) }
    this.#pairs.set(name, { of: stored, material })
    return material
  }

  /** An old response is worse than none: clients refuse it. */
  #stapled(stored: Extract<StoredCertificate, { kind: 'key-pair' }>): boolean {
    if (stored.ocspResponse.length === 0) return false
    const { nextUpdateEpochMs = Infinity } = describe(stored).ocsp ?? {}
    if (nextUpdateEpochMs <= this.#nowEpochMs()) return false
    this.#staleEpochMs = Math.min(this.#staleEpochMs, nextUpdateEpochMs)
    return true
  }

  /** About those that listeners show. */
  #askForOcsp({ certificates, document }: CertificateState): void {
    this.#asked = this.#nowMs()
    const shown = new Set(certificateNamesOf(document).filter(({ field }) => field.startsWith('/listeners/')).map(({ name }) => name))
    this.#ocsp.look(certificates.filter((stored) => stored.kind === 'key-pair').filter(({ name, ocspFetch }) => ocspFetch && shown.has(name)))
  }

  async #propose({ name, index }: StoredCertificate, response: Uint8Array): Promise<boolean> {
    const { submit, nodeId } = this.#options
    const result = await submit({ kind: 'ocsp-put', level: certificateLevel, actor: { name: 'system', from: '', node: nodeId }, name, expect: index, response })
    return result.ok && result.outcome.code === 'ok'
  }

  // — session tickets —

  #notice(keys: StoredTicketKeys | undefined): void {
    if (keys !== undefined && this.#keysSeen?.generation !== keys.generation) this.#keysSeen = { generation: keys.generation, atMs: this.#nowMs() }
  }

  async #rotate({ ticketKeys, document }: CertificateState): Promise<void> {
    const { sealer, submit, nodeId, log } = this.#options
    const nowMs = this.#nowMs()
    if (this.#proposing || nowMs < this.#retryAtMs || sealer === undefined) return
    const needed = certificateNamesOf(document).some(({ field, kind }) => kind === 'key-pair' && field.startsWith('/listeners/'))
    const seenMs = this.#keysSeen === undefined ? undefined : nowMs - this.#keysSeen.atMs
    if (!ticketKeysDue({ keys: ticketKeys, needed, seenMs: seenMs ?? 0, nowEpochMs: this.#nowEpochMs() })) return
    this.#proposing = true
    try {
      const expectGeneration = ticketKeys?.generation ?? 0
      const sealed = sealer.seal({ ticketKeys: expectGeneration + 1 }, randomBytes(ticketKeyBytes))
      const result = await submit({ kind: 'ticket-keys', level: certificateLevel, actor: { name: 'system', from: '', node: nodeId }, expectGeneration, sealed })
      if (!result.ok || result.outcome.code !== 'ok') this.#retryAtMs = this.#nowMs() + retryMs
      else log('info', 'new keys of TLS session tickets', { generation: expectGeneration + 1 })
    } catch (error) {
      this.#retryAtMs = this.#nowMs() + retryMs
      log('error', 'new keys of TLS session tickets could not be made', { error: String(error) })
    } finally {
      this.#proposing = false
    }
  }

  // — expiry —

  #lookAtExpiry(certificates: readonly StoredCertificate[]): void {
    const nowMs = this.#nowMs()
    if (certificates === this.#expiringOf && nowMs - this.#expiringAtMs < expiryEveryMs) return
    let fresh = 0
    for (const one of certificates) {
      if (isDescribed(one)) continue
      // The others at the next look, a second later.
      if (++fresh > maxFresh) return
      describe(one)
    }
    this.#expiringOf = certificates
    this.#expiringAtMs = nowMs
    const nowEpochMs = this.#nowEpochMs()
    this.#expiring = expiring(certificates, nowEpochMs)
    const said = new Set<string>()
    for (const one of this.#expiring) {
      // Once a day, and at once when it gets worse.
      const key = `${one.name} ${one.what} ${one.state} ${one.notAfterEpochMs}`
      said.add(key)
      if (nowMs - (this.#logged.get(key) ?? -Infinity) < logEveryMs) continue
      this.#logged.set(key, nowMs)
      this.#options.log(one.state === 'soon' ? 'warn' : 'error', expiringText(one, nowEpochMs), { certificate: one.name })
    }
    for (const key of this.#logged.keys()) if (!said.has(key)) this.#logged.delete(key)
  }
}

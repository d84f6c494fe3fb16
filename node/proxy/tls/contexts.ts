/**
 * Certificates and keys made ready for handshakes: contexts are built when a table or the material changes, never during a handshake,
 * and kept by their content, so that a change of one certificate leaves all the others as they are.
 */
import { constants, createHash, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { ListenerTlsPlan, PoolTlsPlan } from '../route/tls-plan.ts'
import type { ClientTls, ServerCertificate, ServerTls } from '../transport/transport.ts'
import type { AuthorityMaterial, KeyPairMaterial, TlsMaterial } from './material.ts'

/** TLS 1.3, and of TLS 1.2 what has forward secrecy and authenticated encryption (RFC 9325 §4.2). */
const ciphers = [
  'TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305', 'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

/** How long a session can be gone on with, seconds. */
const sessionSeconds = 2 * 3600
/** Sessions with members kept by each profile: one for each address and port. */
const maxSessions = 20_000

const noMaterial: TlsMaterial = { keyPairs: [], authorities: [], ticketKeys: undefined }

export type Prepared<T> = { readonly ok: true; readonly tls: T } | { readonly ok: false; readonly error: string }

export class TlsContexts {
  #pairs = new Map<string, KeyPairMaterial>()
  #authorities = new Map<string, AuthorityMaterial>()
  #ticketKeys: Uint8Array | undefined
  /** By a hash of all that went in. */
  readonly #contexts = new Map<string, SecureContext>()
  readonly #clients = new Map<string, ClientTls>()
  readonly #namesOf = new Map<string, readonly string[]>()
  /** What was asked for since the last `settle`. */
  readonly #used = new Set<string>()
  #clientOf = new WeakMap<PoolTlsPlan, ClientTls>()
  #unusable: ClientTls | undefined

  constructor() {
    this.setMaterial(noMaterial)
  }

  setMaterial(material: TlsMaterial): void {
    this.#pairs = new Map(material.keyPairs.map((pair) => [pair.name, pair]))
    this.#authorities = new Map(material.authorities.map((authority) => [authority.name, authority]))
    this.#ticketKeys = material.ticketKeys
    this.#clientOf = new WeakMap()
  }

  /** Forgets what no listener or pool has asked for since the last time. */
  settle(): void {
    for (const cache of [this.#contexts, this.#clients, this.#namesOf]) for (const key of cache.keys()) if (!this.#used.has(key)) cache.delete(key)
    this.#used.clear()
  }

  /** `scope`: sessions of one are not taken by another. The same on all nodes. */
  forListener(plan: ListenerTlsPlan, scope: string): Prepared<ServerTls> {
    const authority = this.#authorities.get(plan.authority)
    if (plan.clientCertificate !== 'none' && authority === undefined) return missing('authority', plan.authority)
    const exact = new Map<string, ServerCertificate>()
    const wildcard = new Map<string, ServerCertificate>()
    let first: ServerCertificate | undefined
    for (const name of plan.certificates) {
      const pair = this.#pairs.get(name)
      if (pair === undefined) return missing('certificate', name)
      let context: SecureContext
      let names: readonly string[]
      try {
        names = this.#names(pair)
        context = this.#context('server', pair, plan.clientCertificate === 'none' ? undefined : authority, plan.modern, {
          ...(this.#ticketKeys === undefined ? {} : { ticketKeys: Buffer.from(this.#ticketKeys) }),
          sessionTimeout: sessionSeconds,
          // With another authority, or another list of what it has revoked, clients have to show their certificates anew.
          sessionIdContext: hash([scope, plan.clientCertificate, authority?.certificates ?? '', authority?.revocations ?? '']).slice(0, 32),
          secureOptions: constants.SSL_OP_NO_RENEGOTIATION | (plan.tickets ? 0 : constants.SSL_OP_NO_TICKET),
        })
      } catch (error) {
        return { ok: false, error: `certificate ${name} cannot be used: ${(error as Error).message}` }
      }
      const certificate = { context, ocspResponse: pair.ocspResponse === undefined ? undefined : Buffer.from(pair.ocspResponse) }
      first ??= certificate
      for (const host of names) {
        const [map, key] = host.startsWith('*.') ? [wildcard, host.slice(1)] : [exact, host]
        if (!map.has(key)) map.set(key, certificate)
      }
    }
    if (first === undefined) return { ok: false, error: 'no certificate is named' }
    const fallback = plan.strict ? undefined : first
    // One certificate for everything: the handshake need not stop and ask.
    const choice = plan.certificates.length > 1 || plan.strict
    return {
      ok: true,
      tls: {
        default: first,
        ...(choice ? { select: (name: string) => exact.get(name) ?? wildcard.get(afterFirstLabel(name)) ?? fallback } : {}),
        needsName: plan.strict,
        clientCertificate: plan.clientCertificate,
        alpn: plan.alpn,
      },
    }
  }

  /** For connections to members. Where something that the pool names is missing, every handshake fails. */
  forPool(plan: PoolTlsPlan): ClientTls {
    let client = this.#clientOf.get(plan)
    if (client === undefined) this.#clientOf.set(plan, (client = this.#forPool(plan)))
    return client
  }

  #forPool(plan: PoolTlsPlan): ClientTls {
    const pair = this.#pairs.get(plan.certificate)
    const authority = this.#authorities.get(plan.authority)
    if ((plan.certificate !== '' && pair === undefined) || (plan.authority !== '' && authority === undefined)) return this.#refusing()
    const key = hash([JSON.stringify(plan), pair?.chain ?? '', pair?.key ?? '', authority?.certificates ?? '', authority?.revocations ?? ''])
    this.#used.add(key)
    let client = this.#clients.get(key)
    if (client === undefined) {
      try {
        client = clientOf(plan, this.#context('client', pair, authority, plan.modern, {}))
      } catch {
        return this.#refusing()
      }
      this.#clients.set(key, client)
    }
    return client
  }

  /** Trusts nobody. */
  #refusing(): ClientTls {
    return (this.#unusable ??= {
      context: createSecureContext({ ca: [] }), serverName: '', verify: true, alpn: [], session: () => undefined, keep: () => undefined,
    })
  }

  #context(use: 'server' | 'client', pair: KeyPairMaterial | undefined, authority: AuthorityMaterial | undefined, modern: boolean, more: SecureContextOptions): SecureContext {
    const { ticketKeys, ...rest } = more
    const key = hash([use, pair?.chain ?? '', pair?.key ?? '', authority?.certificates ?? '', authority?.revocations ?? '', String(modern), JSON.stringify(rest), ticketKeys?.toString('hex') ?? ''])
    this.#used.add(key)
    let context = this.#contexts.get(key)
    if (context === undefined) {
      const lists = authority === undefined ? [] : pemBlocks(authority.revocations, 'X509 CRL')
      // Without its list, an authority would accept what it has revoked.
      if (lists.length === 0 && authority !== undefined && authority.revocations.trim() !== '') throw new Error(`the revocation lists of ${authority.name} cannot be read`)
      context = createSecureContext({
        minVersion: modern ? 'TLSv1.3' : 'TLSv1.2',
        ciphers,
        ...(pair === undefined ? {} : { cert: pair.chain, key: pair.key }),
        ...(authority === undefined ? {} : { ca: authority.certificates }),
        ...(lists.length === 0 ? {} : { crl: lists }),
        ...more,
      })
      this.#contexts.set(key, context)
    }
    return context
  }

  /** The names that a certificate is for, in lower case. */
  #names(pair: KeyPairMaterial): readonly string[] {
    const key = hash(['names', pair.chain])
    this.#used.add(key)
    let names = this.#namesOf.get(key)
    if (names === undefined) this.#namesOf.set(key, (names = namesOf(new X509Certificate(pair.chain))))
    return names
  }
}

function clientOf(plan: PoolTlsPlan, context: SecureContext): ClientTls {
  const sessions = new Map<string, Buffer>()
  return {
    context,
    serverName: plan.serverName,
    verify: plan.verify,
    alpn: plan.alpn,
    session: (host, port) => sessions.get(`${host} ${port}`),
    keep(host, port, session) {
      if (!plan.sessionReuse) return
      if (sessions.size >= maxSessions) sessions.clear()
      sessions.set(`${host} ${port}`, session)
    },
  }
}

/** Names of hosts only; the common name where there is no list of names at all. */
function namesOf(certificate: X509Certificate): string[] {
  const list = certificate.subjectAltName
  const found = list === undefined ? [/(?:^|\n)CN=(.*)/.exec(certificate.subject)?.[1] ?? ''] : [...list.matchAll(/DNS:([^,\s"]+)/g)].map((match) => match[1]!)
  return found.filter((name) => name !== '').map((name) => name.toLowerCase())
}

/** `.example.com` of `www.example.com`: a wildcard stands for one label. */
function afterFirstLabel(name: string): string {
  const dot = name.indexOf('.')
  return dot < 0 ? '' : name.slice(dot)
}

function pemBlocks(text: string, label: string): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, 'g')) ?? []
}

function missing(what: 'certificate' | 'authority', name: string): { ok: false; error: string } {
  return { ok: false, error: `there is no ${what} named ${name}` }
}

function hash(parts: readonly string[]): string {
  const sum = createHash('sha256')
  for (const part of parts) sum.update(`${part.length} `).update(part)
  return sum.digest('hex')
}

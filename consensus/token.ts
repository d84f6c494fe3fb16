/**
 * The one-time join token: what a new machine must know to trust the cluster and to be trusted by it. It pins the
 * cluster's CA by fingerprint, so that nobody in between can pose as the cluster.
 *
 * `haechi1.` and base64url of JSON `{ c: cluster id, f: CA SHA-256 hex, s: secret, a: [consensus addresses] }`.
 */
import { Buffer } from 'node:buffer'
import { parseHostPort } from './transport/address.ts'

export interface JoinTokenContent {
  readonly clusterId: string
  /** SHA-256 of the CA certificate (DER), 64 lower-case hex digits. */
  readonly caFingerprint: string
  /** One-time secret; the cluster stores only its hash. */
  readonly secret: string
  /** Consensus addresses, host:port, to try in this order. */
  readonly addresses: readonly string[]
}

const prefix = 'haechi1.'
const maxTokenLength = 4096
const maxAddresses = 32
const clusterIdPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const fingerprintPattern = /^[0-9a-f]{64}$/
const secretPattern = /^[A-Za-z0-9_-]{16,128}$/

/** Whether the text is a cluster id as `initCluster` makes it (a UUID). */
export function isClusterId(value: unknown): value is string {
  return typeof value === 'string' && clusterIdPattern.test(value)
}

/** Throws if the content could not be decoded again: that would be a bug of the caller. */
export function encodeJoinToken(content: JoinTokenContent): string {
  const { clusterId, caFingerprint, secret, addresses } = content
  const json = JSON.stringify({ c: clusterId, f: caFingerprint, s: secret, a: addresses })
  const token = prefix + Buffer.from(json).toString('base64url')
  const back = decodeJoinToken(token)
  if (!back.ok) throw new Error(`join token: ${back.error}`)
  return token
}

/** Strict: every field present, well formed, and nothing else. */
export function decodeJoinToken(
  token: string,
): { readonly ok: true; readonly content: JoinTokenContent } | { readonly ok: false; readonly error: string } {
  const refuse = (error: string) => ({ ok: false, error }) as const
  const text = token.trim()
  if (!text.startsWith(prefix)) return refuse(`a join token starts with "${prefix}"`)
  if (text.length > maxTokenLength) return refuse('the join token is too long')
  const body = text.slice(prefix.length)
  if (!/^[A-Za-z0-9_-]+$/.test(body)) return refuse('the join token has characters that do not belong there; was it copied whole?')
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(body, 'base64url').toString('utf8'))
  } catch {
    return refuse('the join token is damaged; was it copied whole?')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return refuse('the join token is damaged')
  const { c, f, s, a, ...rest } = value as Record<string, unknown>
  if (Object.keys(rest).length > 0) return refuse('the join token has unknown fields; is this version of Haechi too old for it?')
  if (!isClusterId(c)) return refuse('the join token names no valid cluster')
  if (typeof f !== 'string' || !fingerprintPattern.test(f)) return refuse('the join token has no valid CA fingerprint')
  if (typeof s !== 'string' || !secretPattern.test(s)) return refuse('the join token has no valid secret')
  if (!Array.isArray(a) || a.length === 0 || a.length > maxAddresses) return refuse('the join token has no addresses')
  for (const address of a as unknown[]) {
    const parsed = typeof address === 'string' ? parseHostPort(address) : undefined
    if (parsed === undefined || parsed.port === 0) return refuse('the join token has an address that is not host:port')
  }
  return { ok: true, content: { clusterId: c, caFingerprint: f, secret: s, addresses: a as string[] } }
}

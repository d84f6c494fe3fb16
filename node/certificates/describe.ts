/** A stored certificate as people and metrics see it: names, issuer, validity. Each is read once. */
import { pemBlocks, certificatesOf, factsOf, nextUpdateOf, type CertificateFacts } from './facts.ts'
import { daysLeft, expiryOf, type ExpiryState, type Validity } from './expiry.ts'
import { ocspFactsOf, type OcspFacts } from './ocsp.ts'
import type { StoredCertificate } from '../state/types.ts'

export interface Description extends Validity {
  /** The certificate then its intermediates, or all authorities. */
  readonly certificates: readonly CertificateFacts[]
  readonly revocationLists: number
  /** Undefined: no list, or none that says. */
  readonly revocationsNextUpdateEpochMs: number | undefined
  readonly ocsp: OcspFacts | undefined
}

/** What needs attention. */
export interface Expiring {
  readonly name: string
  readonly kind: StoredCertificate['kind']
  readonly state: Exclude<ExpiryState, 'ok' | 'not-yet-valid'>
  readonly notAfterEpochMs: number
  /** The subject, or what else expires. */
  readonly what: string
}

const known = new WeakMap<StoredCertificate, Description>()

/** Entries never change: what was read of one stays true. */
export function describe(stored: StoredCertificate): Description {
  const before = known.get(stored)
  if (before !== undefined) return before
  const certificates = certificatesOf(stored.kind === 'key-pair' ? stored.chain : stored.certificates).map(factsOf)
  const first = certificates[0]
  const description: Description = {
    certificates,
    notBeforeEpochMs: first?.notBeforeEpochMs ?? 0,
    // A chain ends with its first link; of several authorities the others go on.
    notAfterEpochMs: stored.kind === 'key-pair' ? Math.min(...certificates.map(({ notAfterEpochMs }) => notAfterEpochMs)) : Math.max(...certificates.map(({ notAfterEpochMs }) => notAfterEpochMs)),
    revocationLists: stored.kind === 'authority' ? pemBlocks(stored.revocations).length : 0,
    revocationsNextUpdateEpochMs: stored.kind === 'authority' ? nextUpdateOf(stored.revocations) : undefined,
    ocsp: stored.kind === 'key-pair' && stored.ocspResponse.length > 0 ? ocspFactsOf(stored.ocspResponse) : undefined,
  }
  known.set(stored, description)
  return description
}

/** Whether `describe` costs nothing any more. */
export function isDescribed(stored: StoredCertificate): boolean {
  return known.has(stored)
}

/** When each expires, for metrics. */
export function expiries(stored: readonly StoredCertificate[]): { readonly name: string; readonly kind: StoredCertificate['kind']; readonly notAfterEpochMs: number }[] {
  return stored.map((one) => ({ name: one.name, kind: one.kind, notAfterEpochMs: describe(one).notAfterEpochMs }))
}

/** All that expire soon or have expired, the first to expire first. Revocation lists only once they are overdue: they are short-lived. */
export function expiring(stored: readonly StoredCertificate[], nowEpochMs: number): Expiring[] {
  const found: Expiring[] = []
  for (const one of stored) {
    const { name, kind } = one
    const { certificates, revocationsNextUpdateEpochMs: lists, ...validity } = describe(one)
    const state = expiryOf(validity, nowEpochMs)
    if (state !== 'ok' && state !== 'not-yet-valid') found.push({ name, kind, state, notAfterEpochMs: validity.notAfterEpochMs, what: certificates[0]?.subject ?? '' })
    if (lists !== undefined && lists <= nowEpochMs) found.push({ name, kind, state: 'expired', notAfterEpochMs: lists, what: 'revocation list' })
  }
  return found.toSorted((a, b) => a.notAfterEpochMs - b.notAfterEpochMs)
}

/** For logs: `certificate web (CN=…) expires in 5 days, on 2027-01-01`. */
export function expiringText({ name, state, notAfterEpochMs, what }: Expiring, nowEpochMs: number): string {
  const on = `on ${new Date(notAfterEpochMs).toISOString().slice(0, 10)}`
  if (state === 'expired') return `certificate ${name} (${what}) has expired ${on}`
  const days = daysLeft(notAfterEpochMs, nowEpochMs)
  return `certificate ${name} (${what}) expires in ${days === 1 ? '1 day' : `${days} days`}, ${on}`
}

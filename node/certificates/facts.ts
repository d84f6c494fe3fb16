/** What a certificate or a revocation list says of itself, as people read it. */
import { X509Certificate, type KeyObject } from 'node:crypto'
import { inside, readTime, tags } from './der.ts'

export interface CertificateFacts {
  /** `CN=www.example.org, O=Example`. */
  readonly subject: string
  readonly issuer: string
  /** DNS names and addresses of the subjectAltName: what clients compare. */
  readonly names: readonly string[]
  /** Milliseconds since the epoch. */
  readonly notBeforeEpochMs: number
  readonly notAfterEpochMs: number
  /** SHA-256 over the DER, hexadecimal. */
  readonly fingerprint: string
  /** Hexadecimal. */
  readonly serialNumber: string
  /** `RSA 2048`, `EC P-256`, `Ed25519`. */
  readonly keyType: string
}

/** One block of a PEM text (RFC 7468). */
export interface PemBlock {
  readonly label: string
  readonly text: string
}

/** Names kept of one certificate; more make nobody wiser. */
const maxNames = 100
const maxTextLength = 300

/** All blocks in order; text around them is left out. One pass, whatever the text. */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = []
  const lines = text.split(/\r?\n/)
  let label = ''
  let begun = -1
  for (const [at, line] of lines.entries()) {
    const [, word = '', name = ''] = /^-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----\s*$/.exec(line) ?? []
    if (word === 'BEGIN') {
      label = name
      begun = at
    } else if (word === 'END' && begun >= 0 && name === label) {
      blocks.push({ label, text: `${lines.slice(begun, at).map((part) => part.trimEnd()).join('\n')}\n-----END ${label}-----\n` })
      begun = -1
    }
  }
  return blocks
}

/** The certificates of a PEM text that was checked when it was taken in. */
export function certificatesOf(pem: string): X509Certificate[] {
  return pemBlocks(pem).filter(({ label }) => label === 'CERTIFICATE').map(({ text }) => new X509Certificate(text))
}

export function factsOf(certificate: X509Certificate): CertificateFacts {
  return {
    subject: nameText(certificate.subject),
    issuer: nameText(certificate.issuer),
    names: alternativeNames(certificate.subjectAltName),
    notBeforeEpochMs: certificate.validFromDate.getTime(),
    notAfterEpochMs: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    serialNumber: certificate.serialNumber.toLowerCase(),
    keyType: keyTypeOf(certificate.publicKey),
  }
}

const curves: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }

export function keyTypeOf(key: KeyObject): string {
  const details = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'rsa':
    case 'rsa-pss':
      return `RSA ${details.modulusLength ?? ''}`.trim()
    case 'ec':
      return `EC ${curves[details.namedCurve ?? ''] ?? details.namedCurve ?? ''}`.trim()
    case 'ed25519':
      return 'Ed25519'
    default:
      return key.asymmetricKeyType ?? 'unknown'
  }
}

/** When the oldest of the revocation lists has to be replaced, milliseconds since the epoch; undefined without one that says so. */
export function nextUpdateOf(revocations: string): number | undefined {
  const times = pemBlocks(revocations).flatMap(({ text }) => revocationTimes(text)?.nextUpdateEpochMs ?? [])
  return times.length === 0 ? undefined : Math.min(...times)
}

/** Times of one list (RFC 5280 §5.1.2); undefined when it is none. `nextUpdateEpochMs` is undefined when the list does not say. */
export function revocationTimes(pem: string): { readonly thisUpdateEpochMs: number; readonly nextUpdateEpochMs: number | undefined } | undefined {
  const outer = inside(rootOf(pem), tags.sequence)
  const list = inside(outer?.[0], tags.sequence)
  if (list === undefined) return undefined
  // TBSCertList: version (optional), signature, issuer, thisUpdate, nextUpdate (optional), …
  const at = list.findIndex(({ tag }) => tag === tags.utcTime || tag === tags.generalizedTime)
  const thisUpdateEpochMs = readTime(list[at])
  return thisUpdateEpochMs === undefined ? undefined : { thisUpdateEpochMs, nextUpdateEpochMs: readTime(list[at + 1]) }
}

function rootOf(pem: string): { tag: number; content: Uint8Array; whole: Uint8Array } | undefined {
  const der = derOf(pem)
  return inside({ tag: 0, content: der, whole: der }, 0)?.[0]
}

/** The bytes of one PEM block. */
export function derOf(pem: string): Uint8Array {
  return new Uint8Array(Buffer.from(pem.replaceAll(/-----[^-]+-----/g, ''), 'base64'))
}

/** `CN=a\nO=b` as `CN=a, O=b`, without control characters. */
function nameText(name: string | undefined): string {
  const text = (name ?? '').split('\n').filter((part) => part !== '').join(', ').replaceAll(/\p{Cc}/gu, '\ufffd')
  return text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength - 1)}…`
}

/** The text of OpenSSL: `DNS:a, IP Address:192.0.2.1, DNS:"odd, one"`. */
function alternativeNames(text: string | undefined): string[] {
  const names: string[] = []
  for (const [, name] of (text ?? '').matchAll(/(?:^|, )(?:DNS|IP Address):((?:"(?:[^"\\]|\\.)*")|[^,]*)/g)) {
    if (names.length < maxNames && name !== undefined) names.push(name.slice(0, maxTextLength))
  }
  return names
}

/**
 * Online certificate status (RFC 6960, in the profile of RFC 5019): asking about one certificate, and checking the answer
 * before it is stapled. Bytes only; `ocsp-fetch.ts` does the asking.
 */
import { createHash, verify, X509Certificate } from 'node:crypto'
import { hexOf, inside, readDer, readTime, tags, type DerValue } from './der.ts'

export interface OcspFacts {
  readonly thisUpdateEpochMs: number
  /** Undefined: newer information is available all the time. */
  readonly nextUpdateEpochMs: number | undefined
}

export type OcspCheck = { readonly ok: true; readonly facts: OcspFacts } | { readonly ok: false; readonly message: string }

/** Clocks of responders may be ahead by this. */
const skewMs = 5 * 60_000
const oidOcspBasic = '2b0601050507300101'
const oidOcspSigning = '1.3.6.1.5.5.7.3.9'
/** Hash algorithms of certificate ids, by the hexadecimal content of their OID. */
const idHashes: Readonly<Record<string, string>> = { '2b0e03021a': 'sha1', '608648016503040201': 'sha256', '608648016503040202': 'sha384', '608648016503040203': 'sha512' }
/** Signature algorithms; null: the hash is a part of the algorithm. */
const signatures: Readonly<Record<string, string | null>> = {
  '2a864886f70d010105': 'sha1', '2a864886f70d01010b': 'sha256', '2a864886f70d01010c': 'sha384', '2a864886f70d01010d': 'sha512',
  '2a8648ce3d040302': 'sha256', '2a8648ce3d040303': 'sha384', '2a8648ce3d040304': 'sha512', '2b6570': null,
}

/** Where to ask, of the authority information access; only plain HTTP, as responders have it. */
export function responderOf(certificate: X509Certificate): string | undefined {
  return /^OCSP - URI:"?(http:\/\/[^\s"]+)/m.exec(certificate.infoAccess ?? '')?.[1]
}

/** A request about one certificate, with SHA-1 in its id as RFC 5019 §2.1.1 wants it. */
export function ocspRequest(certificate: X509Certificate, issuer: X509Certificate): Uint8Array {
  const { name, key } = hashesOf(issuer, 'sha1')
  const serial = Buffer.from(certificate.serialNumber.padStart(certificate.serialNumber.length + (certificate.serialNumber.length % 2), '0'), 'hex')
  const algorithm = der(tags.sequence, Buffer.from('06052b0e03021a0500', 'hex'))
  const id = der(tags.sequence, algorithm, der(tags.octetString, name), der(tags.octetString, key), der(tags.integer, (serial[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.of(0), serial]) : serial))
  return new Uint8Array(der(tags.sequence, der(tags.sequence, der(tags.sequence, der(tags.sequence, id)))))
}

/**
 * Whether `response` (DER) says, signed by who may, that the certificate is good at this time. `chain`: the certificate and
 * its issuer at least.
 */
export function checkOcspResponse(response: Uint8Array, chain: readonly X509Certificate[], nowEpochMs: number): OcspCheck {
  const [leaf, issuer] = chain
  if (leaf === undefined || issuer === undefined) return no('cannot be checked: the chain has no certificate of the issuer')
  const outer = inside(readDer(response)?.[0], tags.sequence)
  if (outer?.[0]?.tag !== tags.enumerated) return no('is not an OCSP response')
  if (outer[0].content.length !== 1 || outer[0].content[0] !== 0) return no(`is a refusal of the responder (status ${outer[0].content[0] ?? '?'})`)
  const bytes = inside(inside(outer[1], 0xa0)?.[0], tags.sequence)
  if (bytes?.[0]?.tag !== tags.oid || hexOf(bytes[0]) !== oidOcspBasic || bytes[1]?.tag !== tags.octetString) return no('is of an unknown kind')
  const basic = inside(readDer(bytes[1].content)?.[0], tags.sequence)
  const [data, algorithm, signature, certificates] = basic ?? []
  if (data === undefined || algorithm === undefined || signature === undefined) return no('is not an OCSP response')
  const signed = signedBy({ data, algorithm, signature, certificates }, issuer, nowEpochMs)
  if (!signed) return no('is not signed by the issuer of the certificate, or by whom the issuer has charged with it')
  const parts = inside(data, tags.sequence) ?? []
  // version [0] and responseExtensions [1] are optional: the responses are the SEQUENCE after producedAt.
  const at = parts.findIndex(({ tag }) => tag === tags.generalizedTime)
  const responses = inside(parts[at + 1], tags.sequence) ?? []
  for (const one of responses) {
    const fields = inside(one, tags.sequence)
    if (fields === undefined || !isAbout(fields[0], leaf, issuer)) continue
    return judge(fields, nowEpochMs)
  }
  return no('is not about this certificate')
}

/** When a response that was checked before has to be replaced, whatever it is about. Undefined when it is none. */
export function ocspFactsOf(response: Uint8Array): OcspFacts | undefined {
  const bytes = inside(inside(inside(readDer(response)?.[0], tags.sequence)?.[1], 0xa0)?.[0], tags.sequence)
  const data = bytes?.[1] === undefined ? undefined : inside(inside(readDer(bytes[1].content)?.[0], tags.sequence)?.[0], tags.sequence)
  const at = data?.findIndex(({ tag }) => tag === tags.generalizedTime) ?? -1
  const fields = inside(inside(data?.[at + 1], tags.sequence)?.[0], tags.sequence)
  const thisUpdateEpochMs = readTime(fields?.[2])
  return thisUpdateEpochMs === undefined ? undefined : { thisUpdateEpochMs, nextUpdateEpochMs: readTime(inside(fields?.[3], 0xa0)?.[0]) }
}

function judge(fields: readonly DerValue[], nowEpochMs: number): OcspCheck {
  const status = fields[1]?.tag
  if (status === 0xa1) return no('says that the certificate is revoked')
  if (status !== 0x80) return no('says that the responder does not know the certificate')
  const thisUpdateEpochMs = readTime(fields[2])
  if (thisUpdateEpochMs === undefined) return no('is not an OCSP response')
  const nextUpdateEpochMs = readTime(inside(fields[3], 0xa0)?.[0])
  if (thisUpdateEpochMs > nowEpochMs + skewMs) return no('is of the future')
  if (nextUpdateEpochMs !== undefined && nextUpdateEpochMs < nowEpochMs) return no(`was to be replaced by ${new Date(nextUpdateEpochMs).toISOString()}`)
  return { ok: true, facts: { thisUpdateEpochMs, nextUpdateEpochMs } }
}

function isAbout(id: DerValue | undefined, leaf: X509Certificate, issuer: X509Certificate): boolean {
  const [algorithm, name, key, serial] = inside(id, tags.sequence) ?? []
  const oid = inside(algorithm, tags.sequence)?.[0]
  const hash = oid === undefined ? undefined : idHashes[hexOf(oid)]
  if (hash === undefined || name === undefined || key === undefined || serial === undefined) return false
  const own = hashesOf(issuer, hash)
  return own.name.equals(name.content) && own.key.equals(key.content) && hexOf(serial) === leaf.serialNumber.toLowerCase().replace(/^(00)+(?=..)/, '')
}

interface SignedData {
  readonly data: DerValue
  readonly algorithm: DerValue
  readonly signature: DerValue
  readonly certificates: DerValue | undefined
}

/** By the issuer itself, or by a certificate in the response that the issuer has made for this (RFC 6960 §4.2.2.2). */
function signedBy({ data, algorithm, signature, certificates }: SignedData, issuer: X509Certificate, nowEpochMs: number): boolean {
  const oid = inside(algorithm, tags.sequence)?.[0]
  const hash = oid === undefined ? undefined : signatures[hexOf(oid)]
  if (hash === undefined) return false
  const candidates = [issuer]
  for (const { whole } of (inside(inside(certificates, 0xa0)?.[0], tags.sequence) ?? []).slice(0, 5)) {
    try {
      const responder = new X509Certificate(whole)
      const current = responder.validFromDate.getTime() <= nowEpochMs + skewMs && responder.validToDate.getTime() >= nowEpochMs
      if (current && (responder.keyUsage ?? []).includes(oidOcspSigning) && responder.checkIssued(issuer) && responder.verify(issuer.publicKey)) candidates.push(responder)
    } catch {
      continue
    }
  }
  return candidates.some(({ publicKey }) => {
    try {
      return verify(hash, data.whole, publicKey, signature.content.subarray(1))
    } catch {
      return false
    }
  })
}

/** Of the issuer's name and public key (RFC 6960 §4.1.1). */
function hashesOf(issuer: X509Certificate, algorithm: string): { readonly name: Buffer; readonly key: Buffer } {
  const parts = inside(inside(readDer(issuer.raw)?.[0], tags.sequence)?.[0], tags.sequence) ?? []
  const first = parts[0]?.tag === 0xa0 ? 1 : 0
  const name = parts[first + 4]?.whole ?? new Uint8Array()
  const key = inside(parts[first + 5], tags.sequence)?.[1]?.content.subarray(1) ?? new Uint8Array()
  return { name: createHash(algorithm).update(name).digest(), key: createHash(algorithm).update(key).digest() }
}

function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const length = content.length < 0x80 ? [content.length] : content.length < 0x100 ? [0x81, content.length] : [0x82, content.length >> 8, content.length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...length), content])
}

function no(message: string): OcspCheck {
  return { ok: false, message }
}

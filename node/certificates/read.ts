/**
 * Takes in what an operator brings: PEM texts or a PKCS#12 file, checked so that what is stored works. Runs in a thread of its
 * own (`import.ts`), because a passphrase can be made to take long. What is wrong is told with the field of the request.
 */
import { createPrivateKey, createPublicKey, webcrypto, X509Certificate, type KeyObject } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { derOf, factsOf, keyTypeOf, pemBlocks, revocationTimes, type PemBlock } from './facts.ts'
import { hexOf, inside, tags, walk, type DerValue } from './der.ts'
import { readPkcs12 } from './pkcs12.ts'

/** A fault of the input: JSON pointer of the field, and what is wrong with it. */
export interface Fault {
  readonly field: string
  readonly message: string
}

export interface KeyPairInput {
  readonly kind: 'key-pair'
  /** PEM: the certificate and its intermediates in any order; the key may be among them. */
  readonly certificate?: string
  /** PEM: PKCS#8 (also encrypted), PKCS#1 or SEC 1. */
  readonly key?: string
  readonly passphrase?: string
  /** Base64 of a PKCS#12 file (RFC 7292) with certificate and key. */
  readonly pkcs12?: string
}

export interface AuthorityInput {
  readonly kind: 'authority'
  readonly certificates: string
  readonly revocations?: string
}

export type ReadInput = (KeyPairInput | AuthorityInput) & {
  /** Wall clock, milliseconds since the epoch. */
  readonly nowEpochMs: number
}

export type ReadResult =
  | {
      readonly ok: true
      /** PEM: certificate then intermediates, and the key as PKCS#8 without encryption; or the authority's two texts. */
      readonly value:
        | { readonly kind: 'key-pair'; readonly chain: string; readonly key: string }
        | { readonly kind: 'authority'; readonly certificates: string; readonly revocations: string }
      /** What an operator should know and may intend, a sentence each. */
      readonly warnings: readonly string[]
    }
  | { readonly ok: false; readonly faults: readonly Fault[] }

const maxChain = 10
const maxAuthorities = 200
const minRsaBits = 2048
const knownCurves: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
/** More rounds of a key derivation than any tool makes; they would keep a processor busy for minutes. */
const maxIterations = 10_000_000
const oidScrypt = '2b06010401da47040b'
/** OpenSSL checks no signature with more, and each handshake would take seconds. */
const maxRsaBits = 16_384

/** Thrown in this file only. */
class Refused extends Error {
  readonly field: string
  constructor(field: string, message: string) {
    super(message)
    this.field = field
  }
}

export async function readCertificate(input: ReadInput): Promise<ReadResult> {
  try {
    return input.kind === 'authority' ? await readAuthority(input) : readKeyPair(input)
  } catch (error) {
    if (error instanceof Refused) return { ok: false, faults: [{ field: error.field, message: error.message }] }
    throw error
  }
}

// — key pairs —

function readKeyPair(input: KeyPairInput & { readonly nowEpochMs: number }): ReadResult {
  const { certificates, key, field, keyField } = input.pkcs12 === undefined ? fromPem(input) : fromPkcs12(input)
  checkKey(key, keyField)
  const leaf = certificates.find((certificate) => certificate.checkPrivateKey(key))
  if (leaf === undefined) {
    const subject = factsOf(certificates[0]!).subject
    throw new Refused(keyField, `does not belong to ${certificates.length === 1 ? `the certificate ${subject}` : `any of the ${certificates.length} certificates`}`)
  }
  const warnings: string[] = []
  const chain = chainFrom(leaf, certificates, warnings)
  checkTimes(chain, input.nowEpochMs, field, warnings)
  if (leaf.ca) warnings.push('The certificate is one of a certificate authority: clients may refuse it.')
  if (factsOf(leaf).names.length === 0) warnings.push('The certificate names no host (subjectAltName): clients refuse it.')
  const text = chain.map((certificate) => certificate.toString().replaceAll('\r', '').trimEnd()).join('\n') + '\n'
  const keyText = key.export({ type: 'pkcs8', format: 'pem' }) as string
  try {
    // The last word: what OpenSSL does not take could not be served.
    createSecureContext({ cert: text, key: keyText })
  } catch (error) {
    throw new Refused(field, `cannot be used for TLS: ${reasonOf(error)}`)
  }
  return { ok: true, value: { kind: 'key-pair', chain: text, key: keyText }, warnings }
}

interface Parts {
  readonly certificates: X509Certificate[]
  readonly key: KeyObject
  readonly field: string
  readonly keyField: string
}

function fromPem({ certificate = '', key, passphrase }: KeyPairInput): Parts {
  const blocks = pemBlocks(certificate)
  const certificates = x509Of(blocks, '/certificate')
  const keyField = key === undefined ? '/certificate' : '/key'
  const keys = (key === undefined ? blocks : pemBlocks(key)).filter(({ label }) => label.endsWith('PRIVATE KEY'))
  if (keys.length === 0) {
    throw new Refused('/key', key === undefined ? 'is required: there is no private key among the certificates' : 'holds no PEM block of a private key')
  }
  if (keys.length > 1) throw new Refused(keyField, `holds ${keys.length} private keys; expected one`)
  return { certificates, key: privateKey(keys[0]!, keyField, passphrase), field: '/certificate', keyField }
}

function fromPkcs12({ pkcs12 = '', passphrase, certificate, key }: KeyPairInput): Parts {
  if (certificate !== undefined || key !== undefined) throw new Refused('/pkcs12', 'cannot be given together with certificate or key')
  if (!/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(pkcs12)) throw new Refused('/pkcs12', 'is not base64')
  const read = readPkcs12(Buffer.from(pkcs12, 'base64'), passphrase ?? '')
  if (!read.ok) throw new Refused(read.passphrase ? '/passphrase' : '/pkcs12', read.message)
  if (read.certificates.length === 0) throw new Refused('/pkcs12', 'holds no certificate')
  if (read.keys.length !== 1) throw new Refused('/pkcs12', `holds ${read.keys.length} private keys; expected one`)
  let certificates: X509Certificate[]
  try {
    certificates = read.certificates.map((der) => new X509Certificate(der))
  } catch (error) {
    throw new Refused('/pkcs12', `holds a certificate that cannot be read: ${reasonOf(error)}`)
  }
  try {
    const found = createPrivateKey({ key: Buffer.from(read.keys[0]!), type: 'pkcs8', format: 'der' })
    return { certificates, key: found, field: '/pkcs12', keyField: '/pkcs12' }
  } catch (error) {
    throw new Refused('/pkcs12', `holds a private key that cannot be read: ${reasonOf(error)}`)
  }
}

function x509Of(blocks: readonly PemBlock[], field: string, most = maxChain): X509Certificate[] {
  const found = blocks.filter(({ label }) => label === 'CERTIFICATE' || label === 'X509 CERTIFICATE' || label === 'TRUSTED CERTIFICATE')
  if (found.length === 0) throw new Refused(field, 'holds no PEM block of a certificate (-----BEGIN CERTIFICATE-----)')
  if (found.length > most) throw new Refused(field, `holds ${found.length} certificates; at most ${most} are taken`)
  return found.map(({ label, text }, at) => {
    try {
      if (label !== 'CERTIFICATE') throw new Error(`it is a ${label}`)
      return new X509Certificate(text)
    } catch (error) {
      throw new Refused(field, `certificate ${at + 1} cannot be read: ${reasonOf(error)}`)
    }
  })
}

function privateKey({ label, text }: PemBlock, field: string, passphrase: string | undefined): KeyObject {
  const encrypted = label === 'ENCRYPTED PRIVATE KEY' || /Proc-Type: *4, *ENCRYPTED/.test(text)
  if (encrypted && (passphrase ?? '') === '') throw new Refused('/passphrase', 'is required: the private key is encrypted')
  if (label === 'ENCRYPTED PRIVATE KEY' && tooManyRounds(derOf(text))) throw new Refused(field, `is encrypted with more than ${maxIterations} rounds`)
  try {
    return createPrivateKey({ key: text, format: 'pem', ...(encrypted ? { passphrase: passphrase! } : {}) })
  } catch (error) {
    if (encrypted) throw new Refused('/passphrase', `does not open the private key (${reasonOf(error)})`)
    throw new Refused(field, `holds a private key that cannot be read: ${reasonOf(error)}`)
  }
}

/** Whether an EncryptedPrivateKeyInfo (RFC 5958 §3) asks for an absurd number of rounds. */
function tooManyRounds(der: Uint8Array): boolean {
  const algorithm = inside(inside({ tag: 0, content: der, whole: der }, 0)?.[0], tags.sequence)?.[0]
  let most = 0
  if (algorithm !== undefined) {
    walk(algorithm.whole, (value) => {
      if (value.tag === tags.integer) most = Math.max(most, numberOf(value))
      const [oid, parameters] = inside(value, tags.sequence) ?? []
      // N, r and p (RFC 7914 §7.1): all of them make it longer. The key's length after them does not.
      if (oid?.tag === tags.oid && hexOf(oid) === oidScrypt) {
        const [n = 1, r = 1, p = 1] = (inside(parameters, tags.sequence) ?? []).filter(({ tag }) => tag === tags.integer).map(numberOf)
        most = Math.max(most, n * r * p)
      }
    })
  }
  return most > maxIterations
}

function numberOf({ content }: DerValue): number {
  return content.length > 6 ? Infinity : Number(`0x${Buffer.from(content).toString('hex') || '0'}`)
}

function checkKey(key: KeyObject, field: string): void {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  switch (key.asymmetricKeyType) {
    case 'rsa':
      if (modulusLength < minRsaBits) throw new Refused(field, `holds an RSA key of ${modulusLength} bits; at least ${minRsaBits} are needed`)
      if (modulusLength > maxRsaBits) throw new Refused(field, `holds an RSA key of ${modulusLength} bits; at most ${maxRsaBits} are taken`)
      return
    case 'ec':
      if (!knownCurves.has(namedCurve)) throw new Refused(field, `holds a key of the curve ${namedCurve}; P-256, P-384 and P-521 are taken`)
      return
    case 'ed25519':
      return
    default:
      throw new Refused(field, `holds a key of the type ${keyTypeOf(createPublicKey(key))}; RSA, EC and Ed25519 are taken`)
  }
}

/** The certificate, then whoever issued it, and so on. A root at the end is left out: who does not have it does not trust it. */
function chainFrom(leaf: X509Certificate, given: readonly X509Certificate[], warnings: string[]): X509Certificate[] {
  const rest = new Set(given.filter((certificate) => certificate.fingerprint256 !== leaf.fingerprint256))
  const chain = [leaf]
  for (;;) {
    const last = chain.at(-1)!
    const issuer = [...rest].find((candidate) => isIssuer(candidate, last))
    if (issuer === undefined) break
    rest.delete(issuer)
    chain.push(issuer)
  }
  const inOrder = chain.every((certificate, at) => given[at]?.fingerprint256 === certificate.fingerprint256)
  const top = chain.at(-1)!
  // That which has issued the certificate itself stays: OCSP responses are checked with it.
  if (chain.length > 2 && isIssuer(top, top)) chain.pop()
  if (!inOrder) warnings.push('The certificates were put in order, the one of the key first.')
  for (const certificate of rest) warnings.push(`${factsOf(certificate).subject} was left out: it is no part of the chain.`)
  if (isIssuer(leaf, leaf)) warnings.push('The certificate is signed by itself: clients trust it only when they were told to.')
  else if (chain.length === 1) warnings.push(`There is no certificate of the issuer (${factsOf(leaf).issuer}): clients that do not have it refuse the connection.`)
  return chain
}

function isIssuer(issuer: X509Certificate, of: X509Certificate): boolean {
  if (!of.checkIssued(issuer)) return false
  try {
    return of.verify(issuer.publicKey)
  } catch {
    return false
  }
}

function checkTimes(chain: readonly X509Certificate[], nowEpochMs: number, field: string, warnings: string[]): void {
  for (const [at, certificate] of chain.entries()) {
    const { subject, notBeforeEpochMs, notAfterEpochMs } = factsOf(certificate)
    if (notAfterEpochMs < nowEpochMs) throw new Refused(field, `${at === 0 ? 'the certificate' : 'the intermediate certificate'} ${subject} has expired on ${day(notAfterEpochMs)}`)
    if (notBeforeEpochMs > nowEpochMs) warnings.push(`${subject} is not valid before ${day(notBeforeEpochMs)}.`)
  }
}

// — authorities —

async function readAuthority(input: AuthorityInput & { readonly nowEpochMs: number }): Promise<ReadResult> {
  const warnings: string[] = []
  const seen = new Map<string, X509Certificate>()
  for (const certificate of x509Of(pemBlocks(input.certificates), '/certificates', maxAuthorities)) seen.set(certificate.fingerprint256, certificate)
  const certificates = [...seen.values()]
  for (const certificate of certificates) {
    const { subject, notAfterEpochMs } = factsOf(certificate)
    if (!certificate.ca) throw new Refused('/certificates', `${subject} is not the certificate of an authority`)
    if (notAfterEpochMs < input.nowEpochMs) warnings.push(`${subject} has expired on ${day(notAfterEpochMs)}.`)
  }
  if (certificates.every((certificate) => certificate.validToDate.getTime() < input.nowEpochMs)) throw new Refused('/certificates', 'have all expired')
  const lists = pemBlocks(input.revocations ?? '').filter(({ label }) => label === 'X509 CRL' || label === 'CRL').map(asOpensslHasIt)
  if ((input.revocations ?? '').trim() !== '' && lists.length === 0) throw new Refused('/revocations', 'holds no PEM block of a revocation list (-----BEGIN X509 CRL-----)')
  for (const [at, list] of lists.entries()) await checkList(list, at, certificates, input.nowEpochMs, warnings)
  return {
    ok: true,
    value: {
      kind: 'authority',
      certificates: certificates.map((certificate) => certificate.toString().replaceAll('\r', '').trimEnd()).join('\n') + '\n',
      revocations: lists.map(({ text }) => text).join(''),
    },
    warnings,
  }
}

function asOpensslHasIt({ text }: PemBlock): PemBlock {
  return { label: 'X509 CRL', text: text.replaceAll(/^-----(BEGIN|END) CRL-----$/gm, '-----$1 X509 CRL-----') }
}

async function checkList({ text }: PemBlock, at: number, issuers: readonly X509Certificate[], nowEpochMs: number, warnings: string[]): Promise<void> {
  const times = revocationTimes(text)
  if (times === undefined) throw new Refused('/revocations', `list ${at + 1} cannot be read`)
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const crypto = webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]
  let by: X509Certificate | undefined
  try {
    const list = new x509.X509Crl(text)
    for (const issuer of issuers) {
      if (await list.verify({ publicKey: new x509.X509Certificate(issuer.toString()) }, crypto)) by = issuer
    }
  } catch (error) {
    throw new Refused('/revocations', `list ${at + 1} cannot be read: ${reasonOf(error)}`)
  }
  if (by === undefined) throw new Refused('/revocations', `list ${at + 1} is not signed by any of the authorities`)
  if (times.nextUpdateEpochMs !== undefined && times.nextUpdateEpochMs < nowEpochMs) {
    warnings.push(`The revocation list of ${factsOf(by).subject} was to be replaced by ${day(times.nextUpdateEpochMs)}: client certificates of it are refused until it is.`)
  }
}

function day(epochMs: number): string {
  return new Date(epochMs).toISOString().slice(0, 10)
}

/** The first line of what OpenSSL says. Never has anything of a key in it. */
function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!.slice(0, 200)
}

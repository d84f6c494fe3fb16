/** For tests: chains of certificates of any key type, as the authorities of the world make them. */
import 'reflect-metadata'
import { KeyObject, randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])

const algorithms = {
  ec: { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  rsa: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
  rsa1024: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]) },
  ed25519: { name: 'Ed25519' },
} as const
export type KeyType = keyof typeof algorithms
export const dayMs = 86_400_000

export interface MadeCertificate {
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
  readonly type: KeyType
  /** PEM, with a line end. */
  readonly pem: string
  readonly key: KeyObject
  /** PKCS#8 PEM. */
  readonly keyPem: string
}

export interface MakeOptions {
  readonly type?: KeyType
  readonly issuer?: MadeCertificate
  readonly ca?: boolean
  readonly names?: readonly string[]
  /** From now; defaults: yesterday and in 90 days. */
  readonly fromDays?: number
  readonly days?: number
  /** URL of its OCSP responder. */
  readonly ocsp?: string
  readonly extensions?: readonly x509.Extension[]
}

export async function makeCertificate(commonName: string, options: MakeOptions = {}): Promise<MadeCertificate> {
  const type = options.type ?? 'ec'
  const keys = (await webcrypto.subtle.generateKey(algorithms[type], true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const { issuer, ca = false, names = [] } = options
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(10).toString('hex')}`,
    subject: [{ CN: [commonName] }],
    issuer: issuer === undefined ? [{ CN: [commonName] }] : issuer.certificate.subjectName.toJSON(),
    notBefore: new Date(Date.now() + (options.fromDays ?? -1) * dayMs),
    notAfter: new Date(Date.now() + (options.days ?? 90) * dayMs),
    signingAlgorithm: algorithms[issuer?.type ?? type],
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(ca, undefined, true),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: /^[\d.]+$/.test(value) ? ('ip' as const) : ('dns' as const), value })))]),
      ...(options.ocsp === undefined ? [] : [new x509.AuthorityInfoAccessExtension({ ocsp: options.ocsp })]),
      ...(options.extensions ?? []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const key = KeyObject.from(keys.privateKey)
  return { certificate, keys, type, pem: `${certificate.toString('pem')}\n`, key, keyPem: key.export({ type: 'pkcs8', format: 'pem' }) as string }
}

/** A revocation list of `issuer`, as PEM. */
export async function makeRevocations(issuer: MadeCertificate, revoked: readonly MadeCertificate[], days = 7): Promise<string> {
  const list = await x509.X509CrlGenerator.create({
    issuer: issuer.certificate.subjectName.toJSON(),
    thisUpdate: new Date(Date.now() - 10 * dayMs),
    nextUpdate: new Date(Date.now() + days * dayMs),
    signingAlgorithm: algorithms[issuer.type],
    signingKey: issuer.keys.privateKey,
    entries: revoked.map(({ certificate }) => ({ serialNumber: certificate.serialNumber, revocationDate: new Date() })),
  })
  return `${list.toString('pem')}\n`.replaceAll(' CRL-----', ' X509 CRL-----')
}

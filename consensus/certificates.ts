/**
 * The cluster's certificate authority: EC P-256 throughout. A node's certificate serves both sides of mutual TLS between
 * the nodes and, with the API's names in it, as the server certificate of the API and console.
 *
 * The library is large, so this module is imported only when a certificate is made, never by a running heart.
 */
import 'reflect-metadata'
import { Buffer } from 'node:buffer'
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'
import type { Peer } from './core/types.ts'
import { parseHostPort } from './transport/address.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000
/** There is no renewal yet, so a node's certificate lives as long as the CA. */
const lifetimeMs = 3653 * dayMs
/** Certificates are valid from a while before they were made: the clocks of machines differ. */
const skewMs = dayMs

export interface CertificateAuthority {
  readonly certificatePem: string
  /** PKCS#8 PEM. */
  readonly keyPem: string
}

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])

/** A new self-signed CA for one cluster. */
export async function createAuthority(clusterId: string): Promise<CertificateAuthority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const nowMs = Date.now()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [`Haechi cluster ${clusterId}`] }, { O: ['Haechi'] }],
    notBefore: new Date(nowMs - skewMs),
    notAfter: new Date(nowMs + lifetimeMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificatePem: `${certificate.toString('pem')}\n`, keyPem: await privatePem(keys.privateKey) }
}

/** A new key and a signing request for it. The names in the request are for people only; the signer ignores them. */
export async function createRequest(id: string): Promise<{ readonly csrPem: string; readonly keyPem: string }> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name: [{ CN: [id] }], keys, signingAlgorithm: algorithm })
  return { csrPem: `${csr.toString('pem')}\n`, keyPem: await privatePem(keys.privateKey) }
}

/**
 * Issues the certificate of `peer` for the key of the request. Whoever asks proves that it has the key; what it is called
 * is for the cluster to say. Throws when the request is malformed, of another key type or not signed by its own key.
 */
export async function issue(authority: CertificateAuthority, csrPem: string, peer: Peer): Promise<string> {
  let csr: x509.Pkcs10CertificateRequest
  try {
    csr = new x509.Pkcs10CertificateRequest(csrPem)
  } catch {
    throw new Error('the certificate signing request is malformed')
  }
  const key = csr.publicKey.algorithm as { name: string; namedCurve?: string }
  if (key.name !== 'ECDSA' || key.namedCurve !== 'P-256') throw new Error('the certificate signing request is not for an EC P-256 key')
  let proven = false
  try {
    proven = await csr.verify()
  } catch {
    proven = false
  }
  if (!proven) throw new Error('the certificate signing request is not signed by its own key')
  const publicKey = await csr.publicKey.export()
  const ca = new x509.X509Certificate(authority.certificatePem)
  const pkcs8 = createPrivateKey(authority.keyPem).export({ type: 'pkcs8', format: 'der' })
  const signingKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign'])
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [{ CN: [peer.id] }, { O: ['Haechi'] }],
    issuer: ca.subjectName.toJSON(),
    notBefore: new Date(Math.max(Date.now() - skewMs, ca.notBefore.getTime())),
    notAfter: ca.notAfter,
    signingAlgorithm: algorithm,
    publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      new x509.SubjectAlternativeNameExtension(alternativeNames(peer)),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(ca),
    ],
  })
  return `${certificate.toString('pem')}\n`
}

/** The node's id and every host under which it is reached, the API on the machine itself included. */
function alternativeNames(peer: Peer): { type: 'dns' | 'ip'; value: string }[] {
  const names = [peer.id, 'localhost', '127.0.0.1', '::1']
  for (const address of [peer.address, peer.apiAddress]) {
    const parsed = parseHostPort(address)
    if (parsed !== undefined && parsed.host !== '0.0.0.0' && parsed.host !== '::') names.push(parsed.host)
  }
  return [...new Set(names)].map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const)
}

function serialNumber(): string {
  const bytes = randomBytes(16)
  // Positive and of full length (RFC 5280 §4.1.2.2).
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }).export({ type: 'pkcs8', format: 'pem' }) as string
}

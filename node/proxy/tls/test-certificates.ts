/** For tests: an authority that issues certificates for servers and clients, and revokes them. EC P-256, made anew each time. */
import 'reflect-metadata'
import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'
import type { AuthorityMaterial, KeyPairMaterial } from './material.ts'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const dayMs = 86_400_000

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])

export class TestAuthority {
  readonly name: string
  readonly #keys: webcrypto.CryptoKeyPair
  readonly #certificate: x509.X509Certificate
  readonly #revoked: string[] = []

  private constructor(name: string, keys: webcrypto.CryptoKeyPair, certificate: x509.X509Certificate) {
    this.name = name
    this.#keys = keys
    this.#certificate = certificate
  }

  static async create(name: string): Promise<TestAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: [{ CN: [`Test ${name}`] }],
      notBefore: new Date(Date.now() - dayMs),
      notAfter: new Date(Date.now() + 30 * dayMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 1, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    })
    return new TestAuthority(name, keys, certificate)
  }

  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`
  }

  /** A certificate for these names and addresses, good for servers and clients. `days`: from now; negative: expired. */
  async issue(name: string, names: readonly string[], options: { days?: number; subject?: string } = {}): Promise<KeyPairMaterial & { readonly serial: string }> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const serialNumber = serial()
    const days = options.days ?? 10
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber,
      subject: [{ CN: [options.subject ?? names[0] ?? name] }],
      issuer: this.#certificate.subjectName.toJSON(),
      notBefore: new Date(Date.now() - 20 * dayMs),
      notAfter: new Date(Date.now() + days * dayMs),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const)),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
      ],
    })
    const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
    const key = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' }).export({ type: 'pkcs8', format: 'pem' }) as string
    return { name, chain: `${certificate.toString('pem')}\n`, key, serial: serialNumber }
  }

  revoke(serialNumber: string): void {
    this.#revoked.push(serialNumber)
  }

  /** With a revocation list once something has been revoked. */
  async material(): Promise<AuthorityMaterial> {
    if (this.#revoked.length === 0) return { name: this.name, certificates: this.pem, revocations: '' }
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#certificate.subject,
      thisUpdate: new Date(Date.now() - dayMs),
      nextUpdate: new Date(Date.now() + 10 * dayMs),
      entries: this.#revoked.map((serialNumber) => ({ serialNumber, revocationDate: new Date() })),
      signingAlgorithm: algorithm,
      signingKey: this.#keys.privateKey,
      extensions: [await x509.AuthorityKeyIdentifierExtension.create(this.#certificate)],
    })
    // RFC 7468 §6; the library writes another label.
    const revocations = `${list.toString('pem').replaceAll(' CRL-----', ' X509 CRL-----')}\n`
    return { name: this.name, certificates: this.pem, revocations }
  }
}

function serial(): string {
  const bytes = randomBytes(16)
  // Positive and of full length (RFC 5280 §4.1.2.2).
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

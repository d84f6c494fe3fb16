/**
 * Certificates for `haechi run --certificates DIR`, by file name: `NAME.pem` is a certificate with its intermediates and its private
 * key, `NAME.ca.pem` an authority (with its revocation lists, if any), `NAME.ocsp` the OCSP response to staple to NAME (DER), and
 * `ticket.key` the 48 bytes that several proxies share so that clients resume on any of them. Other files are not looked at.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { namePattern } from '../config/schema.ts'
import type { AuthorityMaterial, KeyPairMaterial, TlsMaterial } from '../proxy/tls/material.ts'

const isName = new RegExp(namePattern)
const ticketKeyBytes = 48
/** More in one file is no certificate. */
const maxFileBytes = 16 * 1024 * 1024

/** Names the file at fault; says nothing of a key. */
export function readCertificates(directory: string): { readonly material: TlsMaterial } | { readonly error: string } {
  const keyPairs: KeyPairMaterial[] = []
  const authorities: AuthorityMaterial[] = []
  let ticketKeys: Uint8Array | undefined
  let file = directory
  try {
    const files = readdirSync(directory)
    const read = (name: string): Buffer => {
      file = join(directory, name)
      const bytes = readFileSync(file)
      if (bytes.length > maxFileBytes) throw new Error('is too large')
      return bytes
    }
    for (const entry of files.sort()) {
      if (entry === 'ticket.key') {
        ticketKeys = read(entry)
        if (ticketKeys.length !== ticketKeyBytes) throw new Error(`has ${ticketKeys.length} bytes, expected ${ticketKeyBytes}`)
      } else if (entry.endsWith('.ca.pem')) authorities.push(authorityOf(nameOf(entry, '.ca.pem'), read(entry).toString('latin1')))
      else if (entry.endsWith('.pem')) {
        const name = nameOf(entry, '.pem')
        const pair = keyPairOf(name, read(entry).toString('latin1'))
        keyPairs.push(files.includes(`${name}.ocsp`) ? { ...pair, ocspResponse: read(`${name}.ocsp`) } : pair)
      }
    }
    return { material: { keyPairs, authorities, ticketKeys } }
  } catch (error) {
    return { error: `${file}: ${(error as Error).message}` }
  }
}

function nameOf(entry: string, ending: string): string {
  const name = entry.slice(0, -ending.length)
  if (!isName.test(name)) throw new Error(`${JSON.stringify(entry)} is not named after a certificate: lower-case letters, digits and hyphens, then ${ending}`)
  return name
}

function blocks(text: string, label: string): string[] {
  return text.match(new RegExp(`-----BEGIN ${label}-----[^-]+-----END ${label}-----`, 'g')) ?? []
}

function keyPairOf(name: string, text: string): KeyPairMaterial {
  const chain = blocks(text, 'CERTIFICATE')
  const keys = blocks(text, '(?:[A-Z]+ )?PRIVATE KEY')
  if (chain.length === 0) throw new Error('has no certificate')
  if (keys.length !== 1) throw new Error(`expected one private key without a passphrase, found ${keys.length}`)
  const key = createPrivateKey(keys[0]!)
  if (!new X509Certificate(chain[0]!).checkPrivateKey(key)) throw new Error('the private key is not that of the first certificate')
  return { name, chain: `${chain.join('\n')}\n`, key: key.export({ type: 'pkcs8', format: 'pem' }) as string }
}

function authorityOf(name: string, text: string): AuthorityMaterial {
  const certificates = blocks(text, 'CERTIFICATE')
  if (certificates.length === 0) throw new Error('has no certificate')
  for (const certificate of certificates) void new X509Certificate(certificate)
  return { name, certificates: `${certificates.join('\n')}\n`, revocations: blocks(text, 'X509 CRL').map((list) => `${list}\n`).join('') }
}

/**
 * Encryption at rest of what must not be read in the log, in snapshots or by the witness: private keys and ticket keys.
 *
 * The key-encryption key is derived (HKDF-SHA256, RFC 5869) from the private key of the cluster's CA, which every node has and
 * no witness. AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D §8.2.2: far fewer than 2³² messages), and as
 * associated data what the ciphertext is: that of one name cannot be put in the place of another's.
 */
import { createCipheriv, createDecipheriv, createPrivateKey, hkdfSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const formatVersion = 1
const nonceBytes = 12
const tagBytes = 16
const keyInfo = 'haechi certificate store: key-encryption key, version 1'

/** What a ciphertext is of. */
export type SealedFor = { readonly keyPair: string } | { readonly ticketKeys: number }

export class Sealer {
  readonly #key: Uint8Array

  /** `caKey`: PEM of the private key of the cluster's CA. Throws when it is none. */
  constructor(caKey: string) {
    // As DER, so that line ends and other habits of PEM do not matter.
    const secret = createPrivateKey(caKey).export({ type: 'pkcs8', format: 'der' })
    this.#key = new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(), keyInfo, 32))
  }

  /** Version, nonce, ciphertext and tag. */
  seal(what: SealedFor, plain: Uint8Array): Uint8Array {
    const nonce = randomBytes(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: tagBytes })
    cipher.setAAD(associated(what))
    return new Uint8Array(Buffer.concat([Uint8Array.of(formatVersion), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]))
  }

  /** Undefined when it was not sealed with this key, for this, or has been changed. */
  open(what: SealedFor, sealed: Uint8Array): Uint8Array | undefined {
    if (sealed.length < 1 + nonceBytes + tagBytes || sealed[0] !== formatVersion) return undefined
    const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(1, 1 + nonceBytes), { authTagLength: tagBytes })
    decipher.setAAD(associated(what))
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes))
    try {
      return new Uint8Array(Buffer.concat([decipher.update(sealed.subarray(1 + nonceBytes, sealed.length - tagBytes)), decipher.final()]))
    } catch {
      return undefined
    }
  }
}

/** Of the node whose data directory this is. Undefined when it has no key of the CA (a witness). */
export function sealerOf(directory: string): Sealer | undefined {
  let caKey: string
  try {
    caKey = readFileSync(join(directory, 'ca.key'), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  return new Sealer(caKey)
}

function associated(what: SealedFor): Buffer {
  return Buffer.from('keyPair' in what ? `key-pair ${what.keyPair}` : `ticket-keys ${what.ticketKeys}`)
}

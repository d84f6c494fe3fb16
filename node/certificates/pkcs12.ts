/** Certificates and keys out of a PKCS#12 file (RFC 7292). The one use of node-forge: Node itself does not let keys out of such a file. */
import forge from 'node-forge'

export type Pkcs12 =
  | { readonly ok: true; readonly certificates: readonly Uint8Array[]; readonly keys: readonly Uint8Array[] }
  /** `passphrase`: it is the passphrase that does not fit. */
  | { readonly ok: false; readonly passphrase: boolean; readonly message: string }

/** DER in, DER out; keys as PKCS#8. */
export function readPkcs12(data: Uint8Array, passphrase: string): Pkcs12 {
  const { asn1, pkcs12, pki } = forge
  let root: forge.asn1.Asn1
  try {
    root = asn1.fromDer(forge.util.createBuffer(Buffer.from(data).toString('binary')))
  } catch {
    return { ok: false, passphrase: false, message: 'is not a PKCS#12 file' }
  }
  const certificates: Uint8Array[] = []
  const keys: Uint8Array[] = []
  try {
    const file = pkcs12.pkcs12FromAsn1(root, false, passphrase)
    for (const bag of file.safeContents.flatMap(({ safeBags }) => safeBags)) {
      if (bag.type === pki.oids['certBag']) certificates.push(bytesOf(bag.cert === undefined || bag.cert === null ? bag.asn1 : pki.certificateToAsn1(bag.cert)))
      if (bag.type === pki.oids['keyBag'] || bag.type === pki.oids['pkcs8ShroudedKeyBag']) {
        keys.push(bytesOf(bag.key === undefined || bag.key === null ? bag.asn1 : pki.wrapRsaPrivateKey(pki.privateKeyToAsn1(bag.key))))
      }
    }
  } catch (error) {
    const { message } = error as Error
    if (/password|MAC|decrypt/i.test(message)) return { ok: false, passphrase: true, message: 'does not open the PKCS#12 file' }
    return { ok: false, passphrase: false, message: `cannot be read: ${message.split('\n')[0]!.slice(0, 200)}` }
  }
  return { ok: true, certificates, keys }
}

function bytesOf(value: forge.asn1.Asn1): Uint8Array {
  return new Uint8Array(Buffer.from(forge.asn1.toDer(value).getBytes(), 'binary'))
}

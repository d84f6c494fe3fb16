/**
 * What the proxy is given of certificates and keys beside the configuration document, which only names them. Plain data that
 * can be posted to workers. Never logged.
 */

/** A certificate with its private key, for listeners and for Haechi as a TLS client of members. */
export interface KeyPairMaterial {
  /** By which the document refers to it. */
  readonly name: string
  /** PEM: the certificate, then its intermediates. */
  readonly chain: string
  /** PEM, PKCS#8, not encrypted. */
  readonly key: string
  /** DER of a fresh OCSP response to staple; absent: none. */
  readonly ocspResponse?: Uint8Array
}

/** Certificate authorities to verify peers with. */
export interface AuthorityMaterial {
  readonly name: string
  /** PEM: one or more CA certificates. */
  readonly certificates: string
  /** PEM: revocation lists; empty: none. */
  readonly revocations: string
}

export interface TlsMaterial {
  readonly keyPairs: readonly KeyPairMaterial[]
  readonly authorities: readonly AuthorityMaterial[]
  /** 48 bytes (name, HMAC and AES keys of session tickets), the same on all nodes; undefined: each process makes its own. */
  readonly ticketKeys: Uint8Array | undefined
}

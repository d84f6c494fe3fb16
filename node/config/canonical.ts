/**
 * The one text of a document: what is stored, hashed and compared. JSON without white space, keys in the schema's order,
 * every default present, numbers and strings as ECMAScript writes them (the rules of RFC 8785, except for the order).
 */
import type { ConfigurationDocument } from './schema.ts'
import { sha256Hex } from './sha256.ts'

/** Only for documents from `validateDocument`, which have the order and the defaults. ASCII, apart from the bodies of fixed answers. */
export function canonicalText(document: ConfigurationDocument): string {
  return JSON.stringify(document)
}

export function canonicalBytes(document: ConfigurationDocument): Uint8Array {
  return new TextEncoder().encode(canonicalText(document))
}

/** SHA-256 of the canonical text, 64 hex digits. Another implementation may be passed in (`node:crypto` is faster). */
export function documentHash(document: ConfigurationDocument, sha256: (data: Uint8Array) => string = sha256Hex): string {
  return sha256(canonicalBytes(document))
}

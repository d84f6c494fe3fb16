/**
 * What the nodes of a cluster derive from their common secret, so that each knows what another has made: the keys by which the
 * session table hashes, and the values of inserted cookies. And the names of entries:
 *
 *     POOL/source/ADDRESS    readable, for the operator who looks for a client
 *     POOL/app-cookie/HASH, POOL/header/HASH    16 hexadecimal digits: the values are secrets of clients and leave the worker only so
 */
import { createHmac, hkdfSync } from 'node:crypto'
import { sipHash } from './hash.ts'

/** Types of persistence that have entries. */
export type EntryType = 'app-cookie' | 'source' | 'header'

/** Characters in the value of an inserted cookie: 144 bits as base64url. */
export const cookieValueLength = 24

/** The secret of persistence, 32 bytes. `material`: what only the nodes of the cluster have; `name`: of the cluster. */
export function persistenceSecret(material: string | Uint8Array, name: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', material, name, 'haechi persistence 1', 32))
}

/** The key by which entries of this pool are hashed (see `sipHash`). */
export function hashKey(secret: Uint8Array, pool: string, type: EntryType): Int32Array {
  const mac = createHmac('sha256', secret).update(`session\0${pool}\0${type}`).digest()
  return new Int32Array([mac.readInt32LE(0), mac.readInt32LE(4), mac.readInt32LE(8), mac.readInt32LE(12)])
}

/**
 * The cookie that names a member: a truncated HMAC-SHA-256 of pool and member. It says nothing to who does not have the secret, none can
 * be made without it, and that of one pool means nothing to another.
 */
export function cookieValue(secret: Uint8Array, pool: string, member: string): string {
  return createHmac('sha256', secret).update(`cookie\0${pool}\0${member}`).digest().subarray(0, 18).toString('base64url')
}

/** A hash as it stands in the name of an entry. */
export function hashText(low: number, high: number): string {
  return (high >>> 0).toString(16).padStart(8, '0') + (low >>> 0).toString(16).padStart(8, '0')
}

/** An entry's name in its parts; undefined when it is none. */
export function parseEntryKey(key: string): { readonly pool: string; readonly type: EntryType; readonly text: string } | undefined {
  const first = key.indexOf('/')
  const second = key.indexOf('/', first + 1)
  if (first < 1 || second < 0 || second + 1 === key.length) return undefined
  const type = key.slice(first + 1, second)
  if (type !== 'source' && type !== 'app-cookie' && type !== 'header') return undefined
  const text = key.slice(second + 1)
  if (type !== 'source' && !/^[0-9a-f]{16}$/.test(text)) return undefined
  return { pool: key.slice(0, first), type, text }
}

/** Puts the hash of an entry's text into `out`. `hashing`: of its pool and type. */
export function hashOfText(type: EntryType, text: string, hashing: Int32Array, out: Int32Array): void {
  if (type === 'source') {
    const bytes = Buffer.from(text, 'latin1')
    sipHash(hashing, bytes, 0, bytes.length, out)
    return
  }
  out[1] = Number.parseInt(text.slice(0, 8), 16) | 0
  out[0] = Number.parseInt(text.slice(8), 16) | 0
}

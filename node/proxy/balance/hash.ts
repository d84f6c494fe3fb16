/** Hashes of bytes in place, 32 bits. Pure. */

const prime1 = 0x9e3779b1
const prime2 = 0x85ebca77
const prime3 = 0xc2b2ae3d
const prime4 = 0x27d4eb2f
const prime5 = 0x165667b1

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

function round(lane: number, input: number): number {
  const sum = (lane + Math.imul(input, prime2)) | 0
  return Math.imul((sum << 13) | (sum >>> 19), prime1)
}

/**
 * xxHash32 of `[start, end)` (xxHash fast digest algorithm, “XXH32”, in its specification of 2023).
 * @returns an unsigned 32-bit number
 */
export function xxHash32(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let at = start
  let hash: number
  if (end - start >= 16) {
    let a = (seed + prime1 + prime2) | 0
    let b = (seed + prime2) | 0
    let c = seed | 0
    let d = (seed - prime1) | 0
    for (const stop = end - 16; at <= stop; at += 16) {
      a = round(a, word(bytes, at))
      b = round(b, word(bytes, at + 4))
      c = round(c, word(bytes, at + 8))
      d = round(d, word(bytes, at + 12))
    }
    hash = (((a << 1) | (a >>> 31)) + ((b << 7) | (b >>> 25)) + ((c << 12) | (c >>> 20)) + ((d << 18) | (d >>> 14))) | 0
  } else hash = (seed + prime5) | 0
  hash = (hash + (end - start)) | 0
  for (; at + 4 <= end; at += 4) {
    hash = (hash + Math.imul(word(bytes, at), prime3)) | 0
    hash = Math.imul((hash << 17) | (hash >>> 15), prime4)
  }
  for (; at < end; at++) {
    hash = (hash + Math.imul(bytes[at]!, prime5)) | 0
    hash = Math.imul((hash << 11) | (hash >>> 21), prime1)
  }
  hash = Math.imul(hash ^ (hash >>> 15), prime2)
  hash = Math.imul(hash ^ (hash >>> 13), prime3)
  return (hash ^ (hash >>> 16)) >>> 0
}

/**
 * A permutation of the 32-bit numbers without visible pattern (the finalizer of MurmurHash3): a running number becomes a random one.
 * @returns an unsigned 32-bit number
 */
export function mix32(value: number): number {
  let hash = value | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

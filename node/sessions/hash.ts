/**
 * SipHash-2-4 (Aumasson, Bernstein 2012): the keyed hash by which the session table knows its keys. With a key that clients do not
 * know, nobody can choose values that meet in one bucket, and a value cannot be told from its hash. On bytes in place, 32 bits
 * at a time, as numbers of 64 bits would be objects. Pure.
 */

/** Hash of `buffer[start, end)`: two halves of 32 bits, the low one in `out[0]`. `key`: 16 bytes as four little-endian words. */
export function sipHash(key: Int32Array, buffer: Uint8Array, start: number, end: number, out: Int32Array): void {
  const k0l = key[0]!
  const k0h = key[1]!
  const k1l = key[2]!
  const k1h = key[3]!
  let v0l = k0l ^ 0x70736575
  let v0h = k0h ^ 0x736f6d65
  let v1l = k1l ^ 0x6e646f6d
  let v1h = k1h ^ 0x646f7261
  let v2l = k0l ^ 0x6e657261
  let v2h = k0h ^ 0x6c796765
  let v3l = k1l ^ 0x79746573
  let v3h = k1h ^ 0x74656462
  const length = end - start
  const whole = length >>> 3
  // The whole blocks, the last one with the length, and the finish.
  for (let block = 0; block <= whole + 1; block++) {
    let ml = 0
    let mh = 0
    let rounds = 2
    if (block < whole) {
      const at = start + block * 8
      ml = buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24)
      mh = buffer[at + 4]! | (buffer[at + 5]! << 8) | (buffer[at + 6]! << 16) | (buffer[at + 7]! << 24)
    } else if (block === whole) {
      mh = length << 24
      for (let at = start + whole * 8, shift = 0; at < end; at++, shift += 8) {
        if (shift < 32) ml |= buffer[at]! << shift
        else mh |= buffer[at]! << (shift - 32)
      }
    } else {
      v2l ^= 0xff
      rounds = 4
    }
    v3l ^= ml
    v3h ^= mh
    for (let round = 0; round < rounds; round++) {
      let low = (v0l + v1l) | 0
      v0h = (v0h + v1h + (low >>> 0 < v0l >>> 0 ? 1 : 0)) | 0
      v0l = low
      let high = (v1h << 13) | (v1l >>> 19)
      low = (v1l << 13) | (v1h >>> 19)
      v1l = low ^ v0l
      v1h = high ^ v0h
      low = v0h
      v0h = v0l
      v0l = low
      low = (v2l + v3l) | 0
      v2h = (v2h + v3h + (low >>> 0 < v2l >>> 0 ? 1 : 0)) | 0
      v2l = low
      high = (v3h << 16) | (v3l >>> 16)
      low = (v3l << 16) | (v3h >>> 16)
      v3l = low ^ v2l
      v3h = high ^ v2h
      low = (v0l + v3l) | 0
      v0h = (v0h + v3h + (low >>> 0 < v0l >>> 0 ? 1 : 0)) | 0
      v0l = low
      high = (v3h << 21) | (v3l >>> 11)
      low = (v3l << 21) | (v3h >>> 11)
      v3l = low ^ v0l
      v3h = high ^ v0h
      low = (v2l + v1l) | 0
      v2h = (v2h + v1h + (low >>> 0 < v2l >>> 0 ? 1 : 0)) | 0
      v2l = low
      high = (v1h << 17) | (v1l >>> 15)
      low = (v1l << 17) | (v1h >>> 15)
      v1l = low ^ v2l
      v1h = high ^ v2h
      low = v2h
      v2h = v2l
      v2l = low
    }
    v0l ^= ml
    v0h ^= mh
  }
  out[0] = v0l ^ v1l ^ v2l ^ v3l
  out[1] = v0h ^ v1h ^ v2h ^ v3h
}

import test from 'ava'
import * as fc from 'fast-check'
import { mix32, xxHash32 } from './hash.ts'

const prime = 0x9e3779b1

/** The buffer of the reference implementation's own sanity check. */
function sanityBytes(length: number): Uint8Array {
  let generator = prime
  return Uint8Array.from({ length }, () => {
    const byte = generator >>> 24
    generator = Math.imul(generator, generator) >>> 0
    return byte
  })
}

test('xxHash32 gives the known values', (t) => {
  const text = (given: string, seed = 0): number => xxHash32(Buffer.from(given), 0, given.length, seed)
  t.is(text(''), 0x02cc5d05)
  t.is(text('', prime), 0x36b78ae7)
  t.is(text('a'), 0x550d7456)
  t.is(text('abc'), 0x32d153ff)
  t.is(text('Nobody inspects the spammish repetition'), 0xe2293b2f)
  for (const [length, seed, expected] of [
    [1, 0, 0xb85cbee5], [1, prime, 0xd5845d64], [14, 0, 0xe5aa0ab4], [14, prime, 0x4481951d], [101, 0, 0x1f1aa412], [101, prime, 0x498ec8e2],
  ] as const) {
    t.is(xxHash32(sanityBytes(length), 0, length, seed), expected, `${length} bytes, seed ${seed}`)
  }
})

test('a range of a buffer hashes as the same bytes alone', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 20 }), (bytes, before, after) => {
      const whole = Uint8Array.from([...before, ...bytes, ...after])
      return xxHash32(whole, before.length, before.length + bytes.length, 7) === xxHash32(bytes, 0, bytes.length, 7)
    }),
  )
  t.pass()
})

test('mixing is a permutation, and neighbours share nothing', (t) => {
  const seen = new Set<number>()
  const buckets = new Uint32Array(16)
  for (let i = 0; i < 100_000; i++) {
    seen.add(mix32(i))
    buckets[mix32(i) % 16]!++
  }
  t.is(seen.size, 100_000)
  // Chi-squared, 15 degrees of freedom: beyond 60 with a chance of 2 in 10 million, and the input is fixed.
  const chi = buckets.reduce((sum, count) => sum + (count - 6250) ** 2 / 6250, 0)
  t.true(chi < 60, String(chi))
})

import test from 'ava'
import { sipHash } from './hash.ts'

/** The key of the paper's test vectors: bytes 0 to 15. */
const key = new Int32Array(new Uint8Array(Array.from({ length: 16 }, (_, i) => i)).buffer)

function hashOf(length: number): string {
  const out = new Int32Array(2)
  // Not at the buffer's beginning: positions must not matter.
  const bytes = new Uint8Array([9, 9, 9, ...Array.from({ length }, (_, i) => i), 9])
  sipHash(key, bytes, 3, 3 + length, out)
  return [out[1]!, out[0]!].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}

test('SipHash-2-4 gives the published values', (t) => {
  // Paper, appendix A (15 bytes), and the reference implementation's vectors_sip64 (little-endian there).
  t.is(hashOf(15), 'a129ca6149be45e5')
  t.is(hashOf(0), '726fdb47dd0e0e31')
  t.is(hashOf(1), '74f839c593dc67fd')
  t.is(hashOf(7), 'ab0200f58b01d137')
  t.is(hashOf(8), '93f5f5799a932462')
  t.is(hashOf(63), '958a324ceb064572')
})

import test from 'ava'
import fc from 'fast-check'
import type { Entry } from './core/types.ts'
import { packEntries, unpackEntries } from './entries.ts'

const anyEntry = fc.record({
  term: fc.nat({ max: 2 ** 45 }), type: fc.constantFrom('noop' as const, 'command' as const, 'membership' as const),
  data: fc.uint8Array({ maxLength: 300 }),
})
const plain = (entries: readonly Entry[] | undefined) => entries?.map(({ index, term, type, data }) => `${index} ${term} ${type} ${Buffer.from(data).toString('hex')}`)

test('what was packed comes out, behind whatever room', (t) => {
  fc.assert(fc.property(fc.array(anyEntry, { maxLength: 40 }), fc.nat({ max: 2 ** 45 }), fc.nat({ max: 20 }), (parts, first, room) => {
    const entries = parts.map((part, at) => ({ ...part, index: first + at }))
    t.deepEqual(plain(unpackEntries(packEntries(entries, room), first, room)), plain(entries))
  }))
  t.pass()
})

test('what is cut, longer or of an unknown type is refused, and never read beyond its end', (t) => {
  const packed = packEntries([{ index: 1, term: 1, type: 'command', data: Buffer.from('abc') }, { index: 2, term: 1, type: 'noop', data: Buffer.alloc(0) }])
  for (let length = 0; length < packed.length; length += 1) t.is(unpackEntries(packed.subarray(0, length), 1), undefined, `${length} bytes`)
  t.is(unpackEntries(Buffer.concat([packed, Buffer.alloc(1)]), 1), undefined)
  const strange = Buffer.from(packed)
  strange[12] = 9
  t.is(unpackEntries(strange, 1), undefined)
  const huge = Buffer.from(packed)
  huge.writeUInt32BE(0xffffffff, 0)
  t.is(unpackEntries(huge, 1), undefined)
})

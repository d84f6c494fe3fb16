import test from 'ava'
import type { Entry } from './core/types.ts'
import { PayloadCache } from './payloads.ts'

/** 210 bytes each with what an entry costs beside its payload. */
const entry = (index: number, term = 1, bytes = 10): Entry => ({ index, term, type: 'command', data: Buffer.alloc(bytes) })
const shown = (list: readonly Entry[] | undefined) => list?.map(({ index, term }) => `${index}.${term}`).join(' ')

test('it keeps the end of the log, bounded in bytes, but never forgets what is not durable', (t) => {
  const cache = new PayloadCache(5 * 210)
  for (let index = 1; index <= 10; index += 1) cache.put(entry(index))
  cache.trim(3)
  t.is(shown(cache.range(4, 6, Infinity)), '4.1 5.1 6.1')
  t.is(cache.range(3, 6, Infinity), undefined)
  cache.trim(10)
  t.is(cache.bytes, 5 * 210)
  t.is(shown(cache.range(6, 99, Infinity)), '6.1 7.1 8.1 9.1 10.1')
  t.is(shown(cache.range(6, 10, 25)), '6.1 7.1')
  t.is(shown(cache.range(6, 10, 1)), '6.1', 'at least one')
  t.is(cache.range(11, 12, Infinity), undefined)
})

test('an entry replaces those from its index on; a gap forgets what was before', (t) => {
  const cache = new PayloadCache(10_000)
  for (let index = 5; index <= 9; index += 1) cache.put(entry(index))
  cache.put(entry(7, 2))
  t.is(shown(cache.range(5, 9, Infinity)), '5.1 6.1 7.2')
  t.is(cache.bytes, 3 * 210)
  cache.put(entry(20, 2))
  t.is(cache.range(7, 7, Infinity), undefined)
  t.is(shown(cache.range(20, 20, Infinity)), '20.2')
  cache.put(entry(3, 3))
  t.is(shown(cache.range(3, 20, Infinity)), '3.3')
  cache.clear()
  t.is(cache.range(3, 3, Infinity), undefined)
  t.is(cache.bytes, 0)
})

test('it stays right over many times its size', (t) => {
  const cache = new PayloadCache(10 * 210)
  for (let index = 1; index <= 5000; index += 1) {
    cache.put(entry(index))
    cache.trim(index)
  }
  t.is(cache.bytes, 10 * 210)
  t.is(shown(cache.range(4991, 4992, Infinity)), '4991.1 4992.1')
  t.is(cache.range(4990, 4990, Infinity), undefined)
})

/** Token buckets against a simple model, and the table that workers share. */
import { Worker } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import { allocateRateTable, KeyHash, RateTable, rateTableKeys } from './rate-table.ts'
import { rateOf, takeToken } from './token-bucket.ts'

test('a bucket lets through what a counter of tokens lets through', (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.constantFrom(100, 1000, 60_000),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 200, size: 'max' }),
      (requests, perMs, burst, gaps) => {
        const rate = rateOf(requests, perMs, burst)
        let fullAtMs = 0
        let tokens = burst
        let nowMs = 1_000_000
        for (const gap of gaps) {
          nowMs += gap
          tokens = Math.min(burst, tokens + gap / rate.intervalMs)
          const next = takeToken(rate, fullAtMs, nowMs)
          // On the edge rounding may go either way.
          if (Math.abs(tokens - 1) > 1e-6 && next >= 0 !== tokens >= 1) throw new Error(`at ${nowMs}: ${tokens} tokens, ${next}`)
          if (next >= 0) {
            fullAtMs = next
            tokens -= 1
          } else {
            // After the time it names there is one.
            if (takeToken(rate, fullAtMs, nowMs - next + 0.001) < 0) throw new Error(`waited ${-next} ms in vain`)
          }
        }
      },
    ),
    { numRuns: 2000 },
  )
  t.pass()
})

test('what is due is not refused for rounding', (t) => {
  const rate = rateOf(3, 1000, 1)
  let fullAtMs = 0
  for (let i = 0; i < 10_000; i++) {
    const next = takeToken(rate, fullAtMs, 1_000_000 + (i * 1000) / 3)
    t.true(next >= 0, `token ${i}`)
    fullAtMs = next
  }
})

test('keys are counted apart, and a full table forgets the fullest buckets first', (t) => {
  const table = new RateTable(allocateRateTable())
  const hash = new KeyHash(17, 99)
  const rate = rateOf(1, 1000, 2)
  const take = (key: number, nowMs: number): number => {
    hash.begin(1)
    hash.word(key)
    hash.end()
    return table.take(rate, hash.high, hash.low, nowMs)
  }
  t.is(take(1, 1000), 0)
  t.is(take(1, 1000), 0)
  t.is(take(1, 1000), 1000)
  t.is(take(2, 1000), 0)
  t.is(take(1, 2000), 0)
  // Key 1 is empty again; four times as many others with one request each come after it.
  t.true(take(1, 2000) > 0)
  for (let key = 10; key < 10 + 4 * rateTableKeys; key++) take(key, 2000)
  t.true(take(1, 2001) > 0, 'an empty bucket outlives those that are nearly full')
})

test('bug: after a slow limit has been replaced by a fast one, its empty buckets stayed empty for as long as the slow one would have needed', (t) => {
  const table = new RateTable(allocateRateTable())
  const slow = rateOf(1, 3600_000, 100)
  for (let i = 0; i < 100; i++) t.is(table.take(slow, 1, 2, 1000), 0)
  t.true(table.take(slow, 1, 2, 1000) > 0)
  const fast = rateOf(1000, 1000, 100)
  t.true(table.take(fast, 1, 2, 1000) <= 1)
  t.is(table.take(fast, 1, 2, 1002), 0)
})

test('bytes that differ have keys that differ', (t) => {
  const hash = new KeyHash(1, 2)
  const seen = new Map<string, string>()
  for (let i = 0; i < 200_000; i++) {
    const bytes = Buffer.from(`key-${i.toString(36)}`)
    hash.begin(2)
    hash.bytes(bytes, 0, bytes.length)
    hash.end()
    const words = `${hash.high} ${hash.low}`
    t.false(seen.has(words))
    seen.set(words, String(i))
  }
  const of = (text: string): string => {
    const bytes = Buffer.from(text)
    hash.begin(2)
    hash.bytes(bytes, 0, bytes.length)
    hash.end()
    return `${hash.high} ${hash.low}`
  }
  t.is(new Set(['', '\0', '\0\0', '\0\0\0', '\0\0\0\0', 'a', 'a\0', 'a\0\0\0'].map(of)).size, 8)
})

test('several threads share a bucket exactly', async (t) => {
  const buffer = allocateRateTable()
  const threads = 2
  const code = `
    const { workerData, parentPort } = require('node:worker_threads')
    import(workerData.module).then(({ RateTable }) => {
      const table = new RateTable(workerData.buffer)
      let taken = 0
      for (let i = 0; i < 20000; i++) if (table.take({ intervalMs: 1000, burst: 10000 }, 5, 7, 1000) === 0) taken++
      parentPort.postMessage(taken)
    })`
  const taken = await Promise.all(
    Array.from({ length: threads }, () => new Promise<number>((resolve, reject) => {
      const worker = new Worker(code, { eval: true, workerData: { buffer, module: new URL('./rate-table.ts', import.meta.url).href } })
      worker.once('message', resolve)
      worker.once('error', reject)
    })),
  )
  t.is(taken.reduce((sum, count) => sum + count, 0), 10_000)
})

test('a lock whose owner is gone is taken over', (t) => {
  const buffer = allocateRateTable()
  const table = new RateTable(buffer)
  new Int32Array(buffer, 0, 8192).fill(1)
  t.is(table.take(rateOf(1, 1000, 1), 1, 2, 1000), 0)
  t.is(table.take(rateOf(1, 1000, 1), 1, 2, 1000), 1000)
})

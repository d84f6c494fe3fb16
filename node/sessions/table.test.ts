import { Worker } from 'node:worker_threads'
import test from 'ava'
import fc from 'fast-check'
import { allocateSessions, SessionTable, SessionTableWriter } from './table.ts'

type Step =
  | { readonly kind: 'put'; readonly key: number; readonly pool: number; readonly member: number; readonly ttl: number }
  | { readonly kind: 'remove'; readonly key: number }
  | { readonly kind: 'wait'; readonly ticks: number }
  | { readonly kind: 'sweep'; readonly places: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant('put' as const), key: fc.nat(60), pool: fc.nat(3), member: fc.nat(65_535), ttl: fc.integer({ min: 1, max: 50 }),
  }),
  fc.record({ kind: fc.constant('remove' as const), key: fc.nat(60) }),
  fc.record({ kind: fc.constant('wait' as const), ticks: fc.nat(30) }),
  fc.record({ kind: fc.constant('sweep' as const), places: fc.nat(100) }),
)

/** Halves of a key: as different as a hash makes them. */
function halves(key: number): [number, number] {
  return [Math.imul(key + 1, 0x9e3779b1), Math.imul(key + 7, 0x85ebca6b) ^ key]
}

test('the table does what a map with expiry does', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const buffer = allocateSessions(400, 1)
      const writer = new SessionTableWriter(buffer)
      const reader = new SessionTable(buffer)
      const model = new Map<number, { pool: number; member: number; expiry: number }>()
      let now = 1
      for (const what of steps) {
        if (what.kind === 'put') {
          writer.put(...halves(what.key), what.pool, what.member, what.ttl)
          model.set(what.key, { pool: what.pool, member: what.member, expiry: now + what.ttl })
        } else if (what.kind === 'remove') {
          writer.remove(...halves(what.key))
          model.delete(what.key)
        } else if (what.kind === 'wait') writer.setTicks((now += what.ticks))
        else writer.sweep(what.places)
        for (let key = 0; key <= 60; key++) {
          const expected = model.get(key)
          const live = expected !== undefined && expected.expiry > now
          const found = reader.find(...halves(key))
          if (found !== live) return false
          if (live && (reader.pool !== expected.pool || reader.member !== expected.member || reader.remaining !== expected.expiry - now)) return false
        }
      }
      writer.sweep(writer.places)
      const live = [...model.values()].filter(({ expiry }) => expiry > now)
      return writer.size === live.length && [0, 1, 2, 3].every((pool) => writer.entriesOf(pool) === live.filter((one) => one.pool === pool).length) && writer.evicted === 0
    }),
    { numRuns: 200 },
  )
  t.pass()
})

test('as many entries as were asked for fit, none evicted before its time, in 30 bytes each', (t) => {
  const entries = 1 << 17
  const buffer = allocateSessions(entries, 2)
  t.true(buffer.byteLength / entries <= 30.1)
  const writer = new SessionTableWriter(buffer)
  let seed = 1
  const next = (): number => (seed = (Math.imul(seed, 1664525) + 1013904223) | 0)
  // The low bits of such a generator are poor: its upper halves are put together.
  const half = (): number => (next() & 0xffff0000) | (next() >>> 16)
  const keys: [number, number][] = Array.from({ length: entries }, () => [half(), half()])
  for (const [i, [low, high]] of keys.entries()) writer.put(low, high, 1, i & 0xffff, 1000)
  t.is(writer.size, entries)
  t.is(writer.evicted, 0)
  t.true(keys.every(([low, high], i) => writer.find(low, high) && writer.member === (i & 0xffff)))
  writer.setTicks(2000)
  writer.sweep(writer.places)
  t.is(writer.size, 0)
})

test('a full table gives the places of what expires first, and counts it', (t) => {
  const writer = new SessionTableWriter(allocateSessions(5, 1))
  t.is(writer.places, 8)
  for (let i = 0; i < 8; i++) writer.put(i, 100 + i, 1, i, 100 + (i === 3 ? -50 : i))
  t.is(writer.evicted, 0)
  writer.put(50, 51, 2, 9, 100)
  t.is(writer.evicted, 1)
  t.false(writer.find(3, 103))
  t.true(writer.find(50, 51))
  t.is(writer.entriesOf(1), 7)
  // What has expired gives way first and is not counted as evicted.
  writer.setTicks(101)
  writer.put(60, 61, 2, 9, 100)
  t.is(writer.evicted, 1)
  t.is(writer.size, 8)
})

test('clear empties the table', (t) => {
  const writer = new SessionTableWriter(allocateSessions(100, 1))
  for (let i = 0; i < 50; i++) writer.put(...halves(i), 1, i, 100)
  writer.clear()
  t.is(writer.size, 0)
  t.false(writer.find(...halves(3)))
})

test('a thread that reads while another writes never sees a torn entry', async (t) => {
  const buffer = allocateSessions(64, 1)
  const writer = new SessionTableWriter(buffer)
  // In a consistent entry pool = member % 8000: whatever is seen must be.
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.url).then(({ SessionTable }) => {
      const table = new SessionTable(workerData.buffer)
      let found = 0
      let torn = 0
      let key = 0
      parentPort.postMessage('ready')
      // Until the writer says through the first worker's counter that it is done.
      while (table.taken(0) === 0) {
        for (let i = 0; i < 2000; i++) {
          key = (key + 1) % 32
          if (!table.find(key * 7919, key * 104729)) continue
          found++
          // So that the writer goes on until there was something to be torn.
          if (found === 5000) table.addDropped(0)
          if (table.pool !== table.member % 8000 || table.member % 32 !== key) torn++
        }
      }
      parentPort.postMessage({ found, torn })
    })`
  const worker = new Worker(source, { eval: true, workerData: { buffer, url: new URL('./table.ts', import.meta.url).href } })
  t.teardown(() => worker.terminate())
  const messages: unknown[] = []
  const arrived = (count: number) => new Promise<void>((resolve, reject) => {
    worker.on('error', reject)
    const look = (): void => (messages.length >= count ? resolve() : void setImmediate(look))
    look()
  })
  worker.on('message', (message) => messages.push(message))
  await arrived(1)
  for (let round = 0; round < 60_000 || writer.dropped(0) === 0; round++) {
    if (round % 100_000 === 0) await new Promise((resolve) => setImmediate(resolve))
    const key = round % 32
    const member = (round * 32 + key) % 65_536
    // The same place gets other contents all the time, now and then another key.
    if (round % 5 === 0) writer.remove(key * 7919, key * 104729)
    else writer.put(key * 7919, key * 104729, member % 8000, member, 1000)
  }
  for (let key = 0; key < 32; key++) writer.put(key * 7919, key * 104729, key, key, 1000)
  writer.addTaken(0)
  await arrived(2)
  const { found, torn } = messages[1] as { found: number; torn: number }
  t.true(found > 0)
  t.is(torn, 0)
})

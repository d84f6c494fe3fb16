/** Batches of session updates: bounds, order, coalescing, lifetimes. */
import test from 'ava'
import { encodeCommand } from '../state/command.ts'
import { SessionBatch } from './batch.ts'

const limits = { entries: 3, bytes: 1000, waitMs: 50, pending: 5 }
const update = (key: string, ttlMs = 1000, member = 'web/a') => ({ key, member, ttlMs })
const keys = (batch: readonly { key: string }[]) => batch.map(({ key }) => key).join()

test('a batch is due when the first update has waited, and when it is full', (t) => {
  const batch = new SessionBatch(limits)
  t.is(batch.due(0), undefined)
  t.deepEqual(batch.take(0), [])
  batch.add(update('a'), 100)
  t.is(batch.due(100), 50)
  batch.add(update('b'), 130)
  t.is(batch.due(130), 20)
  t.is(batch.due(150), 0)
  t.is(batch.due(900), 0)
  batch.add(update('c'), 131)
  t.is(batch.due(131), 0)
  t.is(keys(batch.take(131)), 'a,b,c')
  t.is(batch.due(131), undefined)
})

test('a batch has no more entries than it may, oldest first', (t) => {
  const batch = new SessionBatch(limits)
  for (const key of ['a', 'b', 'c', 'd']) batch.add(update(key), 0)
  t.is(keys(batch.take(0)), 'a,b,c')
  t.is(keys(batch.take(0)), 'd')
})

test('a batch has no more bytes than it may', (t) => {
  const batch = new SessionBatch({ ...limits, entries: 10 })
  // 300 + 5 + 14 bytes each: three fit.
  for (const key of ['a', '한', 'c', 'd']) batch.add(update(key === '한' ? '한'.repeat(100) : key.repeat(300)), 0)
  t.is(batch.due(0), 0)
  t.is(batch.take(0).length, 3)
  t.is(batch.take(0).length, 1)
  t.false(batch.add(update('x'.repeat(1000)), 0))
  t.is(batch.dropped, 1)
  t.is(batch.size, 0)
})

test('a newer update replaces the one that waits, in its place', (t) => {
  const batch = new SessionBatch(limits)
  batch.add(update('a', 1000, 'web/a'), 0)
  batch.add(update('b'), 10)
  batch.add(update('a', 2000, 'web/b'), 40)
  t.is(batch.due(40), 10)
  t.deepEqual(batch.take(50), [update('a', 1990, 'web/b'), update('b', 960)])
})

test('lifetimes are what remains when the batch is taken', (t) => {
  const batch = new SessionBatch(limits)
  batch.add(update('a', 100), 0)
  batch.add(update('gone', 20), 0)
  batch.add(update('deleted', 0), 0)
  t.deepEqual(batch.take(30.5), [update('a', 69), update('gone', 0), update('deleted', 0)])
})

test('what waits is bounded: the oldest are dropped and counted', (t) => {
  const batch = new SessionBatch(limits)
  for (let i = 0; i < 8; i++) t.true(batch.add(update(`k${i}`), 0))
  t.is(batch.size, 5)
  t.is(batch.dropped, 3)
  t.is(keys([...batch.take(0), ...batch.take(0)]), 'k3,k4,k5,k6,k7')
  t.is(batch.due(0), undefined)
})

test('the default batch fits into an entry for bulk data', (t) => {
  const batch = new SessionBatch()
  for (let i = 0; i < 20_000; i++) batch.add(update(`${i}`.padEnd(256, '한'), 3600_000, 'pool/member'), 0)
  const data = encodeCommand({ kind: 'sessions', id: 'x'.repeat(36), actor: { name: 'system', from: '', node: 'n'.repeat(63) }, atEpochMs: Date.now(), entries: batch.take(0) })
  t.true(data.length < 256 * 1024)
  t.true(data.length > 128 * 1024, 'and makes use of it')
})

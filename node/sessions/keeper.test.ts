import test from 'ava'
import { SessionKeeper, type KeptPool, type SessionUpdate } from './keeper.ts'
import { cookieValue, hashKey, hashOfText, hashText, parseEntryKey, persistenceSecret } from './keys.ts'
import { allocateSessions, SessionTable } from './table.ts'
import { maxTextBytes, readUpdates, SessionUpdates, wasNone, wasTold, type SessionUpdateRecord } from './updates.ts'

const secret = persistenceSecret('a secret', 'cluster')
const members = [{ name: 'a', slot: 11 }, { name: 'b', slot: 12 }]
const web: KeptPool = { name: 'web', slot: 1, type: 'source', ttlMs: 10_000, maxEntries: 3, members }

function setup(more: { readonly usable?: (member: number) => boolean; readonly pools?: readonly KeptPool[] } = {}) {
  const buffer = allocateSessions(1000, 2)
  const replicated: SessionUpdate[] = []
  const keeper = new SessionKeeper(
    { buffer, workers: 2, secret, usable: more.usable ?? (() => true), replicate: (update) => replicated.push(update) },
    0,
  )
  keeper.configure(more.pools ?? [web])
  /** As a worker says it. */
  const worker = (address: string, member: number, was = wasNone): void => {
    const batches: Uint8Array[] = []
    const updates = new SessionUpdates(new SessionTable(buffer), 0, (batch) => batches.push(batch))
    const hash = new Int32Array(2)
    hashOfText('source', address, hashKey(secret, 'web', 'source'), hash)
    updates.add(1, member, was, hash[0]!, hash[1]!, Buffer.from(address))
    updates.flush()
    updates.stop()
    for (const batch of batches) keeper.receive(0, batch)
  }
  return { buffer, keeper, replicated, worker }
}

test('what a worker has decided is in the table at once, and is told to the cluster', (t) => {
  const { keeper, replicated, worker } = setup()
  worker('192.0.2.1', 11)
  t.is(keeper.remainingMs('web/source/192.0.2.1'), 10_000)
  t.deepEqual(replicated, [{ key: 'web/source/192.0.2.1', member: 'web/a', ttlMs: 10_000 }])
})

test('of two workers that meet a new client the first one decides, unless its member is not usable', (t) => {
  const usable = new Set([11, 12])
  const { keeper, replicated, worker } = setup({ usable: (member) => usable.has(member) })
  worker('192.0.2.1', 11)
  worker('192.0.2.1', 12)
  t.is(replicated.length, 1)
  usable.delete(11)
  worker('192.0.2.1', 12)
  t.is(replicated.at(-1)!.member, 'web/b')
  t.true(keeper.remainingMs('web/source/192.0.2.1') > 0)
})

test('a client is moved from the member that it is on, not from one that it has left; a member’s own word always counts', (t) => {
  const { replicated, worker } = setup()
  worker('192.0.2.1', 11)
  worker('192.0.2.1', 12, 11)
  t.is(replicated.at(-1)!.member, 'web/b')
  worker('192.0.2.1', 11, 11)
  t.is(replicated.at(-1)!.member, 'web/b', 'another worker has moved it meanwhile')
  worker('192.0.2.1', 11, wasTold)
  t.is(replicated.at(-1)!.member, 'web/a')
})

test('an entry is refreshed when a quarter of its lifetime has gone, not before', (t) => {
  const { keeper, replicated, worker } = setup()
  worker('192.0.2.1', 11)
  keeper.tick(2000)
  worker('192.0.2.1', 11, 11)
  t.is(replicated.length, 1)
  keeper.tick(3000)
  worker('192.0.2.1', 11, 11)
  t.is(replicated.length, 2)
  keeper.tick(12_900)
  t.true(keeper.remainingMs('web/source/192.0.2.1') > 0)
  t.false(keeper.expired('web/source/192.0.2.1'))
  keeper.tick(13_100)
  t.is(keeper.remainingMs('web/source/192.0.2.1'), 0)
  t.true(keeper.expired('web/source/192.0.2.1'))
  t.false(keeper.expired('other/source/192.0.2.1'), 'of a pool without entries nothing is known')
})

test('a pool has no more entries than it may, and those that have expired make room', (t) => {
  const { keeper, replicated, worker } = setup()
  for (let i = 0; i < 5; i++) worker(`192.0.2.${i}`, 11)
  t.is(replicated.length, 3)
  t.deepEqual(keeper.counters, { pools: [{ pool: 'web', entries: 3 }], evictedTotal: 0, fullTotal: 2, busyTotal: 0 })
  // Known clients are not concerned.
  worker('192.0.2.1', 12, 11)
  t.is(replicated.length, 4)
  for (let ms = 0; ms <= 80_000; ms += 100) keeper.tick(ms)
  t.is(keeper.counters.pools[0]!.entries, 0)
  worker('192.0.2.9', 11)
  t.is(replicated.length, 5)
})

test('entries of the cluster are written, moved and removed; those of unknown pools, members and kinds are passed over', (t) => {
  const { buffer, keeper, replicated } = setup()
  const table = new SessionTable(buffer)
  const hash = new Int32Array(2)
  hashOfText('source', '192.0.2.1', hashKey(secret, 'web', 'source'), hash)
  const key = 'web/source/192.0.2.1'
  keeper.apply({ key, member: 'web/b', ttlMs: 5000 })
  t.true(table.find(hash[0]!, hash[1]!))
  t.is(table.member, 12)
  keeper.restore({ key, member: 'web/a', ttlMs: 9000 })
  t.is(keeper.remainingMs(key), 5000, 'a live entry knows better')
  for (const other of ['web/c', 'other/a', 'a', '']) keeper.apply({ key: 'web/source/192.0.2.2', member: other, ttlMs: 5000 })
  for (const odd of ['other/source/192.0.2.2', 'web/header/0123456789abcdef', 'web/source/', 'web', '', 'web/app-cookie/xyz']) keeper.apply({ key: odd, member: 'web/a', ttlMs: 5000 })
  t.is(keeper.counters.pools[0]!.entries, 1)
  keeper.apply({ key, member: '', ttlMs: 0 })
  t.false(table.find(hash[0]!, hash[1]!))
  t.deepEqual(replicated, [])
})

test('configure says whether entries of the cluster have to be written that were not known before', (t) => {
  const { keeper } = setup()
  t.false(keeper.configure([web]))
  t.false(keeper.configure([{ ...web, ttlMs: 5000, members: members.slice(0, 1) }]))
  t.true(keeper.configure([web]), 'a member has come')
  t.true(keeper.configure([web, { ...web, name: 'other', slot: 2 }]))
  t.true(keeper.configure([{ ...web, type: 'header' }]))
  t.false(keeper.configure([]))
})

test('names of entries are read strictly; hashes and cookies depend on secret, pool and kind', (t) => {
  t.deepEqual(parseEntryKey('web/source/2001:db8::/64'), { pool: 'web', type: 'source', text: '2001:db8::/64' })
  t.deepEqual(parseEntryKey('web/header/0123456789abcdef'), { pool: 'web', type: 'header', text: '0123456789abcdef' })
  for (const odd of ['web/cookie/a', 'web/header/012', 'web/header/0123456789ABCDEF', '/source/a', 'web/source', 'key 7']) t.is(parseEntryKey(odd), undefined, odd)
  const hash = new Int32Array(2)
  hashOfText('header', 'fedcba9876543210', new Int32Array(4), hash)
  t.is(hashText(hash[0]!, hash[1]!), 'fedcba9876543210')
  const other = persistenceSecret('another secret', 'cluster')
  const keys = [hashKey(secret, 'web', 'source'), hashKey(secret, 'web', 'header'), hashKey(secret, 'app', 'source'), hashKey(other, 'web', 'source')]
  t.is(new Set(keys.map((key) => key.join())).size, 4)
  const cookies = [cookieValue(secret, 'web', 'a'), cookieValue(secret, 'web', 'b'), cookieValue(secret, 'app', 'a'), cookieValue(other, 'web', 'a')]
  t.is(new Set(cookies).size, 4)
  t.true(cookies.every((cookie) => /^[\w-]{24}$/.test(cookie)))
})

test('updates pass in batches; what is on its way is known; while nobody takes them, further ones are dropped and counted', (t) => {
  const table = new SessionTable(allocateSessions(100, 1))
  const batches: Uint8Array[] = []
  const updates = new SessionUpdates(table, 0, (batch) => batches.push(batch))
  t.teardown(() => updates.stop())
  t.is(updates.member(1, 2), -1)
  updates.add(3, 4, wasNone, 1, 2, Buffer.from('192.0.2.1'))
  updates.add(3, 4, wasNone, 1, 2, Buffer.from('192.0.2.1'))
  t.is(updates.member(1, 2), 4)
  updates.add(3, 5, 4, -1, -2, Buffer.alloc(0))
  updates.flush()
  t.is(updates.member(1, 2), 4, 'it may not be in the table yet')
  const read: SessionUpdateRecord[] = []
  for (const batch of batches) readUpdates(batch, (update) => read.push(update))
  t.deepEqual(read, [
    { pool: 3, member: 4, was: wasNone, low: 1, high: 2, text: '192.0.2.1' },
    { pool: 3, member: 5, was: 4, low: -1, high: -2, text: '' },
  ])
  const text = Buffer.alloc(maxTextBytes, 0x61)
  for (let i = 0; i < 5000; i++) updates.add(3, 4, wasNone, i, 7, text)
  t.is(batches.length, 4)
  t.true(batches.every((batch) => batch.length <= 32 * 1024))
  const dropped = table.dropped(0)
  t.true(dropped > 0)
  for (let i = 0; i < 4; i++) table.addTaken(0)
  updates.add(3, 4, wasNone, -5, 7, text)
  t.is(batches.length, 5)
  t.is(table.dropped(0), dropped)
})

test('a refreshed entry is not taken for newer than the table: another node may have moved its client', (t) => {
  const updates = new SessionUpdates(new SessionTable(allocateSessions(100, 1)), 0, () => undefined)
  t.teardown(() => updates.stop())
  updates.add(3, 4, 4, 1, 2, Buffer.alloc(0))
  t.is(updates.member(1, 2), -1)
})

test('bug: while the main thread was busy a worker forgot where it had just put its clients', (t) => {
  const { buffer, keeper } = setup({ pools: [{ ...web, maxEntries: 1000 }] })
  const table = new SessionTable(buffer)
  const batches: Uint8Array[] = []
  const updates = new SessionUpdates(table, 0, (batch) => batches.push(batch))
  t.teardown(() => updates.stop())
  const hashes = Array.from({ length: 3 }, (_, i) => {
    const hash = new Int32Array(2)
    hashOfText('source', `192.0.2.${i}`, hashKey(secret, 'web', 'source'), hash)
    updates.add(1, 11, wasNone, hash[0]!, hash[1]!, Buffer.from(`192.0.2.${i}`))
    updates.flush()
    return hash
  })
  // Nothing more for a long time.
  for (let i = 0; i < 5; i++) updates.flush()
  t.is(batches.length, 3)
  for (const hash of hashes) t.is(updates.member(hash[0]!, hash[1]!), 11)
  for (const batch of batches) keeper.receive(0, batch)
  updates.flush()
  for (const hash of hashes) {
    t.is(updates.member(hash[0]!, hash[1]!), -1, 'the table knows it')
    t.true(table.find(hash[0]!, hash[1]!))
  }
})

test('bug: former entries of a pool that is of another type now kept its new clients out', (t) => {
  const { keeper, worker } = setup()
  for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.3']) worker(address, 11)
  keeper.configure([{ ...web, type: 'header' }])
  t.deepEqual(keeper.counters.pools, [{ pool: 'web', entries: 0 }])
  keeper.configure([web])
  for (const address of ['192.0.2.4', '192.0.2.5', '192.0.2.6']) worker(address, 11)
  t.is(keeper.counters.fullTotal, 0)
  keeper.configure([{ ...web, name: 'other', slot: 2 }])
  keeper.configure([web])
  t.deepEqual(keeper.counters.pools, [{ pool: 'web', entries: 0 }], 'gone with its pool')
})

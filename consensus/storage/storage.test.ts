import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import { ClassicLevel } from 'classic-level'
import fc from 'fast-check'
import { encodeMembership } from '../core/membership.ts'
import type { Entry, Membership } from '../core/types.ts'
import { chunkOffset, decodeRun, draftKey, encodeRun, entryKey, maxChunkBytes, snapshotKey, stateKey } from './records.ts'
import { createLog, openLog } from './level.ts'
import { StorageError, type LogStorage } from './storage.ts'

const owner = { clusterId: 'c', nodeId: 'n' }
const peer = (id: string) => ({ id, role: 'node', address: '127.0.0.1:1', apiAddress: '127.0.0.1:2' }) as const
const membershipOf = (...ids: string[]): Membership => ({ voters: ids.map(peer), learners: [] })
const entry = (index: number, term = 1, data = `data ${index}`): Entry => ({ index, term, type: 'command', data: Buffer.from(data) })
const entries = (from: number, to: number, term = 1) => Array.from({ length: to - from + 1 }, (_, at) => entry(from + at, term))
const plain = (list: readonly Entry[]) => list.map(({ index, term, type, data }) => `${index} ${term} ${type} ${Buffer.from(data).toString()}`)

async function place(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'haechi-storage-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  return join(directory, 'log')
}

async function fresh(t: ExecutionContext): Promise<{ path: string; storage: LogStorage }> {
  const path = await place(t)
  await createLog(path, owner, { term: 0, vote: '' }, [])
  const storage = await openLog(path, owner)
  t.teardown(() => storage.close())
  return { path, storage }
}

/** Changes the stored records behind the back of the storage. */
async function tamper(path: string, change: (db: ClassicLevel<Uint8Array, Uint8Array>) => Promise<void>): Promise<void> {
  const db = new ClassicLevel<Uint8Array, Uint8Array>(path, { keyEncoding: 'view', valueEncoding: 'view' })
  await db.open()
  await change(db)
  await db.close()
}

async function flip(db: ClassicLevel<Uint8Array, Uint8Array>, key: Uint8Array, at: number): Promise<void> {
  const value = Buffer.from((await db.get(key))!)
  value[at < 0 ? value.length + at : at]! ^= 1
  await db.put(key, value)
}

test('what was written is there after a restart', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.write({ hardState: { term: 3, vote: 'n' }, append: entries(1, 300, 3), commitIndex: 290 })
  await storage.write({ append: [{ index: 301, term: 3, type: 'membership', data: encodeMembership(membershipOf('n', 'm')) }], commitIndex: 301 })
  await storage.write({ append: [{ index: 302, term: 3, type: 'noop', data: new Uint8Array(0) }], commitIndex: 301 })
  await storage.close()
  const again = await openLog(path, owner)
  t.teardown(() => again.close())
  t.deepEqual(again.hardState, { term: 3, vote: 'n' })
  t.is(again.firstIndex, 1)
  t.is(again.lastIndex, 302)
  t.is(again.commitIndex, 301)
  t.deepEqual(again.membershipAt(300), { voters: [], learners: [] })
  t.deepEqual(again.membershipAt(302), membershipOf('n', 'm'))
  const loaded = again.takeLoaded()
  t.is(loaded.length, 302)
  t.like(loaded[0], { index: 1, term: 3, type: 'command', bytes: 6 })
  t.truthy(loaded[300]!.data, 'membership entries come with their payload')
  t.is(loaded[0]!.data, undefined)
  t.deepEqual(plain(await again.read(2, 4, 1000)), plain(entries(2, 4, 3)))
})

test('a read is bounded by bytes but gives at least one entry', async (t) => {
  const { storage } = await fresh(t)
  await storage.write({ append: entries(1, 600), commitIndex: 0 })
  t.is((await storage.read(1, 600, 1)).length, 1)
  t.is((await storage.read(1, 600, 13)).length, 2)
  t.is((await storage.read(1, 600, Infinity)).length, 600)
  t.is((await storage.read(601, 700, Infinity)).length, 0)
})

test('an append over the end replaces it, the tail included, in the same write', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.write({ hardState: { term: 1, vote: '' }, append: entries(1, 10), commitIndex: 3 })
  await storage.write({ append: [{ index: 11, term: 1, type: 'membership', data: encodeMembership(membershipOf('x')) }], commitIndex: 3 })
  await storage.write({ hardState: { term: 2, vote: 'm' }, append: [entry(5, 2), entry(6, 2)], commitIndex: 3 })
  t.is(storage.lastIndex, 6)
  t.deepEqual(storage.membershipAt(6), { voters: [], learners: [] })
  await storage.close()
  const again = await openLog(path, owner)
  t.teardown(() => again.close())
  t.deepEqual(plain(await again.read(1, 100, Infinity)), plain([...entries(1, 4), entry(5, 2), entry(6, 2)]))
  t.deepEqual(again.hardState, { term: 2, vote: 'm' })
})

test('a write with a gap is a bug and changes nothing', async (t) => {
  const { storage } = await fresh(t)
  await storage.write({ append: entries(1, 3), commitIndex: 0 })
  await t.throwsAsync(storage.write({ append: [entry(5)], commitIndex: 0 }), { instanceOf: StorageError })
  await t.throwsAsync(storage.write({ hardState: { term: 9, vote: '' }, append: [entry(4), entry(6)], commitIndex: 0 }), { instanceOf: StorageError })
  t.is(storage.lastIndex, 3)
  t.is(storage.hardState.term, 0)
})

/** The file of a snapshot's payload. */
const payload = (path: string, file: number) => join(path, 'snapshots', String(file))

async function flipPayload(path: string, file: number, at: number): Promise<void> {
  const data = await readFile(payload(path, file))
  data[at]! ^= 1
  await writeFile(payload(path, file), data)
}

const damages: readonly [string, RegExp, (db: ClassicLevel<Uint8Array, Uint8Array>, path: string) => Promise<void>][] = [
  ['a flipped bit in an entry', /log entry 5 is damaged/, (db) => flip(db, entryKey(5), -1)],
  ['a flipped bit in an entry\'s term', /log entry 5 is damaged/, (db) => flip(db, entryKey(5), 11)],
  ['an entry in another one\'s place', /log entry 5 is damaged/, async (db) => db.put(entryKey(5), (await db.get(entryKey(6)))!)],
  ['a missing entry', /log entry 5 is missing/, (db) => db.del(entryKey(5))],
  ['a missing end', /ends at 9, but 10 was recorded/, (db) => db.del(entryKey(10))],
  ['an entry beyond the end', /11 lies beyond the recorded end 10/, (db) => db.put(entryKey(11), encodeRun([entry(11)], entryKey(11)))],
  ['a flipped bit in term and vote', /term and vote is damaged/, (db) => flip(db, stateKey, 20)],
  ['a changed vote', /term and vote is damaged/, (db) => flip(db, stateKey, -1)],
  ['no record of term and vote', /term and vote is missing/, (db) => db.del(stateKey)],
  ['a flipped bit in the snapshot', /snapshot chunk 1 is damaged/, (_db, path) => flipPayload(path, 1, chunkOffset(1) + 100)],
  ['a flipped bit in the length of a chunk', /snapshot chunk 0 is damaged/, (_db, path) => flipPayload(path, 1, 7)],
  ['a snapshot that was cut off', /snapshot chunk 1 is damaged/, (_db, path) => truncate(payload(path, 1), chunkOffset(1) + 5000)],
  ['a missing part of the snapshot', /snapshot chunk 1 is missing/, (_db, path) => truncate(payload(path, 1), chunkOffset(1))],
  ['no payload of the snapshot', /snapshot chunk 0 is missing/, (_db, path) => rm(payload(path, 1))],
  ['a flipped bit in the snapshot record', /snapshot record is damaged/, (db) => flip(db, snapshotKey, 30)],
  ['a term below the log\'s', /the log has term 1, but the recorded term is 0/, async (db) => {
    const { encodeState } = await import('./records.ts')
    await db.put(stateKey, encodeState({ sequence: 9, hardState: { term: 0, vote: '' }, baseIndex: 0, baseTerm: 0, lastIndex: 10, commitIndex: 0 }))
  }],
]
for (const [what, error, change] of damages) {
  test(`refused: ${what}`, async (t) => {
    const { path, storage } = await fresh(t)
    for (const each of entries(1, 10)) await storage.write({ hardState: { term: 1, vote: 'n' }, append: [each], commitIndex: 10 })
    const draft = storage.beginSnapshot()
    await draft.write(Buffer.alloc(600_000, 1))
    await draft.finish()
    await storage.adoptSnapshot(draft, { index: 4, term: 1, membership: membershipOf('n'), bytes: 600_000 }, { replaceLog: false })
    await storage.close()
    await tamper(path, (db) => change(db, path))
    await t.throwsAsync(openLog(path, owner), { instanceOf: StorageError, message: error })
    // It was not opened, so it can be opened by somebody else.
    await tamper(path, async () => undefined)
  })
}

test('refused: a log of another node, and one that is in use', async (t) => {
  const { path, storage } = await fresh(t)
  await t.throwsAsync(openLog(path, owner), { instanceOf: StorageError, message: /in use by another process/ })
  await storage.close()
  await t.throwsAsync(openLog(path, { ...owner, nodeId: 'other' }), { instanceOf: StorageError, message: /belongs to n of cluster c/ })
  await t.throwsAsync(openLog(`${path}-not`, owner), { instanceOf: StorageError, message: /there is no log/ })
})

async function content(storage: LogStorage): Promise<Buffer> {
  const parts: Uint8Array[] = []
  const reading = storage.readSnapshot()!
  for await (const chunk of reading.open(0)) parts.push(chunk)
  reading.close()
  return Buffer.concat(parts)
}

test('a snapshot is current only once adopted, then the log can be compacted behind it', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.write({ hardState: { term: 1, vote: '' }, append: entries(1, 100), commitIndex: 100 })
  const payload = Buffer.from(Array.from({ length: 700_000 }, (_, at) => at % 251))
  const meta = { index: 80, term: 1, membership: membershipOf('n'), bytes: payload.length }
  const draft = storage.beginSnapshot()
  for (let at = 0; at < payload.length; at += 100_000) await draft.write(payload.subarray(at, at + 100_000))
  await draft.finish()
  t.is(storage.snapshot, undefined)
  await t.throwsAsync(storage.compact(50), { instanceOf: StorageError })
  await t.throwsAsync(storage.adoptSnapshot(draft, { ...meta, bytes: 1 }, { replaceLog: false }), { instanceOf: StorageError })
  await storage.adoptSnapshot(draft, meta, { replaceLog: false })
  t.deepEqual(storage.snapshot, meta)
  await storage.compact(50)
  t.is(storage.firstIndex, 51)
  t.deepEqual(await storage.read(50, 60, Infinity), [])
  await t.throwsAsync(storage.compact(90), { instanceOf: StorageError })
  await storage.close()

  const again = await openLog(path, owner)
  t.teardown(() => again.close())
  t.deepEqual(again.snapshot, meta)
  t.is(again.firstIndex, 51)
  t.is(again.takeLoaded().length, 50)
  t.true((await content(again)).equals(payload))
  t.is(again.bytesSinceSnapshot, entries(81, 100).reduce((sum, { data }) => sum + data.length, 0))
})

test('an installed snapshot replaces the log in one step', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.write({ hardState: { term: 1, vote: '' }, append: entries(1, 120), commitIndex: 10 })
  const draft = storage.beginSnapshot()
  await draft.write(Buffer.from('all of it'))
  await draft.finish()
  const meta = { index: 100, term: 4, membership: membershipOf('m', 'n'), bytes: 9 }
  await storage.adoptSnapshot(draft, meta, { replaceLog: true, hardState: { term: 5, vote: '' } })
  t.is(storage.firstIndex, 101)
  t.is(storage.lastIndex, 100)
  await storage.write({ append: [entry(101, 5)], commitIndex: 101 })
  await storage.close()
  const again = await openLog(path, owner)
  t.teardown(() => again.close())
  t.deepEqual(again.hardState, { term: 5, vote: '' })
  t.deepEqual(again.takeLoaded().map(({ index, term }) => ({ index, term })), [{ index: 101, term: 5 }])
  t.deepEqual(again.membershipAt(101), membershipOf('m', 'n'))
  t.is((await content(again)).toString(), 'all of it')
})

test('a snapshot that is being read outlives its successor; drafts that were not adopted leave nothing behind', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.write({ hardState: { term: 1, vote: '' }, append: entries(1, 10), commitIndex: 10 })
  const take = async (index: number, fill: number) => {
    const draft = storage.beginSnapshot()
    await draft.write(Buffer.alloc(600_000, fill))
    await draft.finish()
    await storage.adoptSnapshot(draft, { index, term: 1, membership: membershipOf('n'), bytes: 600_000 }, { replaceLog: false })
  }
  await take(5, 1)
  const reading = storage.readSnapshot()!
  await take(6, 2)
  for (const from of [0, 2]) {
    let bytes = 0
    for await (const chunk of reading.open(from)) {
      t.is(chunk[0], 1)
      bytes += chunk.length
    }
    t.is(bytes, 600_000 - from * maxChunkBytes)
  }
  reading.close()
  await take(7, 3)
  const abandoned = storage.beginSnapshot()
  await abandoned.write(Buffer.alloc(300_000, 3))
  await storage.close()
  const again = await openLog(path, owner)
  t.is((await content(again))[0], 3)
  await again.close()
  t.is((await readdir(join(path, 'snapshots'))).length, 1, 'only the current snapshot is left')
})

const identityOf = (data: Uint8Array, index = 50) => ({ index, term: 1, bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') })
const pieces = (data: Uint8Array, from = 0) =>
  Array.from({ length: Math.ceil(data.length / maxChunkBytes) - from }, (_, at) => data.subarray((from + at) * maxChunkBytes, (from + at + 1) * maxChunkBytes))
const large = Buffer.from(Array.from({ length: 1_200_000 }, (_, at) => (at * 7) % 253))

test('a snapshot that was half received is gone on with after a restart, from the first chunk that is missing or damaged', async (t) => {
  const { path, storage } = await fresh(t)
  const identity = identityOf(large)
  const draft = await storage.receiveSnapshot(identity)
  t.is(draft.chunks, 0)
  for (const piece of pieces(large).slice(0, 3)) await draft.write(piece)
  await storage.close()
  const reopen = async () => {
    const again = await openLog(path, owner)
    t.teardown(() => again.close())
    return again
  }
  let again = await reopen()
  t.deepEqual(again.draft, identity)
  t.is((await again.receiveSnapshot(identity)).chunks, 3)
  await again.close()
  // A power failure leaves less than was written: the last chunk is torn, the one before holds zeroes.
  const [file] = await readdir(join(path, 'snapshots'))
  await truncate(payload(path, Number(file)), chunkOffset(2) + 100)
  again = await reopen()
  t.is((await again.receiveSnapshot(identity)).chunks, 2)
  await again.close()
  await flipPayload(path, Number(file), chunkOffset(1) + 9)
  again = await reopen()
  const rest = await again.receiveSnapshot(identity)
  t.is(rest.chunks, 1)
  for (const piece of pieces(large, 1)) await rest.write(piece)
  await rest.finish()
  t.is(rest.sha256, identity.sha256)
  await again.adoptSnapshot(rest, { index: 50, term: 1, membership: membershipOf('n'), bytes: large.length }, { replaceLog: true, hardState: { term: 1, vote: '' } })
  t.is(again.draft, undefined)
  await again.close()
  again = await reopen()
  t.is(again.draft, undefined)
  t.true((await content(again)).equals(large))
})

test('another snapshot starts from nothing, and what was there of the one before is removed', async (t) => {
  const { path, storage } = await fresh(t)
  const draft = await storage.receiveSnapshot(identityOf(large))
  for (const piece of pieces(large).slice(0, 3)) await draft.write(piece)
  const other = Buffer.from(large)
  other[0]! ^= 1
  for (const identity of [identityOf(other), { ...identityOf(other), index: 51 }, { ...identityOf(other), term: 2 }]) {
    const next = await storage.receiveSnapshot(identity)
    t.is(next.chunks, 0)
    await next.write(pieces(other)[0]!)
    t.is((await readdir(join(path, 'snapshots'))).length, 1)
  }
  await storage.dropDraft()
  t.is(storage.draft, undefined)
  t.deepEqual(await readdir(join(path, 'snapshots')), [])
})

test('a draft whose record is damaged is dropped, the log is not', async (t) => {
  const { path, storage } = await fresh(t)
  const draft = await storage.receiveSnapshot(identityOf(large))
  await draft.write(pieces(large)[0]!)
  await storage.close()
  await tamper(path, (db) => flip(db, draftKey, -2))
  const again = await openLog(path, owner)
  t.teardown(() => again.close())
  t.is(again.draft, undefined)
  t.deepEqual(await readdir(join(path, 'snapshots')), [])
})

test('a log in the format of another version is refused as it is, not taken for damaged', async (t) => {
  const { path, storage } = await fresh(t)
  await storage.close()
  const db = new ClassicLevel<Uint8Array, Uint8Array>(path, { keyEncoding: 'view', valueEncoding: 'view' })
  const value = Buffer.from((await db.get(stateKey))!)
  value[4]! -= 1
  value.writeUInt32BE(crc32(value.subarray(4), crc32(stateKey)))
  await db.put(stateKey, value)
  await db.close()
  const error = await t.throwsAsync(openLog(path, owner), { instanceOf: StorageError, message: /has format 1, this version of Haechi knows 2/ })
  t.is((error as StorageError).kind, 'unusable')
})

test('a record names its index, so that a swapped one is noticed', (t) => {
  const value = encodeRun([entry(7), entry(8)], entryKey(7))
  t.deepEqual(plain(decodeRun(entryKey(7), value)), plain([entry(7), entry(8)]))
  t.throws(() => decodeRun(entryKey(8), value), { instanceOf: StorageError })
  const far = 2 ** 40 + 3
  t.is(decodeRun(entryKey(far), encodeRun([entry(far, 2 ** 35)], entryKey(far)))[0]!.term, 2 ** 35)
})

test('entries that were written together: cut, compacted, replaced and read like single ones', async (t) => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e6))
  t.log(`replay: SEED=${seed} ava consensus/storage/storage.test.ts`)
  const random = fc.sample(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), { seed, numRuns: 1 })[0]!
  const number = (low: number, high: number) => low + Math.floor((random.next().value as number) * (high - low + 1))
  const { path, storage: first } = await fresh(t)
  let storage = first
  t.teardown(() => storage.close())
  /** The log as it should be: `model[i]` has the index `base + 1 + i`. */
  let model: Entry[] = []
  let base = 0
  let term = 1
  const end = () => base + model.length
  for (let step = 0; step < 120; step += 1) {
    const choice = number(1, 10)
    if (choice <= 6) {
      if (choice <= 2) term += 1
      const from = choice <= 2 ? number(base + 1, end() + 1) : end() + 1
      const count = number(1, number(0, 1) === 0 ? 4 : 300)
      // Some are so large that they need rows of their own.
      const append = Array.from({ length: count }, (_, at) => entry(from + at, term, 'x'.repeat(number(0, 20) === 0 && count < 5 ? 200_000 : number(0, 30))))
      await storage.write({ hardState: { term, vote: '' }, append, commitIndex: base })
      model = [...model.slice(0, from - base - 1), ...append]
    } else if (choice <= 8 && model.length > 2) {
      const at = number(base + 1, end())
      const draft = storage.beginSnapshot()
      await draft.write(Buffer.from(`state at ${at}`))
      await draft.finish()
      const meta = { index: at, term: model[at - base - 1]!.term, membership: membershipOf('n'), bytes: draft.bytes }
      if (choice === 7) {
        if (at > (storage.snapshot?.index ?? 0)) await storage.adoptSnapshot(draft, meta, { replaceLog: false })
        else await draft.abort()
        const through = number(base, storage.snapshot!.index)
        await storage.compact(through)
        model = model.slice(through - base)
        base = through
      } else if (at > (storage.snapshot?.index ?? 0)) {
        await storage.adoptSnapshot(draft, meta, { replaceLog: true })
        model = []
        base = at
      } else await draft.abort()
    } else {
      await storage.close()
      storage = await openLog(path, owner)
      t.is(storage.takeLoaded().length, model.length)
    }
    t.is(storage.firstIndex, base + 1)
    t.is(storage.lastIndex, end())
    const from = number(base + 1, Math.max(end(), base + 1))
    const to = number(from, from + 400)
    t.deepEqual(plain(await storage.read(from, to, Infinity)), plain(model.slice(from - base - 1, to - base)), `step ${step}`)
  }
})

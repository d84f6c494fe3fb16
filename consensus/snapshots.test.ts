/** Snapshots that are received in several attempts, when one is wanted, and how much log stays behind one. */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import type { Raft } from './core/raft.ts'
import type { Entry, SnapshotMeta } from './core/types.ts'
import type { Clock } from './environment.ts'
import { Snapshots } from './snapshots.ts'
import { createLog, openLog } from './storage/level.ts'
import { maxChunkBytes } from './storage/records.ts'
import type { LogStorage } from './storage/storage.ts'
import { Cluster, text, until } from './test-cluster.ts'
import type { SnapshotPayload } from './transport/snapshots.ts'
import type { SnapshotMessage } from './transport/wire.ts'

const owner = { clusterId: 'c', nodeId: 'n' }
const membership = { voters: [{ id: 'n', role: 'node', address: 'a:1', apiAddress: '' }], learners: [] } as const

/** A clock that a test moves. */
class TestClock implements Clock {
  #nowMs = 0
  #timers = new Set<{ dueMs: number; run: () => void }>()

  now(): number {
    return this.#nowMs
  }

  after(ms: number, run: () => void): object {
    // Not what only paces the disk.
    if (ms < 100) return setImmediate(run)
    const timer = { dueMs: this.#nowMs + ms, run }
    this.#timers.add(timer)
    return timer
  }

  cancel(timer: object | undefined): void {
    this.#timers.delete(timer as never)
  }

  soon(run: () => void): void {
    setImmediate(run)
  }

  pass(ms: number): void {
    this.#nowMs += ms
    for (const timer of [...this.#timers].filter(({ dueMs }) => dueMs <= this.#nowMs)) {
      this.#timers.delete(timer)
      timer.run()
    }
  }
}

/** The snapshots of one node on a real disk, with what the core would say written down here. */
class Bench {
  readonly clock = new TestClock()
  readonly raft = {
    leader: 'l', term: 3, role: 'follower', commitIndex: 0, firstIndex: 1, lastIndex: 0, verdict: 'install' as 'install' | 'keep' | 'ignore',
    received: [] as SnapshotMeta[], sent: [] as string[], compactedTo: 0, bytesEach: 0,
    snapshotReceived(meta: SnapshotMeta) {
      this.received.push(meta)
      return this.verdict
    },
    snapshotSent(to: string, ok: boolean) {
      this.sent.push(`${to} ${ok}`)
    },
    termAt: () => 3,
    compacted(_meta: SnapshotMeta, through: number) {
      this.compactedTo = through
    },
    bytesBetween(after: number, to: number) {
      return (to - after) * this.bytesEach
    },
    requestSnapshot: () => true,
  }
  readonly #path: string
  sending: (message: SnapshotMessage, payload: SnapshotPayload) => Promise<boolean> = async () => true
  storage!: LogStorage
  snapshots!: Snapshots

  private constructor(path: string) {
    this.#path = path
  }

  static async open(t: ExecutionContext): Promise<Bench> {
    const directory = await mkdtemp(join(tmpdir(), 'haechi-snapshots-'))
    const bench = new Bench(join(directory, 'log'))
    await createLog(bench.#path, owner, { term: 3, vote: '' }, [])
    await bench.start()
    t.teardown(async () => {
      await bench.storage.close()
      await rm(directory, { recursive: true, force: true })
    })
    return bench
  }

  async start(): Promise<void> {
    this.storage = await openLog(this.#path, owner)
    this.snapshots = new Snapshots({
      role: 'node', raft: this.raft as unknown as Raft, storage: this.storage, clock: this.clock, pump: () => undefined,
      send: (message, payload) => this.sending(message, payload), failed: (error) => { throw error }, log: () => undefined,
    })
  }

  async restart(): Promise<void> {
    this.snapshots.stop()
    await this.storage.close()
    await this.start()
  }

  get files(): string[] {
    const folder = join(this.#path, 'snapshots')
    return existsSync(folder) ? readdirSync(folder) : []
  }

  sink(data: Uint8Array, over: Partial<SnapshotMeta> = {}) {
    const meta: SnapshotMeta = { index: 50, term: 2, membership, bytes: data.length, ...over }
    const sha256 = createHash('sha256').update(data).digest('hex')
    const sink = this.snapshots.receive('l', { type: 'snapshot', from: 'l', to: 'n', term: 3, meta }, sha256)
    if (sink === undefined) throw new Error('refused')
    return sink
  }
}

const large = Buffer.from(Array.from({ length: 5 * maxChunkBytes + 1000 }, (_, at) => (at * 7) % 253))
const piece = (data: Uint8Array, number: number) => data.subarray(number * maxChunkBytes, (number + 1) * maxChunkBytes)

test('a transfer that broke off goes on behind what was stored, also after a restart; the whole is verified', async (t) => {
  const bench = await Bench.open(t)
  const first = bench.sink(large)
  t.is(await first.start(), 0)
  for (const number of [0, 1]) await first.write(piece(large, number))
  first.abort()
  const second = bench.sink(large)
  t.is(await second.start(), 2)
  await second.write(piece(large, 2))
  await bench.restart()
  // Another leader that has the same one.
  bench.raft.leader = 'm'
  t.throws(() => bench.sink(large), { message: 'refused' }, 'nobody but the leader')
  bench.raft.leader = 'l'
  const third = bench.sink(large)
  t.is(await third.start(), 3)
  await t.throwsAsync(second.write(piece(large, 3)), { message: /superseded/ })
  for (const number of [3, 4, 5]) await third.write(piece(large, number))
  await third.end()
  t.is(bench.raft.received.length, 1)
  await bench.snapshots.install(bench.raft.received[0]!, undefined)
  const reading = bench.storage.readSnapshot()!
  const parts: Uint8Array[] = []
  for await (const chunk of reading.open(0)) parts.push(chunk)
  t.true(Buffer.concat(parts).equals(large))
  t.is(bench.storage.draft, undefined)
})

test('another snapshot, one of another index, starts from the beginning', async (t) => {
  const bench = await Bench.open(t)
  const first = bench.sink(large)
  await first.start()
  for (const number of [0, 1]) await first.write(piece(large, number))
  first.abort()
  const other = Buffer.from(large)
  other[other.length - 1]! ^= 1
  t.is(await bench.sink(other).start(), 0)
  t.is(await bench.sink(large).start(), 0, 'the one before is gone')
  const last = bench.sink(large, { index: 51 })
  t.is(await last.start(), 0)
  await last.write(piece(large, 0))
  t.is(bench.files.length, 1)
})

test('a newer stream takes over from one that is under way', async (t) => {
  const bench = await Bench.open(t)
  const first = bench.sink(large)
  await first.start()
  const writing = first.write(piece(large, 0))
  const second = bench.sink(large)
  const started = second.start()
  await writing
  t.is(await started, 1, 'what was being written counts')
  await t.throwsAsync(first.write(piece(large, 1)), { message: /superseded/ })
  await t.throwsAsync(first.end(), { message: /superseded/ })
  first.abort()
  await second.write(piece(large, 1))
})

test('an end that comes too early keeps what is there; a whole that is damaged is thrown away', async (t) => {
  const bench = await Bench.open(t)
  const early = bench.sink(large)
  await early.start()
  await early.write(piece(large, 0))
  await t.throwsAsync(early.end(), { message: /not complete/ })
  const damaged = bench.sink(large)
  t.is(await damaged.start(), 1)
  await damaged.write(Buffer.alloc(maxChunkBytes, 1))
  for (const number of [2, 3, 4, 5]) await damaged.write(piece(large, number))
  await t.throwsAsync(damaged.write(Buffer.alloc(1)), { message: /larger than announced/ })
  await t.throwsAsync(damaged.end(), { message: /damaged/ })
  t.deepEqual(bench.raft.received, [])
  t.deepEqual(bench.files, [])
  t.is(await bench.sink(large).start(), 0)
})

test('a draft that nobody goes on with is removed after a while, also one of the process before', async (t) => {
  const bench = await Bench.open(t)
  const first = bench.sink(large)
  await first.start()
  await first.write(piece(large, 0))
  bench.clock.pass(3600_000)
  t.truthy(bench.storage.draft, 'not while it is being received')
  first.abort()
  bench.clock.pass(300_000)
  t.truthy(bench.storage.draft)
  await bench.restart()
  t.truthy(bench.storage.draft)
  t.is(bench.files.length, 1)
  bench.clock.pass(601_000)
  await until('it is gone', () => bench.storage.draft === undefined && bench.files.length === 0)
})

test('every failure to send is reported, and one that is under way is not disturbed', async (t) => {
  const bench = await Bench.open(t)
  const message: SnapshotMessage = { type: 'snapshot', from: 'n', to: 'p', term: 3, meta: { index: 1, term: 1, membership, bytes: 1 } }
  bench.snapshots.send(message)
  t.deepEqual(bench.raft.sent, ['p false'], 'there is none')
  await fill(bench, 10, 1)
  await bench.snapshots.store(5, (async function* () { yield large })())
  bench.raft.role = 'leader'
  const sending: PromiseWithResolvers<boolean>[] = []
  bench.sending = () => {
    sending.push(Promise.withResolvers())
    return sending.at(-1)!.promise
  }
  bench.snapshots.send(message)
  bench.snapshots.send(message)
  t.is(sending.length, 1)
  sending[0]!.resolve(false)
  await until('it is reported', () => bench.raft.sent.length === 2)
  bench.snapshots.send(message)
  sending[1]!.reject(new Error('the disk cannot be read'))
  await until('it is reported', () => bench.raft.sent.length === 3)
  t.deepEqual(bench.raft.sent.slice(1), ['p false', 'p false'])
  // No leader any more: the rest is not sent.
  const got: number[] = []
  bench.sending = async (_message, payload) => {
    for await (const chunk of payload.open(1)) {
      got.push(chunk.length)
      bench.raft.role = 'follower'
    }
    return false
  }
  bench.snapshots.send(message)
  await until('it is reported', () => bench.raft.sent.length === 4)
  t.deepEqual(got, [maxChunkBytes])
})

async function fill(bench: Bench, count: number, bytes: number): Promise<void> {
  const from = bench.storage.lastIndex + 1
  const append = Array.from({ length: count }, (_, at): Entry => ({ index: from + at, term: 3, type: 'command', data: new Uint8Array(bytes) }))
  await bench.storage.write({ append, commitIndex: from + count - 1 })
  bench.raft.lastIndex = bench.storage.lastIndex
}

test('a snapshot is wanted after 8 MiB of log, but only after half the size of a large one', async (t) => {
  const bench = await Bench.open(t)
  await fill(bench, 7, 1024 * 1024)
  t.false(bench.snapshots.wanted(7))
  await fill(bench, 2, 1024 * 1024)
  t.true(bench.snapshots.wanted(9))
  await bench.snapshots.store(9, (async function* () { for (let at = 0; at < 40; at += 1) yield Buffer.alloc(1024 * 1024, at) })())
  t.false(bench.snapshots.wanted(9))
  await fill(bench, 19, 1024 * 1024)
  t.false(bench.snapshots.wanted(28))
  await fill(bench, 2, 1024 * 1024)
  t.false(bench.snapshots.wanted(30), 'the last one is hardly stored')
  bench.clock.pass(2000)
  t.true(bench.snapshots.wanted(30))
})

test('many small entries make one wanted, too', async (t) => {
  const bench = await Bench.open(t)
  await fill(bench, 15_000, 10)
  t.false(bench.snapshots.wanted(15_000))
  await fill(bench, 6000, 10)
  t.true(bench.snapshots.wanted(21_000))
})

test('the log behind a snapshot: 1,000 entries, fewer if they are large, more for a peer that was just sent one', async (t) => {
  const bench = await Bench.open(t)
  const { raft, snapshots } = bench
  const store = (index: number) => snapshots.store(index, (async function* () { yield Buffer.from('state') })())
  raft.bytesEach = 10
  await fill(bench, 5000, 10)
  await store(3000)
  t.is(raft.compactedTo, 2000)
  raft.firstIndex = 2001
  raft.role = 'leader'
  const sent = Promise.withResolvers<boolean>()
  bench.sending = () => sent.promise
  snapshots.send({ type: 'snapshot', from: 'n', to: 'p', term: 3, meta: { index: 1, term: 1, membership, bytes: 1 } })
  await store(4500)
  t.is(raft.compactedTo, 3000, 'what follows the snapshot that is being sent')
  raft.firstIndex = 3001
  sent.resolve(true)
  await until('it is reported', () => raft.sent.length === 1)
  await store(4600)
  t.is(raft.compactedTo, 3000, 'and a while after')
  bench.clock.pass(11_000)
  raft.bytesEach = 100_000
  await store(4700)
  t.is(raft.compactedTo, 4700 - Math.floor((16 * 1024 * 1024) / 100_000))
})

test.serial('a node that is killed while it receives a snapshot goes on with it, and is a voter soon', async (t) => {
  const state = Buffer.alloc(40_000_000)
  for (let at = 0; at < state.length; at += 4) state.writeUInt32LE(at, at)
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const leader = await cluster.waitForLeader()
  const away = [...cluster.members.values()].find((member) => member !== leader)!
  await until('it has the beginning', () => away.entries.some((entry) => text(entry) === 'first'))
  await away.consensus.abort()
  for (let at = 0; at < 2000; at += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, n) => leader.consensus.propose(Buffer.from(`x${at + n}`), 'normal')))
  }
  const { commitIndex } = leader.consensus.status()
  // Equal states give equal snapshots, whoever leads.
  for (const member of [...cluster.members.values()].filter((one) => one !== away)) {
    await until('it is handed on', () => member.entries.some(({ index }) => index === commitIndex))
    await member.consensus.storeSnapshot(commitIndex, (async function* () { for (let at = 0; at < state.length; at += 100_000) yield state.subarray(at, at + 100_000) })())
  }
  const folder = join(away.directory, 'log', 'snapshots')
  const stored = () => (existsSync(folder) ? readdirSync(folder) : []).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
  await away.open()
  await until('some of it is there', () => stored() > 4_000_000)
  await away.consensus.abort()
  t.is(away.restored.length, 0, 'not all of it')
  await away.open()
  await until('it has caught up', () => away.restored.length === 1)
  const goingOn = /going on with the snapshot at \d+ from chunk (\d+)/.exec(away.logText)
  t.true(Number(goingOn?.[1]) >= 10, away.logText)
  t.true(away.restored[0]!.data.equals(state))
  t.true((await (await cluster.waitForLeader()).consensus.propose(Buffer.from('after'), 'normal')).ok)
  await until('it goes on', () => away.entries.some((entry) => text(entry) === 'after'))
})

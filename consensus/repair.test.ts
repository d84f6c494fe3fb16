/** A node whose log is damaged: it neither votes nor serves, and gets a new log from the leader. */
import { existsSync } from 'node:fs'
import { cp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { ClassicLevel } from 'classic-level'
import { demandRepair } from './damage.ts'
import { initCluster, loadIdentity } from './identity.ts'
import { entryKey, ownerKey, snapshotKey, stateKey } from './storage/records.ts'
import { LogStorage, StorageError } from './storage/storage.ts'
import { assertInOrder, Cluster, digest, Member, text, until } from './test-cluster.ts'

type Damage = (directory: string) => Promise<void>

/** Changes one bit of a stored value. */
function flip(key?: Buffer): Damage {
  return async (directory) => {
    const db = new ClassicLevel<Buffer, Buffer>(join(directory, 'log'), { keyEncoding: 'buffer', valueEncoding: 'buffer', createIfMissing: false, compression: false })
    await db.open()
    const at = key ?? (await rowOfEntries(db))
    const value = Buffer.from((await db.get(at))!)
    value[value.length - 1]! ^= 4
    await db.put(at, value, { sync: true })
    await db.close()
  }
}

/** The last but one: it is neither the first nor the end of the log. */
async function rowOfEntries(db: ClassicLevel<Buffer, Buffer>): Promise<Buffer> {
  const keys = await db.keys({ gte: entryKey(0), lte: entryKey(Number.MAX_SAFE_INTEGER) }).all()
  return keys.at(-2)!
}

const file = (pattern: RegExp, change: (content: Buffer) => Buffer | undefined): Damage => async (directory) => {
  const [name] = (await readdir(join(directory, 'log'))).filter((candidate) => pattern.test(candidate))
  const path = join(directory, 'log', name!)
  const content = change(await readFile(path))
  if (content === undefined) await rm(path)
  else await writeFile(path, content)
}

const damages: Readonly<Record<string, Damage>> = {
  'a log entry': flip(),
  'the record of term and vote': flip(stateKey),
  'the owner record': flip(ownerKey),
  'an entry is missing': async (directory) => {
    const db = new ClassicLevel<Buffer, Buffer>(join(directory, 'log'), { keyEncoding: 'buffer', valueEncoding: 'buffer', compression: false })
    await db.open()
    await db.del(await rowOfEntries(db))
    await db.close()
  },
  'the manifest of LevelDB': file(/^MANIFEST-/, (content) => content.subarray(0, 10)),
  'CURRENT of LevelDB': file(/^CURRENT$/, () => undefined),
  'the whole log is gone': (directory) => rm(join(directory, 'log'), { recursive: true }),
}

const asides = async (directory: string) => (await readdir(directory)).filter((name) => name.startsWith('log.damaged-'))

async function threeWithEntries(t: ExecutionContext, roles: Record<string, 'node' | 'witness'> = {}): Promise<Cluster> {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'], roles)
  await fill(t, cluster, 'before')
  return cluster
}

async function fill(t: ExecutionContext, cluster: Cluster, what: string): Promise<void> {
  const leader = await cluster.waitForLeader([...cluster.members.values()].filter(({ id }) => id !== 'c'))
  for (let at = 0; at < 10; at += 1) t.true((await leader.consensus.propose(Buffer.from(`${what} ${at}`), 'normal')).ok)
}

async function votesAgain(t: ExecutionContext, cluster: Cluster, c: Member): Promise<void> {
  const a = cluster.get('a')
  await until('c votes again', () => a.consensus.status().membership.voters.some(({ id }) => id === 'c'))
  await fill(t, cluster, 'after')
  await until('c has everything', () => digest(c) === digest(a) && c.entries.some((entry) => text(entry) === 'after 9'))
  assertInOrder(t, c)
  t.false(existsSync(join(c.directory, 'repair.json')))
}

for (const [what, damage] of Object.entries(damages)) {
  test.serial(`damaged: ${what}: repaired from the leader, without an election`, async (t) => {
    const cluster = await threeWithEntries(t)
    const c = cluster.get('c')
    await cluster.waitForLeader()
    await c.consensus.abort()
    await fill(t, cluster, 'meanwhile')
    const { term } = (await cluster.waitForLeader([cluster.get('a'), cluster.get('b')])).consensus.status()
    await damage(c.directory)
    await c.open()
    t.regex(c.logText, /the log is damaged and must be repaired from the leader/)
    await votesAgain(t, cluster, c)
    t.is(cluster.get('a').consensus.status().term, term)
    t.is((await asides(c.directory)).length, what === 'the whole log is gone' ? 0 : 1)
    // A restart is an ordinary one, before and after the log has reached the demotion.
    await c.consensus.abort()
    await c.open()
    await until('c follows', () => c.consensus.status().leader !== '' && digest(c) === digest(cluster.get('a')))
    t.is((await asides(c.directory)).length, what === 'the whole log is gone' ? 0 : 1)
  })
}

for (const what of ['the snapshot', 'the record of the snapshot']) {
  test.serial(`damaged: ${what}: repaired from the leader`, async (t) => {
    const cluster = await threeWithEntries(t)
    const c = cluster.get('c')
    await until('c has all of it', () => c.entries.some((entry) => text(entry) === 'before 9'))
    await c.consensus.storeSnapshot(c.entries.at(-1)!.index, (async function* () {
      yield Buffer.alloc(300_000, 'x')
    })())
    await c.consensus.abort()
    if (what === 'the snapshot') {
      const folder = join(c.directory, 'log', 'snapshots')
      const [name] = await readdir(folder)
      const content = await readFile(join(folder, name!))
      content[200_000]! ^= 1
      await writeFile(join(folder, name!), content)
    } else {
      await flip(snapshotKey)(c.directory)
    }
    await c.open()
    t.regex(c.logText, /the log is damaged and must be repaired .* snapshot/)
    await votesAgain(t, cluster, c)
  })
}

test.serial('damaged while it leads: the others elect, and repair it', async (t) => {
  const cluster = await threeWithEntries(t)
  const old = await cluster.waitForLeader()
  await old.consensus.abort()
  await flip(stateKey)(old.directory)
  await old.open()
  await until('it votes again', () => {
    const leader = [...cluster.members.values()].find((member) => member.consensus.status().role === 'leader')
    return leader !== undefined && leader.consensus.status().membership.voters.length === 3 && leader !== old
  })
  await until('all are equal', () => new Set([...cluster.members.values()].map(digest)).size === 1)
})

test.serial('a damaged witness is repaired like a node', async (t) => {
  const cluster = await threeWithEntries(t, { c: 'witness' })
  const c = cluster.get('c')
  await c.consensus.abort()
  await flip(stateKey)(c.directory)
  await c.open()
  await votesAgain(t, cluster, c)
  t.is(cluster.get('a').consensus.status().membership.voters.find(({ id }) => id === 'c')?.role, 'witness')
})

test.serial('without a majority of the others it waits and says so, counts for nothing, and goes on with the repair after a crash', async (t) => {
  const cluster = await threeWithEntries(t)
  const [a, b, c] = ['a', 'b', 'c'].map((id) => cluster.get(id)) as [Member, Member, Member]
  await c.consensus.abort()
  await b.consensus.abort()
  await flip()(c.directory)
  const crash = new AbortController()
  const opening = c.open({}, crash.signal)
  await until('a looks for votes', () => a.consensus.status().role === 'pre-candidate')
  await until('c says so', () => c.logText.includes('no leader has answered yet'))
  t.regex(c.logText, /other members: a, b; connected: a.*haechi recover on a node whose log is whole/)
  t.not(a.consensus.status().role, 'leader')
  t.is(a.consensus.status().leader, '')
  crash.abort()
  await t.throwsAsync(opening, { message: /stopped while the log was being repaired/ })
  t.true(existsSync(join(c.directory, 'repair.json')))
  t.false(existsSync(join(c.directory, 'log')))
  const [aside] = await asides(c.directory)
  // As after a crash between the new log and the end of the repair: the unfinished one does not replace what is kept.
  await initCluster({ directory: join(c.directory, 'other'), id: 'x', role: 'node', address: '127.0.0.1:1', apiAddress: '127.0.0.1:1', firstEntries: [] })
  await rename(join(c.directory, 'other', 'log'), join(c.directory, 'log'))
  await b.open()
  await c.open()
  await votesAgain(t, cluster, c)
  t.deepEqual(await asides(c.directory), [aside])
})

test.serial('a crash after the demotion and before it knows: it asks again, and the cluster answers again', async (t) => {
  const cluster = await threeWithEntries(t)
  const c = cluster.get('c')
  await cluster.waitForLeader()
  await c.consensus.abort()
  await demandRepair(c.directory, 'tried out', Date.now())
  await c.open()
  // It is a learner by now, or a voter again. Either way it may lose its log once more.
  await c.consensus.abort()
  await demandRepair(c.directory, 'tried out again', Date.now() + 1000)
  await c.open()
  await votesAgain(t, cluster, c)
  t.is((await asides(c.directory)).length, 2)
  await c.consensus.abort()
  await demandRepair(c.directory, 'and again', Date.now() + 2000)
  await c.open()
  await votesAgain(t, cluster, c)
  t.is((await asides(c.directory)).length, 2, 'the newest two are kept')
})

test.serial('a disk that was put back to an earlier state: the node stops at once when the leader proves it, and the next start repairs', async (t) => {
  const cluster = await threeWithEntries(t)
  const c = cluster.get('c')
  await until('c has all of it', () => c.entries.some((entry) => text(entry) === 'before 9'))
  await c.consensus.abort()
  await cp(join(c.directory, 'log'), join(c.directory, 'log.backup'), { recursive: true })
  await c.open()
  await cluster.waitForLeader()
  await fill(t, cluster, 'later')
  await until('c has that as well', () => c.entries.some((entry) => text(entry) === 'later 9'))
  const leader = await cluster.waitForLeader()
  // The leader lives on, and the stream breaks for a moment only.
  await c.consensus.abort()
  await rm(join(c.directory, 'log'), { recursive: true })
  await rename(join(c.directory, 'log.backup'), join(c.directory, 'log'))
  await c.open()
  await until('it ends', () => c.crashed !== undefined)
  t.regex(c.crashed!.message, /entries that this node has acknowledged are not in its log any more/)
  t.is(c.lease, null)
  t.is(leader.consensus.status().role, 'leader')
  await c.open()
  await votesAgain(t, cluster, c)
})

test.serial('damage that is found while a node runs ends its process at once; the lease ends before', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await until('it holds the lease', () => a.lease !== null)
  // eslint-disable-next-line typescript/unbound-method
  const { read } = LogStorage.prototype
  t.teardown(() => (LogStorage.prototype.read = read))
  LogStorage.prototype.read = () => Promise.reject(new StorageError('log entry 2 is damaged (checksum mismatch)'))
  void a.consensus.replay()
  await until('it ends', () => a.crashed !== undefined)
  t.regex(a.crashed!.message, /log entry 2 is damaged/)
  t.is(a.lease, null)
  t.regex(a.logText, /consensus cannot go on: log entry 2 is damaged/)
})

test.serial('what LevelDB itself finds damaged ends the process, too, instead of being tried again', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await until('it holds the lease', () => a.lease !== null)
  const original = Object.getOwnPropertyDescriptor(ClassicLevel.prototype, 'batch') ?? { value: undefined }
  t.teardown(() => {
    if (original.value === undefined) Reflect.deleteProperty(ClassicLevel.prototype, 'batch')
    else Object.defineProperty(ClassicLevel.prototype, 'batch', original)
  })
  const corruption = Object.assign(new Error('Corruption: block checksum mismatch'), { code: 'LEVEL_CORRUPTION' })
  Object.defineProperty(ClassicLevel.prototype, 'batch', { configurable: true, value: () => Promise.reject(corruption) })
  const proposal = a.consensus.propose(Buffer.from('x'), 'normal')
  await until('it ends', () => a.crashed !== undefined)
  t.regex(a.crashed!.message, /the log's database is damaged: Corruption/)
  t.is(a.lease, null)
  t.false((await proposal).ok)
})

test.serial('the only voter has nobody to repair it: refused with what can be done, and the log stays where it is', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await cluster.waitForLeader()
  await a.consensus.abort()
  await flip(entryKey(2))(a.directory)
  await t.throwsAsync(a.open(), { message: /log entry 2 is damaged .* this node is the only voter: .* haechi recover needs a log that is whole\. Restore .* haechi init/ })
  t.true(existsSync(join(a.directory, 'log')))
  t.deepEqual(await asides(a.directory), [])
})

test.serial('a damaged node that was removed meanwhile is told so', async (t) => {
  const cluster = await threeWithEntries(t)
  const c = cluster.get('c')
  await c.consensus.abort()
  const leader = await cluster.waitForLeader([cluster.get('a'), cluster.get('b')])
  t.true((await leader.consensus.removePeer('c')).ok)
  await flip(stateKey)(c.directory)
  // Its peers let it in for a moment after its removal.
  const failed = await t.throwsAsync(c.open())
  t.regex(failed.message, /c is no member of the cluster any more\. Delete this data directory/)
})

test.serial('what is not damage is not repaired: another node\'s log, a log in use', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b'])
  const [a, b] = [cluster.get('a'), cluster.get('b')]
  const twin = new Member('a', a.directory, 'node')
  await t.throwsAsync(twin.open(), { message: /in use by another process|EADDRINUSE/ })
  await a.consensus.abort()
  await b.consensus.abort()
  await rename(join(a.directory, 'log'), join(a.directory, 'log.own'))
  await rename(join(b.directory, 'log'), join(a.directory, 'log'))
  await t.throwsAsync(a.open(), { message: /the log belongs to b of cluster/ })
  t.false(existsSync(join(a.directory, 'repair.json')))
  t.is(loadIdentity(a.directory).id, 'a')
})

/** What the driver does when the disk or the process itself is held up. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { ClassicLevel } from 'classic-level'
import { initCluster } from './identity.ts'
import { assertInOrder, Cluster, digest, freePort, Member, text, until } from './test-cluster.ts'

/** Called before each batch that LevelDB writes: may delay or refuse it. */
let beforeBatch: (location: string) => Promise<void> = async () => undefined
// eslint-disable-next-line typescript/unbound-method
const batch = ClassicLevel.prototype.batch as (...parameters: unknown[]) => Promise<void>
Object.defineProperty(ClassicLevel.prototype, 'batch', {
  async value(this: ClassicLevel, ...parameters: unknown[]) {
    await beforeBatch(this.location)
    return batch.apply(this, parameters)
  },
})

test.serial('a leader whose disk stalls steps down; another leads; nothing is lost when it recovers', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const old = await cluster.waitForLeader()
  await until('it holds the lease', () => old.lease !== null)
  const stalled = Promise.withResolvers<void>()
  t.teardown(() => stalled.resolve())
  beforeBatch = (location) => (location.startsWith(old.directory) ? stalled.promise : Promise.resolve())
  const proposal = old.consensus.propose(Buffer.from('while stalled'), 'normal')
  const rest = [...cluster.members.values()].filter((member) => member !== old)
  await until('another one leads', () => rest.some((member) => member.consensus.status().role === 'leader'))
  t.is(old.lease, null)
  t.not(old.consensus.status().role, 'leader')
  t.regex(old.logText, /the disk has not completed a write/)
  const next = cluster.leader()!
  t.true((await next.consensus.propose(Buffer.from('after'), 'normal')).ok)
  stalled.resolve()
  beforeBatch = async () => undefined
  const result = await proposal
  const everywhere = () => [...cluster.members.values()].every((member) => member.entries.some((entry) => text(entry) === 'after'))
  await until('all have all', everywhere)
  await until('all are equally far', () => new Set([...cluster.members.values()].map(({ entries }) => entries.length)).size === 1)
  t.is(new Set([...cluster.members.values()].map(digest)).size, 1)
  const committed = old.entries.filter((entry) => text(entry) === 'while stalled').length
  if (result.ok) t.is(committed, 1, 'what was acknowledged is there')
  if (!result.ok && result.retrySafe) t.is(committed, 0, 'what may be repeated is not there')
})

test.serial('a write that fails is repeated and acknowledged only then', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await cluster.waitForLeader()
  let refused = 0
  beforeBatch = () => {
    if (refused >= 2) return Promise.resolve()
    refused += 1
    return Promise.reject(new Error('no space left on device'))
  }
  const proposal = a.consensus.propose(Buffer.from('patient'), 'normal')
  await until('the status says so', () => a.consensus.status().storageError === 'the log cannot be written: no space left on device')
  const result = await proposal
  beforeBatch = async () => undefined
  t.is(refused, 2)
  t.true(result.ok || !result.retrySafe, JSON.stringify(result))
  t.regex(a.logText, /the log cannot be written: no space left on device/)
  t.is(a.logText.match(/the log cannot be written/g)?.length, 1, 'not named with every attempt')
  await until('the trouble is over', () => a.consensus.status().storageError === undefined)
  t.regex(a.logText, /the log can be written again/)
  await until('it leads again', () => a.consensus.status().role === 'leader')
  t.true((await a.consensus.propose(Buffer.from('on'), 'normal')).ok)
  await until('it is handed on', () => a.entries.some((entry) => text(entry) === 'on'))
  assertInOrder(t, a)
  t.is(a.entries.filter((entry) => text(entry) === 'patient').length, 1)
})

test.serial('after the process was held up the lease is given up before anything else happens', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await until('it holds the lease', () => a.lease !== null)
  const before = a.leases.length
  const heldMs = a.consensus.status().timing.leaseMs * 2
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, heldMs)
  await until('it has looked at the clock', () => a.leases.length > before)
  t.is(a.leases[before], null)
  await until('it leads on', () => a.lease !== null)
  t.true(a.lease!.untilMs > performance.now())
})

const asRoot = process.getuid?.() === 0 ? test.serial : test.serial.skip

asRoot('a real full disk (needs root, to mount a small file system): not acknowledged, no damage, and on when there is room again', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'haechi-full-'))
  const disk = join(directory, 'disk')
  await mkdir(disk)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=12m', 'haechi-test', disk])
  const a = new Member('a', join(disk, 'a'), 'node')
  t.teardown(async () => {
    await a.consensus?.abort()
    execFileSync('umount', ['-l', disk])
    await rm(directory, { recursive: true, force: true })
  })
  await initCluster({ directory: a.directory, id: 'a', role: 'node', address: `127.0.0.1:${await freePort()}`, apiAddress: '127.0.0.1:1', firstEntries: [] })
  await a.open()
  await until('it leads', () => a.consensus.status().role === 'leader')
  t.true((await a.consensus.propose(Buffer.from('before'), 'normal')).ok)
  // What is left is less than the next entry needs.
  await writeFile(join(disk, 'filler'), Buffer.alloc(16 * 1024 * 1024)).catch(() => undefined)
  const proposal = a.consensus.propose(Buffer.alloc(300_000, 'x'), 'normal')
  await until('it noticed', () => a.logText.includes('cannot be written'))
  t.is(a.lease, null)
  t.not(a.consensus.status().role, 'leader')
  await rm(join(disk, 'filler'))
  await until('it leads again', () => a.consensus.status().role === 'leader')
  const result = await proposal
  t.true((await a.consensus.propose(Buffer.from('after'), 'normal')).ok)
  await until('it is handed on', () => a.entries.some((entry) => text(entry) === 'after'))
  assertInOrder(t, a)
  const large = a.entries.filter(({ data }) => data.length === 300_000).length
  t.true(result.ok ? large === 1 : !result.retrySafe || large === 0, JSON.stringify({ result, large }))
  await a.consensus.abort()
  await a.open()
  await until('all of it is there after a restart', () => a.entries.some((entry) => text(entry) === 'after'))
  assertInOrder(t, a)
})

/** Lost quorum: one node goes on alone, the others of before are refused, new ones join. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import test, { type ExecutionContext } from 'ava'
import { demandRepair } from './damage.ts'
import { loadIdentity } from './identity.ts'
import { inspectForRecovery, recoverAlone } from './recovery.ts'
import { LogStorage } from './storage/storage.ts'
import { assertInOrder, Cluster, Member, text, until } from './test-cluster.ts'

/** Three members that have one entry in common; all are stopped. */
async function stoppedCluster(t: ExecutionContext, roles: Record<string, 'node' | 'witness'> = {}): Promise<Cluster> {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'], roles)
  const leader = await cluster.waitForLeader()
  t.true((await leader.consensus.propose(Buffer.from('kept'), 'normal')).ok)
  await until('all have it', () => [...cluster.members.values()].every(({ entries }) => entries.some((entry) => text(entry) === 'kept')))
  for (const member of cluster.members.values()) await member.consensus.abort()
  return cluster
}

const refusedByA = /a refuses this node, which is no member of its cluster: .* recovered without it/
const audit = () => [Buffer.from('who, when, what')]

/** Alone, serving, with what it had. */
async function leadsAlone(t: ExecutionContext, a: Member): Promise<void> {
  await a.open()
  await until('it leads', () => a.consensus.status().role === 'leader' && a.lease !== null)
  const { membership } = a.consensus.status()
  t.deepEqual(membership.voters.map(({ id }) => id), ['a'])
  t.deepEqual(membership.learners, [])
  t.true((await a.consensus.propose(Buffer.from('alone'), 'normal')).ok)
  await until('it is handed on', () => a.entries.some((entry) => text(entry) === 'alone'))
  const texts = a.entries.map(text)
  for (const what of ['first', 'kept', 'who, when, what', 'alone']) t.is(texts.filter((entry) => entry === what).length, 1, what)
  t.true(texts.indexOf('kept') < texts.indexOf('who, when, what'))
  assertInOrder(t, a)
}

test.serial('a node goes on alone, old machines are refused, and new ones join', async (t) => {
  const cluster = await stoppedCluster(t)
  const [a, b, c] = ['a', 'b', 'c'].map((id) => cluster.get(id)) as [Member, Member, Member]
  const view = await inspectForRecovery(a.directory)
  t.like(view, { id: 'a', generation: 0, voter: true })
  t.deepEqual(view.membership.voters.map(({ id }) => id), ['a', 'b', 'c'])
  t.true(view.lastIndex > 0 && view.lastTerm > 0 && view.commitIndex <= view.lastIndex)
  t.deepEqual(await inspectForRecovery(a.directory), view, 'looking changes nothing')
  const recovered = await recoverAlone(a.directory, audit)
  t.deepEqual(recovered, { index: view.lastIndex + 1, term: recovered.term, generation: 1 })
  t.true(recovered.term > view.lastTerm)
  await leadsAlone(t, a)

  // The old machines, started after all: they neither reach the recovered node nor count for it.
  await b.open()
  await c.open()
  await until('the old ones elect among themselves', () => [b, c].some((member) => member.consensus.status().role === 'leader'))
  await until('they say so', () => [b, c].every(({ logText }) => refusedByA.test(logText)))
  for (const member of [b, c]) t.false(member.consensus.status().peers.find(({ peer }) => peer.id === 'a')!.connected)
  t.deepEqual(a.consensus.status().peers, [])
  t.is(a.consensus.status().role, 'leader')
  await b.consensus.abort()
  await c.consensus.abort()
  cluster.members.delete('b')
  cluster.members.delete('c')

  const again = await cluster.join('b', 'node', join(cluster.directory, 'b-again'))
  t.is(loadIdentity(again.directory).generation, 1)
  await until('it has everything', () => again.entries.some((entry) => text(entry) === 'alone'))
  await again.consensus.abort()
  await again.open()
  await cluster.waitForLeader()
  // The old b is nobody, for the new b has its name.
  const refusals = c.logText.split('a refuses this node').length
  await c.open()
  await until('it is refused still', () => c.logText.split('a refuses this node').length > refusals)
  await c.consensus.abort()

  // Once more, from the other one.
  for (const member of cluster.members.values()) await member.consensus.abort()
  t.is((await inspectForRecovery(again.directory)).generation, 1)
  t.is((await recoverAlone(again.directory, () => [])).generation, 2)
  await again.open()
  await until('it leads', () => again.consensus.status().role === 'leader')
})

test.serial('a crash between the steps is harmless: before the write nothing has changed, after it the node goes on alone', async (t) => {
  const cluster = await stoppedCluster(t)
  const a = cluster.get('a')
  const before = await inspectForRecovery(a.directory)
  // eslint-disable-next-line typescript/unbound-method
  const { recover } = LogStorage.prototype
  t.teardown(() => (LogStorage.prototype.recover = recover))
  LogStorage.prototype.recover = () => Promise.reject(new Error('the machine went down'))
  await t.throwsAsync(recoverAlone(a.directory, audit), { message: /went down/ })
  t.deepEqual(await inspectForRecovery(a.directory), before)
  t.is(loadIdentity(a.directory).generation, undefined)
  LogStorage.prototype.recover = async function recoverThenCrash(this: LogStorage, ...parameters: Parameters<typeof recover>) {
    await recover.apply(this, parameters)
    throw new Error('the machine went down')
  }
  await t.throwsAsync(recoverAlone(a.directory, audit), { message: /went down/ })
  t.is(loadIdentity(a.directory).generation, undefined, 'identity.json has not followed')
  // Again: nothing is left to do, and that is said.
  await t.throwsAsync(inspectForRecovery(a.directory), { message: /the only voter already/ })
  await leadsAlone(t, a)
  t.is(loadIdentity(a.directory).generation, 1)
  const b = cluster.get('b')
  await b.open()
  await until('the old one is refused', () => refusedByA.test(b.logText))
})

test.serial('refused: a witness, a log in use, a damaged log, a removed node, an only voter', async (t) => {
  const cluster = await stoppedCluster(t, { c: 'witness' })
  const [a, b, c] = ['a', 'b', 'c'].map((id) => cluster.get(id)) as [Member, Member, Member]
  await t.throwsAsync(recoverAlone(c.directory, audit), { message: /c is a witness: .* neither .* nor the key of the cluster's CA/ })
  await a.open()
  await t.throwsAsync(recoverAlone(a.directory, audit), { message: /in use by another process/ })
  await b.open()
  await c.open()
  await until('a node leads', () => [a, b].some((member) => member.consensus.status().role === 'leader'))
  const leader = [a, b].find((member) => member.consensus.status().role === 'leader')!
  const copy = await mkdtemp(join(tmpdir(), 'haechi-recovery-'))
  t.teardown(() => rm(copy, { recursive: true, force: true }))
  const follower = leader === a ? b : a
  t.true((await leader.consensus.removePeer(follower.id)).ok)
  await until('the removed one knows', () => !follower.consensus.status().membership.voters.some(({ id }) => id === follower.id))
  await follower.consensus.abort()
  await t.throwsAsync(recoverAlone(follower.directory, audit), { message: /was removed from the cluster/ })
  t.true((await leader.consensus.removePeer('c')).ok)
  await leader.consensus.abort()
  await t.throwsAsync(recoverAlone(leader.directory, audit), { message: /the only voter already/ })
  await c.consensus.abort()
  await cp(leader.directory, copy, { recursive: true })
  await demandRepair(copy, 'a test', Date.now())
  await t.throwsAsync(recoverAlone(copy, audit), { message: /damaged \(a test\): recover from a node whose log is whole/ })
})

/** A member that was removed and joined again under its name: its old data directory, started again, is nobody. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { certificateFingerprint, loadCredentials } from './identity.ts'
import { Cluster, Member, text, until } from './test-cluster.ts'

const warning = /the certificate of b is not that of the member b: refused; was the node removed and joined again/

/** Takes b away and lets another b join with a fresh directory; the old one is handed back, not running. */
async function replaceB(t: ExecutionContext, cluster: Cluster, { running }: { running: boolean }): Promise<Member> {
  const old = cluster.get('b')
  t.teardown(() => old.consensus.abort())
  if (!running) await old.consensus.abort()
  cluster.members.delete('b')
  const leader = await cluster.waitForLeader([...cluster.members.values()])
  t.true((await leader.consensus.removePeer('b')).ok)
  await cluster.join('b', 'node', join(cluster.directory, 'b-again'))
  return old
}

test.serial('the record of every member has the fingerprint of its certificate', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'w'], { w: 'witness' })
  for (const { id, fingerprint } of cluster.get('a').consensus.status().membership.voters) {
    t.is(fingerprint, certificateFingerprint(loadCredentials(cluster.get(id).directory).certificate), id)
  }
})

test.serial('a removed node\'s old data directory, started after its name has joined again: refused by all, no vote, no entries', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const old = await replaceB(t, cluster, { running: false })
  await old.open()
  const [a, c, b] = ['a', 'c', 'b'].map((id) => cluster.get(id)) as [Member, Member, Member]
  await until('it knows', () => old.consensus.status().identityError !== undefined)
  t.regex(old.consensus.status().identityError!, /refuse its certificate, for the member b has another; .* delete this data directory/)
  t.regex(old.logText, /this node cannot take part/)
  for (const member of [a, c]) await until(`${member.id} says so`, () => warning.test(member.logText))
  const leader = await cluster.waitForLeader()
  t.true((await leader.consensus.propose(Buffer.from('after'), 'normal')).ok)
  await until('the new one has it', () => b.entries.some((entry) => text(entry) === 'after'))
  // With the new b and c gone, a has no majority: the old b must not be one with it.
  await b.consensus.abort()
  await c.consensus.abort()
  await until('a looks for votes', () => a.consensus.status().role === 'pre-candidate')
  await sleep(a.consensus.status().timing.maxElectionMs * 6)
  t.not(a.consensus.status().role, 'leader')
  t.is(old.consensus.status().leader, '')
  t.deepEqual(old.consensus.status().peers.filter(({ connected }) => connected), [])
  t.false(old.entries.some((entry) => text(entry) === 'after'))
  t.true(old.leases.every((lease) => lease === null))
  for (const member of [a, c]) t.true(member.logText.split('the certificate of b is not').length - 1 <= 2, 'not logged with every attempt')
  // The right one is taken back.
  await b.open()
  await cluster.waitForLeader([a, b])
})

test.serial('a removed node that still runs when its name joins again takes no part in the new one\'s name', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const old = await replaceB(t, cluster, { running: true })
  await until('it is cut off', () => old.consensus.status().peers.every(({ connected }) => !connected))
  const leader = await cluster.waitForLeader()
  t.true((await leader.consensus.propose(Buffer.from('after'), 'normal')).ok)
  await until('the new one has it', () => cluster.get('b').entries.some((entry) => text(entry) === 'after'))
  const { membership, identityError } = old.consensus.status()
  t.true(identityError !== undefined || !membership.voters.some(({ id }) => id === 'b'), 'it knows that it is no member')
  t.false(old.entries.some((entry) => text(entry) === 'after'))
  t.is(old.lease, null)
})

test.serial('a node that was away while another one was replaced takes the new one for what it is, also as its leader', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c', 'd', 'e'])
  const e = cluster.get('e')
  await cluster.waitForLeader()
  await e.consensus.abort()
  cluster.members.delete('e')
  await replaceB(t, cluster, { running: false })
  const b = cluster.get('b')
  const leader = await cluster.waitForLeader()
  if (leader !== b) t.true((await cluster.handOver(leader, 'b')).ok)
  t.true((await b.consensus.propose(Buffer.from('by the new b'), 'normal')).ok)
  await e.open()
  t.teardown(() => e.consensus.abort())
  await until('e follows the new b', () => e.consensus.status().leader === 'b' && e.entries.some((entry) => text(entry) === 'by the new b'))
  t.is(b.consensus.status().role, 'leader')
  t.regex(e.logText, /knows of newer members than this node's log/)
})

test.serial('a machine that joins under a name used before reads the log of its predecessor\'s time and takes part', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  // More than one message of the log between what it reads of its predecessor and of itself.
  const leader = await cluster.waitForLeader()
  const many = await Promise.all(Array.from({ length: 1500 }, (_, at) => leader.consensus.propose(Buffer.from(`entry ${at}`), 'normal')))
  t.true(many.every(({ ok }) => ok))
  await replaceB(t, cluster, { running: false })
  const b = cluster.get('b')
  await until('it has all of it', () => b.entries.some((entry) => text(entry) === 'entry 1499'))
  t.is(b.consensus.status().identityError, undefined)
  t.notRegex(b.logText, /takes no part|was removed/)
})

test.serial('a machine joins a leader whose own name was used before: the log that it reads names the predecessor', async (t) => {
  const cluster = await Cluster.start(t, ['b', 'a'])
  const first = await cluster.waitForLeader()
  if (first.id === 'b') t.true((await cluster.handOver(first, 'a')).ok)
  // More than one message of the log between the two b.
  const many = await Promise.all(Array.from({ length: 1500 }, (_, at) => cluster.get('a').consensus.propose(Buffer.from(`entry ${at}`), 'normal')))
  t.true(many.every(({ ok }) => ok))
  await replaceB(t, cluster, { running: true })
  const [a, b] = [cluster.get('a'), cluster.get('b')]
  const leader = await cluster.waitForLeader()
  if (leader !== b) t.true((await cluster.handOver(leader, 'b')).ok)
  t.true((await b.consensus.removePeer('a')).ok)
  await a.consensus.abort()
  cluster.members.delete('a')
  const c = await cluster.join('c', 'node')
  await until('it has all of it', () => c.entries.some((entry) => text(entry) === 'entry 1499'))
  t.notRegex(c.logText, /the certificate of b is not/)
})

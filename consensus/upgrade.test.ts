/** Clusters of two versions: real nodes on loopback, of which some are told to be of the next version. */
import test, { type ExecutionContext } from 'ava'
import { assertInOrder, Cluster, digest, text, until, type Member } from './test-cluster.ts'
import type { Versions } from './versions.ts'

const older: Versions = { protocol: { min: 1, max: 1 }, commandLevel: 1, product: '0.1.0' }
const newer: Versions = { protocol: { min: 1, max: 2 }, commandLevel: 2, product: '0.2.0' }

async function restart(member: Member, versions: Versions): Promise<void> {
  await member.consensus.stop()
  member.versions = versions
  await member.open()
}

const other = (members: readonly Member[], not: Member) => members.find((member) => member !== not)!
const announced = (of: Member, peer: Member) => of.consensus.status().peers.find((status) => status.peer.id === peer.id)

/** Elects, commits, forwards from each to the leader; all end with the same log. */
async function works(t: ExecutionContext, members: readonly Member[], what: string): Promise<void> {
  await until('a leader is known', () => members.every((member) => member.consensus.status().leader !== ''))
  for (const member of members) {
    const result = await member.consensus.propose(Buffer.from(`${what} from ${member.id}`), 'normal')
    t.true(result.ok, `${what} from ${member.id}: ${JSON.stringify(result)}`)
  }
  const wanted = members.map(({ id }) => `${what} from ${id}`)
  await until('all have all', () => members.every(({ entries }) => wanted.every((one) => entries.some((entry) => text(entry) === one))))
}

test.serial('a cluster is upgraded node by node, works mixed whoever leads, and goes back the same way', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'w'], { w: 'witness' })
  const [a, b, w] = [cluster.get('a'), cluster.get('b'), cluster.get('w')]
  const all = [a, b, w]
  const nodes = [a, b]
  await cluster.waitForLeader()
  for (const member of all) await restart(member, older)
  await works(t, all, 'old')

  await restart(w, newer)
  await works(t, all, 'new witness')
  const follower = other(nodes, await cluster.waitForLeader())
  await restart(follower, newer)
  await works(t, all, 'new follower')
  const leader = await cluster.waitForLeader()
  t.is(leader, other(nodes, follower), 'the old one leads')
  await until('they are connected', () => announced(follower, w)?.protocol === 2 && announced(leader, follower)?.protocol === 1)
  t.deepEqual(announced(leader, follower)?.versions, newer)
  t.deepEqual(announced(follower, leader)?.versions, older)
  t.deepEqual(leader.consensus.status().versions, older)

  t.deepEqual(await cluster.handOver(leader, follower.id), { ok: true })
  await works(t, all, 'the new one leads')
  t.like(await leader.consensus.requestTransfer(leader.id), { ok: true }, 'an old follower asks the new leader')
  await works(t, all, 'the old one leads again')

  // The way back, before anything was finished.
  await restart(follower, older)
  await restart(w, older)
  await works(t, all, 'back')
  await until('they are connected', () => announced(w, follower)?.protocol === 1)
  await until('all are equally far', () => new Set(nodes.map(({ entries }) => entries.length)).size === 1)
  for (const member of nodes) assertInOrder(t, member)
  t.is(new Set(nodes.map(digest)).size, 1)
})

test.serial('a node that is too new for the others gets no stream and disturbs nobody; as their version it is back', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const leader = await cluster.waitForLeader()
  const [away, stays] = [...cluster.members.values()].filter((member) => member !== leader) as [Member, Member]
  await restart(away, { protocol: { min: 3, max: 4 }, commandLevel: 3, product: '0.4.0' })
  await until('both sides say why', () =>
    /speaks protocol 3 to 4, this node .* 1: no stream/.test(leader.logText) && /speaks protocol 1, this node \(version 0\.4\.0\) 3 to 4: no stream/.test(away.logText))
  const { term } = leader.consensus.status()
  await works(t, [leader, stays], 'without it')
  t.is(leader.consensus.status().term, term)
  t.like(announced(leader, away), { connected: false, protocol: null, versions: { product: '0.4.0' } })
  await restart(away, older)
  await works(t, [leader, stays, away], 'with it again')
})

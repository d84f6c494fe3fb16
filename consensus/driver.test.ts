import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { assertInOrder, Cluster, digest, text, until } from './test-cluster.ts'

test.serial('three nodes form by token, agree, survive the death of the leader, and the dead one catches up', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const [a, b, c] = [cluster.get('a'), cluster.get('b'), cluster.get('c')]
  const first = await cluster.waitForLeader()
  await until('it holds the lease', () => first.lease !== null)
  const follower = first === b ? c : b
  const proposed = await follower.consensus.propose(Buffer.from('through a follower'), 'normal')
  t.true(proposed.ok)
  const many = await Promise.all(Array.from({ length: 300 }, (_, at) => follower.consensus.propose(Buffer.from(`m${at}`), at % 3 === 0 ? 'bulk' : 'normal')))
  t.true(many.every(({ ok }) => ok))
  follower.consensus.gossip(Buffer.from('hello'))
  await until('gossip arrives', () => first.gossip.includes(`${follower.id}: hello`))

  await first.consensus.abort()
  t.is(first.lease, null)
  const rest = [a, b, c].filter((member) => member !== first)
  const second = await cluster.waitForLeader(rest)
  t.not(second, first)
  const after = await second.consensus.propose(Buffer.from('after'), 'normal')
  t.true(after.ok)

  await first.open()
  await until('all have all', () => [a, b, c].every((member) => member.entries.some((entry) => text(entry) === 'after')))
  await until('all are equally far', () => new Set([a, b, c].map(({ entries }) => entries.length)).size === 1)
  for (const member of [a, b, c]) assertInOrder(t, member)
  t.is(new Set([a, b, c].map(digest)).size, 1)
  t.is(a.entries.filter((entry) => text(entry) === 'm7').length, 1)
  t.is(text(a.entries[1]!), 'first')
})

test.serial('a restarted node has its term, vote and log, and serves what it knew without a majority', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const leader = await cluster.waitForLeader()
  for (let at = 0; at < 20; at += 1) t.true((await leader.consensus.propose(Buffer.from(`e${at}`), 'normal')).ok)
  const { term, lastIndex } = leader.consensus.status()
  await Promise.all([...cluster.members.values()].map((member) => member.consensus.abort()))
  await leader.open()
  await until('the known part of the log is there', () => leader.entries.some((entry) => text(entry) === 'e18'))
  const status = leader.consensus.status()
  t.true(status.term >= term)
  t.is(status.lastIndex, lastIndex)
  t.not(status.role, 'leader')
  assertInOrder(t, leader)
  const alone = await leader.consensus.propose(Buffer.from('alone'), 'normal')
  t.like(alone, { ok: false, code: 'no-leader', retrySafe: true })
})

test.serial('a snapshot brings a fresh node up to date, and a replay starts from it', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await cluster.waitForLeader()
  const big = Buffer.alloc(600_000, 7)
  for (let at = 0; at < 1200; at += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, n) => a.consensus.propose(Buffer.from(`x${at + n}`), 'normal')))
  }
  const index = a.consensus.status().commitIndex
  await until('it is handed on', () => a.entries.at(-1)?.index === index)
  await a.consensus.storeSnapshot(index, (async function* () { yield big; yield Buffer.from('end') })())
  t.is(a.consensus.status().snapshotIndex, index)
  t.true(a.consensus.status().firstIndex > 1, 'the log is compacted')
  t.true((await a.consensus.propose(Buffer.from('behind the snapshot'), 'normal')).ok)

  const b = await cluster.join('b', 'node')
  await until('b has it', () => b.entries.some((entry) => text(entry) === 'behind the snapshot'))
  t.is(b.restored.length, 1)
  t.is(b.restored[0]!.meta.index, index)
  t.true(b.restored[0]!.data.equals(Buffer.concat([big, Buffer.from('end')])))
  assertInOrder(t, b)

  a.entries = []
  await a.consensus.replay()
  t.is(a.restored.length, 1)
  t.is(a.restored[0]!.meta.index, index)
  assertInOrder(t, a)
  t.is(a.entries.at(-1)!.index, a.consensus.status().commitIndex)

  await b.consensus.abort()
  await b.open()
  await until('b is back', () => b.entries.some((entry) => text(entry) === 'behind the snapshot'))
  t.is(b.restored.length, 1, 'from its own disk')
  assertInOrder(t, b)
})

test.serial('a node that was away for longer than the log goes back is given a snapshot in place of its log', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const leader = await cluster.waitForLeader()
  const away = [...cluster.members.values()].find((member) => member !== leader)!
  await until('it has the beginning', () => away.entries.some((entry) => text(entry) === 'first'))
  await away.consensus.abort()
  for (let at = 0; at < 3000; at += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, n) => leader.consensus.propose(Buffer.from(`x${at + n}`), 'normal')))
  }
  const { commitIndex } = leader.consensus.status()
  await until('it is handed on', () => leader.entries.at(-1)?.index === commitIndex)
  await leader.consensus.storeSnapshot(commitIndex, (async function* () { yield Buffer.from('state') })())
  await away.open()
  t.true((await leader.consensus.propose(Buffer.from('after'), 'normal')).ok)
  await until('it has caught up', () => away.entries.some((entry) => text(entry) === 'after'))
  t.is(away.restored.length, 1)
  t.is(away.restored[0]!.data.toString(), 'state')
  assertInOrder(t, away)
  t.is(away.consensus.status().membership.voters.length, 3)
  await away.consensus.abort()
  await away.open()
  await until('it is all on its disk', () => away.entries.some((entry) => text(entry) === 'after'))
  assertInOrder(t, away)
})

test.serial('a witness whose log has grown long gets a snapshot and compacts', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'w'], { w: 'witness' })
  const witness = cluster.get('w')
  const leader = await cluster.waitForLeader()
  const fill = async (count: number) => {
    for (let at = 0; at < count; at += 1000) {
      await Promise.all(Array.from({ length: 1000 }, () => leader.consensus.propose(Buffer.from('x'), 'normal')))
    }
    const { commitIndex } = leader.consensus.status()
    await until('it is handed on', () => leader.entries.at(-1)?.index === commitIndex)
    return commitIndex
  }
  const index = await fill(10_000)
  t.false(leader.consensus.wantsSnapshot())
  for (const member of [cluster.get('a'), cluster.get('b')]) {
    await until('all is handed on', () => member.entries.at(-1)?.index === index)
    await member.consensus.storeSnapshot(index, (async function* () { yield Buffer.from('state') })())
  }
  await fill(12_000)
  await until('the witness has the snapshot', () => witness.consensus.status().snapshotIndex === index)
  await until('its log is compacted', () => witness.consensus.status().firstIndex > 1)
  t.is(witness.consensus.status().lastIndex, leader.consensus.status().lastIndex)
  await fill(9000)
  await until('the next one is wanted', () => leader.consensus.wantsSnapshot())
})

test.serial('proposals have bounds, and the largest one gets through from a follower', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b'])
  const leader = await cluster.waitForLeader()
  const follower = [...cluster.members.values()].find((member) => member !== leader)!
  const largest = 16 * 1024 * 1024
  t.like(await follower.consensus.propose(Buffer.alloc(largest + 1), 'normal'), { ok: false, code: 'too-large', retrySafe: true })
  t.like(await follower.consensus.propose(Buffer.alloc(256 * 1024 + 1), 'bulk'), { ok: false, code: 'too-large', retrySafe: true })
  const result = await follower.consensus.propose(Buffer.alloc(largest, 1), 'normal')
  t.true(result.ok, JSON.stringify(result))
  await until('both have it', () => [leader, follower].every((member) => member.entries.some(({ data }) => data.length === largest)))
  const flood = await Promise.all(Array.from({ length: 6000 }, () => leader.consensus.propose(Buffer.from('x'), 'normal')))
  const refused = flood.filter((one) => !one.ok)
  t.true(refused.length > 0)
  t.true(refused.every((one) => !one.ok && one.code === 'overloaded' && one.retrySafe))
  t.is(flood.length - refused.length, 4096)
})

test.serial('bulk proposals do not hold up a normal one', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b'])
  const leader = await cluster.waitForLeader()
  const settled: string[] = []
  const bulk = Array.from({ length: 40 }, async () => {
    const result = await leader.consensus.propose(Buffer.alloc(200_000), 'bulk')
    settled.push(result.ok ? 'bulk' : 'refused')
  })
  const normal = leader.consensus.propose(Buffer.from('now'), 'normal').then((result) => settled.push(result.ok ? 'normal' : 'refused'))
  await Promise.all([...bulk, normal])
  t.false(settled.includes('refused'))
  t.true(settled.indexOf('normal') < 4, `it came ${settled.indexOf('normal')}th`)
})

test.serial('a replay in the middle of traffic neither skips nor repeats an entry', async (t) => {
  const cluster = await Cluster.start(t, ['a'])
  const a = cluster.get('a')
  await cluster.waitForLeader()
  const proposals: Promise<unknown>[] = []
  for (let round = 0; round < 5; round += 1) {
    for (let at = 0; at < 50; at += 1) proposals.push(a.consensus.propose(Buffer.from(`r${round}.${at}`), 'normal'))
    await sleep(2)
    a.entries = []
    await a.consensus.replay()
    assertInOrder(t, a)
  }
  await Promise.all(proposals)
  const { commitIndex } = a.consensus.status()
  await until('all is handed on', () => a.entries.at(-1)?.index === commitIndex)
  assertInOrder(t, a)
})

test.serial('a planned hand-over closes the fence first, and is passed on by a follower', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'w'], { w: 'witness' })
  const old = await cluster.waitForLeader()
  await until('it holds the lease', () => old.lease !== null)
  const next = old.id === 'a' ? cluster.get('b') : cluster.get('a')
  const order: string[] = []
  await old.consensus.abort()
  await old.open({
    closeFence: async () => {
      order.push(`closing, lease ${old.lease === null ? 'gone' : 'held'}, ${old.consensus.status().role}`)
      await sleep(20)
      order.push(`closed, ${old.consensus.status().role}`)
    },
  })
  // Whoever leads now, bring it to `old` and then, on a follower's request, away from it.
  await cluster.waitForLeader()
  while (old.consensus.status().role !== 'leader') {
    // Refused as long as it has not been heard of again.
    await next.consensus.transfer(old.id)
    await sleep(20)
  }
  await until('it holds the lease again', () => old.lease !== null)
  order.length = 0
  const before = old.leases.length
  t.deepEqual(await next.consensus.requestTransfer(next.id), { ok: true })
  t.deepEqual(order, ['closing, lease gone, leader', 'closed, leader'])
  t.deepEqual([...new Set(old.leases.slice(before))].filter((lease) => lease !== null), [], 'no lease after the fence was closed')
  await until('the next one holds the lease', () => next.lease !== null)
  t.like(await cluster.handOver(next, 'w'), { ok: true })
  await until('a witness hands on at once', () => ['a', 'b'].includes(cluster.leader()?.id ?? ''))
  t.like(await cluster.leader()!.consensus.transfer('nobody'), { ok: false })
})

test.serial('stop hands over, and a removed node is told and then refused', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const old = await cluster.waitForLeader()
  await until('it holds the lease', () => old.lease !== null)
  const started = performance.now()
  await old.consensus.stop()
  t.true(old.calls.includes('closeFence'))
  t.is(old.lease, null)
  const rest = [...cluster.members.values()].filter((member) => member !== old)
  const leader = await cluster.waitForLeader(rest)
  t.log(`stopped and taken over within ${Math.round(performance.now() - started)} ms`)
  t.like(await old.consensus.propose(Buffer.from('x'), 'normal'), { ok: false, code: 'stopped', retrySafe: true })

  await old.open()
  await cluster.waitForLeader()
  const follower = rest.find((member) => member !== leader)!
  const removed = await follower.consensus.removePeer(old.id)
  t.true(removed.ok, JSON.stringify(removed))
  await until('it knows', () => old.logText.includes('this node was removed'))
  t.like(await follower.consensus.removePeer('nobody'), { ok: false, code: 'invalid', retrySafe: true })
  t.is(leader.consensus.status().membership.voters.length, 2)
  // Bug: as long as its stream lasted a removed node could change, read and hand over what it is no part of any more.
  const count = leader.calls.length
  t.like(await old.consensus.propose(Buffer.from('from outside'), 'normal'), { ok: false })
  t.false((await old.consensus.removePeer(follower.id)).ok)
  t.false((await old.consensus.requestTransfer('')).ok)
  t.false((await old.consensus.readIndex()).ok)
  t.is(leader.calls.length, count, 'the fence was not closed')
  t.is(leader.consensus.status().membership.voters.length, 2)
})

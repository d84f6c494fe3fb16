/** Reads: by the lease at once, else by a majority that still follows; never of what another leader has overtaken. */
import test from 'ava'
import { maxWaitingReads } from '../core/reads.ts'
import { balancedTiming as timing } from '../core/types.ts'
import type { ReadResult } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { only, Solo } from './solo.ts'

/** A leader whose no-op is committed, without a lease yet: heartbeat 1 is unanswered. */
function leaderOf(...names: readonly string[]): Solo {
  const leader = new Solo(names[0]!.replace('!', ''), members(...names))
  const others = names.slice(1, Math.floor(names.length / 2) + 1)
  leader.lead(...others)
  for (const other of others) leader.acknowledge(other)
  leader.flush()
  return leader
}

/** Takes all Readies; what they say about reads, and how many heartbeats went to each peer. */
function taken(leader: Solo): { reads: ReadResult[]; beats: number } {
  const reads: ReadResult[] = []
  let beats = 0
  for (let ready = leader.raft.ready(); ready !== undefined; ready = leader.raft.ready()) {
    reads.push(...ready.reads)
    beats += only(ready.immediate, 'heartbeat').filter(({ to }) => to === 'b').length
  }
  return { reads, beats }
}

test('with the lease a read is answered at once, without a message', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 1)
  t.deepEqual(leader.raft.read(leader.now), { ok: true, id: 1 })
  t.deepEqual(taken(leader), { reads: [{ id: 1, index: 1, ok: true }], beats: 0 })
})

test('without the lease a read waits for a majority to answer a heartbeat that was sent after it', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.pass(10)
  t.deepEqual(leader.raft.read(leader.now), { ok: true, id: 1 })
  t.deepEqual(taken(leader), { reads: [], beats: 1 }, 'asked at once')
  leader.beat('c', 2)
  t.deepEqual(taken(leader).reads, [{ id: 1, index: 1, ok: true }])
})

test('bug of others: a stale ReadIndex, confirmed by an answer to what was sent before the read', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.pass(timing.leaseMs + 10)
  const before = taken(leader).beats + 1
  leader.raft.read(leader.now)
  t.is(taken(leader).beats, 1)
  for (let sequence = 1; sequence <= before; sequence += 1) leader.beat('b', sequence)
  // Those answers did renew the lease for the next read, but this one was asked before they came.
  t.deepEqual(taken(leader).reads, [])
  leader.beat('b', before + 1)
  t.deepEqual(taken(leader).reads, [{ id: 1, index: 1, ok: true }])
})

test('bug of others: a read is served before the leader knows what is committed', t => {
  const leader = new Solo('a', members('a', 'b', 'c'), { terms: [1, 1] })
  t.like(leader.raft.read(leader.now), { ok: false, code: 'not-leader' })
  leader.lead('b')
  leader.beat('b', 1)
  t.like(leader.raft.read(leader.now), { ok: false, code: 'term-not-committed' })
  leader.acknowledge('b')
  t.like(leader.raft.read(leader.now), { ok: true })
  t.is(taken(leader).reads[0]!.index, 3)
})

test('bug of others: stale reads after a process pause', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'c') })
  const first = cluster.settle()
  cluster.run(200)
  cluster.pause(first)
  const second = cluster.settleWithout(first, 2000)
  cluster.propose(second, 'newer')
  cluster.run(100)
  // The moment in which it wakes up, before it has heard of anything: the lease is over by its own clock.
  const { raft, offsetMs, rate } = cluster.host(first)
  t.is(raft!.role, 'leader')
  t.true(raft!.read(offsetMs + cluster.now * rate).ok)
  const results: ReadResult[] = []
  for (let ready = raft!.ready(); ready !== undefined; ready = raft!.ready()) results.push(...ready.reads)
  t.deepEqual(results.map(({ ok }) => ok), [false], 'no majority, no longer a leader')
})

test('reads that come close together share a round', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.pass(10)
  taken(leader)
  for (let i = 0; i < 100; i += 1) leader.raft.read(leader.now)
  leader.pass(1)
  t.is(taken(leader).beats, 1, 'the first asks at once')
  leader.pass(2)
  t.is(taken(leader).beats, 1, 'all others together')
  leader.beat('b', 2)
  t.is(taken(leader).reads.length, 1)
  leader.beat('b', 3)
  t.deepEqual(taken(leader).reads.map(({ id }) => id), Array.from({ length: 99 }, (_, i) => i + 2))
})

test('a lost round is repeated with the next heartbeat', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.pass(10)
  leader.raft.read(leader.now)
  taken(leader)
  leader.pass(timing.heartbeatMs)
  t.is(taken(leader).beats, 1)
  leader.beat('b', 3)
  t.is(taken(leader).reads.length, 1)
})

test('every accepted read is answered once, also when leadership is lost', t => {
  for (const lose of [
    (leader: Solo) => leader.hear('b', { type: 'heartbeat', term: 9, sequence: 1, commit: 0 }),
    (leader: Solo) => leader.pass(timing.maxElectionMs),
    (leader: Solo) => leader.raft.diskStalled(leader.now),
  ]) {
    const leader = leaderOf('a', 'b', 'c')
    leader.raft.read(leader.now)
    leader.raft.read(leader.now)
    t.deepEqual(taken(leader).reads, [])
    lose(leader)
    t.deepEqual(taken(leader).reads, [{ id: 1, index: 1, ok: false }, { id: 2, index: 1, ok: false }])
    leader.beat('b', 2)
    leader.pass(5000)
    t.deepEqual(taken(leader).reads, [])
    t.like(leader.raft.read(leader.now), { ok: false, code: 'not-leader' })
  }
})

test('waiting reads are bounded', t => {
  const leader = leaderOf('a', 'b', 'c')
  for (let i = 0; i < maxWaitingReads; i += 1) t.true(leader.raft.read(leader.now).ok)
  t.like(leader.raft.read(leader.now), { ok: false, code: 'overloaded' })
  leader.pass(3)
  taken(leader)
  leader.beat('b', 2)
  t.is(taken(leader).reads.length, maxWaitingReads)
  t.true(leader.raft.read(leader.now).ok)
})

test('after the lease was given up only a majority can answer (rule 4)', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 1)
  leader.beat('c', 1)
  leader.raft.transfer('b', leader.now)
  leader.pass(3)
  t.true(leader.raft.read(leader.now).ok)
  t.deepEqual(taken(leader), { reads: [], beats: 1 })
  leader.beat('c', 2)
  t.deepEqual(taken(leader).reads.map(({ ok }) => ok), [true])
})

test('a witness that leads reads by its quorum\'s promise, although it has no lease', t => {
  const leader = leaderOf('w!', 'b', 'c')
  leader.beat('c', 1)
  t.is(leader.raft.lease(leader.now), undefined)
  t.true(leader.raft.read(leader.now).ok)
  t.is(taken(leader).reads.length, 1)
})

test('a lone voter answers at once', t => {
  const cluster = new Cluster({ membership: members('a') })
  cluster.settle()
  cluster.run(10_000)
  t.is(cluster.read('a'), undefined)
  t.is(cluster.counts.reads, 1)
})

test('a learner\'s answers confirm no read', t => {
  const leader = new Solo('a', { voters: members('a', 'b', 'c').voters, learners: members('x').voters })
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  leader.pass(10)
  leader.raft.read(leader.now)
  taken(leader)
  leader.beat('x', 2)
  t.deepEqual(taken(leader).reads, [])
  leader.beat('b', 2)
  t.is(taken(leader).reads.length, 1)
})

test('answers may come in any order', t => {
  const leader = leaderOf('a', 'b', 'c', 'd', 'e')
  leader.pass(10)
  leader.raft.read(leader.now)
  leader.beat('b', 2)
  leader.beat('b', 1)
  t.deepEqual(taken(leader).reads, [])
  leader.beat('d', 2)
  t.is(taken(leader).reads.length, 1)
})

test('found by simulation: a read waits for ever when the only other voter is removed meanwhile', t => {
  const leader = leaderOf('a', 'b')
  leader.pass(10)
  leader.raft.read(leader.now)
  t.deepEqual(taken(leader).reads, [])
  t.true(leader.raft.changeMembership({ type: 'remove', id: 'b' }, leader.now).ok)
  const [written] = leader.take().append
  leader.raft.persisted(written!.index, written!.term, leader.now)
  t.is(leader.raft.commitIndex, written!.index, 'it is its own majority now')
  leader.pass(timing.heartbeatMs * 2)
  t.deepEqual(taken(leader).reads, [{ id: 1, index: 1, ok: true }])
})

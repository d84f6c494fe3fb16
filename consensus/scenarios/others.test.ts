/**
 * Bugs that other implementations have had, one transcript each, where no file by topic has it already (search for
 * `bug of others`). One kind is not the core's: an applied index that is stored apart from what was applied. Here
 * nothing of that is stored at all: after a start the driver hands snapshot and log on again, see `../feed.ts`.
 */
import test from 'ava'
import { encodeMembership } from '../core/membership.ts'
import { maxInflightBytes } from '../core/progress.ts'
import { balancedTiming as timing } from '../core/types.ts'
import type { Entry, HardState } from '../core/types.ts'
import { Cluster, members, peer } from './harness.ts'
import { commands, only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')
const others = (id: string) => ['a', 'b', 'c'].filter(other => other !== id)

const append = (term: number, prevIndex: number, prevTerm: number, entries: readonly Entry[], commit = 0) =>
  ({ type: 'append', term, prevIndex, prevTerm, count: entries.length, entries, commit }) as const

function propose(solo: Solo, count: number, bytes = 1): void {
  const entries = Array.from({ length: count }, () => ({ type: 'command' as const, data: new Uint8Array(bytes) }))
  const result = solo.raft.propose(entries, solo.now)
  if (!result.ok) throw new Error(result.code)
}

// ---- term and vote --------------------------------------------------------------------------------------------------

test('bug of others: the vote is persisted apart from the term', t => {
  // Every way into a new term, and what is written with it. A term without its vote would be a second vote after a crash.
  const written: (HardState | undefined)[] = []
  const voter = new Solo('a', abc)
  voter.pass(timing.minElectionMs - 1)
  voter.hear('b', { type: 'vote', term: 3, lastIndex: 0, lastTerm: 0, transfer: true })
  written.push(voter.raft.ready()?.hardState)
  t.is(voter.raft.ready(), undefined, 'nothing follows it')
  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  candidate.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  written.push(candidate.raft.ready()?.hardState)
  candidate.hear('c', { type: 'heartbeat', term: 4, sequence: 1, commit: 0 })
  written.push(candidate.raft.ready()?.hardState)
  t.deepEqual(written, [{ term: 3, vote: 'b' }, { term: 1, vote: 'a' }, { term: 4, vote: '' }])
})

test('bug of others: a candidate that finds the leader of its own term forgets its vote', t => {
  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  candidate.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  candidate.flush()
  t.is(candidate.raft.role, 'candidate')
  candidate.hear('c', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  t.is(candidate.raft.vote, 'a')
  candidate.flush()
  candidate.pass(timing.maxElectionMs)
  candidate.hear('b', { type: 'vote', term: 1, lastIndex: 9, lastTerm: 1, transfer: false })
  t.deepEqual(only(candidate.flush(), 'vote-reply').map(({ granted }) => granted), [false])
})

test('bug of others: pre-votes deadlock with two of three up, the one in a later term', t => {
  // b was cut off while it was a candidate; a has the longer log, b the later term. c is down.
  const cluster = new Cluster({ membership: abc, stopped: true })
  const { a, b } = { a: cluster.host('a'), b: cluster.host('b') }
  a.disk.hardState = { term: 1, vote: 'a' }
  a.disk.entries = [{ index: 1, term: 1, type: 'noop', data: new Uint8Array() }]
  b.disk.hardState = { term: 7, vote: 'b' }
  cluster.start('b')
  cluster.run(700)
  cluster.start('a')
  t.is(cluster.settle(2000), 'a')
  t.true(cluster.raft('a').term > 7)
})

// ---- who keeps whom from leading ------------------------------------------------------------------------------------

test('bug of others: a leader without quorum whose heartbeats keep a connected majority from electing', t => {
  // Five nodes: the leader still reaches two in one direction only. Those two would be sticky for ever.
  const cluster = new Cluster({ membership: members('a', 'b', 'c', 'd', 'e') })
  const old = cluster.settle()
  cluster.run(200)
  const [p, q, ...rest] = ['a', 'b', 'c', 'd', 'e'].filter(id => id !== old)
  for (const id of rest) cluster.cut(old, id)
  for (const id of [p!, q!]) cluster.cutOneWay(id, old)
  cluster.settleWithout(old, timing.maxElectionMs * 4)
  t.is(cluster.raft(old).role, 'follower')
  cluster.run(2000)
  t.not(cluster.leader, old)
  t.is(cluster.counts.elections, 2, 'and it disturbs nobody afterwards')
})

test('bug of others: a bridge between two halves makes the leadership swing for ever', t => {
  // The leader and one other do not reach each other, the third reaches both: nothing may change.
  const cluster = new Cluster({ membership: abc })
  const old = cluster.settle()
  cluster.run(200)
  cluster.cut(old, others(old)[0]!)
  cluster.run(20_000)
  t.is(cluster.leader, old)
  t.is(cluster.counts.elections, 1)
  cluster.heal()
  cluster.converge()
  t.is(cluster.raft(old).term, 1)
})

test('bug of others: a learner disrupts elections', t => {
  const membership = { voters: abc.voters, learners: [peer('x')] }
  const cluster = new Cluster({ membership })
  cluster.settle()
  cluster.isolate('x')
  cluster.run(10_000)
  t.is(cluster.raft('x').term, 1, 'it does not campaign')
  cluster.heal()
  cluster.run(1000)
  t.is(cluster.counts.elections, 1)
  // Nor do its answers elect anybody.
  const candidate = new Solo('a', membership)
  candidate.pass(timing.maxElectionMs)
  candidate.hear('x', { type: 'pre-vote-reply', term: 1, granted: true })
  t.is(candidate.raft.role, 'pre-candidate')
  candidate.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  candidate.hear('x', { type: 'vote-reply', term: 1, granted: true })
  t.is(candidate.raft.role, 'candidate')
})

test('bug of others: a removed node disrupts elections with its ever higher term', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  leader.beat('b', 1)
  leader.flush()
  leader.hear('gone', { type: 'vote', term: 99, lastIndex: 50, lastTerm: 98, transfer: false })
  leader.hear('gone', { type: 'vote-reply', term: 99, granted: false })
  leader.hear('gone', { type: 'heartbeat-ack', term: 99, sequence: 1, lastIndex: 50 })
  t.like(leader.raft, { role: 'leader', term: 1 })
})

test('bug of others: a removed node cannot be got rid of, as its followers are never sent the commit of its removal', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  cluster.run(100)
  t.is(cluster.change(leader, { type: 'remove', id: leader }), undefined)
  const next = cluster.settleWithout(leader, timing.maxElectionMs * 3)
  cluster.run(5000)
  t.is(cluster.raft(leader).role, 'follower')
  t.is(cluster.leader, next)
  t.is(cluster.counts.elections, 2)
})

// ---- changes of the membership --------------------------------------------------------------------------------------

test('bug of others: a change without liveness: a machine that is added and never comes costs the quorum', t => {
  const cluster = new Cluster({ membership: members('a', 'b') })
  const leader = cluster.settle()
  t.is(cluster.change(leader, { type: 'add-learner', peer: peer('x') }), undefined)
  cluster.run(5000)
  t.is(cluster.propose(leader, 'still'), undefined)
  cluster.converge()
  t.is(cluster.leader, leader)
  t.is(cluster.change(leader, { type: 'remove', id: 'x' }), undefined, 'and it can be taken back')
})

test('bug of others: a change without liveness: the new voter is needed for the very entry that makes it one', t => {
  // From two voters to three with one of the old ones down: the learner is caught up before it counts, so it can answer.
  const cluster = new Cluster({ membership: members('a', 'b') })
  const leader = cluster.settle()
  const other = leader === 'a' ? 'b' : 'a'
  t.is(cluster.change(leader, { type: 'add-learner', peer: peer('x') }), undefined)
  cluster.add('x')
  cluster.start('x')
  cluster.until(() => cluster.raft(leader).membership.voters.length === 3, 1000, 'promotion is proposed')
  cluster.crash(other)
  cluster.until(() => cluster.isVoterEverywhere('x'), 1000, 'x and the leader are a majority')
  t.is(cluster.propose(leader, 'goes on'), undefined)
  cluster.converge()
})

test('bug of others: two changes that were never committed meet (the 2015 correction)', t => {
  // a proposes to remove d and is cut off; b leads and proposes to remove c. Their majorities would not intersect.
  const leader = new Solo('b', members('a', 'b', 'c', 'd'), { terms: [1] })
  leader.lead('c', 'd')
  t.like(leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now), { ok: false, code: 'term-not-committed' })
  leader.acknowledge('c')
  t.like(leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now), { ok: false, code: 'term-not-committed' })
  leader.acknowledge('d')
  t.true(leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now).ok, 'now c and d refuse a its vote')
})

test('bug of others: the membership of a truncated change is kept', t => {
  const cluster = new Cluster({ membership: abc })
  const old = cluster.settle()
  cluster.run(100)
  cluster.isolate(old)
  t.is(cluster.change(old, { type: 'remove', id: others(old)[0]! }), undefined)
  t.is(cluster.raft(old).membership.voters.length, 2)
  cluster.settleWithout(old, 3000)
  cluster.propose(cluster.leader!, 'x')
  cluster.heal()
  cluster.converge()
  t.is(cluster.raft(old).membership.voters.length, 3)
})

// ---- snapshots ------------------------------------------------------------------------------------------------------

test('bug of others: append after truncation by a snapshot: the leader has compacted what it wanted to send', t => {
  const leader = new Solo('a', members('a', 'b'), { terms: [1, 1, 1, 1] })
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  const snapshot = { index: 5, term: 2, membership: members('a', 'b'), bytes: 1 }
  // b turns out to have lost messages from 2 on, while 1 to 5 are compacted away.
  leader.raft.compacted(snapshot)
  leader.hear('b', { type: 'heartbeat-ack', term: 2, sequence: 1, lastIndex: 5 })
  propose(leader, 1)
  const [sent] = only(leader.flush(), 'append')
  t.like(sent, { prevIndex: 5, prevTerm: 2, count: 1 }, 'the base of the log still proves what came before')

  const again = new Solo('a', members('a', 'b'), { snapshot, hardState: { term: 2, vote: 'a' } })
  again.lead('b')
  again.flush()
  again.hear('b', { type: 'append-reply', term: 3, ok: false, matchIndex: 6, hintIndex: 2, hintTerm: 1 })
  again.hear('b', { type: 'append-reply', term: 3, ok: false, matchIndex: 5, hintIndex: 2, hintTerm: 1 })
  t.deepEqual(only(again.flush(), 'snapshot').map(({ meta }) => meta.index), [5])
})

test('bug of others: append after truncation by a snapshot: the follower takes a hole for its log', t => {
  const snapshot = { index: 5, term: 2, membership: abc, bytes: 1 }
  const follower = new Solo('a', abc, { snapshot, hardState: { term: 2, vote: '' } })
  follower.hear('b', append(2, 7, 2, commands(8, 2)))
  t.like(only(follower.flush(), 'append-reply')[0], { ok: false, matchIndex: 7, hintIndex: 5, hintTerm: 2 })
  follower.hear('b', append(2, 5, 2, commands(6, 2, 2)))
  follower.flush()
  t.is(follower.raft.lastIndex, 7)
})

test('bug of others: the install of a snapshot races with applying the log', t => {
  const follower = new Solo('a', abc, { terms: [1] })
  follower.hear('b', append(2, 1, 1, commands(2, 2, 2), 3))
  // Entry 1 is durable and handed on; 2 and 3 are on their way to the disk when the snapshot arrives.
  t.deepEqual(follower.take().committed, [1])
  const meta = { index: 10, term: 2, membership: abc, bytes: 1 }
  t.is(follower.raft.snapshotReceived(meta, 'b', follower.now), 'install')
  t.is(follower.raft.snapshotReceived({ ...meta, index: 12 }, 'b', follower.now), 'ignore', 'one at a time')
  follower.raft.persisted(3, 2, follower.now)
  t.deepEqual(follower.take().committed, [], 'the end of the old log is not applied after the snapshot')
  t.is(follower.raft.stableIndex < 10, true)
  follower.raft.installed(meta, follower.now)
  follower.hear('b', append(2, 10, 2, commands(11, 2), 11))
  t.deepEqual(follower.take().committed, [])
  follower.persist()
  t.deepEqual(follower.take().committed, [11])
})

// ---- flow control ---------------------------------------------------------------------------------------------------

test('bug of others: bytes of lost messages are never given back', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  for (let round = 0; round < 5; round += 1) {
    propose(leader, 6, 1024 * 1024)
    const bytes = only(leader.flush(), 'append').reduce((sum, { count }) => sum + count * 1024 * 1024, 0)
    t.true(bytes >= maxInflightBytes && bytes <= maxInflightBytes + 1024 * 1024, `round ${round}: ${bytes}`)
    // All of them are lost; b answers heartbeats, so it is plain that it is there.
    for (let i = 0; i < 40 && leader.raft.progress('b')!.state === 'replicate'; i += 1) {
      leader.pass(timing.heartbeatMs)
      // Just the leader's own log: the heartbeat's number is the next one.
      const [beat] = only(leader.flush(), 'heartbeat')
      leader.hear('b', { type: 'heartbeat-ack', term: 1, sequence: beat!.sequence, lastIndex: leader.raft.progress('b')!.matchIndex })
    }
    t.is(leader.raft.progress('b')?.state, 'probe')
    t.is(leader.raft.progress('b')?.inflight, 0)
    leader.acknowledge('b')
    leader.flush()
    t.is(leader.raft.progress('b')?.inflight, 0)
  }
})

// ---- durability -----------------------------------------------------------------------------------------------------

test('bug of others: acknowledging before durable on one node', t => {
  const alone = new Solo('a', members('a'))
  alone.raft.tick(alone.now)
  t.is(alone.raft.role, 'leader')
  t.deepEqual(alone.take().committed, [], 'not even the no-op')
  alone.persist()
  t.deepEqual(alone.take().committed, [1])
  propose(alone, 2)
  t.deepEqual(alone.take().committed, [])
  alone.persist()
  t.deepEqual(alone.take().committed, [2, 3])
  t.is(alone.raft.commitIndex, 3)
})

test('bug of others: a disk stall with heartbeats going on leaves the cluster without progress', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  cluster.run(200)
  // From here on the leader's disk completes nothing, while everything else of it is well.
  cluster.host(first).diskFactor = 1e9
  let beats = 0
  cluster.intercept = message => {
    if (message.type === 'heartbeat' && message.from === first) beats += 1
    return undefined
  }
  cluster.propose(first, 'stuck')
  cluster.settleWithout(first, timing.maxElectionMs * 4)
  t.true(beats > 2, 'its heartbeats had gone on')
  t.is(cluster.propose(cluster.leader!, 'goes on'), undefined)
  cluster.run(10_000)
  t.not(cluster.leader, first, 'and it does not come back before its disk does')
  t.true(cluster.commands(cluster.leader!).includes('goes on'))
})

test('bug of others: an answer about a term that is being written leaves before it is durable', t => {
  const follower = new Solo('a', abc)
  follower.hear('b', { type: 'heartbeat', term: 5, sequence: 1, commit: 0 })
  const { sent, held, hardState } = follower.take()
  t.deepEqual(hardState, { term: 5, vote: '' })
  t.deepEqual(sent, [])
  t.is(only(held, 'heartbeat-ack').length, 1)
})

test('bug of others: a membership entry that a follower cannot read stops it', t => {
  const follower = new Solo('a', abc)
  const entry = (text: string): Entry => ({ index: 1, term: 1, type: 'membership', data: new TextEncoder().encode(text) })
  follower.hear('b', append(1, 0, 0, [entry('{"voters":')]))
  t.is(follower.raft.invalidMessages, 1)
  t.is(follower.raft.lastIndex, 0)
  // What a later version adds to a record is kept and otherwise ignored.
  const data = encodeMembership({ voters: [{ ...peer('a'), zone: 'x' } as never], learners: [] })
  follower.hear('b', append(1, 0, 0, [{ index: 1, term: 1, type: 'membership', data }]))
  t.like(follower.raft.membership.voters[0], { id: 'a', zone: 'x' })
})

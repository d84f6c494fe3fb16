/** The lease: counted from sending, ended by time alone, never two at once. */
import test from 'ava'
import { checkTiming, maxDrift } from '../core/lease.ts'
import { balancedTiming as timing } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')

/** A leader whose no-op is committed; `sequence` 1 was sent at the moment of its election. */
function leaderOf(...names: readonly string[]): Solo {
  const leader = new Solo('a', members(...names))
  const others = names.slice(1, Math.floor(names.length / 2) + 1)
  leader.lead(...others)
  for (const other of others) leader.acknowledge(other)
  leader.flush()
  return leader
}

test('the lease counts from the sending of the heartbeat, not from its acknowledgement (rule 2)', t => {
  const leader = leaderOf('a', 'b', 'c')
  const sentMs = leader.now
  leader.pass(30)
  leader.beat('b', 1)
  t.deepEqual(leader.raft.lease(leader.now), { term: 1, untilMs: sentMs + timing.leaseMs })
})

test('the lease needs a majority', t => {
  const leader = leaderOf('a', 'b', 'c', 'd', 'e')
  leader.beat('b', 1)
  t.is(leader.raft.lease(leader.now), undefined)
  leader.beat('d', 1)
  t.is(leader.raft.lease(leader.now)?.untilMs, leader.now + timing.leaseMs)
})

test('no lease before the no-op of the term has committed', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.beat('b', 1)
  leader.beat('c', 1)
  t.is(leader.raft.lease(leader.now), undefined)
  leader.acknowledge('b')
  t.not(leader.raft.lease(leader.now), undefined)
})

test('a late acknowledgement extends nothing', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 1)
  const first = leader.raft.lease(leader.now)!
  leader.pass(timing.heartbeatMs * 2)
  leader.flush()
  leader.beat('c', 1)
  t.deepEqual(leader.raft.lease(leader.now), first)
  leader.beat('c', 3)
  t.is(leader.raft.lease(leader.now)?.untilMs, first.untilMs + timing.heartbeatMs * 2)
  leader.beat('c', 2)
  t.is(leader.raft.lease(leader.now)?.untilMs, first.untilMs + timing.heartbeatMs * 2, 'nor does it shorten')
})

test('acknowledgements of heartbeats that were never sent do not count', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 99)
  leader.beat('c', 0)
  t.is(leader.raft.lease(leader.now), undefined)
})

test('a stale lease after a pause is none (rule 6)', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 1)
  const until = leader.raft.lease(leader.now)!.untilMs
  // No tick, no message: only the clock has moved.
  t.not(leader.raft.lease(until - 1), undefined)
  t.is(leader.raft.lease(until), undefined)
  t.is(leader.raft.lease(until + 60_000), undefined)
  leader.now = until + 60_000
  leader.raft.tick(leader.now)
  t.is(leader.raft.role, 'follower', 'and it does not lead either')
})

test('a frozen leader that wakes up does not hold a lease beside its successor', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  cluster.run(500)
  cluster.pause(first)
  cluster.settleWithout(first, 2000)
  const second = cluster.leader
  cluster.resume(first)
  cluster.run(1000)
  t.is(cluster.holder, second)
  t.is(cluster.raft(first).role, 'follower')
})

test('never two unexpired leases: the fastest clock against the slowest', t => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const cluster = new Cluster({ membership: abc, seed, stopped: true })
    // Every host may turn out to be the leader; make the others fast and it slow afterwards.
    for (const host of cluster.hosts.values()) cluster.start(host.id)
    const first = cluster.settle()
    for (const host of cluster.hosts.values()) {
      const rate = host.id === first ? 1 - maxDrift : 1 + maxDrift
      host.offsetMs += cluster.now * (host.rate - rate)
      host.rate = rate
    }
    cluster.run(400)
    cluster.isolate(first)
    cluster.settleWithout(first, 3000)
    t.not(cluster.holder, first)
  }
})

test('a leader that steps down does not help to elect another while its lease may be in force', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.pass(timing.heartbeatMs)
  leader.flush()
  leader.beat('b', 2)
  leader.hear('c', { type: 'append-reply', term: 5, ok: false, matchIndex: 0, hintIndex: 0, hintTerm: 0 })
  t.is(leader.raft.role, 'follower')
  leader.hear('c', { type: 'vote', term: 5, lastIndex: 99, lastTerm: 4, transfer: false })
  t.deepEqual(only(leader.flush(), 'vote-reply').map(reply => reply.granted), [false])
  leader.pass(timing.minElectionMs)
  leader.hear('c', { type: 'vote', term: 5, lastIndex: 99, lastTerm: 4, transfer: false })
  t.deepEqual(only(leader.flush(), 'vote-reply').map(reply => reply.granted), [true])
})

test('a leader without answers steps down within an election timeout (rule 10)', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('b', 1)
  leader.pass(timing.maxElectionMs - 1)
  t.is(leader.raft.role, 'leader')
  leader.pass(1)
  t.is(leader.raft.role, 'follower')
})

test('bug of others: a leader that can talk but not hear keeps the majority from electing', t => {
  const cluster = new Cluster({ membership: abc })
  const deaf = cluster.settle()
  cluster.run(200)
  const others = ['a', 'b', 'c'].filter(id => id !== deaf)
  for (const other of others) cluster.cutOneWay(other, deaf)
  cluster.settleWithout(deaf, timing.maxElectionMs * 3)
  cluster.run(2000)
  t.true(others.includes(cluster.leader!), 'and its requests do not disturb the new leader')
})

test('a witness never has the lease', t => {
  const leader = new Solo('w', members('w!', 'b', 'c'))
  leader.lead('b')
  leader.acknowledge('b')
  leader.beat('c', 1)
  t.is(leader.raft.lease(leader.now), undefined)
})

test('a timing that could not keep the promise is refused', t => {
  t.notThrows(() => checkTiming(timing))
  t.throws(() => checkTiming({ ...timing, leaseMs: timing.minElectionMs * 0.95 }), { message: /drift/ })
  t.throws(() => checkTiming({ ...timing, heartbeatMs: timing.leaseMs }), { message: /heartbeat/ })
  t.throws(() => checkTiming({ ...timing, maxElectionMs: timing.minElectionMs - 1 }), { message: /maxElection/ })
  t.throws(() => checkTiming({ ...timing, heartbeatMs: 0 }), { message: /positive/ })
})

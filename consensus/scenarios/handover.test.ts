/**
 * Handing over on purpose: the fence is closed first, so the successor need not wait; and giving up when a disk
 * stalls.
 */
import test from 'ava'
import { balancedTiming as timing } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')

function leaderOf(...names: readonly string[]): Solo {
  const leader = new Solo(names[0]!.replace('!', ''), members(...names))
  leader.lead('b')
  leader.acknowledge('b')
  leader.beat('b', 1)
  leader.flush()
  return leader
}

test('a planned transfer takes a few round trips, not a timeout', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!') })
  const first = cluster.settle()
  cluster.run(200)
  const startedMs = cluster.now
  t.is(cluster.transfer(first), first === 'a' ? 'b' : 'a', 'to the node, not to the witness')
  cluster.until(() => cluster.leader !== first && cluster.holder === cluster.leader, 1000, 'the other has the lease')
  t.true(cluster.now - startedMs < timing.heartbeatMs, `${cluster.now - startedMs} ms`)
})

test('from the transfer on there is no lease in this term (rule 4)', t => {
  const leader = leaderOf('a', 'b', 'c')
  t.not(leader.raft.lease(leader.now), undefined)
  t.deepEqual(leader.raft.transfer('b', leader.now), { ok: true, to: 'b' })
  t.is(leader.raft.lease(leader.now), undefined)
  t.deepEqual(only(leader.flush(), 'timeout-now').map(message => message.to), ['b'])
  leader.beat('b', 1)
  leader.beat('c', 1)
  t.is(leader.raft.lease(leader.now), undefined)
  t.like(
    leader.raft.propose([{ type: 'command', data: new Uint8Array(1) }], leader.now),
    { ok: false, code: 'transferring' },
  )
})

test('the target is asked only when it has everything, and again if the request is lost', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.propose([{ type: 'command', data: new Uint8Array(1) }], leader.now)
  leader.raft.transfer('b', leader.now)
  t.deepEqual(only(leader.flush(), 'timeout-now'), [])
  leader.acknowledge('b')
  t.is(only(leader.flush(), 'timeout-now').length, 1)
  leader.pass(timing.heartbeatMs)
  t.is(only(leader.flush(), 'timeout-now').length, 1)
})

test('a transfer that does not happen ends in stepping down', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.transfer('b', leader.now)
  for (let passed = 0; passed < timing.minElectionMs; passed += timing.heartbeatMs) {
    leader.pass(timing.heartbeatMs)
    leader.beat('c', 1 + passed / timing.heartbeatMs)
  }
  t.is(leader.raft.role, 'follower')
  t.true(leader.raft.nextDeadline() - leader.now > timing.maxElectionMs, 'and lets the others go first')
})

test('bug: the fence was closed for a target that could not have the whole log in time', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.beat('c', 1)
  const propose = (count: number) => leader.raft.propose(
    Array.from({ length: count }, () => ({ type: 'command' as const, data: new Uint8Array(10) })), leader.now,
  )
  for (let count = 0; count < 5000; count += 1000) {
    t.true(propose(1000).ok)
    leader.flush()
  }
  t.deepEqual(leader.raft.transferTarget('b', leader.now), { ok: false, detail: 'b lacks too much of the log yet' })
  t.deepEqual(
    leader.raft.transferTarget(undefined, leader.now), { ok: false, detail: 'every other node lacks too much of the log yet' },
  )
  leader.acknowledge('b')
  t.deepEqual(leader.raft.transferTarget(undefined, leader.now), { ok: true, to: 'b' })
})

test('a target that does not answer, does not vote or is itself is refused before anything happens', t => {
  const leader = leaderOf('a', 'b', 'c')
  t.like(leader.raft.transferTarget('c', leader.now), { ok: false, detail: 'c does not answer' })
  t.like(leader.raft.transferTarget('x', leader.now), { ok: false, detail: 'x is not a voter' })
  t.like(leader.raft.transferTarget('a', leader.now), { ok: false })
  t.not(leader.raft.lease(leader.now), undefined)
  // With the fence closed already, only a new term can open one again.
  t.like(leader.raft.transfer('c', leader.now), { ok: false })
  t.is(leader.raft.role, 'follower')
})

test('a lone leader whose hand-over has no target begins a new term at once', t => {
  const cluster = new Cluster({ membership: members('a') })
  cluster.settle()
  const term = cluster.raft('a').term
  cluster.host('a').leaseUntilMs = -Infinity
  cluster.host('a').lapsedTerm = term
  cluster.raft('a').transfer(undefined, cluster.now)
  cluster.tickNow('a')
  cluster.run(20)
  t.is(cluster.settle(), 'a')
  t.true(cluster.raft('a').term > term)
})

test('a transfer vote is not held up by stickiness', t => {
  const voter = new Solo('a', abc)
  voter.hear('b', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  voter.flush()
  voter.hear('c', { type: 'vote', term: 2, lastIndex: 0, lastTerm: 0, transfer: true })
  t.like(only(voter.flush(), 'vote-reply')[0], { granted: true, term: 2 })
})

test('bug of others: a stale request to campaign breaks a later leader\'s lease', t => {
  const voter = new Solo('a', abc)
  voter.hear('b', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  voter.hear('c', { type: 'heartbeat', term: 2, sequence: 1, commit: 0 })
  voter.flush()
  voter.hear('b', { type: 'timeout-now', term: 1 })
  voter.hear('b', { type: 'timeout-now', term: 2 })
  voter.hear('b', { type: 'timeout-now', term: 9 })
  t.is(voter.raft.role, 'follower')
  t.is(voter.raft.term, 2)
  voter.hear('c', { type: 'timeout-now', term: 2 })
  t.is(voter.raft.role, 'candidate')
  t.true(only(voter.flush(), 'vote').every(vote => vote.transfer && vote.term === 3))
})

test('a campaign on request asks without privilege when it has to be repeated', t => {
  const target = new Solo('a', abc)
  target.hear('b', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  target.hear('b', { type: 'timeout-now', term: 1 })
  target.flush()
  target.pass(timing.maxElectionMs)
  t.is(target.raft.role, 'pre-candidate')
  target.hear('c', { type: 'pre-vote-reply', term: 3, granted: true })
  const votes = only(target.flush(), 'vote').filter(vote => vote.term === 3)
  t.true(votes.length > 0 && votes.every(vote => !vote.transfer))
})

test('a request to campaign that arrives late and twice does no harm', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  cluster.run(200)
  cluster.intercept = message => message.type === 'timeout-now' ? 700 : undefined
  cluster.transfer(first)
  cluster.run(3000)
  cluster.settle()
  t.pass('two leases at once would have failed the harness')
})

test('a witness that leads hands over as soon as a node has caught up', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!') })
  const leader = cluster.settle()
  const other = leader === 'a' ? 'b' : 'a'
  cluster.run(100)
  // Only the witness can win: the other node does not hear, the leader dies.
  cluster.isolate(other)
  cluster.run(500)
  for (let i = 0; i < 5; i += 1) cluster.propose(leader, `x${i}`)
  cluster.run(100)
  cluster.crash(leader)
  cluster.heal()
  cluster.until(() => cluster.leader === 'w', 5000, 'the witness leads, its log is the longest')
  const sinceMs = cluster.now
  t.is(cluster.settle(), other)
  t.true(cluster.now - sinceMs < timing.minElectionMs, `${cluster.now - sinceMs} ms`)
  t.deepEqual(cluster.commands(other), ['x0', 'x1', 'x2', 'x3', 'x4'])
})

test('a leader whose disk stalls steps down, and does not campaign until it has recovered (rule 9)', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.diskStalled(leader.now)
  t.is(leader.raft.role, 'follower')
  leader.flush()
  leader.pass(timing.maxElectionMs * 4)
  t.is(leader.raft.role, 'follower')
  t.deepEqual(only(leader.flush(), 'pre-vote'), [])
  leader.raft.diskRecovered()
  leader.pass(timing.maxElectionMs * 2)
  t.is(leader.raft.role, 'pre-candidate')
})

test('the cluster goes on when the leader\'s disk stalls', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  cluster.run(200)
  cluster.host(first).diskFactor = 2000
  cluster.propose(first, 'slow')
  cluster.settleWithout(first, 2000)
  cluster.propose(cluster.leader!, 'fast')
  cluster.host(first).diskFactor = 1
  cluster.run(3000)
  t.true(cluster.commands(cluster.leader!).includes('fast'))
})

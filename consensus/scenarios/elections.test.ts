/** Elections: who may ask, who may vote, and that a vote is a promise. */
import test from 'ava'
import { balancedTiming as timing } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')
const longAgo = timing.minElectionMs

test('three nodes elect one leader, which gets the lease', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  cluster.run(2000)
  t.is(cluster.leader, leader)
  t.is(cluster.raft(leader).term, 1, 'nobody disturbs it')
  t.deepEqual([...cluster.hosts.values()].map(host => host.raft?.leader), [leader, leader, leader])
})

test('a pre-vote changes nothing on either side', t => {
  const voter = new Solo('a', abc)
  voter.pass(longAgo)
  voter.hear('b', { type: 'pre-vote', term: 7, lastIndex: 0, lastTerm: 0 })
  const { sent, hardState } = voter.take()
  t.like(sent[0], { type: 'pre-vote-reply', granted: true, term: 7 })
  t.is(hardState, undefined)
  t.is(voter.raft.term, 0)

  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  t.is(candidate.raft.role, 'pre-candidate')
  t.is(candidate.raft.term, 0, 'the term grows only when the election can be won')
  t.is(candidate.take().hardState, undefined)
})

test('a node that was cut off comes back without disturbing the leader', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const other = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.isolate(other)
  cluster.run(5000)
  t.is(cluster.raft(other).role, 'pre-candidate')
  cluster.heal()
  cluster.run(1000)
  t.is(cluster.leader, leader)
  t.is(cluster.raft(leader).term, 1)
})

test('a voter that heard from a leader within the minimum election timeout refuses vote and pre-vote (rule 3)', t => {
  const voter = new Solo('a', abc)
  voter.pass(longAgo)
  voter.hear('b', { type: 'heartbeat', term: 3, sequence: 1, commit: 0 })
  voter.flush()
  voter.pass(timing.minElectionMs - 1)
  voter.hear('c', { type: 'pre-vote', term: 4, lastIndex: 9, lastTerm: 3 })
  t.like(voter.flush()[0], { type: 'pre-vote-reply', granted: false })
  voter.hear('c', { type: 'vote', term: 4, lastIndex: 9, lastTerm: 3, transfer: false })
  t.deepEqual(only(voter.flush(), 'vote-reply').filter(reply => reply.granted), [])
  t.is(voter.raft.term, 3, 'not even the term is taken over')

  voter.pass(1)
  voter.hear('c', { type: 'vote', term: 4, lastIndex: 9, lastTerm: 3, transfer: false })
  t.like(voter.flush()[0], { type: 'vote-reply', granted: true, term: 4 })
})

test('after a start a voter waits one minimum election timeout before it votes at all (rule 3)', t => {
  const voter = new Solo('a', abc)
  voter.pass(timing.minElectionMs - 1)
  voter.hear('b', { type: 'pre-vote', term: 1, lastIndex: 0, lastTerm: 0 })
  t.like(voter.flush()[0], { type: 'pre-vote-reply', granted: false })
  voter.hear('b', { type: 'vote', term: 1, lastIndex: 0, lastTerm: 0, transfer: false })
  t.deepEqual(voter.flush(), [])
  voter.pass(1)
  voter.hear('b', { type: 'vote', term: 1, lastIndex: 0, lastTerm: 0, transfer: false })
  t.like(voter.flush()[0], { type: 'vote-reply', granted: true })
})

test('bug of others: the vote is answered before it is durable', t => {
  const voter = new Solo('a', abc)
  voter.pass(longAgo)
  voter.hear('b', { type: 'vote', term: 1, lastIndex: 0, lastTerm: 0, transfer: false })
  const { hardState, sent, held } = voter.take()
  t.deepEqual(hardState, { term: 1, vote: 'b' })
  t.deepEqual(sent, [])
  t.like(held[0], { type: 'vote-reply', granted: true })
})

test('a candidate asks for votes only when its own vote is durable', t => {
  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  candidate.flush()
  candidate.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  const { hardState, sent, held } = candidate.take()
  t.deepEqual(hardState, { term: 1, vote: 'a' })
  t.deepEqual(sent, [])
  t.deepEqual(only(held, 'vote').map(vote => vote.to), ['b', 'c'])
})

test('a restarted voter remembers its vote', t => {
  const voter = new Solo('a', abc, { hardState: { term: 5, vote: 'b' } })
  voter.pass(longAgo)
  voter.hear('c', { type: 'vote', term: 5, lastIndex: 0, lastTerm: 0, transfer: false })
  t.like(voter.flush()[0], { type: 'vote-reply', granted: false })
  voter.hear('b', { type: 'vote', term: 5, lastIndex: 0, lastTerm: 0, transfer: false })
  t.like(voter.flush()[0], { type: 'vote-reply', granted: true })
})

test('bug of others: stepping down within the term forgets the vote', t => {
  const candidate = new Solo('a', abc)
  candidate.lead('b')
  t.is(candidate.raft.vote, 'a')
  candidate.pass(timing.maxElectionMs + 1) // nobody answers: check-quorum
  t.not(candidate.raft.role, 'leader')
  candidate.flush()
  t.is(candidate.raft.vote, 'a')
  candidate.hear('c', { type: 'vote', term: 1, lastIndex: 9, lastTerm: 0, transfer: false })
  t.deepEqual(only(candidate.flush(), 'vote-reply').map(reply => reply.granted), [false])

  const losing = new Solo('a', abc)
  losing.pass(timing.maxElectionMs)
  losing.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  t.is(losing.raft.role, 'candidate')
  losing.hear('b', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  t.is(losing.raft.role, 'follower')
  t.is(losing.raft.vote, 'a')
})

test('a shorter or older log gets no vote', t => {
  for (const [lastIndex, lastTerm, granted] of [[3, 2, true], [2, 2, false], [9, 1, false], [1, 3, true]] as const) {
    const voter = new Solo('a', abc, { terms: [1, 2, 2] })
    voter.pass(longAgo)
    voter.hear('b', { type: 'vote', term: 9, lastIndex, lastTerm, transfer: false })
    t.like(voter.flush()[0], { type: 'vote-reply', granted }, `${lastIndex}/${lastTerm}`)
  }
})

test('a single voter elects itself at once and commits by itself', t => {
  const alone = new Solo('a', members('a'))
  t.is(alone.raft.nextDeadline(), alone.now)
  alone.pass(0)
  t.is(alone.raft.role, 'leader')
  const { hardState, append, committed } = alone.take()
  t.deepEqual(hardState, { term: 1, vote: 'a' })
  t.is(append.length, 1)
  t.deepEqual(committed, [], 'not before it is durable')
  t.is(alone.raft.lease(alone.now), undefined)
  alone.persist()
  t.deepEqual(alone.take().committed, [1])
  t.is(alone.raft.lease(alone.now)?.untilMs, alone.now + timing.leaseMs)
})

test('found by simulation: a voter left alone waits for the lease of the leader that removed itself', t => {
  const cluster = new Cluster({ membership: members('a', 'b') })
  const leader = cluster.settle()
  const other = leader === 'a' ? 'b' : 'a'
  cluster.run(100)
  t.is(cluster.change(leader, { type: 'remove', id: leader }), undefined)
  const { membershipIndex } = cluster.raft(leader)
  cluster.until(() => cluster.raft(other).stableIndex >= membershipIndex, 1000, 'the change is durable')
  // The harness fails if the leases overlap. The same after a restart, when nothing is remembered:
  cluster.run(2)
  cluster.crash(other)
  cluster.start(other)
  cluster.until(() => cluster.holder === other, 2000, 'it leads alone')
  t.is(cluster.raft(leader).role, 'follower')
})

test('found by simulation: a leader that crashed on its own removal can still be the only electable one', t => {
  const cluster = new Cluster({ membership: members('a', 'b') })
  const leader = cluster.settle()
  const other = leader === 'a' ? 'b' : 'a'
  cluster.run(100)
  cluster.cutOneWay(leader, other)
  cluster.change(leader, { type: 'remove', id: leader })
  cluster.run(20)
  cluster.crash(leader)
  cluster.start(leader)
  cluster.heal()
  const alone = () => cluster.leader === other && cluster.raft(other).membership.voters.length === 1
  cluster.until(alone, 5000, 'the other one leads alone')
  t.deepEqual(cluster.raft(leader).membership.voters.map(voter => voter.id), [other])
  t.is(cluster.settle(), other)
})

test('found by simulation: a lone voter is silent about a term until its vote is durable', t => {
  const alone = new Solo('a', { voters: members('a').voters, learners: members('x').voters })
  alone.pass(0)
  alone.take()
  alone.raft.propose([{ type: 'command', data: new Uint8Array(1) }], alone.now)
  alone.pass(100)
  const { sent, held } = alone.take()
  t.deepEqual([...sent, ...held], [])
  alone.persist()
  t.true(only(alone.take().sent, 'append').length > 0)
})

test('bug of others: pre-votes deadlock with two of three up and the longer log in the older term', t => {
  const cluster = new Cluster({ membership: abc, stopped: true })
  cluster.host('a').disk.hardState = { term: 5, vote: '' }
  cluster.host('a').disk.entries = [{ index: 1, term: 5, type: 'noop', data: new Uint8Array() }]
  cluster.host('b').disk.hardState = { term: 9, vote: 'b' }
  cluster.start('a')
  cluster.start('b')
  t.is(cluster.settle(), 'a')
  t.true(cluster.raft('a').term > 9)
})

test('a candidate of the past is told the term and gets on', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const other = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.crash(other)
  cluster.host(other).disk.hardState = { term: 40, vote: other }
  cluster.start(other)
  cluster.run(1500)
  const now = cluster.settle()
  cluster.propose(now, 'x')
  cluster.converge()
  t.true(cluster.raft(now).term >= 40)
  t.deepEqual(cluster.commands(other), ['x'])
})

test('a refused pre-vote is repeated soon, not after a whole timeout', t => {
  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  candidate.flush()
  candidate.hear('b', { type: 'pre-vote-reply', term: 0, granted: false })
  candidate.hear('c', { type: 'pre-vote-reply', term: 0, granted: false })
  candidate.pass(timing.heartbeatMs * 1.5)
  t.true(only(candidate.flush(), 'pre-vote').length >= 2)
})

test('a vote request that is lost is repeated within the campaign', t => {
  const candidate = new Solo('a', abc)
  candidate.pass(timing.maxElectionMs)
  candidate.hear('b', { type: 'pre-vote-reply', term: 1, granted: true })
  candidate.flush()
  candidate.hear('b', { type: 'vote-reply', term: 1, granted: false })
  candidate.pass(timing.heartbeatMs)
  t.deepEqual(only(candidate.flush(), 'vote').map(vote => [vote.to, vote.term]), [['c', 1]])
})

test('a split vote is resolved', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  cluster.crash(leader)
  const [one, two] = ['a', 'b', 'c'].filter(id => id !== leader)
  cluster.cut(one!, two!)
  cluster.run(600)
  cluster.heal()
  t.true([one, two].includes(cluster.settle(1500)))
})

test('found by simulation: a disk slower than the retry does not let candidates outbid each other for ever', t => {
  const cluster = new Cluster({ membership: abc, diskMs: [80, 120] })
  cluster.settle(5000)
  cluster.crash(cluster.leader!)
  t.notThrows(() => cluster.settle(8000))
})

test('a voter leaves the candidate that it voted for time to win', t => {
  const voter = new Solo('a', abc)
  voter.pass(longAgo)
  voter.hear('b', { type: 'vote', term: 1, lastIndex: 0, lastTerm: 0, transfer: false })
  voter.flush()
  voter.hear('c', { type: 'pre-vote', term: 2, lastIndex: 0, lastTerm: 0 })
  t.like(only(voter.flush(), 'pre-vote-reply')[0], { granted: false })
  voter.pass(timing.heartbeatMs * 2)
  voter.hear('c', { type: 'pre-vote', term: 2, lastIndex: 0, lastTerm: 0 })
  t.like(only(voter.flush(), 'pre-vote-reply')[0], { granted: true })
})

test('election timeouts are spread over the whole range', t => {
  const dueAfter = (random: number) => {
    const node = new Solo('a', abc, { random: () => random })
    return node.raft.nextDeadline() - node.now
  }
  t.is(dueAfter(0), timing.minElectionMs)
  t.is(dueAfter(0.5), (timing.minElectionMs + timing.maxElectionMs) / 2)
  t.true(dueAfter(0.999) < timing.maxElectionMs)
})

test('a leader ignores pre-votes, and votes while a quorum answers it', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.beat('b', 1)
  leader.hear('c', { type: 'pre-vote', term: 9, lastIndex: 99, lastTerm: 9 })
  leader.hear('c', { type: 'vote', term: 9, lastIndex: 99, lastTerm: 9, transfer: false })
  t.is(leader.raft.role, 'leader')
  t.is(leader.raft.term, 1)
})

test('answers of strangers do not depose a leader', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.hear('x', { type: 'heartbeat-ack', term: 9, sequence: 1, lastIndex: 0 })
  leader.hear('x', { type: 'append-reply', term: 9, ok: false, matchIndex: 0, hintIndex: 0, hintTerm: 0 })
  t.is(leader.raft.role, 'leader')
  leader.hear('c', { type: 'heartbeat-ack', term: 9, sequence: 1, lastIndex: 0 })
  t.is(leader.raft.role, 'follower')
  t.is(leader.raft.term, 9)
})

test('with two nodes and a witness, the node wins when the leader dies', t => {
  for (let seed = 1; seed <= 10; seed += 1) {
    const cluster = new Cluster({ membership: members('a', 'b', 'w!'), seed })
    const leader = cluster.settle()
    t.not(leader, 'w')
    cluster.crash(leader)
    const crashedMs = cluster.now
    const next = cluster.settle()
    t.is(next, leader === 'a' ? 'b' : 'a')
    t.false(cluster.trace.some(line => line.includes('w: candidate')), 'the witness need not campaign')
    t.true(cluster.now - crashedMs < timing.maxElectionMs + 2 * timing.heartbeatMs)
  }
})

test('malformed messages are dropped and counted', t => {
  const node = new Solo('a', abc)
  const append = {
    type: 'append', from: 'b', to: 'a', term: 1, prevIndex: 0, prevTerm: 0, count: 1, entries: [], commit: 0,
  }
  const meta = { index: 1, term: 1, bytes: 1 }
  const bad = [
    { type: 'vote', from: 'b', to: 'a', term: 1, lastIndex: -1, lastTerm: 0, transfer: false },
    { type: 'vote', from: 'b', to: 'c', term: 1, lastIndex: 0, lastTerm: 0, transfer: false },
    { type: 'heartbeat', from: 'a', to: 'a', term: 1, sequence: 1, commit: 0 },
    { type: 'heartbeat', from: 'b', to: 'a', term: Number.NaN, sequence: 1, commit: 0 },
    append,
    { ...append, entries: [{ index: 2, term: 1, type: 'command', data: new Uint8Array() }] },
    { ...append, entries: [{ index: 1, term: 2, type: 'command', data: new Uint8Array() }] },
    { ...append, entries: [{ index: 1, term: 1, type: 'membership', data: new Uint8Array([1]) }] },
    { type: 'snapshot', from: 'b', to: 'a', term: 1, meta: { ...meta, membership: { voters: [], learners: [] } } },
    { type: 'nonsense', from: 'b', to: 'a', term: 1 },
  ]
  for (const message of bad) node.raft.step(message as never, node.now)
  t.is(node.raft.invalidMessages, bad.length)
  t.is(node.raft.term, 0)
})

/** Replication: what commits, what does not, and that no peer is ever stranded. */
import test from 'ava'
import { encodeMembership } from '../core/membership.ts'
import { maxInflight } from '../core/progress.ts'
import { maxMessageBytes, maxMessageEntries } from '../core/replication.ts'
import { balancedTiming as timing } from '../core/types.ts'
import type { Entry, Message } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { commands, only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')

function propose(solo: Solo, count: number, bytes = 1): void {
  const entries = Array.from({ length: count }, () => ({ type: 'command' as const, data: new Uint8Array(bytes) }))
  const result = solo.raft.propose(entries, solo.now)
  if (!result.ok) throw new Error(result.code)
}

/** A follower of `b` in `term`, with a stored log. */
function followerOf(term: number, terms: readonly number[]): Solo {
  const follower = new Solo('a', abc, { terms })
  follower.hear('b', { type: 'heartbeat', term, sequence: 1, commit: 0 })
  follower.flush()
  return follower
}

const append = (term: number, prevIndex: number, prevTerm: number, entries: readonly Entry[], commit = 0) =>
  ({ type: 'append', term, prevIndex, prevTerm, count: entries.length, entries, commit }) as const

test('commands are applied everywhere in the same order', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  for (let i = 0; i < 100; i += 1) cluster.propose(leader, `x${i}`)
  cluster.converge()
  const expected = Array.from({ length: 100 }, (_, i) => `x${i}`)
  for (const id of ['a', 'b', 'c']) t.deepEqual(cluster.commands(id), expected)
})

test('what is proposed between two Readies shares a message', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  for (let i = 0; i < 50; i += 1) propose(leader, 1)
  t.deepEqual(only(leader.flush(), 'append').map(message => message.count), [50])
})

test('messages are bounded by entries and by bytes, and pipelined up to a window', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  propose(leader, maxMessageEntries * (maxInflight + 4))
  const sent = only(leader.flush(), 'append')
  t.is(sent.length, maxInflight)
  t.true(sent.every(message => message.count === maxMessageEntries))
  leader.acknowledge('b', sent[1]!.prevIndex + sent[1]!.count)
  t.is(only(leader.flush(), 'append').length, 2, 'two were answered, two follow')

  const wide = new Solo('a', members('a', 'b'))
  wide.lead('b')
  wide.acknowledge('b')
  wide.flush()
  propose(wide, 4, maxMessageBytes / 2)
  propose(wide, 1, maxMessageBytes * 2)
  propose(wide, 1, 1)
  t.deepEqual(only(wide.flush(), 'append').map(message => message.count), [2, 2, 1, 1])
})

test('the leader counts itself only when its own write is durable', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  propose(leader, 1)
  leader.take()
  leader.acknowledge('b')
  t.is(leader.raft.commitIndex, 1)
  leader.acknowledge('c')
  t.is(leader.raft.commitIndex, 2, 'two others are a majority without it')
  t.deepEqual(leader.take().committed, [], 'but it applies only what it has itself')
  leader.persist()
  t.deepEqual(leader.take().committed, [2])
})

test('bug of others: an entry of an earlier term is committed by counting (figure 8)', t => {
  const leader = new Solo('a', abc, { terms: [1, 2], hardState: { term: 3, vote: '' } })
  leader.lead('b')
  t.is(leader.raft.term, 4)
  leader.acknowledge('b', 2)
  leader.acknowledge('c', 2)
  t.is(leader.raft.commitIndex, 0, 'a majority has entry 2, but a leader of term 3 could still replace it')
  leader.acknowledge('b', 3)
  t.is(leader.raft.commitIndex, 3)
})

test('a follower acknowledges entries only when they are durable', t => {
  const follower = followerOf(1, [])
  follower.hear('b', append(1, 0, 0, commands(1, 1, 1)))
  const { sent, held } = follower.take()
  t.deepEqual(only(sent, 'append-reply'), [])
  t.like(only(held, 'append-reply')[0], { ok: true, matchIndex: 2 })
})

test('a conflicting suffix is replaced, and what agrees is not written again', t => {
  const follower = followerOf(3, [1, 1, 2, 2])
  follower.hear('b', append(3, 1, 1, commands(2, 1, 3, 3)))
  t.deepEqual(follower.take().append.map(entry => [entry.index, entry.term]), [[3, 3], [4, 3]])
  t.is(follower.raft.lastIndex, 4)
})

test('an old, shorter append does not cut the log', t => {
  const follower = followerOf(1, [1, 1, 1])
  follower.hear('b', append(1, 0, 0, commands(1, 1)))
  t.is(follower.raft.lastIndex, 3)
  t.like(only(follower.flush(), 'append-reply')[0], { ok: true, matchIndex: 1 })
})

test('bug of others: a completed write counts although its entries were truncated meanwhile', t => {
  const follower = followerOf(2, [1])
  follower.hear('b', append(2, 1, 1, commands(2, 2, 2)))
  follower.take() // writing 2 and 3 of term 2
  follower.hear('c', { type: 'heartbeat', term: 3, sequence: 1, commit: 0 })
  follower.hear('c', append(3, 1, 1, commands(2, 3), 2))
  t.like(follower.take(), { append: { length: 1 }, committed: [1] })
  follower.raft.persisted(3, 2, follower.now)
  t.is(follower.raft.stableIndex, 1)
  t.deepEqual(follower.take().committed, [])
  follower.raft.persisted(2, 3, follower.now)
  t.deepEqual(follower.take().committed, [2])
})

test('nor if the same entries are written a second time after a truncation', t => {
  const follower = followerOf(2, [1])
  follower.hear('b', append(2, 1, 1, commands(2, 2, 2)))
  follower.take()
  follower.hear('c', append(3, 1, 1, commands(2, 3)))
  follower.take()
  follower.hear('b', append(4, 1, 1, commands(2, 2, 2, 4)))
  follower.take()
  follower.raft.persisted(3, 2, follower.now)
  t.is(follower.raft.stableIndex, 1, 'that was the first write')
  follower.raft.persisted(2, 3, follower.now)
  t.is(follower.raft.stableIndex, 1)
  follower.raft.persisted(4, 4, follower.now)
  t.is(follower.raft.stableIndex, 4)
})

test('the commit index of an append reaches only as far as the message proves', t => {
  const follower = followerOf(3, [1, 2, 2, 2])
  follower.hear('b', append(3, 1, 1, [], 4))
  t.is(follower.raft.commitIndex, 1, 'entries 2 to 4 are not known to be the leader\'s')
})

test('a heartbeat carries no commit index beyond what the follower is known to have', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.acknowledge('b')
  t.is(leader.raft.commitIndex, 1)
  leader.flush()
  leader.pass(timing.heartbeatMs)
  const commits = only(leader.flush(), 'heartbeat').slice(-2).map(({ to, commit }) => [to, commit])
  t.deepEqual(commits, [['b', 1], ['c', 0]])
})

test('the commit index follows at once, not with the next heartbeat', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  t.deepEqual(only(leader.flush(), 'append').map(({ count, commit }) => [count, commit]), [[0, 1]])
  t.deepEqual(only(leader.flush(), 'append'), [])
})

test('a diverged log is found in few steps: hints skip whole terms', t => {
  const leader = new Solo('a', members('a', 'b'), { terms: [1, 1, 1, ...Array.from({ length: 500 }, () => 8)] })
  leader.lead('b')
  const many = (term: number, length: number) => Array.from({ length }, () => term)
  const follower = new Solo('b', members('a', 'b'), { terms: [1, 1, 1, ...many(2, 300), ...many(3, 300)] })
  const log = [1, 1, 1, ...many(8, 500), 9]
  let rounds = 0
  leader.pass(timing.heartbeatMs * 3)
  while (leader.raft.progress('b')!.matchIndex < leader.raft.lastIndex && rounds < 20) {
    rounds += 1
    for (const message of only(leader.flush(), 'append')) {
      const { prevIndex, count } = message
      const entries = commands(prevIndex + 1, ...log.slice(prevIndex, prevIndex + count))
      follower.hear('a', { ...message, entries })
    }
    for (const reply of only(follower.flush(), 'append-reply')) leader.hear('b', reply)
  }
  t.true(rounds <= 6, `${rounds} rounds`)
  t.is(follower.raft.lastIndex, leader.raft.lastIndex)
  t.is(follower.raft.termAt(100), 8)
})

test('stale refusals do not send a replicating peer back', t => {
  const leader = new Solo('a', members('a', 'b'), { terms: [1, 1, 1] })
  leader.lead('b')
  leader.acknowledge('b')
  const { term } = leader.raft
  leader.hear('b', { type: 'append-reply', term, ok: false, matchIndex: 2, hintIndex: 0, hintTerm: 0 })
  t.like(leader.raft.progress('b'), { state: 'replicate', matchIndex: 4, nextIndex: 5 })
})

test('bug of others: lost messages fill the window for ever', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const other = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.converge()
  cluster.intercept = message => message.type === 'append' && message.to === other ? 'drop' : undefined
  for (let i = 0; i < 400; i += 1) {
    cluster.propose(leader, `x${i}`)
    cluster.run(1)
  }
  cluster.intercept = undefined
  cluster.converge(timing.maxElectionMs)
  t.is(cluster.leader, leader)
  t.is(cluster.commands(other).length, 400)
})

test('bug of others: a follower stays in probe because the one probe was lost', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  t.is(leader.raft.progress('b')?.state, 'probe')
  let probes = 0
  for (let i = 0; i < 20; i += 1) {
    leader.pass(timing.heartbeatMs)
    leader.beat('b', i + 1)
    probes += only(leader.flush(), 'append').length
  }
  t.true(probes >= 8, `${probes} probes`)
})

test('a peer that refuses what it has acknowledged is not asked again with every refusal', t => {
  const leader = new Solo('a', members('a', 'b'))
  leader.lead('b')
  leader.acknowledge('b')
  propose(leader, 1)
  leader.flush()
  leader.pass(timing.maxElectionMs - 1)
  let probes = 0
  for (let i = 0; i < 50; i += 1) {
    const sent = leader.flush()
    for (const { prevIndex } of only(sent, 'append')) {
      probes += 1
      t.is(prevIndex, 1)
    }
    for (const { sequence } of only(sent, 'heartbeat')) leader.beat('b', sequence)
    const { term } = leader.raft
    leader.hear('b', { type: 'append-reply', term, ok: false, matchIndex: 1, hintIndex: 0, hintTerm: 0 })
    leader.pass(4)
  }
  t.true(probes >= 2 && probes <= 4, `${probes} probes in 200 ms`)
})

test('lost acknowledgements alone do not stop a peer', t => {
  const cluster = new Cluster({ membership: members('a', 'b') })
  const leader = cluster.settle()
  let dropped = 0
  cluster.intercept = message => message.type === 'append-reply' && (dropped += 1) % 2 === 1 ? 'drop' : undefined
  for (let i = 0; i < 20; i += 1) {
    cluster.propose(leader, `x${i}`)
    cluster.run(10)
  }
  cluster.converge(5000)
  t.is(cluster.leader, leader)
  t.is(cluster.history.filter(entry => entry?.type === 'command').length, 20)
})

test('a peer that is far behind gets a snapshot, then the log', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const late = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.crash(late)
  for (let i = 0; i < 50; i += 1) cluster.propose(leader, `x${i}`)
  cluster.run(100)
  cluster.compact(leader)
  cluster.start(late)
  cluster.propose(leader, 'last')
  cluster.converge()
  t.is(cluster.counts.installs, 1)
  t.is(cluster.raft(late).firstIndex, cluster.raft(leader).firstIndex)
  t.is(cluster.commands(late).at(-1), 'last')
})

test('a kept tail spares a slightly late peer the snapshot', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const late = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.converge()
  cluster.crash(late)
  for (let i = 0; i < 10; i += 1) cluster.propose(leader, `x${i}`)
  cluster.run(100)
  cluster.compact(leader, 20)
  t.true(cluster.raft(leader).snapshotIndex > 10)
  cluster.start(late)
  cluster.converge()
  t.is(cluster.counts.installs, 0)
})

test('a snapshot that gets lost is sent again', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const late = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.crash(late)
  for (let i = 0; i < 50; i += 1) cluster.propose(leader, `x${i}`)
  cluster.run(100)
  cluster.compact(leader)
  let lost = 0
  cluster.intercept = message => message.type === 'snapshot' && (lost += 1) <= 3 ? 'drop' : undefined
  cluster.start(late)
  cluster.converge()
  t.is(lost, 4)
})

test('a snapshot whose end nobody reports does not strand the peer', t => {
  const leader = new Solo('a', members('a', 'b'), {
    snapshot: { index: 10, term: 1, membership: members('a', 'b'), bytes: 1 }, hardState: { term: 1, vote: '' },
  })
  leader.lead('b')
  leader.hear('b', { type: 'append-reply', term: 2, ok: false, matchIndex: 10, hintIndex: 0, hintTerm: 0 })
  t.is(only(leader.flush(), 'snapshot').length, 1)
  t.is(leader.raft.progress('b')?.state, 'snapshot')
  let sequence = 1
  let again = 0
  // The peer is silent for longer than an election timeout would allow it, then answers: it was restarted.
  leader.raft.tick(leader.now)
  for (let passed = 0; passed < timing.maxElectionMs * 101; passed += timing.heartbeatMs) {
    leader.pass(timing.heartbeatMs)
    sequence += 1
    leader.beat('b', sequence)
    again += only(leader.flush(), 'snapshot').length
  }
  t.is(again, 1)
})

test('bug of others: an append that overlaps the installed snapshot', t => {
  const follower = followerOf(2, [1, 1, 1])
  const meta = { index: 10, term: 2, membership: abc, bytes: 1 }
  t.is(follower.raft.snapshotReceived(meta, 'b', follower.now), 'install')
  const { install, append: entries, held } = follower.take()
  t.deepEqual(install, meta)
  t.deepEqual(entries, [])
  t.like(only(held, 'snapshot-reply')[0], { ok: true, index: 10 })
  // Nothing is appended while the snapshot is being written.
  follower.hear('b', append(2, 10, 2, commands(11, 2)))
  t.is(follower.raft.lastIndex, 10)
  follower.persist()
  follower.hear('b', append(2, 8, 2, commands(9, 2, 2, 2, 2)))
  t.deepEqual(follower.take().append.map(entry => entry.index), [11, 12])
  // One that lies wholly before it is answered with what is known to agree.
  follower.persist()
  follower.hear('b', append(2, 3, 1, commands(4, 2)))
  t.like(only(follower.flush(), 'append-reply')[0], { ok: true, matchIndex: 10 })
  t.is(follower.raft.lastIndex, 12)
})

test('a snapshot that the log covers does not throw its tail away', t => {
  const follower = followerOf(2, [1, 1, 2, 2, 2])
  t.is(follower.raft.snapshotReceived({ index: 3, term: 2, membership: abc, bytes: 1 }, 'b', follower.now), 'ignore')
  t.is(follower.raft.lastIndex, 5)
  t.deepEqual(follower.take().committed, [1, 2, 3])
})

test('a witness whose log is long asks for a snapshot and keeps it', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!') })
  const leader = cluster.settle()
  for (let i = 0; i < 30; i += 1) cluster.propose(leader, `x${i}`)
  cluster.converge()
  cluster.compact(leader)
  const before = cluster.raft('w').firstIndex
  cluster.raft('w').requestSnapshot(cluster.now)
  cluster.tickNow('w')
  cluster.run(200)
  t.is(before, 1)
  t.is(cluster.raft('w').firstIndex, cluster.raft(leader).firstIndex)
  t.is(cluster.counts.installs, 0)
})

test('an append that contradicts what is committed is refused and counted', t => {
  const follower = followerOf(2, [1, 1])
  follower.hear('b', append(2, 2, 1, [], 2))
  follower.flush()
  follower.hear('b', append(2, 1, 1, commands(2, 2)))
  t.is(follower.raft.violations, 1)
  t.is(follower.raft.termAt(2), 1)
})

test('proposals beyond the bound are refused', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  let refused: string | undefined
  for (let i = 0; i < 100 && refused === undefined; i += 1) {
    const batch = Array.from({ length: 1000 }, () => ({ type: 'command' as const, data: new Uint8Array(1) }))
    const result = leader.raft.propose(batch, leader.now)
    if (!result.ok) refused = result.code
  }
  t.is(refused, 'overloaded')
  leader.flush()
  leader.acknowledge('b')
  t.true(leader.raft.propose([{ type: 'command', data: new Uint8Array(1) }], leader.now).ok)
})

test('a follower refuses proposals', t => {
  const follower = followerOf(1, [])
  t.like(
    follower.raft.propose([{ type: 'command', data: new Uint8Array(1) }], follower.now),
    { ok: false, code: 'not-leader' },
  )
})

test('a restarted node knows its log and its membership again', t => {
  const data = encodeMembership(members('a', 'b'))
  const solo = new Solo('a', abc, {
    hardState: { term: 3, vote: 'a' },
    entries: [
      { index: 1, term: 1, type: 'noop', bytes: 0 },
      { index: 2, term: 1, type: 'membership', bytes: data.length, data },
      { index: 3, term: 3, type: 'command', bytes: 9 },
    ],
  })
  t.is(solo.raft.lastIndex, 3)
  t.is(solo.raft.termAt(2), 1)
  t.is(solo.raft.commitIndex, 0)
  t.deepEqual(solo.raft.membership.voters.map(voter => voter.id), ['a', 'b'])
  t.throws(() => new Solo('a', abc, { terms: [2], hardState: { term: 1, vote: '' } }), { message: /term/ })
})

test('messages of one kind at a time can be lost without harm', t => {
  const types: readonly Message['type'][] = [
    'append', 'append-reply', 'heartbeat', 'heartbeat-ack', 'pre-vote', 'pre-vote-reply', 'vote', 'vote-reply',
  ]
  for (const type of types) {
    const cluster = new Cluster({ membership: abc })
    let count = 0
    cluster.intercept = message => message.type === type && (count += 1) % 3 !== 0 ? 'drop' : undefined
    const leader = cluster.settle(10_000)
    cluster.propose(leader, 'x')
    cluster.converge(10_000)
    t.true(count > 0, type)
  }
})

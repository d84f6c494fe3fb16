/**
 * A node that has lost its disk: how its vote is taken from it, what counts meanwhile, and how a node notices that it
 * has lost what it acknowledged. `core/README.md` has the proof.
 */
import test from 'ava'
import { changed, decodeMembership, emptyMembership, encodeMembership, isVoter } from '../core/membership.ts'
import { balancedTiming as timing } from '../core/types.ts'
import type { Entry } from '../core/types.ts'
import { Cluster, members, peer } from './harness.ts'
import { commands, only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')

/** Leads a, b and c; everybody has its no-op. */
function leader(): Solo {
  const solo = new Solo('a', abc)
  solo.lead('b')
  solo.acknowledge('b')
  solo.acknowledge('c')
  solo.flush()
  return solo
}

const demote = (solo: Solo, id: string) => solo.raft.changeMembership({ type: 'demote', peer: peer(id) }, solo.now)

const append = (term: number, prevIndex: number, prevTerm: number, entries: readonly Entry[], commit = 0) =>
  ({ type: 'append', term, prevIndex, prevTerm, count: entries.length, entries, commit }) as const

test('a node whose disk is wiped is demoted, begins anew and is promoted when it has everything', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  for (let i = 0; i < 50; i += 1) cluster.propose(first, `x${i}`)
  cluster.converge()
  const lost = ['a', 'b', 'c'].find(id => id !== first)!
  cluster.wipe(lost)
  cluster.until(() => cluster.host(lost).raft !== undefined, 500, 'it begins anew')
  t.false(isVoter(cluster.raft(first).membership, lost))
  cluster.until(() => cluster.isVoterEverywhere(lost), 2000, 'it votes again')
  cluster.converge()
  t.is(cluster.leader, first, 'without an election')
  t.is(cluster.raft(first).term, 1)
  t.is(cluster.commands(lost).length, 50)
})

test('the leader itself can be wiped: the next one demotes it', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!') })
  const first = cluster.settle()
  for (let i = 0; i < 5; i += 1) cluster.propose(first, `x${i}`)
  cluster.converge()
  cluster.wipe(first)
  const second = cluster.settleWithout(first, 3000)
  cluster.until(() => cluster.isVoterEverywhere(first), 3000, 'it votes again')
  cluster.converge()
  t.is(cluster.leader, second)
  t.is(cluster.commands(first).length, 5)
})

test('on demotion the leader forgets what it knew of the peer, and counts it no more', t => {
  const solo = leader()
  t.is(solo.raft.progress('b')?.matchIndex, 1)
  t.true(demote(solo, 'b').ok)
  t.like(solo.raft.progress('b'), { matchIndex: 0, state: 'probe', ackedSentMs: -Infinity })
  t.deepEqual(solo.raft.membership.learners.map(({ id }) => id), ['b'])
  solo.flush()
  solo.acknowledge('b')
  solo.beat('b', 1)
  t.is(solo.raft.commitIndex, 1, 'its acknowledgement does not commit')
  t.is(solo.raft.lease(solo.now), undefined, 'nor make a lease')
  solo.acknowledge('c')
  t.is(solo.raft.commitIndex, 2)
})

test('what the peer said in its earlier life does not count after its demotion', t => {
  const solo = leader()
  for (let i = 0; i < 3; i += 1) solo.raft.propose([{ type: 'command', data: new Uint8Array(1) }], solo.now)
  solo.flush()
  t.true(demote(solo, 'b').ok)
  solo.flush()
  // Said before the disk was lost, heard now.
  solo.acknowledge('b', 4)
  t.is(solo.raft.progress('b')?.matchIndex, 0)
  const { term } = solo.raft
  solo.hear('b', { type: 'append-reply', term, ok: false, matchIndex: 2, hintIndex: 1, hintTerm: 1 })
  t.is(solo.raft.progress('b')?.nextIndex, 6)
  solo.acknowledge('b', 4)
  t.is(solo.raft.progress('b')?.matchIndex, 0)
  // About the demotion itself only the new life can speak.
  solo.hear('b', { type: 'append-reply', term, ok: false, matchIndex: 5, hintIndex: 0, hintTerm: 0 })
  t.is(solo.raft.progress('b')?.nextIndex, 1)
  t.like(only(solo.flush(), 'append')[0], { to: 'b', prevIndex: 0, count: 5 })
})

test('a learner that loses its disk is demoted again, and not promoted for what it had', t => {
  const solo = new Solo('a', { voters: members('a', 'c').voters, learners: [peer('b')] })
  solo.lead('c')
  solo.acknowledge('c')
  solo.flush()
  solo.acknowledge('b')
  t.true(demote(solo, 'b').ok, 'the record may be the same')
  solo.flush()
  solo.acknowledge('c')
  solo.flush()
  solo.acknowledge('b', 1)
  solo.pass(timing.heartbeatMs)
  t.is(solo.raft.membership.voters.length, 2)
})

test('who may be demoted', t => {
  t.like(changed(members('a'), { type: 'demote', peer: peer('a') }), { ok: false })
  t.like(changed(abc, { type: 'demote', peer: peer('d') }), { ok: false })
  t.like(changed(abc, { type: 'demote', peer: peer('b', 'witness') }), { ok: false, detail: 'b is a node, not a witness' })
  const moved = { ...peer('b'), address: 'elsewhere:1', fingerprint: 'ab'.repeat(32) }
  const next = changed(abc, { type: 'demote', peer: moved })
  t.deepEqual(next, { ok: true, membership: { voters: members('a', 'c').voters, learners: [moved] } })

  const solo = new Solo('a', abc, { terms: [1] })
  t.like(demote(solo, 'b'), { ok: false, code: 'not-leader' })
  solo.lead('b')
  t.like(demote(solo, 'b'), { ok: false, code: 'term-not-committed' })
  solo.acknowledge('b')
  t.like(demote(solo, 'a'), { ok: false, code: 'invalid-membership', detail: 'a leader cannot demote itself' })
  t.true(demote(solo, 'b').ok)
  t.like(demote(solo, 'c'), { ok: false, code: 'membership-pending' })
})

test('a fingerprint is 64 lower-case hexadecimal digits, or absent', t => {
  const decode = (fingerprint: unknown) =>
    decodeMembership(new TextEncoder().encode(JSON.stringify({ voters: [{ ...peer('a'), fingerprint }], learners: [] })))
  t.is(decode(undefined)?.voters[0]?.fingerprint, undefined)
  t.is(decode('0f'.repeat(32))?.voters[0]?.fingerprint, '0f'.repeat(32))
  for (const bad of ['', '0F'.repeat(32), '0f'.repeat(31), '0g'.repeat(32), 7, null]) t.is(decode(bad), undefined)
})

test('found by simulation: a node without its log elects a stranger to what was committed', t => {
  // c was removed without hearing of it and still counts a and b; a has lost its disk and was demoted by entry 7.
  const amnesic = new Solo('a', emptyMembership, { demotedAtIndex: 7, hardState: { term: 3, vote: '' } })
  amnesic.pass(timing.minElectionMs * 2)
  amnesic.hear('c', { type: 'pre-vote', term: 4, lastIndex: 4, lastTerm: 2 })
  t.deepEqual(only(amnesic.flush(), 'pre-vote-reply').map(({ granted }) => granted), [false])
  amnesic.hear('c', { type: 'vote', term: 4, lastIndex: 4, lastTerm: 2, transfer: true })
  t.deepEqual(only(amnesic.flush(), 'vote-reply'), [])
  t.is(amnesic.raft.term, 3)
  amnesic.hear('c', { type: 'vote', term: 3, lastIndex: 4, lastTerm: 2, transfer: false })
  t.deepEqual(only(amnesic.flush(), 'vote-reply').map(({ granted }) => granted), [false], 'it may have voted in term 3')
  // With the entry that demoted it, it knows all that it ever acknowledged, and votes like anybody.
  const demotion: Entry = {
    index: 7, term: 3, type: 'membership', data: encodeMembership({ voters: members('b').voters, learners: [peer('a')] }),
  }
  amnesic.hear('b', append(3, 0, 0, [...commands(1, 1, 1, 2, 2, 3, 3), demotion]))
  amnesic.flush()
  amnesic.pass(timing.minElectionMs)
  amnesic.hear('c', { type: 'vote', term: 4, lastIndex: 4, lastTerm: 2, transfer: false })
  t.deepEqual(only(amnesic.flush(), 'vote-reply').map(({ granted }) => granted), [false], 'too short a log')
  amnesic.hear('b', { type: 'vote', term: 4, lastIndex: 7, lastTerm: 3, transfer: false })
  t.deepEqual(only(amnesic.flush(), 'vote-reply').map(({ granted }) => granted), [true])
})

test('a founder that begins anew does not found the cluster a second time', t => {
  // The old log begins with the membership in which it was alone.
  const founding: Entry = { index: 1, term: 1, type: 'membership', data: encodeMembership(members('a')) }
  const founder = new Solo('a', emptyMembership, { demotedAtIndex: 9, hardState: { term: 4, vote: '' } })
  founder.hear('b', append(4, 0, 0, [founding]))
  founder.flush()
  founder.pass(timing.maxElectionMs * 20)
  t.is(founder.raft.role, 'follower')
  t.is(founder.raft.term, 4)
})

// ---- lost memory ----------------------------------------------------------------------------------------------------

test('a node that has lost acknowledged entries is told so by its leader, and falls silent', t => {
  const cluster = new Cluster({ membership: abc })
  const first = cluster.settle()
  for (let i = 0; i < 10; i += 1) cluster.propose(first, `x${i}`)
  cluster.converge()
  const other = ['a', 'b', 'c'].find(id => id !== first)!
  cluster.loseTail(other, 4)
  cluster.until(() => cluster.raft(other).lostMemory, 500, 'it knows')
  cluster.run(3000)
  t.is(cluster.leader, first)
  cluster.wipe(other)
  cluster.until(() => cluster.isVoterEverywhere(other), 2000, 'repaired')
  cluster.converge()
  t.is(cluster.commands(other).length, 10)
})

test('lost memory is said once, and what was about to be said is taken back', t => {
  const follower = new Solo('a', abc, { terms: [1, 1, 1] })
  follower.hear('b', { type: 'heartbeat', term: 1, sequence: 1, commit: 3 })
  follower.hear('b', { type: 'heartbeat', term: 1, sequence: 2, commit: 4 })
  const ready = follower.raft.ready()!
  t.true(ready.lostMemory)
  t.deepEqual([...ready.immediate, ...ready.afterPersist], [])
  t.true(follower.raft.lostMemory)
  follower.hear('b', { type: 'heartbeat', term: 1, sequence: 3, commit: 4 })
  follower.hear('b', append(1, 3, 1, commands(4, 1)))
  follower.hear('c', { type: 'pre-vote', term: 2, lastIndex: 9, lastTerm: 1 })
  follower.hear('c', { type: 'vote', term: 2, lastIndex: 9, lastTerm: 1, transfer: true })
  follower.pass(60_000)
  follower.raft.tick(follower.now)
  t.is(follower.raft.nextDeadline(), Infinity)
  t.is(follower.raft.snapshotReceived({ index: 9, term: 1, membership: abc, bytes: 1 }, 'b', follower.now), 'ignore')
  t.is(follower.raft.ready(), undefined)
})

test('no false alarm: what is under way, late or repeated says nothing about memory', t => {
  const follower = new Solo('a', abc, { terms: [1] })
  const leads = (term: number, commit: number) => {
    follower.hear('b', { type: 'heartbeat', term, sequence: 1, commit })
    follower.flush()
    t.false(follower.raft.lostMemory)
  }
  leads(2, 1)
  // Entries that were acknowledged to the leader of term 2 are truncated by that of term 3; then the late heartbeat.
  follower.hear('b', append(2, 1, 1, commands(2, 2, 2)))
  follower.flush()
  follower.hear('c', append(3, 1, 1, commands(2, 3)))
  follower.flush()
  t.is(follower.raft.lastIndex, 2)
  leads(2, 3)
  // An append that reaches further than this log, and one whose commit index does: both are ordinary.
  follower.hear('c', append(3, 8, 3, commands(9, 3), 9))
  follower.hear('c', append(3, 2, 3, [], 9))
  follower.flush()
  t.false(follower.raft.lostMemory)
})

test('no false alarm: during and after the install of a snapshot', t => {
  const follower = new Solo('a', abc, { terms: [1, 1] })
  follower.hear('b', { type: 'heartbeat', term: 2, sequence: 1, commit: 0 })
  const meta = { index: 10, term: 2, membership: abc, bytes: 1 }
  t.is(follower.raft.snapshotReceived(meta, 'b', follower.now), 'install')
  follower.hear('b', { type: 'heartbeat', term: 2, sequence: 2, commit: 2 })
  follower.take()
  follower.hear('b', { type: 'heartbeat', term: 2, sequence: 3, commit: 10 })
  follower.persist()
  follower.hear('b', { type: 'heartbeat', term: 2, sequence: 4, commit: 10 })
  follower.flush()
  t.false(follower.raft.lostMemory)
  t.is(follower.raft.lastIndex, 10)
})

test('no false alarm: a restart before, during and after each write', t => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const cluster = new Cluster({ membership: abc, seed, diskMs: [1, 20], network: { delayMs: [0.1, 60], duplicate: 0.5 } })
    for (let i = 0; i < 60; i += 1) {
      const { leader: current } = cluster
      if (current !== undefined) cluster.propose(current, `x${i}`)
      cluster.run(cluster.random() * 30)
      const other = ['a', 'b', 'c'].filter(id => id !== current)[i % 2]!
      if (i % 3 === 0) {
        cluster.crash(other)
        cluster.start(other)
      }
      if (i % 7 === 0) cluster.compact(other)
    }
    // The harness fails if anybody believes that it has lost its memory.
    cluster.network.delayMs = [0.2, 0.8]
    cluster.settle()
    cluster.converge()
    t.true(cluster.counts.crashes >= 15)
  }
})

test('no false alarm: what was said to the earlier life of a repaired node', t => {
  const anew = new Solo('a', emptyMembership, { demotedAtIndex: 3, hardState: { term: 2, vote: '' } })
  // Sent before the demotion was proposed, when the leader still believed in the old log.
  anew.hear('b', { type: 'heartbeat', term: 2, sequence: 1, commit: 2 })
  t.false(anew.raft.lostMemory)
  const entry: Entry = {
    index: 3, term: 2, type: 'membership', data: encodeMembership({ voters: members('b', 'c').voters, learners: [peer('a')] }),
  }
  anew.hear('b', append(2, 0, 0, [...commands(1, 1, 2), entry]))
  anew.flush()
  anew.hear('b', { type: 'heartbeat', term: 2, sequence: 2, commit: 2 })
  t.false(anew.raft.lostMemory)
  // From there on it is a node like any other.
  anew.hear('b', { type: 'heartbeat', term: 2, sequence: 3, commit: 4 })
  t.true(anew.raft.lostMemory)
})

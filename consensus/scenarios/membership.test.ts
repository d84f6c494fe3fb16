/** Who votes: single changes, in force when appended, undone when truncated. */
import test from 'ava'
import { changed, decodeMembership, encodeMembership, isSingleChange, maxPeers } from '../core/membership.ts'
import { Cluster, members, peer } from './harness.ts'
import { only, Solo } from './solo.ts'

const abc = members('a', 'b', 'c')
const ids = (solo: Solo) => solo.raft.membership.voters.map(voter => voter.id)

test('a new machine joins as learner and is promoted once it has caught up', t => {
  const cluster = new Cluster({ membership: members('a') })
  cluster.settle()
  for (let i = 0; i < 20; i += 1) cluster.propose('a', `x${i}`)
  t.is(cluster.change('a', { type: 'add-learner', peer: peer('b') }), undefined)
  cluster.run(500)
  t.is(cluster.raft('a').membership.voters.length, 1, 'not before it is there')
  cluster.add('b')
  cluster.start('b')
  cluster.until(() => cluster.isVoterEverywhere('b'), 2000, 'b is promoted')
  t.is(cluster.settle(), 'a')
  cluster.converge()
  t.is(cluster.commands('b').length, 20)
})

test('several learners are promoted one after the other', t => {
  const cluster = new Cluster({ membership: members('a') })
  cluster.settle()
  for (const id of ['b', 'c', 'd']) {
    const added = () => cluster.change('a', { type: 'add-learner', peer: peer(id) }) === undefined
    cluster.until(added, 2000, `${id} is added`)
    cluster.add(id)
    cluster.start(id)
  }
  cluster.until(() => ['b', 'c', 'd'].every(id => cluster.isVoterEverywhere(id)), 5000, 'all are promoted')
  t.is(cluster.raft('a').membership.learners.length, 0)
})

test('a learner does not count: not for commit, not for the lease, and it does not campaign', t => {
  const membership = { voters: abc.voters, learners: [peer('x')] }
  const leader = new Solo('a', membership)
  leader.lead('b')
  leader.acknowledge('x')
  leader.beat('x', 1)
  t.is(leader.raft.commitIndex, 0)
  leader.acknowledge('b')
  t.is(leader.raft.commitIndex, 1)
  t.is(leader.raft.lease(leader.now), undefined)

  const learner = new Solo('x', membership)
  learner.pass(10_000)
  t.is(learner.raft.role, 'follower')
  t.deepEqual(learner.flush(), [])
})

test('bug of others: a change of membership without an entry of the term (rule 8)', t => {
  const leader = new Solo('a', abc, { terms: [1] })
  leader.lead('b')
  t.like(
    leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now),
    { ok: false, code: 'term-not-committed' },
  )
  leader.acknowledge('b')
  t.like(leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now), { ok: true })
})

test('one change at a time (rule 8)', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.acknowledge('b')
  t.true(leader.raft.changeMembership({ type: 'remove', id: 'c' }, leader.now).ok)
  t.like(
    leader.raft.changeMembership({ type: 'add-learner', peer: peer('d') }, leader.now),
    { ok: false, code: 'membership-pending' },
  )
  leader.flush()
  leader.acknowledge('b')
  t.true(leader.raft.changeMembership({ type: 'add-learner', peer: peer('d') }, leader.now).ok)
})

test('what is no single change is refused', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.acknowledge('b')
  const propose = (data: Uint8Array, more: { type: 'command'; data: Uint8Array }[] = []) =>
    leader.raft.propose([{ type: 'membership', data }, ...more], leader.now)
  t.like(propose(encodeMembership(members('a', 'd', 'e'))), { code: 'invalid-membership' })
  t.like(propose(new Uint8Array([1, 2])), { code: 'invalid-membership' })
  t.like(
    propose(encodeMembership(members('a', 'b')), [{ type: 'command', data: new Uint8Array(1) }]),
    { code: 'invalid-membership' },
  )
  t.like(leader.raft.changeMembership({ type: 'remove', id: 'nobody' }, leader.now), { code: 'invalid-membership' })
  t.like(
    leader.raft.changeMembership({ type: 'add-learner', peer: peer('b') }, leader.now),
    { code: 'invalid-membership' },
  )
  t.is(leader.raft.lastIndex, 1)
})

test('a membership counts when appended, and no longer when truncated', t => {
  const follower = new Solo('a', abc)
  const entry = { index: 1, term: 1, type: 'membership', data: encodeMembership(members('a', 'b')) } as const
  follower.hear('b', { type: 'append', term: 1, prevIndex: 0, prevTerm: 0, count: 1, entries: [entry], commit: 0 })
  t.deepEqual(ids(follower), ['a', 'b'])
  follower.flush()
  const noop = { index: 1, term: 2, type: 'noop', data: new Uint8Array() } as const
  follower.hear('c', { type: 'append', term: 2, prevIndex: 0, prevTerm: 0, count: 1, entries: [noop], commit: 0 })
  t.deepEqual(ids(follower), ['a', 'b', 'c'])
})

test('a snapshot brings its membership', t => {
  const follower = new Solo('a', abc)
  const meta = { index: 5, term: 2, membership: members('a', 'b', 'c', 'd'), bytes: 1 }
  follower.raft.snapshotReceived(meta, 'b', follower.now)
  t.deepEqual(ids(follower), ['a', 'b', 'c', 'd'])
})

test('a removed peer learns of it, then is forgotten', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const removed = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.run(100)
  t.is(cluster.change(leader, { type: 'remove', id: removed }), undefined)
  const { membershipIndex } = cluster.raft(leader)
  cluster.until(() => cluster.raft(removed).commitIndex >= membershipIndex, 1000, 'it knows')
  cluster.run(500)
  t.is(cluster.raft(leader).progress(removed), undefined)
  cluster.run(3000)
  t.is(cluster.raft(removed).role, 'follower', 'it does not campaign')
  t.is(cluster.leader, leader)
})

test('a removed peer that never heard of it does not disturb', t => {
  const cluster = new Cluster({ membership: abc })
  const leader = cluster.settle()
  const removed = ['a', 'b', 'c'].find(id => id !== leader)!
  cluster.isolate(removed)
  cluster.run(100)
  t.is(cluster.change(leader, { type: 'remove', id: removed }), undefined)
  cluster.run(20_000)
  t.is(cluster.raft(leader).progress(removed), undefined, 'given up')
  cluster.heal()
  cluster.run(3000)
  t.is(cluster.leader, leader)
  t.is(cluster.raft(leader).term, 1)
})

test('a leader that removed itself leads until that is committed, without counting itself', t => {
  const leader = new Solo('a', abc)
  leader.lead('b')
  leader.acknowledge('b')
  leader.flush()
  t.true(leader.raft.changeMembership({ type: 'remove', id: 'a' }, leader.now).ok)
  leader.flush()
  leader.acknowledge('b')
  t.is(leader.raft.role, 'leader', 'b alone is no majority of b and c')
  leader.acknowledge('c')
  t.is(leader.raft.commitIndex, 2)
  t.is(leader.raft.role, 'follower')
  leader.pass(5000)
  t.is(only(leader.flush(), 'pre-vote').length, 0)
})

test('changes of the membership are pure and checked', t => {
  t.like(changed(members('a'), { type: 'remove', id: 'a' }), { ok: false })
  t.like(changed(abc, { type: 'promote', id: 'b' }), { ok: false })
  t.like(changed(abc, { type: 'add-learner', peer: { ...peer('d'), id: 'No Name' } }), { ok: false })
  const full = { voters: Array.from({ length: maxPeers }, (_, i) => peer(`n${i}`)), learners: [] }
  t.like(changed(full, { type: 'add-learner', peer: peer('d') }), { ok: false })
  const moved = changed(abc, { type: 'update', peer: { ...peer('b'), address: 'elsewhere:1' } })
  t.true(moved.ok && moved.membership.voters[1]!.address === 'elsewhere:1')
  t.false(isSingleChange(abc, members('a')))
  t.true(isSingleChange(abc, members('a', 'b', 'c', 'd')))
  for (const bad of ['', '{', '{}', '{"voters":[],"learners":[]}', '{"voters":[{"id":"a"}],"learners":[]}']) {
    t.is(decodeMembership(new TextEncoder().encode(bad)), undefined, bad)
  }
  t.is(decodeMembership(encodeMembership({ voters: [peer('a'), peer('a')], learners: [] })), undefined)
  t.deepEqual(decodeMembership(encodeMembership(abc)), abc)
})

test('a cluster grows from one to three and shrinks again, under load', t => {
  const cluster = new Cluster({ membership: members('a') })
  cluster.settle()
  let count = 0
  const load = () => {
    const { leader } = cluster
    if (leader !== undefined && cluster.propose(leader, `x${count}`) === undefined) count += 1
    cluster.run(5)
  }
  for (const id of ['b', 'c']) {
    t.is(cluster.change(cluster.settle(), { type: 'add-learner', peer: peer(id) }), undefined)
    cluster.add(id)
    cluster.start(id)
    for (let i = 0; i < 200 && !cluster.isVoterEverywhere(id); i += 1) load()
    t.true(cluster.isVoterEverywhere(id))
  }
  const leader = cluster.settle()
  t.is(cluster.change(leader, { type: 'remove', id: leader }), undefined)
  cluster.settleWithout(leader, 3000)
  for (let i = 0; i < 50; i += 1) load()
  cluster.converge()
  t.is(cluster.history.filter(entry => entry?.type === 'command').length, count)
})

/** The preferred holder: who goes first in an election, who takes over on purpose, and when. */
import test from 'ava'
import { balancedTiming as timing } from '../core/types.ts'
import type { Ready } from '../core/types.ts'
import { Cluster, members } from './harness.ts'
import { only, Solo } from './solo.ts'

const prefersB = { preferred: 'b', preempt: false, preemptDelayMs: 0 }
const preempts = (preemptDelayMs: number) => ({ preferred: 'b', preempt: true, preemptDelayMs })

/** Leads; everybody has its no-op and has answered. */
function leaderOf(...names: readonly string[]): Solo {
  const ids = names.map(name => name.replace('!', ''))
  const leader = new Solo(ids[0]!, members(...names))
  leader.lead(...ids.slice(1))
  for (const id of ids.slice(1)) {
    leader.acknowledge(id)
    leader.beat(id, 1)
  }
  leader.flush()
  return leader
}

/** One heartbeat later, answered by `ids`; what the core wants by then. */
function beat(leader: Solo, sequence: number, ...ids: readonly string[]): Ready['transferWanted'] {
  leader.pass(timing.heartbeatMs)
  for (const id of ids) leader.beat(id, sequence)
  let wanted: Ready['transferWanted']
  for (let ready = leader.raft.ready(); ready !== undefined; ready = leader.raft.ready()) wanted ??= ready.transferWanted
  return wanted
}

test('the preferred node wins the election', t => {
  const wins = { a: 0, b: 0, c: 0 }
  for (let seed = 1; seed <= 60; seed += 1) {
    const cluster = new Cluster({ membership: members('a', 'b', 'c'), seed, stopped: true })
    cluster.preference = prefersB
    for (const id of ['a', 'b', 'c']) cluster.start(id)
    wins[cluster.settle(1000) as 'a' | 'b' | 'c'] += 1
  }
  t.true(wins.b >= 57, JSON.stringify(wins))
})

test('nobody waits long for a preferred node that is down, and not at all when it was the leader', t => {
  const follower = new Solo('a', members('a', 'b', 'c'))
  follower.raft.prefer(prefersB, follower.now)
  follower.hear('c', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
  const waitMs = follower.raft.nextDeadline() - follower.now
  t.true(waitMs <= timing.maxElectionMs + timing.heartbeatMs / 2, `${waitMs} ms`)
  follower.hear('b', { type: 'heartbeat', term: 2, sequence: 1, commit: 0 })
  t.is(follower.raft.nextDeadline() - follower.now, (timing.minElectionMs + timing.maxElectionMs) / 2)
})

test('a preferred node that does not vote, or is a witness, is waited for by nobody', t => {
  for (const membership of [members('a', 'c', 'd'), members('a', 'b!', 'c')]) {
    const follower = new Solo('a', membership)
    follower.raft.prefer(prefersB, follower.now)
    follower.hear('c', { type: 'heartbeat', term: 1, sequence: 1, commit: 0 })
    t.is(follower.raft.nextDeadline() - follower.now, (timing.minElectionMs + timing.maxElectionMs) / 2)
  }
})

test('a hand-over without a target goes to the preferred node, unless it is far behind', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(prefersB, leader.now)
  leader.raft.propose([{ type: 'command', data: new Uint8Array(1) }], leader.now)
  leader.flush()
  leader.acknowledge('c')
  t.deepEqual(leader.raft.transferTarget(undefined, leader.now), { ok: true, to: 'b' })
  leader.raft.prefer({ ...prefersB, preferred: 'c' }, leader.now)
  t.deepEqual(leader.raft.transferTarget(undefined, leader.now), { ok: true, to: 'c' })
  leader.raft.prefer(prefersB, leader.now)
  for (let i = 0; i < 300; i += 1) leader.raft.propose([{ type: 'command', data: new Uint8Array(1) }], leader.now)
  leader.flush()
  leader.acknowledge('c')
  t.deepEqual(leader.raft.transferTarget(undefined, leader.now), { ok: true, to: 'c' })
})

test('with preemption the leader asks its driver to hand over, once the preferred node has answered for long enough', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(200), leader.now)
  const lease = leader.raft.lease(leader.now)
  const wanted = [2, 3, 4, 5, 6].map(sequence => beat(leader, sequence, 'b', 'c'))
  t.deepEqual(wanted, [undefined, undefined, undefined, undefined, 'b'])
  t.not(lease, undefined)
  t.not(leader.raft.lease(leader.now), undefined, 'nothing is given up: the fence has to be closed first (rule 4)')
  t.false(leader.raft.transferring)
})

test('an interruption begins the delay anew', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(400), leader.now)
  for (let sequence = 2; sequence <= 4; sequence += 1) t.is(beat(leader, sequence, 'b', 'c'), undefined)
  // b is silent for more than a minimum election timeout.
  for (let sequence = 5; sequence <= 11; sequence += 1) t.is(beat(leader, sequence, 'c'), undefined)
  let beats = 0
  for (let sequence = 12; sequence < 60; sequence += 1) {
    beats += 1
    if (beat(leader, sequence, 'b', 'c') === 'b') break
  }
  t.is(beats, 1 + 400 / timing.heartbeatMs)
})

test('who is not asked to take over: one that is behind, a learner, a witness, the leader itself', t => {
  const behind = leaderOf('a', 'b', 'c')
  behind.raft.prefer(preempts(0), behind.now)
  for (let i = 0; i < 300; i += 1) behind.raft.propose([{ type: 'command', data: new Uint8Array(1) }], behind.now)
  t.is(beat(behind, 2, 'b', 'c'), undefined)
  behind.acknowledge('b')
  t.is(beat(behind, 3, 'b', 'c'), 'b')

  const itself = leaderOf('b', 'a', 'c')
  itself.raft.prefer(preempts(0), itself.now)
  t.is(beat(itself, 2, 'a', 'c'), undefined)

  const witness = leaderOf('a', 'b!', 'c')
  witness.raft.prefer(preempts(0), witness.now)
  t.is(beat(witness, 2, 'b', 'c'), undefined)
})

test('a hand-over that came to nothing is asked for again, but not soon', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(0), leader.now)
  const asked: number[] = []
  for (let sequence = 2; asked.length < 3; sequence += 1) if (beat(leader, sequence, 'b', 'c') === 'b') asked.push(leader.now)
  for (const [at, ms] of asked.slice(1).entries()) {
    t.true(ms - asked[at]! >= timing.maxElectionMs * 20)
    t.true(ms - asked[at]! <= timing.maxElectionMs * 20 + timing.heartbeatMs)
  }
})

test('the preferred node comes back and takes over by a planned hand-over', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!'), stopped: true })
  cluster.preference = preempts(500)
  for (const id of ['a', 'b', 'w']) cluster.start(id)
  t.is(cluster.settle(), 'b')
  cluster.crash('b')
  t.is(cluster.settleWithout('b', 2000), 'a')
  cluster.start('b')
  const startedMs = cluster.now
  cluster.until(() => cluster.leader === 'b' && cluster.holder === 'b', 3000, 'b leads again')
  t.true(cluster.now - startedMs >= 500)
  t.is(cluster.counts.preemptions, 1)
  cluster.run(10_000)
  t.is(cluster.counts.preemptions, 1)
  t.is(cluster.leader, 'b')
})

test('without preemption the leader stays', t => {
  const cluster = new Cluster({ membership: members('a', 'b', 'w!'), stopped: true })
  cluster.preference = prefersB
  cluster.start('a')
  cluster.start('w')
  t.is(cluster.settle(), 'a')
  cluster.start('b')
  cluster.run(10_000)
  t.is(cluster.leader, 'a')
})

test('a witness that leads waits a moment for the preferred node, and no longer', t => {
  const witness = new Solo('w', members('w!', 'a', 'b'))
  witness.raft.prefer(prefersB, witness.now)
  witness.lead('a')
  witness.acknowledge('a')
  witness.beat('a', 1)
  witness.flush()
  t.false(witness.raft.transferring)
  witness.acknowledge('b')
  witness.beat('b', 1)
  witness.acknowledge('b')
  t.deepEqual(only(witness.flush(), 'timeout-now').map(({ to }) => to), [])
  witness.pass(timing.heartbeatMs)
  t.deepEqual(only(witness.flush(), 'timeout-now').map(({ to }) => to), ['b'], 'b is ready by the next heartbeat')

  const impatient = new Solo('w', members('w!', 'a', 'b'))
  impatient.raft.prefer(prefersB, impatient.now)
  impatient.lead('a')
  impatient.acknowledge('a')
  impatient.beat('a', 1)
  impatient.flush()
  impatient.pass(timing.heartbeatMs)
  t.deepEqual(only(impatient.flush(), 'timeout-now').map(({ to }) => to), ['a'])
})

test('who failed to take over is not asked again soon, in a later term either', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(0), leader.now)
  t.true(leader.raft.transfer('b', leader.now).ok)
  for (let sequence = 2; sequence <= 7; sequence += 1) t.is(beat(leader, sequence, 'b', 'c'), undefined)
  t.is(leader.raft.role, 'follower', 'b did not take over')
  const failedMs = leader.now
  leader.lead('b', 'c')
  for (const id of ['b', 'c']) leader.acknowledge(id)
  leader.flush()
  let sequence = 2
  while (beat(leader, sequence, 'b', 'c') === undefined) sequence += 1
  const afterMs = leader.now - failedMs
  t.true(afterMs >= timing.maxElectionMs * 20 - timing.heartbeatMs && afterMs <= timing.maxElectionMs * 20 + timing.heartbeatMs)
})

test('another preferred node is asked at once', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(0), leader.now)
  t.is(beat(leader, 2, 'b', 'c'), 'b')
  t.is(beat(leader, 3, 'b', 'c'), undefined)
  leader.raft.prefer(preempts(100), leader.now)
  t.is(beat(leader, 4, 'b', 'c'), undefined, 'the same one is not, whatever else has changed')
  leader.raft.prefer({ ...preempts(0), preferred: 'c' }, leader.now)
  t.is(beat(leader, 5, 'b', 'c'), 'c')
})

test('a wish that was not taken before leadership was lost is forgotten', t => {
  const leader = leaderOf('a', 'b', 'c')
  leader.raft.prefer(preempts(0), leader.now)
  leader.pass(timing.heartbeatMs)
  leader.raft.diskStalled(leader.now)
  const ready = leader.raft.ready()!
  t.is(ready.change?.role, 'follower')
  t.is(ready.transferWanted, undefined)
})

/**
 * One randomised run of a cluster, wholly determined by its seed: a safety phase in which everything goes wrong that
 * may go wrong, then a liveness phase in which everything heals and the cluster must recover. `Cluster` checks the
 * invariants.
 */
import { find } from '../core/membership.ts'
import { balancedTiming } from '../core/types.ts'
import type { NodeId } from '../core/types.ts'
import { randomFrom } from './events.ts'
import { Cluster, members, peer } from './harness.ts'

/** Clock rates of hosts lie within 1 ± this. */
const drift = 0.05

const shapes = [
  ['a', 'b', 'w!'], ['a', 'b', 'w!'], ['a', 'b', 'c'], ['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e'], ['a', 'b'], ['a'],
  ['a', 'b', 'c', 'w!'],
] as const

/**
 * `plain` and `rough` are bad days. In a `storm` hardly a message arrives in time, so that elections collide, old
 * messages meet new terms and logs diverge. In a `shuffle` the membership changes all the time.
 */
const moods = ['plain', 'rough', 'rough', 'storm', 'storm', 'storm', 'shuffle'] as const

export interface Outcome {
  readonly cluster: Cluster
  readonly proposals: number
}

/** Runs `seed`; throws with a transcript when an invariant breaks. */
export function simulate(seed: number): Outcome {
  const random = randomFrom(seed ^ 0x5bd1e995)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!
  const between = (low: number, high: number) => low + random() * (high - low)
  const mood = pick(moods)
  const cluster = new Cluster({
    membership: members(...pick(shapes)),
    seed,
    stopped: true,
    timing: balancedTiming,
    network: mood === 'plain' ? {}
      : mood === 'storm'
        ? { delayMs: [0.1, 30], loss: pick([0, 0.1, 0.2]), duplicate: 0.3, straggle: pick([0.1, 0.2, 0.3]) }
        : { delayMs: [0.1, pick([1, 5, 30])], loss: pick([0, 0.02, 0.2]), duplicate: 0.1, straggle: pick([0, 0.02]) },
    diskMs: [0.1, pick([1, 5, 30])],
  })
  cluster.preference = pick([
    undefined, undefined, { preferred: 'a', preempt: false, preemptDelayMs: 0 },
    { preferred: 'a', preempt: true, preemptDelayMs: pick([0, 200, 1000]) },
  ])
  for (const host of cluster.hosts.values()) {
    host.rate = pick([1 - drift, 1, 1 + drift, between(1 - drift, 1 + drift)])
    host.offsetMs = between(0, 1e6)
    host.diskFactor = pick([1, 1, 3, 10])
    cluster.start(host.id)
  }
  const fastDisk = cluster.diskMs
  const spare = ['x', 'y']
  let proposals = 0
  let heldOut: NodeId[] = []

  const repairing = () => [...cluster.hosts.values()].some(host => host.repair !== undefined)

  const actions: readonly [weight: number, run: (id: NodeId) => void][] = [
    [10, id => {
      for (let i = 0; i < 3; i += 1) {
        proposals += 1
        cluster.propose(id, `p${proposals}`)
      }
    }],
    [3, id => cluster.crash(id)],
    [mood === 'storm' ? 4 : 2, id => {
      cluster.crash(id)
      cluster.start(id)
    }],
    [3, id => {
      cluster.pause(id)
      cluster.at(between(10, 700), () => cluster.resume(id))
    }],
    [2, id => cluster.isolate(id)],
    [2, id => cluster.cut(id, pick([...cluster.hosts.keys()]))],
    [3, id => cluster.cutOneWay(id, pick([...cluster.hosts.keys()]))],
    [4, () => cluster.heal()],
    [2, id => cluster.compact(id, Math.floor(between(0, 4)))],
    [2, id => void cluster.transfer(id)],
    [1, id => void cluster.transfer(id, pick([...cluster.hosts.keys()]))],
    [1, () => {
      cluster.diskMs = [1, pick([50, 400])]
      cluster.at(between(100, 800), () => { cluster.diskMs = fastDisk })
    }],
    [6, id => {
      for (let i = 0; i < 2; i += 1) cluster.read(id)
    }],
    [2, id => {
      // One at a time, and only where the others are a majority and stay one: else nothing may go on without it.
      const leader = cluster.leader === undefined ? undefined : cluster.raft(cluster.leader)
      if (leader === undefined || repairing() || leader.termAt(leader.commitIndex) !== leader.term) return
      if (leader.membershipIndex > leader.commitIndex || leader.membership.voters.length < 3) return
      if (find(leader.membership, id) !== undefined) cluster.wipe(id)
    }],
    [1, id => {
      const { raft, offsetMs, rate } = cluster.host(id)
      if (raft?.requestSnapshot(offsetMs + cluster.now * rate) === true) cluster.tickNow(id)
    }],
    [mood === 'shuffle' ? 8 : 1, id => {
      const name = spare.find(name => !cluster.hosts.has(name))
      if (name !== undefined && cluster.change(id, { type: 'add-learner', peer: peer(name) }) === undefined) {
        const host = cluster.add(name)
        host.rate = between(1 - drift, 1 + drift)
        cluster.start(name)
      }
    }],
    [mood === 'shuffle' ? 8 : 1, id => {
      const { raft } = cluster.host(id)
      if (raft === undefined) return
      // A machine that was removed may come back with its disk as it was.
      const known = [...cluster.hosts.keys()]
      const gone = known.filter(name => find(raft.membership, name) === undefined)
      if (gone.length > 0 && random() < 0.6) cluster.change(id, { type: 'add-learner', peer: peer(pick(gone)) })
      else if (!repairing()) cluster.change(id, { type: 'remove', id: pick(known) })
    }],
  ]
  const total = actions.reduce((sum, [weight]) => sum + weight, 0)

  const endMs = cluster.now + 5000
  while (cluster.now < endMs) {
    cluster.run(between(1, 120))
    // Most things are interesting when they happen to the leader.
    const { leader } = cluster
    const id = leader !== undefined && random() < 0.5 ? leader : pick([...cluster.hosts.keys()])
    let choice = random() * total
    for (const [weight, run] of actions) {
      choice -= weight
      if (choice >= 0) continue
      run(id)
      break
    }
    heldOut = [...cluster.hosts.values()].filter(host => host.raft === undefined).map(host => host.id)
    // Keep a chance of progress: bring somebody back now and then.
    if (heldOut.length > 0 && random() < 0.25) cluster.start(pick(heldOut))
  }

  cluster.heal()
  cluster.diskMs = fastDisk
  // A disk that is too slow to lead stays slow only if it is certain that others can lead instead.
  const slow = [...cluster.hosts.values()].filter(host => fastDisk[1] * host.diskFactor >= balancedTiming.minElectionMs)
  const original = [...cluster.hosts.values()].every(({ raft, disk }) => raft !== undefined && raft.membershipIndex === 0
    && disk.snapshot === undefined)
  if (!original || slow.length * 2 >= cluster.hosts.size) for (const host of slow) host.diskFactor = 3
  Object.assign(cluster.network, { loss: 0, straggle: 0, duplicate: 0, delayMs: [0.2, 1] })
  for (const id of cluster.hosts.keys()) {
    cluster.resume(id)
    cluster.start(id)
  }
  cluster.run(1500)
  // A cluster whose only nodes were removed has nobody to hold a lease.
  const mayHold = () => {
    const { leader } = cluster
    return leader === undefined || cluster.raft(leader).membership.voters.some(voter => voter.role === 'node')
  }
  cluster.until(() => cluster.leader !== undefined, 3000, 'a leader after healing')
  if (mayHold()) cluster.settle(5000)
  cluster.until(() => {
    const { leader } = cluster
    return leader !== undefined && cluster.propose(leader, `last${seed}`) === undefined
  }, 3000, 'a proposal is accepted')
  cluster.until(() => [...cluster.hosts.values()].every(host => host.reads.size === 0), 1000, 'reads are answered')
  cluster.converge(5000)
  cluster.until(() => cluster.leader !== undefined
    && cluster.raft(cluster.leader).membership.learners.length === 0, 3000, 'learners are promoted')
  const { preferred, preempt } = cluster.preference ?? {}
  const isAble = () => {
    const { leader } = cluster
    const voter = cluster.raft(leader!).membership.voters.find(({ id }) => id === preferred)
    return voter?.role === 'node' && fastDisk[1] * cluster.host(voter.id).diskFactor < balancedTiming.minElectionMs / 2
  }
  if (preempt === true && isAble()) {
    cluster.until(() => cluster.leader === preferred, balancedTiming.maxElectionMs * 30, 'the preferred node leads')
  }
  return { cluster, proposals }
}

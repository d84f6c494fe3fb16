/**
 * One randomised run of a simulated cluster, wholly determined by its seed: a safety phase in which everything goes wrong
 * that may go wrong, then a heal phase in which the cluster must make progress within bounds.
 */
import { balancedTiming, type NodeId } from '../../consensus/core/types.ts'
import { randomFrom } from '../../consensus/scenarios/events.ts'
import { members, peer } from '../../consensus/scenarios/harness.ts'
import { Clients } from './clients.ts'
import { earlierTerm, rivalChanges } from './plots.ts'
import { SimulatedCluster, type Counts } from './cluster.ts'

/** Clock rates of machines lie within 1 ± this. */
const drift = 0.05
const safetyMs = 3000

const shapes = [
  ['a', 'b', 'w!'], ['a', 'b', 'w!'], ['a', 'b', 'w!'], ['a', 'b', 'c'], ['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e'], ['a', 'b'], ['a'],
  ['a', 'b', 'c', 'w!'],
] as const

/**
 * `plain` and `rough` are bad days. In a `storm` hardly a message arrives in time, so that elections collide, old messages
 * meet new terms and logs diverge. `orphans` are entries that only a few have when their leader dies (as in figure 3.7 of the
 * dissertation). In a `shuffle` the membership changes all the time. `disks` are slow, full and rotten.
 * `earlier term` and `rivals` follow a plot (`plots.ts`).
 */
const moods = ['plain', 'rough', 'rough', 'storm', 'storm', 'orphans', 'orphans', 'shuffle', 'shuffle', 'disks', 'disks', 'earlier term', 'rivals'] as const

export interface Outcome {
  readonly counts: Counts
  /** Simulated milliseconds, and events. */
  readonly simulatedMs: number
  readonly events: number
  readonly transcript: () => string
}

/** Runs `seed`; throws with a transcript when an invariant breaks. */
export function runSeed(seed: number, trace = false): Outcome {
  const random = randomFrom(seed ^ 0x5bd1e995)
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!
  const between = (low: number, high: number) => low + random() * (high - low)
  const mood = pick(moods)
  const isPlot = mood === 'earlier term' || mood === 'rivals'
  const cluster = new SimulatedCluster({
    seed, trace, timing: balancedTiming, membership: members(...(mood === 'rivals' || (mood === 'shuffle' && random() < 0.5) ? ['a', 'b', 'c', 'w!'] : pick(shapes))),
    network: mood === 'plain' || isPlot ? { delayMs: [0.1, 1], loss: 0, duplicate: 0, straggle: 0, breaks: 0, lostReplies: 0, wild: false }
      : mood === 'storm'
        ? { delayMs: [0.1, 30], loss: pick([0, 0.1, 0.2]), duplicate: 0.3, straggle: pick([0.1, 0.2, 0.3]), breaks: pick([0, 0.01]), lostReplies: 0, wild: random() < 0.5 }
        : { delayMs: [0.1, pick([1, 5, 30])], loss: pick([0, 0.02, 0.2]), duplicate: 0.1, straggle: pick([0, 0.02]), breaks: pick([0, 0.01]), lostReplies: pick([0, 0.02]), wild: random() < 0.2 },
    disk: { writeMs: [0.1, isPlot ? 2 : pick([1, 5, 30])], full: false },
  })
  if (!isPlot) cluster.fenceFails = pick([0, 0.15])
  const { hosts, wires, time } = cluster
  const fastDisk = [0.1, 1] as const
  const set = (id: NodeId) => {
    const host = cluster.host(id)
    host.rate = pick([1 - drift, 1, 1 + drift, between(1 - drift, 1 + drift)])
    host.offsetMs = between(0, 1e6)
    cluster.start(id)
  }
  time.settle()
  for (const id of hosts.keys()) set(id)
  const clients = new Clients(cluster)
  const everyMs = pick([8, 25, 60])
  for (let count = pick([1, 3, 5]); count > 0; count -= 1) clients.start(everyMs)
  const spare = ['s', 't']
  const anyone = () => pick([...hosts.keys()])
  /** The faults end with the safety phase, also those that were planned in it. */
  let well = false
  const later = (ms: number, run: () => void) => time.after(ms, () => well || run())
  let mayRot = mood === 'disks' || random() < 0.1

  /** The leader gets something into its log that only one other machine may learn of, and dies or is cut off. */
  const orphan = () => {
    const { leader } = cluster
    const driver = leader === undefined ? undefined : cluster.awake(leader)
    if (leader === undefined || driver === undefined) return
    const others = [...hosts.keys()].filter((id) => id !== leader)
    const confidant = random() < 0.6 && others.length > 0 ? pick(others) : undefined
    for (const other of others) if (other !== confidant) wires.cut(leader, other)
    cluster.note(leader, `is heard by ${confidant ?? 'nobody'} alone`)
    if (mood === 'shuffle' || random() < 0.15) {
      const members = driver.core.membership.voters.map(({ id }) => id).filter((id) => id !== leader)
      if (members.length > 0) void driver.removePeer(pick(members))
    }
    // Large ones go one in a message: the rest of the log comes later.
    const bytes = random() < 0.3 ? 150_000 : 0
    for (let count = Math.floor(between(1, 4)); count > 0; count -= 1) clients.once(leader, 'write', undefined, bytes)
    const dies = random() < 0.8
    later(between(2, 50), () => {
      if (dies) cluster.crash(leader)
      if (confidant !== undefined && random() < 0.5) wires.cut(leader, confidant)
    })
    later(between(60, 500), () => {
      wires.heal()
      if (random() < 0.7) cluster.start(leader)
    })
  }

  /** A leader that one machine has not heard of for a while has to step down within its lease. */
  const stumble = () => {
    const { leader } = cluster
    if (leader === undefined || cluster.awake(leader) === undefined) return
    const other = anyone()
    if (other === leader) return
    wires.cutOneWay(leader, other)
    cluster.note(leader, `does not reach ${other}, and its disk is full for a moment`)
    later(between(250, 500), () => {
      const { faults } = cluster.host(leader).disk
      faults.full = true
      clients.once(leader, 'write')
      later(between(1, 40), () => {
        faults.full = false
        wires.heal()
      })
    })
  }
  /** A leader that has just handed over is cut off before it hears of the next one: what it knows is old from then on. */
  const overtaken = () => {
    const { leader } = cluster
    const driver = leader === undefined ? undefined : cluster.awake(leader)
    if (leader === undefined || driver === undefined) return
    cluster.note(leader, 'hands over and is cut off')
    cluster.counts.transfers += 1
    void driver.transfer()
    later(between(2, 30), () => {
      for (const other of hosts.keys()) wires.cut(leader, other)
    })
    // Writes at a time: the checker of histories looks at every order of those that overlap.
    let open = 0
    for (let ms = 10; ms < 220; ms += between(5, 20)) {
      later(ms, () => {
        const next = [...hosts.values()].find(({ id, driver: one }) => id !== leader && one?.core.role === 'leader')?.id
        if (next !== undefined && open < 2) {
          open += 1
          clients.once(next, 'write', () => { open -= 1 })
        }
        clients.once(leader, 'read')
      })
    }
    later(between(230, 500), () => wires.heal())
  }
  if (mood === 'shuffle') {
    // A leader that wants to change the membership before it has committed anything.
    cluster.onLeader = (id) => {
      if (random() < 0.4) return
      const driver = cluster.awake(id)
      if (driver === undefined) return
      const voters = driver.core.membership.voters.map((voter) => voter.id)
      const out = [...hosts.keys()].find((name) => !voters.includes(name))
      if (out !== undefined && random() < 0.5) void driver.addPeer(peer(out, cluster.host(out).role))
      else void driver.removePeer(pick(voters))
    }
  }

  const actions: readonly [weight: number, run: (id: NodeId) => void][] = [
    [4, (id) => cluster.crash(id)],
    [mood === 'storm' ? 4 : 2, (id) => {
      cluster.crash(id)
      cluster.start(id)
    }],
    [4, (id) => {
      cluster.freeze(id)
      later(between(10, 700), () => cluster.thaw(id))
    }],
    [2, (id) => {
      for (const other of hosts.keys()) wires.cut(id, other)
      cluster.note(id, 'is cut off')
    }],
    [2, (id) => {
      const other = anyone()
      wires.cut(id, other)
      cluster.note(id, `is cut from ${other}`)
    }],
    [3, (id) => {
      const other = anyone()
      wires.cutOneWay(id, other)
      cluster.note(id, `does not reach ${other}`)
    }],
    [4, () => wires.heal()],
    [4, (id) => cluster.snapshot(id)],
    [mood === 'disks' ? 6 : 2, stumble],
    [mood === 'plain' || mood === 'rough' ? 5 : 1, overtaken],
    [mood === 'orphans' ? 25 : mood === 'shuffle' ? 10 : 2, orphan],
    [2, (id) => {
      const { life, driver } = cluster.host(id)
      if (life !== undefined && driver !== undefined && !life.frozen) driver.core.requestSnapshot(life.now())
    }],
    [2, (id) => {
      cluster.counts.transfers += 1
      void cluster.awake(id)?.transfer()
    }],
    [1, (id) => void cluster.awake(id)?.requestTransfer(anyone())],
    [2, (id) => cluster.replay(id)],
    [1, (id) => {
      cluster.end(id)
      later(between(0, 2500), () => {
        if (!cluster.stopped.has(id)) return
        cluster.crash(id)
        cluster.start(id)
      })
    }],
    [mood === 'shuffle' ? 6 : 1, (id) => {
      const driver = cluster.awake(id)
      if (driver === undefined) return
      const { voters, learners } = driver.core.membership
      const out = [...hosts.keys()].filter((name) => ![...voters, ...learners].some((member) => member.id === name))
      // (What the old machine said may not be taken for the new one's word: streams and sessions are those of a certificate.)
      if (out.length > 0) cluster.readmit(pick(out), driver, random() < 0.5 && !wires.faults.wild)
    }],
    [2, () => {
      const preference = { preferred: random() < 0.2 ? '' : anyone(), preempt: random() < 0.5, preemptDelayMs: between(50, 500) }
      cluster.note(preference.preferred, `is to lead${preference.preempt ? ', and to take over' : ''}`)
      for (const id of hosts.keys()) cluster.awake(id)?.prefer(preference)
    }],
    [mood === 'disks' ? 8 : 1, (id) => {
      const { faults } = cluster.host(id).disk
      const slow = random() < 0.6
      if (slow) faults.writeMs = [1, pick([50, 400, 900])]
      else faults.full = true
      cluster.note(id, slow ? 'has a slow disk' : 'has a full disk')
      later(between(50, 900), () => {
        faults.writeMs = fastDisk
        faults.full = false
      })
    }],
    [mood === 'disks' ? 3 : 0, (id) => {
      const host = cluster.host(id)
      // One rotten disk is the limit: what two of three have lost is lost.
      if (!mayRot || hosts.size < 3) return
      const what = host.disk.rot()
      if (what === undefined) return
      mayRot = false
      cluster.checks.rotted(id)
      cluster.note(id, `a bit rots in ${what}`)
    }],
    [mood === 'shuffle' ? 8 : 1, (id) => {
      const name = spare.find((one) => !hosts.has(one))
      const driver = cluster.awake(id)
      if (name === undefined || driver === undefined) return
      const { membership } = driver.core
      cluster.note(id, `wants ${name} in`)
      cluster.add(name, 'node', membership)
      set(name)
      void driver.addPeer(peer(name))
    }],
    [mood === 'shuffle' ? 8 : 1, (id) => {
      const gone = anyone()
      cluster.note(id, `wants ${gone} out`)
      void cluster.awake(id)?.removePeer(gone)
    }],
  ]
  const total = actions.reduce((sum, [weight]) => sum + weight, 0)

  if (mood === 'earlier term') earlierTerm({ cluster, clients, random, endMs: safetyMs * 2 })
  else if (mood === 'rivals') rivalChanges({ cluster, clients, random, endMs: safetyMs * 2 })
  else while (time.now < safetyMs) {
    cluster.run(between(1, 120))
    // Most things are interesting when they happen to the leader.
    const { leader } = cluster
    const id = leader !== undefined && random() < 0.5 ? leader : anyone()
    let choice = random() * total
    for (const [weight, run] of actions) {
      choice -= weight
      if (choice >= 0) continue
      run(id)
      break
    }
    // Keep a chance of progress: bring somebody back now and then.
    const down = [...hosts.values()].filter(({ life }) => life === undefined)
    if (down.length > 0 && random() < 0.35) cluster.start(pick(down).id)
  }

  well = true
  cluster.onLeader = undefined
  heal(cluster, clients, fastDisk)
  return { counts: cluster.counts, simulatedMs: time.now, events: time.events, transcript: () => cluster.transcript() }
}

/** Everything works again: there must be a leader, a lease, progress, and equal states. */
function heal(cluster: SimulatedCluster, clients: Clients, writeMs: readonly [number, number]): void {
  const { hosts, wires } = cluster
  wires.heal()
  Object.assign(wires.faults, { loss: 0, straggle: 0, duplicate: 0, delayMs: [0.2, 1], breaks: 0, lostReplies: 0, wild: false })
  cluster.fenceFails = 0
  // What was not set up by now is what it was.
  cluster.settingUp.clear()
  for (const { id, disk } of hosts.values()) {
    if (cluster.stopped.has(id)) cluster.crash(id)
    disk.faults.full = false
    disk.faults.writeMs = writeMs
    cluster.thaw(id)
    cluster.start(id)
  }
  cluster.note('', '— all is well again —')
  cluster.run(1500)
  // Without a majority of sound logs there is nothing to expect but safety.
  const membership = newestMembership(cluster)
  const sound = membership.filter((id) => hosts.get(id)?.driver !== undefined).length
  if (sound * 2 <= membership.length) {
    clients.stop()
    cluster.run(500)
    clients.check()
    return
  }
  cluster.until(() => cluster.leader !== undefined, 3000, 'a leader after healing')
  const members = () => [...hosts.values()].filter(({ id, life }) => life !== undefined && cluster.isMember(id))
  const holder = () => [...hosts.values()].some(({ leaseUntilMs }) => leaseUntilMs > cluster.time.now)
  // A cluster whose only nodes were removed has nobody to hold a lease.
  const mayHold = () => {
    const { leader } = cluster
    return leader === undefined || cluster.core(leader)!.membership.voters.some(({ id, role }) => role === 'node' && hosts.get(id)?.life !== undefined)
  }
  cluster.until(() => !mayHold() || holder(), 5000, 'somebody holds the lease')
  let wrote = false
  let asked = -Infinity
  cluster.until(() => {
    const { leader } = cluster
    if (!wrote && leader !== undefined && cluster.time.now - asked > 300) {
      asked = cluster.time.now
      clients.once(leader, 'write', (ok) => { wrote ||= ok })
    }
    return wrote
  }, 5000, 'a write succeeds')
  clients.stop()
  const awaited = new Set(members().map(({ id }) => id))
  for (const id of awaited) {
    let tried = -Infinity
    cluster.until(() => {
      if (!cluster.isMember(id)) awaited.delete(id)
      if (awaited.has(id) && cluster.time.now - tried > 500) {
        tried = cluster.time.now
        clients.once(id, 'read', (ok) => ok && awaited.delete(id))
      }
      return !awaited.has(id)
    }, 5000, `a read through ${id}`)
  }
  cluster.until(() => {
    const { leader } = cluster
    return leader !== undefined && cluster.core(leader)!.membership.learners.every(({ id }) => hosts.get(id)?.life === undefined)
  }, 5000, 'learners are promoted')
  cluster.until(() => {
    const { leader } = cluster
    if (leader === undefined) return false
    const { commitIndex, lastIndex } = cluster.core(leader)!
    return commitIndex === lastIndex && members().every(({ registers }) => registers.applied === lastIndex)
  }, 5000, 'everybody has applied everything')
  trial(cluster, clients, members().map(({ id }) => id))
  cluster.run(100)
  cluster.checks.finish(members())
  clients.check()
}

/** One more fault, of those that must not stop a cluster of three or more: another machine leads and commits, in time. */
function trial(cluster: SimulatedCluster, clients: Clients, members: readonly NodeId[]): void {
  const { leader, random, wires } = cluster
  if (leader === undefined || members.length < 3 || random() < 0.3) return
  if (cluster.core(leader)!.membership.voters.some(({ id }) => !members.includes(id))) return
  const others = members.filter((id) => id !== leader)
  const kind = ['deaf', 'disk', 'cut', 'frozen', 'dead'][Math.floor(random() * 5)]!
  cluster.note(leader, `trial: ${kind}`)
  if (kind === 'deaf') for (const other of others) wires.cutOneWay(other, leader)
  else if (kind === 'cut') for (const other of others) wires.cut(other, leader)
  else if (kind === 'frozen') cluster.freeze(leader)
  else if (kind === 'dead') cluster.crash(leader)
  else {
    cluster.host(leader).disk.faults.writeMs = [8000, 8000]
    clients.once(leader, 'write')
  }
  let wrote = false
  let asked = -Infinity
  cluster.until(() => {
    const next = others.find((id) => cluster.core(id)?.role === 'leader')
    if (!wrote && next !== undefined && cluster.time.now - asked > 300) {
      asked = cluster.time.now
      clients.once(next, 'write', (ok) => { wrote ||= ok })
    }
    return wrote
  }, 4000, `another leader commits (${kind})`)
}

/** Who votes by the newest membership that anybody has. */
function newestMembership(cluster: SimulatedCluster): NodeId[] {
  let newest: { index: number; voters: NodeId[] } = { index: -1, voters: [] }
  for (const { driver } of cluster.hosts.values()) {
    if (driver === undefined) continue
    const { membershipIndex, membership } = driver.core
    if (membershipIndex > newest.index) newest = { index: membershipIndex, voters: membership.voters.map(({ id }) => id) }
  }
  return newest.voters
}

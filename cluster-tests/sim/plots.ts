/**
 * Safety phases that follow a plot, because chance alone would take a hundred thousand seeds to come across it: the two
 * classical ways in which a Raft that is almost right loses what it has committed. Times and places are still random.
 */
import type { NodeId } from '../../consensus/core/types.ts'
import type { Clients } from './clients.ts'
import type { SimulatedCluster } from './cluster.ts'

export interface Stage {
  readonly cluster: SimulatedCluster
  readonly clients: Clients
  readonly random: () => number
  readonly endMs: number
}

/** Larger than a message of the log: the rest follows in a message of its own. */
const largeBytes = 270_000

class Director {
  readonly #stage: Stage

  constructor(stage: Stage) {
    this.#stage = stage
  }

  get over(): boolean {
    return this.#stage.cluster.time.now >= this.#stage.endMs
  }

  between(low: number, high: number): number {
    return low + this.#stage.random() * (high - low)
  }

  /** Runs until the condition holds, for a while at most. */
  wait(ms: number, condition: () => boolean): boolean {
    const { cluster, endMs } = this.#stage
    const end = Math.min(cluster.time.now + ms, endMs)
    while (!condition() && cluster.time.now < end) cluster.run(0.3)
    return condition()
  }

  isolate(id: NodeId, ...but: readonly NodeId[]): void {
    const { cluster } = this.#stage
    for (const other of cluster.hosts.keys()) if (!but.includes(other)) cluster.wires.cut(id, other)
  }

  /** A leader other than `but`, as soon as there is one. */
  leader(ms: number, ...but: readonly NodeId[]): NodeId | undefined {
    const { cluster } = this.#stage
    const found = () => [...cluster.hosts.values()].find(({ id, driver }) => driver?.core.role === 'leader' && !but.includes(id))?.id
    this.wait(ms, () => found() !== undefined)
    return found()
  }
}

/** Figure 3.7 of the dissertation: an entry of an earlier term is on a majority, and not committed for all that. */
export function earlierTerm(stage: Stage): void {
  const { cluster, clients, random } = stage
  const director = new Director(stage)
  while (!director.over) {
    cluster.wires.heal()
    for (const id of cluster.hosts.keys()) cluster.start(id)
    const first = director.leader(1000)
    if (first === undefined) continue
    cluster.run(director.between(5, 60))
    director.isolate(first)
    clients.once(first, 'write', undefined, random() < 0.8 ? largeBytes : 0)
    cluster.run(director.between(3, 30))
    cluster.crash(first)
    cluster.wires.heal()
    const second = director.leader(1200, first)
    if (second === undefined) continue
    // Its first entry reaches nobody.
    director.isolate(second)
    cluster.run(director.between(2, 25))
    cluster.crash(second)
    cluster.wires.heal()
    cluster.start(first)
    const third = director.leader(1500, second)
    const core = third === undefined ? undefined : cluster.core(third)
    if (third === undefined || core === undefined) continue
    const { commitIndex } = core
    director.wait(200, () => core.commitIndex > commitIndex)
    director.isolate(third)
    cluster.run(director.between(3, 20))
    cluster.crash(third)
    cluster.wires.heal()
    cluster.start(second)
    director.leader(1200, third)
    cluster.run(director.between(20, 200))
  }
}

/** Two leaders, each with a change of the membership that only it knows (raft-dev, 10 July 2015). */
export function rivalChanges(stage: Stage): void {
  const { cluster, random } = stage
  const director = new Director(stage)
  while (!director.over) {
    cluster.wires.heal()
    for (const id of cluster.hosts.keys()) cluster.start(id)
    const first = director.leader(1000)
    const voters = first === undefined ? [] : cluster.core(first)!.membership.voters.map(({ id }) => id)
    if (first === undefined || voters.length < 4) {
      cluster.run(director.between(50, 200))
      continue
    }
    cluster.run(director.between(20, 80))
    const others = voters.filter((id) => id !== first).toSorted(() => random() - 0.5)
    director.isolate(first)
    void cluster.awake(first)?.removePeer(others[0]!)
    const second = director.leader(1200, first)
    if (second === undefined) continue
    const [friend, stranger] = others.filter((id) => id !== second)
    director.isolate(second, friend!)
    cluster.note(second, `is heard by ${friend} alone and wants ${first} out`)
    void cluster.awake(second)?.removePeer(first)
    cluster.run(director.between(20, 200))
    cluster.wires.heal()
    for (const one of [second, friend!]) director.isolate(one, second, friend!)
    cluster.note(first, `and ${stranger} are among themselves`)
    director.leader(1200, second)
    cluster.run(director.between(20, 200))
  }
}

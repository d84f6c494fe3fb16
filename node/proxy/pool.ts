/** A pool in force: which of its members are eligible, and the choice among them. */
import { leastConnections } from './balance/least-connections.ts'
import { roundRobin } from './balance/round-robin.ts'
import { schedule } from './balance/schedule.ts'
import type { Head } from './http/head.ts'
import type { PoolPlan, RouteTable } from './route/table.ts'
import type { Shared } from './shared.ts'

/** A pool in force, with what depends on the members' health cached until that changes. */
export class PoolRuntime {
  readonly plan: PoolPlan
  readonly #shared: Shared
  #version = -1
  #order: Uint32Array = new Uint32Array(0)
  #weights: number[] = []
  /** Active exchanges per member as they were when the last choice was made. */
  readonly #seen: Int32Array
  readonly #look: (member: number) => number

  constructor(plan: PoolPlan, shared: Shared) {
    this.plan = plan
    this.#shared = shared
    this.#seen = new Int32Array(plan.members.length)
    this.#look = (member) => (this.#seen[member] = shared.active(plan.members[member]!.slot))
  }

  /**
   * Chooses a member and counts it active. Draining, disabled and down members get nothing new; while no verdict has made
   * any member `up`, those that are still being checked are tried (a start must not refuse what would work).
   * @param excluded members already tried for this request
   * @param key from `keyOf` or `keyOfAddress`: where the choice depends on the request
   * @returns an index into `plan.members`, or -1
   */
  pick(excluded: readonly number[], _key: number): number {
    const version = this.#shared.healthVersion()
    if (version !== this.#version) this.#refresh(version)
    const { members } = this.plan
    const cursor = this.#shared.nextCursor(this.plan.slot)
    if (this.plan.balance === 'round-robin') {
      const index = roundRobin(this.#order, cursor, excluded)
      if (index >= 0) this.#shared.addActive(members[index]!.slot, 1)
      return index
    }
    for (;;) {
      const index = leastConnections(this.#weights, this.#look, cursor % Math.max(1, members.length), excluded)
      if (index < 0) return -1
      // Another worker was faster: its choice counts, so choose anew.
      if (this.#shared.claim(members[index]!.slot, this.#seen[index]!)) return index
    }
  }

  /** What the choice depends on, of a request: a hash of 32 bits; 0 where it does not. Taken once, as its head is gone when another member has to be tried. */
  keyOf(_head: Head, _buffer: Buffer, _address: Uint8Array): number {
    return 0
  }

  /** The same for a connection of which only the client's address is known (as text, in bytes). */
  keyOfAddress(_address: Uint8Array): number {
    return 0
  }

  #refresh(version: number): void {
    this.#version = version
    const health = this.plan.members.map((member) => this.#shared.health(member.slot))
    const anyUp = health.includes('up')
    this.#weights = this.plan.members.map((member, i) => (health[i] === 'up' || (!anyUp && health[i] === 'checking') ? member.weight : 0))
    this.#order = schedule(this.#weights)
  }
}

export function poolsOf(table: RouteTable, shared: Shared): PoolRuntime[] {
  return table.pools.map((plan) => new PoolRuntime(plan, shared))
}

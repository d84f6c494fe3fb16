/** A pool in force: which of its members are eligible and how much weight each has now, and the choice among them. */
import { hasCapacity } from './balance/bounded-load.ts'
import { firstAvailable } from './balance/first-available.ts'
import { inForce } from './balance/groups.ts'
import { mix32, xxHash32 } from './balance/hash.ts'
import { cookieKey, headerKey, noKey, pathKey, uriKey } from './balance/key.ts'
import { leastConnections } from './balance/least-connections.ts'
import { leastResponseTime } from './balance/least-response-time.ts'
import { maglev, maglevTable, resolve, tableSize } from './balance/maglev.ts'
import { randomTwoChoices } from './balance/random-two-choices.ts'
import { roundRobin } from './balance/round-robin.ts'
import { schedule } from './balance/schedule.ts'
import { effectiveWeight, sixteenths } from './balance/weights.ts'
import { eligibleMembers } from '../health/eligible.ts'
import { ascii } from './http/bytes.ts'
import type { Head } from './http/head.ts'
import type { PoolPersistence } from './persistence.ts'
import { PoolHealth } from './pool-health.ts'
import { PoolQueue } from './queue.ts'
import type { PoolPlan, RouteTable } from './route/table.ts'
import { Factor, type Shared } from './shared.ts'

/** Longest schedule while factors change it: it is made anew each time. */
const factoredScheduleLength = 4096

/** Pools of at most so many members follow every change at once. */
const fewMembers = 64
/** Larger ones rest for so many times as long as it took: when thousands of members come and go, choosing among them goes on. */
const restPerRefresh = 9

const nothing = new Uint16Array(0)

/** A pool in force, with what depends on the members' health and factors cached until those change. */
export class PoolRuntime {
  readonly plan: PoolPlan
  /** The balancing wants to know how long members take: `shared.recordLatency` and `recordFailure`. */
  readonly measures: boolean
  readonly health: PoolHealth
  /** What keeps a client on one member; set when the table comes into force. */
  persistence: PoolPersistence | undefined = undefined
  /** Where requests wait while all members are at their limits; undefined: they do not. */
  readonly queue: PoolQueue | undefined
  readonly #shared: Shared
  #version = -1
  /** Only of large pools: before this, changes wait. Monotonic milliseconds. */
  #nextRefreshMs = 0
  /** Of the members in force, in sixteenths of a configured weight; 0: gets nothing. */
  #weights: number[] = []
  #totalWeight = 0
  /** Eligible, but not in force (later priorities, backups): for requests that all those in force have failed. */
  #spares: number[] = []
  #order: Uint32Array = new Uint32Array(0)
  /** `hash`: the member of each place, and with the ineligible ones passed over. Made at the first use. */
  #table: Uint16Array = nothing
  #resolved: Uint16Array = nothing
  readonly #tableKey: string
  readonly #hashName: Uint8Array
  /** Active exchanges per member as they were when the last choice was made. */
  readonly #seen: Int32Array
  /** Of all members in force, for bounded loads. */
  #total = 0
  readonly #look: (member: number) => number
  readonly #latency: (member: number) => number
  readonly #take: (member: number) => boolean
  readonly #takeBounded: (member: number) => boolean

  /** `before`: the runtime of this pool in the table before; what has not changed is taken over. */
  constructor(plan: PoolPlan, shared: Shared, before?: PoolRuntime) {
    const { members, loadFactor } = plan
    this.plan = plan
    this.#shared = shared
    this.queue = plan.queue === undefined ? undefined : new PoolQueue(plan.queue, plan.slot, shared)
    this.health = new PoolHealth(plan, shared)
    this.measures = plan.balance === 'least-response-time' || plan.dynamicWeights
    this.#hashName = ascii(plan.hashName)
    this.#seen = new Int32Array(members.length)
    this.#look = (member) => {
      const { slot, maxConnections } = members[member]!
      const active = (this.#seen[member] = shared.active(slot))
      return maxConnections > 0 && active >= maxConnections ? Infinity : active
    }
    this.#latency = (member) => shared.latencyUs(members[member]!.slot)
    this.#take = (member) => {
      const { slot, maxConnections } = members[member]!
      if (maxConnections > 0) return shared.claimBelow(slot, maxConnections)
      shared.addActive(slot, 1)
      return true
    }
    this.#takeBounded = (member) => {
      const active = shared.active(members[member]!.slot)
      return hasCapacity(active, this.#weights[member]!, this.#totalWeight, this.#total, loadFactor) && this.#take(member)
    }
    this.#tableKey = plan.balance === 'hash' ? members.map(({ address, port, weight }) => `${address} ${port} ${weight}`).join() : ''
    if (before !== undefined && before.#tableKey === this.#tableKey) this.#table = before.#table
  }

  /**
   * Chooses a member and counts it active. Draining, disabled and down members get nothing new; while no verdict has made
   * any member `up`, those that are still being checked are tried (a start must not refuse what would work).
   * @param excluded members already tried for this request
   * @param key from `keyOf` or `keyOfAddress`: where the choice depends on the request
   * @returns an index into `plan.members`, or -1: see `full`
   */
  pick(excluded: readonly number[], key: number): number {
    this.#follow()
    const { slot, maxConnections } = this.plan
    if (!this.#shared.claimPool(slot, maxConnections)) return -1
    let index = this.#choose(excluded, key)
    if (index < 0 && excluded.length > 0 && this.#spares.length > 0) index = firstAvailable(this.#spares, 0, excluded, this.#take)
    if (index < 0) this.#shared.releasePool(slot)
    return index
  }

  /**
   * Counts this member active if it may be used now and has a place: for a client that belongs to it (persistence).
   * @returns false: choose another one
   */
  take(member: number): boolean {
    const { slot, maxConnections } = this.plan
    if (!this.keeps(member) || !this.#shared.claimPool(slot, maxConnections)) return false
    if (this.#take(member)) return true
    this.#shared.releasePool(slot)
    return false
  }

  /** Gives the place at a member back that `pick` or `take` has counted. */
  release(member: number): void {
    // The pool's first: giving the member's back wakes those who wait for either.
    this.#shared.releasePool(this.plan.slot)
    this.#shared.addActive(this.plan.members[member]!.slot, -1)
  }

  /** Whether the member keeps the clients that belong to it: also one that drains (until its deadline), has weight 0, or is not in force. */
  keeps(member: number): boolean {
    return this.#shared.keepsClients(this.plan.members[member]!.slot)
  }

  /** Whether there are members in force. After `pick` has found none: all of them are at their limits, so waiting may help. */
  get full(): boolean {
    this.#follow()
    return this.#totalWeight > 0
  }

  /** What the choice depends on, of a request: a hash of 32 bits; 0 where it does not. Taken once, as its head is gone when another member has to be tried. */
  keyOf(head: Head, buffer: Buffer, address: Uint8Array): number {
    if (this.plan.balance !== 'hash') return 0
    let key: number
    switch (this.plan.hashOn) {
      case 'source':
        return this.keyOfAddress(address)
      case 'uri':
        return uriKey(head, buffer)
      case 'path':
        return pathKey(head, buffer)
      case 'header':
        key = headerKey(head, buffer, this.#hashName)
        break
      case 'cookie':
        key = cookieKey(head, buffer, this.#hashName)
        break
      default:
        throw new Error(`unknown input of a hash: ${String(this.plan.hashOn satisfies never)}`)
    }
    // Nothing to hash: such requests are spread.
    return key === noKey ? mix32(this.#shared.nextCursor(this.plan.slot)) : key
  }

  /** The same for a connection of which only the client's address is known (as text, in bytes). */
  keyOfAddress(address: Uint8Array): number {
    return this.plan.balance === 'hash' ? xxHash32(address, 0, address.length, 0) : 0
  }

  #choose(excluded: readonly number[], key: number): number {
    const { balance, slot, members } = this.plan
    switch (balance) {
      case 'round-robin':
        return roundRobin(this.#order, this.#weights, this.#shared.nextCursor(slot), excluded, this.#take)
      case 'least-connections':
      case 'least-response-time': {
        const cursor = this.#shared.nextCursor(slot) % Math.max(1, members.length)
        for (;;) {
          const index = balance === 'least-connections'
            ? leastConnections(this.#weights, this.#look, cursor, excluded)
            : leastResponseTime(this.#weights, this.#look, this.#latency, cursor, excluded)
          if (index < 0) return -1
          // Another worker was faster: its choice counts, so choose anew.
          if (this.#shared.claim(members[index]!.slot, this.#seen[index]!)) return index
        }
      }
      case 'random-two-choices':
        return randomTwoChoices(this.#order, this.#weights, this.#shared.nextCursor(slot), this.#look, excluded, this.#take)
      case 'hash':
        return this.#byHash(excluded, key)
      case 'first-available':
        return firstAvailable(this.#weights, 0, excluded, this.#take)
      default:
        throw new Error(`unknown balancing ${String(balance satisfies never)}`)
    }
  }

  #byHash(excluded: readonly number[], key: number): number {
    if (this.#resolved.length === 0) this.#makeTable()
    if (this.plan.loadFactor === 0) return maglev(this.#table, this.#resolved, this.#weights, key, excluded, this.#take)
    this.#total = 0
    for (let member = 0; member < this.#weights.length; member++) {
      if (this.#weights[member]! > 0) this.#total += this.#shared.active(this.plan.members[member]!.slot)
    }
    const index = maglev(this.#table, this.#resolved, this.#weights, key, excluded, this.#takeBounded)
    // All that are left are at their bound (others are excluded or at their limits): the bound is for spreading, not for refusing.
    return index >= 0 ? index : maglev(this.#table, this.#resolved, this.#weights, key, excluded, this.#take)
  }

  #makeTable(): void {
    const { members } = this.plan
    if (this.#table.length === 0) {
      const weights = members.map((member) => member.weight)
      this.#table = maglevTable(members.map(({ address, port }) => `${address} ${port}`), weights, tableSize(weights))
    }
    // What the effective weight is of the configured one: that share of its keys a member keeps.
    const factors = members.map(({ weight }, member) => (weight === 0 ? 0 : Math.ceil(this.#weights[member]! / weight)))
    this.#resolved = resolve(this.#table, factors)
  }

  // — what depends on health and factors —

  #follow(): void {
    const version = this.#shared.healthVersion()
    if (version === this.#version) return
    if (this.plan.members.length <= fewMembers) {
      this.#version = version
      this.#refresh()
      return
    }
    const nowMs = performance.now()
    if (nowMs < this.#nextRefreshMs) return
    this.#version = version
    this.#refresh()
    const endMs = performance.now()
    this.#nextRefreshMs = endMs + restPerRefresh * (endMs - nowMs)
  }

  /** Which members may get traffic at all, by their health. */
  #eligible(): boolean[] {
    // Without a weight it serves nobody: it is not what others are waited for, or what the pool is well by.
    const health = this.plan.members.map(({ slot, weight }) => (weight === 0 ? 'disabled' : this.#shared.health(slot)))
    return eligibleMembers(health, this.plan.health.panicThreshold)
  }

  #refresh(): void {
    const { members, minimumMembers, balance } = this.plan
    const eligible = this.#eligible()
    const now = inForce(members, eligible, minimumMembers)
    this.#spares = eligible.map((may, member) => (may && now[member] === 0 ? 1 : 0))
    const weights = members.map(({ weight, slot }, member) => {
      if (now[member] === 0) return 0
      return effectiveWeight(weight, this.#shared.factor(slot, Factor.slowStart), this.#shared.factor(slot, Factor.dynamic))
    })
    const before = this.#weights
    if (before.length === weights.length && weights.every((weight, member) => weight === before[member])) return
    this.#weights = weights
    this.#totalWeight = weights.reduce((sum, weight) => sum + weight, 0)
    this.#resolved = nothing
    if (balance !== 'round-robin' && balance !== 'random-two-choices') return
    const factored = weights.some((weight, member) => weight !== 0 && weight !== members[member]!.weight * sixteenths)
    this.#order = factored ? schedule(weights, factoredScheduleLength) : schedule(weights)
  }
}

/** `before`: the pools in force until now. */
export function poolsOf(table: RouteTable, shared: Shared, before: readonly PoolRuntime[] = []): PoolRuntime[] {
  const known = new Map(before.map((pool) => [pool.plan.name, pool]))
  return table.pools.map((plan) => new PoolRuntime(plan, shared, known.get(plan.name)))
}

/**
 * What the main thread makes of the members' health beside their probes: ejects those that fail live traffic, lets the weight of
 * those that came up grow, ends what draining members still have, and moves the circuit breakers on. Looks at the shared counters
 * a few times a second; what it decides is in shared memory for the workers' next choice.
 */
import { circuitCells, resetCircuit, watchCircuit, type CircuitState, type CircuitWatch } from '../health/circuit.ts'
import { ejectMembers, failsTooOften, neverEjected, type Ejection } from '../health/ejection.ts'
import { slowStartFactors } from '../health/slow-start.ts'
import type { MemberHealth } from '../observe/counters.ts'
import type { MemberPlan, PoolPlan, RouteTable } from './route/table.ts'
import { sixteenths } from './balance/weights.ts'
import { sameMember } from './runtime.ts'
import { Factor, MemberField, type Shared } from './shared.ts'

/** Time between two looks, milliseconds. */
export const lookEveryMs = 250

const noDrain = { drainMs: 0 }
const nobody: ReadonlySet<number> = new Set()

type Log = (level: 'info' | 'warn', message: string, fields?: Record<string, unknown>) => void

interface Watched {
  /** As probes and the configuration say. */
  base: MemberHealth
  /** Since when it is up; undefined: it is not. */
  upMs: number | undefined
  /** Since when it is draining or disabled; undefined: it is not. */
  drainingMs: number | undefined
  ejection: Ejection
  ejectedSinceEpochMs: number
  ejections: number
}

/** Requests and failures of a pool's members when a window began, by slot. */
interface Window {
  readonly sinceMs: number
  readonly counted: ReadonlyMap<number, readonly [requests: number, failures: number]>
}

export class MemberWatch {
  readonly #shared: Shared
  readonly #log: Log
  readonly #members = new Map<number, Watched>()
  #pools: readonly PoolPlan[] = []
  /** By a member's slot. */
  #poolOf: ReadonlyMap<number, PoolPlan> = new Map()
  /** What needs a look, so that one at thousands of healthy members costs next to nothing: members that drain or are disabled; and
   *  pools, by slot, with members whose weight grows, or that were ejected lately. */
  readonly #draining = new Set<number>()
  readonly #growing = new Set<number>()
  readonly #ejecting = new Set<number>()
  /** By a pool's slot: since when the member is up that has been so for longest, as the last look found it. Monotonic milliseconds. */
  readonly #oldestUp = new Map<number, number>()
  /** Members that came with their pool and of which nothing is known yet, by slot, and when they came. When the first that is known is
   *  that they are up, they have been so before: a node that has just started has nobody to be slow for. Monotonic milliseconds. */
  readonly #firstVerdicts = new Map<number, number>()
  readonly #circuits = new Map<number, CircuitWatch>()
  /** By a pool's slot; only of pools with an error rate. */
  readonly #windows = new Map<number, Window>()
  /** Members that are gone from the table and what they still have ends then. By slot; monotonic milliseconds. */
  readonly #leaving = new Map<number, number>()

  constructor(shared: Shared, log: Log) {
    this.#shared = shared
    this.#log = log
  }

  /** Another table is about to come into force. */
  configure({ pools }: RouteTable, nowMs: number): void {
    const wanted = new Set(pools.flatMap((pool) => pool.members.map((member) => member.slot)))
    for (const pool of this.#pools) {
      for (const { slot } of pool.members) {
        if (wanted.has(slot)) continue
        this.#members.delete(slot)
        this.#firstVerdicts.delete(slot)
        this.#draining.delete(slot)
        if (pool.health.drainMs > 0) this.#leaving.set(slot, nowMs + pool.health.drainMs)
      }
    }
    for (const slot of wanted) {
      this.#leaving.delete(slot)
      // Also one that was cut off when it left, and had nothing any more since then.
      if (!this.#draining.has(slot)) this.#shared.cut(slot, false)
    }
    const before = new Map(this.#pools.map((pool) => [pool.slot, pool]))
    for (const { slot, health, members } of pools) {
      if (!before.has(slot)) for (const member of members) this.#firstVerdicts.set(member.slot, nowMs)
      // Other limits, or a name that is new: what was counted says nothing.
      if (JSON.stringify(before.get(slot)?.health.circuit) !== JSON.stringify(health.circuit)) {
        resetCircuit(this.#shared.circuits, slot * circuitCells)
        this.#circuits.delete(slot)
      }
    }
    const known = new Map(this.#pools.flatMap((pool) => pool.members.map((member) => [member.slot, member])))
    this.#oldestUp.clear()
    this.#pools = pools
    this.#poolOf = new Map(pools.flatMap((pool) => pool.members.map((member) => [member.slot, pool])))
    for (const { slot, health } of pools) {
      if (health.slowStartMs > 0) this.#growing.add(slot)
      if (health.ejection !== undefined) this.#ejecting.add(slot)
    }
    for (const { members, health } of pools) {
      for (const member of members) {
        const { slot } = member
        const one = this.#members.get(slot)
        const was = known.get(slot)
        // Switched off, or another server: what live traffic said is over.
        if (one !== undefined && one.ejection !== neverEjected && (health.ejection === undefined || (was !== undefined && !sameMember(was, member)))) {
          one.ejection = neverEjected
          Atomics.store(this.#shared.failures, slot, 0)
          this.#show(slot, one)
        }
        if (health.slowStartMs === 0) this.#shared.setFactor(slot, Factor.slowStart, sixteenths)
      }
    }
  }

  /** A place in shared memory has another name from now on. */
  forget(slot: number): void {
    this.#members.delete(slot)
    this.#firstVerdicts.delete(slot)
    this.#draining.delete(slot)
    this.#leaving.delete(slot)
    Atomics.store(this.#shared.failures, slot, 0)
    this.#shared.cut(slot, false)
  }

  /** From the probes or the configuration. */
  setHealth(slot: number, health: MemberHealth, nowMs: number): void {
    const one = this.#watched(slot)
    if (one.base !== health) {
      const out = health === 'draining' || health === 'disabled'
      one.drainingMs = out ? (one.drainingMs ?? nowMs) : undefined
      one.upMs = health === 'up' ? (this.#firstVerdicts.get(slot) ?? nowMs) : undefined
      this.#firstVerdicts.delete(slot)
      one.base = health
      if (out) this.#draining.add(slot)
      else if (this.#draining.delete(slot)) this.#shared.cut(slot, false)
      // So that the first requests after it came up find it at its first step.
      const pool = this.#poolOf.get(slot)
      if (health === 'up' && pool !== undefined) this.#comesUp(pool, slot, one, nowMs)
    }
    this.#show(slot, one)
  }

  /** One look at everything. */
  look(nowMs: number): void {
    for (const pool of this.#pools) {
      const { ejection, slowStartMs, circuit } = pool.health
      if (ejection !== undefined) this.#eject(pool, nowMs)
      if (slowStartMs > 0 && this.#growing.has(pool.slot)) this.#slowStart(pool, nowMs)
      if (circuit !== undefined) this.#circuit(pool, nowMs)
    }
    for (const slot of this.#draining) {
      const { drainMs } = this.#poolOf.get(slot)?.health ?? noDrain
      const since = this.#members.get(slot)?.drainingMs ?? Infinity
      this.#shared.cut(slot, drainMs > 0 && nowMs - since >= drainMs)
    }
    for (const [slot, atMs] of this.#leaving) {
      if (this.#shared.active(slot) === 0) this.#leaving.delete(slot)
      else if (nowMs >= atMs) this.#shared.cut(slot, true)
    }
  }

  /** Since when it is ejected (0: it is not), epoch milliseconds; and how often it was, in all. */
  ejection(slot: number): { readonly sinceEpochMs: number; readonly total: number } {
    const one = this.#members.get(slot)
    return { sinceEpochMs: one !== undefined && this.#shared.health(slot) === 'ejected' ? one.ejectedSinceEpochMs : 0, total: one?.ejections ?? 0 }
  }

  /** Undefined: the pool has no circuit breaker. */
  circuit(pool: PoolPlan): CircuitState | undefined {
    return pool.health.circuit === undefined ? undefined : (this.#circuits.get(pool.slot)?.state ?? 'closed')
  }

  #watched(slot: number): Watched {
    let one = this.#members.get(slot)
    if (one === undefined) {
      one = { base: 'checking', upMs: undefined, drainingMs: undefined, ejection: neverEjected, ejectedSinceEpochMs: 0, ejections: 0 }
      this.#members.set(slot, one)
    }
    return one
  }

  #show(slot: number, { base, ejection }: Watched): void {
    const health = ejection.untilMs > 0 && (base === 'up' || base === 'checking') ? 'ejected' : base
    if (this.#shared.health(slot) !== health) this.#shared.setHealth(slot, health)
  }

  #eject(pool: PoolPlan, nowMs: number): void {
    const policy = pool.health.ejection!
    const { failures } = this.#shared
    const failing = this.#failing(pool, nowMs)
    // Mostly there is nothing to decide.
    if (failing.size === 0 && !this.#ejecting.has(pool.slot) && !pool.members.some(({ slot }) => Atomics.load(failures, slot) >= policy.failures)) return
    const watched = pool.members.map(({ slot }) => this.#watched(slot))
    const after = ejectMembers(
      watched.map((one) => one.ejection),
      pool.members.map(({ slot, weight }, at) => {
        const { base } = watched[at]!
        return { candidate: weight > 0 && (base === 'up' || base === 'checking'), failures: Atomics.load(failures, slot), failing: failing.has(slot) }
      }),
      policy,
      nowMs,
    )
    pool.members.forEach((member, at) => this.#ejected(pool, member, watched[at]!, after[at]!, nowMs))
    if (after.some(({ times }) => times > 0)) this.#ejecting.add(pool.slot)
    else this.#ejecting.delete(pool.slot)
  }

  /** Slots of the members whose error rate in the window that has just ended was too high. */
  #failing({ slot: poolSlot, members, health: { errorRate } }: PoolPlan, nowMs: number): ReadonlySet<number> {
    if (errorRate === undefined) {
      this.#windows.delete(poolSlot)
      return nobody
    }
    const window = this.#windows.get(poolSlot)
    if (window !== undefined && nowMs - window.sinceMs < errorRate.windowMs) return nobody
    const shared = this.#shared
    const counted = new Map<number, readonly [number, number]>()
    const failing = new Set<number>()
    for (const { slot } of members) {
      const requests = shared.memberTotal(slot, MemberField.requests) + shared.memberTotal(slot, MemberField.connectFailures)
      const failures = Atomics.load(shared.failuresTotal, slot)
      counted.set(slot, [requests, failures])
      const before = window?.counted.get(slot)
      if (before !== undefined && failsTooOften(requests - before[0], (failures - before[1]) | 0, errorRate)) failing.add(slot)
    }
    this.#windows.set(poolSlot, { sinceMs: nowMs, counted })
    return failing
  }

  #ejected(pool: PoolPlan, { name, slot }: MemberPlan, one: Watched, after: Ejection, nowMs: number): void {
    const before = one.ejection
    if (before === after) return
    one.ejection = after
    if (before.untilMs > 0 === after.untilMs > 0) return
    const count = Atomics.exchange(this.#shared.failures, slot, 0)
    if (after.untilMs > 0) {
      one.ejections++
      one.ejectedSinceEpochMs = Date.now()
      this.#log('warn', `member ${pool.name}/${name} is ejected`, { failures: count, forMs: after.untilMs - nowMs, times: after.times })
    } else {
      if (one.base === 'up') one.upMs = nowMs
      this.#comesUp(pool, slot, one, nowMs)
      this.#log('info', `member ${pool.name}/${name} is not ejected any more`)
    }
    this.#show(slot, one)
  }

  /** Gives the member its first step. The others have theirs at the next look: thousands that come up together must not look at each other. */
  #comesUp(pool: PoolPlan, slot: number, { upMs }: Watched, nowMs: number): void {
    const { slowStartMs } = pool.health
    if (slowStartMs === 0 || upMs === undefined) return
    const oldestMs = this.#oldestUp.get(pool.slot)
    if (oldestMs === undefined) return this.#slowStart(pool, nowMs)
    this.#shared.setFactor(slot, Factor.slowStart, slowStartFactors([nowMs - upMs, nowMs - oldestMs], slowStartMs)[0]!)
    this.#growing.add(pool.slot)
  }

  #slowStart(pool: PoolPlan, nowMs: number): void {
    const since = pool.members.map(({ slot }) => {
      const one = this.#members.get(slot)
      return one?.upMs === undefined || one.ejection.untilMs > 0 ? undefined : nowMs - one.upMs
    })
    let longest = -1
    for (const ms of since) longest = Math.max(longest, ms ?? -1)
    if (longest < 0) this.#oldestUp.delete(pool.slot)
    else this.#oldestUp.set(pool.slot, nowMs - longest)
    const factors = slowStartFactors(since, pool.health.slowStartMs)
    pool.members.forEach(({ slot }, at) => this.#shared.setFactor(slot, Factor.slowStart, factors[at]!))
    // Members of the same age have their whole weights now, and still grow beside one that comes up later.
    if (since.some((ms) => ms !== undefined && ms < pool.health.slowStartMs)) this.#growing.add(pool.slot)
    else this.#growing.delete(pool.slot)
  }

  #circuit(pool: PoolPlan, nowMs: number): void {
    const before = this.#circuits.get(pool.slot)
    const now = watchCircuit(this.#shared.circuits, pool.slot * circuitCells, pool.health.circuit!, before, nowMs)
    this.#circuits.set(pool.slot, now)
    if (now.state === (before?.state ?? 'closed')) return
    this.#log(now.state === 'open' ? 'warn' : 'info', `the circuit of pool ${pool.name} is ${now.state}`)
  }
}

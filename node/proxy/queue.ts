/**
 * The queues of a worker in front of pools whose members are all at their limits. A place that becomes free, on whichever worker, wakes
 * all workers on which someone waits: they race for it, and who does not get it goes on waiting. Within a worker the order is that
 * of `wait-queue.ts`; between workers there is none.
 */
import type { ErrorCode, Shared } from './shared.ts'
import { fieldNamed } from './filters/filters.ts'
import { Priority, type QueuePlan } from './filters/plan.ts'
import { ascii } from './http/bytes.ts'
import { fieldStride, type Head } from './http/head.ts'
import type { Runtime } from './runtime.ts'
import { WaitQueue, type Ticket } from './wait-queue.ts'

const classes = 3

/** Who waits for a place. */
export interface Waiter {
  /** Tries to get a place and goes on with it. @returns false: there is none yet */
  takePlace(): boolean
  /** It waits no longer, in vain. */
  waitedInVain(code: ErrorCode): void
  /** No member is left that a place could become free at. */
  readonly hopeless: boolean
}

/** The queue of a pool as one table has it: its plan, and who began with that table and waits. */
export class PoolQueue {
  readonly plan: QueuePlan
  readonly slot: number
  /** On this worker. */
  readonly line = new WaitQueue<Waiter>(classes)
  /** While places are given away: whoever is next here has found none. */
  passed = false
  readonly #shared: Shared
  readonly #header: Uint8Array

  constructor(plan: QueuePlan, slot: number, shared: Shared) {
    this.plan = plan
    this.slot = slot
    this.#shared = shared
    this.#header = ascii(plan.priorityHeader)
  }

  /** Whether someone waits for the pool, on this worker or another. */
  get waits(): boolean {
    return this.#shared.waiting(this.slot) > 0
  }

  /** `priority`: of the request's route. `head`: of the request, where there is one. @returns undefined: the queue is full */
  join(waiter: Waiter, priority: number | undefined, head: Head | undefined, buffer: Buffer | undefined, runtime: Runtime): Ticket<Waiter> | undefined {
    let own = priority ?? Priority.normal
    if (this.#header.length > 0 && head !== undefined && buffer !== undefined) own = this.#named(head, buffer) ?? own
    return runtime.queues.join(this, waiter, own, runtime.nowMs)
  }

  #named(head: Head, buffer: Buffer): number | undefined {
    const field = fieldNamed(head, buffer, this.#header)
    if (field < 0) return undefined
    const value = buffer.toString('latin1', head.fields[field * fieldStride + 2]!, head.fields[field * fieldStride + 3]!).toLowerCase()
    return value === 'high' || value === 'normal' || value === 'low' ? Priority[value] : undefined
  }

  leave(ticket: Ticket<Waiter>, runtime: Runtime): void {
    runtime.queues.leave(this, ticket)
  }
}

export class Queues {
  readonly #shared: Shared
  /**
   * By the pool's place in shared memory: its queue in each table that someone began with who still waits, the oldest table first. A
   * request keeps its table, so who came with an older one may not be able to use a place that a newer one can.
   */
  readonly #queues = new Map<number, PoolQueue[]>()
  #length = 0
  #listening = false
  #serving = false
  #soon = false

  constructor(shared: Shared) {
    this.#shared = shared
  }

  /**
   * Joins the queue of a pool.
   * @returns the ticket, for `leave`; undefined: the queue is full
   */
  join(pool: PoolQueue, waiter: Waiter, priority: number, nowMs: number): Ticket<Waiter> | undefined {
    const { slot, plan, line } = pool
    let pools = this.#queues.get(slot)
    if (pools === undefined) this.#queues.set(slot, (pools = []))
    if (!pools.includes(pool)) pools.push(pool)
    // `maxLength` is for all of them together.
    let others = 0
    for (const other of pools) if (other !== pool) others += other.line.length
    const ticket = line.add(waiter, priority, nowMs + plan.timeoutMs, plan.maxLength - others)
    if (ticket === undefined) return undefined
    this.#length++
    this.#shared.addWaiting(slot, 1)
    this.#listen()
    // A place may have become free for which all others who wait were no use.
    this.#serveSoon()
    return ticket
  }

  /** Leaves it: the waiter has gone, or was served. */
  leave(pool: PoolQueue, ticket: Ticket<Waiter>): void {
    if (!ticket.waits) return
    pool.line.remove(ticket)
    this.#left(pool.slot)
  }

  #left(slot: number): void {
    this.#length--
    this.#shared.addWaiting(slot, -1)
  }

  /** One promise for each wake-up, not for each request; none while nobody waits. */
  #listen(): void {
    if (this.#listening || this.#length === 0) return
    const woken = this.#shared.placeFreed()
    this.#listening = true
    const wake = (): void => {
      this.#listening = false
      // First, so that what becomes free meanwhile wakes again.
      this.#listen()
      this.serve()
    }
    if (woken === undefined) setImmediate(wake)
    else void woken.then(wake)
  }

  #serveSoon(): void {
    if (this.#soon) return
    this.#soon = true
    setImmediate(() => {
      this.#soon = false
      this.serve()
    })
  }

  /** Gives places that are free to those who wait, as far as there are any. */
  serve(): void {
    if (this.#length === 0 || this.#serving) return
    // Who is served may fail at once and free its place again: that comes round by itself.
    this.#serving = true
    for (const pools of this.#queues.values()) {
      for (let pool = nextOf(pools); pool !== undefined; pool = nextOf(pools)) {
        const ticket = pool.line.first()!
        if (ticket.item.takePlace()) this.leave(pool, ticket)
        else pool.passed = true
      }
      for (const pool of pools) pool.passed = false
    }
    this.#serving = false
    this.#forgetEmpty()
  }

  #forgetEmpty(): void {
    for (const [slot, pools] of this.#queues) {
      const left = pools.filter(({ line }) => line.length > 0)
      if (left.length === 0) this.#queues.delete(slot)
      else if (left.length < pools.length) this.#queues.set(slot, left)
    }
  }

  /** Ends the wait of those whose time is over, and makes up for a wake-up that was missed. */
  sweep(nowMs: number): void {
    if (this.#length === 0) {
      if (this.#queues.size > 0) this.#forgetEmpty()
      return
    }
    this.serve()
    for (const pools of this.#queues.values()) {
      for (const pool of pools) {
        for (const waiter of pool.line.expire(nowMs)) {
          this.#left(pool.slot)
          waiter.waitedInVain('queue-timeout')
        }
        for (let ticket = pool.line.first(); ticket !== undefined && ticket.item.hopeless; ticket = pool.line.first()) {
          this.leave(pool, ticket)
          ticket.item.waitedInVain('no-member-available')
        }
      }
    }
  }
}

/** Where the one waits who is next: of the first class in which someone waits; undefined: nobody does who has not been passed over. */
function nextOf(pools: readonly PoolQueue[]): PoolQueue | undefined {
  let next: PoolQueue | undefined
  let class_ = classes
  for (const pool of pools) {
    if (pool.passed) continue
    const ticket = pool.line.first()
    if (ticket === undefined || ticket.priority >= class_) continue
    next = pool
    class_ = ticket.priority
  }
  return next
}

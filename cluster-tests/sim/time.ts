/**
 * Virtual time: one queue of events for the whole cluster, and for each machine a clock of its own that may run a little
 * fast or slow. Between two events every promise that can go on has gone on, as in a real event loop.
 */
import { setFlagsFromString } from 'node:v8'
import type { Clock, Timer } from '../../consensus/environment.ts'

setFlagsFromString('--allow-natives-syntax')
/** Runs all microtasks now. (An event loop turn for each event would cost seven times as much.) */
const settlePromises = new Function('%PerformMicrotaskCheckpoint()') as () => void
setFlagsFromString('--no-allow-natives-syntax')

/** Mulberry32: small, good enough, reproducible. Uniform in [0, 1). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296
  }
}

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

export class VirtualTime {
  /** True time, milliseconds. */
  now = 0
  /** Events run so far. */
  events = 0
  /** Called after every event. */
  onEvent: (() => void) | undefined
  readonly #queue: Event[] = []
  #order = 0

  constructor() {
    let settled = false
    void Promise.resolve().then(() => { settled = true })
    settlePromises()
    if (!settled) throw new Error('promises cannot be settled from within a promise: run this from a timer or an event')
  }

  at(instant: number, run: () => void): void {
    const event = { at: Math.max(instant, this.now), order: this.#order++, run }
    const queue = this.#queue
    let slot = queue.length
    queue.push(event)
    while (slot > 0) {
      const parent = (slot - 1) >> 1
      if (!before(event, queue[parent]!)) break
      queue[slot] = queue[parent]!
      slot = parent
    }
    queue[slot] = event
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run)
  }

  /** Runs the next event, if it is due by `until`. */
  step(until: number): boolean {
    const queue = this.#queue
    const event = queue[0]
    if (event === undefined || event.at > until) {
      this.now = Math.max(this.now, until)
      return false
    }
    const last = queue.pop()!
    if (queue.length > 0) {
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child >= queue.length) break
        if (child + 1 < queue.length && before(queue[child + 1]!, queue[child]!)) child += 1
        if (!before(queue[child]!, last)) break
        queue[at] = queue[child]!
        at = child
      }
      queue[at] = last
    }
    this.now = event.at
    this.events += 1
    event.run()
    settlePromises()
    this.onEvent?.()
    return true
  }

  /** Lets everything go on that was started outside of an event. */
  settle(): void {
    settlePromises()
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** One life of one process: what it scheduled dies with it, and waits while it is frozen. */
export class Life implements Clock {
  readonly #time: VirtualTime
  readonly #rate: number
  readonly #offsetMs: number
  #over = false
  #frozen: (() => void)[] | undefined
  #frozenTimers: (() => void)[] = []

  /** `rate`: local milliseconds for each true one. */
  constructor(time: VirtualTime, rate: number, offsetMs: number) {
    this.#time = time
    this.#rate = rate
    this.#offsetMs = offsetMs
  }

  get over(): boolean {
    return this.#over
  }
  get frozen(): boolean {
    return this.#frozen !== undefined
  }

  end(): void {
    this.#over = true
    this.#frozen = undefined
  }

  freeze(): void {
    this.#frozen ??= []
  }

  /** What was due meanwhile runs now; timers first, which is the worst order for a process that has slept. */
  thaw(): void {
    const waiting = this.#frozen
    if (waiting === undefined) return
    this.#frozen = undefined
    const timers = this.#frozenTimers
    this.#frozenTimers = []
    for (const run of [...timers, ...waiting]) this.#time.at(this.#time.now, () => this.#run(run))
  }

  now(): number {
    return this.#offsetMs + this.#time.now * this.#rate
  }

  toTrue(localMs: number): number {
    return (localMs - this.#offsetMs) / this.#rate
  }

  after(ms: number, run: () => void): Timer {
    const timer = { cancelled: false }
    const guarded = () => {
      if (timer.cancelled || this.#over) return
      if (this.#frozen !== undefined) this.#frozenTimers.push(guarded)
      else run()
    }
    // A real timer is never early and a little late.
    this.#time.at(this.#time.now + Math.max(ms, 0) / this.#rate + 1e-6, guarded)
    return timer
  }

  cancel(timer: Timer | undefined): void {
    if (timer !== undefined) (timer as { cancelled: boolean }).cancelled = true
  }

  soon(run: () => void): void {
    this.arrive(0, run)
  }

  /** Something from outside reaches the process, `ms` true milliseconds from now. */
  arrive(ms: number, run: () => void): void {
    this.#time.at(this.#time.now + ms, () => this.#run(run))
  }

  #run(run: () => void): void {
    if (this.#over) return
    if (this.#frozen !== undefined) this.#frozen.push(run)
    else run()
  }
}

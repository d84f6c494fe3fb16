/**
 * Virtual time: one queue of events for the whole cluster, and for each machine a clock of its own that may run a little
 * fast or slow. Between two events every promise that can go on has gone on, as in a real event loop.
 */
import { setFlagsFromString } from 'node:v8'
import type { Clock, Timer } from '../../consensus/environment.ts'
import { EventQueue } from '../../consensus/scenarios/events.ts'

setFlagsFromString('--allow-natives-syntax')
/** Runs all microtasks now. (An event loop turn for each event would cost seven times as much.) */
const settlePromises = new Function('%PerformMicrotaskCheckpoint()') as () => void
setFlagsFromString('--no-allow-natives-syntax')

export class VirtualTime {
  /** True time, milliseconds. */
  now = 0
  /** Events run so far. */
  events = 0
  readonly #queue = new EventQueue()

  constructor() {
    let settled = false
    void Promise.resolve().then(() => { settled = true })
    settlePromises()
    if (!settled) throw new Error('promises cannot be settled from within a promise: run this from a timer or an event')
  }

  at(instant: number, run: () => void): void {
    this.#queue.add(Math.max(instant, this.now), run)
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run)
  }

  /** Runs the next event, if it is due by `until`. */
  step(until: number): boolean {
    if (this.#queue.nextAt > until) {
      this.now = Math.max(this.now, until)
      return false
    }
    const event = this.#queue.take()
    this.now = event.at
    this.events += 1
    event.run()
    settlePromises()
    return true
  }

  /** Lets everything go on that was started outside of an event. */
  settle(): void {
    settlePromises()
  }
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

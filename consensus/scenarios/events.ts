/** What a simulation on virtual time stands on: a queue of events in the order of their instants, and seeded chance. Pure. */

interface Event {
  readonly at: number
  readonly order: number
  readonly run: () => void
}

/** A binary heap. Events of the same instant come out in the order in which they went in. */
export class EventQueue {
  readonly #events: Event[] = []
  #order = 0

  /** The instant of the first event; Infinity when there is none. */
  get nextAt(): number {
    return this.#events[0]?.at ?? Infinity
  }

  add(at: number, run: () => void): void {
    const event = { at, order: this.#order, run }
    this.#order += 1
    const events = this.#events
    let slot = events.length
    events.push(event)
    while (slot > 0) {
      const parent = (slot - 1) >> 1
      if (!before(event, events[parent]!)) break
      events[slot] = events[parent]!
      slot = parent
    }
    events[slot] = event
  }

  /** Removes the first event and returns it; there must be one. */
  take(): Event {
    const events = this.#events
    const first = events[0]!
    const last = events.pop()!
    if (events.length > 0) {
      let at = 0
      for (;;) {
        let child = 2 * at + 1
        if (child >= events.length) break
        if (child + 1 < events.length && before(events[child + 1]!, events[child]!)) child += 1
        if (!before(events[child]!, last)) break
        events[at] = events[child]!
        at = child
      }
      events[at] = last
    }
    return first
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

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

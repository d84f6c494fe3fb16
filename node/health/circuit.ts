/**
 * The circuit breaker of a pool: after so many failures in a row it is open, and requests are answered at once; after a rest some
 * are let through (half-open), and all of them must succeed to close it. Works on four cells of shared memory, which the workers
 * of a node change by atomic operations; only the main thread knows the time. Pure: cells and time come in.
 */

/** Cells of a circuit, in this order. */
export const circuitCells = 4
const cell = { state: 0, failures: 1, trialsLeft: 2, trialsSucceeded: 3 } as const
const state = { closed: 0, open: 1, halfOpen: 2 } as const

export type CircuitState = 'closed' | 'open' | 'half-open'
const names: readonly CircuitState[] = ['closed', 'open', 'half-open']

export interface CircuitLimits {
  /** Failures in a row that open it. */
  readonly failures: number
  /** How long it rests. Milliseconds. */
  readonly openMs: number
  /** Requests let through after that. */
  readonly trials: number
}

/** Forgets everything: closed, nothing counted. */
export function resetCircuit(cells: Int32Array, at: number): void {
  for (let i = 0; i < circuitCells; i++) Atomics.store(cells, at + i, 0)
}

export function circuitState(cells: Int32Array, at: number): CircuitState {
  return names[Atomics.load(cells, at + cell.state)] ?? 'closed'
}

/** One circuit as a worker sees it. */
export class Circuit {
  readonly #cells: Int32Array
  readonly #at: number
  readonly #limits: CircuitLimits

  /** @param at index of its first cell */
  constructor(cells: Int32Array, at: number, limits: CircuitLimits) {
    this.#cells = cells
    this.#at = at
    this.#limits = limits
  }

  /** Whether a request may go to the pool; one that may is followed by `succeeded` or `failed`, or by nothing when its client leaves. */
  admits(): boolean {
    switch (Atomics.load(this.#cells, this.#at + cell.state)) {
      case state.closed:
        return true
      case state.halfOpen:
        return Atomics.load(this.#cells, this.#at + cell.trialsLeft) > 0 && Atomics.sub(this.#cells, this.#at + cell.trialsLeft, 1) > 0
      default:
        return false
    }
  }

  /** Costs one or two reads while all is well. Late results of requests from before the rest count as trials, too. */
  succeeded(): void {
    const now = Atomics.load(this.#cells, this.#at + cell.state)
    if (now === state.closed) {
      if (Atomics.load(this.#cells, this.#at + cell.failures) !== 0) Atomics.store(this.#cells, this.#at + cell.failures, 0)
      return
    }
    if (now !== state.halfOpen || Atomics.add(this.#cells, this.#at + cell.trialsSucceeded, 1) + 1 < this.#limits.trials) return
    Atomics.store(this.#cells, this.#at + cell.failures, 0)
    Atomics.compareExchange(this.#cells, this.#at + cell.state, state.halfOpen, state.closed)
  }

  failed(): void {
    const now = Atomics.load(this.#cells, this.#at + cell.state)
    if (now === state.halfOpen) Atomics.compareExchange(this.#cells, this.#at + cell.state, state.halfOpen, state.open)
    else if (now === state.closed && Atomics.add(this.#cells, this.#at + cell.failures, 1) + 1 >= this.#limits.failures) {
      Atomics.compareExchange(this.#cells, this.#at + cell.state, state.closed, state.open)
    }
  }
}

/** What the main thread remembers of a circuit between two looks. */
export interface CircuitWatch {
  readonly state: CircuitState
  /** Since when, as far as it was seen. Monotonic milliseconds. */
  readonly sinceMs: number
}

/** One look at a circuit: moves it on when its time has come. A rest is longer than `openMs` by at most the time between two looks. */
export function watchCircuit(cells: Int32Array, at: number, limits: CircuitLimits, before: CircuitWatch | undefined, nowMs: number): CircuitWatch {
  const now = circuitState(cells, at)
  // One that went half-open and open again between two looks has been seen as half-open: its rest begins now.
  const sinceMs = before?.state === now ? before.sinceMs : nowMs
  if (now === 'closed' || nowMs - sinceMs < limits.openMs) return { state: now, sinceMs }
  // Open, and rested. Or half-open for as long without a verdict: clients have left, or nobody came; the trials begin anew.
  Atomics.store(cells, at + cell.trialsSucceeded, 0)
  Atomics.store(cells, at + cell.trialsLeft, limits.trials)
  Atomics.compareExchange(cells, at + cell.state, state.open, state.halfOpen)
  return { state: circuitState(cells, at), sinceMs: nowMs }
}

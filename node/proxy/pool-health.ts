/**
 * The health of a pool as a worker sees it: counts how its members do with live traffic, asks the circuit breaker, and holds the
 * pool's own answers. What the counts mean is decided by the main thread (`member-watch.ts`).
 */
import { Circuit, circuitCells } from '../health/circuit.ts'
import { maintenanceAnswer, type Answer } from './http/errors.ts'
import type { PoolPlan } from './route/table.ts'
import type { ErrorCode, Shared } from './shared.ts'

/** Failures for which a pool may have an answer of its own: no member got the request. */
const ownCodes: readonly ErrorCode[] = ['maintenance', 'no-member-available', 'circuit-open', 'queue-full', 'queue-timeout']

export class PoolHealth {
  /** Whether results are wanted: `answered`, `succeeded` and `failed` are called only then. */
  readonly counts: boolean
  /** Whether `refuses` has to be asked before a member is chosen. */
  readonly gated: boolean
  readonly #shared: Shared
  readonly #ejects: boolean
  readonly #failing: readonly number[]
  readonly #circuit: Circuit | undefined
  readonly #closed: boolean
  /** The pool's answers in place of the plain ones. */
  readonly #answers: ReadonlyMap<ErrorCode, Answer> | undefined

  constructor({ health, slot }: PoolPlan, shared: Shared) {
    const { circuit, maintenance } = health
    this.#shared = shared
    this.#ejects = health.ejection !== undefined
    this.#failing = health.failing
    this.#circuit = circuit === undefined ? undefined : new Circuit(shared.circuits, slot * circuitCells, circuit)
    this.#closed = maintenance?.enabled === true
    this.counts = this.#ejects || circuit !== undefined
    this.gated = this.#closed || circuit !== undefined
    this.#answers = maintenance === undefined ? undefined : new Map(ownCodes.map((code) => [code, maintenanceAnswer(maintenance, code)]))
  }

  /** The pool's own answer to a failure, if it has one. */
  answerFor(code: ErrorCode): Answer | undefined {
    return this.#answers?.get(code)
  }

  /** Why a request gets no member, or empty. Asked once for each, because a circuit that is half-open counts. */
  refuses(): Extract<ErrorCode, 'maintenance' | 'circuit-open'> | '' {
    if (this.#closed) return 'maintenance'
    return this.#circuit === undefined || this.#circuit.admits() ? '' : 'circuit-open'
  }

  /** The answer of a member began. `slot`: the member's. */
  answered(slot: number, status: number): void {
    const failing = this.#failing
    for (let i = 0; i < failing.length; i += 2) {
      if (status >= failing[i]! && status <= failing[i + 1]!) return this.failed(slot)
    }
    this.succeeded(slot)
  }

  succeeded(slot: number): void {
    // A read alone while all is well: no two workers fight for the place.
    if (this.#ejects && Atomics.load(this.#shared.failures, slot) !== 0) Atomics.store(this.#shared.failures, slot, 0)
    this.#circuit?.succeeded()
  }

  /** No connection, no answer in time, or none that makes sense. */
  failed(slot: number): void {
    if (this.#ejects) {
      Atomics.add(this.#shared.failures, slot, 1)
      Atomics.add(this.#shared.failuresTotal, slot, 1)
    }
    this.#circuit?.failed()
  }
}

/**
 * Weights from what was measured, where a pool asks for it: the main thread looks at the members' counters every second and
 * writes each one's factor, so that all workers weigh the same.
 */
import { dynamicFactors, measureSecond, sixteenths, unmeasured, type Measure } from './balance/weights.ts'
import type { RouteTable } from './route/table.ts'
import { Factor, MemberField, type Shared } from './shared.ts'

interface Watched {
  totals: Measure
  measure: Measure
}

export class DynamicWeights {
  readonly #shared: Shared
  /** By slot. */
  #watched = new Map<number, Watched>()

  constructor(shared: Shared) {
    this.#shared = shared
  }

  /** Once a second. */
  update({ pools }: RouteTable): void {
    const before = this.#watched
    const watched = new Map<number, Watched>()
    for (const { members, dynamicWeights } of pools) {
      if (!dynamicWeights) continue
      const measures = members.map(({ slot }) => {
        const totals = this.#totals(slot)
        const known = before.get(slot)
        const measure = known === undefined ? unmeasured : measureSecond(known.measure, since(known.totals, totals))
        watched.set(slot, { totals, measure })
        return measure
      })
      const factors = dynamicFactors(measures, members.map(({ slot }) => this.#shared.factor(slot, Factor.dynamic)))
      members.forEach(({ slot }, member) => this.#shared.setFactor(slot, Factor.dynamic, factors[member]!))
    }
    // What is not measured any more has its whole weight again.
    for (const slot of before.keys()) if (!watched.has(slot)) this.#shared.setFactor(slot, Factor.dynamic, sixteenths)
    this.#watched = watched
  }

  #totals(slot: number): Measure {
    const connectFailures = this.#shared.memberTotal(slot, MemberField.connectFailures)
    return {
      // A connection that could not be made has not become a request.
      requests: this.#shared.memberTotal(slot, MemberField.requests) + connectFailures,
      errors: this.#shared.memberTotal(slot, MemberField.errors) + connectFailures,
      answers: this.#shared.memberTotal(slot, MemberField.answers),
      latencyUs: this.#shared.memberTotal(slot, MemberField.latencyUs),
    }
  }
}

function since(before: Measure, now: Measure): Measure {
  return {
    // A place in memory that got another name begins at zero.
    requests: Math.max(0, now.requests - before.requests),
    errors: Math.max(0, now.errors - before.errors),
    answers: Math.max(0, now.answers - before.answers),
    latencyUs: Math.max(0, now.latencyUs - before.latencyUs),
  }
}

/**
 * Decides whether a history of operations of concurrent clients is linearizable (Herlihy and Wing, 1990): whether each
 * operation can be given one instant between its invocation and its completion, so that a single copy of the object,
 * asked in that order, gives the very answers that were seen. Pure; used on real histories of the lab and on those of
 * the simulator.
 *
 * Method: just-in-time linearization (Lowe, "Testing for linearizability", 2016, after Wing and Gong, 1993). The history
 * is walked once. A *configuration* is a state of the object together with those pending operations that have already
 * taken effect. Only when an operation completes must it have taken effect, so only then are pending ones tried before
 * it, in every order, each configuration once. The cost depends on how many operations overlap, not on how long the
 * history is: thousands of operations of a dozen clients take well under a second.
 *
 * An operation that certainly did not happen is no part of a history: leave it out. One whose outcome is not known has
 * no `completeMs`: it may take effect at any time after its invocation, or never.
 */

export interface Operation<Op, Result> {
  /** Who did it; for messages only. */
  readonly client: string | number
  /** Before the request could have any effect. Any clock, the same one for the whole history. */
  readonly invokeMs: number
  /** After the answer was there; undefined when the outcome is unknown. Operations that touch (complete = invoke) overlap. */
  readonly completeMs: number | undefined
  readonly op: Op
  /** What was answered; undefined when that is unknown. */
  readonly result: Result | undefined
}

export type Step<State> = { readonly ok: true; readonly next: State } | { readonly ok: false }

/** The object as it would be with a single copy and one client: deterministic. */
export interface Model<State, Op, Result> {
  readonly initial: State
  /** The state after `op`, or not ok when `op` cannot have answered `result` in `state`. Without a result: whatever it does. */
  step(state: State, op: Op, result: Result | undefined): Step<State>
  /** Equal for equal states only. */
  key(state: State): string
  /** The operation never changes a state. Such ones take effect as early as they can, and unknown ones are left out. */
  readOnly(op: Op): boolean
  /** Operations on different parts do not influence each other: every part is checked for itself. Absent: one part. */
  part?(op: Op): string
  /** From this state on `op` can never change anything again. Keeps operations of unknown outcome from piling up. */
  spent?(state: State, op: Op): boolean
  /** What else is known of a part's history before it is checked, such as a late bound for what was seen by others. */
  prepare?(history: readonly Operation<Op, Result>[]): readonly Operation<Op, Result>[]
}

export interface CheckOptions {
  /** More configurations than this for one completion: the check gives up. Default 200,000. */
  readonly maxConfigurations?: number
}

export type Verdict<State, Op, Result> =
  | { readonly verdict: 'linearizable'; readonly operations: number }
  /** `operation` is the first (by completion) that no order explains. */
  | {
      readonly verdict: 'violation' | 'undecided'
      readonly part: string
      readonly operation: Operation<Op, Result>
      /** States that were possible just before it; the first few. */
      readonly states: readonly State[]
      /** What was under way when it completed. */
      readonly pending: readonly Operation<Op, Result>[]
    }

interface Configuration<State> {
  readonly state: State
  /** Indices of pending operations that have taken effect, ascending. */
  readonly done: readonly number[]
}

const maxStatesShown = 8

/** Checks a whole history, part by part. The order of `history` does not matter. */
export function checkLinearizable<State, Op, Result>(
  model: Model<State, Op, Result>,
  history: readonly Operation<Op, Result>[],
  options: CheckOptions = {},
): Verdict<State, Op, Result> {
  const parts = new Map<string, Operation<Op, Result>[]>()
  for (const operation of history) {
    const part = model.part?.(operation.op) ?? ''
    const list = parts.get(part)
    if (list === undefined) parts.set(part, [operation])
    else list.push(operation)
  }
  for (const [part, operations] of parts) {
    const found = checkPart(model, part, operations, options.maxConfigurations ?? 200_000)
    if (found !== undefined) return found
  }
  return { verdict: 'linearizable', operations: history.length }
}

function checkPart<State, Op, Result>(
  model: Model<State, Op, Result>,
  part: string,
  history: readonly Operation<Op, Result>[],
  maxConfigurations: number,
): Exclude<Verdict<State, Op, Result>, { verdict: 'linearizable' }> | undefined {
  const prepared = model.prepare?.(history) ?? history
  const operations = prepared.filter(({ completeMs, op }) => completeMs !== undefined || !model.readOnly(op))
  const search = new Search(model, operations, maxConfigurations)
  for (const { index, completes } of events(operations)) {
    if (!completes) {
      search.invoked(index)
      continue
    }
    const outcome = search.completed(index)
    if (outcome === 'ok') continue
    return {
      verdict: outcome,
      part,
      operation: operations[index]!,
      states: search.states.slice(0, maxStatesShown),
      pending: search.pending.filter((other) => other !== index).map((other) => operations[other]!),
    }
  }
  return undefined
}

interface Event {
  readonly atMs: number
  readonly index: number
  readonly completes: boolean
}

/** Invocations and completions by time; of those at the same instant the invocations first, so that they overlap. */
function events(operations: readonly Operation<unknown, unknown>[]): Event[] {
  const all: Event[] = []
  for (const [index, { invokeMs, completeMs }] of operations.entries()) {
    all.push({ atMs: invokeMs, index, completes: false })
    if (completeMs !== undefined) all.push({ atMs: Math.max(invokeMs, completeMs), index, completes: true })
  }
  return all.sort((a, b) => a.atMs - b.atMs || Number(a.completes) - Number(b.completes))
}

class Search<State, Op, Result> {
  readonly #model: Model<State, Op, Result>
  readonly #operations: readonly Operation<Op, Result>[]
  readonly #maxConfigurations: number
  #configurations: Configuration<State>[]
  #pending: number[] = []

  constructor(model: Model<State, Op, Result>, operations: readonly Operation<Op, Result>[], maxConfigurations: number) {
    this.#model = model
    this.#operations = operations
    this.#maxConfigurations = maxConfigurations
    this.#configurations = [{ state: model.initial, done: [] }]
  }

  get pending(): readonly number[] {
    return this.#pending
  }
  get states(): State[] {
    return [...new Map(this.#configurations.map(({ state }) => [this.#model.key(state), state])).values()]
  }

  invoked(index: number): void {
    this.#pending.push(index)
  }

  /** Keeps the configurations in which `index` has taken effect, bringing that about wherever it is possible. */
  completed(index: number): 'ok' | 'violation' | 'undecided' {
    const kept = new Map<string, Configuration<State>>()
    const seen = new Set<string>()
    const stack = [...this.#configurations]
    for (let configuration = stack.pop(); configuration !== undefined; configuration = stack.pop()) {
      const closed = this.#read(configuration)
      const key = this.#key(closed)
      if (seen.has(key)) continue
      seen.add(key)
      if (seen.size > this.#maxConfigurations) return 'undecided'
      if (closed.done.includes(index)) {
        const next = this.#settled(closed, index)
        kept.set(this.#key(next), next)
      } else this.#extend(closed, stack)
    }
    if (kept.size === 0) return 'violation'
    this.#configurations = [...kept.values()]
    this.#pending = this.#pending.filter((other) => other !== index && !this.#spentEverywhere(other))
    return 'ok'
  }

  /** Lets every pending read that fits take effect: it changes nothing, so no later order is lost by that. */
  #read(configuration: Configuration<State>): Configuration<State> {
    const fitting = this.#pending.filter((index) => {
      const { op, result } = this.#operations[index]!
      return this.#model.readOnly(op) && !configuration.done.includes(index) && this.#model.step(configuration.state, op, result).ok
    })
    if (fitting.length === 0) return configuration
    return { state: configuration.state, done: [...configuration.done, ...fitting].sort((a, b) => a - b) }
  }

  /** One more pending change takes effect, whichever can. */
  #extend({ state, done }: Configuration<State>, into: Configuration<State>[]): void {
    const before = this.#model.key(state)
    for (const index of this.#pending) {
      const { op, result, completeMs } = this.#operations[index]!
      if (this.#model.readOnly(op) || done.includes(index)) continue
      const step = this.#model.step(state, op, result)
      if (!step.ok) continue
      // What may as well never happen is tried only where it makes a difference.
      if (completeMs === undefined && this.#model.key(step.next) === before) continue
      into.push({ state: step.next, done: [...done, index].sort((a, b) => a - b) })
    }
  }

  #settled({ state, done }: Configuration<State>, completed: number): Configuration<State> {
    return { state, done: done.filter((index) => index !== completed && !this.#spent(state, index)) }
  }

  /** Whether it took effect or not makes no difference any more. */
  #spent(state: State, index: number): boolean {
    const { op, completeMs } = this.#operations[index]!
    return completeMs === undefined && this.#model.spent?.(state, op) === true
  }

  #spentEverywhere(index: number): boolean {
    return this.#configurations.every(({ state }) => this.#spent(state, index))
  }

  #key({ state, done }: Configuration<State>): string {
    return `${done.join()};${this.#model.key(state)}`
  }
}

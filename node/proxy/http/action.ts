/**
 * What a route does with the requests that it takes, prepared when the table comes into force: which pool, which answer, what is
 * changed on the way, which timeouts and retries. A request that nothing of this concerns costs a test of a field each.
 */
import { schedule } from '../balance/schedule.ts'
import type { PoolRuntime } from '../pool.ts'
import type { HeaderEditsPlan, MirrorPlan, RetriesPlan, RoutePlan } from '../route/plan.ts'
import { RetryBudget } from '../route/retry-budget.ts'
import type { ListenerPlan } from '../route/table.ts'
import { ascii } from './bytes.ts'
import type { Answer } from './errors.ts'
import { mergedEdits, type HeaderEdits } from './header-edits.ts'
import { fixedAnswer, Redirection } from './redirect.ts'
import { Rewriting } from './rewriting.ts'

/** Statuses of an answer are from here to 599. */
const firstStatus = 500

export class Action {
  /** Of the route; '' for what no route takes. */
  readonly name: string
  /** It answers by itself: `answer` or `redirection`. */
  readonly answers: boolean
  readonly answer: Answer | undefined
  readonly redirection: Redirection | undefined
  readonly requestEdits: HeaderEdits | undefined
  readonly responseEdits: HeaderEdits | undefined
  /** The target may change: `rewriting`, or the listener's normal form of paths. */
  readonly changesTarget: boolean
  readonly rewriting: Rewriting | undefined
  /** Host that the member is asked for; empty: the client's. */
  readonly host: Uint8Array
  readonly retries: RetriesPlan | undefined
  readonly budget: RetryBudget | undefined
  readonly #retried: Uint8Array | undefined
  readonly mirror: MirrorPlan | undefined
  readonly mirrorPool: PoolRuntime | undefined
  /** Bytes of a request body that are kept, for a retry or a copy; 0: none. */
  readonly keptBodyBytes: number
  /** Milliseconds; 0: none of its own. */
  readonly requestMs: number
  readonly serverIdleMs: number
  readonly tunnelMs: number

  readonly #pool: PoolRuntime | undefined
  readonly #pools: readonly (PoolRuntime | undefined)[]
  readonly #order: Uint32Array
  readonly #bySource: boolean
  #cursor: number
  /** Of a request: below 100 there is no copy yet. */
  #copyPercent = 0

  /**
   * @param route undefined: what no route takes
   * @param before the action of the same route in the table before: its budget goes on
   * @param offset where in the order of its pools it begins: workers should not all begin with the same
   */
  constructor(listener: ListenerPlan, route: RoutePlan | undefined, pools: readonly PoolRuntime[], before: Action | undefined, offset: number) {
    this.name = route?.name ?? ''
    this.requestEdits = mergedEdits(requestLists(listener.headerEdits), requestLists(route?.headerEdits))
    this.responseEdits = mergedEdits(responseLists(listener.headerEdits), responseLists(route?.headerEdits))
    const fields = this.responseEdits?.text ?? ''
    // An https listener speaks http inside: its protocol does not tell.
    const secure = listener.tls !== undefined
    const toHttps = listener.redirectToHttps
    if (toHttps > 0) {
      this.redirection = new Redirection(
        { status: 308, scheme: 'https', host: undefined, port: toHttps, path: undefined, prefix: undefined, keepQuery: true }, secure, fields,
      )
    } else if (route?.redirect !== undefined) this.redirection = new Redirection(route.redirect, secure, fields)
    this.answer = route?.respond === undefined || this.redirection !== undefined ? undefined : fixedAnswer(route.respond, fields)
    this.answers = this.answer !== undefined || this.redirection !== undefined
    const rewrite = route?.rewrite
    this.rewriting = rewrite !== undefined && (rewrite.prefix !== undefined || rewrite.regex !== '') ? new Rewriting(rewrite) : undefined
    this.changesTarget = this.rewriting !== undefined || listener.normalizePath === 'forward'
    this.host = ascii(rewrite?.host ?? '')
    this.retries = route?.retries
    if (this.retries !== undefined) {
      this.budget = before?.budget ?? new RetryBudget(this.retries.budgetPercent)
      this.budget.percent = this.retries.budgetPercent
      if (this.retries.statuses.length > 0) {
        this.#retried = new Uint8Array(100)
        for (const status of this.retries.statuses) this.#retried[status - firstStatus] = 1
      }
    }
    this.mirror = route?.mirror
    this.mirrorPool = this.mirror === undefined ? undefined : pools[this.mirror.pool]
    this.keptBodyBytes = Math.max(this.retries?.maxBodyBytes ?? 0, this.mirror?.maxBodyBytes ?? 0)
    this.requestMs = route?.requestMs ?? 0
    this.serverIdleMs = route?.serverIdleMs ?? 0
    this.tunnelMs = route?.tunnelMs ?? 0
    this.#pool = pools[route === undefined ? listener.pool : route.pool]
    this.#pools = (route?.pools ?? []).map(({ pool }) => pools[pool])
    this.#order = schedule((route?.pools ?? []).map(({ weight }) => weight))
    this.#bySource = route?.bySource ?? false
    this.#cursor = this.#order.length === 0 ? 0 : offset % this.#order.length
  }

  /** The pool for the next request. @param address of the client, as text, in bytes */
  choose(address: Uint8Array): PoolRuntime | undefined {
    const order = this.#order
    if (order.length === 0) return this.#pool
    if (this.#bySource) return this.#pools[order[hash(address) % order.length]!]
    const at = this.#cursor
    this.#cursor = at + 1 === order.length ? 0 : at + 1
    return this.#pools[order[at]!]
  }

  /** Whether the next request is copied to the shadow pool. */
  copies(): boolean {
    this.#copyPercent += this.mirror!.percent
    if (this.#copyPercent < 100) return false
    this.#copyPercent -= 100
    return true
  }

  /** Whether another member is to be asked after an answer of this status. */
  retriesStatus(status: number): boolean {
    return this.#retried !== undefined && status >= firstStatus && this.#retried[status - firstStatus] === 1
  }
}

/** FNV-1a, 32 bits, with a last mix, as few bits of an address differ. */
function hash(bytes: Uint8Array): number {
  let value = 0x811c9dc5
  for (let i = 0; i < bytes.length; i++) value = Math.imul(value ^ bytes[i]!, 0x01000193)
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d)
  return (value ^ (value >>> 12)) >>> 0
}

function requestLists(edits: HeaderEditsPlan | undefined) {
  return edits === undefined ? undefined : { set: edits.setRequest, remove: edits.removeRequest }
}
function responseLists(edits: HeaderEditsPlan | undefined) {
  return edits === undefined ? undefined : { set: edits.setResponse, remove: edits.removeResponse }
}

/** The actions of a listener's routes, in their order; the last one is for what no route takes. */
export function actionsOf(listener: ListenerPlan, pools: readonly PoolRuntime[], before: readonly Action[], offset: number): Action[] {
  const known = new Map(before.map((action) => [action.name, action]))
  return [...listener.routes, undefined].map((route) => new Action(listener, route, pools, known.get(route?.name ?? ''), offset))
}

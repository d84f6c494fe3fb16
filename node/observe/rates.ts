/**
 * From running totals to rates: once a second the newest report of every node comes in, and out come requests, errors
 * and bytes per second for each listener and member of the cluster, and the last five minutes of traffic.
 * Pure: instants come in as arguments.
 */
import type { NodeReport, TrafficPoint } from '../api/types.ts'
import type { ListenerCounters, MemberCounters } from './counters.ts'

export interface ListenerRates {
  readonly requestsPerSecond: number
  readonly bytesInPerSecond: number
  readonly bytesOutPerSecond: number
  readonly errorsPerSecond: number
}
export interface MemberRates {
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
}

/** Traffic points kept: five minutes of seconds. */
export const trafficPoints = 300
/** A node whose last report is older than this contributes nothing. */
export const staleReportMs = 3000

const noListener: ListenerRates = {
  requestsPerSecond: 0,
  bytesInPerSecond: 0,
  bytesOutPerSecond: 0,
  errorsPerSecond: 0,
}
const noMember: MemberRates = { requestsPerSecond: 0, errorsPerSecond: 0 }

interface NodeRates {
  report: NodeReport
  /** When the report was first seen here, milliseconds of the caller's clock. */
  seenMs: number
  listeners: Map<string, ListenerRates>
  members: Map<string, MemberRates>
  /** Last totals of everything seen since that node's start: what was removed and comes back goes on counting there. */
  readonly listenerTotals: Map<string, ListenerCounters>
  readonly memberTotals: Map<string, MemberCounters>
}

export class Rates {
  readonly #nodes = new Map<string, NodeRates>()
  readonly #ring: TrafficPoint[] = []

  /**
   * Takes one sample. `atEpochMs`: wall-clock milliseconds, now. `reports`: the newest report of every node by id, this
   * one included. `nowMs`: milliseconds of a clock that is not set; the wall clock will do when there is none.
   */
  add(atEpochMs: number, reports: ReadonlyMap<string, NodeReport>, nowMs: number = atEpochMs): void {
    for (const id of this.#nodes.keys()) if (!reports.has(id)) this.#nodes.delete(id)
    for (const [id, report] of reports) this.#take(id, report, nowMs)
    this.#ring.push(this.#point(nowMs, atEpochMs))
    if (this.#ring.length > trafficPoints) this.#ring.shift()
  }

  /** Rates of a listener, summed over the nodes. */
  listener(name: string): ListenerRates {
    let sum = noListener
    for (const node of this.#nodes.values()) {
      const rates = node.listeners.get(name)
      if (rates !== undefined) sum = addListener(sum, rates)
    }
    return sum
  }

  /** Rates of a member, summed over the nodes. */
  member(pool: string, member: string): MemberRates {
    let { requestsPerSecond, errorsPerSecond } = noMember
    const key = `${pool}/${member}`
    for (const node of this.#nodes.values()) {
      const rates = node.members.get(key)
      if (rates === undefined) continue
      requestsPerSecond += rates.requestsPerSecond
      errorsPerSecond += rates.errorsPerSecond
    }
    return { requestsPerSecond, errorsPerSecond }
  }

  /** Traffic of the whole cluster, oldest first; without `history` only the newest point. */
  traffic(history: boolean): readonly TrafficPoint[] {
    return history ? this.#ring.slice() : this.#ring.slice(-1)
  }

  #take(id: string, report: NodeReport, nowMs: number): void {
    const known = this.#nodes.get(id)
    if (known === undefined) {
      const first: NodeRates = {
        report, seenMs: nowMs, listeners: new Map(), members: new Map(), listenerTotals: new Map(), memberTotals: new Map(),
      }
      remember(first, report)
      this.#nodes.set(id, first)
      return
    }
    if (known.report.atEpochMs === report.atEpochMs && known.report.startedEpochMs === report.startedEpochMs) {
      // No newer report: what is known stays true for a moment, then the node counts as silent.
      if (nowMs - known.seenMs > staleReportMs) {
        known.listeners.clear()
        known.members.clear()
      }
      return
    }
    const restarted = known.report.startedEpochMs !== report.startedEpochMs
    const seconds = elapsedMs(known, report, nowMs, restarted) / 1000
    const listeners = new Map<string, ListenerRates>()
    if (restarted) {
      known.listenerTotals.clear()
      known.memberTotals.clear()
    }
    for (const listener of report.listeners) {
      const old = known.listenerTotals.get(listener.name)
      listeners.set(listener.name, {
        requestsPerSecond: increase(old?.requestsTotal, listener.requestsTotal) / seconds,
        bytesInPerSecond: increase(old?.bytesInTotal, listener.bytesInTotal) / seconds,
        bytesOutPerSecond: increase(old?.bytesOutTotal, listener.bytesOutTotal) / seconds,
        errorsPerSecond: increase(old && errors(old.errorsTotal), errors(listener.errorsTotal)) / seconds,
      })
    }
    const members = new Map<string, MemberRates>()
    for (const member of report.members) {
      const key = `${member.pool}/${member.member}`
      const old = known.memberTotals.get(key)
      members.set(key, {
        requestsPerSecond: increase(old?.requestsTotal, member.requestsTotal) / seconds,
        errorsPerSecond:
          increase(
            old && old.errorsTotal + old.connectFailuresTotal,
            member.errorsTotal + member.connectFailuresTotal,
          ) / seconds,
      })
    }
    remember(known, report)
    this.#nodes.set(id, { ...known, report, seenMs: nowMs, listeners, members })
  }

  #point(nowMs: number, atEpochMs: number): TrafficPoint {
    let sum = noListener
    let connections = 0
    for (const node of this.#nodes.values()) {
      if (nowMs - node.seenMs > staleReportMs) continue
      for (const rates of node.listeners.values()) sum = addListener(sum, rates)
      for (const listener of node.report.listeners) connections += listener.connections
    }
    const { requestsPerSecond, errorsPerSecond, bytesInPerSecond, bytesOutPerSecond } = sum
    return { atEpochMs, requestsPerSecond, errorsPerSecond, bytesInPerSecond, bytesOutPerSecond, connections }
  }
}

function remember(node: NodeRates, report: NodeReport): void {
  for (const listener of report.listeners) node.listenerTotals.set(listener.name, listener)
  for (const member of report.members) node.memberTotals.set(`${member.pool}/${member.member}`, member)
}

/**
 * Time that the counters of `report` ran since the report before, milliseconds. By the reporting node's own clock,
 * because reports are delayed and lost on the way; by ours when its clock was set in between.
 */
function elapsedMs(known: NodeRates, report: NodeReport, nowMs: number, restarted: boolean): number {
  const here = Math.max(100, nowMs - known.seenMs)
  const there = report.atEpochMs - (restarted ? report.startedEpochMs : known.report.atEpochMs)
  return there >= 100 && there < here * 2 + 2000 ? there : here
}

/** A total that went down was reset in between: all that it shows now came since. */
function increase(before: number | undefined, now: number): number {
  return before === undefined || now < before ? now : now - before
}

function errors(totals: Readonly<Record<string, number>>): number {
  let sum = 0
  for (const count of Object.values(totals)) sum += count
  return sum
}

function addListener(a: ListenerRates, b: ListenerRates): ListenerRates {
  return {
    requestsPerSecond: a.requestsPerSecond + b.requestsPerSecond,
    bytesInPerSecond: a.bytesInPerSecond + b.bytesInPerSecond,
    bytesOutPerSecond: a.bytesOutPerSecond + b.bytesOutPerSecond,
    errorsPerSecond: a.errorsPerSecond + b.errorsPerSecond,
  }
}

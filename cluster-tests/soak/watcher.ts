/**
 * Watches a cluster through its own API while something is done to it: terms, holders, degraded nodes, event-loop gaps and memory of
 * the hearts. A node that does not answer is not asked again before the next turn; nothing here disturbs it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { ClusterOverview } from '../../node/api/types.ts'
import type { LabNode } from '../lab/cluster.ts'
import { monotonicMs } from '../drills/clock.ts'

export interface Observation {
  readonly atMs: number
  readonly node: string
  readonly term: number
  readonly holder: string
  /** Since when the holder holds, wall-clock milliseconds, as it says itself; 0 when nobody does. */
  readonly since: number
}

export interface HeartFigures {
  /** Longest event-loop gap that was seen, milliseconds. */
  readonly gap_max_ms: number
  readonly heart_mib: number
  readonly child_mib: number
}

const everyMs = 250
const askTimeoutMs = 1000
/** The node tells the longest gap of the last minute; with its report's age. */
const gapWindowMs = 62_000

export class Watcher {
  readonly #nodes: readonly LabNode[]
  /** Only what is different from before. */
  readonly changes: Observation[] = []
  readonly #hearts = new Map<string, { gap: number; heart: number; child: number }>()
  firstTerm = 0
  lastTerm = 0
  #last = new Map<string, string>()
  #stopping = false
  #startedMs = 0
  #running: Promise<void> = Promise.resolve()

  constructor(nodes: readonly LabNode[]) {
    this.#nodes = nodes
  }

  start(): void {
    this.#startedMs = monotonicMs()
    this.#running = Promise.all(this.#nodes.map((node) => this.#watch(node))).then(() => undefined)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  /** Terms that began while it watched: elections, failed ones included. */
  get elections(): number {
    return this.lastTerm - this.firstTerm
  }

  /** How often another node, or the same one anew, came to hold the VIP by the holders' own word. */
  get acquisitions(): number {
    const seen = new Set<string>()
    for (const { node, holder, since } of this.changes) if (holder === node && since > 0) seen.add(`${holder} ${since}`)
    return Math.max(0, seen.size - 1)
  }

  hearts(): Record<string, HeartFigures> {
    const mib = (bytes: number): number => Math.round(bytes / 1024 / 102.4) / 10
    return Object.fromEntries([...this.#hearts].map(([id, { gap, heart, child }]) =>
      [id, { gap_max_ms: Math.round(gap * 10) / 10, heart_mib: mib(heart), child_mib: mib(child) }]))
  }

  async #watch(node: LabNode): Promise<void> {
    while (!this.#stopping) {
      try {
        this.#take(node.name, await node.get<ClusterOverview>('/status', { timeoutMs: askTimeoutMs }))
      } catch {
        // It is dead, frozen or starting.
      }
      await delay(everyMs)
    }
  }

  #take(node: string, view: ClusterOverview): void {
    if (this.firstTerm === 0) this.firstTerm = view.term
    this.lastTerm = Math.max(this.lastTerm, view.term)
    const own = view.nodes.find(({ self }) => self)?.report
    const vip = own?.vips[0]
    const held = vip?.state === 'held'
    const now = { term: view.term, holder: held ? node : (view.vips[0]?.holder ?? ''), since: held ? vip.sinceEpochMs : 0 }
    const text = JSON.stringify(now)
    if (this.#last.get(node) !== text) {
      this.#last.set(node, text)
      if (this.changes.length < 100_000) this.changes.push({ atMs: monotonicMs(), node, ...now })
    }
    if (own === null || own === undefined) return
    const before = this.#hearts.get(node) ?? { gap: 0, heart: 0, child: 0 }
    this.#hearts.set(node, {
      // The longest of a minute counts only once that minute lies within the watch: not the start of the node.
      gap: Math.max(before.gap, own.heartLoopGapMs, monotonicMs() - this.#startedMs > gapWindowMs ? (own.heartLoopGapMaxMs ?? 0) : 0),
      heart: Math.max(before.heart, own.heartResidentBytes),
      child: Math.max(before.child, own.residentBytes),
    })
  }
}

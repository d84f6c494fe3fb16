/**
 * The clients of a torture run: each reads the configuration and changes it, through whichever node it pleases, and
 * writes down what it asked, when, and what it was told. The document is a compare-and-swap register: its revision, and
 * a value that no two changes share (the name of a pool). The history is judged by `../history`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigurationDocument, ConfigView } from '../../node/api/types.ts'
import { monotonicMs } from '../drills/clock.ts'
import type { Operation } from '../history/linearizability.ts'
import type { CasOp, CasResult, Revisioned } from '../history/models.ts'
import type { LabNode } from '../lab/cluster.ts'

export type RegisterOperation = Operation<CasOp, CasResult>

export interface Acknowledged {
  readonly revision: number
  readonly value: string
  readonly node: string
}

export interface WorkloadCounts {
  readonly reads: number
  readonly writes: number
  /** 412: somebody else was first. */
  readonly conflicts: number
  /** Certainly not done, by the API's own word or because no connection came about. */
  readonly failed: number
  /** Changes whose fate nobody told. */
  readonly unknown: number
}

/** Pools of this name carry the value; all others stay as they are. */
const valuePrefix = 'v-'
const initialValue = ''

/** The register's value in a document. */
export function valueOf(document: ConfigurationDocument): string {
  return document.pools.find((pool) => pool.name.startsWith(valuePrefix))?.name ?? initialValue
}

function withValue(document: ConfigurationDocument, value: string): unknown {
  const pools = document.pools.filter((pool) => !pool.name.startsWith(valuePrefix))
  return { ...document, pools: [...pools, { name: value, members: [], healthCheck: { type: 'none' } }] }
}

export function registerOf(view: ConfigView): Revisioned {
  return { revision: view.revision, value: valueOf(view.document) }
}

/** What is known of a change after an answer. Pure. */
export function fateOf(status: number, body: unknown, expect: number): CasResult | 'unknown' | 'failed' {
  const { revision, code } = (typeof body === 'object' && body !== null ? body : {}) as { revision?: unknown; code?: unknown }
  if (status === 200 && typeof revision === 'number') return { kind: 'written', revision }
  // A node may answer from what it has applied. A later revision than the expected one proves a conflict; an earlier
  // one only that the node is behind: then nothing was done, which says nothing of the register.
  if (status === 412) return typeof revision === 'number' && revision > expect ? { kind: 'conflict' } : 'failed'
  if (status === 503 || status === 429) return 'failed'
  // 504 says itself that it does not know; anything unexpected is treated like it.
  return code === 'not-ready' ? 'failed' : 'unknown'
}

/** No connection: nothing can have reached the node. */
function notReached(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ECONNREFUSED' || code === 'ENOENT'
}

const readTimeoutMs = 4000
const writeTimeoutMs = 5000

export class Workload {
  readonly history: RegisterOperation[] = []
  readonly acknowledged: Acknowledged[] = []
  readonly #nodes: readonly LabNode[]
  readonly #random: () => number
  readonly #pauseMs: number
  #counts = { reads: 0, writes: 0, conflicts: 0, failed: 0, unknown: 0 }
  #stopping = false
  #running: Promise<void>[] = []

  /** `pauseMs`: mean pause of each client between two operations. */
  constructor(nodes: readonly LabNode[], random: () => number, pauseMs: number) {
    this.#nodes = nodes
    this.#random = random
    this.#pauseMs = pauseMs
  }

  get counts(): WorkloadCounts {
    return this.#counts
  }

  /** `view`: the configuration that the clients begin with. */
  start(clients: number, view: ConfigView): void {
    this.#running = Array.from({ length: clients }, (_, i) => this.#client(`c${i}`, view))
  }

  /** Resolves when every client has been answered or has given up. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#running)
  }

  async #client(name: string, seen: ConfigView): Promise<void> {
    for (let number = 1; !this.#stopping; number++) {
      const node = this.#nodes[Math.floor(this.#random() * this.#nodes.length)]!
      if (this.#random() < 0.5) seen = (await this.read(name, node)) ?? seen
      else seen = (await this.#write(name, node, seen, `${valuePrefix}${name}-${number}`)) ?? seen
      await delay(this.#random() * 2 * this.#pauseMs)
    }
  }

  /** One linearizable read; undefined when it was not answered. */
  async read(client: string, node: LabNode): Promise<ConfigView | undefined> {
    const invokeMs = monotonicMs()
    try {
      const answer = await node.api('GET', '/config?consistency=linearizable', undefined, { timeoutMs: readTimeoutMs })
      if (answer.status === 200) {
        const view = answer.body as ConfigView
        this.#counts.reads++
        const result: CasResult = { kind: 'read', ...registerOf(view) }
        this.history.push({ client, invokeMs, completeMs: monotonicMs(), op: { kind: 'read' }, result })
        return view
      }
    } catch {
      // A read that was not answered says nothing, and is no part of the history.
    }
    this.#counts.failed++
    return undefined
  }

  async #write(client: string, node: LabNode, seen: ConfigView, value: string): Promise<ConfigView | undefined> {
    const expect = seen.revision
    const document = withValue(seen.document, value)
    const op: CasOp = { kind: 'write', expect, value }
    const invokeMs = monotonicMs()
    let fate: ReturnType<typeof fateOf>
    try {
      const answer = await node.api('PUT', `/config?comment=${value}`, document, {
        headers: { 'If-Match': `"${expect}"` },
        timeoutMs: writeTimeoutMs,
      })
      fate = fateOf(answer.status, answer.body, expect)
    } catch (error) {
      fate = notReached(error) ? 'failed' : 'unknown'
    }
    const completeMs = monotonicMs()
    if (fate === 'failed') {
      this.#counts.failed++
      return undefined
    }
    if (fate === 'unknown') {
      this.#counts.unknown++
      this.history.push({ client, invokeMs, completeMs: undefined, op, result: undefined })
      return undefined
    }
    this.history.push({ client, invokeMs, completeMs, op, result: fate })
    if (fate.kind === 'conflict') {
      this.#counts.conflicts++
      return await this.read(client, node)
    }
    this.#counts.writes++
    if (fate.kind !== 'written') return undefined
    this.acknowledged.push({ revision: fate.revision, value, node: node.name })
    return { ...seen, revision: fate.revision, document: document as ConfigurationDocument }
  }
}

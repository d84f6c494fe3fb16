/** One proxy thread: accepts for itself, keeps its connections for life, swaps its table when told. */
import { parentPort, workerData } from 'node:worker_threads'
import { MemberPool } from './http/member.ts'
import { poolsOf, type PoolRuntime } from './pool.ts'
import { Listening } from './listening.ts'
import { Runtime, sameMember, sweepEveryMs } from './runtime.ts'
import { WorkerPersistence } from './persistence.ts'
import type { ListenerPlan, MemberPlan, RouteTable } from './route/table.ts'
import type { TlsMaterial } from './tls/material.ts'
import { Shared, type SharedBuffers } from './shared.ts'
import { createNodeDatagrams } from './transport/datagrams.ts'
import { createNetTransport } from './transport/net.ts'

export interface WorkerData {
  readonly buffers: SharedBuffers
  readonly worker: number
  readonly nodeId: string
  /** Secret of the cluster for persistence. */
  readonly persistenceSecret: Uint8Array
  /** The session table, if there is one by now. */
  readonly sessions: SharedArrayBuffer | undefined
}
/** To the worker. `held`: VIP addresses that may be listened on; undefined: all. */
export type ToWorker =
  | { readonly type: 'apply'; readonly id: number; readonly table: RouteTable; readonly held: readonly string[] | undefined }
  /** Certificates and keys; comes before the first table, and again when they change, with a table behind it. */
  | { readonly type: 'tls'; readonly material: TlsMaterial }
  /** The session table has been made; comes before the first table that needs it. */
  | { readonly type: 'sessions'; readonly buffer: SharedArrayBuffer }
  | { readonly type: 'stop'; readonly drainMs: number }
/** From the worker. */
export type FromWorker =
  | { readonly type: 'applied'; readonly id: number; readonly failures: readonly { readonly listener: string; readonly error: string }[] }
  /** Entries of the session table that this worker has set (`sessions/updates.ts`). */
  | { readonly type: 'session-updates'; readonly batch: Uint8Array }
  | { readonly type: 'stopped' }

class ProxyWorker {
  readonly #runtime: Runtime
  readonly #members: MemberPool
  readonly #datagrams = createNodeDatagrams()
  readonly #listeners = new Map<string, Listening>()
  /** Removed, but with clients that finish. */
  readonly #leaving = new Set<Listening>()
  readonly #timer: NodeJS.Timeout
  readonly #persistence: WorkerPersistence
  #applying: Promise<unknown> = Promise.resolve()
  /** In force. */
  #pools: readonly PoolRuntime[] = []

  constructor(data: WorkerData) {
    const shared = new Shared(data.buffers, data.worker)
    this.#runtime = new Runtime(createNetTransport(shared), shared, data.nodeId, performance.now())
    this.#members = new MemberPool(this.#runtime)
    this.#persistence = new WorkerPersistence(data.persistenceSecret, data.worker, (batch) => post({ type: 'session-updates', batch }))
    if (data.sessions !== undefined) this.#persistence.useTable(data.sessions)
    this.#timer = setInterval(() => this.#sweep(performance.now()), sweepEveryMs)
  }

  useSessions(buffer: SharedArrayBuffer): void {
    this.#persistence.useTable(buffer)
  }

  /** In force with the next table. */
  setTlsMaterial(material: TlsMaterial): void {
    this.#applying = this.#applying.then(() => this.#runtime.tls.setMaterial(material))
  }

  apply(id: number, table: RouteTable, held: readonly string[] | undefined): void {
    this.#applying = this.#applying.then(async () => {
      const failures = await this.#apply(table, held)
      post({ type: 'applied', id, failures })
    })
  }

  async #apply(table: RouteTable, held: readonly string[] | undefined): Promise<{ listener: string; error: string }[]> {
    const pools = poolsOf(table, this.#runtime.shared, this.#pools)
    this.#pools = pools
    this.#persistence.equip(pools)
    const failures: { listener: string; error: string }[] = []
    const isHeld = (plan: ListenerPlan): boolean => !plan.vip || held === undefined || held.includes(plan.address)
    const wanted = new Map<string, ListenerPlan>()
    for (const plan of table.listeners) if (isHeld(plan)) wanted.set(Listening.keyOf(plan), plan)
    // The swap: from here on new requests use the new table. Those under way keep the pools and plans they began with.
    for (const [key, plan] of wanted) {
      const listening = this.#listeners.get(key)
      if (listening !== undefined && samePorts(listening.runtime.plan, plan)) listening.runtime.update(plan, pools)
    }
    const fresh = [...wanted].filter(([key]) => !this.#listeners.has(key))
    // One that moves is removed after its new place is bound: if that fails, it stays where it was. Not on a VIP that is lost.
    const moving = new Map<string, [string, Listening]>()
    for (const [key, listening] of this.#listeners) {
      if (wanted.has(key)) continue
      const { plan } = listening.runtime
      if (isHeld(plan) && fresh.some(([, { name }]) => name === plan.name)) moving.set(plan.name, [key, listening])
      else this.#remove(key, listening, !isHeld(plan))
    }
    for (const [key, plan] of wanted) {
      const before = this.#listeners.get(key)
      const listening = before ?? new Listening(plan, pools, this.#runtime, this.#members, this.#datagrams)
      const moves = before !== undefined && !samePorts(before.runtime.plan, plan)
      if (listening.runtime.tlsError !== '') failures.push({ listener: plan.name, error: listening.runtime.tlsError })
      if (before === undefined && listening.runtime.tlsError !== '') continue
      if (before !== undefined && !moves && before.listensOn(plan)) {
        // Of a move that failed, and was taken back.
        before.leaveOthers(plan)
        continue
      }
      const error = await listening.listen(plan)
      if (error !== '') failures.push({ listener: plan.name, error })
      if (listening.listens) this.#listeners.set(key, listening)
      // With some of its new ports taken by others it keeps its old ones, and its old table.
      if (moves && error === '') {
        listening.runtime.update(plan, pools)
        listening.leaveOthers(plan)
      }
      const old = moving.get(plan.name)
      if (error === '' && old !== undefined) this.#remove(...old, false)
    }
    // Prepared now, not when a request waits for it.
    for (const { members } of table.pools) if (members[0] !== undefined) this.#runtime.memberTls(members[0])
    this.#runtime.tls.settle()
    this.#clearLeaving()
    const members = new Map<number, MemberPlan>(table.pools.flatMap((pool) => pool.members.map((member): [number, MemberPlan] => [member.slot, member])))
    this.#members.keepOnly((member) => {
      const now = members.get(member.slot)
      return now !== undefined && sameMember(now, member)
    })
    return failures
  }

  #remove(key: string, listening: Listening, lost: boolean): void {
    this.#listeners.delete(key)
    listening.remove(performance.now(), lost)
    if (!listening.over) this.#leaving.add(listening)
  }

  /** A UDP socket that only waits for its sessions' end would take datagrams from the one that is in its place now. */
  #clearLeaving(): void {
    for (const listening of [...this.#leaving, ...this.#listeners.values()]) {
      if (!listening.drainsDatagrams) continue
      for (const { runtime } of this.#listeners.values()) if (runtime.plan.protocol === 'udp') listening.yieldTo(runtime.plan)
    }
  }

  #sweep(nowMs: number): void {
    this.#runtime.shared.turn()
    this.#runtime.sweep(nowMs)
    for (const listening of this.#leaving) {
      listening.sweep(nowMs)
      if (listening.over) this.#leaving.delete(listening)
    }
  }

  async stop(drainMs: number): Promise<void> {
    await this.#applying
    for (const [key, listening] of this.#listeners) this.#remove(key, listening, false)
    const deadline = performance.now() + drainMs
    while ([...this.#leaving].some((listening) => !listening.over) && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
    for (const listening of this.#leaving) listening.closeAll()
    this.#members.closeAll()
    this.#persistence.stop()
    clearInterval(this.#timer)
    this.#runtime.observers.flush()
    post({ type: 'stopped' })
    parentPort?.close()
  }
}

function samePorts(a: ListenerPlan, b: ListenerPlan): boolean {
  return a.port === b.port && a.portEnd === b.portEnd
}

function post(message: FromWorker): void {
  parentPort?.postMessage(message)
}

const worker = new ProxyWorker(workerData as WorkerData)
parentPort?.on('message', (message: ToWorker) => {
  if (message.type === 'apply') worker.apply(message.id, message.table, message.held)
  else if (message.type === 'sessions') worker.useSessions(message.buffer)
  else if (message.type === 'tls') worker.setTlsMaterial(message.material)
  else void worker.stop(message.drainMs)
})

/**
 * The data plane from the main thread: compiles documents into tables, owns the shared memory and the workers, restarts a
 * worker that dies, and reads the counters.
 */
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { ConfigurationDocument } from '../config/schema.ts'
import type { ListenerCounters, MemberCounters, MemberHealth } from '../observe/counters.ts'
import type { ApplyReport, Proxy, ProxyOptions } from './proxy.ts'
import { compileTable, type RouteTable } from './route/table.ts'
import { allocate, errorCodes, ListenerField, maxListeners, maxMembers, maxPools, MemberField, Shared, type SharedBuffers } from './shared.ts'
import { NamedSlots } from './slots.ts'
import type { FromWorker, ToWorker, WorkerData } from './worker.ts'

export function createProxy(options: ProxyOptions): Proxy {
  return new Manager(options)
}

type Failures = ApplyReport['failures']

/** A worker may die this often within the window before the node is declared unfit. */
const restartBudget = 5
const restartWindowMs = 60_000

/** A worker whose timer has not turned for this many checks of the main thread hangs. */
const checkEveryMs = 1000
const silentChecks = 4
/** Listeners that do not listen are tried again at every so many checks: an address may come late, a port become free. */
const retryChecks = 2

const emptyTable: RouteTable = { revision: 0, listeners: [], pools: [] }

interface Thread {
  worker: Worker
  readonly index: number
  readonly waiting: Map<number, (failures: Failures) => void>
  /** At the last check, and for how many checks it has not changed. */
  turns: number
  silence: number
  /** Ended, and not replaced: nothing it is told or asked will be answered. */
  dead: boolean
}

class Manager implements Proxy {
  readonly #options: ProxyOptions
  readonly #buffers: SharedBuffers
  readonly #shared: Shared
  readonly #slots: NamedSlots
  readonly #threads: Thread[] = []
  readonly #crashesMs: number[] = []
  #table: RouteTable = emptyTable
  #held: readonly string[] | undefined
  #failures: Failures = []
  #checksToRetry = retryChecks
  #nextId = 1
  #working: Promise<unknown> = Promise.resolve()
  #newest = 0
  #stopping = false
  #watch: NodeJS.Timeout | undefined

  constructor(options: ProxyOptions) {
    this.#options = options
    this.#buffers = allocate(options.workers ?? availableParallelism())
    const shared = new Shared(this.#buffers, 0)
    this.#shared = shared
    this.#slots = new NamedSlots(
      { listeners: maxListeners, pools: maxPools, members: maxMembers },
      {
        listeners: { idle: (slot) => shared.connections(slot) === 0, renew: (slot) => shared.renewListener(slot) },
        pools: { idle: () => true, renew: () => undefined },
        members: { idle: (slot) => shared.active(slot) === 0, renew: (slot) => shared.renewMember(slot) },
      },
    )
  }

  async start(): Promise<void> {
    for (let index = 0; index < this.#buffers.workers; index++) this.#threads.push(this.#spawn(index))
    await Promise.all(this.#threads.map((thread) => this.#tell(thread)))
    this.#watch = setInterval(() => {
      this.#watchWorkers()
      this.#retryListeners()
    }, checkEveryMs)
    this.#watch.unref()
  }

  /** A worker that hangs holds its connections and its share of new ones: end it, so that another takes its place. */
  #watchWorkers(): void {
    for (const thread of this.#threads) {
      if (thread.dead) continue
      const turns = this.#shared.turns(thread.index)
      thread.silence = turns === thread.turns ? thread.silence + 1 : 0
      thread.turns = turns
      if (thread.silence < silentChecks) continue
      thread.silence = 0
      this.#options.log('error', `proxy worker ${thread.index} hangs: ending it`)
      void thread.worker.terminate()
    }
  }

  #retryListeners(): void {
    if (this.#failures.length === 0 || --this.#checksToRetry > 0) return
    this.#checksToRetry = retryChecks
    this.#working = this.#working.then(async () => {
      const before = this.#failures
      if (before.length === 0 || this.#stopping) return
      const { failures } = await this.#tellAll()
      const still = new Set(failures.map((failure) => failure.listener))
      for (const { listener } of before) if (!still.has(listener)) this.#options.log('info', `listener ${listener} listens now`)
    })
  }

  #spawn(index: number): Thread {
    const workerData: WorkerData = { buffers: this.#buffers, worker: index, nodeId: this.#options.nodeId }
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData, name: `proxy-${index}` })
    const thread: Thread = { worker, index, waiting: new Map(), turns: -1, silence: 0, dead: false }
    worker.on('message', (message: FromWorker) => {
      if (message.type !== 'applied') return
      thread.waiting.get(message.id)?.(message.failures)
      thread.waiting.delete(message.id)
    })
    worker.on('error', (error: Error) => this.#options.log('error', `proxy worker ${index} failed: ${error.message}`, { stack: error.stack }))
    worker.on('exit', (code) => this.#exited(thread, code))
    return thread
  }

  #exited(thread: Thread, code: number): void {
    thread.dead = true
    this.#shared.giveBack(thread.index)
    for (const done of thread.waiting.values()) done([])
    thread.waiting.clear()
    if (this.#stopping) return
    const now = performance.now()
    this.#crashesMs.push(now)
    const recent = this.#crashesMs.filter((at) => now - at < restartWindowMs)
    this.#options.log('error', `proxy worker ${thread.index} ended`, { code, recentCrashes: recent.length })
    if (recent.length > restartBudget) {
      this.#options.failed(`proxy workers died ${recent.length} times within ${restartWindowMs / 1000} s`)
      return
    }
    const fresh = this.#spawn(thread.index)
    this.#threads[thread.index] = fresh
    void this.#tell(fresh)
  }

  /** Sends the table in force; resolves when the worker has it, or has died (its successor gets it anew). */
  #tell(thread: Thread): Promise<Failures> {
    if (thread.dead) return Promise.resolve([])
    const id = this.#nextId++
    const message: ToWorker = { type: 'apply', id, table: this.#table, held: this.#held }
    return new Promise((resolve) => {
      thread.waiting.set(id, resolve)
      thread.worker.postMessage(message)
    })
  }

  async #tellAll(): Promise<ApplyReport> {
    const { revision } = this.#table
    const all = await Promise.all(this.#threads.map((thread) => this.#tell(thread)))
    const byListener = new Map(all.flat().map((failure) => [failure.listener, failure]))
    this.#failures = [...byListener.values()]
    return { revision, failures: this.#failures }
  }

  apply(revision: number, document: ConfigurationDocument): Promise<ApplyReport> {
    const mine = ++this.#newest
    const work = this.#working.then(async () => {
      // A newer one waits behind: it will report for this one too.
      if (mine !== this.#newest) return { revision: this.#table.revision, failures: this.#failures }
      this.#slots.begin()
      this.#table = compileTable(revision, document, this.#slots)
      this.#slots.settle()
      for (const pool of document.pools) {
        for (const member of pool.members) {
          if (member.state === 'enabled') {
            const before = this.#shared.health(this.#slots.member(pool.name, member.name))
            if (before === 'draining' || before === 'disabled') this.setMemberHealth(pool.name, member.name, 'checking')
          } else this.setMemberHealth(pool.name, member.name, member.state === 'drain' ? 'draining' : 'disabled')
        }
      }
      return this.#tellAll()
    })
    this.#working = work.catch(() => undefined)
    return work
  }

  setHeld(addresses: readonly string[] | undefined): Promise<ApplyReport> {
    const work = this.#working.then(() => {
      this.#held = addresses
      return this.#tellAll()
    })
    this.#working = work.catch(() => undefined)
    return work
  }

  setMemberHealth(pool: string, member: string, health: MemberHealth): void {
    this.#shared.setHealth(this.#slots.member(pool, member), health)
  }

  listeners(): readonly ListenerCounters[] {
    const errors = new Map(this.#failures.map((failure) => [failure.listener, failure.error]))
    return this.#table.listeners.map(({ name, slot }) => {
      const total = (field: number): number => this.#shared.listenerTotal(slot, field)
      const classes = [0, 1, 2, 3, 4].map((status) => total(ListenerField.status1 + status)) as unknown as ListenerCounters['responsesTotal']
      const counted = errorCodes.map((code, i): [string, number] => [code, total(ListenerField.errors + i)]).filter(([, count]) => count > 0)
      return {
        name,
        connections: this.#shared.connections(slot),
        connectionsTotal: total(ListenerField.connectionsTotal),
        requestsTotal: total(ListenerField.requests),
        responsesTotal: classes,
        bytesInTotal: total(ListenerField.bytesIn),
        bytesOutTotal: total(ListenerField.bytesOut),
        errorsTotal: Object.fromEntries(counted),
        error: errors.get(name) ?? '',
      }
    })
  }

  members(): readonly MemberCounters[] {
    return this.#table.pools.flatMap((pool) =>
      pool.members.map(({ name, slot }) => ({
        pool: pool.name,
        member: name,
        active: this.#shared.active(slot),
        requestsTotal: this.#shared.memberTotal(slot, MemberField.requests),
        connectFailuresTotal: this.#shared.memberTotal(slot, MemberField.connectFailures),
        errorsTotal: this.#shared.memberTotal(slot, MemberField.errors),
        health: this.#shared.health(slot),
        healthSinceEpochMs: 0,
        lastProbe: '',
      })),
    )
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopping = true
    clearInterval(this.#watch)
    await this.#working
    await Promise.all(
      this.#threads.map(
        ({ worker, dead }) =>
          new Promise<void>((resolve) => {
            if (dead) return resolve()
            const timer = setTimeout(() => void worker.terminate(), drainMs + 1000)
            worker.once('exit', () => {
              clearTimeout(timer)
              resolve()
            })
            worker.postMessage({ type: 'stop', drainMs } satisfies ToWorker)
          }),
      ),
    )
  }
}

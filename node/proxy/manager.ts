/**
 * The data plane from the main thread: compiles documents into tables, owns the shared memory and the workers, restarts a
 * worker that dies, and reads the counters.
 */
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { ConfigurationDocument } from '../config/schema.ts'
import type { ListenerCounters, MemberCounters, MemberHealth, PoolCircuit } from '../observe/counters.ts'
import { AccessLog } from '../observe/access-log.ts'
import type { TrafficReport } from '../observe/traffic.ts'
import { KeptFilterMemory } from './filters/memory.ts'
import { DescriptorAlarm, descriptorLimits, noneLeft, softLimit } from './descriptors.ts'
import { sixteenths } from './balance/weights.ts'
import { DynamicWeights } from './dynamic-weights.ts'
import { lookEveryMs, MemberWatch } from './member-watch.ts'
import type { SessionKeeper } from '../sessions/keeper.ts'
import { KeptSessions } from './kept-sessions.ts'
import type { ApplyReport, Proxy, ProxyOptions } from './proxy.ts'
import { compileTable, type RouteTable } from './route/table.ts'
import { allocate, errorCodes, Factor, ListenerField, maxListeners, maxMembers, maxPools, maxRoutes, MemberField, Shared, type SharedBuffers } from './shared.ts'
import { NamedSlots } from './slots.ts'
import type { TlsMaterial } from './tls/material.ts'
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
  readonly #dynamicWeights: DynamicWeights
  readonly #memberWatch: MemberWatch
  readonly #filterMemory = new KeptFilterMemory()
  readonly #accessLog: AccessLog
  readonly #sessions: KeptSessions
  readonly #threads: Thread[] = []
  readonly #crashesMs: number[] = []
  readonly #descriptorAlarm: DescriptorAlarm
  #table: RouteTable = emptyTable
  #held: readonly string[] | undefined
  /** Without keys from outside, sessions are resumed on this process alone. */
  readonly #ownTicketKeys = randomBytes(48)
  #tls: TlsMaterial = { keyPairs: [], authorities: [], ticketKeys: this.#ownTicketKeys }
  #failures: Failures = []
  #checksToRetry = retryChecks
  #nextId = 1
  #working: Promise<unknown> = Promise.resolve()
  #newest = 0
  #stopping = false
  #watch: NodeJS.Timeout | undefined
  #look: NodeJS.Timeout | undefined

  constructor(options: ProxyOptions) {
    this.#options = options
    const workers = options.workers ?? availableParallelism()
    this.#buffers = allocate(workers, descriptorLimits(softLimit(), workers))
    const shared = new Shared(this.#buffers, 0)
    this.#accessLog = new AccessLog({ file: this.#buffers.logToFile, stdout: this.#buffers.logToStdout, path: options.accessLogPath ?? 'access.log', log: options.log })
    this.#shared = shared
    this.#sessions = new KeptSessions(options, shared, this.#buffers.workers)
    this.#dynamicWeights = new DynamicWeights(shared)
    this.#descriptorAlarm = new DescriptorAlarm(this.#buffers.descriptorLimits)
    const memberWatch = new MemberWatch(shared, options.log)
    this.#memberWatch = memberWatch
    this.#slots = new NamedSlots(
      { listeners: maxListeners, routes: maxRoutes, pools: maxPools, members: maxMembers },
      {
        listeners: { idle: (slot) => shared.connections(slot) === 0, renew: (slot) => shared.renewListener(slot) },
        routes: { idle: () => true, renew: (slot) => shared.traffic.renew('routes', slot) },
        pools: { idle: (slot) => shared.poolActive(slot) === 0, renew: (slot) => shared.traffic.renew('pools', slot) },
        members: { idle: (slot) => shared.active(slot) === 0, renew: (slot) => (shared.renewMember(slot), memberWatch.forget(slot), shared.traffic.renew('members', slot)) },
      },
    )
  }

  async start(): Promise<void> {
    for (let index = 0; index < this.#buffers.workers; index++) this.#threads.push(this.#spawn(index))
    await Promise.all(this.#threads.map((thread) => this.#tell(thread)))
    this.#watch = setInterval(() => {
      this.#watchWorkers()
      this.#retryListeners()
      this.#dynamicWeights.update(this.#table)
      const before = this.#descriptorAlarm.problem
      this.#descriptorAlarm.look(this.#shared.descriptors(), this.#refusedForDescriptors(), noneLeft(), performance.now())
      const { problem } = this.#descriptorAlarm
      if ((problem === '') !== (before === '')) this.#options.log('warn', problem === '' ? 'new clients are served again: there are descriptors' : problem)
    }, checkEveryMs)
    this.#watch.unref()
    this.#look = setInterval(() => this.#memberWatch.look(performance.now()), lookEveryMs)
    this.#look.unref()
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
    const workerData: WorkerData = {
      buffers: this.#buffers, worker: index, nodeId: this.#options.nodeId,
      persistenceSecret: this.#sessions.secret, sessions: this.#sessions.buffer,
    }
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData, name: `proxy-${index}` })
    const thread: Thread = { worker, index, waiting: new Map(), turns: -1, silence: 0, dead: false }
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'session-updates') this.#sessions.keeper?.receive(index, message.batch)
      if (message.type !== 'applied') return
      thread.waiting.get(message.id)?.(message.failures)
      thread.waiting.delete(message.id)
    })
    worker.on('error', (error: Error) => this.#options.log('error', `proxy worker ${index} failed: ${error.message}`, { stack: error.stack }))
    worker.on('exit', (code) => this.#exited(thread, code))
    worker.postMessage({ type: 'tls', material: this.#tls } satisfies ToWorker)
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
      this.#table = compileTable(revision, document, this.#slots, this.#filterMemory)
      this.#slots.settle()
      this.#sessions.configure(this.#table, (buffer) => {
        for (const { worker, dead } of this.#threads) if (!dead) worker.postMessage({ type: 'sessions', buffer } satisfies ToWorker)
      })
      this.#memberWatch.configure(this.#table, performance.now())
      this.#filterMemory.settle()
      if (this.#table.listeners.some(({ filters }) => filters.accessLog !== undefined)) this.#accessLog.start()
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

  setTlsMaterial(material: TlsMaterial): Promise<void> {
    const work = this.#working.then(async () => {
      this.#tls = { ...material, ticketKeys: material.ticketKeys ?? this.#ownTicketKeys }
      for (const { worker, dead } of this.#threads) if (!dead) worker.postMessage({ type: 'tls', material: this.#tls } satisfies ToWorker)
      // The same table again: a listener that lacked its certificate may have it by now.
      await this.#tellAll()
    })
    this.#working = work.catch(() => undefined)
    return work
  }

  setMemberHealth(pool: string, member: string, health: MemberHealth): void {
    this.#memberWatch.setHealth(this.#slots.member(pool, member), health, performance.now())
  }

  get sessions(): SessionKeeper | undefined {
    return this.#sessions.keeper
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
        routing: {
          retriesTotal: total(ListenerField.retries),
          retriesRefusedTotal: total(ListenerField.retriesRefused),
          copiesTotal: total(ListenerField.copies),
          copiesSkippedTotal: total(ListenerField.copiesSkipped),
        },
        error: errors.get(name) ?? '',
      }
    })
  }

  poolTraffic(): TrafficReport['pools'] {
    return this.#table.pools.map(({ name, slot }) => ({ pool: name, waiting: this.#shared.waiting(slot), counters: this.#shared.traffic.read('pools', slot) }))
  }

  traffic(): TrafficReport {
    const { traffic } = this.#shared
    const { listeners, pools } = this.#table
    return {
      routes: listeners.flatMap(({ name, routes }) => routes.map((route) => ({ listener: name, route: route.name, counters: traffic.read('routes', route.slot) }))),
      pools: this.poolTraffic(),
      members: pools.flatMap((pool) => pool.members.map(({ name, slot }) => ({ pool: pool.name, member: name, counters: traffic.read('members', slot) }))),
      logLinesDroppedTotal: this.#accessLog.dropped,
    }
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
        healthSinceEpochMs: this.#memberWatch.ejection(slot).sinceEpochMs,
        ejectionsTotal: this.#memberWatch.ejection(slot).total,
        weightFactor: (this.#shared.factor(slot, Factor.slowStart) * this.#shared.factor(slot, Factor.dynamic)) / (sixteenths * sixteenths),
        lastProbe: '',
      })),
    )
  }

  circuits(): readonly PoolCircuit[] {
    return this.#table.pools.flatMap((pool) => {
      const state = this.#memberWatch.circuit(pool)
      return state === undefined ? [] : [{ pool: pool.name, state }]
    })
  }

  /** Clients and connections to members that there was no descriptor for. */
  #refusedForDescriptors(): number {
    const field = ListenerField.errors + errorCodes.indexOf('descriptor-limit')
    let sum = 0
    for (const { slot } of this.#table.listeners) sum += this.#shared.listenerTotal(slot, field)
    return sum
  }

  problems(): readonly string[] {
    const { problem } = this.#descriptorAlarm
    return problem === '' ? [] : [problem]
  }

  async stop(drainMs: number): Promise<void> {
    this.#stopping = true
    clearInterval(this.#watch)
    this.#sessions.stop()
    clearInterval(this.#look)
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
    await this.#accessLog.stop()
  }
}

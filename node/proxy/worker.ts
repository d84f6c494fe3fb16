/** One proxy thread: accepts for itself, keeps its connections for life, swaps its table when told. */
import { parentPort, workerData } from 'node:worker_threads'
import { HttpClient } from './http/client.ts'
import { MemberPool } from './http/member.ts'
import { poolsOf } from './pool.ts'
import { ListenerRuntime, Runtime, sameMember, sweepEveryMs } from './runtime.ts'
import type { ListenerPlan, MemberPlan, RouteTable } from './route/table.ts'
import { ListenerField, Shared, type SharedBuffers } from './shared.ts'
import { TcpSession } from './tcp/session.ts'
import { createNetTransport } from './transport/net.ts'
import type { Acceptor, Connection } from './transport/transport.ts'

export interface WorkerData {
  readonly buffers: SharedBuffers
  readonly worker: number
  readonly nodeId: string
}
/** To the worker. `held`: VIP addresses that may be listened on; undefined: all. */
export type ToWorker =
  | { readonly type: 'apply'; readonly id: number; readonly table: RouteTable; readonly held: readonly string[] | undefined }
  | { readonly type: 'stop'; readonly drainMs: number }
/** From the worker. */
export type FromWorker =
  | { readonly type: 'applied'; readonly id: number; readonly failures: readonly { readonly listener: string; readonly error: string }[] }
  | { readonly type: 'stopped' }

const backlog = 4096

interface Client {
  drain?(): void
  close(): void
}

interface Bound {
  readonly runtime: ListenerRuntime
  acceptor: Acceptor | undefined
  readonly clients: Set<Client>
}

class ProxyWorker {
  readonly #runtime: Runtime
  readonly #members: MemberPool
  /** By name, address and port: a listener that moves is another one. */
  readonly #listeners = new Map<string, Bound>()
  /** Removed, but with clients that finish. */
  readonly #leaving = new Set<Bound>()
  readonly #timer: NodeJS.Timeout
  #applying: Promise<unknown> = Promise.resolve()

  constructor(data: WorkerData) {
    this.#runtime = new Runtime(createNetTransport(), new Shared(data.buffers, data.worker), data.nodeId, performance.now())
    this.#members = new MemberPool(this.#runtime)
    this.#timer = setInterval(() => {
      this.#runtime.shared.turn()
      this.#runtime.sweep(performance.now())
    }, sweepEveryMs)
  }

  apply(id: number, table: RouteTable, held: readonly string[] | undefined): void {
    this.#applying = this.#applying.then(async () => {
      const failures = await this.#apply(table, held)
      post({ type: 'applied', id, failures })
    })
  }

  async #apply(table: RouteTable, held: readonly string[] | undefined): Promise<{ listener: string; error: string }[]> {
    const pools = poolsOf(table, this.#runtime.shared)
    const failures: { listener: string; error: string }[] = []
    const wanted = new Map<string, ListenerPlan>()
    for (const plan of table.listeners) {
      if (!plan.vip || held === undefined || held.includes(plan.address)) wanted.set(`${plan.name} ${plan.address} ${plan.port} ${plan.protocol}`, plan)
    }
    // The swap: from here on new requests use the new table. Those under way keep the pools and plans they began with.
    for (const [key, plan] of wanted) this.#listeners.get(key)?.runtime.update(plan, pools)
    const fresh = [...wanted].filter(([key]) => !this.#listeners.has(key))
    // One that moves is removed after its new place is bound: if that fails, it stays where it was. Not on a VIP that is lost.
    const moving = new Map<string, [string, Bound]>()
    for (const [key, bound] of this.#listeners) {
      if (wanted.has(key)) continue
      const { name, vip, address } = bound.runtime.plan
      const mayStay = !vip || held === undefined || held.includes(address)
      if (mayStay && fresh.some(([, plan]) => plan.name === name)) moving.set(name, [key, bound])
      else this.#remove(key, bound)
    }
    for (const [key, plan] of fresh) {
      const error = await this.#bind(key, plan, pools)
      if (error !== '') failures.push({ listener: plan.name, error })
      const before = moving.get(plan.name)
      if (error === '' && before !== undefined) this.#remove(...before)
    }
    const members = new Map<number, MemberPlan>(table.pools.flatMap((pool) => pool.members.map((member): [number, MemberPlan] => [member.slot, member])))
    this.#members.keepOnly((member) => {
      const now = members.get(member.slot)
      return now !== undefined && sameMember(now, member)
    })
    return failures
  }

  async #bind(key: string, plan: ListenerPlan, pools: ListenerRuntime['pools']): Promise<string> {
    const bound: Bound = { runtime: new ListenerRuntime(plan, pools), acceptor: undefined, clients: new Set() }
    try {
      bound.acceptor = await this.#runtime.transport.listen({ host: plan.address, port: plan.port, backlog }, (connection) => this.#accept(bound, connection))
    } catch (error) {
      return explain(plan, error as NodeJS.ErrnoException)
    }
    this.#listeners.set(key, bound)
    return ''
  }

  #accept(bound: Bound, connection: Connection): void {
    const { plan } = bound.runtime
    const { shared } = this.#runtime
    if (!shared.openConnection(plan.slot, plan.maxConnections)) {
      this.#runtime.error(bound.runtime, 'connection-limit')
      connection.close()
      return
    }
    shared.addListener(plan.slot, ListenerField.connectionsTotal, 1)
    let over = false
    const gone = (client: Client): void => {
      over = true
      bound.clients.delete(client)
      if (bound.runtime.closing && bound.clients.size === 0) this.#leaving.delete(bound)
    }
    const client = plan.protocol === 'http'
      ? new HttpClient(this.#runtime, bound.runtime, this.#members, connection, gone)
      : new TcpSession(this.#runtime, bound.runtime, connection, gone)
    // Without a member a session is over before it is known here.
    if (!over) bound.clients.add(client)
  }

  #remove(key: string, bound: Bound): void {
    this.#listeners.delete(key)
    bound.acceptor?.close()
    bound.runtime.closing = true
    if (bound.clients.size > 0) this.#leaving.add(bound)
    for (const client of bound.clients) client.drain?.()
  }

  async stop(drainMs: number): Promise<void> {
    await this.#applying
    for (const [key, bound] of this.#listeners) this.#remove(key, bound)
    const deadline = performance.now() + drainMs
    while (this.#leaving.size > 0 && performance.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20))
    for (const bound of this.#leaving) for (const client of bound.clients) client.close()
    this.#members.closeAll()
    clearInterval(this.#timer)
    post({ type: 'stopped' })
    parentPort?.close()
  }
}

function explain(plan: ListenerPlan, error: NodeJS.ErrnoException): string {
  const where = `${plan.address.includes(':') ? `[${plan.address}]` : plan.address}:${plan.port}`
  switch (error.code) {
    case 'EADDRINUSE':
      return `${where} is in use by another program`
    case 'EACCES':
      return `no permission to listen on ${where} (ports below 1024 need CAP_NET_BIND_SERVICE)`
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${plan.address}`
    default:
      return `${where}: ${error.code ?? error.message}`
  }
}

function post(message: FromWorker): void {
  parentPort?.postMessage(message)
}

const worker = new ProxyWorker(workerData as WorkerData)
parentPort?.on('message', (message: ToWorker) => {
  if (message.type === 'apply') worker.apply(message.id, message.table, message.held)
  else void worker.stop(message.drainMs)
})

/**
 * One listener as a worker has it: its sockets (one for each port), who is admitted, its clients, and its end. It outlives its
 * place in the document until its clients have finished or their time is over.
 */
import { inAddressSet } from './filters/address-set.ts'
import { parseAddress } from './filters/address.ts'
import { uncounted } from './filters/filters.ts'
import { HttpClient } from './http/client.ts'
import type { MemberPool } from './http/member.ts'
import type { PoolRuntime } from './pool.ts'
import { ListenerRuntime, type Runtime } from './runtime.ts'
import type { ListenerPlan } from './route/table.ts'
import { ListenerField } from './shared.ts'
import { ProxyHeaderReader } from './tcp/proxy-reader.ts'
import { TcpSession } from './tcp/session.ts'
import { TlsHandshake } from './tls/handshake.ts'
import { Passthrough } from './tls/passthrough.ts'
import type { DatagramTransport } from './transport/datagrams.ts'
import type { Acceptor, Connection } from './transport/transport.ts'
import { UdpPort } from './udp/port.ts'

const backlog = 4096
/** Ports named in a message. */
const maxNamedPorts = 8
/** Of `#enter`: the connection is over. */
const refused = -3

interface Client {
  drain?(): void
  close(): void
}

export class Listening {
  readonly runtime: ListenerRuntime
  readonly #worker: Runtime
  readonly #members: MemberPool
  readonly #datagrams: DatagramTransport
  readonly #ports = new Map<number, Acceptor>()
  readonly #clients = new Set<Client>()
  /** Of one that is removed: when what is left is closed. */
  #deadlineMs = Infinity
  readonly #words = new Uint32Array(4)

  constructor(plan: ListenerPlan, pools: readonly PoolRuntime[], worker: Runtime, members: MemberPool, datagrams: DatagramTransport) {
    this.runtime = new ListenerRuntime(plan, pools, worker)
    this.#worker = worker
    this.#members = members
    this.#datagrams = datagrams
  }

  /** With another key it is another listener. Ports may change. */
  static keyOf(plan: ListenerPlan): string {
    return `${plan.name} ${plan.address} ${plan.protocol}`
  }

  /** Neither listens nor has clients. */
  get over(): boolean {
    return this.#ports.size === 0 && this.#clients.size === 0
  }
  get listens(): boolean {
    return this.#ports.size > 0
  }

  // — sockets —

  /** Whether it listens on every port that the plan names. */
  listensOn(plan: ListenerPlan): boolean {
    for (let port = plan.port; port <= plan.portEnd; port++) if (!this.#ports.has(port)) return false
    return true
  }

  /** Listens on every port of the plan, as far as that is possible. @returns why not on some, or empty */
  async listen(plan: ListenerPlan): Promise<string> {
    const failed = new Map<string, number[]>()
    for (let port = plan.port; port <= plan.portEnd; port++) {
      if (this.#ports.has(port)) continue
      try {
        this.#ports.set(port, await (plan.protocol === 'udp' ? this.#bind(plan, port) : this.#listen(plan, port)))
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException
        const why = code ?? message
        failed.set(why, [...(failed.get(why) ?? []), port])
      }
    }
    return [...failed].map(([why, ports]) => explain(plan, ports, why)).join('; ')
  }

  #listen(plan: ListenerPlan, port: number): Promise<Acceptor> {
    return this.#worker.transport.listen({ host: plan.address, port, backlog }, (connection) => this.#accept(port, connection))
  }

  async #bind(plan: ListenerPlan, port: number): Promise<Acceptor> {
    const udp = new UdpPort(this.#worker, this.runtime, port, this.#datagrams, () => this.#clients.delete(udp))
    await udp.bind(plan.address)
    this.#clients.add(udp)
    // What it has goes on until it is silent: its answers come from this socket.
    return { close: () => udp.drain() }
  }

  /** Stops listening on ports that the plan does not name. */
  leaveOthers(plan: ListenerPlan): void {
    for (const [port, acceptor] of this.#ports) {
      if (port >= plan.port && port <= plan.portEnd) continue
      this.#ports.delete(port)
      acceptor.close()
    }
  }

  /** Whether UDP ports of it take no new clients any more, but have some. */
  get drainsDatagrams(): boolean {
    if (this.runtime.plan.protocol !== 'udp') return false
    for (const client of this.#clients) if (client instanceof UdpPort && client.draining) return true
    return false
  }

  /** Closes such ports where the plan listens: on the same port, and the same address or any. */
  yieldTo({ address, port, portEnd }: ListenerPlan): void {
    const own = this.runtime.plan.address
    if (own !== address && !isWildcard(own) && !isWildcard(address)) return
    for (const client of this.#clients) {
      if (client instanceof UdpPort && client.draining && client.port >= port && client.port <= portEnd) client.close()
    }
  }

  // — clients —

  #accept(port: number, connection: Connection): void {
    const { plan } = this.runtime
    const { shared } = this.#worker
    if (!shared.mayAccept()) {
      this.#worker.error(this.runtime, 'descriptor-limit')
      connection.close()
      return
    }
    const announced = plan.layer4.proxyProtocol && this.#isTrusted(connection.remoteAddress)
    const place = announced ? uncounted : this.#enter(connection)
    if (place === refused) return
    if (!shared.openConnection(plan.slot, plan.maxConnections)) {
      shared.sources.close(place)
      this.#worker.error(this.runtime, 'connection-limit')
      connection.close()
      return
    }
    shared.addListener(plan.slot, ListenerField.connectionsTotal, 1)
    if (announced) this.#readHeader(port, connection)
    else this.#serve(port, connection, place, undefined)
  }

  #isTrusted(address: string): boolean {
    const { trusted } = this.runtime.plan.layer4
    if (trusted === undefined) return true
    const family = parseAddress(address, this.#words)
    return family !== 0 && inAddressSet(trusted, family, this.#words)
  }

  /** A proxy in front says whose connection this is. */
  #readHeader(port: number, connection: Connection): void {
    const { slot } = this.runtime.plan
    const over = (): void => {
      this.#clients.delete(reader)
    }
    const reader: ProxyHeaderReader = new ProxyHeaderReader(
      this.#worker, this.runtime, connection,
      (rest) => {
        over()
        const place = this.#enter(connection)
        if (place === refused) this.#worker.shared.closeConnection(slot)
        else this.#serve(port, connection, place, rest)
      },
      () => {
        over()
        this.#worker.shared.closeConnection(slot)
      },
    )
    this.#clients.add(reader)
  }

  /** Access lists and limits by address, once it is known whose connection this is. @returns what is given back at its end, or `refused` */
  #enter(connection: Connection): number {
    const { filters } = this.runtime
    if (!filters.atAccept) return uncounted
    const refusal = filters.enter(connection.remoteAddress)
    if (refusal === '') return filters.place
    this.#worker.error(this.runtime, refusal)
    connection.abort()
    return refused
  }

  /** @param rest what has been received already */
  #serve(port: number, connection: Connection, place: number, rest: Buffer | undefined): void {
    if (this.runtime.plan.tls === undefined) return this.#begin(port, connection, place, rest)
    // One that is refused is over before it is known here.
    let handshake: TlsHandshake | undefined
    const over = (): void => {
      if (handshake !== undefined) this.#clients.delete(handshake)
    }
    handshake = new TlsHandshake(
      this.#worker, this.runtime, connection, rest,
      (secured) => {
        over()
        this.#begin(port, secured, place, undefined)
      },
      () => {
        over()
        this.#worker.shared.sources.close(place)
        this.#worker.shared.closeConnection(this.runtime.plan.slot)
      },
    )
    if (!handshake.over) this.#clients.add(handshake)
  }

  #begin(port: number, connection: Connection, place: number, rest: Buffer | undefined): void {
    const { runtime } = this
    let over = false
    const gone = (client: Client): void => {
      over = true
      this.#worker.shared.sources.close(place)
      this.#clients.delete(client)
    }
    const client: Client = runtime.plan.protocol === 'http'
      ? new HttpClient(this.#worker, runtime, this.#members, connection, gone)
      : runtime.plan.protocol === 'tls-passthrough'
        ? new Passthrough(this.#worker, runtime, connection, port, gone)
        : new TcpSession(this.#worker, runtime, connection, port, gone)
    // Without a member a session is over before it is known here.
    if (over) return
    this.#clients.add(client)
    if (runtime.closing) client.drain?.()
    if (rest !== undefined) connection.owner.received(connection, rest, 0, rest.length)
  }

  // — its end —

  /**
   * Stops listening; clients finish what they are doing.
   * @param lost the address is not this node's any more: no datagram of it can be answered
   */
  remove(nowMs: number, lost: boolean): void {
    const { runtime } = this
    runtime.closing = true
    this.#deadlineMs = nowMs + runtime.plan.layer4.drainMs
    for (const acceptor of this.#ports.values()) acceptor.close()
    this.#ports.clear()
    for (const client of this.#clients) client.drain?.()
    if (lost && runtime.plan.protocol === 'udp') this.closeAll()
  }

  /** After `remove`: closes what has not finished in time. */
  sweep(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return
    this.#deadlineMs = Infinity
    for (const client of this.#clients) {
      this.#worker.error(this.runtime, 'drain-timeout')
      client.close()
    }
  }

  closeAll(): void {
    for (const client of this.#clients) client.close()
  }
}

function isWildcard(address: string): boolean {
  return address === '::' || address === '0.0.0.0'
}

function explain(plan: ListenerPlan, ports: readonly number[], why: string): string {
  const host = plan.address.includes(':') ? `[${plan.address}]` : plan.address
  const more = ports.length > maxNamedPorts ? ` and ${ports.length - maxNamedPorts} more` : ''
  const where = `${host}:${ports.slice(0, maxNamedPorts).join(', ')}${more}`
  switch (why) {
    case 'EADDRINUSE':
      return `${where} ${ports.length > 1 ? 'are' : 'is'} in use by another program`
    case 'EACCES':
      return `no permission to listen on ${where} (ports below 1024 need CAP_NET_BIND_SERVICE)`
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${plan.address}`
    default:
      return `${where}: ${why}`
  }
}

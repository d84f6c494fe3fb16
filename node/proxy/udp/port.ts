/**
 * One port of a UDP listener on one worker: a session for each client address and port, each with its own socket to a member.
 * Answers go out from the socket that listens, so that they come from where the client has sent to.
 *
 * At its limit of sessions a listener refuses new ones: those that there are keep what they have, whoever floods.
 */
import { uncounted } from '../filters/filters.ts'
import { ListenerField } from '../shared.ts'
import type { PoolRuntime } from '../pool.ts'
import { sameMember, type ListenerRuntime, type Runtime, type Timed } from '../runtime.ts'
import type { DatagramOwner, DatagramSocket, DatagramTransport } from '../transport/datagrams.ts'
import { UdpSession } from './session.ts'

/** Silent sessions are looked for at least this often, and end late by no more; milliseconds. */
const longestLookMs = 1000

export class UdpPort implements DatagramOwner, Timed {
  readonly runtime: Runtime
  readonly listener: ListenerRuntime
  readonly datagrams: DatagramTransport
  readonly #port: number
  readonly #gone: () => void
  readonly #sessions = new Map<string, UdpSession>()
  #socket: DatagramSocket | undefined
  #draining = false
  /** Of one that takes no new clients: when the last sessions end. */
  #deadlineMs = Infinity
  #lookMs = 0
  #healthVersion = -1
  #pools: readonly PoolRuntime[]

  /** `gone` is called once, when the socket is closed. */
  constructor(runtime: Runtime, listener: ListenerRuntime, port: number, datagrams: DatagramTransport, gone: () => void) {
    this.runtime = runtime
    this.listener = listener
    this.datagrams = datagrams
    this.#port = port
    this.#gone = gone
    this.#pools = listener.pools
  }

  /** Rejects with the system's error. */
  async bind(address: string): Promise<void> {
    this.#socket = await this.datagrams.bind(address, this.#port, this)
    this.runtime.shared.countDescriptors(1)
    this.runtime.timed.add(this)
  }

  /** Takes no new clients. */
  get draining(): boolean {
    return this.#draining
  }
  /** The port that members are reached at when it is not their own. */
  get port(): number {
    return this.#port
  }

  received(data: Buffer, address: string, port: number): void {
    const { shared } = this.runtime
    const { plan } = this.listener
    shared.addListener(plan.slot, ListenerField.requests, 1)
    shared.addListener(plan.slot, ListenerField.bytesIn, data.length)
    const key = `${address} ${port}`
    const session = this.#sessions.get(key) ?? this.#open(key, address, port)
    session?.send(data)
  }

  #open(key: string, address: string, port: number): UdpSession | undefined {
    const { shared } = this.runtime
    const { plan, filters } = this.listener
    if (this.#draining || this.#socket === undefined) return undefined
    const plain = address.startsWith('::ffff:') ? address.slice(7) : address
    let place = uncounted
    if (filters.atAccept) {
      const refusal = filters.enter(plain)
      if (refusal !== '') {
        this.runtime.error(this.listener, refusal)
        return undefined
      }
      place = filters.place
    }
    // A new client: what is left beyond that is for members of those that are there.
    if (!shared.mayAccept()) {
      shared.sources.close(place)
      this.runtime.error(this.listener, 'descriptor-limit')
      return undefined
    }
    if (!shared.openConnection(plan.slot, plan.maxConnections)) {
      shared.sources.close(place)
      this.runtime.error(this.listener, 'udp-session-limit')
      return undefined
    }
    shared.addListener(plan.slot, ListenerField.connectionsTotal, 1)
    const session = new UdpSession(this, key, address, port, plain, place)
    this.#sessions.set(key, session)
    return session
  }

  /** To a client. */
  answer(data: Buffer, address: string, port: number): void {
    this.runtime.shared.addListener(this.listener.plan.slot, ListenerField.bytesOut, data.length)
    if (this.#socket?.send(data, address, port) === false) this.runtime.error(this.listener, 'udp-dropped')
  }

  /** A session has ended. */
  forget(session: UdpSession): void {
    this.#sessions.delete(session.key)
    const { shared } = this.runtime
    shared.sources.close(session.place)
    shared.closeConnection(this.listener.plan.slot)
    if (this.#draining && this.#sessions.size === 0) this.#close()
  }

  failed(): void {
    // Of the socket that listens: a datagram was lost on its way in.
  }

  sweep(nowMs: number): void {
    this.#followMembers()
    if (nowMs >= this.#deadlineMs) return this.#endLate()
    if (nowMs < this.#lookMs) return
    const { shared } = this.runtime
    const { udpTimeoutMs } = this.listener.plan.layer4
    let nextMs = nowMs + Math.min(udpTimeoutMs, longestLookMs)
    for (const session of this.#sessions.values()) {
      const endsMs = session.activeMs + udpTimeoutMs
      const { member } = session
      if (endsMs <= nowMs || (member !== undefined && !shared.keepsClients(member.slot))) session.end()
      else if (endsMs < nextMs) nextMs = endsMs
    }
    this.#lookMs = nextMs
  }

  /** Sessions with members that are down, or gone from the document, end: the client's next datagram goes to another. */
  #followMembers(): void {
    const { shared } = this.runtime
    const { pools, plan } = this.listener
    const version = shared.healthVersion()
    const changed = pools !== this.#pools
    if (version === this.#healthVersion && !changed) return
    this.#healthVersion = version
    this.#pools = pools
    const members = pools[plan.pool]?.plan.members ?? []
    for (const session of this.#sessions.values()) {
      const { member } = session
      if (member === undefined) continue
      if (!shared.keepsClients(member.slot) || (changed && !members.some((one) => sameMember(one, member)))) session.end()
    }
  }

  /** Takes no new clients; closes when the sessions that there are have ended. */
  drain(): void {
    this.#draining = true
    this.#deadlineMs = this.runtime.nowMs + this.listener.plan.layer4.drainMs
    if (this.#sessions.size === 0) this.#close()
  }

  #endLate(): void {
    for (let i = 0; i < this.#sessions.size; i++) this.runtime.error(this.listener, 'drain-timeout')
    this.close()
  }

  /** Ends all sessions, and closes. */
  close(): void {
    this.#draining = true
    for (const session of this.#sessions.values()) session.end()
    this.#close()
  }

  #close(): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    socket.close()
    this.runtime.shared.countDescriptors(-1)
    this.runtime.timed.delete(this)
    this.#gone()
  }
}

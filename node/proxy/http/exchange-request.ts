/**
 * The first half of an exchange: a request on its way to a member. Chooses one, waits in the queue of the pool if it must, takes a kept
 * connection or makes one, passes head and body on, and gives everything back. The answer is in `exchange.ts`.
 */
import { ListenerField, MemberField, type ErrorCode } from '../shared.ts'
import { choose, Stick } from '../persistence.ts'
import type { PoolRuntime } from '../pool.ts'
import type { Waiter } from '../queue.ts'
import type { Ticket } from '../wait-queue.ts'
import { sameMember, type ListenerRuntime, type Runtime } from '../runtime.ts'
import type { MemberPlan } from '../route/table.ts'
import { proxyHeader } from '../tcp/proxy-protocol.ts'
import type { Action } from './action.ts'
import { AnswerReader } from './answer-reader.ts'
import { ascii } from './bytes.ts'
import { Phase, type ExchangeClient } from './exchange-client.ts'
import { ExchangeRecord } from './exchange-record.ts'
import type { Head } from './head.ts'
import { KeptBody } from './kept-body.ts'
import type { MemberConnection, MemberPool, MemberUser } from './member.ts'
import { MemberHead } from './member-head.ts'

const nothing = Buffer.alloc(0)

export abstract class ExchangeRequest extends ExchangeRecord implements MemberUser, Waiter {
  protected readonly runtime: Runtime
  protected readonly members: MemberPool

  phase: number = Phase.none
  /** Part of an answer is out. */
  started = false
  /** The member waits until the client has taken what there is. */
  memberPaused = false
  /** Its place in the queue of the pool, while it waits there. */
  protected ticket: Ticket<Waiter> | undefined
  protected method = 0
  protected minor = 1
  protected upgrade = false
  protected hasBody = false
  protected readonly head = new MemberHead()
  /** What its route does with it; of the table that it began with. */
  protected action: Action
  /** When the route's time for the whole exchange is over; Infinity: it has none. */
  deadlineMs = Infinity
  /** Of the request's body, where the route wants it; undefined: never yet. */
  protected keptBody: KeptBody | undefined
  protected mirrored = false
  protected index = -1
  /** What the choice of a member depends on. */
  protected key = 0
  protected readonly tried: number[] = []
  /** What the client brought of its persistence; only where the pool has one. */
  protected stick: Stick | undefined
  protected connected: MemberConnection | undefined = undefined
  /** The connection that names this client in its PROXY header, between two requests: it is for nobody else. */
  protected own: MemberConnection | undefined
  /** When the last of the request was written to the member; only where the pool measures. */
  protected sentMs = 0

  protected interims = 0
  protected readonly reader = new AnswerReader()

  constructor(runtime: Runtime, listener: ListenerRuntime, members: MemberPool, client: ExchangeClient) {
    super(listener, client)
    this.runtime = runtime
    this.members = members
    this.action = listener.actions.at(-1)!
  }

  /** How many further members were tried. */
  get retries(): number {
    return Math.max(0, this.tried.length - 1)
  }


  // — to the member —

  /** Sends a request on to a member of the pool. `buffer` holds its head. */
  begin(pool: PoolRuntime, action: Action, head: Head, buffer: Buffer): void {
    this.pool = pool
    this.action = action
    this.method = head.method
    this.minor = head.minor
    this.upgrade = head.upgrade
    this.hasBody = head.chunked || head.contentLength > 0
    this.started = false
    this.interims = 0
    this.tried.length = 0
    if (pool.health.gated) {
      const refusal = pool.health.refuses()
      if (refusal !== '') return this.client.exchangeFailed(refusal)
    }
    // Chosen before the head is written: a request without Host gets the member's address.
    this.key = pool.keyOf(head, buffer, this.client.address)
    pool.persistence?.read((this.stick ??= new Stick()), head, buffer, this.client.address)
    const { queue } = pool
    // Nobody overtakes those who wait already.
    this.index = queue !== undefined && queue.waits ? -1 : this.choose(pool)
    if (this.index < 0 && (queue === undefined || !pool.full)) return this.client.exchangeFailed('no-member-available')
    this.member = this.index
    const { marks } = this.observer
    if (marks.on) {
      marks.read(head, buffer)
      if (this.note !== undefined) marks.note(this.note)
    }
    const memberHost = head.hostField < 0 ? this.memberHost() : nothing
    if (!this.head.write(this.runtime, this.listener, this.client, action, this.observer, head, buffer, memberHost)) return this.refuseTarget()
    this.deadlineMs = action.requestMs === 0 ? Infinity : this.runtime.nowMs + action.requestMs
    action.budget?.request(this.runtime.nowMs)
    if (action.keptBodyBytes > 0 && this.hasBody) (this.keptBody ??= new KeptBody()).begin(action.keptBodyBytes)
    this.mirrored = action.mirror === undefined
    if (!this.mirrored && !this.hasBody) this.mirror(nothing)
    if (this.index >= 0) return this.reach(true)
    this.phase = Phase.connecting
    this.client.memberAwaited()
    this.ticket = queue!.join(this, this.listener.plan.routes[this.route]?.priority, head, buffer, this.runtime)
    if (this.ticket === undefined) this.waitedInVain('queue-full')
  }

  // — in the queue of the pool, while all members are at their limits —

  takePlace(): boolean {
    this.index = this.choose(this.pool!)
    if (this.index < 0) return false
    this.ticket = undefined
    this.member = this.index
    this.chosenMs = performance.now()
    this.reach(true)
    return true
  }

  waitedInVain(code: ErrorCode): void {
    this.abandon()
    this.client.exchangeFailed(code)
  }

  get hopeless(): boolean {
    return !this.pool!.full
  }

  /** The route would make a target of it that is too long for one. */
  protected refuseTarget(): void {
    this.release()
    this.client.exchangeFailed('target-too-long')
  }

  /** Sends a copy of the request to the route's shadow pool, when its turn is. */
  protected mirror(body: Buffer): void {
    this.mirrored = true
    const { mirrorPool } = this.action
    if (this.upgrade || mirrorPool === undefined || !this.action.copies()) return
    const sent = this.members.mirrors.send(mirrorPool, this.method, Buffer.concat([this.head.bytes.subarray(0, this.head.length), body]))
    this.runtime.shared.addListener(this.listener.plan.slot, sent ? ListenerField.copies : ListenerField.copiesSkipped, 1)
  }

  protected choose(pool: PoolRuntime): number {
    const { persistence } = pool
    return persistence === undefined ? pool.pick(this.tried, this.key) : choose(persistence, this.stick!, pool, this.tried, this.key)
  }

  /** Adds to the head of an answer, `[0, length)` of the scratch buffer, what keeps the client on its member. @returns the new length */
  protected stickTo(head: Head, buffer: Buffer, length: number): number {
    const { persistence } = this.pool!
    if (persistence === undefined) return length
    return persistence.answered(this.stick!, this.index, head, buffer, this.runtime.scratch, length, this.client.connection.tls !== undefined)
  }

  protected via(head: Head): Uint8Array {
    return head.minor === 0 ? this.runtime.via10 : this.runtime.via
  }

  protected memberHost(): Uint8Array {
    // One that waits has none yet.
    const { address, port } = this.pool!.plan.members[Math.max(0, this.index)]!
    return ascii(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)
  }

  /** Takes a kept connection to the chosen member, or makes one. */
  protected reach(mayReuse: boolean): void {
    const member = this.pool!.plan.members[this.index]!
    this.tried.push(this.index)
    const kept = mayReuse ? this.takeKept(member) : undefined
    if (kept !== undefined) {
      this.connected = kept
      this.memberConnected()
      return
    }
    this.phase = Phase.connecting
    this.client.activeMs = this.runtime.nowMs
    this.client.memberAwaited()
    const { proxyVersion } = this.pool!.plan
    const first = proxyVersion === 0 ? undefined : proxyHeader(proxyVersion, this.client.connection.endpoints)
    this.connected = this.members.connect(member, this, first)
  }

  protected takeKept(member: MemberPlan): MemberConnection | undefined {
    if (this.pool!.plan.proxyVersion === 0) return this.members.take(member, this)
    const own = this.own
    this.own = undefined
    if (own === undefined) return undefined
    if (!own.usable || !sameMember(own.plan, member) || own.tls !== this.runtime.memberTls(member)) {
      own.discard()
      return undefined
    }
    own.user = this
    own.uses++
    return own
  }

  memberConnected(): void {
    this.runtime.shared.addMember(this.slot(), MemberField.requests, 1)
    this.connectedMs = this.phase === Phase.connecting ? performance.now() : this.chosenMs
    this.phase = Phase.awaited
    this.client.activeMs = this.runtime.nowMs
    if (this.pool!.measures) this.sentMs = performance.now()
    this.connected!.connection.write(this.head.bytes.subarray(0, this.head.length))
    // What another member has had of the body already.
    if (this.hasBody && this.tried.length > 1 && this.keptBody !== undefined && this.action.keptBodyBytes > 0) {
      const { bytes } = this.keptBody
      if (bytes.length > 0) this.connected!.connection.write(Buffer.from(bytes))
    }
    // After another member had refused, the body waits.
    this.client.memberReady()
  }

  /** Passes bytes of the body on. @returns false: stop until `memberDrained` */
  sendBody(buffer: Buffer, start: number, end: number): boolean {
    if (this.pool!.measures) this.sentMs = performance.now()
    this.bytesIn += end - start
    if (this.action.keptBodyBytes > 0) this.keepBody(buffer, start, end)
    return this.connected === undefined || this.runtime.forward(this.connected.connection, buffer, start, end)
  }

  protected keepBody(buffer: Buffer, start: number, end: number): void {
    const kept = this.keptBody!
    kept.add(buffer, start, end)
    if (this.mirrored || !this.client.requestComplete) return
    const { maxBodyBytes } = this.action.mirror!
    if (kept.isWithin(maxBodyBytes)) this.mirror(kept.bytes)
  }

  memberDrained(): void {
    this.client.activeMs = this.runtime.nowMs
    this.client.memberDrained()
  }

  abstract memberReceived(buffer: Buffer, start: number, end: number): void
  abstract memberEnded(): void
  abstract memberClosed(error: string): void

  // — ends —

  /** Tells the balancing how long the member took, or that it failed. */
  protected measured(success: boolean): void {
    const { shared } = this.runtime
    if (success) shared.recordLatency(this.slot(), Math.round((performance.now() - this.sentMs) * 1000))
    else shared.recordFailure(this.slot())
  }

  /** Ends the exchange without an answer; the member sees it break off. */
  abandon(): void {
    if (this.ticket !== undefined) {
      this.pool!.queue!.leave(this.ticket, this.runtime)
      this.ticket = undefined
    }
    this.connected?.discard()
    this.release()
    this.phase = Phase.none
  }

  protected slot(): number {
    return this.pool!.plan.members[this.index]!.slot
  }

  /** Gives the member's place back. */
  protected release(): void {
    if (this.index >= 0) this.pool!.release(this.index)
    this.index = -1
    this.connected = undefined
    this.memberPaused = false
    this.reader.reset()
  }

  /** Ends the exchange if its member has been draining for too long. @returns whether it has */
  endIfDrained(): boolean {
    if (this.index < 0 || !this.runtime.shared.isCut(this.slot())) return false
    this.abandon()
    this.client.lastExchange = true
    this.client.exchangeFailed('member-drained')
    return true
  }

  /** The route's time for the whole exchange is over. */
  expire(): void {
    this.abandon()
    this.client.exchangeFailed('route-timeout')
  }

  /** Longest silence of a tunnel, milliseconds. */
  get tunnelMs(): number {
    return this.action.tunnelMs === 0 ? this.listener.plan.tunnelMs : this.action.tunnelMs
  }

  /** There will be no other exchange. */
  clientGone(): void {
    this.own?.discard()
    this.own = undefined
  }
}

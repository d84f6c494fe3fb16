/** A connection to a member: for one exchange at a time, kept for the next. And the idle ones of a worker. */
import type { MemberPlan, PoolPlan } from '../route/table.ts'
import type { Runtime, Timed } from '../runtime.ts'
import { Mirrors } from './mirror.ts'
import type { ClientTls, Connection, ConnectionOwner } from '../transport/transport.ts'

/** What an exchange wants to hear of its member connection. */
export interface MemberUser {
  memberConnected(): void
  memberReceived(buffer: Buffer, start: number, end: number): void
  memberEnded(): void
  memberDrained(): void
  memberClosed(error: string): void
}

export class MemberConnection implements ConnectionOwner {
  readonly plan: MemberPlan
  readonly connection: Connection
  /** How it was secured; another one since then, and it is not used again. */
  readonly tls: ClientTls | undefined
  readonly #pool: MemberPool
  user: MemberUser | undefined
  established = false
  /** Exchanges so far: more than one means that it was kept. */
  uses = 1
  closed_ = false
  idleUntilMs = Infinity

  constructor(plan: MemberPlan, pool: MemberPool, user: MemberUser, runtime: Runtime, first: Buffer | undefined) {
    this.plan = plan
    this.#pool = pool
    this.user = user
    this.tls = runtime.memberTls(plan)
    this.connection = runtime.transport.connect(plan.address, plan.port, this, this.tls, first)
  }

  get usable(): boolean {
    return !this.closed_
  }

  connected(): void {
    this.established = true
    this.user?.memberConnected()
  }
  received(_connection: Connection, buffer: Buffer, start: number, end: number): void {
    // Bytes that nobody asked for: what follows could not be told from an answer.
    if (this.user === undefined) this.discard()
    else this.user.memberReceived(buffer, start, end)
  }
  ended(): void {
    if (this.user === undefined) this.discard()
    else this.user.memberEnded()
  }
  drained(): void {
    this.user?.memberDrained()
  }
  closed(_connection: Connection, error: string): void {
    this.closed_ = true
    const { user } = this
    this.user = undefined
    if (user === undefined) this.#pool.forget(this)
    else user.memberClosed(error)
  }

  /** Closes it; the user hears nothing any more. */
  discard(): void {
    const idle = this.user === undefined
    this.user = undefined
    this.closed_ = true
    if (idle) this.#pool.forget(this)
    this.connection.close()
  }
}

/** Idle connections by member. The one used last is used next: the others can run out. */
export class MemberPool implements Timed {
  readonly #runtime: Runtime
  readonly #idle = new Map<number, MemberConnection[]>()
  /** Copies of requests that nobody waits for. */
  readonly mirrors: Mirrors

  constructor(runtime: Runtime) {
    this.#runtime = runtime
    this.mirrors = new Mirrors(runtime, this)
    runtime.timed.add(this)
  }

  /** An idle connection to this member, if there is one. */
  take(member: MemberPlan, user: MemberUser): MemberConnection | undefined {
    const list = this.#idle.get(member.slot)
    if (list === undefined) return undefined
    for (;;) {
      const connection = list.pop()
      if (connection === undefined) return undefined
      if (!connection.usable || connection.plan.address !== member.address || connection.plan.port !== member.port || connection.tls !== this.#runtime.memberTls(member)) {
        connection.user = user
        connection.discard()
        continue
      }
      connection.user = user
      connection.uses++
      return connection
    }
  }

  /** @param first sent before everything else */
  connect(member: MemberPlan, user: MemberUser, first?: Buffer): MemberConnection {
    return new MemberConnection(member, this, user, this.#runtime, first)
  }

  /** Takes a connection back after an exchange that ended in order. */
  give(connection: MemberConnection, pool: PoolPlan): void {
    connection.user = undefined
    const { slot } = connection.plan
    let list = this.#idle.get(slot)
    if (list === undefined) this.#idle.set(slot, (list = []))
    if (!connection.usable || list.length >= pool.maxIdle) return connection.discard()
    connection.idleUntilMs = this.#runtime.nowMs + pool.keepAliveMs
    list.push(connection)
  }

  forget(connection: MemberConnection): void {
    const list = this.#idle.get(connection.plan.slot)
    const at = list?.indexOf(connection) ?? -1
    if (at >= 0) list!.splice(at, 1)
  }

  /** Closes idle connections to members that are not wanted any more. */
  keepOnly(wanted: (member: MemberPlan) => boolean): void {
    for (const list of this.#idle.values()) {
      for (const connection of list.filter(({ plan }) => !wanted(plan))) connection.discard()
    }
  }

  sweep(nowMs: number): void {
    for (const [slot, list] of this.#idle) {
      // Its drain timeout has passed: nothing of it stays.
      const drained = list.length > 0 && this.#runtime.shared.isCut(slot)
      // The oldest are in front.
      while (list.length > 0 && (drained || list[0]!.idleUntilMs <= nowMs)) list[0]!.discard()
    }
  }

  closeAll(): void {
    this.keepOnly(() => false)
    this.#runtime.timed.delete(this)
  }
}

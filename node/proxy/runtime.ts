/**
 * What one worker works with: the listeners in force; the transport; shared memory; the coarse clock; and the list of
 * everything that has a deadline.
 */
import { Filters, type FilterSurroundings } from './filters/filters.ts'
import { Observer, ObserverWorker } from './filters/observer.ts'
import { actionsOf, type Action } from './http/action.ts'
import { ascii } from './http/bytes.ts'
import { Head } from './http/head.ts'
import type { PoolRuntime } from './pool.ts'
import { Queues } from './queue.ts'
import { Matcher } from './route/matcher.ts'
import type { ListenerPlan, MemberPlan } from './route/table.ts'
import type { ErrorCode, Shared } from './shared.ts'
import { TlsContexts } from './tls/contexts.ts'
import type { ClientTls, Connection, ServerTls, Transport } from './transport/transport.ts'

/** Largest piece that is copied and written at once: a read of the transport and a head. */
export const scratchBytes = 64 * 1024 + 70 * 1024

/** Deadlines are looked at this often; a timeout is late by at most this. */
export const sweepEveryMs = 100

/** Something with a deadline. */
export interface Timed {
  /** Called at every sweep with the coarse clock. */
  sweep(nowMs: number): void
}

/** A listener in force. The object stays while the listener does; `plan` and `matcher` follow the newest table. */
export class ListenerRuntime {
  plan: ListenerPlan
  matcher: Matcher
  pools: readonly PoolRuntime[]
  /** What each route does, by its index; the last one is for what no route takes. */
  actions: readonly Action[]
  /** What its connections and requests pass through, and what is written down of them; they follow the table too. */
  filters: Filters
  observer: Observer
  readonly #runtime: Runtime
  /** For new handshakes; undefined: the plan has none, or it could not be prepared. */
  tls: ServerTls | undefined
  /** Why the TLS of the newest plan is not in force; empty: it is. What was there before stays. */
  tlsError = ''
  /** Handshakes that go on. */
  handshakes = 0
  /** Removed: connections end after what they are doing. */
  closing = false

  constructor(plan: ListenerPlan, pools: readonly PoolRuntime[], runtime: Runtime) {
    this.#runtime = runtime
    this.filters = runtime.filtersOf(plan)
    this.observer = new Observer(plan, runtime.observers)
    this.plan = plan
    this.pools = pools
    this.matcher = new Matcher(plan, ascii)
    this.actions = actionsOf(plan, pools, [], runtime.randomOffset())
    this.#prepareTls()
  }

  update(plan: ListenerPlan, pools: readonly PoolRuntime[]): void {
    this.filters = this.#runtime.filtersOf(plan)
    this.observer = new Observer(plan, this.#runtime.observers)
    this.plan = plan
    this.pools = pools
    this.matcher = new Matcher(plan, ascii)
    this.actions = actionsOf(plan, pools, this.actions, this.#runtime.randomOffset())
    this.#prepareTls()
  }

  #prepareTls(): void {
    const { tls, name } = this.plan
    const prepared = tls === undefined ? undefined : this.#runtime.tls.forListener(tls, name)
    this.tlsError = prepared === undefined || prepared.ok ? '' : prepared.error
    if (prepared === undefined || prepared.ok) this.tls = prepared?.tls
  }
}

export class Runtime {
  readonly transport: Transport
  readonly shared: Shared
  /** For `Via`, after a message of HTTP/1.1 and of HTTP/1.0 (RFC 9110 §7.6.3: the protocol that it was received with). */
  readonly via: Buffer
  readonly via10: Buffer
  /** Coarse: milliseconds, moved on by every sweep. */
  nowMs: number
  readonly timed = new Set<Timed>()
  readonly tls = new TlsContexts()
  readonly requestHead = new Head()
  readonly responseHead = new Head()
  readonly observers: ObserverWorker
  readonly queues: Queues
  readonly #filtering: FilterSurroundings
  /** For building what is written at once. Replaced when the kernel did not take it. */
  scratch: Buffer = Buffer.allocUnsafeSlow(scratchBytes)

  constructor(transport: Transport, shared: Shared, nodeId: string, nowMs: number) {
    this.transport = transport
    this.shared = shared
    this.via = ascii(`1.1 ${nodeId}`)
    this.via10 = ascii(`1.0 ${nodeId}`)
    this.nowMs = nowMs
    this.queues = new Queues(shared)
    const [a, b, c, d] = crypto.getRandomValues(new Uint32Array(4))
    this.observers = new ObserverWorker(shared.traffic, shared.logRings, [a!, b!, c!, d! | 1])
    // The zero of `performance.now()` is another one in each worker.
    const zeroMs = Number(process.hrtime.bigint()) / 1e6 - performance.now()
    this.#filtering = { hash: shared.keyHash, sources: shared.sources, zeroMs }
  }

  /** Where a worker begins in an order that others walk through too. */
  randomOffset(): number {
    return Math.floor(Math.random() * 65_536)
  }

  filtersOf(plan: ListenerPlan): Filters {
    return new Filters(plan.filters, plan.slot, plan.protocol === 'http', this.#filtering)
  }

  /** How connections to a member are secured; undefined: they are plain. */
  memberTls(member: MemberPlan): ClientTls | undefined {
    return member.tls === undefined ? undefined : this.tls.forPool(member.tls)
  }

  /** The scratch buffer, with room for a head of so many bytes: the largest ones with all that a route may set are larger than it usually is. */
  scratchFor(bytes: number): Buffer {
    if (this.scratch.length < bytes) this.scratch = Buffer.allocUnsafeSlow(bytes)
    return this.scratch
  }

  sweep(nowMs: number): void {
    this.nowMs = nowMs
    this.observers.flush()
    this.queues.sweep(nowMs)
    for (const one of this.timed) one.sweep(nowMs)
  }

  /** Writes `[0, length)` of the scratch buffer. */
  writeScratch(connection: Connection, length: number): boolean {
    // While a connection holds bytes, each further piece would hold a whole scratch buffer: many small ones would cost much.
    if (connection.copies === true) return connection.write(this.scratch.subarray(0, length))
    if (!connection.flushed) return connection.write(Buffer.from(this.scratch.subarray(0, length)))
    const ok = connection.write(this.scratch.subarray(0, length))
    if (!connection.flushed) this.scratch = Buffer.allocUnsafeSlow(scratchBytes)
    return ok
  }

  /** Copies a piece that is valid only now and writes it. Pieces are at most one read of the transport. */
  forward(connection: Connection, buffer: Buffer, start: number, end: number): boolean {
    let ok = true
    for (let at = start; at < end; ) {
      const to = Math.min(end, at + scratchBytes)
      buffer.copy(this.scratch, 0, at, to)
      ok = this.writeScratch(connection, to - at)
      at = to
    }
    return ok
  }

  error(listener: ListenerRuntime, code: ErrorCode): void {
    this.shared.addError(listener.plan.slot, code)
  }
}

export function sameMember(a: MemberPlan, b: MemberPlan): boolean {
  return a.slot === b.slot && a.address === b.address && a.port === b.port
}

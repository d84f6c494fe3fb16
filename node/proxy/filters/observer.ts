/**
 * What is written down of each request and session at its end: counts and histograms by route, pool and member, and a line of the access
 * log where the listener has one. One object for each listener and table.
 */
import { AccessLines, RequestNote, type AccessRecord } from '../../observe/access-line.ts'
import { bucketOf } from '../../observe/histogram.ts'
import { LineRing } from '../../observe/line-ring.ts'
import type { Traffic } from '../../observe/traffic.ts'
import { ascii } from '../http/bytes.ts'
import type { PoolRuntime } from '../pool.ts'
import type { ListenerPlan } from '../route/table.ts'
import { errorCodes, type ErrorCode } from '../shared.ts'
import type { Connection } from '../transport/transport.ts'
import { RandomWords, RequestMarks } from './request-id.ts'

/** A request or session that is over. Times are `performance.now()` of this worker, milliseconds; 0: it did not come to that. */
export interface Finished {
  /** Index into the listener plan's `routes`, -1: none. */
  readonly route: number
  readonly pool: PoolRuntime | undefined
  /** Index into the pool's members, -1: none. */
  readonly member: number
  readonly status: number
  readonly arrivedMs: number
  /** A member was chosen, after the queue. */
  readonly chosenMs: number
  readonly connectedMs: number
  readonly answeredMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly retries: number
  /** What the log says of the request; undefined for sessions. */
  readonly note: RequestNote | undefined
}

/** What is known of a tcp or udp session, as it goes on. */
export class SessionFacts implements Finished {
  readonly route = -1
  readonly pool: PoolRuntime | undefined
  member = -1
  readonly status = 0
  readonly arrivedMs = performance.now()
  chosenMs = 0
  connectedMs = 0
  readonly answeredMs = 0
  bytesIn = 0
  bytesOut = 0
  retries = 0
  readonly note = undefined
  /** Why it ended; '' when that was in order. */
  code: ErrorCode | '' = ''
  readonly #observer: Observer

  constructor(pool: PoolRuntime | undefined, observer: Observer) {
    this.pool = pool
    this.#observer = observer
  }

  /** A member was chosen. */
  chosen(member: number): void {
    if (this.member >= 0) this.retries++
    this.member = member
    this.chosenMs = performance.now()
  }

  /** The session is over; called once. */
  finish(connection: Connection | undefined, client: Uint8Array): void {
    this.#observer.finished(this, this.code, connection, client, performance.now())
  }
}

/** The lines of one worker on their way to one ring: gathered, and handed over many at a time. */
class LogSink {
  readonly #lines = new AccessLines(Buffer.allocUnsafeSlow(64 * 1024))
  readonly #ring: LineRing

  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new LineRing(buffer)
  }
  /** Where the next line goes: there is room for it. */
  get lines(): AccessLines {
    if (!this.#lines.room) this.flush()
    return this.#lines
  }
  flush(): void {
    if (this.#lines.length === 0) return
    this.#ring.write(this.#lines.buffer, this.#lines.length, this.#lines.lines)
    this.#lines.clear()
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

const none = new Uint8Array(0)

/** What the observers of a worker share. */
export class ObserverWorker {
  readonly traffic: Traffic
  readonly random: RandomWords
  /** The wall clock when `performance.now()` was zero, milliseconds since the epoch; it follows when the clock is set. */
  epochMs = Date.now() - performance.now()
  /** Sinks by destination, made when the first listener wants one. */
  readonly #rings: { readonly file: SharedArrayBuffer; readonly stdout: SharedArrayBuffer }
  #file: LogSink | undefined
  #stdout: LogSink | undefined
  readonly record: Mutable<AccessRecord> = {
    atEpochMs: 0, protocol: '', listener: none, client: none, route: none, pool: none, member: none, note: undefined, status: 0, bytesIn: 0,
    bytesOut: 0, queueMs: 0, connectMs: 0, firstByteMs: -1, totalMs: 0, error: '', retries: 0, tlsVersion: '', sni: '',
  }

  constructor(traffic: Traffic, rings: ObserverWorker['rings'], seed: readonly [number, number, number, number]) {
    this.traffic = traffic
    this.#rings = rings
    this.random = new RandomWords(seed)
  }
  get rings(): { readonly file: SharedArrayBuffer; readonly stdout: SharedArrayBuffer } {
    return this.#rings
  }

  sink(destination: 'file' | 'stdout'): LogSink {
    if (destination === 'file') return (this.#file ??= new LogSink(this.#rings.file))
    return (this.#stdout ??= new LogSink(this.#rings.stdout))
  }

  /** Hands over what has been gathered: at every sweep, and at the end. */
  flush(): void {
    this.epochMs = Date.now() - performance.now()
    this.#file?.flush()
    this.#stdout?.flush()
  }
}

export class Observer {
  readonly marks: RequestMarks
  /** Whether a request has to be noted (`note`) when its head is there. */
  readonly notes: boolean
  readonly #worker: ObserverWorker
  readonly #plan: ListenerPlan
  readonly #name: Uint8Array
  readonly #routeNames: readonly Uint8Array[]
  readonly #routeRows: readonly number[]
  /** Names of pools and their members, as bytes. */
  readonly #poolNames = new Map<PoolRuntime, { readonly name: Uint8Array; readonly members: readonly Uint8Array[] }>()

  constructor(plan: ListenerPlan, worker: ObserverWorker) {
    this.#plan = plan
    this.#worker = worker
    this.marks = new RequestMarks(plan.filters, worker.random)
    this.notes = plan.filters.accessLog !== undefined || this.marks.responds
    this.#name = ascii(plan.name)
    this.#routeNames = plan.routes.map((route) => ascii(route.name))
    this.#routeRows = plan.routes.map((route) => worker.traffic.row('routes', route.slot))
  }

  /** Whether this request is among those that are logged. */
  sampled(): boolean {
    const share = this.#plan.filters.accessLog?.share ?? 0
    return share >= 1 || (share > 0 && this.#worker.random.next() < share * 0x1_0000_0000)
  }

  /**
   * Counts a request or session that is over; called exactly once for each.
   * @param code '' when all went well
   * @param endMs now, on the clock of its other times
   */
  finished(what: Finished, code: ErrorCode | '', connection: Connection | undefined, client: Uint8Array, endMs: number): void {
    const { traffic } = this.#worker
    const totalMs = Math.max(0, endMs - what.arrivedMs)
    const firstByteMs = what.answeredMs > 0 ? Math.max(0, what.answeredMs - what.arrivedMs) : -1
    const totalBucket = bucketOf(totalMs)
    const firstByteBucket = firstByteMs < 0 ? 0 : bucketOf(firstByteMs)
    const failure = code === '' ? -1 : errorCodes.indexOf(code)
    const { status, bytesIn, bytesOut, route, pool, member } = what
    if (route >= 0 && route < this.#routeRows.length) {
      traffic.add(this.#routeRows[route]!, status, failure, bytesIn, bytesOut, firstByteMs, firstByteBucket, totalMs, totalBucket)
    }
    if (pool !== undefined) {
      traffic.add(traffic.row('pools', pool.plan.slot), status, failure, bytesIn, bytesOut, firstByteMs, firstByteBucket, totalMs, totalBucket)
      if (member >= 0) {
        const { slot } = pool.plan.members[member]!
        traffic.add(traffic.row('members', slot), status, failure, bytesIn, bytesOut, firstByteMs, firstByteBucket, totalMs, totalBucket)
      }
    }
    const { accessLog } = this.#plan.filters
    if (accessLog === undefined) return
    if (failure < 0 && !(what.note === undefined ? this.sampled() : what.note.sampled)) return
    this.#log(accessLog, what, code, connection, client, firstByteMs, totalMs, endMs)
  }

  #log(accessLog: NonNullable<ListenerPlan['filters']['accessLog']>, what: Finished, code: ErrorCode | '', connection: Connection | undefined, client: Uint8Array, firstByteMs: number, totalMs: number, endMs: number): void {
    const { record } = this.#worker
    const names = what.pool === undefined ? undefined : this.#namesOf(what.pool)
    const { protocol } = this.#plan
    record.atEpochMs = endMs + this.#worker.epochMs
    record.protocol = protocol
    record.listener = this.#name
    record.client = client
    record.route = what.route < 0 ? none : (this.#routeNames[what.route] ?? none)
    record.pool = names?.name ?? none
    record.member = names?.members[what.member] ?? none
    record.note = what.note
    record.status = what.status
    record.bytesIn = what.bytesIn
    record.bytesOut = what.bytesOut
    record.queueMs = what.chosenMs > 0 ? what.chosenMs - what.arrivedMs : 0
    record.connectMs = what.connectedMs > 0 && what.chosenMs > 0 ? what.connectedMs - what.chosenMs : 0
    record.firstByteMs = firstByteMs
    record.totalMs = totalMs
    record.error = code
    record.retries = what.retries
    const tls = connection?.tls
    record.tlsVersion = tls?.version ?? ''
    record.sni = tls?.serverName ?? ''
    this.#worker.sink(accessLog.destination).lines.add(accessLog.format, record)
  }

  #namesOf(pool: PoolRuntime): { readonly name: Uint8Array; readonly members: readonly Uint8Array[] } {
    let names = this.#poolNames.get(pool)
    if (names === undefined) {
      names = { name: ascii(pool.plan.name), members: pool.plan.members.map((member) => ascii(member.name)) }
      // Requests of an older table may still end here, and their pools must not gather.
      if (this.#poolNames.size > 4096) this.#poolNames.clear()
      this.#poolNames.set(pool, names)
    }
    return names
  }
}

/**
 * The memory that workers and main thread share. Counters have one writer each (a worker writes its own rows, the main thread
 * sums them up); what several write is changed by Atomics: active connections, cursors, connection limits.
 */
import { randomBytes } from 'node:crypto'
import type { MemberHealth } from '../observe/counters.ts'
import { descriptorLimits, type DescriptorLimits } from './descriptors.ts'
import { allocateRing } from '../observe/line-ring.ts'
import { allocateTraffic, Traffic, type TrafficSizes } from '../observe/traffic.ts'
import { KeyHash } from './filters/rate-table.ts'
import { allocateSourceConnections, SourceConnections } from './filters/source-connections.ts'
import { circuitCells } from '../health/circuit.ts'
import { failureUs, faded, peakEwma } from './balance/least-response-time.ts'
import { sixteenths } from './balance/weights.ts'

/** Twice what a document may have, so that a new document finds places beside those of the one before. */
export const maxListeners = 8192
export const maxMembers = 40_960
export const maxPools = 8192
export const maxRoutes = 40_960

/** Fields of a listener's row, in this order; error counts follow. */
export const ListenerField = { connectionsTotal: 0, requests: 1, status1: 2, bytesIn: 7, bytesOut: 8, retries: 9, retriesRefused: 10, copies: 11, copiesSkipped: 12, errors: 13 } as const
/** `answers`, `latencyUs`: only where the pool's balancing asks for them (`PoolRuntime.measures`). */
export const MemberField = { requests: 0, connectFailures: 1, errors: 2, answers: 3, latencyUs: 4 } as const

/** Stable codes of answers that Haechi itself made and of connections that it ended. Appended to, never reordered. */
export const errorCodes = [
  'bad-request', 'head-too-large', 'target-too-long', 'request-timeout', 'no-route', 'no-member-available', 'member-connect-failed',
  'member-connect-timeout', 'member-timeout', 'member-closed', 'bad-member-response', 'not-implemented', 'version-not-supported',
  'client-closed', 'client-timeout', 'connection-limit', 'expectation-failed', 'tunnel-timeout', 'body-malformed',
  'udp-session-limit', 'udp-dropped', 'proxy-header-invalid', 'proxy-header-timeout', 'drain-timeout', 'descriptor-limit', 'client-reset',
  'member-reset',
  'address-denied', 'rate-limited', 'source-connection-limit', 'queue-full', 'queue-timeout',
  'circuit-open', 'maintenance', 'member-drained',
  'route-timeout',
  'tls-handshake-failed', 'tls-handshake-timeout', 'tls-handshake-limit', 'tls-name-refused', 'tls-certificate-refused', 'tls-hello-invalid', 'member-tls-failed',
] as const
export type ErrorCode = (typeof errorCodes)[number]
const trafficSizes: TrafficSizes = { codes: errorCodes, routes: maxRoutes, pools: maxPools, members: maxMembers }

const listenerStride = ListenerField.errors + errorCodes.length
const memberStride = 5

export const healthValues: readonly MemberHealth[] = ['checking', 'up', 'down', 'draining', 'disabled', 'ejected']

export interface SharedBuffers {
  readonly workers: number
  readonly listeners: SharedArrayBuffer
  readonly members: SharedArrayBuffer
  readonly connections: SharedArrayBuffer
  readonly active: SharedArrayBuffer
  readonly poolActive: SharedArrayBuffer
  /** Each worker's own part of `connections`, `active` and `poolActive`: given back by the main thread when the worker dies. */
  readonly connectionParts: SharedArrayBuffer
  readonly activeParts: SharedArrayBuffer
  readonly poolActiveParts: SharedArrayBuffer
  readonly health: SharedArrayBuffer
  readonly cursors: SharedArrayBuffer
  readonly versions: SharedArrayBuffer
  /** Turns of each worker's timer. */
  readonly turns: SharedArrayBuffer
  /** Descriptors in use: of all workers, then each worker's own part. */
  readonly descriptors: SharedArrayBuffer
  readonly descriptorLimits: DescriptorLimits
  readonly traffic: SharedArrayBuffer
  readonly sources: SharedArrayBuffer
  /** Requests that wait for a place by pool, in all and by worker; and how often a place has become free while some did. */
  readonly waiting: SharedArrayBuffer
  /** Lines of the access log on their way to the main thread, by worker. */
  readonly logToFile: readonly SharedArrayBuffer[]
  readonly logToStdout: readonly SharedArrayBuffer[]
  /** Secret of the hashes of keys, so that nobody can choose keys that share a place. */
  readonly hashSeeds: readonly [number, number]
  /** Per member: peak EWMA of its latency in microseconds, and when it was written. */
  readonly latencies: SharedArrayBuffer
  /** Per member and `Factor`: what its weight is reduced by, sixteenths. */
  readonly reductions: SharedArrayBuffer
  /** Per member: failures in a row, of all workers; and behind all of them, per member: failures in all. */
  readonly failures: SharedArrayBuffer
  /** Per member, 1: what it still has is to be closed. */
  readonly cuts: SharedArrayBuffer
  /** Per pool: the cells of its circuit breaker. */
  readonly circuits: SharedArrayBuffer
}

/** What the weight of a member is multiplied by; written by the main thread. */
export const Factor = { slowStart: 0, dynamic: 1 } as const

/** From this thread's clock to one that all threads share: milliseconds since the machine started. */
const sharedClockOffsetMs = Number(process.hrtime.bigint() / 1000n) / 1000 - performance.now()
function sharedNowMs(): number {
  // In 32 bits it goes round after 49 days: only differences of it are looked at.
  return (performance.now() + sharedClockOffsetMs) | 0
}

export function allocate(workers: number, limits: DescriptorLimits = descriptorLimits(Infinity, workers)): SharedBuffers {
  return {
    workers,
    listeners: new SharedArrayBuffer(8 * workers * maxListeners * listenerStride),
    members: new SharedArrayBuffer(8 * workers * maxMembers * memberStride),
    connections: new SharedArrayBuffer(4 * maxListeners),
    active: new SharedArrayBuffer(4 * maxMembers),
    connectionParts: new SharedArrayBuffer(4 * workers * maxListeners),
    activeParts: new SharedArrayBuffer(4 * workers * maxMembers),
    poolActive: new SharedArrayBuffer(4 * maxPools),
    poolActiveParts: new SharedArrayBuffer(4 * workers * maxPools),
    health: new SharedArrayBuffer(maxMembers),
    cursors: new SharedArrayBuffer(4 * maxPools),
    versions: new SharedArrayBuffer(4),
    turns: new SharedArrayBuffer(4 * workers),
    descriptors: new SharedArrayBuffer(4 * (workers + 1)),
    descriptorLimits: limits,
    traffic: allocateTraffic(workers, trafficSizes),
    sources: allocateSourceConnections(workers),
    waiting: new SharedArrayBuffer(4 * (2 + maxPools * (1 + workers))),
    logToFile: Array.from({ length: workers }, allocateRing),
    logToStdout: Array.from({ length: workers }, allocateRing),
    hashSeeds: [randomBytes(4).readInt32LE(), randomBytes(4).readInt32LE()],
    latencies: new SharedArrayBuffer(2 * 4 * maxMembers),
    reductions: new SharedArrayBuffer(2 * maxMembers),
    failures: new SharedArrayBuffer(2 * 4 * maxMembers),
    cuts: new SharedArrayBuffer(maxMembers),
    circuits: new SharedArrayBuffer(4 * circuitCells * maxPools),
  }
}

/** Views on the shared memory; `worker`: whose rows `add…` writes. */
export class Shared {
  readonly traffic: Traffic
  readonly sources: SourceConnections
  readonly keyHash: KeyHash
  /** Of this worker, to the main thread. */
  readonly logRings: { readonly file: SharedArrayBuffer; readonly stdout: SharedArrayBuffer }
  readonly #listeners: Float64Array
  readonly #members: Float64Array
  readonly #connections: Int32Array
  readonly #active: Int32Array
  readonly #connectionParts: Int32Array
  readonly #activeParts: Int32Array
  readonly #poolActive: Int32Array
  readonly #poolActiveParts: Int32Array
  readonly #health: Uint8Array
  readonly #cursors: Int32Array
  readonly #versions: Int32Array
  readonly #turns: Int32Array
  /** How often a place has become free while some waited; how many wait in all; by pool; by worker and pool. */
  readonly #waiting: Int32Array
  readonly #descriptors: Int32Array
  readonly #descriptorLimits: DescriptorLimits
  readonly #latencies: Int32Array
  readonly #reductions: Uint8Array
  /** Failures in a row per member: `PoolHealth` counts, `MemberWatch` decides. */
  readonly failures: Int32Array
  /** Failures in all per member. Goes round: only differences are looked at. */
  readonly failuresTotal: Int32Array
  readonly circuits: Int32Array
  readonly #cuts: Uint8Array
  /** Coarse, of the clock that all threads share. */
  #nowMs = sharedNowMs()
  readonly #workers: number
  readonly #listenerRow: number
  readonly #memberRow: number
  /** Main thread: what a place had counted for an earlier name. */
  readonly #listenerBase = new Map<number, readonly number[]>()
  readonly #memberBase = new Map<number, readonly number[]>()
  readonly #worker: number

  constructor(buffers: SharedBuffers, worker: number) {
    this.#listeners = new Float64Array(buffers.listeners)
    this.#members = new Float64Array(buffers.members)
    this.#connections = new Int32Array(buffers.connections)
    this.#active = new Int32Array(buffers.active)
    this.#connectionParts = new Int32Array(buffers.connectionParts)
    this.#activeParts = new Int32Array(buffers.activeParts)
    this.#poolActive = new Int32Array(buffers.poolActive)
    this.#poolActiveParts = new Int32Array(buffers.poolActiveParts)
    this.#health = new Uint8Array(buffers.health)
    this.#cursors = new Int32Array(buffers.cursors)
    this.#versions = new Int32Array(buffers.versions)
    this.#turns = new Int32Array(buffers.turns)
    this.#waiting = new Int32Array(buffers.waiting)
    this.#descriptors = new Int32Array(buffers.descriptors)
    this.#descriptorLimits = buffers.descriptorLimits
    this.#latencies = new Int32Array(buffers.latencies)
    this.#reductions = new Uint8Array(buffers.reductions)
    this.failures = new Int32Array(buffers.failures, 0, maxMembers)
    this.failuresTotal = new Int32Array(buffers.failures, 4 * maxMembers)
    this.circuits = new Int32Array(buffers.circuits)
    this.#cuts = new Uint8Array(buffers.cuts)
    this.traffic = new Traffic(buffers.traffic, trafficSizes, worker)
    this.sources = new SourceConnections(buffers.sources, worker)
    this.keyHash = new KeyHash(...buffers.hashSeeds)
    this.logRings = { file: buffers.logToFile[worker]!, stdout: buffers.logToStdout[worker]! }
    this.#workers = buffers.workers
    this.#worker = worker
    this.#listenerRow = worker * maxListeners * listenerStride
    this.#memberRow = worker * maxMembers * memberStride
  }

  // — one writer each —

  addListener(slot: number, field: number, amount: number): void {
    const at = this.#listenerRow + slot * listenerStride + field
    this.#listeners[at]! += amount
  }
  addError(slot: number, code: ErrorCode): void {
    this.addListener(slot, ListenerField.errors + errorCodes.indexOf(code), 1)
  }
  addMember(slot: number, field: number, amount: number): void {
    const at = this.#memberRow + slot * memberStride + field
    this.#members[at]! += amount
  }
  listenerTotal(slot: number, field: number): number {
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker++) sum += this.#listeners[(worker * maxListeners + slot) * listenerStride + field]!
    return sum - (this.#listenerBase.get(slot)?.[field] ?? 0)
  }
  memberTotal(slot: number, field: number): number {
    let sum = 0
    for (let worker = 0; worker < this.#workers; worker++) sum += this.#members[(worker * maxMembers + slot) * memberStride + field]!
    return sum - (this.#memberBase.get(slot)?.[field] ?? 0)
  }
  /** Totals of this place begin at zero again. The rows stay as they are: each has one writer, and that is a worker. */
  renewListener(slot: number): void {
    const base = this.#listenerBase.get(slot)
    this.#listenerBase.set(slot, Array.from({ length: listenerStride }, (_, field) => this.listenerTotal(slot, field) + (base?.[field] ?? 0)))
  }
  renewMember(slot: number): void {
    const base = this.#memberBase.get(slot)
    this.#memberBase.set(slot, Array.from({ length: memberStride }, (_, field) => this.memberTotal(slot, field) + (base?.[field] ?? 0)))
    this.#latencies[2 * slot] = 0
    this.setFactor(slot, Factor.slowStart, sixteenths)
    this.setFactor(slot, Factor.dynamic, sixteenths)
    this.setHealth(slot, 'checking')
  }

  // — several writers —

  /** Counts a client connection in; false when the limit is reached. */
  openConnection(slot: number, limit: number): boolean {
    if (Atomics.add(this.#connections, slot, 1) >= limit) {
      Atomics.sub(this.#connections, slot, 1)
      return false
    }
    this.#connectionParts[this.#worker * maxListeners + slot]! += 1
    return true
  }
  closeConnection(slot: number): void {
    Atomics.sub(this.#connections, slot, 1)
    this.#connectionParts[this.#worker * maxListeners + slot]! -= 1
  }
  connections(slot: number): number {
    return Atomics.load(this.#connections, slot)
  }
  active(slot: number): number {
    return Atomics.load(this.#active, slot)
  }
  /** Counts one more if it is still `seen` now: two workers cannot both take the last place. */
  claim(slot: number, seen: number): boolean {
    if (Atomics.compareExchange(this.#active, slot, seen, seen + 1) !== seen) return false
    this.#activeParts[this.#worker * maxMembers + slot]! += 1
    return true
  }
  /** Counts one more if there are fewer than `limit`. */
  claimBelow(slot: number, limit: number): boolean {
    // Never counted in before it is sure: another worker would be refused for it.
    for (;;) {
      const seen = this.active(slot)
      if (seen >= limit) return false
      if (this.claim(slot, seen)) return true
    }
  }
  /** Counts one more for a pool as a whole; false when `limit` (0: none) is reached. */
  claimPool(poolSlot: number, limit: number): boolean {
    for (;;) {
      const seen = Atomics.load(this.#poolActive, poolSlot)
      if (limit > 0 && seen >= limit) return false
      if (Atomics.compareExchange(this.#poolActive, poolSlot, seen, seen + 1) === seen) break
    }
    this.#poolActiveParts[this.#worker * maxPools + poolSlot]! += 1
    return true
  }
  releasePool(poolSlot: number): void {
    Atomics.sub(this.#poolActive, poolSlot, 1)
    this.#poolActiveParts[this.#worker * maxPools + poolSlot]! -= 1
  }
  /** Requests (tcp, udp: sessions) that members of a pool have, on all workers. */
  poolActive(poolSlot: number): number {
    return Atomics.load(this.#poolActive, poolSlot)
  }
  addActive(slot: number, amount: number): void {
    Atomics.add(this.#active, slot, amount)
    this.#activeParts[this.#worker * maxMembers + slot]! += amount
    if (amount < 0 && this.#waiting[1] !== 0) this.#tellWaiting()
  }

  // — the queues in front of pools —

  /** A place has become free: wakes the workers on which someone waits. */
  #tellWaiting(): void {
    Atomics.add(this.#waiting, 0, 1)
    Atomics.notify(this.#waiting, 0)
  }
  /** Resolves when a place becomes free; undefined: one has just now. */
  placeFreed(): Promise<unknown> | undefined {
    const result = Atomics.waitAsync(this.#waiting, 0, Atomics.load(this.#waiting, 0))
    return result.async ? result.value : undefined
  }
  addWaiting(poolSlot: number, amount: number): void {
    Atomics.add(this.#waiting, 1, amount)
    Atomics.add(this.#waiting, 2 + poolSlot, amount)
    this.#waiting[2 + maxPools * (1 + this.#worker) + poolSlot]! += amount
  }
  /** Requests that wait for a place at a member of the pool. */
  waiting(poolSlot: number): number {
    return Atomics.load(this.#waiting, 2 + poolSlot)
  }

  /** What a dead worker had counted in and can no longer count out. */
  giveBack(worker: number): void {
    Atomics.sub(this.#descriptors, 0, this.#descriptors[1 + worker]!)
    this.#descriptors[1 + worker] = 0
    this.sources.clear(worker)
    for (let pool = 0; pool < maxPools; pool++) {
      const part = worker * maxPools + pool
      Atomics.sub(this.#poolActive, pool, this.#poolActiveParts[part]!)
      this.#poolActiveParts[part] = 0
      const at = 2 + maxPools * (1 + worker) + pool
      Atomics.sub(this.#waiting, 1, this.#waiting[at]!)
      Atomics.sub(this.#waiting, 2 + pool, this.#waiting[at]!)
      this.#waiting[at] = 0
    }
    for (let slot = 0; slot < maxListeners; slot++) {
      const at = worker * maxListeners + slot
      Atomics.sub(this.#connections, slot, this.#connectionParts[at]!)
      this.#connectionParts[at] = 0
    }
    for (let slot = 0; slot < maxMembers; slot++) {
      const at = worker * maxMembers + slot
      Atomics.sub(this.#active, slot, this.#activeParts[at]!)
      this.#activeParts[at] = 0
    }
  }

  /** A descriptor has been opened (1) or closed (-1): a connection, a session, a socket that listens. */
  countDescriptors(amount: number): void {
    Atomics.add(this.#descriptors, 0, amount)
    this.#descriptors[1 + this.#worker]! += amount
  }
  descriptors(): number {
    return Atomics.load(this.#descriptors, 0)
  }
  /** Whether one more client can be served. */
  mayAccept(): boolean {
    return Atomics.load(this.#descriptors, 0) <= this.#descriptorLimits.accept
  }
  /** Whether there is a descriptor for a member. */
  mayConnect(): boolean {
    return Atomics.load(this.#descriptors, 0) < this.#descriptorLimits.connect
  }

  nextCursor(poolSlot: number): number {
    return Atomics.add(this.#cursors, poolSlot, 1) >>> 0
  }

  /** The worker's timer has turned. */
  turn(): void {
    Atomics.add(this.#turns, this.#worker, 1)
    this.#nowMs = sharedNowMs()
  }
  turns(worker: number): number {
    return Atomics.load(this.#turns, worker)
  }

  // — latency: written by all workers, each over the others: one answer more or less does not matter —

  /** A member answered (tcp: was connected) after so many microseconds. */
  recordLatency(slot: number, us: number): void {
    const latencies = this.#latencies
    latencies[2 * slot] = peakEwma(latencies[2 * slot]!, (this.#nowMs - latencies[2 * slot + 1]!) | 0, us)
    latencies[2 * slot + 1] = this.#nowMs
    this.addMember(slot, MemberField.answers, 1)
    this.addMember(slot, MemberField.latencyUs, us)
  }
  /** A member failed: for the balancing that is a long time, not a short one. */
  recordFailure(slot: number): void {
    this.#latencies[2 * slot] = Math.max(failureUs, this.latencyUs(slot))
    this.#latencies[2 * slot + 1] = this.#nowMs
  }
  /** Peak EWMA of the latency, faded to now, microseconds; 0: nothing is known. */
  latencyUs(slot: number): number {
    return faded(this.#latencies[2 * slot]!, (this.#nowMs - this.#latencies[2 * slot + 1]!) | 0)
  }

  // — health and factors: written by the main thread —

  /** What the member still has is to be closed (its drain timeout has passed), or not. */
  cut(slot: number, now: boolean): void {
    this.#cuts[slot] = now ? 1 : 0
  }
  /** Whether clients that belong to this member may still go there: not when it is down, ejected or disabled, or has drained for too long. */
  keepsClients(slot: number): boolean {
    const health = this.health(slot)
    return health !== 'down' && health !== 'ejected' && health !== 'disabled' && !this.isCut(slot)
  }
  isCut(slot: number): boolean {
    return this.#cuts[slot] === 1
  }

  /** @param factor one of `Factor`. @param value 1 to 16 sixteenths of the weight */
  setFactor(slot: number, factor: number, value: number): void {
    if (this.factor(slot, factor) === value) return
    Atomics.store(this.#reductions, 2 * slot + factor, sixteenths - value)
    Atomics.add(this.#versions, 0, 1)
  }
  /** Sixteenths. */
  factor(slot: number, factor: number): number {
    return sixteenths - Atomics.load(this.#reductions, 2 * slot + factor)
  }

  setHealth(slot: number, health: MemberHealth): void {
    Atomics.store(this.#health, slot, healthValues.indexOf(health))
    Atomics.add(this.#versions, 0, 1)
  }
  health(slot: number): MemberHealth {
    return healthValues[Atomics.load(this.#health, slot)]!
  }
  /** Changes whenever any health or factor does. */
  healthVersion(): number {
    return Atomics.load(this.#versions, 0)
  }
}

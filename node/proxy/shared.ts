/**
 * The memory that workers and main thread share. Counters have one writer each (a worker writes its own rows, the main thread
 * sums them up); what several write is changed by Atomics: active connections, cursors, connection limits.
 */
import type { MemberHealth } from '../observe/counters.ts'

/** Twice what a document may have, so that a new document finds places beside those of the one before. */
export const maxListeners = 8192
export const maxMembers = 40_960
export const maxPools = 8192

/** Fields of a listener's row, in this order; error counts follow. */
export const ListenerField = { connectionsTotal: 0, requests: 1, status1: 2, bytesIn: 7, bytesOut: 8, errors: 9 } as const
export const MemberField = { requests: 0, connectFailures: 1, errors: 2 } as const

/** Stable codes of answers that Haechi itself made and of connections that it ended. Appended to, never reordered. */
export const errorCodes = [
  'bad-request', 'head-too-large', 'target-too-long', 'request-timeout', 'no-route', 'no-member-available', 'member-connect-failed',
  'member-connect-timeout', 'member-timeout', 'member-closed', 'bad-member-response', 'not-implemented', 'version-not-supported',
  'client-closed', 'client-timeout', 'connection-limit', 'expectation-failed', 'tunnel-timeout', 'body-malformed',
] as const
export type ErrorCode = (typeof errorCodes)[number]

const listenerStride = ListenerField.errors + errorCodes.length
const memberStride = 3

export const healthValues: readonly MemberHealth[] = ['checking', 'up', 'down', 'draining', 'disabled']

export interface SharedBuffers {
  readonly workers: number
  readonly listeners: SharedArrayBuffer
  readonly members: SharedArrayBuffer
  readonly connections: SharedArrayBuffer
  readonly active: SharedArrayBuffer
  /** Each worker's own part of `connections` and `active`: given back by the main thread when the worker dies. */
  readonly connectionParts: SharedArrayBuffer
  readonly activeParts: SharedArrayBuffer
  readonly health: SharedArrayBuffer
  readonly cursors: SharedArrayBuffer
  readonly versions: SharedArrayBuffer
  /** Turns of each worker's timer. */
  readonly turns: SharedArrayBuffer
}

export function allocate(workers: number): SharedBuffers {
  return {
    workers,
    listeners: new SharedArrayBuffer(8 * workers * maxListeners * listenerStride),
    members: new SharedArrayBuffer(8 * workers * maxMembers * memberStride),
    connections: new SharedArrayBuffer(4 * maxListeners),
    active: new SharedArrayBuffer(4 * maxMembers),
    connectionParts: new SharedArrayBuffer(4 * workers * maxListeners),
    activeParts: new SharedArrayBuffer(4 * workers * maxMembers),
    health: new SharedArrayBuffer(maxMembers),
    cursors: new SharedArrayBuffer(4 * maxPools),
    versions: new SharedArrayBuffer(4),
    turns: new SharedArrayBuffer(4 * workers),
  }
}

/** Views on the shared memory; `worker`: whose rows `add…` writes. */
export class Shared {
  readonly #listeners: Float64Array
  readonly #members: Float64Array
  readonly #connections: Int32Array
  readonly #active: Int32Array
  readonly #connectionParts: Int32Array
  readonly #activeParts: Int32Array
  readonly #health: Uint8Array
  readonly #cursors: Int32Array
  readonly #versions: Int32Array
  readonly #turns: Int32Array
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
    this.#health = new Uint8Array(buffers.health)
    this.#cursors = new Int32Array(buffers.cursors)
    this.#versions = new Int32Array(buffers.versions)
    this.#turns = new Int32Array(buffers.turns)
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
  addActive(slot: number, amount: number): void {
    Atomics.add(this.#active, slot, amount)
    this.#activeParts[this.#worker * maxMembers + slot]! += amount
  }
  /** What a dead worker had counted in and can no longer count out. */
  giveBack(worker: number): void {
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
  nextCursor(poolSlot: number): number {
    return Atomics.add(this.#cursors, poolSlot, 1) >>> 0
  }

  /** The worker's timer has turned. */
  turn(): void {
    Atomics.add(this.#turns, this.#worker, 1)
  }
  turns(worker: number): number {
    return Atomics.load(this.#turns, worker)
  }

  // — health: written by the main thread —

  setHealth(slot: number, health: MemberHealth): void {
    Atomics.store(this.#health, slot, healthValues.indexOf(health))
    Atomics.add(this.#versions, 0, 1)
  }
  health(slot: number): MemberHealth {
    return healthValues[Atomics.load(this.#health, slot)]!
  }
  /** Changes whenever any health does. */
  healthVersion(): number {
    return Atomics.load(this.#versions, 0)
  }
}

/**
 * What a listener's connections and requests pass through before they cost anything: access lists, connections for each client
 * address, rate limits. One object for each listener and table; where nothing is configured, one flag says so.
 */
import { inAddressSet, type AddressSetData } from './address-set.ts'
import { parseAddress } from './address.ts'
import { fieldStride, type Head } from '../http/head.ts'
import type { ErrorCode } from '../shared.ts'
import type { FiltersPlan, RateLimitPlan } from './plan.ts'
import { RateTable, type KeyHash } from './rate-table.ts'
import type { SourceConnections } from './source-connections.ts'

/** Kinds of keys, so that an address and a header value of the same bytes are not one key. */
const Kind = { source: 1, header: 2, listener: 3 } as const

/** A connection that is not counted by its address. */
export const uncounted = -2

interface Limit {
  readonly plan: RateLimitPlan
  readonly table: RateTable
  readonly header: Uint8Array
}

export interface FilterSurroundings {
  readonly hash: KeyHash
  readonly sources: SourceConnections
  /** What makes `performance.now()` of this worker a clock that all workers share, milliseconds: to be added. */
  readonly zeroMs: number
}

/** Whom a client's address counts for in rate limits: kept with its connection, as each request asks for it. */
export interface SourceKey {
  readonly high: number
  readonly low: number
}

export class Filters {
  /** Whether `enter` has to be asked about a connection. */
  readonly atAccept: boolean
  /** Whether `refuse` has to be asked about a request. */
  readonly atRequest: boolean
  readonly #plan: FiltersPlan
  readonly #slot: number
  readonly #around: FilterSurroundings
  readonly #rate: Limit | undefined
  readonly #routeRates: readonly (Limit | undefined)[]
  /** A connection counts for the rate limit, where there are no requests. */
  readonly #rateAtAccept: boolean
  readonly #words = new Uint32Array(4)
  /** Of the connection that was let in last: for `SourceConnections.close`; `uncounted`: nothing to close. */
  place: number = uncounted

  /** @param requests the listener's rate limit counts requests, not connections */
  constructor(plan: FiltersPlan, slot: number, requests: boolean, around: FilterSurroundings) {
    this.#plan = plan
    this.#slot = slot
    this.#around = around
    this.#rate = limitOf(plan.rate)
    this.#routeRates = plan.routeRates.map(limitOf)
    this.#rateAtAccept = this.#rate !== undefined && !requests
    this.atAccept = plan.allow.length > 0 || plan.deny.length > 0 || plan.maxPerSource > 0 || this.#rateAtAccept
    this.atRequest = requests && (this.#rate !== undefined || this.#routeRates.length > 0)
  }

  /**
   * Whether a connection from this address (after a PROXY header: the address in it) is let in.
   * @returns '' or why not; `place` is to be given back at its end
   */
  enter(address: string): ErrorCode | '' {
    this.place = uncounted
    const { allow, deny, maxPerSource } = this.#plan
    const { hash, sources, zeroMs } = this.#around
    const family = this.#read(address)
    if (deny.length > 0 && (family === 0 || this.#inAny(deny, family))) return 'address-denied'
    if (allow.length > 0 && (family === 0 || !this.#inAny(allow, family))) return 'address-denied'
    if (this.#rateAtAccept) {
      this.#hashSource(family)
      if (this.#rate!.table.take(this.#rate!.plan.rate, hash.high, hash.low, zeroMs + performance.now()) > 0) return 'rate-limited'
    }
    if (maxPerSource > 0) {
      hash.begin(Kind.listener)
      hash.word(this.#slot)
      this.#source(family)
      hash.end()
      const place = sources.open(hash.high, hash.low, maxPerSource)
      if (place === -1) return 'source-connection-limit'
      this.place = place
    }
    return ''
  }

  #inAny(sets: readonly AddressSetData[], family: 4 | 6): boolean {
    for (let i = 0; i < sets.length; i++) if (inAddressSet(sets[i]!, family, this.#words)) return true
    return false
  }

  /** An IPv4 address, or the /64 of an IPv6 address: whoever has one address of that has them all. */
  #source(family: number): void {
    this.#around.hash.word(this.#words[0]!)
    if (family === 6) this.#around.hash.word(this.#words[1]!)
  }

  /** Reads an address into `#words`. A zone (`fe80::1%eth0`) does not count; what is no address, as of a client that has gone already, is all zeros. */
  #read(address: string): 4 | 6 | 0 {
    const family = parseAddress(address, this.#words)
    if (family !== 0) return family
    const zone = address.indexOf('%')
    const plain = zone < 0 ? 0 : parseAddress(address.slice(0, zone), this.#words)
    if (plain === 0) this.#words.fill(0)
    return plain
  }

  /** For `refuse`. */
  sourceOf(address: string): SourceKey {
    this.#hashSource(this.#read(address))
    const { high, low } = this.#around.hash
    return { high, low }
  }

  /** Of the address in `#words`. */
  #hashSource(family: number): void {
    const { hash } = this.#around
    hash.begin(Kind.source)
    this.#source(family)
    hash.end()
  }

  /**
   * Whether a rate limit refuses a request: that of its route first, then that of the listener.
   * @param route index of the route, -1: none
   * @param nowMs `performance.now()`
   * @returns 0, or the time after which it would be let through, milliseconds
   */
  refuse(route: number, head: Head, buffer: Buffer, source: SourceKey, nowMs: number): number {
    const own = route >= 0 && route < this.#routeRates.length ? this.#routeRates[route] : undefined
    if (own !== undefined) {
      const waitMs = this.#take(own, head, buffer, source, nowMs)
      if (waitMs > 0) return waitMs
    }
    return this.#rate === undefined ? 0 : this.#take(this.#rate, head, buffer, source, nowMs)
  }

  #take(limit: Limit, head: Head, buffer: Buffer, source: SourceKey, nowMs: number): number {
    const { hash, zeroMs } = this.#around
    const field = limit.header.length === 0 ? -1 : fieldNamed(head, buffer, limit.header)
    if (field < 0) return limit.table.take(limit.plan.rate, source.high, source.low, zeroMs + nowMs)
    hash.begin(Kind.header)
    hash.bytes(buffer, head.fields[field * fieldStride + 2]!, head.fields[field * fieldStride + 3]!)
    hash.end()
    return limit.table.take(limit.plan.rate, hash.high, hash.low, zeroMs + nowMs)
  }
}

function limitOf(plan: RateLimitPlan | undefined): Limit | undefined {
  return plan === undefined ? undefined : { plan, table: new RateTable(plan.table), header: Buffer.from(plan.header, 'latin1') }
}

/** The first field of that name from a certain one on, or -1. @param name in lower case */
export function fieldNamed(head: Head, buffer: Buffer, name: Uint8Array, from = 0): number {
  const { fields, count } = head
  for (let i = from; i < count; i++) {
    const start = fields[i * fieldStride]!
    if (fields[i * fieldStride + 1]! - start !== name.length) continue
    let at = 0
    while (at < name.length && lower(buffer[start + at]!) === name[at]) at++
    if (at === name.length) return i
  }
  return -1
}

function lower(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte
}

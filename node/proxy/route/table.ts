/**
 * The RouteTable: what the workers need of a configuration document, as immutable plain data that can be posted to them, and
 * the choice of a route. Pure.
 */
import type { ConfigurationDocument } from '../../config/schema.ts'
import { durationMs } from '../../config/duration.ts'

export interface RouteTable {
  readonly revision: number
  readonly listeners: readonly ListenerPlan[]
  readonly pools: readonly PoolPlan[]
}
export interface ListenerPlan {
  readonly name: string
  /** Place of its counters in shared memory, stable by name. */
  readonly slot: number
  readonly address: string
  readonly port: number
  /** The address is a VIP: in bind mode it is listened on only while held. */
  readonly vip: boolean
  readonly protocol: 'http' | 'tcp'
  readonly routes: readonly RoutePlan[]
  /** Index into `pools`, -1: none. */
  readonly pool: number
  readonly requestHeadMs: number
  readonly keepAliveMs: number
  readonly clientIdleMs: number
  readonly tunnelMs: number
  readonly maxConnections: number
  readonly maxHeadBytes: number
  readonly maxHeaders: number
  readonly replaceForwarded: boolean
}
export interface RoutePlan {
  readonly name: string
  /** Lower case. */
  readonly exactHosts: readonly string[]
  /** With the leading dot: `.example.org` for `*.example.org`. */
  readonly hostSuffixes: readonly string[]
  /** Path prefixes without a slash at the end; empty: every path. */
  readonly paths: readonly string[]
  readonly pool: number
}
export interface PoolPlan {
  readonly name: string
  /** Place of its cursor in shared memory. */
  readonly slot: number
  readonly balance: 'round-robin' | 'least-connections'
  readonly members: readonly MemberPlan[]
  readonly connectMs: number
  readonly serverIdleMs: number
  readonly keepAliveMs: number
  readonly retries: number
  readonly maxIdle: number
}
export interface MemberPlan {
  readonly name: string
  readonly slot: number
  readonly address: string
  readonly port: number
  readonly weight: number
}

/** Gives names their places in shared memory. */
export interface Slots {
  listener(name: string): number
  pool(name: string): number
  member(pool: string, name: string): number
}

export function compileTable(revision: number, document: ConfigurationDocument, slots: Slots): RouteTable {
  const poolIndex = new Map(document.pools.map((pool, index) => [pool.name, index]))
  const vips = new Map(document.vips.map((vip) => [vip.name, vip.address]))
  return {
    revision,
    pools: document.pools.map((pool) => ({
      name: pool.name,
      slot: slots.pool(pool.name),
      balance: pool.balance,
      members: pool.members.map((member) => ({
        name: member.name,
        slot: slots.member(pool.name, member.name),
        address: member.address,
        port: member.port,
        weight: member.weight,
      })),
      connectMs: durationMs(pool.connectTimeout),
      serverIdleMs: durationMs(pool.serverIdleTimeout),
      keepAliveMs: durationMs(pool.keepAlive),
      retries: pool.retries,
      maxIdle: pool.maxIdleConnections,
    })),
    listeners: document.listeners.map((listener) => ({
      name: listener.name,
      slot: slots.listener(listener.name),
      address: listener.address ?? vips.get(listener.vip ?? '') ?? '',
      port: listener.port,
      vip: listener.vip !== undefined,
      protocol: listener.protocol,
      routes: listener.routes.map((route) => ({
        name: route.name,
        exactHosts: route.hosts.filter((host) => !host.startsWith('*.')).map((host) => host.toLowerCase()),
        hostSuffixes: route.hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1).toLowerCase()),
        paths: route.paths.map((path) => path.replace(/\/+$/, '')),
        pool: poolIndex.get(route.pool) ?? -1,
      })),
      pool: listener.pool === undefined ? -1 : (poolIndex.get(listener.pool) ?? -1),
      requestHeadMs: durationMs(listener.requestHeadTimeout),
      keepAliveMs: durationMs(listener.clientKeepAlive),
      clientIdleMs: durationMs(listener.clientIdleTimeout),
      tunnelMs: durationMs(listener.tunnelTimeout),
      maxConnections: listener.maxConnections,
      maxHeadBytes: listener.maxHeadBytes,
      maxHeaders: listener.maxHeaders,
      replaceForwarded: listener.forwardedHeaders === 'replace',
    })),
  }
}

/** A listener's routes, prepared for matching on bytes. */
export class Matcher {
  readonly #routes: readonly { readonly exact: ReadonlySet<string>; readonly suffixes: readonly string[]; readonly anyHost: boolean; readonly paths: readonly Uint8Array[]; readonly pool: number }[]
  readonly #fallback: number
  readonly #needsHost: boolean

  constructor(listener: ListenerPlan, bytes: (text: string) => Uint8Array) {
    this.#fallback = listener.pool
    this.#routes = listener.routes.map((route) => ({
      exact: new Set(route.exactHosts),
      suffixes: route.hostSuffixes,
      anyHost: route.exactHosts.length === 0 && route.hostSuffixes.length === 0,
      paths: route.paths.some((path) => path === '') ? [] : route.paths.map(bytes),
      pool: route.pool,
    }))
    this.#needsHost = this.#routes.some((route) => !route.anyHost)
  }

  /**
   * The first route that matches decides. The host is compared without case, port and trailing dot; paths by whole segments.
   * @returns an index into the table's pools, or -1: no route and no default
   */
  match(buffer: Buffer, hostStart: number, hostEnd: number, targetStart: number, targetEnd: number): number {
    if (this.#routes.length === 0) return this.#fallback
    const host = this.#needsHost ? hostName(buffer, hostStart, hostEnd) : ''
    for (let i = 0; i < this.#routes.length; i++) {
      const route = this.#routes[i]!
      if (!route.anyHost && !route.exact.has(host) && !hasSuffix(host, route.suffixes)) continue
      if (route.paths.length === 0 || hasPath(buffer, targetStart, targetEnd, route.paths)) return route.pool
    }
    return this.#fallback
  }
}

function hostName(buffer: Buffer, start: number, end: number): string {
  let stop = end
  // The port: behind the last colon, unless that is inside an IPv6 literal.
  for (let i = end - 1; i > start; i--) {
    const byte = buffer[i]!
    if (byte === 0x3a) {
      stop = i
      break
    }
    if (byte < 0x30 || byte > 0x39) break
  }
  if (stop > start && buffer[stop - 1] === 0x2e) stop--
  return buffer.toString('latin1', start, stop).toLowerCase()
}

function hasSuffix(host: string, suffixes: readonly string[]): boolean {
  for (let i = 0; i < suffixes.length; i++) {
    const suffix = suffixes[i]!
    if (host.length > suffix.length && host.endsWith(suffix)) return true
  }
  return false
}

function hasPath(buffer: Buffer, start: number, end: number, paths: readonly Uint8Array[]): boolean {
  for (let i = 0; i < paths.length; i++) {
    const path = paths[i]!
    const { length } = path
    if (end - start < length) continue
    let at = 0
    while (at < length && buffer[start + at] === path[at]) at++
    if (at < length) continue
    const next = start + length
    if (next === end || buffer[next] === 0x2f || buffer[next] === 0x3f) return true
  }
  return false
}

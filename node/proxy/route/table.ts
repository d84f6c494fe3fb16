/**
 * The RouteTable: what the workers need of a configuration document, as immutable plain data that can be posted to them. The
 * choice of a route is in `matcher.ts`. Pure.
 */
import type { Balance, HashOn } from '../../config/balance-schema.ts'
import type { ConfigurationDocument, Pool } from '../../config/schema.ts'
import { durationMs } from '../../config/duration.ts'
import { healthPlan, type HealthPlan } from './health-plan.ts'
import { persistencePlan, type PersistencePlan } from './persistence-plan.ts'
import { filtersOf, queueOf, type FilterMemory, type FiltersPlan, type QueuePlan } from '../filters/plan.ts'
import { layer4Of, proxyVersionOf, type Layer4Plan } from './layer4.ts'
import { listenerTlsOf, poolTlsOf, type ListenerTlsPlan, type PoolTlsPlan } from './tls-plan.ts'
import { headerEditsOf, routePlanOf, type HeaderEditsPlan, type RoutePlan } from './plan.ts'

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
  /** First and last port, both inclusive. */
  readonly port: number
  readonly portEnd: number
  /** The address is a VIP: in bind mode it is listened on only while held. */
  readonly vip: boolean
  /** `http` with `tls` is https. */
  readonly protocol: 'http' | 'tcp' | 'tls-passthrough' | 'udp'
  /** Undefined: plain. */
  readonly tls: ListenerTlsPlan | undefined
  readonly routes: readonly RoutePlan[]
  /** How routes see a path, and members get it (`path.ts`). */
  readonly normalizePath: 'match' | 'forward' | 'off'
  /** Port of https that everything is redirected to; 0: none. */
  readonly redirectToHttps: number
  readonly headerEdits: HeaderEditsPlan | undefined
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
  readonly layer4: Layer4Plan
  readonly filters: FiltersPlan
}
export interface PoolPlan {
  readonly name: string
  /** Place of its cursor in shared memory. */
  readonly slot: number
  readonly balance: Balance
  /** What is hashed where `balance` is `hash`. */
  readonly hashOn: HashOn
  /** Name of the header field in lower case, or of the cookie; else empty. */
  readonly hashName: string
  /** The most that a member may have of its fair share; 0: no bound. */
  readonly loadFactor: number
  readonly dynamicWeights: boolean
  readonly minimumMembers: number
  readonly members: readonly MemberPlan[]
  readonly connectMs: number
  readonly serverIdleMs: number
  readonly keepAliveMs: number
  readonly retries: number
  readonly maxIdle: number
  /** Connections to members begin with a PROXY header of this version; 0: they do not. */
  readonly proxyVersion: 0 | 1 | 2
  /** Requests or connections to all members at once; 0: no limit. */
  readonly maxConnections: number
  readonly queue: QueuePlan | undefined
  /** What keeps a client on one member; undefined: nothing. */
  readonly persistence: PersistencePlan | undefined
  readonly health: HealthPlan
}
export interface MemberPlan {
  readonly name: string
  readonly slot: number
  readonly address: string
  readonly port: number
  readonly weight: number
  /** Requests or connections at once; 0: no limit. */
  readonly maxConnections: number
  readonly priority: number
  readonly backup: boolean
  /** Of its pool; undefined: plain. */
  readonly tls: PoolTlsPlan | undefined
}

/** Gives names their places in shared memory. */
export interface Slots {
  listener(name: string): number
  route(listener: string, name: string): number
  pool(name: string): number
  member(pool: string, name: string): number
}

/** Names of header fields have no case, those of cookies have. */
function hashName(hash: Pool['hash']): string {
  if (hash?.name === undefined) return ''
  return hash.on === 'header' ? hash.name.toLowerCase() : hash.name
}

export function compileTable(revision: number, document: ConfigurationDocument, slots: Slots, memory: FilterMemory): RouteTable {
  const poolIndex = new Map(document.pools.map((pool, index) => [pool.name, index]))
  const vips = new Map(document.vips.map((vip) => [vip.name, vip.address]))
  return {
    revision,
    pools: document.pools.map((pool) => ({ pool, tls: poolTlsOf(pool) })).map(({ pool, tls }) => ({
      name: pool.name,
      slot: slots.pool(pool.name),
      balance: pool.balance,
      hashOn: pool.hash?.on ?? 'source',
      hashName: hashName(pool.hash),
      loadFactor: (pool.hash?.balanceFactor ?? 0) / 100,
      dynamicWeights: pool.dynamicWeights ?? false,
      minimumMembers: pool.minimumMembers ?? 1,
      members: pool.members.map((member) => ({
        name: member.name,
        slot: slots.member(pool.name, member.name),
        address: member.address,
        port: member.port,
        weight: member.weight,
        maxConnections: member.maxConnections ?? 0,
        priority: member.priority ?? 0,
        backup: member.backup ?? false,
        tls,
      })),
      connectMs: durationMs(pool.connectTimeout),
      serverIdleMs: durationMs(pool.serverIdleTimeout),
      keepAliveMs: durationMs(pool.keepAlive),
      retries: pool.retries,
      maxIdle: pool.maxIdleConnections,
      proxyVersion: proxyVersionOf(pool.sendProxyProtocol),
      maxConnections: pool.maxConnections ?? 0,
      queue: queueOf(pool),
      persistence: persistencePlan(pool),
      health: healthPlan(pool),
    })),
    listeners: document.listeners.map((listener) => ({
      name: listener.name,
      slot: slots.listener(listener.name),
      address: listener.address ?? vips.get(listener.vip ?? '') ?? '',
      port: listener.port,
      portEnd: listener.portEnd ?? listener.port,
      vip: listener.vip !== undefined,
      protocol: listener.protocol === 'https' ? 'http' : listener.protocol,
      tls: listenerTlsOf(listener),
      routes: listener.routes.map((route) => routePlanOf(route, slots.route(listener.name, route.name), poolIndex)),
      normalizePath: listener.normalizePath ?? 'match',
      redirectToHttps: listener.redirectToHttps ?? 0,
      headerEdits: headerEditsOf(listener.headers),
      pool: listener.pool === undefined ? -1 : (poolIndex.get(listener.pool) ?? -1),
      requestHeadMs: durationMs(listener.requestHeadTimeout),
      keepAliveMs: durationMs(listener.clientKeepAlive),
      clientIdleMs: durationMs(listener.clientIdleTimeout),
      tunnelMs: durationMs(listener.tunnelTimeout),
      maxConnections: listener.maxConnections,
      maxHeadBytes: listener.maxHeadBytes,
      maxHeaders: listener.maxHeaders,
      replaceForwarded: listener.forwardedHeaders === 'replace',
      layer4: layer4Of(listener),
      filters: filtersOf(listener, document, memory),
    })),
  }
}

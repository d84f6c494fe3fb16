/**
 * The data plane as the node's main thread sees it (and `haechi run`, which has no cluster). Implemented by
 * `manager.ts`: it compiles the document into a RouteTable, owns the shared memory and the workers.
 */
import type { ConfigurationDocument } from '../config/schema.ts'
import type { TrafficReport } from '../observe/traffic.ts'
import type { ListenerCounters, MemberCounters, MemberHealth, PoolCircuit } from '../observe/counters.ts'
import type { TlsMaterial } from './tls/material.ts'
import type { SessionKeeper, SessionUpdate } from '../sessions/keeper.ts'

export interface ProxyOptions {
  /** Worker threads; default: one per core. */
  readonly workers?: number
  /** Pseudonym in `Via` (RFC 9110 §7.6.3) and in error answers. */
  readonly nodeId: string
  /** File of the access log; default: `access.log` in the working directory. Made when a listener first writes to it. */
  readonly accessLogPath?: string
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** A worker died and did not come back within its restart budget: the node is not fit. */
  readonly failed: (reason: string) => void
  /** Secret of the cluster for persistence (`sessions/keys.ts`); default: a random one. */
  readonly persistenceSecret?: Uint8Array
  /** Told of each session entry that this node has set or refreshed, for the other nodes. */
  readonly replicate?: (update: SessionUpdate) => void
  /** There are pools or members with session entries that were not there before: what was agreed on of them is to be given to `sessions`. */
  readonly sessionsWanted?: () => void
}

export interface ApplyReport {
  readonly revision: number
  /** Listeners that do not listen, with the reason. They keep their old table, if they had one. */
  readonly failures: readonly { readonly listener: string; readonly error: string }[]
}

export interface Proxy {
  start(): Promise<void>
  /** Builds the RouteTable, swaps it on every worker, binds and closes listeners. Never cuts a connection of a listener
   *  that stays. Resolves when every worker has it in force. Calls are serialised; only the newest waiting one runs. */
  apply(revision: number, document: ConfigurationDocument): Promise<ApplyReport>
  /**
   * Bind mode only: the VIP addresses on which this node may listen; resolves when it listens there, and no longer on
   * any other VIP. `undefined` (kernel mode, the default): listen on every VIP at all times; the fence guards them.
   */
  setHeld(addresses: readonly string[] | undefined): Promise<ApplyReport>
  /**
   * Certificates, authorities and ticket keys, all of them; what was given before and is not here is gone. In force for new
   * handshakes on every worker when it resolves; connections live on.
   */
  setTlsMaterial(material: TlsMaterial): Promise<void>
  /** From the health monitor; written to shared memory, in force for the next pick. */
  setMemberHealth(pool: string, member: string, health: MemberHealth): void
  /** The session table; undefined while no pool has needed one. */
  readonly sessions: SessionKeeper | undefined
  /** What keeps this node from serving all clients, beside listeners that do not listen; empty when nothing does. */
  problems(): readonly string[]
  listeners(): readonly ListenerCounters[]
  /** What is counted by route, pool and member, with histograms. */
  traffic(): TrafficReport
  poolTraffic(): TrafficReport['pools']
  /** Without the fields of the health monitor (`health` as last set, or `ejected`, since then; `lastProbe` empty). */
  members(): readonly MemberCounters[]
  /** The circuit breakers of the pools that have one. */
  circuits(): readonly PoolCircuit[]
  /** Stops accepting, lets exchanges finish until the deadline, then ends the workers. */
  stop(drainMs: number): Promise<void>
}

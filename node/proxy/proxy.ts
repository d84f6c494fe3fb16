/**
 * The data plane as the node's main thread sees it (and `haechi run`, which has no cluster). Implemented by
 * `manager.ts`: it compiles the document into a RouteTable, owns the shared memory and the workers.
 */
import type { ConfigurationDocument } from '../config/schema.ts'
import type { ListenerCounters, MemberCounters, MemberHealth } from '../observe/counters.ts'

export interface ProxyOptions {
  /** Worker threads; default: one per core. */
  readonly workers?: number
  /** Pseudonym in `Via` (RFC 9110 §7.6.3) and in error answers. */
  readonly nodeId: string
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** A worker died and did not come back within its restart budget: the node is not fit. */
  readonly failed: (reason: string) => void
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
  /** From the health monitor; written to shared memory, in force for the next pick. */
  setMemberHealth(pool: string, member: string, health: MemberHealth): void
  listeners(): readonly ListenerCounters[]
  /** Without the fields of the health monitor (`health` as last set; `lastProbe` empty). */
  members(): readonly MemberCounters[]
  /** Stops accepting, lets exchanges finish until the deadline, then ends the workers. */
  stop(drainMs: number): Promise<void>
}

/**
 * The session table of a node of a cluster: what the cluster has agreed on goes into the shared table, what this node has decided goes to
 * the cluster, and the leader's node takes what has expired out of the replicated state, which has no clock of its own.
 */
import type { ClusterState } from '../state/state.ts'
import type { SessionKeeper, SessionTableCounters, SessionUpdate } from './keeper.ts'
import { parseEntryKey } from './keys.ts'
import { SessionReplication, type SessionReplicationOptions } from './replication.ts'

export interface ClusterSessionsOptions {
  /** Undefined while no pool has needed the table. */
  readonly keeper: () => SessionKeeper | undefined
  readonly state: () => ClusterState
  readonly leads: () => boolean
  readonly propose: SessionReplicationOptions['propose']
}

export interface ClusterSessionCounters extends SessionTableCounters {
  /** Updates that did not get to the other nodes. */
  readonly notReplicatedTotal: number
}

/** Places of the state that are looked at in one go. */
const slice = 2000
/** Expired entries that are taken out in a second, at most. */
const maxExpired = 2000

export class ClusterSessions {
  readonly #options: ClusterSessionsOptions
  readonly #replication: SessionReplication
  /** Where the next look for expired entries begins. */
  #cursor = 0
  /** Of the refill that is under way; 0: none is. */
  #refill = 0
  #refills = 0

  constructor(options: ClusterSessionsOptions) {
    this.#options = options
    this.#replication = new SessionReplication({ propose: options.propose })
  }

  /** An entry that this node has set. */
  replicate(update: SessionUpdate): void {
    this.#replication.add(update)
  }

  /** Follows the state; to be called for each new one. */
  watch(state: ClusterState): void {
    state.watchSessions((update) => this.#options.keeper()?.apply(update))
  }

  /** The state has been replaced by another. */
  restored(): void {
    this.watch(this.#options.state())
    this.#cursor = 0
    this.#options.keeper()?.clear()
    this.refill()
  }

  /** Writes all entries of the state into the table that are not in it, a few at a time. What is not known there is passed over. */
  refill(): void {
    if (this.#options.keeper() === undefined) return
    const mine = ++this.#refills
    this.#refill = mine
    let from = 0
    const next = (): void => {
      const keeper = this.#options.keeper()
      if (this.#refill !== mine || keeper === undefined) return
      from = this.#options.state().scanSessions(from, slice, (update) => keeper.restore(update))
      if (from >= 0) setImmediate(next)
      else this.#refill = 0
    }
    setImmediate(next)
  }

  /** Looks for entries that have expired, or whose pool has none any more, if this node leads: the whole of a large state in five minutes. */
  everySecond(): void {
    const keeper = this.#options.keeper()
    if (keeper === undefined || this.#refill !== 0 || !this.#options.leads()) return
    const state = this.#options.state()
    // Of the state, not of the keeper: whoever set an entry did not know a newer document than the state it is in.
    const types = new Map<string, string>(state.document.pools.map(({ name, persistence }) => [name, persistence?.type ?? 'none']))
    const orphaned = (key: string): boolean => {
      const parsed = parseEntryKey(key)
      return parsed === undefined || types.get(parsed.pool) !== parsed.type
    }
    let found = 0
    const slots = Math.max(slice, Math.ceil(state.sessionCount / 300))
    for (let looked = 0; looked < slots && found < maxExpired; looked += slice) {
      this.#cursor = state.scanSessions(this.#cursor, slice, ({ key, member }) => {
        if (!keeper.expired(key) && !orphaned(key)) return
        found++
        this.#replication.add({ key, member, ttlMs: 0 })
      })
      if (this.#cursor < 0) {
        this.#cursor = 0
        break
      }
    }
  }

  get counters(): ClusterSessionCounters | undefined {
    const counters = this.#options.keeper()?.counters
    return counters === undefined ? undefined : { ...counters, notReplicatedTotal: this.#replication.dropped }
  }

  stop(): void {
    this.#refill = 0
    this.#replication.stop()
  }
}

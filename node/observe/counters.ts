/** The counters that the data plane keeps and everybody else reads. */

/** `checking`: no verdict yet since the start. `ejected`: failed live traffic, and rests for a time. */
export type MemberHealth = 'checking' | 'up' | 'down' | 'draining' | 'disabled' | 'ejected'

/** What routes did beside sending requests on. */
export interface RoutingCounters {
  /** Further members tried. */
  readonly retriesTotal: number
  /** Retries that the budget of a route refused. */
  readonly retriesRefusedTotal: number
  /** Copies sent to shadow pools, and those left out because too many were under way or no member was there. */
  readonly copiesTotal: number
  readonly copiesSkippedTotal: number
}
/** Running totals of one listener on one node (since its child's start). */
export interface ListenerCounters {
  readonly name: string
  /** Open client connections now. */
  readonly connections: number
  readonly connectionsTotal: number
  readonly requestsTotal: number
  /** By status class: index 0 = 1xx … 4 = 5xx. */
  readonly responsesTotal: readonly [number, number, number, number, number]
  readonly bytesInTotal: number
  readonly bytesOutTotal: number
  /** Answers that Haechi itself made or connections it ended, by stable error code. */
  readonly errorsTotal: Readonly<Record<string, number>>
  /** Older versions do not tell it. */
  readonly routing?: RoutingCounters
  /** Empty when it listens; else why not. */
  readonly error: string
}
/** The circuit breaker of a pool on one node. */
export interface PoolCircuit {
  readonly pool: string
  readonly state: 'closed' | 'open' | 'half-open'
}
export interface MemberCounters {
  readonly pool: string
  readonly member: string
  /** Requests in flight (http) or connections (tcp) now. */
  readonly active: number
  readonly requestsTotal: number
  readonly connectFailuresTotal: number
  readonly errorsTotal: number
  readonly health: MemberHealth
  readonly healthSinceEpochMs: number
  /** How often live traffic had it ejected; older versions do not tell it. */
  readonly ejectionsTotal?: number
  /** What it has of its weight now, 0 to 1: less in a slow start, or by dynamic weights. Older versions do not tell it. */
  readonly weightFactor?: number
  /** Last probe in words: `200 in 3 ms`, `connection refused`. */
  readonly lastProbe: string
}

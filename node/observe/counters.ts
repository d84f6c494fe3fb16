/** The counters that the data plane keeps and everybody else reads. */

/** `checking`: no verdict yet since the start. */
export type MemberHealth = 'checking' | 'up' | 'down' | 'draining' | 'disabled'

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
  /** Empty when it listens; else why not. */
  readonly error: string
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
  /** Last probe in words: `200 in 3 ms`, `connection refused`. */
  readonly lastProbe: string
}

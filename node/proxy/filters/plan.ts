/** What a listener's plan says of limits and observation: compiled once for each table, posted to the workers. Pure. */
import { durationMs } from '../../config/duration.ts'
import type { RateLimit } from '../../config/limits-schema.ts'
import type { AccessLog } from '../../config/observation-schema.ts'
import type { ConfigurationDocument, Listener, Pool } from '../../config/schema.ts'
import type { AddressSetData } from './address-set.ts'
import { rateOf, type Rate } from './token-bucket.ts'

export interface RateLimitPlan {
  readonly rate: Rate
  /** Name of the header field in lower case whose value is the key; empty: the client's address is. */
  readonly header: string
  /** `RateTable`. */
  readonly table: SharedArrayBuffer
}

export interface FiltersPlan {
  readonly allow: readonly AddressSetData[]
  readonly deny: readonly AddressSetData[]
  /** 0: no limit. */
  readonly maxPerSource: number
  readonly rate: RateLimitPlan | undefined
  /** By route; empty: no route has one. */
  readonly routeRates: readonly (RateLimitPlan | undefined)[]
  readonly accessLog: { readonly format: 'json' | 'common' | 'combined'; readonly share: number; readonly destination: AccessLog['destination'] } | undefined
  readonly requestId: { readonly header: string; readonly trust: boolean; readonly respond: boolean } | undefined
  /** Share of new traces that are sampled, 0 to 1; undefined: traces are not begun. */
  readonly traceShare: number | undefined
}

export interface QueuePlan {
  readonly maxLength: number
  readonly timeoutMs: number
  /** In lower case; empty: none. */
  readonly priorityHeader: string
}

/** Memory that outlives tables, by name. */
export interface FilterMemory {
  /** The buckets of a rate limit. */
  rateTable(name: string): SharedArrayBuffer
  /** The set of a list: the one before, if the prefixes are the same. */
  addressSet(name: string, prefixes: readonly string[]): AddressSetData
}

export function filtersOf(listener: Listener, document: ConfigurationDocument, memory: FilterMemory): FiltersPlan {
  const lists = (names: readonly string[] | undefined): AddressSetData[] =>
    (names ?? []).flatMap((name) => (document.accessLists ?? []).filter((list) => list.name === name).map((list) => memory.addressSet(name, list.prefixes)))
  const { accessLog, requestId, trace } = listener
  const limited = listener.routes.some((route) => route.rateLimit !== undefined)
  return {
    allow: lists(listener.allow),
    deny: lists(listener.deny),
    maxPerSource: listener.maxConnectionsPerSource ?? 0,
    rate: rateLimitOf(listener.rateLimit, listener.name, memory),
    routeRates: limited ? listener.routes.map((route) => rateLimitOf(route.rateLimit, `${listener.name}/${route.name}`, memory)) : [],
    accessLog: accessLog === undefined || accessLog.format === 'off'
      ? undefined
      : { format: accessLog.format, share: accessLog.sample / 100, destination: accessLog.destination },
    requestId: requestId === undefined ? undefined : { header: requestId.header, trust: requestId.trust, respond: requestId.respond },
    traceShare: trace === undefined ? undefined : trace.sample / 100,
  }
}

function rateLimitOf(limit: RateLimit | undefined, name: string, memory: FilterMemory): RateLimitPlan | undefined {
  if (limit === undefined) return undefined
  return {
    rate: rateOf(limit.requests, durationMs(limit.per), limit.burst ?? limit.requests),
    header: limit.key === 'header' ? (limit.header ?? '').toLowerCase() : '',
    table: memory.rateTable(name),
  }
}

/** Classes of requests in a queue, the first one goes first. */
export const Priority = { high: 0, normal: 1, low: 2 } as const

export function queueOf(pool: Pool): QueuePlan | undefined {
  const { queue } = pool
  if (queue === undefined) return undefined
  return { maxLength: queue.maxLength, timeoutMs: durationMs(queue.timeout), priorityHeader: (queue.priorityHeader ?? '').toLowerCase() }
}

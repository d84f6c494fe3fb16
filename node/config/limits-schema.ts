/**
 * The part of the configuration document about limits: lists of addresses that may or may not connect, rate limits, connections for
 * each client address, and the queue in front of a pool. Nothing here has a default that would stand in every document: those that
 * were stored before stay the same, to the byte.
 */
import Type, { type Static } from 'typebox'
import { prefixPattern } from './layer4-schema.ts'
import { closed, Duration, Name } from './parts.ts'

/** A header field's name as operators write it: what no server treats in a special way. */
export const headerNamePattern = '^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$'

export const limitsPatternText: Readonly<Record<string, string>> = {
  [headerNamePattern]: 'the name of a header field, of letters, digits, "-" and "_"',
}

export const limitsDurationLimits = {
  per: { minimumMs: 100, maximumMs: 24 * 3600_000 },
} as const

/** Limits of limits in a whole document. */
export const limitsOfLimits = {
  /** Prefixes of all access lists together. */
  prefixes: 200_000,
  /** Rate limits of listeners and routes together: each has a table of up to 1 MiB on every node. */
  rateLimits: 256,
} as const

export const AccessList = Type.Object(
  {
    name: Name,
    prefixes: Type.Array(Type.String({ pattern: prefixPattern, maxLength: 49 }), {
      maxItems: 150_000,
      default: [],
      description: 'Addresses and prefixes, IPv4 and IPv6, in any order: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.',
    }),
  },
  { ...closed, description: 'A named list of client addresses, for `allow` and `deny` of listeners.' },
)
export type AccessList = Static<typeof AccessList>

export const RateLimit = Type.Object(
  {
    requests: Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'So many requests (tcp: connections) in each `per`, for each key.' }),
    per: Duration('1s', 'The time for which `requests` counts.'),
    burst: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'So many at once, after a pause. Left out: as many as `requests`.' }),
    ),
    key: Type.Union([Type.Literal('source'), Type.Literal('header')], {
      default: 'source',
      description: 'What is counted apart. source: each client address (IPv6: each /64). header: each value of `header`; requests without it count for their address.',
    }),
    header: Type.Optional(Type.String({ pattern: headerNamePattern, maxLength: 64, description: 'key header: the name of the header field, such as `X-Api-Key`.' })),
  },
  { ...closed, description: 'A token bucket for each key; who has none left gets 429 with Retry-After (tcp: the connection is closed). Left out: no limit.' },
)
export type RateLimit = Static<typeof RateLimit>

export const Queue = Type.Object(
  {
    maxLength: Type.Integer({ minimum: 1, maximum: 100_000, default: 1000, description: 'So many requests wait on each worker; the next one gets 503 `queue-full`.' }),
    timeout: Duration('10s', 'A request that has waited so long gets 503 `queue-timeout`.'),
    priorityHeader: Type.Optional(
      Type.String({ pattern: headerNamePattern, maxLength: 64, description: 'A header field whose value (`high`, `normal`, `low`) counts in place of the `priority` of the route. Clients can set it: use one that something of yours in front sets.' }),
    ),
  },
  { ...closed, description: 'Where requests wait while all members have as many as `maxConnections` lets them. Left out: they get 503 at once.' },
)
export type Queue = Static<typeof Queue>

const listNames = (description: string) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 63, minLength: 1 }), { maxItems: 32, description }))

export const listenerLimitFields = {
  allow: listNames('Names of access lists: only addresses on one of them may connect. Left out or empty: all may.'),
  deny: listNames('Names of access lists: addresses on one of them may not connect, even if `allow` names them.'),
  maxConnectionsPerSource: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Connections at once of one client address (IPv6: of a /64) on one node; more are closed. Left out: no limit.' }),
  ),
  rateLimit: Type.Optional(RateLimit),
}
export const routeLimitFields = {
  rateLimit: Type.Optional(RateLimit),
  priority: Type.Optional(
    Type.Union([Type.Literal('high'), Type.Literal('normal'), Type.Literal('low')], {
      description: 'Who waits in the queue of the pool goes in this order, and in the order of arrival among equals. Left out: normal.',
    }),
  ),
}
export const poolLimitFields = {
  maxConnections: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'Requests (tcp: connections) at once to all members together, from one node. More wait in `queue`, or get 503. Left out: no limit.' }),
  ),
  queue: Type.Optional(Queue),
}
export const documentLimitFields = {
  accessLists: Type.Optional(Type.Array(AccessList, { maxItems: 256, description: 'Named lists of client addresses.' })),
}

/**
 * The configuration document: one schema for validation, defaults, OpenAPI, forms and the reference in docs/.
 * Durations are strings with a unit (`250ms`, `5s`, `1m`, `1h`), as operators write them; `duration.ts` turns them into
 * milliseconds. Everything optional has a default, so that a stored document is complete.
 *
 * Only standard JSON Schema keywords are used, so that every consumer reads it. What JSON Schema cannot say stands here
 * as data too: `patternText` (patterns in words) and `durationLimits`.
 */
import Type, { type Static } from 'typebox'
import { Balance, balancePatternText, memberBalanceFields, poolBalanceFields } from './balance-schema.ts'
import { HealthCheck, healthDurationLimits, healthPatternText, poolHealthFields } from './health-schema.ts'
import { persistenceDurationLimits, persistencePatternText, poolPersistenceFields } from './persistence-schema.ts'
import { layer4DurationLimits, layer4PatternText, listenerLayer4Fields, poolLayer4Fields } from './layer4-schema.ts'
import { documentLimitFields, limitsDurationLimits, limitsPatternText, listenerLimitFields, poolLimitFields } from './limits-schema.ts'
import { listenerObservationFields } from './observation-schema.ts'
import { listenerRouteFields, Route, routeDurationLimits, routePatternText } from './route-schema.ts'
import { listenerTlsFields, poolTlsFields, tlsDurationLimits, tlsPatternText } from './tls-schema.ts'
import { Address, closed, Duration, durationPattern, Name, namePattern, pathPattern, Port, printablePattern, statusPattern } from './parts.ts'

export { durationPattern, Name, namePattern, Route }
export type { CircuitBreaker, HealthCheck, Maintenance, PassiveHealth } from './health-schema.ts'

const interfacePattern = '^[!-.0-9;-~]*$'

/** What a pattern asks for, in words that complete “expected …”. Every pattern of the schema has a line here. */
export const patternText: Readonly<Record<string, string>> = {
  [namePattern]: 'a name of lower-case letters, digits and hyphens (1 to 63, no hyphen at either end)',
  [durationPattern]: 'a duration such as "250ms", "5s", "1m" or "1h"',
  [pathPattern]: 'a path that starts with "/", without spaces',
  [printablePattern]: 'printable characters without spaces',
  [statusPattern]: 'status codes such as "200", "200-399" or "200,301-302"',
  [interfacePattern]: 'the name of a network interface, such as "eth0"',
  ...healthPatternText,
  ...balancePatternText,
  ...layer4PatternText,
  ...routePatternText,
  ...persistencePatternText,
  ...limitsPatternText,
  ...tlsPatternText,
}

/** Bounds of the duration fields by field name, milliseconds, both inclusive. */
export interface DurationLimits {
  readonly minimumMs: number
  readonly maximumMs: number
}
/** 24 days: what a timer of the platform can hold (2³¹ − 1 ms) and a little less. */
export const maxDurationMs = 24 * 24 * 3600_000
export const durationLimits: Readonly<Record<string, DurationLimits>> = {
  preemptDelay: { minimumMs: 1000, maximumMs: 24 * 3600_000 },
  connectTimeout: { minimumMs: 1, maximumMs: 600_000 },
  serverIdleTimeout: { minimumMs: 1, maximumMs: maxDurationMs },
  keepAlive: { minimumMs: 1, maximumMs: maxDurationMs },
  requestHeadTimeout: { minimumMs: 1, maximumMs: 600_000 },
  clientKeepAlive: { minimumMs: 1, maximumMs: maxDurationMs },
  clientIdleTimeout: { minimumMs: 1, maximumMs: maxDurationMs },
  tunnelTimeout: { minimumMs: 1, maximumMs: maxDurationMs },
  ...healthDurationLimits,
  ...layer4DurationLimits,
  ...routeDurationLimits,
  ...persistenceDurationLimits,
  ...limitsDurationLimits,
  ...tlsDurationLimits,
}

/** Limits of a whole document, beside those of its lists. */
export const documentLimits = {
  /** Members of all pools together. */
  members: 20_000,
  /** Routes of all listeners together. */
  routes: 20_000,
  /** Canonical JSON, bytes. */
  bytes: 8 * 1024 * 1024,
  /** YAML text, bytes of UTF-8. */
  yamlBytes: 4 * 1024 * 1024,
} as const

export const Vip = Type.Object(
  {
    name: Name,
    address: Address,
    prefixLength: Type.Optional(
      Type.Integer({ minimum: 8, maximum: 128, description: 'Prefix length with which the address is added. Default: 32 for IPv4, 128 for IPv6.' }),
    ),
    mode: Type.Union([Type.Literal('active-passive')], { default: 'active-passive', description: 'active-passive: one holder at a time.' }),
    interface: Type.String({
      default: '',
      pattern: interfacePattern,
      maxLength: 15,
      description: 'Network interface that gets the address. Empty: the interface whose subnet contains it.',
    }),
  },
  { ...closed, description: 'A virtual IP address, held by one node of the cluster at a time.' },
)
export type Vip = Static<typeof Vip>

export const Member = Type.Object(
  {
    name: Name,
    address: Address,
    port: Port('Port of the server.'),
    weight: Type.Integer({ minimum: 0, maximum: 256, default: 1, description: 'Relative share of the traffic; 0: none.' }),
    state: Type.Union([Type.Literal('enabled'), Type.Literal('drain'), Type.Literal('disabled')], {
      default: 'enabled',
      description: 'drain: finishes what it has, gets nothing new. disabled: gets nothing and is not probed.',
    }),
    ...memberBalanceFields,
  },
  { ...closed, description: 'One server of a pool.' },
)
export type Member = Static<typeof Member>

export const Pool = Type.Object(
  {
    name: Name,
    balance: Balance,
    members: Type.Array(Member, { maxItems: 4096, default: [], description: 'The servers.' }),
    healthCheck: HealthCheck,
    connectTimeout: Duration('5s', 'Longest time to connect to a member.'),
    serverIdleTimeout: Duration('60s', 'Longest silence of a member while an answer is expected.'),
    retries: Type.Integer({ minimum: 0, maximum: 10, default: 2, description: 'Further members tried when the connection to one fails. What a member has begun to answer is never repeated; a request without body on a kept connection that the member was just closing goes out once more.' }),
    maxIdleConnections: Type.Integer({ minimum: 0, maximum: 10000, default: 128, description: 'Idle connections kept to each member by each worker.' }),
    keepAlive: Duration('30s', 'How long an idle connection to a member is kept.'),
    ...poolHealthFields,
    ...poolBalanceFields,
    ...poolLayer4Fields,
    ...poolPersistenceFields,
    ...poolLimitFields,
    ...poolTlsFields,
  },
  { ...closed, description: 'A set of servers that serve the same thing.' },
)
export type Pool = Static<typeof Pool>

export const Listener = Type.Object(
  {
    name: Name,
    vip: Type.Optional(Type.String({ maxLength: 63, description: 'Name of the VIP to listen on. Either this or `address`.' })),
    address: Type.Optional(Type.String({ maxLength: 45, format: 'ip-address', description: 'Address to listen on on every node. Either this or `vip`.' })),
    port: Port('Port to listen on.'),
    protocol: Type.Union([Type.Literal('http'), Type.Literal('https'), Type.Literal('tcp'), Type.Literal('tls-passthrough'), Type.Literal('udp')], {
      default: 'http',
      description: 'http: requests are routed one by one. https: the same inside TLS, which ends here. tcp: connections are passed on as they are (with `tls`, TLS ends here). tls-passthrough: TLS connections are passed on unopened, by the name that the client asks for. udp: datagrams are, by sessions of one client address and port each.',
    }),
    routes: Type.Array(Route, { maxItems: 1024, default: [], description: 'http, https: ordered; the first match decides, else `pool`. tls-passthrough: by `hosts` alone.' }),
    pool: Type.Optional(Type.String({ maxLength: 63, description: 'Where everything goes that no route takes. Without it such a request gets 404.' })),
    requestHeadTimeout: Duration('15s', 'http: longest time for a whole request head. With `proxyProtocol: accept` also for the PROXY header.'),
    clientKeepAlive: Duration('60s', 'http: longest idle time between two requests of a connection.'),
    clientIdleTimeout: Duration('60s', 'http: longest silence of a client while its request body is expected.'),
    tunnelTimeout: Duration('1h', 'Longest silence in both directions of a tunnel (tcp, Upgrade).'),
    maxConnections: Type.Integer({ minimum: 1, maximum: 1000000, default: 10000, description: 'Client connections (udp: sessions) at once on one node; more are refused.' }),
    maxHeadBytes: Type.Integer({ minimum: 1024, maximum: 65536, default: 65536, description: 'http: longest message head; more gets 431.' }),
    maxHeaders: Type.Integer({ minimum: 8, maximum: 1000, default: 100, description: 'http: most header fields in a message; more gets 431.' }),
    forwardedHeaders: Type.Union([Type.Literal('replace'), Type.Literal('append')], {
      default: 'replace',
      description: 'X-Forwarded-For from the client is replaced (it cannot be trusted), or appended to (another proxy of yours stands in front).',
    }),
    ...listenerLayer4Fields,
    ...listenerRouteFields,
    ...listenerLimitFields,
    ...listenerObservationFields,
    ...listenerTlsFields,
  },
  { ...closed, description: 'An address and port that takes traffic.' },
)
export type Listener = Static<typeof Listener>

export const Failover = Type.Object(
  {
    preferredNode: Type.Optional(
      Type.String({ pattern: namePattern, minLength: 1, maxLength: 63, description: 'Name of the node that should hold the VIPs when it can: it is the first to take over. Left out: nobody is preferred.' }),
    ),
    preempt: Type.Boolean({ default: false, description: 'Whether another holder hands over to the preferred node when that is back. Without it the VIPs stay where they are.' }),
    preemptDelay: Duration('30s', 'How long the preferred node must have answered without a gap before it is handed over to.'),
  },
  { ...closed, description: 'Which node should hold the VIPs. Left out: nobody is preferred.' },
)
export type Failover = Static<typeof Failover>

export const ConfigurationDocument = Type.Object(
  {
    haechi: Type.Literal(1, { default: 1, description: 'Version of the document format.' }),
    vips: Type.Array(Vip, { maxItems: 256, default: [], description: 'Virtual IP addresses of the cluster.' }),
    pools: Type.Array(Pool, { maxItems: 4096, default: [], description: 'Sets of servers.' }),
    listeners: Type.Array(Listener, { maxItems: 4096, default: [], description: 'Addresses and ports that take traffic.' }),
    // Without a default: the hashes of revisions that were stored before this existed stay what they are.
    failover: Type.Optional(Failover),
    ...documentLimitFields,
  },
  { ...closed, $id: 'ConfigurationDocument', title: 'Haechi configuration document' },
)
export type ConfigurationDocument = Static<typeof ConfigurationDocument>

/** A fault in a document. */
export interface Problem {
  /** JSON pointer of the field at fault, such as `/pools/0/members/1/port`. */
  readonly field: string
  readonly message: string
  /** 1-based position in the YAML text, when it came from text. */
  readonly line?: number
  readonly column?: number
}

/**
 * The configuration document: one schema for validation, defaults, OpenAPI, forms and the reference in docs/.
 * Durations are strings with a unit (`250ms`, `5s`, `1m`, `1h`), as operators write them; `duration.ts` turns them into
 * milliseconds. Everything optional has a default, so that a stored document is complete.
 */
import Type, { type Static } from 'typebox'

const closed = { additionalProperties: false } as const

/** The name by which other parts of the document refer to an object. */
export const Name = Type.String({
  pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$',
  minLength: 1,
  maxLength: 63,
  description: 'Lower-case letters, digits and hyphens, 1 to 63 characters.',
})

const Duration = (fallback: string, description: string) =>
  Type.String({ pattern: '^(0|[1-9][0-9]{0,8})(ms|s|m|h)$', default: fallback, description })

const Port = Type.Integer({ minimum: 1, maximum: 65535 })
const Address = Type.String({ minLength: 2, maxLength: 45, format: 'ip-address', description: 'IPv4 or IPv6 address.' })

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
      maxLength: 15,
      description: 'Network interface that gets the address. Empty: the interface whose subnet contains it.',
    }),
  },
  { ...closed, description: 'A virtual IP address, held by one node of the cluster at a time.' },
)
export type Vip = Static<typeof Vip>

export const HealthCheck = Type.Object(
  {
    type: Type.Union([Type.Literal('http'), Type.Literal('tcp'), Type.Literal('none')], { default: 'tcp', description: 'What a probe does.' }),
    path: Type.String({ default: '/', pattern: '^/[!-~]*$', maxLength: 2048, description: 'http: request target of the probe.' }),
    host: Type.String({ default: '', pattern: '^[!-~]*$', maxLength: 255, description: 'http: Host header of the probe. Empty: the address and port of the member.' }),
    expectStatus: Type.String({
      default: '200-399',
      pattern: '^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$',
      maxLength: 128,
      description: 'http: status codes that count as healthy.',
    }),
    interval: Duration('2s', 'Time between two probes of a member.'),
    timeout: Duration('2s', 'A probe that takes longer has failed.'),
    rise: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: 'Successes in a row that bring a member up.' }),
    fall: Type.Integer({ minimum: 1, maximum: 100, default: 3, description: 'Failures in a row that take a member down.' }),
  },
  { ...closed, default: {}, description: 'Active health check of every member of the pool.' },
)
export type HealthCheck = Static<typeof HealthCheck>

export const Member = Type.Object(
  {
    name: Name,
    address: Address,
    port: Port,
    weight: Type.Integer({ minimum: 0, maximum: 256, default: 1, description: 'Relative share of the traffic; 0: none.' }),
    state: Type.Union([Type.Literal('enabled'), Type.Literal('drain'), Type.Literal('disabled')], {
      default: 'enabled',
      description: 'drain: finishes what it has, gets nothing new. disabled: gets nothing and is not probed.',
    }),
  },
  closed,
)
export type Member = Static<typeof Member>

export const Pool = Type.Object(
  {
    name: Name,
    balance: Type.Union([Type.Literal('round-robin'), Type.Literal('least-connections')], {
      default: 'round-robin',
      description: 'How a member is chosen. Both respect weights; least-connections is exact across all workers of a node.',
    }),
    members: Type.Array(Member, { maxItems: 4096, default: [] }),
    healthCheck: HealthCheck,
    connectTimeout: Duration('5s', 'Longest time to connect to a member.'),
    serverIdleTimeout: Duration('60s', 'Longest silence of a member while an answer is expected.'),
    retries: Type.Integer({ minimum: 0, maximum: 10, default: 2, description: 'Further members tried when the connection to one fails. Nothing that was sent is ever repeated.' }),
    maxIdleConnections: Type.Integer({ minimum: 0, maximum: 10000, default: 128, description: 'Idle connections kept to each member by each worker.' }),
    keepAlive: Duration('30s', 'How long an idle connection to a member is kept.'),
  },
  { ...closed, description: 'A set of servers that serve the same thing.' },
)
export type Pool = Static<typeof Pool>

export const Route = Type.Object(
  {
    name: Name,
    hosts: Type.Array(
      Type.String({ pattern: '^(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$', maxLength: 253 }),
      { maxItems: 256, default: [], description: 'Host names (without port): exact, or `*.` and a suffix. Empty: every host.' },
    ),
    paths: Type.Array(Type.String({ pattern: '^/[!-~]*$', maxLength: 2048 }), {
      maxItems: 256,
      default: [],
      description: 'Path prefixes, by whole segments: `/api` matches `/api` and `/api/x`, not `/apix`. Empty: every path.',
    }),
    pool: Name,
  },
  { ...closed, description: 'The first route that matches decides.' },
)
export type Route = Static<typeof Route>

export const Listener = Type.Object(
  {
    name: Name,
    vip: Type.Optional(Type.String({ maxLength: 63, description: 'Name of the VIP to listen on. Either this or `address`.' })),
    address: Type.Optional(Type.String({ maxLength: 45, format: 'ip-address', description: 'Address to listen on on every node. Either this or `vip`.' })),
    port: Port,
    protocol: Type.Union([Type.Literal('http'), Type.Literal('tcp')], { default: 'http' }),
    routes: Type.Array(Route, { maxItems: 1024, default: [], description: 'http: ordered; the first match decides, else `pool`.' }),
    pool: Type.Optional(Type.String({ maxLength: 63, description: 'Where everything goes that no route takes. Without it such a request gets 404.' })),
    requestHeadTimeout: Duration('15s', 'http: longest time for a whole request head.'),
    clientKeepAlive: Duration('60s', 'http: longest idle time between two requests of a connection.'),
    clientIdleTimeout: Duration('60s', 'http: longest silence of a client while its request body is expected.'),
    tunnelTimeout: Duration('1h', 'Longest silence in both directions of a tunnel (tcp, Upgrade).'),
    maxConnections: Type.Integer({ minimum: 1, maximum: 1000000, default: 10000, description: 'Client connections at once on one node.' }),
    maxHeadBytes: Type.Integer({ minimum: 1024, maximum: 65536, default: 65536, description: 'http: longest message head; more gets 431.' }),
    maxHeaders: Type.Integer({ minimum: 8, maximum: 1000, default: 100, description: 'http: most header fields in a message; more gets 431.' }),
    forwardedHeaders: Type.Union([Type.Literal('replace'), Type.Literal('append')], {
      default: 'replace',
      description: 'X-Forwarded-For from the client is replaced (it cannot be trusted), or appended to (another proxy of yours stands in front).',
    }),
  },
  { ...closed, description: 'An address and port that takes traffic.' },
)
export type Listener = Static<typeof Listener>

export const ConfigurationDocument = Type.Object(
  {
    haechi: Type.Literal(1, { default: 1, description: 'Version of the document format.' }),
    vips: Type.Array(Vip, { maxItems: 256, default: [] }),
    pools: Type.Array(Pool, { maxItems: 4096, default: [] }),
    listeners: Type.Array(Listener, { maxItems: 4096, default: [] }),
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

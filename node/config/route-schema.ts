/**
 * The part of the configuration document that says where a request goes: the rules by which a route matches, and what is done
 * with what it takes. What is optional has no default, so that documents that were stored before it existed stay the same.
 */
import Type, { type Static } from 'typebox'
import { bodyPattern, headerNamePattern, headerValuePattern, linePattern, methodPattern } from './health-schema.ts'
import { routeLimitFields } from './limits-schema.ts'
import { closed, durationPattern, Name, namePattern, pathPattern } from './parts.ts'

export const hostPattern = '^(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$'
const oneHostPattern = '^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$'
const cidrPattern = '^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$'
const cleanPathPattern = '^/[!-"$->@-~]*$'
const replacementPattern = '^[/$][!-"$->@-~]*$'

export const routePatternText: Readonly<Record<string, string>> = {
  [hostPattern]: 'a host name such as "www.example.com" or "*.example.com", without port',
  [oneHostPattern]: 'a host name such as "www.example.com", with a port if needed',
  [cidrPattern]: 'an address or a network, such as "10.0.0.0/8" or "2001:db8::/32"',
  [cleanPathPattern]: 'a path that starts with "/", without spaces, "?" and "#"',
  [replacementPattern]: 'a path that starts with "/" or a group ("$1"), without spaces, "?" and "#"',
}

/** 24 days, as everywhere. */
const maxDurationMs = 24 * 24 * 3600_000
export const routeDurationLimits = {
  request: { minimumMs: 1, maximumMs: maxDurationMs },
  serverIdle: { minimumMs: 1, maximumMs: maxDurationMs },
  tunnel: { minimumMs: 1, maximumMs: maxDurationMs },
} as const

const Regex = (description: string) => Type.String({ pattern: linePattern, minLength: 1, maxLength: 512, description: `${description} Matches anywhere unless anchored with \`^\` and \`$\`; syntax in docs/routing.md.` })
const PoolName = (description: string) => Type.String({ pattern: namePattern, minLength: 1, maxLength: 63, description })
const FieldName = (description: string) => Type.String({ pattern: headerNamePattern, minLength: 1, maxLength: 128, description })
const FieldValue = (description: string) => Type.String({ pattern: headerValuePattern, maxLength: 1024, description })

const valueRules = {
  equals: Type.Optional(Type.String({ pattern: linePattern, maxLength: 1024, description: 'The whole value. Of `equals`, `prefix` and `regex` at most one; none of them: it only has to be there.' })),
  prefix: Type.Optional(Type.String({ pattern: linePattern, minLength: 1, maxLength: 1024, description: 'How the value begins.' })),
  regex: Type.Optional(Regex('Regular expression for the value.')),
  not: Type.Boolean({ default: false, description: 'true: the rule holds where it would not.' }),
}
const HeaderRule = Type.Object({ name: FieldName('Name of the header field.'), ...valueRules }, { ...closed, description: 'A rule about a header field; one of several fields of the name is enough.' })
const CookieRule = Type.Object({ name: FieldName('Name of the cookie; upper and lower case differ.'), ...valueRules }, { ...closed, description: 'A rule about a cookie.' })
const QueryRule = Type.Object(
  { name: Type.String({ pattern: linePattern, minLength: 1, maxLength: 128, description: 'Name of the query parameter, decoded.' }), ...valueRules },
  { ...closed, description: 'A rule about a query parameter, after percent-decoding.' },
)
export type ValueRule = Static<typeof QueryRule>

const Match = Type.Object(
  {
    hostRegex: Type.Optional(Regex('A regular expression for the host, in place of or beside `hosts`; without case.')),
    pathsExact: Type.Array(Type.String({ pattern: cleanPathPattern, maxLength: 2048 }), { maxItems: 256, default: [], description: 'Whole paths, in place of or beside the prefixes of `paths`.' }),
    pathRegex: Type.Optional(Regex('A regular expression for the path (without query), in place of or beside `paths`.')),
    methods: Type.Array(Type.String({ pattern: methodPattern, maxLength: 20 }), { maxItems: 16, default: [], description: 'Methods, such as `GET`. Empty: every method.' }),
    headers: Type.Array(HeaderRule, { maxItems: 16, default: [], description: 'Rules about header fields: all of them hold.' }),
    cookies: Type.Array(CookieRule, { maxItems: 16, default: [], description: 'Rules about cookies: all of them hold.' }),
    query: Type.Array(QueryRule, { maxItems: 16, default: [], description: 'Rules about query parameters: all of them hold.' }),
    sources: Type.Array(Type.String({ pattern: cidrPattern, maxLength: 49 }), { maxItems: 256, default: [], description: 'Networks of clients. Empty: every client.' }),
  },
  { ...closed, description: 'Further rules: a request must fulfil `hosts`, `paths` and all of these.' },
)

const WeightedPool = Type.Object(
  {
    pool: PoolName('Name of a pool.'),
    weight: Type.Integer({ minimum: 0, maximum: 1000, default: 1, description: 'Its share relative to the others; 0: none.' }),
  },
  { ...closed, description: 'A pool and its share.' },
)

const Redirect = Type.Object(
  {
    status: Type.Union([Type.Literal(301), Type.Literal(302), Type.Literal(303), Type.Literal(307), Type.Literal(308)], { default: 302, description: 'Status of the answer. 301 and 308 are remembered by clients; 307 and 308 keep method and body.' }),
    scheme: Type.Optional(Type.Union([Type.Literal('http'), Type.Literal('https')], { description: 'Left out: that of the listener.' })),
    host: Type.Optional(Type.String({ pattern: oneHostPattern, maxLength: 259, description: 'Host to go to. Left out: the one that was asked for.' })),
    port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: 'Port to go to. Left out: the usual one of a new `scheme`, else the one that was asked for.' })),
    path: Type.Optional(Type.String({ pattern: cleanPathPattern, maxLength: 2048, description: 'Whole new path. Left out: the one that was asked for.' })),
    prefix: Type.Optional(Type.String({ pattern: cleanPathPattern, maxLength: 2048, description: 'Takes the place of the prefix in `paths` that matched.' })),
    keepQuery: Type.Boolean({ default: true, description: 'Whether the query goes along.' }),
  },
  { ...closed, description: 'Answers with a redirect.' },
)
export type Redirect = Static<typeof Redirect>

const Respond = Type.Object(
  {
    status: Type.Integer({ minimum: 200, maximum: 599, default: 200, description: 'Status of the answer.' }),
    contentType: Type.String({ default: 'text/plain; charset=utf-8', pattern: headerValuePattern, minLength: 1, maxLength: 128, description: 'Content-Type of the body.' }),
    body: Type.String({ default: '', pattern: bodyPattern, maxLength: 16_384, description: 'The body.' }),
  },
  { ...closed, description: 'Answers with a fixed response.' },
)

const Mirror = Type.Object(
  {
    pool: PoolName('Name of the pool that gets copies. Its answers are thrown away.'),
    percent: Type.Integer({ minimum: 1, maximum: 100, default: 100, description: 'Share of the requests that are copied.' }),
    maxBodyBytes: Type.Integer({ minimum: 0, maximum: 65_536, default: 0, description: 'Requests with a body of at most this many bytes are copied too; 0: only those without.' }),
  },
  { ...closed, description: 'Copies a share of the requests to another pool, without any effect on the client.' },
)

const Rewrite = Type.Object(
  {
    prefix: Type.Optional(Type.String({ pattern: cleanPathPattern, maxLength: 2048, description: 'Takes the place of the prefix in `paths` that matched.' })),
    regex: Type.Optional(Regex('The first place in the path (without query) that matches is replaced by `replacement`.')),
    replacement: Type.Optional(Type.String({ pattern: replacementPattern, maxLength: 1024, description: 'What takes that place: `$1` to `$9` are the groups, `$0` is the whole match, `$$` a dollar.' })),
    host: Type.Optional(Type.String({ pattern: oneHostPattern, maxLength: 259, description: 'Host that the member is asked for.' })),
  },
  { ...closed, description: 'Changes the request before it goes to the member.' },
)

const SetHeader = Type.Object({ name: FieldName('Name of the field.'), value: FieldValue('Its value.') }, { ...closed, description: 'A header field that takes the place of all of its name.' })
export const HeaderEdits = Type.Object(
  {
    setRequest: Type.Array(SetHeader, { maxItems: 32, default: [], description: 'Header fields that requests get.' }),
    removeRequest: Type.Array(FieldName(''), { maxItems: 32, default: [], description: 'Header fields that are taken from requests.' }),
    setResponse: Type.Array(SetHeader, { maxItems: 32, default: [], description: 'Header fields that answers get, such as Strict-Transport-Security.' }),
    removeResponse: Type.Array(FieldName(''), { maxItems: 32, default: [], description: 'Header fields that are taken from answers of members.' }),
  },
  { ...closed, description: 'Header fields that are set or removed on the way.' },
)
export type HeaderEdits = Static<typeof HeaderEdits>

const optionalDuration = (description: string) => Type.Optional(Type.String({ pattern: durationPattern, description }))
const Timeouts = Type.Object(
  {
    request: optionalDuration('Longest time from the request head to the end of the answer, retries included. Left out: no limit. Not for tunnels.'),
    serverIdle: optionalDuration("In place of the pool's `serverIdleTimeout`."),
    tunnel: optionalDuration("In place of the listener's `tunnelTimeout`."),
  },
  { ...closed, description: 'Timeouts of this route.' },
)

const Retries = Type.Object(
  {
    attempts: Type.Integer({ minimum: 0, maximum: 5, default: 1, description: "Further members tried after the first, in place of the pool's `retries`." }),
    after: Type.Array(Type.Union([Type.Literal('connect-failure'), Type.Literal('reset'), Type.Literal('timeout')]), {
      maxItems: 3,
      default: ['connect-failure', 'reset'],
      description: 'connect-failure: no connection could be made. reset: the member broke off before it answered. timeout: it was silent for too long. The last two only where a repetition is safe: idempotent method, and no body or one that was kept.',
    }),
    statuses: Type.Array(Type.Integer({ minimum: 500, maximum: 599 }), { maxItems: 16, default: [], description: 'Statuses of a member, such as 503, after which another one is asked; only where a repetition is safe.' }),
    budgetPercent: Type.Integer({ minimum: 0, maximum: 100, default: 20, description: 'At most this share of the requests of the last 10 s is repeated, and 3 a second on each worker beside it, so that retries cannot bury members that are in trouble.' }),
    maxBodyBytes: Type.Integer({ minimum: 0, maximum: 65_536, default: 0, description: 'Request bodies of at most this many bytes are kept for a repetition; 0: requests with a body are not repeated.' }),
  },
  { ...closed, description: 'When a request is sent to another member.' },
)

export const Route = Type.Object(
  {
    name: Name,
    hosts: Type.Array(
      Type.String({ pattern: hostPattern, maxLength: 253 }),
      { maxItems: 256, default: [], description: 'Host names (without port): exact, or `*.` and a suffix. Empty: every host.' },
    ),
    paths: Type.Array(Type.String({ pattern: pathPattern, maxLength: 2048 }), {
      maxItems: 256,
      default: [],
      description: 'Path prefixes, by whole segments: `/api` matches `/api` and `/api/x`, not `/apix`. Empty: every path.',
    }),
    match: Type.Optional(Match),
    pool: Type.Optional(PoolName('Name of the pool where matching requests go. A route has exactly one of `pool`, `pools`, `redirect` and `respond`.')),
    pools: Type.Optional(Type.Array(WeightedPool, { maxItems: 16, description: 'Several pools that share the requests by weight: canary, or blue and green.' })),
    split: Type.Optional(Type.Union([Type.Literal('request'), Type.Literal('source')], { description: 'How `pools` share: `request` (as if left out): each request anew; `source`: a client address stays with one pool while the weights stay.' })),
    redirect: Type.Optional(Redirect),
    respond: Type.Optional(Respond),
    rewrite: Type.Optional(Rewrite),
    headers: Type.Optional(HeaderEdits),
    mirror: Type.Optional(Mirror),
    timeouts: Type.Optional(Timeouts),
    retries: Type.Optional(Retries),
    ...routeLimitFields,
  },
  { ...closed, description: 'The first route that matches decides.' },
)
export type Route = Static<typeof Route>

/** What a listener has beside its routes. */
export const listenerRouteFields = {
  normalizePath: Type.Optional(
    Type.Union([Type.Literal('match'), Type.Literal('forward'), Type.Literal('off')], {
      description: 'http: what is done about paths that can be read in two ways. `match` (as if left out): routes see the path with `%41` as `A` and `//` as `/`, members get it as it came, and where routes look at paths one with `.` or `..` as a segment gets 400. `forward`: members get it like that too, `.` and `..` resolved. `off`: routes see it as it came.',
    }),
  ),
  redirectToHttps: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535, description: 'http: every request is redirected (308) to https on this port of the same host, usually 443.' })),
  headers: Type.Optional(HeaderEdits),
}

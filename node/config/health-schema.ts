/**
 * The part of the configuration document that says when a member may get traffic: active checks, passive checks, slow start,
 * draining, the circuit breaker, and what clients are told when no member may.
 *
 * What came after the first release has no defaults where it would stand in every document: those that were stored before
 * stay the same, to the byte.
 */
import Type, { type Static } from 'typebox'
import { closed, Duration, durationPattern, pathPattern, Port, printablePattern, statusPattern } from './parts.ts'

export const methodPattern = '^[A-Z]{1,20}$'
export const headerNamePattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
export const headerValuePattern = '^([!-~]([ -~]*[!-~])?)?$'
export const linePattern = '^[ -~]*$'
const bytesPattern = '^([ -\\[\\]-~]|\\\\([rnt0\\\\]|x[0-9A-Fa-f]{2}))*$'
const scriptPattern = '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$'
export const bodyPattern = '^[\\t\\n\\r -~\\u00a0-\\ud7ff\\ue000-\\ufffd]*$'

export const healthPatternText: Readonly<Record<string, string>> = {
  [methodPattern]: 'a method in capital letters, such as "GET"',
  [headerNamePattern]: 'the name of a header field',
  [headerValuePattern]: 'printable ASCII characters, no space at either end',
  [linePattern]: 'printable ASCII characters',
  [bytesPattern]: 'printable ASCII characters, other bytes as \\r, \\n, \\t, \\0, \\\\ or \\x and two hexadecimal digits',
  [scriptPattern]: 'the name of a program in the checks directory: lower-case letters, digits and hyphens',
  [bodyPattern]: 'text without control characters other than tabs and line ends',
}

export const healthDurationLimits = {
  interval: { minimumMs: 10, maximumMs: 3600_000 },
  downInterval: { minimumMs: 10, maximumMs: 3600_000 },
  timeout: { minimumMs: 1, maximumMs: 600_000 },
  maxLatency: { minimumMs: 1, maximumMs: 600_000 },
  window: { minimumMs: 1000, maximumMs: 3600_000 },
  ejectionTime: { minimumMs: 100, maximumMs: 24 * 3600_000 },
  maxEjectionTime: { minimumMs: 100, maximumMs: 24 * 3600_000 },
  slowStart: { minimumMs: 0, maximumMs: 3600_000 },
  drainTimeout: { minimumMs: 0, maximumMs: 24 * 3600_000 },
  openTime: { minimumMs: 100, maximumMs: 3600_000 },
} as const

const optionalDuration = (description: string) => Type.Optional(Type.String({ pattern: durationPattern, description }))

/** A header field of a probe. */
const ProbeHeader = Type.Object(
  {
    name: Type.String({ pattern: headerNamePattern, minLength: 1, maxLength: 128, description: 'Name of the field.' }),
    value: Type.String({ default: '', pattern: headerValuePattern, maxLength: 1024, description: 'Its value.' }),
  },
  { ...closed, description: 'A header field that probes carry.' },
)

export const HealthCheck = Type.Object(
  {
    type: Type.Union(
      [
        Type.Literal('http'), Type.Literal('https'), Type.Literal('tcp'), Type.Literal('tls'), Type.Literal('udp'),
        Type.Literal('script'), Type.Literal('none'),
      ],
      {
        default: 'tcp',
        description:
          'What a probe does. http, https: a request. tcp, tls: a connection (and handshake). udp: a datagram. script: runs a program of the checks directory. none: members are taken to be up.',
      },
    ),
    path: Type.String({ default: '/', pattern: pathPattern, maxLength: 2048, description: 'http, https: request target of the probe.' }),
    host: Type.String({ default: '', pattern: printablePattern, maxLength: 255, description: 'http, https: Host header of the probe. Empty: the address and port of the member.' }),
    expectStatus: Type.String({
      default: '200-399',
      pattern: statusPattern,
      maxLength: 128,
      description: 'http, https: status codes that count as healthy.',
    }),
    interval: Duration('2s', 'Time between two probes of a member. It varies by 10 % to either side.'),
    timeout: Duration('2s', 'A probe that takes longer has failed.'),
    rise: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: 'Successes in a row that bring a member up.' }),
    fall: Type.Integer({ minimum: 1, maximum: 100, default: 3, description: 'Failures in a row that take a member down.' }),
    method: Type.Optional(Type.String({ pattern: methodPattern, maxLength: 20, description: 'http, https: method of the probe. Left out: GET.' })),
    headers: Type.Optional(Type.Array(ProbeHeader, { maxItems: 32, description: 'http, https: further header fields of the probe. Host, Connection and the framing are set by Haechi.' })),
    expectBody: Type.Optional(
      Type.String({ pattern: linePattern, minLength: 1, maxLength: 256, description: 'http, https: text that the first 16 KiB of the answer’s body must contain.' }),
    ),
    maxLatency: optionalDuration('An answer (or connection) that takes longer counts as a failure, although it is right. Left out: only `timeout` counts.'),
    verify: Type.Optional(
      Type.Boolean({ description: 'https, tls: whether the member’s certificate must be valid for `sni` (else its address) and come from `tls.authority` of the pool (else an authority that this machine trusts). Left out: false.' }),
    ),
    sni: Type.Optional(
      Type.String({ pattern: printablePattern, minLength: 1, maxLength: 253, description: 'https, tls: server name in the handshake. Left out: `tls.serverName` of the pool; else for https the name in `host`, if it is one; else none.' }),
    ),
    send: Type.Optional(
      Type.String({ pattern: bytesPattern, maxLength: 1024, description: 'tcp, tls, udp: what is sent once connected, with \\r, \\n, \\t, \\0, \\\\ and \\xHH for other bytes. udp sends an empty datagram without it.' }),
    ),
    expect: Type.Optional(
      Type.String({ pattern: bytesPattern, maxLength: 1024, description: 'tcp, tls, udp: what the answer must begin with, written as `send`. udp without it: healthy unless the host says that the port is closed, within `timeout` or one second.' }),
    ),
    script: Type.Optional(
      Type.String({ pattern: scriptPattern, maxLength: 63, description: 'script: name of a program in the checks directory (`checks` in the data directory, or `--checks`). It gets address and port as arguments; exit code 0 is healthy.' }),
    ),
    address: Type.Optional(Type.String({ minLength: 2, maxLength: 45, format: 'ip-address', description: 'Address that is probed. Left out: the address of the member.' })),
    port: Type.Optional(Port('Port that is probed. Left out: the port of the member.')),
    downInterval: optionalDuration('Time between two probes of a member that is down. Left out: `interval`.'),
  },
  { ...closed, default: {}, description: 'Active health check of every member of the pool.' },
)
export type HealthCheck = Static<typeof HealthCheck>

export const PassiveHealth = Type.Object(
  {
    failures: Type.Integer({
      minimum: 1, maximum: 1000, default: 5,
      description: 'Failures in a row (over all workers of a node) that eject a member: failed connections, timeouts, broken answers and the statuses below.',
    }),
    statuses: Type.String({ default: '500-599', pattern: statusPattern, maxLength: 128, description: 'http: status codes of answers that count as failures.' }),
    errorRate: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 100, description: 'A member of which at least this share of the requests in a `window` failed is ejected, too, percent. Left out: only failures in a row count.' }),
    ),
    window: Duration('10s', 'For `errorRate`: the time over which requests are counted.'),
    minimumRequests: Type.Integer({ minimum: 1, maximum: 100000, default: 20, description: 'For `errorRate`: with fewer requests in the window nothing is said.' }),
    ejectionTime: Duration('30s', 'How long a member is ejected at first; each repeat adds as much again.'),
    maxEjectionTime: Duration('5m', 'Longest ejection, however often it is repeated.'),
    maxEjected: Type.Integer({
      minimum: 1, maximum: 100, default: 50,
      description: 'Largest share of the pool’s members that may be ejected at once, percent (of two or more members always one at least). The last one that serves is never ejected.',
    }),
  },
  { ...closed, description: 'Members that fail live traffic are ejected for a time. Left out: only the active check counts.' },
)
export type PassiveHealth = Static<typeof PassiveHealth>

export const CircuitBreaker = Type.Object(
  {
    failures: Type.Integer({ minimum: 1, maximum: 100000, default: 20, description: 'Failures in a row of the whole pool (connections, timeouts, broken answers, 5xx or the `statuses` of `passiveHealth`) that open the circuit.' }),
    openTime: Duration('10s', 'How long requests are answered with 503 at once, before some are tried again.'),
    trials: Type.Integer({ minimum: 1, maximum: 1000, default: 3, description: 'Requests let through after that. All of them must succeed to close the circuit; one that fails opens it again.' }),
  },
  { ...closed, description: 'Gives a pool that only fails a rest. Left out: every request is tried.' },
)
export type CircuitBreaker = Static<typeof CircuitBreaker>

export const Maintenance = Type.Object(
  {
    enabled: Type.Boolean({ default: false, description: 'true: every request gets this answer. false: only those for which no member is available.' }),
    status: Type.Integer({ minimum: 200, maximum: 599, default: 503, description: 'Status code of the answer.' }),
    contentType: Type.String({ default: 'text/html; charset=utf-8', pattern: headerValuePattern, minLength: 1, maxLength: 128, description: 'Its Content-Type.' }),
    body: Type.String({ default: '', pattern: bodyPattern, maxLength: 16384, description: 'Its body, at most 16 KiB in UTF-8.' }),
    retryAfter: Type.Integer({ minimum: 0, maximum: 86400, default: 0, description: 'Seconds in Retry-After; 0: none.' }),
  },
  { ...closed, description: 'Answer of the pool in place of the plain 503. A tcp listener refuses connections while it is enabled.' },
)
export type Maintenance = Static<typeof Maintenance>

/** The fields of a pool beside its active check. */
export const poolHealthFields = {
  passiveHealth: Type.Optional(PassiveHealth),
  panicThreshold: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 100, description: 'When a smaller share of the enabled members is healthy than this, percent, traffic goes to all of them: a check that fails everywhere must not take the service down, nor the last members be overrun. Left out or 0: never.' }),
  ),
  slowStart: optionalDuration('How long the share of a member grows from an eighth to the whole after it came up. Left out: it has the whole at once.'),
  drainTimeout: optionalDuration('How long what a draining member still has may go on; then its connections are closed. Left out or 0s: as long as it takes.'),
  circuitBreaker: Type.Optional(CircuitBreaker),
  maintenance: Type.Optional(Maintenance),
}

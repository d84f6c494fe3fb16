/**
 * JSON schemas of what the API takes and gives: they validate parameters and small bodies, and they are the OpenAPI
 * document. `types.ts` says the same in TypeScript for the console; the assignments at the end of this file fail to
 * compile when the two differ.
 */
import { type Static, type TSchema, Type } from 'typebox'
import { ConfigurationDocument, Listener, Name, Pool, Vip } from '../config/schema.ts'
import type * as api from './types.ts'

const closed = { additionalProperties: false } as const
const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const List = <T extends TSchema>(schema: T) => Type.Array(schema)
const EpochMs = Type.Number({
  description: 'Milliseconds since the epoch, by the wall clock of the node that says it.',
})

/** Parts of the configuration that have a name of their own in the OpenAPI document. Bodies that refer to them are
 *  validated by node/config, which knows more than a schema can say. */
export const namedSchemas = [
  ConfigurationDocument,
  { ...Vip, $id: 'Vip' },
  { ...Pool, $id: 'Pool' },
  { ...Listener, $id: 'Listener' },
]
export const documentReference = { $ref: 'ConfigurationDocument#' }
export const partReference = { vips: { $ref: 'Vip#' }, pools: { $ref: 'Pool#' }, listeners: { $ref: 'Listener#' } }

export const UserRole = Type.Union([Type.Literal('viewer'), Type.Literal('operator'), Type.Literal('administrator')], {
  description:
    'viewer: reads. operator: changes the configuration and hands over. administrator: users, nodes, tokens.',
})

/** User names: what can be typed, logged and put into a path without a second thought. */
export const UserName = Type.String({ pattern: '^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$', maxLength: 63 })
export const NodeName = Type.String({ pattern: '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$', maxLength: 63 })
export const NameParameter = Type.Object({ name: Name })
export const UserParameter = Type.Object({ name: UserName })
export const NodeParameter = Type.Object({ id: NodeName })
export const RevisionParameter = Type.Object({ revision: Type.Integer({ minimum: 1 }) })

const Password = Type.String({ minLength: 1, maxLength: 1024 })
export const SignInBody = Type.Object(
  { name: Type.String({ minLength: 1, maxLength: 256 }), password: Password },
  closed,
)
export const PasswordBody = Type.Object({ current: Password, next: Password }, closed)
export const UserBody = Type.Object(
  {
    role: Type.Optional(UserRole),
    password: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'Required for a new user.' })),
    mustChangePassword: Type.Optional(
      Type.Boolean({
        description:
          'The user has to choose another password at the next sign-in. Default: true when a password is given.',
      }),
    ),
  },
  closed,
)
export const RollbackBody = Type.Object(
  { toRevision: Type.Integer({ minimum: 1 }), comment: Type.Optional(Type.String({ maxLength: 500, default: '' })) },
  closed,
)
export const TokenBody = Type.Object(
  {
    role: Type.Union([Type.Literal('node'), Type.Literal('witness')]),
    ttlMinutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440, default: 60 })),
  },
  closed,
)
export const HandOverBody = Type.Union([
  Type.Object(
    { to: Type.Optional(Type.Union([NodeName, Type.Literal('')], { description: 'Empty: the best other node.' })) },
    closed,
  ),
  Type.Null(),
])
export const PageQuery = Type.Object(
  {
    before: Type.Optional(Type.Integer({ minimum: 1, description: 'Only what is older than this revision or index.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50 })),
  },
  closed,
)
export const DiffQuery = Type.Object({ against: Type.Optional(Type.Integer({ minimum: 0 })) }, closed)
/** How fresh an answer must be. */
export const ConsistencyQuery = Type.Object(
  {
    consistency: Type.Optional(
      Type.Union([Type.Literal('local'), Type.Literal('linearizable')], {
        description:
          '`local` (the default): what this node has applied, at once, even without a quorum. `linearizable`: with every change that was acknowledged before the request, wherever that was; 503 when no majority can be reached.',
      }),
    ),
  },
  closed,
)

export const CommentQuery = Type.Object(
  { comment: Type.Optional(Type.String({ maxLength: 500, default: '' })) },
  closed,
)

const ProblemSchema = Type.Object({
  field: Type.String({
    description: 'JSON pointer of the field at fault; in the configuration always from the root of the document.',
  }),
  message: Type.String(),
  line: Type.Optional(Type.Integer()),
  column: Type.Optional(Type.Integer()),
})
export const ApiProblem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String(),
    problems: Type.Optional(List(ProblemSchema)),
    revision: Type.Optional(Type.Integer()),
  },
  { description: 'RFC 9457 problem details.' },
)
export const Health = Type.Object({ ok: Type.Boolean() })
export const SessionInfo = Type.Object({
  user: Type.Object({ name: Type.String(), role: UserRole, mustChangePassword: Type.Boolean() }),
  csrfToken: Type.String(),
  token: Type.Optional(Type.String({ description: 'Not given to browsers: they have the cookie.' })),
  expiresEpochMs: EpochMs,
})
export const ConfigView = Type.Object({
  revision: Type.Integer(),
  hash: Type.String(),
  document: ConfigurationDocument,
  author: Type.String(),
  atEpochMs: EpochMs,
  comment: Type.String(),
})
export const RevisionSummary = Type.Object({
  revision: Type.Integer(),
  hash: Type.String(),
  author: Type.String(),
  from: Type.String(),
  atEpochMs: EpochMs,
  comment: Type.String(),
  rolledBackTo: Nullable(Type.Integer()),
  summary: List(Type.String()),
})
const Change = Type.Object({
  path: Type.String(),
  kind: Type.Union([Type.Literal('added'), Type.Literal('removed'), Type.Literal('changed')]),
  before: Type.Optional(Type.String()),
  after: Type.Optional(Type.String()),
  text: Type.String(),
})
export const DiffView = Type.Object({
  from: Type.Integer(),
  to: Type.Integer(),
  changes: List(Change),
  unified: Type.String(),
})
export const ValidateResult = Type.Object({
  valid: Type.Boolean(),
  problems: List(ProblemSchema),
  changes: List(Change),
})
const RouteHeader = Type.Object({ name: Type.String({ minLength: 1, maxLength: 256 }), value: Type.String({ maxLength: 8192 }) }, closed)
export const RouteTestBody = Type.Object(
  {
    listener: Type.String({ minLength: 1, maxLength: 63 }),
    method: Type.Optional(Type.String({ minLength: 1, maxLength: 64, description: 'Default: GET.' })),
    target: Type.Optional(Type.String({ minLength: 1, maxLength: 16_384, description: 'Path and query. Default: /.' })),
    host: Type.String({ minLength: 1, maxLength: 259, description: 'Value of the Host field.' }),
    headers: Type.Optional(Type.Array(RouteHeader, { maxItems: 100 })),
    source: Type.Optional(Type.String({ maxLength: 45, description: 'Address of the client. Default: 192.0.2.1, which is nobody.' })),
  },
  closed,
)
const RouteRuleKind = Type.Union([
  Type.Literal('hosts'), Type.Literal('paths'), Type.Literal('methods'), Type.Literal('headers'), Type.Literal('cookies'), Type.Literal('query'), Type.Literal('sources'),
])
export const RouteTestView = Type.Object({
  outcome: Type.Union([Type.Literal('route'), Type.Literal('default'), Type.Literal('none'), Type.Literal('refused'), Type.Literal('malformed')], {
    description: "route: that of `route`. default: the listener's pool. none: 404. refused: 400, the path can be read in two ways. malformed: 400, it is no request.",
  }),
  route: Type.String(),
  action: Type.Union([Type.Literal('pools'), Type.Literal('redirect'), Type.Literal('respond'), Type.Literal('none')]),
  pools: List(Type.Object({ pool: Type.String(), weight: Type.Integer() })),
  status: Type.Integer({ description: 'Of the answer that the listener gives itself; 0: it gives none.' }),
  location: Type.String({ description: 'Where a redirect leads.' }),
  target: Type.String({ description: 'What the member is asked for.' }),
  memberHost: Type.String({ description: 'The Host that the member is asked for.' }),
  routes: Type.Array(Type.Object({ name: Type.String(), matches: Type.Boolean(), fails: List(RouteRuleKind) }), {
    description: 'Every route of the listener in order, with the kinds of its rules that do not hold.',
  }),
})
export const ApplyResult = Type.Object({ revision: Type.Integer(), changed: Type.Boolean(), changes: List(Change) })
const Role = Type.Union([Type.Literal('node'), Type.Literal('witness')])
export const JoinToken = Type.Object({ token: Type.String(), role: Role, expiresEpochMs: EpochMs })
export const AuditView = Type.Object({
  index: Type.Integer(),
  atEpochMs: EpochMs,
  actor: Type.Object({ name: Type.String(), from: Type.String(), node: Type.String() }),
  action: Type.String(),
  detail: Type.String(),
  revision: Nullable(Type.Integer()),
})
const UpgradeNode = Type.Object({
  id: Type.String(),
  role: Role,
  version: Type.String({ description: 'Of the product; empty when it is not known.' }),
  commandLevel: Nullable(Type.Integer({ description: 'Highest level of replicated commands that it understands.' })),
  protocols: Nullable(Type.Object({ min: Type.Integer(), max: Type.Integer() })),
  protocol: Nullable(Type.Integer({ description: 'In use between it and this node.' })),
  connected: Type.Boolean(),
})
export const UpgradeView = Type.Object({
  level: Type.Integer({ description: 'Level of replicated commands in use: what older members understand, too.' }),
  target: Type.Integer({ description: 'Level after the upgrade is finished.' }),
  state: Type.Union([Type.Literal('current'), Type.Literal('ready'), Type.Literal('blocked')], {
    description: 'current: nothing to finish. ready: every member understands the target. blocked: see blockers.',
  }),
  blockers: List(Type.String()),
  nodes: List(UpgradeNode),
})
export const UserView = Type.Object({ name: Type.String(), role: UserRole, mustChangePassword: Type.Boolean() })
const MemberHealth = Type.Union([
  Type.Literal('checking'),
  Type.Literal('up'),
  Type.Literal('down'),
  Type.Literal('draining'),
  Type.Literal('disabled'),
  Type.Literal('ejected'),
])
const ListenerCounters = Type.Object({
  name: Type.String(),
  connections: Type.Number(),
  connectionsTotal: Type.Number(),
  requestsTotal: Type.Number(),
  responsesTotal: Type.Tuple([Type.Number(), Type.Number(), Type.Number(), Type.Number(), Type.Number()]),
  bytesInTotal: Type.Number(),
  bytesOutTotal: Type.Number(),
  errorsTotal: Type.Record(Type.String(), Type.Number()),
  routing: Type.Optional(
    Type.Object({ retriesTotal: Type.Number(), retriesRefusedTotal: Type.Number(), copiesTotal: Type.Number(), copiesSkippedTotal: Type.Number() }),
  ),
  error: Type.String(),
})
const MemberCounters = Type.Object({
  pool: Type.String(),
  member: Type.String(),
  active: Type.Number(),
  requestsTotal: Type.Number(),
  connectFailuresTotal: Type.Number(),
  errorsTotal: Type.Number(),
  health: MemberHealth,
  healthSinceEpochMs: EpochMs,
  ejectionsTotal: Type.Optional(Type.Number()),
  lastProbe: Type.String(),
})
const CircuitState = [Type.Literal('closed'), Type.Literal('open'), Type.Literal('half-open')] as const
const NodeReport = Type.Object({
  id: Type.String(),
  atEpochMs: EpochMs,
  startedEpochMs: EpochMs,
  revisionInForce: Type.Integer(),
  degraded: Type.String(),
  appliedIndex: Type.Integer(),
  vips: List(
    Type.Object({
      name: Type.String(),
      address: Type.String(),
      state: Type.String(),
      sinceEpochMs: EpochMs,
      leaseRemainingMs: Type.Number(),
      error: Type.String(),
    }),
  ),
  heard: Type.Optional(List(Type.Object({ id: Type.String(), agoMs: Type.Number() }))),
  listeners: List(ListenerCounters),
  members: List(MemberCounters),
  circuits: Type.Optional(List(Type.Object({ pool: Type.String(), state: Type.Union([...CircuitState]) }))),
  latencies: Type.Optional(List(Type.Object({ pool: Type.String(), p50Ms: Type.Number(), p90Ms: Type.Number(), p99Ms: Type.Number() }))),
  heartPid: Type.Optional(Type.Integer()),
  heartLoopGapMs: Type.Number(),
  heartLoopGapMaxMs: Type.Optional(Type.Number()),
  heartResidentBytes: Type.Number(),
  residentBytes: Type.Number(),
  version: Type.String(),
  stateHash: Type.String(),
})
export const NodeView = Type.Object({
  id: Type.String(),
  role: Role,
  address: Type.String(),
  apiAddress: Type.String(),
  voter: Type.Boolean(),
  leader: Type.Boolean(),
  self: Type.Boolean(),
  reachable: Type.Boolean(),
  lastHeardAgoMs: Nullable(Type.Number()),
  matchIndex: Nullable(Type.Number()),
  report: Nullable(NodeReport),
})
const VipView = Type.Object({
  name: Type.String(),
  address: Type.String(),
  mode: Type.String(),
  holder: Type.String(),
  sinceEpochMs: EpochMs,
  leaseRemainingMs: Type.Number(),
  error: Type.String(),
})
const ListenerView = Type.Object({
  name: Type.String(),
  address: Type.String(),
  port: Type.Integer(),
  portEnd: Type.Optional(Type.Integer({ description: 'Last port of a range.' })),
  protocol: Type.String(),
  connections: Type.Number(),
  requestsPerSecond: Type.Number(),
  bytesInPerSecond: Type.Number(),
  bytesOutPerSecond: Type.Number(),
  errorsPerSecond: Type.Number(),
  problems: List(Type.String()),
})
const MemberView = Type.Object({
  name: Type.String(),
  address: Type.String(),
  port: Type.Integer(),
  weight: Type.Integer(),
  health: MemberHealth,
  healthSinceEpochMs: EpochMs,
  lastProbe: Type.String(),
  active: Type.Number(),
  requestsPerSecond: Type.Number(),
  errorsPerSecond: Type.Number(),
})
const PoolView = Type.Object({
  name: Type.String(),
  balance: Type.String(),
  requestsPerSecond: Type.Number(),
  active: Type.Number(),
  up: Type.Integer(),
  circuit: Type.Union([...CircuitState, Type.Literal('none')]),
  latency: Type.Union([Type.Object({ p50Ms: Type.Number(), p90Ms: Type.Number(), p99Ms: Type.Number() }), Type.Null()]),
  members: List(MemberView),
})
const TrafficPoint = Type.Object({
  atEpochMs: EpochMs,
  requestsPerSecond: Type.Number(),
  errorsPerSecond: Type.Number(),
  bytesInPerSecond: Type.Number(),
  bytesOutPerSecond: Type.Number(),
  connections: Type.Number(),
})
export const ClusterOverview = Type.Object({
  clusterId: Type.String(),
  self: Type.String(),
  atEpochMs: EpochMs,
  revision: Type.Integer(),
  leader: Type.String(),
  term: Type.Integer(),
  quorum: Type.Boolean(),
  nodes: List(NodeView),
  vips: List(VipView),
  listeners: List(ListenerView),
  pools: List(PoolView),
  expiring: Type.Optional(
    List(
      Type.Object({
        name: Type.String(),
        kind: Type.Union([Type.Literal('key-pair'), Type.Literal('authority')]),
        state: Type.Union([Type.Literal('soon'), Type.Literal('urgent'), Type.Literal('expired')]),
        notAfterEpochMs: EpochMs,
        what: Type.String(),
      }),
    ),
  ),
  traffic: List(TrafficPoint),
})

/** Largest text of PEM in a request, characters. */
const maxPem = 262_144
const Pem = (description: string) => Type.String({ maxLength: maxPem, description })
export const CertificateBody = Type.Object(
  {
    kind: Type.Optional(
      Type.Union([Type.Literal('key-pair'), Type.Literal('authority')], {
        default: 'key-pair',
        description: 'key-pair: a certificate with its private key. authority: certificates to verify others with.',
      }),
    ),
    certificate: Type.Optional(
      Pem('key-pair: PEM of the certificate and its intermediates, in any order. Left out: those that are stored already.'),
    ),
    key: Type.Optional(
      Type.String({
        maxLength: 32_768,
        description:
          'key-pair: PEM of the private key (RSA, EC, Ed25519). Write-only. Left out: the one among the certificates, else the one that is stored already.',
      }),
    ),
    passphrase: Type.Optional(Type.String({ maxLength: 1024, description: 'Of an encrypted key or of the PKCS#12 file. Not stored.' })),
    pkcs12: Type.Optional(Pem('key-pair: base64 of a PKCS#12 file with certificate and key.')),
    ocspResponse: Type.Optional(
      Pem('key-pair: base64 of an OCSP response (DER) to staple; empty: none. Left out: none for a new certificate, else the one that is stored.'),
    ),
    ocspFetch: Type.Optional(
      Type.Boolean({
        description:
          'key-pair: whether the cluster asks the responder that the certificate names (plain HTTP) for OCSP responses to staple. Left out: true for a new certificate, else as before.',
      }),
    ),
    certificates: Type.Optional(Pem('authority: PEM of one or more CA certificates.')),
    revocations: Type.Optional(Pem('authority: PEM of revocation lists. Left out: none.')),
  },
  closed,
)
const CertificateFacts = Type.Object({
  subject: Type.String(),
  issuer: Type.String(),
  names: List(Type.String()),
  notBeforeEpochMs: EpochMs,
  notAfterEpochMs: EpochMs,
  fingerprint: Type.String({ description: 'SHA-256, hexadecimal.' }),
  serialNumber: Type.String(),
  keyType: Type.String(),
})
const certificateFields = {
  name: Type.String(),
  kind: Type.Union([Type.Literal('key-pair'), Type.Literal('authority')]),
  version: Type.Integer({ description: 'Rises with every replacement; the entity tag.' }),
  updatedEpochMs: EpochMs,
  state: Type.Union([
    Type.Literal('ok'),
    Type.Literal('soon'),
    Type.Literal('urgent'),
    Type.Literal('expired'),
    Type.Literal('not-yet-valid'),
  ]),
  notAfterEpochMs: EpochMs,
  certificates: List(CertificateFacts),
  revocationLists: Type.Integer(),
  revocationsNextUpdateEpochMs: Nullable(EpochMs),
  ocspFetch: Type.Boolean(),
  ocsp: Nullable(Type.Object({ thisUpdateEpochMs: EpochMs, nextUpdateEpochMs: Nullable(EpochMs) })),
  usedBy: List(Type.String({ description: 'JSON pointer of a field of the configuration in force.' })),
}
export const CertificateView = Type.Object(certificateFields)
export const CertificateDetail = Type.Object({
  ...certificateFields,
  pem: Type.String({ description: 'PEM: the chain, or the authorities. Never a key.' }),
  revocations: Type.String({ description: 'PEM: revocation lists.' }),
})
export const CertificateResult = Type.Object({
  certificate: CertificateView,
  warnings: List(Type.String({ description: 'What an operator should know and may intend.' })),
})

const SessionFilterFields = {
  pool: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: 'Name of the pool.' })),
  member: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: 'Name of the member; needs `pool`.' })),
  client: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'One client, as it is listed.' })),
  key: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'How the client begins: of an address, or of a hash.' })),
  value: Type.Optional(
    Type.String({ minLength: 1, maxLength: 4096, description: 'Whole value of the cookie or header field; needs `pool`.' }),
  ),
} as const
export const SessionFilter = Type.Object(SessionFilterFields, closed)
export const SessionQuery = Type.Object(
  {
    ...SessionFilterFields,
    after: Type.Optional(Type.Integer({ minimum: 0, description: '`next` of the page before.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 50 })),
  },
  closed,
)
export const SessionPurgeQuery = Type.Object(
  { ...SessionFilterFields, all: Type.Optional(Type.Boolean({ description: 'Every entry of every pool.' })) },
  closed,
)
const SessionEntryView = Type.Object({
  key: Type.String(),
  pool: Type.String(),
  type: Type.String(),
  client: Type.String(),
  member: Type.String(),
  remainingMs: Nullable(Type.Number()),
})
export const SessionEntriesView = Type.Object({
  entries: List(SessionEntryView),
  next: Nullable(Type.Integer()),
  total: Type.Integer(),
})
export const SessionPurgeView = Type.Object({ removed: Type.Integer() })

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T
/** `true` when the schema and the type of types.ts describe the same values, else a type that `true` does not fit. */
type Same<S extends TSchema, T> = [DeepReadonly<Static<S>>] extends [DeepReadonly<T>]
  ? [DeepReadonly<T>] extends [DeepReadonly<Static<S>>]
    ? true
    : { readonly notInSchema: T }
  : { readonly notInTypes: Static<S> }

/** Checked by the compiler only. @public */
export const schemasMatchTypes: readonly [
  Same<typeof ApiProblem, api.ApiProblem>,
  Same<typeof SessionInfo, api.SessionInfo>,
  Same<typeof ConfigView, api.ConfigView>,
  Same<typeof RevisionSummary, api.RevisionSummary>,
  Same<typeof DiffView, api.DiffView>,
  Same<typeof ValidateResult, api.ValidateResult>,
  Same<typeof RouteTestView, api.RouteTestView>,
  Same<typeof ApplyResult, api.ApplyResult>,
  Same<typeof JoinToken, api.JoinToken>,
  Same<typeof AuditView, api.AuditView>,
  Same<typeof UpgradeView, api.UpgradeView>,
  Same<typeof UserView, api.UserView>,
  Same<typeof SessionEntriesView, api.SessionEntriesView>,
  Same<typeof SessionPurgeView, api.SessionPurgeView>,
  Same<typeof NodeView, api.NodeView>,
  Same<typeof ClusterOverview, api.ClusterOverview>,
  Same<typeof CertificateDetail, api.CertificateDetail>,
  Same<typeof CertificateResult, api.CertificateResult>,
] = [true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true, true]

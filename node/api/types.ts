/**
 * What the API says: the only file of the node that the console imports. Types only. All rates are per second, all
 * instants wall-clock milliseconds since the epoch (for people), all durations milliseconds.
 *
 * Routes under /api/v1 (session cookie + `X-CSRF-Token`, or `Authorization: Bearer`; on the node itself a unix socket
 * `api.sock` in the data directory, readable by its owner only, acts as administrator `local`):
 *
 *   GET    /health                          no sign-in; {ok:true}
 *   POST   /session                         {name,password} → SessionInfo, sets the cookie; rate-limited
 *   GET    /session · DELETE /session
 *   POST   /session/password                {current,next}
 *   GET    /status                          ClusterOverview (viewer)
 *   GET    /live                            WebSocket: LiveMessage, at once and every second, and on every change
 *   GET    /config?consistency=             ConfigView; ETag "<revision>"; `Accept: application/yaml` gives YAML;
 *                                           `linearizable`: everything acknowledged anywhere before, 503 without a quorum
 *   PUT    /config?comment=…                If-Match required (428), stale 412, invalid 422 → ApplyResult (operator)
 *   POST   /config/validate                 document → ValidateResult; changes nothing
 *   POST   /route-test                      {listener,host,method?,target?,headers?,source?} → RouteTestView; sends nothing
 *   GET    /config/revisions?before=&limit= RevisionSummary[] newest first
 *   GET    /config/revisions/:n             ConfigView of that revision
 *   GET    /config/revisions/:n/diff?against=m   DiffView (against defaults to n-1)
 *   POST   /config/rollback                 {toRevision,comment}, If-Match → ApplyResult (operator)
 *   GET    /vips|pools|listeners            the parts of the document
 *   GET/PUT/DELETE /vips/:name /pools/:name /listeners/:name    If-Match on writes → ApplyResult
 *   GET    /nodes                           NodeView[]
 *   POST   /nodes/tokens                    {role,ttlMinutes} → JoinToken (administrator)
 *   DELETE /nodes/:id                       removes it from the cluster (administrator)
 *   POST   /hand-over                       {to?} planned switchover (operator)
 *   GET    /upgrade                         UpgradeView (viewer)
 *   POST   /upgrade/finish                  raises the level of commands → UpgradeView (administrator)
 *   GET    /audit?before=&limit=            AuditView[] newest first
 *   GET    /users · PUT/DELETE /users/:name (administrator)
 *   GET    /certificates                    CertificateView[] (viewer)
 *   GET    /certificates/:name              CertificateDetail (viewer); ETag "<version>"
 *   PUT    /certificates/:name              key-pair or authority → CertificateResult (operator); If-Match, If-None-Match: * optional
 *   DELETE /certificates/:name              refused while the document names it (operator); If-Match optional
 *   GET    /sessions?pool=&member=&client=&key=&value=&after=&limit=   SessionEntriesView: the session table (viewer)
 *   DELETE /sessions?…                      the same filters, or all=true → SessionPurgeView (operator)
 *   GET    /metrics (also at /metrics)      Prometheus text (viewer; HTTP Basic is taken here too)
 *   GET    /api/docs                        OpenAPI UI; /api/docs/json the document
 *
 * Errors: RFC 9457 `application/problem+json`, type ApiProblem.
 */
import type { ConfigurationDocument, Problem } from '../config/schema.ts'
import type { ListenerCounters, MemberCounters, MemberHealth, PoolCircuit } from '../observe/counters.ts'
import type { PoolLatency } from '../observe/latency.ts'
import type { AuditEntry, UserRole } from '../state/types.ts'

export type { ConfigurationDocument, Problem, Vip, Pool, Listener, Member, Route, HealthCheck, Failover } from '../config/schema.ts'
export type { ListenerCounters, MemberCounters, MemberHealth } from '../observe/counters.ts'
export type { AuditEntry, UserRole } from '../state/types.ts'

export interface ApiProblem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** Stable machine-readable code, such as `revision-conflict`, `invalid-document`, `no-quorum`. */
  readonly code: string
  /** Fields at fault, when the input was. */
  readonly problems?: readonly Problem[]
  /** Current revision, with `revision-conflict`. */
  readonly revision?: number
}

export interface SessionInfo {
  readonly user: { readonly name: string; readonly role: UserRole; readonly mustChangePassword: boolean }
  readonly csrfToken: string
  /** Bearer token with the same rights, for the CLI; only in the answers to POST /session and /session/password, and never
   *  for a browser (a request with `Origin` or `Sec-Fetch-Site`), which has the cookie. */
  readonly token?: string
  readonly expiresEpochMs: number
}

export interface ConfigView {
  readonly revision: number
  readonly hash: string
  readonly document: ConfigurationDocument
  readonly author: string
  readonly atEpochMs: number
  readonly comment: string
}
export interface RevisionSummary {
  readonly revision: number
  readonly hash: string
  readonly author: string
  readonly from: string
  readonly atEpochMs: number
  readonly comment: string
  readonly rolledBackTo: number | null
  /** One line per change, such as `pool web: member b added`. */
  readonly summary: readonly string[]
}
export type ChangeKind = 'added' | 'removed' | 'changed'
export interface Change {
  /** By names where there are any: `pools/web/members/b/port`. */
  readonly path: string
  readonly kind: ChangeKind
  /** JSON text of the old and the new value; absent when added or removed. */
  readonly before?: string
  readonly after?: string
  /** For people: `pool web: member b added`. */
  readonly text: string
}
export interface DiffView {
  readonly from: number
  readonly to: number
  readonly changes: readonly Change[]
  /** Unified diff of the two documents as YAML. */
  readonly unified: string
}
export interface ValidateResult {
  readonly valid: boolean
  readonly problems: readonly Problem[]
  /** Against the current revision; empty when invalid. */
  readonly changes: readonly Change[]
}
/** A kind of rule of a route. */
export type RouteRuleKind = 'hosts' | 'paths' | 'methods' | 'headers' | 'cookies' | 'query' | 'sources'
/** Which route a request would take. */
export interface RouteTestView {
  readonly outcome: 'route' | 'default' | 'none' | 'refused' | 'malformed'
  readonly route: string
  readonly action: 'pools' | 'redirect' | 'respond' | 'none'
  readonly pools: readonly { readonly pool: string; readonly weight: number }[]
  readonly status: number
  readonly location: string
  readonly target: string
  readonly memberHost: string
  readonly routes: readonly { readonly name: string; readonly matches: boolean; readonly fails: readonly RouteRuleKind[] }[]
}
export interface ApplyResult {
  readonly revision: number
  /** False: the document was identical to the current one and no revision was made. */
  readonly changed: boolean
  readonly changes: readonly Change[]
}
export interface JoinToken {
  /** `haechi1.` and base64url: cluster id, CA fingerprint, secret and consensus addresses. Shown once. */
  readonly token: string
  readonly role: 'node' | 'witness'
  readonly expiresEpochMs: number
}
export interface AuditView extends AuditEntry {}
export interface UserView {
  readonly name: string
  readonly role: UserRole
  readonly mustChangePassword: boolean
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** `CN=www.example.org, O=Example`. */
  readonly subject: string
  readonly issuer: string
  /** DNS names and addresses of the subjectAltName. */
  readonly names: readonly string[]
  readonly notBeforeEpochMs: number
  readonly notAfterEpochMs: number
  /** SHA-256 over the DER, hexadecimal. */
  readonly fingerprint: string
  readonly serialNumber: string
  /** `RSA 2048`, `EC P-256`, `Ed25519`. */
  readonly keyType: string
}
export interface CertificateView {
  readonly name: string
  readonly kind: 'key-pair' | 'authority'
  /** Rises with every replacement; the entity tag. */
  readonly version: number
  readonly updatedEpochMs: number
  /** `soon`, `urgent`: expires within the warning times. */
  readonly state: 'ok' | 'soon' | 'urgent' | 'expired' | 'not-yet-valid'
  /** Of the first of a chain to expire, or the last of several authorities. */
  readonly notAfterEpochMs: number
  /** The certificate then its intermediates, or all authorities. */
  readonly certificates: readonly CertificateFacts[]
  readonly revocationLists: number
  /** When the oldest revocation list has to be replaced. */
  readonly revocationsNextUpdateEpochMs: number | null
  /** key-pair: fresh OCSP responses are fetched from the responder that the certificate names. */
  readonly ocspFetch: boolean
  /** The OCSP response that is stapled; `nextUpdateEpochMs` is null when it does not say. */
  readonly ocsp: { readonly thisUpdateEpochMs: number; readonly nextUpdateEpochMs: number | null } | null
  /** Fields of the configuration in force that name it, as JSON pointers. */
  readonly usedBy: readonly string[]
}
export interface CertificateDetail extends CertificateView {
  /** PEM: the chain, or the authorities. Never a key. */
  readonly pem: string
  /** PEM: revocation lists. */
  readonly revocations: string
}
export interface CertificateResult {
  readonly certificate: CertificateView
  /** What an operator should know and may intend, a sentence each. */
  readonly warnings: readonly string[]
}
/** A certificate that needs attention. */
export interface ExpiringCertificate {
  readonly name: string
  readonly kind: 'key-pair' | 'authority'
  readonly state: 'soon' | 'urgent' | 'expired'
  readonly notAfterEpochMs: number
  /** The subject, or `revocation list`. */
  readonly what: string
}

/** A member's version, as it told this node when it last connected. */
export interface UpgradeNode {
  readonly id: string
  readonly role: 'node' | 'witness'
  /** Of the product; empty when it is not known. */
  readonly version: string
  /** Highest level of replicated commands that it understands; null when it is not known. */
  readonly commandLevel: number | null
  /** Protocols that it speaks; null when it is not known. */
  readonly protocols: { readonly min: number; readonly max: number } | null
  /** Protocol in use between it and this node; null without a connection, and for this node itself. */
  readonly protocol: number | null
  readonly connected: boolean
}
export interface UpgradeView {
  /** Level of replicated commands in use: what older members understand, too. */
  readonly level: number
  /** Level after the upgrade is finished; the same when there is nothing to finish. */
  readonly target: number
  /** `current`: nothing to finish. `ready`: every member understands `target`. `blocked`: see `blockers`. */
  readonly state: 'current' | 'ready' | 'blocked'
  /** Why the upgrade cannot be finished yet, one line each. */
  readonly blockers: readonly string[]
  readonly nodes: readonly UpgradeNode[]
}

/** What a node tells the others about itself every second (gossip, ≤ 256 KiB). */
export interface NodeReport {
  readonly id: string
  readonly atEpochMs: number
  readonly startedEpochMs: number
  readonly revisionInForce: number
  /** Why it is not fully in force or not fit, or empty. */
  readonly degraded: string
  readonly appliedIndex: number
  readonly vips: readonly { readonly name: string; readonly address: string; readonly state: string; readonly sinceEpochMs: number; readonly leaseRemainingMs: number; readonly error: string }[]
  /** Peers that it has heard from and how long ago, milliseconds: followers hardly hear each other or the witness. */
  readonly heard?: readonly { readonly id: string; readonly agoMs: number }[]
  readonly listeners: readonly ListenerCounters[]
  readonly members: readonly MemberCounters[]
  /** Circuit breakers of the pools that have one; older versions do not tell them. */
  readonly circuits?: readonly PoolCircuit[]
  /** Of pools that have had requests within the last half minute; older versions do not tell them. */
  readonly latencies?: readonly PoolLatency[]
  /** Process id of the heart, the parent of all processes of the node. */
  readonly heartPid?: number
  readonly heartLoopGapMs: number
  /** Longest gap of the last minute, milliseconds; older versions do not tell it. */
  readonly heartLoopGapMaxMs?: number
  readonly heartResidentBytes: number
  readonly residentBytes: number
  readonly version: string
  /** SHA-256 over the replicated state at `appliedIndex`: equal on all nodes that applied the same entries. */
  readonly stateHash: string
}

export interface NodeView {
  readonly id: string
  readonly role: 'node' | 'witness'
  readonly address: string
  readonly apiAddress: string
  readonly voter: boolean
  readonly leader: boolean
  readonly self: boolean
  /** Heard from within the last 2 seconds. */
  readonly reachable: boolean
  readonly lastHeardAgoMs: number | null
  /** Leader's view of its log; null when unknown. */
  readonly matchIndex: number | null
  readonly report: NodeReport | null
}
export interface VipView {
  readonly name: string
  readonly address: string
  readonly mode: string
  /** Node id, or empty: nobody holds it. */
  readonly holder: string
  readonly sinceEpochMs: number
  readonly leaseRemainingMs: number
  readonly error: string
}
export interface ListenerView {
  readonly name: string
  readonly address: string
  readonly port: number
  /** Last port of a range. */
  readonly portEnd?: number
  readonly protocol: string
  readonly connections: number
  readonly requestsPerSecond: number
  readonly bytesInPerSecond: number
  readonly bytesOutPerSecond: number
  readonly errorsPerSecond: number
  /** `node: reason` for every node on which it does not listen. */
  readonly problems: readonly string[]
}
export interface MemberView {
  readonly name: string
  readonly address: string
  readonly port: number
  readonly weight: number
  readonly health: MemberHealth
  readonly healthSinceEpochMs: number
  readonly lastProbe: string
  readonly active: number
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
}
export interface PoolView {
  readonly name: string
  readonly balance: string
  readonly requestsPerSecond: number
  readonly active: number
  readonly up: number
  /** Circuit breaker on the node that takes the traffic; `none`: the pool has no circuit breaker, or nothing is known. */
  readonly circuit: PoolCircuit['state'] | 'none'
  /** Time to the first byte of answers within the last half minute, on the node that takes the traffic; null: there were none. */
  readonly latency: { readonly p50Ms: number; readonly p90Ms: number; readonly p99Ms: number } | null
  readonly members: readonly MemberView[]
}
/** One second of the whole cluster. */
export interface TrafficPoint {
  readonly atEpochMs: number
  readonly requestsPerSecond: number
  readonly errorsPerSecond: number
  readonly bytesInPerSecond: number
  readonly bytesOutPerSecond: number
  readonly connections: number
}
/** One client that persistence keeps on a member. */
export interface SessionEntryView {
  readonly key: string
  readonly pool: string
  /** `source`, `app-cookie` or `header`. */
  readonly type: string
  /** Address of the client (IPv6: its network); of cookies and header fields a hash of 16 hexadecimal digits. */
  readonly client: string
  readonly member: string
  /** By this node's table; null when it has none, 0 when the entry has expired there. */
  readonly remainingMs: number | null
}
export interface SessionEntriesView {
  readonly entries: readonly SessionEntryView[]
  /** For `after`, to go on; null: that was all. */
  readonly next: number | null
  /** Entries in the whole table. */
  readonly total: number
}
export interface SessionPurgeView {
  readonly removed: number
}
export interface ClusterOverview {
  readonly clusterId: string
  readonly self: string
  readonly atEpochMs: number
  readonly revision: number
  readonly leader: string
  readonly term: number
  /** False when this node knows no leader: changes are refused, reads may be stale. */
  readonly quorum: boolean
  readonly nodes: readonly NodeView[]
  readonly vips: readonly VipView[]
  readonly listeners: readonly ListenerView[]
  readonly pools: readonly PoolView[]
  /** Certificates that expire soon or have expired, the most urgent first; at most 50. Absent: none. */
  readonly expiring?: readonly ExpiringCertificate[]
  /** Last 5 minutes, oldest first. In live messages only the newest point. */
  readonly traffic: readonly TrafficPoint[]
}
export type LiveMessage =
  | { readonly type: 'overview'; readonly overview: ClusterOverview }
  | { readonly type: 'revision'; readonly revision: number; readonly author: string; readonly comment: string }
  /** The session has ended; sign in again. */
  | { readonly type: 'signed-out' }

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
 *   GET    /metrics (also at /metrics)      Prometheus text (viewer; HTTP Basic is taken here too)
 *   GET    /api/docs                        OpenAPI UI; /api/docs/json the document
 *
 * Errors: RFC 9457 `application/problem+json`, type ApiProblem.
 */
import type { ConfigurationDocument, Problem } from '../config/schema.ts'
import type { ListenerCounters, MemberCounters, MemberHealth } from '../observe/counters.ts'
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
  /** Last 5 minutes, oldest first. In live messages only the newest point. */
  readonly traffic: readonly TrafficPoint[]
}
export type LiveMessage =
  | { readonly type: 'overview'; readonly overview: ClusterOverview }
  | { readonly type: 'revision'; readonly revision: number; readonly author: string; readonly comment: string }
  /** The session has ended; sign in again. */
  | { readonly type: 'signed-out' }

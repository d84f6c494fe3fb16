/**
 * What the rest of Haechi sees of consensus. `driver.ts` implements it with real clock, disk and network.
 * Consensus knows bytes and peers, nothing of load balancing or of VIPs.
 */
import type { Preference } from './core/options.ts'
import type { Entry, Membership, NodeId, NodeRole, Peer, Role, SnapshotMeta, Timing } from './core/types.ts'
import type { Versions } from './versions.ts'

export type { Preference } from './core/options.ts'

/** The right to answer for VIPs. `untilMs` is an instant of this node's `performance.now()` clock. */
export interface Lease {
  readonly term: number
  readonly untilMs: number
}

export interface PeerStatus {
  readonly peer: Peer
  readonly voter: boolean
  /** The log stream is connected. */
  readonly connected: boolean
  /** Milliseconds since the last authenticated datagram or stream message from it; null if never. */
  readonly lastHeardAgoMs: number | null
  /** Highest index known to be durable on it (leader's view); null when this node is not the leader. */
  readonly matchIndex: number | null
  /** Protocol in use on the stream with it; null without one. */
  readonly protocol?: number | null
  /** What it announced when it last connected, even if there was no common protocol; null if it has not yet. */
  readonly versions?: Versions | null
}

export interface ConsensusStatus {
  readonly id: NodeId
  readonly nodeRole: NodeRole
  readonly clusterId: string
  readonly role: Role
  readonly term: number
  /** Empty string when unknown. */
  readonly leader: NodeId
  readonly commitIndex: number
  readonly lastIndex: number
  readonly firstIndex: number
  readonly snapshotIndex: number
  /** Milliseconds of lease left, 0 when none. */
  readonly leaseRemainingMs: number
  readonly peers: readonly PeerStatus[]
  readonly membership: Membership
  readonly timing: Timing
  /** What this node announces to the others. */
  readonly versions?: Versions
  /** Frames and requests of newer versions that were passed over since the start. */
  readonly unknownFrames?: number
  /** Why the log cannot be written at the moment; absent when it can. Such a node neither leads nor acknowledges. */
  readonly storageError?: string
  /** Why this node cannot take part although it runs: its name belongs to another certificate. Absent when it can. */
  readonly identityError?: string
}

/** Expected failures of a proposal. `retry-safe`: it is certain that the entry was not and will not be committed. */
export type ProposeErrorCode = 'no-leader' | 'not-leader' | 'timeout' | 'too-large' | 'overloaded' | 'stopped' | 'lost'
  /** The leader runs an older version, which does not know such a request. */
  | 'not-supported'
  /** A membership change that is not allowed, such as removing the last voter. */
  | 'invalid'
export type ProposeResult =
  | { readonly ok: true; readonly index: number; readonly term: number }
  | { readonly ok: false; readonly code: ProposeErrorCode; readonly retrySafe: boolean; readonly detail: string }

export type ReadIndexResult =
  | { readonly ok: true; readonly index: number }
  | { readonly ok: false; readonly code: 'no-leader' | 'timeout' | 'overloaded' | 'stopped'; readonly detail: string }

export interface ConsensusHooks {
  /**
   * Committed entries in index order, from `appliedIndex + 1`. Includes noop and membership entries (the state machine
   * records them). Also called for the replay after a start. Never called concurrently; the returned promise is the
   * backpressure (resolve when handed on, not when applied).
   */
  committed(entries: readonly Entry[]): Promise<void>
  /** A snapshot from the leader (or from disk at start) replaces the whole state machine: read it with `readSnapshot`. */
  restore(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** Called at every acquisition and renewal with the new lease, and with null as soon as it is known to be lost. */
  lease(lease: Lease | null): void
  /** Must close the fence before it resolves. Called before a planned transfer (safety rule 4). */
  closeFence(): Promise<void>
  /**
   * On the leader. `asked`: a follower was asked for a planned hand-over (`requestTransfer`) and passes the request on, once.
   * `preferred`: the preferred node is ready to lead again (`prefer`); never two of these at a time.
   */
  transferRequested(to: NodeId | '', why: 'asked' | 'preferred'): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }>
  /** Role, term, leader or membership changed. */
  changed(status: ConsensusStatus): void
  /** Gossip from a peer: an opaque, unordered, lossy, small message (≤ 256 KiB). */
  gossip(from: NodeId, data: Uint8Array): void
  /** A machine without a certificate presented a join request over TLS (`join` in `transport/`). Returns the response
   *  body, or an error text for the joiner. Absent on a witness. */
  join?(request: JoinRequest): Promise<{ readonly ok: true; readonly response: JoinResponse } | { readonly ok: false; readonly error: string }>
}

export interface JoinRequest {
  readonly secret: string
  readonly peer: Peer
  /** PEM PKCS#10 certificate signing request for the joiner's own key, which never leaves its machine. */
  readonly csr: string
  /** Highest level of replicated commands that the joiner understands; absent: 1. */
  readonly commandLevel?: number
}
export interface JoinResponse {
  readonly clusterId: string
  readonly caCertificate: string
  readonly certificate: string
  /** PEM; only for role `node` (every node can sign for the next joiner); empty for a witness. */
  readonly caKey: string
  readonly membership: Membership
  /** How often the cluster has been recovered (`haechi recover`); absent: never. */
  readonly generation?: number
  /** The committed membership entry that took the joiner in: before its log reaches it, it must not vote. */
  readonly joinedAtIndex?: number
}

export interface ConsensusOptions {
  /** Data directory made by `identity.ts` (`initCluster` or `joinCluster`): identity.json, keys, certificates, `log/`. */
  readonly directory: string
  /** Overrides the listen address in identity.json, host:port. */
  readonly listen?: string
  readonly timing?: Timing
  /** What this node says of its version; default: this build's protocols and command level 1. */
  readonly versions?: Versions
  readonly hooks: ConsensusHooks
  /** Gives up a repair that is under way when the node is opened; without effect afterwards. */
  readonly signal?: AbortSignal
  /** Structured log sink; must not block. */
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
}

export interface Consensus {
  status(): ConsensusStatus
  /** Resolves when the entry is committed (durable on a majority), wherever the leader is (forwarded once). `bulk` is for
   *  session batches: they never delay `normal` proposals. ≤ 16 MiB for normal, ≤ 256 KiB for bulk. */
  propose(data: Uint8Array, priority: 'normal' | 'bulk'): Promise<ProposeResult>
  /**
   * For a linearizable read (dissertation §6.4): once the state machine has applied up to `index`, it knows everything that
   * anybody was told to be committed before this was called. Asks the leader, once; waits at most a few seconds.
   */
  readIndex(): Promise<ReadIndexResult>
  /** Replay to a new state machine (the child was restarted): `restore` from the stored snapshot if there is one, then
   *  `committed` from there up to the commit index, then live entries as usual. */
  replay(): Promise<void>
  /** The state machine has applied up to here; entries up to the snapshot may be compacted later. */
  applied(index: number): void
  /** True when the log since the last snapshot is long enough that a new snapshot should be taken. */
  wantsSnapshot(): boolean
  /** Stores a snapshot of the state machine at `index` (must be ≤ applied) and compacts the log behind it. */
  storeSnapshot(index: number, chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** Planned hand-over to `to`, or to the most up-to-date voter with role node. Closes the fence first. */
  transfer(to?: NodeId): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }>
  /** On a follower: passes the request on to the leader's `transferRequested` hook, once; its answer comes back. */
  requestTransfer(to: NodeId | ''): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }>
  /** Who should lead when it can; nobody until it is said, so to be said after every start and whenever it changes. */
  prefer(preference: Preference): void
  /** Adds a learner, which the leader promotes to voter once it has caught up. Leader or forwarded. */
  addPeer(peer: Peer): Promise<ProposeResult>
  removePeer(id: NodeId): Promise<ProposeResult>
  /** Best effort to all connected peers. */
  gossip(data: Uint8Array): void
  /** Closes the fence, hands leadership over if leader (bounded by 1 s), closes everything. */
  stop(): Promise<void>
}

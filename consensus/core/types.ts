/**
 * The vocabulary of the Raft core: what goes in (messages, proposals, time), what comes out (`Ready`).
 *
 * Everything here is data. The core is pure: it has no clock, no randomness of its own, no I/O. All instants are
 * **milliseconds of a monotonic clock** of the node that uses them (`performance.now()` in production, virtual time
 * in simulation); instants of one node are never compared with those of another.
 *
 * Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014), §3 (basic), §4 (membership), §6.4.1 (leases),
 * §9.6 (pre-vote); the 2015 raft-dev correction for single-server membership changes.
 */

/** A stable node name, unique in the cluster: 1 to 63 characters of `[a-z0-9-]`. */
export type NodeId = string

/** `node` may hold VIPs and stay leader; a `witness` votes with the full log but hands leadership over at once. */
export type NodeRole = 'node' | 'witness'

/** A cluster participant as recorded in membership entries. */
export interface Peer {
  readonly id: NodeId
  readonly role: NodeRole
  /** host:port of the consensus listener (TCP for the log, UDP on the same port for heartbeats). */
  readonly address: string
  /** host:port of the node's API and console; empty for a witness. */
  readonly apiAddress: string
  /** SHA-256 of its certificate: 64 lower-case hexadecimal digits. Absent in records of earlier versions. */
  readonly fingerprint?: string
}

/** Who votes. Stored in log entries of type `membership` and in snapshot metadata. */
export interface Membership {
  readonly voters: readonly Peer[]
  /** Receive the log, do not vote or count for a quorum; the leader promotes them when they have caught up. */
  readonly learners: readonly Peer[]
}

/** `noop`: start of a term. `command`: bytes for the state machine. `membership`: encoded `Membership` (JSON, UTF-8). */
export type EntryType = 'noop' | 'command' | 'membership'

export interface Entry {
  readonly index: number
  readonly term: number
  readonly type: EntryType
  readonly data: Uint8Array
}

/** One durable, checksummed record (safety rule 7). */
export interface HardState {
  readonly term: number
  /** Whom this node voted for in `term`; empty string for nobody. */
  readonly vote: NodeId
}

export interface SnapshotMeta {
  readonly index: number
  readonly term: number
  readonly membership: Membership
  /** Total bytes of the snapshot's payload. */
  readonly bytes: number
}

interface Envelope {
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
}

/** `Heartbeat` and `HeartbeatAck` carry a sequence number: the leader looks up when it *sent* that number, so that a
 *  late acknowledgement can only ever extend the lease from the moment of sending (safety rule 2). */
export type Message =
  | (Envelope & { readonly type: 'pre-vote'; readonly lastIndex: number; readonly lastTerm: number })
  | (Envelope & { readonly type: 'pre-vote-reply'; readonly granted: boolean })
  /** `transfer`: the old leader closed its fence and asked for this election, so stickiness does not apply (rule 4). */
  | (Envelope & { readonly type: 'vote'; readonly lastIndex: number; readonly lastTerm: number; readonly transfer: boolean })
  | (Envelope & { readonly type: 'vote-reply'; readonly granted: boolean })
  | (Envelope & { readonly type: 'heartbeat'; readonly sequence: number; readonly commit: number })
  | (Envelope & { readonly type: 'heartbeat-ack'; readonly sequence: number; readonly lastIndex: number })
  /**
   * Replicate entries `(prevIndex, prevIndex + count]`. The core never keeps payloads: on the way out `entries` is
   * empty and `count` says how many the driver must load (from its cache or from storage); on the way in `entries` is
   * filled and `count === entries.length`. A driver that cannot load them drops the message; the core retries.
   */
  | (Envelope & {
      readonly type: 'append'
      readonly prevIndex: number
      readonly prevTerm: number
      readonly count: number
      readonly entries: readonly Entry[]
      readonly commit: number
    })
  /** `matchIndex` on success; on a refusal `hintIndex`/`hintTerm` say where the follower's log may agree. */
  | (Envelope & {
      readonly type: 'append-reply'
      readonly ok: boolean
      readonly matchIndex: number
      readonly hintIndex: number
      readonly hintTerm: number
    })
  /** Asks the driver to stream its latest stored snapshot to `to`. The transport sends the payload in chunks. */
  | (Envelope & { readonly type: 'snapshot'; readonly meta: SnapshotMeta })
  | (Envelope & { readonly type: 'snapshot-reply'; readonly ok: boolean; readonly index: number })
  /** Planned hand-over: campaign now. Sent only after the sender's fence is closed; it never leases again in this term. */
  | (Envelope & { readonly type: 'timeout-now' })
  /** A node without a state machine (witness) whose log has grown too long asks the leader for a snapshot. */
  | (Envelope & { readonly type: 'snapshot-request' })

/** Message types that are small and idempotent and travel as authenticated datagrams; the others use the log stream. */
export const datagramTypes: ReadonlySet<Message['type']> = new Set([
  'pre-vote', 'pre-vote-reply', 'vote', 'vote-reply', 'heartbeat', 'heartbeat-ack', 'timeout-now',
])

/** All in milliseconds. Invariant (checked): heartbeat < lease < minElection × (1 − drift), minElection <= maxElection. */
export interface Timing {
  readonly heartbeatMs: number
  readonly minElectionMs: number
  readonly maxElectionMs: number
  /** Length of the lease, counted from the sending of the heartbeat that a majority acknowledged. */
  readonly leaseMs: number
}

/** The `balanced` profile. */
export const balancedTiming: Timing = { heartbeatMs: 40, minElectionMs: 240, maxElectionMs: 320, leaseMs: 200 }

/**
 * The answer to a `read`. `ok`: whoever has applied up to `index` may answer with what was true when it was asked.
 * Otherwise leadership was lost before that was certain: ask the next leader.
 */
export interface ReadResult {
  readonly id: number
  readonly index: number
  readonly ok: boolean
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** What the driver must do after stepping, in this order: persist `hardState`, `append` and `install`; then send
 *  `afterPersist`; apply `committed` (may run alongside). `immediate` depends on nothing unstable and is sent at once. */
export interface Ready {
  /** Changed since the last Ready, else undefined. */
  readonly hardState: HardState | undefined
  /** Entries to write; if the first index is not beyond the stored log, the stored log is truncated from it first,
   *  in the same atomic write. */
  readonly append: readonly Entry[]
  /** A received snapshot to make the base of the log (replaces everything). */
  readonly install: SnapshotMeta | undefined
  readonly immediate: readonly Message[]
  readonly afterPersist: readonly Message[]
  /** Newly committed range to hand to the state machine, or undefined. Only ever covers durable entries. */
  readonly committed: { readonly from: number; readonly to: number } | undefined
  /** Reads that are decided; every accepted one appears once. */
  readonly reads: readonly ReadResult[]
  /** On a leader: the preferred node is ready to lead instead. Close the fence, then `transfer` to it (rule 4). */
  readonly transferWanted: NodeId | undefined
  /**
   * True once: the leader has proved that this node acknowledged entries that are not in its log any more. From then on
   * it says nothing and votes for nobody; it must be repaired (demoted and begun anew).
   */
  readonly lostMemory: boolean
  /** Set when role, term or leader changed. */
  readonly change: { readonly role: Role; readonly term: number; readonly leader: NodeId } | undefined
}

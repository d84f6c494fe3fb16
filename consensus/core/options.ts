/** What a `Raft` is made from, and what its calls answer. Data only. */
import type { ProgressState } from './progress.ts'
import type { EntryType, HardState, Membership, NodeId, SnapshotMeta, Timing } from './types.ts'

export interface StoredEntry {
  readonly index: number
  readonly term: number
  readonly type: EntryType
  /** Length of the payload. */
  readonly bytes: number
  /** The payload; needed only of membership entries. */
  readonly data?: Uint8Array
}

export interface RaftOptions {
  readonly id: NodeId
  readonly timing: Timing
  /** Uniform in [0, 1). Spreads the election timeouts. */
  readonly random: () => number
  readonly now: number
  readonly hardState: HardState
  /** The first one; a snapshot's takes its place. */
  readonly membership: Membership
  readonly snapshot: SnapshotMeta | undefined
  /** The stored log in order. Entries that the snapshot covers are skipped. */
  readonly entries: readonly StoredEntry[]
  /**
   * For a node that began with an empty log although the cluster may know its name already (it lost its disk, or was
   * removed and came back): the index of the committed membership entry that made it a learner. Its stored term is not
   * below that entry's. Until its log reaches that entry it neither votes nor campaigns, since it may have acknowledged
   * what it does not have. To be given at every start until then; harmless later.
   */
  readonly demotedAtIndex?: number
}

/** Who should lead when it can, in every node's configuration. */
export interface Preference {
  /** Empty string for nobody. */
  readonly preferred: NodeId
  /** Another leader hands over to it, once it has answered without a gap for `preemptDelayMs`. */
  readonly preempt: boolean
  readonly preemptDelayMs: number
}

export type ProposeRefusal =
  | 'not-leader' | 'transferring'
  /** Too much is waiting to be committed. */
  | 'overloaded'
  /** A membership change: the one before has not committed yet. */
  | 'membership-pending'
  /** A membership change: no entry of this term has committed yet (rule 8). Soon. */
  | 'term-not-committed'
  /** A membership change that is malformed, no single change, or changes nothing. */
  | 'invalid-membership'

export type CoreProposeResult =
  | { readonly ok: true; readonly firstIndex: number; readonly term: number }
  | { readonly ok: false; readonly code: ProposeRefusal; readonly detail: string }

export type ReadRefusal =
  | 'not-leader'
  /** No entry of this term has committed yet: what is committed is not known. Soon. */
  | 'term-not-committed'
  /** Too many reads are waiting for a majority. */
  | 'overloaded'

/** `id`: what `Ready.reads` will call it; never used twice by one `Raft`. */
export type ReadAcceptance =
  | { readonly ok: true; readonly id: number }
  | { readonly ok: false; readonly code: ReadRefusal; readonly detail: string }

export interface ProgressStatus {
  readonly state: ProgressState
  readonly matchIndex: number
  readonly nextIndex: number
  /** Messages under way. */
  readonly inflight: number
  /** When the newest heartbeat that it acknowledged was sent; `-Infinity` if none. */
  readonly ackedSentMs: number
}

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

export interface ProgressStatus {
  readonly state: ProgressState
  readonly matchIndex: number
  readonly nextIndex: number
  /** Messages under way. */
  readonly inflight: number
  /** When the newest heartbeat that it acknowledged was sent; `-Infinity` if none. */
  readonly ackedSentMs: number
}

/** What the API needs from the node; `node/main.ts` implements it. */
import type { ProposeResult } from '../../consensus/consensus.ts'
import type { NodeId } from '../../consensus/core/types.ts'
import type { HeartStatus } from '../link.ts'
import type { SessionKeeper } from '../sessions/keeper.ts'
import type { ClusterState } from '../state/state.ts'
import type { Command, Outcome } from '../state/types.ts'
import type { ClusterOverview } from './types.ts'

/** A proposal's fate: applied here (with its outcome), or refused by consensus. */
export type SubmitResult =
  | { readonly ok: true; readonly outcome: Outcome }
  | { readonly ok: false; readonly refusal: Extract<ProposeResult, { ok: false }> }

export type ReadBarrier =
  | { readonly ok: true }
  /** `no-quorum`: no majority confirmed the leader. `not-ready`: it did, but this node is too far behind. */
  | { readonly ok: false; readonly code: 'no-quorum' | 'not-ready' | 'overloaded' | 'stopping'; readonly detail: string }

/** A command without the fields that `submit` adds. */
export type Submission = Command extends infer C ? (C extends Command ? Omit<C, 'id' | 'atEpochMs'> : never) : never

export interface NodeContext {
  readonly selfId: NodeId
  readonly version: string
  readonly directory: string
  /** The replicated state as applied on this node. Read only. */
  state(): ClusterState
  /** Proposes and resolves when this node has applied it, so that the caller reads its own write. */
  submit(submission: Submission): Promise<SubmitResult>
  /** Resolves when this node has applied everything that was committed anywhere when it was called: what is read of
   *  `state()` from then on is linearizable. Bounded: without a quorum, or when this node cannot catch up, it is refused. */
  readBarrier(): Promise<ReadBarrier>
  heart(): HeartStatus | undefined
  /** `history`: with the last five minutes of traffic. */
  overview(history: boolean): ClusterOverview
  /** Planned switchover. Empty `to`: the best other node. */
  handOver(to: NodeId): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }>
  removeNode(id: NodeId): Promise<ProposeResult>
  /** SHA-256 fingerprint of the cluster CA, hex, and the consensus addresses: what a join token pins. */
  joinAnchor(): { readonly caFingerprint: string; readonly addresses: readonly string[] }
  /** The shared session table of this node; undefined while no pool has needed it. */
  sessionTable(): Pick<SessionKeeper, 'remainingMs' | 'keyOfValue'> | undefined
  /** Prometheus text. */
  metrics(): string
  /** Called when the overview changed in a way that should not wait for the next second. Returns the unsubscriber. */
  onChange(listener: () => void): () => void
}

/** How the API is reached. Plain HTTP is served on loopback addresses only. */
export interface ApiListenOptions {
  readonly host: string
  readonly port: number
  /** PEM; absent: plain HTTP, refused unless `host` is a loopback address. */
  readonly tls?: { readonly certificate: string; readonly key: string }
  /** Path of the unix socket for local administration. */
  readonly socketPath: string
  /** Directory of the built console. */
  readonly consoleDirectory: string
}

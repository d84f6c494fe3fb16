/**
 * The snapshots of one node: taken by its state machine, received from the leader, sent to those who are behind; and the
 * removal of the log behind them.
 */
import type { ConsensusOptions } from './consensus.ts'
import type { Raft } from './core/raft.ts'
import type { HardState, NodeId, NodeRole, SnapshotMeta } from './core/types.ts'
import type { Clock } from './environment.ts'
import { StorageError, type LogStorage, type SnapshotDraft } from './storage/storage.ts'
import type { SnapshotSink } from './transport/snapshots.ts'
import type { SnapshotMessage } from './transport/wire.ts'

/** Entries kept behind a snapshot, so that a peer that is a little late does not need the snapshot. */
const trailingEntries = 1000
const snapshotAfterBytes = 8 * 1024 * 1024
const snapshotAfterEntries = 20_000
/** A witness asks its leader for a snapshot at most this often. */
const requestEveryMs = 10_000

export interface SnapshotsOptions {
  readonly role: NodeRole
  readonly raft: Raft
  readonly storage: LogStorage
  readonly clock: Clock
  readonly pump: () => void
  readonly send: (message: SnapshotMessage, chunks: AsyncIterable<Uint8Array>) => Promise<boolean>
  /** The stored snapshot cannot be read. */
  readonly failed: (error: Error) => void
  readonly log: ConsensusOptions['log']
}

export class Snapshots {
  readonly #options: SnapshotsOptions
  readonly #raft: Raft
  readonly #storage: LogStorage
  /** A received snapshot whose installation the core has asked for. */
  #received: { readonly meta: SnapshotMeta; readonly draft: SnapshotDraft } | undefined
  #requestedMs = -Infinity
  #storing = false
  #stopped = false

  constructor(options: SnapshotsOptions) {
    this.#options = options
    this.#raft = options.raft
    this.#storage = options.storage
  }

  stop(): void {
    this.#stopped = true
  }

  /** Streams the stored snapshot, which may be newer than the one that the core asked for. */
  send(message: SnapshotMessage): void {
    const reading = this.#storage.readSnapshot()
    const sent = reading === undefined
      ? Promise.resolve(false)
      : this.#options.send({ ...message, meta: reading.meta }, reading.chunks)
    sent.then(
      (ok) => {
        if (this.#stopped) return
        this.#options.log(ok ? 'info' : 'debug', `snapshot to ${message.to} ${ok ? 'sent' : 'not sent'}`, { index: reading?.meta.index })
        this.#raft.snapshotSent(message.to, ok, this.#options.clock.now())
        this.#options.pump()
      },
      (error: unknown) => this.#options.failed(error as Error),
    )
  }

  /** Where to put a snapshot that is about to arrive. The core has seen the message already. */
  receive(from: NodeId, message: SnapshotMessage): SnapshotSink | undefined {
    // The core knows its leader: a snapshot of anybody else, or a malformed one, is refused.
    if (this.#stopped || this.#raft.leader !== from || this.#raft.term !== message.term || this.#received !== undefined) return undefined
    const { meta } = message
    const draft = this.#storage.beginSnapshot()
    return {
      write: async (data) => {
        if (draft.bytes + data.length > meta.bytes) throw new Error('the snapshot is larger than announced')
        await draft.write(data)
      },
      end: async () => {
        await draft.finish()
        await this.#take(meta, from, draft)
      },
      abort: () => void draft.abort().catch(() => undefined),
    }
  }

  async #take(meta: SnapshotMeta, from: NodeId, draft: SnapshotDraft): Promise<void> {
    if (this.#stopped || this.#received !== undefined || draft.bytes !== meta.bytes) return draft.abort()
    const verdict = this.#raft.snapshotReceived(meta, from, this.#options.clock.now())
    if (verdict === 'install') this.#received = { meta, draft }
    this.#options.pump()
    if (verdict === 'ignore') await draft.abort()
    else if (verdict === 'keep') await this.#adopt(meta, draft)
  }

  /** Writes what `Ready.install` asked for; the log is replaced in the same step. Rejects when the disk refuses. */
  async install(meta: SnapshotMeta, hardState: HardState | undefined): Promise<void> {
    const received = this.#received
    if (received === undefined || received.meta.index !== meta.index) throw new StorageError(`the snapshot at ${meta.index} is not there`)
    await this.#storage.adoptSnapshot(received.draft, meta, { replaceLog: true, hardState })
    this.#received = undefined
    this.#options.log('info', `installed the snapshot at ${meta.index}`, { index: meta.index, bytes: meta.bytes })
  }

  /** Makes a snapshot that the own log covers the current one and removes the entries behind it. */
  async #adopt(meta: SnapshotMeta, draft: SnapshotDraft): Promise<void> {
    if (meta.index <= (this.#storage.snapshot?.index ?? 0)) return draft.abort()
    await this.#storage.adoptSnapshot(draft, meta, { replaceLog: false })
    const through = Math.max(meta.index - trailingEntries, 0)
    this.#raft.compacted(meta, Math.max(through, this.#raft.firstIndex - 1))
    if (through > 0) await this.#storage.compact(through)
    this.#options.log('debug', `snapshot at ${meta.index} stored`, { index: meta.index, bytes: meta.bytes })
  }

  /** Whether the log since the last snapshot is long, up to `reached`. */
  wanted(reached: number): boolean {
    const covered = this.#storage.snapshot?.index ?? 0
    if (this.#storing || reached <= covered) return false
    return this.#storage.bytesSinceSnapshot > snapshotAfterBytes || reached - covered > snapshotAfterEntries
  }

  /** Stores the state machine's snapshot at `index`, which must be committed and handed on. */
  async store(index: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    if (this.#stopped) throw new Error('consensus is stopped')
    if (this.#storing) throw new Error('another snapshot is being stored')
    const term = this.#raft.termAt(index)
    if (term === undefined || index <= (this.#storage.snapshot?.index ?? 0)) throw new Error(`there is a newer snapshot than ${index} already`)
    this.#storing = true
    const draft = this.#storage.beginSnapshot()
    try {
      const membership = this.#storage.membershipAt(index)
      for await (const chunk of chunks) await draft.write(chunk)
      await draft.finish()
      await this.#adopt({ index, term, membership, bytes: draft.bytes }, draft)
    } catch (error) {
      // Not if it has become the current one and only the compaction failed.
      if (this.#storage.snapshot?.index !== index) await draft.abort().catch(() => undefined)
      throw error
    } finally {
      this.#storing = false
    }
  }

  /** A witness has no state machine to take a snapshot of: when its log has grown too long it asks the leader for one. */
  considerRequest(): void {
    if (this.#options.role !== 'witness' || !this.wanted(this.#raft.commitIndex)) return
    const now = this.#options.clock.now()
    if (now - this.#requestedMs < requestEveryMs) return
    if (this.#raft.requestSnapshot(now)) this.#requestedMs = now
  }
}

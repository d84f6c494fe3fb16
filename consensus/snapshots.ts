/**
 * The snapshots of one node: taken by its state machine, received from the leader, sent to those who are behind; and the
 * removal of the log behind them.
 */
import type { ConsensusOptions } from './consensus.ts'
import type { Raft } from './core/raft.ts'
import type { HardState, NodeId, NodeRole, SnapshotMeta } from './core/types.ts'
import { pause, type Clock, type Timer } from './environment.ts'
import { StorageError, type LogStorage, type SnapshotDraft } from './storage/storage.ts'
import type { SnapshotPayload, SnapshotSink } from './transport/snapshots.ts'
import type { SnapshotMessage } from './transport/wire.ts'

/** The log kept behind a snapshot, so that a peer that is a little late does not need the snapshot: so many entries, and no more
 *  bytes than this. */
const trailingEntries = 1000
const trailingBytes = 16 * 1024 * 1024
/**
 * A snapshot is wanted when replaying the log since the last one costs more than this, or than half of what writing the
 * snapshot costs: so at most two bytes of snapshots are written for one of log, and the log that a restarted node has to read is
 * never much longer than the snapshot itself, nor than the upper bound.
 */
const minLogCost = 8 * 1024 * 1024
const maxLogCost = 64 * 1024 * 1024
/** Between two snapshots, unless the log has reached the upper bound: a flood of small entries wants one several times a second. */
const restMs = 2000
/** What an entry costs beside its bytes. */
const entryCost = 420
/** A witness asks its leader for a snapshot at most this often. */
const requestEveryMs = 10_000
/** Pause after every 256 KiB that are written of a snapshot, milliseconds: the log's writes, here and on whatever shares the disk, are in
 *  more of a hurry. That is 64 MiB/s at most for one of the own state machine and 32 MiB/s for one that is received. */
const storePauseMs = 4
const storePauseBytes = 256 * 1024
const receivePauseMs = 8
/** What was received of a snapshot is kept for this long without anybody going on with it. */
const draftKeptMs = 10 * 60_000
/** The log behind a snapshot that a peer has just been sent is kept for it for this long, */
const sentKeptMs = 10_000
/** unless it has grown beyond this. */
const sentKeptBytes = 256 * 1024 * 1024

export interface SnapshotsOptions {
  readonly role: NodeRole
  readonly raft: Raft
  readonly storage: LogStorage
  readonly clock: Clock
  readonly pump: () => void
  readonly send: (message: SnapshotMessage, payload: SnapshotPayload) => Promise<boolean>
  /** The stored snapshot cannot be read. */
  readonly failed: (error: Error) => void
  readonly log: ConsensusOptions['log']
}

/** A snapshot that somebody is sending to this node. */
interface Incoming {
  /** What its last call to the disk comes to: the next one's must not mix with it. */
  idle: Promise<unknown>
}

export class Snapshots {
  readonly #options: SnapshotsOptions
  readonly #raft: Raft
  readonly #storage: LogStorage
  /** A received snapshot whose installation the core has asked for. */
  #received: { readonly meta: SnapshotMeta; readonly draft: SnapshotDraft } | undefined
  #incoming: Incoming | undefined
  #expiry: Timer | undefined
  /** Who is being sent a snapshot, or was a moment ago: its index, and until when the log behind it is kept. */
  readonly #outgoing = new Map<NodeId, { readonly index: number; untilMs: number }>()
  #requestedMs = -Infinity
  #storing = false
  #storedMs = -Infinity
  #stopped = false

  constructor(options: SnapshotsOptions) {
    this.#options = options
    this.#raft = options.raft
    this.#storage = options.storage
    this.#expire()
  }

  stop(): void {
    this.#stopped = true
    this.#options.clock.cancel(this.#expiry)
  }

  // — sending —

  /** Streams the stored snapshot, which may be newer than the one that the core asked for. */
  send(message: SnapshotMessage): void {
    const { to } = message
    // The core has lost patience with the one that is under way; it goes on, and its end will be reported.
    if (this.#outgoing.get(to)?.untilMs === Infinity) return
    const reading = this.#storage.readSnapshot()
    if (reading === undefined) return this.#sent(to, false, undefined)
    const { meta, sha256 } = reading
    this.#outgoing.set(to, { index: meta.index, untilMs: Infinity })
    const payload: SnapshotPayload = { sha256, open: (from) => this.#whileLeading(message.term, reading.open(from)) }
    this.#options.send({ ...message, meta }, payload).finally(() => reading.close()).then(
      (ok) => this.#sent(to, ok, meta.index),
      (error: unknown) => {
        if (error instanceof StorageError) return this.#options.failed(error)
        this.#options.log('warn', `the snapshot cannot be read: ${(error as Error).message}`)
        this.#sent(to, false, meta.index)
      },
    )
  }

  #sent(to: NodeId, ok: boolean, index: number | undefined): void {
    const now = this.#options.clock.now()
    const outgoing = this.#outgoing.get(to)
    if (ok && outgoing !== undefined) outgoing.untilMs = now + sentKeptMs
    else this.#outgoing.delete(to)
    if (this.#stopped) return
    this.#options.log(ok ? 'info' : 'debug', `snapshot to ${to} ${ok ? 'sent' : 'not sent'}`, { index })
    this.#raft.snapshotSent(to, ok, now)
    this.#options.pump()
  }

  /** Another leader may have something newer: the rest is not sent, and the receiver is told that there is none. */
  async *#whileLeading(term: number, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      if (this.#stopped || this.#raft.role !== 'leader' || this.#raft.term !== term) return
      yield chunk
    }
  }

  // — receiving —

  /** Where to put a snapshot that is about to arrive. The core has seen the message already. */
  receive(from: NodeId, message: SnapshotMessage, sha256: string): SnapshotSink | undefined {
    // The core knows its leader: a snapshot of anybody else, or a malformed one, is refused.
    if (this.#stopped || this.#raft.leader !== from || this.#raft.term !== message.term || this.#received !== undefined) return undefined
    const { meta } = message
    const { index, term, bytes } = meta
    const before = this.#incoming?.idle
    const incoming: Incoming = { idle: Promise.resolve() }
    this.#incoming = incoming
    this.#options.clock.cancel(this.#expiry)
    let draft: SnapshotDraft | undefined
    const next = <T>(work: () => Promise<T>): Promise<T> => {
      // A newer stream writes to the same place.
      if (this.#incoming !== incoming || this.#stopped) return Promise.reject(new Error('superseded'))
      const result = work()
      incoming.idle = result.catch(() => undefined)
      return result
    }
    return {
      start: () => next(async () => {
        await before
        // The stream before brought it all to its end.
        if (this.#received !== undefined) throw new Error('another snapshot is being installed')
        draft = await this.#storage.receiveSnapshot({ index, term, bytes, sha256 })
        if (draft.chunks > 0) this.#options.log('info', `going on with the snapshot at ${index} from chunk ${draft.chunks}`, { index, from })
        return draft.chunks
      }),
      write: (data) => next(async () => {
        if (draft!.bytes + data.length > bytes) throw new Error('the snapshot is larger than announced')
        await draft!.write(data)
        // Before it is acknowledged, so that the sender waits, too.
        await pause(this.#options.clock, receivePauseMs)
      }),
      end: () => next(async () => {
        await draft!.finish()
        // The sender may have given up: the next one goes on.
        if (draft!.bytes < bytes) throw new Error('the snapshot is not complete')
        if (draft!.sha256 !== sha256) {
          this.#options.log('warn', `the snapshot at ${index} arrived damaged and is fetched anew`, { index, from })
          await draft!.abort()
          throw new Error('the snapshot is damaged')
        }
        await this.#take(meta, from, draft!)
      }).finally(() => this.#ended(incoming)),
      abort: () => this.#ended(incoming),
    }
  }

  #ended(incoming: Incoming): void {
    if (this.#incoming !== incoming) return
    this.#expire()
  }

  /** A draft that nobody goes on with is removed. */
  #expire(): void {
    const { clock } = this.#options
    clock.cancel(this.#expiry)
    if (this.#storage.draft === undefined || this.#stopped) return
    this.#expiry = clock.after(draftKeptMs, () => {
      if (this.#received !== undefined || this.#stopped) return
      this.#incoming = undefined
      // The next start, or the next snapshot, removes it if the disk refuses now.
      this.#storage.dropDraft().catch(() => undefined)
    }, true)
  }

  async #take(meta: SnapshotMeta, from: NodeId, draft: SnapshotDraft): Promise<void> {
    if (this.#stopped) throw new Error('this node is stopping')
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

  // — taking —

  /** Makes a snapshot that the own log covers the current one and removes the entries behind it. */
  async #adopt(meta: SnapshotMeta, draft: SnapshotDraft): Promise<void> {
    if (meta.index <= (this.#storage.snapshot?.index ?? 0)) return draft.abort()
    await this.#storage.adoptSnapshot(draft, meta, { replaceLog: false })
    const through = this.#removable(meta.index)
    this.#raft.compacted(meta, through)
    if (through > 0) await this.#storage.compact(through)
    this.#options.log('debug', `snapshot at ${meta.index} stored`, { index: meta.index, bytes: meta.bytes })
  }

  /** Up to where the log behind a snapshot at `index` may go. */
  #removable(index: number): number {
    const gone = this.#raft.firstIndex - 1
    let through = Math.max(index - trailingEntries, gone)
    // Where the bytes behind it are few enough, by bisection.
    if (this.#raft.bytesBetween(through, index) > trailingBytes) {
      let high = index
      while (high - through > 1) {
        const middle = through + Math.floor((high - through) / 2)
        if (this.#raft.bytesBetween(middle, index) > trailingBytes) through = middle
        else high = middle
      }
      through = high
    }
    const now = this.#options.clock.now()
    for (const [id, sent] of this.#outgoing) {
      const kept = sent.untilMs > now && this.#raft.role === 'leader'
      if (!kept) this.#outgoing.delete(id)
      else if (sent.index >= gone && this.#raft.bytesBetween(sent.index, this.#raft.lastIndex) <= sentKeptBytes) through = Math.min(through, sent.index)
    }
    return through
  }

  /** Whether the log since the last snapshot is long, up to `reached`. */
  wanted(reached: number): boolean {
    const { snapshot } = this.#storage
    const covered = snapshot?.index ?? 0
    if (this.#storing || reached <= covered) return false
    const cost = this.#storage.bytesSinceSnapshot + entryCost * (reached - covered)
    if (cost <= maxLogCost && this.#options.clock.now() - this.#storedMs < restMs) return false
    return cost > Math.min(Math.max(minLogCost, (snapshot?.bytes ?? 0) / 2), maxLogCost)
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
      let sincePause = 0
      for await (const chunk of chunks) {
        if (this.#stopped) throw new Error('consensus is stopped')
        await draft.write(chunk)
        sincePause += chunk.length
        if (sincePause < storePauseBytes) continue
        sincePause = 0
        await pause(this.#options.clock, storePauseMs)
      }
      await draft.finish()
      await this.#adopt({ index, term, membership, bytes: draft.bytes }, draft)
    } catch (error) {
      // Not if it has become the current one and only the compaction failed.
      if (this.#storage.snapshot?.index !== index) await draft.abort().catch(() => undefined)
      throw error
    } finally {
      this.#storing = false
      this.#storedMs = this.#options.clock.now()
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

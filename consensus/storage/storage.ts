/**
 * The durable log on an ordered key-value store and files: entries, term and vote, the current snapshot. What a promise of
 * this module says is on disk is on disk (`sync`). Writes go one at a time and are atomic; the caller batches (group commit).
 *
 * Whatever is wrong with the stored data makes `open` fail with a `StorageError`: a voter that guesses what it has
 * promised is worse than one that is missing.
 */
import { decodeMembership, emptyMembership } from '../core/membership.ts'
import type { Entry, EntryType, HardState, Membership, SnapshotMeta } from '../core/types.ts'
import type { DraftRecord, OwnerRecord, SnapshotIdentity, SnapshotRecord, StateRecord } from './records.ts'
import {
  decodeDraft, decodeOwner, decodeRun, decodeSnapshot, decodeState, draftKey, encodeDraft, encodeOwner, encodeRun,
  encodeSnapshot, encodeState, entryKey, indexOfKey, ownerKey, snapshotKey, stateKey, StorageError,
} from './records.ts'
import { Draft, readChunks, type SnapshotDraft } from './snapshot-file.ts'
import type { OpenStore, Operation, Store } from './store.ts'

export { StorageError, type SnapshotIdentity } from './records.ts'
export type { SnapshotDraft } from './snapshot-file.ts'

/** What the core needs to know of a stored entry. */
export interface StoredEntryInfo {
  readonly index: number
  readonly term: number
  readonly type: EntryType
  readonly bytes: number
  readonly data?: Uint8Array
}

export interface LogWrite {
  /** Absent: unchanged. */
  readonly hardState?: HardState | undefined
  /** Without gaps among themselves; the stored log is truncated from the first one in the same write. */
  readonly append: readonly Entry[]
  /** Known to be committed; kept so that a restarted node can serve what it knew. */
  readonly commitIndex: number
}

/** The current snapshot as it was when it was asked for, even if another one replaces it; until `close`. */
export interface SnapshotReading {
  readonly meta: SnapshotMeta
  /** Of the whole payload, hex. */
  readonly sha256: string
  /** The chunks from the given number on (0 is the first). Rejects with `StorageError` when one is damaged. */
  open(fromChunk: number): AsyncIterable<Uint8Array>
  close(): void
}

/** Entries that are written together share a row, up to this. One checksum and one key for all of them: see README.md. */
const maxRunEntries = 256
const maxRunBytes = 256 * 1024

export class LogStorage {
  readonly #open: OpenStore
  readonly #owner: OwnerRecord
  #generation = 0
  #store: Store
  #state: StateRecord
  #snapshot: SnapshotRecord | undefined
  /** First indices of the rows that hold the log, ascending. The first row may begin before the log does. */
  #runs: number[] = []
  /** Membership entries that the log holds, ascending. */
  #memberships: { readonly index: number; readonly membership: Membership }[] = []
  #loaded: StoredEntryInfo[] = []
  /** Bytes appended in this process plus what was found at the start: only differences matter. */
  #logBytes = 0
  #logBytesAtSnapshot = 0
  #draft: DraftRecord | undefined
  #nextFile = 1
  /** How many read each file. */
  readonly #readers = new Map<number, number>()
  /** The last write failed: LevelDB refuses further ones until it is opened again. */
  #broken = false
  #closed = false
  #queue: Promise<unknown> = Promise.resolve()

  private constructor(open: OpenStore, owner: OwnerRecord, store: Store, state: StateRecord) {
    this.#open = open
    this.#owner = owner
    this.#store = store
    this.#state = state
  }

  /** Fills an empty store with a new log that starts with `entries` (index 1, 2, …). */
  static async create(store: Store, owner: OwnerRecord, hardState: HardState, entries: readonly Entry[]): Promise<void> {
    const operations: Operation[] = [{ type: 'put', key: ownerKey, value: encodeOwner(owner) }]
    for (const entry of entries) operations.push(putRun([entry]))
    const state = { sequence: 1, hardState, baseIndex: 0, baseTerm: 0, lastIndex: entries.length, commitIndex: 0 }
    operations.push({ type: 'put', key: stateKey, value: encodeState(state) })
    await store.write(operations)
  }

  /** Opens and verifies the whole log and snapshot. Rejects with `StorageError` when anything is wrong. */
  static async open(open: OpenStore, owner: OwnerRecord): Promise<LogStorage> {
    const store = await open()
    try {
      const storage = new LogStorage(open, owner, store, await readState(store))
      await storage.#load()
      return storage
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** How often the cluster has been recovered, as far as this log knows. */
  get generation(): number {
    return this.#generation
  }
  get hardState(): HardState {
    return this.#state.hardState
  }
  get firstIndex(): number {
    return this.#state.baseIndex + 1
  }
  get lastIndex(): number {
    return this.#state.lastIndex
  }
  /** Known to be committed when the log was last written. */
  get commitIndex(): number {
    return this.#state.commitIndex
  }
  get snapshot(): SnapshotMeta | undefined {
    return this.#snapshot?.meta
  }
  /** Payload bytes appended since the current snapshot was begun. */
  get bytesSinceSnapshot(): number {
    return this.#logBytes - this.#logBytesAtSnapshot
  }

  /** The entries found by `open`; only once, the memory is given back. */
  takeLoaded(): readonly StoredEntryInfo[] {
    const loaded = this.#loaded
    this.#loaded = []
    return loaded
  }

  /** The membership as of `index`, which must be within the log or the snapshot's. */
  membershipAt(index: number): Membership {
    let found = this.#snapshot !== undefined && this.#snapshot.meta.index <= index ? this.#snapshot.meta.membership : emptyMembership
    const from = this.#snapshot !== undefined && this.#snapshot.meta.index <= index ? this.#snapshot.meta.index : 0
    for (const stage of this.#memberships) if (stage.index <= index && stage.index > from) found = stage.membership
    return found
  }

  /** One atomic, durable write. Rejects when the disk refuses; the same write may then be tried again. */
  write(write: LogWrite): Promise<void> {
    return this.#exclusive(async () => {
      const { append } = write
      const operations: Operation[] = []
      let { lastIndex } = this.#state
      let kept = 0
      const begun: number[] = []
      const first = append[0]
      if (first !== undefined) {
        if (first.index > lastIndex + 1 || first.index <= this.#state.baseIndex) {
          throw new StorageError(`entry ${first.index} does not follow on a log of ${this.firstIndex} to ${lastIndex}`)
        }
        kept = this.#runAt(first.index)
        const begin = this.#runs[kept]
        if (begin !== undefined && begin < first.index && first.index <= lastIndex) {
          // The row goes on beyond what stays: it is written again without that.
          operations.push(putRun((await this.#readRun(begin)).slice(0, first.index - begin)))
        }
        if (begin !== undefined && begin < first.index) kept += 1
        for (const gone of this.#runs.slice(kept)) operations.push({ type: 'del', key: entryKey(gone) })
        let index = first.index
        for (const entry of append) {
          if (entry.index !== index) throw new StorageError(`entry ${entry.index} where ${index} was due`)
          index += 1
        }
        for (const run of runsOf(append)) {
          operations.push(putRun(run))
          begun.push(run[0]!.index)
        }
        lastIndex = index - 1
      }
      const state: StateRecord = {
        ...this.#state,
        sequence: this.#state.sequence + 1,
        hardState: write.hardState ?? this.#state.hardState,
        lastIndex,
        commitIndex: Math.min(Math.max(write.commitIndex, this.#state.commitIndex), lastIndex),
      }
      operations.push({ type: 'put', key: stateKey, value: encodeState(state) })
      await this.#commit(operations)
      this.#state = state
      if (first === undefined) return
      this.#runs.length = kept
      this.#runs.push(...begun)
      this.#forgetMemberships(first.index)
      for (const entry of append) {
        this.#logBytes += entry.data.length
        if (entry.type === 'membership') this.#rememberMembership(entry)
      }
    })
  }

  /**
   * For a node that goes on without the others (`recovery.ts`): appends, and begins another generation of the cluster, in
   * one atomic, durable write. `entries` follow on the log.
   */
  recover(entries: readonly Entry[], hardState: HardState, generation: number): Promise<void> {
    return this.#exclusive(async () => {
      const { lastIndex } = this.#state
      const operations: Operation[] = [{ type: 'put', key: ownerKey, value: encodeOwner({ ...this.#owner, generation }) }]
      entries.forEach((entry, at) => {
        if (entry.index !== lastIndex + 1 + at) throw new Error(`storage: entry ${entry.index} does not follow on ${lastIndex + at}`)
        operations.push(putRun([entry]))
      })
      const state: StateRecord = {
        ...this.#state, sequence: this.#state.sequence + 1, hardState, lastIndex: lastIndex + entries.length,
      }
      operations.push({ type: 'put', key: stateKey, value: encodeState(state) })
      await this.#commit(operations)
      this.#state = state
      this.#generation = generation
      for (const { index } of entries) this.#runs.push(index)
      for (const entry of entries) if (entry.type === 'membership') this.#rememberMembership(entry)
    })
  }

  /**
   * Entries `from` to `to` (inclusive), as many as fit in `maxBytes` of payload but at least one. Empty when the first one
   * is not stored. Rejects with `StorageError` when one is damaged.
   */
  async read(from: number, to: number, maxBytes: number): Promise<Entry[]> {
    const entries: Entry[] = []
    if (from > to || from < this.firstIndex) return entries
    if (this.#broken) await this.#exclusive(() => Promise.resolve())
    let bytes = 0
    const begin = this.#runs[this.#runAt(from)]
    if (begin === undefined) return entries
    const rows = this.#store.rows({ from: entryKey(begin), to: entryKey(to) })
    try {
      for (;;) {
        const some = await rows.next(256)
        if (some.length === 0) return entries
        for (const [key, value] of some) {
          for (const entry of decodeRun(key, value)) {
            if (entry.index < from) continue
            if (entry.index > to) return entries
            if (entry.index !== from + entries.length) {
              if (entries.length === 0) return entries // Compacted meanwhile.
              throw new StorageError(`log entry ${from + entries.length} is missing`)
            }
            bytes += entry.data.length
            if (entries.length > 0 && bytes > maxBytes) return entries
            entries.push(entry)
          }
        }
      }
    } finally {
      await rows.close()
    }
  }

  /** Which row holds `index`, if the log does: the last one that does not begin behind it; 0 when there is none. */
  #runAt(index: number): number {
    let low = 0
    let high = this.#runs.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#runs[middle]! <= index) low = middle + 1
      else high = middle
    }
    return Math.max(low - 1, 0)
  }

  async #readRun(begin: number): Promise<Entry[]> {
    const key = entryKey(begin)
    const value = await this.#store.get(key)
    if (value === undefined) throw new StorageError(`log entry ${begin} is missing`)
    return decodeRun(key, value)
  }

  // — snapshots —

  /** For a snapshot of the own state machine. */
  beginSnapshot(): SnapshotDraft {
    return this.#newDraft(this.#nextFile++)
  }

  /** For a snapshot that a peer sends: goes on with what is there of the same one, also after a restart; drops any other. */
  async receiveSnapshot(identity: SnapshotIdentity): Promise<SnapshotDraft> {
    const before = this.#draft
    if (before !== undefined && isSame(before.identity, identity)) {
      const draft = this.#newDraft(before.file)
      await draft.resume(identity)
      return draft
    }
    const record: DraftRecord = { file: this.#nextFile++, identity }
    await this.#exclusive(() => this.#commit([{ type: 'put', key: draftKey, value: encodeDraft(record) }]))
    this.#draft = record
    if (before !== undefined) await this.#remove(before.file)
    return this.#newDraft(record.file)
  }

  /** What is being received, or was when the process before ended. */
  get draft(): SnapshotIdentity | undefined {
    return this.#draft?.identity
  }

  /** Forgets what was received of a snapshot that nobody goes on with. */
  async dropDraft(): Promise<void> {
    const draft = this.#draft
    if (draft === undefined) return
    this.#draft = undefined
    await this.#exclusive(() => this.#commit([{ type: 'del', key: draftKey }]))
    await this.#remove(draft.file)
  }

  #newDraft(file: number): Draft {
    return new Draft({
      file, files: () => this.#store.files, logBytesAtStart: this.#logBytes,
      forget: () => (this.#draft?.file === file ? this.dropDraft() : this.#remove(file)),
    })
  }

  /**
   * Makes a finished draft the current snapshot, in one atomic write. `replaceLog`: it also becomes the base of an empty
   * log (an installed snapshot); otherwise the log stays as it is.
   */
  async adoptSnapshot(
    draft: SnapshotDraft, meta: SnapshotMeta, how: { readonly replaceLog: boolean; readonly hardState?: HardState | undefined },
  ): Promise<void> {
    if (!(draft instanceof Draft) || draft.sha256 === '') throw new Error('storage: the snapshot draft is not finished')
    if (draft.bytes !== meta.bytes) throw new StorageError(`the snapshot has ${draft.bytes} bytes where ${meta.bytes} were announced`)
    const { chunks, sha256, options: { file, logBytesAtStart } } = draft
    const record: SnapshotRecord = { file, chunks, sha256, meta }
    const before = this.#snapshot?.file
    const received = this.#draft?.file === file
    await this.#exclusive(async () => {
      const operations: Operation[] = [{ type: 'put', key: snapshotKey, value: encodeSnapshot(record) }]
      let state: StateRecord = { ...this.#state, sequence: this.#state.sequence + 1 }
      if (how.replaceLog) {
        // What ends behind the snapshot must be gone in the same moment; the rest may go later.
        for (const gone of this.#runs.slice(this.#runAt(meta.index + 1))) operations.push({ type: 'del', key: entryKey(gone) })
        state = {
          ...state, hardState: how.hardState ?? state.hardState,
          baseIndex: meta.index, baseTerm: meta.term, lastIndex: meta.index, commitIndex: Math.max(meta.index, 0),
        }
      } else {
        if (meta.index <= (this.#snapshot?.meta.index ?? 0)) throw new StorageError(`there is a newer snapshot than ${meta.index} already`)
        if (meta.index > state.lastIndex) throw new StorageError(`a snapshot at ${meta.index} beyond the log's end ${state.lastIndex}`)
        state = { ...state, commitIndex: Math.max(state.commitIndex, meta.index) }
      }
      operations.push({ type: 'put', key: stateKey, value: encodeState(state) })
      if (received) operations.push({ type: 'del', key: draftKey })
      await this.#commit(operations)
      if (received) this.#draft = undefined
      this.#state = state
      this.#snapshot = record
      if (how.replaceLog) {
        this.#memberships = []
        this.#logBytesAtSnapshot = this.#logBytes
        const first = this.#runs[0]
        this.#runs = []
        if (first !== undefined && first <= meta.index) await this.#clear(entryKey(first), entryKey(meta.index))
      } else {
        this.#logBytesAtSnapshot = logBytesAtStart
      }
    })
    if (before !== undefined && !this.#readers.has(before)) await this.#remove(before)
  }

  /** Removes the entries up to and including `through`, which the current snapshot must cover. */
  compact(through: number): Promise<void> {
    return this.#exclusive(async () => {
      const { baseIndex, lastIndex } = this.#state
      if (through <= baseIndex) return
      const covered = this.#snapshot?.meta.index ?? 0
      if (through > covered || through > lastIndex) throw new StorageError(`compaction to ${through} with a snapshot at ${covered}`)
      const at = this.#runAt(through)
      const begin = this.#runs[at]
      const base = begin === undefined || begin > through ? undefined : (await this.#readRun(begin))[through - begin]
      if (base === undefined) throw new StorageError(`log entry ${through} is missing`)
      const baseTerm = base.term
      const state: StateRecord = { ...this.#state, sequence: this.#state.sequence + 1, baseIndex: through, baseTerm }
      await this.#commit([{ type: 'put', key: stateKey, value: encodeState(state) }])
      this.#state = state
      this.#memberships = this.#memberships.filter(({ index }) => index > through)
      // A row that goes on behind `through` stays as it is.
      const next = this.#runs[at + 1] ?? lastIndex + 1
      const gone = this.#runs.splice(0, next === through + 1 ? at + 1 : at)
      if (gone.length > 0) await this.#clear(entryKey(gone[0]!), entryKey(gone.at(-1)!))
    })
  }

  /** The current snapshot as of now. To be closed when it is not needed any more. */
  readSnapshot(): SnapshotReading | undefined {
    const record = this.#snapshot
    if (record === undefined) return undefined
    const { file, meta, sha256 } = record
    this.#readers.set(file, (this.#readers.get(file) ?? 0) + 1)
    let open = true
    return {
      meta, sha256,
      open: (from) => readChunks(() => this.#store.files, record, from),
      close: () => {
        if (!open) return
        open = false
        this.#release(file)
      },
    }
  }

  #release(file: number): void {
    const left = this.#readers.get(file)! - 1
    if (left > 0) this.#readers.set(file, left)
    else {
      this.#readers.delete(file)
      if (this.#snapshot?.file !== file && !this.#closed) void this.#remove(file)
    }
  }

  /** Waits for the write under way, then closes. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#queue.catch(() => undefined)
    await this.#store.close()
  }

  // — inside —

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (this.#broken) await this.#reopen()
      return work()
    }
    const result = this.#queue.then(run, run)
    this.#queue = result.catch(() => undefined)
    return result
  }

  async #commit(operations: Operation[]): Promise<void> {
    try {
      await this.#store.write(operations)
    } catch (error) {
      this.#broken = true
      throw error
    }
  }

  /** After a failed write it is not known what is on disk: read it again. */
  async #reopen(): Promise<void> {
    await this.#store.close()
    try {
      this.#store = await this.#open()
    } catch (error) {
      if (error instanceof StorageError && error.kind === 'damaged') throw error
      // Not a reason to distrust the log: a disk that is full or gone can come back.
      throw new Error((error as Error).message, { cause: error })
    }
    this.#state = await readState(this.#store)
    await this.#load()
    this.#loaded = []
    this.#broken = false
  }

  async #load(): Promise<void> {
    const ownerValue = await this.#store.get(ownerKey)
    if (ownerValue === undefined) throw new StorageError('the log has no owner record')
    const owner = decodeOwner(ownerValue)
    if (owner.clusterId !== this.#owner.clusterId || owner.nodeId !== this.#owner.nodeId) {
      throw new StorageError(`the log belongs to ${owner.nodeId} of cluster ${owner.clusterId}, not to ${this.#owner.nodeId} of ${this.#owner.clusterId}`, 'unusable')
    }
    this.#generation = owner.generation ?? 0
    const { baseIndex, baseTerm, lastIndex, hardState } = this.#state
    await this.#loadSnapshot()
    const covered = this.#snapshot?.meta.index ?? 0
    if (baseIndex > covered) throw new StorageError(`the log starts after ${baseIndex}, but the snapshot covers only ${covered}`)
    if (lastIndex < covered) throw new StorageError(`the log ends at ${lastIndex}, before its snapshot at ${covered}`)
    this.#loaded = []
    this.#memberships = []
    let due = baseIndex + 1
    let term = baseTerm
    let bytes = 0
    let bytesAfterSnapshot = 0
    this.#runs = []
    const take = (key: Uint8Array, value: Uint8Array) => {
      this.#runs.push(indexOfKey(key))
      for (const entry of decodeRun(key, value)) {
        if (entry.index <= baseIndex) continue
        if (entry.index !== due) throw new StorageError(`log entry ${due} is missing`)
        if (entry.index > lastIndex) throw new StorageError(`log entry ${entry.index} lies beyond the recorded end ${lastIndex}`)
        if (entry.term < term) throw new StorageError(`log entry ${entry.index} has term ${entry.term} after term ${term}`)
        term = entry.term
        due += 1
        bytes += entry.data.length
        if (entry.index > covered) bytesAfterSnapshot += entry.data.length
        const isMembership = entry.type === 'membership'
        if (isMembership) this.#rememberMembership(entry)
        const info = { index: entry.index, term: entry.term, type: entry.type, bytes: entry.data.length }
        this.#loaded.push(isMembership ? { ...info, data: entry.data } : info)
      }
    }
    // A row that begins before the log does may reach into it, or be what an interrupted compaction left behind: the next
    // one tells.
    let before: readonly [key: Uint8Array, value: Uint8Array] | undefined
    const leftover: number[] = []
    for await (const row of eachRow(this.#store, entryKey(0), entryKey(Number.MAX_SAFE_INTEGER))) {
      const begin = indexOfKey(row[0])
      if (before !== undefined) {
        if (begin <= baseIndex + 1) leftover.push(indexOfKey(before[0]))
        else take(...before)
        before = undefined
      }
      if (begin <= baseIndex) before = row
      else take(...row)
    }
    if (before !== undefined) {
      if (lastIndex === baseIndex) leftover.push(indexOfKey(before[0]))
      else take(...before)
    }
    if (due !== lastIndex + 1) throw new StorageError(`the log ends at ${due - 1}, but ${lastIndex} was recorded as its end`)
    if (term > hardState.term) throw new StorageError(`the log has term ${term}, but the recorded term is ${hardState.term}`)
    this.#logBytes = bytes
    this.#logBytesAtSnapshot = bytes - bytesAfterSnapshot
    if (leftover.length > 0) await this.#clear(entryKey(leftover[0]!), entryKey(leftover.at(-1)!))
  }

  async #loadSnapshot(): Promise<void> {
    const before = this.#snapshot
    const value = await this.#store.get(snapshotKey)
    this.#snapshot = value === undefined ? undefined : decodeSnapshot(value)
    const draftValue = await this.#store.get(draftKey)
    this.#draft = draftValue === undefined ? undefined : decodeDraft(draftValue)
    // What was verified once does not change under a running process; the store may be opened anew many times.
    if (this.#snapshot !== undefined && this.#snapshot.file !== before?.file) {
      for await (const _ of readChunks(() => this.#store.files, this.#snapshot, 0)) continue
    }
    if (this.#broken) return
    for (const file of await this.#store.files.list()) {
      this.#nextFile = Math.max(this.#nextFile, file + 1)
      // What was never adopted, or not removed yet.
      if (file !== this.#snapshot?.file && file !== this.#draft?.file) await this.#unlink(file)
    }
    this.#nextFile = Math.max(this.#nextFile, (this.#snapshot?.file ?? 0) + 1, (this.#draft?.file ?? 0) + 1)
  }

  #rememberMembership(entry: Entry): void {
    const membership = decodeMembership(entry.data)
    if (membership === undefined) throw new StorageError(`membership entry ${entry.index} is not understood`, 'unusable')
    this.#memberships.push({ index: entry.index, membership })
  }

  #forgetMemberships(from: number): void {
    this.#memberships = this.#memberships.filter(({ index }) => index < from)
  }

  /**
   * Removes a snapshot's file, unless something refers to it after all: a write that failed may have reached the disk, and
   * then the file that seemed to be of no use is the current snapshot. So this waits its turn, after the store was opened anew.
   */
  async #remove(file: number): Promise<void> {
    await this.#exclusive(async () => {
      if (file !== this.#snapshot?.file && file !== this.#draft?.file && !this.#readers.has(file)) await this.#unlink(file)
    }).catch(() => undefined)
  }

  async #unlink(file: number): Promise<void> {
    try {
      await this.#store.files.remove(file)
    } catch {
      // The next start does it again.
    }
  }

  /** Removes keys that nothing refers to any more: it need not be atomic nor durable. */
  async #clear(from: Uint8Array, to: Uint8Array): Promise<void> {
    try {
      await this.#store.clear({ from, to })
    } catch {
      // The next start does it again.
    }
  }
}

function putRun(entries: readonly Entry[]): Operation {
  const key = entryKey(entries[0]!.index)
  return { type: 'put', key, value: encodeRun(entries, key) }
}

/** Cut into what fits a row each. */
function runsOf(entries: readonly Entry[]): Entry[][] {
  const runs: Entry[][] = []
  let run: Entry[] = []
  let bytes = 0
  for (const entry of entries) {
    if (run.length === maxRunEntries || (run.length > 0 && bytes + entry.data.length > maxRunBytes)) {
      runs.push(run)
      run = []
      bytes = 0
    }
    run.push(entry)
    bytes += entry.data.length
  }
  if (run.length > 0) runs.push(run)
  return runs
}

async function* eachRow(store: Store, from: Uint8Array, to: Uint8Array): AsyncGenerator<readonly [Uint8Array, Uint8Array]> {
  const rows = store.rows({ from, to })
  try {
    for (let some = await rows.next(256); some.length > 0; some = await rows.next(256)) yield* some
  } finally {
    await rows.close()
  }
}

async function readState(store: Store): Promise<StateRecord> {
  const value = await store.get(stateKey)
  if (value === undefined) throw new StorageError('the record of term and vote is missing')
  return decodeState(value)
}

function isSame(a: SnapshotIdentity, b: SnapshotIdentity): boolean {
  return a.sha256 === b.sha256 && a.bytes === b.bytes && a.index === b.index && a.term === b.term
}

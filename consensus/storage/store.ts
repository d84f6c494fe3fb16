/**
 * What the durable log needs of a disk: an ordered key-value store (LevelDB) for everything that is small, and files for the
 * payloads of snapshots, which are large, written once and read in order. A simulated disk gives the same.
 */

export type Operation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

/** Keys in bytewise order; both ends inclusive. */
export interface KeyRange {
  readonly from: Uint8Array
  readonly to: Uint8Array
}

export interface Store {
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  /** All or nothing, and durable when the promise resolves. After a failure it is not known which; the store is opened anew. */
  write(operations: readonly Operation[]): Promise<void>
  /** Rows in order, as of now. */
  rows(range: KeyRange): Rows
  /** Removes a range. Neither atomic nor durable: only for what nothing refers to any more. */
  clear(range: KeyRange): Promise<void>
  readonly files: Files
  close(): Promise<void>
}

/** Files that are named by a number. After a failure the same call may be tried again. */
export interface Files {
  /** Writes at `offset`; the first write makes the file. Not durable before a `sync` that was called later has resolved. */
  write(file: number, offset: number, data: Uint8Array): Promise<void>
  /** All of the file is durable when it resolves. */
  sync(file: number): Promise<void>
  /** Fewer bytes at the end of the file, none behind it or when it does not exist. */
  read(file: number, offset: number, bytes: number): Promise<Uint8Array>
  list(): Promise<readonly number[]>
  /** Neither atomic nor durable: only for what nothing refers to any more. Harmless for a file that is not there. */
  remove(file: number): Promise<void>
}

export interface Rows {
  /** The next rows, at most `limit`; none at the end. */
  next(limit: number): Promise<readonly (readonly [key: Uint8Array, value: Uint8Array])[]>
  close(): Promise<void>
}

/** Opens the store; rejects with a `StorageError` when it is not there or cannot be opened. */
export type OpenStore = () => Promise<Store>

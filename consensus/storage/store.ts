/** The ordered key-value store under the durable log: what `storage.ts` needs of LevelDB, and what a simulated disk gives. */

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
  close(): Promise<void>
}

export interface Rows {
  /** The next rows, at most `limit`; none at the end. */
  next(limit: number): Promise<readonly (readonly [key: Uint8Array, value: Uint8Array])[]>
  close(): Promise<void>
}

/** Opens the store; rejects with a `StorageError` when it is not there or cannot be opened. */
export type OpenStore = () => Promise<Store>

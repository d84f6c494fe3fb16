/** The durable log's store on LevelDB. */
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { ClassicLevel } from 'classic-level'
import type { Entry, HardState } from '../core/types.ts'
import { StorageError, type OwnerRecord } from './records.ts'
import { LogStorage } from './storage.ts'
import type { KeyRange, Operation, Rows, Store } from './store.ts'

type Db = ClassicLevel<Uint8Array, Uint8Array>

const options = {
  keyEncoding: 'view', valueEncoding: 'view', writeBufferSize: 4 * 1024 * 1024, cacheSize: 1024 * 1024, compression: false,
} as const

class LevelStore implements Store {
  readonly #db: Db

  constructor(db: Db) {
    this.#db = db
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#db.get(key)
  }

  write(operations: readonly Operation[]): Promise<void> {
    return this.#db.batch(operations as Operation[], { sync: true })
  }

  rows({ from, to }: KeyRange): Rows {
    const iterator = this.#db.iterator({ gte: from, lte: to })
    return { next: (limit) => iterator.nextv(limit), close: () => iterator.close() }
  }

  clear({ from, to }: KeyRange): Promise<void> {
    return this.#db.clear({ gte: from, lte: to })
  }

  close(): Promise<void> {
    return this.#db.close()
  }
}

async function openStore(directory: string): Promise<Store> {
  if (!existsSync(`${directory}/CURRENT`)) throw new StorageError(`there is no log in ${directory}`)
  const db: Db = new ClassicLevel<Uint8Array, Uint8Array>(directory, { ...options, createIfMissing: false })
  try {
    await db.open()
    // The log holds password hashes and keys, and LevelDB makes its files readable for everybody.
    chmodSync(directory, 0o700)
  } catch (error) {
    const cause = (error as { cause?: { code?: string; message?: string } }).cause
    if (cause?.code === 'LEVEL_LOCKED') throw new StorageError(`the log in ${directory} is in use by another process`)
    throw new StorageError(`the log in ${directory} cannot be opened: ${cause?.message ?? (error as Error).message}`)
  }
  return new LevelStore(db)
}

/** Opens and verifies the log in `directory`. Rejects with `StorageError` when anything is wrong. */
export function openLog(directory: string, owner: OwnerRecord): Promise<LogStorage> {
  return LogStorage.open(() => openStore(directory), owner)
}

/** Makes a new log in `directory`, which must not exist yet, starting with `entries` (index 1, 2, …). */
export async function createLog(directory: string, owner: OwnerRecord, hardState: HardState, entries: readonly Entry[]): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const db: Db = new ClassicLevel<Uint8Array, Uint8Array>(directory, { ...options, errorIfExists: true })
  await db.open()
  const store = new LevelStore(db)
  try {
    await LogStorage.create(store, owner, hardState, entries)
  } finally {
    await store.close()
  }
}

/** The durable log's store on LevelDB, with the snapshots' payloads in files of a folder of their own beside it. */
import { chmodSync, constants, existsSync, mkdirSync } from 'node:fs'
import { mkdir, open, readdir, rm } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'
import type { Entry, HardState } from '../core/types.ts'
import { StorageError, type OwnerRecord } from './records.ts'
import { LogStorage } from './storage.ts'
import type { Files, KeyRange, Operation, Rows, Store } from './store.ts'

type Db = ClassicLevel<Uint8Array, Uint8Array>

// Small, because a heart is: the log is written once and mostly read back from memory. Two write buffers can be in use.
const options = {
  keyEncoding: 'view', valueEncoding: 'view', writeBufferSize: 2 * 1024 * 1024, cacheSize: 1024 * 1024, compression: false,
} as const

/** In the folder of LevelDB, which leaves alone what it has not made itself. */
class FolderFiles implements Files {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async write(file: number, offset: number, data: Uint8Array): Promise<void> {
    if (offset === 0) await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    const handle = await open(this.#path(file), constants.O_WRONLY | constants.O_CREAT, 0o600)
    try {
      for (let done = 0; done < data.length; ) done += (await handle.write(data, done, data.length - done, offset + done)).bytesWritten
    } finally {
      await handle.close()
    }
  }

  async sync(file: number): Promise<void> {
    // Its name, too: that is a matter of the folders. The kernel tells a new handle of an error that nobody has seen yet.
    for (const path of [this.#path(file), this.#folder, `${this.#folder}/..`]) {
      const handle = await open(path, constants.O_RDONLY)
      try {
        await handle.datasync()
      } finally {
        await handle.close()
      }
    }
  }

  async read(file: number, offset: number, bytes: number): Promise<Uint8Array> {
    let handle
    try {
      handle = await open(this.#path(file), constants.O_RDONLY)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
      throw error
    }
    try {
      const data = Buffer.allocUnsafeSlow(bytes)
      let done = 0
      while (done < bytes) {
        const { bytesRead } = await handle.read(data, done, bytes - done, offset + done)
        if (bytesRead === 0) break
        done += bytesRead
      }
      return data.subarray(0, done)
    } finally {
      await handle.close()
    }
  }

  async list(): Promise<readonly number[]> {
    const names = existsSync(this.#folder) ? await readdir(this.#folder) : []
    return names.filter((name) => /^\d+$/.test(name)).map(Number)
  }

  remove(file: number): Promise<void> {
    return rm(this.#path(file), { force: true })
  }

  #path(file: number): string {
    return `${this.#folder}/${file}`
  }
}

class LevelStore implements Store {
  readonly #db: Db
  readonly files: Files

  constructor(db: Db, directory: string) {
    this.#db = db
    this.files = new FolderFiles(`${directory}/snapshots`)
  }

  get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#db.get(key).catch(named)
  }

  write(operations: readonly Operation[]): Promise<void> {
    return this.#db.batch(operations as Operation[], { sync: true }).catch(named)
  }

  rows({ from, to }: KeyRange): Rows {
    const iterator = this.#db.iterator({ gte: from, lte: to })
    return { next: (limit) => iterator.nextv(limit).catch(named), close: () => iterator.close() }
  }

  clear({ from, to }: KeyRange): Promise<void> {
    return this.#db.clear({ gte: from, lte: to })
  }

  close(): Promise<void> {
    return this.#db.close()
  }
}

/** LevelDB's own checks: what they find is damage like any other. */
function named(error: unknown): never {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ((at as { code?: string }).code === 'LEVEL_CORRUPTION') throw new StorageError(`the log's database is damaged: ${at.message}`)
  }
  throw error
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
    if (cause?.code === 'LEVEL_LOCKED') throw new StorageError(`the log in ${directory} is in use by another process`, 'unusable')
    const kind = cause?.code === 'LEVEL_CORRUPTION' ? 'damaged' : 'unusable'
    throw new StorageError(`the log in ${directory} cannot be opened: ${cause?.message ?? (error as Error).message}`, kind)
  }
  return new LevelStore(db, directory)
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
  const store = new LevelStore(db, directory)
  try {
    await LogStorage.create(store, owner, hardState, entries)
  } finally {
    await store.close()
  }
}

/**
 * Writes the access log: takes the lines that the workers left in their rings and writes them to a file, which is rotated by size, or to
 * standard output. Nothing waits for it: while a write is under way the rings fill up, and when they are full the workers drop lines
 * and count them.
 */
import { constants, write } from 'node:fs'
import { open, rename, type FileHandle } from 'node:fs/promises'
import { LineRing } from './line-ring.ts'

/** Where a listener's lines go. */
export type AccessDestination = 'file' | 'stdout'

/** The file is put aside at this size, as `.1`; `.1` becomes `.2` and so on, and the oldest is deleted. */
const fileBytes = 64 * 1024 * 1024
const oldFiles = 4
const readEveryMs = 50
const pieceBytes = 256 * 1024
/** A full pipe or disk is tried again this often. */
const retryMs = 100

export interface AccessLogOptions {
  /** Rings by worker. */
  readonly file: readonly SharedArrayBuffer[]
  readonly stdout: readonly SharedArrayBuffer[]
  /** Path of the file. */
  readonly path: string
  readonly log: (level: 'warn' | 'info', message: string, fields?: Record<string, unknown>) => void
  /** Size at which the file is put aside, bytes; default 64 MiB. */
  readonly fileBytes?: number
}

/** One destination: its rings, and the write that is under way. */
class Outlet {
  readonly #rings: readonly LineRing[]
  readonly #write: (data: Buffer) => Promise<void>
  /** One for all pieces: they are written one after the other. Made when there is something to write. */
  #piece: Buffer | undefined
  #running: Promise<void> | undefined

  constructor(buffers: readonly SharedArrayBuffer[], write: (data: Buffer) => Promise<void>) {
    this.#rings = buffers.map((buffer) => new LineRing(buffer))
    this.#write = write
  }

  get dropped(): number {
    return this.#rings.reduce((sum, ring) => sum + ring.dropped, 0)
  }

  /** Writes what is there; does nothing while it still does so. */
  pump(): Promise<void> {
    this.#running ??= this.#all().finally(() => (this.#running = undefined))
    return this.#running
  }

  async #all(): Promise<void> {
    // In turns: a worker that logs faster than the disk writes must not keep the others' lines from being written.
    for (let more = true; more; ) {
      more = false
      for (const ring of this.#rings) {
        if (ring.empty) continue
        this.#piece ??= Buffer.allocUnsafeSlow(pieceBytes)
        const length = ring.read(this.#piece)
        await this.#write(this.#piece.subarray(0, length))
        more ||= !ring.empty
      }
    }
  }
}

function writeDescriptor(data: Buffer, from: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(1, data, from, (error, written) => (error === null ? resolve(written) : reject(error)))
  })
}

export class AccessLog {
  readonly #options: AccessLogOptions
  readonly #file: Outlet
  readonly #stdout: Outlet
  #timer: NodeJS.Timeout | undefined
  #handle: FileHandle | undefined
  #size = 0
  #out: FileHandle | 'as it is' | undefined
  #lastFault = ''
  #ending = false

  constructor(options: AccessLogOptions) {
    this.#options = options
    this.#file = new Outlet(options.file, (data) => this.#toFile(data))
    this.#stdout = new Outlet(options.stdout, (data) => this.#toStdout(data))
  }

  /** Lines that were not written because this was slower than the workers. */
  get dropped(): number {
    return this.#file.dropped + this.#stdout.dropped
  }

  start(): void {
    if (this.#timer !== undefined) return
    this.#timer = setInterval(() => {
      void this.#file.pump()
      void this.#stdout.pump()
    }, readEveryMs)
    this.#timer.unref()
  }

  /** Writes what is left, for at most a second, and closes the file. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    const rest = (async () => {
      // Twice: what was added while the first was under way.
      for (let turn = 0; turn < 2; turn++) await Promise.all([this.#file.pump(), this.#stdout.pump()])
    })()
    let timer: NodeJS.Timeout | undefined
    await Promise.race([rest, new Promise((resolve) => (timer = setTimeout(resolve, 1000)))])
    clearTimeout(timer)
    this.#ending = true
    await this.#handle?.close().catch(() => undefined)
    this.#handle = undefined
    if (typeof this.#out === 'object') await this.#out.close().catch(() => undefined)
    this.#out = undefined
  }

  async #toFile(data: Buffer): Promise<void> {
    await this.#keep('the access log cannot be written', async (from) => {
      if (this.#handle === undefined) {
        this.#handle = await open(this.#options.path, 'a', 0o640)
        this.#size = (await this.#handle.stat()).size
      }
      const { bytesWritten } = await this.#handle.write(data, from)
      this.#size += bytesWritten
      return bytesWritten
    }, data.length)
    if (this.#size >= (this.#options.fileBytes ?? fileBytes)) await this.#rotate()
  }

  async #rotate(): Promise<void> {
    const { path } = this.#options
    try {
      for (let age = oldFiles - 1; age >= 1; age--) await rename(`${path}.${age}`, `${path}.${age + 1}`).catch(() => undefined)
      await rename(path, `${path}.1`)
      await this.#handle?.close()
    } catch (error) {
      this.#fault('the access log cannot be rotated', error)
    }
    this.#handle = undefined
  }

  async #toStdout(data: Buffer): Promise<void> {
    await this.#keep('the access log cannot be written to standard output', async (from) => {
      // Opened anew, so that the pipe can be asked not to block without this being so for everybody who has it. A socket cannot be.
      this.#out ??= await open('/proc/self/fd/1', constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK).catch(() => 'as it is' as const)
      return this.#out === 'as it is' ? writeDescriptor(data, from) : (await this.#out.write(data, from)).bytesWritten
    }, data.length)
  }

  /** Writes all bytes, however long that takes: what comes meanwhile waits in the rings, or is dropped there. */
  async #keep(what: string, write: (from: number) => Promise<number>, length: number): Promise<void> {
    for (let from = 0; from < length && !this.#ending; ) {
      try {
        from += await write(from)
        this.#lastFault = ''
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.#fault(what, error)
        await new Promise((resolve) => setTimeout(resolve, retryMs).unref())
      }
    }
  }

  /** Says it once, not for every piece. */
  #fault(what: string, error: unknown): void {
    const { message } = error as Error
    if (message === this.#lastFault) return
    this.#lastFault = message
    this.#options.log('warn', what, { error: message })
  }
}

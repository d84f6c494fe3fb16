/** A real cluster on loopback for end-to-end tests: what `npm start` runs, on ports and a VIP of the test's own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** One request on a connection of its own; rejects when nothing comes within `timeoutMs`. */
export function fetchOnce(url: string, options: { method?: string; headers?: Record<string, string>; body?: string; socketPath?: string; timeoutMs?: number } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(url, {
      method: options.method ?? 'GET',
      headers: { connection: 'close', ...options.headers },
      agent: false,
      ...(options.socketPath === undefined ? {} : { socketPath: options.socketPath }),
    })
    const timer = setTimeout(() => outgoing.destroy(new Error(`no answer from ${url} in time`)), options.timeoutMs ?? 5000)
    outgoing.on('response', (incoming) => {
      const parts: Buffer[] = []
      incoming.on('data', (part: Buffer) => parts.push(part))
      incoming.on('error', reject)
      incoming.on('end', () => {
        clearTimeout(timer)
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(parts).toString() })
      })
    })
    outgoing.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    outgoing.end(options.body)
  })
}

/** Waits for a condition; the error says what did not happen. */
export async function until<T>(what: string, attempt: () => Promise<T | undefined | false>, limitMs = 15_000): Promise<T> {
  const started = performance.now()
  let last = ''
  for (;;) {
    try {
      const result = await attempt()
      if (result !== undefined && result !== false) return result
      last = ''
    } catch (error) {
      last = (error as Error).message
    }
    if (performance.now() - started > limitMs) throw new Error(`${what}: not within ${limitMs} ms${last === '' ? '' : ` (last: ${last})`}`)
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
}

/** Processes whose command line mentions `text`. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text)
      } catch {
        return false
      }
    })
    .map(Number)
}

export class DevCluster {
  readonly directory = mkdtempSync(join(tmpdir(), 'haechi-e2e-'))
  readonly vip: string
  readonly basePort: number
  readonly child: ChildProcess
  output = ''

  constructor(options: { vip: string; basePort: number }) {
    this.vip = options.vip
    this.basePort = options.basePort
    this.child = spawn(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', join(root, 'node/cli/dev.ts'), '--dir', join(this.directory, 'data'), '--vip', options.vip, '--base-port', String(options.basePort)],
      { stdio: ['ignore', 'pipe', 'pipe'], detached: true },
    )
    const keep = (data: Buffer): void => void (this.output += data.toString())
    this.child.stdout?.on('data', keep)
    this.child.stderr?.on('data', keep)
  }

  async ready(limitMs = 40_000): Promise<void> {
    await until(
      'the cluster is ready',
      async () => {
        if (this.child.exitCode !== null) throw new Error(`it ended: ${this.output}`)
        return this.output.includes('Haechi is ready')
      },
      limitMs,
    ).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.output}`)
    })
  }

  get vipUrl(): string {
    return `http://${this.vip}/`
  }
  consoleUrl(node: 1 | 2): string {
    return `http://127.0.0.1:${this.basePort + node}`
  }
  get password(): string {
    const found = /admin \/ (\S+)/.exec(this.output)
    if (found === null) throw new Error(`no password was printed: ${this.output}`)
    return found[1]!
  }
  /** Process of a node's heart, as last printed or found by its data directory. */
  heartPid(id: string): number {
    const pids = processesWith(join(this.directory, 'data', id)).filter((pid) => {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
      return line.includes('node/heart-process.ts')
    })
    if (pids.length !== 1) throw new Error(`${pids.length} hearts found for ${id}`)
    return pids[0]!
  }
  /** The data-plane process of a node. */
  childPid(id: string): number {
    const pids = processesWith(join(this.directory, 'data', id)).filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('node/main.ts'))
    if (pids.length !== 1) throw new Error(`${pids.length} data-plane processes found for ${id}`)
    return pids[0]!
  }
  /** The API over the node's unix socket, as local administrator. */
  async api<T>(id: string, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: T; headers: Answer['headers'] }> {
    const answer = await fetchOnce(`http://localhost/api/v1${path}`, {
      method,
      socketPath: join(this.directory, 'data', id, 'api.sock'),
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: answer.status, headers: answer.headers, body: (answer.body === '' ? undefined : JSON.parse(answer.body)) as T }
  }

  /** As Ctrl-C does. */
  async interrupt(): Promise<number | null> {
    const ended = new Promise<number | null>((resolve) => this.child.once('exit', (code) => resolve(code)))
    if (this.child.exitCode !== null) return this.child.exitCode
    this.child.kill('SIGINT')
    return ended
  }

  async destroy(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.interrupt()
    for (const pid of processesWith(this.directory)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
    rmSync(this.directory, { recursive: true, force: true })
  }
}

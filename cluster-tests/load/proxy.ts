/** The proxy under load (`haechi run`), the servers behind it, and what is read of its process. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs: number): Promise<void> {
  const startedMs = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedMs > limitMs) throw new Error(`not within ${limitMs} ms: ${what}`)
    await sleep(20)
  }
}

const started = new Set<ChildProcess>()
const folder = mkdtempSync(join(tmpdir(), 'haechi-load-'))
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

/** A program of this folder in a process of its own; what it prints is collected. */
export interface Program {
  readonly child: ChildProcess
  readonly ended: Promise<number>
  output(): string
  kill(): Promise<void>
}

export function program(argv: readonly string[]): Program {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  started.add(child)
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  const ended = new Promise<number>((resolve) => {
    child.once('close', (code) => {
      started.delete(child)
      resolve(code ?? -1)
    })
  })
  return {
    child, ended, output: () => output,
    kill: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

export interface ProxyProcess {
  readonly program: Program
  readonly pid: number
  /** Puts another document in force and waits until it is. */
  apply(yaml: string): Promise<void>
}

let applied = 0

/** A listener that each document has on top: when it answers under its new name the document is in force. */
function withMarker(yaml: string, revision: number): string {
  return `${yaml}  - {name: marker-${revision}, address: 127.0.0.1, port: ${21_400 + (revision % 50)}}\n`
}

/** `yaml` ends with its listeners. */
export async function startProxy(yaml: string, workers: number): Promise<ProxyProcess> {
  const file = join(folder, 'haechi.yaml')
  writeFileSync(file, withMarker(yaml, ++applied))
  const running = program([join(root, 'node/cli/main.ts'), 'run', '--config', file, '--workers', String(workers)])
  const inForce = (): boolean => {
    if (running.child.exitCode !== null) throw new Error(`haechi run ended:\n${running.output()}`)
    return running.output().includes(`listener marker-${applied}: `)
  }
  await until('the proxy serves', inForce, 20_000)
  return {
    program: running,
    pid: running.child.pid!,
    async apply(document) {
      writeFileSync(file, withMarker(document, ++applied))
      running.child.kill('SIGHUP')
      await until(`revision ${applied} is in force`, inForce, 20_000)
    },
  }
}

export function residentBytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
}

export function descriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Servers of this process: each answers with its name after `delayMs`. */
export async function startServers(addresses: readonly string[], port: number): Promise<void> {
  await Promise.all(addresses.map((address) => {
    const server = createServer((request, response) => {
      request.resume()
      request.on('end', () => response.end(`${address}\n`))
    })
    server.keepAliveTimeout = 3600_000
    return new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, address, resolve)
    })
  }))
}

/** Prints a line with the time. */
export function say(text: string): void {
  console.log(`${new Date().toTimeString().slice(0, 8)} ${text}`)
}

/** Ends the run: the faults are listed and decide the exit code. */
export function finish(faults: readonly string[]): never {
  for (const fault of faults) console.log(`FAULT ${fault}`)
  console.log(faults.length === 0 ? 'passed' : 'failed')
  process.exit(faults.length === 0 ? 0 : 1)
}

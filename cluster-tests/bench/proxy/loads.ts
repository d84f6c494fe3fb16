/** What is thrown at a proxy, from the core that the proxy does not run on; and what it then cost. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { backendPort, ports } from './systems.ts'

export interface Load {
  /** Requests answered, or messages that came back. */
  readonly done: number
  /** Answered with another status than 2xx or 3xx, refused, broken off, or not within two seconds. */
  readonly failed: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Case {
  readonly name: string
  readonly text: string
  /** Highest ratio to HAProxy's cost that is wanted. */
  readonly limit: number
  readonly nginx: boolean
  load(seconds: number): Promise<Load>
}

const connections = 64

/** User and system time of a process with all its threads, microseconds. */
export function cpuUs(pid: number): { user: number; system: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const tickUs = 1e6 / 100
  return { user: Number(fields[11]) * tickUs, system: Number(fields[12]) * tickUs }
}

/** Starts a program on one core. */
export function onCore(core: number, argv: readonly string[], stdio: 'quiet' | 'read'): ChildProcess {
  return spawn('taskset', ['-c', String(core), ...argv], {
    stdio: ['ignore', stdio === 'read' ? 'pipe' : 'ignore', 'inherit'], env: { ...process.env, HAECHI_LOG: 'error' },
  })
}

function output(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    child.stdout!.on('data', (data: Buffer) => (text += data.toString()))
    child.on('close', () => resolve(text))
  })
}

/** `12.3ms`, `45us`, `1.2s` as wrk writes it, in milliseconds. */
function wrkMs(text: string | undefined): number {
  const match = /^([\d.]+)(us|ms|s|m)$/.exec(text ?? '')
  if (match === null) return Number.NaN
  return Number(match[1]) * { us: 0.001, ms: 1, s: 1000, m: 60_000 }[match[2] as 'us' | 'ms' | 's' | 'm']
}

async function wrk(url: string, seconds: number, extra: readonly string[] = []): Promise<Load> {
  const text = await output(onCore(1, ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency', '-H', 'Host: bench.example', ...extra, url], 'read'))
  const done = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0)
  const socket = (kind: string): number => Number(new RegExp(`Socket errors: .*${kind} (\\d+)`).exec(text)?.[1] ?? 0)
  if (done === 0) throw new Error(`wrk got no answer:\n${text}`)
  const refused = Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0)
  return {
    done,
    failed: refused + socket('connect') + socket('read') + socket('write') + socket('timeout'),
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)?.[1] ?? 0),
    p50Ms: wrkMs(/50%\s+(\S+)/.exec(text)?.[1]),
    p99Ms: wrkMs(/99%\s+(\S+)/.exec(text)?.[1]),
  }
}

async function ownClient(kind: 'socket' | 'paced', port: number, seconds: number): Promise<Load> {
  const argv = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'client.ts'), kind, String(port), String(seconds)]
  return JSON.parse(await output(onCore(1, argv, 'read'))) as Load
}

const path = '/some/path?and=query'

export const cases: readonly Case[] = [
  { name: 'small', text: '96-byte body, kept connections', limit: 1.45, nginx: true, load: (s) => wrk(`http://127.0.0.1:${ports.http}${path}`, s) },
  { name: 'large', text: '100 KB body, kept connections', limit: 1.4, nginx: true, load: (s) => wrk(`http://127.0.0.1:${ports.http}/large`, s) },
  { name: 'tls', text: '96-byte body over TLS, kept connections', limit: 1.7, nginx: true, load: (s) => wrk(`https://127.0.0.1:${ports.tls}${path}`, s) },
  { name: 'tcp', text: '96-byte answers through a tunnel, kept connections', limit: 1.5, nginx: false, load: (s) => wrk(`http://127.0.0.1:${ports.tcp}${path}`, s) },
  {
    name: 'connect', text: 'a new connection for each request', limit: 1.8, nginx: true,
    load: (s) => wrk(`http://127.0.0.1:${ports.http}${path}`, s, ['-H', 'Connection: close']),
  },
  { name: 'socket', text: 'WebSocket messages of 100 bytes, 64 sockets', limit: 1.4, nginx: true, load: (s) => ownClient('socket', ports.socket, s) },
]

/** 1,000 requests a second at even intervals, over 20 connections: through the proxy, and straight to the server. */
export async function addedLatency(seconds: number): Promise<{ readonly direct: Load; readonly through: Load }> {
  return { direct: await ownClient('paced', backendPort, seconds), through: await ownClient('paced', ports.http, seconds) }
}

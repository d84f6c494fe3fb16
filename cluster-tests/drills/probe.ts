/**
 * The probe: what a client of the cluster sees. Runs in the client's namespace; one HTTP request every few milliseconds,
 * each on a connection of its own, and an ARP question every few milliseconds (`arp.ts`). It knows nothing of nodes.
 *
 *   node probe.ts OPTIONS     OPTIONS: JSON, see ProbeOptions
 *
 * Standard output: one JSON message a line (ProbeMessage). Ends with `result` after a line (or the end) of standard input.
 */
import { spawnSync } from 'node:child_process'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import type { ArpSample, HttpSample } from './analysis.ts'
import { readAnswer, type Answer } from './answer.ts'
import type { ArpProbeMessage, ArpProbeOptions } from './arp.ts'
import { monotonicMs } from './clock.ts'

export interface ProbeOptions {
  readonly vip: string
  readonly port: number
  readonly path: string
  readonly httpPeriodMs: number
  /** A request not answered within this has failed. */
  readonly httpTimeoutMs: number
  readonly arpPeriodMs: number
  readonly interface: string
  /** Source of the ARP questions: nobody's MAC. */
  readonly arpMac: string
}

/** Requests in flight at once: with one every 10 ms and 1 s to answer there are never more than 101. */
export const maxInFlight = 128
/** About ten minutes of requests; longer traces count as truncated. */
const maxHttpSamples = 60_000
const maxArpSamples = 400_000
const maxAnswerBytes = 16 * 1024

/** A time in which the probe itself did not get to run: gaps across it say nothing about the cluster. */
export interface Stall {
  readonly atMs: number
  readonly lateMs: number
}

export type ProbeMessage =
  | { readonly type: 'ready'; readonly atMs: number }
  /** Running totals, ten times a second. */
  | { readonly type: 'tick'; readonly atMs: number; readonly ok: number; readonly failed: number }
  /** Another node (HTTP) or MAC (ARP) than before answers. */
  | { readonly type: 'change'; readonly source: 'http' | 'arp'; readonly who: string; readonly atMs: number }
  | {
      readonly type: 'result'
      readonly startMs: number
      readonly endMs: number
      readonly http: readonly HttpSample[]
      readonly arp: readonly ArpSample[]
      readonly arpSent: number
      /** Requests left out because too many were in flight. */
      readonly skipped: number
      readonly stalls: readonly Stall[]
      readonly truncated: boolean
    }
  | { readonly type: 'error'; readonly detail: string }

const options = JSON.parse(process.argv[2] ?? '{}') as ProbeOptions
const head = Buffer.from(`GET ${options.path} HTTP/1.1\r\nHost: ${options.vip}\r\nConnection: close\r\n\r\n`)

function post(message: ProbeMessage): Promise<void> {
  return new Promise((resolve) => process.stdout.write(`${JSON.stringify(message)}\n`, () => resolve()))
}

class HttpProbe {
  readonly samples: HttpSample[] = []
  readonly stalls: Stall[] = []
  skipped = 0
  ok = 0
  failed = 0
  truncated = false
  #inFlight = new Set<Socket>()
  #timer: NodeJS.Timeout | undefined
  #next = monotonicMs()
  #node = ''
  #changes = 0
  #stopped = false

  start(): void {
    this.#next = monotonicMs()
    this.#tick()
  }

  /** No new requests; those in flight end within their timeout. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    const end = monotonicMs() + options.httpTimeoutMs + 100
    while (this.#inFlight.size > 0 && monotonicMs() < end) await new Promise((resolve) => setTimeout(resolve, 5))
    for (const socket of this.#inFlight) socket.destroy()
  }

  #tick(): void {
    if (this.#stopped) return
    const now = monotonicMs()
    const late = now - this.#next
    if (late >= 0) {
      if (late > options.httpPeriodMs && this.stalls.length < 1000) this.stalls.push({ atMs: now, lateMs: late })
      this.#request(now)
      // After a delay the pace goes on from now: no burst that would look like a loaded cluster.
      this.#next = late > options.httpPeriodMs ? now + options.httpPeriodMs : this.#next + options.httpPeriodMs
    }
    this.#timer = setTimeout(() => this.#tick(), Math.max(1, Math.floor(this.#next - monotonicMs())))
  }

  #request(sentMs: number): void {
    if (this.#inFlight.size >= maxInFlight) {
      this.skipped++
      return
    }
    const socket = connect({ host: options.vip, port: options.port, noDelay: true })
    this.#inFlight.add(socket)
    let text = ''
    let ended = false
    const finish = (answer: Answer | undefined): void => {
      if (ended) return
      ended = true
      clearTimeout(timer)
      this.#inFlight.delete(socket)
      // A reset leaves no TIME_WAIT behind, and nothing for a dead node to answer.
      socket.resetAndDestroy()
      this.#record(sentMs, answer)
    }
    const timer = setTimeout(() => finish(undefined), options.httpTimeoutMs)
    socket.on('connect', () => socket.write(head))
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const answer = readAnswer(text)
      if (answer !== undefined) finish(answer)
      else if (text.length > maxAnswerBytes) finish(undefined)
    })
    socket.on('end', () => finish(undefined))
    socket.on('error', () => finish(undefined))
    socket.on('close', () => finish(undefined))
  }

  #record(sentMs: number, answer: Answer | undefined): void {
    const doneMs = monotonicMs()
    if (answer === undefined) this.failed++
    else this.ok++
    if (this.samples.length >= maxHttpSamples) {
      this.truncated = true
      return
    }
    this.samples.push({ sentMs, doneMs, ok: answer !== undefined, node: answer?.node ?? '', backend: answer?.backend ?? '' })
    if (answer === undefined || answer.node === '' || answer.node === this.#node) return
    this.#node = answer.node
    if (this.#changes++ < 1000) void post({ type: 'change', source: 'http', who: answer.node, atMs: doneMs })
  }
}

/**
 * Real-time scheduling for all threads from here on (not while starting, which takes the processor for long): what
 * measures must not be what is late. Best effort; the figures name the probe's own stalls in any case.
 */
function takePrecedence(): void {
  spawnSync('chrt', ['--all-tasks', '--fifo', '--pid', '5', String(process.pid)], { stdio: 'ignore' })
}

async function main(): Promise<void> {
  const control = new Int32Array(new SharedArrayBuffer(4))
  const workerData: ArpProbeOptions = {
    vip: options.vip,
    interface: options.interface,
    mac: options.arpMac,
    periodMs: options.arpPeriodMs,
    maxSamples: maxArpSamples,
    control,
  }
  const worker = new Worker(new URL('arp.ts', import.meta.url), { workerData })
  const http = new HttpProbe()
  const { promise: arpResult, resolve: arpDone, reject: arpFailed } =
    Promise.withResolvers<Extract<ArpProbeMessage, { type: 'result' }>>()
  arpResult.catch(() => {})
  const { promise: ready, resolve: arpReady, reject: notReady } = Promise.withResolvers<void>()
  worker.on('message', (message: ArpProbeMessage) => {
    if (message.type === 'ready') arpReady()
    else if (message.type === 'change') void post({ type: 'change', source: 'arp', who: message.mac, atMs: message.atMs })
    else arpDone(message)
  })
  worker.on('error', (error) => {
    notReady(error)
    arpFailed(error)
  })
  await ready
  takePrecedence()
  const startMs = monotonicMs()
  http.start()
  await post({ type: 'ready', atMs: startMs })
  const ticks = setInterval(() => void post({ type: 'tick', atMs: monotonicMs(), ok: http.ok, failed: http.failed }), 100)
  await new Promise<void>((resolve) => {
    process.stdin.once('data', () => resolve())
    process.stdin.once('end', () => resolve())
    process.stdin.once('error', () => resolve())
    worker.once('error', () => resolve())
  })
  clearInterval(ticks)
  const endMs = monotonicMs()
  await http.stop()
  Atomics.store(control, 0, 1)
  const arp = await arpResult
  await post({
    type: 'result',
    startMs,
    endMs,
    http: http.samples,
    arp: arp.samples,
    arpSent: arp.sent,
    skipped: http.skipped,
    stalls: http.stalls,
    truncated: http.truncated || arp.truncated,
  })
}

main().then(
  () => process.exit(0),
  async (error: unknown) => {
    await post({ type: 'error', detail: error instanceof Error ? error.message : String(error) })
    process.exit(1)
  },
)

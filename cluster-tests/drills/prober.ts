/** A running probe as a drill sees it: starts `probe.ts` in the client's namespace and reads what it says. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { Hopeless, waitFor } from '../lab/wait.ts'
import type { ProbeMessage, ProbeOptions } from './probe.ts'

export const httpPeriodMs = 10
export const arpPeriodMs = 5

export type ProbeResult = Extract<ProbeMessage, { type: 'result' }>
type Change = Extract<ProbeMessage, { type: 'change' }>
type Tick = Extract<ProbeMessage, { type: 'tick' }>

export interface ProberOptions {
  /** Where the HTTP requests go. Default: the lab's listener on the VIP. */
  readonly port?: number
  readonly path?: string
}

export class Prober {
  readonly #child: ChildProcess
  readonly #changes: Change[] = []
  readonly #ticks: Tick[] = []
  #ready = false
  #result: ProbeResult | undefined
  #failure = ''

  constructor(lab: Lab, options: ProberOptions = {}) {
    const settings: ProbeOptions = {
      vip: lab.plan.vip,
      port: options.port ?? ports.listener,
      path: options.path ?? '/',
      httpPeriodMs,
      httpTimeoutMs: 1000,
      arpPeriodMs,
      interface: 'eth0',
      arpMac: '02:00:00:77:00:fe',
    }
    const program = fileURLToPath(new URL('probe.ts', import.meta.url))
    this.#child = lab.host('client').spawn([process.execPath, program, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    // Writing to a probe that has ended is answered by its exit below.
    this.#child.stdin?.on('error', () => {})
    this.#child.on('error', (error) => (this.#failure = error.message))
    this.#child.on('exit', (code, signal) => {
      if (code !== 0 && this.#failure === '') this.#failure = `the probe ended with ${signal ?? code}`
    })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#take(JSON.parse(line) as ProbeMessage))
  }

  #take(message: ProbeMessage): void {
    if (message.type === 'ready') this.#ready = true
    else if (message.type === 'change') this.#changes.push(message)
    else if (message.type === 'tick') {
      this.#ticks.push(message)
      if (this.#ticks.length > 100) this.#ticks.shift()
    } else if (message.type === 'result') this.#result = message
    else this.#failure = message.detail
  }

  /** Waits for a whole second in which every request was answered. @throws Error when there is none in 20 s. */
  async steady(): Promise<void> {
    await waitFor('a second of steady probing', () => {
      this.#check()
      if (!this.#ready) return 'the probe is starting'
      const last = this.#ticks.at(-1)
      const before = this.#ticks.findLast((tick) => last !== undefined && last.atMs - tick.atMs >= 1000)
      if (last === undefined || before === undefined) return 'it has just begun'
      if (last.failed > before.failed) return `${last.failed - before.failed} requests failed in the last second`
      // Requests of the last 20 ms may still be on their way; a machine under load may lose some ticks.
      return last.ok - before.ok >= 0.7 * (1000 / httpPeriodMs) ? true : `only ${last.ok - before.ok} answers in a second`
    }, { timeoutMs: 20_000, everyMs: 20 })
  }

  /** Waits until somebody not among `known` (node names and MACs) answers, later than `afterMs`. Its instant. */
  async newHolder(known: readonly string[], afterMs: number, timeoutMs: number): Promise<number> {
    return await waitFor('answers of a new holder', () => {
      this.#check()
      return this.#changes.find((change) => change.atMs > afterMs && !known.includes(change.who))?.atMs
    }, { timeoutMs, everyMs: 5 })
  }

  /** Ends the probe; its whole trace. */
  async stop(): Promise<ProbeResult> {
    this.#child.stdin?.end()
    return await waitFor('the trace of the probe', () => {
      if (this.#result !== undefined) return this.#result
      this.#check()
      return undefined
    }, { timeoutMs: 10_000, everyMs: 10 })
  }

  /** Ends it without asking for the trace. Safe at any time. */
  abandon(): void {
    this.#child.kill('SIGKILL')
  }

  #check(): void {
    if (this.#failure !== '') throw new Hopeless(this.#failure)
  }
}

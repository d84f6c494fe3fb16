/** Clients of the VIP that go on all the time (`poller.ts`), and what became of their requests. */
import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { PollerOptions, PollerResult } from './poller.ts'
import type { Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { Hopeless, waitFor } from '../lab/wait.ts'

export class Clients {
  readonly #child: ChildProcess
  #ready = false
  #result: PollerResult | undefined

  constructor(lab: Lab, { clients, pauseMs }: { readonly clients: number; readonly pauseMs: number }) {
    const settings: PollerOptions = { host: lab.plan.vip, port: ports.listener, clients, pauseMs, timeoutMs: 1000 }
    const program = fileURLToPath(new URL('poller.ts', import.meta.url))
    this.#child = lab.host('client').spawn([process.execPath, program, JSON.stringify(settings)], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#child.stdin?.on('error', () => {})
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const message = JSON.parse(line) as PollerResult | { readonly type: 'ready' }
      if (message.type === 'ready') this.#ready = true
      else this.#result = message
    })
  }

  /** Every client has been answered once. @throws Error when that does not come about. */
  async ready(): Promise<void> {
    await waitFor('answers for all clients', () => {
      if (this.#child.exitCode !== null) throw new Hopeless('the clients ended')
      return this.#ready ? true : undefined
    }, { timeoutMs: 20_000 })
  }

  async stop(): Promise<PollerResult> {
    this.#child.stdin?.end()
    return await waitFor('the clients’ figures', () => this.#result, { timeoutMs: 5000 })
  }

  abandon(): void {
    this.#child.kill('SIGKILL')
  }
}

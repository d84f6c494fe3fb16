/**
 * Hosts for the tests: network namespaces on one bridge, `a` and `b` (which may hold VIPs) and `client`. Each has the
 * interface `eth0` with 10.77.0.x/24 and fd77::x/64. Needs root. Names are unique, so that runs do not meet.
 */
import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { VipSpec, VipStatus } from '../types.ts'

/** Only the system's own programs: npm puts node_modules/.bin first in PATH, where an unrelated `nft` may live. */
const env = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }
const holderScript = fileURLToPath(new URL('./holder.ts', import.meta.url))

export type HostName = 'a' | 'b' | 'client'
const number: Readonly<Record<HostName, number>> = { a: 1, b: 2, client: 3 }

/** Runs a program to its end. */
export function run(argv: readonly string[], input = ''): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const [file, ...args] = argv
    const child = execFile(file!, args, { env, timeout: 30_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, output: stdout + stderr })
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}

function inside(namespace: string): string[] {
  return ['ip', 'netns', 'exec', namespace]
}

async function must(argv: readonly string[], input = ''): Promise<string> {
  const { code, output } = await run(argv, input)
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${output}`)
  return output
}

/** Resolves with the first result that is not false or undefined. */
export async function until<T>(what: string, look: () => Promise<T | false | undefined> | T | false | undefined, limitMs = 10_000): Promise<T> {
  const end = performance.now() + limitMs
  for (;;) {
    const found = await look()
    if (found !== false && found !== undefined) return found
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms for: ${what}`)
    await delay(10)
  }
}

/** Why there can be no hosts here; empty when there can. */
export async function whyNoHosts(): Promise<string> {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  for (const program of [['ip', '-V'], ['ping', '-V']]) if ((await run(program)).code !== 0) return `${program[0]} is not installed`
  const probe = `hvip${process.pid}probe`
  const { code, output } = await run(['ip', 'netns', 'add', probe])
  if (code !== 0) return `no network namespaces here: ${output.trim()}`
  await run(['ip', 'netns', 'del', probe])
  return ''
}

let made = 0

export class Hosts {
  readonly #prefix = `hvip${process.pid}n${made++}`
  readonly #children = new Set<Holder>()

  static async make(): Promise<Hosts> {
    const hosts = new Hosts()
    const names = Object.keys(number) as HostName[]
    const bridge = `${hosts.#prefix}-bridge`
    await must(['ip', 'netns', 'add', bridge])
    await must(['ip', '-n', bridge, '-batch', '-'], 'link add br0 type bridge\nlink set br0 up\n')
    for (const name of names) {
      const namespace = hosts.namespace(name)
      await must(['ip', 'netns', 'add', namespace])
      await must(['ip', '-n', bridge, '-batch', '-'], [
        `link add name ${name} type veth peer name eth0 netns ${namespace}`, `link set dev ${name} master br0`, `link set dev ${name} up`, '',
      ].join('\n'))
      await must(['ip', '-n', namespace, '-batch', '-'], [
        'link set lo up', 'link set eth0 up', `address add 10.77.0.${number[name]}/24 dev eth0`, `address add fd77::${number[name]}/64 dev eth0 nodad`, '',
      ].join('\n'))
    }
    return hosts
  }

  namespace(host: HostName): string {
    return `${this.#prefix}-${host}`
  }

  async remove(): Promise<void> {
    await Promise.all([...this.#children].map((child) => child.kill()))
    for (const name of ['a', 'b', 'client', 'bridge']) await run(['ip', 'netns', 'del', `${this.#prefix}-${name}`])
  }

  in(host: HostName, ...argv: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
    return run([...inside(this.namespace(host)), ...argv])
  }

  /** Runs an ES module of the project's kind inside a host. Resolves with what it prints. */
  async script(host: HostName, source: string): Promise<string> {
    const argv = [process.execPath, '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source]
    return must([...inside(this.namespace(host)), ...argv])
  }

  /** Packets that each rule of the fence on a host has dropped, in the order of `nft list`; empty without nft. */
  async dropped(host: HostName): Promise<number[]> {
    const { output } = await this.in(host, 'nft', 'list', 'ruleset')
    return [...output.matchAll(/counter packets (\d+)/g)].map((match) => Number(match[1]))
  }

  /** Takes the cable out of a host, or puts it back. */
  async cable(host: HostName, plugged: boolean): Promise<void> {
    await must(['ip', '-n', `${this.#prefix}-bridge`, 'link', 'set', 'dev', host, plugged ? 'up' : 'down'])
  }

  async mac(host: HostName): Promise<string> {
    return (await this.in(host, 'cat', '/sys/class/net/eth0/address')).output.trim()
  }

  /** Whether the client gets an answer; `fresh`: it has to ask for the MAC address as well. */
  async answers(address: string, fresh = false): Promise<boolean> {
    if (fresh) await this.in('client', 'ip', 'neighbour', 'flush', 'to', address)
    return (await this.in('client', 'ping', '-n', '-c', '1', '-W', '0.2', address)).code === 0
  }

  /** Link-layer address that the client has for an address; empty when it has none. */
  async neighbour(address: string): Promise<string> {
    return /lladdr (\S+)/.exec((await this.in('client', 'ip', 'neighbour', 'show', 'to', address)).output)?.[1] ?? ''
  }

  /** Whether the address is on the host's interface. */
  async has(host: HostName, address: string): Promise<boolean> {
    return (await this.in(host, 'ip', 'address', 'show', 'dev', 'eth0')).output.includes(` ${address}/`)
  }

  /** Pings every 5 ms until stopped. Resolves with the instants of the answers (performance.now() of this process). */
  watch(address: string): { stop(): Promise<number[]> } {
    const answers: number[] = []
    const [file, ...args] = [...inside(this.namespace('client')), 'ping', '-n', '-i', '0.005', '-W', '0.2', address]
    const child = spawn(file!, args, { env, stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface(child.stdout).on('line', (line) => {
      if (line.includes(' bytes from ')) answers.push(performance.now())
    })
    const closed = new Promise((resolve) => child.once('close', resolve))
    return {
      stop: async () => {
        child.kill('SIGINT')
        await closed
        return answers
      },
    }
  }

  /** A process with a VIP manager on a host. `options` as for `createVipManager`. */
  async holder(host: HostName, options: HolderOptions): Promise<Holder> {
    const holder = new Holder(inside(this.namespace(host)), options)
    this.#children.add(holder)
    await holder.ready
    return holder
  }
}

export interface HolderOptions {
  readonly vips: readonly VipSpec[]
  readonly asOnOldKernels?: boolean
}

/** A VIP as the tests use it. */
export function vip(address: string, name = address): VipSpec {
  return { name, address, prefixLength: address.includes(':') ? 128 : 32, interface: 'eth0', announcer: 'kernel' }
}

export interface HolderReport {
  readonly vips: readonly VipStatus[]
  readonly renewals: number
  /** Microseconds of `lease()` calls that renewed, median. */
  readonly renewalUs: number
  /** Microseconds of CPU that the process has used since its start. */
  readonly cpuUs: number
  readonly log: readonly string[]
}

/** The tests' end of a holder process (`holder.ts`). */
export class Holder {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  readonly #waiting: ((line: string) => void)[] = []
  #timer: NodeJS.Timeout | undefined
  readonly ready: Promise<void>
  readonly #closed: Promise<unknown>

  constructor(prefix: readonly string[], options: HolderOptions) {
    const argv = [...prefix, process.execPath, '--disable-warning=ExperimentalWarning', holderScript, JSON.stringify(options)]
    this.#child = spawn(argv[0]!, argv.slice(1), { env, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#closed = new Promise((resolve) => this.#child.once('close', resolve))
    this.#child.stdin.on('error', () => undefined)
    createInterface(this.#child.stdout).on('line', (line) => this.#waiting.shift()?.(line))
    this.ready = this.#ask('').then(() => undefined)
  }

  #ask(line: string): Promise<string> {
    if (line !== '') this.#child.stdin.write(`${line}\n`)
    return new Promise((resolve, reject) => {
      this.#waiting.push(resolve)
      void this.#closed.then(() => reject(new Error('the holder has ended')))
    })
  }

  /** Sends one lease from now on, without waiting. */
  lease(term: number, leaseMs: number): void {
    const untilNs = process.hrtime.bigint() + BigInt(leaseMs) * 1_000_000n
    this.#child.stdin.write(`lease ${term} ${untilNs}\n`)
  }

  /** Leases of 200 ms every 40 ms until `stopRenewing`. */
  renew(term: number): void {
    this.stopRenewing()
    this.lease(term, 200)
    this.#timer = setInterval(() => this.lease(term, 200), 40)
  }

  stopRenewing(): void {
    clearInterval(this.#timer)
  }

  async report(): Promise<HolderReport> {
    return JSON.parse(await this.#ask('report')) as HolderReport
  }
  async configure(vips: readonly VipSpec[]): Promise<void> {
    await this.#ask(`configure ${JSON.stringify(vips)}`)
  }
  /** Resolves when the manager's `close()` has. */
  async close(): Promise<void> {
    await this.#ask('close')
  }
  async stop(): Promise<void> {
    this.stopRenewing()
    await this.#ask('stop')
    await this.#closed
  }

  /** Waits for all VIPs to be in a state. */
  async reaches(state: VipStatus['state']): Promise<HolderReport> {
    return until(state, async () => {
      const report = await this.report()
      return report.vips.length > 0 && report.vips.every((one) => one.state === state) && report
    })
  }

  freeze(): void {
    this.#child.kill('SIGSTOP')
  }
  resume(): void {
    this.#child.kill('SIGCONT')
  }
  async kill(): Promise<void> {
    this.stopRenewing()
    this.#child.kill('SIGKILL')
    await this.#closed
  }
}

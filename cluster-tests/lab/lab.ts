/**
 * A lab: real hosts as network namespaces on one bridge, and what runs on them. `createLab` makes it or finds it as it
 * is; everything about it stands in one directory, so that any later process (or the next one after a crash) can go on
 * with it or remove it.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { existsSync, mkdirSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster, type ClusterOptions, type LabNode } from './cluster.ts'
import {
  checkNetwork,
  cutBetween,
  existingNamespaces,
  healCut,
  healLosses,
  inside,
  loseBetween,
  makeNetwork,
  namespacePids,
  removeNetwork,
  resetHost,
  runCommand,
  setCable,
  unmountBelow,
  type CommandOptions,
  type CommandResult,
  type LinkLoss,
} from './network.ts'
import { labPlan, namespaceOf, ports, type HostPlan, type LabPlan } from './plan.ts'
import { isAlive, ProcessRegistry, signal, type ProcessRecord } from './processes.ts'
import { waitFor } from './wait.ts'

export interface LabOptions {
  /** 1 to 24 characters of `[a-z0-9-]`; labs of different names live side by side. Default `lab`. */
  readonly name?: string
  /** Progress in words. Default: nothing. */
  readonly log?: (line: string) => void
}

export interface SpawnOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly stdio?: StdioOptions
  /** Lets the process outlive this one, under that name in the lab's records, with its output in `logs/NAME.log`. */
  readonly daemon?: string
}

/** The repository, from which the product and the lab's own programs are run. */
export const repository = fileURLToPath(new URL('../../', import.meta.url))

/** One host: commands run in its network namespace (and see its own /sys). */
export class LabHost {
  readonly plan: HostPlan
  readonly namespace: string
  readonly #lab: Lab

  constructor(lab: Lab, plan: HostPlan) {
    this.#lab = lab
    this.plan = plan
    this.namespace = namespaceOf(lab.plan.name, plan.name)
  }

  get name(): string {
    return this.plan.name
  }
  get address(): string {
    return this.plan.address
  }
  get mac(): string {
    return this.plan.mac
  }

  /** Starts a program in a process group of its own; it is written down, so that `destroy` ends it whatever happens. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file, ...args] = inside(this.namespace, argv)
    let log: number | undefined
    let stdio: StdioOptions = options.stdio ?? 'pipe'
    if (options.daemon !== undefined) {
      log = openSync(this.#lab.logFile(options.daemon), 'a', 0o600)
      stdio = ['ignore', log, log]
    }
    try {
      const child = spawn(file!, args, {
        cwd: repository,
        detached: true,
        stdio,
        env: options.env ?? process.env,
      })
      const { pid } = child
      if (pid !== undefined) {
        const name = options.daemon ?? `${this.name}.${pid}`
        this.#lab.processes.add(name, pid)
        if (options.daemon === undefined) child.once('exit', () => this.#lab.processes.remove(name))
        else child.unref()
      }
      return child
    } finally {
      if (log !== undefined) closeSync(log)
    }
  }

  /** Runs a command to its end. A failing command is a value. */
  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(inside(this.namespace, argv), options)
  }

  /** Unplugs the host at the bridge. */
  linkDown(): Promise<void> {
    return setCable(this.#lab.plan, this.name, false)
  }
  linkUp(): Promise<void> {
    return setCable(this.#lab.plan, this.name, true)
  }
  /** Cuts this host from the others named, and from nobody else, until `heal`. */
  cutFrom(others: readonly string[]): Promise<void> {
    return cutBetween(this.#lab.plan, this.name, others)
  }
  heal(): Promise<void> {
    return healCut(this.#lab.plan, this.name)
  }
  /** What a boot does to the kernel's network state: packet filter, foreign addresses and neighbours are gone. */
  reset(): Promise<void> {
    return resetHost(this.#lab.plan, this.plan)
  }
}

export class Lab {
  readonly plan: LabPlan
  /** State, data and logs: /run/haechi-lab-NAME, or in the temporary directory where there is no /run. */
  readonly directory: string
  readonly processes: ProcessRegistry
  readonly log: (line: string) => void
  readonly #hosts: ReadonlyMap<string, LabHost>
  readonly #cluster: Cluster

  constructor(plan: LabPlan, log: (line: string) => void) {
    this.plan = plan
    this.log = log
    this.directory = labDirectory(plan)
    this.processes = new ProcessRegistry(join(this.directory, 'processes'))
    this.#hosts = new Map(plan.hosts.map((host) => [host.name, new LabHost(this, host)]))
    this.#cluster = new Cluster(this)
  }

  /** @throws Error naming the hosts there are. */
  host(name: string): LabHost {
    const host = this.#hosts.get(name)
    if (host === undefined) throw new Error(`no host ${name}; there are ${[...this.#hosts.keys()].join(', ')}`)
    return host
  }

  hosts(): LabHost[] {
    return [...this.#hosts.values()]
  }

  logFile(name: string): string {
    const directory = join(this.directory, 'logs')
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return join(directory, `${name}.log`)
  }

  /** node1, node2 or witness. @throws Error for another host. */
  node(name: string): LabNode {
    return this.#cluster.node(name)
  }

  nodes(): readonly LabNode[] {
    return this.#cluster.nodes()
  }

  /** Starts backends and cluster with the product's own commands, and waits until it serves. Idempotent. */
  async startCluster(options: ClusterOptions = {}): Promise<void> {
    await this.startBackends()
    await this.#cluster.start(options)
  }

  /** Healthy: all members up, one holder, applied equal. @throws Error saying what is missing when the time is over. */
  waitHealthy(timeoutMs?: number): ReturnType<Cluster['waitHealthy']> {
    return this.#cluster.waitHealthy(timeoutMs)
  }

  get cluster(): Cluster {
    return this.#cluster
  }

  /** Starts the backends that do not run and waits until each accepts connections. */
  async startBackends(): Promise<void> {
    const program = fileURLToPath(new URL('backend.ts', import.meta.url))
    for (const host of this.hosts()) {
      if (host.plan.kind !== 'backend') continue
      if (this.processes.get(host.name) === undefined) {
        host.spawn([process.execPath, program, '--name', host.name, '--listen', `${host.address}:${ports.backend}`], {
          daemon: host.name,
        })
      }
    }
    for (const host of this.hosts()) {
      if (host.plan.kind !== 'backend') continue
      await waitFor(`${host.name} listening`, async () => {
        if (this.processes.get(host.name) === undefined) return `it ended, see ${this.logFile(host.name)}`
        const listening = await host.exec(['ss', '-Hltn', `sport = :${ports.backend}`])
        return listening.stdout.includes(`:${ports.backend}`) ? true : 'not yet'
      }, { timeoutMs: 15_000, everyMs: 100 })
    }
  }

  /** Loses frames between hosts until `heal` of the same name (letters and underscores); replaces what it lost before. */
  lose(name: string, losses: readonly LinkLoss[]): Promise<void> {
    return loseBetween(this.plan, name, losses)
  }
  heal(name: string): Promise<void> {
    return healLosses(this.plan, name)
  }

  /** What is wrong with the network, in words; empty: nothing. */
  check(): Promise<string[]> {
    return checkNetwork(this.plan)
  }

  /** Ends all processes, removes all namespaces, data and logs. Works on half-made labs, and when nothing is there. */
  async destroy(): Promise<void> {
    await endProcesses(this.processes)
    await removeNetwork(this.plan)
    await unmountBelow(this.directory)
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** True when nothing of the lab is left: no namespace, no process, no directory. */
  async isGone(): Promise<boolean> {
    if (existingNamespaces(this.plan).length > 0 || existsSync(this.directory)) return false
    return (await namespacePids(this.plan)).length === 0
  }
}

function labDirectory(plan: LabPlan): string {
  return join(existsSync('/run') ? '/run' : tmpdir(), `haechi-lab-${plan.name}`)
}

/** Kills process groups, and waits until they are gone: a namespace lives as long as its last process. */
async function endProcesses(processes: ProcessRegistry): Promise<void> {
  const records: ProcessRecord[] = processes.living()
  for (const record of records) {
    signal(-record.pid, 'SIGKILL')
    signal(record.pid, 'SIGKILL')
  }
  await waitFor('end of all processes', () => (records.some(isAlive) ? 'some still run' : true), { timeoutMs: 10_000, everyMs: 10 })
}

/** A lab by its name, without making anything: to look at it or to destroy it. @throws Error when the name is not fit. */
export function openLab(options: LabOptions = {}): Lab {
  const plan = labPlan(options.name ?? 'lab')
  if (plan === undefined) throw new Error('a lab name has 1 to 24 characters of a-z, 0-9 and hyphen')
  return new Lab(plan, options.log ?? (() => {}))
}

/** True when a lab of that name has been made and not been destroyed. */
export function labExists(lab: Lab): boolean {
  return existsSync(join(lab.directory, 'lab.json'))
}

/**
 * Makes the hosts and their network, or keeps them when they are as they should be; anything else of that name is
 * removed first. Nothing is started on them yet.
 *
 * @throws Error without root, on a bad name, or with the kernel's words when something cannot be made (then everything
 *   half-made is removed again).
 */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  if (process.getuid?.() !== 0) throw new Error('a lab needs root: it makes network namespaces')
  const lab = openLab(options)
  if (labExists(lab)) {
    const problems = await lab.check()
    if (problems.length === 0) return lab
    lab.log(`lab ${lab.plan.name} is not whole (${problems[0]}), making it anew`)
  }
  await lab.destroy()
  try {
    mkdirSync(lab.directory, { recursive: true, mode: 0o700 })
    lab.log(`making ${lab.plan.hosts.length} hosts on one bridge`)
    await makeNetwork(lab.plan)
    const problems = await lab.check()
    if (problems.length > 0) throw new Error(problems.join('; '))
    await ping(lab)
    writeFileSync(join(lab.directory, 'lab.json'), `${JSON.stringify({ name: lab.plan.name, bootId: bootId() })}\n`)
  } catch (error) {
    await lab.destroy()
    throw error
  }
  return lab
}

/** Every host answers the client: the proof that the bridge forwards. */
async function ping(lab: Lab): Promise<void> {
  const client = lab.host('client')
  await Promise.all(lab.hosts().map(async (host) => {
    if (host === client) return
    await waitFor(`${host.name} answering the client`, async () => {
      const result = await client.exec(['ping', '-n', '-c', '1', '-W', '1', host.address])
      return result.code === 0 ? true : result.stdout.trim().split('\n').at(-1)
    }, { timeoutMs: 5_000 })
  }))
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

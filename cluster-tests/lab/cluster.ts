/**
 * The Haechi cluster of a lab: node1, node2 and the witness, each with its own data directory, started with the same
 * commands that an operator uses; and what a drill can do to each of them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterOverview, ConfigView, JoinToken, NodeReport } from '../../node/api/types.ts'
import { apiRequest, type ApiAnswer, type ApiRequestOptions } from './api.ts'
import type { Lab, LabHost } from './lab.ts'
import { ports } from './plan.ts'
import { commandLine, processTree, signal, signalTree } from './processes.ts'
import { Hopeless, waitFor } from './wait.ts'

export interface ClusterOptions {
  /** The configuration document to begin with; default: `seedDocument`. */
  readonly document?: unknown
}

/** What a cluster of the lab is configured with: one VIP, three backends, one HTTP listener. */
export function seedDocument(lab: Lab): Record<string, unknown> {
  const members = lab.hosts()
    .filter((host) => host.plan.kind === 'backend')
    .map((host) => ({ name: host.name, address: host.address, port: ports.backend }))
  return {
    haechi: 1,
    vips: [{ name: 'front', address: lab.plan.vip, prefixLength: 24 }],
    pools: [{ name: 'web', members, healthCheck: { type: 'http', path: '/health', interval: '1s', rise: 1 } }],
    listeners: [{ name: 'http', vip: 'front', port: ports.listener, protocol: 'http', pool: 'web' }],
  }
}

/** A healthy cluster, as `waitHealthy` found it. */
export interface Health {
  /** Node that holds the VIPs. */
  readonly holder: string
  readonly leader: string
  readonly term: number
  readonly revision: number
}

/** One member of the cluster on its host. The heart is the parent process, its child the data plane. */
export class LabNode {
  readonly host: LabHost
  /** Data directory. */
  readonly directory: string
  readonly #lab: Lab

  constructor(lab: Lab, host: LabHost) {
    this.#lab = lab
    this.host = host
    this.directory = join(lab.directory, 'data', host.name)
  }

  get name(): string {
    return this.host.name
  }
  get socketPath(): string {
    return join(this.directory, 'api.sock')
  }
  get witness(): boolean {
    return this.host.plan.kind === 'witness'
  }

  /** Arguments of the `haechi` command as run on this host. */
  command(...args: string[]): string[] {
    return [process.execPath, 'node/cli/main.ts', ...args]
  }

  /** Starts `haechi start`; nothing when it runs. Does not wait until it serves. */
  start(): void {
    if (this.heartPid() !== undefined) return
    this.host.spawn(this.command('start', '--dir', this.directory), { daemon: this.name, env: serviceEnvironment() })
  }

  /** Ends it as an operator does (SIGTERM), and waits. */
  async stop(): Promise<void> {
    const pid = this.heartPid()
    if (pid === undefined) return
    const tree = processTree(pid)
    signal(pid, 'SIGTERM')
    await waitFor(`end of ${this.name}`, () => (tree.some((pid) => commandLine(pid) !== '') ? 'still running' : true), {
      timeoutMs: 20_000,
    })
  }

  /** Pid of the heart, undefined when it does not run. */
  heartPid(): number | undefined {
    return this.#lab.processes.get(this.name)?.pid
  }

  /** Pid of the data-plane process, undefined when there is none. */
  childPid(): number | undefined {
    const heart = this.heartPid()
    if (heart === undefined) return undefined
    return processTree(heart).find((pid) => pid !== heart && commandLine(pid).includes('node/main.ts'))
  }

  /** SIGKILL to the heart, its child and all else below it. */
  kill9Tree(): void {
    const heart = this.#heart()
    signalTree(heart, 'SIGKILL')
    signal(-heart, 'SIGKILL')
  }

  /** SIGKILL to the data-plane process alone. @throws Error when there is none. */
  kill9Child(): void {
    const pid = this.childPid()
    if (pid === undefined) throw new Error(`${this.name} has no data-plane process`)
    signal(pid, 'SIGKILL')
  }

  /** SIGSTOP to the whole tree, heart first. */
  freezeTree(): void {
    signalTree(this.#heart(), 'SIGSTOP')
  }

  /** SIGSTOP or SIGCONT to the heart alone, or to the data-plane process alone; nothing when it does not run. */
  signalHeart(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    const pid = this.heartPid()
    if (pid !== undefined) signal(pid, name)
  }
  signalChild(name: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
    const pid = this.childPid()
    if (pid !== undefined) signal(pid, name)
  }

  /** SIGCONT to the whole tree. */
  thaw(): void {
    signalTree(this.#heart(), 'SIGCONT')
  }

  linkDown(): Promise<void> {
    return this.host.linkDown()
  }
  linkUp(): Promise<void> {
    return this.host.linkUp()
  }

  /** A request to this node's API over its unix socket, as local administrator. @throws Error without an answer. */
  api(method: string, path: string, body?: unknown, options?: ApiRequestOptions): Promise<ApiAnswer> {
    return apiRequest(this.socketPath, method, path, body, options)
  }

  /** GET that must succeed. @throws Error with the status and the answer. */
  async get<T>(path: string, options?: ApiRequestOptions): Promise<T> {
    const answer = await this.api('GET', path, undefined, options)
    if (answer.status !== 200) throw new Error(`${this.name}: GET ${path}: ${answer.status} ${describe(answer.body)}`)
    return answer.body as T
  }

  /** The last lines of its log, for messages about what went wrong. */
  logTail(lines = 8): string {
    try {
      return readFileSync(this.#lab.logFile(this.name), 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
    } catch {
      return ''
    }
  }

  #heart(): number {
    const pid = this.heartPid()
    if (pid === undefined) throw new Error(`${this.name} does not run`)
    return pid
  }
}

/** What a service manager gives a service, instead of what npm or a shell left: above all, the system's own PATH. */
function serviceEnvironment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', HOME: '/root' }
}

/** An answer's body in one line. */
export function describe(body: unknown): string {
  return (typeof body === 'string' ? body : JSON.stringify(body)).slice(0, 400)
}

export class Cluster {
  readonly #lab: Lab
  readonly #nodes: ReadonlyMap<string, LabNode>

  constructor(lab: Lab) {
    this.#lab = lab
    const members = lab.hosts().filter((host) => host.plan.kind === 'node' || host.plan.kind === 'witness')
    this.#nodes = new Map(members.map((host) => [host.name, new LabNode(lab, host)]))
  }

  node(name: string): LabNode {
    const node = this.#nodes.get(name)
    if (node === undefined) throw new Error(`no node ${name}; there are ${[...this.#nodes.keys()].join(', ')}`)
    return node
  }

  /** Nodes and witness. */
  nodes(): readonly LabNode[] {
    return [...this.#nodes.values()]
  }

  /** Those that have an API and may hold a VIP. */
  serving(): readonly LabNode[] {
    return this.nodes().filter((node) => !node.witness)
  }

  async start(options: ClusterOptions): Promise<void> {
    const first = this.node('node1')
    if (!existsSync(join(first.directory, 'identity.json'))) await this.#init(first)
    first.start()
    for (const node of this.nodes()) {
      if (node === first || existsSync(join(node.directory, 'identity.json'))) node.start()
    }
    await this.#answering(first)
    for (const node of this.nodes()) {
      if (!existsSync(join(node.directory, 'identity.json'))) await this.join(first, node)
    }
    for (const node of this.serving()) await this.#answering(node)
    await this.#seed(options)
    await this.waitHealthy(30_000)
  }

  async #init(node: LabNode): Promise<void> {
    this.#lab.log(`${node.name}: haechi init`)
    // Only the parent: the command wants to make the data directory itself.
    mkdirSync(join(this.#lab.directory, 'data'), { recursive: true, mode: 0o700 })
    await this.#run(node, 'init', '--dir', node.directory, '--name', node.name, ...addresses(node))
  }

  /**
   * Takes a node out of the cluster, through another one, and empties its data directory: what an operator does before a
   * machine comes back with nothing on its disk (`join`). The node must not run.
   *
   * @throws Error when the cluster does not let it go in time.
   */
  async expel(through: LabNode, node: LabNode, timeoutMs = 30_000): Promise<void> {
    await waitFor(`removal of ${node.name}`, async () => {
      const answer = await through.api('DELETE', `/nodes/${node.name}`, undefined, { timeoutMs: 5000 })
      return answer.status < 300 || answer.status === 404 ? true : `${answer.status} ${describe(answer.body)}`
    }, { timeoutMs, everyMs: 250 })
    // Its content only: the directory may be a mount point.
    for (const name of readdirSync(node.directory)) rmSync(join(node.directory, name), { recursive: true, force: true })
  }

  /** Makes an empty machine a node of the cluster, with a token of `through`, starts it and waits until it votes. */
  async join(through: LabNode, node: LabNode, timeoutMs = 30_000): Promise<void> {
    this.#lab.log(`${node.name}: haechi node join`)
    const role = node.witness ? 'witness' : 'node'
    const token = await waitFor(`join token for ${node.name}`, async () => {
      const answer = await through.api('POST', '/nodes/tokens', { role, ttlMinutes: 10 })
      return answer.status < 300 ? (answer.body as JoinToken) : `${answer.status} ${describe(answer.body)}`
    }, { timeoutMs: 15_000, everyMs: 200 })
    await this.#run(node, 'node', 'join', token.token, '--dir', node.directory, '--name', node.name, '--role', role, ...addresses(node))
    node.start()
    await waitFor(`${node.name} a voter`, async () => {
      const found = (await through.get<ClusterOverview>('/status')).nodes.find((view) => view.id === node.name)
      if (node.heartPid() === undefined) return `it ended: ${node.logTail(3)}`
      return found?.voter === true ? true : `${describe(found ?? 'not a member')}`
    }, { timeoutMs, everyMs: 100 })
  }

  async #run(node: LabNode, ...args: string[]): Promise<void> {
    const result = await node.host.exec(node.command(...args), { timeoutMs: 60_000 })
    // What it prints may hold the one-time password: kept out of messages, unless it failed.
    if (result.code !== 0) throw new Error(`${node.name}: haechi ${args[0]}: ${(result.stderr || result.stdout).trim()}`)
  }

  async #answering(node: LabNode): Promise<void> {
    await waitFor(`${node.name} answering on its API`, async () => {
      if (node.heartPid() === undefined) return `it ended: ${node.logTail(3)}`
      return (await node.get<ClusterOverview>('/status')).quorum ? true : 'no leader'
    }, { timeoutMs: 30_000, everyMs: 100 })
  }

  /** Puts the first document in place; a cluster that has one keeps it, unless another one is asked for. */
  async #seed(options: ClusterOptions): Promise<void> {
    const node = this.node('node1')
    const current = await node.get<ConfigView>('/config')
    const empty = current.document.listeners.length === 0 && current.document.pools.length === 0
    if (!empty && options.document === undefined) return
    await this.apply(options.document ?? seedDocument(this.#lab), node, 'lab: first configuration')
  }

  /** Applies a document on top of whatever is current, through `node`. @throws Error with the problems it has. */
  async apply(document: unknown, node: LabNode, comment = ''): Promise<number> {
    return await waitFor('configuration applied', async () => {
      const { revision } = await node.get<ConfigView>('/config')
      const query = comment === '' ? '' : `?comment=${encodeURIComponent(comment)}`
      const answer = await node.api('PUT', `/config${query}`, document, { headers: { 'If-Match': `"${revision}"` } })
      if (answer.status === 422) throw new Hopeless(describe(answer.body))
      if (answer.status !== 200) return `${answer.status} ${describe(answer.body)}`
      return (answer.body as { revision: number }).revision
    }, { timeoutMs: 10_000, everyMs: 100 })
  }

  /**
   * Waits until the cluster is as it should be: every member up and voting, one holder of every VIP that each node
   * knows, the same revision in force and the same entries applied on every node, all pools with members up.
   */
  async waitHealthy(timeoutMs = 30_000): Promise<Health> {
    return await waitFor('a healthy cluster', async () => {
      for (const node of this.nodes()) if (node.heartPid() === undefined) return `${node.name} does not run`
      const overviews = await Promise.all(
        this.serving().map((node) => node.get<ClusterOverview>('/status', { timeoutMs: 3000 })),
      )
      return judge(overviews, this.nodes().length)
    }, { timeoutMs, everyMs: 100 })
  }
}

function addresses(node: LabNode): string[] {
  const { address } = node.host
  const args = ['--address', `${address}:${ports.consensus}`]
  if (!node.witness) args.push('--api', `${address}:${ports.api}`)
  return args
}

/** What is missing for health, or the health. Every node's own view has to agree. */
export function judge(overviews: readonly ClusterOverview[], members: number): Health | string {
  const [first] = overviews
  if (first === undefined) return 'no node answers'
  const own: NodeReport[] = []
  for (const view of overviews) {
    if (!view.quorum) return `${view.self} knows no leader`
    if (view.nodes.length !== members) return `${view.self} sees ${view.nodes.length} members, not ${members}`
    for (const node of view.nodes) {
      if (!node.voter) return `${node.id} is no voter`
      if (!node.reachable) return `${view.self} does not hear ${node.id}`
    }
    if (view.leader !== first.leader || view.term !== first.term) return 'the nodes name different leaders'
    if (view.revision !== first.revision) return 'the nodes have different revisions'
    const report = view.nodes.find((node) => node.self)?.report
    if (!report) return `${view.self} has no report of itself`
    if (report.degraded !== '') return `${view.self} is degraded: ${report.degraded}`
    if (report.revisionInForce !== view.revision) return `${view.self} has revision ${report.revisionInForce} in force`
    own.push(report)
    for (const vip of view.vips) {
      if (vip.holder === '') return `${view.self} sees nobody hold ${vip.name}`
      if (vip.holder !== first.vips[0]?.holder) return `the VIPs have different holders`
      if (vip.error !== '') return `${vip.name}: ${vip.error}`
    }
    for (const pool of view.pools) {
      const waiting = pool.members.find((member) => member.health === 'checking' || member.health === 'down')
      if (waiting !== undefined) return `${view.self} sees member ${waiting.name} ${waiting.health}`
    }
  }
  if (new Set(own.map((report) => report.appliedIndex)).size > 1) return 'the nodes have applied different entries'
  const holder = first.vips[0]?.holder
  if (holder === undefined) return 'no VIP is configured'
  return { holder, leader: first.leader, term: first.term, revision: first.revision }
}

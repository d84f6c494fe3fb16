/**
 * Changes under fire: 200 clients poll, changes are applied through both nodes at once, and the holder is killed in the
 * middle of it. Afterwards all nodes must have the same revisions, audit log and members, and every change that was
 * acknowledged must still be there.
 */
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { AuditView, ClusterOverview, ConfigurationDocument, ConfigView, NodeView, RevisionSummary } from '../../node/api/types.ts'
import { seedDocument, type LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { waitFor } from '../lab/wait.ts'
import { Clients } from './clients.ts'
import type { PollerResult } from './poller.ts'
import { repair } from './run.ts'

export interface ApplyUnderKillOptions {
  readonly lab: Lab
  readonly runs: number
  readonly random: () => number
  readonly log: (line: string) => void
}

export interface Outcome {
  readonly pass: boolean
  readonly text: string
  readonly report: object
}

interface Acknowledged {
  readonly node: string
  readonly revision: number
  readonly marker: string
}

interface RunReport {
  readonly run: number
  readonly killed: string
  readonly acknowledged: number
  readonly acknowledged_after_kill: number
  /** Changes whose fate the API did not tell: no answer, or an answer other than 200 and 412. */
  readonly undecided: number
  readonly conflicts: number
  readonly lost: readonly string[]
  readonly differences: readonly string[]
  /** SHA-256 of what was compared, equal on all nodes. */
  readonly fingerprint: string
  readonly clients: PollerResult
  readonly error: string
}

const pollers = 200

/** Applies one change after the other through one node, each on top of what it reads there. */
class Writer {
  readonly acknowledged: Acknowledged[] = []
  undecided = 0
  conflicts = 0
  readonly #node: LabNode
  readonly #run: number
  #stopping = false
  #done: Promise<void> | undefined

  constructor(node: LabNode, run: number) {
    this.#node = node
    this.#run = run
  }

  start(): void {
    this.#done = this.#loop()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
  }

  async #loop(): Promise<void> {
    for (let number = 1; !this.#stopping; number++) {
      const marker = `mark-${this.#run}-${this.#node.name}-${number}`
      try {
        const { revision, document } = await this.#node.get<ConfigView>('/config', { timeoutMs: 3000 })
        const pools = [...document.pools, { name: marker, members: [], healthCheck: { type: 'none' } }]
        const answer = await this.#node.api('PUT', `/config?comment=${marker}`, { ...document, pools }, {
          headers: { 'If-Match': `"${revision}"` },
          timeoutMs: 5000,
        })
        if (answer.status === 200) {
          this.acknowledged.push({ node: this.#node.name, revision: (answer.body as { revision: number }).revision, marker })
        } else if (answer.status === 412) this.conflicts++
        else this.undecided++
      } catch {
        this.undecided++
        await delay(50)
      }
      await delay(5)
    }
  }
}

/** Everything that has to be the same on all nodes, as this one says it. */
export interface Replica {
  readonly node: string
  readonly revision: number
  readonly document: ConfigurationDocument
  readonly revisions: readonly RevisionSummary[]
  readonly audit: readonly AuditView[]
  readonly members: readonly object[]
  readonly stateHash: string
}

async function allPages<T>(node: LabNode, path: string, before: (last: T) => number): Promise<T[]> {
  const all: T[] = []
  for (;;) {
    const last = all.at(-1)
    const page = await node.get<T[]>(`${path}?limit=200${last === undefined ? '' : `&before=${before(last)}`}`)
    if (page.length === 0) return all
    all.push(...page)
  }
}

async function readReplica(node: LabNode): Promise<Replica> {
  const config = await node.get<ConfigView>('/config')
  const nodes = await node.get<NodeView[]>('/nodes')
  return {
    node: node.name,
    revision: config.revision,
    document: config.document,
    revisions: await allPages<RevisionSummary>(node, '/config/revisions', (last) => last.revision),
    audit: await allPages<AuditView>(node, '/audit', (last) => last.index),
    members: nodes.map(({ id, role, address, apiAddress, voter }) => ({ id, role, address, apiAddress, voter })),
    stateHash: nodes.find((view) => view.self)?.report?.stateHash ?? '',
  }
}

const sha256 = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex')

/** What differs between replicas, in words, and the hash of what they agree on. Pure. */
export function compareReplicas(replicas: readonly Replica[]): { readonly differences: string[]; readonly fingerprint: string } {
  const [first, ...others] = replicas
  if (first === undefined) return { differences: ['no replica'], fingerprint: '' }
  const differences: string[] = []
  for (const part of ['revision', 'document', 'revisions', 'audit', 'members', 'stateHash'] as const) {
    for (const other of others) {
      if (sha256(first[part]) !== sha256(other[part])) differences.push(`${part}: ${first.node} and ${other.node} differ`)
    }
  }
  const { node: _, ...compared } = first
  return { differences, fingerprint: sha256(compared) }
}

/** Acknowledged changes that a replica does not have, in words. Pure. */
export function lostChanges(replica: Replica, acknowledged: readonly Acknowledged[]): string[] {
  const lost: string[] = []
  const pools = new Set(replica.document.pools.map((pool) => pool.name))
  const revisions = new Map(replica.revisions.map((revision) => [revision.revision, revision]))
  const audited = new Set(replica.audit.map((entry) => entry.revision))
  const seen = new Set<number>()
  for (const { node, revision, marker } of acknowledged) {
    const what = `${marker} (revision ${revision}, acknowledged by ${node}) on ${replica.node}`
    if (!pools.has(marker)) lost.push(`${what}: not in the document`)
    if (revisions.get(revision)?.comment !== marker) lost.push(`${what}: its revision is another one`)
    if (!audited.has(revision)) lost.push(`${what}: not in the audit log`)
    if (seen.has(revision)) lost.push(`${what}: its revision was acknowledged twice`)
    seen.add(revision)
  }
  return lost
}

async function oneRun(options: ApplyUnderKillOptions, run: number): Promise<RunReport> {
  const { lab } = options
  await lab.waitHealthy(60_000)
  // Every run begins with a small document, so that the changes of the run are all that is in it.
  await lab.cluster.apply(seedDocument(lab), lab.node('node1'), `run ${run}`)
  const health = await lab.waitHealthy(60_000)
  const holder = lab.node(health.holder)
  const writers = lab.cluster.serving().map((node) => new Writer(node, run))
  const poller = new Clients(lab, { clients: pollers, pauseMs: 250 })
  try {
    await poller.ready()
    for (const writer of writers) writer.start()
    const count = (): number => writers.reduce((sum, writer) => sum + writer.acknowledged.length, 0)
    await waitFor('changes through both nodes', () => (writers.every((writer) => writer.acknowledged.length > 0) ? true : undefined), {
      timeoutMs: 20_000,
      everyMs: 5,
    })
    await delay(Math.round(options.random() * 700))
    holder.kill9Tree()
    const atKill = count()
    await waitFor('changes after the kill', () => (count() >= atKill + 5 ? true : `${count() - atKill}`), { timeoutMs: 20_000 })
    // It comes back while changes go on: it has to catch up with a moving log.
    holder.start()
    await waitFor(`changes through ${holder.name} again`, async () => {
      return (await holder.get<ClusterOverview>('/status', { timeoutMs: 2000 })).quorum ? true : 'no leader'
    }, { timeoutMs: 30_000, everyMs: 100 })
    const afterKill = count() - atKill
    await Promise.all(writers.map((writer) => writer.stop()))
    await lab.waitHealthy(60_000)
    const clients = await poller.stop()
    const { replicas, differences, fingerprint } = await equalReplicas(lab)
    const acknowledged = writers.flatMap((writer) => writer.acknowledged)
    return {
      run,
      killed: holder.name,
      acknowledged: acknowledged.length,
      acknowledged_after_kill: afterKill,
      undecided: writers.reduce((sum, writer) => sum + writer.undecided, 0),
      conflicts: writers.reduce((sum, writer) => sum + writer.conflicts, 0),
      lost: replicas.flatMap((replica) => lostChanges(replica, acknowledged)),
      differences: [...differences, ...(await witnessBehind(lab))],
      fingerprint,
      clients,
      error: clients.served === pollers ? '' : `only ${clients.served} of ${pollers} clients are served again`,
    }
  } finally {
    poller.abandon()
    await Promise.all(writers.map((writer) => writer.stop()))
  }
}

/** Reads until two readings show the same on all nodes, or the time is over: then with the differences. */
export async function equalReplicas(lab: Lab): Promise<ReturnType<typeof compareReplicas> & { readonly replicas: Replica[] }> {
  const read = async () => {
    const replicas = await Promise.all(lab.cluster.serving().map(readReplica))
    return { replicas, ...compareReplicas(replicas) }
  }
  let last = await read()
  try {
    await waitFor('equal replicas', async () => {
      last = await read()
      return last.differences.length === 0 ? true : last.differences[0]
    }, { timeoutMs: 5000, everyMs: 500 })
  } catch {
    // The differences of the last reading tell it better.
  }
  return last
}

/**
 * The witness has no API: that the leader knows its log to be durable up to the end stands for it. What the leader says of its
 * own progress and of the witness's is not of one instant, so this waits until they meet.
 */
export async function witnessBehind(lab: Lab): Promise<string[]> {
  const health = await lab.waitHealthy()
  let last: string[] = []
  try {
    await waitFor('the witness has the whole log', async () => {
      const nodes = await lab.node(health.leader).get<NodeView[]>('/nodes')
      const applied = nodes.find((view) => view.self)?.report?.appliedIndex ?? 0
      last = nodes
        .filter((view) => view.role === 'witness' && (view.matchIndex ?? 0) < applied)
        .map((view) => `log: ${view.id} has it up to ${view.matchIndex}, the leader has applied ${applied}`)
      return last.length === 0 ? true : last[0]
    }, { timeoutMs: 5000, everyMs: 100 })
  } catch {
    // The last reading tells it better.
  }
  return last
}

/** Runs it. Passes when in every run nothing was lost, nothing differs and all clients are served again. */
export async function applyUnderKill(options: ApplyUnderKillOptions): Promise<Outcome> {
  const reports: RunReport[] = []
  for (let run = 1; run <= options.runs; run++) {
    let report: RunReport
    try {
      report = await oneRun(options, run)
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      await repair(options.lab)
      const nothing: PollerResult = { type: 'result', answered: 0, failed: 0, served: 0 }
      report = {
        run, killed: '', acknowledged: 0, acknowledged_after_kill: 0, undecided: 0, conflicts: 0, lost: [], differences: [],
        fingerprint: '', clients: nothing, error: detail,
      }
    }
    reports.push(report)
    options.log(
      `run ${run}: ${report.killed || '-'} killed, ${report.acknowledged} changes acknowledged ` +
      `(${report.acknowledged_after_kill} after the kill), ${report.undecided} undecided, ${report.conflicts} conflicts, ` +
      `${report.lost.length} lost, ${report.differences.length} differences, ${report.clients.failed} failed of ` +
      `${report.clients.answered + report.clients.failed} requests${report.error === '' ? '' : `: ${report.error}`}`,
    )
    for (const line of [...report.differences, ...report.lost.slice(0, 5)]) options.log(`  ${line}`)
  }
  const sum = (of: (report: RunReport) => number): number => reports.reduce((total, report) => total + of(report), 0)
  const good = reports.filter((report) => report.error === '' && report.lost.length === 0 && report.differences.length === 0)
  return {
    pass: good.length === options.runs,
    text: `apply-under-kill: ${good.length} of ${options.runs} runs good; ${sum((r) => r.acknowledged)} changes acknowledged, ` +
      `${sum((r) => r.lost.length)} lost; ${sum((r) => r.differences.length)} differences between nodes`,
    report: { runs: reports },
  }
}

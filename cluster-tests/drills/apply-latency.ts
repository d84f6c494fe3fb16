/**
 * How fast a change is in force everywhere when it is applied through a follower, and that the API refuses what it must
 * and a request in flight never notices: a change turns a listener that both nodes serve from one backend to another,
 * while each proxy is asked every few milliseconds.
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ApiProblem, ConfigView } from '../../node/api/types.ts'
import { describe, seedDocument, type LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { Hopeless, waitFor } from '../lab/wait.ts'
import { inForceAt, summarise, type Observation } from './analysis.ts'
import type { Outcome } from './apply-under-kill.ts'
import { monotonicMs } from './clock.ts'
import type { Seen, WatchOptions } from './watch.ts'

export interface ApplyLatencyOptions {
  readonly lab: Lab
  readonly runs: number
  readonly log: (line: string) => void
}

/** Acceptable median from the request to the last proxy, milliseconds. */
const limitP50Ms = 200
const appliesUnderOneRequest = 100
/** A listener on every node's own address, so that each proxy can be asked by itself. */
const watchedPort = 8090
/** A change counts as in force for good when nothing else was answered for so long. */
const settledMs = 150

type Document = Record<string, unknown>

/** The seed, and a listener that sends everything to `backend`. */
function documentFor(lab: Lab, backend: string, extra: Document = {}): Document {
  const seed = seedDocument(lab)
  const fixed = ['backend1', 'backend2'].map((name) => ({
    name: `fixed-${name}`,
    members: [{ name, address: lab.host(name).address, port: ports.backend }],
    healthCheck: { type: 'none' },
  }))
  const listener = { name: 'watched', address: '0.0.0.0', port: watchedPort, protocol: 'http', pool: `fixed-${backend}` }
  return {
    ...seed,
    pools: [...(seed.pools as object[]), ...fixed],
    listeners: [...(seed.listeners as object[]), listener],
    ...extra,
  }
}

class Watch {
  readonly #child
  readonly #seen = new Map<string, Observation[]>()

  constructor(lab: Lab, nodes: readonly LabNode[]) {
    const settings: WatchOptions = {
      targets: nodes.map((node) => ({ name: node.name, host: node.host.address, port: watchedPort })),
      periodMs: 5,
    }
    for (const node of nodes) this.#seen.set(node.name, [])
    const program = fileURLToPath(new URL('watch.ts', import.meta.url))
    this.#child = lab.host('client').spawn([process.execPath, program, JSON.stringify(settings)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#child.stdin?.on('error', () => {})
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      for (const [target, sentMs, doneMs, answer] of JSON.parse(line) as Seen[]) {
        const list = this.#seen.get(target)
        if (list === undefined) continue
        list.push({ sentMs, doneMs, answer })
        if (list.length > 10_000) list.splice(0, 5000)
      }
    })
  }

  /** Waits until every proxy answers `wanted` for good. When that was, for each. */
  async inForce(wanted: string, sinceMs: number): Promise<Map<string, number>> {
    return await waitFor(`${wanted} in force on every proxy`, () => {
      if (this.#child.exitCode !== null) throw new Hopeless('the watch ended')
      const found = new Map<string, number>()
      for (const [name, list] of this.#seen) {
        const recent = list.filter((observation) => observation.doneMs >= sinceMs)
        const at = inForceAt(recent, wanted)
        if (at === undefined) return `${name} still answers ${recent.at(-1)?.answer || 'nothing'}`
        if ((recent.at(-1)?.sentMs ?? 0) < at + settledMs) return `${name} is settling`
        found.set(name, at)
      }
      return found
    }, { timeoutMs: 10_000, everyMs: 10 })
  }

  /** Requests since `sinceMs` that were not answered with 200. */
  failures(sinceMs: number): number {
    let count = 0
    for (const list of this.#seen.values()) {
      count += list.filter((observation) => observation.sentMs >= sinceMs && observation.answer === '').length
    }
    return count
  }

  stop(): void {
    this.#child.stdin?.end()
  }
}

async function put(node: LabNode, document: unknown, revision: number): Promise<number> {
  const answer = await node.api('PUT', '/config', document, { headers: { 'If-Match': `"${revision}"` } })
  if (answer.status !== 200) throw new Error(`PUT /config through ${node.name}: ${answer.status} ${describe(answer.body)}`)
  return (answer.body as { revision: number }).revision
}

interface Refusals {
  readonly stale: string
  readonly invalid: string
  readonly pass: boolean
}

/** A stale If-Match gets 412; a bad port gets 422 and is named; neither changes anything on any node. */
async function refusals(lab: Lab, follower: LabNode): Promise<Refusals> {
  const read = () => Promise.all(lab.cluster.serving().map((node) => node.get<ConfigView>('/config')))
  const before = await read()
  const { revision } = before[0]!
  const stale = await follower.api('PUT', '/config', documentFor(lab, 'backend2'), { headers: { 'If-Match': `"${revision - 1}"` } })
  const bad = documentFor(lab, 'backend1')
  ;(bad.pools as { members: { port: number }[] }[])[0]!.members[1]!.port = 99_999
  const invalid = await follower.api('PUT', '/config', bad, { headers: { 'If-Match': `"${revision}"` } })
  const problem = invalid.body as Partial<ApiProblem>
  const field = problem.problems?.[0]?.field ?? ''
  const after = await read()
  const unchanged = after.every((view, i) => view.revision === before[i]!.revision && view.hash === before[i]!.hash)
  return {
    stale: `${stale.status} ${(stale.body as Partial<ApiProblem>).code ?? ''}`,
    invalid: `${invalid.status} ${field}`,
    pass: stale.status === 412 && invalid.status === 422 && field === '/pools/0/members/1/port' && unchanged,
  }
}

interface InFlight {
  readonly applies: number
  readonly requests: readonly { readonly target: string; readonly ok: boolean; readonly bytes: number }[]
  /** Short requests that failed meanwhile. */
  readonly short_failures: number
  readonly p50_apply_ms: number
  readonly pass: boolean
}

/** Requests that stay open across 100 changes to their own listener and pool, on the VIP and on each node. */
async function acrossApplies(lab: Lab, follower: LabNode, watch: Watch): Promise<InFlight> {
  const client = lab.host('client')
  const backends = lab.hosts().filter((host) => host.plan.kind === 'backend')
  const targets = [
    `${lab.plan.vip}:${ports.listener}`,
    ...lab.cluster.serving().map((node) => `${node.host.address}:${watchedPort}`),
  ]
  const open = targets.map((target) => {
    const id = randomBytes(8).toString('hex')
    const command = ['curl', '-sSN', '--max-time', '300', '-w', '\n%{http_code}', `http://${target}/drip?id=${id}`]
    return { target, id, result: client.exec(command, { timeoutMs: 310_000 }) }
  })
  // A connection that is still on its way would test less: wait until every backend side is there.
  for (const { target, id, result } of open) {
    await waitFor(`the request to ${target} in flight`, async () => {
      const early = await Promise.race([result, Promise.resolve(undefined)])
      if (early !== undefined) throw new Hopeless(`${target}: ${early.stdout}${early.stderr}`)
      const lists = backends.map((host) => `http://${host.address}:${ports.backend}/drips`)
      const taken = await client.exec(['curl', '-s', '-m', '2', ...lists])
      return taken.stdout.includes(id) ? true : 'not yet'
    }, { timeoutMs: 20_000, everyMs: 200 })
  }
  const started = monotonicMs()
  let { revision } = await follower.get<ConfigView>('/config')
  const times: number[] = []
  for (let i = 0; i < appliesUnderOneRequest; i++) {
    const seed = documentFor(lab, 'backend1')
    const [web, ...others] = seed.pools as object[]
    const [http, watched] = seed.listeners as object[]
    const routes = i % 2 === 0 ? [] : [{ name: 'some', paths: ['/some'], pool: 'fixed-backend2' }]
    const document = {
      ...seed,
      pools: [{ ...web, retries: i % 5, balance: i % 2 === 0 ? 'round-robin' : 'least-connections' }, ...others],
      listeners: [{ ...http, routes }, { ...watched, routes, maxConnections: 1000 + i }],
    }
    const at = monotonicMs()
    revision = await put(follower, document, revision)
    times.push(monotonicMs() - at)
  }
  const requests = []
  for (const { target, id, result } of open) {
    for (const backend of backends) {
      await client.exec(['curl', '-s', '-m', '2', '-X', 'POST', `http://${backend.address}:${ports.backend}/release?id=${id}`])
    }
    const { code, stdout } = await result
    requests.push({ target, ok: code === 0 && /^\.+done\n200$/.test(stdout), bytes: stdout.length })
  }
  const failures = watch.failures(started)
  return {
    applies: times.length,
    requests,
    short_failures: failures,
    p50_apply_ms: summarise(times)!.p50,
    pass: failures === 0 && requests.every((request) => request.ok),
  }
}

/** Runs it. Passes when the median is within the limit, both refusals are right and no request in flight failed. */
export async function applyLatency(options: ApplyLatencyOptions): Promise<Outcome> {
  const { lab, runs, log } = options
  const health = await lab.waitHealthy()
  const follower = lab.cluster.serving().find((node) => node.name !== health.leader)
  if (follower === undefined) throw new Error('no follower')
  await lab.cluster.apply(documentFor(lab, 'backend1'), follower, 'apply-latency')
  const watch = new Watch(lab, lab.cluster.serving())
  try {
    await watch.inForce('backend1', monotonicMs())
    const latencies: number[] = []
    const answers: number[] = []
    let failures = 0
    let { revision } = await follower.get<ConfigView>('/config')
    for (let run = 1; run <= runs; run++) {
      const wanted = run % 2 === 1 ? 'backend2' : 'backend1'
      const document = documentFor(lab, wanted)
      const sentMs = monotonicMs()
      revision = await put(follower, document, revision)
      answers.push(monotonicMs() - sentMs)
      const at = await watch.inForce(wanted, sentMs)
      const latency = Math.max(...at.values()) - sentMs
      latencies.push(latency)
      failures += watch.failures(sentMs)
      const each = [...at].map(([name, instant]) => `${name} ${(instant - sentMs).toFixed(1)}`).join(', ')
      log(`change ${run}: in force after ${latency.toFixed(1)} ms (${each}), acknowledged after ${answers.at(-1)!.toFixed(1)} ms`)
    }
    const refused = await refusals(lab, follower)
    log(`stale If-Match: ${refused.stale}; invalid document: ${refused.invalid}`)
    const inFlight = await acrossApplies(lab, follower, watch)
    log(`across ${inFlight.applies} changes: ${inFlight.requests.map((request) => `${request.target} ${request.ok ? 'whole' : 'BROKEN'}`).join(', ')}`)
    const latency = summarise(latencies)!
    const acknowledged = summarise(answers)!
    const pass = latency.p50 <= limitP50Ms && refused.pass && inFlight.pass && failures === 0
    const figures = (summary: typeof latency): string =>
      [summary.min, summary.p50, summary.p99, summary.max].map((value) => value.toFixed(1)).join(' / ')
    return {
      pass,
      text: [
        `apply-latency through ${follower.name} (leader ${health.leader}), ${runs} changes, ms min / p50 / p99 / max`,
        `  in force on every proxy  ${figures(latency)}`,
        `  acknowledged             ${figures(acknowledged)}`,
        `  requests failed          ${failures}`,
        `  stale If-Match           ${refused.stale}`,
        `  invalid document         ${refused.invalid}`,
        `  requests across ${inFlight.applies} changes: ${inFlight.requests.filter((request) => request.ok).length} of ` +
          `${inFlight.requests.length} whole, ${inFlight.short_failures} short ones failed`,
        pass ? 'pass' : 'FAIL',
      ].join('\n'),
      report: {
        follower: follower.name, leader: health.leader, in_force_ms: latency, acknowledged_ms: acknowledged,
        in_force_each_ms: latencies, failed_requests: failures, refusals: refused, in_flight: inFlight,
      },
    }
  } finally {
    watch.stop()
    await lab.cluster.apply(seedDocument(lab), lab.node('node1'), 'apply-latency: done').catch(() => {})
  }
}

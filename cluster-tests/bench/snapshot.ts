/**
 * Snapshots of a large state: what storing one and sending one to a node that comes back empty costs the heart, and those who
 * use the cluster meanwhile. Consensus as the heart runs it, in a process of its own with the heart's flags; the state
 * machine's half (a million session entries) in this process, through the same queue that the heart has.
 *
 * `npm run bench -- snapshot [--json FILE] [--mib N] [--sessions N] [--dir DIRECTORY]`
 */
import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { fileURLToPath } from 'node:url'
import { caFingerprint, encodeJoinToken, initCluster, joinCluster, loadIdentity } from '../../consensus/identity.ts'
import { heartEnvironment, heartFlags } from '../../node/heart-settings.ts'
import { ClusterState, encodeCommand } from '../../node/state/state.ts'
import type { SnapshotAnswer, SnapshotQuestion } from './snapshot-member.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'string' }, mib: { type: 'string', default: '100' }, sessions: { type: 'string', default: '1000000' },
    dir: { type: 'string', default: tmpdir() },
  },
})
const bytes = Number(values.mib) * 1024 * 1024
const sessions = Number(values.sessions)
const secret = 'a-secret-of-the-benchmark'
const folder = mkdtempSync(join(values.dir, 'haechi-bench-snapshot-'))
const started = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

// — the heart's half —

class Member {
  readonly #child: ChildProcess

  constructor(directory: string) {
    this.#child = fork(fileURLToPath(new URL('snapshot-member.ts', import.meta.url)), [directory, secret], {
      execArgv: [...heartFlags], env: { ...process.env, ...heartEnvironment(folder) },
    })
    started.add(this.#child)
    this.#child.on('exit', () => started.delete(this.#child))
  }

  ask(question: SnapshotQuestion): Promise<SnapshotAnswer> {
    return new Promise((resolve, reject) => {
      const gone = () => reject(new Error('a member ended'))
      this.#child.once('exit', gone)
      this.#child.once('message', (answer: SnapshotAnswer) => {
        this.#child.off('exit', gone)
        resolve(answer)
      })
      this.#child.send(question)
    })
  }

  async until(what: string, condition: (answer: SnapshotAnswer) => boolean): Promise<SnapshotAnswer> {
    for (const endMs = performance.now() + 60_000; performance.now() < endMs; await sleep(20)) {
      const answer = await this.ask({ ask: 'status' })
      if (condition(answer)) return answer
    }
    throw new Error(`timed out waiting until ${what}`)
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

interface Phase {
  readonly phase: string
  readonly ms: number
  readonly commit_p50_ms: number
  readonly commit_p99_ms: number
  readonly commit_max_ms: number
  readonly heart_gap_ms: number
  readonly heart_longest_turn_ms: number
  readonly heart_resident_mib: number
  readonly heart_peak_resident_mib: number
}

async function hearts(): Promise<Phase[]> {
  const directories = ['m1', 'm2', 'm3'].map((id) => join(folder, id))
  const [first] = directories
  await initCluster({ directory: first!, id: 'm1', role: 'node', address: `127.0.0.1:${await freePort()}`, apiAddress: '127.0.0.1:1', firstEntries: [] })
  const leader = new Member(first!)
  await leader.until('it leads', ({ leads }) => leads)
  const members = [leader]
  const join_ = async (directory: string, id: string): Promise<Member> => {
    const token = encodeJoinToken({
      clusterId: loadIdentity(first!).clusterId, caFingerprint: caFingerprint(first!), secret, addresses: [loadIdentity(first!).address],
    })
    await joinCluster({ directory, token, id, role: 'node', address: `127.0.0.1:${await freePort()}`, apiAddress: '127.0.0.1:1' })
    return new Member(directory)
  }
  for (const [at, directory] of directories.slice(1).entries()) {
    members.push(await join_(directory, `m${at + 2}`))
    await leader.until('it votes', ({ voters }) => voters === at + 2)
  }
  const phases: Phase[] = []
  const measure = async (phase: string, whose: () => Member, work: () => Promise<unknown>) => {
    await Promise.all(members.map((member) => member.ask({ ask: 'begin' })))
    const startMs = performance.now()
    await work()
    const ms = performance.now() - startMs
    const { latenciesMs, gapMs, turnMs, residentMiB, peakResidentMiB } = await whose().ask({ ask: 'end' })
    const sorted = latenciesMs.toSorted((a, b) => a - b)
    const at = (share: number): number => sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? NaN
    phases.push({
      phase, ms, commit_p50_ms: at(0.5), commit_p99_ms: at(0.99), commit_max_ms: sorted.at(-1) ?? NaN, heart_gap_ms: gapMs, heart_longest_turn_ms: turnMs,
      heart_resident_mib: residentMiB, heart_peak_resident_mib: peakResidentMiB,
    })
  }
  await leader.ask({ ask: 'put', count: 3000 })
  await measure('nothing else', () => leader, () => sleep(3000))
  await measure(`storing ${values.mib} MiB`, () => leader, () => leader.ask({ ask: 'store', bytes }))
  // Its disk is lost; the member goes by another name, for the one before is still on the list.
  await members.pop()!.end()
  const empty = await join_(join(folder, 'm4'), 'm4')
  members.push(empty)
  await measure(`sending ${values.mib} MiB, the leader`, () => leader, async () => {
    await empty.until('the snapshot is installed', ({ snapshotBytes }) => snapshotBytes === bytes)
  })
  const { gapMs, turnMs, residentMiB, peakResidentMiB } = await empty.ask({ ask: 'status' })
  phases.push({
    phase: 'sending, the receiver', ms: NaN, commit_p50_ms: NaN, commit_p99_ms: NaN, commit_max_ms: NaN, heart_gap_ms: gapMs, heart_longest_turn_ms: turnMs,
    heart_resident_mib: residentMiB, heart_peak_resident_mib: peakResidentMiB,
  })
  await Promise.all(members.map((member) => member.end()))
  return phases
}

// — the child's half —

interface StateFigures {
  readonly sessions: number
  readonly log_bytes_per_entry: number
  readonly snapshot_bytes_per_entry: number
  readonly memory_bytes_per_entry: number
  readonly apply_entries_per_cpu_second: number
  readonly apply_when_full_entries_per_cpu_second: number
  readonly snapshot_begin_ms: number
  readonly snapshot_cpu_ms: number
  readonly snapshot_longest_step_ms: number
  readonly restore_cpu_ms: number
  readonly restore_longest_step_ms: number
}

function state(): StateFigures {
  const batch = 2000
  const commands = (count: number, name: string) => Array.from({ length: Math.ceil(count / batch) }, (_, at) =>
    encodeCommand({
      kind: 'sessions', id: `${name} ${at}`, actor: { name: 'system', from: '', node: 'm1' }, atEpochMs: 1,
      entries: Array.from({ length: Math.min(batch, count - at * batch) }, (_, k) => ({
        key: crypto.randomUUID(), member: `web/server-${k % 20}`, ttlMs: 1_800_000 - at,
      })),
    }))
  const cpuMs = () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000
  const memory = () => {
    globalThis.gc?.()
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  const fill = commands(sessions, 'fill')
  const memoryBefore = memory()
  const machine = ClusterState.empty()
  const apply = (list: readonly Uint8Array[]): number => {
    const startMs = cpuMs()
    for (const data of list) machine.apply({ index: machine.appliedIndex + 1, term: 1, type: 'command', data })
    return cpuMs() - startMs
  }
  const applyMs = apply(fill)
  const memoryBytes = memory() - memoryBefore
  const churn = Math.min(sessions, 300_000)
  const churnMs = apply(commands(churn, 'churn'))
  const steps = (iterate: () => boolean): { ms: number; longestMs: number } => {
    const startMs = cpuMs()
    let longestMs = 0
    for (;;) {
      const stepMs = performance.now()
      if (!iterate()) return { ms: cpuMs() - startMs, longestMs }
      longestMs = Math.max(longestMs, performance.now() - stepMs)
    }
  }
  const beginMs = performance.now()
  const iterator = machine.snapshot()[Symbol.iterator]()
  const beganMs = performance.now() - beginMs
  const chunks: Uint8Array[] = []
  const taking = steps(() => {
    const next = iterator.next()
    if (next.done !== true) chunks.push(next.value)
    return next.done !== true
  })
  const restoration = ClusterState.restoration()
  let at = 0
  const restoring = steps(() => {
    if (at === chunks.length) return false
    restoration.add(chunks[at++]!)
    return true
  })
  if (restoration.finish().sessionsHash !== machine.sessionsHash) throw new Error('the restored state is another one')
  const total = (list: readonly Uint8Array[]) => list.reduce((sum, { length }) => sum + length, 0)
  return {
    sessions, log_bytes_per_entry: total(fill) / sessions, snapshot_bytes_per_entry: total(chunks) / sessions,
    memory_bytes_per_entry: memoryBytes / sessions, apply_entries_per_cpu_second: sessions / (applyMs / 1000),
    apply_when_full_entries_per_cpu_second: churn / (churnMs / 1000), snapshot_begin_ms: beganMs, snapshot_cpu_ms: taking.ms,
    snapshot_longest_step_ms: taking.longestMs, restore_cpu_ms: restoring.ms, restore_longest_step_ms: restoring.longestMs,
  }
}

const rounded = (value: number): string => (value >= 1000 ? Math.round(value).toLocaleString('en') : value.toFixed(1))
const model = cpus()[0]?.model ?? ''
console.log(`${cpus().length} × ${model}, Node.js ${process.version}, Linux ${readFileSync('/proc/sys/kernel/osrelease', 'utf8').trim()}`)
const figures = state()
for (const [name, value] of Object.entries(figures)) console.log(`${name.padEnd(42)} ${rounded(value)}`)
const phases = await hearts()
for (const { phase, ...rest } of phases) {
  console.log(`\n${phase}`)
  for (const [name, value] of Object.entries(rest)) if (!Number.isNaN(value)) console.log(`  ${name.padEnd(40)} ${rounded(value)}`)
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ machine: model, state: figures, hearts: phases }, undefined, 2)}\n`)
process.exit(0)

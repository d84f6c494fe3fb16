/**
 * Consensus beside etcd: three members each, on this machine's loopback and disk, with their defaults, in turn, over several
 * rounds. What is measured and how it may be compared: `../README.md`.
 *
 * `npm run bench -- consensus [--json FILE] [--rounds N] [--seconds S] [--dir DIRECTORY] [--only etcd|haechi] [--session-rate N] [--connections N]`
 */
import { fork, spawnSync, type ChildProcess } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { cpus, loadavg, release, setPriority, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { caFingerprint, encodeJoinToken, initCluster, joinCluster } from '../../consensus/identity.ts'
import { heartEnvironment, heartFlags } from '../../node/heart-settings.ts'
import { type PutLoad, type SessionLoad, type SessionResult, valueBytes } from './consensus-load.ts'
import type { MemberReport, MemberStatus, Question } from './consensus-member.ts'
import { etcdVersion, startEtcd, type EtcdCluster } from './etcd.ts'
import type { Summary } from './latencies.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'string' }, rounds: { type: 'string', default: '3' }, seconds: { type: 'string', default: '6' },
    dir: { type: 'string', default: tmpdir() }, only: { type: 'string' }, 'session-rate': { type: 'string', default: '60000' },
    connections: { type: 'string', default: '4' },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const sessionRate = Number(values['session-rate'])
const warmSeconds = 1
const many = 256
/** Of the 256 clients. Of 1, 4, 32 and 256 the best for both is 4; 256 is a connection for each client. */
const connections = Number(values.connections)
const sessionTable = 1_000_000
const secret = 'a-secret-of-the-benchmark'

const etcd = etcdVersion()
if (etcd === undefined && values.only !== 'haechi') {
  console.error("etcd is not installed; install Debian's package etcd-server, or measure Haechi alone with --only haechi")
  process.exit(1)
}

const folder = mkdtempSync(join(values.dir, 'haechi-bench-consensus-'))
const started = new Set<ChildProcess>()
const etcdPids = new Set<number>()
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
  for (const pid of etcdPids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
  rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer()
      return new Promise<typeof server>((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** As the heart does where it may. etcd gets the same, so that whatever else uses the machine hits neither more. */
function urgent(pid: number): void {
  try {
    setPriority(pid, -15)
  } catch {
    // Not root: then both run as everything else does.
  }
}

/** One load in a process of its own. */
function load<T>(what: PutLoad | SessionLoad): Promise<T> {
  return new Promise((resolve, reject) => {
    const child = fork(join(import.meta.dirname, 'consensus-load.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'], serialization: 'advanced' })
    started.add(child)
    child.on('message', (message: { result?: T; error?: string }) => {
      if (message.result === undefined) reject(new Error(message.error))
      else resolve(message.result)
    })
    child.once('exit', (code) => {
      started.delete(child)
      reject(new Error(`the load process ended with ${code}`))
    })
    child.send(what)
  })
}

class Member {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (value: never) => void>()
  #next = 1
  #ended = false

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static start(directory: string): Promise<Member> {
    const child = fork(join(import.meta.dirname, 'consensus-member.ts'), [directory, secret, String(sessionTable)], {
      execArgv: [...heartFlags, ...(process.env['HAECHI_BENCH_FLAGS'] ?? '').split(' ').filter((flag) => flag !== '')],
      env: heartEnvironment(directory),
    })
    started.add(child)
    urgent(child.pid!)
    const member = new Member(child)
    return new Promise((resolve, reject) => {
      child.on('message', (message: { ready?: true; id?: number; value?: never }) => {
        if (message.ready === true) return resolve(member)
        member.#waiting.get(message.id!)?.(message.value!)
        member.#waiting.delete(message.id!)
      })
      child.once('exit', (code) => {
        member.#ended = true
        started.delete(child)
        reject(new Error(`a member ended with ${code}`))
      })
    })
  }

  ask<T>(question: Question): Promise<T> {
    if (this.#ended) throw new Error('a member has ended')
    const id = this.#next++
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve as (value: never) => void)
      this.#child.send({ id, question })
    })
  }

  /** Orderly, so that a profile (HAECHI_BENCH_FLAGS=--cpu-prof) is written. */
  async stop(): Promise<void> {
    if (this.#ended) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.disconnect()
    await ended
  }
}

async function until<T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> {
  for (const endMs = performance.now() + 20_000; ; ) {
    const result = await attempt()
    if (result !== undefined) return result
    if (performance.now() > endMs) throw new Error(`${what} did not happen within 20 s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** The leader first. */
async function startHaechi(directory: string): Promise<Member[]> {
  const ports = await freePorts(6)
  const peers = [1, 2, 3].map((number) => ({
    id: `m${number}`, role: 'node' as const, address: `127.0.0.1:${ports[number - 1]!}`, apiAddress: `127.0.0.1:${ports[number + 2]!}`,
    directory: join(directory, `m${number}`),
  }))
  const { clusterId } = await initCluster({ ...peers[0]!, firstEntries: [] })
  /** A member's first start fills its compile cache; like the heart it runs from a full one. */
  const members = [await restarted(peers[0]!.directory)]
  for (const peer of peers.slice(1)) {
    const token = encodeJoinToken({ clusterId, caFingerprint: caFingerprint(peers[0]!.directory), secret, addresses: [peers[0]!.address] })
    await until('the first member leads', async () => ((await statusOf(members[0]!)).leader === 'm1' ? true : undefined))
    await joinCluster({ ...peer, token })
    members.push(await restarted(peer.directory))
    await until(`${peer.id} votes`, async () => ((await statusOf(members[0]!)).voters === members.length ? true : undefined))
  }
  // It has made certificates, which takes memory and is the child's work otherwise.
  await members[0]!.stop()
  members[0] = await Member.start(peers[0]!.directory)
  const leader = await until('there is a leader', async () => {
    const leaders = new Set((await Promise.all(members.map(statusOf))).map((status) => status.leader))
    return leaders.size === 1 && !leaders.has('') ? [...leaders][0]! : undefined
  })
  const at = Number(leader.slice(1)) - 1
  return [members[at]!, ...members.filter((_, other) => other !== at)]
}

const statusOf = (member: Member): Promise<MemberStatus> => member.ask<MemberStatus>({ ask: 'status' })

async function restarted(directory: string): Promise<Member> {
  await (await Member.start(directory)).stop()
  return Member.start(directory)
}

interface Measured<T> {
  readonly result: T
  readonly members: readonly MemberReport[]
}

async function measured<T>(members: readonly Member[], work: () => Promise<T>): Promise<Measured<T>> {
  await Promise.all(members.map((member) => member.ask({ ask: 'begin' })))
  const result = await work()
  return { result, members: await Promise.all(members.map((member) => member.ask<MemberReport>({ ask: 'end' }))) }
}

interface SessionsFigure {
  readonly offeredPerSecond: number
  /** Committed on all three. */
  readonly entriesPerSecond: number
  readonly sessions: SessionResult
  /** One at a time meanwhile. */
  readonly puts: Summary
}

async function haechiPhases(members: readonly Member[]) {
  const leader = members[0]!
  const statuses = await Promise.all(members.map(statusOf))
  const port = statuses[0]!.port
  const inside = (clients: number) => measured(members, () => leader.ask<Summary>({ ask: 'load', clients, warmSeconds, seconds, bytes: valueBytes + 8 }))
  const outside = (clients: number) =>
    measured(members, () => load<Summary>({ kind: 'haechi', port, clients, connections: Math.min(connections, clients), warmSeconds, seconds }))
  const sessions = (rate: number) =>
    measured(members, async (): Promise<SessionsFigure> => {
      const startedMs = performance.now()
      const before = await Promise.all(members.map(committedBatches))
      const ports = statuses.map((status) => status.port)
      const [batches, puts] = await Promise.all([
        load<SessionResult>({ kind: 'sessions', ports, rate, table: sessionTable, seconds: seconds + warmSeconds }),
        load<Summary>({ kind: 'haechi', port, clients: 1, connections: 1, warmSeconds, seconds: seconds - warmSeconds }),
      ])
      const after = await Promise.all(members.map(committedBatches))
      const least = Math.min(...after.map((count, at) => count - before[at]!))
      // The processes' own start is no time of work.
      const elapsed = Math.min((performance.now() - startedMs) / 1000, batches.batches.count / batches.batches.perSecond)
      return { offeredPerSecond: rate, entriesPerSecond: (least * batches.entriesPerBatch) / elapsed, sessions: batches, puts }
    })
  return { idle: () => measured(members, () => new Promise((resolve) => setTimeout(resolve, 1000))), inside, outside, sessions }
}

async function committedBatches(member: Member): Promise<number> {
  return (await member.ask<MemberReport>({ ask: 'end' })).sessionBatches
}

/** One round. The clusters take turns phase by phase: what else the machine does meanwhile hits both. */
async function oneRound(directory: string) {
  const etcdCluster = values.only === 'haechi' ? undefined : await startedEtcd(join(directory, 'etcd'))
  const members = values.only === 'etcd' ? undefined : await startHaechi(join(directory, 'haechi'))
  const haechi = members === undefined ? undefined : await haechiPhases(members)
  const busyBefore = machineBusy()
  const both = async (clients: number) => ({
    etcd: etcdCluster === undefined ? undefined
      : await load<Summary>({ kind: 'etcd', port: etcdCluster.leaderPort, clients, connections: Math.min(connections, clients), warmSeconds, seconds }),
    heart: await haechi?.inside(clients),
    client: await haechi?.outside(clients),
  })
  const idle = await haechi?.idle()
  const one = await both(1)
  const several = await both(many)
  const busy = machineBusy()
  const etcdResidentKiB = etcdCluster?.pids.map(residentKiB)
  await etcdCluster?.stop()
  for (const pid of etcdCluster?.pids ?? []) etcdPids.delete(pid)
  const sessions = await haechi?.sessions(sessionRate)
  const sessionsFlatOut = await haechi?.sessions(Infinity)
  for (const member of members ?? []) await member.stop()
  return { idle, one, many: several, sessions, sessionsFlatOut, etcdResidentKiB, machineBusyCores: (busy.ticks - busyBefore.ticks) / 100 / ((busy.atMs - busyBefore.atMs) / 1000) }
}

/** Time that all processes of the machine have used, in ticks of 10 ms. */
function machineBusy(): { readonly ticks: number; readonly atMs: number } {
  const [user, nice, system, , , irq, softIrq] = readFileSync('/proc/stat', 'utf8').split('\n')[0]!.trim().split(/\s+/).slice(1).map(Number)
  return { ticks: user! + nice! + system! + irq! + softIrq!, atMs: performance.now() }
}

async function startedEtcd(directory: string): Promise<EtcdCluster> {
  mkdirSync(directory)
  const ports = await freePorts(6)
  const cluster = await startEtcd(directory, [[ports[0]!, ports[1]!], [ports[2]!, ports[3]!], [ports[4]!, ports[5]!]])
  for (const pid of cluster.pids) {
    etcdPids.add(pid)
    urgent(pid)
  }
  return cluster
}

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN)
}

/** Median time of a small write that is forced to the disk, microseconds: what both systems pay for each commit. */
function syncUs(): number {
  const file = openSync(join(folder, 'sync'), 'w')
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    const before = performance.now()
    writeSync(file, Buffer.alloc(512))
    fdatasyncSync(file)
    times.push((performance.now() - before) * 1000)
  }
  closeSync(file)
  return median(times)
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length / 2
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2
}

const line = (name: string, summary: Summary, members: readonly MemberReport[] = []): string =>
  `  ${name.padEnd(34)}${summary.perSecond.toFixed(0).padStart(8)} /s   p50 ${summary.p50Ms.toFixed(2).padStart(6)}   p99 ${summary.p99Ms.toFixed(2).padStart(6)}` +
  `   max ${summary.maxMs.toFixed(0).padStart(4)} ms   client CPU ${summary.clientCpu.toFixed(2)}${summary.failed > 0 ? `   ${summary.failed} failed` : ''}` +
  (members.length === 0 ? '' : `   gaps ${members.map(({ gapMs }) => gapMs.toFixed(0)).join('/')} ms   RSS ${members.map(({ residentKiB: kib }) => (kib / 1024).toFixed(0)).join('/')} MiB`)

type Round = Awaited<ReturnType<typeof oneRound>>
const results: Round[] = []
const diskUs = syncUs()
const fileSystem = spawnSync('stat', ['-f', '-c', '%T', folder]).stdout.toString().trim()
console.log(`3 members each, ${valueBytes}-byte values, ${seconds} s each; disk ${fileSystem}, one forced write ${diskUs.toFixed(0)} µs\n`)
for (let round = 1; round <= rounds; round++) {
  console.log(`round ${round}`)
  const directory = join(folder, String(round))
  mkdirSync(directory)
  const result = await oneRound(directory)
  for (const [name, phase] of [['1 client', result.one], [`${many} clients`, result.many]] as const) {
    if (phase.etcd !== undefined) console.log(line(`etcd, ${name}`, phase.etcd))
    if (phase.heart !== undefined) console.log(line(`Haechi, in the heart, ${name}`, phase.heart.result, phase.heart.members))
    if (phase.client !== undefined) console.log(line(`Haechi, over its link, ${name}`, phase.client.result, phase.client.members))
  }
  for (const [name, phase] of [[`sessions at ${sessionRate} /s`, result.sessions], ['sessions flat out', result.sessionsFlatOut]] as const) {
    if (phase === undefined) continue
    const { entriesPerSecond, sessions, puts } = phase.result
    console.log(line(`${name}: commits meanwhile`, puts, phase.members))
    console.log(`${' '.repeat(36)}${entriesPerSecond.toFixed(0).padStart(8)} session entries /s on all three, ${sessions.entriesPerBatch} a batch of ${(sessions.bytesPerBatch / 1024).toFixed(0)} KiB, p99 of a batch ${sessions.batches.p99Ms.toFixed(0)} ms, snapshots ${phase.members.map((member) => member.snapshots).join('/')}`)
  }
  results.push(result)
  rmSync(directory, { recursive: true, force: true })
}

/** Median over the rounds of what needs both; rounds that lack one are left out. */
function ratio(phase: 'one' | 'many', path: 'heart' | 'client', of: (summary: Summary) => number): number {
  return median(results.flatMap((round) => {
    const { etcd: theirs, [path]: ours } = round[phase]
    return theirs === undefined || ours === undefined ? [] : [of(ours.result) / of(theirs)]
  }))
}
const sessionPhases = results.flatMap((round) => round.sessions ?? [])
const reports = (rounds: readonly Round[]): MemberReport[] =>
  rounds.flatMap(({ one, many: several, sessions, sessionsFlatOut }) =>
    [one.heart, one.client, several.heart, several.client, sessions, sessionsFlatOut].flatMap((phase) => phase?.members ?? []),
  )
const allReports = reports(results)
interface Target {
  readonly what: string
  readonly value: number
  readonly limit: number
  readonly met: boolean
}
const atMost = (what: string, value: number, limit: number): Target => ({ what, value, limit, met: value <= limit })
const atLeast = (what: string, value: number, limit: number): Target => ({ what, value, limit, met: value >= limit })
const compared = (path: 'heart' | 'client', name: string): Target[] => [
  atMost(`one client ${name}: p50 ÷ etcd's`, ratio('one', path, ({ p50Ms }) => p50Ms), 1),
  atLeast(`${many} clients ${name}: throughput ÷ etcd's`, ratio('many', path, ({ perSecond }) => perSecond), 4),
  atMost(`${many} clients ${name}: p99 ÷ etcd's`, ratio('many', path, ({ p99Ms }) => p99Ms), 1),
]
const terms = allReports.map(({ term }) => term)
const targets: Target[] = [
  ...(values.only === undefined ? [...compared('heart', 'in the heart'), ...compared('client', 'over its link')] : []),
  ...(sessionPhases.length === 0 ? [] : [
    atLeast('session entries /s on all three', median(sessionPhases.map(({ result }) => result.entriesPerSecond)), 50_000),
    atMost('commits meanwhile: p99, ms', median(sessionPhases.map(({ result }) => result.puts.p99Ms)), 20),
    atMost('longest event-loop gap of a heart, ms', Math.max(...allReports.map(({ gapMs }) => gapMs)), 20),
    atMost('resident memory of a heart, idle, MiB', Math.max(...results.flatMap(({ idle }) => idle?.members ?? []).map(({ residentKiB: kib }) => kib)) / 1024, 96),
    atMost('resident memory after sessions at that rate, MiB', Math.max(...sessionPhases.flatMap(({ members }) => members).map(({ residentKiB: kib }) => kib)) / 1024, 96),
    atMost('elections within a round', Math.max(...results.map((round) => Math.max(...reports([round]).map(({ term }) => term)) - (round.idle?.members[0]!.term ?? Math.min(...terms)))), 0),
  ]),
]
console.log('\nmedian of the rounds (gaps and memory: worst of all); the whole machine was busy with ' + median(results.map(({ machineBusyCores }) => machineBusyCores)).toFixed(2) + ` of ${cpus().length} cores`)
for (const { what, value, limit, met } of targets) {
  console.log(`  ${what.padEnd(48)}${value.toFixed(2).padStart(10)}   wanted ${String(limit).padStart(6)}   ${met ? 'met' : 'NOT MET'}`)
}
const summary = {
  kind: 'haechi-bench-consensus', at: new Date().toISOString(), members: 3, valueBytes, seconds, connections, many,
  machine: { cpu: cpus()[0]!.model, cores: cpus().length, kernel: release(), load: loadavg() },
  disk: { fileSystem, forcedWriteUs: diskUs }, versions: { node: process.version, etcd: etcd ?? '' },
  targets, rounds: results,
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(summary, null, 2)}\n`)
process.exit(0)

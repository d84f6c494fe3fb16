/**
 * Rejoin: a cluster with a large session table, one node whose disk is lost, and the way an operator brings it back: removed,
 * emptied, joined by token. How long until it votes with the same state; nothing else may notice.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ClusterOverview, NodeView } from '../../node/api/types.ts'
import { monotonicMs } from '../drills/clock.ts'
import type { LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { Hopeless, waitFor } from '../lab/wait.ts'
import { Clients } from '../drills/clients.ts'
import { calm, equalHashes } from './settle.ts'
import { Watcher, type HeartFigures } from './watcher.ts'

export interface RejoinOptions {
  readonly lab: Lab
  readonly sessions: number
  readonly log: (line: string) => void
}

export interface RejoinReport {
  readonly verdict: 'pass' | 'fail'
  readonly violations: readonly string[]
  readonly sessions: number
  /** Entries in the table of each node in the end. */
  readonly entries: Readonly<Record<string, number>>
  readonly filled_in_ms: number
  readonly rejoined: string
  /** From the removal by the operator to a voter with the same state. */
  readonly whole_ms: number | null
  /** Its parts: the commands until the join has begun, until it votes, until its state is the same. */
  readonly commands_ms: number | null
  readonly voter_ms: number | null
  readonly equal_ms: number | null
  readonly elections: number
  readonly leases_lost: number
  readonly clients: string
  readonly hearts: Readonly<Record<string, HeartFigures>>
}

const wholeWithinMs = 30_000

async function haechi(node: LabNode, ...args: string[]): Promise<string> {
  const result = await node.host.exec(node.command(...args), { timeoutMs: 60_000 })
  if (result.code !== 0) throw new Error(`${node.name}: haechi ${args.slice(0, 2).join(' ')}: ${(result.stderr || result.stdout).trim()}`)
  return result.stdout.trim()
}

/** Entries of the session table, from the node's own metrics. */
async function sessionEntries(node: LabNode): Promise<number> {
  const text = await node.get<string>('/metrics')
  return Number(/^haechi_session_entries (\d+)$/m.exec(text)?.[1] ?? NaN)
}

/** Fills the table through `node`, which is stopped for it and started again afterwards. Milliseconds that the filling took. */
async function fill(lab: Lab, node: LabNode, sessions: number, log: (line: string) => void): Promise<number> {
  await node.stop()
  const program = fileURLToPath(new URL('feed-sessions.ts', import.meta.url))
  const result = await node.host.exec([process.execPath, program, node.directory, String(sessions)], { timeoutMs: 600_000 })
  if (result.code !== 0) throw new Error(`the table could not be filled: ${result.stderr.trim().slice(-1000)}`)
  const { entries, batches, ms } = JSON.parse(result.stdout) as { entries: number; batches: number; ms: number }
  log(`${entries} sessions in ${batches} batches, ${ms} ms (${Math.round(entries / (ms / 1000))} a second)`)
  node.start()
  await calm(lab, 120_000)
  return ms
}

async function comeBack(node: LabNode, through: LabNode): Promise<{ commandsMs: number; voterMs: number }> {
  const startMs = monotonicMs()
  await haechi(through, '--dir', through.directory, 'node', 'remove', node.name, '--yes')
  for (const name of readdirSync(node.directory)) rmSync(join(node.directory, name), { recursive: true, force: true })
  const token = await haechi(through, '--dir', through.directory, 'node', 'token')
  await haechi(
    node, '--dir', node.directory, 'node', 'join', token, '--name', node.name,
    '--address', `${node.host.address}:${ports.consensus}`, '--api', `${node.host.address}:${ports.api}`,
  )
  node.start()
  const commandsMs = Math.round(monotonicMs() - startMs)
  await waitFor(`${node.name} a voter`, async () => {
    if (node.heartPid() === undefined) throw new Hopeless(`${node.name} ended: ${node.logTail(3)}`)
    const found = (await through.get<NodeView[]>('/nodes')).find((view) => view.id === node.name)
    return found?.voter === true ? true : 'a learner'
  }, { timeoutMs: 120_000, everyMs: 25 })
  return { commandsMs, voterMs: Math.round(monotonicMs() - startMs) }
}

/** Runs it on a lab whose cluster is up. */
export async function rejoin({ lab, sessions, log }: RejoinOptions): Promise<RejoinReport> {
  const violations: string[] = []
  const before = await calm(lab, 60_000)
  const filledMs = await fill(lab, before.other, sessions, log)
  await equalHashes(lab, 120_000)
  const { holder, other } = await calm(lab, 60_000)
  for (const node of [holder, other]) {
    const entries = await sessionEntries(node)
    if (entries !== sessions) violations.push(`${node.name} has ${entries} sessions before`)
  }
  const clients = new Clients(lab, { clients: 50, pauseMs: 50 })
  const watcher = new Watcher([holder])
  const late = new Watcher([other])
  let times: { commandsMs: number; voterMs: number } | undefined
  let equalMs: number | null = null
  let served = 'not counted'
  try {
    await clients.ready()
    watcher.start()
    log(`${other.name} loses its disk`)
    other.kill9Tree()
    await waitFor(`end of ${other.name}`, () => (other.heartPid() === undefined ? true : 'still running'), { timeoutMs: 5000, everyMs: 5 })
    const startMs = monotonicMs()
    times = await comeBack(other, holder)
    late.start()
    log(`${other.name} votes after ${times.voterMs} ms`)
    await equalHashes(lab, 120_000)
    equalMs = Math.round(monotonicMs() - startMs)
    const { term } = await other.get<ClusterOverview>('/status')
    if (term !== watcher.firstTerm) violations.push(`term ${watcher.firstTerm} has become ${term}`)
    await calm(lab, 60_000)
  } catch (error) {
    violations.push((error as Error).message)
  } finally {
    await watcher.stop()
    await late.stop()
    const result = await clients.stop().catch(() => undefined)
    clients.abandon()
    if (result === undefined) violations.push('the clients’ figures are missing')
    else {
      served = `${result.answered} answered, ${result.failed} failed, ${result.served} of 50 served in the end`
      if (result.failed > 0 || result.served < 50) violations.push(`clients: ${served}`)
    }
  }
  if (watcher.elections > 0) violations.push(`${watcher.elections} elections`)
  if (watcher.acquisitions > 0) violations.push(`${watcher.acquisitions} leases lost`)
  if (equalMs !== null && equalMs > wholeWithinMs) violations.push(`a voter with the same state only after ${equalMs} ms`)
  const entries: Record<string, number> = {}
  for (const node of [holder, other]) {
    entries[node.name] = await sessionEntries(node).catch(() => NaN)
    if (entries[node.name] !== sessions) violations.push(`${node.name} has ${entries[node.name]} sessions afterwards`)
  }
  return {
    verdict: violations.length === 0 ? 'pass' : 'fail',
    violations,
    sessions,
    entries,
    filled_in_ms: filledMs,
    rejoined: other.name,
    whole_ms: equalMs,
    commands_ms: times?.commandsMs ?? null,
    voter_ms: times?.voterMs ?? null,
    equal_ms: equalMs,
    elections: watcher.elections,
    leases_lost: watcher.acquisitions,
    clients: served,
    hearts: { ...watcher.hearts(), ...late.hearts() },
  }
}

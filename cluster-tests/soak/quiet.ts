/**
 * Quiet: what must change nothing. `load` fills both cores with proxied traffic and stalls the data plane for 500 ms every
 * 10 s; `loss` loses 5 % of all frames between the members. No election, no lease lost, no VIP moved.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { monotonicMs } from '../drills/clock.ts'
import type { LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { runCommand, type LinkLoss } from '../lab/network.ts'
import { ports } from '../lab/plan.ts'
import { Clients } from '../drills/clients.ts'
import { calm } from './settle.ts'
import { Watcher, type HeartFigures } from './watcher.ts'

export type QuietMode = 'load' | 'loss'

export interface QuietOptions {
  readonly lab: Lab
  readonly minutes: number
  readonly mode: QuietMode
  readonly log: (line: string) => void
}

export interface QuietReport {
  readonly verdict: 'pass' | 'fail'
  readonly violations: readonly string[]
  readonly mode: QuietMode
  readonly minutes: number
  readonly elections: number
  /** Times that the VIP was acquired by a node other than the holder of the beginning. */
  readonly vip_moves: number
  /** Times that a holder lost its lease and got it back, or another one did. */
  readonly leases_lost: number
  /** Share of the processor time of the machine that was used, percent. */
  readonly processor_busy: number
  readonly stalls: Readonly<Record<string, number>>
  /** Time for which they really stood still, the shortest of all, milliseconds. */
  readonly shortest_stall_ms: number | null
  readonly children_restarted: number
  readonly traffic: string
  readonly hearts: Readonly<Record<string, HeartFigures>>
}

const stallMs = 500
const stallEveryMs = 10_000
const lossShare = 0.05
/** Below this the cores were not full, and a pass would prove nothing. */
const busyEnough = 90

interface Times {
  readonly busy: number
  readonly all: number
}

function processorTimes(): Times {
  let busy = 0
  let all = 0
  for (const { times } of cpus()) {
    const sum = times.user + times.nice + times.sys + times.irq
    busy += sum
    all += sum + times.idle
  }
  return { busy, all }
}

/** Threads of a data-plane process by what they are for. */
export function threadsOf(pid: number): { readonly main: number; readonly workers: number[] } {
  const workers = readdirSync(`/proc/${pid}/task`)
    .map(Number)
    .filter((tid) => /^proxy-\d+$/.test(readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim()))
  return { main: pid, workers }
}

const stallKinds = ['process', 'main', 'workers'] as const

/**
 * One stall of the data plane of a node. `process`: SIGSTOP of the whole child, so main thread and workers stand still together; `main` and
 * `workers`: only those threads (ptrace), the others go on. Milliseconds for which they stood still.
 */
async function stall(node: LabNode, kind: (typeof stallKinds)[number]): Promise<number> {
  const pid = node.childPid()
  if (pid === undefined) throw new Error(`${node.name} has no data plane`)
  if (kind === 'process') {
    const startMs = monotonicMs()
    node.signalChild('SIGSTOP')
    await delay(stallMs)
    node.signalChild('SIGCONT')
    return Math.round(monotonicMs() - startMs)
  }
  const { main, workers } = threadsOf(pid)
  if (workers.length === 0) throw new Error(`${node.name} has no threads named proxy-N`)
  const program = fileURLToPath(new URL('stall-thread.ts', import.meta.url))
  const tids = kind === 'main' ? [main] : workers
  const result = await runCommand([process.execPath, program, String(stallMs), ...tids.map(String)])
  if (result.code !== 0) throw new Error(`stall of ${kind}: ${result.stderr.trim()}`)
  return Number(result.stdout)
}

/** Runs it on a lab whose cluster is up. */
export async function quiet({ lab, minutes, mode, log }: QuietOptions): Promise<QuietReport> {
  const { holder, other, witness } = await calm(lab, 60_000)
  const violations: string[] = []
  const stalls: Record<string, number> = {}
  let shortestMs: number | null = null
  let traffic: string
  const watcher = new Watcher(lab.cluster.serving())
  const childrenBefore = [holder, other].map((node) => node.childPid())
  const endMs = monotonicMs() + minutes * 60_000
  const timesBefore = processorTimes()
  watcher.start()
  if (mode === 'load') {
    // More connections than workers, for as long as it lasts.
    const seconds = Math.ceil(minutes * 60)
    const url = `http://${lab.plan.vip}:${ports.listener}/`
    const running = lab.host('client').exec(['wrk', '-t1', '-c64', `-d${seconds}s`, '--timeout', '5s', url], { timeoutMs: (seconds + 30) * 1000 })
    let turn = 0
    for (;;) {
      await delay(Math.min(stallEveryMs, Math.max(0, endMs - monotonicMs())))
      if (monotonicMs() >= endMs - stallEveryMs / 2) break
      // Two of three on the holder, whose data plane serves.
      const node = turn % 9 < 6 ? holder : other
      const kind = stallKinds[turn++ % stallKinds.length]!
      try {
        const stoodMs = await stall(node, kind)
        stalls[kind] = (stalls[kind] ?? 0) + 1
        shortestMs = Math.min(shortestMs ?? Infinity, stoodMs)
      } catch (error) {
        violations.push((error as Error).message)
        log(`  ${(error as Error).message}`)
      }
    }
    const result = await running
    traffic = /Requests\/sec:.*/.exec(result.stdout)?.[0].replaceAll(/\s+/g, ' ') ?? `wrk: ${result.stderr.trim()}`
    const errors = /Socket errors:.*|Non-2xx.*/g.exec(result.stdout)?.[0]
    if (errors !== undefined) traffic += `; ${errors.trim()}`
    if (!/Requests\/sec/.test(traffic)) violations.push(`no traffic: ${traffic}`)
  } else {
    const members = [holder, other, witness]
    const losses: LinkLoss[] = members.flatMap((from) =>
      members.filter((to) => to !== from).map((to) => ({ from: from.name, to: to.name, probability: lossShare })))
    const clients = new Clients(lab, { clients: 20, pauseMs: 100 })
    try {
      await clients.ready()
      await lab.lose('quiet', losses)
      await delay(Math.max(0, endMs - monotonicMs()))
      await lab.heal('quiet')
      const result = await clients.stop()
      traffic = `${result.answered} answered, ${result.failed} failed`
    } finally {
      clients.abandon()
      await lab.heal('quiet')
    }
  }
  await watcher.stop()
  const timesAfter = processorTimes()
  const busy = Math.round((1000 * (timesAfter.busy - timesBefore.busy)) / (timesAfter.all - timesBefore.all)) / 10
  const moves = watcher.changes.filter((change) => change.holder !== '' && change.holder !== holder.name).length
  const restarted = [holder, other].filter((node, i) => node.childPid() !== childrenBefore[i]).length
  if (watcher.elections > 0) violations.push(`${watcher.elections} elections`)
  if (watcher.acquisitions > 0) violations.push(`${watcher.acquisitions} leases lost`)
  if (moves > 0) violations.push(`the VIP moved`)
  if (restarted > 0) violations.push(`${restarted} data planes were restarted`)
  if (mode === 'load' && busy < busyEnough) violations.push(`the cores were only ${busy} % busy: this proves nothing`)
  await calm(lab, 60_000)
  return {
    verdict: violations.length === 0 ? 'pass' : 'fail',
    violations,
    mode,
    minutes,
    elections: watcher.elections,
    vip_moves: moves,
    leases_lost: watcher.acquisitions,
    processor_busy: busy,
    stalls,
    shortest_stall_ms: shortestMs,
    children_restarted: restarted,
    traffic,
    hearts: watcher.hearts(),
  }
}

/**
 * Torture: random faults one after the other, each mended and recovered from before the next, while clients change and
 * read the configuration through both nodes and others use the VIP. Afterwards: is the history linearizable, is anything
 * lost, did two nodes ever hold the VIP, are all replicas equal.
 */
import { mkdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigView } from '../../node/api/types.ts'
import { blackout, dualHolder, summarise, type ArpSample, type Summary } from '../drills/analysis.ts'
import { equalReplicas, witnessBehind } from '../drills/apply-under-kill.ts'
import { monotonicMs } from '../drills/clock.ts'
import { Prober, httpPeriodMs, type ProbeResult } from '../drills/prober.ts'
import { seededRandom } from '../drills/random.ts'
import { checkLinearizable } from '../history/linearizability.ts'
import { casRegister } from '../history/models.ts'
import type { Lab } from '../lab/lab.ts'
import { mountLimited } from '../lab/network.ts'
import { diskBytes, Injected, mendAll, type Members } from './faults.ts'
import { Plan, type Fault, type FaultKind, type Round } from './plan.ts'
import { overlapOfAnswers, overlapOfClaims } from './overlap.ts'
import { calm, equalHashes } from './settle.ts'
import { Watcher, type HeartFigures } from './watcher.ts'
import { registerOf, Workload, type WorkloadCounts } from './workload.ts'

export interface TortureOptions {
  readonly lab: Lab
  readonly minutes: number
  readonly seed: number
  readonly log: (line: string) => void
}

interface RoundReport {
  readonly round: number
  readonly faults: readonly { readonly kind: FaultKind; readonly on: string; readonly length_ms: number }[]
  blackout_ms: number | null
  /** The service was not back when the trace ended. */
  blackout_open: boolean
  dual_holder_ms: number
  dual_holder_replies: number
  dual_http_answers: number
  http_ok: number
  http_failed: number
  /** From the end of the faults to a calm cluster. */
  calm_after_ms: number | null
}

export interface TortureReport {
  readonly verdict: 'pass' | 'fail'
  readonly violations: readonly string[]
  readonly minutes: number
  readonly rounds: number
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>
  readonly clients: WorkloadCounts
  readonly vip_requests: { readonly ok: number; readonly failed: number }
  readonly elections: number
  readonly holder_changes: number
  readonly blackout_ms: Summary | null
  readonly blackout_by_fault: Readonly<Record<string, Summary | null>>
  readonly calm_after_ms: Summary | null
  readonly dual_holder_ms: number
  readonly linearizable: string
  readonly checked_operations: number
  readonly check_ms: number
  readonly hashes_equal_after_ms: number | null
  readonly acknowledged: number
  readonly lost: readonly string[]
  readonly hearts: Readonly<Record<string, HeartFigures>>
  readonly details: readonly RoundReport[]
}

const configurationClients = 4
/** Mean pause of each: about 20 operations a second in all. */
const clientPauseMs = 180
/** A mended cluster that is not calm after so long counts as a violation. */
const calmWithinMs = 60_000
const hashesWithinMs = 10_000
/** How long one node is left behind before everything is mended for the last time. */
const lastFaultsMs = 5000
/** A run that only ever finds the same is ended. */
const maxViolations = 50

const killing: ReadonlySet<FaultKind> = new Set(['kill-heart', 'kill-node', 'power-off', 'wipe-and-rejoin'])

/** Gives every member a small file system of its own. Before the cluster is started for the first time. */
export async function limitDisks(lab: Lab): Promise<void> {
  for (const node of lab.nodes()) {
    mkdirSync(node.directory, { recursive: true, mode: 0o700 })
    await mountLimited(node.directory, diskBytes)
  }
}

class Torture {
  readonly #options: TortureOptions
  readonly #lab: Lab
  readonly #violations: string[] = []
  readonly #rounds: RoundReport[] = []
  #equalAfterMs: number | null = null
  readonly #faults: Partial<Record<FaultKind, number>> = {}
  #traced: { readonly prober: Prober; readonly report: RoundReport; readonly faultMs: number } | undefined

  constructor(options: TortureOptions) {
    this.#options = options
    this.#lab = options.lab
  }

  async run(): Promise<TortureReport> {
    const { minutes, seed } = this.#options
    const plan = new Plan(seededRandom(seed))
    await calm(this.#lab, calmWithinMs)
    const first = await this.#lab.node('node1').get<ConfigView>('/config')
    const workload = new Workload(this.#lab.cluster.serving(), seededRandom(seed ^ 0x2545f491), clientPauseMs)
    const watcher = new Watcher(this.#lab.cluster.serving())
    watcher.start()
    workload.start(configurationClients, first)
    const endMs = monotonicMs() + minutes * 60_000
    let mendedMs = endMs
    try {
      while (monotonicMs() < endMs && this.#violations.length < maxViolations) await this.#round(plan.next())
      await this.#judgeTrace()
      await this.#leaveBehind()
    } finally {
      this.#traced?.prober.abandon()
      const stopped = workload.stop()
      await mendAll(this.#lab)
      mendedMs = monotonicMs()
      await stopped
    }
    await this.#equal(mendedMs)
    await watcher.stop()
    return await this.#judge(first, workload, watcher)
  }

  /** Leaves the nodes as far apart as faults can: one is dead for seconds, the witness cut off, while changes go on before. */
  async #leaveBehind(): Promise<void> {
    const members = await this.#calm('the last faults cannot be injected')
    if (members === undefined) return
    const { holder, other, witness } = members
    other.kill9Tree()
    await delay(lastFaultsMs)
    // Now nobody has a quorum: what clients are waiting for is decided only after the end.
    await this.#lab.lose('fault_0', [holder, other].flatMap((node) => [
      { from: node.name, to: witness.name, probability: 1 },
      { from: witness.name, to: node.name, probability: 1 },
    ]))
    await delay(lastFaultsMs / 5)
  }

  async #equal(mendedMs: number): Promise<void> {
    try {
      await equalHashes(this.#lab, 60_000)
      this.#equalAfterMs = Math.round(monotonicMs() - mendedMs)
      if (this.#equalAfterMs > hashesWithinMs) this.#violated(`state hashes equal only after ${this.#equalAfterMs} ms`)
    } catch (error) {
      this.#violated((error as Error).message)
    }
  }

  #violated(what: string): void {
    this.#violations.push(what)
    this.#options.log(`  VIOLATION: ${what}`)
  }

  async #calm(what: string): Promise<Members | undefined> {
    try {
      return await calm(this.#lab, calmWithinMs)
    } catch (error) {
      this.#violated(`${what}: ${(error as Error).message}`)
      await mendAll(this.#lab)
      return undefined
    }
  }

  async #round(round: Round): Promise<void> {
    if ((await this.#calm(`round ${round.number} cannot begin`)) === undefined) return
    const prober = new Prober(this.#lab)
    try {
      await prober.steady()
    } catch (error) {
      prober.abandon()
      return this.#violated(`round ${round.number}: no steady service in a calm cluster: ${(error as Error).message}`)
    }
    // The new probe runs already: there is no moment in which nobody looks.
    await this.#judgeTrace()
    const members = await this.#calm(`round ${round.number}: not calm after a steady second`)
    if (members === undefined) return prober.abandon()
    const injected = round.faults.map((fault, number) => ({ fault, injected: new Injected(this.#lab, fault, members, number) }))
    const report: RoundReport = {
      round: round.number,
      faults: injected.map(({ fault, injected: { kind, on } }) => ({ kind, on, length_ms: fault.lengthMs })),
      blackout_ms: null, blackout_open: false, dual_holder_ms: 0, dual_holder_replies: 0, dual_http_answers: 0,
      http_ok: 0, http_failed: 0, calm_after_ms: null,
    }
    this.#rounds.push(report)
    this.#options.log(`round ${round.number}: ${report.faults.map(({ kind, on, length_ms }) => `${kind} on ${on} for ${length_ms} ms`).join(' and ')}`)
    await delay(round.phaseMs)
    this.#traced = { prober, report, faultMs: monotonicMs() }
    await Promise.all(injected.map(({ fault, injected: one }, number) => this.#suffer(one, fault, number === 0 ? 0 : round.secondAfterMs)))
    this.#endedByThemselves(injected.map(({ injected: one }) => one))
    for (const node of this.#lab.nodes()) node.start()
    const mendedMs = monotonicMs()
    if ((await this.#calm(`round ${round.number} is not recovered from`)) !== undefined) report.calm_after_ms = Math.round(monotonicMs() - mendedMs)
  }

  async #suffer(injected: Injected, fault: Fault, afterMs: number): Promise<void> {
    await delay(afterMs)
    this.#faults[fault.kind] = (this.#faults[fault.kind] ?? 0) + 1
    const startMs = monotonicMs()
    try {
      await injected.inject()
      await delay(Math.max(0, startMs + fault.lengthMs - monotonicMs()))
    } catch (error) {
      this.#violated(`${fault.kind} on ${injected.on}: ${(error as Error).message}`)
    } finally {
      await injected.mend()
    }
  }

  /** A heart that nobody killed must live. */
  #endedByThemselves(injected: readonly Injected[]): void {
    for (const node of this.#lab.nodes()) {
      const killed = injected.some(({ kind, on }) => on === node.name && killing.has(kind))
      if (!killed && node.heartPid() === undefined) this.#violated(`the heart of ${node.name} ended by itself: ${node.logTail(3)}`)
    }
  }

  async #judgeTrace(): Promise<void> {
    if (this.#traced === undefined) return
    const { prober, report, faultMs } = this.#traced
    this.#traced = undefined
    let trace: ProbeResult
    try {
      trace = await prober.stop()
    } catch (error) {
      prober.abandon()
      return this.#violated(`round ${report.round}: not measured: ${(error as Error).message}`)
    }
    if (trace.truncated) this.#violated(`round ${report.round}: the trace was too long to keep`)
    const away = blackout(trace, faultMs, httpPeriodMs)
    const dual = overlapOfClaims(trace.arp)
    const { changes } = dualHolder(trace.arp)
    report.blackout_ms = away === undefined ? null : Math.round(away.blackoutMs)
    report.blackout_open = away?.open ?? true
    report.dual_holder_ms = dual.dualMs
    report.dual_holder_replies = dual.replies
    report.dual_http_answers = overlapOfAnswers(trace.http)
    report.http_ok = trace.http.filter((sample) => sample.ok).length
    report.http_failed = trace.http.length - report.http_ok
    const claims = changes > 0 ? `, claims ${inWords(trace.arp, faultMs)}` : ''
    this.#options.log(`  round ${report.round}: blackout ${report.blackout_ms ?? '-'} ms, ${report.http_failed} of ${trace.http.length} requests failed${claims}`)
    if (dual.dualMs > 0) this.#violated(`round ${report.round}: dual holder for ${dual.dualMs.toFixed(1)} ms (${dual.replies} claims): ${inWords(trace.arp, faultMs)}`)
    if (report.dual_http_answers > 0) this.#violated(`round ${report.round}: ${report.dual_http_answers} HTTP answers of a replaced holder`)
  }

  async #judge(first: ConfigView, workload: Workload, watcher: Watcher): Promise<TortureReport> {
    const { log } = this.#options
    await this.#calm('the cluster is not healthy in the end')
    for (const node of this.#lab.cluster.serving()) {
      if ((await workload.read('last', node)) === undefined) this.#violated(`no linearizable read through ${node.name} in the end`)
    }
    const lost: string[] = []
    try {
      const { replicas, differences } = await equalReplicas(this.#lab)
      for (const difference of [...differences, ...(await witnessBehind(this.#lab))]) this.#violated(difference)
      for (const replica of replicas) {
        const kept = new Map(replica.revisions.map((revision) => [revision.revision, revision.comment]))
        const oldest = Math.min(...kept.keys())
        const audited = new Set(replica.audit.map(({ revision }) => revision))
        for (const { revision, value, node } of workload.acknowledged) {
          // Revisions older than the oldest kept one were given up by the limit on history, all in the same way.
          if (revision < oldest) continue
          if (kept.get(revision) !== value) lost.push(`${value}, acknowledged by ${node} as revision ${revision}, is ${kept.get(revision) ?? 'nothing'} on ${replica.node}`)
          else if (!audited.has(revision)) lost.push(`${value}, revision ${revision}, is not in the audit log of ${replica.node}`)
        }
      }
    } catch (error) {
      this.#violated(`replicas not compared: ${(error as Error).message}`)
    }
    for (const text of lost.slice(0, 10)) this.#violated(`lost: ${text}`)
    const checkStartMs = monotonicMs()
    const verdict = checkLinearizable(casRegister(registerOf(first)), workload.history)
    const checkMs = Math.round(monotonicMs() - checkStartMs)
    if (verdict.verdict !== 'linearizable') {
      const { operation, states, pending } = verdict
      this.#violated(`history ${verdict.verdict === 'violation' ? 'not linearizable' : 'undecided'}: ${JSON.stringify(operation)}; possible before: ${JSON.stringify(states)}; pending: ${JSON.stringify(pending.slice(0, 5))}`)
    }
    log(`history of ${workload.history.length} operations: ${verdict.verdict} (${checkMs} ms)`)
    return this.#report(workload, watcher, { lost, verdict: verdict.verdict, checkMs })
  }

  #report(
    workload: Workload,
    watcher: Watcher,
    found: { lost: readonly string[]; verdict: string; checkMs: number },
  ): TortureReport {
    const measured = this.#rounds.filter((round) => round.blackout_ms !== null)
    const nameOf = ({ faults }: RoundReport): string => (faults.length === 1 ? faults[0]!.kind : 'two faults')
    const byFault: Record<string, Summary | null> = {}
    for (const name of new Set(measured.map(nameOf))) {
      const values = measured.filter((round) => nameOf(round) === name).map((round) => round.blackout_ms!)
      byFault[name] = summarise(values) ?? null
    }
    const sum = (of: (round: RoundReport) => number): number => this.#rounds.reduce((total, round) => total + of(round), 0)
    return {
      verdict: this.#violations.length === 0 ? 'pass' : 'fail',
      violations: this.#violations,
      minutes: this.#options.minutes,
      rounds: this.#rounds.length,
      faults: this.#faults,
      clients: workload.counts,
      vip_requests: { ok: sum((round) => round.http_ok), failed: sum((round) => round.http_failed) },
      elections: watcher.elections,
      holder_changes: watcher.acquisitions,
      blackout_ms: summarise(measured.map((round) => round.blackout_ms!)) ?? null,
      blackout_by_fault: byFault,
      calm_after_ms: summarise(this.#rounds.flatMap((round) => round.calm_after_ms ?? [])) ?? null,
      dual_holder_ms: Math.max(0, ...this.#rounds.map((round) => round.dual_holder_ms)),
      linearizable: found.verdict,
      checked_operations: workload.history.length,
      check_ms: found.checkMs,
      hashes_equal_after_ms: this.#equalAfterMs,
      acknowledged: workload.acknowledged.length,
      lost: found.lost,
      hearts: watcher.hearts(),
      details: this.#rounds,
    }
  }
}

/** Runs of claims of the VIP, by the last byte of the MAC, with their times after the fault. */
function inWords(arp: readonly ArpSample[], faultMs: number): string {
  const runs: { mac: string; from: number; to: number; count: number }[] = []
  for (const { mac, atMs } of arp.toSorted((a, b) => a.atMs - b.atMs)) {
    const last = runs.at(-1)
    if (last?.mac === mac) {
      last.to = atMs
      last.count++
    } else runs.push({ mac, from: atMs, to: atMs, count: 1 })
  }
  const text = runs.map(({ mac, from, to, count }) => `:${mac.slice(-2)} ${Math.round(from - faultMs)}…${Math.round(to - faultMs)} (${count})`)
  return text.length > 12 ? `${text.slice(0, 12).join(', ')}, …` : text.join(', ')
}

/** Runs it on a lab whose cluster is up and whose disks are limited. */
export function torture(options: TortureOptions): Promise<TortureReport> {
  return new Torture(options).run()
}

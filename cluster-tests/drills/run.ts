/**
 * One run of a drill: a healthy cluster, a steady second, the fault at a random phase, a new holder and at least two
 * seconds more, mending, and a healthy cluster again. What is measured is what the client's probe saw.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { ClusterOverview } from '../../node/api/types.ts'
import type { LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { blackout, dualHolder, dualHttpAnswers, failedRequests, firstClaim, lastClaimBefore, longestGapBefore } from './analysis.ts'
import { monotonicMs } from './clock.ts'
import type { Drill } from './drills.ts'
import { Prober, httpPeriodMs, type ProbeResult } from './prober.ts'

/** Figures of one run. Milliseconds; `_ms` names as in the report. */
export interface RunFigures {
  readonly blackout_ms: number
  readonly dual_holder_ms: number
  /** Claims of the VIP (ARP) by the old holder after the first one of the new holder. */
  readonly dual_holder_replies: number
  /** The same by HTTP answers: sent after the new holder had answered, answered by the old one. */
  readonly dual_http_answers: number
  readonly failed_requests: number
  readonly terms_passed: number
}

export interface RunDetails {
  readonly holder_before: string
  readonly holder_after: string
  readonly holder_changes: number
  /** How long the fault took to inject. */
  readonly inject_ms: number
  /** From the fault to the old holder's last claim of the VIP (ARP): negative when it fell silent before. */
  readonly old_holder_silent_ms: number | null
  /** From the fault to the new holder's first claim of the VIP. */
  readonly new_holder_claims_ms: number | null
  /** From the fault to the last success before the blackout: a large one is a later pause, not the take-over. */
  readonly blackout_from_ms: number
  /** Longest gap in the steady time before the fault, less the period: what the machine does without any fault. */
  readonly steady_gap_ms: number
  /** From the fault to the first HTTP answer after the blackout. */
  readonly served_again_ms: number
  readonly requests: number
  readonly arp_claims: number
  /** Longest time in which the probe itself did not get to run, within the blackout: part of the figure is its own. */
  readonly probe_stall_ms: number
  /** From the mending to a healthy cluster. */
  readonly healthy_again_ms: number
}

export type RunResult =
  | { readonly run: number; readonly ok: true; readonly phase_ms: number; readonly figures: RunFigures; readonly details: RunDetails }
  | { readonly run: number; readonly ok: false; readonly phase_ms: number; readonly error: string }

/** How long a new holder may take before the run counts as failed. */
const newHolderTimeoutMs = 15_000
/** Probing goes on for so long after a new holder answers, and after a fault ends by itself. */
const settleMs = 2000

export interface RunOptions {
  readonly lab: Lab
  readonly drill: Drill
  /** From 1. */
  readonly run: number
  /** Wait after the steady second: the random phase of the fault, milliseconds. */
  readonly phaseMs: number
}

/** Runs it. A run that cannot be measured is a value; the cluster is mended in either case, as far as it can be. */
export async function runDrill(options: RunOptions): Promise<RunResult> {
  const { lab, run, phaseMs } = options
  try {
    return { run, ok: true, phase_ms: phaseMs, ...(await measure(options)) }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    await repair(lab)
    return { run, ok: false, phase_ms: phaseMs, error: detail }
  }
}

async function measure(options: RunOptions): Promise<{ figures: RunFigures; details: RunDetails }> {
  const { lab, drill, phaseMs } = options
  const before = await lab.waitHealthy(60_000)
  const holder = lab.node(before.holder)
  const others = lab.nodes().filter((node) => node !== holder)
  const known = [holder.name, holder.host.mac]
  const prober = new Prober(lab)
  let trace: ProbeResult
  let faultMs: number
  let injectMs: number
  try {
    await prober.steady()
    await delay(phaseMs)
    faultMs = monotonicMs()
    await drill.inject({ lab, holder })
    injectMs = monotonicMs() - faultMs
    await prober.newHolder(known, faultMs, newHolderTimeoutMs)
    await delay(settleMs)
    if (drill.during !== undefined) {
      await drill.during({ lab, holder }, faultMs)
      await delay(settleMs)
    }
    trace = await prober.stop()
  } catch (error) {
    prober.abandon()
    throw error
  }
  const mendedMs = monotonicMs()
  await drill.mend?.({ lab, holder })
  const after = await lab.waitHealthy(60_000)
  const healthyMs = monotonicMs() - mendedMs
  if (trace.truncated) throw new Error('the trace was too long to keep')
  const away = blackout(trace, faultMs, httpPeriodMs)
  if (away === undefined) throw new Error('nothing was answered before the fault')
  if (away.open) throw new Error(`no answers any more from ${Math.round(away.fromMs - faultMs)} ms after the fault on`)
  const dual = dualHolder(trace.arp)
  const claims = others.map((node) => firstClaim(trace.arp, node.host.mac, faultMs)).filter((at) => at !== undefined)
  const newMac = others.find((node) => firstClaim(trace.arp, node.host.mac, faultMs) === Math.min(...claims))?.host.mac
  const silent = newMac === undefined ? undefined : lastClaimBefore(trace.arp, holder.host.mac, newMac, faultMs)
  return {
    figures: {
      blackout_ms: round(away.blackoutMs),
      dual_holder_ms: round(dual.dualMs),
      dual_holder_replies: dual.replies,
      dual_http_answers: dualHttpAnswers(trace.http),
      failed_requests: failedRequests(trace.http, trace.startMs),
      terms_passed: after.term - before.term,
    },
    details: {
      holder_before: before.holder,
      holder_after: after.holder,
      holder_changes: dual.changes,
      inject_ms: round(injectMs),
      old_holder_silent_ms: silent === undefined ? null : round(silent - faultMs),
      new_holder_claims_ms: claims.length === 0 ? null : round(Math.min(...claims) - faultMs),
      blackout_from_ms: round(away.fromMs - faultMs),
      steady_gap_ms: round(longestGapBefore(trace.http, faultMs, httpPeriodMs)),
      served_again_ms: round(away.toMs - faultMs),
      requests: trace.http.length,
      arp_claims: trace.arp.length,
      probe_stall_ms: round(
        Math.max(0, ...trace.stalls.filter((stall) => stall.atMs >= away.fromMs && stall.atMs <= away.toMs + stall.lateMs).map((stall) => stall.lateMs)),
      ),
      healthy_again_ms: round(healthyMs),
    },
  }
}

const round = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000

/** Undoes every fault there is, whatever state a failed run left behind; the next run waits until it is healthy. */
export async function repair(lab: Lab): Promise<void> {
  for (const node of lab.nodes()) {
    await node.host.heal()
    if (node.heartPid() !== undefined) node.thaw()
    await node.linkUp()
    node.start()
  }
}

/** What every node says of the cluster, in one line each: for the message about a run that failed. */
export async function clusterInWords(lab: Lab): Promise<string> {
  const word = async (node: LabNode): Promise<string> => {
    if (node.heartPid() === undefined) return `${node.name}: not running`
    try {
      const view = await node.get<ClusterOverview>('/status', { timeoutMs: 2000 })
      const holders = view.vips.map((vip) => `${vip.name}→${vip.holder || 'nobody'}`).join(' ')
      return `${node.name}: term ${view.term} leader ${view.leader || 'none'} revision ${view.revision} ${holders}`
    } catch (error) {
      return `${node.name}: ${error instanceof Error ? error.message : String(error)}`
    }
  }
  return (await Promise.all(lab.cluster.serving().map(word))).join('\n')
}

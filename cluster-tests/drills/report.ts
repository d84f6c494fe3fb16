/** The report of drills, as JSON and as a table for people; and whether it is a pass. Pure but for `machine`. */
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { summarise, type Summary } from './analysis.ts'
import type { RunFigures, RunResult } from './run.ts'

export interface DrillReport {
  readonly drill: string
  readonly what: string
  readonly runs: number
  /** Runs that gave figures. */
  readonly measured: number
  readonly blackout_ms: Summary | null
  readonly dual_holder_ms: Summary | null
  readonly dual_holder_replies: number
  readonly dual_http_answers: number
  readonly failed_requests: { readonly total: number; readonly max: number }
  readonly terms_passed: { readonly total: number; readonly max: number }
  readonly details: readonly RunResult[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_mib: number
  readonly kernel: string
  /** Load averages over 1, 5 and 15 minutes when the report was written. */
  readonly load: readonly number[]
}

export interface Report {
  readonly kind: 'haechi-drills'
  readonly at: string
  readonly seed: number
  readonly replay: string
  readonly pass: boolean
  readonly machine: Machine
  readonly versions: { readonly haechi: string; readonly node: string }
  readonly drills: readonly DrillReport[]
}

export function machine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory_mib: Math.round(totalmem() / 1024 / 1024),
    kernel: release(),
    load: loadavg().map((load) => Math.round(load * 100) / 100),
  }
}

export function versions(): Report['versions'] {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return { haechi: (JSON.parse(text) as { version: string }).version, node: process.version }
}

const total = (values: readonly number[]): { total: number; max: number } => ({
  total: values.reduce((sum, value) => sum + value, 0),
  max: Math.max(0, ...values),
})

export function drillReport(drill: string, what: string, results: readonly RunResult[]): DrillReport {
  const figures: RunFigures[] = results.flatMap((result) => (result.ok ? [result.figures] : []))
  return {
    drill,
    what,
    runs: results.length,
    measured: figures.length,
    blackout_ms: summarise(figures.map((run) => run.blackout_ms)) ?? null,
    dual_holder_ms: summarise(figures.map((run) => run.dual_holder_ms)) ?? null,
    dual_holder_replies: total(figures.map((run) => run.dual_holder_replies)).total,
    dual_http_answers: total(figures.map((run) => run.dual_http_answers)).total,
    failed_requests: total(figures.map((run) => run.failed_requests)),
    terms_passed: total(figures.map((run) => run.terms_passed)),
    details: results,
  }
}

/** A pass: every run was measured, and no two nodes ever answered at the same time. */
export function passes(drills: readonly DrillReport[]): boolean {
  return drills.every((drill) =>
    drill.runs > 0 && drill.measured === drill.runs && drill.dual_holder_ms?.max === 0 && drill.dual_http_answers === 0)
}

const figure = (value: number): string => (value >= 100 || value === 0 ? value.toFixed(0) : value.toFixed(1))

/** One line per drill. All times in milliseconds. */
export function table(drills: readonly DrillReport[]): string {
  const rows: string[][] = [
    ['drill', 'runs', 'blackout_ms min', 'p50', 'p99', 'max', 'dual_holder_ms min', 'p50', 'p99', 'max', 'failed', 'terms'],
  ]
  for (const drill of drills) {
    const four = (summary: Summary | null): string[] =>
      summary === null ? ['-', '-', '-', '-'] : [summary.min, summary.p50, summary.p99, summary.max].map(figure)
    rows.push([
      drill.drill,
      drill.measured === drill.runs ? String(drill.runs) : `${drill.measured} of ${drill.runs}`,
      ...four(drill.blackout_ms),
      ...four(drill.dual_holder_ms),
      String(drill.failed_requests.total),
      String(drill.terms_passed.total),
    ])
  }
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ')).join('\n')
}

/** One line of progress about a run. */
export function runInWords(result: RunResult): string {
  if (!result.ok) return `run ${result.run}: NOT MEASURED: ${result.error}`
  const { figures, details } = result
  const dual = figures.dual_holder_ms > 0 || figures.dual_http_answers > 0
    ? `DUAL HOLDER for ${figure(figures.dual_holder_ms)} ms (${figures.dual_holder_replies} claims, ${figures.dual_http_answers} answers)`
    : 'no dual holder'
  const stall = details.probe_stall_ms > 0 ? `, probe stalled ${figure(details.probe_stall_ms)} ms` : ''
  // Later than any take-over: the cluster or the machine paused for another reason.
  const later = details.blackout_from_ms > 1000 ? ` from ${figure(details.blackout_from_ms)} ms on` : ''
  const silent = details.old_holder_silent_ms === null ? '-' : figure(details.old_holder_silent_ms)
  const claims = details.new_holder_claims_ms === null ? '-' : figure(details.new_holder_claims_ms)
  return `run ${result.run}: blackout ${figure(figures.blackout_ms)} ms${later}, ${dual}, ${figures.failed_requests} failed, ` +
    `${figures.terms_passed} terms, ${details.holder_before} silent at ${silent}, new claims at ${claims} ms${stall}`
}

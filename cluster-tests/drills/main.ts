/**
 * `npm run drill -- NAME --runs N --json FILE`: faults injected on purpose into a cluster on a lab, measured from the
 * client's side. Exit code 0: every run measured and no dual holder; 1: not so; 2: wrong usage.
 */
import { randomInt } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { createLab, labExists, openLab, type Lab } from '../lab/lab.ts'
import { applyLatency } from './apply-latency.ts'
import { applyUnderKill } from './apply-under-kill.ts'
import { drills, type Drill } from './drills.ts'
import { keepClients } from './keep-clients.ts'
import { seededRandom } from './random.ts'
import { drillReport, machine, passes, runInWords, table, versions, type DrillReport, type Report } from './report.ts'
import { clusterInWords, repair, runDrill, type RunResult } from './run.ts'

const usage = `Usage: npm run drill -- NAME [options]
${drills.map((drill) => `  ${drill.name.padEnd(17)} ${drill.what}`).join('\n')}
  all               every drill above, one after the other
  apply-under-kill  the holder is killed while changes are applied through both nodes and 200 clients poll
  keep-clients      100,000 sessions and TLS clients over a killed holder: who stays on his member, who resumes
  apply-latency     changes through a follower: time until in force, refusals, and a request across 100 changes
Options:
  --runs N     runs of each drill (default 20; apply-latency: 30; keep-clients: 3)
  --sessions N keep-clients: how many (default 100000)
  --json FILE  the whole report
  --name LAB   lab to use (default drill); one that is up already is used as it is, and stays
  --keep       leave the lab up afterwards
  --seed S     replays the phases of the faults
`

const log = (line: string): void => void process.stderr.write(`${line}\n`)

/** Greatest wait after the steady second: longer than any timer of the cluster that a fault could fall in step with. */
const maxPhaseMs = 1000

async function runAll(lab: Lab, wanted: readonly Drill[], runs: number, seed: number): Promise<DrillReport[]> {
  const random = seededRandom(seed)
  const reports: DrillReport[] = []
  for (const drill of wanted) {
    log(`${drill.name}: ${drill.what}`)
    const results: RunResult[] = []
    let failedInARow = 0
    for (let run = 1; run <= runs; run++) {
      const phaseMs = Math.round(random() * maxPhaseMs)
      const result = await runDrill({ lab, drill, run, phaseMs })
      results.push(result)
      log(`  ${runInWords(result)} (phase ${phaseMs} ms)`)
      if (!result.ok) log((await clusterInWords(lab)).replaceAll(/^/gm, '    '))
      failedInARow = result.ok ? 0 : failedInARow + 1
      // The runs left would only repeat the same message for minutes.
      if (failedInARow === 3) {
        for (let left = run + 1; left <= runs; left++) {
          results.push({ run: left, ok: false, phase_ms: 0, error: 'not run: three runs in a row could not be measured' })
        }
        break
      }
    }
    reports.push(drillReport(drill.name, drill.what, results))
  }
  return reports
}

interface Settings {
  readonly name: string
  readonly runs: number
  readonly seed: number
  readonly json: string | undefined
  readonly sessions: number
}

/** Runs what was asked for on the lab; true when it passed. */
async function drillOn(lab: Lab, settings: Settings): Promise<boolean> {
  const { name, runs, seed, json } = settings
  const replay = `npm run drill -- ${name} --runs ${runs} --seed ${seed}`
  const write = (report: object): void => {
    if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`)
  }
  const common = { at: new Date().toISOString(), seed, replay, machine: machine(), versions: versions() }
  if (name === 'apply-under-kill' || name === 'apply-latency' || name === 'keep-clients') {
    const result = name === 'apply-latency'
      ? await applyLatency({ lab, runs, log })
      : name === 'keep-clients' ? await keepClients({ lab, runs, sessions: settings.sessions, log })
      : await applyUnderKill({ lab, runs, random: seededRandom(seed), log })
    process.stdout.write(`${result.text}\n`)
    write({ kind: `haechi-${name}`, ...common, pass: result.pass, ...result.report })
    return result.pass
  }
  const wanted = name === 'all' ? drills : drills.filter((drill) => drill.name === name)
  const reports = await runAll(lab, wanted, runs, seed)
  const report: Report = { kind: 'haechi-drills', ...common, pass: passes(reports), drills: reports }
  process.stdout.write(`${table(reports)}\n`)
  write(report)
  return report.pass
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string' },
      sessions: { type: 'string', default: '100000' },
      json: { type: 'string' },
      name: { type: 'string', default: 'drill' },
      keep: { type: 'boolean', default: false },
      seed: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const [name] = positionals
  const names = ['all', 'apply-under-kill', 'apply-latency', 'keep-clients', ...drills.map((drill) => drill.name)]
  const runs = Number(values.runs ?? (name === 'apply-latency' ? 30 : name === 'keep-clients' ? 3 : 20))
  const sessions = Number(values.sessions)
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
  const usable = name !== undefined && names.includes(name) && positionals.length === 1 &&
    Number.isInteger(sessions) && sessions > 0 && Number.isInteger(runs) && runs > 0 && runs <= 10_000 && Number.isInteger(seed)
  if (values.help || !usable) {
    process.stderr.write(usage)
    return values.help ? 0 : 2
  }
  log(`seed ${seed}`)
  const existed = labExists(openLab({ name: values.name }))
  const keep = values.keep || existed
  const lab = await createLab({ name: values.name, log })
  const interrupted = (): void => {
    log('interrupted: mending')
    ;(keep ? repair(lab) : lab.destroy()).finally(() => process.exit(130))
  }
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    await lab.startCluster()
    return (await drillOn(lab, { name, runs, seed, json: values.json, sessions })) ? 0 : 1
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    if (!keep) await lab.destroy()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  log(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}

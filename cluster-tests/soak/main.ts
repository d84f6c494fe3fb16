/**
 * `npm run soak -- torture | quiet | rejoin`: hours rather than runs. A cluster of real processes in a lab, under random
 * faults, under load or loss, or with a node that comes back empty. Exit code 0: no violation; 1: some; 2: wrong usage.
 */
import { randomInt } from 'node:crypto'
import { cpSync, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { machine, versions } from '../drills/report.ts'
import { createLab, openLab, type Lab } from '../lab/lab.ts'
import { quiet, type QuietMode } from './quiet.ts'
import { rejoin } from './rejoin.ts'
import { inWords } from './report.ts'
import { limitDisks, torture } from './torture.ts'

const usage = `Usage: npm run soak -- torture [--minutes N] [--seed S]
       npm run soak -- quiet --mode load|loss [--minutes N] [--seed S]
       npm run soak -- rejoin [--sessions N]
  torture  random faults, mended one after the other, under clients: linearizable, nothing lost, one holder
  quiet    load: both cores full of proxied traffic, 500 ms stalls every 10 s; loss: 5 % of all frames between
           nodes lost. No election, no lease lost
  rejoin   a node comes back with an empty disk into a cluster of N sessions (default 1000000)
Options:
  --minutes N  length (default 30)
  --json FILE  the whole report
  --name LAB   lab to make (default soak); one of that name is removed first
  --logs DIR   keep the logs of all nodes there
  --keep       leave the lab up afterwards
  --seed S     replays the plan of the faults
`

const log = (line: string): void => void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)

interface Settings {
  readonly what: 'torture' | 'quiet' | 'rejoin'
  readonly minutes: number
  readonly seed: number
  readonly sessions: number
  readonly mode: QuietMode
}

async function soak(lab: Lab, settings: Settings): Promise<{ readonly verdict: 'pass' | 'fail'; readonly violations: readonly string[] }> {
  const { what, minutes, seed, sessions, mode } = settings
  if (what === 'torture') await limitDisks(lab)
  await lab.startCluster()
  if (what === 'torture') return await torture({ lab, minutes, seed, log })
  if (what === 'quiet') return await quiet({ lab, minutes, mode, log })
  return await rejoin({ lab, sessions, log })
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      minutes: { type: 'string', default: '30' },
      seed: { type: 'string' },
      sessions: { type: 'string', default: '1000000' },
      mode: { type: 'string', default: 'load' },
      json: { type: 'string' },
      name: { type: 'string', default: 'soak' },
      logs: { type: 'string' },
      keep: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const [what] = positionals
  const minutes = Number(values.minutes)
  const sessions = Number(values.sessions)
  const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
  const { mode } = values
  const usable = positionals.length === 1 && (what === 'torture' || what === 'quiet' || what === 'rejoin') &&
    minutes > 0 && minutes <= 24 * 60 && Number.isInteger(seed) && Number.isInteger(sessions) && sessions > 0 && (mode === 'load' || mode === 'loss')
  if (values.help || !usable) {
    process.stderr.write(usage)
    return values.help ? 0 : 2
  }
  log(`${what}, seed ${seed}`)
  await openLab({ name: values.name }).destroy()
  const lab = await createLab({ name: values.name, log })
  const end = async (): Promise<void> => {
    if (values.logs !== undefined && existsSync(join(lab.directory, 'logs'))) cpSync(join(lab.directory, 'logs'), values.logs, { recursive: true })
    if (!values.keep) await lab.destroy()
  }
  const interrupted = (): void => void end().finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  try {
    const report = await soak(lab, { what, minutes, seed, sessions, mode })
    const replay = `npm run soak -- ${what}${what === 'rejoin' ? ` --sessions ${sessions}` : ` --minutes ${minutes} --seed ${seed}`}${what === 'quiet' ? ` --mode ${mode}` : ''}`
    process.stdout.write(`${inWords(report)}\nreplay: ${replay}\n`)
    if (values.json !== undefined) {
      const whole = { kind: `haechi-soak-${what}`, at: new Date().toISOString(), seed, replay, machine: machine(), versions: versions(), ...report }
      writeFileSync(values.json, `${JSON.stringify(whole, null, 2)}\n`)
    }
    return report.verdict === 'pass' ? 0 : 1
  } finally {
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
    await end()
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  log(error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.exitCode = 1
}

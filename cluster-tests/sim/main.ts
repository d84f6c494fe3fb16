/**
 * `npm run sim -- --seeds A..B` runs whole simulated clusters, one for each seed, on all cores; `--seed N --trace` shows one
 * as a transcript; `--minutes M` runs fresh seeds for that long. Ends with 1 and the first failing seed when an invariant
 * breaks.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { Counts } from './cluster.ts'
import { runSeed } from './seed.ts'

interface Totals extends Counts {
  seeds: number
  simulatedMs: number
  events: number
}

type FromWorker =
  | { readonly type: 'progress'; readonly totals: Totals }
  | { readonly type: 'failed'; readonly seed: number; readonly error: string }

interface Share {
  readonly from: number
  readonly to: number
  readonly step: number
  /** Stop at this instant of `Date.now()`. */
  readonly untilMs: number
}

const usage = `usage: npm run sim -- --seeds A..B | --seed N [--trace] | --minutes M | --mutants [NAME]   [--jobs N] [--json]`

function empty(): Totals {
  return {
    seeds: 0, simulatedMs: 0, events: 0, elections: 0, leases: 0, committed: 0, installs: 0, transfers: 0, crashes: 0, membershipChanges: 0,
    writes: 0, reads: 0, replays: 0, damaged: 0, repairs: 0,
  }
}

function add(totals: Totals, more: Totals): void {
  for (const key of Object.keys(more) as (keyof Totals)[]) totals[key] += more[key]
}

/** Runs its share of the seeds and reports now and then. */
function work({ from, to, step, untilMs }: Share, report: (message: FromWorker) => void): void {
  let totals = empty()
  let reported = performance.now()
  for (let seed = from; seed <= to && Date.now() < untilMs; seed += step) {
    try {
      const { counts, simulatedMs, events } = runSeed(seed)
      add(totals, { ...counts, seeds: 1, simulatedMs, events })
    } catch (error) {
      report({ type: 'failed', seed, error: String((error as Error).stack ?? error) })
      return
    }
    if (performance.now() - reported < 1000) continue
    report({ type: 'progress', totals })
    totals = empty()
    reported = performance.now()
  }
  report({ type: 'progress', totals })
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    options: {
      seeds: { type: 'string' }, seed: { type: 'string' }, trace: { type: 'boolean' }, minutes: { type: 'string' }, jobs: { type: 'string' },
      json: { type: 'boolean' }, mutants: { type: 'boolean' },
    },
    allowPositionals: true,
  })
  if (values.mutants === true) return mutants(positionals[0] ?? '', Number(values.jobs ?? availableParallelism()))
  if (values.seed !== undefined) return one(Number(values.seed), values.trace === true)
  let from: number
  let to: number
  let untilMs = Infinity
  if (values.minutes !== undefined) {
    from = 1_000_000_000 + (Date.now() % 1_000_000_000)
    to = Number.MAX_SAFE_INTEGER
    untilMs = Date.now() + Number(values.minutes) * 60_000
  } else {
    const range = /^(\d+)\.\.(\d+)$/.exec(values.seeds ?? '')
    if (range === null) {
      console.error(usage)
      return 2
    }
    from = Number(range[1])
    to = Number(range[2])
  }
  const jobs = Math.max(1, Number(values.jobs ?? availableParallelism()))
  const started = performance.now()
  const totals = empty()
  let lastShown = started
  const show = () => {
    const seconds = (performance.now() - started) / 1000
    return `${totals.seeds} seeds in ${seconds.toFixed(0)} s (${(totals.seeds / seconds).toFixed(1)}/s), ${(totals.simulatedMs / 3_600_000).toFixed(2)} simulated hours`
  }
  const failure = await new Promise<{ seed: number; error: string } | undefined>((resolve) => {
    let running = jobs
    const workers = Array.from({ length: jobs }, (_, at) => {
      const share: Share = { from: from + at, to, step: jobs, untilMs }
      const worker = new Worker(new URL(import.meta.url), { workerData: share })
      worker.on('message', (message: FromWorker) => {
        if (message.type === 'failed') {
          resolve(message)
          for (const other of workers) void other.terminate()
          return
        }
        add(totals, message.totals)
        if (values.json !== true && performance.now() - lastShown > 10_000) {
          lastShown = performance.now()
          console.log(show())
        }
      })
      worker.on('error', (error) => resolve({ seed: -1, error: String(error.stack) }))
      worker.on('exit', () => {
        running -= 1
        if (running === 0) resolve(undefined)
      })
      return worker
    })
  })
  if (failure !== undefined) {
    if (values.json === true) console.log(JSON.stringify({ failed: failure.seed, error: failure.error.split('\n')[0], seeds: totals.seeds }))
    else console.error(`${failure.error}\n\nseed ${failure.seed} failed. Replay: npm run sim -- --seed ${failure.seed} --trace`)
    return 1
  }
  const seconds = (performance.now() - started) / 1000
  if (values.json === true) console.log(JSON.stringify({ ...totals, from, to: from + totals.seeds - 1, seconds }))
  else {
    const { seeds, simulatedMs: _ms, ...counts } = totals
    console.log(`${show()}, all green; seeds from ${from}`)
    console.log(Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', '))
    // A run in which nothing happens proves nothing.
    const idle = Object.entries(counts).filter(([, count]) => count === 0)
    if (seeds >= 1000 && idle.length > 0) {
      console.error(`nothing of this ever happened: ${idle.map(([name]) => name).join(', ')}`)
      return 1
    }
  }
  return 0
}

async function mutants(pattern: string, jobs: number): Promise<number> {
  const { faultsIn, readMutants, seedLimit, tryMutants } = await import('./mutants.ts')
  const faults = faultsIn(readMutants())
  if (faults.length > 0) {
    console.error(faults.join('\n'))
    return 2
  }
  const results = await tryMutants(pattern, jobs, ({ name, seeds, how }) => {
    console.log(`${seeds === undefined ? 'NOT CAUGHT' : `caught in ${String(seeds).padStart(4)} seeds`}  ${name}${how === '' ? '' : `: ${how.slice(0, 160)}`}`)
  })
  const missed = results.filter(({ seeds }) => seeds === undefined).length
  console.log(`${results.length - missed} of ${results.length} mutants caught within ${seedLimit} seeds each`)
  return missed === 0 ? 0 : 1
}

function one(seed: number, trace: boolean): number {
  try {
    const { transcript, counts, simulatedMs } = runSeed(seed, trace)
    if (trace) console.log(transcript())
    console.log(`seed ${seed} is green: ${(simulatedMs / 1000).toFixed(1)} simulated seconds, ${JSON.stringify(counts)}`)
    return 0
  } catch (error) {
    console.log(String((error as Error).stack ?? error))
    console.error(`seed ${seed} failed`)
    return 1
  }
}

// Not within a promise: those of the simulation could not be settled then.
setImmediate(() => {
  if (!isMainThread) return work(workerData as Share, (message) => parentPort!.postMessage(message))
  main().then((code) => { process.exitCode = code }, (error: unknown) => {
    console.error(error)
    process.exitCode = 2
  })
})

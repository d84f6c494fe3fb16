/**
 * CPU per request or message beside HAProxy and nginx, one worker against one thread, in turn, over several rounds: the proxy on
 * core 0, load and servers on core 1; user and system time of the proxy's process from /proc. And the latency that it adds.
 *
 * `npm run bench -- proxy [--case NAME[,NAME…]] [--runs N] [--seconds S] [--features all|few] [--json FILE]`
 */
import { spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { addedLatency, cases, cpuUs, onCore, type Case, type Load } from './proxy/loads.ts'
import { backendConfiguration, backendPort, echoPort, ports, systems, type System } from './proxy/systems.ts'

const { values } = parseArgs({
  options: { json: { type: 'string' }, runs: { type: 'string', default: '3' }, seconds: { type: 'string', default: '5' }, case: { type: 'string', default: '' }, features: { type: 'string', default: 'all' } },
})
const runs = Number(values.runs)
const seconds = Number(values.seconds)
const only = values.case === '' ? undefined : values.case.split(',')
const { features } = values
if (features !== 'all' && features !== 'few') {
  console.error('--features takes all or few')
  process.exit(2)
}
const known = [...cases.map(({ name }) => name), 'latency']
const unknown = only?.find((name) => !known.includes(name))
if (unknown !== undefined) {
  console.error(`there is no case ${unknown}; cases: ${known.join(', ')}`)
  process.exit(2)
}
for (const [program, pack] of [['haproxy', 'haproxy'], ['nginx', 'nginx-light'], ['wrk', 'wrk'], ['openssl', 'openssl']] as const) {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status === 0) continue
  console.error(`${program} is not installed; install Debian's package ${pack}`)
  process.exit(1)
}
if (cpus().length < 2) {
  console.error('two cores are needed: one for the proxy, one for load and servers')
  process.exit(1)
}

const folder = mkdtempSync(join(tmpdir(), 'haechi-bench-'))
const started = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

function start(core: number, argv: readonly string[]): ChildProcess {
  const child = onCore(core, argv, 'quiet')
  started.add(child)
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  started.delete(child)
  if (child.exitCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

async function ready(port: number, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await answers(port)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what} does not listen on port ${port}`)
}

interface Figure extends Load {
  /** Of the proxy, microseconds for each request. */
  readonly userUs: number
  readonly systemUs: number
  readonly totalUs: number
}

async function measure(system: System, what: Case): Promise<Figure> {
  const proxy = start(0, system.argv)
  try {
    await ready(ports.http, system.name)
    await what.load(2)
    const before = cpuUs(proxy.pid!)
    const load = await what.load(seconds)
    const after = cpuUs(proxy.pid!)
    const userUs = (after.user - before.user) / load.done
    const systemUs = (after.system - before.system) / load.done
    return { ...load, userUs, systemUs, totalUs: userUs + systemUs }
  } finally {
    await stop(proxy)
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

const compared = systems(folder, features)
start(1, ['haproxy', '-db', '-f', backendConfiguration(folder)])
start(1, [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'proxy/echo.ts'), String(echoPort)])
await ready(backendPort, 'the server')
await ready(echoPort, 'the echo server')

const results: Record<string, unknown>[] = []
console.log(`CPU µs per request (user + system = total), median of ${runs} rounds of ${seconds} s each, ${features === 'all' ? 'all features on' : 'few features on'}\n`)
for (const what of cases.filter(({ name }) => only === undefined || only.includes(name))) {
  console.log(`${what.name}: ${what.text}`)
  const figures = new Map<string, Figure[]>(compared.map(({ name }) => [name, []]))
  for (let round = 0; round < runs; round++) {
    for (const system of compared) {
      if (system.name === 'nginx' && !what.nginx) continue
      figures.get(system.name)!.push(await measure(system, what))
    }
  }
  const ratios = figures.get('haechi')!.map((one, i) => one.totalUs / figures.get('haproxy')![i]!.totalUs)
  for (const [name, list] of figures) {
    if (list.length === 0) continue
    const of = (pick: (figure: Figure) => number): string => median(list.map(pick)).toFixed(1).padStart(6)
    const failed = list.reduce((sum, one) => sum + one.failed, 0)
    const rate = median(list.map((one) => one.perSecond)).toFixed(0).padStart(7)
    console.log(`  ${name.padEnd(8)} ${of((f) => f.userUs)} + ${of((f) => f.systemUs)} = ${of((f) => f.totalUs)}   ${rate} /s   p99 ${of((f) => f.p99Ms)} ms   failed ${failed}`)
  }
  const ratio = median(ratios)
  const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`
  console.log(`  Haechi ÷ HAProxy ${ratio.toFixed(2)} (${spread}), wanted ${what.limit}: ${ratio <= what.limit ? 'met' : 'NOT MET'}\n`)
  results.push({ case: what.name, ratio, ratios, limit: what.limit, figures: Object.fromEntries(figures) })
}
if (only === undefined || only.includes('latency')) {
  const added: number[] = []
  console.log('latency: 1,000 requests a second at even intervals')
  for (let round = 0; round < runs; round++) {
    const proxy = start(0, compared.find(({ name }) => name === 'haechi')!.argv)
    await ready(ports.http, 'haechi')
    await addedLatency(1)
    const { direct, through } = await addedLatency(seconds)
    added.push(through.p99Ms - direct.p99Ms)
    console.log(`  straight p50 ${direct.p50Ms.toFixed(2)} p99 ${direct.p99Ms.toFixed(2)} ms, through Haechi p50 ${through.p50Ms.toFixed(2)} p99 ${through.p99Ms.toFixed(2)} ms, failed ${direct.failed}, ${through.failed}`)
    await stop(proxy)
  }
  console.log(`  added at the 99th percentile ${median(added).toFixed(2)} ms, wanted 1: ${median(added) <= 1 ? 'met' : 'NOT MET'}\n`)
  results.push({ case: 'latency', addedP99Ms: added })
}
if (values.json !== undefined) {
  const machine = { cpu: cpus()[0]!.model, cores: cpus().length, kernel: release(), load: loadavg() }
  writeFileSync(values.json, `${JSON.stringify({ kind: 'haechi-bench-proxy', at: new Date().toISOString(), runs, seconds, features, machine, node: process.version, results }, null, 2)}\n`)
}
process.exit()

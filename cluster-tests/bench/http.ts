/**
 * CPU per request beside HAProxy: small bodies over kept connections. The proxy runs on core 0, load and backend on core 1; user
 * and system time of the proxy's process from /proc, divided by the requests answered. Both proxies do the same work: routes by
 * host and path, timeouts, health checks, forwarded-for, counters. They take turns, so that a noisy machine hits both.
 *
 * `npm run bench -- http [--json FILE] [--runs N] [--seconds S]`
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const root = join(import.meta.dirname, '..', '..')
const { values } = parseArgs({
  options: { json: { type: 'string' }, runs: { type: 'string', default: '5' }, seconds: { type: 'string', default: '6' }, connections: { type: 'string', default: '64' } },
})
const runs = Number(values.runs)
const seconds = Number(values.seconds)
const connections = Number(values.connections)
const backendPort = 21_080
const proxyPort = 21_081
const body = 'x'.repeat(96)

for (const [program, pack] of [['haproxy', 'haproxy'], ['wrk', 'wrk'], ['taskset', 'util-linux']] as const) {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) {
    console.error(`${program} is not installed; install Debian's package ${pack}`)
    process.exit(1)
  }
}
if (cpus().length < 2) {
  console.error('two cores are needed: one for the proxy, one for load and backend')
  process.exit(1)
}

const folder = mkdtempSync(join(tmpdir(), 'haechi-bench-'))
const started: ChildProcess[] = []
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
process.on('SIGINT', () => process.exit(130))
process.on('SIGTERM', () => process.exit(143))

const backendFile = join(folder, 'backend.cfg')
writeFileSync(
  backendFile,
  `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 60s
frontend backend
  bind 127.0.0.1:${backendPort}
  http-request return status 200 content-type text/plain string ${body}
`,
)
const haproxyFile = join(folder, 'haproxy.cfg')
writeFileSync(
  haproxyFile,
  `global
  nbthread 1
  maxconn 8000
defaults
  mode http
  option forwardfor
  option http-keep-alive
  http-reuse always
  retries 2
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 15s
  timeout http-keep-alive 60s
frontend web
  bind 127.0.0.1:${proxyPort}
  http-request set-header X-Forwarded-Proto http
  use_backend other if { hdr(host) -i other.example }
  use_backend other if { path_beg /other }
  use_backend other if { hdr_end(host) -i .other.example } { path_beg /deep }
  default_backend web
backend web
  balance roundrobin
  option httpchk GET /
  server a 127.0.0.1:${backendPort} check inter 2s pool-max-conn 128
  server b 127.0.0.1:${backendPort} check inter 2s pool-max-conn 128
backend other
  server a 127.0.0.1:${backendPort} check inter 2s
`,
)
const haechiFile = join(folder, 'haechi.yaml')
const member = (name: string): string => `      - {name: ${name}, address: 127.0.0.1, port: ${backendPort}}`
writeFileSync(
  haechiFile,
  `haechi: 1
pools:
  - name: web
    members:
${member('a')}
      - {name: b, address: 127.0.0.2, port: ${backendPort}}
    healthCheck: {type: http, path: /, interval: 2s}
  - name: other
    members:
${member('a')}
    healthCheck: {type: http, path: /, interval: 2s}
listeners:
  - name: web
    address: 127.0.0.1
    port: ${proxyPort}
    routes:
      - {name: by-host, hosts: [other.example], pool: other}
      - {name: by-path, paths: [/other], pool: other}
      - {name: by-both, hosts: ['*.other.example'], paths: [/deep], pool: other}
    pool: web
`,
)
// The two members of Haechi's pool are two addresses of the one backend: the same server twice in a pool is refused.
writeFileSync(backendFile, readFileSync(backendFile, 'utf8').replace(`bind 127.0.0.1:${backendPort}`, `bind 127.0.0.1:${backendPort}\n  bind 127.0.0.2:${backendPort}`))
writeFileSync(haproxyFile, readFileSync(haproxyFile, 'utf8').replace(`server b 127.0.0.1`, `server b 127.0.0.2`))

function start(core: number, argv: readonly string[]): ChildProcess {
  const child = spawn('taskset', ['-c', String(core), ...argv], { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, HAECHI_LOG: 'error' } })
  started.push(child)
  return child
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n'))
    socket.setTimeout(1000, () => socket.destroy())
    socket.on('data', (data) => resolve(data.toString().startsWith('HTTP/1.1 200')))
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}

async function ready(port: number, what: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if (await answers(port)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what} does not answer on port ${port}`)
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

/** User and system time of a process with all its threads, in microseconds. */
function cpuUs(pid: number): { user: number; system: number } {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const tickUs = 1e6 / 100
  return { user: Number(fields[11]) * tickUs, system: Number(fields[12]) * tickUs }
}

interface Load {
  readonly requests: number
  /** Answered with another status than 2xx or 3xx, refused, or broken off. */
  readonly failed: number
  /** Not answered within two seconds: what a machine that is busy with something else does to both proxies. */
  readonly late: number
  readonly perSecond: number
  readonly latency: string
}

function load(forSeconds: number): Promise<Load> {
  return new Promise((resolve, reject) => {
    const child = spawn('taskset', ['-c', '1', 'wrk', '-t1', `-c${connections}`, `-d${forSeconds}s`, '--latency', '-H', 'Host: bench.example', `http://127.0.0.1:${proxyPort}/some/path?and=query`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.on('close', () => {
      const requests = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0)
      const socket = (kind: string): number => Number(new RegExp(`Socket errors: .*${kind} (\\d+)`).exec(output)?.[1] ?? 0)
      if (requests === 0) return reject(new Error(`wrk answered nothing:\n${output}`))
      resolve({
        requests,
        failed: Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0) + socket('connect') + socket('read') + socket('write'),
        late: socket('timeout'),
        perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0),
        latency: /99%\s+(\S+)/.exec(output)?.[1] ?? '',
      })
    })
  })
}

interface Figure {
  readonly user: number
  readonly system: number
  readonly total: number
  readonly perSecond: number
  readonly p99: string
  readonly failed: number
  readonly late: number
}

async function measure(argv: readonly string[], what: string): Promise<Figure> {
  const proxy = start(0, argv)
  try {
    await ready(proxyPort, what)
    await load(2)
    const before = cpuUs(proxy.pid!)
    const done = await load(seconds)
    const after = cpuUs(proxy.pid!)
    const user = (after.user - before.user) / done.requests
    const system = (after.system - before.system) / done.requests
    return { user, system, total: user + system, perSecond: done.perSecond, p99: done.latency, failed: done.failed, late: done.late }
  } finally {
    await stop(proxy)
  }
}

const systems = {
  haproxy: ['haproxy', '-db', '-f', haproxyFile],
  haechi: [process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'node/cli/main.ts'), 'run', '--config', haechiFile, '--workers', '1'],
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]!
}

const backend = start(1, ['haproxy', '-db', '-f', backendFile])
await ready(backendPort, 'the backend')
const rounds: { haproxy: Figure; haechi: Figure; ratio: number }[] = []
console.log(`CPU µs per request, ${connections} kept connections, ${body.length}-byte body, ${seconds} s each\n`)
console.log('round  haproxy user+system = total    haechi user+system = total    × haproxy   requests/s (haproxy, haechi)')
for (let round = 1; round <= runs; round++) {
  const haproxy = await measure(systems.haproxy, 'HAProxy')
  const haechi = await measure(systems.haechi, 'Haechi')
  const ratio = haechi.total / haproxy.total
  rounds.push({ haproxy, haechi, ratio })
  const show = (f: Figure): string => `${f.user.toFixed(1).padStart(6)} + ${f.system.toFixed(1).padStart(5)} = ${f.total.toFixed(1).padStart(5)}`
  console.log(`${String(round).padStart(5)}  ${show(haproxy).padEnd(30)} ${show(haechi).padEnd(29)} ${ratio.toFixed(2).padStart(9)}   ${haproxy.perSecond.toFixed(0)}, ${haechi.perSecond.toFixed(0)}`)
}
await stop(backend)

const haproxyTotals = rounds.map((r) => r.haproxy.total)
const sumOf = (of: (round: (typeof rounds)[number]) => number): number => rounds.reduce((sum, round) => sum + of(round), 0)
const summary = {
  kind: 'haechi-bench-http',
  at: new Date().toISOString(),
  connections,
  seconds,
  bodyBytes: body.length,
  machine: { cpu: cpus()[0]!.model, cores: cpus().length, kernel: release(), load: loadavg() },
  versions: { node: process.version, haproxy: /version (\S+)/.exec(spawnSync('haproxy', ['-v']).stdout.toString())?.[1] ?? '' },
  rounds,
  median: { haproxy: median(rounds.map((r) => r.haproxy.total)), haechi: median(rounds.map((r) => r.haechi.total)), ratio: median(rounds.map((r) => r.ratio)) },
  failed: { haproxy: sumOf((r) => r.haproxy.failed), haechi: sumOf((r) => r.haechi.failed) },
  late: { haproxy: sumOf((r) => r.haproxy.late), haechi: sumOf((r) => r.haechi.late) },
  /** The same proxy at the same work: slowest round ÷ fastest. Far above 1, something else was using the machine. */
  spread: Math.max(...haproxyTotals) / Math.min(...haproxyTotals),
}
console.log(`\nmedian: HAProxy ${summary.median.haproxy.toFixed(1)} µs, Haechi ${summary.median.haechi.toFixed(1)} µs, ratio ${summary.median.ratio.toFixed(2)}`)
console.log(`failed requests (HAProxy, Haechi): ${summary.failed.haproxy}, ${summary.failed.haechi}; later than 2 s: ${summary.late.haproxy}, ${summary.late.haechi}`)
if (summary.spread > 1.3) console.log(`HAProxy's own rounds differ by a factor of ${summary.spread.toFixed(2)}: the machine was busy, and the figures are no better than that`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(summary, null, 2)}\n`)
if (!existsSync(folder)) process.exitCode = 1
process.exit()

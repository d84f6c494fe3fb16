/**
 * `npm run lab -- up | down | status | exec HOST CMD…`: a lab of real hosts (network namespaces) for people.
 *
 *   up      hosts, bridge, backends, and a cluster that serves; what is there already stays
 *   down    removes all of it, whatever state it is in
 *   status  hosts, processes, and what the cluster says of itself
 *   exec    runs a command on a host
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { parse } from 'yaml'
import type { ClusterOverview } from '../../node/api/types.ts'
import { createLab, labExists, openLab, type Lab } from './lab.ts'
import { inside } from './network.ts'
import { ports } from './plan.ts'

const usage = `Usage: npm run lab -- COMMAND [options]
  up [--network-only] [--seed-config FILE]   make the lab and start a cluster on it
  down                                       remove everything
  status                                     what there is and how it does
  exec HOST COMMAND…                         run a command on a host
Options: --name NAME (default lab; labs of different names do not collide)
`

const log = (line: string): void => void process.stderr.write(`${line}\n`)

async function up(lab: Lab, networkOnly: boolean, seedFile: string | undefined): Promise<void> {
  const document = seedFile === undefined ? undefined : (parse(readFileSync(seedFile, 'utf8')) as unknown)
  const made = await createLab({ name: lab.plan.name, log })
  if (networkOnly) return
  await made.startCluster(document === undefined ? {} : { document })
  const health = await made.waitHealthy()
  const name = lab.plan.name === 'lab' ? '' : ` --name ${lab.plan.name}`
  log(`the cluster serves: ${health.holder} holds ${lab.plan.vip}, revision ${health.revision}`)
  log(`try: npm run lab -- exec${name} client curl -s http://${lab.plan.vip}:${ports.listener}/`)
}

async function status(lab: Lab): Promise<number> {
  const out = (line: string): void => void process.stdout.write(`${line}\n`)
  if (!labExists(lab)) {
    out(`lab ${lab.plan.name}: not up`)
    return 3
  }
  const problems = await lab.check()
  out(`lab ${lab.plan.name} in ${lab.directory}${problems.length === 0 ? '' : ` — ${problems.length} problems`}`)
  for (const problem of problems) out(`  ! ${problem}`)
  for (const host of lab.hosts()) {
    const process = lab.processes.get(host.name)
    out(`  ${host.name.padEnd(9)} ${host.address.padEnd(12)} ${host.mac}  ${process === undefined ? '-' : `pid ${process.pid}`}`)
  }
  for (const node of lab.cluster.serving()) {
    if (node.heartPid() === undefined) continue
    try {
      const view = await node.get<ClusterOverview>('/status', { timeoutMs: 2000 })
      const holders = view.vips.map((vip) => `${vip.name} ${vip.address} held by ${vip.holder || 'nobody'}`).join(', ')
      out(`  ${node.name} says: revision ${view.revision}, term ${view.term}, leader ${view.leader || 'unknown'}; ${holders}`)
    } catch (error) {
      out(`  ${node.name} does not answer: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return problems.length === 0 ? 0 : 1
}

function exec(lab: Lab, hostName: string | undefined, command: readonly string[]): number {
  if (hostName === undefined || command.length === 0) throw new Error('exec HOST COMMAND…')
  if (!labExists(lab)) throw new Error(`lab ${lab.plan.name} is not up`)
  const [file, ...args] = inside(lab.host(hostName).namespace, command)
  const result = spawnSync(file!, args, { stdio: 'inherit', cwd: process.cwd() })
  return result.status ?? 1
}

/** Options stand before the host of `exec`; everything after the host belongs to the command. */
function splitArguments(argv: readonly string[]): { own: string[]; rest: string[] } {
  const at = argv.indexOf('exec')
  if (at < 0) return { own: [...argv], rest: [] }
  let end = at + 1
  while (end < argv.length && argv[end]!.startsWith('--')) end += argv[end] === '--' || argv[end]!.includes('=') ? 1 : 2
  return { own: argv.slice(0, end).filter((word) => word !== '--'), rest: argv.slice(end) }
}

async function main(): Promise<number> {
  const { own, rest } = splitArguments(process.argv.slice(2))
  const { values, positionals } = parseArgs({
    args: own,
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'lab' },
      'seed-config': { type: 'string' },
      'network-only': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  const [command] = positionals
  if (values.help || command === undefined || positionals.length > 1) {
    process.stderr.write(usage)
    return values.help ? 0 : 2
  }
  const lab = openLab({ name: values.name, log })
  switch (command) {
    case 'up':
      await up(lab, values['network-only'], values['seed-config'])
      return 0
    case 'down':
      await lab.destroy()
      return 0
    case 'status':
      return await status(lab)
    case 'exec':
      return exec(lab, rest[0], rest.slice(1))
    default:
      process.stderr.write(usage)
      return 2
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  log(error instanceof Error ? error.message : String(error))
  process.exitCode = 1
}

/**
 * Makes, checks and removes the network of a lab: one namespace per host, one for the bridge. The machine's own network
 * is not touched: bridge and cables live in those namespaces from their first moment on. Needs root.
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { bridgeScript, hostScript, namespaceOf, namespaces, sysctls, type HostPlan, type LabPlan } from './plan.ts'
import { signal } from './processes.ts'

export interface CommandResult {
  /** Exit status; 128 and more: ended by a signal. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Text for standard input. */
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
  /** The command is killed after so long. Default 30 s. */
  readonly timeoutMs?: number
}

/** Output kept of one command; what comes after is dropped. */
const maxOutputBytes = 8 * 1024 * 1024

/** Runs a command to its end. A failing command is a value; only one that cannot be started at all throws. */
export function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('empty command')
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      ...(options.env === undefined ? {} : { env: options.env }),
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let size = 0
    const keep = (list: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxOutputBytes) list.push(chunk)
    }
    child.stdout?.on('data', keep(out))
    child.stderr?.on('data', keep(err))
    const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 30_000)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code: code ?? 137, stdout: Buffer.concat(out).toString('utf8'), stderr: Buffer.concat(err).toString('utf8') })
    })
    child.stdin?.on('error', () => {})
    child.stdin?.end(options.input)
  })
}

/** Arguments that run `argv` inside a host's namespace. `ip netns exec` replaces itself, so the pid is the program's. */
export function inside(namespace: string, argv: readonly string[]): string[] {
  return ['ip', 'netns', 'exec', namespace, ...argv]
}

/** Only the system's own `ip` and `nft`: npm puts node_modules/.bin first in PATH, where an unrelated `nft` may live. */
const systemPath = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }

async function must(what: string, argv: readonly string[], input?: string): Promise<string> {
  const result = await runCommand(argv, { env: systemPath, ...(input === undefined ? {} : { input }) })
  if (result.code !== 0) throw new Error(`${what}: ${argv.slice(0, 6).join(' ')}: ${(result.stderr || result.stdout).trim()}`)
  return result.stdout
}

/** Names of the plan's namespaces that exist. */
export function existingNamespaces(plan: LabPlan): string[] {
  let names: Set<string>
  try {
    names = new Set(readdirSync('/run/netns'))
  } catch {
    return []
  }
  return namespaces(plan).filter((name) => names.has(name))
}

/** Makes everything from nothing. On failure the half-made network stays for `removeNetwork`. */
export async function makeNetwork(plan: LabPlan): Promise<void> {
  await must('namespaces', ['ip', '-batch', '-'], `${namespaces(plan).map((name) => `netns add ${name}`).join('\n')}\n`)
  await must('bridge', ['ip', '-n', plan.bridge, '-batch', '-'], bridgeScript(plan))
  for (const host of plan.hosts) {
    const namespace = namespaceOf(plan.name, host.name)
    const lines = sysctls(host).map(([path, value]) => `echo '${value}' > /proc/sys/net/${path}`)
    await must(`sysctls of ${host.name}`, inside(namespace, ['sh', '-e']), `${lines.join('\n')}\n`)
    await must(`addresses of ${host.name}`, ['ip', '-n', namespace, '-batch', '-'], hostScript(host))
  }
}

interface LinkInfo {
  readonly ifname?: string
  readonly address?: string
  readonly master?: string
  readonly flags?: readonly string[]
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[]
}

async function links(namespace: string): Promise<readonly LinkInfo[]> {
  const text = await must('links', ['ip', '-n', namespace, '-json', 'address', 'show'])
  return JSON.parse(text) as LinkInfo[]
}

/** What is not as planned, in words; empty when the whole network is as it should be. */
export async function checkNetwork(plan: LabPlan): Promise<string[]> {
  const problems: string[] = []
  const existing = new Set(existingNamespaces(plan))
  for (const name of namespaces(plan)) if (!existing.has(name)) problems.push(`namespace ${name} is missing`)
  if (problems.length > 0) return problems
  const ports = new Map((await links(plan.bridge)).map((link) => [link.ifname, link]))
  if (ports.get('br0') === undefined) problems.push('bridge br0 is missing')
  for (const host of plan.hosts) {
    const port = ports.get(host.name)
    if (port?.master !== 'br0') problems.push(`${host.name}: not plugged into the bridge`)
    else if (!port.flags?.includes('UP')) problems.push(`${host.name}: bridge port is down`)
    problems.push(...checkHost(host, await links(namespaceOf(plan.name, host.name))))
  }
  return problems
}

function checkHost(host: HostPlan, found: readonly LinkInfo[]): string[] {
  const link = found.find((link) => link.ifname === 'eth0')
  if (link === undefined) return [`${host.name}: no eth0`]
  const problems: string[] = []
  if (link.address !== host.mac) problems.push(`${host.name}: eth0 has MAC ${link.address}, not ${host.mac}`)
  if (!link.flags?.includes('UP')) problems.push(`${host.name}: eth0 is down`)
  const addresses = new Set(link.addr_info?.map((info) => info.local))
  for (const address of [host.address, host.address6]) {
    if (!addresses.has(address)) problems.push(`${host.name}: address ${address} is missing`)
  }
  return problems
}

/** Pids of everything that runs inside the plan's namespaces. Nothing gets in there but what the lab started. */
export async function namespacePids(plan: LabPlan): Promise<number[]> {
  const pids = new Set<number>()
  for (const name of existingNamespaces(plan)) {
    const result = await runCommand(['ip', 'netns', 'pids', name])
    for (const word of result.stdout.split('\n')) {
      const pid = Number(word)
      if (Number.isInteger(pid) && pid > 1 && pid !== process.pid) pids.add(pid)
    }
  }
  return [...pids]
}

/** Ends what still runs inside the namespaces, then removes them: cables and bridge go with them. */
export async function removeNetwork(plan: LabPlan): Promise<void> {
  for (let round = 0; round < 50; round++) {
    const pids = await namespacePids(plan)
    if (pids.length === 0) break
    for (const pid of pids) signal(pid, 'SIGKILL')
    await delay(20)
  }
  for (const name of existingNamespaces(plan)) {
    const result = await runCommand(['ip', 'netns', 'delete', name])
    if (result.code !== 0 && existingNamespaces(plan).includes(name)) {
      throw new Error(`namespace ${name} cannot be removed: ${result.stderr.trim()}`)
    }
  }
}

/** Cuts or restores the cable of a host at the bridge. The host sees its carrier go. */
export async function setCable(plan: LabPlan, host: string, up: boolean): Promise<void> {
  await must(`cable of ${host}`, ['ip', '-n', plan.bridge, 'link', 'set', host, up ? 'up' : 'down'])
}

/**
 * Drops every frame between `host` and each of `others` on the bridge, both ways, broadcasts included; all other hosts
 * still reach all of them. The carriers stay up: nobody is told. Replaces an earlier cut of the same host.
 */
export async function cutBetween(plan: LabPlan, host: string, others: readonly string[]): Promise<void> {
  const set = `{ ${others.map((name) => `"${name}"`).join(', ')} }`
  await must(`cut of ${host}`, inside(plan.bridge, ['nft', '-f', '-']), [
    `table bridge cut_${host}`,
    `delete table bridge cut_${host}`,
    `table bridge cut_${host} {`,
    '  chain forward {',
    '    type filter hook forward priority 0; policy accept;',
    `    iifname "${host}" oifname ${set} drop`,
    `    iifname ${set} oifname "${host}" drop`,
    '  }',
    '}',
    '',
  ].join('\n'))
}

/** Undoes `cutBetween` of that host; nothing happens when there was none. */
export async function healCut(plan: LabPlan, host: string): Promise<void> {
  const script = `table bridge cut_${host}\ndelete table bridge cut_${host}\n`
  await must(`heal of ${host}`, inside(plan.bridge, ['nft', '-f', '-']), script)
}

/** Frames from one host to another that the bridge loses. */
export interface LinkLoss {
  readonly from: string
  readonly to: string
  /** 1: all of them (a cut wire in that direction); else each frame for itself with this probability. */
  readonly probability: number
}

/** Lines of nftables for `loseBetween`. Pure. */
export function lossScript(table: string, losses: readonly LinkLoss[]): string {
  const rules = losses.map(({ from, to, probability }) => {
    const chance = probability >= 1 ? '' : `numgen random mod 10000 < ${Math.round(probability * 10_000)} `
    return `    iifname "${from}" oifname "${to}" ${chance}drop`
  })
  return [
    `table bridge ${table}`,
    `delete table bridge ${table}`,
    `table bridge ${table} {`,
    '  chain forward {',
    '    type filter hook forward priority 0; policy accept;',
    ...rules,
    '  }',
    '}',
    '',
  ].join('\n')
}

/** Loses frames between hosts, each direction for itself, until `healLosses` of the same table. Carriers stay up. */
export async function loseBetween(plan: LabPlan, table: string, losses: readonly LinkLoss[]): Promise<void> {
  await must(`losses of ${table}`, inside(plan.bridge, ['nft', '-f', '-']), lossScript(table, losses))
}

/** Undoes `loseBetween`; nothing happens when there was none. */
export async function healLosses(plan: LabPlan, table: string): Promise<void> {
  await must(`heal of ${table}`, inside(plan.bridge, ['nft', '-f', '-']), `table bridge ${table}\ndelete table bridge ${table}\n`)
}

/** A file system of its own for `directory`, in memory, of `bytes` at most: it can be filled without harm to others. */
export async function mountLimited(directory: string, bytes: number): Promise<void> {
  await must(`file system at ${directory}`, ['mount', '-t', 'tmpfs', '-o', `size=${bytes},mode=0700`, 'haechi-lab', directory])
}

/** Unmounts everything at or below `directory`. */
export async function unmountBelow(directory: string): Promise<void> {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '')
  for (const mount of mounts.filter((path) => path === directory || path.startsWith(`${directory}/`)).toReversed()) {
    await must(`unmount of ${mount}`, ['umount', '-l', mount])
  }
}

/** Puts the kernel of a host into the state after a boot: no packet filter, no address but its own, no neighbours. */
export async function resetHost(plan: LabPlan, host: HostPlan): Promise<void> {
  const namespace = namespaceOf(plan.name, host.name)
  await must(`packet filter of ${host.name}`, inside(namespace, ['nft', 'flush', 'ruleset']))
  await must(`addresses of ${host.name}`, ['ip', '-n', namespace, 'address', 'flush', 'dev', 'eth0'])
  await must(`neighbours of ${host.name}`, ['ip', '-n', namespace, 'neighbour', 'flush', 'dev', 'eth0'])
  await must(`addresses of ${host.name}`, ['ip', '-n', namespace, '-batch', '-'], hostScript(host))
}

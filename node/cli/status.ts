/** `haechi status`, `haechi vip`, `haechi audit`: what the cluster does. */
import type { Command } from 'commander'
import type { AuditView, ClusterOverview, NodeView, VipView } from '../api/types.ts'
import type { CommandContext } from './program.ts'
import {
  bytes,
  type Colour,
  duration,
  exit,
  Failure,
  localTime,
  paint,
  printable,
  rate,
  table,
  type Terminal,
} from './terminal.ts'

export function addStatusCommands(program: Command, context: CommandContext): void {
  const { terminal } = context

  program
    .command('status')
    .description('nodes, VIPs, listeners and pools of the cluster')
    .action(async (_options: unknown, command: Command) => {
      const overview = await (await context.connect(command)).call<ClusterOverview>('GET', '/status')
      context.print(command, overview, () => statusText(terminal, overview))
    })

  const vip = program.command('vip').description('virtual IP addresses')
  vip
    .command('list', { isDefault: true })
    .description('VIPs and who holds them')
    .action((_options: unknown, command: Command) => listVips(command, context))
  vip
    .command('hand-over')
    .description('planned switchover: another node takes the VIPs')
    .option('--to <node>', 'the node that takes them (default: the best other one)', '')
    .action(async ({ to }: { to: string }, command: Command) => {
      const api = await context.connect(command)
      const before = await api.call<ClusterOverview>('GET', '/status')
      const started = performance.now()
      await api.call('POST', '/hand-over', { body: to === '' ? {} : { to } })
      const after = await settled(before, () => api.call<ClusterOverview>('GET', '/status'))
      const elapsedMs = Math.round(performance.now() - started)
      context.print(command, { leader: after.leader, vips: after.vips, elapsedMs }, () => {
        const holders = after.vips.map((item) => `${item.name}: ${item.holder || 'nobody'}`).join(', ')
        return `Handed over in ${elapsedMs} ms. ${after.leader} leads; ${holders || 'there are no VIPs'}.\n`
      })
    })

  program
    .command('audit')
    .description('who did what, newest first')
    .option('-n, --limit <count>', 'entries to show', parseCount, 30)
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const entries = await (await context.connect(command)).call<AuditView[]>('GET', `/audit?limit=${limit}`)
      context.print(command, entries, () =>
        table(
          terminal,
          ['WHEN', 'WHO', 'FROM', 'NODE', 'ACTION', 'DETAIL'],
          entries.map((entry) => [
            localTime(entry.atEpochMs),
            entry.actor.name,
            entry.actor.from,
            entry.actor.node,
            entry.action,
            printable(entry.detail.replaceAll('\n', '; ')),
          ]),
        ),
      )
    })
}

/** A whole number from 1 to 200, as the API takes it. */
export function parseCount(text: string): number {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > 200)
    throw new Failure(`${text} is not a number from 1 to 200`, exit.usage)
  return count
}

async function listVips(command: Command, context: CommandContext): Promise<void> {
  const { vips } = await (await context.connect(command)).call<ClusterOverview>('GET', '/status')
  context.print(command, vips, () =>
    vips.length === 0 ? 'There are no VIPs.\n' : vipTable(context.terminal, vips, Date.now()),
  )
}

/** Waits up to 3 s until another node leads and every VIP that had a holder has another one. */
async function settled(before: ClusterOverview, read: () => Promise<ClusterOverview>): Promise<ClusterOverview> {
  const deadline = performance.now() + 3000
  for (;;) {
    const now = await read()
    const moved = before.vips.every((old) => {
      const vip = now.vips.find((candidate) => candidate.name === old.name)
      return vip === undefined || old.holder === '' || (vip.holder !== '' && vip.holder !== old.holder)
    })
    if ((moved && now.leader !== '' && now.leader !== before.leader) || performance.now() > deadline) return now
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function statusText(terminal: Terminal, overview: ClusterOverview): string {
  const { traffic } = overview
  const newest = traffic.at(-1)
  const quorum = overview.quorum
    ? paint(terminal, 'green', 'quorum')
    : paint(terminal, 'red', 'NO QUORUM: changes are refused, and what is shown may be old')
  const lines = [
    `${paint(terminal, 'bold', 'Cluster')} ${overview.clusterId.slice(0, 8)}  revision ${overview.revision}  leader ${overview.leader || 'none'}  term ${overview.term}  ${quorum}`,
  ]
  if (newest !== undefined) {
    lines.push(
      `${rate(newest.requestsPerSecond)} requests/s, ${rate(newest.errorsPerSecond)} errors/s, ${bytes(newest.bytesInPerSecond)}/s in, ` +
        `${bytes(newest.bytesOutPerSecond)}/s out, ${newest.connections} connections`,
    )
  }
  let text = `${lines.join('\n')}\n\n${nodeTable(terminal, overview)}`
  if (overview.vips.length > 0) text += `\n${vipTable(terminal, overview.vips, overview.atEpochMs)}`
  if (overview.listeners.length > 0) {
    text += `\n${table(
      terminal,
      ['LISTENER', 'ADDRESS', 'PROTOCOL', '>CONNECTIONS', '>REQUESTS/S', '>ERRORS/S', 'STATE'],
      overview.listeners.map((listener) => [
        listener.name,
        hostPort(listener.address, listener.port) + (listener.portEnd === undefined ? '' : `-${listener.portEnd}`),
        listener.protocol,
        String(listener.connections),
        rate(listener.requestsPerSecond),
        rate(listener.errorsPerSecond),
        listener.problems.length === 0
          ? paint(terminal, 'green', 'ok')
          : paint(terminal, 'red', printable(listener.problems.join('; '))),
      ]),
    )}`
  }
  const members = overview.pools.flatMap((pool) =>
    pool.members.map((member) => [
      pool.name,
      member.name,
      hostPort(member.address, member.port),
      paint(terminal, healthColours[member.health] ?? 'dim', member.health),
      String(member.active),
      rate(member.requestsPerSecond),
      rate(member.errorsPerSecond),
      printable(member.lastProbe),
    ]),
  )
  if (members.length > 0) {
    text += `\n${table(terminal, ['POOL', 'MEMBER', 'ADDRESS', 'HEALTH', '>ACTIVE', '>REQUESTS/S', '>ERRORS/S', 'LAST PROBE'], members)}`
  }
  return text
}

const healthColours: Readonly<Record<string, Colour>> = {
  up: 'green',
  down: 'red',
  ejected: 'red',
  draining: 'yellow',
  checking: 'yellow',
}

function hostPort(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/** Also used by `haechi node list`. */
export function nodeTable(
  terminal: Terminal,
  overview: { readonly nodes: readonly NodeView[]; readonly atEpochMs: number; readonly revision: number },
): string {
  return table(
    terminal,
    ['NODE', 'ROLE', 'ADDRESS', 'API', 'STATE', 'REVISION', 'UP', 'PID'],
    overview.nodes.map((node) => {
      const { report } = node
      return [
        node.self ? `${node.id} *` : node.id,
        `${node.voter ? node.role : `${node.role}, joining`}${node.leader ? ', leader' : ''}`,
        node.address,
        node.apiAddress || '-',
        nodeState(terminal, node),
        report === null ? '-' : String(report.revisionInForce),
        report === null ? '-' : duration(overview.atEpochMs - report.startedEpochMs),
        report?.heartPid === undefined ? '-' : String(report.heartPid),
      ]
    }),
  )
}

function nodeState(terminal: Terminal, node: NodeView): string {
  if (!node.reachable) {
    const ago = node.lastHeardAgoMs === null ? '' : ` for ${duration(node.lastHeardAgoMs)}`
    return paint(terminal, 'red', `unreachable${ago}`)
  }
  if (node.report !== null && node.report.degraded !== '')
    return paint(terminal, 'yellow', printable(`degraded: ${node.report.degraded}`))
  return paint(terminal, 'green', 'ok')
}

function vipTable(terminal: Terminal, vips: readonly VipView[], nowEpochMs: number): string {
  return table(
    terminal,
    ['VIP', 'ADDRESS', 'MODE', 'HOLDER', 'SINCE', 'ERROR'],
    vips.map((vip) => [
      vip.name,
      vip.address,
      vip.mode,
      vip.holder === '' ? paint(terminal, 'red', 'nobody') : paint(terminal, 'green', vip.holder),
      vip.holder === '' ? '-' : duration(nowEpochMs - vip.sinceEpochMs),
      paint(terminal, 'red', printable(vip.error)),
    ]),
  )
}

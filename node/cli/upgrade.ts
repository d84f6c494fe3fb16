/** `haechi upgrade`: which versions the members run, and the end of an upgrade. */
import type { Command } from 'commander'
import type { UpgradeNode, UpgradeView } from '../api/types.ts'
import type { CommandContext } from './program.ts'
import { exit, Failure, paint, printable, table, type Terminal } from './terminal.ts'

export function addUpgradeCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const upgrade = program.command('upgrade').description('versions of the members; finishing an upgrade')

  upgrade
    .command('status', { isDefault: true })
    .description('which versions the members run, and whether the upgrade can be finished')
    .action(async (_options: unknown, command: Command) => {
      const view = await (await context.connect(command)).call<UpgradeView>('GET', '/upgrade')
      context.print(command, view, () => statusText(terminal, view))
    })

  upgrade
    .command('finish')
    .description('let the cluster use what the new version brings; then there is no way back to the old one')
    .option('-y, --yes', 'do not ask')
    .action(async ({ yes }: { yes?: boolean }, command: Command) => {
      const api = await context.connect(command)
      const before = await api.call<UpgradeView>('GET', '/upgrade')
      if (before.state === 'ready' && yes !== true) {
        if (!terminal.interactive)
          throw new Failure('nobody can be asked here; nothing was changed', exit.usage, 'Add --yes.')
        const question = `Raise the level of commands from ${before.level} to ${before.target}? No member can go back to the old version afterwards.`
        if (!(await terminal.askConfirm(question))) throw new Failure('nothing was changed')
      }
      // The node looks again, and is the one to refuse.
      const view = await api.call<UpgradeView>('POST', '/upgrade/finish')
      context.print(command, view, () =>
        view.level === before.level
          ? `There is nothing to finish: the level of commands is ${view.level}, the highest that any member understands.\n`
          : `The upgrade is finished: the level of commands is ${view.level} now.\n`,
      )
    })
}

function statusText(terminal: Terminal, view: UpgradeView): string {
  const rows = view.nodes.map((node) => [
    node.id,
    node.role,
    printable(node.version) || '-',
    node.commandLevel === null ? '-' : String(node.commandLevel),
    spoken(node),
    connection(terminal, node),
  ])
  return `${summary(terminal, view)}\n\n${table(terminal, ['NODE', 'ROLE', 'VERSION', '>LEVEL', 'PROTOCOLS', 'STATE'], rows)}`
}

function summary(terminal: Terminal, view: UpgradeView): string {
  const level = `Commands are of level ${view.level}.`
  switch (view.state) {
    case 'current':
      return `${level} ${paint(terminal, 'green', 'There is nothing to finish.')}`
    case 'ready':
      return `${level} ${paint(terminal, 'green', `All members understand level ${view.target}`)}: finish with haechi upgrade finish, or go back as long as you have not.`
    case 'blocked':
      return [
        `${level} ${paint(terminal, 'yellow', `Level ${view.target} has to wait`)}; each node can still go back to the version before.`,
        ...view.blockers.map((line) => `  ${printable(line)}`),
      ].join('\n')
  }
}

function spoken({ protocols }: UpgradeNode): string {
  if (protocols === null) return '-'
  return protocols.min === protocols.max ? String(protocols.max) : `${protocols.min}-${protocols.max}`
}

function connection(terminal: Terminal, { connected, protocol, protocols }: UpgradeNode): string {
  if (connected) return paint(terminal, 'green', protocol === null ? 'this node' : `connected, protocol ${protocol}`)
  return paint(terminal, 'red', protocols === null ? 'not connected' : 'not connected; as it was last')
}

/** `haechi node …`: who is in the cluster. */
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { JoinOptions } from '../../consensus/identity.ts'
import type { ClusterOverview, JoinToken } from '../api/types.ts'
import { commandLevel } from '../state/level.ts'
import { checkDirectory, checkIdentity } from './init.ts'
import type { CommandContext, GlobalOptions } from './program.ts'
import { nodeTable } from './status.ts'
import { exit, Failure, localTime } from './terminal.ts'

interface JoinCommandOptions {
  readonly name: string
  readonly address: string
  readonly api: string
  readonly role: 'node' | 'witness'
}

export function addNodeCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const node = program.command('node').description('the nodes of the cluster')

  node
    .command('list')
    .description('all nodes and how they are')
    .action(async (_options: unknown, command: Command) => {
      const overview = await (await context.connect(command)).call<ClusterOverview>('GET', '/status')
      context.print(command, overview.nodes, () => nodeTable(terminal, overview))
    })

  node
    .command('token')
    .description('make a one-time token with which a machine joins')
    .addOption(new Option('--role <role>', 'what it will be').choices(['node', 'witness']).default('node'))
    .option('--ttl <minutes>', 'minutes until the token ends', parseMinutes, 60)
    .action(async ({ role, ttl }: { role: 'node' | 'witness'; ttl: number }, command: Command) => {
      const made = await (
        await context.connect(command)
      ).call<JoinToken>('POST', '/nodes/tokens', { body: { role, ttlMinutes: ttl } })
      // The token alone on standard output, so that a script can take it.
      if (command.optsWithGlobals().json !== true) {
        const api = role === 'node' ? ' --api HOST:PORT' : ''
        terminal.err(
          `Once, until ${localTime(made.expiresEpochMs)}, on the new machine:\n  haechi node join TOKEN --dir DIRECTORY --name NAME --address HOST:PORT${api} --role ${role}\n`,
        )
      }
      context.print(command, made, () => `${made.token}\n`)
    })

  node
    .command('join')
    .description('make this machine a node of a cluster; then start it with haechi start')
    .argument('<token>', 'from haechi node token; - for standard input')
    .requiredOption('--name <name>', 'name of this node, unique in the cluster')
    .requiredOption('--address <host:port>', 'address for the other nodes (TCP and UDP)')
    .option('--api <host:port>', 'address of the API and console (not for a witness)', '')
    .addOption(new Option('--role <role>', 'as in the token').choices(['node', 'witness']).default('node'))
    .action(async (token: string, options: JoinCommandOptions, command: Command) => {
      const { dir } = command.optsWithGlobals<GlobalOptions>()
      const directory = resolve(terminal.cwd, checkDirectory(dir))
      const fault = checkIdentity({
        id: options.name,
        role: options.role,
        address: options.address,
        apiAddress: options.api,
      })
      if (fault !== undefined) throw new Failure(fault, exit.usage)
      const text = token === '-' ? (await terminal.readInput()).trim() : token
      await joined({
        directory,
        token: text,
        id: options.name,
        role: options.role,
        address: options.address,
        apiAddress: options.api,
        commandLevel,
      })
      context.print(
        command,
        { id: options.name, directory },
        () => `${options.name} belongs to the cluster. Start it with: haechi start --dir ${directory}\n`,
      )
    })

  node
    .command('remove')
    .description('remove a node from the cluster, for good')
    .argument('<name>')
    .option('-y, --yes', 'do not ask')
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const api = await context.connect(command)
      if (options.yes !== true) {
        if (!terminal.interactive)
          throw new Failure('nobody can be asked here; nothing was removed', exit.usage, 'Add --yes.')
        if (!(await terminal.askConfirm(`Remove ${name} from the cluster? It can only come back as a new node.`)))
          throw new Failure('nothing was removed')
      }
      await api.call('DELETE', `/nodes/${encodeURIComponent(name)}`)
      context.print(
        command,
        { removed: name },
        () => `${name} is removed. Stop it, and delete its data directory before it joins again.\n`,
      )
    })
}

async function joined(options: JoinOptions): Promise<void> {
  // Loaded when needed: the database and the certificates are large, and most commands are only requests.
  const { joinCluster } = await import('../../consensus/identity.ts')
  try {
    await joinCluster(options)
  } catch (error) {
    throw new Failure(
      `${options.id}: ${(error as Error).message}`,
      exit.error,
      'A token works once and for its time: make another with haechi node token.',
    )
  }
}

function parseMinutes(text: string): number {
  const minutes = Number(text)
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > 1440)
    throw new InvalidArgumentError('It is a number of minutes from 1 to 1440.')
  return minutes
}

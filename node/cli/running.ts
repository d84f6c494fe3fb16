/** `haechi init`, `start`, `witness` and `run`: what makes and runs a node on this machine. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { checkDirectory, checkIdentity, firstUser, initNode } from './init.ts'
import type { CommandContext, GlobalOptions } from './program.ts'
import { exit, Failure, paint } from './terminal.ts'

interface StartOptions {
  readonly listen?: string
  readonly api?: string
  readonly workers?: number
  readonly stopOnStdinEnd?: boolean
}

export function addRunCommands(program: Command, context: CommandContext): void {
  const { terminal } = context

  program
    .command('init')
    .description('make a new cluster with this machine as its first node')
    .requiredOption('--name <name>', 'name of this node')
    .requiredOption('--address <host:port>', 'address for the other nodes (TCP and UDP)')
    .requiredOption('--api <host:port>', 'address of the API and console')
    .action(async (options: { name: string; address: string; api: string }, command: Command) => {
      const directory = resolve(terminal.cwd, checkDirectory(command.optsWithGlobals<GlobalOptions>().dir))
      const fault = checkIdentity({ id: options.name, role: 'node', address: options.address, apiAddress: options.api })
      if (fault !== undefined) throw new Failure(fault, exit.usage)
      if (isNode(directory))
        throw new Failure(
          `${directory} holds a node already`,
          exit.error,
          'Choose another directory, or start it: haechi start --dir …',
        )
      const { password } = await initNode({
        directory,
        id: options.name,
        address: options.address,
        apiAddress: options.api,
      })
      context.print(command, { directory, user: firstUser, password }, () =>
        [
          `The cluster is made in ${directory}.`,
          '',
          `  Sign in as  ${paint(terminal, 'bold', firstUser)}`,
          `  Password    ${paint(terminal, 'bold', password)}   shown only now; you choose your own at the first sign-in`,
          '',
          `Start it with: haechi start --dir ${directory}`,
          '',
        ].join('\n'),
      )
    })

  const start = (command: Command, options: StartOptions) => startNode(command, options, terminal.cwd)
  program
    .command('start')
    .description('run the node (or witness) of a data directory until it is stopped')
    .option('--listen <host:port>', 'listen for the other nodes here (default: as initialised)')
    .option('--api <host:port>', 'serve API and console here (default: as initialised)')
    .option('--workers <count>', 'proxy worker threads (default: one per core)', parseWorkers)
    .option('--stop-on-stdin-end', 'stop when standard input ends, so that no node outlives its starter')
    .action((options: StartOptions, command: Command) => start(command, options))
  program
    .command('witness')
    .description('run the witness of a data directory: it votes, and never serves')
    .option('--listen <host:port>', 'listen for the other nodes here (default: as joined)')
    .option('--stop-on-stdin-end', 'stop when standard input ends, so that no node outlives its starter')
    .action((options: StartOptions, command: Command) => start(command, options))

  program
    .command('run')
    .description('run one standalone proxy from a file, without a cluster')
    .requiredOption('--config <file>', 'YAML or JSON')
    .option('--workers <count>', 'proxy worker threads (default: one per core)', parseWorkers)
    .option('--access-log <file>', 'file of the access log (default: access.log)')
    .option('--certificates <directory>', 'certificates and keys: NAME.pem, NAME.ca.pem, NAME.ocsp, ticket.key')
    .option('--checks <directory>', 'programs that health checks of type script may run')
    .option('--secret <file>', 'secret of persistence (16 bytes or more), so that cookies outlive a restart (default: a new one each time)')
    .action(async (options: { config: string; workers?: number; checks?: string; secret?: string; certificates?: string; accessLog?: string }) => {
      const { runStandalone } = await import('./run.ts')
      await runStandalone({
        file: resolve(terminal.cwd, options.config),
        accessLogPath: resolve(terminal.cwd, options.accessLog ?? 'access.log'),
        ...(options.workers === undefined ? {} : { workers: options.workers }),
        ...(options.secret === undefined ? {} : { secretFile: resolve(terminal.cwd, options.secret) }),
        ...(options.certificates === undefined ? {} : { certificates: resolve(terminal.cwd, options.certificates) }),
        ...(options.checks === undefined ? {} : { checksDirectory: resolve(terminal.cwd, options.checks) }),
      })
    })
}

/** This process becomes the heart. */
async function startNode(command: Command, options: StartOptions, cwd: string): Promise<void> {
  const directory = resolve(
    cwd,
    checkDirectory(command.optsWithGlobals<GlobalOptions>().dir ?? process.env['HAECHI_DIR']),
  )
  if (!isNode(directory)) {
    throw new Failure(
      `${directory} does not hold a node`,
      exit.error,
      'Make a new cluster with haechi init, or join one with haechi node join.',
    )
  }
  const { becomeHeart } = await import('../heart-process.ts')
  becomeHeart({ directory, ...options })
}

function isNode(directory: string): boolean {
  return existsSync(join(directory, 'identity.json'))
}

function parseWorkers(text: string): number {
  const workers = Number(text)
  if (!Number.isInteger(workers) || workers < 1 || workers > 256)
    throw new InvalidArgumentError('It is a number from 1 to 256.')
  return workers
}

/** The `haechi` command: what there is, and how failures end. Each command lives in the file of its topic. */
import { Command, CommanderError, Option } from 'commander'
import { version } from '../version.ts'
import { addCertificateCommands } from './certificates.ts'
import { addConfigCommands } from './config.ts'
import { connection, type Connection, type ConnectionOptions } from './connection.ts'
import { addImportCommand } from './import-command.ts'
import { addLoginCommands } from './login.ts'
import { addNodeCommands } from './nodes.ts'
import { addRecoverCommand } from './recover.ts'
import { addRouteCommands } from './routes.ts'
import { addRunCommands } from './running.ts'
import { addSessionCommands } from './sessions.ts'
import { addStatusCommands } from './status.ts'
import { exit, Failure, paint, type Terminal } from './terminal.ts'
import { addUpgradeCommands } from './upgrade.ts'
import { addUserCommands } from './users.ts'

/** Options that every command takes. */
export interface GlobalOptions extends ConnectionOptions {
  readonly json?: boolean
}

/** What a topic needs to add its commands. */
export interface CommandContext {
  readonly terminal: Terminal
  /** The node that the command is for. */
  connect(command: Command): Promise<Connection>
  /** Prints `value` as JSON with --json, else what `text` makes of it. */
  print<T>(command: Command, value: T, text: (value: T) => string): void
}

/** Runs one command line (without `node` and the script) and returns its exit code. Never throws for what a user can
 *  cause. */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const program = makeProgram(terminal)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return exit.ok
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.ok : exit.usage
    if (error instanceof Failure) {
      if (error.message !== '') terminal.err(`${paint(terminal, 'red', 'error:')} ${error.message}\n`)
      if (error.hint !== '') terminal.err(`${error.hint}\n`)
      return error.exitCode
    }
    throw error
  }
}

export function makeProgram(terminal: Terminal): Command {
  const program = new Command('haechi')
  program
    .description('A high-availability cluster of load balancers.')
    .version(version, '-V, --version')
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: (text, write) => write(text),
      getOutHasColors: () => terminal.colour,
      getErrHasColors: () => terminal.colour,
    })
    .addOption(
      new Option(
        '--server <url>',
        'node to talk to, such as https://192.0.2.1:8443 (HAECHI_SERVER; token: HAECHI_TOKEN)',
      ),
    )
    .addOption(new Option('--ca <file>', 'PEM certificate of the CA to trust'))
    .addOption(new Option('--dir <directory>', 'data directory of a node on this machine (HAECHI_DIR)'))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nWithout --server or --dir: the server of the last login, else the node that runs on this machine.' +
        '\nExit codes: 0 done, 1 error, 2 wrong usage, 3 somebody else has changed the configuration, 4 different (diff --exit-code).',
    )
  const context: CommandContext = {
    terminal,
    connect: (command) => connection(command.optsWithGlobals<GlobalOptions>(), terminal),
    print: (command, value, text) => {
      terminal.out(
        command.optsWithGlobals<GlobalOptions>().json === true ? `${JSON.stringify(value, null, 2)}\n` : text(value),
      )
    },
  }
  addStatusCommands(program, context)
  addConfigCommands(program, context)
  addImportCommand(program, context)
  addRouteCommands(program, context)
  addCertificateCommands(program, context)
  addNodeCommands(program, context)
  addUpgradeCommands(program, context)
  addSessionCommands(program, context)
  addUserCommands(program, context)
  addLoginCommands(program, context)
  addRunCommands(program, context)
  addRecoverCommand(program, context)
  return program
}

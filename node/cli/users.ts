/** `haechi user …`: who may sign in. */
import { type Command, Option } from 'commander'
import { generatePassword, passwordProblem } from '../api/password.ts'
import type { SessionInfo, UserRole, UserView } from '../api/types.ts'
import type { Connection } from './connection.ts'
import { askNew, changeOwnPassword } from './login.ts'
import type { CommandContext } from './program.ts'
import { exit, Failure, table, type Terminal } from './terminal.ts'

const roles: readonly UserRole[] = ['viewer', 'operator', 'administrator']

interface PasswordOptions {
  readonly passwordStdin?: boolean
}

export function addUserCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const user = program.command('user').description('users of API and console')

  user
    .command('list')
    .description('all users')
    .action(async (_options: unknown, command: Command) => {
      const users = await (await context.connect(command)).call<UserView[]>('GET', '/users')
      context.print(command, users, () =>
        table(
          terminal,
          ['USER', 'ROLE', ''],
          users.map((item) => [item.name, item.role, item.mustChangePassword ? 'has to change the password' : '']),
        ),
      )
    })

  user
    .command('add')
    .description('add a user with a password that has to be changed at the first sign-in')
    .argument('<name>')
    .addOption(new Option('--role <role>', 'what the user may do').choices(roles).default('viewer'))
    .option('--password-stdin', 'read the password from standard input (default: generate one)')
    .action(async (name: string, options: PasswordOptions & { role: UserRole }, command: Command) => {
      const api = await context.connect(command)
      if ((await api.call<UserView[]>('GET', '/users')).some((known) => known.name === name)) {
        throw new Failure(
          `there is a user ${name} already`,
          exit.error,
          'Change the password with haechi user passwd, the role with haechi user role.',
        )
      }
      const password = await givenOrGenerated(name, options, terminal)
      const added = await put(api, name, { role: options.role, password })
      context.print(command, { ...added, ...(options.passwordStdin === true ? {} : { password }) }, () =>
        options.passwordStdin === true ? `${name} is added.\n` : `${name} is added. First password: ${password}\n`,
      )
    })

  user
    .command('role')
    .description('change what a user may do')
    .argument('<name>')
    .argument('<role>', roles.join(', '))
    .action(async (name: string, role: string, _options: unknown, command: Command) => {
      if (!roles.includes(role as UserRole)) throw new Failure(`${role} is not a role: ${roles.join(', ')}`, exit.usage)
      const api = await context.connect(command)
      await existing(api, name)
      const changed = await put(api, name, { role })
      context.print(command, changed, () => `${name} is ${role} now.\n`)
    })

  user
    .command('passwd')
    .description('change your own password, or give another user a new first one')
    .argument('[name]', 'default: yourself')
    .option(
      '--password-stdin',
      'read from standard input: your current and your new password on two lines, or the one for another user',
    )
    .action(async (name: string | undefined, options: PasswordOptions, command: Command) => {
      const api = await context.connect(command)
      const own = (await api.call<SessionInfo>('GET', '/session')).user.name
      if (name === undefined || name === own) {
        if (own === 'local')
          throw new Failure(
            'the local administrator has no password',
            exit.usage,
            'Name a user: haechi user passwd NAME',
          )
        const [current = '', next = ''] =
          options.passwordStdin === true ? (await terminal.readInput()).split('\n') : await askBoth(terminal)
        await changeOwnPassword(api, current.replace(/\r$/, ''), next.replace(/\r$/, ''), terminal)
        context.print(
          command,
          { user: own, changed: true },
          () => 'The password is changed. All other sessions have ended.\n',
        )
        return
      }
      await existing(api, name)
      const password = await givenOrGenerated(name, options, terminal)
      await put(api, name, { password })
      context.print(command, { user: name, ...(options.passwordStdin === true ? {} : { password }) }, () =>
        options.passwordStdin === true
          ? `${name} has a new first password.\n`
          : `${name} has a new first password: ${password}\n`,
      )
    })

  user
    .command('remove')
    .description('remove a user and end all its sessions')
    .argument('<name>')
    .action(async (name: string, _options: unknown, command: Command) => {
      await (await context.connect(command)).call('DELETE', `/users/${encodeURIComponent(name)}`)
      context.print(command, { removed: name }, () => `${name} is removed.\n`)
    })
}

function put(api: Connection, name: string, body: object): Promise<UserView> {
  return api.call<UserView>('PUT', `/users/${encodeURIComponent(name)}`, { body })
}

async function existing(api: Connection, name: string): Promise<void> {
  const users = await api.call<UserView[]>('GET', '/users')
  if (!users.some((user) => user.name === name))
    throw new Failure(`there is no user ${name}`, exit.error, 'See haechi user list; add one with haechi user add.')
}

async function givenOrGenerated(name: string, options: PasswordOptions, terminal: Terminal): Promise<string> {
  if (options.passwordStdin !== true) return generatePassword()
  const password = (await terminal.readInput()).replace(/\r?\n$/, '')
  const fault = passwordProblem(password, name)
  if (fault !== undefined) throw new Failure(`the password ${fault}`)
  return password
}

async function askBoth(terminal: Terminal): Promise<[string, string]> {
  if (!terminal.interactive)
    throw new Failure('nobody can be asked here', exit.usage, 'Give the passwords with --password-stdin.')
  const current = await terminal.askPassword('Current password')
  if (current === undefined) throw new Failure('nothing was changed')
  return [current, await askNew(terminal)]
}

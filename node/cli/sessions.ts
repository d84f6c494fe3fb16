/** `haechi sessions …`: which clients persistence keeps on which members. */
import { type Command, InvalidArgumentError } from 'commander'
import type { SessionEntriesView, SessionEntryView, SessionPurgeView } from '../api/types.ts'
import type { CommandContext } from './program.ts'
import { exit, Failure, table } from './terminal.ts'

interface FilterOptions {
  readonly pool?: string
  readonly member?: string
  readonly client?: string
  readonly key?: string
  readonly valueStdin?: boolean
}

/** Most entries that one request brings. */
const pageSize = 1000

export function addSessionCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const sessions = program.command('sessions').description('the session table: clients that persistence keeps on members')

  /** Of the options, as a query. A value comes from standard input: it is a secret of a client. */
  const queryOf = async ({ pool, member, client, key, valueStdin }: FilterOptions): Promise<URLSearchParams> => {
    if (pool === undefined && (member !== undefined || valueStdin === true)) throw new Failure('--member and --value-stdin need --pool', exit.usage)
    const query = new URLSearchParams()
    if (pool !== undefined) query.set('pool', pool)
    if (member !== undefined) query.set('member', member)
    if (client !== undefined) query.set('client', client)
    if (key !== undefined) query.set('key', key)
    if (valueStdin === true) query.set('value', (await terminal.readInput()).replace(/\r?\n$/, ''))
    return query
  }

  filtered(sessions.command('list').description('entries of the table'))
    .option('--limit <count>', 'entries to show', parseCount, 100)
    .action(async (options: FilterOptions & { limit: number }, command: Command) => {
      const api = await context.connect(command)
      const query = await queryOf(options)
      const entries: SessionEntryView[] = []
      let page: SessionEntriesView
      do {
        query.set('limit', String(Math.min(pageSize, options.limit - entries.length)))
        page = await api.call<SessionEntriesView>('GET', `/sessions?${query.toString()}`)
        entries.push(...page.entries)
        if (page.next !== null) query.set('after', String(page.next))
      } while (page.next !== null && entries.length < options.limit)
      const { total, next } = page
      context.print(command, { entries, more: next !== null, total }, () =>
        [
          table(
            terminal,
            ['POOL', 'TYPE', 'CLIENT', 'MEMBER', 'REMAINING'],
            entries.map(({ pool, type, client, member, remainingMs }) => [pool, type, client, member, remainingMs === null ? '' : `${Math.round(remainingMs / 1000)} s`]),
          ),
          `${entries.length} shown${next === null ? '' : ', there may be more'}; ${total} entries in the table.\n`,
        ].join(''),
      )
    })

  filtered(sessions.command('purge').description('forget clients: their next connections go where the balancing sends them'))
    .option('--all', 'every entry of every pool')
    .option('-y, --yes', 'do not ask')
    .action(async (options: FilterOptions & { all?: boolean; yes?: boolean }, command: Command) => {
      const { pool, member, client, key, all } = options
      const named = [pool, member, client, key].some((value) => value !== undefined) || options.valueStdin === true
      if (!named && all !== true) throw new Failure('nothing was removed: say which entries', exit.usage, 'Add --pool, --member, --client, --key, --value-stdin or --all.')
      if (named && all === true) throw new Failure('nothing was removed: --all is for every entry, without a filter', exit.usage)
      const api = await context.connect(command)
      if (options.yes !== true) {
        if (!terminal.interactive) throw new Failure('nobody can be asked here; nothing was removed', exit.usage, 'Add --yes.')
        if (!(await terminal.askConfirm('Forget these clients on all nodes? Those without a session of their own elsewhere may have to begin anew.')))
          throw new Failure('nothing was removed')
      }
      const query = await queryOf(options)
      if (all === true) query.set('all', 'true')
      const purged = await api.call<SessionPurgeView>('DELETE', `/sessions?${query.toString()}`)
      context.print(command, purged, ({ removed }) => `${removed} entries removed.\n`)
    })
}

function filtered(command: Command): Command {
  return command
    .option('--pool <name>', 'of this pool')
    .option('--member <name>', 'on this member (with --pool)')
    .option('--client <text>', 'this client, as it is listed')
    .option('--key <text>', 'clients that begin with this: an address, or the hash of a value')
    .option('--value-stdin', 'the client with this value of the cookie or header field (with --pool), from standard input')
}

function parseCount(text: string): number {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1 || count > 1_000_000) throw new InvalidArgumentError('It is a number from 1 to 1000000.')
  return count
}

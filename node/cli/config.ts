/** `haechi config …`: the configuration document from the command line, as one keeps it in git. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { ApplyResult, Change, ConfigView, DiffView, RevisionSummary } from '../api/types.ts'
import { diffDocuments, unifiedDiff } from '../config/diff.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import { validateDocument, type ValidationResult } from '../config/validate.ts'
import { parseYaml, toYaml } from '../config/yaml.ts'
import type { Connection } from './connection.ts'
import type { CommandContext } from './program.ts'
import { parseCount } from './status.ts'
import { exit, Failure, localTime, paint, paintDiff, printable, table, type Terminal } from './terminal.ts'

interface GetOptions {
  readonly revision?: number
  readonly output: 'yaml' | 'json'
  readonly full?: boolean
  readonly linearizable?: boolean
}

interface ApplyOptions {
  readonly file: string
  readonly comment: string
  readonly expectRevision?: number
  readonly dryRun?: boolean
  readonly yes?: boolean
}

export function addConfigCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const config = program.command('config').description('the configuration document and its revisions')

  config
    .command('get')
    .description('print the configuration')
    .option('-r, --revision <number>', 'an earlier revision', parseRevision)
    .option('-o, --output <format>', 'yaml or json', parseFormat, 'yaml')
    .option('--full', 'with every default written out')
    .option('--linearizable', 'the newest one in the whole cluster, or an error when no majority can be reached')
    .action(async (options: GetOptions, command: Command) => {
      if (options.linearizable === true && options.revision !== undefined)
        throw new Failure('an earlier revision never changes: leave --linearizable out', exit.usage)
      const api = await context.connect(command)
      const view = await api.call<ConfigView>(
        'GET',
        options.revision === undefined
          ? `/config${options.linearizable === true ? '?consistency=linearizable' : ''}`
          : `/config/revisions/${options.revision}`,
      )
      context.print(command, view, () =>
        options.output === 'json'
          ? `${JSON.stringify(view.document, null, 2)}\n`
          : `# revision ${view.revision}\n${toYaml(view.document, { omitDefaults: options.full !== true })}`,
      )
    })

  config
    .command('check')
    .description('check a file without a cluster; names line and field')
    .argument('<file>', 'YAML or JSON; - for standard input')
    .action(async (file: string, _options: unknown, command: Command) => {
      const { result } = await readDocumentFile(file, terminal)
      const problems = result.ok ? [] : result.problems
      context.print(command, { valid: result.ok, problems }, () => (result.ok ? `${file}: valid\n` : ''))
      if (!result.ok)
        throw new Failure(command.optsWithGlobals().json === true ? '' : problemLines(file, result.problems))
    })

  config
    .command('apply')
    .description('replace the configuration by a file, after showing what changes')
    .requiredOption('-f, --file <file>', 'YAML or JSON; - for standard input')
    .option('-m, --comment <text>', 'why; kept with the revision', '')
    .option('--expect-revision <number>', 'refuse unless this is the current revision', parseRevision)
    .option('--dry-run', 'show what would change, and change nothing')
    .option('-y, --yes', 'do not ask')
    .action((options: ApplyOptions, command: Command) => apply(options, command, context))

  config
    .command('diff')
    .description('what a revision changed, the difference of two, or of the current one and a file')
    .argument('[from]', 'older revision', parseRevision)
    .argument('[to]', 'newer revision', parseRevision)
    .option('-f, --file <file>', 'compare the current revision with a file')
    .option('--exit-code', `end with ${exit.different} when there is a difference`)
    .action(
      async (
        from: number | undefined,
        to: number | undefined,
        options: { file?: string; exitCode?: boolean },
        command: Command,
      ) => {
        if (options.file !== undefined && from !== undefined)
          throw new Failure('--file compares with the current revision: leave the numbers out', exit.usage)
        const api = await context.connect(command)
        const view =
          options.file === undefined ? await revisionDiff(api, from, to) : await fileDiff(api, options.file, terminal)
        context.print(command, view, () => diffText(terminal, view))
        if (options.exitCode === true && view.changes.length > 0) throw new Failure('', exit.different)
      },
    )

  config
    .command('history')
    .description('revisions, newest first')
    .option('-n, --limit <count>', 'revisions to show', parseCount, 20)
    .action(async ({ limit }: { limit: number }, command: Command) => {
      const revisions = await (
        await context.connect(command)
      ).call<RevisionSummary[]>('GET', `/config/revisions?limit=${limit}`)
      context.print(command, revisions, () =>
        table(
          terminal,
          ['>REVISION', 'WHEN', 'AUTHOR', 'FROM', 'CHANGES', 'COMMENT'],
          revisions.map((item) => [
            String(item.revision),
            localTime(item.atEpochMs),
            item.author,
            item.from,
            summaryText(item),
            printable(item.comment.replaceAll('\n', ' ')),
          ]),
        ),
      )
    })

  config
    .command('rollback')
    .description('make an earlier revision the newest one')
    .argument('<revision>', 'the revision to go back to', parseRevision)
    .option('-m, --comment <text>', 'why; kept with the revision', '')
    .option('--dry-run', 'show what would change, and change nothing')
    .option('-y, --yes', 'do not ask')
    .action(async (revision: number, options: Omit<ApplyOptions, 'file'>, command: Command) => {
      const api = await context.connect(command)
      const current = await api.call<ConfigView>('GET', '/config')
      const target = await api.call<ConfigView>('GET', `/config/revisions/${revision}`)
      const confirmed = await plan(
        current,
        target.document,
        `Roll back to revision ${revision}?`,
        options,
        command,
        context,
      )
      if (!confirmed) return
      const result = await api.call<ApplyResult>('POST', '/config/rollback', {
        body: { toRevision: revision, comment: options.comment },
        headers: { 'if-match': `"${current.revision}"` },
      })
      context.print(command, result, () => resultText(result))
    })
}

async function apply(options: ApplyOptions, command: Command, context: CommandContext): Promise<void> {
  const { terminal } = context
  const { result } = await readDocumentFile(options.file, terminal)
  if (!result.ok) throw new Failure(`${problemLines(options.file, result.problems)}\nNothing was changed.`)
  const api = await context.connect(command)
  const current = await api.call<ConfigView>('GET', '/config')
  if (options.expectRevision !== undefined && options.expectRevision !== current.revision) {
    throw new Failure(
      `the current revision is ${current.revision}, not ${options.expectRevision}; nothing was changed`,
      exit.conflict,
      'See what has changed: haechi config history',
    )
  }
  if (!(await plan(current, result.document, 'Apply this?', options, command, context))) return
  // What was shown is what is applied: if anybody changes it in between, the revision does not match.
  const applied = await api.call<ApplyResult>('PUT', `/config?comment=${encodeURIComponent(options.comment)}`, {
    body: result.document,
    headers: { 'if-match': `"${current.revision}"` },
  })
  context.print(command, applied, () => resultText(applied))
}

/** Shows what would change and asks; false when there is nothing (more) to do. */
async function plan(
  current: ConfigView,
  next: ConfigurationDocument,
  question: string,
  options: { readonly dryRun?: boolean; readonly yes?: boolean },
  command: Command,
  { terminal, print }: CommandContext,
): Promise<boolean> {
  const json = command.optsWithGlobals().json === true
  const changes = diffDocuments(current.document, next)
  if (changes.length === 0) {
    print(
      command,
      { revision: current.revision, changed: false, changes: [] },
      () => `Nothing to change: revision ${current.revision} is the same.\n`,
    )
    return false
  }
  if (!json)
    terminal.out(
      changeText(terminal, changes, unifiedDiff(current.document, next, `revision ${current.revision}`, 'new')),
    )
  if (options.dryRun === true) {
    if (json) terminal.out(`${JSON.stringify({ revision: current.revision, changed: false, changes }, null, 2)}\n`)
    return false
  }
  if (options.yes === true) return true
  if (!terminal.interactive || json)
    throw new Failure(
      'nobody can be asked here; nothing was changed',
      exit.usage,
      'Add --yes to apply without a question, or --dry-run to only look.',
    )
  if (await terminal.askConfirm(question)) return true
  throw new Failure('nothing was changed')
}

async function revisionDiff(api: Connection, from: number | undefined, to: number | undefined): Promise<DiffView> {
  const { revision } = await api.call<ConfigView>('GET', '/config')
  if (from === undefined) return api.call('GET', `/config/revisions/${revision}/diff`)
  return api.call('GET', `/config/revisions/${to ?? revision}/diff?against=${from}`)
}

async function fileDiff(api: Connection, file: string, terminal: Terminal): Promise<DiffView> {
  const { result } = await readDocumentFile(file, terminal)
  if (!result.ok) throw new Failure(problemLines(file, result.problems))
  const current = await api.call<ConfigView>('GET', '/config')
  return {
    from: current.revision,
    to: current.revision + 1,
    changes: diffDocuments(current.document, result.document),
    unified: unifiedDiff(current.document, result.document, `revision ${current.revision}`, file),
  }
}

/** Reads and checks a document. JSON is YAML too, so that one reader names lines for both. */
export async function readDocumentFile(file: string, terminal: Terminal): Promise<{ readonly result: ValidationResult }> {
  let text: string
  try {
    text = file === '-' ? await terminal.readInput() : readFileSync(resolve(terminal.cwd, file), 'utf8')
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`)
  }
  if (/^\s*\{/.test(text)) {
    // Larger documents are taken as JSON than as YAML.
    try {
      const result = validateDocument(JSON.parse(text))
      if (result.ok) return { result }
    } catch {
      // The YAML reader says where.
    }
  }
  return { result: parseYaml(text) }
}

function problemLines(file: string, problems: Extract<ValidationResult, { ok: false }>['problems']): string {
  return problems
    .map(({ field, message, line, column }) => {
      const place = line === undefined ? file : `${file}:${line}:${column ?? 1}`
      return printable(`${place}: ${field === '' ? '' : `${field}: `}${message}`)
    })
    .join('\n')
}

function changeText(terminal: Terminal, changes: readonly Change[], unified: string): string {
  const lines = changes.map((change) => {
    const sign = change.kind === 'added' ? '+' : change.kind === 'removed' ? '-' : '~'
    const colour = change.kind === 'added' ? 'green' : change.kind === 'removed' ? 'red' : 'yellow'
    return `  ${paint(terminal, colour, sign)} ${printable(change.text)}`
  })
  return `${paintDiff(terminal, unified)}\n${lines.join('\n')}\n\n`
}

function diffText(terminal: Terminal, view: DiffView): string {
  return view.changes.length === 0 ? 'No difference.\n' : changeText(terminal, view.changes, view.unified)
}

function resultText(result: ApplyResult): string {
  if (!result.changed) return `Nothing to change: revision ${result.revision} is the same.\n`
  return `Revision ${result.revision} is committed (${result.changes.length} ${result.changes.length === 1 ? 'change' : 'changes'}).\n`
}

function summaryText(item: RevisionSummary): string {
  if (item.rolledBackTo !== null) return `back to ${item.rolledBackTo}`
  const [first = '-', ...rest] = item.summary
  return printable(rest.length === 0 ? first : `${first} (+${rest.length})`)
}

function parseRevision(text: string): number {
  const revision = Number(text)
  if (!Number.isInteger(revision) || revision < 1) throw new InvalidArgumentError('It is not the number of a revision.')
  return revision
}

function parseFormat(text: string): 'yaml' | 'json' {
  if (text !== 'yaml' && text !== 'json') throw new InvalidArgumentError('It is yaml or json.')
  return text
}

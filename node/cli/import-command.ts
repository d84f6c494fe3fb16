/** `haechi import FILE`: a haproxy.cfg or nginx.conf as a configuration document, and line by line what could not be taken over. */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import { validateDocument } from '../config/validate.ts'
import { toYaml } from '../config/yaml.ts'
import type { CertificateNeed, Draft, NoteKind } from './import/draft.ts'
import { formatOf, importHaproxy, importNginx, type Format } from './import/import.ts'
import type { CommandContext } from './program.ts'
import { exit, Failure, paint, printable, type Colour, type Terminal } from './terminal.ts'

interface Options {
  readonly format?: Format
  readonly output?: string
  readonly force?: boolean
  readonly json?: boolean
}

const maxFileBytes = 4 * 1024 * 1024

export function addImportCommand(program: Command, context: CommandContext): void {
  program
    .command('import')
    .description('convert a haproxy.cfg or nginx.conf; says line by line what could not be taken over. Nothing is applied')
    .argument('<file>', 'haproxy.cfg or nginx.conf; - for standard input')
    .option('--format <format>', 'haproxy or nginx (default: by the content)', parseFormat)
    .option('--output <file>', 'write the document to a file (default: standard output)')
    .option('--force', 'overwrite that file')
    .action((file: string, options: Options, command: Command) => convert(file, options, command, context))
}

async function convert(file: string, options: Options, command: Command, context: CommandContext): Promise<void> {
  const { terminal } = context
  const text = await read(file, terminal)
  const output = options.output === undefined ? undefined : resolve(terminal.cwd, options.output)
  if (output !== undefined && options.force !== true && existsSync(output)) throw new Failure(`${options.output} is there already; nothing was written`, exit.usage, 'Add --force to overwrite it.')
  const format = options.format ?? formatOf(text)
  if (format === undefined) throw new Failure(`${file} is neither a haproxy.cfg nor an nginx.conf, as far as can be seen`, exit.error, 'Say which with --format.')
  const draft = format === 'haproxy' ? importHaproxy(text) : importNginx(text)
  if (typeof draft === 'string') throw new Failure(`${file} cannot be read: ${printable(draft)}`)
  const result = validateDocument(draft.document())
  const certificates = [...draft.certificates.values()]
  const json = command.optsWithGlobals<Options>().json === true
  if (json) {
    const document = result.ok ? result.document : draft.document()
    context.print(command, { format, valid: result.ok, problems: result.ok ? [] : result.problems, notes: draft.notes, certificates, document }, () => '')
  } else terminal.err(report(file, draft, certificates, terminal))
  if (!result.ok) {
    const problems = result.problems.map(({ field, message }) => printable(`${field === '' ? '' : `${field}: `}${message}`))
    throw new Failure(json ? '' : `what came out is not valid:\n${problems.join('\n')}`)
  }
  const yaml = `# From ${printable(basename(file)).replaceAll(/\s/g, ' ')} (${format}). Check what was not taken over before you apply it.\n${toYaml(result.document, { omitDefaults: true })}`
  if (output !== undefined) {
    try {
      writeFileSync(output, yaml, { flag: options.force === true ? 'w' : 'wx' })
    } catch (error) {
      throw new Failure(`${options.output} cannot be written: ${(error as Error).message}`)
    }
  } else if (!json) terminal.out(yaml)
}

async function read(file: string, terminal: Terminal): Promise<string> {
  try {
    if (file === '-') {
      const text = await terminal.readInput()
      if (Buffer.byteLength(text) > maxFileBytes) throw new Error(`it has more than ${maxFileBytes} bytes`)
      return text
    }
    const path = resolve(terminal.cwd, file)
    if (statSync(path).size > maxFileBytes) throw new Error(`it has more than ${maxFileBytes} bytes`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`)
  }
}

const kinds: Readonly<Record<NoteKind, readonly [text: string, colour: Colour]>> = { skipped: ['not taken over', 'red'], differs: ['different here', 'yellow'], needless: ['not needed', 'dim'] }

function report(file: string, draft: Draft, certificates: readonly CertificateNeed[], terminal: Terminal): string {
  const lines = draft.notes.map(({ kind, line, text, why }) => `${printable(file)}:${line}: ${paint(terminal, kinds[kind][1], kinds[kind][0])}: ${printable(text)}: ${printable(why)}`)
  const count = (kind: NoteKind): number => draft.notes.filter((note) => note.kind === kind).length
  lines.push(`${count('skipped')} not taken over, ${count('differs')} different here, ${count('needless')} not needed.`)
  if (certificates.length > 0) lines.push('Certificates that must be in the store before:', ...certificates.map((need) => `  ${printable(putCommand(need))}`))
  return `${lines.join('\n')}\n`
}

/** For a shell. */
function putCommand({ name, file, keyFile, authority }: CertificateNeed): string {
  const quoted = (text: string): string => (/^[\w./@:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)
  return `haechi certificate put ${name} ${quoted(file)}${keyFile === undefined ? '' : ` --key ${quoted(keyFile)}`}${authority ? ' --authority' : ''}`
}

function parseFormat(text: string): Format {
  if (text !== 'haproxy' && text !== 'nginx') throw new InvalidArgumentError('It is haproxy or nginx.')
  return text
}

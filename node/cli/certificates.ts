/** `haechi certificate …`: the certificate store from the command line, for people and for renewal scripts. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { CertificateDetail, CertificateResult, CertificateView } from '../api/types.ts'
import type { CommandContext } from './program.ts'
import { type Colour, exit, Failure, localTime, paint, printable, table, type Terminal } from './terminal.ts'

interface PutOptions {
  readonly key?: string
  readonly pkcs12?: string
  readonly authority?: boolean
  readonly revocations?: string
  readonly ocsp?: string
  readonly passphraseStdin?: boolean
  readonly new?: boolean
  /** Undefined: as it is. */
  readonly ocspFetch?: boolean
}

const dayMs = 86_400_000

export function addCertificateCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  const certificate = program.command('certificate').description('certificates that listeners and pools name')

  certificate
    .command('list')
    .description('all certificates, and when they expire')
    .action(async (_options: unknown, command: Command) => {
      const all = await (await context.connect(command)).call<CertificateView[]>('GET', '/certificates')
      context.print(command, all, () => (all.length === 0 ? 'There are no certificates. Add one with haechi certificate put NAME FILE.\n' : listText(terminal, all)))
    })

  certificate
    .command('show')
    .description('one certificate with its chain; never its key')
    .argument('<name>')
    .option('--pem', 'print the chain, or the authorities, as PEM')
    .action(async (name: string, { pem }: { pem?: boolean }, command: Command) => {
      const detail = await (await context.connect(command)).call<CertificateDetail>('GET', `/certificates/${encodeURIComponent(name)}`)
      context.print(command, detail, () => (pem === true ? detail.pem + detail.revocations : detailText(terminal, detail)))
    })

  certificate
    .command('put')
    .description('add or replace a certificate; new handshakes use it at once, on every node')
    .argument('<name>')
    .argument('[file]', 'PEM: the certificate and its intermediates, maybe with the key; with --authority the CA certificates; - for standard input')
    .option('-k, --key <file>', 'PEM of the private key (default: in FILE, or the one stored already)')
    .option('--pkcs12 <file>', 'a PKCS#12 file with certificate and key instead')
    .option('--passphrase-stdin', 'read the passphrase of the key or PKCS#12 file from standard input')
    .option('--authority', 'certificates to verify others with, instead of a certificate with its key')
    .option('--revocations <file>', 'with --authority: PEM of revocation lists')
    .option('--ocsp <file>', 'an OCSP response (DER) to staple')
    .option('--ocsp-fetch', 'have fresh OCSP responses fetched from the responder that the certificate names (a new certificate: yes)')
    .option('--no-ocsp-fetch', 'staple only what --ocsp brings')
    .option('--new', 'refuse when there is a certificate of this name')
    .action(async (name: string, file: string | undefined, options: PutOptions, command: Command) => {
      const body = await bodyOf(file, options, terminal)
      const api = await context.connect(command)
      const headers = options.new === true ? { 'if-none-match': '*' } : {}
      const send = (more: object): Promise<CertificateResult> => api.call<CertificateResult>('PUT', `/certificates/${encodeURIComponent(name)}`, { body: { ...body, ...more }, headers })
      const result = await withPassphrase(send, options, terminal)
      context.print(command, result, () => resultText(terminal, result))
    })

  certificate
    .command('remove')
    .description('remove a certificate and its key; refused while the configuration names it')
    .argument('<name>')
    .option('-y, --yes', 'do not ask')
    .action(async (name: string, { yes }: { yes?: boolean }, command: Command) => {
      const api = await context.connect(command)
      const path = `/certificates/${encodeURIComponent(name)}`
      const detail = await api.call<CertificateDetail>('GET', path)
      if (yes !== true && detail.usedBy.length === 0) {
        if (!terminal.interactive) throw new Failure('nobody can be asked here; nothing was changed', exit.usage, 'Add --yes.')
        const what = detail.kind === 'key-pair' ? `${name} and its private key, which is kept nowhere else in the cluster` : name
        if (!(await terminal.askConfirm(`Remove ${what}?`))) throw new Failure('nothing was changed')
      }
      await api.call('DELETE', path, { headers: { 'if-match': `"${detail.version}"` } })
      context.print(command, { removed: name }, () => `${name} is removed.\n`)
    })
}

async function bodyOf(file: string | undefined, options: PutOptions, terminal: Terminal): Promise<object> {
  const { key, pkcs12, authority, revocations, ocsp, ocspFetch } = options
  if (pkcs12 === '-' || ocsp === '-') throw new Failure(`standard input is read as text, and ${pkcs12 === '-' ? '--pkcs12' : '--ocsp'} is none: name a file`, exit.usage)
  if ([file, key, revocations].filter((one) => one === '-').length > 1) throw new Failure('standard input is there once: name a file for the other', exit.usage)
  if (authority === true) {
    if (file === undefined) throw new Failure('name the file with the CA certificates', exit.usage)
    if (key !== undefined || pkcs12 !== undefined || ocsp !== undefined || ocspFetch !== undefined) throw new Failure('--authority takes no key, no --pkcs12 and nothing of OCSP', exit.usage)
    return {
      kind: 'authority',
      certificates: (await read(file, options, terminal)).toString(),
      ...(revocations === undefined ? {} : { revocations: (await read(revocations, options, terminal)).toString() }),
    }
  }
  if (revocations !== undefined) throw new Failure('--revocations belongs to --authority', exit.usage)
  if (pkcs12 !== undefined && (file !== undefined || key !== undefined)) throw new Failure('--pkcs12 has certificate and key already: leave the others out', exit.usage)
  if (file === undefined && key === undefined && pkcs12 === undefined && ocsp === undefined && ocspFetch === undefined) throw new Failure('name the file with the certificate, or --pkcs12', exit.usage)
  return {
    ...(file === undefined ? {} : { certificate: (await read(file, options, terminal)).toString() }),
    ...(key === undefined ? {} : { key: (await read(key, options, terminal)).toString() }),
    ...(pkcs12 === undefined ? {} : { pkcs12: (await read(pkcs12, options, terminal)).toString('base64') }),
    ...(ocspFetch === undefined ? {} : { ocspFetch }),
    ...(ocsp === undefined ? {} : { ocspResponse: (await read(ocsp, options, terminal)).toString('base64') }),
  }
}

async function read(file: string, { passphraseStdin }: PutOptions, terminal: Terminal): Promise<Buffer> {
  if (file === '-') {
    if (passphraseStdin === true) throw new Failure('standard input has the passphrase: name a file', exit.usage)
    return Buffer.from(await terminal.readInput())
  }
  try {
    return readFileSync(resolve(terminal.cwd, file))
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${(error as Error).message}`)
  }
}

/** Asks for the passphrase only when one is needed: that is for the node to say. */
async function withPassphrase(send: (more: object) => Promise<CertificateResult>, { passphraseStdin }: PutOptions, terminal: Terminal): Promise<CertificateResult> {
  if (passphraseStdin === true) return send({ passphrase: (await terminal.readInput()).replace(/\r?\n$/, '') })
  try {
    return await send({})
  } catch (error) {
    if (!terminal.interactive || !(error instanceof Failure) || !error.message.includes('/passphrase')) throw error
    const passphrase = await terminal.askPassword('Passphrase')
    if (passphrase === undefined) throw new Failure('nothing was changed')
    return send({ passphrase })
  }
}

const colours: Readonly<Record<CertificateView['state'], Colour | undefined>> = { ok: undefined, 'not-yet-valid': 'yellow', soon: 'yellow', urgent: 'red', expired: 'red' }

function leftText(terminal: Terminal, { state, notAfterEpochMs }: CertificateView): string {
  const days = Math.floor((notAfterEpochMs - Date.now()) / dayMs)
  const text = state === 'expired' ? 'expired' : state === 'not-yet-valid' ? 'not valid yet' : `${days} ${days === 1 ? 'day' : 'days'}`
  const colour = colours[state]
  return colour === undefined ? text : paint(terminal, colour, text)
}

function listText(terminal: Terminal, all: readonly CertificateView[]): string {
  return table(
    terminal,
    ['NAME', 'KIND', 'FOR', 'ISSUER', 'EXPIRES', 'LEFT', 'USED BY'],
    all.map((one) => {
      const [first, ...more] = one.certificates
      const names = first?.names ?? []
      const shown = one.kind === 'authority' || names.length === 0 ? [first?.subject ?? '-', ...more.filter(() => one.kind === 'authority').map(({ subject }) => subject)] : names
      return [
        one.name,
        one.kind,
        printable(shown.length > 1 ? `${shown[0]} (+${shown.length - 1})` : (shown[0] ?? '-')),
        printable(first?.issuer ?? '-'),
        localTime(one.notAfterEpochMs).slice(0, 10),
        leftText(terminal, one),
        one.usedBy.length === 0 ? '-' : String(one.usedBy.length),
      ]
    }),
  )
}

function detailText(terminal: Terminal, detail: CertificateDetail): string {
  const lines: [string, string][] = [
    ['name', detail.name],
    ['kind', detail.kind],
    ['version', `${detail.version}, since ${localTime(detail.updatedEpochMs)}`],
    ['expires', `${localTime(detail.notAfterEpochMs)} (${leftText(terminal, detail)})`],
  ]
  for (const [at, { subject, issuer, names, fingerprint, serialNumber, keyType, notBeforeEpochMs, notAfterEpochMs }] of detail.certificates.entries()) {
    lines.push(['', ''], [at === 0 || detail.kind === 'authority' ? 'certificate' : 'intermediate', subject], ['  issuer', issuer])
    if (names.length > 0) lines.push(['  names', names.join(', ')])
    lines.push(['  key', keyType], ['  valid', `${localTime(notBeforeEpochMs)} to ${localTime(notAfterEpochMs)}`], ['  serial number', serialNumber], ['  SHA-256', fingerprint])
  }
  lines.push(['', ''])
  if (detail.kind === 'authority') lines.push(['revocations', detail.revocationLists === 0 ? 'none' : `${detail.revocationLists}, to be replaced by ${localTime(detail.revocationsNextUpdateEpochMs ?? 0)}`])
  else lines.push(['OCSP response', `${detail.ocsp === null ? 'none' : `until ${localTime(detail.ocsp.nextUpdateEpochMs ?? 0)}`}${detail.ocspFetch ? '' : ', not fetched'}`])
  lines.push(['used by', detail.usedBy.length === 0 ? 'nothing' : detail.usedBy.join(', ')])
  return lines.map(([label, value]) => `${paint(terminal, 'dim', label.padEnd(16))}${printable(value)}`.trimEnd()).join('\n') + '\n'
}

function resultText(terminal: Terminal, { certificate, warnings }: CertificateResult): string {
  const [first] = certificate.certificates
  const lines = [`${certificate.name} is in place: ${printable(first?.subject ?? '')}, until ${localTime(certificate.notAfterEpochMs).slice(0, 10)} (version ${certificate.version}).`]
  for (const warning of warnings) lines.push(`${paint(terminal, 'yellow', 'note:')} ${printable(warning)}`)
  return `${lines.join('\n')}\n`
}

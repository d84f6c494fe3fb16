/** `haechi login` and `logout`: a session at a node, kept for the commands that follow. */
import { createHash } from 'node:crypto'
import { connect as tlsConnect, type DetailedPeerCertificate } from 'node:tls'
import type { Command } from 'commander'
import type { SessionInfo } from '../api/types.ts'
import { ConnectionFailed, request } from './client.ts'
import { Connection, isUntrusted, readCa } from './connection.ts'
import { type Credential, readCredentials, serverUrl, writeCredentials } from './credentials.ts'
import type { CommandContext, GlobalOptions } from './program.ts'
import { exit, Failure, localTime, type Terminal } from './terminal.ts'

interface LoginOptions {
  readonly user?: string
  readonly passwordStdin?: boolean
  readonly caFingerprint?: string
}

export function addLoginCommands(program: Command, context: CommandContext): void {
  const { terminal } = context

  program
    .command('login')
    .description('sign in at a node (--server URL); commands then go there')
    .option('-u, --user <name>', 'user name')
    .option('--password-stdin', 'read the password from standard input')
    .option('--ca-fingerprint <sha256>', 'trust the CA with this SHA-256 fingerprint')
    .action(async (options: LoginOptions, command: Command) => {
      const globals = command.optsWithGlobals<GlobalOptions>()
      const stored = readCredentials(terminal.env)
      const given = globals.server ?? terminal.env['HAECHI_SERVER'] ?? stored.current
      if (given === '') throw new Failure('which node?', exit.usage, 'haechi login --server https://HOST:PORT')
      const url = serverUrl(given)
      const ca = await trustedCa(url, globals, options, stored.servers[url]?.ca, terminal)
      const user =
        options.user ??
        (terminal.interactive ? await terminal.askText('User', stored.servers[url]?.user ?? 'admin') : undefined)
      if (user === undefined || user === '') throw new Failure('as whom?', exit.usage, 'Add --user NAME.')
      const password = await givenPassword(options, terminal)
      const anonymous = new Connection({ url, ...(ca === undefined ? {} : { ca }) }, url)
      const session = await anonymous.call<SessionInfo>('POST', '/session', { body: { name: user, password } })
      store(terminal, url, session, ca)
      if (session.user.mustChangePassword) {
        if (!terminal.interactive) {
          throw new Failure(
            'signed in; the password has to be changed before anything else',
            exit.error,
            `Change it with: haechi user passwd --server ${url}`,
          )
        }
        terminal.out('This password is for the first sign-in only. Choose your own.\n')
        const api = new Connection({ url, token: session.token ?? '', ...(ca === undefined ? {} : { ca }) }, url)
        await changeOwnPassword(api, password, await askNew(terminal), terminal)
      }
      context.print(
        command,
        { server: url, user: session.user },
        () =>
          `Signed in at ${url} as ${session.user.name} (${session.user.role}) until ${localTime(session.expiresEpochMs)}.\n`,
      )
    })

  program
    .command('logout')
    .description('sign out and forget the session')
    .action(async (_options: unknown, command: Command) => {
      const { server } = command.optsWithGlobals<GlobalOptions>()
      const stored = readCredentials(terminal.env)
      const url = server === undefined ? stored.current : serverUrl(server)
      const credential = stored.servers[url]
      if (credential === undefined) {
        context.print(command, { server: url, signedOut: false }, () => 'Not signed in.\n')
        return
      }
      const { [url]: _forgotten, ...servers } = stored.servers
      writeCredentials(terminal.env, { current: stored.current === url ? '' : stored.current, servers })
      try {
        await request(
          { url, token: credential.token, ...(credential.ca === undefined ? {} : { ca: credential.ca }) },
          { method: 'DELETE', path: '/api/v1/session', timeoutMs: 5000 },
        )
      } catch (error) {
        if (!(error instanceof ConnectionFailed)) throw error
        terminal.err(`${url} does not answer: the session is forgotten here and ends there by itself.\n`)
      }
      context.print(command, { server: url, signedOut: true }, () => `Signed out of ${url}.\n`)
    })
}

/** Changes the password of the session's own user and keeps the new session if the old one was stored. */
export async function changeOwnPassword(
  api: Connection,
  current: string,
  next: string,
  terminal: Terminal,
): Promise<void> {
  const session = await api.call<SessionInfo>('POST', '/session/password', { body: { current, next } })
  const { target } = api
  if ('url' in target && readCredentials(terminal.env).servers[target.url] !== undefined)
    store(terminal, target.url, session, target.ca)
}

function store(terminal: Terminal, url: string, session: SessionInfo, ca: string | undefined): void {
  if (session.token === undefined) throw new Failure('the node gave no token')
  const credential: Credential = {
    user: session.user.name,
    token: session.token,
    expiresEpochMs: session.expiresEpochMs,
    ...(ca === undefined ? {} : { ca }),
  }
  writeCredentials(terminal.env, {
    current: url,
    servers: { ...readCredentials(terminal.env).servers, [url]: credential },
  })
}

async function givenPassword(options: LoginOptions, terminal: Terminal): Promise<string> {
  if (options.passwordStdin === true) return (await terminal.readInput()).replace(/\r?\n$/, '')
  const password =
    terminal.env['HAECHI_PASSWORD'] ?? (terminal.interactive ? await terminal.askPassword('Password') : undefined)
  if (password === undefined || password === '')
    throw new Failure('no password', exit.usage, 'Give it with --password-stdin or HAECHI_PASSWORD.')
  return password
}

/** The CA to trust for this server: named by file, stored before, known to the system (undefined), or, as with an SSH host
 *  key, pinned now after its fingerprint was compared. */
async function trustedCa(
  url: string,
  globals: GlobalOptions,
  options: LoginOptions,
  stored: string | undefined,
  terminal: Terminal,
): Promise<string | undefined> {
  if (globals.ca !== undefined) return readCa(globals.ca, terminal)
  if (new URL(url).protocol !== 'https:') return undefined
  try {
    await request(
      { url, ...(stored === undefined ? {} : { ca: stored }) },
      { method: 'GET', path: '/api/v1/health', timeoutMs: 10_000 },
    )
    return stored
  } catch (error) {
    if (!(error instanceof ConnectionFailed)) throw error
    if (!isUntrusted(error))
      throw new Failure(
        `${url} does not answer: ${error.message}`,
        exit.error,
        'Every node answers for the whole cluster: try another one.',
      )
    if (stored !== undefined) {
      throw new Failure(
        `the certificate of ${url} is not from the cluster's CA that you have pinned`,
        exit.error,
        'If the cluster was made anew: haechi logout, then sign in again.',
      )
    }
  }
  const root = await rootCertificate(url)
  const fingerprint = createHash('sha256').update(root.raw).digest('hex')
  if (options.caFingerprint !== undefined) {
    if (options.caFingerprint.replaceAll(/[:\s]/g, '').toLowerCase() !== fingerprint) {
      throw new Failure(
        `${url} shows a CA with another fingerprint: ${fingerprint}`,
        exit.error,
        'Do not sign in there: this may not be your cluster.',
      )
    }
  } else {
    if (!terminal.interactive)
      throw new Failure(
        `the certificate of ${url} comes from a CA that is not known here`,
        exit.error,
        `Compare its fingerprint and add: --ca-fingerprint ${fingerprint}`,
      )
    terminal.out(`The cluster's CA is not known here. Its SHA-256 fingerprint is\n  ${fingerprint}\n`)
    if (!(await terminal.askConfirm('Is that the fingerprint of your cluster?'))) throw new Failure('not signed in')
  }
  const base64 = root.raw.toString('base64').replaceAll(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${base64.trimEnd()}\n-----END CERTIFICATE-----\n`
}

/** The self-signed end of the chain that the server shows. Nothing is sent to it yet. */
function rootCertificate(url: string): Promise<DetailedPeerCertificate> {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host, port: Number(port || 443), rejectUnauthorized: false, timeout: 10_000 }, () => {
      let certificate = socket.getPeerCertificate(true)
      const seen = new Set<string>()
      while (certificate.issuerCertificate !== undefined && !seen.has(certificate.fingerprint256)) {
        seen.add(certificate.fingerprint256)
        certificate = certificate.issuerCertificate
      }
      socket.destroy()
      const selfSigned = JSON.stringify(certificate.subject) === JSON.stringify(certificate.issuer)
      if (selfSigned) resolve(certificate)
      else reject(new Failure(`${url} does not show its CA`, exit.error, 'Name the CA certificate with --ca FILE.'))
    })
    socket.on('timeout', () => socket.destroy(new Error('no answer')))
    socket.on('error', (error) => reject(new Failure(`${url}: ${error.message}`)))
  })
}

/** Asks for a new password twice. */
export async function askNew(terminal: Terminal): Promise<string> {
  const next = await terminal.askPassword('New password')
  if (next === undefined) throw new Failure('nothing was changed')
  if ((await terminal.askPassword('New password again')) !== next)
    throw new Failure('the two are not the same; nothing was changed')
  return next
}

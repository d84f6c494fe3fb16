/**
 * Which node a command talks to, and as whom:
 *
 * 1. `--server URL` (or HAECHI_SERVER), with HAECHI_TOKEN or the stored sign-in of that server
 * 2. `--dir DIR` (or HAECHI_DIR): the unix socket of the node on this machine, as the local administrator
 * 3. the server of the last `haechi login`, until the sign-in ends
 * 4. the first unix socket that answers: /var/lib/haechi, then the nodes of a development cluster in `.haechi/dev`
 */
import { readdirSync, readFileSync, existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ApiProblem } from '../api/types.ts'
import { type ApiAnswer, type ApiRequest, ConnectionFailed, request, type Target } from './client.ts'
import { readCredentials, serverUrl } from './credentials.ts'
import { exit, Failure, printable, type Terminal } from './terminal.ts'

export interface ConnectionOptions {
  readonly server?: string
  readonly ca?: string
  readonly dir?: string
}

export const systemDirectory = '/var/lib/haechi'

/** A node's API, with failures turned into `Failure`. */
export class Connection {
  readonly target: Target
  /** For messages: a URL or a directory. */
  readonly name: string
  constructor(target: Target, name: string) {
    this.target = target
    this.name = name
  }

  /** The answer's body; throws `Failure` for every problem. */
  async call<T>(method: string, path: string, options: Omit<ApiRequest, 'method' | 'path'> = {}): Promise<T> {
    return (await this.answer(method, path, options)).body as T
  }

  async answer(method: string, path: string, options: Omit<ApiRequest, 'method' | 'path'> = {}): Promise<ApiAnswer> {
    let answer: ApiAnswer
    try {
      answer = await request(this.target, { method, path: `/api/v1${path}`, ...options })
    } catch (error) {
      if (error instanceof ConnectionFailed) throw unreachable(this, error)
      throw error
    }
    if (answer.status >= 400) throw problemFailure(answer, this)
    return answer
  }
}

/** Chooses the node. Throws `Failure` when there is none. */
export async function connection(options: ConnectionOptions, terminal: Terminal): Promise<Connection> {
  const { env } = terminal
  const server = options.server ?? (options.dir === undefined ? env['HAECHI_SERVER'] : undefined)
  if (server !== undefined && server !== '') return remote(serverUrl(server), options, terminal)
  const directory = options.dir ?? env['HAECHI_DIR']
  if (directory !== undefined && directory !== '') {
    const path = resolve(terminal.cwd, directory)
    return new Connection({ socketPath: join(path, 'api.sock') }, path)
  }
  const stored = readCredentials(env)
  const current = stored.servers[stored.current]
  if (current !== undefined && current.expiresEpochMs > Date.now()) return remote(stored.current, options, terminal)
  for (const candidate of localDirectories(terminal.cwd)) {
    const socketPath = join(candidate, 'api.sock')
    if (existsSync(socketPath) && (await answers(socketPath))) return new Connection({ socketPath }, candidate)
  }
  if (current !== undefined)
    throw new Failure(
      `the sign-in at ${stored.current} has ended`,
      exit.error,
      `Sign in again: haechi login --server ${stored.current}`,
    )
  throw new Failure(
    'no node found on this machine',
    exit.error,
    'Name one with --server https://HOST:PORT (after haechi login) or --dir DIRECTORY, or start a cluster to try: npm start',
  )
}

function remote(url: string, options: ConnectionOptions, terminal: Terminal): Connection {
  const credential = readCredentials(terminal.env).servers[url]
  const token = terminal.env['HAECHI_TOKEN'] || credential?.token
  const ca = options.ca === undefined ? credential?.ca : readCa(options.ca, terminal)
  return new Connection({ url, ...(token === undefined ? {} : { token }), ...(ca === undefined ? {} : { ca }) }, url)
}

export function readCa(path: string, terminal: Terminal): string {
  try {
    return readFileSync(resolve(terminal.cwd, path), 'utf8')
  } catch (error) {
    throw new Failure(`--ca: ${path} cannot be read: ${(error as Error).message}`, exit.usage)
  }
}

/** Data directories of nodes that may run here. */
function localDirectories(cwd: string): string[] {
  const checkout = fileURLToPath(new URL('../..', import.meta.url))
  const found = [systemDirectory]
  for (const root of new Set([...ancestors(cwd), checkout.replace(/\/$/, '')])) {
    const development = join(root, '.haechi', 'dev')
    try {
      found.push(
        ...readdirSync(development)
          .toSorted()
          .map((name) => join(development, name)),
      )
    } catch {
      // No development cluster here.
    }
  }
  return found
}

function ancestors(path: string): string[] {
  const parent = dirname(path)
  return parent === path ? [path] : [path, ...ancestors(parent)]
}

async function answers(socketPath: string): Promise<boolean> {
  try {
    return (await request({ socketPath }, { method: 'GET', path: '/api/v1/health', timeoutMs: 1000 })).status === 200
  } catch {
    return false
  }
}

const untrusted: ReadonlySet<string> = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_GET_ISSUER_CERT',
  'CERT_UNTRUSTED',
])

export function isUntrusted(error: ConnectionFailed): boolean {
  return untrusted.has(error.code)
}

function unreachable({ name, target }: Connection, error: ConnectionFailed): Failure {
  if (isUntrusted(error)) {
    return new Failure(
      `the certificate of ${name} is not trusted`,
      exit.error,
      `Sign in once to pin the cluster's CA: haechi login --server ${name}; or name its file: --ca FILE`,
    )
  }
  if (!('socketPath' in target)) {
    return new Failure(
      `${name} does not answer: ${error.message}`,
      exit.error,
      'Every node answers for the whole cluster: try another one with --server.',
    )
  }
  if (error.code === 'EACCES') {
    return new Failure(
      `${target.socketPath}: permission denied`,
      exit.error,
      'The socket belongs to the user that runs the node: become that user, or use --server URL.',
    )
  }
  return new Failure(`no node runs in ${name} (${error.code})`, exit.error, `Start it with: haechi start --dir ${name}`)
}

/** A problem as a message: what, which fields, what next. */
function problemFailure(answer: ApiAnswer, { name }: Connection): Failure {
  const problem = answer.body as Partial<ApiProblem> | undefined
  if (typeof problem !== 'object' || problem === null || typeof problem.code !== 'string') {
    return new Failure(
      `${name} answered with status ${answer.status}`,
      exit.error,
      'Is this the address of a Haechi node?',
    )
  }
  const fields = (problem.problems ?? []).map(
    ({ field, message }) => `\n  ${printable(field || 'document')}: ${printable(message)}`,
  )
  const message = `${printable(problem.detail ?? problem.title ?? '')}${fields.join('')}`
  const hints: Readonly<Record<string, string>> = {
    'not-signed-in': `Sign in: haechi login --server ${name}`,
    'password-change-required': `Set your own password: haechi user passwd --server ${name}`,
    'no-quorum': 'See which nodes are reachable: haechi status',
    'unknown-fate': 'See what happened: haechi config history',
    'revision-conflict': 'See what has changed: haechi config history, then haechi config diff',
  }
  const conflict = problem.code === 'revision-conflict' || problem.code === 'certificate-changed'
  const exitCode = conflict ? exit.conflict : exit.error
  return new Failure(message, exitCode, hints[problem.code] ?? '')
}

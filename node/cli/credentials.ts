/** Stored sign-ins: `~/.config/haechi/credentials.json`, readable by its owner only. */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { Failure } from './terminal.ts'

export interface Credential {
  readonly user: string
  readonly token: string
  readonly expiresEpochMs: number
  /** PEM of the cluster's CA, when the system does not know it. */
  readonly ca?: string
}

export interface Credentials {
  /** URL of the server that commands go to when nothing else is said; empty: none. */
  readonly current: string
  /** By URL without a final slash. */
  readonly servers: Readonly<Record<string, Credential>>
}

const none: Credentials = { current: '', servers: {} }

export function credentialsPath(env: Readonly<Record<string, string | undefined>>): string {
  const base = env['XDG_CONFIG_HOME'] || join(env['HOME'] || homedir(), '.config')
  return join(base, 'haechi', 'credentials.json')
}

export function readCredentials(env: Readonly<Record<string, string | undefined>>): Credentials {
  const path = credentialsPath(env)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return none
  }
  try {
    const { current, servers } = JSON.parse(text) as Credentials
    if (typeof current === 'string' && typeof servers === 'object' && servers !== null) return { current, servers }
  } catch {
    // Reported below, with what to do.
  }
  throw new Failure(`${path} is damaged`, 1, `Remove it and sign in again: haechi login --server URL`)
}

/** Written beside and renamed, so that an interrupted write loses nothing. */
export function writeCredentials(env: Readonly<Record<string, string | undefined>>, credentials: Credentials): void {
  const path = credentialsPath(env)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}.new`
  writeFileSync(temporary, `${JSON.stringify(credentials, null, 2)}\n`, { mode: 0o600 })
  chmodSync(temporary, 0o600)
  renameSync(temporary, path)
}

/** The form in which a URL is a key: scheme, host and port. Throws `Failure` when it is none. */
export function serverUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new Failure(`${text} is not an address of a node`, 2, 'It looks like https://192.0.2.1:8443.')
  }
  return url.origin
}

/** A new cluster: its first node, its secrets, its first administrator. */
import { randomBytes, randomUUID } from 'node:crypto'
import { generatePassword, hashPassword } from '../api/password.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import { encodeCommand } from '../state/command.ts'
import { commandLevel } from '../state/level.ts'
import { version } from '../version.ts'
import { exit, Failure } from './terminal.ts'

/** Name of the first administrator. */
export const firstUser = 'admin'

export interface InitOptions {
  /** Data directory; must not hold a node yet. */
  readonly directory: string
  readonly id: string
  /** host:port for the other nodes. */
  readonly address: string
  /** host:port of the API and console. */
  readonly apiAddress: string
  /** First revision; default: the empty document. */
  readonly document?: ConfigurationDocument
}

const emptyDocument: ConfigurationDocument = { haechi: 1, vips: [], pools: [], listeners: [] }

/** Makes a cluster of one node in a directory, without starting it. Revision 1 is its document; the password of `admin`
 *  is generated, is shown this once, and has to be changed at the first sign-in. */
export async function initNode(options: InitOptions): Promise<{ readonly password: string }> {
  // Loaded when needed: the database and the certificates are large, and most commands are only requests.
  const { initCluster, newClusterId } = await import('../../consensus/identity.ts')
  const password = generatePassword()
  const passwordHash = await hashPassword(password)
  const clusterId = newClusterId()
  await initCluster({
    clusterId,
    directory: options.directory,
    id: options.id,
    role: 'node',
    address: options.address,
    apiAddress: options.apiAddress,
    firstEntries: [
      encodeCommand({
        kind: 'init',
        id: randomUUID(),
        actor: { name: 'system', from: '', node: options.id },
        atEpochMs: Date.now(),
        clusterId,
        user: { name: firstUser, role: 'administrator', passwordHash, mustChangePassword: true, generation: 1 },
        secrets: { sessionKey: randomBytes(32).toString('base64url') },
        document: options.document ?? emptyDocument,
      }),
      // There is no older member that would have to understand it: a new cluster starts with all that this version has.
      encodeCommand({
        kind: 'raise-level',
        id: randomUUID(),
        actor: { name: 'system', from: '', node: options.id },
        atEpochMs: Date.now(),
        to: commandLevel,
        support: [{ id: options.id, commandLevel, version }],
      }),
    ],
  })
  return { password }
}

/** What is wrong with the name and addresses of a node, or undefined. */
export function checkIdentity({
  id,
  role,
  address,
  apiAddress,
}: {
  id: string
  role: 'node' | 'witness'
  address: string
  apiAddress: string
}): string | undefined {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(id))
    return `--name: ${id} is not a name of lower-case letters, digits and hyphens (1 to 63)`
  if (!isHostPort(address)) return `--address: ${address} is not host:port`
  if (role === 'witness') return apiAddress === '' ? undefined : '--api: a witness has no API'
  if (apiAddress === '') return '--api: a node needs an address for its API'
  return isHostPort(apiAddress) ? undefined : `--api: ${apiAddress} is not host:port`
}

function isHostPort(text: string): boolean {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):(\d{1,5})$/.exec(text)
  return match !== null && Number(match[2]) >= 1 && Number(match[2]) <= 65535
}

/** The directory of --dir, which commands that make or start a node insist on. */
export function checkDirectory(directory: string | undefined): string {
  if (directory === undefined || directory === '') {
    throw new Failure('--dir is missing', exit.usage, 'Name the data directory of the node: --dir /var/lib/haechi')
  }
  return directory
}

/** Commands as bytes in the log: writing them, and reading them without trusting them. */
import { Packr } from 'msgpackr'
import { certificateLevel, readCertificate, readExpectation, readSealed } from './certificates.ts'
import { Fields, maxProse } from './fields.ts'
import { decodeMsgpack, FormatError } from './msgpack.ts'
import { decodeSessions, encodeSessions, type SessionBlockLimits } from './session-block.ts'
import type { Peer } from '../../consensus/core/types.ts'
import { stateLimits } from './bounded.ts'
import { commandLevel, type Support } from './level.ts'
import type { Actor, ClusterSecrets, Command, SessionUpdate, StoredUser } from './types.ts'

/** Bounds of what a command may carry; lengths in UTF-16 code units. */
export const commandLimits = {
  id: 64,
  name: 128,
  address: 300,
  text: maxProse,
  hash: 512,
  sessionKey: 256,
  sessionEntries: 10_000,
  sessionTtlMs: 366 * 24 * 3600_000,
} as const

const maxMembers = 1000

/** Of the sessions of one command. */
export const sessionLimits: SessionBlockLimits = {
  updates: commandLimits.sessionEntries, keyLength: commandLimits.sessionKey, memberLength: commandLimits.name, ttlMs: commandLimits.sessionTtlMs,
}

/** The log's bytes of a command. */
export function encodeCommand(command: Command): Uint8Array {
  if (command.kind === 'sessions') {
    const { entries, ...rest } = command
    return encode({ ...(wellFormed(rest) as object), entries: encodeSessions(entries) })
  }
  return encode(wellFormed(command))
}

// Maps instead of records, so that the bytes say what they mean and the strict reader takes them.
const packr = new Packr({ useRecords: false, variableMapSize: true, encodeUndefinedAsNil: true })

/** MessagePack of plain data; the same value in the same key order gives the same bytes. */
export function encode(value: unknown): Uint8Array {
  return packr.pack(value)
}

/** Half a surrogate pair has no UTF-8; it becomes U+FFFD here rather than making the command unreadable. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed()
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wellFormed(item)]))
}

/** A command whose document has not been validated. */
export type ReadCommand = Unvalidated<Command>
type Unvalidated<C> = C extends { readonly document: unknown } ? Omit<C, 'document'> & { readonly document: unknown } : C

export type DecodeResult =
  | { readonly ok: true; readonly command: ReadCommand }
  /** `level`: it is of that level, which is above what is understood here, and says nothing to this version. */
  | { readonly ok: false; readonly detail: string; readonly level?: number }

/** Never throws. Unknown extra fields are dropped; everything that is kept has the type and size that it should have. */
export function decodeCommand(data: Uint8Array, understood: number = commandLevel): DecodeResult {
  try {
    const fields = new Fields(decodeMsgpack(data), 'command')
    // Before anything else: of a command of a later level nothing but this field is known.
    const level = fields.any('level') === undefined ? 1 : fields.number('level')
    if (level > understood) return { ok: false, detail: `it is of level ${level}`, level }
    return { ok: true, command: readCommand(fields, level) }
  } catch (error) {
    if (error instanceof FormatError) return { ok: false, detail: error.message }
    throw error
  }
}

function readCommand(fields: Fields, level: number): ReadCommand {
  const base = {
    id: fields.text('id', commandLimits.id, 1),
    actor: readActor(fields.fields('actor')),
    atEpochMs: fields.number('atEpochMs'),
    level,
  }
  const kind = fields.text('kind', 32, 1) as Command['kind']
  switch (kind) {
    case 'init':
      return {
        ...base,
        kind,
        clusterId: fields.text('clusterId', commandLimits.name, 1),
        user: readUser(fields.fields('user')),
        secrets: readSecrets(fields.fields('secrets')),
        document: fields.any('document'),
      }
    case 'config-apply':
      return {
        ...base,
        kind,
        expectRevision: fields.number('expectRevision'),
        document: fields.any('document'),
        comment: fields.prose('comment'),
      }
    case 'config-rollback':
      return {
        ...base,
        kind,
        expectRevision: fields.number('expectRevision'),
        toRevision: fields.number('toRevision'),
        comment: fields.prose('comment'),
      }
    case 'user-put':
      return { ...base, kind, user: readUser(fields.fields('user')) }
    case 'user-delete':
      return { ...base, kind, name: fields.text('name', commandLimits.name, 1) }
    case 'token-create':
      return {
        ...base,
        kind,
        tokenId: fields.text('tokenId', commandLimits.name, 1),
        secretHash: fields.text('secretHash', commandLimits.hash, 1),
        role: fields.choice('role', ['node', 'witness']),
        expiresEpochMs: fields.number('expiresEpochMs'),
      }
    case 'token-consume':
      return {
        ...base,
        kind,
        secretHash: fields.text('secretHash', commandLimits.hash, 1),
        peer: readPeer(fields.fields('peer')),
        nowEpochMs: fields.number('nowEpochMs'),
        commandLevel: fields.any('commandLevel') === undefined ? 1 : fields.number('commandLevel'),
      }
    case 'raise-level':
      return { ...base, kind, to: fields.number('to'), support: fields.list('support', maxMembers).map(readSupport) }
    case 'audit':
      return { ...base, kind, action: fields.text('action', commandLimits.name, 1), detail: fields.prose('detail') }
    case 'sessions':
      return { ...base, kind, entries: readSessions(fields.any('entries')) }
    case 'certificate-put':
      needs(level, certificateLevel)
      return { ...base, kind, certificate: readCertificate(fields.fields('certificate')), summary: fields.prose('summary'), ...readExpectation(fields) }
    case 'certificate-remove':
      needs(level, certificateLevel)
      return { ...base, kind, name: fields.text('name', commandLimits.name, 1), ...readExpectation(fields) }
    case 'ocsp-put':
      needs(level, certificateLevel)
      return { ...base, kind, name: fields.text('name', commandLimits.name, 1), expect: fields.number('expect'), response: fields.bytes('response', stateLimits.certificateBytes) }
    case 'ticket-keys':
      needs(level, certificateLevel)
      return { ...base, kind, expectGeneration: fields.number('expectGeneration'), sealed: readSealed(fields) }
    default:
      throw new FormatError(`there is no command ${JSON.stringify(kind satisfies never)}`)
  }
}

/** A command that does not say the level of its kind would be passed over by who does not know the kind: nobody may take it. */
function needs(level: number, least: number): void {
  if (level < least) throw new FormatError(`a command of this kind is of level ${least}, not of ${level}`)
}

function readActor(fields: Fields): Actor {
  return {
    name: fields.text('name', commandLimits.name),
    from: fields.text('from', commandLimits.address),
    node: fields.text('node', commandLimits.name),
  }
}

export function readUser(fields: Fields): StoredUser {
  return {
    name: fields.text('name', commandLimits.name, 1),
    role: fields.choice('role', ['viewer', 'operator', 'administrator']),
    passwordHash: fields.text('passwordHash', commandLimits.hash),
    mustChangePassword: fields.flag('mustChangePassword'),
    generation: fields.number('generation'),
  }
}

export function readSecrets(fields: Fields): ClusterSecrets {
  return { sessionKey: fields.text('sessionKey', commandLimits.hash, 1) }
}

export function readPeer(fields: Fields): Peer {
  return {
    id: fields.text('id', 63, 1),
    role: fields.choice('role', ['node', 'witness']),
    address: fields.text('address', commandLimits.address),
    apiAddress: fields.text('apiAddress', commandLimits.address),
  }
}

function readSupport(value: unknown): Support {
  const fields = new Fields(value, 'support')
  return { id: fields.text('id', 63, 1), commandLevel: fields.number('commandLevel'), version: fields.text('version', commandLimits.name) }
}

function readSessions(block: unknown): SessionUpdate[] {
  if (!(block instanceof Uint8Array)) throw new FormatError('command: entries are not bytes')
  const updates: SessionUpdate[] = []
  decodeSessions(block, sessionLimits, (update) => updates.push(update))
  return updates
}

/**
 * The state as bytes and back. A stream of records (u32 big-endian length, MessagePack `[tag, …]`), cut into chunks without
 * regard to records; the last record counts the others, so that a truncated snapshot is not taken for a whole one. The
 * same state gives the same bytes.
 */
import type { Membership } from '../../consensus/core/types.ts'
import { AuditLog, CommandIds, stateLimits, type Fate } from './bounded.ts'
import { CertificateStore, readStoredCertificate, readStoredTicketKeys } from './certificates.ts'
import { encode, readPeer, readSecrets, readUser, sessionLimits } from './command.ts'
import { Fields } from './fields.ts'
import { DocumentHistory, type RevisionGroup, type Splice } from './history.ts'
import { commandLevel, LevelError } from './level.ts'
import { decodeMsgpack, FormatError } from './msgpack.ts'
import { decodeSessions, encodeSessions } from './session-block.ts'
import { SessionEntries } from './session-entries.ts'
import type { AuditEntry, ClusterSecrets, OutcomeCode, StoredTicketKeys, StoredUser } from './types.ts'

/** Largest chunk of a snapshot, bytes. */
export const maxChunkBytes = 256 * 1024
const formatVersion = 1
const maxRecordBytes = 16 * 1024 * 1024
const batchSize = 1000

/** What is known of a revision beside its document. */
export interface RevisionMeta {
  readonly revision: number
  readonly author: string
  readonly from: string
  readonly atEpochMs: number
  readonly comment: string
  readonly rolledBackTo: number | null
  readonly hash: string
}

export interface StoredToken {
  readonly tokenId: string
  readonly secretHash: string
  readonly role: 'node' | 'witness'
  readonly expiresEpochMs: number
}

/** Everything that the state is made of. */
export interface Parts {
  appliedIndex: number
  /** Highest level of commands that may be in the log (`level.ts`). */
  level: number
  clusterId: string
  secrets: ClusterSecrets | undefined
  membership: Membership
  /** Time of the newest command, for entries that have none. */
  lastEpochMs: number
  /** Highest generation of any user that was deleted: a namesake starts above it. */
  retiredGeneration: number
  readonly users: Map<string, StoredUser>
  readonly tokens: Map<string, StoredToken>
  history: DocumentHistory
  /** Oldest first; the same revisions as in `history`. */
  revisions: RevisionMeta[]
  audit: AuditLog
  readonly commandIds: CommandIds
  readonly sessionCommandIds: CommandIds
  readonly sessions: SessionEntries
  readonly certificates: CertificateStore
  ticketKeys: StoredTicketKeys | undefined
}

export function emptyParts(): Parts {
  return {
    appliedIndex: 0,
    level: 1,
    clusterId: '',
    secrets: undefined,
    membership: { voters: [], learners: [] },
    lastEpochMs: 0,
    retiredGeneration: 0,
    users: new Map(),
    tokens: new Map(),
    history: new DocumentHistory(),
    revisions: [],
    audit: new AuditLog(),
    commandIds: new CommandIds(stateLimits.commandIds),
    sessionCommandIds: new CommandIds(stateLimits.commandIds),
    sessions: new SessionEntries(stateLimits.sessions),
    certificates: new CertificateStore(),
    ticketKeys: undefined,
  }
}

/**
 * Chunks of at most `maxChunkBytes`. What they hold is fixed when this is called; they are encoded as they are read, and
 * the state may go on meanwhile.
 */
export function writeSnapshot(parts: Parts): Iterable<Uint8Array> {
  const { appliedIndex, level, clusterId, secrets, membership, lastEpochMs, retiredGeneration, audit } = parts
  const meta = {
    format: 'haechi-state',
    version: formatVersion,
    level,
    appliedIndex,
    clusterId,
    secrets: secrets ?? null,
    membership,
    lastEpochMs,
    retiredGeneration,
    auditDigest: audit.digest,
    auditTotal: audit.total,
  }
  const users = [...parts.users.values()]
  const tokens = [...parts.tokens.values()]
  const groups = parts.history.groups()
  const revisions = [...parts.revisions]
  const entries = audit.entries()
  const ids = parts.commandIds.entries()
  const sessionIds = parts.sessionCommandIds.entries()
  const sessions = parts.sessions.freeze()
  const certificates = parts.certificates.list
  const { ticketKeys } = parts

  function* records(): Generator<unknown[]> {
    yield ['meta', meta]
    for (const user of users) yield ['user', user]
    for (const token of tokens) yield ['token', token]
    for (const { first, base, splices } of groups) {
      yield ['group', first, base]
      for (const { keepStart, keepEnd, insert } of splices) yield ['splice', keepStart, keepEnd, insert]
    }
    for (const revision of revisions) yield ['revision', revision]
    for (const entry of entries) yield ['audit', entry]
    for (const batch of batches(ids)) yield ['ids', batch.map(([id, { index, code }]) => [id, index, code])]
    for (const batch of batches(sessionIds)) yield ['session-ids', batch.map(([id, { index, code }]) => [id, index, code])]
    for (const batch of batches(sessions)) yield ['sessions', encodeSessions(batch)]
    // Below the level of certificates there are none: older versions read what is written then.
    for (const certificate of certificates) yield ['certificate', certificate]
    if (ticketKeys !== undefined) yield ['ticket-keys', ticketKeys]
  }
  return { [Symbol.iterator]: () => chunks(records()) }
}

function* batches<T>(items: Iterable<T>): Generator<readonly T[]> {
  let batch: T[] = []
  for (const item of items) {
    batch.push(item)
    if (batch.length < batchSize) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

function* chunks(records: Iterable<unknown[]>): Generator<Uint8Array> {
  let chunk = new Uint8Array(maxChunkBytes)
  let used = 0
  let count = 0
  function* write(data: Uint8Array): Generator<Uint8Array> {
    for (let at = 0; at < data.length; ) {
      const taken = Math.min(data.length - at, maxChunkBytes - used)
      chunk.set(data.subarray(at, at + taken), used)
      used += taken
      at += taken
      if (used === maxChunkBytes) {
        yield chunk
        chunk = new Uint8Array(maxChunkBytes)
        used = 0
      }
    }
  }
  function* record(value: unknown[]): Generator<Uint8Array> {
    const body = encode(value)
    if (body.length > maxRecordBytes) throw new Error(`a snapshot record has ${body.length} bytes`)
    const head = new Uint8Array(4)
    new DataView(head.buffer).setUint32(0, body.length)
    yield* write(head)
    yield* write(body)
  }
  for (const value of records) {
    yield* record(value)
    count++
  }
  yield* record(['end', count])
  if (used > 0) yield chunk.slice(0, used)
}

/**
 * The inverse of `writeSnapshot`, piece by piece as it arrives. Its methods throw when the bytes are not a whole snapshot of
 * a known version: that is no input of a client but the cluster's own data, and there is nothing to go on with. A `LevelError`
 * says that it is whole but for a newer version.
 */
export class SnapshotReader {
  readonly #restorer: Restorer
  #pending: Uint8Array[] = []
  #have = 0
  #need = 4
  #head = true

  /** `understood`: the highest level of commands that the reader takes. */
  constructor(understood: number = commandLevel) {
    this.#restorer = new Restorer(understood)
  }

  /** The next bytes, cut anywhere. They may be kept. */
  add(chunk: Uint8Array): void {
    this.#pending.push(chunk)
    this.#have += chunk.length
    while (this.#have >= this.#need) {
      const all = joined(this.#pending, this.#have)
      const taken = all.subarray(0, this.#need)
      const rest = all.subarray(this.#need)
      this.#pending = [rest]
      this.#have = rest.length
      if (this.#head) {
        this.#need = new DataView(taken.buffer, taken.byteOffset, 4).getUint32(0)
        if (this.#need > maxRecordBytes) throw new FormatError(`a snapshot record of ${this.#need} bytes`)
        this.#head = false
        continue
      }
      const record = decodeMsgpack(taken)
      if (!Array.isArray(record)) throw new FormatError('a snapshot record is not a list')
      this.#restorer.record(record)
      this.#need = 4
      this.#head = true
    }
  }

  finish(): Parts {
    if (this.#have > 0 || !this.#head) throw new FormatError('the snapshot ends inside a record')
    return this.#restorer.finish()
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0]!
  const all = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

class Restorer {
  readonly #understood: number
  readonly #parts = emptyParts()
  readonly #groups: { first: number; base: string; splices: Splice[] }[] = []
  #records = 0
  #ended = false

  constructor(understood: number) {
    this.#understood = understood
  }

  record(record: readonly unknown[]): void {
    if (this.#ended) throw new FormatError('a snapshot record after the end')
    const tag = record[0]
    if ((this.#records === 0) !== (tag === 'meta')) throw new FormatError('a snapshot starts with its meta record')
    const parts = this.#parts
    const fields = (): Fields => new Fields(record[1], String(tag))
    switch (tag) {
      case 'meta':
        this.#meta(fields())
        break
      case 'user': {
        const user = readUser(fields())
        parts.users.set(user.name, user)
        break
      }
      case 'token': {
        const token = record[1] as StoredToken
        parts.tokens.set(token.secretHash, token)
        break
      }
      case 'group':
        this.#groups.push({ first: record[1] as number, base: record[2] as string, splices: [] })
        break
      case 'splice':
        this.#groups.at(-1)!.splices.push({ keepStart: record[1] as number, keepEnd: record[2] as number, insert: record[3] as string })
        break
      case 'revision':
        parts.revisions.push(record[1] as RevisionMeta)
        break
      case 'audit':
        parts.audit.restore(record[1] as AuditEntry)
        break
      case 'ids':
        for (const [id, index, code] of record[1] as [string, number, OutcomeCode][]) parts.commandIds.add(id, fate(index, code))
        break
      case 'session-ids':
        for (const [id, index, code] of record[1] as [string, number, OutcomeCode][]) parts.sessionCommandIds.add(id, fate(index, code))
        break
      case 'sessions':
        if (!(record[1] instanceof Uint8Array)) throw new FormatError('the sessions of the snapshot are not bytes')
        decodeSessions(record[1], sessionLimits, (update) => parts.sessions.apply(update))
        break
      case 'certificate':
        parts.certificates.put(readStoredCertificate(fields()))
        break
      case 'ticket-keys':
        parts.ticketKeys = readStoredTicketKeys(fields())
        break
      case 'end':
        if (record[1] !== this.#records) throw new FormatError(`the snapshot has ${this.#records} records instead of ${String(record[1])}`)
        this.#ended = true
        break
      default:
        throw new FormatError(`the snapshot record ${String(tag)} is not known: it was written by a newer version`)
    }
    this.#records++
  }

  #meta(fields: Fields): void {
    // Before the format: a newer one may look different in everything but this.
    const level = fields.any('level') === undefined ? 1 : fields.number('level')
    if (fields.any('format') === 'haechi-state' && level > this.#understood) throw new LevelError('the snapshot', level, this.#understood)
    if (fields.any('format') !== 'haechi-state' || fields.any('version') !== formatVersion) {
      const found = `${String(fields.any('format'))} ${String(fields.any('version'))}`
      throw new FormatError(`a snapshot of format ${found}; expected haechi-state ${formatVersion}`)
    }
    const parts = this.#parts
    const membership = fields.fields('membership')
    const peers = (key: string) => membership.list(key, 1000).map((peer) => readPeer(new Fields(peer, key)))
    parts.level = level
    parts.appliedIndex = fields.number('appliedIndex')
    parts.clusterId = fields.text('clusterId', 128)
    parts.secrets = fields.any('secrets') === null ? undefined : readSecrets(fields.fields('secrets'))
    parts.membership = { voters: peers('voters'), learners: peers('learners') }
    parts.lastEpochMs = fields.number('lastEpochMs')
    parts.retiredGeneration = fields.number('retiredGeneration')
    parts.audit = new AuditLog(fields.text('auditDigest', 64), fields.number('auditTotal'))
  }

  finish(): Parts {
    if (!this.#ended) throw new FormatError('the snapshot ends too early')
    this.#parts.history = DocumentHistory.from(this.#groups satisfies RevisionGroup[])
    if (this.#parts.revisions.length > 0 && this.#parts.revisions.at(-1)!.revision !== this.#parts.history.newest) {
      throw new FormatError('the revisions of the snapshot do not match its documents')
    }
    return this.#parts
  }
}

function fate(index: number, code: OutcomeCode): Fate {
  return { index, code }
}

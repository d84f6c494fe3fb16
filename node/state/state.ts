/**
 * The replicated state machine. Entries of the log go in, one by one; what the cluster has agreed on comes out. Pure, total
 * and deterministic: the same entries give the same state on every node, byte for byte, whatever is in them.
 */
import { canonicalText } from '../config/canonical.ts'
import { diffDocuments } from '../config/diff.ts'
import type { ConfigurationDocument } from '../config/schema.ts'
import { sha256Hex } from '../config/sha256.ts'
import { validateDocument, type ValidationResult } from '../config/validate.ts'
import type { Entry, Membership } from '../../consensus/core/types.ts'
import { stateLimits } from './bounded.ts'
import { applyCertificateCommand, certificateLevel } from './certificates.ts'
import { decodeCommand, type DecodeResult, type ReadCommand } from './command.ts'
import { commandLevel, lacking, LevelError, supportText } from './level.ts'
import { membershipChange, readMembership } from './membership.ts'
import { frozen, StoredRevision } from './revision.ts'
import type { SessionEntry } from './session-entries.ts'
import { emptyParts, SnapshotReader, writeSnapshot, type Parts, type RevisionMeta, type StoredToken } from './snapshot.ts'
import type { Actor, AuditEntry, ClusterSecrets, Outcome, OutcomeCode, Revision, SessionUpdate, StoredCertificate, StoredTicketKeys, StoredUser } from './types.ts'

export { encodeCommand } from './command.ts'

/** Lines of a diff that go into the audit log. */
const maxDetailLines = 20
const maxPage = 1000
const system: Actor = { name: 'system', from: '', node: '' }

type CommandOf<K extends ReadCommand['kind']> = Extract<ReadCommand, { kind: K }>
interface Verdict {
  readonly code: OutcomeCode
  readonly detail: string
}
const ok: Verdict = { code: 'ok', detail: '' }

export class ClusterState {
  readonly #parts: Parts
  readonly #understood: number
  #document: ConfigurationDocument
  #hash: string | undefined
  #sessionApplied: ((update: SessionUpdate) => void) | undefined

  private constructor(parts: Parts, understood: number) {
    this.#parts = parts
    this.#understood = understood
    const text = parts.history.newestText
    this.#document = frozen(text === '' ? emptyDocument() : (JSON.parse(text) as ConfigurationDocument))
  }

  /** The state before the first entry: revision 0 with an empty document, no users. `understood`: the highest level of commands
   *  that it takes, for tests of other versions. */
  static empty(understood: number = commandLevel): ClusterState {
    return new ClusterState(emptyParts(), understood)
  }

  /** From the chunks of `snapshot()`, however they are cut. Throws when they are damaged or of a newer version (`LevelError`). */
  static restore(chunks: Iterable<Uint8Array>, understood: number = commandLevel): ClusterState {
    const restoration = ClusterState.restoration(understood)
    for (const chunk of chunks) restoration.add(chunk)
    return restoration.finish()
  }

  /** The same, piece by piece: a large state comes back in many short turns. Both methods throw as `restore` does. */
  static restoration(understood: number = commandLevel): { add(chunk: Uint8Array): void; finish(): ClusterState } {
    const reader = new SnapshotReader(understood)
    return { add: (chunk) => reader.add(chunk), finish: () => new ClusterState(reader.finish(), understood) }
  }

  /** The whole state as chunks of at most 256 KiB. Fixed at the call: entries may be applied while they are read. */
  snapshot(): Iterable<Uint8Array> {
    return writeSnapshot(this.#parts)
  }

  /**
   * Applies the next entry of the log. The outcome of a command (its `id` is empty when the bytes were no command), or
   * undefined for other entries and for entries that were applied before. Throws when entries are missing in between, which is
   * a bug of the caller; and a `LevelError`, having changed nothing, for an entry that only a newer version understands: this
   * state has come to its end then, and will throw the same again.
   */
  apply(entry: Entry): Outcome | undefined {
    const parts = this.#parts
    if (entry.index <= parts.appliedIndex) return undefined
    if (entry.index !== parts.appliedIndex + 1) throw new Error(`entry ${entry.index} after ${parts.appliedIndex}: entries are missing`)
    const decoded = entry.type === 'command' ? decodeCommand(entry.data, this.#understood) : undefined
    if (decoded !== undefined) this.#assertUnderstood(entry.index, decoded)
    parts.appliedIndex = entry.index
    if (entry.type === 'membership') this.#applyMembership(entry)
    return decoded === undefined ? undefined : this.#applyCommand(entry.index, decoded)
  }

  #assertUnderstood(index: number, decoded: DecodeResult): void {
    if (!decoded.ok) {
      if (decoded.level !== undefined) throw new LevelError(`entry ${index} of the log`, decoded.level, this.#understood)
      return
    }
    const { command } = decoded
    // A raise that is refused is refused by every version alike.
    if (command.kind !== 'raise-level' || command.to <= this.#understood) return
    if (this.#parts.commandIds.get(command.id) !== undefined || this.#raiseVerdict(command).code !== 'ok') return
    throw new LevelError(`the cluster (since entry ${index} of the log)`, command.to, this.#understood)
  }

  // — what was agreed on —

  get appliedIndex(): number {
    return this.#parts.appliedIndex
  }

  /** Highest level of commands that may be in the log (`level.ts`). */
  get level(): number {
    return this.#parts.level
  }

  /** Empty before `init`. */
  get clusterId(): string {
    return this.#parts.clusterId
  }

  /** Undefined before `init`. */
  get secrets(): ClusterSecrets | undefined {
    return this.#parts.secrets
  }

  get membership(): Membership {
    return this.#parts.membership
  }

  /** Number of the configuration in force; 0: none has been made yet. */
  get revision(): number {
    return this.#parts.history.newest
  }

  /** The configuration in force. Frozen. */
  get document(): ConfigurationDocument {
    return this.#document
  }

  /** The newest revision; undefined when there is none yet. */
  get current(): Revision | undefined {
    const meta = this.#parts.revisions.at(-1)
    return meta === undefined ? undefined : new StoredRevision(meta, () => this.#document)
  }

  /** One revision; undefined when it does not exist or is not kept any more. */
  revision_(revision: number): Revision | undefined {
    const { revisions } = this.#parts
    const meta = revisions[revision - (revisions[0]?.revision ?? 0)]
    return meta === undefined ? undefined : this.#stored(meta)
  }

  /** At most `limit` revisions, newest first; only those below `before` when it is given. Documents are read on demand. */
  revisions(before: number | undefined, limit: number): Revision[] {
    const { revisions } = this.#parts
    const oldest = revisions[0]?.revision ?? 0
    const end = before === undefined ? revisions.length : Math.max(0, Math.min(revisions.length, before - oldest))
    const start = Math.max(0, end - Math.min(limit, maxPage))
    return revisions.slice(start, end).toReversed().map((meta) => this.#stored(meta))
  }

  /** At most `limit` audit entries, newest first; only those with an index below `before` when it is given. */
  audit(before: number | undefined, limit: number): AuditEntry[] {
    return this.#parts.audit.page(before, Math.min(limit, maxPage))
  }

  /** Audit entries ever made, those included that are not kept any more. */
  get auditTotal(): number {
    return this.#parts.audit.total
  }

  get users(): StoredUser[] {
    return [...this.#parts.users.values()]
  }

  user(name: string): StoredUser | undefined {
    return this.#parts.users.get(name)
  }

  /** Whether a join token with this hash is unused; its expiry is not looked at. */
  hasToken(secretHash: string): boolean {
    return this.#parts.tokens.has(secretHash)
  }

  certificate(name: string): StoredCertificate | undefined {
    return this.#parts.certificates.get(name)
  }

  /** All, the names in order. The same list, with the same entries in it, until something changes. */
  get certificates(): readonly StoredCertificate[] {
    return this.#parts.certificates.list
  }

  /** Undefined until the first are made. Another object for each generation. */
  get ticketKeys(): StoredTicketKeys | undefined {
    return this.#parts.ticketKeys
  }

  session(key: string): SessionEntry | undefined {
    return this.#parts.sessions.get(key)
  }

  get sessionCount(): number {
    return this.#parts.sessions.size
  }

  /** Equal on nodes that have the same session entries, 16 hexadecimal digits. Kept up with each change: costs nothing to ask. */
  get sessionsHash(): string {
    return this.#parts.sessions.hash
  }

  /** All session entries, the least recently set first. Not to be kept across `apply`. */
  sessions(): Iterable<SessionUpdate> {
    return this.#parts.sessions
  }

  /** Those in at most `slots` places, to be gone on with later (`SessionEntries.scan`). */
  scanSessions(from: number, slots: number, each: (update: SessionUpdate) => unknown): number {
    return this.#parts.sessions.scan(from, slots, each)
  }

  /** From now on `applied` is told of each session update that an entry of the log brings. */
  watchSessions(applied: (update: SessionUpdate) => void): void {
    this.#sessionApplied = applied
  }

  /**
   * One hash over what nodes must agree on, to compare them: cluster, revision and document, members, users, unused join
   * tokens, certificates, and the whole audit log from its first entry on. Not part of it: the applied index and the command ids, which
   * move with every entry, and sessions. Cheap while none of it changes.
   */
  hash(sha256: (data: Uint8Array) => string = sha256Hex): string {
    if (this.#hash !== undefined) return this.#hash
    const { clusterId, revisions, membership, users, tokens, audit, certificates, ticketKeys, level } = this.#parts
    // Nodes of a version that knows no certificates come to the same hash as long as there can be none.
    const later = level < certificateLevel ? [] : [certificates.digest(sha256), ticketKeys?.index ?? 0]
    this.#hash = sha256(
      new TextEncoder().encode(
        JSON.stringify([
          'haechi-state-1', clusterId, this.revision, revisions.at(-1)?.hash ?? '', membership, [...users.values()], [...tokens.keys()],
          audit.total, audit.digest, ...later,
        ]),
      ),
    )
    return this.#hash
  }

  #stored(meta: RevisionMeta): Revision {
    const { history } = this.#parts
    return new StoredRevision(meta, () => JSON.parse(history.text(meta.revision)!) as ConfigurationDocument)
  }

  // — entries —

  #applyMembership(entry: Entry): void {
    const membership = readMembership(entry.data)
    if (membership === undefined) return
    const change = membershipChange(this.#parts.membership, membership)
    this.#parts.membership = membership
    this.#hash = undefined
    if (change !== undefined) this.#record(entry.index, this.#parts.lastEpochMs, system, change.action, change.detail, null)
  }

  #applyCommand(index: number, decoded: DecodeResult): Outcome {
    if (!decoded.ok) return { id: '', index, code: 'invalid', detail: decoded.detail, revision: this.revision }
    const { command } = decoded
    const ids = command.kind === 'sessions' ? this.#parts.sessionCommandIds : this.#parts.commandIds
    const before = ids.get(command.id)
    if (before !== undefined) {
      const code = before.code === 'ok' ? 'duplicate' : before.code
      const detail = `this command was applied before, at index ${before.index}: ${before.code}`
      return { id: command.id, index, code, detail, revision: this.revision }
    }
    if (command.atEpochMs > this.#parts.lastEpochMs) this.#parts.lastEpochMs = command.atEpochMs
    const { code, detail } = this.#execute(command, index)
    ids.add(command.id, { index, code })
    return { id: command.id, index, code, detail, revision: this.revision }
  }

  #execute(command: ReadCommand, index: number): Verdict {
    if (command.level !== undefined && command.level > this.#parts.level) {
      return { code: 'not-supported', detail: `it is of level ${command.level}, and the cluster's commands are of levels up to ${this.#parts.level} so far` }
    }
    switch (command.kind) {
      case 'init':
        return this.#init(command, index)
      case 'config-apply':
        return this.#configApply(command, index)
      case 'config-rollback':
        return this.#configRollback(command, index)
      case 'user-put':
        return this.#userPut(command, index)
      case 'user-delete':
        return this.#userDelete(command, index)
      case 'token-create':
        return this.#tokenCreate(command, index)
      case 'token-consume':
        return this.#tokenConsume(command, index)
      case 'raise-level':
        return this.#raiseLevel(command, index)
      case 'audit':
        return this.#change(command, index, command.action, command.detail)
      case 'sessions':
        for (const update of command.entries) {
          this.#parts.sessions.apply(update)
          this.#sessionApplied?.(update)
        }
        return ok
      case 'certificate-put':
      case 'certificate-remove':
      case 'ocsp-put':
      case 'ticket-keys': {
        const { code, detail, audit } = applyCertificateCommand(this.#parts, command, index)
        this.#hash = undefined
        return audit === undefined ? { code, detail } : this.#change(command, index, audit.action, audit.detail)
      }
      default:
        throw new Error(`unknown command ${JSON.stringify(command satisfies never)}`)
    }
  }

  /** Writes the audit entry of a change that has been made. */
  #change(command: ReadCommand, index: number, action: string, detail: string, revision: number | null = null): Verdict {
    this.#record(index, command.atEpochMs, command.actor, action, detail, revision)
    return ok
  }

  #record(index: number, atEpochMs: number, actor: Actor, action: string, detail: string, revision: number | null): void {
    this.#parts.audit.add({ index, atEpochMs, actor, action, detail, revision })
    this.#hash = undefined
  }

  #init(command: CommandOf<'init'>, index: number): Verdict {
    const parts = this.#parts
    if (parts.clusterId !== '') return { code: 'already-initialised', detail: `this is cluster ${parts.clusterId} already` }
    if (command.user.role !== 'administrator') return { code: 'invalid', detail: 'the first user must be an administrator' }
    const result = validateDocument(command.document)
    if (!result.ok) return invalidDocument(result)
    parts.clusterId = command.clusterId
    parts.secrets = command.secrets
    parts.users.set(command.user.name, command.user)
    this.#addRevision(result.document, command, 'first configuration', null)
    return this.#change(command, index, 'cluster.init', `cluster ${command.clusterId}, administrator ${command.user.name}`, this.revision)
  }

  // — the level —

  /** Depends on the log alone, not on what this version understands: all nodes must come to the same. */
  #raiseVerdict(command: CommandOf<'raise-level'>): Verdict {
    if (command.to <= this.#parts.level) return { code: 'ok', detail: `the level is ${this.#parts.level} already` }
    const missing = lacking(this.#parts.membership, command.support, command.to)
    return missing.length === 0 ? ok : { code: 'not-supported', detail: missing.join('; ') }
  }

  #raiseLevel(command: CommandOf<'raise-level'>, index: number): Verdict {
    const { level } = this.#parts
    const verdict = this.#raiseVerdict(command)
    if (verdict.code !== 'ok' || command.to <= level) return verdict
    this.#parts.level = command.to
    return this.#change(command, index, 'cluster.raise-level', `level ${level} → ${command.to}\n${supportText(command.support)}`)
  }

  // — configuration —

  #configApply(command: CommandOf<'config-apply'>, index: number): Verdict {
    const conflict = this.#conflict(command.expectRevision)
    if (conflict !== undefined) return conflict
    const result = validateDocument(command.document)
    if (!result.ok) return invalidDocument(result)
    return this.#replaceDocument(result.document, command, index, 'config.apply', '', null)
  }

  #configRollback(command: CommandOf<'config-rollback'>, index: number): Verdict {
    const conflict = this.#conflict(command.expectRevision)
    if (conflict !== undefined) return conflict
    const text = this.#parts.history.text(command.toRevision)
    if (text === undefined) return { code: 'not-found', detail: `there is no revision ${command.toRevision}` }
    // A version of the rules that is newer than the document may refuse it.
    const result = validateDocument(JSON.parse(text))
    if (!result.ok) return invalidDocument(result)
    const lead = `back to revision ${command.toRevision}`
    return this.#replaceDocument(result.document, command, index, 'config.rollback', lead, command.toRevision)
  }

  #conflict(expectRevision: number): Verdict | undefined {
    if (expectRevision === this.revision) return undefined
    return { code: 'revision-conflict', detail: `expected revision ${expectRevision}, the current one is ${this.revision}` }
  }

  #replaceDocument(
    document: ConfigurationDocument,
    command: CommandOf<'config-apply'> | CommandOf<'config-rollback'>,
    index: number,
    action: string,
    lead: string,
    rolledBackTo: number | null,
  ): Verdict {
    const changes = diffDocuments(this.#document, document, maxDetailLines)
    if (changes.length === 0) return { code: 'ok', detail: 'identical to the current revision' }
    this.#addRevision(document, command, command.comment, rolledBackTo)
    const comment = command.comment === '' ? '' : `“${command.comment}”`
    const detail = [lead, comment, ...changes.map((change) => change.text)].filter((line) => line !== '').join('\n')
    return this.#change(command, index, action, detail, this.revision)
  }

  #addRevision(document: ConfigurationDocument, command: ReadCommand, comment: string, rolledBackTo: number | null): void {
    const parts = this.#parts
    const text = canonicalText(document)
    const hash = sha256Hex(new TextEncoder().encode(text))
    parts.history.add(text)
    parts.revisions.push({
      revision: parts.history.newest,
      author: command.actor.name,
      from: command.actor.from,
      atEpochMs: command.atEpochMs,
      comment,
      rolledBackTo,
      hash,
    })
    const gone = parts.history.oldest - parts.revisions[0]!.revision
    if (gone > 0) parts.revisions = parts.revisions.slice(gone)
    this.#document = frozen(document)
    this.#hash = undefined
  }

  // — users —

  #userPut(command: CommandOf<'user-put'>, index: number): Verdict {
    const { users, retiredGeneration } = this.#parts
    const { user } = command
    const known = users.get(user.name)
    if (known === undefined && users.size >= stateLimits.users) return { code: 'invalid', detail: `there are ${stateLimits.users} users already` }
    if (known?.role === 'administrator' && user.role !== 'administrator' && this.#lastAdministrator(user.name)) {
      return { code: 'last-administrator', detail: `${user.name} is the last administrator` }
    }
    // Sessions name the generation: it must rise with every change of what they rest on, also when two changes were made
    // from the same reading, and must not come back with a namesake.
    const credentials = known !== undefined && (known.passwordHash !== user.passwordHash || known.role !== user.role)
    const lowestOfNew = retiredGeneration > 0 ? retiredGeneration + 1 : 0
    const lowest = known === undefined ? lowestOfNew : known.generation + (credentials ? 1 : 0)
    users.set(user.name, { ...user, generation: Math.max(user.generation, lowest) })
    const what = known === undefined ? `added as ${user.role}` : known.role !== user.role ? `${known.role} → ${user.role}` : ''
    const password = known !== undefined && known.passwordHash !== user.passwordHash ? 'password changed' : ''
    const changes = [what, password].filter((text) => text !== '').join(', ')
    return this.#change(command, index, 'user.put', `user ${user.name}: ${changes || 'unchanged'}`)
  }

  #userDelete(command: CommandOf<'user-delete'>, index: number): Verdict {
    const parts = this.#parts
    const known = parts.users.get(command.name)
    if (known === undefined) return { code: 'not-found', detail: `there is no user ${command.name}` }
    if (known.role === 'administrator' && this.#lastAdministrator(command.name)) {
      return { code: 'last-administrator', detail: `${command.name} is the last administrator` }
    }
    parts.users.delete(command.name)
    parts.retiredGeneration = Math.max(parts.retiredGeneration, known.generation)
    return this.#change(command, index, 'user.delete', `user ${command.name} (${known.role}) deleted`)
  }

  #lastAdministrator(name: string): boolean {
    return !this.users.some((user) => user.role === 'administrator' && user.name !== name)
  }

  // — join tokens —

  #tokenCreate(command: CommandOf<'token-create'>, index: number): Verdict {
    const { tokens } = this.#parts
    const { tokenId, secretHash, role, expiresEpochMs } = command
    if (tokens.has(secretHash)) return { code: 'invalid', detail: 'there is such a token already' }
    tokens.set(secretHash, { tokenId, secretHash, role, expiresEpochMs } satisfies StoredToken)
    if (tokens.size > stateLimits.tokens) tokens.delete(tokens.keys().next().value!)
    return this.#change(command, index, 'token.create', `join token ${tokenId} for a ${role}`)
  }

  #tokenConsume(command: CommandOf<'token-consume'>, index: number): Verdict {
    const { tokens, membership } = this.#parts
    const { peer } = command
    const token = tokens.get(command.secretHash)
    if (token === undefined) return { code: 'token-invalid', detail: 'the join token is not known here, or was used already' }
    if (command.nowEpochMs >= token.expiresEpochMs) return { code: 'token-invalid', detail: 'the join token has expired' }
    if (token.role !== peer.role) return { code: 'token-invalid', detail: `the join token is for a ${token.role}, not for a ${peer.role}` }
    const understood = command.commandLevel ?? 1
    if (understood < this.#parts.level) {
      return { code: 'not-supported', detail: `the version of ${peer.id} is too old: it understands command levels up to ${understood}, the cluster is at ${this.#parts.level}; install the cluster's version` }
    }
    if ([...membership.voters, ...membership.learners].some((known) => known.id === peer.id)) {
      return { code: 'invalid', detail: `there is a node named ${peer.id} already` }
    }
    tokens.delete(command.secretHash)
    const by = `${peer.id} (${peer.role}) at ${peer.address}`
    return this.#change(command, index, 'token.use', `join token ${token.tokenId} used by ${by}`)
  }
}

function emptyDocument(): ConfigurationDocument {
  const result = validateDocument({})
  if (!result.ok) throw new Error('the empty document is not valid')
  return result.document
}

function invalidDocument(result: Extract<ValidationResult, { ok: false }>): Verdict {
  const [first] = result.problems
  const more = result.problems.length > 1 ? ` (and ${result.problems.length - 1} more)` : ''
  return { code: 'invalid', detail: `${first!.field || 'the document'}: ${first!.message}${more}` }
}

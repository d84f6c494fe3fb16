/** What each command does, what it refuses, and what it leaves in the audit log. */
import test from 'ava'
import { createHash } from 'node:crypto'
import type { Entry, Membership, Peer } from '../../consensus/core/types.ts'
import { AuditLog, stateLimits } from './bounded.ts'
import { commandLimits, encode } from './command.ts'
import { ClusterState, encodeCommand } from './state.ts'
import type { Command, Outcome, StoredUser } from './types.ts'

const actor = { name: 'kim', from: '192.0.2.7', node: 'n1' }
const admin: StoredUser = { name: 'admin', role: 'administrator', passwordHash: 'argon2id$x', mustChangePassword: true, generation: 1 }
const web = (...names: string[]) => ({ haechi: 1, pools: [{ name: 'web', members: names.map((name, index) => ({ name, address: `10.0.0.${index + 1}`, port: 80 })) }] }) as never

type Body = Command extends infer C ? (C extends Command ? Omit<C, 'id' | 'actor' | 'atEpochMs'> & Partial<Pick<C, 'id' | 'atEpochMs'>> : never) : never

/** A state and the log that leads to it. */
class Cluster {
  state = ClusterState.empty()
  #next = 0

  entry(entry: Omit<Entry, 'index' | 'term'>): Outcome | undefined {
    return this.state.apply({ index: this.state.appliedIndex + 1, term: 1, ...entry })
  }

  run(body: Body): Outcome {
    const command = { id: `c${++this.#next}`, actor, atEpochMs: 1000 + this.#next, ...body } as Command
    return this.entry({ type: 'command', data: encodeCommand(command) })!
  }

  membership(membership: Membership): void {
    this.entry({ type: 'membership', data: new TextEncoder().encode(JSON.stringify(membership)) })
  }

  static initialised(): Cluster {
    const cluster = new Cluster()
    cluster.run({ kind: 'init', clusterId: 'c-1', user: admin, secrets: { sessionKey: 'key' }, document: {} as never })
    return cluster
  }
}

test('an empty state', (t) => {
  const state = ClusterState.empty()
  t.is(state.revision, 0)
  t.deepEqual(state.document, { haechi: 1, vips: [], pools: [], listeners: [] })
  t.is(state.current, undefined)
  t.is(state.secrets, undefined)
  t.deepEqual([state.revisions(undefined, 10), state.audit(undefined, 10), state.users], [[], [], []])
})

test('init makes cluster, secrets, user and revision 1, once', (t) => {
  const cluster = new Cluster()
  const outcome = cluster.run({ kind: 'init', clusterId: 'c-1', user: admin, secrets: { sessionKey: 'key' }, document: web('a') })
  t.like(outcome, { code: 'ok', revision: 1, index: 1, id: 'c1' })
  const { state } = cluster
  t.is(state.clusterId, 'c-1')
  t.deepEqual(state.secrets, { sessionKey: 'key' })
  t.deepEqual(state.user('admin'), admin)
  t.is(state.document.pools[0]!.connectTimeout, '5s')
  t.like(state.audit(undefined, 1)[0], { action: 'cluster.init', index: 1, revision: 1, actor })
  const again = cluster.run({ kind: 'init', clusterId: 'c-2', user: { ...admin, name: 'eve' }, secrets: { sessionKey: 'other' }, document: {} as never })
  t.like(again, { code: 'already-initialised', revision: 1 })
  t.is(state.clusterId, 'c-1')
  t.is(state.user('eve'), undefined)
})

test('the first user is an administrator, and the first document is valid', (t) => {
  const cluster = new Cluster()
  const init = { kind: 'init', clusterId: 'c', secrets: { sessionKey: 'k' } } as const
  t.is(cluster.run({ ...init, user: { ...admin, role: 'viewer' }, document: {} as never }).code, 'invalid')
  t.is(cluster.run({ ...init, user: admin, document: { pools: 1 } as never }).code, 'invalid')
  t.is(cluster.state.clusterId, '')
  t.deepEqual(cluster.state.users, [])
})

test('a configuration is applied, recorded and kept', (t) => {
  const cluster = Cluster.initialised()
  const outcome = cluster.run({ kind: 'config-apply', expectRevision: 1, document: web('a', 'b'), comment: 'more web' })
  t.like(outcome, { code: 'ok', revision: 2 })
  const { state } = cluster
  t.deepEqual(state.document.pools[0]!.members.map((member) => member.name), ['a', 'b'])
  t.like(state.current, { revision: 2, author: 'kim', from: '192.0.2.7', comment: 'more web', rolledBackTo: null })
  t.is(state.current!.hash, createHash('sha256').update(JSON.stringify(state.document)).digest('hex'))
  t.like(state.audit(undefined, 1)[0], { action: 'config.apply', revision: 2, detail: '“more web”\npool web added' })
  t.deepEqual(state.revision_(1)!.document.pools, [])
  t.deepEqual(state.revision_(2)!.document, state.document)
  t.is(state.revision_(0), undefined)
  t.is(state.revision_(3), undefined)
  t.is(state.revision_(1.5), undefined)
})

test('a stale revision is refused and changes nothing', (t) => {
  const cluster = Cluster.initialised()
  const before = cluster.state.hash()
  for (const expectRevision of [0, 2, 99]) {
    t.like(cluster.run({ kind: 'config-apply', expectRevision, document: web('a'), comment: '' }), { code: 'revision-conflict', revision: 1 })
    t.like(cluster.run({ kind: 'config-rollback', expectRevision, toRevision: 1, comment: '' }), { code: 'revision-conflict', revision: 1 })
  }
  t.is(cluster.state.hash(), before)
})

test('an invalid document is refused by the state machine too, with the field', (t) => {
  const cluster = Cluster.initialised()
  const before = cluster.state.hash()
  const outcome = cluster.run({ kind: 'config-apply', expectRevision: 1, document: { pools: [{ name: 'web', retries: 99 }] } as never, comment: '' })
  t.is(outcome.code, 'invalid')
  t.regex(outcome.detail, /^\/pools\/0\/retries: expected a whole number/)
  t.is(cluster.state.hash(), before)
})

test('an identical document makes no revision and no audit entry, however it is written', (t) => {
  const cluster = Cluster.initialised()
  cluster.run({ kind: 'config-apply', expectRevision: 1, document: web('a'), comment: '' })
  const before = cluster.state.hash()
  const same = { listeners: [], pools: [{ retries: 2, members: [{ port: 80, name: 'a', address: '10.0.0.1' }], name: 'web' }] }
  t.like(cluster.run({ kind: 'config-apply', expectRevision: 2, document: same as never, comment: 'again' }), { code: 'ok', revision: 2 })
  t.like(cluster.run({ kind: 'config-rollback', expectRevision: 2, toRevision: 2, comment: '' }), { code: 'ok', revision: 2 })
  t.is(cluster.state.hash(), before)
})

test('a roll back makes a new revision with the old document', (t) => {
  const cluster = Cluster.initialised()
  cluster.run({ kind: 'config-apply', expectRevision: 1, document: web('a'), comment: '' })
  cluster.run({ kind: 'config-apply', expectRevision: 2, document: web('a', 'b'), comment: '' })
  t.like(cluster.run({ kind: 'config-rollback', expectRevision: 3, toRevision: 2, comment: 'oops' }), { code: 'ok', revision: 4 })
  const { state } = cluster
  t.like(state.current, { revision: 4, rolledBackTo: 2, comment: 'oops' })
  t.is(state.current!.hash, state.revision_(2)!.hash)
  t.deepEqual(state.document, state.revision_(2)!.document)
  t.like(state.audit(undefined, 1)[0], { action: 'config.rollback', detail: 'back to revision 2\n“oops”\npool web: member b removed' })
  t.is(cluster.run({ kind: 'config-rollback', expectRevision: 4, toRevision: 77, comment: '' }).code, 'not-found')
  t.deepEqual(state.revisions(undefined, 10).map((revision) => revision.revision), [4, 3, 2, 1])
  t.deepEqual(state.revisions(3, 1).map((revision) => revision.revision), [2])
  t.deepEqual(state.revisions(1, 10), [])
  t.deepEqual(state.revisions(undefined, 10).map((revision) => revision.document.pools.length), [1, 1, 1, 0])
})

test('nobody can change the document that all share', (t) => {
  const { state } = Cluster.initialised()
  t.throws(() => state.document.pools.push({} as never), { instanceOf: TypeError })
})

test('a command that comes twice is applied once, and is told its first fate', (t) => {
  const cluster = Cluster.initialised()
  t.like(cluster.run({ kind: 'config-apply', id: 'x', expectRevision: 1, document: web('a'), comment: '' }), { code: 'ok', revision: 2 })
  const before = cluster.state.hash()
  t.like(cluster.run({ kind: 'config-apply', id: 'x', expectRevision: 1, document: web('a'), comment: '' }), { id: 'x', code: 'duplicate', revision: 2 })
  t.like(cluster.run({ kind: 'config-apply', id: 'y', expectRevision: 9, document: web(), comment: '' }), { code: 'revision-conflict' })
  // Its time must not come later.
  for (let revision = 2; revision < 9; revision++) cluster.run({ kind: 'config-apply', expectRevision: revision, document: web(`m${revision}`), comment: '' })
  t.like(cluster.run({ kind: 'config-apply', id: 'y', expectRevision: 9, document: web(), comment: '' }), { code: 'revision-conflict', revision: 9 })
  t.not(cluster.state.hash(), before)
})

test('a flood of session batches does not forget the ids of other commands', (t) => {
  const cluster = Cluster.initialised()
  cluster.run({ kind: 'audit', id: 'kept', action: 'a', detail: '' })
  for (let i = 0; i <= stateLimits.commandIds; i++) cluster.run({ kind: 'sessions', entries: [] })
  t.is(cluster.run({ kind: 'audit', id: 'kept', action: 'a', detail: '' }).code, 'duplicate')
})

test('ids are remembered in a bounded window', (t) => {
  const cluster = Cluster.initialised()
  cluster.run({ kind: 'sessions', id: 'old', entries: [] })
  for (let i = 0; i < stateLimits.commandIds - 1; i++) cluster.run({ kind: 'sessions', entries: [] })
  t.is(cluster.run({ kind: 'sessions', id: 'old', entries: [] }).code, 'duplicate')
  cluster.run({ kind: 'sessions', entries: [] })
  t.is(cluster.run({ kind: 'sessions', id: 'old', entries: [] }).code, 'ok')
})

test('users are added, changed and deleted', (t) => {
  const cluster = Cluster.initialised()
  const lee: StoredUser = { name: 'lee', role: 'viewer', passwordHash: 'h1', mustChangePassword: false, generation: 5 }
  t.is(cluster.run({ kind: 'user-put', user: lee }).code, 'ok')
  t.deepEqual(cluster.state.user('lee'), lee)
  cluster.run({ kind: 'user-put', user: { ...lee, role: 'operator', passwordHash: 'h2', generation: 6 } })
  t.like(cluster.state.audit(undefined, 1)[0], { action: 'user.put', detail: 'user lee: viewer → operator, password changed' })
  t.is(cluster.run({ kind: 'user-delete', name: 'lee' }).code, 'ok')
  t.is(cluster.state.user('lee'), undefined)
  t.is(cluster.run({ kind: 'user-delete', name: 'lee' }).code, 'not-found')
  t.false(JSON.stringify(cluster.state.audit(undefined, 100)).includes('h2'))
})

test('sessions of a user never come back to life', (t) => {
  const cluster = Cluster.initialised()
  const lee: StoredUser = { name: 'lee', role: 'viewer', passwordHash: 'h1', mustChangePassword: false, generation: 5 }
  cluster.run({ kind: 'user-put', user: lee })
  // Two changes that were made from the same reading.
  cluster.run({ kind: 'user-put', user: { ...lee, passwordHash: 'h2', generation: 6 } })
  cluster.run({ kind: 'user-put', user: { ...lee, passwordHash: 'h3', generation: 6 } })
  t.is(cluster.state.user('lee')!.generation, 7)
  cluster.run({ kind: 'user-put', user: { ...lee, passwordHash: 'h3', mustChangePassword: true, generation: 0 } })
  t.is(cluster.state.user('lee')!.generation, 7)
  // A namesake.
  cluster.run({ kind: 'user-delete', name: 'lee' })
  cluster.run({ kind: 'user-put', user: { ...lee, generation: 1 } })
  t.is(cluster.state.user('lee')!.generation, 8)
})

test('the last administrator can be neither deleted nor demoted', (t) => {
  const cluster = Cluster.initialised()
  t.is(cluster.run({ kind: 'user-delete', name: 'admin' }).code, 'last-administrator')
  t.is(cluster.run({ kind: 'user-put', user: { ...admin, role: 'operator' } }).code, 'last-administrator')
  t.is(cluster.state.user('admin')!.role, 'administrator')
  cluster.run({ kind: 'user-put', user: { ...admin, name: 'second' } })
  t.is(cluster.run({ kind: 'user-put', user: { ...admin, role: 'operator' } }).code, 'ok')
  t.is(cluster.run({ kind: 'user-delete', name: 'second' }).code, 'last-administrator')
})

test('the number of users is limited', (t) => {
  const cluster = Cluster.initialised()
  for (let i = 1; i < stateLimits.users; i++) cluster.run({ kind: 'user-put', user: { ...admin, name: `u${i}` } })
  t.is(cluster.run({ kind: 'user-put', user: { ...admin, name: 'one-too-many' } }).code, 'invalid')
  t.is(cluster.run({ kind: 'user-put', user: { ...admin, name: 'u1', role: 'viewer' } }).code, 'ok')
})

const peer = (id: string, role: 'node' | 'witness' = 'node'): Peer => ({ id, role, address: `192.0.2.${id.length}:7400`, apiAddress: '' })

test('a join token works once, in time, and for its role', (t) => {
  const cluster = Cluster.initialised()
  const consume = (secretHash: string, who: Peer, nowEpochMs: number) => cluster.run({ kind: 'token-consume', secretHash, peer: who, nowEpochMs })
  cluster.run({ kind: 'token-create', tokenId: 't1', secretHash: 'hash1', role: 'node', expiresEpochMs: 5000 })
  t.true(cluster.state.hasToken('hash1'))
  t.is(cluster.run({ kind: 'token-create', tokenId: 't2', secretHash: 'hash1', role: 'node', expiresEpochMs: 9000 }).code, 'invalid')
  t.is(consume('other', peer('n2'), 1).code, 'token-invalid')
  t.is(consume('hash1', peer('n2', 'witness'), 1).code, 'token-invalid')
  t.is(consume('hash1', peer('n2'), 5000).code, 'token-invalid')
  cluster.membership({ voters: [peer('n1')], learners: [] })
  t.is(consume('hash1', peer('n1'), 1).code, 'invalid')
  t.true(cluster.state.hasToken('hash1'))
  t.is(consume('hash1', peer('n2'), 4999).code, 'ok')
  t.like(cluster.state.audit(undefined, 1)[0], { action: 'token.use', detail: 'join token t1 used by n2 (node) at 192.0.2.2:7400' })
  t.is(consume('hash1', peer('n3'), 1).code, 'token-invalid')
  t.false(JSON.stringify(cluster.state.audit(undefined, 100)).includes('hash1'))
})

test('the number of unused tokens is limited', (t) => {
  const cluster = Cluster.initialised()
  for (let i = 0; i <= stateLimits.tokens; i++) cluster.run({ kind: 'token-create', tokenId: `t${i}`, secretHash: `h${i}`, role: 'node', expiresEpochMs: 1 })
  t.false(cluster.state.hasToken('h0'))
  t.true(cluster.state.hasToken('h1'))
})

test('membership entries set the members and are audited', (t) => {
  const cluster = Cluster.initialised()
  const [n1, n2, n3] = [peer('n1'), peer('n2'), peer('n3', 'witness')]
  const newest = () => cluster.state.audit(undefined, 1)[0]!
  cluster.membership({ voters: [n1, n3], learners: [] })
  t.like(newest(), { action: 'node.add', actor: { name: 'system', from: '', node: '' }, revision: null, atEpochMs: 1001 })
  t.is(newest().detail, 'n1 (node) at 192.0.2.2:7400 added\nn3 (witness) at 192.0.2.2:7400 added')
  cluster.membership({ voters: [n1, n3], learners: [n2] })
  t.like(newest(), { action: 'node.add', detail: 'n2 (node) at 192.0.2.2:7400 added as learner' })
  cluster.membership({ voters: [n1, n2, n3], learners: [] })
  t.like(newest(), { action: 'node.promote', detail: 'n2 (node) votes now' })
  const total = cluster.state.auditTotal
  cluster.membership({ voters: [n1, n2, n3], learners: [] })
  t.is(cluster.state.auditTotal, total)
  cluster.membership({ voters: [n1, { ...n2, address: '192.0.2.99:1' }], learners: [] })
  t.like(newest(), { action: 'node.change', detail: 'n2: 192.0.2.2:7400 → 192.0.2.99:1\nn3 (witness) removed' })
  cluster.membership({ voters: [n1], learners: [] })
  t.like(newest(), { action: 'node.remove', detail: 'n2 (node) removed' })
  t.deepEqual(cluster.state.membership, { voters: [n1], learners: [] })
  for (const text of ['', '{', '[]', '{"voters":[{}],"learners":[]}', '{"voters":{},"learners":[]}', 'null']) {
    t.is(cluster.entry({ type: 'membership', data: new TextEncoder().encode(text) }), undefined)
  }
  t.is(cluster.entry({ type: 'membership', data: Uint8Array.of(0xff, 0xfe) }), undefined)
  t.deepEqual(cluster.state.membership, { voters: [n1], learners: [] })
})

test('audit entries are written, cut when too long, and read in pages', (t) => {
  const cluster = Cluster.initialised()
  for (let i = 0; i < 5; i++) cluster.run({ kind: 'audit', action: 'session.sign-in', detail: `user ${i}` })
  cluster.run({ kind: 'audit', action: 'session.sign-in', detail: '한'.repeat(commandLimits.text + 1) })
  const [newest] = cluster.state.audit(undefined, 1)
  t.is(newest!.detail.length, commandLimits.text)
  const indexes = cluster.state.audit(undefined, 100).map((entry) => entry.index)
  t.deepEqual(indexes, [7, 6, 5, 4, 3, 2, 1])
  t.deepEqual(cluster.state.audit(5, 2).map((entry) => entry.index), [4, 3])
  t.deepEqual(cluster.state.audit(1, 2), [])
})

test('the audit log is bounded, and its digest covers what was dropped', (t) => {
  const build = (first: string) => {
    const log = new AuditLog()
    const add = (index: number, detail: string) => log.add({ index, atEpochMs: 1, actor, action: 'a', detail, revision: null })
    add(1, first)
    for (let index = 2; index <= stateLimits.auditEntries + 5000; index++) add(index, '')
    return log
  }
  const [one, two] = [build('x'), build('y')]
  t.is(one.entries().length, stateLimits.auditEntries)
  t.is(one.entries()[0]!.index, 5001)
  t.deepEqual(one.page(5003, 10).map((entry) => entry.index), [5002, 5001])
  t.is(one.total, stateLimits.auditEntries + 5000)
  t.deepEqual(one.entries(), two.entries())
  t.not(one.digest, two.digest)
  const long = new AuditLog()
  for (let index = 1; index <= 9; index++) long.add({ index, atEpochMs: 1, actor, action: 'a', detail: 'x'.repeat(stateLimits.auditCharacters / 4), revision: null })
  t.deepEqual(long.entries().map((entry) => entry.index), [7, 8, 9])
})

test('half a surrogate pair is neither refused nor different after a restore', (t) => {
  const cluster = Cluster.initialised()
  t.is(cluster.run({ kind: 'audit', action: 'a', detail: 'x\ud800y' }).code, 'ok')
  t.is(cluster.run({ kind: 'audit', action: 'a', detail: `${'x'.repeat(commandLimits.text - 2)}😀😀` }).code, 'ok')
  t.is(cluster.state.audit(undefined, 2)[1]!.detail, 'x\ufffdy')
  t.deepEqual(ClusterState.restore(cluster.state.snapshot()).audit(undefined, 9), cluster.state.audit(undefined, 9))
})

test('session entries are set, moved to the end and deleted', (t) => {
  const cluster = Cluster.initialised()
  const audited = cluster.state.auditTotal
  cluster.run({ kind: 'sessions', entries: [{ key: 'k1', member: 'web/a', ttlMs: 1000 }, { key: 'k2', member: 'web/b', ttlMs: 2000 }] })
  cluster.run({ kind: 'sessions', entries: [{ key: 'k1', member: 'web/b', ttlMs: 500 }, { key: 'k3', member: 'web/a', ttlMs: 0 }] })
  t.deepEqual([...cluster.state.sessions()], [{ key: 'k2', member: 'web/b', ttlMs: 2000 }, { key: 'k1', member: 'web/b', ttlMs: 500 }])
  cluster.run({ kind: 'sessions', entries: [{ key: 'k2', member: '', ttlMs: 0 }] })
  t.is(cluster.state.session('k2'), undefined)
  t.is(cluster.state.sessionCount, 1)
  t.is(cluster.state.auditTotal, audited)
})

/** Bytes that are no command, or one of the wrong shape. */
const good = { id: 'i', actor, atEpochMs: 1, kind: 'audit', action: 'a', detail: 'd' }
const garbage: readonly (readonly [string, unknown])[] = [
  ['empty', new Uint8Array()],
  ['one byte too many', Uint8Array.from([...encode(good), 0xc0])],
  ['one byte too few', encode(good).slice(0, -1)],
  ['an array with four thousand million entries', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
  ['a map with four thousand million entries', Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)],
  ['a text that is longer than everything', Uint8Array.of(0xdb, 0xff, 0xff, 0xff, 0xff)],
  ['a million levels', new Uint8Array(1_000_000).fill(0x91)],
  ['an extension type', Uint8Array.of(0xd4, 0x00, 0x00)],
  ['the unused type', Uint8Array.of(0xc1)],
  ['text that is not UTF-8', Uint8Array.of(0xa2, 0xff, 0xfe)],
  ['a number', encode(1)],
  ['null', encode(null)],
  ['a list', encode([good])],
  ['no id', { ...good, id: undefined }],
  ['an id that is too long', { ...good, id: 'x'.repeat(65) }],
  ['an unknown kind', { ...good, kind: 'reboot' }],
  ['kind of the prototype', { ...good, kind: 'constructor' }],
  ['no actor', { ...good, actor: null }],
  ['actor with a number', { ...good, actor: { ...actor, name: 7 } }],
  ['time with fraction', { ...good, atEpochMs: 1.5 }],
  ['time that is not a number', { ...good, atEpochMs: NaN }],
  ['negative time', { ...good, atEpochMs: -1 }],
  ['user without role', { ...good, kind: 'user-put', user: { ...admin, role: 'root' } }],
  ['peer with a long id', { ...good, kind: 'token-consume', secretHash: 'h', nowEpochMs: 1, peer: peer('n'.repeat(64)) }],
  ['too many sessions', { ...good, kind: 'sessions', entries: Array.from({ length: commandLimits.sessionEntries + 1 }, () => ({ key: 'k', member: 'm', ttlMs: 1 })) }],
  ['session for ever', { ...good, kind: 'sessions', entries: [{ key: 'k', member: 'm', ttlMs: Number.MAX_SAFE_INTEGER }] }],
  ['session without key', { ...good, kind: 'sessions', entries: [{ key: '', member: 'm', ttlMs: 1 }] }],
]
for (const [what, bytes] of garbage) {
  test(`garbage changes nothing: ${what}`, (t) => {
    const cluster = Cluster.initialised()
    const before = cluster.state.hash()
    const data = bytes instanceof Uint8Array ? bytes : encode(bytes)
    const outcome = cluster.entry({ type: 'command', data })
    t.like(outcome, { code: 'invalid', id: '', index: 2, revision: 1 })
    t.truthy(outcome!.detail)
    t.is(cluster.state.hash(), before)
    t.is(cluster.run({ kind: 'audit', id: 'i', action: 'a', detail: '' }).code, 'ok')
  })
}

test('the good command that the garbage is made of is good', (t) => {
  t.like(Cluster.initialised().entry({ type: 'command', data: encode(good) }), { code: 'ok', id: 'i' })
})

test('entries that were applied before are ignored, missing ones are a bug', (t) => {
  const cluster = Cluster.initialised()
  cluster.entry({ type: 'noop', data: new Uint8Array() })
  t.is(cluster.state.apply({ index: 1, term: 1, type: 'command', data: encode(good) }), undefined)
  t.is(cluster.state.auditTotal, 1)
  t.throws(() => cluster.state.apply({ index: 4, term: 1, type: 'noop', data: new Uint8Array() }), { message: /entries are missing/ })
})

test('the hash says what nodes must agree on, and nothing of what moves by itself', (t) => {
  const [one, two] = [Cluster.initialised(), Cluster.initialised()]
  t.is(one.state.hash(), two.state.hash())
  one.entry({ type: 'noop', data: new Uint8Array() })
  one.run({ kind: 'sessions', entries: [{ key: 'k', member: 'm', ttlMs: 1 }] })
  one.run({ kind: 'user-delete', name: 'nobody' })
  t.is(one.state.hash(), two.state.hash())
  t.is(one.state.hash((data) => createHash('sha256').update(data).digest('hex')), two.state.hash())
  const seen = new Set([one.state.hash()])
  const changed = () => {
    t.false(seen.has(one.state.hash()))
    seen.add(one.state.hash())
  }
  one.run({ kind: 'audit', action: 'a', detail: '' })
  changed()
  one.run({ kind: 'config-apply', expectRevision: 1, document: web('a'), comment: '' })
  changed()
  one.run({ kind: 'user-put', user: { ...admin, name: 'second' } })
  changed()
  one.membership({ voters: [peer('n1')], learners: [] })
  changed()
  one.run({ kind: 'token-create', tokenId: 't', secretHash: 'h', role: 'node', expiresEpochMs: 1 })
  changed()
})

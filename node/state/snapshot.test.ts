/** Same log, same bytes; a snapshot anywhere on the way changes nothing of what follows. */
import test from 'ava'
import * as fc from 'fast-check'
import type { Entry } from '../../consensus/core/types.ts'
import { arbitraryDocument, randomness } from '../config/fixture/documents.ts'
import { encode } from './command.ts'
import { decodeMsgpack } from './msgpack.ts'
import { maxChunkBytes } from './snapshot.ts'
import { ClusterState, encodeCommand } from './state.ts'
import type { Command } from './types.ts'

const name = fc.constantFrom('kim', 'lee', 'park', '최')
const user = fc.record({
  name,
  role: fc.constantFrom('viewer', 'operator', 'administrator'),
  passwordHash: fc.constantFrom('h1', 'h2'),
  mustChangePassword: fc.boolean(),
  generation: fc.nat(5),
})
const peer = fc.record({ id: fc.constantFrom('n1', 'n2', 'n3'), role: fc.constantFrom('node', 'witness'), address: fc.constantFrom('a:1', 'b:2'), apiAddress: fc.constantFrom('', 'a:3') })
const revision = fc.nat(12)
/** Levels of commands: some that the log comes to, and some that it does not. */
const understood = 3
const body = fc.oneof(
  fc.record({ kind: fc.constant('init'), clusterId: fc.constant('c'), user, secrets: fc.constant({ sessionKey: 'k' }), document: arbitraryDocument }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('config-apply'), expectRevision: revision, document: fc.oneof(arbitraryDocument, fc.object({ maxDepth: 2 })), comment: fc.string() }) },
  fc.record({ kind: fc.constant('config-rollback'), expectRevision: revision, toRevision: revision, comment: fc.string() }),
  fc.record({ kind: fc.constant('user-put'), user }),
  fc.record({ kind: fc.constant('user-delete'), name }),
  fc.record({ kind: fc.constant('token-create'), tokenId: name, secretHash: name, role: fc.constantFrom('node', 'witness'), expiresEpochMs: fc.nat(10) }),
  fc.record({ kind: fc.constant('token-consume'), secretHash: name, peer, nowEpochMs: fc.nat(10) }),
  fc.record({ kind: fc.constant('raise-level'), to: fc.nat(understood), support: fc.constant(['n1', 'n2', 'n3'].map((id) => ({ id, commandLevel: 2, version: '1' }))) }),
  fc.record({ kind: fc.constant('audit'), level: fc.integer({ min: 1, max: understood }), action: fc.constant('a.b'), detail: fc.string({ unit: 'binary' }) }),
  fc.record({ kind: fc.constant('certificate-put'), level: fc.integer({ min: 1, max: 2 }), certificate: fc.oneof(
    fc.record({ kind: fc.constant('key-pair'), name: fc.constantFrom('a', 'b'), chain: fc.constantFrom('x', 'y'), sealedKey: fc.uint8Array({ minLength: 1, maxLength: 9 }), ocspResponse: fc.uint8Array({ maxLength: 4 }), ocspFetch: fc.boolean() }),
    fc.record({ kind: fc.constant('authority'), name: fc.constantFrom('a', 'c'), certificates: fc.constantFrom('x', 'y'), revocations: fc.constantFrom('', 'z') }),
  ), summary: fc.string(), expect: fc.constantFrom(undefined, 0, 5) }),
  fc.record({ kind: fc.constant('certificate-remove'), level: fc.constant(2), name: fc.constantFrom('a', 'b', 'c') }),
  fc.record({ kind: fc.constant('ocsp-put'), level: fc.constant(2), name: fc.constantFrom('a', 'b'), expect: fc.nat(40), response: fc.uint8Array({ maxLength: 9 }) }),
  fc.record({ kind: fc.constant('ticket-keys'), level: fc.constant(2), expectGeneration: fc.nat(2), sealed: fc.uint8Array({ minLength: 1, maxLength: 9 }) }),
  fc.record({ kind: fc.constant('sessions'), entries: fc.array(fc.record({ key: name, member: name, ttlMs: fc.nat(3) }), { maxLength: 4 }) }),
)
/** `current`: the revision is replaced by the one of the time, so that changes are made and not only refused. */
const command = fc.record({ id: fc.nat(40).map((n) => `id${n}`), actor: fc.record({ name, from: fc.string(), node: fc.constant('n1') }), atEpochMs: fc.nat(), body, current: fc.boolean() })

type Step = { readonly type: Entry['type']; readonly data: (state: ClusterState) => Uint8Array }
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: command.map(({ body, current, ...base }): Step => ({
      type: 'command',
      data: (state) => encodeCommand({ ...base, ...body, ...(current && 'expectRevision' in body ? { expectRevision: state.revision } : {}) } as Command),
    })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ type: 'noop', data: () => new Uint8Array() }) },
  {
    weight: 1,
    arbitrary: fc.record({ voters: fc.uniqueArray(peer, { selector: ({ id }) => id }), learners: fc.constant([]) }).map((membership): Step => ({ type: 'membership', data: () => new TextEncoder().encode(JSON.stringify(membership)) })),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom<Entry['type']>('command', 'membership'), bytes: fc.uint8Array({ maxLength: 60 }) }).map(({ type, bytes }): Step => ({ type, data: () => bytes })) },
)

function bytesOf(state: ClusterState): string {
  return Buffer.concat([...state.snapshot()]).toString('hex')
}

test('the same log gives the same bytes, outcomes and hash, whether or not the state was restored on the way', (t) => {
  t.plan(2)
  const codes = new Set<string>()
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }), fc.nat(), (steps, cut) => {
      const one = ClusterState.empty(understood)
      let two = ClusterState.empty(understood)
      for (const [at, { type, data }] of steps.entries()) {
        const entry: Entry = { index: at + 1, term: 1, type, data: data(one) }
        const outcome = one.apply(entry)
        const other = two.apply(entry)
        if (outcome !== undefined) codes.add(outcome.code)
        if (JSON.stringify(outcome) !== JSON.stringify(other)) return false
        if (at === cut % steps.length) two = ClusterState.restore([...two.snapshot()], understood)
      }
      if (one.hash() !== two.hash() || bytesOf(one) !== bytesOf(two)) return false
      // What readers see is the same too.
      const seen = (state: ClusterState) => JSON.stringify([state.document, state.users, state.membership, state.secrets ?? null, state.audit(undefined, 99), [...state.sessions()], state.certificates, state.ticketKeys ?? null, state.revisions(undefined, 99).map((r) => r.document)])
      return seen(one) === seen(two)
    }),
    randomness(t, 60),
  )
  // The random commands do reach what they are meant to.
  t.deepEqual(['already-initialised', 'duplicate', 'invalid', 'not-found', 'not-supported', 'ok', 'revision-conflict'].filter((code) => !codes.has(code)), [])
  t.pass()
})

test('no bytes make apply throw, and what decodes at all decodes to what was encoded', (t) => {
  t.plan(2)
  const valid = encodeCommand({ id: 'i', actor: { name: 'n', from: '', node: 'n1' }, atEpochMs: 1, kind: 'config-apply', expectRevision: 0, comment: '', document: { haechi: 1, vips: [], pools: [], listeners: [] } })
  fc.assert(
    fc.property(fc.array(fc.record({ at: fc.nat(valid.length - 1), byte: fc.nat(255) }), { maxLength: 3 }), fc.nat(valid.length), (changes, length) => {
      const data = valid.slice(0, length)
      for (const { at, byte } of changes) if (at < length) data[at] = byte
      return ClusterState.empty().apply({ index: 1, term: 1, type: 'command', data }) !== undefined
    }),
    randomness(t, 2000),
  )
  t.pass()
  // A key `__proto__` is no field of anything here, and does not become a prototype.
  const plain = fc.jsonValue({ maxDepth: 5 }).filter((value) => !JSON.stringify(value).includes('__proto__'))
  fc.assert(fc.property(plain, (value) => JSON.stringify(decodeMsgpack(encode(value))) === JSON.stringify(value)), randomness(t, 500))
  t.pass()
})

function large(): ClusterState {
  const state = ClusterState.empty()
  const base = { actor: { name: 'n', from: '', node: 'n1' }, atEpochMs: 1 }
  const run = (id: string, body: object) => state.apply({ index: state.appliedIndex + 1, term: 1, type: 'command', data: encodeCommand({ ...base, id, ...body } as Command) })
  for (let i = 0; i < 10; i++) {
    run(`s${i}`, { kind: 'sessions', entries: Array.from({ length: 5000 }, (_, k) => ({ key: `session ${i} ${k}`, member: 'web/a', ttlMs: 1000 })) })
  }
  const members = Array.from({ length: 4000 }, (_, i) => ({ name: `m${i}`, address: `10.0.${i >> 8}.${i & 255}`, port: 80 }))
  run('c1', { kind: 'config-apply', expectRevision: 0, comment: '', document: { pools: [{ name: 'web', members }] } })
  run('c2', { kind: 'config-apply', expectRevision: 1, comment: '', document: { pools: [{ name: 'web', members: members.slice(1) }] } })
  return state
}

test('a large state comes in bounded chunks, and back from chunks of any size', (t) => {
  const state = large()
  const chunks = [...state.snapshot()]
  t.true(chunks.length > 3)
  t.true(chunks.every((chunk) => chunk.length <= maxChunkBytes))
  const whole = Buffer.concat(chunks)
  for (const size of [1000, 7, whole.length]) {
    function* cut(): Generator<Uint8Array> {
      for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size)
    }
    const back = ClusterState.restore(cut())
    t.is(back.sessionCount, 50_000)
    t.is(back.document.pools[0]!.members.length, 3999)
    t.is(back.revision_(1)!.document.pools[0]!.members.length, 4000)
    t.true(Buffer.concat([...back.snapshot()]).equals(whole))
  }
})

test('a snapshot is of the moment of the call, whatever is applied while it is read', (t) => {
  const state = large()
  const expected = Buffer.concat([...state.snapshot()])
  const parts: Uint8Array[] = []
  for (const chunk of state.snapshot()) {
    parts.push(chunk)
    const data = encodeCommand({ id: `during ${parts.length}`, actor: { name: '', from: '', node: '' }, atEpochMs: 9, kind: 'sessions', entries: [{ key: 'new', member: 'm', ttlMs: 1 }, { key: 'session 0 0', member: '', ttlMs: 0 }] })
    state.apply({ index: state.appliedIndex + 1, term: 1, type: 'command', data })
    const audit = encodeCommand({ id: `audit ${parts.length}`, actor: { name: '', from: '', node: '' }, atEpochMs: 9, kind: 'audit', action: 'a', detail: '' })
    state.apply({ index: state.appliedIndex + 1, term: 1, type: 'command', data: audit })
    const change = encodeCommand({ id: `change ${parts.length}`, actor: { name: '', from: '', node: '' }, atEpochMs: 9, kind: 'config-apply', expectRevision: state.revision, comment: '', document: { pools: [{ name: `p${parts.length}` }] } as never })
    state.apply({ index: state.appliedIndex + 1, term: 1, type: 'command', data: change })
  }
  t.true(Buffer.concat(parts).equals(expected))
})

test('a damaged snapshot is refused', (t) => {
  const whole = Buffer.concat([...ClusterState.empty().snapshot()])
  const record = (value: unknown): Buffer => {
    const data = encode(value)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(data.length)
    return Buffer.concat([head, data])
  }
  t.notThrows(() => ClusterState.restore([whole]))
  for (let length = 0; length < whole.length; length++) t.throws(() => ClusterState.restore([whole.subarray(0, length)]), undefined, `${length} bytes`)
  t.throws(() => ClusterState.restore([whole, record(['user', {}])]), { message: /after the end/ })
  t.throws(() => ClusterState.restore([record(['end', 0])]), { message: /starts with its meta/ })
  t.throws(() => ClusterState.restore([record(['meta', { format: 'haechi-state', version: 2 }])]), { message: /expected haechi-state 1/ })
  t.throws(() => ClusterState.restore([Buffer.from([0xff, 0xff, 0xff, 0xff, 0])]), { message: /record of 4294967295 bytes/ })
})

/** The certificate store of the state machine: what each command does and refuses, its bounds, and that a key never gets out. */
import test from 'ava'
import { createHash } from 'node:crypto'
import { stateLimits } from './bounded.ts'
import { encode } from './command.ts'
import { ClusterState, encodeCommand } from './state.ts'
import type { CertificateContent, Command, Outcome } from './types.ts'

const actor = { name: 'kim', from: '192.0.2.7', node: 'n1' }
const peer = { id: 'n1', role: 'node', address: 'n1:1', apiAddress: '' } as const

type Body = Command extends infer C ? (C extends Command ? Omit<C, 'id' | 'actor' | 'atEpochMs'> : never) : never

class Cluster {
  state: ClusterState
  #next = 0

  constructor(level = 2, understood = 2) {
    this.state = ClusterState.empty(understood)
    const membership = new TextEncoder().encode(JSON.stringify({ voters: [peer], learners: [] }))
    this.state.apply({ index: 1, term: 1, type: 'membership', data: membership })
    if (level > 1) this.run({ kind: 'raise-level', to: level, support: [{ id: 'n1', commandLevel: level, version: '' }] }, 1)
  }

  run(body: Body, level: 1 | 2 = 2): Outcome {
    const data = encodeCommand({ id: `c${++this.#next}`, actor, atEpochMs: 1000 + this.#next, ...(level === 1 ? {} : { level }), ...body } as Command)
    return this.state.apply({ index: this.state.appliedIndex + 1, term: 1, type: 'command', data })!
  }

  put(certificate: CertificateContent, more: { expect?: number; summary?: string } = {}): Outcome {
    return this.run({ kind: 'certificate-put', certificate, summary: '', ...more })
  }
}

const sealed = (text = 'sealed'): Uint8Array => new TextEncoder().encode(text)
const pair = (name: string, chain = 'PEM'): CertificateContent => ({ kind: 'key-pair', name, chain, sealedKey: sealed('ciphertext of a key'), ocspResponse: new Uint8Array(), ocspFetch: true })
const authority = (name: string, certificates = 'PEM'): CertificateContent => ({ kind: 'authority', name, certificates, revocations: '' })

test('a certificate is put, replaced and removed, and the audit log says so without its key', (t) => {
  const own = new Cluster()
  t.like(own.put(pair('web'), { summary: 'CN=web, until 2027-01-01' }), { code: 'ok' })
  t.like(own.state.certificate('web'), { ...pair('web'), index: 3, atEpochMs: 1002 })
  t.like(own.state.audit(undefined, 1)[0], { action: 'certificate.put', actor, detail: 'key pair web added\nCN=web, until 2027-01-01', revision: null })
  own.put(pair('web', 'PEM 2'))
  t.like(own.state.certificate('web'), { chain: 'PEM 2', index: 4 })
  t.like(own.state.audit(undefined, 1)[0], { detail: 'key pair web replaced' })
  own.put(authority('partners'))
  t.deepEqual(own.state.certificates.map(({ name }) => name), ['partners', 'web'])
  t.is(own.run({ kind: 'certificate-remove', name: 'web' }).code, 'ok')
  t.like(own.state.audit(undefined, 1)[0], { action: 'certificate.remove', detail: 'key pair web removed' })
  t.is(own.state.certificate('web'), undefined)
  t.is(own.run({ kind: 'certificate-remove', name: 'web' }).code, 'not-found')
  t.false(JSON.stringify(own.state.audit(undefined, 99)).includes('ciphertext'))
})

test('who expects another certificate than there is changes nothing', (t) => {
  const cluster = new Cluster()
  t.is(cluster.put(pair('web'), { expect: 9 }).code, 'certificate-changed')
  t.is(cluster.put(pair('web'), { expect: 0 }).code, 'ok')
  const { index } = cluster.state.certificate('web')!
  t.is(cluster.put(pair('web', 'x'), { expect: 0 }).code, 'certificate-changed')
  t.is(cluster.run({ kind: 'certificate-remove', name: 'web', expect: index + 1 }).code, 'certificate-changed')
  t.is(cluster.state.certificate('web')!.index, index)
  t.is(cluster.put(pair('web', 'x'), { expect: index }).code, 'ok')
  t.is(cluster.run({ kind: 'certificate-remove', name: 'web', expect: index }).code, 'certificate-changed')
})

test('a name keeps its kind', (t) => {
  const cluster = new Cluster()
  cluster.put(pair('web'))
  t.like(cluster.put(authority('web')), { code: 'invalid', detail: 'web is of the kind key pair; remove it first to make it one of the kind authority' })
  t.is(cluster.state.certificate('web')!.kind, 'key-pair')
})

test('a fresh OCSP response belongs to one version of a key pair, and is not audited', (t) => {
  const cluster = new Cluster()
  cluster.put(pair('web'))
  cluster.put(authority('ca'))
  const { index } = cluster.state.certificate('web')!
  const audited = cluster.state.auditTotal
  const before = cluster.state.hash()
  const list = cluster.state.certificates
  t.is(cluster.run({ kind: 'ocsp-put', name: 'web', expect: index, response: sealed('response') }).code, 'ok')
  t.like(cluster.state.certificate('web'), { chain: 'PEM', index, ocspResponse: sealed('response') })
  t.not(cluster.state.hash(), before)
  t.not(cluster.state.certificates, list, 'who keeps the list sees the change')
  t.is(cluster.state.auditTotal, audited)
  t.is(cluster.run({ kind: 'ocsp-put', name: 'web', expect: index + 1, response: sealed() }).code, 'certificate-changed')
  t.is(cluster.run({ kind: 'ocsp-put', name: 'ca', expect: cluster.state.certificate('ca')!.index, response: sealed() }).code, 'invalid')
  t.is(cluster.run({ kind: 'ocsp-put', name: 'gone', expect: 0, response: sealed() }).code, 'not-found')
})

test('ticket keys have generations: of two leaders that make the next one, one wins', (t) => {
  const cluster = new Cluster()
  t.is(cluster.state.ticketKeys, undefined)
  t.is(cluster.run({ kind: 'ticket-keys', expectGeneration: 1, sealed: sealed() }).code, 'certificate-changed')
  t.is(cluster.run({ kind: 'ticket-keys', expectGeneration: 0, sealed: sealed('one') }).code, 'ok')
  t.is(cluster.run({ kind: 'ticket-keys', expectGeneration: 0, sealed: sealed('other') }).code, 'certificate-changed')
  t.like(cluster.state.ticketKeys, { generation: 1, sealed: sealed('one') })
  t.is(cluster.run({ kind: 'ticket-keys', expectGeneration: 1, sealed: sealed('two') }).code, 'ok')
  t.like(cluster.state.ticketKeys, { generation: 2, sealed: sealed('two') })
  t.like(cluster.state.audit(undefined, 1)[0], { action: 'tls.ticket-keys', detail: 'keys of session tickets, generation 2' })
})

test('number and size are bounded', (t) => {
  const cluster = new Cluster()
  t.regex(cluster.put(pair('large', 'x'.repeat(stateLimits.certificateBytes))).detail, /it has \d+ bytes; at most 262144 are taken/)
  const large = 'x'.repeat(stateLimits.certificateBytes)
  for (let i = 0; i < stateLimits.certificatesBytes / stateLimits.certificateBytes; i++) t.is(cluster.put(authority(`a${i}`, large)).code, 'ok')
  t.regex(cluster.put(authority('more')).detail, /all certificates together/)
  t.is(cluster.put(authority('a0', 'x')).code, 'ok', 'what it replaces does not count')
  t.is(cluster.put(authority('more')).code, 'ok')
  const many = new Cluster()
  for (let i = 0; i < stateLimits.certificates; i++) many.put(authority(`a${i}`))
  t.like(many.put(authority('more')), { code: 'invalid', detail: 'there are 2000 certificates already' })
  t.is(many.put(authority('a7', 'again')).code, 'ok')
})

test('what is no certificate is refused without a trace', (t) => {
  const cluster = new Cluster()
  const before = cluster.state.hash()
  const base = { id: 'i', actor, atEpochMs: 1, level: 2, kind: 'certificate-put', summary: '' }
  for (const certificate of [
    undefined, null, 'x', { ...pair('web'), name: 'Web' }, { ...pair('web'), name: '-' }, { ...pair('web'), chain: '한' }, { ...pair('web'), chain: '' },
    { ...pair('web'), sealedKey: 'text' }, { ...pair('web'), sealedKey: new Uint8Array() }, { ...pair('web'), sealedKey: new Uint8Array(40_000) },
    { ...pair('web'), kind: 'other' }, { ...authority('ca'), revocations: 7 },
  ]) {
    const index = cluster.state.appliedIndex + 1
    t.like(cluster.state.apply({ index, term: 1, type: 'command', data: encode({ ...base, certificate }) }), { code: 'invalid', id: '' }, JSON.stringify(certificate))
  }
  t.is(cluster.state.hash(), before)
})

test('below their level there are no certificates: such commands are refused, and a first version reads the snapshot', (t) => {
  const cluster = new Cluster(1)
  t.is(cluster.put(pair('web')).code, 'not-supported')
  // The older version does not know the kind, and passes it over as no command at all; so does this one.
  t.like(cluster.run({ kind: 'certificate-put', certificate: pair('web'), summary: '' }, 1), { code: 'invalid', id: '' })
  t.like(cluster.run({ kind: 'ticket-keys', expectGeneration: 0, sealed: sealed() }, 1), { code: 'invalid', id: '' })
  t.deepEqual(cluster.state.certificates, [])
  t.is(ClusterState.restore([...cluster.state.snapshot()], 1).hash(), cluster.state.hash())
})

test('a snapshot carries certificates and ticket keys, byte for byte', (t) => {
  const cluster = new Cluster()
  cluster.put(pair('web'))
  cluster.put(authority('ca'))
  cluster.run({ kind: 'ocsp-put', name: 'web', expect: cluster.state.certificate('web')!.index, response: sealed('response') })
  cluster.run({ kind: 'ticket-keys', expectGeneration: 0, sealed: sealed('one') })
  const bytes = Buffer.concat([...cluster.state.snapshot()])
  const back = ClusterState.restore([bytes])
  t.deepEqual(back.certificates, cluster.state.certificates)
  t.deepEqual(back.ticketKeys, cluster.state.ticketKeys)
  t.true(Buffer.concat([...back.snapshot()]).equals(bytes))
  t.is(back.hash(), cluster.state.hash())
  t.is(back.hash((data) => createHash('sha256').update(data).digest('hex')), cluster.state.hash())
})

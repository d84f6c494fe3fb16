/** What the proxy gets of the store, when keys of session tickets are made, and what is logged of what expires. */
import { generateKeyPairSync } from 'node:crypto'
import test from 'ava'
import type { Submission, SubmitResult } from '../api/context.ts'
import type { TlsMaterial } from '../proxy/tls/material.ts'
import type { StoredCertificate, StoredTicketKeys } from '../state/types.ts'
import { isDescribed } from './describe.ts'
import { CertificateFeed, type CertificateState } from './feed.ts'
import { Sealer } from './seal.ts'
import { dayMs, makeCertificate } from './test-chain.ts'
import { rotateEveryMs } from './ticket-keys.ts'

const caKey = (): string => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const sealer = new Sealer(caKey())
const web = await makeCertificate('web', { names: ['web'] })
const stored = (name: string, more: Partial<StoredCertificate> = {}): StoredCertificate =>
  ({ kind: 'key-pair', name, chain: web.pem, sealedKey: sealer.seal({ keyPair: name }, Buffer.from(web.keyPem)), ocspResponse: new Uint8Array(), ocspFetch: true, index: 5, atEpochMs: 1, ...more }) as StoredCertificate
const authority: StoredCertificate = { kind: 'authority', name: 'ca', certificates: web.pem, revocations: '', index: 6, atEpochMs: 1 }
const tls = { listeners: [{ name: 'front', tls: { certificates: ['web'], clientAuth: { mode: 'none' } } }], pools: [] } as never

class World {
  readonly used: TlsMaterial[] = []
  readonly submitted: Submission[] = []
  readonly lines: string[] = []
  nowMs = 1000
  nowEpochMs = Date.now()
  answer: SubmitResult = { ok: true, outcome: { id: '', index: 1, code: 'ok', detail: '', revision: 1 } }
  readonly feed: CertificateFeed

  constructor(of: Sealer | undefined = sealer) {
    this.feed = new CertificateFeed({
      sealer: of,
      nodeId: 'n1',
      log: (level, message) => void this.lines.push(`${level}: ${message}`),
      submit: async (submission) => {
        this.submitted.push(submission)
        return this.answer
      },
      use: (material) => void this.used.push(material),
      nowMs: () => this.nowMs,
      nowEpochMs: () => this.nowEpochMs,
    })
  }
}
const state = (more: Partial<CertificateState> = {}): CertificateState => ({ level: 2, certificates: [], ticketKeys: undefined, document: { listeners: [], pools: [] } as never, ...more })

test('keys are opened, and given to the proxy once for each change', async (t) => {
  const world = new World()
  const keys: StoredTicketKeys = { generation: 3, sealed: sealer.seal({ ticketKeys: 3 }, new Uint8Array(48).fill(7)), index: 9, atEpochMs: 1 }
  const now = state({ certificates: [authority, stored('web')], ticketKeys: keys })
  await world.feed.feed(now)
  await world.feed.feed(now)
  t.is(world.used.length, 1)
  t.deepEqual(world.used[0], {
    keyPairs: [{ name: 'web', chain: web.pem, key: web.keyPem }],
    authorities: [{ name: 'ca', certificates: web.pem, revocations: '' }],
    ticketKeys: new Uint8Array(48).fill(7),
  })
  await world.feed.feed({ ...now, certificates: [authority] })
  t.deepEqual(world.used[1]!.keyPairs, [])
  t.deepEqual(world.feed.problems, [])
})

test('what cannot be opened is left out and said', async (t) => {
  const world = new World(new Sealer(caKey()))
  await world.feed.feed(state({ certificates: [stored('web')], ticketKeys: { generation: 1, sealed: new Uint8Array(77), index: 9, atEpochMs: 1 } }))
  t.deepEqual(world.used, [{ keyPairs: [], authorities: [], ticketKeys: undefined }])
  t.deepEqual(world.feed.problems, ["certificate web: its key cannot be opened with this node's ca.key", "the keys of TLS session tickets cannot be opened with this node's ca.key"])
  t.is(world.lines.length, 2)
})

test('the leader makes ticket keys once a listener needs them, and anew after twelve hours', async (t) => {
  const world = new World()
  const tick = async (now: CertificateState, leader = true): Promise<number> => {
    await world.feed.feed(now)
    world.feed.tick(now, leader)
    await Promise.resolve()
    return world.submitted.length
  }
  t.is(await tick(state()), 0, 'nobody needs them')
  t.is(await tick(state({ document: tls, level: 1 })), 0, 'older members would not understand')
  t.is(await tick(state({ document: tls }), false), 0, 'another node leads')
  t.is(await tick(state({ document: tls })), 1)
  const [first] = world.submitted
  t.like(first, { kind: 'ticket-keys', level: 2, expectGeneration: 0, actor: { name: 'system', node: 'n1' } })
  const { sealed } = first as Extract<Submission, { kind: 'ticket-keys' }>
  t.is(sealer.open({ ticketKeys: 1 }, sealed)!.length, 48)
  const keys = { generation: 1, sealed, index: 9, atEpochMs: world.nowEpochMs }
  const now = state({ document: tls, ticketKeys: keys })
  await new Promise(setImmediate)
  t.is(await tick(now), 1)
  world.nowMs += rotateEveryMs - 1
  t.is(await tick(now), 1)
  world.nowMs += 1
  t.is(await tick(now), 2, 'by the monotonic clock, whatever the wall clock does')
  t.like(world.submitted[1], { expectGeneration: 1 })
  // A node that has just started knows the age by the wall clock.
  const young = new World()
  await young.feed.feed(now)
  young.nowEpochMs += rotateEveryMs
  young.feed.tick(now, true)
  t.is(young.submitted.length, 1)
})

test('a proposal of ticket keys that fails is repeated, but not at once', async (t) => {
  const world = new World()
  world.answer = { ok: false, refusal: { ok: false, code: 'no-leader', retrySafe: true, detail: '' } }
  const now = state({ document: tls })
  await world.feed.feed(now)
  for (const [after, submitted] of [[0, 1], [9_999, 1], [1, 2]] as const) {
    world.nowMs += after
    world.feed.tick(now, true)
    await new Promise(setImmediate)
    t.is(world.submitted.length, submitted)
  }
})

test('what expires is logged once a day, and at once when it gets worse', async (t) => {
  const world = new World()
  const now = state({ certificates: [stored('web')] })
  world.feed.tick(now, false)
  t.deepEqual([world.lines, world.feed.expiring], [[], []])
  const at = (daysLeft: number): void => {
    world.nowEpochMs = web.certificate.notAfter.getTime() - daysLeft * dayMs
    world.nowMs += 60_000
    world.feed.tick(now, false)
  }
  at(20)
  t.like(world.feed.expiring, [{ name: 'web', state: 'soon', what: 'CN=web' }])
  t.regex(world.lines[0]!, /^warn: certificate web \(CN=web\) expires in 20 days, on \d{4}-\d\d-\d\d$/)
  at(20)
  t.is(world.lines.length, 1)
  world.nowMs += dayMs
  at(19)
  t.is(world.lines.length, 2)
  at(1.5)
  t.regex(world.lines[2]!, /^error: .* expires in 1 day,/)
  at(-1)
  t.regex(world.lines[3]!, /^error: .* has expired on /)
  t.is(world.lines.length, 4)
})

test('bug: two thousand certificates were read at once on the main thread: a hundred at a time', (t) => {
  const world = new World()
  const certificates = Array.from({ length: 250 }, (_, i) => stored(`web${i}`))
  const now = state({ certificates })
  for (const read of [100, 200, 250]) {
    world.feed.tick(now, false)
    t.is(certificates.filter(isDescribed).length, read)
  }
})

test('bug: ticket keys that could not be proposed ended the node: it is tried again', async (t) => {
  const world = new World()
  let asked = 0
  const feed = new CertificateFeed({
    sealer, nodeId: 'n1', log: (level, message) => void world.lines.push(`${level}: ${message}`), use: () => undefined, nowMs: () => world.nowMs, nowEpochMs: () => world.nowEpochMs,
    submit: () => Promise.reject(new Error(`the link is gone ${++asked}`)),
  })
  const now = state({ document: tls, certificates: [stored('web')] })
  await feed.feed(now)
  for (const [afterMs, times] of [[0, 1], [5000, 1], [5000, 2]] as const) {
    world.nowMs += afterMs
    feed.tick(now, true)
    await new Promise((resolve) => setImmediate(resolve))
    t.is(asked, times)
  }
  t.is(world.lines.filter((line) => line === 'error: new keys of TLS session tickets could not be made').length, 2)
})

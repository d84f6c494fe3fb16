import test from 'ava'
import { Packr } from 'msgpackr'
import { decodeFrame, encodeFrame, type Frame } from './wire.ts'

const bytes = (length: number) => new Uint8Array(Buffer.alloc(length, 5))
const membership = { voters: [{ id: 'a', role: 'node', address: 'a:1', apiAddress: 'a:2' }], learners: [] } as const

const frames: readonly Frame[] = [
  { kind: 'hello', id: 'a', clusterId: 'c', session: bytes(8), key: bytes(32), versions: { protocol: { min: 1, max: 3 }, commandLevel: 2, product: '1.2.3' } },
  { kind: 'hello-ack' },
  {
    kind: 'message',
    message: {
      type: 'append', from: 'a', to: 'b', term: 3, prevIndex: 4, prevTerm: 2, count: 1, commit: 2 ** 40,
      entries: [{ index: 5, term: 3, type: 'command', data: bytes(3) }],
    },
  },
  { kind: 'request', id: 1, request: { type: 'propose', data: bytes(4), priority: 'bulk' } },
  { kind: 'request', id: 2, request: { type: 'remove-peer', id: 'x' } },
  { kind: 'reply', id: 1, reply: { ok: true, index: 1, term: 2 } },
  { kind: 'gossip', data: bytes(10) },
  { kind: 'alive', datagrams: true },
  { kind: 'snapshot-begin', stream: 1, message: { type: 'snapshot', from: 'a', to: 'b', term: 1, meta: { index: 1, term: 1, membership, bytes: 9 } }, sha256: 'ab' },
  { kind: 'snapshot-ready', stream: 1, from: 7 },
  { kind: 'snapshot-chunk', stream: 1, number: 7, checksum: 2 ** 32 - 1, data: bytes(100) },
  { kind: 'snapshot-end', stream: 1 },
  { kind: 'snapshot-credit', stream: 1, ok: false },
]

/** Buffers compare unequal to plain arrays of the same bytes. */
const normal = (value: unknown): unknown =>
  value instanceof Uint8Array ? `bytes ${Buffer.from(value).toString('hex')}`
    : Array.isArray(value) ? value.map(normal)
      : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, normal(inner)])) : value

test('frames survive the wire', (t) => {
  for (const frame of frames) t.deepEqual(normal(decodeFrame(encodeFrame(frame))), normal(frame), frame.kind)
})

test('what is no frame is refused without an exception', (t) => {
  const packr = new Packr({ useRecords: false })
  const wrong: unknown[] = [
    null, 1, 'x', [], {}, [0.5], [-1], ['hello'],
    [0, 1, 'a', 'c', bytes(7), bytes(32), 1, 1, ''], [0, 1, 'a', 'c', bytes(8), bytes(31), 1, 1, ''], [0, 1, 2, 'c', bytes(8), bytes(32), 1, 1, ''],
    [0, 1, 'a', 'c', bytes(8), bytes(32)], [0, 1, 'a', 'c', bytes(8), bytes(32), 2, 1, ''], [0, 1, 'a', 'c', bytes(8), bytes(32), 1, -1, ''], [0, 1, 'a', 'c', bytes(8), bytes(32), 1, 1, 'x'.repeat(65)],
    [3, 1, {}], [3, 1, { type: 7 }], [3, 1, { type: 'x'.repeat(65) }], [3, -1, { type: 'later' }],
    [2, null], [2, 3], [3, 1, { type: 'transfer' }], [3, -1, { type: 'remove-peer', id: 'x' }], [3, 1, { type: 'propose', data: 'x', priority: 'bulk' }],
    [3, 1, { type: 'propose', data: bytes(1), priority: 'urgent' }], [3, 1, null], [4, 1.5, {}], [5, 'x'], [6, 1], [7, 1, { type: 'append' }, 'ab'], [7, 1, { type: 'snapshot' }],
    [8, 1, 'x'], [9, 1, 2, 3, 'x'], [9, 1, 2, -1, bytes(1)], [9, 1, 0.5, 1, bytes(1)], [10, 'x'], [11, 1, 1],
  ]
  for (const value of wrong) t.is(decodeFrame(packr.pack(value)), undefined, JSON.stringify(value))
  for (const frame of frames) {
    const whole = encodeFrame(frame)
    for (let length = 0; length < whole.length; length += 1) {
      t.notThrows(() => decodeFrame(whole.subarray(0, length)))
    }
  }
  t.is(decodeFrame(Buffer.alloc(0)), undefined)
  t.is(decodeFrame(Buffer.from([0xc1])), undefined)
})

test('what only a newer version knows is passed over', (t) => {
  const packr = new Packr({ useRecords: false })
  t.deepEqual(decodeFrame(packr.pack([99, 'anything', {}])), { kind: 'unknown', number: 99 })
  t.deepEqual(decodeFrame(packr.pack([3, 5, { type: 'later', of: bytes(3) }])), { kind: 'unknown-request', id: 5, type: 'later' })
  for (const type of ['toString', '__proto__']) t.deepEqual(decodeFrame(packr.pack([3, 5, { type }])), { kind: 'unknown-request', id: 5, type })
  // Fields that were added at the end, of every kind of frame.
  for (const frame of frames) {
    const longer = packr.pack([...(new Packr({ useRecords: false, structuredClone: false }).unpack(encodeFrame(frame)) as unknown[]), 'new', { more: 1 }])
    t.deepEqual(normal(decodeFrame(longer)), normal(frame), frame.kind)
  }
})

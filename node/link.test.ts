import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import test from 'ava'
import { isToHeart, Link, maxFrameBytes, type ToHeart } from './link.ts'

async function pair(): Promise<[Socket, Socket, () => void]> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const far = await accepted
  return [near, far, () => {
    near.destroy()
    far.destroy()
    server.close()
  }]
}

test('messages arrive whole and in order, however the stream splits them', async (t) => {
  const [near, far, close] = await pair()
  const got: unknown[] = []
  const done = new Promise<void>((resolve) => {
    new Link<unknown, unknown>(far, (message) => {
      got.push(message)
      if (got.length === 60) resolve()
    }, () => undefined)
  })
  const link = new Link<unknown, unknown>(near, () => undefined, () => undefined)
  const sent = Array.from({ length: 60 }, (_, i) => ({ type: 'entries', i, data: 'x'.repeat(i * 1777) }))
  for (const message of sent) link.send(message)
  await done
  t.deepEqual(got, sent)
  close()
})

for (const [name, bytes] of [
  ['a frame that is no message', Buffer.concat([Buffer.from([0, 0, 0, 3]), Buffer.from([0xc1, 0xff, 0xff])])],
  ['a frame beyond the limit', Buffer.from([(maxFrameBytes >>> 24) + 0x70, 0xff, 0xff, 0xff])],
] as const) {
  test(`${name} ends the link and nothing else`, async (t) => {
    const [near, far, close] = await pair()
    let received = 0
    const closed = new Promise<void>((resolve) => {
      new Link<unknown, unknown>(far, () => received++, resolve)
    })
    near.write(bytes)
    await closed
    t.is(received, 0)
    close()
  })
}

for (const message of [
  undefined, null, 5, 'propose', [], {}, { type: 'constructor' }, { type: 'no-such' },
  { type: 'propose', id: 1, data: 'text', priority: 'normal' },
  { type: 'propose', id: 1, data: new Uint8Array(1), priority: 'now' },
  { type: 'applied', index: NaN }, { type: 'fit', fit: 'yes', reason: '' },
  { type: 'prefer', preferred: 'a', preempt: true, preemptDelayMs: Infinity }, { type: 'prefer', preempt: true, preemptDelayMs: 1 },
  { type: 'prefer', preferred: 'a', preempt: 'yes', preemptDelayMs: 1 }, { type: 'vips', vips: null }, { type: 'vips', vips: [{ name: 'a' }] },
  { type: 'snapshot-chunk', id: 1, data: null }, { type: 'gossip', data: {} },
  { type: 'transfer', id: 1 }, { type: 'add-peer', id: 1, peer: { id: 'a' } }, { type: 'remove-peer', id: -1, peerId: 'a' },
  { type: 'join-reply', id: 1, result: { ok: true } },
]) {
  test(`${JSON.stringify(message)} is no message to the heart`, (t) => t.false(isToHeart(message)))
}

test('what the child sends is a message to the heart', (t) => {
  const peer = { id: 'b', role: 'node', address: '127.0.0.1:1', apiAddress: '127.0.0.1:2' } as const
  const vip = { name: 'main', address: '192.0.2.1', prefixLength: 24, interface: 'eth0', announcer: 'kernel' } as const
  const messages: ToHeart[] = [
    { type: 'alive' }, { type: 'applied', index: 0 }, { type: 'read-index', id: 1 }, { type: 'fit', fit: true, reason: '' }, { type: 'vips', vips: [vip] },
    { type: 'propose', id: 1, data: new Uint8Array(1), priority: 'bulk' }, { type: 'add-peer', id: 1, peer },
    { type: 'snapshot-begin', id: 1, index: 7 }, { type: 'snapshot-chunk', id: 1, data: Buffer.from('a') }, { type: 'snapshot-end', id: 1 },
    { type: 'gossip', data: new Uint8Array(0) }, { type: 'transfer', id: 1, to: '' }, { type: 'remove-peer', id: 1, peerId: 'b' },
    { type: 'listening', id: 1, error: '' }, { type: 'join-reply', id: 1, result: { ok: false, error: 'no' } },
  ]
  for (const message of messages) t.true(isToHeart(message), message.type)
})

import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import test from 'ava'
import { Link, maxFrameBytes } from './link.ts'

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

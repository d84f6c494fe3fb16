/** The client's address through two proxies, and for a server that wants a PROXY header itself. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { startExample, until } from './example.ts'

function opened(t: ExecutionContext, port: number, localAddress: string): { socket: Socket; text: () => string } {
  let text = ''
  const socket = connect({ port, host: '127.15.0.1', localAddress })
  socket.on('data', (data) => (text += data.toString('latin1')))
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  return { socket, text: () => text }
}

test('l4-proxy-protocol: the address in the header is the client’s, from trusted proxies alone; version 2 goes on to the server', async (t) => {
  let received = Buffer.alloc(0)
  const checks = new Set<string>()
  const mail = createServer((socket) => {
    let all = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      all = Buffer.concat([all, data])
      if (all.includes('EHLO')) received = all
      else if (all.length === 16) checks.add(all.toString('hex'))
    })
  })
  await new Promise<void>((resolve) => mail.listen(9025, '127.15.0.22', resolve))
  t.teardown(() => mail.close())
  const example = await startExample(t, 'l4-proxy-protocol', { members: false })
  await example.startMember('web', 'web1')
  const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  const trusted = opened(t, 8080, '127.15.0.100')
  trusted.socket.write(`PROXY TCP4 203.0.113.7 198.51.100.9 40123 443\r\n${get}`)
  await until('answered', () => trusted.text().includes('200 OK'))
  t.is(example.seen.at(-1)?.headers['x-forwarded-for'], '203.0.113.7')
  const direct = await example.request({ from: '127.15.0.200' })
  t.is(direct.seen?.headers['x-forwarded-for'], '127.15.0.200')
  const bare = opened(t, 8080, '127.15.0.100')
  bare.socket.write(get)
  await new Promise((resolve) => bare.socket.once('close', resolve))
  t.is(bare.text(), '', 'a trusted proxy that sends no header is not believed')
  const smtp = opened(t, 8025, '127.15.0.100')
  smtp.socket.write('EHLO a\r\n')
  await until('the server has it', () => received.includes('EHLO'))
  t.is(received.toString('hex', 0, 16), '0d0a0d0a000d0a515549540a2111000c')
  t.is(received.toString('hex', 16, 24), '7f0f00647f0f0001')
  t.is(received.readUInt16BE(24), (smtp.socket.address() as AddressInfo).port)
  t.is(received.readUInt16BE(26), 8025)
  await until('a health check has come', () => checks.size > 0)
  t.deepEqual([...checks], ['0d0a0d0a000d0a515549540a20000000'], 'it names nobody')
})

/** Both transports of one service; a resolver that stops is left. */
import { createSocket, type Socket } from 'node:dgram'
import { connect, createServer } from 'node:net'
import test from 'ava'
import { startExample, until } from './example.ts'

function resolver(name: string, address: string): Promise<Socket> {
  const socket = createSocket('udp4')
  socket.on('message', (data, { address: to, port }) => {
    // The health check's empty datagram wants no answer.
    if (data.length > 0) socket.send(`${name}:${data.toString()}`, port, to)
  })
  return new Promise((resolve) => socket.bind(5353, address, () => resolve(socket)))
}

test('l4-udp: a client stays with one resolver, until that stops', async (t) => {
  const resolvers = new Map<string, Socket>([['dns1', await resolver('dns1', '127.15.0.11')], ['dns2', await resolver('dns2', '127.15.0.12')]])
  const tcp = ['127.15.0.11', '127.15.0.12'].map((address) => createServer((socket) => socket.pipe(socket)).listen(5353, address))
  const client = createSocket('udp4')
  t.teardown(() => {
    client.close()
    for (const socket of resolvers.values()) socket.close()
    for (const server of tcp) server.close()
  })
  await startExample(t, 'l4-udp', { members: false })
  const got: string[] = []
  client.on('message', (data, { address, port }) => got.push(`${address}:${port} ${data.toString()}`))
  await new Promise<void>((resolve) => client.bind(0, '127.15.0.100', resolve))
  const asks = async (text: string): Promise<string> => {
    const before = got.length
    // Datagrams may be lost: a client asks again.
    await until(`an answer to ${text}`, async () => {
      client.send(text, 5353, '127.15.0.1')
      await new Promise((resolve) => setTimeout(resolve, 20))
      return got.length > before
    })
    return got.at(-1)!
  }
  const first = await asks('q')
  t.regex(first, /^127\.15\.0\.1:5353 dns[12]:q$/)
  const name = first.slice(-6, -2)
  for (let i = 0; i < 5; i++) t.is(await asks('q'), first)
  resolvers.get(name)!.close()
  resolvers.delete(name)
  const other = name === 'dns1' ? 'dns2' : 'dns1'
  await until('the other one answers', async () => (await asks('q')).includes(other))
  const echo = connect(5353, '127.15.0.1')
  t.teardown(() => echo.destroy())
  echo.write('over TCP')
  t.is(await new Promise<string>((resolve) => echo.once('data', (data) => resolve(data.toString()))), 'over TCP')
})

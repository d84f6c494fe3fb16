/** Each port of the range reaches the same port of the server. */
import { connect, createServer } from 'node:net'
import test from 'ava'
import { startExample } from './example.ts'

test('l4-port-range: every port reaches its own', async (t) => {
  for (const port of [7000, 7003, 7009]) {
    const server = createServer((socket) => void socket.end(String(port)))
    server.on('error', () => undefined)
    await new Promise<void>((resolve) => server.listen(port, '127.15.0.31', resolve))
    t.teardown(() => server.close())
  }
  const example = await startExample(t, 'l4-port-range', { members: false })
  t.regex(example.log(), /listener media: tcp on 127\.15\.0\.1:7000-7009/)
  for (const port of [7009, 7000, 7003]) {
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.15.0.1')
      let got = ''
      socket.on('data', (data) => (got += data.toString()))
      socket.on('error', reject)
      socket.on('close', () => resolve(got))
    })
    t.is(text, String(port))
  }
})

/** TCP from a haproxy.cfg: one backup after the other, the PROXY header, checks that speak, lists, connections of one address. */
import type { Socket } from 'node:net'
import test from 'ava'
import { until } from '../examples/example.ts'
import { greeting, startImported, tcpMember } from './imported.ts'

test('haproxy-databases', async (t) => {
  const primary = await tcpMember(t, '127.18.3.11', 3306, 'primary')
  const replica = await tcpMember(t, '127.18.3.12', 3306, 'replica')
  await tcpMember(t, '127.18.3.13', 3306, 'archive')
  await tcpMember(t, '127.18.3.21', 5432, 'pg1')
  await tcpMember(t, '127.18.3.31', 6379, '-NOT REDIS')
  await tcpMember(t, '127.18.3.32', 6379, '+PONG r2')
  await tcpMember(t, '127.18.3.41', 5672, 'q1')
  await tcpMember(t, '127.18.3.42', 5672, 'q2')
  await startImported(t, 'haproxy-databases.cfg', { members: false })
  const line = /\n/

  const mysql = (): Promise<string> => greeting('127.18.3.1', 3306, line)
  await until('the primary serves', async () => (await mysql()) === 'primary\n')
  await primary.stop()
  await until('the first backup serves', async () => (await mysql()) === 'replica\n')
  for (let i = 0; i < 4; i++) t.is(await mysql(), 'replica\n', 'only the first backup serves')
  await replica.stop()
  await until('the second backup serves', async () => (await mysql()) === 'archive\n')

  // PROXY version 2 comes back from the echo, with the address of the client in it.
  const header = await greeting('127.18.3.1', 5432, /\r\n\r\n\0\r\nQUIT\n[^]{8}/, '127.18.3.101')
  t.true(header.includes('\x7f\x12\x03\x65'))
  t.is(await greeting('127.18.3.1', 5432, line, '127.18.3.102'), '', 'not on the list')

  const redis = (): Promise<string> => greeting('127.18.3.1', 6379, line)
  await until('the server that answers wrongly is down', async () => {
    for (let i = 0; i < 6; i++) if ((await redis()) !== '+PONG r2\n') return false
    return true
  })

  t.is(await greeting('127.18.3.1', 5672, line, '127.18.3.200'), '')
  const first = await greeting('127.18.3.1', 5672, line, '127.18.3.51')
  for (let i = 0; i < 4; i++) t.is(await greeting('127.18.3.1', 5672, line, '127.18.3.51'), first, 'stick on src')
  const kept: Socket[] = []
  t.teardown(() => kept.forEach((socket) => socket.destroy()))
  t.not(await greeting('127.18.3.1', 5672, line, '127.18.3.52', kept), '')
  t.not(await greeting('127.18.3.1', 5672, line, '127.18.3.52', kept), '')
  t.is(await greeting('127.18.3.1', 5672, line, '127.18.3.52'), '', 'a third connection at once')
})

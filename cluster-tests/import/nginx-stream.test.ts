/** The stream block of an nginx.conf: a backup, lists, UDP, TLS by name, the PROXY header. */
import { createSocket } from 'node:dgram'
import test, { type ExecutionContext } from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { until } from '../examples/example.ts'
import { secureExchange, secureMember } from '../examples/tls.ts'
import { greeting, startImported, tcpMember } from './imported.ts'

async function udpMember(t: ExecutionContext, address: string, port: number, name: string): Promise<void> {
  const socket = createSocket('udp4', (message, from) => socket.send(`${name} ${message.toString()}`, from.port, from.address))
  await new Promise<void>((resolve) => socket.bind(port, address, resolve))
  t.teardown(() => socket.close())
}

function ask(t: ExecutionContext, host: string, port: number, text: string): Promise<string> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  return new Promise((resolve, reject) => {
    socket.once('message', (message) => resolve(message.toString()))
    socket.once('error', reject)
    socket.send(text, port, host)
  })
}

test('nginx-stream', async (t) => {
  const authority = await TestAuthority.create('sites')
  const site = await authority.issue('site', ['mail.example.com', '*.apps.example.com', 'www.example.com'])
  for (const [address, name] of [['127.18.7.31', 'mail'], ['127.18.7.32', 'apps'], ['127.18.7.33', 'rest']] as const) await secureMember(t, address, 9443, name, { cert: site.chain, key: site.key })
  const primary = await tcpMember(t, '127.18.7.11', 3306, 'primary')
  await tcpMember(t, '127.18.7.12', 3306, 'backup')
  await tcpMember(t, '127.18.7.41', 2525, 'smtp')
  await udpMember(t, '127.18.7.21', 5353, 'one')
  await udpMember(t, '127.18.7.22', 5353, 'two')
  await startImported(t, 'nginx-stream.conf', { members: false })

  const db = (from: string): Promise<string> => greeting('127.18.7.1', 3306, /\n/, from)
  t.is(await db('127.18.7.50'), 'primary\n')
  t.is(await db('127.18.7.200'), '', 'denied')
  t.is(await db('127.18.8.50'), '', 'not allowed')
  await primary.stop()
  await until('the backup serves', async () => (await db('127.18.7.50')) === 'backup\n')

  const answers = new Set<string>()
  for (let i = 0; i < 6; i++) answers.add(await ask(t, '127.18.7.1', 5353, 'query'))
  t.deepEqual([...answers].sort(), ['one query', 'two query'])

  const to = async (servername: string): Promise<string> => (await secureExchange({ host: '127.18.7.1', port: 8443, ca: authority.pem, servername }, 'hello')).text.split('\r\n').at(-1)!
  t.is(await to('mail.example.com'), 'mail')
  t.is(await to('a.apps.example.com'), 'apps')
  t.is(await to('www.example.com'), 'rest')

  t.regex(await greeting('127.18.7.1', 2525, /PROXY.*\r\n/, '127.18.7.60'), /PROXY TCP4 127\.18\.7\.60 127\.18\.7\.1 \d+ 2525\r\n/)
})

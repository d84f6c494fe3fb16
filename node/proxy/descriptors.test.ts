/** The limit of descriptors: what is refused at it, what is not, and who is told. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { DescriptorAlarm, descriptorLimits, noneLeft, softLimit } from './descriptors.ts'
import { FakeConnection, FakeProxy } from './fake-transport.ts'
import { MemberField } from './shared.ts'
import { TcpSession } from './tcp/session.ts'
import { Backend, Client, freePort, until } from './test-proxy.ts'

test('some are left for everything else, and some for members of clients that are there', (t) => {
  for (const [soft, workers] of [[1024, 2], [4096, 16], [20_000, 4], [1_048_576, 64]] as const) {
    const { accept, connect } = descriptorLimits(soft, workers)
    t.true(accept < connect && connect < soft)
    t.true(soft - connect >= 40 + 8 * workers)
    t.true(accept >= soft * 0.7 || soft < 2048, `${soft}: ${accept}`)
  }
  t.deepEqual(descriptorLimits(Infinity, 2), { accept: Infinity, connect: Infinity })
  t.true(softLimit() > 0)
})

test('the alarm stands while clients are refused, and for a minute after', (t) => {
  const alarm = new DescriptorAlarm({ accept: 100, connect: 120 })
  alarm.look(50, 0, false, 0)
  t.is(alarm.problem, '')
  alarm.look(101, 0, false, 1000)
  t.regex(alarm.problem, /new clients are refused \(101 descriptors in use, new clients get up to 100\)/)
  alarm.look(90, 5, false, 2000)
  t.regex(alarm.problem, /were refused/)
  alarm.look(90, 5, false, 61_999)
  t.not(alarm.problem, '')
  alarm.look(90, 5, false, 62_000)
  t.is(alarm.problem, '')
  alarm.look(90, 2, false, 63_000)
  t.is(alarm.problem, '', 'a total that falls is no refusal')
  alarm.look(10, 2, true, 64_000)
  t.regex(alarm.problem, /are refused \(10 descriptors in use/, 'others have taken them')
  t.false(noneLeft())
})

test('at the limit new clients are refused and counted, requests on connections that stand go on, and it recovers', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'haechi-descriptors-'))
  const backend = await Backend.answering('ok')
  const [port, other] = [await freePort('127.15.3.1'), await freePort('127.15.3.1')]
  const file = join(folder, 'limits.yaml')
  await writeFile(file, JSON.stringify({
    haechi: 1,
    pools: [{ name: 'web', healthCheck: { type: 'none' }, members: [{ name: 'm', address: '127.0.0.1', port: backend.port }] }],
    listeners: [
      { name: 'web', address: '127.15.3.1', port, pool: 'web' },
      { name: 'raw', address: '127.15.3.1', port: other, pool: 'web', protocol: 'tcp' },
    ],
  }))
  let log = ''
  const main = join(import.meta.dirname, '../cli/main.ts')
  // The shell sets both limits, so that Node cannot raise its own.
  const child = spawn('sh', ['-c', `ulimit -n 300 && exec "${process.execPath}" "${main}" run --config "${file}" --workers 1`], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.on('data', (data: Buffer) => (log += data.toString()))
  child.stderr.on('data', (data: Buffer) => (log += data.toString()))
  const clients: Client[] = []
  const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
  try {
    await until(`it serves: ${log}`, () => log.includes('listener raw: '), 20_000)
    const before = new Client(port, '127.15.3.1')
    clients.push(before)
    before.send(get)
    await before.gets(/ok$/)
    for (let i = 0; i < 320; i++) clients.push(new Client(other, '127.15.3.1'))
    await until('some are refused', () => clients.filter((client) => client.closed || client.ended).length > 100)
    await until('the alarm is in the log', () => /new clients (are|were) refused/.test(log))
    // A client that was there is served as before.
    for (let i = 0; i < 3; i++) {
      const length = before.text.length
      before.send(get)
      await until('answered', () => before.text.length > length)
    }
    t.is(before.text.split('200 OK').length, 5)
    t.false(/EMFILE/.test(log), log)
    for (const client of clients.slice(1)) client.close()
    await until('new ones are served again', async () => {
      const late = new Client(port, '127.15.3.1')
      clients.push(late)
      late.send(get)
      await until('an end', () => late.closed || late.ended || late.text.endsWith('ok'))
      return late.text.endsWith('ok')
    })
  } finally {
    for (const client of clients) client.close()
    child.kill('SIGKILL')
    await once(child, 'exit')
    await backend.close()
    await rm(folder, { recursive: true })
  }
})

test('a connection to a member for which there is no descriptor is not the member’s failure, and no other one is tried', async (t) => {
  const http = FakeProxy.with(2)
  const client = http.client()
  client.receives('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  http.last.breaks('EMFILE')
  t.regex(client.sent, /^HTTP\/1\.1 503 Service Unavailable\r\n[^]*X-Haechi-Error: descriptor-limit\r\n/)
  const tcp = FakeProxy.with(2, { protocol: 'tcp' })
  const raw = new FakeConnection()
  tcp.shared.openConnection(0, 1000)
  void new TcpSession(tcp.runtime, tcp.listener, raw, 80, () => undefined)
  tcp.last.breaks('EMFILE')
  t.true(raw.isAborted)
  await new Promise((resolve) => setImmediate(resolve))
  for (const proxy of [http, tcp]) {
    t.is(proxy.connections.length, 1)
    t.deepEqual(proxy.errors(), { 'descriptor-limit': 1 })
    t.is(proxy.active(), 0)
    for (const slot of [0, 1]) t.is(proxy.shared.memberTotal(slot, MemberField.connectFailures), 0)
  }
})

/** One real node (heart and child, as processes of their own) and what may happen to it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import type { ClusterOverview } from './api/types.ts'
import { request } from './cli/client.ts'
import { initNode } from './cli/init.ts'
import { openLog } from '../consensus/storage/level.ts'
import { loadIdentity } from '../consensus/identity.ts'
import { commandLevel } from './state/level.ts'
import { encodeCommand } from './state/state.ts'

const main = fileURLToPath(new URL('./cli/main.ts', import.meta.url))

async function until<T>(what: string, attempt: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const started = performance.now()
  for (;;) {
    const result = await Promise.resolve().then(attempt).catch(() => undefined)
    if (result !== undefined && result !== false) return result
    if (performance.now() - started > 30_000) throw new Error(`${what} did not happen`)
    await sleep(25)
  }
}

function listen(port: number, host = '127.0.0.1'): Promise<Server> {
  const server = createServer((socket) => socket.destroy())
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, exclusive: true }, () => resolve(server))
  })
}

/**
 * A port that was free a moment ago, below those that the kernel gives to outgoing connections: what waits for it would else find it
 * taken now and then by a connection of another test.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const server = await listen(22_000 + randomInt(10_000)).catch(() => undefined)
    if (server === undefined) continue
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    return port
  }
}

/** The process `pid` is there and is no zombie. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

class TestNode {
  readonly directory: string
  readonly apiPort: number
  process!: ChildProcess
  log = ''

  constructor(directory: string, apiPort: number) {
    this.directory = directory
    this.apiPort = apiPort
  }

  /** `detached`: as the leader of a session of its own, as a service is. */
  start({ detached = false }: { readonly detached?: boolean } = {}): void {
    const child = spawn(process.execPath, [main, 'start', '--dir', this.directory, '--workers', '1', '--stop-on-stdin-end'], {
      stdio: ['pipe', 'ignore', 'pipe'],
      detached,
      env: { ...process.env, HAECHI_LOG: 'plain' },
    })
    child.stderr.on('data', (data: Buffer) => (this.log += data.toString()))
    this.process = child
  }

  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<{ status: number; body: unknown }> {
    return request(
      { socketPath: join(this.directory, 'api.sock') },
      { method, path: `/api/v1${path}`, headers, ...(body === undefined ? {} : { body }) },
    )
  }

  async status(): Promise<ClusterOverview> {
    return (await this.call('GET', '/status')).body as ClusterOverview
  }

  ready(): Promise<ClusterOverview> {
    return until('the node leads and answers', async () => {
      const status = await this.status()
      return status.quorum && status.nodes[0]?.report?.degraded === '' ? status : undefined
    })
  }

  async degraded(): Promise<string> {
    return (await this.status()).nodes[0]?.report?.degraded ?? ''
  }

  /** The pid of the child that runs now. */
  child(): number | undefined {
    const own = String(this.process.pid)
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue
      try {
        const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${entry}/status`, 'utf8'))?.[1]
        if (parent === own && lives(Number(entry))) return Number(entry)
      } catch {
        // It has just ended.
      }
    }
    return undefined
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 10_000)
    this.process.kill('SIGTERM')
    await ended
    clearTimeout(timer)
  }
}

async function make(t: ExecutionContext): Promise<TestNode> {
  const directory = await mkdtemp(join(tmpdir(), 'haechi-node-'))
  const [port, apiPort] = [await freePort(), await freePort()]
  await initNode({ directory, id: 'solo', address: `127.0.0.1:${port}`, apiAddress: `127.0.0.1:${apiPort}` })
  const node = new TestNode(directory, apiPort)
  t.teardown(async () => {
    if (node.process !== undefined) await node.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return node
}

test.serial('a child that hangs is ended and started anew', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const before = (await until('the child', () => node.child()))!
  process.kill(before, 'SIGSTOP')
  await until('the hanging child is gone', () => (lives(before) ? undefined : true))
  await until('another one serves', () => (node.child() === undefined ? undefined : true))
  await node.ready()
  t.regex(node.log, /the child hangs: ending it, it has said nothing for/)
  t.is(node.process.exitCode, null, 'the heart goes on')
})

test.serial('a heart that is killed takes its child along', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const child = (await until('the child', () => node.child()))!
  node.process.kill('SIGKILL')
  await until('the child is gone', () => (lives(child) ? undefined : true))
  t.regex(node.log, /the heart has gone: fence closed, ending/)
})

test.serial('a child that is frozen when its heart is killed is ended by the next heart', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const child = (await until('the child', () => node.child()))!
  process.kill(child, 'SIGSTOP')
  t.teardown(() => {
    if (lives(child)) process.kill(child, 'SIGKILL')
  })
  const ended = new Promise((resolve) => node.process.once('exit', resolve))
  node.process.kill('SIGKILL')
  await ended
  t.true(lives(child), 'nothing else ends it')
  node.start()
  await until('the old child is gone', () => (lives(child) ? undefined : true))
  t.is((await node.ready()).quorum, true)
})

test.serial('the heart is small: no command line, no compiler, nothing of its settings in the child', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const pid = node.process.pid!
  const read = (process: number, file: string): string => readFileSync(`/proc/${process}/${file}`, 'utf8')
  t.regex(read(pid, 'cmdline'), /heart-process\.ts/, 'the process that was started has become the heart')
  t.regex(read(pid, 'environ'), /MALLOC_ARENA_MAX=/)
  const residentKiB = Number(/^VmRSS:\s+(\d+)/m.exec(read(pid, 'status'))?.[1])
  t.true(residentKiB <= 96 * 1024, `${residentKiB} KiB`)
  const child = (await until('the child', () => node.child()))!
  t.notRegex(read(child, 'environ'), /MALLOC_/)
})

test.serial('bug: the heart was urgent within its session only, and waited its turn among all others', async (t) => {
  const autogroup = '/proc/self/autogroup'
  if (process.getuid?.() !== 0 || !existsSync(autogroup)) {
    t.log('not run: only root may raise a priority, and only some kernels share processors out among sessions')
    return t.pass()
  }
  const node = await make(t)
  node.start({ detached: true })
  await node.ready()
  t.regex(readFileSync(`/proc/${node.process.pid}/autogroup`, 'utf8'), /nice -15$/m)
})

test.serial('a second heart for the same directory is refused with one clear line', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const second = new TestNode(node.directory, 0)
  second.start()
  const code = await new Promise((resolve) => second.process.once('close', resolve))
  t.is(code, 1)
  t.is(second.log.trim(), `error: the node cannot start: the log in ${node.directory}/log is in use by another process`)
  t.true((await node.status()).quorum)
})

test.serial('an API port that is taken degrades nothing but the API, which comes when the port is free', async (t) => {
  const node = await make(t)
  const taken = await listen(node.apiPort)
  t.teardown(() => taken.close())
  node.start()
  await until('it says so', () => (/the API cannot be served: .*EADDRINUSE/.test(node.log) ? true : undefined))
  t.regex(node.log, /fit to serve/)
  await new Promise((resolve) => taken.close(resolve))
  await node.ready()
  t.regex(node.log, /API and console at/)
  t.notRegex(node.log, /the child ended/)
})

test.serial('a listener whose port was taken is not reported any more once it listens', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const taken = await listen(0)
  t.teardown(() => taken.close())
  const { port } = taken.address() as AddressInfo
  const document = {
    haechi: 1,
    pools: [{ name: 'p', members: [{ name: 'a', address: '127.0.0.1', port: 9 }] }],
    listeners: [{ name: 'web', address: '127.0.0.1', port, protocol: 'tcp', pool: 'p' }],
  }
  const applied = await node.call('PUT', '/config', document, { 'if-match': '"1"' })
  t.is(applied.status, 200, JSON.stringify(applied.body))
  await until('it is degraded', async () => (/listener web/.test(await node.degraded()) ? true : undefined))
  await new Promise((resolve) => taken.close(resolve))
  await until('it is not any more', async () => ((await node.degraded()) === '' ? true : undefined))
  t.true(existsSync(node.directory))
})

test.serial('a linearizable read is confirmed by consensus and sees what was acknowledged before it', async (t) => {
  const node = await make(t)
  node.start()
  await node.ready()
  const pools = [{ name: 'p', members: [{ name: 'a', address: '127.0.0.1', port: 9 }] }]
  t.is((await node.call('PUT', '/config', { haechi: 1, pools }, { 'if-match': '"1"' })).status, 200)
  const read = await node.call('GET', '/config?consistency=linearizable')
  t.is(read.status, 200, JSON.stringify(read.body))
  t.is((read.body as { revision: number }).revision, 2)
})

test.serial('a node that is too old for its log stops where it does not understand it, gives up the VIPs and says what to do', async (t) => {
  const node = await make(t)
  const { id, clusterId } = loadIdentity(node.directory)
  const log = await openLog(join(node.directory, 'log'), { clusterId, nodeId: id })
  const next = commandLevel + 1
  const data = encodeCommand({
    kind: 'raise-level', id: 'finish', actor: { name: 'kim', from: '', node: id }, atEpochMs: 1, to: next,
    support: [{ id, commandLevel: next, version: '9.9.9' }],
  })
  const index = log.lastIndex + 1
  await log.write({ hardState: log.hardState, commitIndex: index, append: [{ index, term: log.hardState.term, type: 'command', data }] })
  await log.close()
  node.start()
  const why = `upgrade this node: the cluster (since entry ${index} of the log) needs command level ${next}, this version understands levels up to ${commandLevel}`
  await until('it says so', async () => ((await node.degraded()).startsWith(why) ? true : undefined))
  await until('it leads', async () => ((await node.status()).quorum ? true : undefined))
  t.true(node.log.includes(why))
  t.notRegex(node.log, /[^t] fit to serve/)
  t.notRegex(node.log, /the child ended/)
  const pools = [{ name: 'p', members: [{ name: 'a', address: '127.0.0.1', port: 9 }] }]
  const change = await node.call('PUT', '/config', { haechi: 1, pools }, { 'if-match': '"1"' })
  t.is(change.status, 409, JSON.stringify(change.body))
  t.like(change.body, { code: 'not-supported', detail: `Nothing was changed: ${why}.` })
  t.is((await node.status()).nodes[0]!.report!.appliedIndex, index - 1)
})

/** One TLS connection with one request; `session`: to go on with. */
function handshake(port: number, session?: Buffer): Promise<{ subject: string; reused: boolean; session: Buffer | undefined }> {
  return new Promise((resolve, reject) => {
    let ticket: Buffer | undefined
    const socket = connectTls({ host: '127.14.0.1', port, servername: 'www.example.org', rejectUnauthorized: false, ...(session === undefined ? {} : { session }) })
    socket.on('session', (data: Buffer) => (ticket = data))
    socket.once('error', reject)
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n'))
    // With the answer the tickets of TLS 1.3 have arrived, too.
    socket.once('data', () => {
      resolve({ subject: [socket.getPeerCertificate().subject?.CN].flat().join(), reused: socket.isSessionReused(), session: ticket })
      socket.destroy()
    })
  })
}

test.serial('a certificate goes from the API to new handshakes, is ciphertext on the disk, and clients resume after a restart', async (t) => {
  const { makeCertificate } = await import('./certificates/test-chain.ts')
  const node = await make(t)
  const port = await freePort()
  node.start()
  await node.ready()
  const [first, second] = await Promise.all(['one', 'two'].map((name) => makeCertificate(name, { names: ['www.example.org'] })))
  const put = (made: typeof first) => node.call('PUT', '/certificates/web', { certificate: made!.pem, key: made!.keyPem })
  t.is((await put(first)).status, 201)
  const document = {
    haechi: 1,
    pools: [{ name: 'p', members: [{ name: 'a', address: '127.14.0.2', port: 9 }] }],
    listeners: [{ name: 'front', address: '127.14.0.1', port, protocol: 'https', pool: 'p', tls: { certificates: ['web'] } }],
  }
  const applied = await node.call('PUT', '/config', document, { 'if-match': '"1"' })
  t.is(applied.status, 200, JSON.stringify(applied.body))
  const audited = async (action: string) => ((await node.call('GET', '/audit')).body as { action: string }[]).some((entry) => entry.action === action)
  await until('the leader has made ticket keys', async () => ((await audited('tls.ticket-keys')) ? true : undefined))
  await until('it serves', () => handshake(port).catch(() => undefined))
  t.is((await handshake(port)).subject, 'one')
  t.is((await put(second)).status, 200)
  await until('new handshakes have the new one', async () => ((await handshake(port)).subject === 'two' ? true : undefined))
  const { session } = await handshake(port)
  t.true(session !== undefined)
  t.true((await handshake(port, session)).reused)
  t.is(await node.degraded(), '')
  const metrics = await node.call('GET', '/metrics')
  t.regex(String(metrics.body), /haechi_certificate_expiry_seconds\{name="web",kind="key-pair"\} 77\d{5}/)

  await node.stop()
  // Neither PEM nor the DER in it, in whatever piece of the log or of a snapshot.
  const secret = Buffer.from(second!.key.export({ format: 'jwk' }).d!, 'base64url')
  for (const file of readdirSync(join(node.directory, 'log'), { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue
    const bytes = readFileSync(join(file.parentPath, file.name))
    t.false(bytes.includes(secret) || bytes.includes(second!.keyPem.split('\n')[1]!), file.name)
  }
  node.start()
  await node.ready()
  const again = await until('it serves again', () => handshake(port, session).catch(() => undefined))
  t.true(again.reused, 'the ticket keys are the cluster\'s')
  t.notRegex(node.log, /PRIVATE KEY/)
})

test.serial('what goes through a node is in its metrics, its overview and its access log', async (t) => {
  const node = await make(t)
  const port = await freePort()
  const server = createHttpServer((_request, response) => response.end('hello'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  node.start()
  await node.ready()
  const document = {
    haechi: 1,
    accessLists: [{ name: 'bad', prefixes: Array.from({ length: 100_000 }, (_, i) => `11.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`) }],
    pools: [{ name: 'p', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: (server.address() as AddressInfo).port }] }],
    listeners: [{ name: 'front', address: '127.17.0.4', port, pool: 'p', deny: ['bad'], accessLog: {}, routes: [{ name: 'api', paths: ['/api'], pool: 'p' }] }],
  }
  const applied = await node.call('PUT', '/config', document, { 'if-match': '"1"' })
  t.is(applied.status, 200, JSON.stringify(applied.body).slice(0, 500))
  await until('it serves', async () => ((await fetch(`http://127.17.0.4:${port}/api/x`)).status === 200 ? true : undefined))
  const metrics = String((await node.call('GET', '/metrics')).body)
  t.regex(metrics, /haechi_route_responses_total\{listener="front",route="api",class="2xx"\} [1-9]/)
  t.regex(metrics, /haechi_pool_first_byte_seconds_bucket\{pool="p",le="\+Inf"\} [1-9]/)
  t.regex(metrics, /haechi_member_duration_seconds_count\{pool="p",member="a"\} [1-9]/)
  const latency = await until('the overview has percentiles', async () => (await node.status()).pools[0]?.latency ?? undefined)
  t.true(latency.p50Ms > 0 && latency.p99Ms >= latency.p50Ms)
  const path = join(node.directory, 'access.log')
  const line = await until('the line is there', () => readFileSync(path, 'utf8').split('\n').find((text) => text !== ''))
  t.like(JSON.parse(line), { listener: 'front', route: 'api', pool: 'p', member: 'a', status: 200, target: '/api/x' })
})

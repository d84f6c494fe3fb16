/**
 * `npm start`: a whole cluster on this machine's loopback, unprivileged: two nodes, a witness, two sample backends and a
 * virtual IP (127.0.0.100) in bind mode. The same processes as on real hosts, each in a data directory of its own below
 * `.haechi/dev`. A process that dies is started again, as systemd does on an appliance; Ctrl-C ends all of it.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { joinCluster } from '../../consensus/identity.ts'
import { commandLevel } from '../state/level.ts'
import { request } from './client.ts'
import { initNode } from './init.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface DevNode {
  readonly id: string
  readonly role: 'node' | 'witness'
  readonly address: string
  readonly apiAddress: string
}

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string' },
    fresh: { type: 'boolean' },
    vip: { type: 'string', default: '127.0.0.100:8080' },
    'base-port': { type: 'string', default: '7000' },
    help: { type: 'boolean' },
  },
})
if (options.help === true) {
  console.log(`npm start -- [--fresh] [--dir DIRECTORY] [--vip ADDRESS:PORT] [--base-port PORT]

Brings up two nodes, a witness and two sample backends on loopback.
  --fresh             forget the cluster of earlier starts and make a new one
  --dir DIRECTORY     where its data lives (default: .haechi/dev)
  --vip ADDRESS:PORT  the virtual IP, any 127.x address, and the listener's port (default: 127.0.0.100:8080)
  --base-port PORT    consoles at PORT+1 and +2, consensus at +11 to +13, sample backends at +21 and +22 (default: 7000)`)
  process.exit(0)
}
const basePort = Number(options['base-port'])
const [vip = '', vipPortText = ''] = options.vip.split(':')
const vipPort = Number(vipPortText)
if (!/^127\.\d+\.\d+\.\d+$/.test(vip) || !Number.isInteger(vipPort) || vipPort < 1 || vipPort > 65535) {
  console.error(`--vip: expected a 127.x address and a port, such as 127.0.0.100:8080; found "${options.vip}"`)
  process.exit(2)
}
if (!Number.isInteger(basePort) || basePort < 1024 || basePort > 65000) {
  console.error(`--base-port: expected a number from 1024 to 65000; found "${options['base-port']}"`)
  process.exit(2)
}

const nodes: readonly DevNode[] = [
  { id: 'node1', role: 'node', address: `127.0.0.1:${basePort + 11}`, apiAddress: `127.0.0.1:${basePort + 1}` },
  { id: 'node2', role: 'node', address: `127.0.0.1:${basePort + 12}`, apiAddress: `127.0.0.1:${basePort + 2}` },
  { id: 'witness', role: 'witness', address: `127.0.0.1:${basePort + 13}`, apiAddress: '' },
]
const backends = [
  { name: 'sample-a', port: basePort + 21 },
  { name: 'sample-b', port: basePort + 22 },
]

const sampleDocument = {
  haechi: 1,
  vips: [{ name: 'main', address: vip, prefixLength: 32, mode: 'active-passive', interface: 'lo' }],
  pools: [
    {
      name: 'samples',
      balance: 'round-robin',
      members: backends.map(({ name, port }) => ({ name, address: '127.0.0.1', port })),
      healthCheck: { type: 'http', path: '/healthz', interval: '1s', timeout: '1s' },
    },
  ],
  listeners: [{ name: 'web', vip: 'main', port: vipPort, protocol: 'http', pool: 'samples' }],
}

const directory = options.dir ?? join(root, '.haechi', 'dev')
const directoryOf = (node: DevNode): string => join(directory, node.id)

let stopping = false
const running = new Map<string, ChildProcess>()
const servers: Server[] = []
const lastLines = new Map<string, string[]>()

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

async function stop(code: number): Promise<void> {
  if (stopping) return
  stopping = true
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
  const ends = [...running.values()].map(
    (child) =>
      new Promise<void>((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve()
        const timer = setTimeout(() => child.kill('SIGKILL'), 9000)
        child.once('exit', () => {
          clearTimeout(timer)
          resolve()
        })
        child.kill('SIGTERM')
      }),
  )
  await Promise.all(ends)
  say('Everything has ended.')
  process.exit(code)
}

/** Starts a node as `haechi start` does; its standard input is the leash: if this process dies, it ends too. */
function startNode(node: DevNode): void {
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(root, 'node/cli/main.ts'),
      'start',
      '--dir',
      directoryOf(node),
      '--workers',
      '1',
      '--stop-on-stdin-end',
    ],
    // A process group of its own: Ctrl-C reaches this process alone, which then ends the nodes in order.
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true, env: { ...process.env, HAECHI_LOG: 'plain' } },
  )
  const startedMs = performance.now()
  running.set(node.id, child)
  const keep = (data: Buffer): void => {
    const lines = lastLines.get(node.id) ?? []
    lines.push(...data.toString().split('\n').filter((line) => line !== ''))
    lastLines.set(node.id, lines.slice(-20))
    if (process.env.HAECHI_VERBOSE !== undefined) process.stderr.write(data)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  child.on('exit', (code, signal) => {
    running.delete(node.id)
    if (stopping) return
    say(`${node.id} ended (${signal ?? `exit code ${code}`}); starting it again in 2 s`)
    if (performance.now() - startedMs < 2000) for (const line of lastLines.get(node.id) ?? []) say(`  ${line}`)
    setTimeout(() => {
      if (!stopping) startNode(node)
    }, 2000)
  })
}

async function until<T>(what: string, limitMs: number, attempt: () => Promise<T | undefined>): Promise<T> {
  const started = performance.now()
  for (;;) {
    const result = await attempt().catch(() => undefined)
    if (result !== undefined) return result
    if (performance.now() - started > limitMs) throw new Error(`${what} did not happen within ${limitMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Local administration over the unix socket in the node's data directory. */
async function api<T>(node: DevNode, method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
  const answer = await request(
    { socketPath: join(directoryOf(node), 'api.sock') },
    { method, path: `/api/v1${path}`, ...(body === undefined ? {} : { body }), ...(headers === undefined ? {} : { headers }) },
  )
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body as T
}

function portIsFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createTcpServer()
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

async function checkPorts(): Promise<void> {
  const wanted: [string, number][] = [
    ...nodes.flatMap((node) => [node.address, node.apiAddress]).filter((address) => address !== '').map(
      (address): [string, number] => [address.split(':')[0]!, Number(address.split(':')[1])],
    ),
    ...backends.map(({ port }): [string, number] => ['127.0.0.1', port]),
    [vip, vipPort],
  ]
  for (const [host, port] of wanted) {
    if (await portIsFree(host, port)) continue
    console.error(`${host}:${port} is in use by another program. Is a cluster running already? End it, then try again.`)
    process.exit(1)
  }
}

async function startBackends(): Promise<void> {
  for (const { name, port } of backends) {
    const answer = (response: ServerResponse, text: string): void => {
      response.setHeader('content-type', 'text/plain; charset=utf-8')
      response.end(text)
    }
    const server = createServer({ keepAliveTimeout: 75_000 }, (incoming, response) =>
      answer(response, incoming.url === '/healthz' ? 'ok\n' : `Hello from ${name}\n`),
    )
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    servers.push(server)
  }
}

async function makeCluster(): Promise<string> {
  const first = nodes[0]!
  // Made whole or not at all: an interrupted first start leaves nothing that a second one could stumble over.
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { recursive: true })
  const { password } = await initNode({
    directory: directoryOf(first),
    id: first.id,
    address: first.address,
    apiAddress: first.apiAddress,
  })
  startNode(first)
  await until('the first node', 10_000, async () => {
    const status = await api<{ quorum: boolean; leader: string }>(first, 'GET', '/status')
    return status.quorum && status.leader !== '' ? true : undefined
  })
  await api(first, 'PUT', '/config?comment=Sample%20configuration', sampleDocument, { 'if-match': '"1"' })
  for (const node of nodes.slice(1)) {
    const { token } = await api<{ token: string }>(first, 'POST', '/nodes/tokens', { role: node.role, ttlMinutes: 10 })
    await joinCluster({
      directory: directoryOf(node),
      token,
      id: node.id,
      role: node.role,
      address: node.address,
      apiAddress: node.apiAddress,
      commandLevel,
    })
    startNode(node)
    await until(`${node.id} as a voter`, 10_000, async () => {
      const list = await api<{ id: string; voter: boolean }[]>(first, 'GET', '/nodes')
      return list.some(({ id, voter }) => id === node.id && voter) ? true : undefined
    })
  }
  return password
}

/** Whether a GET is answered with 200. */
function answers(address: string, path: string): Promise<boolean> {
  const [host = '', port = ''] = address.split(':')
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) })
    socket.setTimeout(500, () => socket.destroy())
    socket.on('connect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: ${address}\r\nConnection: close\r\n\r\n`))
    socket.on('data', (data) => resolve(data.toString().startsWith('HTTP/1.1 200')))
    socket.on('error', () => resolve(false))
    socket.on('close', () => resolve(false))
  })
}

async function main(): Promise<void> {
  process.on('SIGINT', () => void stop(0))
  process.on('SIGTERM', () => void stop(0))
  process.on('SIGHUP', () => void stop(0))
  const startedMs = performance.now()
  await checkPorts()
  await startBackends()
  const complete = nodes.every((node) => existsSync(join(directoryOf(node), 'identity.json')))
  let password: string | undefined
  if (options.fresh === true || !complete) password = await makeCluster()
  else for (const node of nodes) startNode(node)
  for (const node of nodes.filter(({ apiAddress }) => apiAddress !== '')) {
    await until(`the console of ${node.id}`, 20_000, async () => ((await answers(node.apiAddress, '/api/v1/health')) ? true : undefined))
  }
  await until('the virtual IP', 20_000, async () => ((await answers(`${vip}:${vipPort}`, '/')) ? true : undefined))
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
  const local = relative(process.cwd(), join(directory, 'node1')) || '.'
  say(`
Haechi is ready (${seconds} s): 2 nodes, 1 witness, 2 sample backends on loopback

  Console    http://${nodes[0]!.apiAddress}/   (the other node: http://${nodes[1]!.apiAddress}/)
  Sign in    admin / ${password ?? '(the password of the first start; npm start -- --fresh makes a new cluster)'}${
    password === undefined ? '' : '   one-time: you choose your own at the first sign-in'
  }
  Virtual IP http://${vip}:${vipPort}/

  Try        curl http://${vip}:${vipPort}/
             npx haechi status --dir ${local}
             kill the holder's process (npx haechi status shows its pid) and curl again
  Processes  ${[...running].map(([id, child]) => `${id} ${child.pid}`).join(', ')}

Ctrl-C ends all of it.`)
}

main().catch(async (error: Error) => {
  console.error(`Haechi could not be started: ${error.message}`)
  for (const [id, lines] of lastLines) for (const line of lines) console.error(`  ${id}: ${line}`)
  await stop(1)
})

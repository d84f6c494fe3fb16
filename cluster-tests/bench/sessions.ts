/**
 * Persistence over a failover at scale: so many clients through a real cluster on loopback, the holder's heart killed, and which share of them
 * comes back to its member through the other node. With how long the others took to know them all, and what was dropped.
 *
 * `npm run bench -- sessions [--sessions N] [--json FILE]`. Exit code 1: fewer than 99.9 % came back.
 */
import { writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { DevCluster, fetchOnce, until } from '../e2e/dev-cluster.ts'

const { values } = parseArgs({ options: { sessions: { type: 'string', default: '100000' }, json: { type: 'string' } } })
const sessions = Number(values.sessions)
if (!Number.isInteger(sessions) || sessions < 100 || sessions > 1_000_000) throw new Error('--sessions is a number from 100 to 1000000')
const least = 0.999
const connections = 16
const pipelined = 50
const address = '127.16.5.1'
const port = 18190
const memberPort = 9301

interface Overview {
  readonly vips: readonly { readonly holder: string }[]
}
interface Config {
  readonly revision: number
  readonly document: { readonly vips: readonly { readonly name: string }[] }
}

/** A member answers with two characters: its name. */
function startMember(i: number): Promise<Server> {
  const answer = `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nm${i}`
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.on('data', (data) => void socket.write(answer.repeat(data.toString('latin1').split('\r\n\r\n').length - 1)))
  })
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(memberPort, `127.16.5.1${i}`, () => resolve(server))
  })
}

/** The members of the clients `from` to `to` − 1, as far as one connection brought them. */
function ask(from: number, to: number): Promise<string[]> {
  return new Promise((resolve) => {
    const members: string[] = []
    let text = ''
    let sent = from
    const socket = connect(port, address)
    const more = (): void => {
      let requests = ''
      for (const end = Math.min(to, sent + pipelined); sent < end; sent++) requests += `GET / HTTP/1.1\r\nHost: a\r\nX-Client: client-${sent}\r\n\r\n`
      socket.write(requests)
    }
    socket.on('connect', more)
    socket.on('error', () => undefined)
    socket.on('close', () => resolve(members))
    socket.on('data', (data) => {
      text += data.toString('latin1')
      for (let end = text.indexOf('\r\n\r\n'); end >= 0 && text.length >= end + 6; end = text.indexOf('\r\n\r\n')) {
        members.push(text.slice(end + 4, end + 6))
        text = text.slice(end + 6)
      }
      if (members.length === to - from) socket.destroy()
      else if (members.length === sent - from) more()
    })
  })
}

let brokeOff = 0
/** The member of every client. Connections that break off (the VIP moved) are made anew. */
async function askAll(): Promise<string[]> {
  const each = Math.ceil(sessions / connections)
  const parts = await Promise.all(
    Array.from({ length: connections }, async (_, part) => {
      const members: string[] = []
      const from = part * each
      const to = Math.min(sessions, from + each)
      while (from + members.length < to) {
        members.push(...(await ask(from + members.length, to)))
        if (from + members.length >= to) break
        brokeOff++
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return members
    }),
  )
  return parts.flat()
}

const cluster = new DevCluster({ vip: `${address}:${port}`, basePort: 17180 })
const members: Server[] = []
process.on('SIGINT', () => void cluster.destroy().then(() => process.exit(130)))
try {
  for (const i of [1, 2, 3]) members.push(await startMember(i))
  await cluster.ready()
  const { body } = await cluster.api<Config>('node2', 'GET', '/config')
  const vip = body.document.vips[0]!.name
  const document = {
    haechi: 1,
    vips: body.document.vips,
    pools: [
      {
        name: 'web',
        members: [1, 2, 3].map((i) => ({ name: `m${i}`, address: `127.16.5.1${i}`, port: memberPort })),
        healthCheck: { type: 'none' },
        persistence: { type: 'header', header: 'X-Client', maxEntries: 1_000_000 },
      },
    ],
    listeners: [{ name: 'web', vip, port, pool: 'web' }],
  }
  const applied = await cluster.api('node2', 'PUT', '/config', document, { 'if-match': `"${body.revision}"` })
  if (applied.status !== 200) throw new Error(JSON.stringify(applied.body))
  await until('the listener answers', async () => (await ask(0, 1)).length === 1)

  let startMs = performance.now()
  const first = await askAll()
  const firstMs = Math.round(performance.now() - startMs)
  const holders = async (): Promise<string[]> =>
    Promise.all(['node1', 'node2'].map((id) => cluster.api<Overview>(id, 'GET', '/status').then((answer) => answer.body.vips[0]!.holder, () => '')))
  const holder = await until('both know who holds the VIP', async () => {
    const [one, two] = await holders()
    return one !== '' && one === two ? one : undefined
  })
  const other = holder === 'node1' ? 'node2' : 'node1'
  startMs = performance.now()
  const known = async (): Promise<number> => (await cluster.api<{ total: number }>(other, 'GET', '/sessions?limit=1')).body.total
  await until('the other node knows all clients', async () => (await known()) >= sessions, 60_000).catch(() => undefined)
  const replicated = await known()
  const replicatedMs = Math.round(performance.now() - startMs)
  const page = await fetchOnce('http://localhost/api/v1/metrics', { socketPath: join(cluster.directory, 'data', holder, 'api.sock') })
  const dropped = [...page.body.matchAll(/^haechi_session_(?:dropped_updates|evictions)_total\S* (\d+)$/gm)].reduce((sum, match) => sum + Number(match[1]), 0)

  process.kill(cluster.heartPid(holder), 'SIGKILL')
  startMs = performance.now()
  await until('the other node answers', async () => (await holders()).includes(other) && (await ask(0, 1)).length === 1, 30_000)
  const failoverMs = Math.round(performance.now() - startMs)
  brokeOff = 0
  const second = await askAll()
  const same = first.filter((member, i) => member === second[i]).length
  const figures = { sessions, firstMs, replicated, replicatedMs, dropped, failoverMs, same, share: same / sessions, brokeOff, load: loadavg()[0] }
  console.log(JSON.stringify(figures, null, 2))
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`)
  if (figures.share < least) process.exitCode = 1
} finally {
  await cluster.destroy()
  for (const server of members) server.close()
}
process.exit()

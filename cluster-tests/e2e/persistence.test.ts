/** Persistence over a failover, end to end: clients come back to their members through the other node, also what was purged stays so. */
import { createServer, type Server } from 'node:http'
import test from 'ava'
import { DevCluster, fetchOnce, until } from './dev-cluster.ts'

interface Overview {
  readonly vips: readonly { readonly holder: string }[]
}
interface Config {
  readonly revision: number
  readonly document: { readonly vips: readonly { readonly name: string }[] }
}
interface Sessions {
  readonly total: number
  readonly entries: readonly { readonly client: string; readonly member: string; readonly remainingMs: number | null }[]
}

const clients = 200

test.serial('after a failover clients are kept on their members by the other node, with entries and with cookies', async (t) => {
  t.timeout(180_000)
  const servers: Server[] = []
  const cluster = new DevCluster({ vip: '127.16.1.1:18090', basePort: 17160 })
  try {
    for (const i of [1, 2, 3]) {
      const server = createServer((_request, response) => response.end(`m${i}`))
      await new Promise<void>((resolve, reject) => server.once('error', reject).listen(9201, `127.16.1.1${i}`, resolve))
      servers.push(server)
    }
    await cluster.ready()
    const { body } = await cluster.api<Config>('node2', 'GET', '/config')
    const members = [1, 2, 3].map((i) => ({ name: `m${i}`, address: `127.16.1.1${i}`, port: 9201 }))
    const healthCheck = { type: 'none' }
    const pools = [
      { name: 'entries', members, healthCheck, persistence: { type: 'header', header: 'X-Client' } },
      { name: 'cookies', members, healthCheck, persistence: { type: 'cookie' } },
      { name: 'sources', members, healthCheck, persistence: { type: 'source' } },
    ]
    const listeners = pools.map(({ name }, i) => ({ name, vip: body.document.vips[0]!.name, port: 18090 + i, pool: name }))
    const changed = await cluster.api('node2', 'PUT', '/config', { haechi: 1, vips: body.document.vips, pools, listeners }, { 'if-match': `"${body.revision}"` })
    t.is(changed.status, 200, JSON.stringify(changed.body))
    // A connection that breaks in the middle of a change of holder is made again, as any client would.
    const ask = (port: number, headers: Record<string, string> = {}) =>
      until('an answer', () => fetchOnce(`http://127.16.1.1:${port}/`, { headers, timeoutMs: 1000 }).catch(() => undefined))
    const holder = async (): Promise<string> => {
      for (const id of ['node1', 'node2']) {
        const found = await cluster.api<Overview>(id, 'GET', '/status').then((answer) => answer.body.vips[0]!.holder, () => '')
        if (found !== '') return found
      }
      return ''
    }
    await until('the listeners answer', async () => (await ask(18092)).status === 200)
    const before = await until('somebody holds the VIP', async () => (await holder()) || undefined)
    const other = before === 'node1' ? 'node2' : 'node1'

    const memberOf = new Map<string, string>()
    for (let i = 0; i < clients; i++) memberOf.set(`client ${i}`, (await ask(18090, { 'x-client': `client ${i}` })).body)
    t.deepEqual([...new Set(memberOf.values())].toSorted(), ['m1', 'm2', 'm3'])
    const cookies = new Map<string, string>()
    for (let i = 0; i < 9; i++) {
      const answer = await ask(18091)
      cookies.set(String(answer.headers['set-cookie']).split(';')[0]!, answer.body)
    }
    t.is(cookies.size, 3)
    const source = (await ask(18092)).body

    const sessions = async (id: string, query = ''): Promise<Sessions> => (await cluster.api<Sessions>(id, 'GET', `/sessions?limit=1000${query}`)).body
    await until('the other node has all entries', async () => (await sessions(other)).total === clients + 1)
    t.true((await sessions(other)).entries.every(({ remainingMs }) => remainingMs! > 0))
    // One is forgotten, through the node that does not hold the VIP.
    const purged = await cluster.api(other, 'DELETE', `/sessions?pool=entries&value=${encodeURIComponent('client 7')}`)
    t.deepEqual(purged.body, { removed: 1 })
    await until('it is gone on both', async () => (await sessions(before)).total === clients && (await sessions(other)).total === clients)
    memberOf.delete('client 7')

    process.kill(cluster.heartPid(before), 'SIGKILL')
    await until('the other node answers', async () => (await cluster.api<Overview>(other, 'GET', '/status')).body.vips[0]!.holder === other && (await ask(18092)).status === 200, 30_000)
    let same = 0
    for (const [client, member] of memberOf) if ((await ask(18090, { 'x-client': client })).body === member) same++
    t.is(same, memberOf.size)
    for (const [cookie, member] of cookies) {
      const answer = await ask(18091, { cookie })
      t.is(answer.body, member)
      t.is(answer.headers['set-cookie'], undefined)
    }
    t.is((await ask(18092)).body, source)
  } finally {
    await cluster.destroy()
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  }
})

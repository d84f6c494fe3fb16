/** TLS over a failover, end to end: clients resume their sessions on the other node, with the certificate that was put through one of them. */
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { connect } from 'node:tls'
import test from 'ava'
import { makeCertificate } from '../../node/certificates/test-chain.ts'
import { DevCluster, until } from './dev-cluster.ts'

interface Overview {
  readonly vips: readonly { readonly holder: string }[]
}
interface Config {
  readonly revision: number
  readonly document: { readonly vips: readonly { readonly name: string }[] }
}

const clients = 100
const vip = '127.14.1.1'
const port = 18443

/** One request on a connection of its own. */
function visit(ca: string, session?: Buffer): Promise<{ status: string; reused: boolean; session: Buffer }> {
  return new Promise((resolve, reject) => {
    let ticket: Buffer = Buffer.alloc(0)
    const socket = connect({ host: vip, port, servername: 'www.example.org', ca, ...(session === undefined ? {} : { session }) })
    socket.setTimeout(3000, () => socket.destroy(new Error('no answer in time')))
    socket.once('error', reject)
    socket.on('session', (data: Buffer) => (ticket = data))
    socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n'))
    socket.once('data', (data: Buffer) => {
      resolve({ status: data.toString('latin1').split(' ')[1] ?? '', reused: socket.isSessionReused(), session: ticket })
      socket.destroy()
    })
  })
}

test.serial('after a failover clients resume on the other node; the witness has no key', async (t) => {
  t.timeout(180_000)
  const server = createServer((_request, response) => response.end('ok'))
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(9214, '127.14.1.2', resolve))
  const cluster = new DevCluster({ vip: `${vip}:18414`, basePort: 17640 })
  try {
    await cluster.ready()
    const root = await makeCertificate('Root', { ca: true })
    const web = await makeCertificate('web', { issuer: root, names: ['www.example.org'] })
    // Through one node; the other one serves it as well.
    const put = await cluster.api('node2', 'PUT', '/certificates/web', { certificate: web.pem, key: web.keyPem })
    t.is(put.status, 201, JSON.stringify(put.body))
    const { body } = await cluster.api<Config>('node2', 'GET', '/config')
    const pools = [{ name: 'p', members: [{ name: 'a', address: '127.14.1.2', port: 9214 }], healthCheck: { type: 'none' } }]
    const listeners = [{ name: 'secure', vip: body.document.vips[0]!.name, port, protocol: 'https', pool: 'p', tls: { certificates: ['web'] } }]
    const changed = await cluster.api('node2', 'PUT', '/config', { haechi: 1, vips: body.document.vips, pools, listeners }, { 'if-match': `"${body.revision}"` })
    t.is(changed.status, 200, JSON.stringify(changed.body))
    const holder = async (): Promise<string> => {
      for (const id of ['node1', 'node2']) {
        const found = await cluster.api<Overview>(id, 'GET', '/status').then((answer) => answer.body.vips[0]!.holder, () => '')
        if (found !== '') return found
      }
      return ''
    }
    const audited = async (): Promise<boolean> => (await cluster.api<{ action: string }[]>('node1', 'GET', '/audit')).body.some(({ action }) => action === 'tls.ticket-keys')
    await until('there are ticket keys', audited)
    await until('the listener answers', async () => (await visit(root.pem)).status === '200')
    const before = await until('somebody holds the VIP', async () => (await holder()) || undefined)
    const other = before === 'node1' ? 'node2' : 'node1'
    // Tickets of the time before the cluster had keys are not meant.
    await until('tickets are of the cluster', async () => (await visit(root.pem, (await visit(root.pem)).session)).reused)
    const sessions: Buffer[] = []
    for (let i = 0; i < clients; i++) sessions.push((await visit(root.pem)).session)
    t.true(sessions.every((session) => session.length > 0))

    process.kill(cluster.heartPid(before), 'SIGKILL')
    await until('the other node answers', async () => (await holder()) === other && (await visit(root.pem)).status === '200', 30_000)
    const answers = []
    for (const session of sessions) answers.push(await visit(root.pem, session))
    t.true(answers.every(({ status }) => status === '200'))
    const resumed = answers.filter(({ reused }) => reused).length
    t.log(`# ${resumed} of ${clients} clients resumed on the other node`)
    t.true(resumed >= clients * 0.95, `${resumed} of ${clients}`)

    const secret = Buffer.from(web.key.export({ format: 'jwk' }).d!, 'base64url')
    const log = join(cluster.directory, 'data', 'witness', 'log')
    for (const file of readdirSync(log)) {
      const bytes = readFileSync(join(log, file))
      t.false(bytes.includes(secret) || bytes.includes(web.keyPem.split('\n')[1]!), file)
    }
  } finally {
    await cluster.destroy()
    server.closeAllConnections()
    server.close()
  }
})

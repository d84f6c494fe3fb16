/** The certificate store: the script puts a certificate, adds a listener, renews; what the listener shows then is what the store has. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { connect } from 'node:tls'
import test from 'ava'
import { DevCluster } from '../e2e/dev-cluster.ts'

const address = '127.13.9.1'
const port = 18445

/** SHA-256 of the certificate that the listener shows. */
function shown(): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port, servername: 'www.example.com', rejectUnauthorized: false })
    socket.setTimeout(3000, () => socket.destroy(new Error('no handshake in time')))
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      resolve(socket.getPeerX509Certificate()!.fingerprint256.replaceAll(':', '').toLowerCase())
      socket.destroy()
    })
  })
}

test.serial('certificate-store', async (t) => {
  t.timeout(120_000)
  const cluster = new DevCluster({ vip: `${address}:18415`, basePort: 17660 })
  try {
    await cluster.ready()
    const script = spawn('sh', [join(import.meta.dirname, '../../docs/examples/certificate-store.sh')], {
      env: { ...process.env, HAECHI_DIR: join(cluster.directory, 'data', 'node1'), PORT: String(port), NO_COLOR: '1' },
    })
    let output = ''
    for (const stream of [script.stdout, script.stderr]) stream.on('data', (data: Buffer) => (output += data.toString()))
    const [code] = (await once(script, 'exit')) as [number]
    t.is(code, 0, output)
    t.regex(output, /shows the certificate\.[^]*shows the renewed certificate\./)
    const stored = await cluster.api<{ chain: { fingerprint256: string }[] }>('node2', 'GET', '/certificates/www')
    t.is(stored.status, 200)
    t.true(JSON.stringify(stored.body).toLowerCase().replaceAll(':', '').includes(await shown()), 'what the listener shows is what the other node has')
  } finally {
    await cluster.destroy()
  }
})

/** Every kind of check sees its server come and go. */
import { createSocket } from 'node:dgram'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import forge from 'node-forge'
import { startExample, until } from './example.ts'

function selfSigned(): { cert: string; key: string } {
  const pair = forge.pki.rsa.generateKeyPair(2048)
  const certificate = forge.pki.createCertificate()
  certificate.publicKey = pair.publicKey
  certificate.serialNumber = '01'
  certificate.validity.notBefore = new Date(Date.now() - 3600_000)
  certificate.validity.notAfter = new Date(Date.now() + 24 * 3600_000)
  const name = [{ name: 'commonName', value: 'secure.example.com' }]
  certificate.setSubject(name)
  certificate.setIssuer(name)
  certificate.sign(pair.privateKey, forge.md.sha256.create())
  return { cert: forge.pki.certificateToPem(certificate), key: forge.pki.privateKeyToPem(pair.privateKey) }
}

const listening = (server: Server, port: number, address: string): Promise<void> => new Promise((resolve) => server.listen(port, address, resolve))

test('health-checks: http, https, tcp, udp and script', async (t) => {
  let redisAnswer = '+PONG\r\n'
  const seen: { path: string; probe: unknown; host: unknown }[] = []
  const web = (member: string) => createHttpServer((request, response) => {
    const { headers, url = '' } = request
    if (url === '/healthz') seen.push({ path: url, probe: headers['x-probe'], host: headers.host })
    response.end(JSON.stringify({ member, target: url }))
  })
  const [web1, web2, own] = [web('web1'), web('web2'), createServer((socket) => socket.end())]
  const secure = createHttpsServer(selfSigned(), (_request, response) => response.end('fine'))
  const redis = createServer((socket) => socket.on('error', () => socket.destroy()).on('data', () => socket.end(redisAnswer)))
  const dns = createSocket('udp4')
  dns.on('message', (_message, from) => dns.send('pong', from.port, from.address))
  t.teardown(() => {
    for (const server of [web1, web2, secure]) server.closeAllConnections()
    for (const server of [web1, web2, own, secure, redis]) server.close()
    dns.close()
  })
  await Promise.all([
    listening(web1, 9001, '127.11.0.11'), listening(web2, 9001, '127.11.0.12'), listening(secure, 9443, '127.11.0.13'),
    listening(redis, 6379, '127.11.0.14'), listening(own, 9003, '127.11.0.16'),
    new Promise<void>((resolve) => dns.bind(5353, '127.11.0.15', resolve)),
  ])
  const example = await startExample(t, 'health-checks', { members: false, arguments: ['--checks', join(import.meta.dirname, '../../docs/examples/checks')] })
  for (const member of ['web/web1', 'web/web2', 'secure/secure1', 'redis/redis1', 'dns/dns1', 'own/own1']) {
    await until(`${member} is up:\n${example.log()}`, () => example.log().includes(`member ${member} is up`))
  }
  t.deepEqual(seen[0], { path: '/healthz', probe: 'haechi', host: 'www.example.com' })
  t.is((await example.request({ path: '/x' })).status, 200)

  redisAnswer = '-LOADING\r\n'
  own.close()
  web1.closeAllConnections()
  web1.close()
  secure.closeAllConnections()
  secure.close()
  for (const member of ['web/web1', 'secure/secure1', 'redis/redis1', 'own/own1']) {
    await until(`${member} is down:\n${example.log()}`, () => example.log().includes(`member ${member} is down`))
  }
  for (let i = 0; i < 4; i++) t.true((await example.request()).text.includes('web2'))
  const before = example.log().length
  redisAnswer = '+PONG\r\n'
  await until('redis is up again', () => example.log().slice(before).includes('member redis/redis1 is up'))
})

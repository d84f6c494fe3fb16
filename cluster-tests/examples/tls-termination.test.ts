/** TLS at the proxy: certificates by name, the redirect, HSTS, a TCP service, and a certificate renewed by SIGHUP. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { startExample, until } from './example.ts'
import { certificateDirectory, secureExchange, secureRequest } from './tls.ts'

test('tls-termination', async (t) => {
  const authority = await TestAuthority.create('sites')
  const shop = await authority.issue('shop', ['shop.example.com'])
  const api = await authority.issue('api', ['api.example.com'])
  const directory = certificateDirectory(t, { 'shop.pem': shop.chain + shop.key, 'api.pem': api.chain + api.key })
  const example = await startExample(t, 'tls-termination', { arguments: ['--certificates', directory] })
  const site = { host: '127.13.0.1', port: 8443, ca: authority.pem }
  const first = await secureRequest({ ...site, servername: 'shop.example.com' })
  t.is(first.status, 200)
  t.is(first.names, 'DNS:shop.example.com')
  t.is(first.headers['strict-transport-security'], 'max-age=31536000')
  t.is((JSON.parse(first.text) as { headers: Record<string, string> }).headers['x-forwarded-proto'], 'https')
  t.is((await secureRequest({ ...site, servername: 'api.example.com' })).names, 'DNS:api.example.com')

  const redirect = await example.request({ listener: 'plain', path: '/a?b', headers: { Host: 'shop.example.com' } })
  t.true(redirect.status >= 301 && redirect.status <= 308)
  t.is(redirect.headers.location, 'https://shop.example.com:8443/a?b')

  const messages = await secureExchange({ host: '127.13.0.1', port: 8883, ca: authority.pem, servername: 'shop.example.com', ALPNProtocols: ['mqtt'] }, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.is(messages.alpn, 'mqtt')
  t.regex(messages.text, /^HTTP\/1\.1 200/)
  await t.throwsAsync(secureExchange({ host: '127.13.0.1', port: 8883, ca: authority.pem, servername: 'shop.example.com', maxVersion: 'TLSv1.2' }, 'x'))

  const renewed = await authority.issue('shop', ['shop.example.com', 'www.example.com'])
  writeFileSync(join(directory, 'shop.pem'), renewed.chain + renewed.key)
  process.kill(example.pid, 'SIGHUP')
  await until('the renewed one is shown', async () => (await secureRequest({ ...site, servername: 'shop.example.com' })).names.includes('www.example.com'))
  writeFileSync(join(directory, 'shop.pem'), renewed.chain)
  process.kill(example.pid, 'SIGHUP')
  await until('a faulty one is refused', () => example.log().includes('shop.pem: expected one private key'))
  t.is((await secureRequest({ ...site, servername: 'www.example.com' })).status, 200)
})

/** Passed through by name: each client meets the certificate of its own server; a name that nobody has is refused. */
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { startExample } from './example.ts'
import { secureExchange, secureMember } from './tls.ts'

test('tls-passthrough', async (t) => {
  const authority = await TestAuthority.create('sites')
  const shop = await authority.issue('shop', ['shop.example.com'])
  const tenants = await authority.issue('tenants', ['*.tenants.example.com'])
  await secureMember(t, '127.13.3.11', 9443, 'shop', { cert: shop.chain, key: shop.key })
  await secureMember(t, '127.13.3.12', 9443, 'tenants', { cert: tenants.chain, key: tenants.key })
  await startExample(t, 'tls-passthrough', { members: false })
  const to = (servername: string): ReturnType<typeof secureExchange> => secureExchange({ host: '127.13.3.1', port: 8443, ca: authority.pem, servername }, 'hello')
  t.like(await to('shop.example.com'), { names: 'DNS:shop.example.com' })
  t.regex((await to('shop.example.com')).text, /shop$/)
  t.regex((await to('a.tenants.example.com')).text, /tenants$/)
  await t.throwsAsync(to('nobody.example.com'))
})

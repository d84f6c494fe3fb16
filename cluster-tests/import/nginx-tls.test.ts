/** TLS from an nginx.conf: a redirecting server, two certificates, header fields, limits, lists, TLS to a member. */
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { certificateDirectory, secureMember, secureRequest } from '../examples/tls.ts'
import { startImported } from './imported.ts'

test('nginx-tls', async (t) => {
  const authority = await TestAuthority.create('site')
  const shop = await authority.issue('shop', ['shop.example.com'])
  const blog = await authority.issue('blog', ['blog.example.com'])
  const inner = await authority.issue('member', ['member.example.com'])
  const directory = certificateDirectory(t, { 'shop.pem': shop.chain + shop.key, 'blog.pem': blog.chain + blog.key })
  const seen = await secureMember(t, '127.18.6.12', 9443, 'inner', { cert: inner.chain, key: inner.key })
  const { request, notes } = await startImported(t, 'nginx-tls.conf', { arguments: ['--certificates', directory], members: ['app'] })
  t.regex(notes, /haechi certificate put shop \/etc\/letsencrypt\/live\/shop\/fullchain\.pem --key \/etc\/letsencrypt\/live\/shop\/privkey\.pem\n/)
  t.regex(notes, /:30: not taken over: client_max_body_size 10m;/)

  const moved = await request({ path: '/a?b', headers: { Host: 'shop.example.com' } })
  t.is(moved.status, 301)
  t.is(moved.headers.location, 'https://shop.example.com/a?b')
  t.is((await request({ method: 'POST', headers: { Host: 'shop.example.com' } })).status, 405)
  const acme = await request({ path: '/.well-known/acme-challenge/x', headers: { Host: 'shop.example.com' } })
  t.is(acme.seen?.headers.host, 'app', 'without a rule the member is asked for the name of the upstream')

  const secure = (path: string, from = '127.18.6.50', servername = 'shop.example.com'): ReturnType<typeof secureRequest> =>
    secureRequest({ host: '127.18.6.1', port: 8443, ca: authority.pem, servername, path, headers: { Host: servername }, localAddress: from })
  const answer = await secure('/x')
  t.is(answer.status, 200)
  t.is(answer.names, 'DNS:shop.example.com')
  t.is(answer.headers['strict-transport-security'], 'max-age=63072000')
  t.like(JSON.parse(answer.text), { target: '/x', headers: { host: 'shop.example.com', 'x-forwarded-proto': 'https' } })
  t.like(await secure('/', '127.18.6.50', 'blog.example.com'), { text: 'blog', names: 'DNS:blog.example.com' })

  const statuses: number[] = []
  for (let i = 0; i < 4; i++) statuses.push((await secure('/login')).status)
  t.deepEqual(statuses.slice(0, 3), [200, 200, 200], 'the first, and a burst of two')
  t.is(statuses[3], 429)
  t.is((await secure('/login', '127.18.6.51')).status, 200)
  t.is((await secure('/')).status, 200)

  t.is((await secure('/admin/x')).status, 403)
  t.is((await secure('/admin/x', '127.18.6.100')).status, 200)
  t.is((await secure('/admin/x', '127.18.6.130')).status, 200)
  t.is((await secure('/admin/x', '127.18.6.101')).status, 403)
  t.is((await secure('/secure/y')).text, 'inner')
  t.is(seen.at(-1)?.serverName, 'member.example.com')
})

/** TLS from a haproxy.cfg: redirects, HSTS over TLS alone, a rate limit, TLS to a member. */
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { certificateDirectory, secureMember, secureRequest } from '../examples/tls.ts'
import { startImported } from './imported.ts'

test('haproxy-tls', async (t) => {
  const authority = await TestAuthority.create('site')
  const site = await authority.issue('site', ['example.com', '*.example.com', 'a.internal.example.com'])
  const directory = certificateDirectory(t, { 'example.pem': site.chain + site.key })
  const inner = await authority.issue('member', ['member.example.com'])
  const seen = await secureMember(t, '127.18.2.13', 9443, 'inner', { cert: inner.chain, key: inner.key })
  const { request, notes } = await startImported(t, 'haproxy-tls.cfg', {
    arguments: ['--certificates', directory],
    members: ['app', 'acme'],
  })
  t.regex(notes, /haechi certificate put example \/etc\/haproxy\/certs\/example\.pem\n/)
  const headers = { Host: 'shop.example.com' }

  const plain = await request({ listener: 'plain', path: '/a?b=c', headers })
  t.is(plain.status, 301)
  t.is(plain.headers.location, 'https://shop.example.com/a?b=c')
  t.is((await request({ listener: 'plain', path: '/.well-known/acme-challenge/x', headers })).seen?.member, 'acme')

  // The same frontend without TLS redirects with its own status, and says nothing of HSTS.
  const second = await request({ listener: 'secure-2', path: '/x', headers })
  t.is(second.status, 308)
  t.is(second.headers['strict-transport-security'], undefined)

  const secure = (path: string, servername = 'shop.example.com', localAddress = '127.18.2.50'): ReturnType<typeof secureRequest> =>
    secureRequest({ host: '127.18.2.1', port: 8443, ca: authority.pem, servername, path, headers: { Host: servername }, localAddress })
  const answer = await secure('/hello')
  t.is(answer.status, 200)
  t.is(answer.headers['strict-transport-security'], 'max-age=31536000; includeSubDomains')
  t.like(JSON.parse(answer.text), { member: 'a1', target: '/hello', headers: { 'x-forwarded-proto': 'https', 'x-forwarded-for': '127.18.2.50' } })
  const moved = await secure('/p?q', 'example.com')
  t.is(moved.status, 302)
  t.is(moved.headers.location, 'https://www.example.com/p?q')
  t.is((await secure('/', 'a.internal.example.com')).text, 'inner')
  t.is(seen.at(-1)?.serverName, 'member.example.com')

  // Eight in a minute for each address; the ninth is refused, and another address is not.
  const statuses: number[] = []
  for (let i = 0; i < 9; i++) statuses.push((await secure('/', 'shop.example.com', '127.18.2.60')).status)
  t.deepEqual(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 429])
  t.is((await secure('/', 'shop.example.com', '127.18.2.61')).status, 200)
})

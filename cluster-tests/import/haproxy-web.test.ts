/** A classic haproxy.cfg: conditions, refusals, fixed answers, backends, a sticky cookie, a backup. */
import test from 'ava'
import { allUp, until } from '../examples/example.ts'
import { startImported } from './imported.ts'

test('haproxy-web', async (t) => {
  const example = await startImported(t, 'haproxy-web.cfg')
  await allUp(example)
  const { request, stopMember, notes, document } = example
  t.regex(notes, /haproxy-web\.cfg:20: not taken over: errorfile 503 /)
  t.regex(notes, /:74: not needed: listen stats/)
  t.deepEqual(document.listeners.map(({ name }) => name), ['www'])
  const host = { Host: 'www.example.com' }
  const of = async (path: string, more: object = {}): Promise<string> => (await request({ path, headers: host, ...more })).seen?.member ?? ''

  // The default backend, kept by a cookie.
  await until('members are up', async () => (await request({ headers: host })).status === 200)
  const first = await request({ headers: host })
  const cookie = first.headers['set-cookie']![0]!.split(';')[0]!
  t.regex(cookie, /^SRV=/)
  for (let i = 0; i < 6; i++) {
    const again = await request({ headers: { ...host, Cookie: cookie } })
    t.is(again.seen!.member, first.seen!.member)
    t.is(again.seen!.headers.cookie, undefined, '`indirect`: the server does not see it')
  }

  // By path, method and host, in the order of the lines.
  t.is(await of('/api/x?q=1', { method: 'GET' }), 'api1')
  t.is(await of('/api/x', { method: 'DELETE' }), 'apiw')
  t.regex(await of('/style/main.css'), /^s[12]$/)
  t.is(await of('/style/main.css'), await of('/style/main.css'), 'balance uri')
  t.is(await of('/', { headers: { Host: 'SHOP.example.com' } }), 'shop1')
  t.regex(await of('/main.css', { headers: { Host: 'shop.example.com' } }), /^s[12]$/)
  t.regex(await of('/apix'), /^web/, 'a prefix with its slash')

  // The edits of a backend.
  const api = await request({ path: '/api/users?q=1', headers: host })
  t.like(api.seen, { target: '/v2/users?q=1' })
  t.is(api.seen!.headers['x-api-version'], '2')
  t.is(api.headers['x-served-by'], 'api')
  t.is(api.seen!.headers['x-forwarded-for'], '127.0.0.1')

  // Refusals and answers.
  t.is((await request({ path: '/admin/users', headers: host })).status, 403)
  t.is((await request({ path: '/administrator', headers: host })).status, 403, 'a prefix of characters')
  t.is((await request({ path: '/admin', headers: host, from: '127.18.1.100' })).status, 200)
  t.is((await request({ path: '/admin', headers: { ...host, 'User-Agent': 'BadBot/1' }, from: '127.18.1.101' })).status, 429, 'the next rule is asked, too')
  t.regex(await of('/admin/a.css', { from: '127.18.1.100' }), /^s[12]$/)
  t.is((await request({ headers: { ...host, 'User-Agent': 'An Evil Crawler' } })).status, 429)
  t.like(await request({ path: '/ping', headers: host }), { status: 200, text: 'pong' })
  const old = await request({ path: '/old?a=b', headers: host })
  t.is(old.status, 301)
  t.is(old.headers.location, 'https://example.com/new')
  t.is((await request({ path: '/internal/x', headers: { Host: 'shop.example.com' } })).status, 403, 'a rule of the backend')
  t.not((await request({ path: '/internal/x', headers: host })).status, 403)

  // The backup serves only when no other does.
  await stopMember('web', 'web1')
  await stopMember('web', 'web2')
  await until('the backup serves', async () => (await of('/')) === 'spare', 30_000)
})

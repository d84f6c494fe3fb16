/** Virtual hosts from an nginx.conf: names by their precedence, locations by theirs, the default server. */
import test from 'ava'
import { startImported } from './imported.ts'

test('nginx-sites', async (t) => {
  const { request, stopMember, startMember, document, notes } = await startImported(t, 'nginx-sites.conf')
  t.regex(notes, /nginx-sites\.conf:43: not taken over: location \/download/)
  const names = new Map(document.pools.flatMap((pool) => pool.members.map((member) => [member.name, member.address])))
  const at = async (path: string, host = 'www.example.com'): Promise<string> => {
    const { seen, status } = await request({ path, headers: { Host: host } })
    return seen === undefined ? String(status) : `${names.get(seen.member)!.split('.').at(-1)} ${seen.target}`
  }

  // Exact before everything; `^~` before expressions; expressions in their order; the longest prefix at last.
  t.like(await request({ path: '/health', headers: { Host: 'example.com' } }), { status: 200, text: 'ok\n' })
  t.regex(await at('/health/'), /^1[12] \/health\/$/)
  t.is(await at('/images/cat.gif?size=1'), '21 /cat.gif?size=1', 'proxy_pass with a path: the prefix goes')
  t.is(await at('/images/raw/a.php'), '21 /images/raw/a.php')
  t.is(await at('/images/a.php'), '31 /images/a.php')
  t.is(await at('/shop/index.php'), '31 /shop/index.php')
  t.is(await at('/shop/a.JPEG'), '21 /shop/a.JPEG')
  t.is(await at('/shop/a.jpegx'), (await at('/shop/a.jpegx')).replace(/^\d+/, (digits) => (/^1[12]$/.test(digits) ? digits : 'wrong')))
  t.is(await at('/.git/config'), '403')
  t.is(await at('/download/x'), '404')
  t.is(await at('/downloadable'), '404', 'a prefix of characters')
  const year = await request({ path: '/y2024/a?b', headers: { Host: 'www.example.com' } })
  t.is(year.status, 301)
  t.is(year.headers.location, 'https://archive.example.com/y2024/a?b')
  const picture = await request({ path: '/a.png', headers: { Host: 'www.example.com' } })
  t.is(picture.headers['x-kind'], 'picture')
  t.is(picture.seen!.headers.host, 'www.example.com')

  // Names: exact, wildcard, expression; else the default server.
  const tenant = await request({ headers: { Host: 'a.apps.example.com', Cookie: 'x=y' } })
  t.is(tenant.seen!.headers.host, 'apps.internal')
  t.is(tenant.seen!.headers['x-tenant'], 'apps')
  t.is(tenant.seen!.headers.cookie, undefined)
  const old = await request({ path: '/a?b', headers: { Host: 'old.example.com' } })
  t.is(old.headers.location, 'http://www.example.com/a?b')
  t.regex((await request({ path: '/old', headers: { Host: 'm7.example.net' } })).headers.location!, /^http:\/\/m7\.example\.net(:8080)?\/new$/)
  t.is(await at('/shop/index.php', 'unknown.test'), '31 /shop/index.php')
  t.is(await at('/shop/index.php', 'mx.example.net'), '31 /shop/index.php')

  // The backup, once both others have failed; they are asked again after a while.
  const [first, second, backup] = document.pools.find(({ name }) => name === 'site')!.members
  await stopMember('site', first!.name)
  await stopMember('site', second!.name)
  t.is((await request({ headers: { Host: 'www.example.com' } })).seen?.member, backup!.name)
  await startMember('site', first!.name)
})

/** The cookie is set once and followed; when its server is down another takes over and is named. */
import test from 'ava'
import { startExample, until } from './example.ts'

test('persistence-cookie: a browser stays on one server, and moves when that is down', async (t) => {
  const example = await startExample(t, 'persistence-cookie')
  const first = await example.request()
  const set = String(first.headers['set-cookie'])
  t.regex(set, /^SHOPSERVER=[\w-]{24}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Strict$/)
  const cookie = set.split(';')[0]!
  for (let i = 0; i < 5; i++) {
    const { seen, headers } = await example.request({ headers: { cookie: `theme=dark; ${cookie}` } })
    t.is(seen?.member, first.seen?.member)
    t.is(headers['set-cookie'], undefined)
    t.is(seen?.headers.cookie?.trim(), 'theme=dark')
  }
  await example.stopMember('shop', first.seen!.member)
  await until('the failure is known', () => example.log().includes(`member shop/${first.seen!.member} is down`))
  const moved = await example.request({ headers: { cookie } })
  t.not(moved.seen?.member, first.seen?.member)
  const next = String(moved.headers['set-cookie']).split(';')[0]!
  t.not(next, cookie)
  for (let i = 0; i < 3; i++) t.is((await example.request({ headers: { cookie: next } })).seen?.member, moved.seen?.member)
})

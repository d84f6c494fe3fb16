/** Redirects, fixed responses, rewrites and header fields of the example. */
import test from 'ava'
import { startExample } from './example.ts'

test('routing-actions: redirects, fixed responses, rewrites, header fields', async (t) => {
  const { request } = await startExample(t, 'routing-actions', {
    answer: (seen, response) => {
      response.setHeader('X-Powered-By', 'a test')
      response.end(JSON.stringify(seen))
      return true
    },
  })
  const host = { Host: 'www.example.com' }
  const moved = await request({ path: '/old/page?x=1', headers: host })
  t.is(moved.status, 301)
  t.is(moved.headers.location, 'http://www.example.com/new/page?x=1')
  t.is(moved.headers['x-content-type-options'], 'nosniff')

  const closed = await request({ path: '/shop/cart' })
  t.is(closed.status, 503)
  t.is(closed.headers['retry-after'], '3600')
  t.is(closed.headers['content-type'], 'text/html; charset=utf-8')
  t.is(closed.text, '<h1>Closed until eight / 여덟 시까지 쉽니다</h1>\n')

  const stripped = await request({ path: '/service-a/x?y', headers: { ...host, 'X-Debug': '1', 'X-Other': '2' } })
  t.is(stripped.seen?.target, '/x?y')
  t.is(stripped.seen?.headers.host, 'service-a.internal')
  t.is(stripped.seen?.headers['x-service'], 'a')
  t.is(stripped.seen?.headers['x-debug'], undefined)
  t.is(stripped.seen?.headers['x-other'], '2')
  t.is(stripped.headers['x-powered-by'], undefined)
  t.is(stripped.headers['x-content-type-options'], 'nosniff')

  t.is((await request({ path: '/item-17?q' })).seen?.target, '/items/17?q')
  const other = await request({ path: '/item-x' })
  t.is(other.seen?.target, '/item-x')
  t.is(other.headers['x-powered-by'], 'a test')

  const https = await request({ listener: 'plain', path: '/a?b', headers: { Host: 'www.example.com:8081' } })
  t.is(https.status, 308)
  t.is(https.headers.location, 'https://www.example.com/a?b')
})

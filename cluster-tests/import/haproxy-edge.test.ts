/** The edge from a haproxy.cfg: TLS by name, several binds, `allow`, canonical host, cookies, parameters, rewritten paths. */
import { connect } from 'node:net'
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { secureExchange, secureMember } from '../examples/tls.ts'
import { startImported } from './imported.ts'

test('haproxy-edge', async (t) => {
  const authority = await TestAuthority.create('sites')
  const site = await authority.issue('site', ['example.com', '*.example.com', '*.apps.example.com'])
  for (const [address, name] of [['127.18.4.11', 'mail'], ['127.18.4.12', 'apps'], ['127.18.4.13', 'web']] as const) await secureMember(t, address, 9443, name, { cert: site.chain, key: site.key })
  const { request } = await startImported(t, 'haproxy-edge.cfg', { members: ['main', 'beta', 'items', 'json'] })

  const to = async (servername: string): Promise<string> => (await secureExchange({ host: '127.18.4.1', port: 8443, ca: authority.pem, servername }, 'hello')).text.split('\r\n').at(-1)!
  t.is(await to('mail.example.com'), 'mail')
  t.is(await to('x.apps.example.com'), 'apps')
  t.is(await to('other.example.com'), 'web')

  const headers = { Host: 'www.example.org' }
  const listener = 'http-in'
  const of = async (path: string, more: Record<string, string> = {}): Promise<string> => (await request({ listener, path, headers: { ...headers, ...more } })).seen?.member ?? ''
  const main = await request({ listener, path: '/x?y', headers: { ...headers, 'X-Debug': '1' } })
  t.like(main.seen, { member: 'm1', target: '/app/x?y' })
  t.is(main.seen!.headers.host, 'app.internal')
  t.is(main.seen!.headers['x-debug'], undefined)
  t.is((await request({ listener: 'http-in-2', headers })).seen?.member, 'm1', 'the second address of the bind')

  t.is(await of('/', { Cookie: 'a=1; beta=yes' }), 'b1')
  t.is(await of('/', { Cookie: 'beta=no' }), 'm1')
  t.is(await of('/?beta=1'), 'b1')
  t.is(await of('/v12/items/red-hat'), 'i1')
  t.is(await of('/v123/items/red-hat'), 'm1')
  const json = await request({ listener, headers: { ...headers, 'Content-Type': 'application/json; charset=utf-8' } })
  t.is(json.seen?.member, 'j1')
  t.is(json.headers['cache-control'], 'no-store')
  t.is(await of('/', { 'Content-Type': 'application/json', 'X-Legacy': '1' }), 'm1')

  const moved = await request({ listener, path: '/a?b=c', headers: { Host: 'example.org' } })
  t.is(moved.status, 301)
  t.is(moved.headers.location, 'http://www.example.org/a?b=c')
  t.is((await request({ listener, path: '/ADMIN/x', headers })).status, 403)
  t.is((await request({ listener, method: 'TRACE', headers })).status, 405)
  t.like(await request({ listener, path: '/haproxy-alive', headers: { Host: 'anything' } }), { status: 200 })
  // `allow`: no further http-request rule is asked.
  t.is((await request({ listener, path: '/admin', headers: { Host: 'any' }, from: '127.18.4.100' })).seen?.member, 'm1')
  t.is((await request({ listener, path: '/admin', headers: { Host: 'any', Cookie: 'beta=yes' }, from: '127.18.4.100' })).seen?.member, 'b1')

  // The third bind has the client's address from a PROXY header.
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(8080, '127.18.4.3')
    let text = ''
    socket.on('data', (data) => (text += data.toString()))
    socket.once('error', reject)
    socket.once('close', () => resolve(text))
    socket.write('PROXY TCP4 192.0.2.9 127.18.4.3 1234 8080\r\nGET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n')
  })
  t.regex(answer, /"x-forwarded-for":"192\.0\.2\.9"/)
})

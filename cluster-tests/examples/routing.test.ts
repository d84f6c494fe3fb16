/** Match rules: each of the example's routes takes what it is for, and nothing else. */
import test from 'ava'
import { startExample, type ExampleRequest } from './example.ts'

test('routing: hosts, paths, methods, header fields, cookies, query parameters, networks and regular expressions', async (t) => {
  const { request } = await startExample(t, 'routing')
  const member = async (options: ExampleRequest): Promise<string | undefined> => (await request(options)).seen?.member
  const host = (name: string): Record<string, string> => ({ Host: name })
  t.is(await member({ path: '/' }), 'web')
  t.is(await member({ path: '/', headers: host('api.example.com:8080') }), 'api')
  t.is(await member({ path: '/', headers: host('eu.API.example.com') }), 'api')
  t.is(await member({ path: '/', headers: host('api-v12.example.com') }), 'api')
  t.is(await member({ path: '/', headers: host('api-vx.example.com') }), 'web')
  t.is(await member({ path: '/users/17?x=y' }), 'api')
  t.is(await member({ path: '/users/17', method: 'POST' }), 'web')
  t.is(await member({ path: '/users/me' }), 'web')
  t.is(await member({ path: '/export?a=b&format=csv' }), 'reports')
  t.is(await member({ path: '/export?format=doc' }), 'web')
  t.is(await member({ path: '/export/x?format=csv' }), 'web')
  t.is(await member({ path: '/', headers: { Cookie: 'a=b; group=beta' } }), 'beta')
  t.is(await member({ path: '/', headers: { 'X-Client': 'beta/2' } }), 'beta')
  const inside = await request({ path: '/status', from: '127.12.9.7' })
  t.is(inside.status, 200)
  t.is(inside.text, 'all is well\n')
  t.is((await request({ path: '/status', from: '127.12.8.7' })).status, 403)
  // Another spelling of the path takes the same route; one that can be read in two ways takes none.
  t.is((await request({ path: '/%73tatus', from: '127.12.8.7' })).status, 403)
  t.is((await request({ path: '/x/../status', from: '127.12.8.7' })).status, 400)
})

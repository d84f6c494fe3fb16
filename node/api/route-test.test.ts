import { call, document, problemOf, putConfig, test } from './test-api.ts'

test('which route a request would take, by the configuration in force', async (t) => {
  const { api, token } = t.context
  const options = { token: await token('viewer') }
  const routes = [{ name: 'new', paths: ['/new'], match: { headers: [{ name: 'x-group', equals: 'beta' }] }, pool: 'web', rewrite: { prefix: '/' } }, { name: 'old', redirect: { scheme: 'https' } }]
  const listener = document.listeners[0]!
  const put = await putConfig(t.context, { ...document, listeners: [{ ...listener, routes }, { ...listener, name: 'raw', port: 99, protocol: 'tcp' }] }, '"1"')
  t.is(put.status, 200, put.text)
  const ask = (body: object) => call(api, 'POST', '/route-test', { ...options, body: { listener: listener.name, host: 'a.example', ...body } })
  const found = await ask({ target: '/new/x?y', headers: [{ name: 'X-Group', value: 'beta' }] })
  t.deepEqual(found.body, {
    outcome: 'route', route: 'new', action: 'pools', pools: [{ pool: 'web', weight: 1 }], status: 0, location: '', target: '/x?y', memberHost: 'a.example',
    routes: [{ name: 'new', matches: true, fails: [] }, { name: 'old', matches: true, fails: [] }],
  })
  t.like((await ask({ target: '/new/x' })).body, { route: 'old', status: 302, location: 'https://a.example/new/x', routes: { 0: { fails: ['headers'] } } })
  t.like((await ask({ target: 'x y' })).body, { outcome: 'malformed' })
  problemOf(t, await ask({ listener: 'none' }), 404, 'not-found')
  problemOf(t, await ask({ listener: 'raw' }), 400, 'invalid-request')
  problemOf(t, await ask({ source: '10.0.0.0/8' }), 400, 'invalid-request')
})

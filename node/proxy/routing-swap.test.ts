/** Routes change under traffic: a real proxy and real connections. */
import test from 'ava'
import { Backend, TestProxy } from './test-proxy.ts'

test('blue and green are exchanged in one step, and the connections of clients go on', async (t) => {
  const blue = await Backend.answering('blue')
  const green = await Backend.answering('green')
  const proxy = await TestProxy.start(2)
  t.teardown(async () => {
    await proxy.stop()
    await Promise.all([blue.close(), green.close()])
  })
  const apply = (weights: readonly [number, number]) =>
    proxy.apply({
      pools: [{ name: 'blue', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: blue.port }] }, { name: 'green', healthCheck: { type: 'none' }, members: [{ name: 'a', address: '127.0.0.1', port: green.port }] }],
      listeners: [{
        name: 'front', address: '127.0.0.1', port: proxy.port,
        routes: [{ name: 'all', match: { pathRegex: '^/shop(/|$)' }, pools: [{ pool: 'blue', weight: weights[0] }, { pool: 'green', weight: weights[1] }], retries: {} }, { name: 'rest', respond: { status: 404, body: 'nothing here' } }],
      }],
    })
  await apply([100, 0])
  const clients = Array.from({ length: 6 }, () => proxy.client())
  const ask = async (expected: string) => {
    for (const client of clients) {
      client.text = ''
      client.send('GET /shop/cart HTTP/1.1\r\nHost: a\r\n\r\n')
    }
    for (const client of clients) await client.gets(expected)
  }
  await ask('\r\n\r\nblue')
  await apply([0, 100])
  await ask('\r\n\r\ngreen')
  await apply([100, 0])
  await ask('\r\n\r\nblue')
  t.true(clients.every((client) => !client.ended && !client.closed))
  clients[0]!.text = ''
  clients[0]!.send('GET /shopping HTTP/1.1\r\nHost: a\r\n\r\n')
  await clients[0]!.gets('nothing here')
  for (const client of clients) client.close()
})

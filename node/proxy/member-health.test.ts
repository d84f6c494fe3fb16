/** Health by live traffic through a real proxy with several workers: what its main thread reports, and what clients get. */
import test from 'ava'
import type { Socket } from 'node:net'
import { Backend, TestProxy, until } from './test-proxy.ts'

const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

test('workers count together, the manager ejects, and reports it', async (t) => {
  const bad = await Backend.start((socket) => socket.write('HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n'))
  const good = await Backend.answering('fine')
  const proxy = await TestProxy.start(2)
  t.teardown(() => Promise.all([proxy.stop(), bad.close(), good.close()]))
  const document = (passive: boolean): unknown => proxy.document([bad.port, good.port], { pool: passive ? { passiveHealth: { failures: 6, ejectionTime: '1h', maxEjectionTime: '2h' } } : {} })
  await proxy.apply(document(true))
  await until('m1 is ejected', async () => {
    await proxy.once(request)
    return proxy.proxy.members()[0]!.health === 'ejected'
  })
  t.like(proxy.proxy.members()[0], { ejectionsTotal: 1 })
  t.true(proxy.proxy.members()[0]!.healthSinceEpochMs > 0)
  t.like(proxy.proxy.members()[1], { health: 'up', ejectionsTotal: 0, healthSinceEpochMs: 0 })
  t.deepEqual(proxy.proxy.circuits(), [])
  // What probes say meanwhile does not end it.
  proxy.proxy.setMemberHealth('web', 'm1', 'up')
  for (let i = 0; i < 6; i++) t.regex(await proxy.once(request), /fine/)
  await proxy.apply(document(false))
  t.is(proxy.proxy.members()[0]!.health, 'up')
})

test('a circuit of all workers opens and is reported', async (t) => {
  const bad = await Backend.start((socket) => socket.write('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n'))
  const proxy = await TestProxy.start(2)
  t.teardown(() => Promise.all([proxy.stop(), bad.close()]))
  await proxy.apply(proxy.document([bad.port], { pool: { circuitBreaker: { failures: 4, openTime: '1h' } } }))
  t.deepEqual(proxy.proxy.circuits(), [{ pool: 'web', state: 'closed' }])
  for (let i = 0; i < 4; i++) t.notRegex(await proxy.once(request), /circuit-open/)
  t.regex(await proxy.once(request), /X-Haechi-Error: circuit-open/)
  await until('it is known', () => proxy.proxy.circuits()[0]?.state === 'open')
  t.is(proxy.proxy.listeners()[0]!.errorsTotal['circuit-open'], 1)
})

test('drain: under way ends after the deadline, kept connections too; the other member goes on', async (t) => {
  const held: Socket[] = []
  const slow = await Backend.start((socket, data) => {
    if (data.includes('GET /slow')) held.push(socket)
    else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow')
  })
  const other = await Backend.answering('other')
  const proxy = await TestProxy.start(1)
  t.teardown(() => Promise.all([proxy.stop(), slow.close(), other.close()]))
  const document = (state: string): unknown =>
    proxy.document([slow.port, other.port], { pool: { balance: 'first-available', drainTimeout: '300ms' }, member: (i) => (i === 0 ? { state } : {}) })
  await proxy.apply(document('enabled'))
  t.regex(await proxy.once(request), /slow/)
  const waiting = proxy.client()
  waiting.send('GET /slow HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('it is under way', () => held.length === 1)
  // One more, so that an idle connection is kept beside the busy one.
  t.regex(await proxy.once(request), /slow/)
  await proxy.apply(document('drain'))
  t.is(waiting.text, '')
  await waiting.gets(/^HTTP\/1\.1 503 [^]*X-Haechi-Error: member-drained/)
  await until('no connection to the member is left', () => slow.sockets.size === 0)
  t.regex(await proxy.once(request), /other/)
  waiting.close()
})

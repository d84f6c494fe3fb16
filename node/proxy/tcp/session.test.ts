/** TCP sessions and tunnels on fakes: orders of events that real sockets show only by luck. Most were bugs once. */
import test from 'ava'
import { FakeConnection, FakeProxy } from '../fake-transport.ts'
import { TcpSession } from './session.ts'

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function session(proxy: FakeProxy): { client: FakeConnection; over: () => boolean } {
  const client = new FakeConnection()
  let over = false
  proxy.shared.openConnection(0, 1000)
  void new TcpSession(proxy.runtime, proxy.listener, client, 80, () => (over = true))
  return { client, over: () => over }
}
const tcp = { protocol: 'tcp' }

test('a refused member is passed over; the client is read only when one has been found', async (t) => {
  const proxy = FakeProxy.with(2, tcp)
  const { client, over } = session(proxy)
  t.true(client.paused)
  proxy.last.breaks('ECONNREFUSED')
  t.is(proxy.connections.length, 2)
  t.not(proxy.connections[0]!.address, proxy.connections[1]!.address)
  proxy.last.connects()
  t.false(client.paused)
  client.receives('ping')
  proxy.last.receives('pong')
  t.is(proxy.last.sent, 'ping')
  t.is(client.sent, 'pong')
  client.breaks('ECONNRESET')
  t.true(proxy.last.isAborted, 'a failure is seen as one')
  await settled()
  t.true(over())
  t.is(proxy.active(), 0)
  t.is(proxy.shared.connections(0), 0)
})

test('a member that does not answer in time is passed over; without another the client is reset', async (t) => {
  const proxy = FakeProxy.with(2, tcp, { connectTimeout: '1s', retries: 1 })
  const { client } = session(proxy)
  proxy.passes(1000)
  proxy.passes(1000)
  t.is(proxy.connections.length, 2)
  t.true(client.isAborted)
  await settled()
  t.deepEqual(proxy.errors(), { 'member-connect-failed': 1 })
  t.is(proxy.active(), 0)
})

test('bug: a session that failed was counted as an error of the client too', async (t) => {
  const proxy = FakeProxy.with(1, tcp)
  proxy.shared.setHealth(0, 'down')
  const { client, over } = session(proxy)
  t.true(client.isAborted)
  await settled()
  t.true(over())
  t.deepEqual(proxy.errors(), { 'no-member-available': 1 })
  t.is(proxy.shared.connections(0), 0)
})

test('bug: a tunnel that had ended on both sides was neither counted nor timed while its last bytes were not taken', async (t) => {
  const proxy = FakeProxy.with(1, { protocol: 'tcp', tunnelTimeout: '10s' })
  const { client, over } = session(proxy)
  proxy.last.connects()
  client.stuck = true
  proxy.last.receives('a last answer')
  proxy.last.peerEnds()
  client.peerEnds()
  await settled()
  t.false(over())
  t.is(proxy.active(), 1)
  t.false(client.isClosed)
  proxy.passes(10_000)
  t.true(client.isClosed && proxy.last.isClosed)
  await settled()
  t.true(over())
  t.deepEqual(proxy.errors(), { 'tunnel-timeout': 1 })
  t.is(proxy.active(), 0)
  t.is(proxy.shared.connections(0), 0)
})

test('after an orderly end of both sides a late reset of one does not cut off the rest for the other', async (t) => {
  const proxy = FakeProxy.with(1, tcp)
  const { client, over } = session(proxy)
  proxy.last.connects()
  client.stuck = true
  proxy.last.receives('a last answer')
  proxy.last.peerEnds()
  client.peerEnds()
  proxy.last.breaks('ECONNRESET')
  t.false(client.isClosed)
  client.drains()
  client.breaks('')
  await settled()
  t.true(over())
})

test('a side that does not take its bytes pauses the other, in both directions', (t) => {
  const proxy = FakeProxy.with(1, tcp)
  const { client } = session(proxy)
  const member = proxy.last
  member.connects()
  for (const [from, to] of [[client, member], [member, client]] as const) {
    to.stuck = true
    from.receives('x')
    t.true(from.paused)
    to.drains()
    t.false(from.paused)
  }
})

/** What the data plane measures of members for the balancing: by requests, by connections, by failures; and what becomes of it. */
import test from 'ava'
import { dynamicFactors, unmeasured } from './balance/weights.ts'
import { DynamicWeights } from './dynamic-weights.ts'
import { FakeConnection, FakeProxy } from './fake-transport.ts'
import { Factor, MemberField } from './shared.ts'
import { TcpSession } from './tcp/session.ts'

const get = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const answer = (status: number): string => `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`
const fastest = { balance: 'least-response-time' }

/** Lets the clock of the machine go on: latencies are taken from it. */
async function passed(ms: number): Promise<void> {
  const started = performance.now()
  while (performance.now() - started < ms) await new Promise((resolve) => setTimeout(resolve, 1))
}

test('an answer is measured from the end of the request to its first byte', async (t) => {
  const proxy = FakeProxy.with(1, {}, fastest)
  const client = proxy.client()
  const started = performance.now()
  client.receives('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na')
  await passed(20)
  proxy.last.connects()
  await passed(20)
  const bodyEnds = performance.now()
  client.receives('b')
  await passed(20)
  const before = performance.now()
  proxy.last.receives(answer(200))
  const us = proxy.shared.memberTotal(0, MemberField.latencyUs)
  t.is(proxy.shared.memberTotal(0, MemberField.answers), 1)
  t.true(us >= 19_000 && us <= (performance.now() - bodyEnds) * 1000 + 1, `${us} µs`)
  t.true(us < (before - started) * 1000 - 30_000, 'connecting and a slow client do not count')
  t.is(proxy.shared.latencyUs(0), us)
})

test('failures count as a long time: an answer of 500, a member that breaks off, one that refuses', async (t) => {
  for (const fail of [
    (proxy: FakeProxy) => (proxy.last.connects(), proxy.last.receives(answer(500))),
    (proxy: FakeProxy) => (proxy.last.connects(), proxy.last.breaks('ECONNRESET')),
    (proxy: FakeProxy) => (proxy.last.connects(), proxy.last.receives('nonsense\r\n\r\n')),
    (proxy: FakeProxy) => proxy.last.breaks('ECONNREFUSED'),
  ]) {
    const proxy = FakeProxy.with(1, {}, fastest)
    proxy.client().receives(get)
    fail(proxy)
    t.is(proxy.shared.latencyUs(0), 1_000_000, fail.toString())
    t.is(proxy.shared.memberTotal(0, MemberField.answers), 0)
  }
})

test('a connection is measured by the time to make it', async (t) => {
  const proxy = FakeProxy.with(2, { protocol: 'tcp' }, fastest)
  proxy.shared.openConnection(0, 1000)
  void new TcpSession(proxy.runtime, proxy.listener, new FakeConnection(), 80, () => undefined)
  const first = Number(/192\.0\.2\.(\d+)/.exec(proxy.last.address)![1]) - 10
  await passed(10)
  proxy.last.breaks('ECONNREFUSED')
  t.is(proxy.shared.latencyUs(first), 1_000_000)
  await passed(10)
  proxy.last.connects()
  t.true(proxy.shared.latencyUs(1 - first) >= 9000)
  t.is(proxy.shared.memberTotal(1 - first, MemberField.answers), 1)
})

test('a pool that does not ask is not measured', async (t) => {
  const proxy = FakeProxy.with(1)
  proxy.client().receives(get)
  proxy.last.connects()
  proxy.last.receives(answer(200))
  t.is(proxy.shared.memberTotal(0, MemberField.answers), 0)
  t.is(proxy.shared.latencyUs(0), 0)
})

test('dynamic weights follow the counters, and end when they are not asked for any more', (t) => {
  const proxy = FakeProxy.with(3, {}, { dynamicWeights: true })
  const { shared } = proxy
  const { plan } = proxy.listener.pools[0]!
  const table = { revision: 1, listeners: [], pools: [plan] }
  const weights = new DynamicWeights(shared)
  const factors = (): number[] => plan.members.map(({ slot }) => shared.factor(slot, Factor.dynamic))
  weights.update(table)
  for (let second = 0; second < 10; second++) {
    for (let i = 0; i < 20; i++) {
      plan.members.forEach(({ slot }, member) => {
        shared.addMember(slot, MemberField.requests, 1)
        shared.recordLatency(slot, member === 2 ? 30_000 : 1000)
      })
      // One of two connections to the second one fails.
      shared.addMember(plan.members[1]!.slot, MemberField.connectFailures, 1)
    }
    weights.update(table)
  }
  t.deepEqual(factors(), [16, 4, 2])
  const version = shared.healthVersion()
  weights.update({ ...table, pools: [{ ...plan, dynamicWeights: false }] })
  t.deepEqual(factors(), [16, 16, 16])
  t.not(shared.healthVersion(), version, 'the workers are told')
  t.deepEqual(dynamicFactors([unmeasured], [16]), [16])
})

test('what was counted before a pool asked does not count', (t) => {
  const proxy = FakeProxy.with(2, {}, { dynamicWeights: true })
  const { shared } = proxy
  const { plan } = proxy.listener.pools[0]!
  for (let i = 0; i < 1000; i++) shared.addMember(plan.members[0]!.slot, MemberField.connectFailures, 1)
  const weights = new DynamicWeights(shared)
  for (let second = 0; second < 5; second++) weights.update({ revision: 1, listeners: [], pools: [plan] })
  t.is(shared.factor(plan.members[0]!.slot, Factor.dynamic), 16)
})

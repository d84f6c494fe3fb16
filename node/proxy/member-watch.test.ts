/** What live traffic and time make of members: ejection, slow start, drain deadline, circuit breaker, maintenance. On fakes. */
import test from 'ava'
import { FakeConnection, FakeProxy } from './fake-transport.ts'
import { MemberWatch } from './member-watch.ts'
import { Factor } from './shared.ts'
import { TcpSession } from './tcp/session.ts'

const request = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'
const answer = (status: number): string => `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A proxy on fakes with a watch whose clock the test moves. */
class Bench {
  readonly proxy: FakeProxy
  readonly watch: MemberWatch
  readonly logged: string[] = []
  nowMs = 1000

  constructor(members: number, pool: object, listener: object = {}) {
    this.proxy = FakeProxy.with(members, listener, pool)
    this.watch = new MemberWatch(this.proxy.shared, (level, message) => this.logged.push(`${level} ${message}`))
    this.watch.configure(this.proxy.table, this.nowMs)
    for (let slot = 0; slot < members; slot++) this.watch.setHealth(slot, 'up', this.nowMs)
  }

  passes(ms: number): void {
    this.nowMs += ms
    this.watch.look(this.nowMs)
  }

  /** One request on a connection of its own; `serve` is the member's part. Returns what the client got. */
  ask(serve: (member: FakeConnection) => void): string {
    const client = this.proxy.client()
    const before = this.proxy.connections.length
    client.receives(request)
    if (this.proxy.connections.length > before) serve(this.proxy.last)
    return client.sent
  }

  answers(status: number): string {
    return this.ask((member) => {
      member.connects()
      member.receives(answer(status))
    })
  }

  tcpClient(): FakeConnection {
    const client = new FakeConnection()
    this.proxy.shared.openConnection(0, 1000)
    void new TcpSession(this.proxy.runtime, this.proxy.listener, client, 80, () => undefined)
    return client
  }

  /** Healths of the members, by their first letters. */
  get health(): string {
    return this.proxy.table.pools[0]!.members.map(({ slot }) => this.proxy.shared.health(slot)[0]).join('')
  }
}

// Connections that are kept would not be seen by the fakes as new ones.
const base = { maxIdleConnections: 0 }
const passive = { ...base, passiveHealth: { failures: 3, ejectionTime: '10s', maxEjectionTime: '1m' } }

test('failures in a row eject a member, of whatever kind they are; then it gets nothing, until its time is over', (t) => {
  const bench = new Bench(2, { ...passive, retries: 0, connectTimeout: '1s', serverIdleTimeout: '2s' })
  const { proxy } = bench
  const serve = (bad: (member: FakeConnection) => void): void => {
    for (let i = 0; i < 2; i++) {
      bench.ask((member) => {
        if (member.address === '192.0.2.10:80') bad(member)
        else {
          member.connects()
          member.receives(answer(200))
        }
      })
    }
  }
  serve((member) => member.breaks('ECONNREFUSED'))
  serve((member) => {
    member.connects()
    proxy.passes(2000)
  })
  bench.passes(250)
  t.is(bench.health, 'uu')
  serve((member) => {
    member.connects()
    member.receives(answer(503))
  })
  bench.passes(250)
  t.is(bench.health, 'eu')
  t.deepEqual(bench.logged, ['warn member web/m0 is ejected'])
  t.is(bench.watch.ejection(0).total, 1)
  t.true(bench.watch.ejection(0).sinceEpochMs > 0)
  for (let i = 0; i < 4; i++) bench.ask((member) => {
    t.is(member.address, '192.0.2.11:80')
    member.connects()
    member.receives(answer(200))
  })
  bench.passes(10_000)
  t.is(bench.health, 'uu')
  t.is(bench.watch.ejection(0).sinceEpochMs, 0)
})

test('what breaks off or makes no sense counts, too', (t) => {
  const bench = new Bench(2, { ...passive, retries: 0 })
  for (const bad of [(member: FakeConnection) => member.breaks('ECONNRESET'), (member: FakeConnection) => member.receives('garbage\r\n\r\n'), (member: FakeConnection) => member.peerEnds()]) {
    for (let i = 0; i < 2; i++) {
      bench.ask((member) => {
        member.connects()
        if (member.address === '192.0.2.11:80') bad(member)
        else member.receives(answer(404))
      })
    }
  }
  bench.passes(250)
  t.is(bench.health, 'ue')
})

test('a success between failures, and a status that is none, do not let it come so far', (t) => {
  const bench = new Bench(2, { ...passive, balance: 'first-available' })
  for (const status of [500, 500, 200, 500, 500, 404, 500, 500]) bench.answers(status)
  bench.passes(250)
  t.is(bench.health, 'uu')
  bench.answers(500)
  bench.passes(250)
  t.is(bench.health, 'eu')
})

test('only the statuses that are configured count', (t) => {
  const bench = new Bench(2, { ...base, balance: 'first-available', passiveHealth: { failures: 2, statuses: '429,502-504' } })
  for (const status of [500, 500, 503, 500, 502, 501]) bench.answers(status)
  bench.passes(250)
  t.is(bench.health, 'uu')
  bench.answers(504)
  bench.answers(429)
  bench.passes(250)
  t.is(bench.health, 'eu')
})

test('a member that fails too often is ejected, though never in a row', (t) => {
  const bench = new Bench(2, { ...base, balance: 'first-available', passiveHealth: { failures: 100, errorRate: 50, window: '10s', minimumRequests: 10 } })
  bench.passes(250)
  for (let i = 0; i < 4; i++) [500, 200].map((status) => bench.answers(status))
  bench.passes(10_000)
  t.is(bench.health, 'uu', 'too few requests')
  for (let i = 0; i < 9; i++) bench.answers(i < 4 ? 503 : 200)
  bench.answers(200)
  bench.passes(10_000)
  t.is(bench.health, 'uu', 'forty percent')
  for (let i = 0; i < 5; i++) [200, 500].map((status) => bench.answers(status))
  bench.passes(9000)
  t.is(bench.health, 'uu', 'the window has not ended')
  bench.passes(1000)
  t.is(bench.health, 'eu')
})

test('without passive health nothing is counted', (t) => {
  const bench = new Bench(2, base)
  for (let i = 0; i < 20; i++) bench.answers(500)
  bench.passes(250)
  t.is(bench.health, 'uu')
  t.true(bench.proxy.shared.failures.every((count) => count === 0))
})

test('a probe that takes the last other member down brings an ejected one back', (t) => {
  const bench = new Bench(2, { ...passive, balance: 'first-available' })
  for (let i = 0; i < 3; i++) bench.answers(500)
  bench.passes(250)
  t.is(bench.health, 'eu')
  bench.watch.setHealth(1, 'down', bench.nowMs)
  // At once, before the next look.
  t.regex(bench.answers(200), / 200 /)
  bench.passes(250)
  t.is(bench.health, 'ud')
})

test('switching passive health off ends an ejection', (t) => {
  const bench = new Bench(2, { ...passive, balance: 'first-available' })
  for (let i = 0; i < 3; i++) bench.answers(500)
  bench.passes(250)
  t.is(bench.health, 'eu')
  bench.watch.configure(FakeProxy.with(2).table, bench.nowMs)
  t.is(bench.health, 'uu')
})

test('tcp: connections that fail eject a member', (t) => {
  const bench = new Bench(2, { ...passive, balance: 'first-available', retries: 0 }, { protocol: 'tcp' })
  const { proxy } = bench
  for (const works of [false, false, true, false, false]) {
    const client = bench.tcpClient()
    if (works) proxy.last.connects()
    else proxy.last.breaks('ECONNREFUSED')
    t.is(client.isAborted, !works)
    client.breaks('')
  }
  bench.passes(250)
  t.is(bench.health, 'uu')
  bench.tcpClient()
  proxy.last.breaks('ECONNREFUSED')
  bench.passes(250)
  t.is(bench.health, 'eu')
})

// — panic —

test('panic: when most members are down, all are used', (t) => {
  const bench = new Bench(4, { ...base, panicThreshold: 50, healthCheck: { type: 'tcp' } })
  const used = (): Set<string> => {
    const members = new Set<string>()
    for (let i = 0; i < 8; i++) bench.ask((member) => {
      members.add(member.address)
      member.connects()
      member.receives(answer(200))
    })
    return members
  }
  bench.watch.setHealth(0, 'down', 1)
  bench.watch.setHealth(1, 'down', 1)
  t.is(used().size, 2)
  bench.watch.setHealth(2, 'down', 1)
  t.is(used().size, 4)
  bench.watch.setHealth(3, 'draining', 1)
  t.is(used().size, 3)
})

// — slow start —

test('a member that comes up gets an eighth at first, and the whole after the time', (t) => {
  const bench = new Bench(2, { ...base, slowStart: '16s' })
  const factors = (): number[] => [0, 1].map((slot) => bench.proxy.shared.factor(slot, Factor.slowStart))
  bench.passes(20_000)
  t.deepEqual(factors(), [16, 16])
  bench.watch.setHealth(1, 'down', bench.nowMs)
  bench.passes(250)
  bench.watch.setHealth(1, 'up', bench.nowMs)
  t.deepEqual(factors(), [16, 2], 'before the first look already')
  const shares = { first: 0, second: 0 }
  for (let i = 0; i < 180; i++) bench.ask((member) => {
    shares[member.address === '192.0.2.10:80' ? 'first' : 'second']++
    member.connects()
    member.receives(answer(200))
  })
  t.deepEqual(shares, { first: 160, second: 20 })
  bench.passes(8000)
  t.deepEqual(factors(), [16, 8])
  bench.passes(8000)
  t.deepEqual(factors(), [16, 16])
})

test('members that come up together share at once; a configuration without slow start ends it', (t) => {
  const bench = new Bench(2, { ...base, slowStart: '16s' })
  t.deepEqual([0, 1].map((slot) => bench.proxy.shared.factor(slot, Factor.slowStart)), [16, 16])
  bench.passes(20_000)
  bench.watch.setHealth(0, 'down', bench.nowMs)
  bench.watch.setHealth(0, 'up', bench.nowMs)
  t.is(bench.proxy.shared.factor(0, Factor.slowStart), 2)
  bench.watch.configure(FakeProxy.with(2).table, bench.nowMs)
  t.is(bench.proxy.shared.factor(0, Factor.slowStart), 16)
})

test('bug: after a start of the node no member starts slowly, however late its first verdict comes', (t) => {
  const bench = new Bench(3, { ...base, slowStart: '16s' })
  const fresh = new MemberWatch(bench.proxy.shared, () => undefined)
  const factors = (): number[] => [0, 1, 2].map((slot) => bench.proxy.shared.factor(slot, Factor.slowStart))
  fresh.configure(bench.proxy.table, 1000)
  for (const slot of [0, 1, 2]) fresh.setHealth(slot, 'checking', 1000)
  fresh.setHealth(0, 'up', 1100)
  fresh.look(7000)
  fresh.setHealth(1, 'up', 7000)
  t.deepEqual(factors(), [16, 16, 16])
  // One that was down does, and so does one that joins the pool later.
  fresh.setHealth(2, 'down', 17_000)
  fresh.setHealth(2, 'up', 20_000)
  t.deepEqual(factors(), [16, 16, 2])
  const pool = bench.proxy.table.pools[0]!
  const joined = new MemberWatch(bench.proxy.shared, () => undefined)
  joined.configure({ ...bench.proxy.table, pools: [{ ...pool, members: pool.members.slice(0, 2) }] }, 1000)
  for (const slot of [0, 1]) joined.setHealth(slot, 'up', 1000)
  joined.configure(bench.proxy.table, 50_000)
  joined.setHealth(2, 'checking', 50_000)
  joined.setHealth(2, 'up', 50_100)
  t.deepEqual(factors(), [16, 16, 2])
})

test('bug: members of a large pool that come up together are not looked at once for each of the others', (t) => {
  const bench = new Bench(240, { ...base, slowStart: '16s' })
  const { proxy, watch } = bench
  bench.passes(20_000)
  let looks = 0
  const setFactor = proxy.shared.setFactor.bind(proxy.shared)
  proxy.shared.setFactor = (slot, factor, value) => {
    looks++
    setFactor(slot, factor, value)
  }
  for (let slot = 1; slot < 240; slot++) watch.setHealth(slot, 'down', bench.nowMs)
  bench.passes(250)
  for (let slot = 1; slot < 240; slot++) watch.setHealth(slot, 'up', bench.nowMs)
  t.true(looks < 3 * 240, String(looks))
  t.is(proxy.shared.factor(239, Factor.slowStart), 2)
  t.is(proxy.shared.factor(0, Factor.slowStart), 16)
  bench.passes(8000)
  t.is(proxy.shared.factor(239, Factor.slowStart), 8)
})

// — drain —

test('drain: what goes on ends after the deadline, with an answer when none has begun', (t) => {
  const bench = new Bench(1, { ...base, drainTimeout: '10s' })
  const { proxy } = bench
  const waiting = proxy.client()
  waiting.receives(request)
  proxy.last.connects()
  const begun = proxy.client()
  begun.receives(request)
  proxy.last.connects()
  proxy.last.receives('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart')
  bench.watch.setHealth(0, 'draining', bench.nowMs)
  bench.passes(9999)
  proxy.passes(100)
  t.is(waiting.sent, '')
  t.is(proxy.active(), 2)
  bench.passes(1)
  proxy.passes(100)
  t.regex(waiting.sent, /^HTTP\/1\.1 503 [^]*X-Haechi-Error: member-drained\r\n/)
  t.true(begun.isAborted)
  t.is(proxy.active(), 0)
  t.deepEqual(proxy.errors(), { 'member-drained': 2 })
  // Enabled again: no deadline any more.
  bench.watch.setHealth(0, 'up', bench.nowMs)
  t.regex(bench.answers(200), / 200 /)
})

test('drain: tunnels end, too; without a deadline they go on', async (t) => {
  for (const [drainTimeout, ends] of [['10s', true], ['0s', false]] as const) {
    const bench = new Bench(1, { ...base, drainTimeout }, { protocol: 'tcp' })
    const { proxy } = bench
    const client = bench.tcpClient()
    proxy.last.connects()
    bench.watch.setHealth(0, 'draining', bench.nowMs)
    bench.passes(3600_000 - 1)
    proxy.passes(100)
    await settled()
    t.is(client.isClosed, ends)
    t.deepEqual(proxy.errors(), ends ? { 'member-drained': 1 } : {})
  }
})

test('drain: the deadline holds for disabled members, and goes away with its setting', (t) => {
  const bench = new Bench(1, { ...base, drainTimeout: '10s' })
  bench.watch.setHealth(0, 'draining', bench.nowMs)
  bench.passes(6000)
  // From the beginning of the drain, not of the next word for it.
  bench.watch.setHealth(0, 'disabled', bench.nowMs)
  bench.passes(4000)
  t.true(bench.proxy.shared.isCut(0))
  bench.watch.configure(FakeProxy.with(1, {}, base).table, bench.nowMs)
  bench.passes(250)
  t.false(bench.proxy.shared.isCut(0))
})

test('drain: the deadline holds for members that are taken out of the configuration', (t) => {
  const bench = new Bench(2, { ...base, drainTimeout: '10s' })
  const { proxy } = bench
  const client = proxy.client()
  client.receives(request)
  proxy.last.connects()
  const slot = proxy.last.address === '192.0.2.10:80' ? 0 : 1
  bench.watch.configure({ ...proxy.table, pools: [] }, bench.nowMs)
  bench.passes(9999)
  proxy.passes(100)
  t.is(client.sent, '')
  bench.passes(1)
  t.true(proxy.shared.isCut(slot))
  proxy.passes(100)
  t.regex(client.sent, /member-drained/)
  // Another member in this place is not cut off.
  bench.watch.forget(slot)
  t.false(proxy.shared.isCut(slot))
})

test('bug: a member that was cut off when it left the configuration, and comes back later, keeps its clients again', (t) => {
  const bench = new Bench(1, { ...base, drainTimeout: '10s' })
  const { proxy } = bench
  const { slot } = proxy.table.pools[0]!.members[0]!
  proxy.client().receives(request)
  bench.watch.configure({ ...proxy.table, pools: [] }, bench.nowMs)
  bench.passes(10_000)
  t.true(proxy.shared.isCut(slot))
  proxy.passes(100)
  t.is(proxy.active(), 0)
  bench.passes(250)
  bench.watch.configure(proxy.table, bench.nowMs)
  bench.watch.setHealth(slot, 'up', bench.nowMs)
  t.false(proxy.shared.isCut(slot))
  t.true(proxy.shared.keepsClients(slot))
})

test('bug: a drained member that was cut off, left the configuration idle, and comes back, keeps its clients again', (t) => {
  const bench = new Bench(1, { ...base, drainTimeout: '10s' })
  const { proxy, watch } = bench
  const { slot } = proxy.table.pools[0]!.members[0]!
  watch.setHealth(slot, 'draining', bench.nowMs)
  bench.passes(10_000)
  t.true(proxy.shared.isCut(slot))
  watch.configure({ ...proxy.table, pools: [] }, bench.nowMs)
  bench.passes(250)
  watch.configure(proxy.table, bench.nowMs)
  watch.setHealth(slot, 'up', bench.nowMs)
  t.false(proxy.shared.isCut(slot))
  // One that drains still stays cut through changes of something else.
  watch.setHealth(slot, 'draining', bench.nowMs)
  bench.passes(10_000)
  watch.configure(proxy.table, bench.nowMs)
  t.true(proxy.shared.isCut(slot))
})

// — circuit breaker —

test('an open circuit answers at once, trials close it', (t) => {
  const bench = new Bench(1, { ...base, circuitBreaker: { failures: 3, openTime: '5s', trials: 2 } })
  const { proxy } = bench
  for (let i = 0; i < 3; i++) t.regex(bench.answers(500), / 500 /)
  const asked = proxy.connections.length
  t.regex(bench.answers(200), /^HTTP\/1\.1 503 [^]*X-Haechi-Error: circuit-open\r\n/)
  t.is(proxy.connections.length, asked)
  bench.passes(250)
  t.is(bench.watch.circuit(proxy.table.pools[0]!), 'open')
  bench.passes(5000)
  t.is(bench.watch.circuit(proxy.table.pools[0]!), 'half-open')
  t.regex(bench.answers(200), / 200 /)
  t.regex(bench.answers(200), / 200 /)
  bench.passes(250)
  t.is(bench.watch.circuit(proxy.table.pools[0]!), 'closed')
  t.regex(bench.answers(200), / 200 /)
  t.deepEqual(proxy.errors(), { 'circuit-open': 1 })
  t.deepEqual(bench.logged, ['warn the circuit of pool web is open', 'info the circuit of pool web is half-open', 'info the circuit of pool web is closed'])
})

// — maintenance —

const page = { status: 503, contentType: 'text/plain; charset=utf-8', body: '점검 중입니다\n', retryAfter: 120 }

test('maintenance: every request gets the page, keep-alive goes on, HEAD gets no body', (t) => {
  const bench = new Bench(1, { ...base, maintenance: { ...page, enabled: true } })
  const client = bench.proxy.client()
  client.receives(request)
  const body = Buffer.from(page.body).toString('latin1')
  t.is(client.sent, `HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 20\r\nX-Haechi-Error: maintenance\r\nRetry-After: 120\r\nCache-Control: no-store\r\n\r\n${body}`)
  const before = client.sent.length
  client.receives('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.is(client.sent.slice(before), client.sent.slice(0, before - body.length))
  t.is(bench.proxy.connections.length, 0)
  t.deepEqual(bench.proxy.errors(), { maintenance: 2 })
})

test('maintenance that is not enabled: only when no member is available', (t) => {
  const bench = new Bench(1, { ...base, healthCheck: { type: 'tcp' }, maintenance: { ...page, status: 200 } })
  t.regex(bench.answers(204), / 204 /)
  bench.watch.setHealth(0, 'down', bench.nowMs)
  t.regex(bench.answers(204), /^HTTP\/1\.1 200 OK\r\n[^]*X-Haechi-Error: no-member-available\r\n[^]*\n$/)
})

test('tcp: connections are refused while maintenance is enabled', (t) => {
  const bench = new Bench(1, { ...base, maintenance: { enabled: true } }, { protocol: 'tcp' })
  const client = bench.tcpClient()
  t.true(client.isAborted)
  t.is(bench.proxy.connections.length, 0)
  t.deepEqual(bench.proxy.errors(), { maintenance: 1 })
})

/** The monitor with probes that the test answers, and once with real ones. */
import test from 'ava'
import { createServer, type AddressInfo } from 'node:net'
import type { Pool } from '../config/schema.ts'
import { validateDocument } from '../config/validate.ts'
import type { MemberHealth } from '../observe/counters.ts'
import { createHealthMonitor, type HealthMonitor, type HealthMonitorOptions } from './monitor.ts'
import type { ProbeResult, ProbeTarget } from './probes.ts'

function pools(members: Record<string, object>, healthCheck: object = {}, more: object = {}): Pool[] {
  const check = { interval: '10ms', timeout: '1s', ...healthCheck }
  const result = validateDocument({
    pools: [{ name: 'web', ...more, healthCheck: check, members: Object.entries(members).map(([name, change], index) => ({ name, address: '127.0.0.1', port: 1000 + index, ...change })) }],
  })
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.document.pools
}

interface Running {
  readonly target: ProbeTarget
  readonly signal: AbortSignal
  readonly answer: (success: boolean) => void
}

/** A monitor whose probes wait for the test. */
class Bench {
  readonly changes: string[] = []
  readonly running: Running[] = []
  readonly logged: string[] = []
  started = 0
  readonly monitor: HealthMonitor

  constructor(options: Partial<HealthMonitorOptions> = {}) {
    this.monitor = createHealthMonitor({
      onChange: (pool, member, health) => this.changes.push(`${pool}/${member} ${health}`),
      log: (level, message) => this.logged.push(`${level} ${message}`),
      now: () => 1234,
      random: () => 0,
      probe: (target, _monotonic, signal) => this.#probe(target, signal),
      ...options,
    })
  }

  #probe(target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
    this.started++
    return new Promise((resolve) => {
      const end = (success: boolean, detail: string): void => {
        const at = this.running.findIndex((each) => each.signal === signal)
        if (at >= 0) this.running.splice(at, 1)
        resolve({ success, detail, durationMs: 1 })
      }
      signal.addEventListener('abort', () => end(false, 'ended'))
      this.running.push({ target, signal, answer: (success) => end(success, success ? 'fine' : 'broken') })
    })
  }

  /** The next probe, of this port when it is given. */
  async next(port?: number): Promise<Running> {
    let found: Running | undefined
    await until(() => (found = this.running.find(({ target }) => port === undefined || target.port === port)) !== undefined)
    return found!
  }

  async answer(...results: boolean[]): Promise<void> {
    for (const success of results) {
      const started = this.started
      ;(await this.next()).answer(success)
      // The next one starts only after the result has been taken.
      await until(() => this.started > started)
    }
  }

  health(member: string): MemberHealth | undefined {
    return this.monitor.snapshot().find((entry) => entry.member === member)?.health
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('the condition did not come true')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

test('checking, up at the first success, down after fall failures, up after rise successes', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {} }, { rise: 2, fall: 3 }))
  t.deepEqual(bench.changes, ['web/a checking'])
  t.deepEqual(bench.monitor.snapshot(), [{ pool: 'web', member: 'a', health: 'checking', sinceEpochMs: 1234, lastProbe: '', turns: 0 }])
  await bench.answer(true)
  t.deepEqual(bench.changes.splice(0), ['web/a checking', 'web/a up'])
  await bench.answer(false, false, true, false, false)
  t.deepEqual(bench.changes, [])
  await bench.answer(false)
  t.deepEqual(bench.changes.splice(0), ['web/a down'])
  await bench.answer(true, false, true)
  t.deepEqual(bench.changes, [])
  await bench.answer(true)
  t.deepEqual(bench.changes, ['web/a up'])
  t.like(bench.monitor.snapshot()[0], { health: 'up', lastProbe: 'fine', turns: 2 })
  t.deepEqual(bench.logged, ['info member web/a is up', 'warn member web/a is down', 'info member web/a is up'])
})

test('disabled and unchecked members are not probed, draining ones are', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure([...pools({ off: { state: 'disabled' }, drain: { state: 'drain' } }), ...pools({ free: {} }, { type: 'none' }).map((pool) => ({ ...pool, name: 'other' }))])
  t.deepEqual(bench.changes, ['web/off disabled', 'web/drain draining', 'other/free up'])
  await bench.answer(true, true, false)
  t.true(bench.running.every(({ target }) => target.port === 1001))
  t.is(bench.health('drain'), 'draining')
  t.is(bench.changes.length, 3)
  // What the probes said meanwhile counts when it is enabled again.
  bench.monitor.configure(pools({ off: {}, drain: {} }))
  t.deepEqual(bench.changes.slice(3), ['web/off checking', 'web/drain up'])
})

test('unchanged members keep what is known of them, new ones are probed, removed ones no more', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {}, b: { port: 1001 } }))
  ;(await bench.next(1000)).answer(true)
  ;(await bench.next(1001)).answer(true)
  await until(() => bench.health('b') === 'up' && bench.health('a') === 'up')
  bench.changes.length = 0
  const ofB = await bench.next(1001)
  bench.monitor.configure(pools({ a: {}, c: { port: 1002 } }))
  t.deepEqual(bench.changes, ['web/c checking'])
  t.true(ofB.signal.aborted)
  t.deepEqual(bench.monitor.snapshot().map(({ member, health }) => `${member} ${health}`), ['a up', 'c checking'])
  t.is((await bench.next(1002)).target.port, 1002)
})

test('another server starts anew; another check of the same server keeps the standing until it has spoken', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {} }, { fall: 2 }))
  await bench.answer(true, false)
  bench.changes.length = 0
  bench.monitor.configure(pools({ a: {} }, { fall: 2, type: 'http', path: '/new' }))
  t.deepEqual(bench.changes, [])
  t.like((await bench.next()).target, { type: 'http', path: '/new' })
  // The failure of the old check does not count with those of the new one.
  await bench.answer(false)
  t.is(bench.health('a'), 'up')
  await bench.answer(false)
  t.is(bench.health('a'), 'down')
  bench.monitor.configure(pools({ a: { port: 1500 } }, { fall: 2 }))
  t.is(bench.health('a'), 'checking')
  t.is(bench.monitor.snapshot()[0]!.lastProbe, '')
  t.is((await bench.next(1500)).target.type, 'tcp')
})

test('a member that was up without a check stays up until probes say otherwise', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {} }, { type: 'none' }))
  bench.monitor.configure(pools({ a: {} }, { type: 'tcp', fall: 2 }))
  t.deepEqual(bench.changes, ['web/a up'])
  await bench.answer(false, false)
  t.deepEqual(bench.changes, ['web/a up', 'web/a down'])
})

test('a result that comes after the member was changed is not taken', async (t) => {
  const late: ((result: ProbeResult) => void)[] = []
  const bench = new Bench({ probe: () => new Promise((resolve) => late.push(resolve)) })
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {} }))
  await until(() => late.length === 1)
  bench.monitor.configure(pools({ a: { port: 1500 } }))
  late[0]!({ success: true, detail: 'too late', durationMs: 1 })
  await until(() => late.length === 2)
  t.like(bench.monitor.snapshot()[0], { health: 'checking', lastProbe: '' })
})

test('no more probes at once than allowed, and every member gets its turn', async (t) => {
  const bench = new Bench({ concurrency: 3 })
  t.teardown(() => bench.monitor.stop())
  const names = Array.from({ length: 10 }, (_, index) => `m${index}`)
  bench.monitor.configure(pools(Object.fromEntries(names.map((name) => [name, {}]))))
  let most = 0
  await until(() => {
    most = Math.max(most, bench.running.length)
    if (bench.running.length === 3) bench.running[0]!.answer(true)
    return names.every((name) => bench.health(name) === 'up')
  })
  t.is(most, 3)
})

test('stop ends everything; configure in a callback is heard', async (t) => {
  const bench = new Bench()
  bench.monitor.configure(pools({ a: {} }))
  const running = await bench.next()
  bench.monitor.stop()
  t.true(running.signal.aborted)
  t.deepEqual(bench.monitor.snapshot(), [])
  const { started } = bench
  bench.monitor.configure(pools({ a: {} }))
  t.is(bench.started, started)
  t.deepEqual(bench.changes, ['web/a checking'])

  const second: Bench = new Bench({ onProbe: () => second.monitor.stop() })
  second.monitor.configure(pools({ a: {} }))
  ;(await second.next()).answer(true)
  await until(() => second.monitor.snapshot().length === 0)
  t.is(second.running.length, 0)
})

test('what a check says is what is probed', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  const check = {
    type: 'https', method: 'HEAD', path: '/x', headers: [{ name: 'A', value: 'b' }], expectStatus: '204', maxLatency: '50ms', sni: 'a.example.com', verify: true,
    address: '127.0.0.9', port: 9999,
  }
  bench.monitor.configure(pools({ a: {} }, check))
  t.like((await bench.next()).target, {
    type: 'https', address: '127.0.0.9', port: 9999, method: 'HEAD', path: '/x', headers: [{ name: 'A', value: 'b' }], expectStatus: '204', maxLatencyMs: 50,
    sni: 'a.example.com', verify: true, timeoutMs: 1000,
  })
  bench.monitor.configure(pools({ a: {} }, { type: 'udp', send: 'a\\x00', expect: 'b' }))
  t.like((await bench.next()).target, { type: 'udp', port: 1000, send: Uint8Array.of(97, 0), expect: Uint8Array.of(98) })
  bench.monitor.configure(pools({ a: {} }, { type: 'script', script: 'mine' }))
  t.like((await bench.next()).target, { type: 'script', script: 'mine' })
})

test('TLS checks use what the TLS of the pool names, and fail when it is not there', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  const tls = { authority: 'inner', certificate: 'own', serverName: 'm.example.com' }
  bench.monitor.configure(pools({ a: {} }, { type: 'tls', verify: true }, { tls }))
  t.is((await bench.next()).target.fault, 'there is no authority inner to verify with')
  bench.monitor.useCertificates({ authorities: [{ name: 'inner', certificates: 'CA' }], keyPairs: [] })
  await bench.answer(false)
  t.is((await bench.next()).target.fault, 'there is no certificate own to show')
  bench.monitor.useCertificates({ authorities: [{ name: 'inner', certificates: 'CA' }], keyPairs: [{ name: 'own', chain: 'C', key: 'K' }] })
  await bench.answer(false)
  const { target } = await bench.next()
  t.is(target.fault, undefined)
  t.like(target, { authorities: 'CA', keyPair: { chain: 'C', key: 'K' }, sni: 'm.example.com', verify: true })
})

test('a member that is down is probed at its own interval', async (t) => {
  const bench = new Bench()
  t.teardown(() => bench.monitor.stop())
  bench.monitor.configure(pools({ a: {} }, { interval: '1h', downInterval: '10ms', fall: 1, rise: 1 }))
  // The first probe comes soon, the next only because it failed.
  await bench.answer(false, false)
  t.is(bench.health('a'), 'down')
  const last = await bench.next()
  const { started } = bench
  last.answer(true)
  await until(() => bench.health('a') === 'up')
  await new Promise((resolve) => setTimeout(resolve, 40))
  t.is(bench.started, started)
})

test('real probes see a server come and go', async (t) => {
  const changes: string[] = []
  const monitor = createHealthMonitor({ onChange: (_pool, _member, health) => changes.push(health) })
  t.teardown(() => monitor.stop())
  const listen = (port: number) =>
    new Promise<ReturnType<typeof createServer>>((resolve) => {
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy())
        socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\n'))
      })
      server.listen(port, '127.0.0.1', () => resolve(server))
    })
  const first = await listen(0)
  const { port } = first.address() as AddressInfo
  monitor.configure(pools({ a: { port } }, { type: 'http', rise: 1, fall: 2 }))
  await until(() => changes.at(-1) === 'up')
  await new Promise((resolve) => first.close(resolve))
  await until(() => changes.at(-1) === 'down')
  t.is(monitor.snapshot()[0]!.lastProbe, 'connection refused')
  const second = await listen(port)
  t.teardown(() => second.close())
  await until(() => changes.at(-1) === 'up')
  t.deepEqual(changes, ['checking', 'up', 'down', 'up'])
})

test('bug: script checks that wait for their turn do not keep other checks waiting', async (t) => {
  const bench = new Bench({ concurrency: 4 })
  t.teardown(() => bench.monitor.stop())
  const scripts = pools(Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`s${i}`, {}])), { type: 'script', script: 'check' })
  const others = pools({ a: { port: 9000 } }).map((pool) => ({ ...pool, name: 'other' }))
  bench.monitor.configure(scripts)
  await until(() => bench.running.length >= 4)
  bench.monitor.configure([...scripts, ...others])
  const one = await bench.next(9000)
  one.answer(true)
  await until(() => bench.changes.includes('other/a up'))
  t.pass()
})

test('bug: a pool whose many members do not answer does not keep the probes of others waiting', async (t) => {
  const bench = new Bench({ concurrency: 2 })
  t.teardown(() => bench.monitor.stop())
  const many = pools(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`s${i}`, {}])))
  const others = pools({ a: { port: 9000 } }).map((pool) => ({ ...pool, name: 'other' }))
  bench.monitor.configure(many)
  await until(() => bench.running.length === 2)
  bench.monitor.configure([...many, ...others])
  await new Promise((resolve) => setTimeout(resolve, 30))
  // Two places become free: one at most goes to the large pool.
  for (const one of bench.running.slice()) one.answer(false)
  await until(() => bench.running.length === 2)
  t.true(bench.running.some(({ target }) => target.port === 9000))
})

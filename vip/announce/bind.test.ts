/** Bind mode's lock and order, without root: addresses of 127/8, and real processes that hold or are frozen. */
import test, { type ExecutionContext } from 'ava'
import { spawn, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { createVipManager, type VipManagerOptions } from '../manager.ts'
import type { VipManager, VipSpec, VipState } from '../types.ts'

/** A UDP port that nobody has, for the locks of one test. */
async function freePort(address: string): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

function spec(address: string): VipSpec {
  return { name: address, address, prefixLength: 32, interface: 'lo', announcer: 'bind' }
}

interface Node {
  readonly manager: VipManager
  /** What the listeners' owner was told, in order. */
  readonly told: string[]
  state(address?: string): VipState | undefined
}

async function node(t: ExecutionContext, specs: readonly VipSpec[], options: Partial<VipManagerOptions> & { readonly bindLockPort: number }): Promise<Node> {
  const told: string[] = []
  const manager = createVipManager({
    log: () => undefined,
    listenChange: (addresses) => {
      told.push(addresses.join(' '))
      return Promise.resolve('')
    },
    ...options,
  })
  t.teardown(() => manager.stop())
  await manager.configure(specs)
  manager.setFit(true)
  return { manager, told, state: (address) => manager.status().find((vip) => address === undefined || vip.address === address)?.state }
}

function lease(manager: VipManager, term: number, forMs = 60_000): void {
  manager.lease({ term, untilMs: performance.now() + forMs })
}

async function until(what: string, look: () => boolean): Promise<void> {
  const end = performance.now() + 10_000
  while (!look()) {
    if (performance.now() > end) throw new Error(`waited in vain for: ${what}`)
    await delay(5)
  }
}

/** A process that takes the lock and keeps it. */
async function lockingProcess(t: ExecutionContext, address: string, port: number): Promise<ChildProcess> {
  const source = `require('node:dgram').createSocket('udp4').bind({ address: '${address}', port: ${port}, exclusive: true }, () => console.log('locked'))`
  const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout!, 'data')
  return child
}

test('holds with a lease: first the lock, then the listeners', async (t) => {
  const address = '127.77.0.1'
  const bindLockPort = await freePort(address)
  let lockedWhenTold: boolean | undefined
  const { manager, state } = await node(t, [spec(address)], {
    bindLockPort,
    listenChange: async (addresses) => {
      if (addresses.length > 0) {
        const probe = createSocket('udp4')
        probe.bind({ address, port: bindLockPort, exclusive: true })
        lockedWhenTold = await new Promise<boolean>((resolve) => probe.once('error', () => resolve(true)).once('listening', () => resolve(false)))
        probe.close()
      }
      return ''
    },
  })
  t.is(state(), 'released')
  lease(manager, 1)
  await until('held', () => state() === 'held')
  t.true(lockedWhenTold)
  t.true(manager.status()[0]!.fenceRemainingMs > 0)
})

test('of two nodes with a lease only one holds, and the other gets its turn when the first closes', async (t) => {
  const address = '127.77.0.2'
  const bindLockPort = await freePort(address)
  const one = await node(t, [spec(address)], { bindLockPort })
  const two = await node(t, [spec(address)], { bindLockPort })
  lease(one.manager, 1)
  await until('held', () => one.state() === 'held')
  lease(two.manager, 2)
  await until('the lock has been missed', () => two.state() === 'failed')
  t.deepEqual(two.told, [], 'it must not listen without the lock')
  t.regex(two.manager.status()[0]!.error, /another process holds/)
  await one.manager.close()
  t.is(one.told.at(-1), '')
  await until('held by the other', () => two.state() === 'held')
  t.is(one.state(), 'released')
})

test('close() resolves when the listeners\' owner has confirmed, and only then is the lock free', async (t) => {
  const address = '127.77.0.3'
  const bindLockPort = await freePort(address)
  let confirm: (() => void) | undefined
  const one = await node(t, [spec(address)], {
    bindLockPort,
    listenChange: (addresses) => (addresses.length > 0 ? Promise.resolve('') : new Promise((resolve) => (confirm = () => resolve('')))),
  })
  const two = await node(t, [spec(address)], { bindLockPort })
  lease(one.manager, 1)
  await until('held', () => one.state() === 'held')
  let closed = false
  const closing = one.manager.close().then(() => (closed = true))
  lease(two.manager, 2)
  await until('the owner was asked', () => confirm !== undefined)
  await until('the other has tried', () => two.state() === 'failed')
  t.false(closed)
  t.deepEqual(two.told, [])
  confirm!()
  await closing
  await until('held by the other', () => two.state() === 'held')
  t.pass()
})

test('a frozen process keeps the lock, a killed one loses it', async (t) => {
  const address = '127.77.0.4'
  const bindLockPort = await freePort(address)
  const child = await lockingProcess(t, address, bindLockPort)
  child.kill('SIGSTOP')
  await until('stopped', () => / T /.test(readFileSync(`/proc/${child.pid}/stat`, 'latin1')))
  const { manager, told, state } = await node(t, [spec(address)], { bindLockPort })
  lease(manager, 1)
  await until('the lock has been missed', () => state() === 'failed')
  t.deepEqual(told, [])
  child.kill('SIGKILL')
  await until('held', () => state() === 'held')
  t.deepEqual(told, [address])
})

test('a lease that runs out, or is lost, ends the listening; one of the same term after close() does not begin it', async (t) => {
  const address = '127.77.0.5'
  const { manager, told, state } = await node(t, [spec(address)], { bindLockPort: await freePort(address) })
  lease(manager, 1, 300)
  await until('held', () => state() === 'held')
  await until('over by time alone', () => state() === 'released' && told.at(-1) === '')
  lease(manager, 1)
  await until('held', () => state() === 'held')
  manager.setFit(false)
  t.is(state(), 'released', 'at once, in the same call')
  await until('told', () => told.at(-1) === '')
  manager.setFit(true)
  await until('held', () => state() === 'held')
  await manager.close()
  lease(manager, 1)
  await manager.configure([spec(address)])
  t.is(state(), 'released')
  t.is(told.at(-1), '')
  lease(manager, 2)
  await until('held', () => state() === 'held')
})

test('an owner that cannot listen makes the VIP failed, and is asked again', async (t) => {
  const address = '127.77.0.6'
  let answer = 'port 8080 is in use'
  const { manager, state } = await node(t, [spec(address)], { bindLockPort: await freePort(address), listenChange: () => Promise.resolve(answer) })
  lease(manager, 1)
  await until('failed', () => state() === 'failed')
  t.regex(manager.status()[0]!.error, /port 8080 is in use/)
  answer = ''
  await until('held', () => state() === 'held')
  t.pass()
})

test('several VIPs: one that is added or removed does not disturb the other', async (t) => {
  const [first, second] = ['127.77.0.7', '127.77.0.8'] as const
  const { manager, told, state } = await node(t, [spec(first)], { bindLockPort: await freePort(first) })
  lease(manager, 1)
  await until('held', () => state(first) === 'held')
  const changes: string[] = []
  manager.onChange((status) => changes.push(status.map((vip) => vip.state).join(' ')))
  await manager.configure([spec(first), spec(second)])
  await until('both held', () => state(first) === 'held' && state(second) === 'held')
  await manager.configure([spec(first)])
  t.true(changes.every((one) => one.startsWith('held')), changes.join(', '))
  t.deepEqual(told, [first, `${first} ${second}`, first])
  t.is(manager.status().length, 1)
})

test('stop() gives everything back and leaves no timer that keeps the process alive', async (t) => {
  const address = '127.77.0.9'
  const bindLockPort = await freePort(address)
  const source = `
    import { createVipManager } from ${JSON.stringify(new URL('../manager.ts', import.meta.url).href)}
    const manager = createVipManager({ log: () => {}, listenChange: async () => '', bindLockPort: ${bindLockPort} })
    await manager.configure([{ name: 'v', address: '${address}', prefixLength: 32, interface: 'lo', announcer: 'bind' }])
    manager.setFit(true)
    await new Promise((resolve) => {
      manager.onChange(([vip]) => vip.state === 'held' && resolve())
      manager.lease({ term: 1, untilMs: performance.now() + 60_000 })
    })
    await manager.stop()
    manager.lease({ term: 2, untilMs: performance.now() + 60_000 })
    console.log(manager.status()[0].state)`
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  const [code] = (await once(child, 'close')) as [number]
  t.is(code, 0)
  t.is(output.trim(), 'released')
})

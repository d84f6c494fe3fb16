/** The lab itself: its plan (pure), and one real lab made, used, broken, made again and removed. */
import { randomBytes } from 'node:crypto'
import test from 'ava'
import { apiRequest } from './api.ts'
import { createLab, openLab } from './lab.ts'
import { hosts, labPlan } from './plan.ts'
import { isAlive, processStat, processTree } from './processes.ts'
import { waitFor } from './wait.ts'

const root = process.getuid?.() === 0
const rootTest = root ? test : test.skip

test('a lab name that does not fit into a namespace name is refused', (t) => {
  t.is(labPlan('Bad'), undefined)
  t.is(labPlan('a/b'), undefined)
  t.is(labPlan(''), undefined)
  t.is(labPlan('a'.repeat(25)), undefined)
  t.truthy(labPlan('a'.repeat(24)))
})

test('every host has an address and a MAC of its own', (t) => {
  t.is(new Set(hosts.map((host) => host.mac)).size, hosts.length)
  t.is(new Set(hosts.map((host) => host.address)).size, hosts.length)
  for (const host of hosts) t.true(host.mac.endsWith(`:${host.address.split('.').at(-1)!}`), host.name)
})

test('a process is told from a later one with its pid by its start time', (t) => {
  const stat = processStat(process.pid)
  t.truthy(stat)
  t.true(isAlive({ name: 'self', pid: process.pid, startTime: stat!.startTime }))
  t.false(isAlive({ name: 'other', pid: process.pid, startTime: '1' }))
  t.deepEqual(processTree(process.pid)[0], process.pid)
})

test('an API request without a socket fails instead of hanging', async (t) => {
  await t.throwsAsync(apiRequest('/nonexistent/api.sock', 'GET', '/status', undefined, { timeoutMs: 500 }))
})

rootTest('a lab is made, found again, cut, healed, removed, and removed again (needs root)', async (t) => {
  const name = `t${randomBytes(4).toString('hex')}`
  const lab = await createLab({ name })
  t.teardown(() => openLab({ name }).destroy())

  const ping = (from: string, to: string) =>
    lab.host(from).exec(['ping', '-n', '-c', '1', '-W', '1', '-i', '0.2', lab.host(to).address])
  t.is((await ping('client', 'node1')).code, 0)
  t.is((await ping('node1', 'node2')).code, 0)

  await lab.host('node1').cutFrom(['node2', 'witness'])
  t.not((await ping('node1', 'node2')).code, 0, 'cut')
  t.not((await ping('witness', 'node1')).code, 0, 'cut')
  t.is((await ping('client', 'node1')).code, 0, 'the client still reaches it')
  t.is((await ping('node2', 'witness')).code, 0, 'the others still reach each other')
  await lab.host('node1').heal()
  await lab.host('node1').heal()
  t.is((await ping('node1', 'node2')).code, 0, 'healed')

  await lab.host('node2').linkDown()
  t.not((await ping('client', 'node2')).code, 0, 'unplugged')
  t.deepEqual(await lab.check(), ['node2: bridge port is down'])
  await lab.host('node2').linkUp()
  t.deepEqual(await lab.check(), [])

  await lab.startBackends()
  const answer = await lab.host('client').exec(['curl', '-s', '--max-time', '2', `http://${lab.host('backend2').address}:8000/`])
  t.is(answer.stdout, 'backend2\n')

  const daemon = lab.host('client').spawn(['sleep', '600'], { daemon: 'sleeper' })
  t.truthy(lab.processes.get('sleeper'))
  const again = await createLab({ name })
  t.is(again.processes.get('sleeper')?.pid, daemon.pid, 'a whole lab is kept as it is')

  await again.destroy()
  t.true(await again.isGone())
  await waitFor('end of the sleeper', () => (processStat(daemon.pid!) === undefined ? true : 'lives'), { timeoutMs: 2000 })
  await again.destroy()
  t.true(await again.isGone(), 'twice in a row')
})
if (!root) test('labs', (t) => {
  t.log('skipped: a lab needs root, it makes network namespaces')
  t.pass()
})

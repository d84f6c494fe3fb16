/** The probe against two hosts that pass an address to each other by hand: it has to see just what was done. */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import { createLab, openLab, type Lab } from '../lab/lab.ts'
import { ports } from '../lab/plan.ts'
import { waitFor } from '../lab/wait.ts'
import { blackout, dualHolder, dualHttpAnswers, firstClaim } from './analysis.ts'
import { monotonicMs } from './clock.ts'
import { Prober, httpPeriodMs } from './prober.ts'

const root = process.getuid?.() === 0
const rootTest = root ? test.serial : test.serial.skip

/** Answers on the VIP whether or not the host has it, as a node does, and says its name in `Via`. */
function serve(lab: Lab, host: string): void {
  const script = `require('node:http').createServer((q, a) => {
    a.writeHead(200, { Via: '1.1 ${host}', 'Content-Length': 3 }); a.end('ok\\n')
  }).listen(${ports.listener}, '${lab.plan.vip}')`
  lab.host(host).spawn([process.execPath, '-e', script], { stdio: 'inherit' })
}

async function address(lab: Lab, host: string, action: 'add' | 'delete'): Promise<void> {
  const result = await lab.host(host).exec(['ip', 'address', action, `${lab.plan.vip}/24`, 'dev', 'eth0'])
  if (result.code !== 0) throw new Error(result.stderr)
}

async function announce(lab: Lab, host: string): Promise<void> {
  await lab.host(host).exec(['arping', '-U', '-c', '1', '-w', '1', '-I', 'eth0', lab.plan.vip])
}

rootTest('the probe sees a hand-over, its gap, an overlap, and a missing announcement (needs root)', async (t) => {
  const name = `t${randomBytes(4).toString('hex')}`
  t.teardown(() => openLab({ name }).destroy())
  const lab = await createLab({ name })
  for (const host of ['node1', 'node2']) {
    serve(lab, host)
    await waitFor(`${host} listening`, async () => {
      return (await lab.host(host).exec(['ss', '-Hltn', `sport = :${ports.listener}`])).stdout !== '' ? true : 'not yet'
    }, { timeoutMs: 10_000 })
  }
  const [node1, node2] = [lab.host('node1'), lab.host('node2')]
  await address(lab, 'node1', 'add')

  // A clean hand-over with a gap.
  let prober = new Prober(lab)
  await prober.steady()
  let fault = monotonicMs()
  await address(lab, 'node1', 'delete')
  const removed = monotonicMs()
  await delay(150)
  const added = monotonicMs()
  await address(lab, 'node2', 'add')
  await announce(lab, 'node2')
  await prober.newHolder(['node1', node1.mac], fault, 5000)
  await prober.newHolder(['node1', node1.mac, node2.mac], fault, 5000)
  let trace = await prober.stop()
  let gap = blackout(trace, fault, httpPeriodMs)
  t.false(gap?.open)
  t.true(gap!.blackoutMs >= added - removed - httpPeriodMs, `gap of ${gap!.blackoutMs} ms`)
  t.deepEqual(dualHolder(trace.arp).replies, 0)
  t.true(firstClaim(trace.arp, node2.mac, fault)! >= added)
  t.is(dualHttpAnswers(trace.http), 0)
  t.true(trace.http.some((sample) => sample.node === 'node1') && trace.http.some((sample) => sample.node === 'node2'))
  t.true(trace.arp.some((claim) => claim.kind === 'announcement'), 'the announcement was seen')

  // Both hold it for a while.
  prober = new Prober(lab)
  await prober.steady()
  fault = monotonicMs()
  await address(lab, 'node1', 'add')
  await announce(lab, 'node1')
  await prober.newHolder(['node2', node2.mac], fault, 5000)
  await delay(100)
  await address(lab, 'node2', 'delete')
  trace = await prober.stop()
  const dual = dualHolder(trace.arp)
  t.true(dual.dualMs >= 100, `dual for ${dual.dualMs} ms`)
  t.true(dual.replies > 10)

  // The address moves and nobody says so: ARP answers change at once, the client goes on asking the old host in vain.
  prober = new Prober(lab)
  await prober.steady()
  fault = monotonicMs()
  await address(lab, 'node1', 'delete')
  await address(lab, 'node2', 'add')
  await prober.newHolder(['node1', node1.mac], fault, 5000)
  await delay(300)
  trace = await prober.stop()
  gap = blackout(trace, fault, httpPeriodMs)
  t.true(gap?.open === true && gap.blackoutMs >= 280, 'the questions must not teach the client the new holder')
})
if (!root) test('the probe', (t) => {
  t.log('skipped: the probe needs root, it runs in network namespaces')
  t.pass()
})

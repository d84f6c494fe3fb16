/** The preferred node, with real nodes: when it gets the leadership back, when not, and that the fence closes first. */
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { Cluster, until, type Member } from './test-cluster.ts'

const preemptDelayMs = 700

/** `a` is preferred, came down, and is back; the leader is another one, whose fence writes into `order`. */
async function returned(cluster: Cluster, preempt: boolean, hooks: Parameters<Member['open']>[0] = {}) {
  const order: string[] = []
  const [a, b, c] = [cluster.get('a'), cluster.get('b'), cluster.get('c')]
  const prefer = (to: boolean) => {
    for (const { consensus } of [a, b, c]) consensus.prefer({ preferred: 'a', preempt: to, preemptDelayMs })
  }
  for (const member of [b, c]) {
    await member.consensus.abort()
    await member.open({
      closeFence: async () => {
        order.push(`${member.id} closing, lease ${member.lease === null ? 'gone' : 'held'}, ${member.consensus.status().role}`)
        await sleep(20)
        order.push(`${member.id} closed, ${member.consensus.status().role}`)
      },
      ...hooks,
    })
    await cluster.waitForLeader()
  }
  prefer(preempt)
  await a.consensus.abort()
  const old = await cluster.waitForLeader([b, c])
  const backMs = performance.now()
  await a.open()
  prefer(preempt)
  await until('it knows who leads', () => a.consensus.status().leader === old.id)
  return { a, old, order, backMs, prefer }
}

test.serial('with preemption the preferred node leads again once it is back for the delay, and the fence closes first', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const { a, old, order, backMs } = await returned(cluster, true)
  await until('the preferred node leads', () => a.consensus.status().role === 'leader')
  t.true(performance.now() - backMs >= preemptDelayMs, 'not before it has answered for the delay')
  t.deepEqual(order, [`${old.id} closing, lease gone, leader`, `${old.id} closed, leader`])
  await until('it holds the lease', () => a.lease !== null)
  t.is(await cluster.waitForLeader(), a)
  await until('that was said', () => old.logText.includes('handed over to the preferred node a'))
})

test.serial('without preemption the preferred node stays a follower, until the preference says otherwise', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const { a, old, order, prefer } = await returned(cluster, false)
  const { term } = old.consensus.status()
  // Nothing to wait for: nothing happens, for longer than a preemption takes.
  await sleep(2 * preemptDelayMs)
  t.like(old.consensus.status(), { role: 'leader', term })
  t.deepEqual(order, [])
  prefer(true)
  await until('the preferred node leads', () => a.consensus.status().role === 'leader')
  // Where nobody is preferred any more nobody is handed over to.
  for (const { consensus } of cluster.members.values()) consensus.prefer({ preferred: '', preempt: true, preemptDelayMs: 0 })
  t.deepEqual(await cluster.handOver(a, old.id), { ok: true })
  await sleep(2 * preemptDelayMs)
  t.is(old.consensus.status().role, 'leader')
})

test.serial('a hand-over to the preferred node that is refused is not repeated at once, and named once', async (t) => {
  const cluster = await Cluster.start(t, ['a', 'b', 'c'])
  const asked: { readonly to: string; readonly why: string; readonly atMs: number }[] = []
  let waiting = 0
  const { old } = await returned(cluster, true, {
    transferRequested: async (to, why) => {
      t.is(++waiting, 1, 'never two at a time')
      asked.push({ to, why, atMs: performance.now() })
      await sleep(20)
      waiting -= 1
      return { ok: false, detail: 'it is not fit' }
    },
  })
  await until('it was asked twice', () => asked.length === 2)
  for (const { to, why } of asked) t.deepEqual([to, why], ['a', 'preferred'])
  t.true(asked[1]!.atMs - asked[0]!.atMs > 10 * old.consensus.status().timing.maxElectionMs)
  await until('the second one is over', () => waiting === 0)
  t.is(old.logText.split('not handed over to the preferred node a: it is not fit').length - 1, 1)
  t.is(old.consensus.status().role, 'leader', 'the fence was not touched')
})

/** The preferred node, end to end: it takes the VIPs back when it returns, but not against an operator's hand-over. */
import test from 'ava'
import { setTimeout as sleep } from 'node:timers/promises'
import { DevCluster, until } from './dev-cluster.ts'

interface Overview {
  readonly leader: string
  readonly vips: readonly { readonly holder: string }[]
  readonly nodes: readonly { readonly id: string; readonly report: { readonly degraded: string } | null }[]
}
interface Config {
  readonly revision: number
  readonly document: Record<string, unknown>
}

test.serial('the preferred node takes the VIP back after a failure, and not after an operator handed over', async (t) => {
  t.timeout(180_000)
  const cluster = new DevCluster({ vip: '127.0.0.93:18083', basePort: 17140 })
  const failover = async (wanted: object | undefined): Promise<void> => {
    const { body } = await cluster.api<Config>('node2', 'GET', '/config')
    const { failover: _, ...document } = body.document
    const changed = wanted === undefined ? document : { ...document, failover: wanted }
    t.is((await cluster.api('node2', 'PUT', '/config', changed, { 'if-match': `"${body.revision}"` })).status, 200)
  }
  const status = async (): Promise<Overview> => (await cluster.api<Overview>('node2', 'GET', '/status')).body
  const holds = (id: string) => until(`${id} holds the VIP`, async () => (await status()).vips[0]!.holder === id, 30_000)
  try {
    await cluster.ready()
    await failover({ preferredNode: 'node1', preempt: true, preemptDelay: '1s' })
    const { document } = (await cluster.api<Config>('node2', 'GET', '/config')).body
    t.deepEqual(document['failover'], { preferredNode: 'node1', preempt: true, preemptDelay: '1s' })
    await holds('node1')
    process.kill(cluster.heartPid('node1'), 'SIGKILL')
    await holds('node2')
    await holds('node1')

    // An operator moves it away: that stands, for longer than the delay and the pause between two attempts.
    t.is((await cluster.api('node1', 'POST', '/hand-over', { to: 'node2' })).status, 200)
    await holds('node2')
    await sleep(9000)
    t.is((await status()).vips[0]!.holder, 'node2')

    // Until the preference is changed.
    await failover({ preferredNode: 'node1', preempt: true, preemptDelay: '2s' })
    await holds('node1')

    // Names that lead nowhere are taken, and the leader says what is wrong with them.
    const degraded = async (text: string): Promise<boolean> => (await status()).nodes.some(({ report }) => report?.degraded.includes(text) === true)
    await failover({ preferredNode: 'gone', preempt: true })
    await until('it is said that there is no such node', () => degraded('the preferred node gone is no member of the cluster'))
    await failover({ preferredNode: 'witness', preempt: true })
    await until('it is said that a witness holds no VIP', () => degraded('the preferred node witness is a witness'))
    await failover(undefined)
    await until('nothing is wrong any more', async () => !(await degraded('preferred')))
  } finally {
    await cluster.destroy()
  }
})

/** `npm start` as a newcomer sees it: it comes up, alternates, survives the holder's death, and leaves nothing running. */
import test from 'ava'
import { DevCluster, fetchOnce, processesWith, until } from './dev-cluster.ts'

interface Overview {
  readonly leader: string
  readonly revision: number
  readonly vips: readonly { readonly holder: string }[]
  readonly nodes: readonly { readonly id: string; readonly report: { readonly stateHash: string; readonly degraded: string; readonly revisionInForce: number } | null }[]
}

test.serial('a cluster on loopback serves, fails over, takes changes on a follower, and ends with Ctrl-C', async (t) => {
  t.timeout(180_000)
  const cluster = new DevCluster({ vip: '127.0.0.91:18081', basePort: 17100 })
  try {
    await cluster.ready()
    t.regex(cluster.password, /^\S{12,}$/)

    // Both sample backends answer in turn (one worker a node: the order is exact).
    const answers: string[] = []
    for (let i = 0; i < 6; i++) answers.push((await fetchOnce(cluster.vipUrl)).body.trim())
    t.is(new Set(answers).size, 2)
    for (let i = 2; i < answers.length; i++) t.is(answers[i], answers[i - 2])

    // A change through the follower is in force everywhere.
    const { body: before } = await cluster.api<Overview>('node1', 'GET', '/status')
    const holder = before.vips[0]!.holder
    const follower = holder === 'node1' ? 'node2' : 'node1'
    const config = await cluster.api<{ revision: number; document: { pools: { members: { name: string; state: string }[] }[] } }>(follower, 'GET', '/config')
    config.body.document.pools[0]!.members[0]!.state = 'disabled'
    const applied = await cluster.api<{ revision: number }>(follower, 'PUT', '/config', config.body.document, { 'if-match': `"${config.body.revision}"` })
    t.is(applied.status, 200)
    await until('only the other backend answers', async () => {
      const some = new Set<string>()
      for (let i = 0; i < 4; i++) some.add((await fetchOnce(cluster.vipUrl)).body.trim())
      return some.size === 1 && some.has('Hello from sample-b')
    })
    const stale = await cluster.api<{ code: string }>(follower, 'PUT', '/config', config.body.document, { 'if-match': `"${config.body.revision}"` })
    t.is(stale.status, 412)
    const bad = structuredClone(config.body.document) as unknown as { pools: { members: { port: unknown }[] }[] }
    bad.pools[0]!.members[1]!.port = 0
    const invalid = await cluster.api<{ problems: { field: string }[] }>(follower, 'PUT', '/config', bad, { 'if-match': `"${applied.body.revision}"` })
    t.is(invalid.status, 422)
    t.true(invalid.body.problems.some((problem) => problem.field === '/pools/0/members/1/port'))

    // The holder's process dies; the address goes on answering, and its successor knows the same.
    process.kill(cluster.heartPid(holder), 'SIGKILL')
    await until('the other node holds the VIP', async () => {
      const status = await cluster.api<Overview>(follower, 'GET', '/status')
      return status.body.vips[0]!.holder === follower
    })
    await until('the VIP answers', async () => (await fetchOnce(cluster.vipUrl, { timeoutMs: 500 })).status === 200)
    await until('the killed node is back with the same state', async () => {
      // Asked at the node itself: what the others last heard of it may be older than its death.
      const status = await cluster.api<Overview>(holder, 'GET', '/status')
      const reports = status.body.nodes.flatMap((node) => (node.report === null ? [] : [node.report]))
      if (reports.some((report) => report.degraded !== '')) return false
      const hashes = reports.map((report) => report.stateHash)
      return hashes.length === 2 && hashes[0] === hashes[1] && status.body.revision === applied.body.revision
    }, 30_000)

    // A data plane that hangs is noticed, the address moves, and the node comes back with a new one.
    const hung = cluster.childPid(follower)
    process.kill(hung, 'SIGSTOP')
    await until('the other node holds the VIP again', async () => {
      const status = await cluster.api<Overview>(holder, 'GET', '/status')
      return status.body.vips[0]!.holder === holder
    }, 20_000)
    await until('the VIP answers', async () => (await fetchOnce(cluster.vipUrl, { timeoutMs: 500 })).status === 200)
    await until('the node has a new data plane', async () => cluster.childPid(follower) !== hung, 20_000)

    t.is(await cluster.interrupt(), 0)
    t.deepEqual(processesWith(cluster.directory), [])
    await t.throwsAsync(fetchOnce(cluster.vipUrl, { timeoutMs: 1000 }))
  } catch (error) {
    t.log(cluster.output)
    throw error
  } finally {
    await cluster.destroy()
  }
})

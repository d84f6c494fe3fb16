/** The whole of kernel mode on real hosts: what a client on the same network sees. Needs root. */
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import { setTimeout as delay } from 'node:timers/promises'
import { Hosts, run, until, vip, whyNoHosts, type Holder } from './testing/hosts.ts'

const test = anyTest as TestFn<{ hosts: Hosts }>
const impossible = await whyNoHosts()
const onHosts = impossible === '' ? test.serial : test.serial.skip
function skip(t: ExecutionContext<{ hosts: Hosts }>, why: string): void {
  t.log(`skipped: ${why}`)
  t.pass()
}
if (impossible !== '') test('kernel mode', (t) => skip(t, impossible))

const v4 = '10.77.0.100'
const v6 = 'fd77::100'
/** The lease of `Holder.renew`, and what a busy machine may add between the kernel and the eye of the test. Together well
 *  below the second line, the address's lifetime of two seconds: what the fence does is not mistaken for that. */
const leaseMs = 200
const eyeMs = 600
const file = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href)

test.beforeEach(async (t) => {
  if (impossible === '') t.context.hosts = await Hosts.make()
})
test.afterEach.always(async (t) => {
  await t.context.hosts?.remove()
})

async function held(holder: Holder, term = 1): Promise<void> {
  holder.renew(term)
  await holder.reaches('held')
}

onHosts('a guarded address answers to nobody without a lease, even when it is on the interface', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  for (const address of [v4, v6]) {
    await hosts.in('a', 'ip', 'address', 'add', `${address}/${address === v4 ? 32 : 128}`, 'dev', 'eth0', ...(address === v6 ? ['nodad'] : []))
    t.true(await hosts.has('a', address))
    t.false(await hosts.answers(address, true))
    t.is(await hosts.neighbour(address), '', 'neither ARP nor ND may be answered')
    t.not((await hosts.in('a', 'ping', '-n', '-c', '1', '-W', '0.2', address)).code, 0, 'nor over loopback')
  }
  await held(holder)
  for (const address of [v4, v6]) {
    t.true(await hosts.answers(address, true))
    t.is(await hosts.neighbour(address), await hosts.mac('a'))
    t.is((await hosts.in('a', 'ping', '-n', '-c', '1', '-W', '1', address)).code, 0)
  }
})

for (const asOnOldKernels of [false, true]) {
  const kernel = asOnOldKernels ? 'as on older kernels' : 'with what this kernel offers'
  onHosts(`a frozen holder stops answering within the lease and stays silent with a stale one, ${kernel}`, async (t) => {
    const { hosts } = t.context
    const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)], asOnOldKernels })
    await held(holder)
    await until('answers', () => hosts.answers(v4))
    const { vips: before } = await holder.reaches('held')
    const watch = [hosts.watch(v4), hosts.watch(v6)]
    await delay(5 * leaseMs)
    holder.freeze()
    // These wait in the pipe until it wakes up.
    const frozenMs = performance.now()
    await delay(50)
    holder.stopRenewing()
    await delay(2 * leaseMs)
    t.false(await hosts.answers(v4, true))
    t.false(await hosts.answers(v6, true))
    t.true(await hosts.has('a', v4), 'the fence closes long before the address goes')
    holder.resume()
    await until('seen', async () => (await holder.report()).vips.every(({ state }) => state === 'released'))
    t.false(await hosts.answers(v4, true))
    t.false(await hosts.answers(v6, true))
    t.false(await hosts.has('a', v4))
    const { vips: after } = await holder.report()
    const due = before.map(({ announcements }) => announcements)
    t.true(after.every(({ announcements }, i) => announcements - due[i]! <= 3), 'announced only while it held: at 100 ms, 500 ms, 2 s')
    for (const one of watch) {
      const answers = await one.stop()
      t.true(answers.length > 50)
      t.log(`last answer ${Math.round(answers.at(-1)! - frozenMs)} ms after the freeze`)
      t.true(answers.at(-1)! - frozenMs < leaseMs + eyeMs)
    }
    // A new lease is as good as ever.
    await held(holder)
    t.true(await hosts.answers(v4, true))
    t.true(await hosts.answers(v6, true))
  })
}

onHosts('after kill -9 the fence closes, then the kernel removes the address, and the guard remains', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  await held(holder)
  t.true(await hosts.answers(v4))
  await holder.kill()
  await until('silence', async () => !(await hosts.answers(v4)) && !(await hosts.answers(v6)), leaseMs + 2000)
  await until('no address', async () => !(await hosts.has('a', v4)) && !(await hosts.has('a', v6)), 4000)
  await hosts.in('a', 'ip', 'address', 'add', `${v4}/32`, 'dev', 'eth0')
  t.false(await hosts.answers(v4, true))
})

onHosts('the child closes the fence when its heart is gone, long before the lease ends', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  holder.lease(1, 30_000)
  await holder.reaches('held')
  const close = `
    import { closeFenceNow } from ${file('fence/close.ts')}
    console.log(closeFenceNow())`
  await holder.kill()
  for (const address of [v4, v6]) t.true(await hosts.answers(address, true), 'the lease is still good')
  t.is((await hosts.script('a', close)).trim(), 'true')
  for (const address of [v4, v6]) {
    t.false(await hosts.answers(address, true))
    t.true(await hosts.has('a', address))
  }
  t.is((await hosts.script('b', close)).trim(), 'true', 'where there is no fence there is nothing to close')
})

onHosts('a takeover moves the neighbour entries of a client that says nothing', async (t) => {
  const { hosts } = t.context
  const a = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  const b = await hosts.holder('b', { vips: [vip(v4), vip(v6)] })
  await held(a)
  for (const address of [v4, v6]) {
    t.true(await hosts.answers(address))
    t.is(await hosts.neighbour(address), await hosts.mac('a'))
  }
  a.stopRenewing()
  await a.close()
  t.false(await hosts.answers(v4))
  await held(b, 2)
  const macB = await hosts.mac('b')
  await until('ARP entry moved', async () => (await hosts.neighbour(v4)) === macB)
  await until('ND entry moved', async () => (await hosts.neighbour(v6)) === macB)
  t.true(await hosts.answers(v4))
  t.true(await hosts.answers(v6))
  // Same term again: a late renewal after close() opens nothing.
  a.lease(1, 200)
  t.true((await a.report()).vips.every(({ state }) => state === 'released'))
})

onHosts('a frozen holder that wakes up while another holds neither answers nor announces', async (t) => {
  const { hosts } = t.context
  const a = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  const b = await hosts.holder('b', { vips: [vip(v4), vip(v6)] })
  await held(a)
  for (const address of [v4, v6]) t.true(await hosts.answers(address))
  const [before] = (await a.report()).vips
  a.freeze()
  a.stopRenewing()
  // No other node has a lease before this one's has ended: that is the consensus's part, and here the test's.
  await delay(leaseMs)
  for (const address of [v4, v6]) t.false(await hosts.answers(address, true))
  await held(b, 2)
  const macB = await hosts.mac('b')
  const oneHolder = async (when: string): Promise<void> => {
    for (const address of [v4, v6]) {
      t.true(await hosts.answers(address, true), `${address} ${when}`)
      t.is(await hosts.neighbour(address), macB, `${address} ${when}`)
    }
  }
  await oneHolder('while it is frozen')
  a.resume()
  for (let round = 0; round < 5; round++) await oneHolder('after it woke up')
  const { vips } = await a.reaches('released')
  t.true(vips[0]!.announcements - before!.announcements <= 3)
  await oneHolder('in the end')
})

onHosts('a stale holder cannot announce: the egress hook drops what a packet socket sends', async (t) => {
  const { hosts } = t.context
  const a = await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  await held(a)
  for (const address of [v4, v6]) t.true(await hosts.answers(address))
  if ((await a.report()).log.some((line) => line.includes('egress'))) return skip(t, 'no egress hook in this kernel')
  // The same announcement from a host that guards without a lease, and from one that guards nothing.
  const announce = `
    import { Announcer } from ${file('announce/packets.ts')}
    import { Addresses } from ${file('addresses.ts')}
    const link = new Addresses().link('eth0')
    for (const address of ['${v4}', '${v6}']) new Announcer().announce(address, 'eth0', link, () => true)`
  const [macA, macB] = [await hosts.mac('a'), await hosts.mac('b')]
  const b = await hosts.holder('b', { vips: [vip(v4), vip(v6)] })
  await hosts.script('b', announce)
  t.is(await hosts.neighbour(v4), macA)
  t.is(await hosts.neighbour(v6), macA)
  await b.stop()
  await hosts.script('b', announce)
  await until('the unguarded announcement arrives', async () => (await hosts.neighbour(v4)) === macB && (await hosts.neighbour(v6)) === macB)
  t.pass()
})

onHosts('a new process takes an existing table over, closed and without a gap', async (t) => {
  const { hosts } = t.context
  const first = await hosts.holder('a', { vips: [vip(v4)] })
  await held(first)
  await until('answers', () => hosts.answers(v4))
  await first.kill()
  const killedMs = performance.now()
  // The address stays on the interface: only the guard is between it and the client while the tables are replaced.
  await hosts.in('a', 'ip', 'address', 'replace', `${v4}/32`, 'dev', 'eth0', 'valid_lft', '60', 'preferred_lft', '0')
  const watch = hosts.watch(v4)
  const second = await hosts.holder('a', { vips: [vip('10.77.0.101')] })
  t.false(await hosts.has('a', v4), 'left by the first process, guarded by its table: removed by the second')
  await held(second, 2)
  t.true(await hosts.answers('10.77.0.101'))
  const answers = await watch.stop()
  t.true(answers.every((atMs) => atMs - killedMs < leaseMs + eyeMs), 'no answer after the first process\'s lease')
})

onHosts('a second process cannot take the table of a running one', async (t) => {
  const { hosts } = t.context
  const first = await hosts.holder('a', { vips: [vip(v4)] })
  await held(first)
  const second = await hosts.holder('a', { vips: [vip(v4)] })
  const { vips, log } = await second.report()
  if (vips[0]?.state === 'released') return skip(t, `Linux before 6.9 has no tables with an owner (${log.join()})`)
  t.is(vips[0]?.state, 'failed')
  t.regex(vips[0]!.error, /another running process/)
  t.true(await hosts.answers(v4))
})

for (const asOnOldKernels of [false, true]) {
  onHosts(`holds on through \`nft flush ruleset\`, ${asOnOldKernels ? 'by setting the fence up again' : 'because the table is ours'}`, async (t) => {
    const { hosts } = t.context
    const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)], asOnOldKernels })
    await held(holder)
    const { code, output } = await hosts.in('a', 'nft', 'flush', 'ruleset')
    if (code !== 0 && /No such file/.test(output)) return skip(t, 'nft is not installed')
    if (asOnOldKernels) await until('set up again', async () => (await holder.report()).log.some((line) => line.includes('removed by another program')))
    await holder.reaches('held')
    t.true(await hosts.answers(v4, true))
    holder.freeze()
    await delay(leaseMs + 50)
    t.false(await hosts.answers(v4, true))
    t.false(await hosts.answers(v6, true))
  })
}

onHosts('configuration: VIPs come and go while others are held', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip(v4)] })
  await held(holder)
  const watch = hosts.watch(v4)
  await holder.configure([vip(v4), vip(v6)])
  await holder.reaches('held')
  t.true(await hosts.answers(v6))
  await holder.configure([vip(v4)])
  t.false(await hosts.has('a', v6))
  const answers = await watch.stop()
  const gaps = answers.slice(1).map((atMs, i) => atMs - answers[i]!)
  t.log(`longest gap of the VIP that stayed: ${Math.round(Math.max(...gaps))} ms`)
  // No longer guarded: it is anybody's address.
  await hosts.in('b', 'ip', 'address', 'add', `${v6}/64`, 'dev', 'eth0', 'nodad')
  t.true(await hosts.answers(v6, true))
  await holder.stop()
  t.false(await hosts.has('a', v4))
  t.is((await hosts.in('a', 'nft', 'list', 'tables')).output.trim(), '')
})

onHosts('a cable that comes out withdraws the VIP, and one that comes back brings it', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip(v4)] })
  await held(holder)
  await hosts.cable('a', false)
  const { vips } = await holder.reaches('failed')
  t.regex(vips[0]!.error, /eth0 is down/)
  t.false(await hosts.has('a', v4))
  await hosts.cable('a', true)
  await holder.reaches('held')
  await until('answers', () => hosts.answers(v4))
  t.pass()
})

onHosts('an address that somebody configured for good is refused, not cut off', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [vip('10.77.0.1'), vip(v4)] })
  holder.renew(1)
  const { vips } = await until('settled', async () => {
    const report = await holder.report()
    return report.vips[1]?.state === 'held' && report
  })
  t.is(vips[0]?.state, 'failed')
  t.regex(vips[0]!.error, /configured on this node by another program/)
  t.true(await hosts.answers('10.77.0.1'))
})

onHosts('ten VIPs renew as one transaction', async (t) => {
  const { hosts } = t.context
  const addresses = Array.from({ length: 5 }, (_, i) => [`10.77.0.${110 + i}`, `fd77::${110 + i}`]).flat()
  for (const [count, asOnOldKernels] of [[1, false], [10, false], [1, true], [10, true]] as const) {
    const holder = await hosts.holder('a', { vips: addresses.slice(0, count).map((one) => vip(one)), asOnOldKernels })
    await held(holder)
    const before = await holder.report()
    const beforeMs = performance.now()
    const after = await until('forty renewals', async () => {
      await delay(200)
      const report = await holder.report()
      return report.renewals >= before.renewals + 40 && report
    })
    const share = (after.cpuUs - before.cpuUs) / 10 / (performance.now() - beforeMs)
    t.log(
      `${count} VIPs, ${asOnOldKernels ? 'emptying and filling' : 'in place'}: ${after.renewalUs} µs per renewal (median), `
        + `${share.toFixed(1)} % of a core for everything that the process does at 25 renewals/s`,
    )
    for (const address of addresses.slice(0, count)) t.true(await hosts.answers(address))
    await holder.stop()
  }
})

for (const asOnOldKernels of [false, true]) {
  onHosts(`renewing drops nothing, ${asOnOldKernels ? 'emptying and filling' : 'in place'}`, async (t) => {
    const { hosts } = t.context
    const holder = await hosts.holder('a', { vips: [vip(v4), vip(v6)], asOnOldKernels })
    // Long leases: this is about the instants of renewal, not about a slow test.
    const timer = setInterval(() => holder.lease(1, 10_000), 2)
    t.teardown(() => clearInterval(timer))
    const before = await holder.reaches('held')
    const dropped = await hosts.dropped('a')
    if (dropped.length === 0) return skip(t, 'nft is not installed')
    const watch = hosts.watch(v4)
    await until('five hundred renewals', async () => {
      await delay(50)
      return (await holder.report()).renewals >= before.renewals + 500
    }, 30_000)
    t.true((await watch.stop()).length > 20)
    t.deepEqual(await hosts.dropped('a'), dropped)
  })
}

onHosts('the fence as nft lists it', async (t) => {
  const { hosts } = t.context
  await hosts.holder('a', { vips: [vip(v4), vip(v6)] })
  const { code, output } = await hosts.in('a', 'nft', '-s', 'list', 'ruleset')
  if (code !== 0) return skip(t, 'nft is not installed')
  const rules = output.split('\n').map((line) => line.trim()).filter((line) => / drop$|^(table|chain|type filter)/.test(line))
  const text = rules.map((line) => line.replace(/ # progname.*| counter/g, '').replace(/ priority [^;]*;/, ';')).join('\n')
  const netdev = text.indexOf('table netdev')
  t.is((netdev < 0 ? text : text.slice(0, netdev)).trim(), [
    'table inet haechi {',
    'chain input {',
    'type filter hook input; policy accept;',
    'ip daddr @guarded4 ip daddr != @lease4 drop',
    'ip6 daddr @guarded6 ip6 daddr != @lease6 drop',
    'icmpv6 type nd-neighbor-solicit @th,64,128 @guarded6 @th,64,128 != @lease6 drop',
    'chain output {',
    'type filter hook output; policy accept;',
    'ip saddr @guarded4 ip saddr != @lease4 drop',
    'ip6 saddr @guarded6 ip6 saddr != @lease6 drop',
    'icmpv6 type nd-neighbor-advert @th,64,128 @guarded6 @th,64,128 != @lease6 drop',
    'table arp haechi {',
    'chain input {',
    'type filter hook input; policy accept;',
    'arp saddr ip != @guarded4 arp daddr ip @guarded4 arp daddr ip != @lease4 drop',
    'chain output {',
    'type filter hook output; policy accept;',
    'arp saddr ip @guarded4 arp saddr ip != @lease4 drop',
  ].join('\n'))
  if (netdev >= 0) t.regex(text.slice(netdev), /arp saddr ip @guarded4 arp saddr ip != @lease4 drop\nicmpv6 type nd-neighbor-advert .* drop/)
})

onHosts('a pause between reading the clock and the commit: tried again with less, or closed', async (t) => {
  const { hosts } = t.context
  // The clock is read before and after each commit: `pauses` are what it jumps by between the two.
  const output = await hosts.script('a', `
    import { Fence } from ${file('fence/fence.ts')}
    let now = 1000
    let reads = 0
    let pauses = []
    const fence = new Fence({ clock: () => (reads++ % 2 === 1 ? (now += pauses.shift() ?? 0) : now) })
    const results = [fence.install(['${v4}'])]
    for (const jumps of [[], [3], [3, 7, 30], [500], []]) {
      now += 40
      reads = 0
      pauses = jumps
      const failure = fence.open(['${v4}'], now + 200)
      results.push([failure, Math.max(0, fence.untilMs - now), [...fence.leased().keys()].join()])
    }
    console.log(JSON.stringify(results))
    fence.remove()`)
  t.deepEqual(JSON.parse(output), [
    '',
    ['', 200, v4],
    ['', 197, v4],
    // Late three times, and late for good: closed again, and nothing is promised any more.
    ['SLOW', 0, ''],
    ['EXPIRED', 0, ''],
    ['', 200, v4],
  ])
})

onHosts('an interface that is not there yet: failed in words, held as soon as it is', async (t) => {
  const { hosts } = t.context
  const holder = await hosts.holder('a', { vips: [{ ...vip('10.78.0.100'), interface: 'late0' }, vip(v4)] })
  holder.renew(1)
  const reached = (state: string): Promise<string> =>
    until(state, async () => {
      const [late, other] = (await holder.report()).vips
      return late?.state === state && other?.state === 'held' && `${late.error} `
    })
  t.regex(await reached('failed'), /there is no interface late0/)
  await hosts.in('a', 'ip', 'link', 'add', 'late0', 'type', 'veth', 'peer', 'name', 'late1')
  await hosts.in('a', 'ip', 'link', 'set', 'late1', 'up')
  await hosts.in('a', 'ip', 'link', 'set', 'late0', 'up')
  await reached('held')
  await hosts.in('a', 'ip', 'link', 'del', 'late0')
  await reached('failed')
  t.true(await hosts.answers(v4))
})

onHosts('close() and setFit(false) have closed when they return, whatever leases come', async (t) => {
  const { hosts } = t.context
  const output = await hosts.script('a', `
    import { createVipManager } from ${file('manager.ts')}
    import { Fence } from ${file('fence/fence.ts')}
    import { Addresses } from ${file('addresses.ts')}
    const manager = createVipManager({ log: () => {} })
    const reader = new Fence({ clock: () => performance.now() })
    const lease = (term) => manager.lease({ term, untilMs: performance.now() + 60_000 })
    const results = []
    const look = () => results.push([reader.leased().size, new Addresses().present().some(({ address }) => address === '${v4}')].join())
    await manager.configure(${JSON.stringify([vip(v4)])})
    look()
    manager.setFit(true)
    lease(1)
    look()
    manager.setFit(false)
    look()
    lease(1)
    look()
    manager.setFit(true)
    look()
    void manager.close()
    look()
    lease(1)
    look()
    lease(2)
    look()
    await manager.stop()
    console.log(results.join(' '))`)
  t.is(output.trim(), '0,false 1,true 0,false 0,false 1,true 0,false 0,false 1,true')
})

onHosts('without the capability the VIP is refused in words, not downgraded', async (t) => {
  const { hosts } = t.context
  const program = [process.execPath, '--disable-warning=ExperimentalWarning', new URL('testing/holder.ts', import.meta.url).pathname]
  const result = await run(
    ['ip', 'netns', 'exec', hosts.namespace('a'), 'setpriv', '--bounding-set', '-all', '--inh-caps', '-all', ...program, JSON.stringify({ vips: [vip(v4)] })],
    'report\nstop\n',
  )
  t.regex(result.output, /"state":"failed"/)
  t.regex(result.output, /run as root or give CAP_NET_ADMIN and CAP_NET_RAW/)
})

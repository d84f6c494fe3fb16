/**
 * `npm run load -- members [--minutes 30] [--rate 400]`: a steady load over four members, one of which is killed every 20 s and comes
 * back. Only requests that were under way on it may fail; memory stays flat over the last two thirds.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { descriptors, finish, program, residentBytes, say, sleep, startProxy, until, type Program } from './proxy.ts'
import { Steady } from './steady.ts'

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '30' }, rate: { type: 'string', default: '400' } } })
const minutes = Number(values.minutes)
const port = 21_395
const addresses = ['127.0.0.11', '127.0.0.12', '127.0.0.13', '127.0.0.14']
const everyMs = 20_000
const faults: string[] = []

async function server(address: string): Promise<Program> {
  const one = program([join(import.meta.dirname, 'member-server.ts'), String(port), address])
  await until(`${address} listens`, () => one.output().includes('listening'), 10_000)
  return one
}

const servers = await Promise.all(addresses.map(server))
const proxy = await startProxy(`haechi: 1
pools:
  - name: web
    members:
${addresses.map((address, i) => `      - {name: m${i}, address: ${address}, port: ${port}}`).join('\n')}
    healthCheck: {type: http, path: /, interval: 1s, fall: 2}
listeners:
  - {name: web, address: 127.0.0.1, port: 21396, pool: web}
`, 1)
const steady = new Steady(21_396, Number(values.rate), { methods: ['GET', 'GET', 'GET', 'POST'] })
steady.start()
const startedMs = performance.now()
/** When a member was gone for sure, and when it had begun to go. */
const kills: { readonly fromMs: number; readonly toMs: number }[] = []
const memory: { readonly atMs: number; readonly bytes: number }[] = []
let next = 0
while (performance.now() - startedMs < minutes * 60_000) {
  const roundMs = performance.now()
  const index = next++ % servers.length
  const fromMs = performance.now()
  await servers[index]!.kill()
  kills.push({ fromMs, toMs: performance.now() })
  await sleep(5000)
  servers[index] = await server(addresses[index]!)
  while (performance.now() - roundMs < everyMs) {
    await sleep(1000)
    memory.push({ atMs: performance.now() - startedMs, bytes: residentBytes(proxy.pid) })
  }
  if (next % 15 === 0) {
    const { p50Ms, p99Ms } = steady.take()
    say(`${next} kills, ${steady.answered} answered, ${steady.failures.length} failed, p50 ${p50Ms.toFixed(1)} p99 ${p99Ms.toFixed(1)} ms, ${(residentBytes(proxy.pid) / 1048576).toFixed(0)} MiB, ${descriptors(proxy.pid)} descriptors`)
  }
}
steady.stop()

// A failed request counts as under way if it had been sent before the kill was over and failed after it began.
const underWay = (sentMs: number, failedMs: number): boolean => kills.some(({ fromMs, toMs }) => sentMs <= toMs && failedMs >= fromMs)
const others = steady.failures.filter(({ sentMs, failedMs }) => !underWay(sentMs, failedMs))
say(`${kills.length} kills, ${steady.answered} requests answered, ${steady.failures.length} failed, ${others.length} of them not under way at a kill; ${steady.skipped} not sent`)
for (const { what, method, sentMs } of others.slice(0, 10)) faults.push(`${method} sent ${((sentMs - startedMs) / 1000).toFixed(1)} s after the start: ${what}`)
const late = memory.filter(({ atMs }) => atMs >= (minutes * 60_000) / 3)
/** Least-squares slope over the last two thirds, bytes a minute. */
const meanMs = late.reduce((sum, { atMs }) => sum + atMs, 0) / late.length
const meanBytes = late.reduce((sum, { bytes }) => sum + bytes, 0) / late.length
const slope = (late.reduce((sum, { atMs, bytes }) => sum + (atMs - meanMs) * (bytes - meanBytes), 0) / late.reduce((sum, { atMs }) => sum + (atMs - meanMs) ** 2, 0)) * 60_000
say(`memory in the last two thirds: ${(Math.min(...late.map(({ bytes }) => bytes)) / 1048576).toFixed(1)} to ${(Math.max(...late.map(({ bytes }) => bytes)) / 1048576).toFixed(1)} MiB, ${(slope / 1024).toFixed(1)} KiB a minute`)
if (slope > 100 * 1024) faults.push(`memory grows by ${(slope / 1024).toFixed(0)} KiB a minute`)
finish(faults)

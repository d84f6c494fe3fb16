/**
 * `npm run load -- slow [--slow 5000]`: clients and members that hurt, one kind after the other, beside ordinary ones, whose 99th percentile
 * must stay within twice what it is when all is quiet; memory stays bounded, and each ends with its documented error.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { finish, program, residentBytes, say, sleep, startProxy, startServers, until } from './proxy.ts'
import { Steady } from './steady.ts'

const { values } = parseArgs({ options: { slow: { type: 'string', default: '5000' }, rate: { type: 'string', default: '300' }, seconds: { type: 'string', default: '20' } } })
const count = Number(values.slow)
const measureMs = Number(values.seconds) * 1000
const port = 21_397
const faults: string[] = []

await startServers(['127.0.0.1'], 21_398)

const bad = program([join(import.meta.dirname, 'bad-members.ts'), '21398'])
await until('the bad members listen', () => bad.output().includes('listening'), 10_000)

const pool = (name: string, address: string): string => `  - {name: ${name}, members: [{name: a, address: ${address}, port: 21398}], healthCheck: {type: none}, serverIdleTimeout: 5s, retries: 0}\n`
const proxy = await startProxy(`haechi: 1
pools:
${pool('good', '127.0.0.1')}${pool('silent', '127.0.0.21')}${pool('breaks', '127.0.0.22')}${pool('early', '127.0.0.23')}${pool('slow', '127.0.0.24')}
listeners:
  - name: web
    address: 127.0.0.1
    port: ${port}
    pool: good
    maxConnections: 15000
    requestHeadTimeout: 10s
    clientIdleTimeout: 10s
    routes:
      - {name: silent, paths: [/silent], pool: silent}
      - {name: breaks, paths: [/breaks], pool: breaks}
      - {name: early, paths: [/early], pool: early}
      - {name: slow, paths: [/slow], pool: slow}
`, 1)

const steady = new Steady(port, Number(values.rate))
steady.start()
await sleep(5000)
steady.take()
await sleep(measureMs)
const quiet = steady.take()
const quietBytes = residentBytes(proxy.pid)
say(`quiet: p50 ${quiet.p50Ms.toFixed(2)} p99 ${quiet.p99Ms.toFixed(2)} ms, ${(quietBytes / 1048576).toFixed(0)} MiB`)

const head = 'Host: load.example\r\n'
const kinds = [
  { name: 'heads of one byte a second', first: 'G', rest: `ET / HTTP/1.1\r\n${head}X-Long: ${'x'.repeat(500)}`, many: count, wanted: /^408 request-timeout closed$/ },
  { name: 'bodies that stop', first: `POST / HTTP/1.1\r\n${head}Content-Length: 5000\r\n\r\n`, rest: '', many: count, wanted: /^408 client-timeout closed$/ },
  { name: 'bodies of one byte a second', first: `POST / HTTP/1.1\r\n${head}Content-Length: 5000\r\n\r\n`, rest: 'x'.repeat(5000), many: count, wanted: /^open$/ },
  { name: 'a member that never answers', first: `GET /silent HTTP/1.1\r\n${head}\r\n`, rest: '', many: 500, wanted: /^504 member-timeout open$/ },
  { name: 'a member that closes within the body', first: `GET /breaks HTTP/1.1\r\n${head}\r\n`, rest: '', many: 500, wanted: /^200 reset$/ },
  { name: 'a member that answers before the body is read', first: `POST /early HTTP/1.1\r\n${head}Content-Length: 5000\r\n\r\n`, rest: 'x'.repeat(5000), many: 500, wanted: /^413/ },
  { name: 'a member of one byte a second', first: `GET /slow HTTP/1.1\r\n${head}\r\n`, rest: '', many: 500, wanted: /^200 open$/ },
]
for (const kind of kinds) {
  const failedBefore = steady.failures.length
  const plan = { port, first: kind.first, rest: kind.rest, count: kind.many, limitMs: measureMs }
  const hurting = program([join(import.meta.dirname, 'slow-clients.ts'), JSON.stringify(plan)])
  // While they connect the machine is busy with that, on both sides of the proxy.
  await sleep(3000)
  steady.take()
  await sleep(measureMs - 3000)
  const during = steady.take()
  const bytes = residentBytes(proxy.pid)
  await hurting.ended
  const endings = Object.entries(JSON.parse(hurting.output()) as Record<string, number>)
  const shown = endings.map(([text, many]) => `${many} × ${text}`).join(', ')
  const failed = steady.failures.length - failedBefore
  const each = (bytes - quietBytes) / kind.many
  say(`${kind.many} × ${kind.name}: others p50 ${during.p50Ms.toFixed(2)} p99 ${during.p99Ms.toFixed(2)} ms (${(during.p99Ms / quiet.p99Ms).toFixed(2)} ×), ${failed} failed; ${(each / 1024).toFixed(1)} KiB each; ended: ${shown}`)
  if (during.p99Ms > 2 * quiet.p99Ms) faults.push(`${kind.name}: the others' p99 is ${(during.p99Ms / quiet.p99Ms).toFixed(2)} times the quiet one`)
  if (failed > 0) faults.push(`${kind.name}: ${failed} ordinary requests failed`)
  for (const [text, many] of endings) if (!kind.wanted.test(text)) faults.push(`${kind.name}: ${many} ended with "${text}"`)
  // Time to let go of them.
  await sleep(3000)
}
const afterBytes = residentBytes(proxy.pid)
say(`afterwards ${(afterBytes / 1048576).toFixed(0)} MiB`)
steady.stop()
finish(faults)

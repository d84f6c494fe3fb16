/** `npm run load -- idle [--connections 15000]`: what kept connections cost that do nothing, and that each still works afterwards. */
import { parseArgs } from 'node:util'
import { finish, program, residentBytes, say, startProxy, startServers, until } from './proxy.ts'
import { join } from 'node:path'

const { values } = parseArgs({ options: { connections: { type: 'string', default: '15000' } } })
const connections = Number(values.connections)
const limitBytes = 12 * 1024
const faults: string[] = []

await startServers(['127.0.0.1', '127.0.0.2'], 21_390)
const proxy = await startProxy(`haechi: 1
pools:
  - {name: web, members: [{name: a, address: 127.0.0.1, port: 21390}, {name: b, address: 127.0.0.2, port: 21390}]}
listeners:
  - {name: web, address: 127.0.0.1, port: 21391, pool: web, maxConnections: 20000, clientKeepAlive: 1h}
`, 1)

// Code is compiled and buffers are made by then: what is measured is connections.
const warm = program([join(import.meta.dirname, 'holder.ts'), '21391', '500', 'once'])
if ((await warm.ended) !== 0) throw new Error(warm.output())
const beforeBytes = residentBytes(proxy.pid)
say(`before: ${(beforeBytes / 1048576).toFixed(1)} MiB`)
const holder = program([join(import.meta.dirname, 'holder.ts'), '21391', String(connections)])
await until('all are open and have had an answer', () => holder.output().includes('held') || holder.child.exitCode !== null, 120_000)
// The garbage of their first request goes within a few collections, or it does not and counts.
let bytes = Infinity
for (let i = 0; i < 30; i++) {
  bytes = Math.min(bytes, residentBytes(proxy.pid))
  await new Promise((resolve) => setTimeout(resolve, 1000))
}
const each = (bytes - beforeBytes) / connections
say(`${connections} idle connections: ${(bytes / 1048576).toFixed(1)} MiB, ${each.toFixed(0)} bytes each (wanted ${limitBytes})`)
if (each > limitBytes) faults.push(`${each.toFixed(0)} bytes for each connection`)
holder.child.kill('SIGUSR2')
await until('each has answered again', () => holder.output().includes('again') || holder.child.exitCode !== null, 120_000)
say(holder.output().trim().split('\n').at(-1)!)
if (!holder.output().includes(`again ${connections}, failed 0`)) faults.push(`not all connections answered again: ${holder.output()}`)
await holder.kill()
finish(faults)

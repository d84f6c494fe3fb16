/**
 * `npm run load -- sockets [--sockets 8000] [--applies 100]`: WebSockets held through changes of the configuration, each of which touches
 * the pool and the listener that they use. None may break; all must carry messages at the end.
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { descriptors, finish, program, residentBytes, say, startProxy, until } from './proxy.ts'

const { values } = parseArgs({ options: { sockets: { type: 'string', default: '8000' }, applies: { type: 'string', default: '100' } } })
const sockets = Number(values.sockets)
const applies = Number(values.applies)
const faults: string[] = []

/** Another weight, another route, another timeout each time, and now and then another listener. */
function document(step: number): string {
  return `haechi: 1
pools:
  - name: echo
    members:
      - {name: a, address: 127.0.0.1, port: 21392, weight: ${1 + (step % 7)}}
      - {name: b, address: 127.0.0.2, port: 21392, state: ${step % 5 === 4 ? 'drain' : 'enabled'}}
    connectTimeout: ${2 + (step % 3)}s
    healthCheck: {type: none}
listeners:
  - name: web
    address: 127.0.0.1
    port: 21393
    pool: echo
    maxConnections: 20000
    clientKeepAlive: ${30 + (step % 30)}s
    routes: [{name: r${step}, paths: [/r${step}], pool: echo}]
${step % 10 === 9 ? '  - {name: other, address: 127.0.0.1, port: 21394, pool: echo}\n' : ''}`
}

const echo = program([join(import.meta.dirname, '../bench/proxy/echo.ts'), '21392', '127.0.0.1', '127.0.0.2'])
const proxy = await startProxy(document(0), 1)
const holder = program([join(import.meta.dirname, 'socket-holder.ts'), '21393', String(sockets)])
await until('all sockets are open', () => holder.output().includes('held') || holder.child.exitCode !== null, 180_000)
say(`${holder.output().trim()}; ${descriptors(proxy.pid)} descriptors, ${(residentBytes(proxy.pid) / 1048576).toFixed(0)} MiB`)
if (!holder.output().includes(`held ${sockets}, `)) faults.push(holder.output())
for (let step = 1; step <= applies; step++) {
  await proxy.apply(document(step))
  if (step % 20 === 0) say(`${step} changes; ${holder.output().trim().split('\n').at(-1)}`)
}
holder.child.kill('SIGUSR2')
await until('each has carried a message', () => holder.output().includes('echoed') || holder.child.exitCode !== null, 120_000)
const last = holder.output().trim().split('\n').at(-1)!
say(last)
if (last !== `echoed ${sockets}, broken 0`) faults.push(last)
await Promise.all([holder.kill(), echo.kill()])
finish(faults)

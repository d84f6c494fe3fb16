/**
 * A process with a VIP manager, for the tests: one command a line on standard input, one answer a line on standard output.
 * Leases come as instants of the machine's monotonic clock, so that one which waited in the pipe is as old as it is.
 */
import { createInterface } from 'node:readline'
import { createVipManager } from '../manager.ts'
import type { VipSpec } from '../types.ts'
import type { HolderOptions } from './hosts.ts'

const { vips, ...options } = JSON.parse(process.argv[2]!) as HolderOptions
const log: string[] = []
const renewalsUs: number[] = []
const manager = createVipManager({ ...options, log: (level, message) => void log.push(`${level} ${message}`) })

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

async function obey(command: string, argument: string): Promise<unknown> {
  switch (command) {
    case 'lease': {
      const [term, untilNs] = argument.split(' ')
      const untilMs = performance.now() + Number(BigInt(untilNs!) - process.hrtime.bigint()) / 1e6
      const before = performance.now()
      manager.lease({ term: Number(term), untilMs })
      renewalsUs.push((performance.now() - before) * 1000)
      return undefined
    }
    case 'configure':
      return (await manager.configure(JSON.parse(argument) as VipSpec[])) ?? {}
    case 'close':
      return (await manager.close()) ?? {}
    case 'report':
      return { vips: manager.status(), renewals: renewalsUs.length, renewalUs: Math.round(median(renewalsUs)), cpuUs: cpuUs(), log }
    case 'stop':
      await manager.stop()
      setImmediate(() => process.exit(0))
      return {}
    default:
      throw new Error(`unknown command ${command}`)
  }
}

await manager.configure(vips)
manager.setFit(true)
process.stdout.write('{}\n')
createInterface(process.stdin).on('line', (line) => {
  const space = line.indexOf(' ')
  const [command, argument] = space < 0 ? [line, ''] : [line.slice(0, space), line.slice(space + 1)]
  void obey(command, argument).then((answer) => answer !== undefined && process.stdout.write(`${JSON.stringify(answer)}\n`))
})
process.stdin.on('end', () => process.exit(0))

/**
 * `haechi run --config FILE`: one standalone proxy from one file, as one would start any proxy. SIGHUP reads the file again
 * (a faulty one changes nothing), SIGTERM and SIGINT drain, a second one ends at once.
 */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { parseYaml } from '../config/yaml.ts'
import type { ConfigurationDocument, Problem } from '../config/schema.ts'
import { createHealthMonitor } from '../health/monitor.ts'
import { createLog, type Log } from '../observe/log.ts'
import { createProxy } from '../proxy/manager.ts'

export interface RunOptions {
  readonly file: string
  /** Worker threads; default: one per core. */
  readonly workers?: number
  readonly log?: Log
}

/** How long connections may finish after SIGTERM, milliseconds. */
const drainMs = 30_000

function describe(file: string, problems: readonly Problem[]): string {
  return problems
    .map(({ line, column, field, message }) => {
      const place = line === undefined ? file : `${file}:${line}${column === undefined ? '' : `:${column}`}`
      return `${place}: ${field === '' ? '' : `${field}: `}${message}`
    })
    .join('\n')
}

function read(file: string): { document: ConfigurationDocument } | { error: string } {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    return { error: `${file} cannot be read: ${(error as Error).message}` }
  }
  const result = parseYaml(text)
  return result.ok ? { document: result.document } : { error: describe(file, result.problems) }
}

/** Resolves when it serves; then runs until a signal ends it. A file that is not valid ends the process with code 1. */
export async function runStandalone(options: RunOptions): Promise<void> {
  const log = options.log ?? createLog('haechi')
  const first = read(options.file)
  if ('error' in first) {
    process.stderr.write(`${first.error}\n`)
    process.exit(1)
  }
  const proxy = createProxy({
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    nodeId: hostname().toLowerCase().replace(/[^a-z0-9-]/g, '-') || 'haechi',
    log,
    failed: (reason) => {
      log('error', `the proxy failed: ${reason}`)
      process.exit(1)
    },
  })
  const health = createHealthMonitor({
    log,
    onChange: (pool, member, state, detail) => {
      proxy.setMemberHealth(pool, member, state)
      log(state === 'down' ? 'warn' : 'info', `member ${pool}/${member} is ${state}`, { detail })
    },
  })
  await proxy.start()
  let revision = 0
  const apply = async (document: ConfigurationDocument): Promise<number> => {
    const report = await proxy.apply(++revision, document)
    health.configure(document.pools)
    for (const { listener, error } of report.failures) log('error', `listener ${listener} does not listen: ${error}`)
    const failed = new Set(report.failures.map((failure) => failure.listener))
    const listening = document.listeners.filter((listener) => !failed.has(listener.name))
    for (const listener of listening) {
      const address = listener.address ?? document.vips.find((vip) => vip.name === listener.vip)?.address ?? ''
      log('info', `listener ${listener.name}: ${listener.protocol} on ${address.includes(':') ? `[${address}]` : address}:${listener.port}`)
    }
    return listening.length
  }
  const count = await apply(first.document)
  if (count === 0 && first.document.listeners.length > 0) {
    process.stderr.write('No listener could be started (see above).\n')
    process.exit(1)
  }

  let stopping = false
  const stop = async (): Promise<void> => {
    if (stopping) process.exit(1)
    stopping = true
    log('info', `draining, at most ${drainMs / 1000} s; a second signal ends it at once`)
    health.stop()
    await proxy.stop(drainMs)
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop())
  process.on('SIGINT', () => void stop())
  process.on('SIGHUP', () => {
    const again = read(options.file)
    if ('error' in again) log('error', `${options.file} was not taken over; the configuration before stays in force`, { problems: again.error })
    else void apply(again.document)
  })
}

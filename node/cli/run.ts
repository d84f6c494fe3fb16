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
import { readCertificates } from './certificate-directory.ts'
import { persistenceSecret } from '../sessions/keys.ts'

export interface RunOptions {
  readonly file: string
  /** Worker threads; default: one per core. */
  readonly workers?: number
  /** File of the access log, made when a listener first writes to it; default: `access.log` in the working directory. */
  readonly accessLogPath?: string
  /** At least 16 bytes, by which cookies are authenticated and clients are told apart; without it they mean nothing after a restart. */
  readonly secretFile?: string
  /** Where the programs of script checks are; without it such checks fail. */
  readonly checksDirectory?: string
  /** Directory of certificates (`certificate-directory.ts`); without it there are none. */
  readonly certificates?: string
  readonly log?: Log
}

const minSecretBytes = 16

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
  const certificates = options.certificates === undefined ? undefined : readCertificates(options.certificates)
  if (certificates !== undefined && 'error' in certificates) {
    process.stderr.write(`${certificates.error}\n`)
    process.exit(1)
  }
  let secret: Buffer | undefined
  try {
    secret = options.secretFile === undefined ? undefined : readFileSync(options.secretFile)
  } catch (error) {
    process.stderr.write(`${options.secretFile} cannot be read: ${(error as Error).message}\n`)
    process.exit(1)
  }
  if (secret !== undefined && secret.length < minSecretBytes) {
    process.stderr.write(`${options.secretFile} is too short for a secret: it has ${secret.length} bytes, and ${minSecretBytes} are the least\n`)
    process.exit(1)
  }
  const proxy = createProxy({
    ...(secret === undefined ? {} : { persistenceSecret: persistenceSecret(secret, '') }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(options.accessLogPath === undefined ? {} : { accessLogPath: options.accessLogPath }),
    nodeId: hostname().toLowerCase().replace(/[^a-z0-9-]/g, '-') || 'haechi',
    log,
    failed: (reason) => {
      log('error', `the proxy failed: ${reason}`)
      process.exit(1)
    },
  })
  const health = createHealthMonitor({
    log,
    ...(options.checksDirectory === undefined ? {} : { checksDirectory: options.checksDirectory }),
    onChange: (pool, member, state, detail) => {
      proxy.setMemberHealth(pool, member, state)
      log(state === 'down' ? 'warn' : 'info', `member ${pool}/${member} is ${state}`, { detail })
    },
  })
  await proxy.start()
  if (certificates !== undefined) {
    health.useCertificates(certificates.material)
    await proxy.setTlsMaterial(certificates.material)
  }
  let revision = 0
  const apply = async (document: ConfigurationDocument): Promise<number> => {
    const report = await proxy.apply(++revision, document)
    health.configure(document.pools)
    for (const { listener, error } of report.failures) log('error', `listener ${listener} does not listen: ${error}`)
    const failed = new Set(report.failures.map((failure) => failure.listener))
    const listening = document.listeners.filter((listener) => !failed.has(listener.name))
    for (const listener of listening) {
      const address = listener.address ?? document.vips.find((vip) => vip.name === listener.vip)?.address ?? ''
      log('info', `listener ${listener.name}: ${listener.protocol} on ${address.includes(':') ? `[${address}]` : address}:${listener.port}${listener.portEnd === undefined ? '' : `-${listener.portEnd}`}`)
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
    const fresh = options.certificates === undefined ? undefined : readCertificates(options.certificates)
    if (fresh !== undefined && 'error' in fresh) log('error', `${fresh.error}; the certificates before stay in force`)
    else if (fresh !== undefined) {
      health.useCertificates(fresh.material)
      void proxy.setTlsMaterial(fresh.material).then(() => log('info', 'certificates read again'))
    }
    const again = read(options.file)
    if ('error' in again) log('error', `${options.file} was not taken over; the configuration before stays in force`, { problems: again.error })
    else void apply(again.document)
  })
}

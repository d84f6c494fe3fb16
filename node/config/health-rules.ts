/** What a pool's health settings must fulfil beyond their shape. Pure. */
import type { ProblemList } from './complete.ts'
import { durationMs } from './duration.ts'
import type { Maintenance } from './health-schema.ts'
import type { Pool } from './schema.ts'

/** UTF-8 bytes of a pool's own answer. */
const maxBodyBytes = 16 * 1024
/** Set by Haechi, or what would make of one request two. */
const ownHeaders = ['host', 'connection', 'content-length', 'transfer-encoding', 'upgrade', 'expect', 'te', 'trailer', 'keep-alive', 'proxy-connection']

/** Adds a problem for every rule that is broken. `field`: pointer of the pool. */
export function checkPoolHealth(pool: Pool, field: string, out: ProblemList): void {
  const check = pool.healthCheck
  const at = `${field}/healthCheck`
  checkStatusRanges(check.expectStatus, `${at}/expectStatus`, out)
  if (check.type === 'script' && (check.script ?? '') === '') out.add(`${at}/script`, 'is missing; a script check names a program of the checks directory')
  if (check.method === 'CONNECT') out.add(`${at}/method`, 'expected a method that asks for a resource; CONNECT opens a tunnel')
  if (check.method === 'HEAD' && check.expectBody !== undefined) out.add(`${at}/expectBody`, 'the answer to a HEAD request has no body; use another method')
  if (check.maxLatency !== undefined && durationMs(check.maxLatency) > durationMs(check.timeout)) {
    out.add(`${at}/maxLatency`, `expected at most the timeout (${check.timeout}), found ${check.maxLatency}: it would never count`)
  }
  for (const [index, header] of (check.headers ?? []).entries()) {
    if (ownHeaders.includes(header.name.toLowerCase())) {
      const instead = header.name.toLowerCase() === 'host' ? '; write `host` instead' : ''
      out.add(`${at}/headers/${index}/name`, `${header.name} is set by Haechi${instead}`)
    }
  }
  const passive = pool.passiveHealth
  if (passive !== undefined) {
    checkStatusRanges(passive.statuses, `${field}/passiveHealth/statuses`, out)
    if (durationMs(passive.maxEjectionTime) < durationMs(passive.ejectionTime)) {
      out.add(`${field}/passiveHealth/maxEjectionTime`, `expected at least the first ejection time (${passive.ejectionTime}), found ${passive.maxEjectionTime}`)
    }
  }
  if (pool.maintenance !== undefined) checkMaintenance(pool.maintenance, `${field}/maintenance`, out)
}

function checkMaintenance(maintenance: Maintenance, field: string, out: ProblemList): void {
  const bytes = utf8Bytes(maintenance.body)
  if (bytes > maxBodyBytes) out.add(`${field}/body`, `expected at most ${maxBodyBytes} bytes of UTF-8, found ${bytes}`)
  const { status } = maintenance
  if ((status === 204 || status === 304) && maintenance.body !== '') out.add(`${field}/body`, `an answer with status ${status} has no body`)
}

function checkStatusRanges(statuses: string, field: string, out: ProblemList): void {
  for (const range of statuses.split(',')) {
    const [low, high = low] = range.split('-')
    if (Number(low) > Number(high)) out.add(field, `expected ranges from low to high, found ${JSON.stringify(range)}`)
  }
}

/** Of text without surrogates: what the schema lets through. */
function utf8Bytes(text: string): number {
  let bytes = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : 3
  }
  return bytes
}

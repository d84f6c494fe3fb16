/** Persistence of a pool as the workers need it. Pure. */
import { durationMs } from '../../config/duration.ts'
import type { Pool } from '../../config/schema.ts'

export interface PersistencePlan {
  readonly type: 'cookie' | 'app-cookie' | 'source' | 'header'
  /** cookie, app-cookie. */
  readonly cookieName: string
  /** In lower case. */
  readonly header: string
  readonly ttlMs: number
  readonly maxEntries: number
  readonly ipv6PrefixLength: number
  /** What follows the value in Set-Cookie, without Secure. */
  readonly attributes: string
  readonly secure: 'auto' | 'always' | 'never'
  /** The cookie is taken out of requests. */
  readonly removed: boolean
}

const sameSites = { lax: '; SameSite=Lax', strict: '; SameSite=Strict', none: '; SameSite=None', unset: '' } as const

export function persistencePlan(pool: Pool): PersistencePlan | undefined {
  const { persistence } = pool
  if (persistence === undefined || persistence.type === 'none') return undefined
  const { type, cookieName, header, ttl, maxEntries, ipv6PrefixLength, cookie } = persistence
  const maxAge = Math.floor(durationMs(cookie.maxAge) / 1000)
  return {
    type,
    cookieName: cookieName ?? `haechi-${pool.name}`,
    header: (header ?? '').toLowerCase(),
    ttlMs: durationMs(ttl),
    maxEntries,
    ipv6PrefixLength,
    attributes:
      `; Path=${cookie.path}` + (cookie.domain === undefined ? '' : `; Domain=${cookie.domain}`) + (maxAge === 0 ? '' : `; Max-Age=${maxAge}`) +
      (cookie.httpOnly ? '; HttpOnly' : '') + sameSites[cookie.sameSite],
    secure: cookie.secure,
    removed: type === 'cookie' && !cookie.toMember,
  }
}

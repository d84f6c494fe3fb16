/** What persistence must fulfil beyond its shape. */
import type { ProblemList } from './complete.ts'
import { maxSessionEntries, type Persistence } from './persistence-schema.ts'
import { poolsOfRoute } from './route-rules.ts'
import type { ConfigurationDocument } from './schema.ts'

/** Adds a problem for every rule of persistence that the document breaks. */
export function checkPersistence(document: ConfigurationDocument, out: ProblemList): void {
  let entries = 0
  for (const [index, pool] of document.pools.entries()) {
    const { persistence } = pool
    if (persistence === undefined) continue
    checkFields(persistence, `/pools/${index}/persistence`, out)
    if (usesTable(persistence)) {
      entries += persistence.maxEntries
      if (entries > maxSessionEntries && entries - persistence.maxEntries <= maxSessionEntries) {
        out.add(`/pools/${index}/persistence/maxEntries`, `expected at most ${maxSessionEntries} entries in all pools together`)
      }
    }
  }
  checkListeners(document, out)
}

function usesTable({ type }: Persistence): boolean {
  return type === 'app-cookie' || type === 'source' || type === 'header'
}

function checkFields({ type, cookieName, header, cookie }: Persistence, field: string, out: ProblemList): void {
  if (type === 'app-cookie' && cookieName === undefined) out.add(`${field}/cookieName`, 'is missing; expected the name of the application’s cookie')
  if (type === 'header' && header === undefined) out.add(`${field}/header`, 'is missing; expected the name of a header field')
  if (type !== 'cookie' && type !== 'app-cookie' && cookieName !== undefined) {
    out.add(`${field}/cookieName`, `expected no cookie name with type ${type}; it belongs to cookie and app-cookie`)
  }
  if (type !== 'header' && header !== undefined) out.add(`${field}/header`, `expected no header name with type ${type}; it belongs to header`)
  if (type !== 'cookie') return
  if (cookie.sameSite === 'none' && cookie.secure === 'never') {
    out.add(`${field}/cookie/secure`, 'browsers refuse a cookie with SameSite=None that is not Secure; expected "always" or "auto"')
  }
  const name = cookieName ?? ''
  if (/^__(Host|Secure)-/i.test(name) && cookie.secure !== 'always') {
    out.add(`${field}/cookie/secure`, `browsers take a cookie named ${name} only when it is Secure; expected "always"`)
  }
  if (/^__Host-/i.test(name) && (cookie.domain !== undefined || cookie.path !== '/')) {
    out.add(`${field}/cookieName`, 'browsers take a __Host- cookie only without domain and with the path "/"')
  }
}

/** Only http listeners see requests, and what is in them. */
function checkListeners(document: ConfigurationDocument, out: ProblemList): void {
  const pools = new Map(document.pools.map((pool) => [pool.name, pool.persistence?.type ?? 'none']))
  for (const [index, listener] of document.listeners.entries()) {
    const protocol: string = listener.protocol
    if (protocol === 'http' || protocol === 'https') continue
    const check = (pool: string, field: string): void => {
      const type = pools.get(pool)
      if (type === undefined || type === 'none' || type === 'source') return
      out.add(field, `pool ${pool} has persistence by ${type}, which a ${protocol} listener cannot see; expected a pool with persistence by source, or with none`)
    }
    if (listener.pool !== undefined) check(listener.pool, `/listeners/${index}/pool`)
    for (const [position, route] of listener.routes.entries()) {
      for (const pool of poolsOfRoute(route)) check(pool, `/listeners/${index}/routes/${position}`)
    }
  }
}

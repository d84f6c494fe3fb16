/** What a pool's balancing must fulfil beyond its shape. Pure. */
import type { ProblemList } from './complete.ts'
import type { ConfigurationDocument, Pool } from './schema.ts'

/** Adds a problem for every rule that is broken. `field`: pointer of the pool. */
export function checkPoolBalance(pool: Pool, field: string, out: ProblemList): void {
  const { hash } = pool
  if (hash !== undefined) {
    if (pool.balance !== 'hash') out.add(`${field}/hash`, `only \`balance: hash\` looks at this; the pool's balance is ${pool.balance}`)
    const named = hash.on === 'header' || hash.on === 'cookie'
    if (named && hash.name === undefined) out.add(`${field}/hash/name`, `is missing; expected the name of the ${hash.on === 'header' ? 'header field' : 'cookie'}`)
    if (!named && hash.name !== undefined) out.add(`${field}/hash/name`, `means nothing when the ${hash.on} is hashed; leave it out`)
    if (hash.balanceFactor > 0 && hash.balanceFactor <= 100) {
      out.add(`${field}/hash/balanceFactor`, `expected 0 (no bound) or more than 100, found ${hash.balanceFactor}: at 100 nobody may have more than an even share`)
    }
  }
  if (pool.balance === 'hash' && pool.dynamicWeights === true) {
    out.add(`${field}/dynamicWeights`, 'would move keys from member to member all the time; leave it out with `balance: hash`')
  }
}

/** Pools that hash what only requests have, behind listeners that see connections only. */
export function checkHashedInput({ pools, listeners }: ConfigurationDocument, out: ProblemList): void {
  const hashing = new Map(pools.filter(({ balance, hash }) => balance === 'hash' && hash !== undefined && hash.on !== 'source').map((pool) => [pool.name, pool]))
  if (hashing.size === 0) return
  for (const [index, { protocol, pool, routes }] of listeners.entries()) {
    if (seesRequests(protocol)) continue
    const check = (name: string | undefined, field: string): void => {
      const found = name === undefined ? undefined : hashing.get(name)
      if (found !== undefined) {
        out.add(field, `pool ${found.name} hashes the ${found.hash!.on} of requests, which a ${protocol} listener does not see; only the source is possible there`)
      }
    }
    check(pool, `/listeners/${index}/pool`)
    for (const [position, route] of routes.entries()) {
      const at = `/listeners/${index}/routes/${position}`
      check(route.pool, `${at}/pool`)
      for (const [share, weighted] of (route.pools ?? []).entries()) check(weighted.pool, `${at}/pools/${share}/pool`)
    }
  }
}

function seesRequests(protocol: string): boolean {
  return protocol === 'http' || protocol === 'https'
}

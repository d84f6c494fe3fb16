/**
 * What a document must fulfil beyond its shape: names are unique and lead somewhere, no two listeners want the same port,
 * nothing is sent round in a circle. Works on a completed document.
 */
import { familyOf, kindOf } from './address.ts'
import { canonicalBytes } from './canonical.ts'
import type { ProblemList } from './complete.ts'
import { documentLimits, type ConfigurationDocument, type Listener } from './schema.ts'
import { checkHashedInput, checkPoolBalance } from './balance-rules.ts'
import { checkPoolHealth } from './health-rules.ts'
import { checkLayer4, checkPorts, lastPortOf, transportOf } from './layer4-rules.ts'
import { portLimits } from './layer4-schema.ts'
import { checkHeaderEdits, checkRoute, maxPatterns, patternsOfRoute, poolsOfRoute } from './route-rules.ts'
import { checkLimits } from './limits-rules.ts'
import { checkPersistence } from './persistence-rules.ts'
import { nearest } from './suggest.ts'
import { checkListenerTls, checkPoolTls } from './tls-rules.ts'

/** Adds a problem for every rule that the document breaks. */
export function checkSemantics(document: ConfigurationDocument, out: ProblemList): void {
  uniqueNames(document, out)
  limits(document, out)
  checkVips(document, out)
  checkPools(document, out)
  checkListeners(document, out)
  checkHashedInput(document, out)
  checkPorts(document.listeners, listenerAddresses(document), out)
  checkLoops(document, out)
  checkPersistence(document, out)
  checkLimits(document, out)
}

/** Names must be unique among these objects; the second one is at fault. */
function unique(items: readonly { readonly name: string }[], field: string, what: string, out: ProblemList): void {
  const seen = new Map<string, number>()
  for (const [index, { name }] of items.entries()) {
    const first = seen.get(name)
    if (first === undefined) seen.set(name, index)
    else out.add(`${field}/${index}/name`, `the ${what} name ${JSON.stringify(name)} is taken already, by ${field}/${first}`)
  }
}

function uniqueNames(document: ConfigurationDocument, out: ProblemList): void {
  unique(document.vips, '/vips', 'VIP', out)
  unique(document.pools, '/pools', 'pool', out)
  unique(document.listeners, '/listeners', 'listener', out)
  for (const [index, pool] of document.pools.entries()) unique(pool.members, `/pools/${index}/members`, 'member', out)
  for (const [index, listener] of document.listeners.entries()) unique(listener.routes, `/listeners/${index}/routes`, 'route', out)
}

function limits(document: ConfigurationDocument, out: ProblemList): void {
  const members = document.pools.reduce((sum, pool) => sum + pool.members.length, 0)
  if (members > documentLimits.members) {
    out.add('/pools', `expected at most ${documentLimits.members} members in all pools together, found ${members}`)
  }
  const routes = document.listeners.reduce((sum, listener) => sum + listener.routes.length, 0)
  if (routes > documentLimits.routes) {
    out.add('/listeners', `expected at most ${documentLimits.routes} routes on all listeners together, found ${routes}`)
  }
  const patterns = document.listeners.reduce((sum, listener) => sum + listener.routes.reduce((inner, route) => inner + patternsOfRoute(route), 0), 0)
  if (patterns > maxPatterns) out.add('/listeners', `expected at most ${maxPatterns} regular expressions in all routes together, found ${patterns}`)
  // Only the bodies of fixed answers may have characters that are more than a byte.
  const bytes = canonicalBytes(document).length
  if (bytes > documentLimits.bytes) {
    out.add('', `expected a document of at most ${documentLimits.bytes} bytes with its defaults, found ${bytes}`)
  }
}

/** Refuses addresses that no single machine can have; `wildcard`: the unspecified address stands for all of them. */
function checkAddress(address: string, field: string, wildcard: boolean, out: ProblemList): void {
  const kind = kindOf(address)
  switch (kind) {
    case 'unicast':
    case 'loopback':
      return
    case 'unspecified':
      if (wildcard && (address === '0.0.0.0' || address === '::')) return
      break
    case 'link-local':
      out.add(field, `expected an address that means the same on every node; ${address} is link-local`)
      return
    case 'multicast':
    case 'broadcast':
      break
    default:
      throw new Error(`unknown kind ${String(kind)}`)
  }
  out.add(field, `expected the address of one machine; ${address} is ${kind}`)
}

function checkVips(document: ConfigurationDocument, out: ProblemList): void {
  const byAddress = new Map<string, string>()
  for (const [index, vip] of document.vips.entries()) {
    const field = `/vips/${index}`
    checkAddress(vip.address, `${field}/address`, false, out)
    const other = byAddress.get(vip.address)
    if (other === undefined) byAddress.set(vip.address, vip.name)
    else out.add(`${field}/address`, `${vip.address} is the address of VIP ${other} already`)
    if (familyOf(vip.address) === 4 && (vip.prefixLength ?? 32) > 32) {
      out.add(`${field}/prefixLength`, `expected at most 32 for an IPv4 address, found ${vip.prefixLength}`)
    }
  }
}

function checkPools(document: ConfigurationDocument, out: ProblemList): void {
  for (const [index, pool] of document.pools.entries()) {
    const byTarget = new Map<string, string>()
    for (const [position, member] of pool.members.entries()) {
      const field = `/pools/${index}/members/${position}`
      checkAddress(member.address, `${field}/address`, false, out)
      const target = `${member.address} port ${member.port}`
      const other = byTarget.get(target)
      if (other === undefined) byTarget.set(target, member.name)
      else out.add(`${field}/address`, `${target} is member ${other} of this pool already; to give it a larger share, raise its weight`)
    }
    if (pool.healthCheck.address !== undefined) checkAddress(pool.healthCheck.address, `/pools/${index}/healthCheck/address`, false, out)
    checkPoolHealth(pool, `/pools/${index}`, out)
    checkPoolBalance(pool, `/pools/${index}`, out)
    checkPoolTls(pool, `/pools/${index}`, out)
  }
}

function checkListeners(document: ConfigurationDocument, out: ProblemList): void {
  const vips = new Map(document.vips.map((vip) => [vip.name, vip]))
  const vipByAddress = new Map(document.vips.map((vip) => [vip.address, vip.name]))
  const pools = new Map(document.pools.map((pool) => [pool.name, pool]))
  for (const [index, listener] of document.listeners.entries()) {
    const field = `/listeners/${index}`
    if (listener.vip === undefined && listener.address === undefined) {
      out.add(`${field}/vip`, 'is missing; expected either `vip` (the name of a VIP) or `address`')
    } else if (listener.vip !== undefined && listener.address !== undefined) {
      out.add(`${field}/address`, 'expected either `vip` or `address`, found both')
    }
    if (listener.vip !== undefined) refer(listener.vip, `${field}/vip`, 'VIP', vips, out)
    if (listener.address !== undefined) {
      checkAddress(listener.address, `${field}/address`, true, out)
      const vip = vipByAddress.get(listener.address)
      if (vip !== undefined && listener.vip === undefined) {
        const instead = `write \`vip: ${vip}\` instead, so that only its holder answers`
        out.add(`${field}/address`, `${listener.address} is the address of VIP ${vip}; ${instead}`)
      }
    }
    if (listener.pool !== undefined) refer(listener.pool, `${field}/pool`, 'pool', pools, out)
    if (listener.protocol === 'tcp' || listener.protocol === 'udp') {
      if (listener.routes.length > 0) {
        out.add(`${field}/routes`, `expected no routes on a ${listener.protocol} listener: routes look at requests, and only http has them`)
      }
      if (listener.pool === undefined) out.add(`${field}/pool`, `is missing; a ${listener.protocol} listener needs a pool`)
    }
    checkListenerTls(listener, pools, field, out)
    checkLayer4(listener, pools.get(listener.pool ?? ''), field, out)
    if (listener.headers !== undefined) checkHeaderEdits(listener.headers, `${field}/headers`, out)
    for (const [position, route] of listener.routes.entries()) {
      checkRoute(route, `${field}/routes/${position}`, (name, at) => refer(name, at, 'pool', pools, out), out)
    }
  }
}

interface Names {
  has(name: string): boolean
  keys(): IterableIterator<string>
}

function refer(name: string, field: string, what: string, names: Names, out: ProblemList): void {
  if (names.has(name)) return
  const suggestion = nearest(name, names.keys())
  const hint = suggestion === undefined ? '' : `; did you mean ${JSON.stringify(suggestion)}?`
  out.add(field, `there is no ${what} named ${JSON.stringify(name)}${hint}`)
}

/** The address that a listener takes; undefined when the document does not say (which is another problem). */
function addressOf(listener: Listener, vipAddresses: ReadonlyMap<string, string>): string | undefined {
  return listener.vip === undefined ? listener.address : vipAddresses.get(listener.vip)
}

function vipAddressesOf(document: ConfigurationDocument): Map<string, string> {
  return new Map(document.vips.map((vip) => [vip.name, vip.address]))
}

function listenerAddresses(document: ConfigurationDocument): (string | undefined)[] {
  const vipAddresses = vipAddressesOf(document)
  return document.listeners.map((listener) => addressOf(listener, vipAddresses))
}

interface Hop {
  readonly listener: number
  /** The member that leads there. */
  readonly field: string
}

/**
 * A listener whose pool has a member that is the listener itself, or another one that leads back to it, would send each
 * connection round until the ports are used up. A wildcard listener takes loopback addresses and VIPs of its family; the
 * nodes' own addresses are not in the document and cannot be told.
 */
function checkLoops(document: ConfigurationDocument, out: ProblemList): void {
  const vipAddresses = vipAddressesOf(document)
  const local = new Set(vipAddresses.values())
  const listening = new Map<string, number>()
  for (const [index, listener] of document.listeners.entries()) {
    const address = addressOf(listener, vipAddresses)
    if (address === undefined) continue
    const last = Math.min(lastPortOf(listener), listener.port + portLimits.range - 1)
    for (let port = listener.port; port <= last; port++) {
      const place = `${transportOf(listener)} ${address} ${port}`
      if (!listening.has(place)) listening.set(place, index)
    }
  }
  const target = (transport: string, address: string, port: number): number | undefined => {
    const exact = listening.get(`${transport} ${address} ${port}`)
    if (exact !== undefined || !(local.has(address) || kindOf(address) === 'loopback')) return exact
    const wildcard = familyOf(address) === 4 ? listening.get(`${transport} 0.0.0.0 ${port}`) : undefined
    return wildcard ?? listening.get(`${transport} :: ${port}`)
  }
  const poolIndex = new Map<string, number>()
  for (const [index, pool] of document.pools.entries()) if (!poolIndex.has(pool.name)) poolIndex.set(pool.name, index)
  /** `ports`: where the members are reached when not at their own ports. */
  const find = (name: string, transport: string, ports: readonly number[] | undefined): Hop[] => {
    const index = poolIndex.get(name)
    if (index === undefined) return []
    const hops = new Map<number, Hop>()
    for (const [position, member] of document.pools[index]!.members.entries()) {
      for (const port of ports ?? [member.port]) {
        const listener = target(transport, member.address, port)
        if (listener !== undefined && !hops.has(listener)) hops.set(listener, { listener, field: `/pools/${index}/members/${position}/address` })
      }
    }
    return [...hops.values()]
  }
  const hopsOfPool = new Map<string, Hop[]>()
  const hopsOf = (listener: Listener): Hop[] => {
    const transport = transportOf(listener)
    const samePort = listener.memberPort === 'same'
    const pools = new Set(listener.routes.flatMap(poolsOfRoute))
    if (listener.pool !== undefined) pools.add(listener.pool)
    return [...pools].flatMap((pool) => {
      if (samePort) {
        const count = Math.min(lastPortOf(listener) - listener.port + 1, portLimits.range)
        return find(pool, transport, Array.from({ length: Math.max(0, count) }, (_, i) => listener.port + i))
      }
      const key = `${transport} ${pool}`
      const known = hopsOfPool.get(key) ?? find(pool, transport, undefined)
      hopsOfPool.set(key, known)
      return known
    })
  }
  /** On the way (in the order of the way), or done. */
  const state = new Map<number, 'on-the-way' | 'done'>()
  const reported = new Set<string>()
  const visit = (index: number): void => {
    state.set(index, 'on-the-way')
    for (const hop of hopsOf(document.listeners[index]!)) {
      const seen = state.get(hop.listener)
      if (seen === undefined) visit(hop.listener)
      else if (seen === 'on-the-way' && !reported.has(hop.field)) {
        reported.add(hop.field)
        const back = document.listeners[hop.listener]!.name
        const from = document.listeners[index]!.name
        const way = hop.listener === index ? `listener ${back} itself` : `listener ${back}, which leads back here through listener ${from}`
        out.add(hop.field, `this member is ${way}: traffic would go in a circle`)
      }
    }
    state.set(index, 'done')
  }
  for (const index of document.listeners.keys()) if (!state.has(index)) visit(index)
}

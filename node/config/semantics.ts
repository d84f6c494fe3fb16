/**
 * What a document must fulfil beyond its shape: names are unique and lead somewhere, no two listeners want the same port,
 * nothing is sent round in a circle. Works on a completed document.
 */
import { familyOf, kindOf } from './address.ts'
import type { ProblemList } from './complete.ts'
import { documentLimits, type ConfigurationDocument, type HealthCheck, type Listener } from './schema.ts'
import { nearest } from './suggest.ts'

/** Adds a problem for every rule that the document breaks. */
export function checkSemantics(document: ConfigurationDocument, out: ProblemList): void {
  uniqueNames(document, out)
  limits(document, out)
  checkVips(document, out)
  checkPools(document, out)
  checkListeners(document, out)
  checkPorts(document, out)
  checkLoops(document, out)
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
  // Every string that passed the schema is ASCII, so that characters are bytes.
  const bytes = JSON.stringify(document).length
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
    checkStatusRanges(pool.healthCheck, `/pools/${index}/healthCheck/expectStatus`, out)
  }
}

function checkStatusRanges(check: HealthCheck, field: string, out: ProblemList): void {
  for (const range of check.expectStatus.split(',')) {
    const [low, high = low] = range.split('-')
    if (Number(low) > Number(high)) out.add(field, `expected ranges from low to high, found ${JSON.stringify(range)}`)
  }
}

function checkListeners(document: ConfigurationDocument, out: ProblemList): void {
  const vips = new Map(document.vips.map((vip) => [vip.name, vip]))
  const vipByAddress = new Map(document.vips.map((vip) => [vip.address, vip.name]))
  const pools = new Set(document.pools.map((pool) => pool.name))
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
    if (listener.protocol === 'tcp') {
      if (listener.routes.length > 0) {
        out.add(`${field}/routes`, 'expected no routes on a tcp listener: routes look at requests, and only http has them')
      }
      if (listener.pool === undefined) out.add(`${field}/pool`, 'is missing; a tcp listener needs a pool')
    }
    for (const [position, route] of listener.routes.entries()) {
      refer(route.pool, `${field}/routes/${position}/pool`, 'pool', pools, out)
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

/**
 * Two listeners want the same port of the same address. `0.0.0.0` takes a port of every IPv4 address, and `::` of every
 * address of both families (a dual-stack socket).
 */
function checkPorts(document: ConfigurationDocument, out: ProblemList): void {
  const vipAddresses = vipAddressesOf(document)
  /** By port: every address that a listener before has, with the name of the listener. */
  const taken = new Map<number, Map<string, string>>()
  for (const [index, listener] of document.listeners.entries()) {
    const address = addressOf(listener, vipAddresses)
    if (address === undefined) continue
    const onPort = taken.get(listener.port) ?? new Map<string, string>()
    taken.set(listener.port, onPort)
    const other = overlapping(address, onPort)
    if (other !== undefined) {
      out.add(`/listeners/${index}/port`, `port ${listener.port} of ${address} is taken already, by listener ${other}`)
    }
    if (!onPort.has(address)) onPort.set(address, listener.name)
    const marks = familyOf(address) === 4 ? ['any', 'any4'] : ['any']
    for (const mark of marks) if (!onPort.has(mark)) onPort.set(mark, listener.name)
  }
}

function overlapping(address: string, onPort: ReadonlyMap<string, string>): string | undefined {
  if (address === '::') return onPort.get('any')
  if (address === '0.0.0.0') return onPort.get('any4') ?? onPort.get('::')
  return onPort.get(address) ?? (familyOf(address) === 4 ? onPort.get('0.0.0.0') : undefined) ?? onPort.get('::')
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
    if (address !== undefined && !listening.has(`${address} ${listener.port}`)) listening.set(`${address} ${listener.port}`, index)
  }
  const target = (address: string, port: number): number | undefined => {
    const exact = listening.get(`${address} ${port}`)
    if (exact !== undefined || !(local.has(address) || kindOf(address) === 'loopback')) return exact
    const wildcard = familyOf(address) === 4 ? listening.get(`0.0.0.0 ${port}`) : undefined
    return wildcard ?? listening.get(`:: ${port}`)
  }
  const hopsOfPool = new Map<string, Hop[]>()
  for (const [index, pool] of document.pools.entries()) {
    const hops = new Map<number, Hop>()
    for (const [position, member] of pool.members.entries()) {
      const listener = target(member.address, member.port)
      if (listener !== undefined && !hops.has(listener)) {
        hops.set(listener, { listener, field: `/pools/${index}/members/${position}/address` })
      }
    }
    if (!hopsOfPool.has(pool.name)) hopsOfPool.set(pool.name, [...hops.values()])
  }
  const hopsOf = (listener: Listener): Hop[] => {
    const pools = new Set(listener.routes.map((route) => route.pool))
    if (listener.pool !== undefined) pools.add(listener.pool)
    return [...pools].flatMap((pool) => hopsOfPool.get(pool) ?? [])
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

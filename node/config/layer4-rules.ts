/** What listeners must fulfil beyond their shape as far as ports, UDP and the PROXY protocol are concerned. Pure. */
import { familyOf, readAddress } from './address.ts'
import type { ProblemList } from './complete.ts'
import { portLimits } from './layer4-schema.ts'
import type { Listener, Pool } from './schema.ts'

/** The last port of a listener. */
export function lastPortOf(listener: Listener): number {
  return listener.portEnd ?? listener.port
}

/** UDP and TCP have ports of their own. */
export function transportOf(listener: Listener): 'udp' | 'tcp' {
  return listener.protocol === 'udp' ? 'udp' : 'tcp'
}

/** Fields that have no meaning for the listener's protocol are refused, so that nobody relies on them. */
export function checkLayer4(listener: Listener, pool: Pool | undefined, field: string, out: ProblemList): void {
  const udp = listener.protocol === 'udp'
  const raw = udp || listener.protocol === 'tcp' || listener.protocol === 'tls-passthrough'
  if (listener.portEnd !== undefined) {
    if (listener.portEnd < listener.port) out.add(`${field}/portEnd`, `expected at least \`port\` (${listener.port}), found ${listener.portEnd}`)
    const ports = listener.portEnd - listener.port + 1
    if (ports > portLimits.range) out.add(`${field}/portEnd`, `expected a range of at most ${portLimits.range} ports, found ${ports}`)
  }
  if (!udp && listener.udpTimeout !== undefined) out.add(`${field}/udpTimeout`, `only a udp listener has sessions; this one is ${listener.protocol}`)
  if (!udp && listener.udpResponses !== undefined) out.add(`${field}/udpResponses`, `only a udp listener has sessions; this one is ${listener.protocol}`)
  if (!raw && listener.memberPort === 'same') {
    out.add(`${field}/memberPort`, `expected "member" on a listener of protocol ${listener.protocol}: requests of many clients share connections to members`)
  }
  if (udp && listener.proxyProtocol === 'accept') out.add(`${field}/proxyProtocol`, 'expected "off" on a udp listener: a PROXY header begins a connection, and there is none')
  if (listener.trustedSources !== undefined && listener.proxyProtocol !== 'accept') {
    out.add(`${field}/trustedSources`, 'has no effect without `proxyProtocol: accept`')
  }
  for (const [index, prefix] of (listener.trustedSources ?? []).entries()) checkPrefix(prefix, `${field}/trustedSources/${index}`, out)
  if (udp && pool?.sendProxyProtocol !== undefined && pool.sendProxyProtocol !== 'off') {
    out.add(`${field}/pool`, `pool ${pool.name} sends a PROXY header, which datagrams do not have`)
  }
}

/** Adds a problem for text that has the form of an address or prefix and is none. */
export function checkPrefix(prefix: string, field: string, out: ProblemList): void {
  const slash = prefix.indexOf('/')
  const address = readAddress(slash < 0 ? prefix : prefix.slice(0, slash))
  if (!address.ok) return void out.add(field, `expected ${address.expected}, found ${JSON.stringify(prefix)}`)
  const longest = address.family === 4 ? 32 : 128
  if (slash >= 0 && Number(prefix.slice(slash + 1)) > longest) {
    out.add(field, `expected a prefix length of at most ${longest} for an IPv${address.family} address, found ${prefix.slice(slash + 1)}`)
  }
}

/**
 * Two listeners want the same port of the same address. `0.0.0.0` takes a port of every IPv4 address, and `::` of every
 * address of both families (a dual-stack socket).
 * @param addresses of the listeners, in their order; undefined where the document does not say
 */
export function checkPorts(listeners: readonly Listener[], addresses: readonly (string | undefined)[], out: ProblemList): void {
  /** By transport and port: every address that a listener before has, with the name of the listener. */
  const taken = new Map<string, Map<string, string>>()
  let inRanges = 0
  for (const [index, listener] of listeners.entries()) {
    const address = addresses[index]
    const first = listener.port
    // A range that is refused already is not walked.
    const last = Math.min(lastPortOf(listener), first + portLimits.range - 1)
    if (last > first) inRanges += last - first + 1
    if (address === undefined) continue
    let reported = false
    for (let port = first; port <= last; port++) {
      const place = `${transportOf(listener)} ${port}`
      const onPort = taken.get(place) ?? new Map<string, string>()
      taken.set(place, onPort)
      const other = overlapping(address, onPort)
      if (other !== undefined && !reported) {
        reported = true
        out.add(`/listeners/${index}/port`, `port ${port} of ${address} is taken already, by listener ${other}`)
      }
      if (!onPort.has(address)) onPort.set(address, listener.name)
      const marks = familyOf(address) === 4 ? ['any', 'any4'] : ['any']
      for (const mark of marks) if (!onPort.has(mark)) onPort.set(mark, listener.name)
    }
  }
  if (inRanges > portLimits.ranges) out.add('/listeners', `expected at most ${portLimits.ranges} ports in all port ranges together, found ${inRanges}`)
}

function overlapping(address: string, onPort: ReadonlyMap<string, string>): string | undefined {
  if (address === '::') return onPort.get('any')
  if (address === '0.0.0.0') return onPort.get('any4') ?? onPort.get('::')
  return onPort.get(address) ?? (familyOf(address) === 4 ? onPort.get('0.0.0.0') : undefined) ?? onPort.get('::')
}

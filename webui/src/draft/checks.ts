/**
 * Simple checks of a draft, made while one types. Pure. The node validates everything again; these are here to answer at
 * once and in the operator's language. `field` is a JSON pointer, as in the node's own problems.
 */
import type { ConfigurationDocument } from '../../../node/api/types.ts'

export type CheckCode =
  | 'required' | 'name' | 'duplicateName' | 'address' | 'addressAndPortTaken' | 'duration' | 'integer'
  | 'path' | 'host' | 'status' | 'unknownPool' | 'unknownVip' | 'noPlace' | 'twoPlaces' | 'tcpNeedsPool' | 'duplicateAddress' | 'fieldOrCookie'
export interface Finding {
  readonly field: string
  readonly code: CheckCode
  readonly value?: string
  readonly min?: number
  readonly max?: number
}

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const durationPattern = /^(0|[1-9][0-9]{0,8})(ms|s|m|h)$/
const pathPattern = /^\/[!-~]*$/
const hostPattern = /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/
const fieldOrCookiePattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/
const statusPattern = /^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$/

export const isName = (text: string): boolean => namePattern.test(text)
export const isDuration = (text: unknown): boolean => typeof text === 'string' && durationPattern.test(text)

/** IPv4 dotted quad without leading zeroes, or IPv6 without zone. */
export function isAddress(text: string): boolean {
  return isIpv4(text) || isIpv6(text)
}
function isIpv4(text: string): boolean {
  const parts = text.split('.')
  return parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) <= 255)
}
function isIpv6(text: string): boolean {
  if (!text.includes(':')) return false
  const halves = text.split('::')
  if (halves.length > 2) return false
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')))
  const last = groups.at(-1)
  let count = groups.length
  if (last !== undefined && last.includes('.')) {
    if (!isIpv4(last)) return false
    groups.pop()
    count++
  }
  return groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group)) && (halves.length === 2 ? count < 8 : count === 8)
}

export function check(document: ConfigurationDocument): Finding[] {
  const found: Finding[] = []
  const add = (field: string, code: CheckCode, rest: Omit<Finding, 'field' | 'code'> = {}) => found.push({ field, code, ...rest })
  const integer = (field: string, value: unknown, min: number, max: number) => {
    if (typeof value !== 'number') add(field, 'required')
    else if (!Number.isInteger(value) || value < min || value > max) add(field, 'integer', { min, max })
  }
  const duration = (field: string, value: unknown) => {
    if (!isDuration(value)) add(field, 'duration')
  }
  const names = (field: string, list: readonly { readonly name: string }[]) => {
    const seen = new Set<string>()
    list.forEach(({ name }, at) => {
      if (!isName(name)) add(`${field}/${at}/name`, name === '' ? 'required' : 'name')
      else if (seen.has(name)) add(`${field}/${at}/name`, 'duplicateName', { value: name })
      seen.add(name)
    })
  }
  const address = (field: string, value: string) => {
    if (value === '') add(field, 'required')
    else if (!isAddress(value)) add(field, 'address')
  }

  const pools = new Set(document.pools.map((pool) => pool.name))
  const vips = new Set(document.vips.map((vip) => vip.name))

  names('/vips', document.vips)
  const vipAddresses = new Set<string>()
  document.vips.forEach((vip, v) => {
    address(`/vips/${v}/address`, vip.address)
    if (vip.address !== '' && vipAddresses.has(vip.address)) add(`/vips/${v}/address`, 'duplicateAddress')
    vipAddresses.add(vip.address)
    const longest = vip.address.includes(':') ? 128 : 32
    if (vip.prefixLength !== undefined && !(vip.prefixLength >= 8 && vip.prefixLength <= longest)) {
      add(`/vips/${v}/prefixLength`, 'integer', { min: 8, max: longest })
    }
  })

  names('/pools', document.pools)
  document.pools.forEach((pool, p) => {
    const at = `/pools/${p}`
    names(`${at}/members`, pool.members)
    const places = new Set<string>()
    pool.members.forEach((member, m) => {
      address(`${at}/members/${m}/address`, member.address)
      integer(`${at}/members/${m}/port`, member.port, 1, 65535)
      integer(`${at}/members/${m}/weight`, member.weight, 0, 256)
      if (member.maxConnections !== undefined) integer(`${at}/members/${m}/maxConnections`, member.maxConnections, 0, 1000000)
      if (member.priority !== undefined) integer(`${at}/members/${m}/priority`, member.priority, 0, 255)
      const place = `${member.address} ${member.port}`
      if (member.address !== '' && places.has(place)) add(`${at}/members/${m}/address`, 'addressAndPortTaken')
      places.add(place)
    })
    if (pool.hash !== undefined) {
      const { on, name, balanceFactor } = pool.hash
      if ((on === 'header' || on === 'cookie') && !fieldOrCookiePattern.test(name ?? '')) add(`${at}/hash/name`, (name ?? '') === '' ? 'required' : 'fieldOrCookie')
      if (balanceFactor !== 0) integer(`${at}/hash/balanceFactor`, balanceFactor, 101, 10000)
    }
    if (pool.persistence !== undefined) {
      const { type, cookieName, header, ttl, maxEntries, ipv6PrefixLength, cookie } = pool.persistence
      const named = (field: string, name: string | undefined) => {
        if (!fieldOrCookiePattern.test(name ?? '')) add(`${at}/persistence/${field}`, (name ?? '') === '' ? 'required' : 'fieldOrCookie')
      }
      if (type === 'app-cookie' || cookieName !== undefined) named('cookieName', cookieName)
      if (type === 'header') named('header', header)
      duration(`${at}/persistence/ttl`, ttl)
      integer(`${at}/persistence/maxEntries`, maxEntries, 1, 1_000_000)
      integer(`${at}/persistence/ipv6PrefixLength`, ipv6PrefixLength, 32, 128)
      duration(`${at}/persistence/cookie/maxAge`, cookie.maxAge)
      if (!pathPattern.test(cookie.path)) add(`${at}/persistence/cookie/path`, 'path')
    }
    if (pool.minimumMembers !== undefined) integer(`${at}/minimumMembers`, pool.minimumMembers, 1, 4096)
    const probe = pool.healthCheck
    if (probe.type === 'http' || probe.type === 'https') {
      if (!pathPattern.test(probe.path)) add(`${at}/healthCheck/path`, 'path')
      if (!statusPattern.test(probe.expectStatus)) add(`${at}/healthCheck/expectStatus`, 'status')
    }
    if (probe.port !== undefined) integer(`${at}/healthCheck/port`, probe.port, 1, 65535)
    if (probe.address !== undefined) address(`${at}/healthCheck/address`, probe.address)
    if (probe.type === 'script' && !isName(probe.script ?? '')) add(`${at}/healthCheck/script`, probe.script === undefined ? 'required' : 'name')
    for (const [field, value] of [['healthCheck/downInterval', probe.downInterval], ['healthCheck/maxLatency', probe.maxLatency], ['slowStart', pool.slowStart], ['drainTimeout', pool.drainTimeout]] as const) {
      if (value !== undefined) duration(`${at}/${field}`, value)
    }
    if (pool.panicThreshold !== undefined) integer(`${at}/panicThreshold`, pool.panicThreshold, 0, 100)
    if (pool.passiveHealth !== undefined) {
      const { failures, statuses, ejectionTime, maxEjectionTime, maxEjected, errorRate, window, minimumRequests } = pool.passiveHealth
      integer(`${at}/passiveHealth/failures`, failures, 1, 1000)
      if (!statusPattern.test(statuses)) add(`${at}/passiveHealth/statuses`, 'status')
      duration(`${at}/passiveHealth/ejectionTime`, ejectionTime)
      duration(`${at}/passiveHealth/maxEjectionTime`, maxEjectionTime)
      integer(`${at}/passiveHealth/maxEjected`, maxEjected, 1, 100)
      if (errorRate !== undefined) integer(`${at}/passiveHealth/errorRate`, errorRate, 1, 100)
      duration(`${at}/passiveHealth/window`, window)
      integer(`${at}/passiveHealth/minimumRequests`, minimumRequests, 1, 100_000)
    }
    if (pool.circuitBreaker !== undefined) {
      integer(`${at}/circuitBreaker/failures`, pool.circuitBreaker.failures, 1, 100_000)
      duration(`${at}/circuitBreaker/openTime`, pool.circuitBreaker.openTime)
      integer(`${at}/circuitBreaker/trials`, pool.circuitBreaker.trials, 1, 1000)
    }
    if (pool.maintenance !== undefined) {
      integer(`${at}/maintenance/status`, pool.maintenance.status, 200, 599)
      integer(`${at}/maintenance/retryAfter`, pool.maintenance.retryAfter, 0, 86_400)
    }
    duration(`${at}/healthCheck/interval`, probe.interval)
    duration(`${at}/healthCheck/timeout`, probe.timeout)
    integer(`${at}/healthCheck/rise`, probe.rise, 1, 100)
    integer(`${at}/healthCheck/fall`, probe.fall, 1, 100)
    duration(`${at}/connectTimeout`, pool.connectTimeout)
    duration(`${at}/serverIdleTimeout`, pool.serverIdleTimeout)
    duration(`${at}/keepAlive`, pool.keepAlive)
    integer(`${at}/retries`, pool.retries, 0, 10)
    integer(`${at}/maxIdleConnections`, pool.maxIdleConnections, 0, 10000)
  })

  names('/listeners', document.listeners)
  const bound = new Set<string>()
  document.listeners.forEach((listener, l) => {
    const { rateLimit } = listener
    if (rateLimit !== undefined && !(rateLimit.requests >= 1 && rateLimit.requests <= 1_000_000)) {
      add(`/listeners/${l}/rateLimit/requests`, 'integer', { min: 1, max: 1_000_000 })
    }
    const at = `/listeners/${l}`
    if (listener.vip !== undefined && listener.address !== undefined) add(`${at}/vip`, 'twoPlaces')
    else if (listener.vip !== undefined) {
      if (listener.vip === '') add(`${at}/vip`, 'required')
      else if (!vips.has(listener.vip)) add(`${at}/vip`, 'unknownVip', { value: listener.vip })
    } else if (listener.address !== undefined) address(`${at}/address`, listener.address)
    else add(`${at}/vip`, 'noPlace')
    integer(`${at}/port`, listener.port, 1, 65535)
    if (listener.portEnd !== undefined) integer(`${at}/portEnd`, listener.portEnd, listener.port, Math.min(65535, listener.port + 999))
    for (const field of ['udpTimeout', 'drainTimeout'] as const) if (listener[field] !== undefined) duration(`${at}/${field}`, listener[field])
    if (listener.udpResponses !== undefined) integer(`${at}/udpResponses`, listener.udpResponses, 0, 1000)
    // UDP and TCP have ports of their own.
    const place = `${listener.protocol === 'udp' ? 'udp' : 'tcp'} ${listener.vip ?? ''} ${listener.address ?? ''} ${listener.port}`
    if (bound.has(place)) add(`${at}/port`, 'addressAndPortTaken')
    bound.add(place)
    if (listener.pool !== undefined && !pools.has(listener.pool)) add(`${at}/pool`, 'unknownPool', { value: listener.pool })
    if ((listener.protocol === 'tcp' || listener.protocol === 'udp') && listener.pool === undefined) add(`${at}/pool`, 'tcpNeedsPool')
    names(`${at}/routes`, listener.routes)
    listener.routes.forEach((route, r) => {
      const here = `${at}/routes/${r}`
      route.hosts.forEach((host, h) => hostPattern.test(host) || add(`${here}/hosts/${h}`, 'host', { value: host }))
      route.paths.forEach((path, p) => pathPattern.test(path) || add(`${here}/paths/${p}`, 'path', { value: path }))
      if (route.pool === '') add(`${here}/pool`, 'required')
      else if (route.pool !== undefined && !pools.has(route.pool)) add(`${here}/pool`, 'unknownPool', { value: route.pool })
      route.pools?.forEach(({ pool, weight }, p) => {
        if (!pools.has(pool)) add(`${here}/pools/${p}/pool`, 'unknownPool', { value: pool })
        integer(`${here}/pools/${p}/weight`, weight, 0, 1000)
      })
      if (route.mirror !== undefined && !pools.has(route.mirror.pool)) add(`${here}/mirror/pool`, 'unknownPool', { value: route.mirror.pool })
      for (const field of ['request', 'serverIdle', 'tunnel'] as const) {
        const value = route.timeouts?.[field]
        if (value !== undefined) duration(`${here}/timeouts/${field}`, value)
      }
    })
    if (listener.tls !== undefined) {
      const { certificates, clientAuth, handshakeTimeout, maxHandshakes } = listener.tls
      if (certificates.length === 0) add(`${at}/tls/certificates`, 'required')
      if (clientAuth.mode !== 'none' && clientAuth.authority === undefined) add(`${at}/tls/clientAuth/authority`, 'required')
      duration(`${at}/tls/handshakeTimeout`, handshakeTimeout)
      integer(`${at}/tls/maxHandshakes`, maxHandshakes, 1, 100_000)
    }
    duration(`${at}/requestHeadTimeout`, listener.requestHeadTimeout)
    duration(`${at}/clientKeepAlive`, listener.clientKeepAlive)
    duration(`${at}/clientIdleTimeout`, listener.clientIdleTimeout)
    duration(`${at}/tunnelTimeout`, listener.tunnelTimeout)
    integer(`${at}/maxConnections`, listener.maxConnections, 1, 1_000_000)
    integer(`${at}/maxHeadBytes`, listener.maxHeadBytes, 1024, 65536)
    integer(`${at}/maxHeaders`, listener.maxHeaders, 8, 1000)
  })
  if (document.failover !== undefined) duration('/failover/preemptDelay', document.failover.preemptDelay)
  return found
}

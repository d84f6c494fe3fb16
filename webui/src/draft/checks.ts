/**
 * Simple checks of a draft, made while one types. Pure. The node validates everything again; these are here to answer at
 * once and in the operator's language. `field` is a JSON pointer, as in the node's own problems.
 */
import type { ConfigurationDocument } from '../../../node/api/types.ts'

export type CheckCode =
  | 'required' | 'name' | 'duplicateName' | 'address' | 'addressAndPortTaken' | 'duration' | 'integer'
  | 'path' | 'host' | 'status' | 'unknownPool' | 'unknownVip' | 'noPlace' | 'twoPlaces' | 'tcpNeedsPool' | 'duplicateAddress'
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
      const place = `${member.address} ${member.port}`
      if (member.address !== '' && places.has(place)) add(`${at}/members/${m}/address`, 'addressAndPortTaken')
      places.add(place)
    })
    const probe = pool.healthCheck
    if (probe.type === 'http') {
      if (!pathPattern.test(probe.path)) add(`${at}/healthCheck/path`, 'path')
      if (!statusPattern.test(probe.expectStatus)) add(`${at}/healthCheck/expectStatus`, 'status')
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
    const at = `/listeners/${l}`
    if (listener.vip !== undefined && listener.address !== undefined) add(`${at}/vip`, 'twoPlaces')
    else if (listener.vip !== undefined) {
      if (listener.vip === '') add(`${at}/vip`, 'required')
      else if (!vips.has(listener.vip)) add(`${at}/vip`, 'unknownVip', { value: listener.vip })
    } else if (listener.address !== undefined) address(`${at}/address`, listener.address)
    else add(`${at}/vip`, 'noPlace')
    integer(`${at}/port`, listener.port, 1, 65535)
    const place = `${listener.vip ?? ''} ${listener.address ?? ''} ${listener.port}`
    if (bound.has(place)) add(`${at}/port`, 'addressAndPortTaken')
    bound.add(place)
    if (listener.pool !== undefined && !pools.has(listener.pool)) add(`${at}/pool`, 'unknownPool', { value: listener.pool })
    if (listener.protocol === 'tcp' && listener.pool === undefined) add(`${at}/pool`, 'tcpNeedsPool')
    names(`${at}/routes`, listener.routes)
    listener.routes.forEach((route, r) => {
      const here = `${at}/routes/${r}`
      route.hosts.forEach((host, h) => hostPattern.test(host) || add(`${here}/hosts/${h}`, 'host', { value: host }))
      route.paths.forEach((path, p) => pathPattern.test(path) || add(`${here}/paths/${p}`, 'path', { value: path }))
      if (route.pool === '') add(`${here}/pool`, 'required')
      else if (!pools.has(route.pool)) add(`${here}/pool`, 'unknownPool', { value: route.pool })
    })
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

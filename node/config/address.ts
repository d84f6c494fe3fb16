/**
 * IP addresses of the document: one spelling for each address (RFC 5952 for IPv6), so that equal addresses are equal
 * strings everywhere, and no spelling that programs read differently (`010.0.0.1`, `10.1`).
 */
import ipaddr from 'ipaddr.js'

export type AddressResult =
  | { readonly ok: true; readonly address: string; readonly family: 4 | 6 }
  /** `expected` completes “expected …”. */
  | { readonly ok: false; readonly expected: string }

const octet = '(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])'
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`)
const noAddress: AddressResult = { ok: false, expected: 'an IPv4 or IPv6 address' }

/** The canonical spelling of an address, or what is wrong with it. */
export function readAddress(text: string): AddressResult {
  if (text.length > 45) return noAddress
  if (ipv4.test(text)) return { ok: true, address: text, family: 4 }
  if (/^[0-9.]+$/.test(text)) return { ok: false, expected: 'an IPv4 address as four numbers from 0 to 255 without leading zeros' }
  if (text.includes('%')) return { ok: false, expected: 'an address without zone (the part from "%")' }
  if (!/^[0-9A-Fa-f:.]+$/.test(text) || !text.includes(':')) return noAddress
  const dotted = text.includes('.') ? text.slice(text.lastIndexOf(':') + 1) : ''
  if (dotted !== '' && !ipv4.test(dotted)) return noAddress
  if (!ipaddr.IPv6.isValid(text)) return noAddress
  const parsed = ipaddr.IPv6.parse(text)
  if (parsed.isIPv4MappedAddress()) {
    return { ok: false, expected: `the IPv4 address ${parsed.toIPv4Address().toString()} itself, not its IPv6-mapped form` }
  }
  return { ok: true, address: parsed.toRFC5952String(), family: 6 }
}

/** Of a canonical address. */
export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

export type AddressKind = 'unicast' | 'unspecified' | 'loopback' | 'link-local' | 'multicast' | 'broadcast'

/** What a canonical address is good for. Only IPv6 link-local counts as `link-local`: it means nothing without a zone. */
export function kindOf(address: string): AddressKind {
  const range = ipaddr.parse(address).range()
  if (range === 'unspecified' || range === 'loopback' || range === 'multicast' || range === 'broadcast') return range
  return range === 'linkLocal' && familyOf(address) === 6 ? 'link-local' : 'unicast'
}

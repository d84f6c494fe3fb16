/** Networks such as `10.0.0.0/8`: how they are written, and whether an address is in one. */
import ipaddr from 'ipaddr.js'
import { readAddress } from './address.ts'

export interface Network {
  /** 4 or 16 bytes; those behind the prefix are zero. */
  readonly bytes: readonly number[]
  /** Length of the prefix, bits. */
  readonly bits: number
}
export type NetworkResult = { readonly ok: true; readonly network: Network } | { readonly ok: false; readonly expected: string }

/** The bytes of an address as text, 4 or 16; undefined when it is none. */
export function addressBytes(text: string): number[] | undefined {
  return ipaddr.isValid(text) ? ipaddr.parse(text).toByteArray() : undefined
}

/** Reads a network, or an address as the network of that address alone. A network with bits behind its prefix is refused. */
export function readNetwork(text: string): NetworkResult {
  const slash = text.indexOf('/')
  const address = readAddress(slash < 0 ? text : text.slice(0, slash))
  if (!address.ok) return { ok: false, expected: slash < 0 ? address.expected : `${address.expected} before "/"` }
  const bytes = addressBytes(address.address)!
  const all = bytes.length * 8
  const bits = slash < 0 ? all : Number(text.slice(slash + 1))
  if (!(bits >= 0 && bits <= all)) return { ok: false, expected: `a prefix length from 0 to ${all}` }
  const masked = bytes.map((byte, i) => byte & maskAt(i, bits))
  if (masked.some((byte, i) => byte !== bytes[i])) {
    const name = ipaddr.fromByteArray(masked).toString()
    return { ok: false, expected: `a network whose address ends with its prefix (${name}/${bits})` }
  }
  return { ok: true, network: { bytes: masked, bits } }
}

function maskAt(index: number, bits: number): number {
  const here = Math.min(8, Math.max(0, bits - 8 * index))
  return (0xff << (8 - here)) & 0xff
}

/** Whether an address, as bytes, is in the network. */
export function contains(network: Network, address: readonly number[]): boolean {
  const { bytes, bits } = network
  if (bytes.length !== address.length) return false
  for (let i = 0; 8 * i < bits; i++) if ((address[i]! & maskAt(i, bits)) !== bytes[i]) return false
  return true
}

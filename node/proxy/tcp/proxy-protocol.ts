/**
 * The PROXY protocol, versions 1 (text) and 2 (binary): a header in front of a connection's bytes with the addresses that it had
 * before a proxy. Reads in place and strictly, writes both. Pure. Source: haproxy.org, doc/proxy-protocol.txt (2020/03/05).
 */
import ipaddr from 'ipaddr.js'
import { parseAddress } from '../filters/address.ts'
import type { Endpoints } from '../transport/transport.ts'

/** The longest line of version 1, with CRLF (§2.1). */
const maxLineBytes = 107
/** The longest header that is read: what every TCP segment has room for (§2, the minimum MSS). A longer one of version 2 is refused. */
export const maxProxyHeaderBytes = 536

const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a)
const lineStart = Uint8Array.of(0x50, 0x52, 0x4f, 0x58, 0x59, 0x20)
const fixedBytes = 16
/** Bytes of addresses by family of version 2: TCP over IPv4, over IPv6, a UNIX stream. */
const blockBytes: Readonly<Record<number, number>> = { 0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216 }
const crc32cType = 0x03

/**
 * Looks for a whole header at `start`.
 * @returns its length; 0: it is not all there yet, but may become one; -1: it never will
 */
export function scanProxyHeader(buffer: Buffer, start: number, end: number): number {
  if (end === start) return 0
  return buffer[start] === lineStart[0] ? scanLine(buffer, start, end) : scanBinary(buffer, start, end)
}

/** The bytes that are there begin like this. */
function begins(buffer: Buffer, start: number, end: number, expected: Uint8Array): boolean {
  const length = Math.min(expected.length, end - start)
  for (let i = 0; i < length; i++) if (buffer[start + i] !== expected[i]) return false
  return true
}

function scanLine(buffer: Buffer, start: number, end: number): number {
  if (!begins(buffer, start, end, lineStart)) return -1
  const limit = Math.min(end, start + maxLineBytes)
  for (let at = start + lineStart.length; at < limit; at++) {
    const byte = buffer[at]!
    if (byte === 0x0d) {
      if (at + 1 === start + maxLineBytes) return -1
      if (at + 1 === end) return 0
      const length = at + 2 - start
      return buffer[at + 1] === 0x0a && readLine(buffer, start, length) !== undefined ? length : -1
    }
    if (byte < 0x20 || byte > 0x7e) return -1
  }
  return end - start >= maxLineBytes ? -1 : 0
}

function scanBinary(buffer: Buffer, start: number, end: number): number {
  if (!begins(buffer, start, end, signature)) return -1
  const there = end - start
  if (there > 12 && buffer[start + 12] !== 0x20 && buffer[start + 12] !== 0x21) return -1
  if (there < fixedBytes) return 0
  const length = fixedBytes + buffer.readUInt16BE(start + 14)
  if (length > maxProxyHeaderBytes) return -1
  const local = buffer[start + 12] === 0x20
  // With LOCAL the family and the addresses are skipped unread (§2.2).
  const block = local ? 0 : blockBytes[buffer[start + 13]!]
  if (block === undefined || length < fixedBytes + block) return -1
  if (there < length) return 0
  return local || areExtensions(buffer, start, start + fixedBytes + block, start + length) ? length : -1
}

/** What follows the addresses is type-length-value records up to the end, and a checksum among them is right (§2.2.4). */
function areExtensions(buffer: Buffer, start: number, from: number, end: number): boolean {
  // §2.2: what follows an unspecified family is not to be looked at.
  if (buffer[start + 13] === 0x00) return true
  let at = from
  while (at < end) {
    if (end - at < 3) return false
    const length = buffer.readUInt16BE(at + 1)
    if (at + 3 + length > end) return false
    if (buffer[at] === crc32cType && (length !== 4 || buffer.readUInt32BE(at + 3) !== crc32c(buffer, start, end, at + 3))) return false
    at += 3 + length
  }
  return true
}

/** CRC-32C (RFC 3720 appendix B.4) of `[start, end)` with four bytes at `hole` taken as zero. */
function crc32c(buffer: Buffer, start: number, end: number, hole: number): number {
  let crc = 0xffffffff
  for (let at = start; at < end; at++) {
    crc ^= at >= hole && at < hole + 4 ? 0 : buffer[at]!
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  }
  return (crc ^ 0xffffffff) >>> 0
}

/**
 * The addresses of a header that `scanProxyHeader` found whole.
 * @returns undefined: it names none that can be used (LOCAL, UNKNOWN, UNIX): those of the connection itself hold
 */
export function readProxyHeader(buffer: Buffer, start: number, length: number): Endpoints | undefined {
  if (buffer[start] === lineStart[0]) return readLine(buffer, start, length) ?? undefined
  if (buffer[start + 12] === 0x20) return undefined
  const at = start + fixedBytes
  switch (buffer[start + 13]) {
    case 0x11:
      return {
        source: text(buffer, at, 4), destination: text(buffer, at + 4, 4),
        sourcePort: buffer.readUInt16BE(at + 8), destinationPort: buffer.readUInt16BE(at + 10),
      }
    case 0x21:
      return {
        source: text(buffer, at, 16), destination: text(buffer, at + 16, 16),
        sourcePort: buffer.readUInt16BE(at + 32), destinationPort: buffer.readUInt16BE(at + 34),
      }
    default:
      return undefined
  }
}

function text(buffer: Buffer, start: number, length: number): string {
  return spelling(ipaddr.fromByteArray([...buffer.subarray(start, start + length)]))
}

function spelling(address: ipaddr.IPv4 | ipaddr.IPv6): string {
  if (address instanceof ipaddr.IPv4) return address.toString()
  return address.isIPv4MappedAddress() ? address.toIPv4Address().toString() : address.toRFC5952String()
}

const octet = '(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])'
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`)
const port = /^(?:0|[1-9][0-9]{0,4})$/

/** A line of version 1. @returns null: it names no addresses; undefined: it is none */
function readLine(buffer: Buffer, start: number, length: number): Endpoints | null | undefined {
  const line = buffer.toString('latin1', start + lineStart.length, start + length - 2)
  // §2.1: what follows UNKNOWN is to be ignored.
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN ')) return null
  const [family, source, destination, sourcePort, destinationPort, more] = line.split(' ')
  if (family !== 'TCP4' && family !== 'TCP6') return undefined
  if (source === undefined || destination === undefined || sourcePort === undefined || destinationPort === undefined || more !== undefined) return undefined
  const read = family === 'TCP4' ? readIpv4 : readIpv6
  const [from, to] = [read(source), read(destination)]
  if (from === undefined || to === undefined || !isPort(sourcePort) || !isPort(destinationPort)) return undefined
  return { source: from, destination: to, sourcePort: Number(sourcePort), destinationPort: Number(destinationPort) }
}

function readIpv4(address: string): string | undefined {
  return ipv4.test(address) ? address : undefined
}
function readIpv6(address: string): string | undefined {
  if (!address.includes(':')) return undefined
  // Not by ipaddr.js, which takes `::1.2.3.4` for IPv4-mapped.
  const words = new Uint32Array(4)
  const family = parseAddress(address, words)
  if (family === 0) return undefined
  const bytes = [...words.subarray(0, family === 4 ? 1 : 4)].flatMap((word) => [word >>> 24, (word >>> 16) & 0xff, (word >>> 8) & 0xff, word & 0xff])
  return spelling(ipaddr.fromByteArray(bytes))
}
function isPort(value: string): boolean {
  return port.test(value) && Number(value) <= 65535
}

/**
 * A header to be sent in front of everything else.
 * @param endpoints undefined: the connection is Haechi's own, such as a probe (UNKNOWN, LOCAL)
 */
export function proxyHeader(version: 1 | 2, endpoints: Endpoints | undefined): Buffer {
  return version === 1 ? line(endpoints) : binary(endpoints)
}

function line(endpoints: Endpoints | undefined): Buffer {
  if (endpoints === undefined) return Buffer.from('PROXY UNKNOWN\r\n', 'latin1')
  const { family, source, destination } = sameFamily(endpoints)
  return Buffer.from(`PROXY TCP${family} ${source.toString()} ${destination.toString()} ${endpoints.sourcePort} ${endpoints.destinationPort}\r\n`, 'latin1')
}

function binary(endpoints: Endpoints | undefined): Buffer {
  if (endpoints === undefined) return Buffer.concat([signature, Uint8Array.of(0x20, 0x00, 0x00, 0x00)])
  const { family, source, destination } = sameFamily(endpoints)
  const bytes = family === 4 ? 4 : 16
  const header = Buffer.alloc(fixedBytes + 2 * bytes + 4)
  header.set(signature)
  header[12] = 0x21
  header[13] = family === 4 ? 0x11 : 0x21
  header.writeUInt16BE(2 * bytes + 4, 14)
  header.set(source.toByteArray(), fixedBytes)
  header.set(destination.toByteArray(), fixedBytes + bytes)
  header.writeUInt16BE(endpoints.sourcePort, fixedBytes + 2 * bytes)
  header.writeUInt16BE(endpoints.destinationPort, fixedBytes + 2 * bytes + 2)
  return header
}

interface SameFamily {
  readonly family: 4 | 6
  readonly source: ipaddr.IPv4 | ipaddr.IPv6
  readonly destination: ipaddr.IPv4 | ipaddr.IPv6
}

/** A header has one family: if only one end is IPv4 (a proxy in front that translates), it is written as IPv4-mapped. */
function sameFamily(endpoints: Endpoints): SameFamily {
  // A zone means nothing to another machine.
  const source = ipaddr.parse(withoutZone(endpoints.source))
  const destination = ipaddr.parse(withoutZone(endpoints.destination))
  if (source instanceof ipaddr.IPv4 && destination instanceof ipaddr.IPv4) return { family: 4, source, destination }
  return { family: 6, source: asIpv6(source), destination: asIpv6(destination) }
}
function asIpv6(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv6 {
  return address instanceof ipaddr.IPv4 ? address.toIPv4MappedAddress() : address
}
function withoutZone(address: string): string {
  const at = address.indexOf('%')
  return at < 0 ? address : address.slice(0, at)
}

/**
 * Simple readers of PROXY headers and of ClientHello messages: what the parsers in place are compared with. Written from
 * proxy-protocol.txt, RFC 8446, RFC 5246 and RFC 6066, not from the parsers.
 */
import { isIPv4, isIPv6 } from 'node:net'

/** `header`: bytes that it takes; `addresses`: source, destination and ports in one spelling, or `none`. */
export interface ProxyReading {
  readonly header: number
  readonly addresses: string
}

/** Eight groups of an IPv6 address, or four numbers of an IPv4 address, so that two spellings of one address are equal. */
export function sameSpelling(address: string): string {
  if (isIPv4(address)) return address
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const plain = dotted === null
    ? address
    : `${dotted[1]}${(Number(dotted[2]) * 256 + Number(dotted[3])).toString(16)}:${(Number(dotted[4]) * 256 + Number(dotted[5])).toString(16)}`
  const [left = '', right] = plain.split('::')
  const groups = (text: string): number[] => (text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16)))
  const [a, b] = [groups(left), groups(right ?? '')]
  const all = right === undefined ? a : [...a, ...Array.from({ length: 8 - a.length - b.length }, () => 0), ...b]
  // An IPv4 address in IPv6 clothes is that IPv4 address.
  if (all.slice(0, 5).every((group) => group === 0) && all[5] === 0xffff) return [all[6]! >> 8, all[6]! & 255, all[7]! >> 8, all[7]! & 255].join('.')
  return all.map((group) => group.toString(16)).join(':')
}

export function readProxy(bytes: Buffer): ProxyReading | undefined {
  const text = bytes.toString('latin1')
  if (text.startsWith('PROXY ')) {
    const end = text.indexOf('\r\n')
    if (end < 0 || end + 2 > 107) return undefined
    const line = text.slice(0, end)
    if (!/^[\x20-\x7e]*$/.test(line)) return undefined
    if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return { header: end + 2, addresses: 'none' }
    const parts = /^PROXY TCP([46]) ([^ ]+) ([^ ]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})$/.exec(line)
    if (parts === null || Number(parts[4]) > 65535 || Number(parts[5]) > 65535) return undefined
    const isAddress = parts[1] === '4' ? isIPv4 : (address: string): boolean => isIPv6(address) && !address.includes('%')
    if (!isAddress(parts[2]!) || !isAddress(parts[3]!)) return undefined
    return { header: end + 2, addresses: `${sameSpelling(parts[2]!)} ${sameSpelling(parts[3]!)} ${parts[4]} ${parts[5]}` }
  }
  if (!text.startsWith('\r\n\r\n\0\r\nQUIT\n') || bytes.length < 16) return undefined
  const version = bytes[12]!
  const length = bytes.readUInt16BE(14)
  if ((version !== 0x20 && version !== 0x21) || 16 + length > 536 || bytes.length < 16 + length) return undefined
  if (version === 0x20) return { header: 16 + length, addresses: 'none' }
  const body = [...bytes.subarray(16, 16 + length)]
  const family = bytes[13]
  if (family === 0) return { header: 16 + length, addresses: 'none' }
  const size = family === 0x11 ? 12 : family === 0x21 ? 36 : family === 0x31 ? 216 : undefined
  if (size === undefined || body.length < size) return undefined
  for (let rest = body.slice(size), at = 16 + size; rest.length > 0; ) {
    const take = 3 + (rest[1] ?? 0) * 256 + (rest[2] ?? 0)
    if (rest.length < 3 || rest.length < take) return undefined
    if (rest[0] === 3) {
      if (take !== 7) return undefined
      const whole = Buffer.from(bytes.subarray(0, 16 + length))
      whole.writeUInt32BE(0, at + 3)
      if (crc32c(whole) !== bytes.readUInt32BE(at + 3)) return undefined
    }
    rest = rest.slice(take)
    at += take
  }
  if (family === 0x31) return { header: 16 + length, addresses: 'none' }
  const half = family === 0x11 ? 4 : 16
  const spell = (from: number): string => {
    const part = body.slice(from, from + half)
    if (half === 4) return part.join('.')
    return sameSpelling(Array.from({ length: 8 }, (_, i) => (part[2 * i]! * 256 + part[2 * i + 1]!).toString(16)).join(':'))
  }
  const port = (at: number): number => body[at]! * 256 + body[at + 1]!
  return { header: 16 + length, addresses: `${spell(0)} ${spell(half)} ${port(2 * half)} ${port(2 * half + 2)}` }
}

const crcTable = Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  return crc >>> 0
})

/** CRC-32C by table (RFC 3720 appendix B.4). */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255]!
  return (crc ^ 0xffffffff) >>> 0
}

/** The name that a ClientHello asks for (empty: none), or undefined: it is none, not a right one, or not all there. */
export function readHello(bytes: Buffer): string | undefined {
  let message = Buffer.alloc(0)
  for (let at = 0; ; ) {
    if (bytes.length - at < 5 || bytes[at] !== 22 || bytes[at + 1] !== 3) return undefined
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > 16_384 || at + 5 + length > 16_384 || bytes.length < at + 5 + length) return undefined
    message = Buffer.concat([message, bytes.subarray(at + 5, at + 5 + length)])
    at += 5 + length
    if (message[0] !== 1) return undefined
    if (message.length < 4) continue
    const total = 4 + message.readUIntBE(1, 3)
    if (total > 16_384 || message.length > total) return undefined
    if (message.length === total) return nameOf(message.subarray(4))
  }
}

function nameOf(hello: Buffer): string | undefined {
  let at = 0
  let broken = false
  const take = (count: number): Buffer => {
    if (at + count > hello.length) broken = true
    const part = hello.subarray(at, at + count)
    at += count
    return part
  }
  const vector = (lengthBytes: 1 | 2): Buffer => {
    const size = take(lengthBytes)
    return broken ? Buffer.alloc(0) : take(size.readUIntBE(0, lengthBytes))
  }
  if (take(34)[0] !== 3) return undefined
  const session = vector(1)
  const ciphers = vector(2)
  const compressions = vector(1)
  if (broken || session.length > 32 || ciphers.length < 2 || ciphers.length % 2 === 1 || compressions.length === 0) return undefined
  if (at === hello.length) return ''
  const extensions = vector(2)
  if (broken || at !== hello.length) return undefined
  let name = ''
  for (let rest = extensions; rest.length > 0; ) {
    if (rest.length < 4 || rest.length < 4 + rest.readUInt16BE(2)) return undefined
    const content = rest.subarray(4, 4 + rest.readUInt16BE(2))
    if (rest.readUInt16BE(0) === 0) {
      if (name !== '' || content.length < 5 || content.readUInt16BE(0) !== content.length - 2 || content[2] !== 0) return undefined
      const text = content.toString('latin1', 5)
      if (content.readUInt16BE(3) !== text.length || !/^[A-Za-z0-9._-]{1,253}$/.test(text)) return undefined
      name = text.toLowerCase()
    }
    rest = rest.subarray(4 + content.length)
  }
  return name
}

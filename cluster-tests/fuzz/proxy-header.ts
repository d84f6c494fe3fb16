/** PROXY headers for the fuzzer: inputs that come close, and a simple reader of the whole input, written from the specification alone. */
import { isIPv4, isIPv6 } from 'node:net'
import { readProxyHeader, scanProxyHeader } from '../../node/proxy/tcp/proxy-protocol.ts'
import type { Chance } from './inputs.ts'
import type { Target } from './targets.ts'

const signature = '\r\n\r\n\0\r\nQUIT\n'
const addresses = ['192.0.2.1', '10.0.0.255', '0.0.0.0', '255.255.255.255', '2001:db8::1', '::', '::1', '1:0:0:2:0:0:0:3', '::ffff:192.0.2.1', 'ABCD:EF01:2345:6789:abcd:ef01:2345:6789', '1::2:3:4:5:6:7'] as const
const odd = ['01.2.3.4', '1.2.3', '256.1.1.1', '::1%lo', '1::2::3', '::1.2.3.4', '1:2:3:4:5:6:7::8', ':::', '12345::', '1:2:3:4:5:6:1.2.3.4', '::01.2.3.4', ''] as const
const ports = ['0', '1', '80', '443', '65535', '65536', '00', '080', '-1', '+1', '1e3', ''] as const

function line(chance: Chance): string {
  if (chance.below(8) === 0) return `PROXY UNKNOWN${chance.pick(['', ' ', ' anything at all', ' \x7f', 'S', ' '.repeat(90)])}\r\n`
  const four = chance.below(2) === 0
  const address = (): string => (chance.below(6) === 0 ? chance.pick(odd) : four ? addresses[chance.below(4)]! : addresses[4 + chance.below(7)]!)
  const port = (): string => (chance.below(6) === 0 ? chance.pick(ports) : ports[chance.below(5)]!)
  const family = chance.below(12) === 0 ? chance.pick(['TCP4', 'TCP6', 'TCP', 'UDP4', 'tcp4']) : four ? 'TCP4' : 'TCP6'
  return `PROXY ${family} ${address()} ${address()} ${port()} ${port()}${chance.below(10) === 0 ? chance.pick(['\n', '\r', ' \r\n', ' x\r\n']) : '\r\n'}`
}

function byte(value: number): string {
  return String.fromCharCode(value & 0xff)
}
function two(value: number): string {
  return byte(value >>> 8) + byte(value)
}

function binary(chance: Chance): string {
  const family = chance.below(8) === 0 ? chance.below(256) : chance.pick([0x11, 0x21, 0x11, 0x21, 0x00, 0x31])
  const size = family === 0x11 ? 12 : family === 0x21 ? 36 : family === 0x31 ? 216 : 0
  let body = ''
  if (family === 0x21 && chance.below(3) === 0) body = `${'\0'.repeat(10)}\xff\xff\x01\x02\x03\x04`
  while (body.length < size) body += byte(chance.below(3) === 0 ? 0 : chance.next())
  for (let count = chance.below(4); count > 0; count--) {
    const length = chance.below(6)
    const type = chance.below(4) === 0 ? 3 : 1 + chance.below(6)
    body += byte(type) + two(chance.below(8) === 0 ? chance.below(600) : length) + 'x'.repeat(length)
  }
  if (chance.below(3) === 0) body = withChecksum(family, body, chance)
  const length = chance.below(8) === 0 ? chance.below(700) : body.length
  const command = chance.below(8) === 0 ? chance.below(256) : chance.pick([0x21, 0x21, 0x21, 0x20])
  return signature + byte(command) + byte(family) + two(length) + body
}

/** Adds a record with the checksum of the whole, most often the right one. */
function withChecksum(family: number, body: string, chance: Chance): string {
  const head = `${signature}\x21${byte(family)}${two(body.length + 7)}${body}\x03\x00\x04`
  const sum = chance.below(4) === 0 ? chance.next() : checksum(`${head}\0\0\0\0`)
  return `${body}\x03\x00\x04${two(sum >>> 16)}${two(sum)}`
}

export function proxyHeaders(chance: Chance): string {
  let text = (chance.below(2) === 0 ? line(chance) : binary(chance)) + chance.pick(['', 'GET / HTTP/1.1\r\n\r\n', '\r\n', '\0', 'x'.repeat(600)])
  for (let count = chance.below(3) === 0 ? 1 + chance.below(2) : 0; count > 0; count--) {
    const at = chance.below(Math.min(text.length, 120) + 1)
    if (chance.below(2) === 0) text = text.slice(0, at) + byte(chance.next()) + text.slice(at + 1)
    else text = chance.below(2) === 0 ? text.slice(0, at) : text.slice(0, at) + text.slice(at + 1)
  }
  return text
}

/** CRC-32C bit by bit from its polynomial 0x1edc6f41, not mirrored: bits of each byte go in from the lowest. */
function checksum(text: string): number {
  let remainder = 0xffffffff
  for (let i = 0; i < text.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const out = (remainder >>> 31) ^ ((text.charCodeAt(i) >>> bit) & 1)
      remainder = (remainder << 1) >>> 0
      if (out === 1) remainder = (remainder ^ 0x1edc6f41) >>> 0
    }
  }
  let mirrored = 0
  for (let bit = 0; bit < 32; bit++) if ((remainder >>> bit) & 1) mirrored |= 1 << (31 - bit)
  return (mirrored ^ 0xffffffff) >>> 0
}

interface Reading {
  readonly length: number
  /** Empty: none that count. */
  readonly ends: string
}

function spelled(address: string): string {
  if (isIPv4(address)) return address
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(canonical)
  if (mapped === null) return canonical
  const [high, low] = [parseInt(mapped[1]!, 16), parseInt(mapped[2]!, 16)]
  return `${high >>> 8}.${high & 255}.${low >>> 8}.${low & 255}`
}

/** @returns undefined: no whole header stands at the start */
function reference(input: string): Reading | undefined {
  if (input.startsWith('PROXY ')) {
    const end = input.indexOf('\r')
    if (end < 0 || end + 2 > 107 || input[end + 1] !== '\n' || !/^[ -~]*$/.test(input.slice(0, end))) return undefined
    const words = input.slice(6, end).split(' ')
    const length = end + 2
    if (words[0] === 'UNKNOWN') return { length, ends: '' }
    const [family, from, to, fromPort, toPort] = words
    if (words.length !== 5) return undefined
    const right = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? (text: string) => isIPv6(text) && !text.includes('%') : () => false
    const isPort = (text = ''): boolean => String(Number(text)) === text && Number(text) >= 0 && Number(text) <= 65535 && /^[0-9]+$/.test(text)
    if (!right(from!) || !right(to!) || !isPort(fromPort) || !isPort(toPort)) return undefined
    return { length, ends: `${spelled(from!)} ${fromPort} ${spelled(to!)} ${toPort}` }
  }
  if (!input.startsWith(signature) || input.length < 16) return undefined
  const at = (index: number): number => input.charCodeAt(index)
  const number = (index: number): number => at(index) * 256 + at(index + 1)
  const length = 16 + number(14)
  if (length > 536 || input.length < length) return undefined
  if (at(12) === 0x20) return { length, ends: '' }
  if (at(12) !== 0x21) return undefined
  const sizes = new Map([[0x00, 0], [0x11, 12], [0x21, 36], [0x31, 216]])
  const size = sizes.get(at(13))
  if (size === undefined || length < 16 + size) return undefined
  if (at(13) === 0) return { length, ends: '' }
  for (let record = 16 + size; record < length; ) {
    if (record + 3 > length) return undefined
    const next = record + 3 + number(record + 1)
    if (next > length) return undefined
    if (at(record) === 3) {
      if (next !== record + 7) return undefined
      const claimed = number(record + 3) * 65536 + number(record + 5)
      if (claimed !== checksum(`${input.slice(0, record + 3)}\0\0\0\0${input.slice(next, length)}`)) return undefined
    }
    record = next
  }
  if (at(13) === 0x31) return { length, ends: '' }
  const address = (index: number): string => {
    if (size === 12) return [0, 1, 2, 3].map((i) => at(index + i)).join('.')
    return spelled([0, 2, 4, 6, 8, 10, 12, 14].map((i) => number(index + i).toString(16)).join(':'))
  }
  const width = size === 12 ? 4 : 16
  return { length, ends: `${address(16)} ${number(16 + 2 * width)} ${address(16 + width)} ${number(18 + 2 * width)}` }
}

function shown(reading: Reading | undefined): string {
  return reading === undefined ? 'not taken' : JSON.stringify(reading)
}

export const proxyHeaderTarget: Target = {
  name: 'proxy-headers',
  input: proxyHeaders,
  compare(input, cuts) {
    const buffer = Buffer.from(input, 'latin1')
    let found: Reading | undefined
    for (const cut of [...cuts, buffer.length]) {
      const length = scanProxyHeader(buffer, 0, cut)
      if (length === 0) continue
      if (length > 0) {
        const ends = readProxyHeader(buffer, 0, length)
        found = { length, ends: ends === undefined ? '' : `${ends.source} ${ends.sourcePort} ${ends.destination} ${ends.destinationPort}` }
      }
      break
    }
    return { parser: shown(found), reference: shown(reference(input)), taken: found === undefined ? 0 : 1 }
  },
}

/** PROXY headers and ClientHello messages that are right or nearly so, as text of one character for each byte. */
import { spoil, type Chance } from './inputs.ts'
import { crc32c } from './wire-reference.ts'

const ipv4 = ['1.2.3.4', '255.255.255.255', '0.0.0.0', '10.0.0.1', '01.2.3.4', '1.2.3', '1.2.3.256', '1.2.3.4.5', '::1'] as const
const ipv6 = ['::1', '2001:db8::1', '::', '1:2:3:4:5:6:7:8', '::ffff:1.2.3.4', '::1.2.3.4', '1:2:3:4:5:6:7', '1::2::3', 'fe80::1%eth0', '::12345', '1.2.3.4', 'ABCD::ef'] as const
const ports = ['0', '1', '80', '65535', '65536', '080', '', 'x', '-1', '99999'] as const

function line(chance: Chance): string {
  const right = chance.below(3) !== 0
  const family = right ? chance.pick(['TCP4', 'TCP6']) : chance.pick(['TCP4', 'TCP6', 'UNKNOWN', 'UDP4', 'tcp4', 'UNKNOWNX'])
  const list = family === 'TCP4' ? ipv4 : ipv6
  const address = (): string => (right ? chance.pick(list.slice(0, 4)) : chance.pick(list))
  const port = (): string => (right ? chance.pick(ports.slice(0, 4)) : chance.pick(ports))
  if (family.startsWith('UNKNOWN') && chance.below(2) === 0) return `PROXY ${family}\r\n`
  return `PROXY ${family} ${address()} ${address()} ${port()} ${port()}\r\n`
}

function binary(chance: Chance): string {
  const family = chance.pick([0x11, 0x11, 0x21, 0x21, 0x31, 0x00, 0x12, 0x22])
  const size = { 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x00: 0 }[family] ?? 0
  const body = Array.from({ length: size }, () => chance.below(256))
  // Now and then an IPv4 address in IPv6 clothes.
  if (size === 36 && chance.below(4) === 0) body.splice(0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)
  const records = chance.below(3)
  let checksum = -1
  for (let i = 0; i < records; i++) {
    const type = chance.pick([1, 2, 3, 4, 5, 0x20, 0x30])
    const length = type === 3 && chance.below(4) !== 0 ? 4 : chance.below(8)
    if (type === 3 && length === 4) checksum = 16 + body.length + 3
    body.push(type, 0, length, ...Array.from({ length }, () => chance.below(256)))
  }
  const header = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, chance.below(5) === 0 ? 0x20 : 0x21, family, body.length >> 8, body.length & 255, ...body])
  if (checksum >= 0 && chance.below(3) !== 0) {
    header.writeUInt32BE(0, checksum)
    header.writeUInt32BE(crc32c(header), checksum)
  }
  return header.toString('latin1')
}

export function proxyHeaders(chance: Chance): string {
  return spoil(chance, (chance.below(2) === 0 ? line(chance) : binary(chance)) + (chance.below(2) === 0 ? 'GET / HTTP/1.1\r\n' : ''))
}

function vector(bytes: readonly number[], lengthBytes: 1 | 2 | 3): number[] {
  const { length } = bytes
  return [...[length >> 16, (length >> 8) & 255, length & 255].slice(3 - lengthBytes), ...bytes]
}

const hostNames = ['a.example', 'WWW.Example.COM', 'x', 'a_b.example', '', 'a b', 'a\0b', 'ü.example', `${'a'.repeat(250)}.example`] as const

function extension(chance: Chance): number[] {
  if (chance.below(2) === 0) {
    const name = [...(chance.below(4) === 0 ? chance.pick(hostNames) : hostNames[chance.below(3)]!)].map((char) => char.charCodeAt(0) & 255)
    const entry = [chance.below(12) === 0 ? 1 : 0, ...vector(name, 2)]
    return [0, 0, ...vector(vector(chance.below(20) === 0 ? [...entry, ...entry] : entry, 2), 2)]
  }
  return [0, chance.pick([5, 10, 11, 13, 16, 35, 43, 51]), ...vector(Array.from({ length: chance.below(12) }, () => chance.below(256)), 2)]
}

export function hellos(chance: Chance): string {
  const extensions: number[] = []
  for (let count = chance.below(4); count > 0; count--) extensions.push(...extension(chance))
  const random = Array.from({ length: 32 }, () => chance.below(256))
  const session = Array.from({ length: chance.pick([0, 32, 0, 32, 33]) }, () => chance.below(256))
  const ciphers = Array.from({ length: chance.pick([2, 4, 30, 0, 3]) }, () => chance.below(256))
  const body = [3, 3, ...random, ...vector(session, 1), ...vector(ciphers, 2), ...vector(chance.below(10) === 0 ? [] : [0], 1), ...(chance.below(6) === 0 ? [] : vector(extensions, 2))]
  const message = [1, ...vector(body, 3)]
  const records: number[] = []
  // In one record as a rule; else in several, which may be cut anywhere.
  for (let at = 0; at < message.length; ) {
    const take = chance.below(3) === 0 ? 1 + chance.below(message.length) : message.length
    records.push(22, 3, chance.below(4), ...vector(message.slice(at, at + take), 2))
    at += take
  }
  return spoil(chance, Buffer.from(records).toString('latin1') + (chance.below(3) === 0 ? 'more' : ''))
}

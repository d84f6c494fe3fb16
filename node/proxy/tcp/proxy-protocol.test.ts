/** The PROXY protocol: vectors of the specification, round trips, splits at every point, and what must be refused. */
import test from 'ava'
import fc from 'fast-check'
import type { Endpoints } from '../transport/transport.ts'
import { maxProxyHeaderBytes, proxyHeader, readProxyHeader, scanProxyHeader } from './proxy-protocol.ts'

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const signature = '0d0a0d0a000d0a515549540a'
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

function read(header: Buffer): Endpoints | undefined | 'refused' | 'more' {
  const length = scanProxyHeader(header, 0, header.length)
  if (length < 0) return 'refused'
  return length === 0 ? 'more' : readProxyHeader(header, 0, length)
}

test('version 1: lines of the specification', (t) => {
  t.deepEqual(read(bytes('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n')), {
    source: '192.168.0.1', destination: '192.168.0.11', sourcePort: 56324, destinationPort: 443,
  })
  t.deepEqual(read(bytes('PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n')), {
    source: '255.255.255.255', destination: '255.255.255.255', sourcePort: 65535, destinationPort: 65535,
  })
  const longest = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'
  t.deepEqual(read(bytes(`PROXY TCP6 ${longest} ${longest} 65535 65535\r\n`)), { source: longest, destination: longest, sourcePort: 65535, destinationPort: 65535 })
  t.is(read(bytes('PROXY UNKNOWN\r\n')), undefined)
  // The longest line that there is: 107 bytes.
  const worst = `PROXY UNKNOWN ${longest} ${longest} 65535 65535\r\n`
  t.is(worst.length, 107)
  t.is(read(bytes(worst)), undefined)
  t.deepEqual(read(bytes('PROXY TCP6 2001:DB8:0:0::1 ::ffff:10.0.0.1 1 0\r\n')), { source: '2001:db8::1', destination: '10.0.0.1', sourcePort: 1, destinationPort: 0 })
})

test('bug: an IPv4-compatible address was taken for an IPv4 one', (t) => {
  t.is((read(bytes('PROXY TCP6 ::1.2.3.4 ::1 1 1\r\n')) as Endpoints).source, '::102:304')
})

test('version 1: everything else is refused, as soon as it can be told', (t) => {
  for (const line of [
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n', 'PROXY  TCP4 192.168.0.1 192.168.0.11 56324 443\r\n', 'PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 \r\n', 'PROXY TCP4 192.168.0.01 192.168.0.11 56324 443\r\n', 'PROXY TCP4 192.168.0.1 192.168.0.11 056324 443\r\n',
    'PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n', 'PROXY TCP4 ::1 ::1 1 1\r\n', 'PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n', 'PROXY TCP6 ::1%lo ::1 1 1\r\n',
    'PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n', 'PROXY UNKNOWNS\r\n', 'PROXY \r\n', 'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\rX', 'proxy', 'GET / HTTP/1.1', 'PRI ', 'PROXY TCP4 1.2.3.4\0',
    `PROXY UNKNOWN ${'x'.repeat(92)}\r`, `PROXY UNKNOWN ${'x'.repeat(93)}`,
  ]) t.is(read(bytes(line)), 'refused', JSON.stringify(line))
})

test('version 2: known bytes', (t) => {
  t.deepEqual(read(hex(`${signature} 21 11 000c c0000201 c6336401 dc04 01bb 474554`)), { source: '192.0.2.1', destination: '198.51.100.1', sourcePort: 56324, destinationPort: 443 })
  t.deepEqual(read(hex(`${signature} 21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 0050 01bb`)), {
    source: '2001:db8::1', destination: '2001:db8::2', sourcePort: 80, destinationPort: 443,
  })
  // A client of a dual-stack socket has its IPv4 address here too.
  t.is((read(hex(`${signature} 21 21 0024 00000000000000000000ffffc0000201 00000000000000000000ffffc0000202 0050 01bb`)) as Endpoints).source, '192.0.2.1')
  t.is(read(hex(`${signature} 20 00 0000`)), undefined, 'LOCAL')
  t.is(read(hex(`${signature} 20 ff 0003 010203`)), undefined, 'LOCAL with what is to be skipped')
  t.is(read(hex(`${signature} 21 00 0002 0102`)), undefined, 'an unspecified family')
  t.is(read(Buffer.concat([hex(`${signature} 21 31 00d8`), Buffer.alloc(216)])), undefined, 'UNIX')
  // Two records behind the addresses: no operation, and an authority.
  t.is((read(hex(`${signature} 21 11 0016 c0000201 c6336401 dc04 01bb 04 0001 00 02 0003 612e62`)) as Endpoints).sourcePort, 56324)
})

test('version 2: a checksum is verified', (t) => {
  // CRC-32C of the whole header with the field as zero; the check value of the polynomial is that of RFC 3720 B.4.
  const header = hex(`${signature} 21 11 0013 c0000201 c6336401 dc04 01bb 03 0004 00000000`)
  header.writeUInt32BE(reference(header), header.length - 4)
  t.is((read(header) as Endpoints).destinationPort, 443)
  header[20]! ^= 1
  t.is(read(header), 'refused')
  t.is(reference(bytes('123456789')), 0xe3069283)
})

/** CRC-32C from its definition, by division of polynomials with big integers. */
function reference(data: Buffer): number {
  let crc = 0xffffffffn
  for (const byte of data) {
    crc ^= BigInt(byte)
    for (let i = 0; i < 8; i++) crc = (crc & 1n) === 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n
  }
  return Number(crc ^ 0xffffffffn)
}

test('version 2: everything else is refused', (t) => {
  for (const header of [
    '0d0a0d0a000d0a515549540b', `${signature} 11`, `${signature} 22`, `${signature} 21 12 000c 000000000000000000000000`, `${signature} 21 11 000b`,
    `${signature} 21 41 000c`, `${signature} 21 31 00d7`, `${signature} 21 11 0209`, `${signature} 20 00 ffff`,
    `${signature} 21 11 000e c0000201 c6336401 dc04 01bb 0400`, `${signature} 21 11 000f c0000201 c6336401 dc04 01bb 040001`,
    `${signature} 21 11 0012 c0000201 c6336401 dc04 01bb 03 0003 000000`,
  ]) t.is(read(hex(header)), 'refused', header)
  t.is(maxProxyHeaderBytes, 536)
})

const ipv4 = fc.ipV4()
const ipv6 = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }).map((parts) => parts.map((part) => part.toString(16)).join(':'))
const portNumber = fc.integer({ min: 0, max: 65535 })
const endpoints = fc.oneof(
  fc.record({ source: ipv4, destination: ipv4, sourcePort: portNumber, destinationPort: portNumber }),
  fc.record({ source: ipv6, destination: ipv6, sourcePort: portNumber, destinationPort: portNumber }),
  fc.record({ source: ipv6, destination: ipv4, sourcePort: portNumber, destinationPort: portNumber }),
  fc.record({ source: ipv4, destination: ipv6, sourcePort: portNumber, destinationPort: portNumber }),
)

test('what is written is read again, split at any point, whatever follows', (t) => {
  fc.assert(
    fc.property(endpoints, fc.constantFrom(1 as const, 2 as const), fc.uint8Array({ maxLength: 40 }), (ends, version, rest) => {
      const header = proxyHeader(version, ends)
      const all = Buffer.concat([header, rest])
      for (let end = 0; end < header.length; end++) if (scanProxyHeader(all, 0, end) !== 0) return false
      for (let end = header.length; end <= all.length; end++) if (scanProxyHeader(all, 0, end) !== header.length) return false
      const found = readProxyHeader(all, 0, header.length)!
      // Written once more, it says the same: the spelling read is the canonical one of the same addresses.
      const again = proxyHeader(2, { ...found })
      return again.equals(proxyHeader(2, ends)) && found.sourcePort === ends.sourcePort && found.destinationPort === ends.destinationPort
    }),
    { numRuns: 500 },
  )
  t.is(proxyHeader(1, undefined).toString(), 'PROXY UNKNOWN\r\n')
  t.is(read(proxyHeader(2, undefined)), undefined)
  t.is(proxyHeader(1, { source: '192.0.2.1', destination: '198.51.100.1', sourcePort: 5, destinationPort: 6 }).toString(), 'PROXY TCP4 192.0.2.1 198.51.100.1 5 6\r\n')
  t.is(proxyHeader(1, { source: 'fe80::1%eth0', destination: '10.0.0.1', sourcePort: 5, destinationPort: 6 }).toString(), 'PROXY TCP6 fe80::1 ::ffff:a00:1 5 6\r\n')
})

/** A plain reader of the whole header at once, from the words of the specification. */
function plain(all: Buffer): number {
  const line = /^PROXY (?:TCP4 (\S+) (\S+) (\d+) (\d+)|TCP6 (\S+) (\S+) (\d+) (\d+)|UNKNOWN(?: [ -~]*)?)\r\n/.exec(all.toString('latin1', 0, 107))
  if (line !== null) {
    const ports = [line[3] ?? line[7] ?? '0', line[4] ?? line[8] ?? '0']
    return ports.every((port) => String(Number(port)) === port && Number(port) < 65536) ? line[0].length : -1
  }
  if (all.length < 16 || all.toString('hex', 0, 12) !== signature) return -1
  return 16 + all.readUInt16BE(14)
}

test('of mutated headers none is read with another length than a plain reader finds, and none hangs', (t) => {
  fc.assert(
    fc.property(endpoints, fc.constantFrom(1 as const, 2 as const), fc.array(fc.tuple(fc.nat(80), fc.integer({ min: 0, max: 255 })), { maxLength: 3 }), (ends, version, changes) => {
      const all = Buffer.concat([proxyHeader(version, ends), bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n')])
      for (const [at, value] of changes) all[at % all.length] = value
      const length = scanProxyHeader(all, 0, all.length)
      if (length > 0) {
        readProxyHeader(all, 0, length)
        return length === plain(all) && length <= maxProxyHeaderBytes
      }
      // No longer input makes a refused one right.
      return length === 0 || scanProxyHeader(Buffer.concat([all, bytes('\r\n')]), 0, all.length + 2) === -1
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

test('garbage is never accepted, and is refused within the bound', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 700 }), (garbage) => {
      const buffer = Buffer.from(garbage)
      const length = scanProxyHeader(buffer, 0, buffer.length)
      return length === plain(buffer) || length === -1 || (length === 0 && buffer.length < maxProxyHeaderBytes)
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

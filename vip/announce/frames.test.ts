/** The announcements byte by byte, checked against frames written down from the RFCs' figures. */
import test from 'ava'
import { checksum, gratuitousArp, unsolicitedAdvertisement } from './frames.ts'

const mac = Buffer.from('02aabbccdd01', 'hex')

function hex(frame: Buffer): string {
  return frame.toString('hex')
}
/** Written with spaces between the fields. */
function fields(text: string): string {
  return text.replaceAll(' ', '')
}

test('gratuitous ARP, request form (RFC 5227 §3: sender and target are the announced address)', (t) => {
  t.is(
    hex(gratuitousArp('10.77.0.100', mac, 'request')),
    fields('ffffffffffff 02aabbccdd01 0806 0001 0800 06 04 0001 02aabbccdd01 0a4d0064 000000000000 0a4d0064'),
  )
})

test('gratuitous ARP, reply form', (t) => {
  t.is(
    hex(gratuitousArp('10.77.0.100', mac, 'reply')),
    fields('ffffffffffff 02aabbccdd01 0806 0001 0800 06 04 0002 02aabbccdd01 0a4d0064 ffffffffffff 0a4d0064'),
  )
})

test('the internet checksum of the example in RFC 1071 §3', (t) => {
  t.is(checksum(Buffer.from('0001f203f4f5f6f7', 'hex')), ~0xddf2 & 0xffff)
  t.is(checksum(Buffer.from('01', 'hex')), ~0x0100 & 0xffff, 'an odd byte counts as the upper half')
})

test('unsolicited neighbour advertisement (RFC 4861 §4.4)', (t) => {
  const frame = unsolicitedAdvertisement('fd77::100', mac, false)
  const address = 'fd770000000000000000000000000100'
  const allNodes = 'ff020000000000000000000000000001'
  t.is(hex(frame.subarray(0, 54)), fields(`333300000001 02aabbccdd01 86dd 60000000 0020 3a ff ${address} ${allNodes}`))
  const message = frame.subarray(54)
  t.is(message.length, 32)
  t.is(hex(message.subarray(0, 2)), '8800')
  t.is(hex(message.subarray(4, 8)), '20000000', 'override, neither solicited nor router')
  t.is(hex(message.subarray(8)), fields(`${address} 0201 02aabbccdd01`))
  // By hand: pseudo-header fd77+0100 + ff02+0001 + 0020 + 003a, message 8800+2000+fd77+0100+0201+02aa+bbcc+dd01.
  let sum = 0xfd77 + 0x0100 + 0xff02 + 0x0001 + 0x0020 + 0x003a + 0x8800 + 0x2000 + 0xfd77 + 0x0100 + 0x0201 + 0x02aa + 0xbbcc + 0xdd01
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  t.is(message.readUInt16BE(2), ~sum & 0xffff)
})

test('a router says that it is one, or its neighbours would stop to use it (RFC 4861 §7.2.5)', (t) => {
  t.is(unsolicitedAdvertisement('fd77::100', mac, true).readUInt32BE(54 + 4), 0xa0000000)
})

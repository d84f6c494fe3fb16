/**
 * The frames that tell the neighbours where a VIP is now. Pure.
 * Gratuitous ARP: RFC 5227 §3 and RFC 5944 §4.6. Unsolicited neighbour advertisement: RFC 4861 §4.4, §7.2.6.
 */
import ipaddr from 'ipaddr.js'

const broadcast = Buffer.from('ffffffffffff', 'hex')

/** `request` and `reply`: some stacks take an update from one form only. */
export function gratuitousArp(address: string, mac: Buffer, form: 'request' | 'reply'): Buffer {
  const ip = Buffer.from(ipaddr.IPv4.parse(address).toByteArray())
  const frame = Buffer.alloc(42)
  broadcast.copy(frame, 0)
  mac.copy(frame, 6)
  frame.writeUInt16BE(0x0806, 12)
  frame.writeUInt16BE(1, 14)
  frame.writeUInt16BE(0x0800, 16)
  frame[18] = 6
  frame[19] = 4
  frame.writeUInt16BE(form === 'request' ? 1 : 2, 20)
  mac.copy(frame, 22)
  ip.copy(frame, 28)
  if (form === 'reply') broadcast.copy(frame, 32)
  ip.copy(frame, 38)
  return frame
}

/**
 * To all nodes on the link, with the override flag and the target's link-layer address. `router`: the host forwards IPv6;
 * without the flag neighbours that use it as a router would stop to (RFC 4861 §7.2.5).
 */
export function unsolicitedAdvertisement(address: string, mac: Buffer, router: boolean): Buffer {
  const target = Buffer.from(ipaddr.IPv6.parse(address).toByteArray())
  const allNodes = Buffer.from(ipaddr.IPv6.parse('ff02::1').toByteArray())
  const message = Buffer.alloc(32)
  message[0] = 136
  message.writeUInt32BE(router ? 0xa0000000 : 0x20000000, 4)
  target.copy(message, 8)
  message[24] = 2
  message[25] = 1
  mac.copy(message, 26)
  // Pseudo-header (RFC 8200 §8.1): source, destination, length, next header.
  const pseudo = Buffer.alloc(40)
  target.copy(pseudo, 0)
  allNodes.copy(pseudo, 16)
  pseudo.writeUInt32BE(message.length, 32)
  pseudo[39] = 58
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2)
  const head = Buffer.alloc(54)
  Buffer.from('333300000001', 'hex').copy(head, 0)
  mac.copy(head, 6)
  head.writeUInt16BE(0x86dd, 12)
  head[14] = 0x60
  head.writeUInt16BE(message.length, 18)
  head[20] = 58
  head[21] = 255
  target.copy(head, 22)
  allNodes.copy(head, 38)
  return Buffer.concat([head, message])
}

/** Internet checksum (RFC 1071). */
export function checksum(data: Buffer): number {
  let sum = 0
  for (let at = 0; at + 1 < data.length; at += 2) sum += data.readUInt16BE(at)
  if (data.length % 2 === 1) sum += data[data.length - 1]! << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

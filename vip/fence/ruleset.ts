/**
 * The fence's tables, in nft's words. What a node without a lease for a guarded address does: it answers no ARP and no
 * neighbour solicitation for it, claims it in no ARP packet and no advertisement, takes no packet for it (over `lo`
 * neither) and sends none from it. Encoding only, no I/O.
 *
 *   table inet haechi {
 *     set guarded4 { type ipv4_addr }            set guarded6 { type ipv6_addr }
 *     set lease4 { type ipv4_addr; flags timeout }   set lease6 { type ipv6_addr; flags timeout }
 *     chain input { type filter hook input priority -500
 *       ip daddr @guarded4 ip daddr != @lease4 drop
 *       ip6 daddr @guarded6 ip6 daddr != @lease6 drop
 *       icmpv6 type nd-neighbor-solicit, target in @guarded6 and not in @lease6: drop }
 *     chain output { type filter hook output priority -500
 *       the same for saddr, and for the target of nd-neighbor-advert }
 *   }
 *   table arp haechi { guarded4, lease4
 *     chain input { hook input: arp saddr ip != @guarded4 arp daddr ip @guarded4 arp daddr ip != @lease4 drop }
 *     chain output { hook output: arp saddr ip @guarded4 arp saddr ip != @lease4 drop }
 *   }
 *   table netdev haechi { guarded4, lease4, guarded6, lease6
 *     chain egress_N { hook egress device N: claims in ARP and in nd-neighbor-advert, as above }   (Linux ≥ 5.16)
 *   }
 *
 * The input rule of arp lets pass what is *sent by* a guarded address: that is the present holder's announcement, from which
 * this host's own neighbour table must learn. Packets from a packet socket pass neither arp nor inet output; the egress hook
 * sees them too.
 */
import ipaddr from 'ipaddr.js'
import {
  addElements, countAndDrop, deleteElements, flushSet, ifEqual, ifInSet, ifMeta, ipv4Only, ipv6Only, load, newChain, newRule, newSet, newTable,
  type Family, type NftMessage,
} from './nftables.ts'

/** The nftables table of a node. */
export const defaultTable = 'haechi'

/** Before connection tracking and every usual filter. */
const priority = -500
const NF_INET_LOCAL_IN = 1
const NF_INET_LOCAL_OUT = 3
const NF_ARP_IN = 0
const NF_ARP_OUT = 1
const NF_NETDEV_EGRESS = 1
const ICMPV6 = 58
const neighborSolicitation = 135
const neighborAdvertisement = 136

/** Which versions of IP have their sets in which family. */
const versionsIn: Readonly<Record<Family, readonly (4 | 6)[]>> = { inet: [4, 6], arp: [4], netdev: [4, 6] }

/** Bytes of an address, 4 or 16. */
export function keyOf(address: string): Buffer {
  return Buffer.from(ipaddr.parse(address).toByteArray())
}
export function addressOf(key: Buffer): string {
  return ipaddr.fromByteArray([...key]).toString()
}

type Version = 4 | 6
const guardedNotLeased = (version: Version): Buffer[] => [
  ifInSet(`guarded${version}`, true), ifInSet(`lease${version}`, false), ...countAndDrop(),
]
const ndTarget = (type: number): Buffer[] => [
  ...ifMeta('transportProtocol', Buffer.from([ICMPV6])), load('transport', 0, 1), ifEqual(Buffer.from([type])),
  load('transport', 8, 16), ...guardedNotLeased(6),
]
const arpSender = load('network', 14, 4)
const arpTarget = load('network', 24, 4)

/** Tables without any lease, guarding these addresses: everything about them is closed. */
export function tables(name: string, families: readonly Family[], guarded: readonly string[], owned: boolean): NftMessage[] {
  const messages: NftMessage[] = []
  let id = 0
  for (const in_ of families) {
    messages.push(newTable(in_, name, owned))
    for (const version of versionsIn[in_]) {
      const bytes = version === 4 ? 4 : 16
      messages.push(newSet(in_, name, `guarded${version}`, bytes, false, ++id), newSet(in_, name, `lease${version}`, bytes, true, ++id))
    }
  }
  messages.push(...guard(name, families, guarded))
  const rule = (in_: Family, chain: string, ...expressions: readonly Buffer[]): void => {
    messages.push(newRule(in_, name, chain, expressions))
  }
  messages.push(newChain('inet', name, 'input', { number: NF_INET_LOCAL_IN, priority }))
  rule('inet', 'input', ...ipv4Only, load('network', 16, 4), ...guardedNotLeased(4))
  rule('inet', 'input', ...ipv6Only, load('network', 24, 16), ...guardedNotLeased(6))
  rule('inet', 'input', ...ipv6Only, ...ndTarget(neighborSolicitation))
  messages.push(newChain('inet', name, 'output', { number: NF_INET_LOCAL_OUT, priority }))
  rule('inet', 'output', ...ipv4Only, load('network', 12, 4), ...guardedNotLeased(4))
  rule('inet', 'output', ...ipv6Only, load('network', 8, 16), ...guardedNotLeased(6))
  rule('inet', 'output', ...ipv6Only, ...ndTarget(neighborAdvertisement))
  messages.push(newChain('arp', name, 'input', { number: NF_ARP_IN, priority }))
  rule('arp', 'input', arpSender, ifInSet('guarded4', false), arpTarget, ...guardedNotLeased(4))
  messages.push(newChain('arp', name, 'output', { number: NF_ARP_OUT, priority }))
  rule('arp', 'output', arpSender, ...guardedNotLeased(4))
  return messages
}

/** The egress chain of one device. */
export function egressChain(name: string, device: string, index: number): NftMessage[] {
  const chain = `egress_${index}`
  const etherType = (value: number): Buffer[] => ifMeta('etherType', Buffer.from([value >> 8, value & 0xff]))
  return [
    newChain('netdev', name, chain, { number: NF_NETDEV_EGRESS, priority, device }),
    newRule('netdev', name, chain, [...etherType(0x0806), arpSender, ...guardedNotLeased(4)]),
    newRule('netdev', name, chain, [...etherType(0x86dd), ...ndTarget(neighborAdvertisement)]),
  ]
}

function perSet(
  families: readonly Family[],
  addresses: readonly string[],
  make: (in_: Family, version: Version, keys: readonly Buffer[]) => NftMessage[],
): NftMessage[] {
  const keys = addresses.map(keyOf)
  return families.flatMap((in_) =>
    versionsIn[in_].flatMap((version) => {
      const own = keys.filter((key) => (key.length === 4) === (version === 4))
      return own.length === 0 ? [] : make(in_, version, own)
    }),
  )
}

export function guard(name: string, families: readonly Family[], addresses: readonly string[]): NftMessage[] {
  return perSet(families, addresses, (in_, version, keys) => [addElements(in_, name, `guarded${version}`, keys.map((key) => ({ key })))])
}
export function unguard(name: string, families: readonly Family[], addresses: readonly string[]): NftMessage[] {
  return perSet(families, addresses, (in_, version, keys) => [deleteElements(in_, name, `guarded${version}`, keys)])
}

/** Ends every lease. */
export function closeAll(name: string, families: readonly Family[]): NftMessage[] {
  return families.flatMap((in_) => versionsIn[in_].map((version) => flushSet(in_, name, `lease${version}`)))
}

/**
 * Lets exactly these addresses answer for `timeoutMs` from the commit on. `restart`: those that are leased already get the new
 * time in place (Linux ≥ 6.12) and no others are leased; else all sets are emptied and filled again in the same transaction,
 * which every kernel can.
 */
export function lease(name: string, families: readonly Family[], addresses: readonly string[], timeoutMs: number, restart: boolean): NftMessage[] {
  const add = perSet(families, addresses, (in_, version, keys) => [
    addElements(in_, name, `lease${version}`, keys.map((key) => ({ key, timeoutMs, restart }))),
  ])
  return restart ? add : [...closeAll(name, families), ...add]
}

export const allFamilies: readonly Family[] = ['inet', 'arp', 'netdev']

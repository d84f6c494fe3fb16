/**
 * VIP addresses on interfaces, by rtnetlink. Each address carries a kernel lifetime as the second line of the lease: when
 * nobody renews it, the kernel removes it.
 */
import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import {
  AF_INET, AF_INET6, attribute, attributesOf, interfaceIndex, Netlink, netlinkMessage, NETLINK_ROUTE, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP,
  NLM_F_REPLACE, NLM_F_REQUEST, refusalIn,
} from './syscalls.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTM_GETADDR = 22
const RTMGRP_LINK = 1
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_CACHEINFO = 6
const IFA_FLAGS = 8
const IFA_F_NODAD = 0x02
const IFA_F_NOPREFIXROUTE = 0x200
const IFLA_ADDRESS = 1
const IFF_UP = 0x1
const IFF_LOOPBACK = 0x8
const IFF_RUNNING = 0x40
const IFF_NOARP = 0x80
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_HOST = 254
/** The kernel may count an address as up to this much older than it is (ADDRCONF_TIMER_FUZZ, a quarter of a second), and a
 *  renewal may come late. */
const lifetimeReserveMs = 500

/** A held address's lifetime is renewed no more often than this. */
export const addressRenewMs = 900

/** Whole seconds, as the kernel counts lifetimes: longer than the lease and than the time to the next renewal. */
export function addressLifetimeS(leaseRemainingMs: number): number {
  return Math.ceil((leaseRemainingMs + addressRenewMs + lifetimeReserveMs) / 1000)
}

/**
 * The interface whose subnet contains the address (the longest prefix wins), with that subnet's prefix length.
 * Undefined when there is none.
 */
export function interfaceFor(address: string): { readonly interface: string; readonly prefixLength: number } | undefined {
  if (!ipaddr.isValid(address)) return undefined
  const wanted = ipaddr.parse(address)
  let best: { interface: string; prefixLength: number } | undefined
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { cidr, address: own } of addresses ?? []) {
      if (cidr === null || own === address || !contains(cidr, wanted)) continue
      const prefixLength = Number(cidr.split('/')[1])
      if (best === undefined || prefixLength > best.prefixLength) best = { interface: name, prefixLength }
    }
  }
  return best
}

function contains(cidr: string, wanted: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  const [network, prefixLength] = ipaddr.parseCIDR(cidr)
  return network.kind() === wanted.kind() && wanted.match([network, prefixLength] as never)
}

export interface Link {
  readonly index: number
  /** Empty when the link has no Ethernet address. */
  readonly mac: Buffer
  /** Administratively up and with a carrier. */
  readonly running: boolean
  /** Whether neighbours resolve addresses on it: not on loopback and the like, where there is nothing to announce. */
  readonly announces: boolean
}

/** An address as it is on an interface. */
export interface PresentAddress {
  readonly address: string
  readonly prefixLength: number
  readonly index: number
  /** Has no lifetime: somebody configured it, not Haechi. */
  readonly permanent: boolean
}

export class Addresses {
  readonly #netlink = new Netlink(NETLINK_ROUTE)
  readonly #changes = new Netlink(NETLINK_ROUTE, RTMGRP_LINK)
  #sequence = 1

  /** Adds the address, or renews its lifetime. Returns an error for people, or empty. */
  put(address: string, prefixLength: number, device: string, lifetimeS: number): string {
    const index = interfaceIndex(device)
    if (index === 0) return `there is no interface ${device}`
    const lifetime = Buffer.alloc(16)
    // Preferred lifetime 0, so "deprecated": the node's own connections are not made from an address that may move away.
    lifetime.writeUInt32LE(0, 0)
    lifetime.writeUInt32LE(lifetimeS, 4)
    const flags = Buffer.alloc(4)
    // Without duplicate detection: the lease keeps duplicates away, and detection would cost a second per takeover.
    flags.writeUInt32LE((address.includes(':') ? IFA_F_NODAD : 0) | (this.#routed(address, index) ? IFA_F_NOPREFIXROUTE : 0), 0)
    const body = [addressBody(address, prefixLength, index), attribute(IFA_CACHEINFO, lifetime), attribute(IFA_FLAGS, flags)]
    return this.#request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, Buffer.concat(body), `${address} on ${device}`)
  }

  /** Removes the address; that it was not there is no error. Returns an error for people, or empty. */
  remove(address: string, prefixLength: number, device: string | number): string {
    const index = typeof device === 'number' ? device : interfaceIndex(device)
    if (index === 0) return ''
    const error = this.#request(RTM_DELADDR, 0, addressBody(address, prefixLength, index), `${address} on ${device}`)
    return /(EADDRNOTAVAIL|ENODEV)$/.test(error) ? '' : error
  }

  /** Every address of this host. */
  present(): PresentAddress[] {
    const body = Buffer.alloc(8)
    this.#netlink.receive()
    if (this.#netlink.send(netlinkMessage(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, this.#sequence++, body)) !== '') return []
    return this.#netlink.receive().flatMap((answer) => (answer.type === RTM_NEWADDR ? parseAddress(answer.body) : []))
  }

  link(device: string): Link | undefined {
    const index = interfaceIndex(device)
    if (index === 0) return undefined
    const body = Buffer.alloc(16)
    body.writeInt32LE(index, 4)
    this.#netlink.receive()
    this.#netlink.send(netlinkMessage(RTM_GETLINK, NLM_F_REQUEST, this.#sequence++, body))
    for (const answer of this.#netlink.receive()) if (answer.type === RTM_NEWLINK) return parseLink(answer.body)
    return undefined
  }

  /** Whether any link changed since the last call. Costs one system call when none did. */
  linksChanged(): boolean {
    return this.#changes.receive().some(({ type }) => type === RTM_NEWLINK || type === RTM_DELLINK)
  }

  dispose(): void {
    this.#netlink.close()
    this.#changes.close()
  }

  /** Another address of the interface has made the way to its subnet already; a second one through the VIP would give the
   *  node's own connections the VIP as their source. */
  #routed(address: string, index: number): boolean {
    const wanted = ipaddr.parse(address)
    return this.present().some((one) => one.index === index && one.address !== address && contains(`${one.address}/${one.prefixLength}`, wanted))
  }

  #request(type: number, flags: number, body: Buffer, what: string): string {
    this.#netlink.receive()
    const failed = this.#netlink.send(netlinkMessage(type, NLM_F_REQUEST | NLM_F_ACK | flags, this.#sequence++, body))
    const code = failed || (refusalIn(this.#netlink.receive())?.code ?? '')
    return code === '' ? '' : `${what}: ${code === 'EPERM' ? 'no permission, CAP_NET_ADMIN is needed: EPERM' : code}`
  }
}

function addressBody(address: string, prefixLength: number, index: number): Buffer {
  const parsed = ipaddr.parse(address)
  const bytes = Buffer.from(parsed.toByteArray())
  const head = Buffer.alloc(8)
  head[0] = bytes.length === 4 ? AF_INET : AF_INET6
  head[1] = prefixLength
  head[3] = parsed.range() === 'loopback' ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE
  head.writeUInt32LE(index, 4)
  return Buffer.concat([head, attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes)])
}

function parseAddress(body: Buffer): PresentAddress[] {
  const fields = new Map(attributesOf(body, 8))
  const bytes = fields.get(IFA_LOCAL) ?? fields.get(IFA_ADDRESS)
  if (bytes === undefined || (bytes.length !== 4 && bytes.length !== 16)) return []
  const validS = fields.get(IFA_CACHEINFO)?.readUInt32LE(4) ?? 0xffff_ffff
  const address = ipaddr.fromByteArray([...bytes]).toString()
  return [{ address, prefixLength: body[1]!, index: body.readUInt32LE(4), permanent: validS === 0xffff_ffff }]
}

function parseLink(body: Buffer): Link {
  const flags = body.readUInt32LE(8)
  const mac = new Map(attributesOf(body, 16)).get(IFLA_ADDRESS)
  return {
    index: body.readInt32LE(4),
    mac: mac?.length === 6 ? Buffer.from(mac) : Buffer.alloc(0),
    running: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0,
    announces: mac?.length === 6 && (flags & (IFF_LOOPBACK | IFF_NOARP)) === 0,
  }
}

/**
 * VIP addresses on interfaces, by rtnetlink. Each address carries a kernel lifetime as the second line of the lease: when
 * nobody renews it, the kernel removes it.
 */
import { networkInterfaces } from 'node:os'
import ipaddr from 'ipaddr.js'
import {
  AF_INET, AF_INET6, attribute, errnoName, errorsOf, interfaceIndex, Netlink, netlinkMessage, NETLINK_ROUTE, NLM_F_ACK, NLM_F_CREATE,
  NLM_F_REPLACE, NLM_F_REQUEST,
} from './syscalls.ts'

const RTM_NEWLINK = 16
const RTM_DELLINK = 17
const RTM_GETLINK = 18
const RTM_NEWADDR = 20
const RTM_DELADDR = 21
const RTMGRP_LINK = 1
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_CACHEINFO = 6
const IFA_FLAGS = 8
const IFA_F_NODAD = 0x02
const IFA_F_NOPREFIXROUTE = 0x200
const IFLA_ADDRESS = 1
const IFF_UP = 0x1
const IFF_RUNNING = 0x40

/** Seconds, as the kernel counts lifetimes. Far longer than a lease: the fence is the first line. */
export const addressLifetimeS = 2

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
      if (cidr === null || own === address) continue
      const [network, prefixLength] = ipaddr.parseCIDR(cidr)
      if (network.kind() !== wanted.kind() || !wanted.match([network, prefixLength] as never)) continue
      if (best === undefined || prefixLength > best.prefixLength) best = { interface: name, prefixLength }
    }
  }
  return best
}

export interface Link {
  readonly index: number
  readonly mac: Buffer
  /** Administratively up and with a carrier. */
  readonly running: boolean
}

export class Addresses {
  readonly #netlink = new Netlink(NETLINK_ROUTE)
  readonly #changes = new Netlink(NETLINK_ROUTE, RTMGRP_LINK)
  #sequence = 1

  /** Adds the address, or renews its lifetime. Returns an error text, or empty. */
  put(address: string, prefixLength: number, device: string): string {
    const index = interfaceIndex(device)
    if (index === 0) return `there is no interface ${device}`
    const lifetime = Buffer.alloc(16)
    lifetime.writeUInt32LE(addressLifetimeS, 0)
    lifetime.writeUInt32LE(addressLifetimeS, 4)
    const flags = Buffer.alloc(4)
    const v6 = address.includes(':')
    // The fence keeps duplicates away, and waiting for duplicate detection would cost a second per takeover.
    flags.writeUInt32LE((v6 ? IFA_F_NODAD : 0) | (prefixLength < (v6 ? 128 : 32) ? IFA_F_NOPREFIXROUTE : 0), 0)
    const body = [this.#addressBody(address, prefixLength, index), attribute(IFA_CACHEINFO, lifetime), attribute(IFA_FLAGS, flags)]
    return this.#request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, Buffer.concat(body), `${address} on ${device}`)
  }

  /** Removes the address; that it was not there is no error. */
  remove(address: string, prefixLength: number, device: string): string {
    const index = interfaceIndex(device)
    if (index === 0) return ''
    const error = this.#request(RTM_DELADDR, 0, this.#addressBody(address, prefixLength, index), `${address} on ${device}`)
    return error.endsWith('EADDRNOTAVAIL') ? '' : error
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

  /** Whether any link changed since the last call. */
  linksChanged(): boolean {
    return this.#changes.receive().some(({ type }) => type === RTM_NEWLINK || type === RTM_DELLINK)
  }

  dispose(): void {
    this.#netlink.close()
    this.#changes.close()
  }

  #addressBody(address: string, prefixLength: number, index: number): Buffer {
    const bytes = Buffer.from(ipaddr.parse(address).toByteArray())
    const head = Buffer.alloc(8)
    head[0] = bytes.length === 4 ? AF_INET : AF_INET6
    head[1] = prefixLength
    head.writeUInt32LE(index, 4)
    return Buffer.concat([head, attribute(IFA_LOCAL, bytes), attribute(IFA_ADDRESS, bytes)])
  }

  #request(type: number, flags: number, body: Buffer, what: string): string {
    this.#netlink.receive()
    this.#netlink.send(netlinkMessage(type, NLM_F_REQUEST | NLM_F_ACK | flags, this.#sequence++, body))
    const [errno] = errorsOf(this.#netlink.receive())
    return errno === undefined ? '' : `${what}: ${errnoName(errno)}`
  }
}

function parseLink(body: Buffer): Link | undefined {
  const flags = body.readUInt32LE(8)
  let mac: Buffer = Buffer.alloc(6)
  for (let at = 16; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at)
    if (length < 4) break
    if (body.readUInt16LE(at + 2) === IFLA_ADDRESS && length === 10) mac = Buffer.from(body.subarray(at + 4, at + 10))
    at += (length + 3) & ~3
  }
  return { index: body.readInt32LE(4), mac, running: (flags & IFF_UP) !== 0 && (flags & IFF_RUNNING) !== 0 }
}

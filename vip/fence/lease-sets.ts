/**
 * The kernel-enforced lease: renewing and closing it, by raw nf_tables netlink batches from this thread. A batch is
 * committed by the kernel before `send` returns, and as a whole or not at all.
 *
 * Why not a long-lived `nft -i` child: a frozen or starved child could commit a renewal long after it was computed.
 */
import ipaddr from 'ipaddr.js'
import {
  attribute, errnoName, errorsOf, Netlink, netlinkMessage, NETLINK_NETFILTER, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST,
} from '../syscalls.ts'

const NFNL_SUBSYS_NFTABLES = 10
const NFNL_MSG_BATCH_BEGIN = 0x10
const NFNL_MSG_BATCH_END = 0x11
const NFT_MSG_NEWSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 12
const NFT_MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 14
const NFPROTO_INET = 1
const NFPROTO_ARP = 3
const NFPROTO_NETDEV = 5
const NLA_F_NESTED = 0x8000

const LIST_TABLE = 1
const LIST_SET = 2
const LIST_ELEMENTS = 3
const LIST_ELEM = 1
const ELEM_KEY = 1
const ELEM_TIMEOUT = 4
const DATA_VALUE = 1

/** Families in which an IPv4 VIP is guarded, and the names of the lease sets. */
interface LeaseSet {
  readonly family: number
  readonly set: string
  readonly version: 4 | 6
}

const baseSets: readonly LeaseSet[] = [
  { family: NFPROTO_INET, set: 'lease4', version: 4 },
  { family: NFPROTO_INET, set: 'lease6', version: 6 },
  { family: NFPROTO_ARP, set: 'lease4', version: 4 },
]
const egressSet: LeaseSet = { family: NFPROTO_NETDEV, set: 'lease4', version: 4 }

export type FenceResult = { readonly ok: true } | { readonly ok: false; readonly code: string }

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}

function generic(family: number, resource = 0): Buffer {
  const out = Buffer.alloc(4)
  out[0] = family
  out.writeUInt16BE(resource, 2)
  return out
}

export class LeaseSets {
  readonly #netlink = new Netlink(NETLINK_NETFILTER)
  readonly #table: string
  #sequence = 1
  /** Kernels before 6.12 do not update the timeout of an element that is there: remove and add in one transaction. */
  readonly #updateInPlace: boolean
  #egress = false

  constructor(table: string, updateInPlace: boolean) {
    this.#table = table
    this.#updateInPlace = updateInPlace
  }

  /** Whether the table of the netdev family exists as well. */
  setEgress(egress: boolean): void {
    this.#egress = egress
  }

  get #sets(): readonly LeaseSet[] {
    return this.#egress ? [...baseSets, egressSet] : baseSets
  }

  /** Lets each address answer for `remainingMs` from now on (rounded down to whole milliseconds; 0 is refused). */
  renew(addresses: readonly string[], remainingMs: number): FenceResult {
    const whole = Math.floor(remainingMs)
    if (whole <= 0) return { ok: false, code: 'EXPIRED' }
    const messages: Buffer[] = []
    for (const { family, set, version } of this.#sets) {
      const keys = addresses.map((address) => ipaddr.parse(address)).filter((address) => (address.kind() === 'ipv4' ? 4 : 6) === version)
      if (keys.length === 0) continue
      const elements = (timeoutMs: number | undefined): Buffer =>
        this.#body(family, set, keys.map((key) => element(Buffer.from(key.toByteArray()), timeoutMs)))
      if (!this.#updateInPlace) {
        // The first makes sure that there is something to delete: a delete of nothing would fail the whole batch.
        messages.push(this.#message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, elements(undefined)))
        messages.push(this.#message(NFT_MSG_DELSETELEM, 0, elements(undefined)))
      }
      messages.push(this.#message(NFT_MSG_NEWSETELEM, NLM_F_CREATE, elements(whole)))
    }
    return this.#commit(messages)
  }

  /** Nothing answers from here on. A missing table is closed as well: nobody holds an address without one. */
  close(): FenceResult {
    const result = this.#commit(this.#sets.map(({ family, set }) => this.#message(NFT_MSG_DELSETELEM, 0, this.#body(family, set, undefined))))
    if (!result.ok && this.#egress && result.code === 'ENOENT') {
      // The egress table can vanish with its device; the others must be closed all the same.
      this.#egress = false
      return this.close()
    }
    return result
  }

  dispose(): void {
    this.#netlink.close()
  }

  #message(type: number, flags: number, body: Buffer): Buffer {
    return netlinkMessage(type, NLM_F_REQUEST | NLM_F_ACK | flags, this.#sequence++, body)
  }

  #body(family: number, set: string, elements: readonly Buffer[] | undefined): Buffer {
    const parts = [generic(family), attribute(LIST_TABLE, text(this.#table)), attribute(LIST_SET, text(set))]
    if (elements !== undefined) parts.push(attribute(LIST_ELEMENTS | NLA_F_NESTED, Buffer.concat(elements)))
    return Buffer.concat(parts)
  }

  #commit(messages: readonly Buffer[]): FenceResult {
    if (messages.length === 0) return { ok: true }
    const begin = netlinkMessage(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, this.#sequence++, generic(0, NFNL_SUBSYS_NFTABLES))
    const end = netlinkMessage(NFNL_MSG_BATCH_END, NLM_F_REQUEST, this.#sequence++, generic(0, NFNL_SUBSYS_NFTABLES))
    this.#netlink.receive()
    this.#netlink.send(Buffer.concat([begin, ...messages, end]))
    const errors = errorsOf(this.#netlink.receive())
    return errors.length === 0 ? { ok: true } : { ok: false, code: errnoName(errors[0]!) }
  }
}

function element(key: Buffer, timeoutMs: number | undefined): Buffer {
  const parts = [attribute(ELEM_KEY | NLA_F_NESTED, attribute(DATA_VALUE, key))]
  if (timeoutMs !== undefined) {
    const timeout = Buffer.alloc(8)
    timeout.writeBigUInt64BE(BigInt(timeoutMs))
    parts.push(attribute(ELEM_TIMEOUT, timeout))
  }
  return attribute(LIST_ELEM | NLA_F_NESTED, Buffer.concat(parts))
}

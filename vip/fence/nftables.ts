/**
 * nf_tables as netlink messages (linux/netfilter/nf_tables.h): batches, tables, sets, chains, rules. Encoding only, no I/O.
 *
 * Why not the `nft` program: a renewal must not pass through another process (a frozen or starved one would commit it long
 * after it was computed), the table has to belong to the socket that renews it, and a root process must not run whatever
 * `nft` happens to be first in PATH.
 */
import { AF_INET6, attribute, attributesOf, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, netlinkMessage } from '../syscalls.ts'

const subsystem = 10
const BATCH_BEGIN = 0x10
const BATCH_END = 0x11
const nested = 0x8000

const family = { inet: 1, arp: 3, netdev: 5 } as const
export type Family = keyof typeof family

/** Kinds of message, in the order of `enum nf_tables_msg_types`. */
const message = {
  newTable: 0, getTable: 1, deleteTable: 2, newChain: 3, newRule: 6, newSet: 9, deleteSet: 11, newElements: 12, getElements: 13, deleteElements: 14,
} as const
export type MessageKind = keyof typeof message

/** Netlink type of a kind of message. */
export function typeOf(kind: MessageKind): number {
  return (subsystem << 8) | message[kind]
}

/** The table lives only as long as its owner, and nobody else may change it … */
const NFT_TABLE_F_OWNER = 2
/** … but when the owner ends, it stays (Linux ≥ 6.9). */
const NFT_TABLE_F_PERSIST = 4
const NFT_SET_TIMEOUT = 0x10
/** nft's numbers for the key types, so that `nft list` shows addresses. */
const keyTypes = { 4: 7, 16: 8 } as const

function u32(value: number): Buffer {
  const out = Buffer.alloc(4)
  out.writeInt32BE(value | 0)
  return out
}
function u64(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64BE(BigInt(value))
  return out
}
function text(value: string): Buffer {
  return Buffer.from(`${value}\0`)
}
function nest(type: number, ...parts: readonly Buffer[]): Buffer {
  return attribute(type | nested, Buffer.concat(parts))
}
/** struct nfgenmsg. */
function generic(familyNumber: number, resource = 0): Buffer {
  const out = Buffer.alloc(4)
  out[0] = familyNumber
  out.writeUInt16BE(resource, 2)
  return out
}

/** One message without its sequence number, which it gets in its batch. */
export interface NftMessage {
  readonly kind: MessageKind
  readonly flags: number
  readonly body: Buffer
}

function make(kind: MessageKind, flags: number, in_: Family, ...attributes: readonly Buffer[]): NftMessage {
  return { kind, flags, body: Buffer.concat([generic(family[in_]), ...attributes]) }
}

/** All or nothing: one transaction. `first` and `last` are the sequence numbers of its begin and of its last message, the
 *  only one whose success is acknowledged (refusals are always told). */
export function batch(messages: readonly NftMessage[], first: number): { readonly bytes: Buffer; readonly last: number } {
  const parts = [netlinkMessage(BATCH_BEGIN, NLM_F_REQUEST, first, generic(0, subsystem))]
  let sequence = first
  for (const [index, { kind, flags, body }] of messages.entries()) {
    const acknowledge = index === messages.length - 1 ? NLM_F_ACK : 0
    parts.push(netlinkMessage(typeOf(kind), NLM_F_REQUEST | flags | acknowledge, ++sequence, body))
  }
  parts.push(netlinkMessage(BATCH_END, NLM_F_REQUEST, sequence + 1, generic(0, subsystem)))
  return { bytes: Buffer.concat(parts), last: sequence }
}

/** `owned`: only the socket that sends this may change the table, and it outlives that socket (Linux ≥ 6.9). */
export function newTable(in_: Family, table: string, owned: boolean): NftMessage {
  return make('newTable', NLM_F_CREATE, in_, attribute(1, text(table)), attribute(2, u32(owned ? NFT_TABLE_F_OWNER | NFT_TABLE_F_PERSIST : 0)))
}
export function deleteTable(in_: Family, table: string): NftMessage {
  return make('deleteTable', 0, in_, attribute(1, text(table)))
}
export function getTable(in_: Family, table: string): NftMessage {
  return make('getTable', 0, in_, attribute(1, text(table)))
}

/** A set of addresses of `keyBytes` bytes; `timeouts`: its elements expire. `id` is unique in the batch. */
export function newSet(in_: Family, table: string, set: string, keyBytes: 4 | 16, timeouts: boolean, id: number): NftMessage {
  return make(
    'newSet', NLM_F_CREATE, in_, attribute(1, text(table)), attribute(2, text(set)),
    attribute(3, u32(timeouts ? NFT_SET_TIMEOUT : 0)), attribute(4, u32(keyTypes[keyBytes])), attribute(5, u32(keyBytes)), attribute(10, u32(id)),
  )
}

export interface Hook {
  readonly number: number
  readonly priority: number
  /** Family netdev: the device whose packets pass. */
  readonly device?: string
}
/** A base chain of type filter that lets pass what its rules do not drop. */
export function newChain(in_: Family, table: string, chain: string, hook: Hook): NftMessage {
  return make(
    'newChain', NLM_F_CREATE, in_, attribute(1, text(table)), attribute(3, text(chain)),
    nest(4, attribute(1, u32(hook.number)), attribute(2, u32(hook.priority)), ...(hook.device === undefined ? [] : [attribute(3, text(hook.device))])),
    attribute(5, u32(1)), attribute(7, text('filter')),
  )
}
export function newRule(in_: Family, table: string, chain: string, expressions: readonly Buffer[]): NftMessage {
  return make('newRule', NLM_F_CREATE | NLM_F_APPEND, in_, attribute(1, text(table)), attribute(2, text(chain)), nest(4, ...expressions))
}

/** One element with its key; `timeoutMs`: it expires after so long. With `restart`, an element that is there already starts
 *  anew with that time: without it Linux leaves an element alone whose timeout has the very same value. */
export interface Element {
  readonly key: Buffer
  readonly timeoutMs?: number
  readonly restart?: boolean
}
function elements(kind: 'newElements' | 'deleteElements', flags: number, in_: Family, table: string, set: string, list: readonly Element[]): NftMessage {
  const encoded = list.map(({ key, timeoutMs, restart }) =>
    nest(
      1, nest(1, attribute(1, key)),
      ...(timeoutMs === undefined ? [] : [attribute(4, u64(timeoutMs))]),
      ...(timeoutMs === undefined || restart !== true ? [] : [attribute(5, u64(timeoutMs))]),
    ),
  )
  return make(kind, flags, in_, attribute(1, text(table)), attribute(2, text(set)), ...(encoded.length === 0 ? [] : [nest(3, ...encoded)]))
}
/** Adds elements; those that are there stay, or start anew (`Element.restart`, Linux ≥ 6.12). */
export function addElements(in_: Family, table: string, set: string, list: readonly Element[]): NftMessage {
  return elements('newElements', NLM_F_CREATE, in_, table, set, list)
}
/** Fails the batch when one is not there. */
export function deleteElements(in_: Family, table: string, set: string, keys: readonly Buffer[]): NftMessage {
  return elements('deleteElements', 0, in_, table, set, keys.map((key) => ({ key })))
}
/** Empties a set; an empty one is fine. */
export function flushSet(in_: Family, table: string, set: string): NftMessage {
  return elements('deleteElements', 0, in_, table, set, [])
}
export function getElements(in_: Family, table: string, set: string): NftMessage {
  return make('getElements', 0, in_, attribute(1, text(table)), attribute(2, text(set)))
}

/** Elements in the body of one answer to `getElements`: key, and milliseconds until it expires (undefined: never). */
export function parseElements(body: Buffer): { readonly key: Buffer; readonly expiresMs: number | undefined }[] {
  const found: { key: Buffer; expiresMs: number | undefined }[] = []
  for (const [type, list] of attributesOf(body, 4)) {
    if (type !== 3) continue
    for (const [, element] of attributesOf(list)) {
      let key: Buffer | undefined
      let expiresMs: number | undefined
      for (const [field, payload] of attributesOf(element)) {
        if (field === 1) for (const [, value] of attributesOf(payload)) key = Buffer.from(value)
        if (field === 5) expiresMs = Number(payload.readBigUInt64BE())
      }
      if (key !== undefined) found.push({ key, expiresMs })
    }
  }
  return found
}

// — expressions; all use one register of 16 bytes —

const register = u32(1)
function expression(name: string, ...data: readonly Buffer[]): Buffer {
  return nest(1, attribute(1, text(name)), nest(2, ...data))
}
const headers = { network: 1, transport: 2 } as const
/** Loads bytes of the packet. */
export function load(header: keyof typeof headers, offset: number, length: number): Buffer {
  return expression('payload', attribute(1, register), attribute(2, u32(headers[header])), attribute(3, u32(offset)), attribute(4, u32(length)))
}
const metaKeys = { etherType: 1, networkFamily: 15, transportProtocol: 16 } as const
/** Goes on only if a property of the packet has this value. */
export function ifMeta(key: keyof typeof metaKeys, value: Buffer): Buffer[] {
  return [expression('meta', attribute(1, register), attribute(2, u32(metaKeys[key]))), ifEqual(value)]
}
/** Goes on only if what was loaded is this. */
export function ifEqual(value: Buffer): Buffer {
  return expression('cmp', attribute(1, register), attribute(2, u32(0)), nest(3, attribute(1, value)))
}
/** Goes on only if what was loaded is in the set, or is not. */
export function ifInSet(set: string, isIn: boolean): Buffer {
  return expression('lookup', attribute(1, text(set)), attribute(2, register), ...(isIn ? [] : [attribute(5, u32(1))]))
}
/** Counts (shown by `nft list`) and drops. */
export function countAndDrop(): Buffer[] {
  return [expression('counter'), expression('immediate', attribute(1, u32(0)), nest(2, nest(2, attribute(1, u32(0)))))]
}
export const ipv4Only = ifMeta('networkFamily', Buffer.from([2]))
export const ipv6Only = ifMeta('networkFamily', Buffer.from([AF_INET6]))

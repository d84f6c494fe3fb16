/**
 * Log entries that follow on each other as one piece of bytes: so they lie on disk when they were written together, and so they
 * travel. One allocation and one checksum for all of them.
 *
 *     count u32 | for each: term u64, type u8, length u32 | the payloads
 */
import { Buffer } from 'node:buffer'
import type { Entry, EntryType } from './core/types.ts'

const entryTypes: readonly EntryType[] = ['noop', 'command', 'membership']
const countBytes = 4
const headBytes = 8 + 1 + 4

/** `entries` packed, behind `room` bytes that the caller fills. */
export function packEntries(entries: readonly Entry[], room = 0): Buffer {
  let bytes = room + countBytes + entries.length * headBytes
  for (const { data } of entries) bytes += data.length
  const packed = Buffer.allocUnsafe(bytes)
  packed.writeUInt32BE(entries.length, room)
  let head = room + countBytes
  let at = head + entries.length * headBytes
  for (const { term, type, data } of entries) {
    packed.writeUInt32BE(Math.floor(term / 2 ** 32), head)
    packed.writeUInt32BE(term % 2 ** 32, head + 4)
    packed[head + 8] = entryTypes.indexOf(type)
    packed.writeUInt32BE(data.length, head + 9)
    packed.set(data, at)
    head += headBytes
    at += data.length
  }
  return packed
}

/**
 * The entries in `packed` behind `room` bytes, the first of which has the index `firstIndex`. Their payloads are views of it.
 * Undefined when it is not whole or holds a type that is not known.
 */
export function unpackEntries(packed: Uint8Array, firstIndex: number, room = 0): Entry[] | undefined {
  const view = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  if (view.length < room + countBytes) return undefined
  const count = view.readUInt32BE(room)
  let head = room + countBytes
  let at = head + count * headBytes
  if (at > view.length) return undefined
  const entries: Entry[] = []
  for (let index = firstIndex; index < firstIndex + count; index += 1) {
    const type = entryTypes[view[head + 8]!]
    const end = at + view.readUInt32BE(head + 9)
    if (type === undefined || end > view.length) return undefined
    const term = view.readUInt32BE(head) * 2 ** 32 + view.readUInt32BE(head + 4)
    entries.push({ index, term, type, data: view.subarray(at, end) })
    head += headBytes
    at = end
  }
  return at === view.length ? entries : undefined
}

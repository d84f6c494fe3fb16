/** What a request's choice of member depends on, where the pool balances by hash: 32 bits of its head, read in place. Pure. */
import { equalsIgnoreCase } from '../http/bytes.ts'
import { fieldStride, type Head } from '../http/head.ts'
import { xxHash32 } from './hash.ts'

const QUESTION = 0x3f
const SEMICOLON = 0x3b
const EQUALS = 0x3d
const SPACE = 0x20
const TAB = 0x09

/** A request has nothing there to hash. */
export const noKey = -1

/** Of the request target as it was sent: path and query. */
export function uriKey(head: Head, buffer: Uint8Array): number {
  return xxHash32(buffer, head.targetStart, head.targetEnd, 0)
}

/** Of the target up to the query. */
export function pathKey(head: Head, buffer: Uint8Array): number {
  let end = head.targetStart
  while (end < head.targetEnd && buffer[end] !== QUESTION) end++
  return xxHash32(buffer, head.targetStart, end, 0)
}

/** Of the first field of this name. @param name in lower case */
export function headerKey(head: Head, buffer: Buffer, name: Uint8Array): number {
  const { fields, count } = head
  for (let field = 0, at = 0; field < count; field++, at += fieldStride) {
    if (!equalsIgnoreCase(buffer, fields[at]!, fields[at + 1]!, name)) continue
    return fields[at + 2] === fields[at + 3] ? noKey : xxHash32(buffer, fields[at + 2]!, fields[at + 3]!, 0)
  }
  return noKey
}

const cookieName = Uint8Array.from('cookie', (char) => char.charCodeAt(0))

/** Of the value of the first cookie of this name (RFC 6265 §4.2.1). @param name as it is written: cookie names have case */
export function cookieKey(head: Head, buffer: Buffer, name: Uint8Array): number {
  const { fields, count } = head
  for (let field = 0, at = 0; field < count; field++, at += fieldStride) {
    if (!equalsIgnoreCase(buffer, fields[at]!, fields[at + 1]!, cookieName)) continue
    const key = inCookies(buffer, fields[at + 2]!, fields[at + 3]!, name)
    if (key !== noKey) return key
  }
  return noKey
}

function inCookies(buffer: Buffer, start: number, end: number, name: Uint8Array): number {
  const { length } = name
  for (let at = start; at < end; ) {
    while (at < end && (buffer[at] === SPACE || buffer[at] === TAB || buffer[at] === SEMICOLON)) at++
    let stop = at
    while (stop < end && buffer[stop] !== SEMICOLON) stop++
    if (stop - at > length && buffer[at + length] === EQUALS) {
      let same = 0
      while (same < length && buffer[at + same] === name[same]) same++
      if (same === length) {
        let last = stop
        while (last > at + length + 1 && (buffer[last - 1] === SPACE || buffer[last - 1] === TAB)) last--
        return last === at + length + 1 ? noKey : xxHash32(buffer, at + length + 1, last, 0)
      }
    }
    at = stop
  }
  return noKey
}

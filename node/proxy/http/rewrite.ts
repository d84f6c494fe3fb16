/**
 * Message heads as they go on: the start line, the fields that pass (copied in runs), and what a proxy adds or takes away
 * (RFC 9110 §7.6: Connection and what it names, Via). Everything is written into a buffer that has room for it.
 */
import { ascii } from './bytes.ts'
import { FieldKind, fieldStride, type Head } from './head.ts'

const crlf = ascii('\r\n')
const http11 = ascii(' HTTP/1.1\r\n')
const statusStart = ascii('HTTP/1.1 ')
const forwardedFor = ascii('X-Forwarded-For: ')
const forwardedProtoHttp = ascii('X-Forwarded-Proto: http\r\n')
const forwardedProtoHttps = ascii('X-Forwarded-Proto: https\r\n')
const viaName = ascii('Via: ')
const viaSeparator = ascii(', ')
const hostName = ascii('Host: ')
const connectionUpgrade = ascii('Connection: upgrade\r\n')
const connectionClose = ascii('Connection: close\r\n')
const connectionKeepAlive = ascii('Connection: keep-alive\r\n')
const transferChunked = ascii('Transfer-Encoding: chunked\r\n')
const slash = ascii('/')

/** At most this much is added to a head. */
export const headRoomBytes = 1024

function put(target: Buffer, at: number, bytes: Uint8Array): number {
  // Short: a loop costs less than a call into native code.
  const { length } = bytes
  if (length > 40) target.set(bytes, at)
  else for (let i = 0; i < length; i++) target[at + i] = bytes[i]!
  return at + length
}

function copy(target: Buffer, at: number, source: Buffer, start: number, end: number): number {
  if (end - start > 24) source.copy(target, at, start, end)
  else for (let i = start, to = at; i < end; i++, to++) target[to] = source[i]!
  return at + end - start
}

/** Appends to the field of that kind if there is one (the last of them), else makes one. Existing lines were dropped. */
function appendList(target: Buffer, from: number, name: Uint8Array, head: Head, source: Buffer, kind: number, own: Uint8Array): number {
  let at = put(target, from, name)
  for (let i = 0; i < head.count; i++) {
    if (head.kinds[i] !== kind) continue
    const start = head.fields[i * fieldStride + 2]!
    const end = head.fields[i * fieldStride + 3]!
    if (start === end) continue
    at = copy(target, at, source, start, end)
    at = put(target, at, viaSeparator)
  }
  at = put(target, at, own)
  return put(target, at, crlf)
}

function anyOf(head: Head, kind: number): boolean {
  for (let i = 0; i < head.count; i++) if (head.kinds[i] === kind) return true
  return false
}

/** Copies fields in runs, leaving out those that `drops` names. */
function copyFields(target: Buffer, from: number, head: Head, source: Buffer, drops: number, named: boolean): number {
  const { fields, kinds, count } = head
  const fieldsEnd = head.end - 2
  let at = from
  let runStart = count > 0 ? fields[0]! : fieldsEnd
  for (let i = 0; i < count; i++) {
    const kind = kinds[i]!
    // Upgrade is named by Connection by rule; whether it passes is decided by `drops`.
    const drop = (drops & (1 << kind)) !== 0 || (named && kind !== FieldKind.upgrade && head.namedByConnection(source, i))
    if (!drop) continue
    const line = fields[i * fieldStride]!
    if (line > runStart) at = copy(target, at, source, runStart, line)
    runStart = i + 1 < count ? fields[(i + 1) * fieldStride]! : fieldsEnd
  }
  return fieldsEnd > runStart ? copy(target, at, source, runStart, fieldsEnd) : at
}

/** Whether Connection may name fields at all: decided once per head, most have only `close` or `keep-alive`. */
function connectionNames(head: Head, source: Buffer): boolean {
  for (let i = 0; i < head.count; i++) {
    if (head.kinds[i] !== FieldKind.connection) continue
    const start = head.fields[i * fieldStride + 2]!
    const length = head.fields[i * fieldStride + 3]! - start
    // `close`, `keep-alive`, `upgrade` alone name nothing.
    const first = source[start]! | 0x20
    if ((length === 5 && first === 0x63) || (length === 10 && first === 0x6b) || (length === 7 && first === 0x75)) continue
    return true
  }
  return false
}

export interface RequestRewrite {
  /** Textual address of the client, as bytes. */
  readonly client: Uint8Array
  readonly via: Uint8Array
  /** For a request without Host, or whose Host was taken away: the member's own name, or what the route wants. */
  readonly defaultHost: Uint8Array
  readonly replaceForwarded: boolean
  /** The client's connection is inside TLS. */
  readonly secure: boolean
  /** Lines about the client's certificate; undefined: none. */
  readonly certificateFields: Uint8Array | undefined
  /** In place of the target that came. */
  readonly target: Uint8Array | undefined
}

const always = (1 << FieldKind.connection) | (1 << FieldKind.hopByHop) | (1 << FieldKind.upgrade) | (1 << FieldKind.transferEncoding)
const requestDrops = always | (1 << FieldKind.forwardedFor) | (1 << FieldKind.forwardedProto)
const certificateBit = 1 << FieldKind.clientCertificate
const forwardedProtoBit = 1 << FieldKind.forwardedProto
const upgradeBit = 1 << FieldKind.upgrade

/** Writes a request head for a member. @returns its length */
export function writeRequestHead(target: Buffer, head: Head, source: Buffer, with_: RequestRewrite): number {
  let at = copy(target, 0, source, head.start, head.methodEnd)
  target[at++] = 0x20
  if (with_.target !== undefined) at = put(target, at, with_.target)
  else {
    if (head.targetEmpty) at = put(target, at, slash)
    at = copy(target, at, source, head.targetStart, head.targetEnd)
  }
  at = put(target, at, http11)
  if (head.hostField < 0) {
    at = put(target, at, hostName)
    at = head.hostEnd > head.hostStart ? copy(target, at, source, head.hostStart, head.hostEnd) : put(target, at, with_.defaultHost)
    at = put(target, at, crlf)
  }
  const hasVia = anyOf(head, FieldKind.via)
  let drops = requestDrops
  if (hasVia) drops |= 1 << FieldKind.via
  if (head.upgrade) drops &= ~upgradeBit
  // An HTTP/1.0 client does not understand 100-continue.
  if (head.expectContinue && head.minor === 0) drops |= 1 << FieldKind.expect
  // What a proxy in front of this one has seen of the client's protocol counts, when its word does.
  const keepsProto = !with_.replaceForwarded && anyOf(head, FieldKind.forwardedProto)
  if (keepsProto) drops &= ~forwardedProtoBit
  // Only a proxy in front that is trusted may say what certificate its client had.
  if (with_.secure || with_.replaceForwarded) drops |= certificateBit
  at = copyFields(target, at, head, source, drops, connectionNames(head, source))
  if (head.chunked) at = put(target, at, transferChunked)
  if (head.upgrade) at = put(target, at, connectionUpgrade)
  if (with_.replaceForwarded) {
    at = put(target, at, forwardedFor)
    at = put(target, at, with_.client)
    at = put(target, at, crlf)
  } else at = appendList(target, at, forwardedFor, head, source, FieldKind.forwardedFor, with_.client)
  if (!keepsProto) at = put(target, at, with_.secure ? forwardedProtoHttps : forwardedProtoHttp)
  if (with_.certificateFields !== undefined) at = put(target, at, with_.certificateFields)
  if (hasVia) at = appendList(target, at, viaName, head, source, FieldKind.via, with_.via)
  else {
    at = put(target, at, viaName)
    at = put(target, at, with_.via)
    at = put(target, at, crlf)
  }
  return put(target, at, crlf)
}

export interface ResponseRewrite {
  readonly via: Uint8Array
  /** `close`, `keep-alive` (for an HTTP/1.0 client) or nothing. */
  readonly connection: '' | 'close' | 'keep-alive'
  /** The body goes on with chunks. */
  readonly chunked: boolean
  /** Leave Content-Length out: there is no body, and the status forbids one. */
  readonly dropLength: boolean
}

/** Writes a response head for the client. @returns the position after it */
export function writeResponseHead(target: Buffer, from: number, head: Head, source: Buffer, with_: ResponseRewrite): number {
  let at = put(target, from, statusStart)
  at = copy(target, at, source, head.start + 9, head.start + 12)
  target[at++] = 0x20
  at = copy(target, at, source, head.reasonStart, head.reasonEnd)
  at = put(target, at, crlf)
  const hasVia = anyOf(head, FieldKind.via)
  let drops = always
  if (hasVia) drops |= 1 << FieldKind.via
  if (with_.dropLength) drops |= 1 << FieldKind.contentLength
  const switching = head.status === 101
  if (switching) drops &= ~upgradeBit
  at = copyFields(target, at, head, source, drops, connectionNames(head, source))
  if (with_.chunked) at = put(target, at, transferChunked)
  if (switching) at = put(target, at, connectionUpgrade)
  else if (with_.connection === 'close') at = put(target, at, connectionClose)
  else if (with_.connection === 'keep-alive') at = put(target, at, connectionKeepAlive)
  if (hasVia) at = appendList(target, at, viaName, head, source, FieldKind.via, with_.via)
  else {
    at = put(target, at, viaName)
    at = put(target, at, with_.via)
    at = put(target, at, crlf)
  }
  return put(target, at, crlf)
}

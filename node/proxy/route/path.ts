/**
 * The path of a request in the one form in which routes see it, so that two spellings of a path cannot take two routes
 * (RFC 3986 §6.2.2): unreserved characters decoded, other escapes in capitals, `//` as `/`. Dot segments are refused or resolved;
 * they are also found where only some servers see them: behind `%2F`, `\` or `%5C`, and with parameters (`..;x`).
 */

const slash = 0x2f
const backslash = 0x5c
const percent = 0x25
const dot = 0x2e
const semicolon = 0x3b
const question = 0x3f

export type PathMode = 'match' | 'forward' | 'off'

const unreserved = new Uint8Array(256)
for (const char of '-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ') unreserved[char.charCodeAt(0)] = 1

function hex(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

/** The byte that an escape at `at` stands for, or -1. */
export function escapedByte(buffer: Uint8Array, at: number, end: number): number {
  if (at + 2 >= end) return -1
  const high = hex(buffer[at + 1])
  const low = hex(buffer[at + 2])
  return high < 0 || low < 0 ? -1 : high * 16 + low
}

/** Where the path of a target ends: at its query. */
export function pathEndOf(buffer: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end; at++) if (buffer[at] === question) return at
  return end
}

/** Whether a path is in normal form already, as nearly every one is. */
export function isNormal(buffer: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = buffer[at]!
    if (byte === percent || byte === backslash) return false
    if (byte === slash) {
      const next = buffer[at + 1]!
      if (at + 1 < end && (next === slash || next === dot)) return false
    }
  }
  return true
}

/**
 * Writes the normal form of a path.
 * @param out has room for `end - start` bytes
 * @returns its length, or -1: the path has dot segments that are not to be resolved, or that only some servers would see
 */
export function normalize(buffer: Uint8Array, start: number, end: number, out: Uint8Array, resolve: boolean): number {
  let length = 0
  for (let at = start; at < end; at++) {
    const byte = buffer[at]!
    if (byte === percent) {
      const value = escapedByte(buffer, at, end)
      if (value >= 0) {
        at += 2
        if (unreserved[value] === 1) out[length++] = value
        else {
          out[length++] = percent
          out[length++] = capital(buffer[at - 1]!)
          out[length++] = capital(buffer[at]!)
        }
        continue
      }
    }
    if (byte === slash && length > 0 && out[length - 1] === slash) continue
    out[length++] = byte
  }
  const found = dotSegments(out, length)
  if (found === 0) return length
  return found === 2 || !resolve ? -1 : removeDots(out, length)
}

function capital(digit: number): number {
  return digit >= 0x61 ? digit - 0x20 : digit
}

/** Length of a separator of segments at `at`: 0: there is none. */
function separator(path: Uint8Array, at: number): number {
  const byte = path[at]
  if (byte === slash || byte === backslash) return 1
  if (byte !== percent) return 0
  return (path[at + 1] === 0x32 && path[at + 2] === 0x46) || (path[at + 1] === 0x35 && path[at + 2] === 0x43) ? 3 : 0
}

/** 0: there are no segments `.` and `..`; 1: only such as everybody sees; 2: others too. */
function dotSegments(path: Uint8Array, length: number): 0 | 1 | 2 {
  let result: 0 | 1 | 2 = 0
  let plainBefore = true
  let from = 0
  for (let at = 0; at <= length; at++) {
    const width = at === length ? 1 : separator(path, at)
    if (width === 0) continue
    const plainBehind = at === length || path[at] === slash
    let to = from
    while (to < at && path[to] !== semicolon) to++
    const size = to - from
    if ((size === 1 && path[from] === dot) || (size === 2 && path[from] === dot && path[from + 1] === dot)) {
      if (!plainBefore || !plainBehind || to < at) return 2
      result = 1
    }
    plainBefore = plainBehind
    at += width - 1
    from = at + 1
  }
  return result
}

/** RFC 3986 §5.2.4, in place. */
function removeDots(path: Uint8Array, length: number): number {
  let to = 0
  let at = 0
  while (at < length) {
    // At a slash.
    let end = at + 1
    while (end < length && path[end] !== slash) end++
    const size = end - at - 1
    const one = size === 1 && path[at + 1] === dot
    const two = size === 2 && path[at + 1] === dot && path[at + 2] === dot
    if (two) while (to > 0 && path[--to] !== slash);
    if (one || two) {
      if (end === length) path[to++] = slash
    } else {
      path.copyWithin(to, at, end)
      to += end - at
    }
    at = end
  }
  if (to === 0) path[to++] = slash
  return to
}

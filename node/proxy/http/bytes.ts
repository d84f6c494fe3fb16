/** Classes of bytes in HTTP/1.1 messages (RFC 9110 §5.6, RFC 9112 §3 and §5), and comparisons in place. */

/** tchar: what method and field names are made of. */
export const isToken = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") isToken[char.charCodeAt(0)] = 1

/** Field values: visible characters, space, tab, obs-text. No other controls: not CR, LF, NUL, DEL. */
export const isFieldValue = new Uint8Array(256)
for (let byte = 0x20; byte < 0x100; byte++) if (byte !== 0x7f) isFieldValue[byte] = 1
isFieldValue[0x09] = 1

/** Request targets: visible ASCII. */
export const isTarget = new Uint8Array(256)
for (let byte = 0x21; byte < 0x7f; byte++) isTarget[byte] = 1
// A fragment never travels in a request.
isTarget[0x23] = 0

/** Value of a hexadecimal digit, or -1. */
export const hexValue = new Int8Array(256).fill(-1)
for (let digit = 0; digit < 10; digit++) hexValue[0x30 + digit] = digit
for (let digit = 0; digit < 6; digit++) {
  hexValue[0x41 + digit] = 10 + digit
  hexValue[0x61 + digit] = 10 + digit
}

/**
 * Host (RFC 9110 §7.2): a registered name, an IPv4 address or a bracketed IPv6 address, with an optional port. No comma, though
 * the grammar allows it: to a reader that joins fields it is a list of two hosts.
 */
const isHostByte = new Uint8Array(256)
for (const char of "-._~!$&'()*+;=%:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") isHostByte[char.charCodeAt(0)] = 1

/** Whether `[start, end)` is a host with an optional port. Empty is no host. */
export function isHost(buffer: Buffer, start: number, end: number): boolean {
  if (start >= end) return false
  let at = start
  if (buffer[at] === 0x5b) {
    const close = buffer.indexOf(0x5d, at)
    if (close < 0 || close >= end || close === at + 1) return false
    for (let i = at + 1; i < close; i++) if (hexValue[buffer[i]!]! < 0 && buffer[i] !== 0x3a && buffer[i] !== 0x2e) return false
    at = close + 1
    if (at === end) return true
    if (buffer[at] !== 0x3a) return false
  } else {
    while (at < end && buffer[at] !== 0x3a) {
      const byte = buffer[at]!
      if (isHostByte[byte] === 0 || byte === 0x5b || byte === 0x5d) return false
      at++
    }
    if (at === start) return false
    if (at === end) return true
  }
  // A port: up to five digits (an empty one is allowed by the grammar).
  if (end - at > 6) return false
  for (let i = at + 1; i < end; i++) if (buffer[i]! < 0x30 || buffer[i]! > 0x39) return false
  return true
}

/** Compares `[start, end)` with a lower-case name, ignoring case. */
export function equalsIgnoreCase(buffer: Buffer, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false
  for (let i = 0; i < lower.length; i++) {
    let byte = buffer[start + i]!
    if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20
    if (byte !== lower[i]) return false
  }
  return true
}

/**
 * Like `equalsIgnoreCase`, for names that a client must not be able to say: `_` is taken for `-` too, as by servers that make
 * variables of field names (RFC 3875 §4.1.18).
 */
export function soundsLike(buffer: Buffer, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false
  for (let i = 0; i < lower.length; i++) {
    let byte = buffer[start + i]!
    if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20
    if (byte !== lower[i] && !(byte === 0x5f && lower[i] === 0x2d)) return false
  }
  return true
}

/** Bytes of an ASCII text. */
export function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

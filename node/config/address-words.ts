/** IP addresses as numbers: what long lists and tables of addresses work with, much faster than `address.ts` reads one. Pure. */

/** An address as numbers: four words of 32 bits, most significant first; an IPv4 address is in the first. */
export type AddressWords = Uint32Array

/**
 * Reads an address as the kernel or the document writes it into `words`. An IPv4-mapped IPv6 address counts as IPv4.
 * @returns its family, or 0 when the text is no address
 */
export function parseAddress(text: string, words: AddressWords): 4 | 6 | 0 {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === 0x3a) return parse6(text, words)
    if (code === 0x2e) break
  }
  const value = parse4(text, 0)
  if (value < 0) return 0
  words[0] = value
  words[1] = 0
  words[2] = 0
  words[3] = 0
  return 4
}

/** From `start` to the end of the text. @returns the number, or -1 */
function parse4(text: string, start: number): number {
  let value = 0
  let octet = -1
  let octets = 0
  for (let i = start; i <= text.length; i++) {
    const code = i === text.length ? 0x2e : text.charCodeAt(i)
    if (code === 0x2e) {
      if (octet < 0 || octet > 255 || ++octets > 4) return -1
      value = value * 256 + octet
      octet = -1
    } else if (code >= 0x30 && code <= 0x39) {
      // No leading zeros: programs read them differently.
      if (octet === 0) return -1
      octet = (octet < 0 ? 0 : octet * 10) + code - 0x30
      if (octet > 255) return -1
    } else return -1
  }
  return octets === 4 ? value : -1
}

const groups = new Uint16Array(8)

function parse6(text: string, words: AddressWords): 4 | 6 | 0 {
  let count = 0
  /** Groups before `::`; -1: there is none. */
  let gap = -1
  let at = 0
  if (text.charCodeAt(0) === 0x3a) {
    if (text.charCodeAt(1) !== 0x3a) return 0
    gap = 0
    at = 2
  }
  while (at < text.length) {
    if (count === 8) return 0
    let value = 0
    let digits = 0
    const start = at
    for (; at < text.length; at++) {
      const code = text.charCodeAt(at)
      let digit: number
      if (code >= 0x30 && code <= 0x39) digit = code - 0x30
      else if (code >= 0x61 && code <= 0x66) digit = code - 0x57
      else if (code >= 0x41 && code <= 0x46) digit = code - 0x37
      else break
      value = value * 16 + digit
      if (++digits > 4) return 0
    }
    if (at < text.length && text.charCodeAt(at) === 0x2e) {
      const last = parse4(text, start)
      if (last < 0 || count > 6) return 0
      groups[count++] = last >>> 16
      groups[count++] = last & 0xffff
      at = text.length
      break
    }
    if (digits === 0) return 0
    groups[count++] = value
    if (at === text.length) break
    if (text.charCodeAt(at) !== 0x3a) return 0
    at++
    if (at === text.length) return 0
    if (text.charCodeAt(at) === 0x3a) {
      if (gap >= 0) return 0
      gap = count
      at++
    }
  }
  if (gap < 0 ? count !== 8 : count > 7) return 0
  const zeros = 8 - count
  for (let word = 0; word < 4; word++) words[word] = ((group(2 * word, gap, zeros) << 16) | group(2 * word + 1, gap, zeros)) >>> 0
  if (words[0] === 0 && words[1] === 0 && words[2] === 0xffff) {
    words[0] = words[3]!
    words[2] = 0
    words[3] = 0
    return 4
  }
  return 6
}

function group(index: number, gap: number, zeros: number): number {
  if (gap < 0 || index < gap) return groups[index]!
  return index < gap + zeros ? 0 : groups[index - zeros]!
}

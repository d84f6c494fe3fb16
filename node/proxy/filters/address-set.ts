/**
 * A set of addresses made of many prefixes: sorted ranges that do not touch, in typed arrays that all threads share. A lookup is
 * one binary search (17 steps at 100,000 ranges), and allocates nothing. Pure.
 */
import { parseAddress, type AddressWords } from './address.ts'

/** What a set consists of, as it is posted to the workers: built once, shared by all. */
export interface AddressSetData {
  /** The first addresses of all ranges in ascending order, then the last ones. */
  readonly v4: Uint32Array
  /** The same with four words for each address. */
  readonly v6: Uint32Array
}

/**
 * Builds a set. Prefixes may overlap and come in any order.
 * @param prefixes canonical: `10.0.0.0/8`, `2001:db8::/32`, or an address for itself alone; anything else is a bug and throws
 */
export function buildAddressSet(prefixes: readonly string[]): AddressSetData {
  const words = new Uint32Array(4)
  /** Address × 64 + length: exact, and sorts as both. */
  const four: number[] = []
  /** Four words and the length. */
  const six: number[] = []
  for (const prefix of prefixes) {
    const slash = prefix.indexOf('/')
    const family = parseAddress(slash < 0 ? prefix : prefix.slice(0, slash), words)
    const longest = family === 4 ? 32 : 128
    const length = slash < 0 ? longest : Number(prefix.slice(slash + 1))
    if (family === 0 || !Number.isInteger(length) || length < 0 || length > longest) throw new Error(`not a prefix: ${prefix}`)
    if (family === 4) four.push(maskedWord(words[0]!, length) * 64 + length)
    else six.push(maskedWord(words[0]!, length), maskedWord(words[1]!, length - 32), maskedWord(words[2]!, length - 64), maskedWord(words[3]!, length - 96), length)
  }
  return { v4: ranges4(four), v6: ranges6(six) }
}

/** The first `bits` bits of a word; none for ≤ 0, all for ≥ 32. */
function maskedWord(word: number, bits: number): number {
  if (bits <= 0) return 0
  return bits >= 32 ? word : (word & (0xffffffff << (32 - bits))) >>> 0
}

/** The word with all bits after the first `bits` set. */
function filledWord(word: number, bits: number): number {
  if (bits <= 0) return 0xffffffff
  return bits >= 32 ? word : (word | (0xffffffff >>> bits)) >>> 0
}

function shared(words: number): Uint32Array {
  return new Uint32Array(new SharedArrayBuffer(4 * words))
}

function ranges4(keys: readonly number[]): Uint32Array {
  const sorted = Float64Array.from(keys).sort()
  const first: number[] = []
  const last: number[] = []
  for (const key of sorted) {
    const length = key % 64
    const start = (key - length) / 64
    const end = filledWord(start, length)
    const top = last.length - 1
    // Ranges that touch are one.
    if (top >= 0 && start <= last[top]! + 1) last[top] = Math.max(last[top]!, end)
    else {
      first.push(start)
      last.push(end)
    }
  }
  const data = shared(2 * first.length)
  data.set(first)
  data.set(last, first.length)
  return data
}

function ranges6(flat: readonly number[]): Uint32Array {
  const source = Float64Array.from(flat)
  const count = source.length / 5
  const order = new Uint32Array(count)
  for (let i = 0; i < count; i++) order[i] = i
  order.sort((a, b) => {
    for (let word = 0; word < 5; word++) {
      const difference = source[a * 5 + word]! - source[b * 5 + word]!
      if (difference !== 0) return difference
    }
    return 0
  })
  const first: number[] = []
  const last: number[] = []
  for (const index of order) {
    const at = index * 5
    const length = source[at + 4]!
    const top = last.length - 4
    const inside = top >= 0 && compare(source, at, last, top) <= 0
    // Prefixes either contain each other or are apart: what begins inside ends inside.
    if (inside) continue
    for (let word = 0; word < 4; word++) {
      first.push(source[at + word]!)
      last.push(filledWord(source[at + word]!, length - 32 * word))
    }
  }
  const data = shared(2 * first.length)
  data.set(first)
  data.set(last, first.length)
  return data
}

function compare(a: ArrayLike<number>, at: number, b: ArrayLike<number>, from: number): number {
  for (let word = 0; word < 4; word++) {
    const difference = a[at + word]! - b[from + word]!
    if (difference !== 0) return difference
  }
  return 0
}

/** The same for a lookup, which sees arrays of one kind. */
function compareWords(a: Uint32Array, at: number, b: Uint32Array, from: number): number {
  if (a[at] !== b[from]) return a[at]! - b[from]!
  if (a[at + 1] !== b[from + 1]) return a[at + 1]! - b[from + 1]!
  if (a[at + 2] !== b[from + 2]) return a[at + 2]! - b[from + 2]!
  return a[at + 3]! - b[from + 3]!
}

/** Whether the set has this address. */
export function inAddressSet({ v4, v6 }: AddressSetData, family: 4 | 6, words: AddressWords): boolean {
  if (family === 4) {
    const count = v4.length >>> 1
    const address = words[0]!
    let low = 0
    let high = count
    // The number of ranges that begin at or before the address.
    while (low < high) {
      const middle = (low + high) >>> 1
      if (v4[middle]! <= address) low = middle + 1
      else high = middle
    }
    return low > 0 && address <= v4[count + low - 1]!
  }
  const count = v6.length >>> 3
  let low = 0
  let high = count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareWords(v6, 4 * middle, words, 0) <= 0) low = middle + 1
    else high = middle
  }
  return low > 0 && compareWords(words, 0, v6, 4 * (count + low - 1)) <= 0
}

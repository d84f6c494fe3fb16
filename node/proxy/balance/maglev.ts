/**
 * Consistent hashing by Maglev (Eisenbud et al., “Maglev: A Fast and Reliable Software Network Load Balancer”, NSDI 2016, §3.4),
 * weighted: a table of a prime number of places, which the members fill in turn, each by a permutation of its own. Pure.
 *
 * The table is made of the members that are configured. Which of them is eligible is laid over it (`resolve`): a place whose member
 * is not falls to the next one in the table that is. So a member that goes down or comes back moves its own keys only.
 */
import { firstAvailable } from './first-available.ts'
import { mix32, xxHash32 } from './hash.ts'

/** An eligible member's factor at full weight, sixteenths. */
const full = 16

/** The largest one is Envoy's default: made in some 20 ms for thousands of members. */
const sizes = [1021, 4093, 16_381, 65_537] as const
/** Places for the smallest share: the paper's 100, for about 1 % of unevenness. */
const placesPerShare = 100

/** A place without a member. */
export const nobody = 0xffff

/** How many places a table of these weights should have: a prime. Large pools get a less even one rather than a huge one. */
export function tableSize(weights: readonly number[]): number {
  let total = 0
  let smallest = Infinity
  for (const weight of weights) {
    if (weight === 0) continue
    total += weight
    smallest = Math.min(smallest, weight)
  }
  const wanted = total === 0 ? 0 : (total / smallest) * placesPerShare
  return sizes.find((size) => size >= wanted) ?? sizes[sizes.length - 1]!
}

/**
 * @param names what tells a member from the others, for good: its keys follow it
 * @param weights per member; 0: no places
 * @param size of the table: a prime larger than the number of members
 * @returns the member of each place; `nobody` everywhere when none has a weight
 */
export function maglevTable(names: readonly string[], weights: readonly number[], size: number): Uint16Array {
  const table = new Uint16Array(size).fill(nobody)
  const heaviest = weights.reduce((a, b) => Math.max(a, b), 0)
  if (heaviest === 0) return table
  const count = names.length
  const next = new Float64Array(count)
  const skip = new Float64Array(count)
  const credit = new Float64Array(count)
  for (let member = 0; member < count; member++) {
    const bytes = Uint8Array.from(names[member]!, (char) => char.charCodeAt(0))
    next[member] = xxHash32(bytes, 0, bytes.length, 0) % size
    skip[member] = (xxHash32(bytes, 0, bytes.length, 0x9747b28c) % (size - 1)) + 1
  }
  // By name, so that the order of the document does not matter.
  const order = [...names.keys()].toSorted((a, b) => (names[a]! < names[b]! ? -1 : names[a]! > names[b]! ? 1 : weights[a]! - weights[b]! || a - b))
  // In each turn the heaviest takes a place; the others in as many of the turns as their share of its weight.
  for (let filled = 0; ; ) {
    for (const member of order) {
      credit[member]! += weights[member]! / heaviest
      if (credit[member]! < 1) continue
      credit[member]! -= 1
      let place = next[member]!
      while (table[place] !== nobody) place = (place + skip[member]!) % size
      table[place] = member
      next[member] = (place + skip[member]!) % size
      if (++filled === size) return table
    }
  }
}

/**
 * Lays over a table which members are eligible, and how much of its weight each has at the moment. A member at factor f keeps f/16
 * of its keys, always the same ones: as it grows, keys only move to it.
 * @param factors per member in sixteenths, 0 to 16; 0: not eligible
 * @returns the member of each place, `nobody` when none is eligible; the table itself when all are at full weight
 */
export function resolve(table: Uint16Array, factors: ArrayLike<number>): Uint16Array {
  let lowest = full
  let highest = 0
  for (let member = 0; member < factors.length; member++) {
    lowest = Math.min(lowest, factors[member]!)
    highest = Math.max(highest, factors[member]!)
  }
  if (lowest === full) return table
  const { length } = table
  const resolved = new Uint16Array(length).fill(nobody)
  if (highest === 0 || table[0] === nobody) return resolved
  // Backwards, so that each place knows the next one that keeps its keys; and twice, as the table goes round.
  let keeper = nobody
  for (let turn = 0; turn < 2; turn++) {
    for (let place = length - 1; place >= 0; place--) {
      const factor = factors[table[place]!]!
      // Against the highest one, so that somebody always keeps all. Drawn by place: always the same places are kept.
      if (factor > 0 && (factor === highest || mix32(place) % highest < factor)) keeper = table[place]!
      resolved[place] = keeper
    }
  }
  return resolved
}

/** Places looked at, per member, before the members are gone through one by one. */
const reachPerMember = 8

/**
 * The member of a key: the one at its place, or, when that is excluded or has no place left, the next one in the table's order.
 * @param resolved from `resolve` of `table`
 * @param weights per member; 0: not eligible
 * @param excluded members already tried for this request
 * @param take takes a place of the member; false: it has none left
 * @returns an index, or -1
 */
export function maglev(
  table: Uint16Array,
  resolved: Uint16Array,
  weights: ArrayLike<number>,
  key: number,
  excluded: readonly number[],
  take: (member: number) => boolean,
): number {
  const { length } = table
  let at = key % length
  const first = resolved[at]!
  if (first === nobody) return firstAvailable(weights, key % weights.length, excluded, take)
  if ((excluded.length === 0 || !excluded.includes(first)) && take(first)) return first
  let last = first
  for (let step = Math.min(length, reachPerMember * weights.length); step > 0; step--) {
    const member = table[at]!
    if (++at === length) at = 0
    if (member === last || weights[member] === 0) continue
    last = member
    if ((excluded.length === 0 || !excluded.includes(member)) && take(member)) return member
  }
  return firstAvailable(weights, key % weights.length, excluded, take)
}

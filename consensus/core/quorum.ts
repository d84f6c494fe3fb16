/** Majorities: what a set of voters agrees on. Pure. */
import type { NodeId, Peer } from './types.ts'

/** The smallest number of voters of which any two sets intersect. */
export function majority(voters: number): number {
  return Math.floor(voters / 2) + 1
}

/**
 * The largest value that a majority of the voters has reached: the commit index from match indexes, the start of the
 * lease from heartbeat times. `-Infinity` without voters.
 */
export function reachedByMajority(voters: readonly Peer[], valueOf: (id: NodeId) => number): number {
  const count = voters.length
  if (count === 0) return -Infinity
  const values = Array.from<number>({ length: count })
  for (let i = 0; i < count; i += 1) {
    // Insertion sort, descending: there are never more than a handful.
    const value = valueOf(voters[i]!.id)
    let at = i
    while (at > 0 && values[at - 1]! < value) {
      values[at] = values[at - 1]!
      at -= 1
    }
    values[at] = value
  }
  return values[majority(count) - 1]!
}

/** The state of an election: `lost` once the voters that have not refused are too few. */
export function tally(voters: readonly Peer[], answers: ReadonlyMap<NodeId, boolean>): 'won' | 'lost' | 'open' {
  let granted = 0
  let refused = 0
  for (const voter of voters) {
    const answer = answers.get(voter.id)
    if (answer === true) granted += 1
    else if (answer === false) refused += 1
  }
  const needed = majority(voters.length)
  if (voters.length > 0 && granted >= needed) return 'won'
  return refused > voters.length - needed ? 'lost' : 'open'
}

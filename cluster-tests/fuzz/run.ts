/** Runs inputs through a target until they disagree, or the count is reached. */
import { Chance } from './inputs.ts'
import type { Target } from './targets.ts'

export interface Outcome {
  readonly inputs: number
  /** Messages that the parser took: if they are few, the inputs say little. */
  readonly taken: number
  /** The first disagreement; undefined: none. */
  readonly fault: string | undefined
}

/** Input `index` of a seed is the same whatever came before it, so that a failure can be replayed alone. */
export function one(target: Target, seed: number, index: number): { readonly input: string; readonly cuts: readonly number[] } {
  const chance = new Chance((seed + Math.imul(index, 0x9e3779b1)) >>> 0)
  const input = target.input(chance)
  const cuts: number[] = []
  for (let count = chance.below(6); count > 0; count--) cuts.push(chance.below(input.length + 1))
  // Now and then byte by byte.
  if (chance.below(16) === 0) for (let at = 1; at < input.length; at++) cuts.push(at)
  return { input, cuts: cuts.sort((a, b) => a - b) }
}

export function run(target: Target, seed: number, from: number, count: number): Outcome {
  let taken = 0
  for (let index = from; index < from + count; index++) {
    const { input, cuts } = one(target, seed, index)
    let fault: string | undefined
    try {
      const result = target.compare(input, cuts)
      taken += result.taken
      if (result.parser !== result.reference) fault = `parser:\n${result.parser}\nreference:\n${result.reference}`
    } catch (error) {
      fault = (error as Error).stack ?? String(error)
    }
    if (fault !== undefined) {
      const replay = `npm run fuzz -- --target ${target.name} --seed ${seed} --index ${index}`
      return { inputs: index - from + 1, taken, fault: `${fault}\ninput: ${JSON.stringify(input)}\nsplit at: ${cuts.join(', ')}\nreplay: ${replay}` }
    }
  }
  return { inputs: count, taken, fault: undefined }
}

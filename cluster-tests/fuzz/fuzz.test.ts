/** A short run of every fuzz target with a new seed, and that a difference would be noticed. */
import test from 'ava'
import { run } from './run.ts'
import { targets } from './targets.ts'

const count = 60_000

for (const target of targets) {
  test(`${target.name}: the parser and a simple reader agree on ${count} inputs, however they are split`, (t) => {
    const seed = Date.now() % 1_000_000_000
    t.log(`replay: npm run fuzz -- --target ${target.name} --seed ${seed} --count ${count}`)
    const outcome = run(target, seed, 0, count)
    t.is(outcome.fault, undefined)
    t.true(outcome.taken > count / 20, `only ${outcome.taken} were right: the run would say little`)
  })

  test(`${target.name}: a reader that differs in one input of many is noticed, and its replay fails too`, (t) => {
    const wrong = { ...target, compare: (input: string, cuts: readonly number[]) => {
      const result = target.compare(input, cuts)
      return input.length % 50 === 7 ? { ...result, reference: `${result.reference}!` } : result
    } }
    const { fault = '', inputs } = run(wrong, 1, 0, 10_000)
    t.regex(fault, /replay: npm run fuzz/)
    t.not(run(wrong, 1, inputs - 1, 1).fault, undefined)
  })
}

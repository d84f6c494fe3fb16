/**
 * `npm run fuzz -- [--target NAME] [--count 10000000] [--seed N] [--index N]`: near-valid inputs, split at random points, through the
 * parsers and simple reference readers, which have to agree on every message. `--index` runs one input alone.
 */
import { parseArgs } from 'node:util'
import { run } from './run.ts'
import { targets } from './targets.ts'

const { values } = parseArgs({
  options: { target: { type: 'string' }, count: { type: 'string', default: '10000000' }, seed: { type: 'string' }, index: { type: 'string' } },
})
const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed)
const count = Number(values.count)
const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target)
if (chosen.length === 0) {
  console.error(`there is no target ${values.target}; targets: ${targets.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const atOnce = 100_000
for (const target of chosen) {
  const startedMs = performance.now()
  let taken = 0
  let inputs = 0
  const first = values.index === undefined ? 0 : Number(values.index)
  const last = values.index === undefined ? count : first + 1
  for (let from = first; from < last; from += atOnce) {
    const outcome = run(target, seed, from, Math.min(atOnce, last - from))
    inputs += outcome.inputs
    taken += outcome.taken
    if (outcome.fault !== undefined) {
      console.error(`${target.name}: the readers disagree after ${inputs} inputs\n${outcome.fault}`)
      process.exit(1)
    }
  }
  const seconds = (performance.now() - startedMs) / 1000
  console.log(`${target.name}: ${inputs} inputs in ${seconds.toFixed(0)} s (${(inputs / seconds).toFixed(0)}/s), ${taken} messages taken, no disagreement; seed ${seed}`)
}

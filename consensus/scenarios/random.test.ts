/**
 * Several hundred randomised runs. Every failure names its seed; replay one with
 * `SEED=n ava consensus/scenarios/random.test.ts`, run more with `SEEDS=n`.
 */
import test from 'ava'
import { simulate } from './simulation.ts'

const only = process.env['SEED']
const count = Number(process.env['SEEDS'] ?? 400)
const first = only === undefined ? Number(process.env['FIRST_SEED'] ?? Math.floor(Math.random() * 1e6)) : Number(only)
const seeds = only === undefined ? count : 1

test('invariants hold in randomised runs', t => {
  const totals = { elections: 0, leases: 0, committed: 0, installs: 0, transfers: 0, crashes: 0, reads: 0, repairs: 0, preemptions: 0 }
  for (let seed = first; seed < first + seeds; seed += 1) {
    try {
      const { cluster } = simulate(seed)
      for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += cluster.counts[key]
      if (only !== undefined) t.log(cluster.transcript())
    } catch (error) {
      t.log(`replay: SEED=${seed} ava consensus/scenarios/random.test.ts`)
      throw error
    }
  }
  t.log(`seeds ${first} to ${first + seeds - 1}: ${JSON.stringify(totals)}`)
  // A run in which nothing happens proves nothing.
  if (only !== undefined) return t.pass()
  for (const [what, total] of Object.entries(totals)) t.true(total > count / 20, `${what}: ${total}`)
})

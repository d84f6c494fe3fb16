/** Who may get traffic: eligibility and panic, ejection, slow start, the circuit breaker. */
import test from 'ava'
import * as fc from 'fast-check'
import type { MemberHealth } from '../observe/counters.ts'
import { randomness } from '../config/fixture/documents.ts'
import { Circuit, circuitCells, circuitState, resetCircuit, watchCircuit, type CircuitWatch } from './circuit.ts'
import { ejectMembers, neverEjected, type Ejection, type EjectionInput, type EjectionPolicy } from './ejection.ts'
import { eligibleMembers } from './eligible.ts'
import { slowStartFactor, slowStartFactors } from './slow-start.ts'

// — eligibility —

const letters: Readonly<Record<string, MemberHealth>> = { u: 'up', d: 'down', c: 'checking', e: 'ejected', r: 'draining', x: 'disabled' }
/** Members by letter, panic threshold, those that are eligible. */
const eligibility: readonly (readonly [string, string, number, string])[] = [
  ['those that are up', 'uducerx', 0, '1.1....'],
  ['checking while none is up', 'dcerx', 0, '.1...'],
  ['ejected when there is nothing else', 'derx', 0, '.1..'],
  ['none', 'ddrx', 0, '....'],
  ['panic below the threshold', 'uddde', 50, '11111'],
  ['no panic at the threshold', 'uudd', 50, '11..'],
  ['panic when all are down', 'ddrx', 1, '11..'],
  ['draining and disabled members do not count', 'urrrxx', 100, '1.....'],
  ['those being checked are not known to be unwell', 'ucccd', 50, '1....'],
  ['an empty pool', '', 50, ''],
]
for (const [what, members, threshold, expected] of eligibility) {
  test(`eligible: ${what}`, (t) => {
    const health = [...members].map((letter) => letters[letter]!)
    t.is(eligibleMembers(health, threshold).map((may) => (may ? '1' : '.')).join(''), expected)
  })
}

// — ejection —

const policy: EjectionPolicy = { failures: 5, ejectionMs: 1000, maxEjectionMs: 3000, maxEjected: 50 }
const members = (...failures: (number | undefined)[]): EjectionInput[] => failures.map((count) => ({ candidate: count !== undefined, failures: count ?? 0 }))
const out = (ejections: readonly Ejection[]): string => ejections.map((one) => (one.untilMs > 0 ? 'e' : '.')).join('')
const fresh = (count: number): Ejection[] => Array.from({ length: count }, () => neverEjected)

test('a member is ejected after its failures, and comes back after its time', (t) => {
  let now = ejectMembers(fresh(4), members(4, 0, 0, 0), policy, 1)
  t.is(out(now), '....')
  now = ejectMembers(now, members(5, 0, 0, 0), policy, 100)
  t.is(out(now), 'e...')
  now = ejectMembers(now, members(0, 0, 0, 0), policy, 1099)
  t.is(out(now), 'e...')
  now = ejectMembers(now, members(0, 0, 0, 0), policy, 1100)
  t.is(out(now), '....')
})

test('each repeat takes longer, up to the limit; good times are remembered, too', (t) => {
  const times: number[] = []
  let now = fresh(2)
  let at = 1
  for (let i = 0; i < 5; i++) {
    now = ejectMembers(now, members(9, 0), policy, at)
    times.push(now[0]!.untilMs - at)
    at = now[0]!.untilMs
    now = ejectMembers(now, members(0, 0), policy, at)
    at++
  }
  t.deepEqual(times, [1000, 2000, 3000, 3000, 3000])
  for (let i = 0; i < 4; i++) now = ejectMembers(now, members(0, 0), policy, (at += 1000))
  now = ejectMembers(now, members(9, 0), policy, (at += 1))
  t.is(now[0]!.untilMs - at, 2000)
})

test('the worst first, no more than the share, never the last one', (t) => {
  t.is(out(ejectMembers(fresh(4), members(5, 7, 9, 6), policy, 1)), '.ee.')
  t.is(out(ejectMembers(fresh(5), members(9, 9, 9, 9, 9), { ...policy, maxEjected: 100 }, 1)), 'eeee.')
  t.is(out(ejectMembers(fresh(3), members(9, 9, 9), { ...policy, maxEjected: 1 }, 1)), 'e..')
  t.is(out(ejectMembers(fresh(1), members(9), { ...policy, maxEjected: 100 }, 1)), '.')
  t.is(out(ejectMembers(fresh(2), members(9, undefined), policy, 1)), '..')
})

test('when others go down, ejected members come back', (t) => {
  const now = ejectMembers(fresh(4), members(9, 9, 0, 0), policy, 1)
  t.is(out(now), 'ee..')
  t.is(out(ejectMembers(now, members(0, 0, undefined, 0), policy, 2)), '.e..')
  t.is(out(ejectMembers(now, members(0, 0, undefined, undefined), policy, 2)), '.e..')
  t.is(out(ejectMembers(now, members(0, undefined, undefined, undefined), policy, 2)), '....')
})

test('a member that its check takes down is not ejected any more', (t) => {
  const now = ejectMembers(fresh(3), members(9, 0, 0), policy, 1)
  t.is(out(ejectMembers(now, members(undefined, 0, 0), policy, 2)), '...')
})

test('whatever happens, never more than the share is ejected, and never all', (t) => {
  const look = fc.record({ candidates: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), failures: fc.array(fc.nat(12), { minLength: 6, maxLength: 6 }), passesMs: fc.nat(1500) })
  const share = fc.integer({ min: 1, max: 100 })
  fc.assert(
    fc.property(fc.array(look, { maxLength: 30 }), share, fc.integer({ min: 1, max: 6 }), (looks, maxEjected, count) => {
      let now = fresh(count)
      let at = 1
      for (const { candidates, failures, passesMs } of looks) {
        at += passesMs
        const given = Array.from({ length: count }, (_, i) => ({ candidate: candidates[i]!, failures: failures[i]! }))
        now = ejectMembers(now, given, { ...policy, maxEjected }, at)
        const able = given.filter(({ candidate }) => candidate).length
        const ejected = now.filter(({ untilMs }) => untilMs > 0).length
        if (now.some(({ untilMs }, i) => untilMs > 0 && !given[i]!.candidate)) return false
        if (ejected > 0 && ejected >= able) return false
        if (ejected > Math.max(1, (able * maxEjected) / 100)) return false
        if (now.some(({ untilMs }) => untilMs > at + policy.maxEjectionMs)) return false
      }
      return true
    }),
    randomness(t, 300),
  )
  t.pass()
})

// — slow start —

test('the share grows from an eighth to the whole', (t) => {
  t.deepEqual([0, 1000, 2500, 5000, 9999, 10_000, 50_000].map((since) => slowStartFactor(since, 10_000)), [2, 2, 4, 8, 15, 16, 16])
  t.is(slowStartFactor(0, 0), 16)
})

test('the one that is up longest has its whole weight, so that nobody waits for members that came up together', (t) => {
  t.deepEqual(slowStartFactors([0, 0, 0], 10_000), [16, 16, 16])
  t.deepEqual(slowStartFactors([100_000, 0, undefined], 10_000), [16, 2, 16])
  t.deepEqual(slowStartFactors([5000, 2500], 10_000), [16, 8])
  t.deepEqual(slowStartFactors([undefined, undefined], 10_000), [16, 16])
  fc.assert(
    fc.property(fc.array(fc.option(fc.nat(20_000), { nil: undefined }), { maxLength: 8 }), (since) => {
      const factors = slowStartFactors(since, 10_000)
      const up = factors.filter((_, member) => since[member] !== undefined)
      return factors.every((factor) => Number.isInteger(factor) && factor >= 2 && factor <= 16) && (up.length === 0 || up.includes(16))
    }),
    randomness(t, 300),
  )
  t.pass()
})

// — circuit —

const limits = { failures: 3, openMs: 1000, trials: 2 }
class Bench {
  readonly cells = new Int32Array(new SharedArrayBuffer(4 * (circuitCells + 3)))
  readonly circuit = new Circuit(this.cells, 3, limits)
  watch: CircuitWatch | undefined
  look(nowMs: number): string {
    this.watch = watchCircuit(this.cells, 3, limits, this.watch, nowMs)
    return circuitState(this.cells, 3)
  }
}

test('failures in a row open it, a success between them does not let it come so far', (t) => {
  const { cells, circuit } = new Bench()
  circuit.failed()
  circuit.failed()
  circuit.succeeded()
  circuit.failed()
  circuit.failed()
  t.true(circuit.admits())
  circuit.failed()
  t.is(circuitState(cells, 3), 'open')
  t.false(circuit.admits())
  resetCircuit(cells, 3)
  t.true(circuit.admits())
})

test('after its rest it lets trials through; all must succeed', (t) => {
  const bench = new Bench()
  const { circuit } = bench
  for (let i = 0; i < 3; i++) circuit.failed()
  t.is(bench.look(10), 'open')
  t.is(bench.look(1009), 'open')
  t.is(bench.look(1010), 'half-open')
  t.deepEqual([circuit.admits(), circuit.admits(), circuit.admits(), circuit.admits()], [true, true, false, false])
  circuit.succeeded()
  t.is(bench.look(1100), 'half-open')
  circuit.succeeded()
  t.is(bench.look(1200), 'closed')
  t.true(circuit.admits())
})

test('a trial that fails opens it again, for another rest', (t) => {
  const bench = new Bench()
  const { circuit } = bench
  for (let i = 0; i < 3; i++) circuit.failed()
  bench.look(10)
  bench.look(1010)
  t.true(circuit.admits())
  circuit.failed()
  t.is(bench.look(1100), 'open')
  t.is(bench.look(2099), 'open')
  t.is(bench.look(2100), 'half-open')
})

test('trials that nobody has finished are given out anew', (t) => {
  const bench = new Bench()
  const { circuit } = bench
  for (let i = 0; i < 3; i++) circuit.failed()
  bench.look(10)
  bench.look(1010)
  t.true(circuit.admits())
  t.true(circuit.admits())
  t.false(circuit.admits())
  t.is(bench.look(2010), 'half-open')
  t.true(circuit.admits())
})

test('in any order of events: nothing passes while it is open, no more than the trials between two rests', (t) => {
  const event = fc.oneof(fc.constantFrom('ask', 'good', 'bad'), fc.nat(600))
  fc.assert(
    fc.property(fc.array(event, { maxLength: 80 }), (events) => {
      const bench = new Bench()
      let nowMs = 0
      let passed = 0
      let sinceMs = -1
      for (const what of events) {
        const before = circuitState(bench.cells, 3)
        if (typeof what === 'number') {
          const since = bench.watch?.sinceMs
          bench.look((nowMs += what))
          if (bench.watch?.sinceMs !== since) passed = 0
        } else if (what === 'ask') {
          const may = bench.circuit.admits()
          if (before === 'open' && may) return false
          if (before === 'closed' && !may) return false
          if (before === 'half-open' && may && ++passed > limits.trials) return false
        } else if (what === 'good') bench.circuit.succeeded()
        else bench.circuit.failed()
        const after = circuitState(bench.cells, 3)
        if (before !== 'half-open' && after === 'half-open') {
          // At least one whole rest lies between.
          if (sinceMs >= 0 && nowMs - sinceMs < limits.openMs) return false
          passed = 0
        }
        if (before !== 'open' && after === 'open') sinceMs = nowMs
      }
      return true
    }),
    randomness(t, 300),
  )
  t.pass()
})

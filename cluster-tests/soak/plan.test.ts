/** The plan of a torture run: given by its seed, and complete. */
import test from 'ava'
import { seededRandom } from '../drills/random.ts'
import { faultKinds, Plan } from './plan.ts'

test('a seed gives the same plan again, another seed another one', (t) => {
  const rounds = (seed: number) => {
    const plan = new Plan(seededRandom(seed))
    return Array.from({ length: 50 }, () => plan.next())
  }
  t.deepEqual(rounds(7), rounds(7))
  t.notDeepEqual(rounds(7), rounds(8))
})

test('every kind of fault comes once before any comes by chance', (t) => {
  for (let seed = 0; seed < 20; seed++) {
    const plan = new Plan(seededRandom(seed))
    const kinds = Array.from({ length: faultKinds.length }, () => plan.next().faults[0]!.kind)
    t.deepEqual(kinds.toSorted(), [...faultKinds].toSorted())
  }
})

test('a fault between two members names two, a witness has no child to be killed, lengths are bounded', (t) => {
  const plan = new Plan(seededRandom(3))
  let compound = 0
  for (let i = 0; i < 2000; i++) {
    const { faults, phaseMs, secondAfterMs } = plan.next()
    if (faults.length === 2) compound++
    t.true(phaseMs >= 0 && phaseMs <= 500 && secondAfterMs <= 2000)
    for (const fault of faults) {
      t.not(fault.target, fault.peer)
      t.true(fault.lengthMs >= 50 && fault.lengthMs <= 6000)
      if (fault.kind === 'kill-child' || fault.kind === 'freeze-child' || fault.kind === 'hand-over') t.not(fault.target, 'witness')
      if (fault.kind === 'wipe-and-rejoin') t.is(faults.length, 1)
    }
  }
  t.true(compound > 200)
})

import test from 'ava'
import { FakeProxy } from './fake-transport.ts'
import { PoolRuntime } from './pool.ts'
import { allocate, Shared } from './shared.ts'

const plan = FakeProxy.with(2, {}, { balance: 'least-connections' }).listener.pools[0]!.plan

// Bug: the place was claimed against the count at the claim, not against the one that the choice was made on.
test('bug: two workers that chose at the same moment both took the same member', (t) => {
  const buffers = allocate(2)
  const other = new Shared(buffers, 1)
  let looked = 0
  class Slow extends Shared {
    override active(slot: number): number {
      const count = super.active(slot)
      // Just after the last member has been looked at, the other worker takes the first.
      if (++looked === 2) other.addActive(plan.members[0]!.slot, 1)
      return count
    }
  }
  const shared = new Slow(buffers, 0)
  for (const member of plan.members) shared.setHealth(member.slot, 'up')
  const index = new PoolRuntime(plan, shared).pick([], 0)
  t.is(index, 1)
  t.deepEqual(plan.members.map((member) => other.active(member.slot)), [1, 1])
})

test('members that are still checked are used only while none is up; draining, disabled and down ones never', (t) => {
  const shared = new Shared(allocate(1), 0)
  const pool = new PoolRuntime({ ...plan, balance: 'round-robin' }, shared)
  const picks = (): Set<number> => new Set(Array.from({ length: 10 }, () => pool.pick([], 0)))
  const set = (a: Parameters<Shared['setHealth']>[1], b: typeof a): void => {
    shared.setHealth(plan.members[0]!.slot, a)
    shared.setHealth(plan.members[1]!.slot, b)
  }
  set('checking', 'checking')
  t.deepEqual(picks(), new Set([0, 1]))
  set('checking', 'up')
  t.deepEqual(picks(), new Set([1]))
  for (const state of ['down', 'draining', 'disabled'] as const) {
    set('checking', state)
    t.deepEqual(picks(), new Set([0]))
    set(state, state)
    t.deepEqual(picks(), new Set([-1]))
  }
})

test('a dead worker gives back what it had counted in, and no more', (t) => {
  const buffers = allocate(2)
  const [one, two] = [new Shared(buffers, 0), new Shared(buffers, 1)] as const
  one.addActive(3, 1)
  two.addActive(3, 2)
  t.true(one.openConnection(5, 3))
  t.true(two.openConnection(5, 3))
  t.true(two.openConnection(5, 3))
  t.false(one.openConnection(5, 3))
  one.giveBack(1)
  t.is(one.active(3), 1)
  t.is(one.connections(5), 1)
  one.giveBack(1)
  t.is(one.active(3), 1)
})

test('totals of a place that gets another name begin at zero, again and again', (t) => {
  const shared = new Shared(allocate(1), 0)
  for (let i = 0; i < 3; i++) {
    shared.addListener(7, 1, 5)
    shared.addMember(9, 0, 4)
    t.is(shared.listenerTotal(7, 1), 5)
    t.is(shared.memberTotal(9, 0), 4)
    shared.renewListener(7)
    shared.renewMember(9)
    t.is(shared.listenerTotal(7, 1), 0)
    t.is(shared.memberTotal(9, 0), 0)
  }
})

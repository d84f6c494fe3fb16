/** The lease machine: named cases of the safety rules, then random histories against a simple oracle. */
import test from 'ava'
import * as fc from 'fast-check'
import { announceAtMs, announceEveryMs, VipMachine, type Desired, type VipEvent } from './machine.ts'
import type { VipSpec } from './types.ts'

function spec(name: string, device = 'eth0', announcer: VipSpec['announcer'] = 'kernel'): VipSpec {
  return { name, address: `10.77.0.${name.charCodeAt(0)}`, prefixLength: 32, interface: device, announcer }
}

const a = spec('a')
const b = spec('b', 'eth1')

/** Configured, guarded and fit, without a lease. */
function ready(...specs: readonly VipSpec[]): VipMachine {
  const machine = new VipMachine()
  machine.step({ type: 'configure', vips: specs }, 0)
  for (const { name } of specs) machine.step({ type: 'guarded', name }, 0)
  machine.step({ type: 'fit', fit: true }, 0)
  return machine
}

function lease(term: number, untilMs: number): VipEvent {
  return { type: 'lease', lease: { term, untilMs } }
}

function names(specs: readonly VipSpec[]): string {
  return specs.map(({ name }) => name).join(' ')
}

function states({ states }: Desired): string {
  return states.map(({ spec: { name }, state }) => `${name}:${state}`).join(' ')
}

test('opens with a lease, holds once acquired, ends with the lease by time alone', (t) => {
  const machine = ready(a)
  const open = machine.step(lease(1, 200), 10)
  t.is(names(open.open), 'a')
  t.is(open.untilMs, 200)
  t.is(states(open), 'a:acquiring')
  t.is(states(machine.step({ type: 'acquired', name: 'a' }, 11)), 'a:held')
  t.is(states(machine.step({ type: 'tick' }, 199.9)), 'a:held')
  const ended = machine.step({ type: 'tick' }, 200)
  t.is(states(ended), 'a:released')
  t.deepEqual(ended.open, [])
  t.is(ended.untilMs, 0)
})

test('rule 1: neither fitness nor guard nor link opens anything without a lease', (t) => {
  const machine = ready(a)
  t.deepEqual(machine.step({ type: 'link', interface: 'eth0', error: '' }, 1).open, [])
  t.deepEqual(machine.step({ type: 'acquired', name: 'a' }, 2).open, [])
  t.is(states(machine.step({ type: 'tick' }, 3)), 'a:released', 'a late word of success is not believed')
})

test('rule 4: after close nothing of the same or an earlier term opens, a higher term does', (t) => {
  const machine = ready(a)
  machine.step(lease(3, 200), 0)
  machine.step({ type: 'acquired', name: 'a' }, 1)
  t.is(states(machine.step({ type: 'close' }, 2)), 'a:released')
  for (const term of [1, 2, 3]) t.deepEqual(machine.step(lease(term, 1000), 3).open, [], `term ${term}`)
  machine.step({ type: 'fit', fit: false }, 4)
  t.deepEqual(machine.step({ type: 'fit', fit: true }, 5).open, [], 'being fit again is no new term')
  t.is(names(machine.step(lease(4, 1000), 6).open), 'a')
})

test('rule 6: after a pause the stale lease opens, renews and announces nothing', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 200), 0)
  machine.step({ type: 'acquired', name: 'a' }, 0)
  // Everything that was waiting when the process stopped comes at once, five seconds later.
  for (const event of [{ type: 'tick' }, { type: 'acquired', name: 'a' }, lease(1, 240), { type: 'guarded', name: 'a' }] as const) {
    const { open, announce, wakeMs } = machine.step(event, 5000)
    t.deepEqual(open, [])
    t.deepEqual(announce, [])
    t.is(wakeMs, Infinity)
  }
})

test('not fit: closed at once, open again when fit while the lease lasts', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 200), 0)
  machine.step({ type: 'acquired', name: 'a' }, 1)
  const unfit = machine.step({ type: 'fit', fit: false }, 2)
  t.deepEqual(unfit.open, [])
  t.is(states(unfit), 'a:released')
  t.is(states(machine.step({ type: 'fit', fit: true }, 3)), 'a:acquiring')
})

test('a lease of an earlier term is not taken for a new one, and does not end the newer', (t) => {
  const machine = ready(a)
  machine.step(lease(5, 200), 0)
  const { untilMs } = machine.step(lease(4, 900), 1)
  t.is(untilMs, 200)
})

test('announced at 0, 100, 500 ms, 2 s, then every minute; what was missed is not made up for', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 1e9), 1000)
  const said: number[] = []
  const at = (nowMs: number, event: VipEvent = { type: 'tick' }): number => {
    const { announce, wakeMs } = machine.step(event, nowMs)
    if (announce.length > 0) said.push(nowMs - 1000)
    return wakeMs
  }
  let wakeMs = at(1000, { type: 'acquired', name: 'a' })
  while (said.length < 6) wakeMs = at(wakeMs)
  t.deepEqual(said, [...announceAtMs, 2000 + announceEveryMs, 2000 + 2 * announceEveryMs])
  at(1000 + 2000 + 7.5 * announceEveryMs)
  at(1000 + 2000 + 7.6 * announceEveryMs)
  t.is(said.length, 7)
})

test('a released and regained VIP is announced anew', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 200), 0)
  t.is(names(machine.step({ type: 'acquired', name: 'a' }, 1).announce), 'a')
  machine.step({ type: 'lease', lease: null }, 20)
  machine.step(lease(1, 300), 30)
  t.is(names(machine.step({ type: 'acquired', name: 'a' }, 31).announce), 'a')
})

test('a link that goes down takes its own VIPs only', (t) => {
  const machine = ready(a, b, spec('c', 'eth0', 'bind'))
  machine.step(lease(1, 200), 0)
  for (const name of ['a', 'b', 'c']) machine.step({ type: 'acquired', name }, 1)
  const down = machine.step({ type: 'link', interface: 'eth0', error: 'interface eth0 is down' }, 2)
  t.is(names(down.open), 'b c')
  t.is(states(down), 'a:failed b:held c:held')
  t.is(states(machine.step({ type: 'link', interface: 'eth0', error: '' }, 3)), 'a:acquiring b:held c:held')
})

test('what failed is let go of, shown as failed and tried again', (t) => {
  const machine = ready(a, b)
  machine.step(lease(1, 10_000), 0)
  machine.step({ type: 'acquired', name: 'b' }, 1)
  const failed = machine.step({ type: 'failed', name: 'a', error: 'no room', retryMs: 1000 }, 2)
  t.is(names(failed.open), 'b')
  t.is(states(failed), 'a:failed b:held')
  t.is(failed.wakeMs, 101, 'b is announced first')
  const again = machine.step({ type: 'tick' }, 1002)
  t.is(names(again.open), 'a b')
  t.is(states(again), 'a:failed b:held', 'it has not succeeded yet')
  t.is(states(machine.step({ type: 'acquired', name: 'a' }, 1003)), 'a:held b:held')
})

test('a report of success that comes after the VIP was let go of makes nothing good', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 10_000), 0)
  machine.step({ type: 'failed', name: 'a', error: 'no room', retryMs: 1000 }, 1)
  t.is(states(machine.step({ type: 'acquired', name: 'a' }, 2)), 'a:failed')
})

test('configuration: what stays is not disturbed, what changed starts over, what is new waits for its guard', (t) => {
  const machine = ready(a)
  machine.step(lease(1, 200), 0)
  machine.step({ type: 'acquired', name: 'a' }, 1)
  const added = machine.step({ type: 'configure', vips: [b, { ...a }] }, 2)
  t.is(names(added.open), 'a')
  t.is(states(added), 'b:released a:held')
  t.is(names(machine.step({ type: 'guarded', name: 'b' }, 3).open), 'b a')
  t.is(names(machine.step({ type: 'configure', vips: [b, { ...a, prefixLength: 24 }] }, 4).open), 'b')
  t.is(states(machine.step({ type: 'refused', name: 'b', error: 'occupied' }, 5)), 'b:failed a:released')
})

// — random histories —

const anyName = fc.constantFrom('a', 'b', 'c')
const event: fc.Arbitrary<VipEvent> = fc.oneof(
  { weight: 1, arbitrary: fc.subarray([a, b, spec('c', 'eth0', 'bind')]).map((vips) => ({ type: 'configure' as const, vips })) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('lease' as const),
      lease: fc.option(fc.record({ term: fc.integer({ min: 1, max: 5 }), untilMs: fc.integer({ min: 0, max: 1500 }) })),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('fit' as const), fit: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ type: 'close' as const }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('link' as const), interface: fc.constantFrom('eth0', 'eth1'), error: fc.constantFrom('', 'down') }) },
  { weight: 6, arbitrary: fc.record({ type: fc.constantFrom('guarded' as const, 'acquired' as const), name: anyName }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom('refused' as const, 'blocked' as const), name: anyName, error: fc.constant('no') }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('failed' as const), name: anyName, error: fc.constant('no'), retryMs: fc.integer({ min: 1, max: 300 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'tick' as const }) },
)
/** Mostly short steps, sometimes a pause. */
const passes = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 0, max: 30 }) }, { weight: 1, arbitrary: fc.integer({ min: 100, max: 3000 }) })
const beginning: readonly VipEvent[] = [
  { type: 'configure', vips: [a, b] }, { type: 'guarded', name: 'a' }, { type: 'guarded', name: 'b' }, { type: 'fit', fit: true },
]
const history = fc.array(fc.tuple(passes, event), { minLength: 1, maxLength: 60 })

/** What is known to whoever only watches the events go in. */
class Oracle {
  fit = false
  lease: { term: number; untilMs: number } | null = null
  highest = 0
  closed = 0
  guarded = new Set<string>()
  down = new Set<string>()

  see(event: VipEvent): void {
    if (event.type === 'fit') this.fit = event.fit
    if (event.type === 'close') [this.closed, this.lease] = [this.highest, null]
    if (event.type === 'lease' && (event.lease === null || event.lease.term >= this.highest)) {
      this.lease = event.lease
      this.highest = Math.max(this.highest, event.lease?.term ?? 0)
    }
    if (event.type === 'guarded') this.guarded.add(event.name)
    if (event.type === 'refused') this.guarded.delete(event.name)
    if (event.type === 'link') this.down[event.error === '' ? 'delete' : 'add'](event.interface)
  }
}

test('random histories: open only by an unexpired lease of a term that was not closed, fit and guarded; announced only when held', (t) => {
  let opened = 0
  let announced = 0
  fc.assert(
    fc.property(history, (steps) => {
      const machine = new VipMachine()
      const oracle = new Oracle()
      let nowMs = 0
      let configured: readonly VipSpec[] = []
      const all: (readonly [number, VipEvent])[] = [...beginning.map((one) => [0, one] as const), ...steps]
      for (const [passedMs, one] of all) {
        nowMs += passedMs
        const leaseBefore = oracle.lease
        oracle.see(one)
        if (one.type === 'configure') configured = one.vips
        // Instants in the histories are counted from each event.
        const shifted: VipEvent = one.type === 'lease' && one.lease !== null ? lease(one.lease.term, nowMs + one.lease.untilMs) : one
        if (one.type === 'lease' && oracle.lease !== leaseBefore && oracle.lease !== null) {
          oracle.lease = { ...oracle.lease, untilMs: nowMs + oracle.lease.untilMs }
        }
        const { open, untilMs, announce, states, wakeMs } = machine.step(shifted, nowMs)
        if (open.length > 0) {
          opened++
          if (!oracle.fit) throw new Error('open though not fit')
          if (oracle.lease === null || oracle.lease.term <= oracle.closed) throw new Error('open without a lease, or after close')
          if (untilMs !== oracle.lease.untilMs || untilMs <= nowMs) throw new Error('open until another instant than the lease says')
          if (wakeMs > untilMs) throw new Error('would sleep beyond the end of the lease')
        } else if (untilMs !== 0) throw new Error('nothing is open, until when?')
        for (const { name, interface: device, announcer } of open) {
          if (!oracle.guarded.has(name)) throw new Error(`${name} is open without a guard`)
          if (!configured.some((wanted) => wanted.name === name)) throw new Error(`${name} is not wanted`)
          if (announcer === 'kernel' && oracle.down.has(device)) throw new Error(`${name} is open on a link that is down`)
        }
        for (const { spec: { name }, state } of states) {
          if (state === 'held' && !open.some((one) => one.name === name)) throw new Error(`${name} is held and not open`)
        }
        for (const { name } of announce) {
          announced++
          if (!states.some((shown) => shown.spec.name === name && shown.state === 'held')) throw new Error(`${name} is announced and not held`)
        }
      }
    }),
    { numRuns: 3000 },
  )
  t.log(`${opened} steps with something open, ${announced} announcements`)
  t.true(opened > 1000 && announced > 100, 'the histories must reach what they are about')
})

test('random histories: before wakeMs time alone changes nothing', (t) => {
  fc.assert(
    fc.property(history, fc.integer({ min: 0, max: 999 }), (steps, permille) => {
      const machine = new VipMachine()
      let nowMs = 0
      let last: Desired = machine.step({ type: 'tick' }, 0)
      for (const [passedMs, one] of [...beginning.map((one) => [0, one] as const), ...steps]) {
        nowMs += passedMs
        last = machine.step(one.type === 'lease' && one.lease !== null ? lease(one.lease.term, nowMs + one.lease.untilMs) : one, nowMs)
      }
      const later = machine.step({ type: 'tick' }, nowMs + (permille * (Math.min(last.wakeMs, nowMs + 1e6) - nowMs)) / 1000)
      if (names(later.open) !== names(last.open) || states(later) !== states(last) || later.announce.length > 0) throw new Error('something changed')
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

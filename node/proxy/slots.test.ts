import test from 'ava'
import { NamedSlots, type SlotUse } from './slots.ts'

const idle: SlotUse = { idle: () => true, renew: () => undefined }

test('a name keeps its place over changes, and another name does not get it while there are fresh ones', (t) => {
  const slots = new NamedSlots({ listeners: 4, routes: 4, pools: 4, members: 4 }, { listeners: idle, routes: idle, pools: idle, members: idle })
  t.deepEqual([slots.listener('a'), slots.listener('b')], [0, 1])
  slots.settle()
  t.is(slots.listener('b'), 1)
  t.is(slots.listener('c'), 2)
  slots.settle()
  t.is(slots.listener('a'), 0)
})

// Bug: after as many different names as there are places, over the whole life of the process, no document could be applied any more.
test('names can come and go without end; the place gone longest that is idle is used again, and begins anew', (t) => {
  const busy = new Set<number>()
  const renewed: number[] = []
  const use: SlotUse = { idle: (slot) => !busy.has(slot), renew: (slot) => void renewed.push(slot) }
  const slots = new NamedSlots({ listeners: 4, routes: 4, pools: 4, members: 6 }, { listeners: idle, routes: idle, pools: idle, members: use })
  for (let i = 0; i < 6; i++) {
    slots.member('p', `m${i}`)
    slots.settle()
  }
  busy.add(0)
  t.is(slots.member('p', 'new'), 1)
  t.deepEqual(renewed, [1])
  slots.settle()
  for (let i = 0; i < 1000; i++) {
    const one = slots.member('p', `x${i}`)
    const two = slots.member('p', `y${i}`)
    if (one === two || one === 0 || two === 0) t.fail(`${one} ${two}`)
    slots.settle()
  }
  // A name in force never loses its place within one document.
  const all = ['a', 'b', 'c', 'd'].map((name) => slots.member('q', name))
  t.is(new Set(all).size, 4)
})

// Bug: a lookup between two documents (a member's health) kept the old document's names from ever being given up.
test('names asked for between documents do not outlive their document', (t) => {
  const slots = new NamedSlots({ listeners: 1, routes: 4, pools: 1, members: 4 }, { listeners: idle, routes: idle, pools: idle, members: idle })
  for (let document = 0; document < 5; document++) {
    slots.begin()
    const places = [slots.member('p', `${document}a`), slots.member('p', `${document}b`)]
    slots.settle()
    t.deepEqual([slots.member('p', `${document}a`), slots.member('p', `${document}b`)], places)
  }
})

/** The order of those who wait, against a sorted list. */
import test from 'ava'
import fc from 'fast-check'
import { WaitQueue, type Ticket } from './wait-queue.ts'

test('by class, then by arrival; leaving from anywhere; in any order of events', (t) => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), priority: fc.integer({ min: 0, max: 2 }), after: fc.integer({ min: 1, max: 50 }) }),
    fc.record({ kind: fc.constant('take' as const) }),
    fc.record({ kind: fc.constant('leave' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('time' as const), ms: fc.integer({ min: 0, max: 20 }) }),
  )
  fc.assert(
    fc.property(fc.array(event, { maxLength: 100, size: 'max' }), fc.integer({ min: 1, max: 10 }), (events, maxLength) => {
      const queue = new WaitQueue<number>(3)
      let model: { item: number; priority: number; deadlineMs: number; ticket: Ticket<number> }[] = []
      const sorted = (): typeof model => model.toSorted((a, b) => a.priority - b.priority || a.item - b.item)
      let next = 0
      let nowMs = 0
      for (const one of events) {
        if (one.kind === 'add') {
          const ticket = queue.add(next, one.priority, nowMs + one.after, maxLength)
          if ((ticket === undefined) !== model.length >= maxLength) throw new Error('the limit')
          if (ticket !== undefined) model.push({ item: next, priority: one.priority, deadlineMs: nowMs + one.after, ticket })
          next++
        } else if (one.kind === 'take') {
          const ticket = queue.first()
          if (ticket?.item !== sorted()[0]?.item) throw new Error(`first is ${ticket?.item}`)
          if (ticket !== undefined) queue.remove(ticket)
          model = model.filter(({ item }) => item !== ticket?.item)
        } else if (one.kind === 'leave' && model.length > 0) {
          const gone = model.splice(one.which % model.length, 1)[0]!
          queue.remove(gone.ticket)
          queue.remove(gone.ticket)
        } else if (one.kind === 'time') {
          nowMs += one.ms
          const over = queue.expire(nowMs)
          if (over.join() !== sorted().filter(({ deadlineMs }) => deadlineMs <= nowMs).map(({ item }) => item).join()) throw new Error('expired')
          model = model.filter(({ deadlineMs }) => deadlineMs > nowMs)
        }
        if (queue.length !== model.length) throw new Error('length')
      }
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

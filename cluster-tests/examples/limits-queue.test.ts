/** The queue in front of a full pool: its order, its length, its time. */
import type { ServerResponse } from 'node:http'
import test from 'ava'
import { startExample, until, type ExampleAnswer } from './example.ts'

test('limits-queue: one at a time, the important ones first; who finds it full or waits too long is told', async (t) => {
  const held: ServerResponse[] = []
  const example = await startExample(t, 'limits-queue', {
    answer: (_seen, response) => {
      held.push(response)
      return true
    },
  })
  const first = example.request({ path: '/first' })
  await until('the first is there', () => held.length === 1)
  // Five come, and four may wait: once one has been refused, the others wait.
  const paths = ['/report', '/other', '/checkout', '/checkout/2', '/another']
  const answers: ExampleAnswer[] = []
  const all = paths.map(async (path) => answers.push(await example.request({ path })))
  await until('one is refused', () => answers.length === 1)
  t.is(answers[0]!.status, 503)
  t.is(answers[0]!.headers['x-haechi-error'], 'queue-full')
  for (let count = 1; count <= 5; count++) {
    await until(`${count} have come through`, () => held.length === count)
    held.at(-1)!.end('done')
  }
  t.is((await first).status, 200)
  await Promise.all(all)
  t.deepEqual(answers.slice(1).map(({ status }) => status), [200, 200, 200, 200])
  const order = example.seen.slice(1).map(({ target }) => (target.startsWith('/checkout') ? 0 : target === '/report' ? 2 : 1))
  t.deepEqual(order, order.toSorted(), 'by class')

  const busy = example.request({ path: '/first' })
  await until('it is busy', () => held.length === 6)
  const late = await example.request({ path: '/other' })
  t.is(late.status, 503)
  t.is(late.headers['x-haechi-error'], 'queue-timeout')
  held.at(-1)!.end('done')
  t.is((await busy).status, 200)
})

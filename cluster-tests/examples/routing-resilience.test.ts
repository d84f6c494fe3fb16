/** Retries after a status, the time of a route, and copies to the shadow pool. */
import test from 'ava'
import { startExample, until } from './example.ts'

test('routing-resilience: another member after 503, an end after the time, copies that nobody waits for', async (t) => {
  let busy = 'web1'
  const example = await startExample(t, 'routing-resilience', {
    answer: (seen, response) => {
      // The shadow never answers, which is nobody's trouble; a report is never done.
      if (seen.member === 'shadow' || seen.target === '/reports') return true
      if (seen.target !== '/orders' || seen.member !== busy) return false
      response.statusCode = 503
      response.end('busy')
      return true
    },
  })
  for (busy of ['web1', 'web2']) {
    for (let i = 0; i < 4; i++) {
      const answer = await example.request({ path: '/orders', method: 'PUT', body: 'a body' })
      t.is(answer.status, 200)
      t.not(answer.seen?.member, busy)
      t.is(answer.seen?.body, 'a body')
    }
  }
  // What cannot be repeated safely is not.
  const posted = []
  for (let i = 0; i < 4; i++) posted.push((await example.request({ path: '/orders', method: 'POST', body: 'a body' })).status)
  t.deepEqual(posted.toSorted(), [200, 200, 503, 503])

  const late = await example.request({ path: '/reports' })
  t.is(late.status, 504)
  t.is(late.headers['x-haechi-error'], 'route-timeout')

  for (let i = 0; i < 6; i++) t.is((await example.request({ path: `/search?n=${i}`, method: 'POST', body: `question ${i}` })).status, 200)
  const copies = () => example.seen.filter(({ member }) => member === 'shadow')
  await until('three copies have come', () => copies().length >= 3)
  t.is(copies().length, 3)
  for (const { target, body, method } of copies()) t.is(`${method} ${target} ${body}`, `POST /search?n=${target.at(-1)!} question ${target.at(-1)!}`)
})

/** The page of a pool that is closed, and of one whose members are gone. */
import test from 'ava'
import { startExample, until } from './example.ts'

test('health-maintenance: closed, and out of members', async (t) => {
  const example = await startExample(t, 'health-maintenance')
  const closed = await example.request({ listener: 'closed' })
  t.is(closed.status, 503)
  t.is(closed.text, '{"error":"maintenance"}')
  t.like(closed.headers, { 'content-type': 'application/json', 'x-haechi-error': 'maintenance' })
  t.false(example.seen.some(({ member }) => member === 'closed1'))

  // The one that drains gets nothing new.
  for (let i = 0; i < 4; i++) t.is((await example.request()).seen?.member, 'web1')
  await example.stopMember('web', 'web1')
  await until('web1 is known to be down', () => example.log().includes('member web/web1 is down'))
  const gone = await example.request()
  t.is(gone.status, 503)
  t.like(gone.headers, { 'content-type': 'text/html; charset=utf-8', 'retry-after': '60', 'x-haechi-error': 'no-member-available' })
  t.regex(gone.text, /잠시 후/)
  await example.startMember('web', 'web1')
  await until('it serves again', async () => (await example.request()).status === 200)
})

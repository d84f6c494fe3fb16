/** Limits: who is on a list is cut off; rate limits by address and by key answer 429 and say when to come back. */
import test from 'ava'
import { startExample } from './example.ts'

test('limits: a list of addresses, attempts to log in, and keys of an interface', async (t) => {
  const example = await startExample(t, 'limits')
  t.is((await example.request()).status, 200)
  await t.throwsAsync(example.request({ from: '127.17.9.9' }), { code: 'ECONNRESET' })

  const attempts: number[] = []
  for (let i = 0; i < 5; i++) attempts.push((await example.request({ path: '/login' })).status)
  t.deepEqual(attempts, [200, 200, 200, 429, 429])
  const refused = await example.request({ path: '/login' })
  t.is(refused.headers['x-haechi-error'], 'rate-limited')
  const wait = Number(refused.headers['retry-after'])
  t.true(wait > 0 && wait <= 60, String(wait))
  t.is((await example.request({ path: '/login', from: '127.17.0.99' })).status, 200, 'another client')

  const ask = async (key: string, from: string): Promise<number> => (await example.request({ path: '/api', headers: { 'X-Api-Key': key }, from })).status
  for (let i = 0; i < 5; i++) t.is(await ask('alpha', `127.17.0.${50 + i}`), 200)
  t.is(await ask('alpha', '127.17.0.60'), 429, 'the key counts, not the address')
  t.is(await ask('beta', '127.17.0.60'), 200)
  t.is(example.seen.filter(({ target }) => target === '/login').length, 4)
})

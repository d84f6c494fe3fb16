/** Weighted pools: the share of the canary, blue alone while green has no weight, and a split by source. */
import test from 'ava'
import { startExample } from './example.ts'

test('routing-canary: shares by weight, and by the client where that is wanted', async (t) => {
  const { request } = await startExample(t, 'routing-canary')
  let canary = 0
  for (let i = 0; i < 40; i++) if ((await request({ path: '/' })).seen?.member === 'canary') canary++
  t.is(canary, 2)
  for (let i = 0; i < 10; i++) t.is((await request({ path: '/shop/cart' })).seen?.member, 'blue')
  const members = new Map<string, Set<string | undefined>>()
  for (let i = 0; i < 60; i++) {
    const from = `127.12.1.${100 + (i % 20)}`
    const seen = members.get(from) ?? new Set()
    members.set(from, seen.add((await request({ path: '/app', from })).seen?.member))
  }
  for (const [from, seen] of members) t.is(seen.size, 1, from)
  t.is(new Set([...members.values()].flatMap((seen) => [...seen])).size, 2)
})

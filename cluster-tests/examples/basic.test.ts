/** The first example: both members answer, and one that ends is not asked any more. */
import test from 'ava'
import { startExample, until } from './example.ts'

test('basic: round robin over two members, and a member that is down gets nothing', async (t) => {
  const example = await startExample(t, 'basic')
  const members = new Set<string>()
  await until('both have answered', async () => {
    members.add((await example.request()).seen?.member ?? '')
    return members.has('web1') && members.has('web2')
  })
  await example.stopMember('web', 'web1')
  await until('the failure is known', () => example.log().includes('member web/web1 is down'))
  for (let i = 0; i < 6; i++) t.is((await example.request()).seen?.member, 'web2')
})

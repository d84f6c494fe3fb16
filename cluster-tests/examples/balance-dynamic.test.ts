/** A server that gets slow, or that fails, loses weight while it does. */
import test from 'ava'
import { startExample, until, type Example } from './example.ts'

async function share(example: Example, member: string): Promise<number> {
  let count = 0
  for (let i = 0; i < 30; i++) if ((await example.request()).seen?.member === member) count++
  return count / 30
}

test('balance-dynamic: slow and failing servers get less for as long as they are', async (t) => {
  let slow = ''
  let failing = ''
  const example = await startExample(t, 'balance-dynamic', {
    answer: (seen, response) => {
      if (seen.member === failing) response.statusCode = 500
      if (seen.member === slow) setTimeout(() => response.end(JSON.stringify(seen)), 40)
      else if (seen.member === failing) response.end(JSON.stringify(seen))
      else return false
      return true
    },
  })
  const all = example.document.pools.flatMap((pool) => pool.members.map((member) => `member ${pool.name}/${member.name} is up`))
  await until('all are up', () => all.every((text) => example.log().includes(text)))
  // A third each.
  t.is(await share(example, 'web3'), 10 / 30)
  slow = 'web3'
  await until('the slow one gets less than a fifth', async () => (await share(example, 'web3')) < 0.2, 30_000)
  slow = ''
  failing = 'web1'
  await until('the failing one gets less, the other one its share again', async () => (await share(example, 'web1')) < 0.2 && (await share(example, 'web3')) > 0.3, 30_000)
  t.pass()
})

/** Priority groups, a backup, and first available with limits. */
import type { ServerResponse } from 'node:http'
import test from 'ava'
import { startExample, until, type Seen } from './example.ts'

test('balance-groups: near before far, the backup last; the first server is filled first', async (t) => {
  const held: { seen: Seen; response: ServerResponse }[] = []
  const release = (): void => {
    for (const { seen, response } of held.splice(0)) response.end(JSON.stringify(seen))
  }
  const example = await startExample(t, 'balance-groups', {
    answer: (seen, response) => seen.target === '/hold' && held.push({ seen, response }) > 0,
  })
  t.teardown(release)
  const all = example.document.pools.flatMap((pool) => pool.members.map((member) => `member ${pool.name}/${member.name} is up`))
  await until('all are up', () => all.every((text) => example.log().includes(text)))
  const serving = async (): Promise<string> => {
    const members = new Set<string>()
    for (let i = 0; i < 12; i++) members.add((await example.request({ listener: 'sites' })).seen?.member ?? '')
    return [...members].toSorted().join()
  }
  await until('the near ones serve', async () => (await serving()) === 'near1,near2')

  // In the order of the list, two each; the last one has no limit.
  const waiting: Promise<unknown>[] = []
  for (let i = 1; i <= 6; i++) {
    waiting.push(example.request({ listener: 'first', path: '/hold' }))
    await until(`${i} are held`, () => held.length === i)
  }
  t.deepEqual(held.map(({ seen }) => seen.member), ['near1', 'near1', 'near2', 'near2', 'far1', 'far1'])
  release()
  await Promise.all(waiting)

  await example.stopMember('sites', 'near1')
  await until('the far one joins in', async () => (await serving()) === 'far1,near2')
  await example.stopMember('sites', 'near2')
  await until('the far one serves alone', async () => (await serving()) === 'far1')
  await example.stopMember('sites', 'far1')
  await until('the backup serves', async () => (await serving()) === 'sorry')
  await example.startMember('sites', 'near1')
  await example.startMember('sites', 'near2')
  await until('the near ones are back', async () => (await serving()) === 'near1,near2')
  t.pass()
})

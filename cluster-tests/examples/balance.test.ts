/** Round robin by weight, least connections, two choices, least response time: what each does with a server that is slow. */
import type { ServerResponse } from 'node:http'
import test from 'ava'
import { startExample, until, type Seen } from './example.ts'

test('balance: turns by weight; busy and slow servers get less', async (t) => {
  const held: { seen: Seen; response: ServerResponse }[] = []
  const release = (): void => {
    for (const { seen, response } of held.splice(0)) response.end(JSON.stringify(seen))
  }
  const example = await startExample(t, 'balance', {
    answer: (seen, response) => {
      if (seen.target === '/hold') held.push({ seen, response })
      // Slow enough to be told from the others on a busy machine.
      else if (seen.target === '/slow' && seen.member === 'app3') setTimeout(() => response.end(JSON.stringify(seen)), 100)
      else return false
      return true
    },
  })
  t.teardown(release)
  const all = example.document.pools.flatMap((pool) => pool.members.map((member) => `member ${pool.name}/${member.name} is up`))
  await until('all are up', () => all.every((text) => example.log().includes(text)))
  const counts = async (listener: string, path: string, requests: number): Promise<Record<string, number>> => {
    const result: Record<string, number> = { app1: 0, app2: 0, app3: 0 }
    for (let i = 0; i < requests; i++) result[(await example.request({ listener, path })).seen!.member]!++
    return result
  }

  t.deepEqual(await counts('in-turn', '/', 40), { app1: 20, app2: 10, app3: 10 })

  for (const listener of ['least-busy', 'two-choices']) {
    // Requests that are held open are spread: nobody has two more than another.
    const waiting = Array.from({ length: 9 }, () => example.request({ listener, path: '/hold' }))
    await until('nine are held', () => held.length === 9)
    const open = Object.values(Object.groupBy(held, ({ seen }) => seen.member)).map((list) => list!.length)
    t.is(open.length, 3, listener)
    t.true(Math.max(...open) - Math.min(...open) <= 2, `${listener}: ${open.join()}`)
    if (listener === 'least-busy') t.deepEqual(open, [3, 3, 3])
    release()
    await Promise.all(waiting)
  }

  const fastest = await counts('fastest', '/slow', 60)
  t.true(fastest['app3']! <= 6, JSON.stringify(fastest))
  // Which of the two fast ones has more is chance: one after the other, each request goes to the one that was faster lately.
})

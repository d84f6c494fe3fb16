/** Members that fail live traffic rest for a time, at most half of them; and a pool that only fails does. */
import test from 'ava'
import { startExample, until } from './example.ts'

test.serial('health-passive: ejection with its cap, and the way back', async (t) => {
  const failing = new Set<string>()
  const example = await startExample(t, 'health-passive', {
    answer: ({ member }, response) => {
      if (!failing.has(member)) return false
      response.statusCode = 500
      response.end()
      return true
    },
  })
  const members = async (requests: number): Promise<Set<string>> => {
    const answered = new Set<string>()
    for (let i = 0; i < requests; i++) {
      const { seen, status } = await example.request()
      answered.add(seen?.member ?? String(status))
    }
    return answered
  }
  await until('all four are up', () => ['web1', 'web2', 'web3', 'web4'].every((name) => example.log().includes(`member web/${name} is up`)))
  await until('all four answer', async () => (await members(8)).size === 4)

  failing.add('web1')
  await until('web1 is ejected', async () => (await members(4), example.log().includes('member web/web1 is ejected')))
  t.false((await members(6)).has('500'))
  // More than half may not rest: with three that fail, one of them goes on answering.
  failing.add('web2').add('web3').add('web4')
  await until('another one is ejected', async () => (await members(8), (example.log().match(/is ejected/g) ?? []).length >= 2))
  t.deepEqual([...(await members(8))], ['500'])
  failing.clear()
  await until('web1 is back', () => example.log().includes('member web/web1 is not ejected any more'))
  await until('all four answer again', async () => (await members(16)).size === 4)
})

test.serial('health-passive: the circuit opens, and closes when trials succeed', async (t) => {
  let fails = true
  const example = await startExample(t, 'health-passive', {
    answer: ({ member }, response) => {
      if (member !== 'fragile1' || !fails) return false
      response.statusCode = 503
      response.end()
      return true
    },
  })
  const ask = () => example.request({ listener: 'fragile' })
  for (let i = 0; i < 5; i++) t.is((await ask()).status, 503)
  t.is((await ask()).headers['x-haechi-error'], 'circuit-open')
  fails = false
  await until('the circuit is closed', async () => (await ask(), example.log().includes('the circuit of pool fragile is closed')))
  t.is((await ask()).status, 200)
})

/** Hashing by source, URI, header and cookie; what a failure moves; how a hot key is spread. */
import type { ServerResponse } from 'node:http'
import test from 'ava'
import { startExample, until, type ExampleRequest, type Seen } from './example.ts'

test('balance-hash: a key keeps its server, and a server that fails moves its own keys only', async (t) => {
  const held: { seen: Seen; response: ServerResponse }[] = []
  const release = (): void => {
    for (const { seen, response } of held.splice(0)) response.end(JSON.stringify(seen))
  }
  const example = await startExample(t, 'balance-hash', {
    answer: (seen, response) => seen.target === '/hot' && held.push({ seen, response }) > 0,
  })
  t.teardown(release)
  const all = example.document.pools.flatMap((pool) => pool.members.map((member) => `member ${pool.name}/${member.name} is up`))
  await until('all are up', () => all.every((text) => example.log().includes(text)))
  const members = async (requests: readonly ExampleRequest[]): Promise<string[]> => {
    const result: string[] = []
    for (const request of requests) result.push((await example.request(request)).seen?.member ?? '')
    return result
  }
  const keys = Array.from({ length: 24 }, (_, i) => i)
  const inputs: Record<string, (key: number) => ExampleRequest> = {
    'by-source': (key) => ({ listener: 'by-source', path: `/${key}`, from: `127.10.2.${100 + key}` }),
    'by-uri': (key) => ({ listener: 'by-uri', path: `/article/${key}` }),
    'by-tenant': (key) => ({ listener: 'by-tenant', headers: { 'X-Tenant': `tenant-${key}` } }),
    'by-cookie': (key) => ({ listener: 'by-cookie', headers: { Cookie: `theme=dark; sid=${key}` } }),
  }
  const before: Record<string, string[]> = {}
  for (const [name, input] of Object.entries(inputs)) {
    before[name] = await members(keys.map(input))
    t.deepEqual(await members(keys.map(input)), before[name], name)
    t.is(new Set(before[name]).size, 4, name)
  }

  const hot = Array.from({ length: 16 }, () => example.request({ listener: 'by-uri', path: '/hot' }))
  await until('all are held', () => held.length === 16)
  const open = Object.values(Object.groupBy(held, ({ seen }) => seen.member)).map((list) => list!.length)
  t.is(Math.max(...open), 5, 'a quarter more than an even share of 16')
  release()
  await Promise.all(hot)

  const gone = before['by-tenant']![0]!
  await example.stopMember('by-source', gone)
  for (const pool of Object.keys(inputs)) await until(`${pool} knows`, () => example.log().includes(`member ${pool}/${gone} is down`))
  for (const [name, input] of Object.entries(inputs)) {
    const now = await members(keys.map(input))
    keys.forEach((key) => {
      if (before[name]![key] === gone) t.true(now[key] !== gone && now[key] !== '', `${name}: ${key} has another server`)
      else t.is(now[key], before[name]![key], `${name}: ${key} stays`)
    })
  }
  await example.startMember('by-source', gone)
  for (const [name, input] of Object.entries(inputs)) {
    await until(`${name} is as before`, async () => (await members(keys.map(input))).join() === before[name]!.join())
  }
  t.pass()
})

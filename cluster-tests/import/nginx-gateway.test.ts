/** An API gateway from an nginx.conf: rewritten paths, a canary by `split_clients`, pools by `map`, keys with a rate, `if`, `try_files`. */
import test from 'ava'
import { startImported } from './imported.ts'

test('nginx-gateway', async (t) => {
  const { request, document, notes } = await startImported(t, 'nginx-gateway.conf')
  t.regex(notes, /:51: not taken over: location \/lua/)
  const names = new Map(document.pools.flatMap((pool) => pool.members.map((member) => [member.name, member.address.split('.').at(-1)!])))
  const headers = { Host: 'api.example.com' }
  const at = async (path: string, more: Record<string, string> = {}, method = 'GET'): Promise<string> => {
    const { seen, status } = await request({ path, method, headers: { ...headers, ...more } })
    return seen === undefined ? String(status) : `${names.get(seen.member)} ${seen.target}`
  }

  // A quarter goes to the canary, rewritten.
  const counts = new Map<string, number>()
  for (let i = 0; i < 40; i++) {
    const answer = await at('/users/7?x=1')
    counts.set(answer, (counts.get(answer) ?? 0) + 1)
  }
  t.deepEqual(Object.fromEntries(counts), { '11 /7?x=1': 30, '12 /7?x=1': 10 })

  t.is(await at('/versions/a'), '11 /versions/a')
  t.is(await at('/versions/a', { 'X-Version': '2' }), '12 /versions/a')
  t.is(await at('/versions/a', { 'X-Version': '3.1' }), '31 /versions/a')
  t.is(await at('/versions/a', { 'X-Version': '23.1' }), '11 /versions/a')

  const order = await at('/v1/orders/5', { 'X-Customer': 'a' })
  t.regex(order, /^2[12] \/orders\/5$/)
  for (let i = 0; i < 4; i++) t.is(await at('/v1/orders/5', { 'X-Customer': 'a' }), order, 'hash')
  const members = new Set<string>()
  for (let i = 0; i < 40 && members.size < 2; i++) members.add(await at('/v1/orders/5', { 'X-Customer': `c${i}` }))
  t.is(members.size, 2)
  t.is(await at('/v1/status?a'), '31 /internal/status?a')
  t.is(await at('/v1/status/'), '31 /v1/status/')

  // One key is too fast, another is not.
  t.is(await at('/partner/x', { 'X-Api-Key': 'k1' }), '31 /partner/x')
  t.is(await at('/partner/x', { 'X-Api-Key': 'k1' }), '429')
  t.is(await at('/partner/x', { 'X-Api-Key': 'k2' }), '31 /partner/x')

  t.is(await at('/upload', {}, 'PUT'), '31 /upload')
  t.is(await at('/upload', {}, 'GET'), '405')
  t.is(await at('/users/7', { 'User-Agent': 'CURL/0.9' }), '403')
  t.regex(await at('/users/7', { 'User-Agent': 'curl/8' }), /^1[12] /)
  const other = await request({ path: '/page', headers })
  t.is(other.headers['x-from'], 'web')
  t.is(names.get(other.seen!.member), '31')
  t.is(await at('/lua'), '404')
})

import { SessionKeeper } from '../sessions/keeper.ts'
import { allocateSessions } from '../sessions/table.ts'
import { call, problemOf, test } from './test-api.ts'
import type { SessionEntriesView, SessionPurgeView } from './types.ts'

/** Two pools with entries; those of the state are in the shared table, too. */
async function fill(node: import('./test-node.ts').TestNode, addresses: number): Promise<SessionKeeper> {
  const keeper = new SessionKeeper(
    { buffer: allocateSessions(2000, 1), workers: 1, secret: new Uint8Array(32).fill(7), usable: () => true, replicate: undefined },
    0,
  )
  const members = [{ name: 'a', slot: 1 }, { name: 'b', slot: 2 }]
  keeper.configure([
    { name: 'web', slot: 1, type: 'source', ttlMs: 60_000, maxEntries: 1000, members },
    { name: 'app', slot: 2, type: 'app-cookie', ttlMs: 60_000, maxEntries: 1000, members },
  ])
  node.state().watchSessions((update) => keeper.apply(update))
  node.keeper = keeper
  const actor = { name: 'system', from: '', node: 'n1' }
  const entries = Array.from({ length: addresses }, (_, i) => ({ key: `web/source/10.0.0.${i}`, member: `web/${i % 2 === 0 ? 'a' : 'b'}`, ttlMs: 60_000 }))
  entries.push({ key: keeper.keyOfValue('app', 'secret-session')!, member: 'app/a', ttlMs: 60_000 })
  await node.submit({ kind: 'sessions', actor, entries })
  return keeper
}

test('entries are listed in pages, by pool, member and beginning; values of cookies are not shown', async (t) => {
  const { api, node, token } = t.context
  await fill(node, 25)
  const options = { token: await token('viewer') }
  const list = async (query: string): Promise<SessionEntriesView> => {
    const answer = await call(api, 'GET', `/sessions${query}`, options)
    t.is(answer.status, 200, answer.text)
    t.notRegex(answer.text, /secret-session/)
    return answer.body as SessionEntriesView
  }
  const seen = new Set<string>()
  let after: number | null = 0
  let pages = 0
  while (after !== null) {
    const page: SessionEntriesView = await list(`?limit=10&after=${after}`)
    t.is(page.total, 26)
    for (const { key } of page.entries) seen.add(key)
    after = page.next
    pages++
  }
  t.is(seen.size, 26)
  t.is(pages, 3)
  t.deepEqual((await list('?key=10.0.0.24')).entries, [
    { key: 'web/source/10.0.0.24', pool: 'web', type: 'source', client: '10.0.0.24', member: 'a', remainingMs: 60_000 },
  ])
  t.is((await list('?pool=web&member=b')).entries.length, 12)
  t.is((await list('?pool=app')).entries.length, 1)
  const found = await list('?pool=app&value=secret-session')
  t.like(found.entries[0], { pool: 'app', type: 'app-cookie', member: 'a' })
  t.regex(found.entries[0]!.client, /^[0-9a-f]{16}$/)
  t.is((await list('?pool=app&value=other')).entries.length, 0)
  problemOf(t, await call(api, 'GET', '/sessions?member=a', options), 400, 'invalid-request')
  problemOf(t, await call(api, 'GET', '/sessions?pool=none&value=a', options), 400, 'invalid-request')
})

test('operators remove entries, and the audit log says which; viewers do not', async (t) => {
  const { api, node, token } = t.context
  const keeper = await fill(node, 25)
  problemOf(t, await call(api, 'DELETE', '/sessions?all=true', { token: await token('viewer') }), 403, 'forbidden')
  const options = { token: await token('operator') }
  problemOf(t, await call(api, 'DELETE', '/sessions', options), 400, 'invalid-request')
  t.is(node.state().sessionCount, 26)
  const remove = async (query: string): Promise<number> => {
    const answer = await call(api, 'DELETE', `/sessions${query}`, options)
    t.is(answer.status, 200, answer.text)
    return (answer.body as SessionPurgeView).removed
  }
  t.is(await remove('?pool=web&member=b'), 12)
  t.is(node.state().sessionCount, 14)
  t.is(keeper.remainingMs('web/source/10.0.0.1'), 0)
  t.true(keeper.remainingMs('web/source/10.0.0.2') > 0)
  t.like(node.state().audit(undefined, 1)[0], { action: 'sessions.purge', detail: '12 entries of the session table: pool web, member b' })
  t.is(await remove('?pool=app&value=secret-session'), 1)
  t.notRegex(JSON.stringify(node.state().audit(undefined, 10)) + t.context.log.join(''), /secret-session/)
  t.is(await remove('?pool=web&client=10.0.0.2'), 1)
  t.is(await remove('?key=10.0.0.2'), 3)
  t.is(await remove('?key=10.9'), 0)
  t.is(await remove('?all=true'), 9)
  t.is(node.state().sessionCount, 0)
})

test('without a quorum nothing is removed', async (t) => {
  const { api, node, token } = t.context
  await fill(node, 3)
  const options = { token: await token('operator') }
  node.refusal = { code: 'no-leader', retrySafe: true }
  problemOf(t, await call(api, 'DELETE', '/sessions?pool=web', options), 503, 'no-quorum')
  t.is(node.state().sessionCount, 4)
})

test('bug: any number of requests looked through the table at once: a crowd is refused, and comes later', async (t) => {
  const { api, node, token } = t.context
  await fill(node, 5)
  const options = { token: await token('viewer') }
  const { scanSessions } = node.state()
  let [now, most] = [0, 0]
  // A large table: each takes some turns of the event loop.
  node.state().scanSessions = (from, slots, each) => {
    if (from === 0) most = Math.max(most, ++now)
    if (from < 50) return from + 1
    now--
    return scanSessions.call(node.state(), 0, slots, each)
  }
  const answers = await Promise.all(Array.from({ length: 20 }, () => call(api, 'GET', '/sessions', options)))
  t.true(most <= 4, `${most} at once`)
  for (const answer of answers) if (answer.status !== 200) problemOf(t, answer, 429, 'too-many-requests')
  t.is((await call(api, 'GET', '/sessions', options)).status, 200)
})

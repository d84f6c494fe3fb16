import test from 'ava'
import { ClusterState, encodeCommand } from '../state/state.ts'
import type { SessionUpdate } from '../state/types.ts'
import { ClusterSessions } from './cluster.ts'
import { SessionKeeper } from './keeper.ts'
import { allocateSessions } from './table.ts'

async function until(what: string, condition: () => boolean): Promise<void> {
  const started = performance.now()
  while (!condition()) {
    if (performance.now() - started > 10_000) throw new Error(`${what} did not happen`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** The state after its first command: a document with these pools, all with entries. */
function stateOf(pools: readonly string[]): ClusterState {
  const state = ClusterState.empty()
  const document = {
    haechi: 1, vips: [], listeners: [],
    pools: pools.map((name) => ({ name, members: [{ name: 'a', address: '192.0.2.1', port: 80 }], persistence: { type: 'source' } })),
  } as never
  const user = { name: 'anna', role: 'administrator', passwordHash: 'x', generation: 1, mustChangePassword: false } as never
  const actor = { name: 'anna', from: '', node: 'n1' }
  const outcome = state.apply({ index: 1, term: 1, type: 'command', data: encodeCommand({ kind: 'init', id: 'init', actor, atEpochMs: 1, clusterId: 'c', user, secrets: { sessionKey: 'k' }, document }) })
  if (outcome?.code !== 'ok') throw new Error(JSON.stringify(outcome))
  return state
}

/** A node whose proposals are applied by itself, with entries of the pool `web`. */
function setup() {
  const actor = { name: 'system', from: '', node: 'n1' }
  let index = 1
  let keeper: SessionKeeper | undefined
  const node = {
    state: stateOf(['web', 'other']),
    leads: true,
    get keeper() {
      return keeper
    },
    /** An entry of the log. */
    apply(id: string, entries: readonly SessionUpdate[]): void {
      node.state.apply({ index: ++index, term: 1, type: 'command', data: encodeCommand({ kind: 'sessions', id, actor, atEpochMs: 1, entries }) })
    },
    makeKeeper(): SessionKeeper {
      keeper = new SessionKeeper(
        { buffer: allocateSessions(20_000, 1), workers: 1, secret: new Uint8Array(32), usable: () => true, replicate: (update) => sessions.replicate(update) },
        0,
      )
      keeper.configure([{ name: 'web', slot: 1, type: 'source', ttlMs: 10_000, maxEntries: 20_000, members: [{ name: 'a', slot: 1 }] }])
      return keeper
    },
  }
  const sessions = new ClusterSessions({
    keeper: () => keeper,
    state: () => node.state,
    leads: () => node.leads,
    propose: async (id, entries) => {
      node.apply(id, entries)
      return 'done'
    },
  })
  sessions.watch(node.state)
  return { node, sessions }
}

const key = (i: number): string => `web/source/10.0.${i >> 8}.${i & 255}`
const entry = (i: number): SessionUpdate => ({ key: key(i), member: 'web/a', ttlMs: 10_000 })

test('entries that were agreed on before there was a table are written into it, and later ones at once', async (t) => {
  const { node, sessions } = setup()
  t.teardown(() => sessions.stop())
  node.apply('1', Array.from({ length: 5000 }, (_, i) => entry(i)))
  t.is(sessions.counters, undefined)
  const keeper = node.makeKeeper()
  sessions.refill()
  await until('all are there', () => keeper.counters.pools[0]!.entries === 5000)
  node.apply('2', [entry(7000), { ...entry(3), ttlMs: 0 }])
  t.is(keeper.remainingMs(key(7000)), 10_000)
  t.is(keeper.remainingMs(key(3)), 0)
})

test('after a snapshot the table holds what the snapshot holds', async (t) => {
  const { node, sessions } = setup()
  t.teardown(() => sessions.stop())
  const keeper = node.makeKeeper()
  node.apply('1', Array.from({ length: 100 }, (_, i) => entry(i)))
  const snapshot = [...node.state.snapshot()]
  node.apply('2', [entry(500), entry(501)])
  t.true(keeper.remainingMs(key(500)) > 0)
  node.state = ClusterState.restore(snapshot)
  sessions.restored()
  await until('all are there', () => keeper.counters.pools[0]!.entries === 100)
  t.is(keeper.remainingMs(key(500)), 0)
  t.true(keeper.remainingMs(key(99)) > 0)
})

test('who leads takes expired entries out of the state, and no others', async (t) => {
  const { node, sessions } = setup()
  t.teardown(() => sessions.stop())
  const keeper = node.makeKeeper()
  node.apply('1', Array.from({ length: 3000 }, (_, i) => entry(i)))
  node.apply('2', [{ key: 'other/source/10.9.9.9', member: 'other/a', ttlMs: 10_000 }])
  sessions.everySecond()
  keeper.tick(9000)
  node.apply('3', [entry(5), entry(6)])
  keeper.tick(10_500)
  node.leads = false
  sessions.everySecond()
  await new Promise((resolve) => setImmediate(resolve))
  t.is(node.state.sessionCount, 3001)
  node.leads = true
  // The two that were set again, and the one of a pool that this node has not got ready yet: of that nothing is known.
  await until('the expired ones are gone', () => {
    sessions.everySecond()
    return node.state.sessionCount === 3
  })
  for (let i = 0; i < 5; i++) sessions.everySecond()
  t.is(node.state.sessionCount, 3)
  t.not(node.state.session(key(5)), undefined)
  t.is(sessions.counters!.notReplicatedTotal, 0)
})

test('bug: entries of a pool that was removed, or is of another type now, stayed for ever', async (t) => {
  const { node, sessions } = setup()
  t.teardown(() => sessions.stop())
  node.makeKeeper()
  node.apply('1', [entry(1), { key: 'gone/source/10.9.9.9', member: 'gone/a', ttlMs: 10_000 }, { key: 'web/header/0123456789abcdef', member: 'web/a', ttlMs: 10_000 }])
  node.leads = false
  sessions.everySecond()
  await new Promise((resolve) => setImmediate(resolve))
  t.is(node.state.sessionCount, 3)
  node.leads = true
  await until('they are gone', () => {
    sessions.everySecond()
    return node.state.sessionCount === 1
  })
  t.not(node.state.session(key(1)), undefined)
})

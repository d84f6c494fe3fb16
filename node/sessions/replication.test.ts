import test from 'ava'
import type { SessionUpdate } from './keeper.ts'
import { SessionReplication } from './replication.ts'

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}

const entry = (i: number, ttlMs = 60_000): SessionUpdate => ({ key: `web/source/10.0.${i >> 8}.${i & 255}`, member: 'web/a', ttlMs })

test('many updates become few batches, each update in one', async (t) => {
  const batches: SessionUpdate[][] = []
  const replication = new SessionReplication({ propose: async (_id, entries) => (batches.push([...entries]), 'done') })
  t.teardown(() => replication.stop())
  for (let i = 0; i < 4500; i++) replication.add(entry(i))
  await until(() => batches.flat().length === 4500)
  t.true(batches.length <= 5)
  t.true(batches.every((batch) => batch.length <= 2000))
  t.is(new Set(batches.flat().map(({ key }) => key)).size, 4500)
})

test('a batch that was not taken is proposed again under its id, with what is left of the lifetimes', async (t) => {
  const seen: [string, readonly SessionUpdate[]][] = []
  let now = 0
  const replication = new SessionReplication({
    propose: async (id, entries) => {
      seen.push([id, entries])
      now += 5000
      return seen.length < 3 ? 'again' : 'done'
    },
    now: () => now,
    retryMs: 1,
  })
  t.teardown(() => replication.stop())
  replication.add(entry(1))
  replication.add(entry(2, 6000))
  now = 100
  await until(() => seen.length === 3)
  t.is(new Set(seen.map(([id]) => id)).size, 1)
  t.deepEqual(seen.map(([, entries]) => entries.map(({ ttlMs }) => ttlMs)), [[59_900, 5900], [54_900, 900], [49_900, 0]])
  t.is(replication.dropped, 0)
})

test('what is refused is dropped and counted, and does not stop the others', async (t) => {
  let calls = 0
  const replication = new SessionReplication({ propose: async () => (++calls === 1 ? 'refused' : 'done') })
  t.teardown(() => replication.stop())
  replication.add(entry(1))
  await until(() => calls === 1 && replication.waiting === 0)
  replication.add(entry(2))
  await until(() => calls === 2)
  t.is(replication.dropped, 1)
})

test('while nothing is taken, updates wait in bounds', async (t) => {
  const replication = new SessionReplication({ propose: () => new Promise(() => undefined) })
  t.teardown(() => replication.stop())
  for (let i = 0; i < 120_000; i++) replication.add({ ...entry(0), key: `web/source/${i}` })
  t.true(replication.waiting <= 100_000)
  t.true(replication.dropped >= 20_000 - 4000)
})

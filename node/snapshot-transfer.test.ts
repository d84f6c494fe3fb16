/** A snapshot between child and heart: in order, never much under way, ended by either side. */
import { setImmediate as turn } from 'node:timers/promises'
import test from 'ava'
import { ChunkQueue, SnapshotFeed, snapshotWindow } from './snapshot-transfer.ts'

function connect() {
  const feed = new SnapshotFeed()
  const queue = new ChunkQueue(() => feed.credit(1, true))
  let made = 0
  function* chunks(count: number): Generator<Uint8Array> {
    for (let at = 0; at < count; at += 1) {
      made += 1
      yield Buffer.from([at])
    }
  }
  const start = (count: number) => feed.start(1, chunks(count), (chunk) => (chunk === undefined ? queue.end() : queue.push(chunk)))
  return { feed, queue, start, made: () => made }
}

const turns = async () => {
  for (let at = 0; at < 50; at += 1) await turn()
}

test('all of it arrives in order, and no more is made than the window while nothing is stored', async (t) => {
  const { queue, start, made } = connect()
  start(20)
  await turns()
  t.is(made(), snapshotWindow)
  const got: number[] = []
  for await (const chunk of queue) {
    got.push(chunk[0]!)
    t.true(made() <= got.length + snapshotWindow, `${made()} made, ${got.length} taken`)
    await turn()
  }
  t.deepEqual(got, Array.from({ length: 20 }, (_, at) => at))
})

test('a heart that gives up stops the child; a new snapshot takes the place of the old one', async (t) => {
  const { feed, start, made } = connect()
  start(100)
  await turns()
  feed.credit(1, false)
  feed.credit(1, true)
  await turns()
  t.is(made(), snapshotWindow)
  const second: number[] = []
  feed.start(2, [Buffer.from([7]), Buffer.from([8])], (chunk) => second.push(chunk?.[0] ?? -1))
  feed.credit(1, true)
  await turns()
  t.deepEqual(second, [7, 8, -1])
})

test('a child that ends, or sends more than it may, fails the snapshot', async (t) => {
  const ended = new ChunkQueue(() => undefined)
  ended.push(Buffer.from([1]))
  ended.end(new Error('the child process has ended'))
  await t.throwsAsync(async () => {
    for await (const _ of ended) continue
  }, { message: /ended/ })
  const flooded = new ChunkQueue(() => undefined)
  for (let at = 0; at <= snapshotWindow + 3; at += 1) flooded.push(Buffer.from([at]))
  await t.throwsAsync(async () => {
    for await (const _ of flooded) continue
  }, { message: /more than it may/ })
})

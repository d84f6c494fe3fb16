/** Reads as a follower asks them: the questions to a leader that answers late, or never. */
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import type { Raft } from './core/raft.ts'
import { realClock } from './environment.ts'
import { Reads } from './reads.ts'

function follower(request: () => Promise<unknown> | 'not-sent'): Reads {
  const raft = { role: 'follower', leader: 'a' } as unknown as Raft
  return new Reads({ raft, clock: realClock, request, pump: () => undefined })
}

test('bug: one question that is never answered held up all reads of a node, for ever', async (t) => {
  let asked = 0
  const reads = follower(() => {
    asked += 1
    return asked === 1 ? new Promise(() => undefined) : Promise.resolve({ ok: true, index: 7 })
  })
  t.teardown(() => reads.stop())
  // The second one waits for the next question.
  const answers = await Promise.race([Promise.all([reads.read(), reads.read()]), sleep(10_000, 'nothing')])
  t.deepEqual(answers, [{ ok: true, index: 7 }, { ok: true, index: 7 }])
})

test('reads of a leader that never answers end in time', async (t) => {
  const reads = follower(() => new Promise(() => undefined))
  t.teardown(() => reads.stop())
  const answer = await Promise.race([reads.read(), sleep(15_000, 'nothing')])
  t.deepEqual(answer, { ok: false, code: 'timeout', detail: 'the leader did not answer in time' })
})

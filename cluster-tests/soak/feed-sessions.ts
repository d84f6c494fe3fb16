/**
 * Fills the replicated session table of a cluster, at speed. Takes the place of a node that has been stopped: it opens
 * the node's own consensus in its data directory, as its heart does, and proposes what the heart proposes for a data plane: batches
 * of sessions as bulk. What comes of it is the very log that as many clients with source persistence would leave.
 *
 *   node feed-sessions.ts DIRECTORY SESSIONS
 *
 * Standard output: one line of JSON, `{"entries":…,"batches":…,"ms":…}`.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Consensus } from '../../consensus/consensus.ts'
import { openConsensus } from '../../consensus/open.ts'
import { SessionBatch } from '../../node/sessions/batch.ts'
import { encodeCommand } from '../../node/state/command.ts'

const [directory = '', count = ''] = process.argv.slice(2)
const sessions = Number(count)
/** Batches under way at once. */
const inFlight = 4
const ttlMs = 24 * 3_600_000

let applied = 0
const consensus: Consensus = await openConsensus({
  directory,
  hooks: {
    // No state machine lives here; the node's own replays everything when it is back.
    committed: async (entries) => {
      applied = entries.at(-1)?.index ?? applied
    },
    restore: async (_meta, chunks) => {
      for await (const _ of chunks) continue
    },
    lease: () => undefined,
    closeFence: async () => undefined,
    transferRequested: async () => ({ ok: false, detail: 'only sessions are fed here' }),
    changed: () => undefined,
    gossip: () => undefined,
  },
  log: (level, message) => {
    if (level === 'error' || level === 'warn') process.stderr.write(`${level}: ${message}\n`)
  },
})

function address(i: number): string {
  return `10.${(i >>> 16) & 255}.${(i >>> 8) & 255}.${i & 255}`
}

async function propose(entries: ReturnType<SessionBatch['take']>): Promise<void> {
  const id = randomUUID()
  const actor = { name: 'system', from: '', node: consensus.status().id }
  const data = encodeCommand({ kind: 'sessions', id, actor, atEpochMs: Date.now(), entries })
  for (;;) {
    const answer = await consensus.propose(data, 'bulk')
    if (answer.ok) return
    // Applied once whatever happens: the command has an id.
    if (answer.code === 'too-large' || answer.code === 'invalid' || answer.code === 'stopped') throw new Error(answer.detail)
    await delay(20)
  }
}

while (consensus.status().leader === '') await delay(20)
const startMs = performance.now()
const batch = new SessionBatch()
let next = 0
let batches = 0
async function feed(): Promise<void> {
  for (;;) {
    while (next < sessions && batch.due(0) !== 0) {
      batch.add({ key: `web/source/${address(next)}`, member: `web/backend${(next % 3) + 1}`, ttlMs }, 0)
      next++
    }
    const entries = batch.take(0)
    if (entries.length === 0) return
    batches++
    await propose(entries)
  }
}
await Promise.all(Array.from({ length: inFlight }, feed))
const ms = Math.round(performance.now() - startMs)
await consensus.stop()
process.stdout.write(`${JSON.stringify({ entries: next, batches, ms })}\n`, () => process.exit(0))

/**
 * One member of the snapshot benchmark's cluster: consensus as the heart runs it, and one client that commits a small entry
 * every few milliseconds. Started by `snapshot.ts`, which asks it over IPC.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Consensus, JoinRequest, JoinResponse } from '../../consensus/consensus.ts'
import { loadIdentity, signCsr } from '../../consensus/identity.ts'
import { openConsensus } from '../../consensus/open.ts'

export type SnapshotQuestion =
  | { readonly ask: 'status' } | { readonly ask: 'begin' } | { readonly ask: 'end' }
  | { readonly ask: 'put'; readonly count: number } | { readonly ask: 'store'; readonly bytes: number }

export interface SnapshotAnswer {
  readonly leads: boolean
  readonly voters: number
  /** Of the snapshot that was restored here; 0 when none was. */
  readonly snapshotBytes: number
  /** Longest event-loop gap since the last `begin`, milliseconds. */
  readonly gapMs: number
  /** The most CPU time that this thread took between two looks every 5 ms, milliseconds: what of a gap is its own doing, on a machine
   *  that others use too. */
  readonly turnMs: number
  /** Commits since the last `begin`, milliseconds each. */
  readonly latenciesMs: readonly number[]
  readonly residentMiB: number
  readonly peakResidentMiB: number
}

const [directory = '', secret = ''] = process.argv.slice(2)
const chunkBytes = 256 * 1024
const putEveryMs = 5

let consensus: Consensus | undefined
let snapshotBytes = 0
let handed = 0
let latenciesMs: number[] = []
let gapMs = 0
let turnMs = 0
let peakBytes = 0

async function join_(request: JoinRequest): Promise<{ ok: true; response: JoinResponse } | { ok: false; error: string }> {
  if (request.secret !== secret) return { ok: false, error: 'the token is not valid' }
  const { certificate, peer } = await signCsr(directory, request.csr, request.peer)
  const added = await consensus!.addPeer(peer)
  if (!added.ok) return { ok: false, error: added.detail }
  return {
    ok: true,
    response: {
      clusterId: loadIdentity(directory).clusterId, caCertificate: readFileSync(join(directory, 'ca.pem'), 'utf8'), certificate,
      caKey: readFileSync(join(directory, 'ca.key'), 'utf8'), membership: consensus!.status().membership,
    },
  }
}

// As the heart does.
try {
  setPriority(0, -15)
} catch {
  // Not permitted: it stays as urgent as everything else.
}
let last = performance.now()
setInterval(() => {
  const now = performance.now()
  gapMs = Math.max(gapMs, now - last - 20)
  last = now
  peakBytes = Math.max(peakBytes, process.memoryUsage.rss())
}, 20).unref()

let lastCpu = process.threadCpuUsage()
setInterval(() => {
  const cpu = process.threadCpuUsage()
  turnMs = Math.max(turnMs, (cpu.user - lastCpu.user + cpu.system - lastCpu.system) / 1000)
  lastCpu = cpu
}, 5).unref()

consensus = await openConsensus({
  directory,
  hooks: {
    committed: async (entries) => {
      handed = entries.at(-1)?.index ?? handed
      consensus?.applied(handed)
    },
    restore: async (meta, chunks) => {
      for await (const _ of chunks) continue
      snapshotBytes = meta.bytes
    },
    lease: () => undefined, closeFence: async () => undefined, changed: () => undefined, gossip: () => undefined,
    transferRequested: async () => ({ ok: false, detail: 'not here' }), join: join_,
  },
  log: (level, message) => void (level === 'error' && process.stderr.write(`${message}\n`)),
})

async function client(): Promise<never> {
  for (;;) {
    const startMs = performance.now()
    const result = consensus?.status().role === 'leader' ? await consensus.propose(Buffer.alloc(256), 'normal') : undefined
    if (result?.ok === true) latenciesMs.push(performance.now() - startMs)
    await sleep(putEveryMs)
  }
}
void client()

async function* state(bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; left -= chunkBytes) yield randomBytes(Math.min(left, chunkBytes))
}

async function answer(question: SnapshotQuestion): Promise<void> {
  switch (question.ask) {
    case 'begin':
      latenciesMs = []
      gapMs = 0
      turnMs = 0
      peakBytes = 0
      break
    case 'put':
      for (let at = 0; at < question.count; at += 500) {
        await Promise.all(Array.from({ length: 500 }, () => consensus!.propose(Buffer.alloc(256), 'normal')))
      }
      break
    case 'store':
      await consensus!.storeSnapshot(handed, state(question.bytes))
      break
    case 'status':
    case 'end':
      break
  }
  const { role, membership } = consensus!.status()
  process.send!({
    leads: role === 'leader', voters: membership.voters.length, snapshotBytes, gapMs, turnMs, latenciesMs: question.ask === 'end' ? latenciesMs : [],
    residentMiB: process.memoryUsage.rss() / 2 ** 20, peakResidentMiB: Math.max(peakBytes, process.memoryUsage.rss()) / 2 ** 20,
  } satisfies SnapshotAnswer)
}

process.on('message', (question: SnapshotQuestion) => void answer(question))
process.on('disconnect', () => process.exit(0))

/**
 * One member of the consensus benchmark's cluster: consensus as the heart runs it, in a process of its own, on its own
 * directory. Where the heart has its child there is a counter here, and a TCP listener that speaks the heart's link.
 * Started by `consensus.ts`, which asks it over IPC.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Consensus, JoinRequest, JoinResponse, ProposeResult } from '../../consensus/consensus.ts'
import { loadIdentity, signCsr } from '../../consensus/identity.ts'
import { openConsensus } from '../../consensus/open.ts'
import { Link, type ToHeart } from '../../node/link.ts'
import { keepWorkingSetSmall } from '../../node/working-set.ts'
import { closedLoop, type Summary } from './latencies.ts'

/** Entries of at least this size are session batches; the puts are a few hundred bytes. */
const sessionBatchBytes = 16 * 1024
const snapshotChunkBytes = 256 * 1024
const gapResolutionMs = 2

export type Question =
  | { readonly ask: 'status' }
  | { readonly ask: 'begin' }
  | { readonly ask: 'end' }
  | { readonly ask: 'load'; readonly clients: number; readonly warmSeconds: number; readonly seconds: number; readonly bytes: number }

export interface MemberStatus {
  readonly id: string
  readonly leader: string
  readonly voters: number
  readonly commitIndex: number
  readonly port: number
}

/** What one phase cost this member. */
export interface MemberReport {
  /** Longest event-loop gap, milliseconds. */
  readonly gapMs: number
  /** CPU time ÷ time. */
  readonly cpu: number
  readonly entries: number
  readonly sessionBatches: number
  readonly snapshots: number
  readonly snapshotBytes: number
  readonly residentKiB: number
  readonly residentAnonymousKiB: number
  readonly peakResidentKiB: number
  readonly heapKiB: number
  readonly arrayBuffersKiB: number
  readonly term: number
}

const directory = process.argv[2]!
const secret = process.argv[3]!
/** Session entries in the replicated state at most, and bytes of one in a snapshot. */
const sessionTable = Number(process.argv[4])
const sessionEntryBytes = 64

keepWorkingSetSmall()

let consensus: Consensus | undefined
let entries = 0
let sessionBatches = 0
let sessionBytes = 0
let snapshots = 0
let snapshotBytes = 0
let storing = false
let handedIndex = 0

/** The size of the state machine's snapshot: ten thousand keys, and the sessions so far. */
const stateBytes = (): number => 10_000 * 264 + Math.min(sessionBytes, sessionTable * sessionEntryBytes)

async function* state(bytes: number): AsyncGenerator<Uint8Array> {
  const chunk = randomBytes(snapshotChunkBytes)
  for (let left = bytes; left > 0; left -= chunk.length) yield left >= chunk.length ? chunk : chunk.subarray(0, left)
}

function considerSnapshot(): void {
  if (storing || consensus?.wantsSnapshot() !== true) return
  storing = true
  const bytes = stateBytes()
  consensus.storeSnapshot(handedIndex, state(bytes)).then(
    () => {
      snapshots += 1
      snapshotBytes += bytes
      storing = false
    },
    () => (storing = false),
  )
}

async function admit(request: JoinRequest): Promise<{ ok: true; response: JoinResponse } | { ok: false; error: string }> {
  if (request.secret !== secret) return { ok: false, error: 'the token is not valid' }
  const { certificate, peer } = await signCsr(directory, request.csr, request.peer)
  const added = await consensus!.addPeer(peer)
  if (!added.ok) return { ok: false, error: added.detail }
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8')
  const { clusterId } = loadIdentity(directory)
  return { ok: true, response: { clusterId, caCertificate: read('ca.pem'), certificate, caKey: read('ca.key'), membership: consensus!.status().membership } }
}

const server = createServer((socket) => {
  socket.setNoDelay(true)
  const link = new Link<ToHeart, { type: 'reply'; id: number; result: ProposeResult }>(
    socket,
    (message) => {
      if (message.type !== 'propose') return
      void consensus!.propose(message.data, message.priority).then((result) => link.send({ type: 'reply', id: message.id, result }))
    },
    () => undefined,
  )
})

const gaps = monitorEventLoopDelay({ resolution: gapResolutionMs })
let cpu = process.cpuUsage()
let beganMs = performance.now()

function begin(): void {
  entries = 0
  sessionBatches = 0
  snapshots = 0
  snapshotBytes = 0
  gaps.reset()
  gaps.enable()
  cpu = process.cpuUsage()
  beganMs = performance.now()
}

function end(): MemberReport {
  const status = readFileSync('/proc/self/status', 'utf8')
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? Number.NaN)
  const { user, system } = process.cpuUsage(cpu)
  const memory = process.memoryUsage()
  return {
    gapMs: Math.max(0, gaps.max / 1e6 - gapResolutionMs), cpu: (user + system) / 1000 / (performance.now() - beganMs),
    entries, sessionBatches, snapshots, snapshotBytes,
    residentKiB: kib('VmRSS'), residentAnonymousKiB: kib('RssAnon'), peakResidentKiB: kib('VmHWM'),
    heapKiB: Math.round(memory.heapTotal / 1024), arrayBuffersKiB: Math.round(memory.arrayBuffers / 1024), term: consensus!.status().term,
  }
}

/** Clients inside this process: the heart's own interface, without any connection. */
function load(question: Extract<Question, { ask: 'load' }>): Promise<Summary> {
  const value = randomBytes(question.bytes)
  return closedLoop(question.clients, question.warmSeconds, question.seconds, async () => (await consensus!.propose(Buffer.from(value), 'normal')).ok)
}

async function answer(question: Question): Promise<unknown> {
  switch (question.ask) {
    case 'begin': return begin()
    case 'end': return end()
    case 'load': return load(question)
    case 'status': {
      const { id, leader, membership, commitIndex } = consensus!.status()
      return { id, leader, voters: membership.voters.length, commitIndex, port: (server.address() as AddressInfo).port } satisfies MemberStatus
    }
  }
}

if (import.meta.main) {
  // The heart's other modules take memory, too.
  await Promise.all([import('../../node/heart.ts'), import('../../vip/manager.ts')])
  consensus = await openConsensus({
    directory,
    hooks: {
      committed: async (some) => {
        for (const { data } of some) {
          entries += 1
          if (data.length < sessionBatchBytes) continue
          sessionBatches += 1
          sessionBytes += data.length
        }
        handedIndex = some.at(-1)!.index
        // As the heart's child: it says so once this call is over.
        setImmediate(() => {
          consensus?.applied(handedIndex)
          considerSnapshot()
        })
      },
      restore: async (_meta, chunks) => {
        for await (const _ of chunks) continue
      },
      lease: () => undefined,
      closeFence: () => Promise.resolve(),
      transferRequested: () => Promise.resolve({ ok: false, detail: 'a benchmark' }),
      changed: () => undefined,
      gossip: () => undefined,
      join: admit,
    },
    log: (level, message) => {
      if (level === 'error' || (level === 'warn' && process.env['HAECHI_LOG'] !== undefined)) console.error(message)
    },
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  process.on('message', ({ id, question }: { id: number; question: Question }) => {
    void answer(question).then((value) => process.send!({ id, value }))
  })
  process.on('disconnect', () => process.exit(0))
  process.send!({ ready: true })
}

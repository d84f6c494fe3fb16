/**
 * What becomes of a proposal: queued and batched on the leader, forwarded once from elsewhere, tracked by index and term
 * until its fate is known, answered exactly once. `retrySafe` is only ever true when it is certain that the entry is not
 * and will not be in the log.
 */
import type { ProposeErrorCode, ProposeResult } from './consensus.ts'
import type { NodeId, Peer } from './core/types.ts'
import type { Raft } from './core/raft.ts'
import type { Clock, Timer } from './environment.ts'
import type { Request } from './transport/wire.ts'

/** `demote` is the leader's own doing: a member has lost its log. */
export type ProposalRequest =
  | Exclude<Request, { type: 'transfer' | 'repair' | 'members' | 'read-index' }>
  | { readonly type: 'demote'; readonly peer: Peer }

export interface ProposalsOptions {
  readonly raft: Raft
  readonly clock: Clock
  /** Sends to a peer: its reply, or undefined when the connection broke before it; 'not-sent' when there is none. */
  readonly forward: (to: NodeId, request: Exclude<ProposalRequest, { type: 'demote' }>) => Promise<unknown> | 'not-sent'
  /** The core has been given something: take what is ready. */
  readonly pump: () => void
}

export const maxNormalBytes = 16 * 1024 * 1024
export const maxBulkBytes = 256 * 1024
/** Proposals whose fate is open, per priority. */
const maxOpen = { normal: 4096, bulk: 1024 } as const
const maxOpenBytes = { normal: 64 * 1024 * 1024, bulk: 16 * 1024 * 1024 } as const
/** One batch for the core. */
const maxBatchEntries = 1024
const maxBatchBytes = 4 * 1024 * 1024
/** Bulk entries in the log that have not committed: what a normal proposal may have to wait behind. */
const maxBulkInLogBytes = 512 * 1024
const timeoutMs = 10_000
/** A new leader is usually there within an election timeout; after this the caller should know. */
const waitForLeaderMs = 1500
/** A membership change may have to wait for the one before it. */
const waitForMembershipMs = 5000
const retryEveryMs = 25

interface Item {
  readonly request: ProposalRequest
  readonly priority: 'normal' | 'bulk'
  readonly bytes: number
  /** From this node's own callers, so it may be forwarded. */
  readonly local: boolean
  readonly resolve: (result: ProposeResult) => void
  readonly deadlineMs: number
  state: 'queued' | 'waiting' | 'forwarded' | 'in-log' | 'settled'
  term: number
  index: number
  /** Until when it waits for a leader or for its turn; set when it first has to. */
  waitUntilMs: number
}

export class Proposals {
  readonly #options: ProposalsOptions
  readonly #raft: Raft
  readonly #clock: Clock
  readonly #open = { normal: 0, bulk: 0 }
  readonly #openBytes = { normal: 0, bulk: 0 }
  #queued: { normal: Item[]; bulk: Item[] } = { normal: [], bulk: [] }
  readonly #inLog = new Map<number, Item>()
  readonly #waiting = new Set<Item>()
  readonly #forwarded = new Set<Item>()
  #bulkInLogBytes = 0
  #flushScheduled = false
  #retryTimer: Timer | undefined
  /** Everything not settled, in the order of the deadlines, since all have the same time. One timer for all. */
  readonly #unsettled = new Set<Item>()
  #deadlineTimer: Timer | undefined
  #stopped = false

  constructor(options: ProposalsOptions) {
    this.#options = options
    this.#raft = options.raft
    this.#clock = options.clock
  }

  /** `local`: of this node; otherwise forwarded by a peer, and then not forwarded again. */
  submit(request: ProposalRequest, local: boolean): Promise<ProposeResult> {
    const priority = request.type === 'propose' ? request.priority : 'normal'
    const bytes = request.type === 'propose' ? request.data.length : 1024
    const limit = priority === 'bulk' ? maxBulkBytes : maxNormalBytes
    if (this.#stopped) return Promise.resolve(refusal('stopped', true, 'this node is stopping'))
    if (bytes > limit) return Promise.resolve(refusal('too-large', true, `${bytes} bytes, at most ${limit} are allowed`))
    if (this.#open[priority] >= maxOpen[priority] || this.#openBytes[priority] + bytes > maxOpenBytes[priority]) {
      return Promise.resolve(refusal('overloaded', true, `${this.#open[priority]} proposals are waiting`))
    }
    return new Promise((resolve) => {
      const item: Item = {
        request, priority, bytes, local, resolve, state: 'queued', term: 0, index: 0, waitUntilMs: 0,
        deadlineMs: this.#clock.now() + timeoutMs,
      }
      this.#unsettled.add(item)
      this.#deadlineTimer ??= this.#clock.after(timeoutMs, () => this.#expire())
      this.#open[priority] += 1
      this.#openBytes[priority] += bytes
      this.#route(item)
    })
  }

  /** Entries up to `to` are committed and durable here. */
  committed(from: number, to: number): void {
    if (this.#inLog.size === 0) return
    for (let index = from; index <= to; index += 1) {
      const item = this.#inLog.get(index)
      if (item === undefined) continue
      const term = this.#raft.termAt(index)
      if (term === item.term) this.#settle(item, { ok: true, index, term })
      else if (term === undefined) this.#settle(item, refusal('lost', false, 'leadership changed; its fate is not known'))
      else this.#settle(item, refusal('lost', true, 'leadership changed before it was committed'))
    }
  }

  /** A snapshot replaced the log up to `index`. */
  replaced(index: number): void {
    for (const item of this.#inLog.values()) {
      if (item.index <= index) this.#settle(item, refusal('lost', false, 'leadership changed; its fate is not known'))
    }
  }

  /** Role or leader changed. */
  changed(): void {
    if (this.#raft.role !== 'leader') {
      const queued = [...this.#queued.normal, ...this.#queued.bulk]
      this.#queued = { normal: [], bulk: [] }
      for (const item of queued) this.#route(item)
    }
    this.#retryWaiting()
  }

  /** Answers everything that is open. */
  stop(): void {
    this.#stopped = true
    this.#clock.cancel(this.#retryTimer)
    this.#clock.cancel(this.#deadlineTimer)
    const unknown = [...this.#inLog.values(), ...this.#forwarded]
    for (const item of unknown) this.#settle(item, refusal('stopped', false, 'this node is stopping; its fate is not known'))
    const safe = [...this.#queued.normal, ...this.#queued.bulk, ...this.#waiting]
    for (const item of safe) this.#settle(item, refusal('stopped', true, 'this node is stopping'))
    this.#queued = { normal: [], bulk: [] }
  }

  #route(item: Item): void {
    const { role, leader } = this.#raft
    if (role === 'leader') {
      item.state = 'queued'
      this.#queued[item.priority].push(item)
      this.#scheduleFlush()
    } else if (!item.local) {
      this.#settle(item, refusal('not-leader', true, leader === '' ? 'no leader is known' : `the leader is ${leader}`))
    } else if (leader === '') {
      this.#wait(item, waitForLeaderMs)
    } else {
      this.#forward(item, leader)
    }
  }

  #forward(item: Item, leader: NodeId): void {
    if (item.request.type === 'demote') return this.#settle(item, refusal('not-leader', true, `the leader is ${leader}`))
    const reply = this.#options.forward(leader, item.request)
    if (reply === 'not-sent') return this.#wait(item, waitForLeaderMs)
    item.state = 'forwarded'
    this.#forwarded.add(item)
    void reply.then((value) => {
      this.#forwarded.delete(item)
      if (item.state !== 'forwarded') return
      const result = asResult(value)
      if (result === undefined) this.#settle(item, refusal('lost', false, `the connection to ${leader} broke; its fate is not known`))
      else if (!result.ok && result.retrySafe && (result.code === 'not-leader' || result.code === 'stopped')) this.#wait(item, waitForLeaderMs)
      else this.#settle(item, result)
    })
  }

  #wait(item: Item, budgetMs: number): void {
    const now = this.#clock.now()
    if (item.waitUntilMs === 0) item.waitUntilMs = now + budgetMs
    if (now >= item.waitUntilMs) {
      const { leader, role } = this.#raft
      const why = role === 'leader' || leader !== '' ? `the leader ${leader} does not take proposals` : 'no leader is known'
      this.#settle(item, refusal('no-leader', true, why))
      return
    }
    item.state = 'waiting'
    this.#waiting.add(item)
    this.#retryTimer ??= this.#clock.after(retryEveryMs, () => {
      this.#retryTimer = undefined
      this.#retryWaiting()
    })
  }

  #retryWaiting(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const item of waiting) this.#route(item)
  }

  // — on the leader —

  #scheduleFlush(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    const flush = () => {
      this.#flushScheduled = false
      this.#flush()
    }
    // Alone it goes at once. Else after all sockets of this turn have been read: what came in together goes together.
    if (this.#inLog.size === 0) void Promise.resolve().then(flush)
    else this.#clock.soon(flush)
  }

  #flush(): void {
    if (this.#stopped || this.#raft.role !== 'leader') return
    const now = this.#clock.now()
    while (this.#raft.role === 'leader') {
      const batch = this.#nextBatch()
      if (batch.length === 0) break
      const single = batch[0]!.request
      if (single.type === 'propose') this.#proposeBatch(batch, now)
      else this.#proposeChange(batch[0]!, single, now)
    }
    this.#options.pump()
  }

  /** Normal ones first; a membership change goes alone; bulk only as long as not too much of it is in the log. */
  #nextBatch(): Item[] {
    const batch: Item[] = []
    let bytes = 0
    const { normal, bulk } = this.#queued
    while (batch.length < maxBatchEntries && normal.length > batch.length) {
      const item = normal[batch.length]!
      if (batch.length > 0 && (bytes + item.bytes > maxBatchBytes || item.request.type !== 'propose')) break
      batch.push(item)
      bytes += item.bytes
      if (item.request.type !== 'propose') break
    }
    if (batch.length > 0) {
      normal.splice(0, batch.length)
      return batch
    }
    while (batch.length < bulk.length && batch.length < maxBatchEntries) {
      const item = bulk[batch.length]!
      if (this.#bulkInLogBytes + bytes + item.bytes > maxBulkInLogBytes && this.#bulkInLogBytes + bytes > 0) break
      batch.push(item)
      bytes += item.bytes
    }
    bulk.splice(0, batch.length)
    return batch
  }

  #proposeBatch(batch: readonly Item[], now: number): void {
    const entries = batch.map(({ request }) => ({ type: 'command' as const, data: (request as { data: Uint8Array }).data }))
    const result = this.#raft.propose(entries, now)
    if (result.ok) {
      batch.forEach((item, at) => this.#track(item, result.firstIndex + at, result.term))
    } else {
      for (const item of batch) this.#refused(item, result)
    }
  }

  #proposeChange(item: Item, request: Exclude<ProposalRequest, { type: 'propose' }>, now: number): void {
    const change = request.type === 'add-peer'
      ? ({ type: 'add-learner', peer: request.peer } as const)
      : request.type === 'demote' ? request : ({ type: 'remove', id: request.id } as const)
    const result = this.#raft.changeMembership(change, now)
    if (result.ok) this.#track(item, result.firstIndex, result.term)
    else this.#refused(item, result)
  }

  #refused(item: Item, result: { readonly code: string; readonly detail: string }): void {
    switch (result.code) {
      case 'overloaded': return this.#settle(item, refusal('overloaded', true, result.detail))
      case 'invalid-membership': return this.#settle(item, refusal('invalid', true, result.detail))
      case 'membership-pending':
      case 'term-not-committed': return this.#wait(item, waitForMembershipMs)
      default:
        // Handing over, or no leader any more. The one who forwarded it does the waiting.
        if (item.local) this.#wait(item, waitForLeaderMs)
        else this.#settle(item, refusal('not-leader', true, result.detail))
    }
  }

  #track(item: Item, index: number, term: number): void {
    const older = this.#inLog.get(index)
    if (older !== undefined) this.#settle(older, refusal('lost', false, 'leadership changed; its fate is not known'))
    item.state = 'in-log'
    item.index = index
    item.term = term
    this.#inLog.set(index, item)
    if (item.priority === 'bulk') this.#bulkInLogBytes += item.bytes
  }

  #expire(): void {
    const now = this.#clock.now()
    this.#deadlineTimer = undefined
    for (const item of this.#unsettled) {
      if (item.deadlineMs > now) {
        this.#deadlineTimer = this.#clock.after(Math.max(item.deadlineMs - now, 1), () => this.#expire())
        return
      }
      this.#timedOut(item)
    }
  }

  #timedOut(item: Item): void {
    const inLog = item.state === 'in-log' || item.state === 'forwarded'
    this.#queued[item.priority] = this.#queued[item.priority].filter((other) => other !== item)
    this.#settle(item, refusal('timeout', !inLog, inLog ? 'no answer from a majority in time; its fate is not known' : 'it never got its turn'))
  }

  #settle(item: Item, result: ProposeResult): void {
    if (item.state === 'settled') return
    if (item.state === 'in-log') {
      // A later leadership may have put another proposal of this node at the same index.
      if (this.#inLog.get(item.index) === item) this.#inLog.delete(item.index)
      if (item.priority === 'bulk') {
        this.#bulkInLogBytes -= item.bytes
        if (this.#queued.bulk.length > 0) this.#scheduleFlush()
      }
    }
    this.#waiting.delete(item)
    this.#forwarded.delete(item)
    item.state = 'settled'
    this.#unsettled.delete(item)
    this.#open[item.priority] -= 1
    this.#openBytes[item.priority] -= item.bytes
    item.resolve(result)
  }
}

export function refusal(code: ProposeErrorCode, retrySafe: boolean, detail: string): ProposeResult & { ok: false } {
  return { ok: false, code, retrySafe, detail }
}

/** A reply from a peer; undefined when there is none or it is not understood. */
function asResult(value: unknown): ProposeResult | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { ok, index, term, code, retrySafe, detail, overloaded } = value as Record<string, unknown>
  if (overloaded === true) return refusal('overloaded', true, 'the leader has too many requests from this node')
  if (ok === true && typeof index === 'number' && typeof term === 'number') return { ok, index, term }
  if (ok === false && typeof code === 'string' && typeof retrySafe === 'boolean' && typeof detail === 'string') {
    return refusal(code as ProposeErrorCode, retrySafe, detail)
  }
  return undefined
}

/**
 * Consensus with a real clock, disk and network: the one loop around the pure core, step → persist → send → apply.
 *
 * One write is under way at a time. What the core produces meanwhile is gathered and becomes the next write (group
 * commit); messages that depend on a write are sent when it has completed, all others at once, so that a slow disk delays
 * no heartbeat. Rule numbers are those of the design's safety rules.
 */
import type {
  Consensus, ConsensusHooks, ConsensusOptions, ConsensusStatus, Lease, PeerStatus, ProposeResult, ReadIndexResult,
} from './consensus.ts'
import { find, isMembership } from './core/membership.ts'
import type { Preference } from './core/options.ts'
import { Raft } from './core/raft.ts'
import type {
  Entry, HardState, Message, NodeId, Peer, Ready, SnapshotMeta, Timing,
} from './core/types.ts'
import { Feed } from './feed.ts'
import { pause, type Clock, type Network, type NetworkParts, type Timer, type World } from './environment.ts'
import type { Identity } from './identity.ts'
import { leavingMs, Members } from './members.ts'
import type { RepairReply } from './repair.ts'
import { PayloadCache } from './payloads.ts'
import { Proposals, refusal, type ProposalRequest } from './proposals.ts'
import { Reads } from './reads.ts'
import { Snapshots } from './snapshots.ts'
import { StorageError, type LogStorage } from './storage/storage.ts'
import { maxGossipBytes, type Request } from './transport/wire.ts'

const maxCacheBytes = 2 * 1024 * 1024
/** More than any append message that the core asks for; a larger single entry still goes alone. */
const maxMessageBytes = 1024 * 1024
/** Messages per peer that wait for their entries to be read from disk; the core repeats what is dropped. */
const maxLoads = 16
/** Messages that wait for one write. */
const maxHeldMessages = 4096
/** A timer that fires later than this was held up: read the sockets before drawing conclusions from silence. */
const gapMs = 20
const stopTransferMs = 1000
const askForMembersEveryMs = 1000
const maxWriteBackoffMs = 1000
/** A disk that stays in trouble is named again after this time, not with every attempt: logs are on a disk, too. */
const troubleLogEveryMs = 10_000

/** What is to be written together, and sent once it is. */
interface Bundle {
  hardState: HardState | undefined
  append: Entry[]
  install: SnapshotMeta | undefined
  messages: Message[]
  commitIndex: number
}

const emptyBundle = (): Bundle => ({ hardState: undefined, append: [], install: undefined, messages: [], commitIndex: 0 })

/** For tests: ends as a crash would. */
export interface AbortableConsensus extends Consensus {
  /** Closes sockets and log at once, hands nothing over, tells nobody. */
  abort(): Promise<void>
  /** The port that is listened on. */
  readonly port: number
}

export interface DriverOptions {
  readonly identity: Pick<Identity, 'id' | 'role' | 'clusterId' | 'membership' | 'demotedAtIndex'>
  /** Of this node's own certificate (SHA-256, hex), to be compared with what the log says of it. */
  readonly fingerprint?: string
  /** Sees to it, durably, that the log is not used again but repaired at the next start (`damage.ts`). */
  readonly demandRepair?: (reason: string) => Promise<void>
  /** Awaited last when the node ends: what else of it has to be finished. */
  readonly ended?: () => Promise<void>
  readonly storage: LogStorage
  readonly timing: Timing
  readonly hooks: ConsensusHooks
  readonly log: ConsensusOptions['log']
  readonly world: World
}

export class Driver implements AbortableConsensus {
  readonly #identity: DriverOptions['identity']
  readonly #world: World
  readonly #clock: Clock
  readonly #timing: Timing
  readonly #hooks: ConsensusHooks
  readonly #log: ConsensusOptions['log']
  readonly #demandRepair: DriverOptions['demandRepair']
  readonly #ended: DriverOptions['ended']
  readonly #storage: LogStorage
  readonly #raft: Raft
  readonly #cache = new PayloadCache(maxCacheBytes)
  readonly #proposals: Proposals
  readonly #reads: Reads
  readonly #feed: Feed
  readonly #snapshots: Snapshots
  readonly #members: Members
  #network!: Network

  #pending = emptyBundle()
  #writing: Bundle | undefined
  /** Why the log cannot be written at the moment, or empty; and when that was last logged. */
  #storageError = ''
  #troubleLoggedMs = -Infinity
  #pumping = false
  #pumpAgain = false

  #timer: Timer | undefined
  #timerDueMs = Infinity
  #tickDeferred = false

  #lease: Lease | undefined
  /** The fence was closed on purpose in this term: up to it no lease is passed on any more (rule 4). */
  #withheldTerm = -1
  #transferring = false
  /** The preferred node is being handed over to; and why that last came to nothing, or empty. */
  #preempting = false
  #preemptFailure = ''

  readonly #loads = new Map<NodeId, { waiting: number; tail: Promise<void> }>()
  readonly #watchers = new Set<() => void>()
  #applied = 0
  #started = false
  #stopping: Promise<void> | undefined
  #stopped = false
  /** The log says that another one has this node's name: nothing is sent, taken in or answered any more. */
  #retired = false
  #askedForMembersMs = -Infinity

  constructor(options: DriverOptions) {
    const { identity, storage, world } = options
    this.#identity = identity
    this.#world = world
    this.#clock = world.clock
    this.#timing = options.timing
    this.#hooks = options.hooks
    this.#log = options.log
    this.#demandRepair = options.demandRepair
    this.#ended = options.ended
    this.#storage = storage
    this.#raft = new Raft({
      id: identity.id, timing: this.#timing, random: world.random, now: this.#clock.now(), hardState: storage.hardState,
      membership: identity.membership, snapshot: storage.snapshot, entries: storage.takeLoaded(),
      ...(identity.demotedAtIndex === undefined ? {} : { demotedAtIndex: identity.demotedAtIndex }),
    })
    this.#members = new Members(this.#raft, options.fingerprint, identity)
    this.#snapshots = new Snapshots({
      role: identity.role, raft: this.#raft, storage, clock: this.#clock, pump: () => this.#pump(), log: this.#log,
      send: (message, payload) => this.#network.sendSnapshot(message, payload), failed: (error) => this.#fatal(error),
    })
    this.#proposals = new Proposals({
      raft: this.#raft, clock: this.#clock, pump: () => this.#pump(), forward: (to, request) => this.#network.request(to, request),
    })
    this.#reads = new Reads({
      raft: this.#raft, clock: this.#clock, pump: () => this.#pump(), request: (to, request) => this.#network.request(to, request),
    })
    this.#feed = new Feed({
      storage, clock: this.#clock, hooks: options.hooks, cached: (from, to, maxBytes) => this.#cache.range(from, to, maxBytes), failed: (error) => this.#fatal(error),
    })
  }

  /** Sets up the network and takes part. */
  async start(connect: (parts: NetworkParts) => Network | Promise<Network>): Promise<void> {
    this.#network = await connect({
      join: this.#hooks.join,
      mayConnect: (id) => this.#started && !this.#retired && this.#members.mayConnect(id, this.#clock.now()),
      handlers: {
        message: (message) => this.#step(message),
        gossip: (from, data) => this.#hooks.gossip(from, data),
        request: (from, request) => this.#serve(from, request),
        snapshot: (from, message, sha256) => {
          this.#step(message)
          return this.#snapshots.receive(from, message, sha256)
        },
        connected: (id) => {
          this.#proposals.changed()
          this.#reads.changed()
          if (this.#members.owned(id)) this.#changed()
        },
        disconnected: () => undefined,
        disowned: (id) => this.#disowned(id),
        impostor: () => void this.#askForMembers(),
      },
    })
    this.#started = true
    this.#feed.committed(this.#storage.commitIndex)
    if (this.#members.replaced) return this.#retire()
    this.#network.setPeers(this.#members.toReach(this.#clock.now()))
    this.#pump()
  }

  get port(): number {
    return this.#network.port
  }
  /** For the simulator, which looks at everything. */
  get core(): Raft {
    return this.#raft
  }

  // — the loop: step → persist → send → apply —

  #step(message: Message): void {
    if (this.#stopped || this.#retired) return
    const now = this.#clock.now()
    this.#checkLease(now)
    this.#raft.step(message, now)
    this.#pump()
  }

  /** Takes everything that the core has ready. Call after every input. */
  #pump(): void {
    if (this.#pumping) {
      this.#pumpAgain = true
      return
    }
    if (this.#stopped || this.#retired) return
    this.#pumping = true
    let changed = false
    do {
      this.#pumpAgain = false
      for (let ready = this.#raft.ready(); ready !== undefined; ready = this.#raft.ready()) {
        this.#take(ready)
        if (ready.change !== undefined) changed = true
      }
      this.#startWrite()
    } while (this.#pumpAgain)
    this.#publishLease(this.#clock.now())
    if (this.#followMembership()) changed = true
    this.#pumping = false
    this.#arm()
    if (changed) this.#changed()
  }

  #take(ready: Ready): void {
    const { append } = ready
    for (const entry of append) this.#cache.put(entry)
    const pending = this.#pending
    // Rule 7: as long as a term or a vote is on its way to the disk nothing leaves that may depend on it.
    const held = pending.hardState !== undefined || this.#writing?.hardState !== undefined
    if (held) this.#hold(ready.immediate)
    else for (const message of ready.immediate) this.#send(message)
    if (ready.hardState !== undefined) pending.hardState = ready.hardState
    const first = append[0]
    if (first !== undefined) {
      while (pending.append.length > 0 && pending.append.at(-1)!.index >= first.index) pending.append.pop()
      for (const entry of append) pending.append.push(entry)
    }
    if (ready.install !== undefined) {
      pending.install = ready.install
      pending.append = []
      this.#cache.clear()
    }
    this.#hold(ready.afterPersist)
    if (ready.reads.length > 0) this.#reads.decided(ready.reads)
    if (ready.committed !== undefined) {
      const { from, to } = ready.committed
      this.#proposals.committed(from, to)
      this.#feed.committed(to)
      this.#snapshots.considerRequest()
    }
    // Not within the loop: handing over begins with input to the core.
    if (ready.transferWanted !== undefined) this.#clock.soon(() => void this.#handToPreferred(ready.transferWanted!))
    if (ready.lostMemory) void this.#lostMemory()
    if (ready.change !== undefined) {
      const { role, term, leader } = ready.change
      this.#log('info', `${role} in term ${term}${leader === '' || role === 'leader' ? '' : ` of ${leader}`}`, { role, term, leader })
      this.#proposals.changed()
      this.#reads.changed()
    }
  }

  /** Keeps messages until what is being gathered has been written. */
  #hold(messages: readonly Message[]): void {
    const held = this.#pending.messages
    for (const message of messages) held.push(message)
    // Only a disk that hangs for long gets here. Every message may be lost; the newest are worth most.
    if (held.length > maxHeldMessages) held.splice(0, held.length - maxHeldMessages)
  }

  #startWrite(): void {
    if (this.#writing !== undefined) return
    const bundle = this.#pending
    if (bundle.hardState === undefined && bundle.append.length === 0 && bundle.install === undefined) {
      if (bundle.messages.length === 0) return
      this.#pending = emptyBundle()
      for (const message of bundle.messages) this.#send(message)
      return
    }
    this.#pending = emptyBundle()
    // The core's log is now exactly the stored one with this bundle, so its commit index holds for the result.
    bundle.commitIndex = this.#raft.commitIndex
    this.#writing = bundle
    this.#persist(bundle).catch((error: unknown) => this.#fatal(error as Error))
  }

  async #persist(bundle: Bundle): Promise<void> {
    // Rule 9. It may take long, so say it again: the core forgets a stall after a while.
    let watch: Timer
    const stalled = () => {
      watch = this.#clock.after(this.#timing.minElectionMs, stalled)
      this.#trouble('warn', `the disk has not completed a write within ${this.#timing.minElectionMs} ms`)
      this.#raft.diskStalled(this.#clock.now())
      this.#pump()
    }
    watch = this.#clock.after(this.#timing.minElectionMs, stalled)
    let written = false
    try {
      written = await this.#write(bundle)
    } finally {
      this.#clock.cancel(watch)
    }
    if (!written || this.#stopped) return
    const now = this.#clock.now()
    this.#troubleOver()
    this.#checkLease(now)
    this.#writing = undefined
    for (const message of bundle.messages) this.#send(message)
    const last = bundle.append.at(-1)
    if (bundle.install !== undefined) {
      this.#raft.installed(bundle.install, now)
      this.#proposals.replaced(bundle.install.index)
      this.#feed.committed(bundle.install.index)
    }
    if (last !== undefined) this.#raft.persisted(last.index, last.term, now)
    this.#raft.diskRecovered()
    this.#cache.trim(this.#storage.lastIndex)
    this.#pump()
  }

  /** Repeats until it is on disk: nothing is acknowledged before. False when the node was stopped meanwhile. */
  async #write(bundle: Bundle): Promise<boolean> {
    for (let backoffMs = 25; ; backoffMs = Math.min(backoffMs * 2, maxWriteBackoffMs)) {
      try {
        if (bundle.install === undefined) await this.#storage.write(bundle)
        else await this.#snapshots.install(bundle.install, bundle.hardState)
        return true
      } catch (error) {
        if (this.#stopped) return false
        if (error instanceof StorageError) throw error
        this.#trouble('error', `the log cannot be written: ${(error as Error).message}`, { cause: causeOf(error) })
        this.#raft.diskStalled(this.#clock.now())
        this.#pump()
        await pause(this.#clock, backoffMs)
        if (this.#stopped) return false
      }
    }
  }

  #trouble(level: 'warn' | 'error', message: string, fields?: Record<string, unknown>): void {
    const before = this.#storageError
    // A stall is the lesser news: while writes fail it is only a part of that.
    if (before === '' || level === 'error') this.#storageError = message
    const now = this.#clock.now()
    if (this.#storageError !== before || now - this.#troubleLoggedMs >= troubleLogEveryMs) {
      this.#troubleLoggedMs = now
      this.#log(level, `${message}; trying on`, fields)
    }
    if (before === '') this.#changed()
  }

  #troubleOver(): void {
    if (this.#storageError === '') return
    this.#storageError = ''
    this.#troubleLoggedMs = -Infinity
    this.#log('info', 'the log can be written again')
    this.#changed()
  }

  // — sending —

  #send(message: Message): void {
    if (this.#retired) return
    if (message.type === 'snapshot') this.#snapshots.send(message)
    else if (message.type === 'append' && message.count > 0) this.#sendAppend(message)
    else this.#network.send(message)
  }

  #sendAppend(message: Extract<Message, { type: 'append' }>): void {
    const load = this.#loads.get(message.to)
    const from = message.prevIndex + 1
    const to = message.prevIndex + message.count
    const cached = load === undefined ? this.#cache.range(from, to, Infinity) : undefined
    if (cached?.length === message.count) {
      this.#network.send({ ...message, entries: cached })
      return
    }
    const queue = load ?? { waiting: 0, tail: Promise.resolve() }
    if (queue.waiting >= maxLoads) return
    queue.waiting += 1
    this.#loads.set(message.to, queue)
    queue.tail = queue.tail.then(async () => {
      const entries = this.#cache.range(from, to, Infinity) ?? (await this.#readForSending(from, to))
      queue.waiting -= 1
      if (queue.waiting === 0) this.#loads.delete(message.to)
      // Only what is still this leadership's log may be sent in its name.
      const current = this.#raft.role === 'leader' && this.#raft.term === message.term && !this.#stopped && !this.#retired
      if (current && entries.length === message.count) this.#network.send({ ...message, entries })
    })
  }

  async #readForSending(from: number, to: number): Promise<Entry[]> {
    try {
      return await this.#storage.read(from, to, maxMessageBytes)
    } catch (error) {
      if (error instanceof StorageError) this.#fatal(error)
      return []
    }
  }

  // — snapshots and replay —

  wantsSnapshot(): boolean {
    return this.#snapshots.wanted(Math.min(this.#applied, this.#raft.commitIndex))
  }

  async storeSnapshot(index: number, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const handed = Math.min(this.#feed.handed, this.#raft.commitIndex)
    if (index > handed) throw new Error(`a snapshot at ${index}, but only ${handed} entries were handed on`)
    await this.#snapshots.store(index, chunks)
  }

  applied(index: number): void {
    this.#applied = Math.max(this.#applied, index)
  }

  replay(): Promise<void> {
    this.#applied = 0
    return this.#feed.replay()
  }

  // — time and lease —

  #arm(): void {
    const dueMs = Math.min(this.#raft.nextDeadline(), this.#lease?.untilMs ?? Infinity)
    if (dueMs >= this.#timerDueMs || this.#stopped || this.#retired || dueMs === Infinity) return
    this.#clock.cancel(this.#timer)
    this.#timerDueMs = dueMs
    this.#timer = this.#clock.after(Math.max(Math.ceil(dueMs - this.#clock.now()), 1), () => this.#timerFired())
  }

  #timerFired(): void {
    const now = this.#clock.now()
    const lateMs = now - this.#timerDueMs
    this.#timerDueMs = Infinity
    this.#checkLease(now)
    if (lateMs <= gapMs) return this.#tick()
    // Held up: what the others sent meanwhile lies in the sockets and is read before this runs.
    if (this.#tickDeferred) return
    this.#tickDeferred = true
    this.#clock.soon(() => {
      this.#tickDeferred = false
      this.#tick()
    })
  }

  #tick(): void {
    if (this.#stopped || this.#retired) return
    this.#raft.tick(this.#clock.now())
    this.#pump()
  }

  /** Rule 6: whatever woke this process up, a lease that has run out is given up before anything else is done. */
  #checkLease(now: number): void {
    if (this.#lease === undefined || this.#lease.untilMs > now) return
    this.#lease = undefined
    this.#hooks.lease(null)
  }

  #publishLease(now: number): void {
    const lease = this.#raft.lease(now)
    const before = this.#lease
    if (lease === undefined || lease.term <= this.#withheldTerm) {
      this.#lease = undefined
      if (before !== undefined) this.#hooks.lease(null)
      return
    }
    // A lone voter renews with every look at the clock; a quarter of a heartbeat is often enough.
    if (before?.term === lease.term && lease.untilMs - before.untilMs < this.#timing.heartbeatMs / 4) return
    this.#lease = lease
    this.#hooks.lease(lease)
  }

  // — proposals —

  propose(data: Uint8Array, priority: 'normal' | 'bulk'): Promise<ProposeResult> {
    return this.#submit({ type: 'propose', data, priority })
  }

  readIndex(): Promise<ReadIndexResult> {
    if (this.#stopped || this.#retired || this.#stopping !== undefined) return Promise.resolve({ ok: false, code: 'stopped', detail: 'this node is stopping' })
    return this.#reads.read()
  }

  addPeer(peer: Peer): Promise<ProposeResult> {
    return this.#submit({ type: 'add-peer', peer })
  }

  async removePeer(id: NodeId): Promise<ProposeResult> {
    // A leader that is to go hands over first: planned, and therefore fast.
    if (id === this.#identity.id && this.#raft.role === 'leader') await this.transfer()
    return this.#submit({ type: 'remove-peer', id })
  }

  #submit(request: ProposalRequest): Promise<ProposeResult> {
    if (this.#stopped || this.#stopping !== undefined) return Promise.resolve(refusal('stopped', true, 'this node is stopping'))
    return this.#proposals.submit(request, true)
  }

  async #serve(from: NodeId, request: Request): Promise<unknown> {
    // A stream outlives a removal for a while, or comes about while no leader is known. The leader knows who may ask.
    if (this.#raft.role === 'leader' && request.type !== 'repair' && find(this.#raft.membership, from) === undefined) {
      return refusal('invalid', true, `${from} is no member of the cluster any more`)
    }
    if (request.type === 'transfer') {
      if (this.#raft.role !== 'leader') return { ok: false, detail: 'leadership has just changed' }
      this.#log('info', `${from} asks to hand over${request.to === '' ? '' : ` to ${request.to}`}`)
      return this.#hooks.transferRequested(request.to, 'asked')
    }
    if (this.#stopped || this.#retired || this.#stopping !== undefined) return refusal('not-leader', true, 'this node is stopping')
    if (request.type === 'read-index') return this.#reads.serve()
    if (request.type === 'repair') return this.#repair(from, request.fingerprint)
    if (request.type === 'members') {
      const index = Math.min(this.#raft.commitIndex, this.#storage.lastIndex)
      return { index, membership: this.#storage.membershipAt(index) }
    }
    if (request.type === 'remove-peer' && request.id === this.#identity.id && this.#raft.role === 'leader') {
      await this.transfer()
      return refusal('not-leader', true, 'this node has handed over')
    }
    return this.#proposals.submit(request, false)
  }

  /** A member has lost its log: it is made a learner with nothing, and may begin anew once that is committed. */
  async #repair(from: NodeId, fingerprint: string): Promise<RepairReply> {
    const peer = find(this.#raft.membership, from)
    if (this.#raft.role !== 'leader') return { ok: false, code: 'not-leader', detail: 'leadership has just changed' }
    if (peer === undefined || (peer.fingerprint ?? fingerprint) !== fingerprint) return { ok: false, code: 'not-a-member', detail: `${from} is no member of the cluster any more` }
    this.#log('warn', `${from} has lost its log and is to be repaired: it loses its vote until it has caught up`, { peer: from })
    const result = await this.#proposals.submit({ type: 'demote', peer }, false)
    if (!result.ok) return { ok: false, code: result.code === 'invalid' ? 'invalid' : 'not-leader', detail: result.detail }
    const { index, term } = result
    return { ok: true, index, term: Math.max(term, this.#raft.term), membership: this.#storage.membershipAt(index) }
  }

  // — handing over —

  async transfer(to?: NodeId): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    if (this.#transferring) return { ok: false, detail: 'a hand-over is under way already' }
    // Whether it can work is asked before the fence is closed: a refusal must cost nothing.
    const target = this.#raft.transferTarget(to, this.#clock.now())
    if (!target.ok) return target
    const { term } = this.#raft
    this.#transferring = true
    try {
      this.#withheldTerm = term
      this.#publishLease(this.#clock.now())
      try {
        await this.#hooks.closeFence()
      } catch (error) {
        // It goes on as before, unless this node is at its end.
        if (this.#withheldTerm === term && this.#stopping === undefined) this.#withheldTerm = -1
        return { ok: false, detail: `the fence did not close: ${(error as Error).message}` }
      }
      if (this.#raft.role !== 'leader' || this.#raft.term !== term) return { ok: false, detail: 'leadership changed by itself' }
      const result = this.#raft.transfer(target.to, this.#clock.now())
      this.#pump()
      if (!result.ok) return result
      const { minElectionMs, maxElectionMs } = this.#timing
      const taken = await this.#until(
        () => this.#raft.leader !== '' && this.#raft.leader !== this.#identity.id, minElectionMs + 2 * maxElectionMs,
      )
      if (taken) return { ok: true }
      return { ok: false, detail: `${result.to} did not take over in time` }
    } finally {
      this.#transferring = false
    }
  }

  async requestTransfer(to: NodeId | ''): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    const { leader } = this.#raft
    if (leader === this.#identity.id) return this.#hooks.transferRequested(to, 'asked')
    if (leader === '') return { ok: false, detail: 'no leader is known' }
    const reply = await this.#network.request(leader, { type: 'transfer', to })
    if (reply === 'not-sent') return { ok: false, detail: `the leader ${leader} is not connected` }
    const { ok, detail } = (reply ?? {}) as { ok?: unknown; detail?: unknown }
    if (ok === true) return { ok }
    return { ok: false, detail: typeof detail === 'string' ? detail : `the connection to ${leader} broke before it answered` }
  }

  prefer(preference: Preference): void {
    if (this.#stopped || this.#retired) return
    this.#preemptFailure = ''
    this.#raft.prefer(preference, this.#clock.now())
    this.#pump()
  }

  /** The core asks again after a while if nothing comes of it: a failure is named once, not with every attempt. */
  async #handToPreferred(to: NodeId): Promise<void> {
    if (this.#preempting || this.#transferring || this.#stopping !== undefined || this.#raft.role !== 'leader') return
    if (this.#stopped || this.#retired) return
    this.#preempting = true
    let failure = ''
    try {
      const result = await this.#hooks.transferRequested(to, 'preferred')
      if (!result.ok) failure = result.detail
    } catch (error) {
      failure = (error as Error).message
    } finally {
      this.#preempting = false
    }
    if (failure === '') this.#log('info', `handed over to the preferred node ${to}`)
    else if (failure !== this.#preemptFailure) this.#log('warn', `not handed over to the preferred node ${to}: ${failure}`)
    this.#preemptFailure = failure
  }

  /** Waits for a change of role, term, leader or membership after which `condition` holds. */
  async #until(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition()) return true
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const watcher = () => condition() && resolve(true)
    this.#watchers.add(watcher)
    const timer = this.#clock.after(timeoutMs, () => resolve(condition()))
    const result = await promise
    this.#clock.cancel(timer)
    this.#watchers.delete(watcher)
    return result
  }

  // — membership and status —

  #followMembership(): boolean {
    const change = this.#members.follow(this.#clock.now())
    if (change === undefined) return false
    if (change.own === 'removed') this.#log('warn', 'this node was removed from the cluster')
    if (change.own === 'replaced') {
      this.#retire()
      return true
    }
    const reach = () => this.#stopped || this.#retired || this.#network.setPeers(this.#members.toReach(this.#clock.now()))
    reach()
    // Those who have left are cut off when their time is over.
    this.#clock.after(leavingMs + 10, reach, true)
    return true
  }

  /** This node's name belongs to another one: what this one says must not be taken for the other's word. */
  #retire(): void {
    this.#retired = true
    this.#log('error', `this node takes no part any more: ${this.#identityError}`)
    this.#withheldTerm = Infinity
    if (this.#lease !== undefined) this.#hooks.lease(null)
    this.#lease = undefined
    this.#clock.cancel(this.#timer)
    this.#proposals.stop()
    this.#reads.stop()
    this.#network.setPeers([])
  }

  #disowned(by: NodeId): void {
    const before = this.#identityError
    if (!this.#members.disowned(by) || this.#identityError === before) return
    this.#log('error', `this node cannot take part: ${this.#identityError}`)
    this.#changed()
  }

  /** Somebody has another certificate than this node's log says. The log may be old: then those who know better say so. */
  async #askForMembers(): Promise<void> {
    const now = this.#clock.now()
    if (this.#raft.leader !== '' || this.#retired || now - this.#askedForMembersMs < askForMembersEveryMs) return
    this.#askedForMembersMs = now
    const connected = this.#members.toReach(now).filter(({ id }) => id !== this.#identity.id && this.#network.connected(id))
    await Promise.all(connected.map(async ({ id }) => {
      const reply = await this.#network.request(id, { type: 'members' })
      const { index, membership } = (typeof reply === 'object' && reply !== null ? reply : {}) as { index?: unknown; membership?: unknown }
      if (!Number.isSafeInteger(index) || !isMembership(membership) || this.#stopped || this.#retired) return
      if (!this.#members.hear(index as number, membership)) return
      this.#log('info', `${id} knows of newer members than this node's log`, { index })
      this.#network.setPeers(this.#members.toReach(this.#clock.now()))
    }))
  }

  get #identityError(): string {
    const { id } = this.#identity
    const remedy = `if it was removed and ${id} has joined again, delete this data directory`
    if (this.#retired) return `the member ${id} of the cluster has another certificate than this node; ${remedy}`
    const { disowners } = this.#members
    return disowners.length === 0 ? '' : `${disowners.join(', ')} refuse its certificate, for the member ${id} has another; ${remedy}`
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher()
    this.#hooks.changed(this.status())
  }

  status(): ConsensusStatus {
    const now = this.#clock.now()
    const raft = this.#raft
    const { id, role: nodeRole, clusterId } = this.#identity
    const { membership } = raft
    const identityError = this.#identityError
    const peers = [...membership.voters, ...membership.learners].filter((peer) => peer.id !== id).map((peer): PeerStatus => {
      const heardMs = this.#network.lastHeardMs(peer.id)
      return {
        peer,
        voter: membership.voters.includes(peer),
        connected: this.#network.connected(peer.id),
        lastHeardAgoMs: heardMs === undefined ? null : Math.max(now - heardMs, 0),
        matchIndex: raft.progress(peer.id)?.matchIndex ?? null,
        protocol: this.#network.protocol?.(peer.id) ?? null,
        versions: this.#network.announced?.(peer.id) ?? null,
      }
    })
    return {
      id, nodeRole, clusterId, role: raft.role, term: raft.term, leader: raft.leader,
      commitIndex: Math.max(raft.commitIndex, this.#feed.commitIndex),
      lastIndex: raft.lastIndex, firstIndex: raft.firstIndex, snapshotIndex: raft.snapshotIndex,
      leaseRemainingMs: this.#lease === undefined ? 0 : Math.max(this.#lease.untilMs - now, 0),
      peers, membership, timing: this.#timing,
      ...(this.#network.versions === undefined ? {} : { versions: this.#network.versions }),
      ...(this.#network.unknownFrames === undefined ? {} : { unknownFrames: this.#network.unknownFrames }),
      ...(this.#storageError === '' ? {} : { storageError: this.#storageError }),
      ...(identityError === '' ? {} : { identityError }),
    }
  }

  // — gossip, the end —

  gossip(data: Uint8Array): void {
    if (this.#stopped) return
    if (data.length > maxGossipBytes) this.#log('warn', `gossip of ${data.length} bytes is too large and was not sent`)
    else this.#network.gossip(data)
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    if (this.#raft.role === 'leader' && !this.#transferring && !this.#retired) {
      const result = await Promise.race([this.transfer(), pause(this.#clock, stopTransferMs).then(() => undefined)])
      if (result?.ok !== true) this.#log('info', `stopping without a hand-over: ${result?.detail ?? 'it took too long'}`)
    }
    this.#withheldTerm = this.#raft.term
    this.#publishLease(this.#clock.now())
    await this.#hooks.closeFence().catch((error: unknown) => this.#log('error', `the fence did not close: ${(error as Error).message}`))
    this.#proposals.stop()
    this.#reads.stop()
    // One turn for the answers to those who had forwarded something.
    await pause(this.#clock, 0)
    await this.#end(false)
  }

  async abort(): Promise<void> {
    this.#stopping ??= Promise.resolve()
    const ended = this.#end(true)
    this.#proposals.stop()
    this.#reads.stop()
    await ended
  }

  async #end(abruptly: boolean): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#clock.cancel(this.#timer)
    if (this.#lease !== undefined) this.#hooks.lease(null)
    this.#lease = undefined
    this.#feed.stop()
    this.#snapshots.stop()
    await this.#network.close(abruptly)
    await this.#storage.close()
    await this.#ended?.()
  }

  /** The core knows it already and says nothing more. The log must not be believed at the next start either. */
  async #lostMemory(): Promise<void> {
    const error = new StorageError(
      'entries that this node has acknowledged are not in its log any more: the disk was put back to an earlier state, or did not keep what it had confirmed',
    )
    try {
      await this.#demandRepair?.(error.message)
    } catch (failure) {
      // The leader will prove it again.
      this.#log('error', `the repair could not be written down: ${(failure as Error).message}`)
    }
    this.#fatal(error)
  }

  /** A broken invariant or an unreadable log: this process must not take part any more. */
  #fatal(error: Error): void {
    if (this.#stopped) return
    this.#log('error', `consensus cannot go on: ${error.message}`)
    if (this.#lease !== undefined) this.#hooks.lease(null)
    this.#lease = undefined
    this.#withheldTerm = Infinity
    this.#world.crash(error)
  }
}

function causeOf(error: unknown): string {
  const { cause } = error as { cause?: { message?: string } }
  return cause?.message ?? ''
}

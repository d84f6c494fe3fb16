/**
 * A whole cluster in one thread on virtual time: several `Raft` cores, each with its own drifting clock, a disk that
 * forgets what was not yet written, and a network that can lose, delay, repeat and reorder. One seed gives one run.
 *
 * After every event the invariants of the design are checked: one leader a term, logs that match, nothing committed is
 * ever lost or different, and never two unexpired leases *by true time*, whatever the nodes' own clocks say.
 */
import { emptyMembership, find, isVoter } from '../core/membership.ts'
import { Raft } from '../core/raft.ts'
import type { Preference } from '../core/raft.ts'
import { balancedTiming } from '../core/types.ts'
import type { Entry, HardState, Membership, Message, NodeId, Peer, Ready, SnapshotMeta, Timing } from '../core/types.ts'
import { EventQueue, randomFrom } from './events.ts'

export class InvariantViolation extends Error {}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export function peer(id: NodeId, role: Peer['role'] = 'node'): Peer {
  return { id, role, address: `${id}:1`, apiAddress: role === 'node' ? `${id}:2` : '' }
}

/** `members('a', 'b', 'w!')`: an exclamation mark makes a witness. */
export function members(...names: readonly string[]): Membership {
  const voter = (name: string) => name.endsWith('!') ? peer(name.slice(0, -1), 'witness') : peer(name)
  return { voters: names.map(voter), learners: [] }
}

interface Disk {
  hardState: HardState
  snapshot: SnapshotMeta | undefined
  /** Entries in order; the first may lie before the snapshot's index (a kept tail). */
  entries: Entry[]
}

interface Write {
  readonly ready: Ready
}

export interface Host {
  readonly id: NodeId
  disk: Disk
  /** Local milliseconds per true millisecond. */
  rate: number
  offsetMs: number
  /** This disk's share of the cluster's `diskMs`. */
  diskFactor: number
  raft: Raft | undefined
  /** Events of a paused host wait here. */
  paused: (() => void)[] | undefined
  /** The driver's cache: the log as the core sees it, durable or not. */
  memory: Entry[]
  writes: Write[]
  /** Counts starts, so that nothing of an earlier life reaches a later one. */
  life: number
  wakeAtMs: number
  appliedIndex: number
  appliedMembership: Membership
  /** True time until which a lease that the core has given out is in force. */
  leaseUntilMs: number
  /** The term in which the lease was given up. */
  lapsedTerm: number
  /** The commit index with which it became leader. */
  commitAtElection: number
  /** What it starts from without a snapshot: the founding membership, or nobody after its disk was lost. */
  initialMembership: Membership
  /** It has lost its disk and stays silent until the entry at this index and term, its demotion, has committed. */
  repair: { index: number; term: number } | undefined
  /** The committed entry that made it a learner again after the last loss. */
  demotedAtIndex: number
  /** Its disk may have lost what was acknowledged: a test did that on purpose. */
  mayHaveLostMemory: boolean
  /** The first life after the last loss of its disk. */
  lostLife: number
  /** Undecided reads, and what each must see. */
  readonly reads: Map<number, number>
}

export interface NetworkFaults {
  /** Milliseconds, uniform between the two. */
  delayMs: readonly [number, number]
  /** Probabilities. */
  loss: number
  duplicate: number
  /** Probability of an extra delay of up to a second. */
  straggle: number
}

export interface ClusterOptions {
  readonly membership: Membership
  readonly seed?: number
  readonly timing?: Timing
  /** Milliseconds of one write, uniform between the two. */
  readonly diskMs?: readonly [number, number]
  readonly network?: Partial<NetworkFaults>
  /** Do not start the hosts yet. */
  readonly stopped?: boolean
}

interface Committed {
  readonly term: number
  /** The term of the first host that knew, so that the leader who committed it was of this term or an earlier one. */
  readonly committedTerm: number
  readonly type: Entry['type']
  readonly text: string
}

const traceLength = 400

export class Cluster {
  readonly timing: Timing
  readonly random: () => number
  readonly hosts = new Map<NodeId, Host>()
  readonly network: NetworkFaults
  diskMs: readonly [number, number]
  /** Every host is told so when it starts. */
  preference: Preference | undefined
  /** True time in milliseconds. */
  now = 0
  /** Everything that was ever handed to any state machine; index 0 is unused. */
  readonly history: (Committed | undefined)[] = [undefined]
  /** One line for every change of a role, term or leader, the start of the transcript of a failure. */
  readonly trace: string[] = []
  /** A scripted test may drop a message (`drop`) or delay it (milliseconds). */
  intercept: ((message: Message) => 'drop' | number | undefined) | undefined
  /** Counts lease intervals, elections won and so on, so that a test can see that something happened at all. */
  readonly counts = {
    elections: 0, leases: 0, committed: 0, installs: 0, transfers: 0, crashes: 0, reads: 0, repairs: 0, preemptions: 0,
  }
  readonly #membership: Membership
  readonly #cut = new Set<string>()
  readonly #leaders = new Map<number, NodeId>()
  readonly #entries = new Map<string, string>()
  readonly #queue = new EventQueue()

  constructor(options: ClusterOptions) {
    this.timing = options.timing ?? balancedTiming
    this.random = randomFrom(options.seed ?? 1)
    this.network = { delayMs: [0.2, 0.8], loss: 0, duplicate: 0, straggle: 0, ...options.network }
    this.diskMs = options.diskMs ?? [0.3, 1]
    this.#membership = options.membership
    for (const { id } of options.membership.voters) this.add(id)
    for (const { id } of options.membership.learners) this.add(id)
    if (options.stopped !== true) for (const id of this.hosts.keys()) this.start(id)
  }

  // ---- hosts --------------------------------------------------------------------------------------------------------

  /** A machine with an empty disk. */
  add(id: NodeId): Host {
    const host: Host = {
      id, disk: { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [] },
      rate: 1, offsetMs: 0, diskFactor: 1, raft: undefined, paused: undefined, memory: [], writes: [], life: 0,
      wakeAtMs: Infinity,
      appliedIndex: 0, appliedMembership: this.#membership, leaseUntilMs: -Infinity, lapsedTerm: 0, commitAtElection: 0,
      initialMembership: this.#membership, repair: undefined, demotedAtIndex: 0, mayHaveLostMemory: false, lostLife: 0,
      reads: new Map(),
    }
    this.hosts.set(id, host)
    return host
  }

  host(id: NodeId): Host {
    const host = this.hosts.get(id)
    if (host === undefined) throw new Error(`no host ${id}`)
    return host
  }

  raft(id: NodeId): Raft {
    const { raft } = this.host(id)
    if (raft === undefined) throw new Error(`${id} is not running`)
    return raft
  }

  start(id: NodeId): void {
    const host = this.host(id)
    if (host.raft !== undefined || host.repair !== undefined) return
    host.life += 1
    const { disk } = host
    host.memory = [...disk.entries]
    host.writes = []
    host.paused = undefined
    host.appliedIndex = disk.snapshot?.index ?? 0
    host.appliedMembership = disk.snapshot?.membership ?? host.initialMembership
    host.raft = new Raft({
      id, timing: this.timing, random: this.random, now: this.#local(host), hardState: disk.hardState,
      membership: host.initialMembership, snapshot: disk.snapshot, demotedAtIndex: host.demotedAtIndex,
      entries: disk.entries.map(({ index, term, type, data }) => ({ index, term, type, bytes: data.length, data })),
    })
    if (this.preference !== undefined) host.raft.prefer(this.preference, this.#local(host))
    this.note(id, `starts at term ${disk.hardState.term} with ${disk.entries.length} entries`)
    this.#pump(host)
  }

  /** Power off: what was not yet written is gone, or some of it made it to the disk after all. */
  crash(id: NodeId): void {
    const host = this.host(id)
    if (host.raft === undefined) return
    this.counts.crashes += 1
    this.note(id, 'crashes')
    for (const write of host.writes) {
      if (this.random() < 0.5) break
      this.#writeToDisk(host, write.ready)
    }
    host.raft = undefined
    host.paused = undefined
    host.writes = []
    host.reads.clear()
  }

  /**
   * The disk is gone, and with it log, term and vote. As the driver does, the machine notices, is silent, has whoever
   * leads demote it, and begins anew when that has committed. Nothing that an earlier life sent or was sent arrives
   * after that: streams and session keys die with the process.
   */
  wipe(id: NodeId): void {
    const host = this.host(id)
    this.crash(id)
    this.note(id, 'loses its disk')
    this.counts.repairs += 1
    host.life += 1
    host.lostLife = host.life
    host.disk = { hardState: { term: 0, vote: '' }, snapshot: undefined, entries: [] }
    host.initialMembership = emptyMembership
    host.repair = { index: 0, term: -1 }
    this.#repair(host)
  }

  /** A disk that lied: the last `count` entries are gone after a restart, and the node does not know. */
  loseTail(id: NodeId, count: number): void {
    const host = this.host(id)
    this.crash(id)
    const { entries } = host.disk
    entries.splice(Math.max(entries.length - count, 0))
    host.mayHaveLostMemory = true
    this.note(id, `loses ${count} entries`)
    this.start(id)
  }

  #repair(host: Host): void {
    const { id, repair } = host
    if (repair === undefined) return
    const committed = this.history[repair.index]
    if (repair.index > 0 && committed?.term === repair.term) {
      host.disk.hardState = { term: repair.term, vote: '' }
      host.demotedAtIndex = repair.index
      host.repair = undefined
      host.mayHaveLostMemory = false
      this.note(id, 'was demoted and begins anew')
      return this.start(id)
    }
    const leader = this.leader === undefined ? undefined : this.raft(this.leader)
    const peer = leader && find(leader.membership, id)
    if (leader !== undefined && committed === undefined && peer !== undefined
      && leader.termAt(repair.index) !== repair.term
      && this.change(leader.id, { type: 'demote', peer }) === undefined) {
      host.repair = { index: leader.membershipIndex, term: leader.term }
    } else if (committed !== undefined) host.repair = { index: 0, term: -1 }
    this.at(20, () => this.#repair(host))
  }

  /** Freezes the process; its clock runs on. */
  pause(id: NodeId): void {
    const host = this.host(id)
    if (host.raft === undefined) return
    host.paused ??= []
    this.note(id, 'is frozen')
  }

  resume(id: NodeId): void {
    const host = this.host(id)
    const waiting = host.paused
    if (waiting === undefined) return
    this.note(id, 'resumes')
    host.paused = undefined
    // In the order of their arrival, a timer first: that is the worst order for a node that has slept.
    this.#tick(host)
    for (const run of waiting) run()
  }

  /** Takes a snapshot of the state machine and removes the log behind it, all but `keep` entries. */
  compact(id: NodeId, keep = 0): void {
    const host = this.host(id)
    const { raft } = host
    if (raft === undefined || host.paused !== undefined || host.appliedIndex <= raft.snapshotIndex) return
    if (host.appliedIndex > (host.disk.entries[host.disk.entries.length - 1]?.index ?? 0)) return
    const index = host.appliedIndex
    const meta: SnapshotMeta = { index, term: this.history[index]!.term, membership: host.appliedMembership, bytes: 8 }
    this.#storeSnapshot(host, meta, Math.max(index - keep, raft.firstIndex - 1))
  }

  #storeSnapshot(host: Host, meta: SnapshotMeta, through: number): void {
    host.disk.snapshot = meta
    host.disk.entries = host.disk.entries.filter(entry => entry.index > through)
    host.memory = host.memory.filter(entry => entry.index > through)
    host.raft!.compacted(meta, through)
    this.note(host.id, `compacts to ${through}, snapshot at ${meta.index}`)
  }

  // ---- inputs -------------------------------------------------------------------------------------------------------

  /** Proposes a command through `id`; the refusal's code if it is refused. */
  propose(id: NodeId, text: string): string | undefined {
    const host = this.host(id)
    if (host.raft === undefined || host.paused !== undefined) return 'down'
    const result = host.raft.propose([{ type: 'command', data: encoder.encode(text) }], this.#local(host))
    this.#pump(host)
    return result.ok ? undefined : result.code
  }

  change(id: NodeId, change: Parameters<Raft['changeMembership']>[0]): string | undefined {
    const host = this.host(id)
    if (host.raft === undefined || host.paused !== undefined) return 'down'
    const result = host.raft.changeMembership(change, this.#local(host))
    if (result.ok) this.note(id, `proposes ${JSON.stringify(change)} at ${result.firstIndex}`)
    this.#pump(host)
    return result.ok ? undefined : result.code
  }

  /** Asks for an index to read at; the refusal's code if it is refused. */
  read(id: NodeId): string | undefined {
    const host = this.host(id)
    if (host.raft === undefined || host.paused !== undefined) return 'down'
    const mustSee = this.history.length - 1
    const result = host.raft.read(this.#local(host))
    if (result.ok) host.reads.set(result.id, mustSee)
    this.#pump(host)
    return result.ok ? undefined : result.code
  }

  /** Closes the fence, then hands over, as the driver does. Returns the target. */
  transfer(id: NodeId, to?: NodeId): NodeId | undefined {
    const host = this.host(id)
    if (host.raft === undefined || host.paused !== undefined) return undefined
    const now = this.#local(host)
    if (!host.raft.transferTarget(to, now).ok) return undefined
    host.leaseUntilMs = -Infinity
    host.lapsedTerm = host.raft.term
    const result = host.raft.transfer(to, now)
    this.counts.transfers += 1
    this.note(id, `hands over to ${result.ok ? result.to : 'nobody'}`)
    this.#pump(host)
    return result.ok ? result.to : undefined
  }

  /** Handles what the core of `id` has to say after a call from outside. */
  tickNow(id: NodeId): void {
    const host = this.host(id)
    if (host.raft !== undefined && host.paused === undefined) this.#tick(host)
  }

  /** Delivers a hand-made message at once. */
  inject(message: Message): void {
    this.#deliver(this.host(message.to), message)
  }

  // ---- the network's wires ------------------------------------------------------------------------------------------

  /** Nothing sent by `from` reaches `to` any more; the other direction stays. */
  cutOneWay(from: NodeId, to: NodeId): void {
    this.#cut.add(`${from}>${to}`)
  }
  cut(a: NodeId, b: NodeId): void {
    this.cutOneWay(a, b)
    this.cutOneWay(b, a)
  }
  isolate(id: NodeId): void {
    for (const other of this.hosts.keys()) if (other !== id) this.cut(id, other)
  }
  heal(): void {
    this.#cut.clear()
  }

  // ---- time ---------------------------------------------------------------------------------------------------------

  run(ms: number): void {
    this.#runTo(this.now + ms)
  }

  /** Runs until the condition holds (checked after every event); fails after `withinMs`. */
  until(condition: () => boolean, withinMs: number, what: string): void {
    const deadline = this.now + withinMs
    while (!condition()) {
      if (this.#queue.nextAt > deadline) {
        throw new InvariantViolation(`not within ${withinMs} ms: ${what}\n${this.transcript()}`)
      }
      this.#runNext()
    }
  }

  at(delayMs: number, run: () => void): void {
    this.#queue.add(this.now + delayMs, run)
  }

  #runTo(deadline: number): void {
    while (this.#queue.nextAt <= deadline) this.#runNext()
    this.now = deadline
  }

  #runNext(): void {
    const event = this.#queue.take()
    this.now = Math.max(this.now, event.at)
    event.run()
  }

  /** Schedules something of a host's present life; it waits while the host is frozen. */
  #later(host: Host, delayMs: number, run: () => void): void {
    const { life } = host
    const guarded = () => {
      if (host.life !== life || host.raft === undefined) return
      if (host.paused !== undefined) host.paused.push(guarded)
      else run()
    }
    this.#queue.add(this.now + delayMs, guarded)
  }

  #local(host: Host): number {
    return host.offsetMs + this.now * host.rate
  }
  #toTrue(host: Host, localMs: number): number {
    return (localMs - host.offsetMs) / host.rate
  }

  // ---- the driver ---------------------------------------------------------------------------------------------------

  #tick(host: Host): void {
    host.raft!.tick(this.#local(host))
    this.#pump(host)
  }

  #pump(host: Host): void {
    const raft = host.raft!
    for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) this.#handle(host, ready)
    this.#check(host)
    const wakeAt = Math.max(this.#toTrue(host, raft.nextDeadline()) + 1e-6, this.now)
    if (Math.abs(wakeAt - host.wakeAtMs) < 1e-9) return
    host.wakeAtMs = wakeAt
    this.#later(host, wakeAt - this.now, () => {
      if (host.wakeAtMs !== wakeAt) return
      host.wakeAtMs = Infinity
      this.#tick(host)
    })
  }

  #handle(host: Host, ready: Ready): void {
    if (ready.change !== undefined) this.#changed(host, ready.change)
    if (ready.install !== undefined) {
      host.memory = []
      host.appliedIndex = ready.install.index
      host.appliedMembership = ready.install.membership
      this.counts.installs += 1
      this.note(host.id, `installs the snapshot at ${ready.install.index}`)
      const known = this.history[ready.install.index]
      if (known?.term !== ready.install.term) this.fail(`${host.id} installs a snapshot of what was never committed`)
    }
    const first = ready.append[0]
    if (first !== undefined) {
      while (host.memory.length > 0 && host.memory[host.memory.length - 1]!.index >= first.index) host.memory.pop()
      for (const entry of ready.append) {
        host.memory.push(entry)
        if (entry.type === 'membership') this.#checkChange(host, entry)
      }
      this.#checkMembership(host)
    }
    for (const message of ready.immediate) this.#send(host, message)
    if (writesSomething(ready) || ready.afterPersist.length > 0) {
      host.writes.push({ ready })
      if (host.writes.length === 1) this.#write(host)
    }
    const { transferWanted } = ready
    if (transferWanted !== undefined) {
      this.counts.preemptions += 1
      // The driver closes the fence first, which takes a moment.
      this.#later(host, 1, () => void this.transfer(host.id, transferWanted))
    }
    if (ready.lostMemory) {
      if (!host.mayHaveLostMemory) return this.fail(`${host.id} believes that it has lost its memory`)
      this.note(host.id, 'knows that it has lost its memory')
    }
    for (const { id, index, ok } of ready.reads) {
      const mustSee = host.reads.get(id)
      if (mustSee === undefined) return this.fail(`${host.id} answers read ${id}, which waits for no answer`)
      host.reads.delete(id)
      if (!ok) continue
      this.counts.reads += 1
      if (index < mustSee) this.fail(`${host.id} reads at ${index} what was asked when ${mustSee} was committed`)
    }
    if (ready.committed !== undefined) this.#apply(host, ready.committed.from, ready.committed.to)
  }

  /** One write for everything that waits (group commit); completions are reported in order. */
  #write(host: Host): void {
    const batch = host.writes.length
    const nothing = !host.writes.some(({ ready }) => writesSomething(ready))
    const [low, high] = this.diskMs
    const takesMs = nothing ? 0 : (low + this.random() * (high - low)) * host.diskFactor
    const stallMs = this.timing.minElectionMs
    if (takesMs > stallMs) {
      this.#later(host, stallMs, () => {
        host.raft!.diskStalled(this.#local(host))
        this.#pump(host)
      })
    }
    this.#later(host, takesMs, () => {
      const raft = host.raft!
      if (!nothing) raft.diskRecovered()
      for (const { ready } of host.writes.splice(0, batch)) {
        this.#writeToDisk(host, ready)
        const last = ready.append[ready.append.length - 1]
        if (ready.install !== undefined) raft.installed(ready.install, this.#local(host))
        if (last !== undefined) raft.persisted(last.index, last.term, this.#local(host))
        for (const message of ready.afterPersist) this.#send(host, message)
      }
      if (host.writes.length > 0) this.#write(host)
      this.#pump(host)
    })
  }

  #writeToDisk(host: Host, ready: Ready): void {
    const { disk } = host
    if (ready.hardState !== undefined) disk.hardState = ready.hardState
    const first = ready.append[0]
    if (first !== undefined) {
      const { entries } = disk
      while (entries.length > 0 && entries[entries.length - 1]!.index >= first.index) entries.pop()
      const end = entries.length > 0 ? entries[entries.length - 1]!.index : disk.snapshot?.index ?? 0
      if (first.index > end + 1) this.fail(`${host.id} writes entry ${first.index} after ${end}: a hole`)
      for (const entry of ready.append) {
        const { snapshot } = disk
        const below = snapshot?.index === entry.index - 1 ? snapshot.term : undefined
        this.#checkMatching(host, entry, entries[entries.length - 1]?.term ?? below)
        entries.push(entry)
      }
    }
    if (ready.install !== undefined) {
      disk.snapshot = ready.install
      disk.entries = []
    }
  }

  #apply(host: Host, from: number, to: number): void {
    if (from !== host.appliedIndex + 1) this.fail(`${host.id} applies ${from} after ${host.appliedIndex}`)
    const durable = host.disk.entries[host.disk.entries.length - 1]?.index ?? host.disk.snapshot?.index ?? 0
    if (to > durable) this.fail(`${host.id} applies up to ${to}, durable is ${durable}`)
    for (let index = from; index <= to; index += 1) {
      const entry = this.#entry(host, index)
      if (entry === undefined) return this.fail(`${host.id} applies ${index}, which it does not have`)
      const text = decoder.decode(entry.data)
      const known = this.history[index]
      if (known === undefined) {
        if (this.history.length !== index) {
          this.fail(`${host.id} commits ${index}, but ${this.history.length} was never committed`)
        }
        this.history.push({ term: entry.term, committedTerm: host.raft!.term, type: entry.type, text })
        this.counts.committed += 1
      } else if (known.term !== entry.term || known.text !== text || known.type !== entry.type) {
        this.fail(`${host.id} applies ${index} as ${entry.term}:${text}, committed was ${known.term}:${known.text}`)
      }
      if (entry.type === 'membership') host.appliedMembership = JSON.parse(text) as Membership
      host.appliedIndex = index
    }
  }

  #entry(host: Host, index: number): Entry | undefined {
    const first = host.memory[0]
    return first === undefined ? undefined : host.memory[index - first.index]
  }

  // ---- the network --------------------------------------------------------------------------------------------------

  #send(host: Host, message: Message): void {
    this.#checkDurable(host, message)
    let sent = message
    if (message.type === 'append' && message.count > 0) {
      const entries: Entry[] = []
      for (let i = 1; i <= message.count; i += 1) {
        const entry = this.#entry(host, message.prevIndex + i)
        if (entry === undefined) return
        this.#checkMatching(host, entry, entries[entries.length - 1]?.term ?? message.prevTerm)
        entries.push(entry)
      }
      sent = { ...message, entries }
    }
    const verdict = this.intercept?.(sent)
    const wire = () => this.#cut.has(`${sent.from}>${sent.to}`)
    const lost = verdict === 'drop' || this.random() < this.network.loss
    const [low, high] = this.network.delayMs
    const delay = () => (typeof verdict === 'number' ? verdict : low + this.random() * (high - low))
      + (this.random() < this.network.straggle ? this.random() * 1000 : 0)
    const copies = this.random() < this.network.duplicate ? 2 : 1
    const { life } = host
    const targetLife = this.hosts.get(sent.to)?.life ?? 0
    for (let copy = 0; copy < copies; copy += 1) {
      const delayMs = delay()
      // A snapshot takes longer, and the sender's transport notices whether it got through.
      if (sent.type === 'snapshot' && copy === 0) {
        this.#later(host, delayMs + 20, () => {
          const target = this.hosts.get(sent.to)
          host.raft!.snapshotSent(sent.to, !lost && !wire() && target?.raft !== undefined, this.#local(host))
          this.#pump(host)
        })
      }
      if (lost) continue
      this.#queue.add(this.now + delayMs + (sent.type === 'snapshot' ? 20 : 0), () => {
        const target = this.hosts.get(sent.to)
        if (target?.raft === undefined || wire()) return
        if (life < host.lostLife || targetLife < target.lostLife) return
        this.#later(target, 0, () => this.#deliver(target, sent))
      })
    }
  }

  #deliver(host: Host, message: Message): void {
    const raft = host.raft
    if (raft === undefined) return
    raft.step(message, this.#local(host))
    if (message.type === 'snapshot') {
      const fate = raft.snapshotReceived(message.meta, message.from, this.#local(host))
      if (fate === 'keep') {
        this.#pump(host)
        this.#storeSnapshot(host, message.meta, message.meta.index)
      }
    }
    this.#pump(host)
  }

  // ---- invariants ---------------------------------------------------------------------------------------------------

  #changed(host: Host, change: NonNullable<Ready['change']>): void {
    const leader = change.leader === '' ? 'unknown' : change.leader
    this.note(host.id, `${change.role} of term ${change.term}, leader ${leader}`)
    if (change.role === 'leader') host.commitAtElection = host.raft!.commitIndex
  }

  /** Checked once for every leadership, when its vote is durable: a lone voter leads in silence until then. */
  #checkElection(host: Host): void {
    const raft = host.raft!
    if (raft.role !== 'leader' || host.disk.hardState.term !== raft.term) return
    const known = this.#leaders.get(raft.term)
    if (known === host.id) return
    if (known !== undefined) this.fail(`two leaders in term ${raft.term}: ${known} and ${host.id}`)
    this.#leaders.set(raft.term, host.id)
    this.counts.elections += 1
    // Leader completeness: everything committed in earlier terms is in its log. (Not: everything *of* earlier terms; a
    // frozen candidate may learn of its election when a later leader has committed more of those.)
    for (let index = this.history.length - 1; index > 0; index -= 1) {
      const { term, committedTerm } = this.history[index]!
      if (committedTerm >= raft.term) continue
      if (index >= raft.firstIndex && raft.termAt(index) !== term) {
        this.fail(`leader ${host.id} lacks committed entry ${index} of term ${term}`)
      }
      break
    }
  }

  /** Once an entry is on a disk or a wire, no other entry may exist with its index and term, nor a different past. */
  #checkMatching(host: Host, entry: Entry, termBefore: number | undefined): void {
    if (termBefore === undefined) return
    const key = `${entry.index}/${entry.term}`
    const value = `${termBefore}/${entry.type}/${decoder.decode(entry.data)}`
    const known = this.#entries.get(key)
    if (known === undefined) this.#entries.set(key, value)
    else if (known !== value) this.fail(`logs differ at ${key}: ${host.id} has ${value}, seen was ${known}`)
  }

  /** The membership in force is that of the log's last membership entry, also after a truncation (Ongaro §4.1). */
  #checkMembership(host: Host): void {
    const raft = host.raft!
    const last = host.memory[host.memory.length - 1]
    if (last?.index !== raft.lastIndex) return
    const entry = host.memory.findLast(({ type }) => type === 'membership')
    const expected = entry === undefined
      ? JSON.stringify(host.disk.snapshot?.membership ?? host.initialMembership) : decoder.decode(entry.data)
    const index = entry?.index ?? 0
    if (index >= raft.snapshotIndex && JSON.stringify(raft.membership) !== expected) {
      this.fail(`${host.id} goes by ${JSON.stringify(raft.membership)}, its log says ${expected}`)
    }
  }

  /** Rule 8, on a leader's own change: after an entry of its term, and alone. */
  #checkChange(host: Host, entry: Entry): void {
    const raft = host.raft!
    if (raft.role !== 'leader' || entry.term !== raft.term) return
    if (raft.termAt(raft.commitIndex) !== raft.term) {
      this.fail(`${host.id} changes the membership before an entry of its term has committed`)
    }
    const pending = host.memory.filter(({ type, index }) => type === 'membership' && index > raft.commitIndex)
    if (pending.length > 1) this.fail(`${host.id} changes the membership a second time before the first has committed`)
  }

  /** Rule 7, and the same for entries: what a message promises is on the disk when it leaves. */
  #checkDurable(host: Host, message: Message): void {
    const { hardState, entries, snapshot } = host.disk
    const { term, vote } = hardState
    const voted = (id: NodeId) => term > message.term || (term === message.term && vote === id)
    if (message.type === 'vote' && !voted(host.id)) this.fail(`${host.id} asks for votes before its own is durable`)
    if (message.type === 'vote-reply' && message.granted && !voted(message.to)) {
      this.fail(`${host.id} grants a vote that is not durable`)
    }
    if ((message.type === 'heartbeat' || message.type === 'append') && hardState.term < message.term) {
      this.fail(`${host.id} leads in a term that is not durable`)
    }
    const end = entries[entries.length - 1]?.index ?? snapshot?.index ?? 0
    if (message.type === 'append-reply' && message.ok && message.term === hardState.term && message.matchIndex > end) {
      this.fail(`${host.id} acknowledges entry ${message.matchIndex}, durable is ${end}`)
    }
  }

  #check(host: Host): void {
    const raft = host.raft!
    this.#checkElection(host)
    if (raft.violations > 0) this.fail(`${host.id} refused a message that contradicts what is committed or elected`)
    if (raft.role !== 'leader' && host.reads.size > 0) this.fail(`${host.id} leads no more and leaves reads unanswered`)
    if (raft.invalidMessages > 0 && this.intercept === undefined) this.fail(`${host.id} got a malformed message`)
    const commits = raft.role === 'leader' && raft.commitIndex > host.commitAtElection
    if (commits && raft.termAt(raft.commitIndex) !== raft.term) {
      this.fail(`leader ${host.id} of term ${raft.term} commits ${raft.commitIndex} of an earlier term by counting`)
    }
    const lease = raft.lease(this.#local(host))
    if (lease === undefined) return
    const untilMs = this.#toTrue(host, lease.untilMs)
    if (lease.term === host.lapsedTerm) this.fail(`${host.id} has a lease in term ${lease.term}, which it gave up`)
    for (const other of this.hosts.values()) {
      if (other !== host && other.leaseUntilMs > this.now) {
        const theirs = `${other.id} until ${other.leaseUntilMs.toFixed(1)}`
        this.fail(`two leases: ${host.id} until ${untilMs.toFixed(1)}, ${theirs}`)
      }
    }
    if (host.leaseUntilMs <= this.now) {
      this.counts.leases += 1
      this.note(host.id, `has the lease of term ${lease.term}`)
    }
    host.leaseUntilMs = Math.max(host.leaseUntilMs, untilMs)
  }

  fail(what: string): never {
    throw new InvariantViolation(`${what}\n${this.transcript()}`)
  }

  note(id: NodeId, what: string): void {
    this.trace.push(`${this.now.toFixed(1).padStart(9)} ${id}: ${what}`)
    if (this.trace.length > traceLength * 2) this.trace.splice(0, traceLength)
  }

  /** The last events, for people. */
  transcript(): string {
    return this.trace.slice(-60).join('\n')
  }

  // ---- questions ----------------------------------------------------------------------------------------------------

  /** The running leader of the highest term, if any. */
  get leader(): NodeId | undefined {
    let best: Raft | undefined
    for (const { raft, paused } of this.hosts.values()) {
      if (raft?.role === 'leader' && paused === undefined && (best === undefined || raft.term > best.term)) best = raft
    }
    return best?.id
  }

  /** Who has an unexpired lease by true time. */
  get holder(): NodeId | undefined {
    for (const host of this.hosts.values()) if (host.leaseUntilMs > this.now) return host.id
    return undefined
  }

  /** Commands handed to the state machine of `id`, snapshot included. */
  commands(id: NodeId): string[] {
    const applied = this.history.slice(1, this.host(id).appliedIndex + 1)
    return applied.filter(entry => entry?.type === 'command').map(entry => entry!.text)
  }

  /** Runs until there is a leader with a lease (a witness does not count) and returns it. */
  settle(withinMs = 3000): NodeId {
    this.until(() => this.leader !== undefined && this.holder === this.leader, withinMs, 'a leader with a lease')
    return this.leader!
  }

  /** Runs until another leader than `old` has a lease. */
  settleWithout(old: NodeId, withinMs: number): NodeId {
    const other = () => this.leader !== undefined && this.leader !== old && this.holder === this.leader
    this.until(other, withinMs, `another leader than ${old}`)
    return this.leader!
  }

  /** Runs until all running members have applied everything that the leader has. */
  converge(withinMs = 3000): void {
    const done = () => {
      const { leader } = this
      if (leader === undefined) return false
      const raft = this.raft(leader)
      const { voters, learners } = raft.membership
      return raft.commitIndex === raft.lastIndex && [...voters, ...learners].every(({ id }) => {
        const host = this.hosts.get(id)
        return host === undefined || host.raft === undefined || host.appliedIndex === raft.commitIndex
      })
    }
    this.until(done, withinMs, 'everybody has applied the same')
  }

  isVoterEverywhere(id: NodeId): boolean {
    return [...this.hosts.values()].every(({ raft }) => raft === undefined || isVoter(raft.membership, id))
  }
}

function writesSomething(ready: Ready): boolean {
  return ready.hardState !== undefined || ready.append.length > 0 || ready.install !== undefined
}

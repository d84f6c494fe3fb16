/**
 * A whole simulated cluster: the production driver, core, storage and state feed on virtual clocks, disks and wires. Each
 * machine runs a small state machine (registers that clients write and read), and everything that anybody does is checked
 * at once, see `checks.ts`.
 */
import { encodeMembership, find } from '../../consensus/core/membership.ts'
import type { Raft } from '../../consensus/core/raft.ts'
import type {
  Entry, Membership, Message, NodeId, Peer, SnapshotMeta, Timing,
} from '../../consensus/core/types.ts'
import { Driver } from '../../consensus/driver.ts'
import { askForRepair } from '../../consensus/repair.ts'
import { randomFrom } from '../../consensus/scenarios/events.ts'
import { peer } from '../../consensus/scenarios/harness.ts'
import { StorageError } from '../../consensus/storage/records.ts'
import { LogStorage } from '../../consensus/storage/storage.ts'
import type { Store } from '../../consensus/storage/store.ts'
import { Checks, Violation } from './checks.ts'
import { Disk, type DiskFaults } from './disk.ts'
import { Wires, type NetworkFaults } from './network.ts'
import { Life, VirtualTime } from './time.ts'

const clusterId = 'simulated'
const decoder = new TextDecoder()
const encoder = new TextEncoder()
/** Lines of the transcript that are kept. */
const transcriptLines = 600

/** The state machine of one machine: registers, and how far it has applied. */
interface Registers {
  applied: number
  values: Map<string, string>
}

export interface Host {
  readonly id: NodeId
  readonly role: Peer['role']
  readonly disk: Disk
  /** What it was told when it joined. */
  membership: Membership
  demotedAtIndex: number | undefined
  /** Local milliseconds for each true one. */
  rate: number
  offsetMs: number
  life: Life | undefined
  driver: Driver | undefined
  registers: Registers
  /** Those who wait until the state machine has applied an index. */
  waiters: { readonly index: number; readonly run: () => void }[]
  /** True instant until which this machine may answer for VIPs. */
  leaseUntilMs: number
  /** The log is damaged: the next start repairs it from the leader. */
  damaged: string
  /** It was removed while it was damaged: only an operator can do something with it. */
  gone: boolean
}

export interface Counts {
  elections: number
  leases: number
  committed: number
  installs: number
  transfers: number
  crashes: number
  membershipChanges: number
  writes: number
  reads: number
  replays: number
  damaged: number
  repairs: number
}

export interface ClusterOptions {
  readonly seed: number
  readonly membership: Membership
  readonly timing: Timing
  readonly disk: DiskFaults
  readonly network: NetworkFaults
  /** Keep every message in the transcript. */
  readonly trace?: boolean
}

export class SimulatedCluster {
  readonly time = new VirtualTime()
  readonly random: () => number
  readonly wires: Wires
  readonly hosts = new Map<NodeId, Host>()
  readonly checks: Checks
  readonly timing: Timing
  readonly counts: Counts = {
    elections: 0, leases: 0, committed: 0, installs: 0, transfers: 0, crashes: 0, membershipChanges: 0, writes: 0, reads: 0, replays: 0, damaged: 0, repairs: 0,
  }
  /** Probability that a fence cannot be closed on purpose. (It closes by itself when the lease ends.) */
  fenceFails = 0
  /** Ended in order, or about to be. They do not start again by themselves. */
  readonly stopped = new Set<NodeId>()
  /** Machines that get a new disk as soon as they are members again: nobody starts them before. */
  readonly settingUp = new Set<NodeId>()
  /** Called when a machine begins to lead. */
  onLeader: ((id: NodeId) => void) | undefined
  readonly #disk: DiskFaults
  readonly #trace: boolean
  readonly #lines: string[] = []
  #failure: Error | undefined

  constructor(options: ClusterOptions) {
    this.random = randomFrom(options.seed)
    this.timing = options.timing
    this.#disk = options.disk
    this.#trace = options.trace === true
    this.wires = new Wires(this.time, this.random, options.network)
    this.checks = new Checks(this)
    this.wires.onMessage = (message) => {
      if (this.#trace) this.note(message.from, `→ ${message.to} ${describe(message)}`)
      this.checks.sent(message)
    }
    for (const { id, role } of options.membership.voters) this.add(id, role, options.membership, true)
  }

  // ---- machines -----------------------------------------------------------------------------------------------------

  /** A machine with a new log. `founder`: its log starts with the membership. */
  add(id: NodeId, role: Peer['role'], membership: Membership, founder = false): Host {
    const disk = new Disk(this.time, this.random, this.#disk)
    const host: Host = {
      id, role, disk, membership, demotedAtIndex: undefined, rate: 1, offsetMs: 0, life: undefined, driver: undefined,
      registers: { applied: 0, values: new Map() }, waiters: [], leaseUntilMs: -Infinity, damaged: '', gone: false,
    }

    disk.onWrite = (operations) => this.guard(() => this.checks.written(host, operations))
    this.hosts.set(id, host)
    void LogStorage.create(disk.prepare() as Store, { clusterId, nodeId: id }, { term: founder ? 1 : 0, vote: '' },
      founder ? [{ index: 1, term: 1, type: 'membership', data: encodeMembership(membership) }] : [])
    return host
  }

  host(id: NodeId): Host {
    const host = this.hosts.get(id)
    if (host === undefined) throw new Error(`no machine ${id}`)
    return host
  }

  start(id: NodeId): void {
    const host = this.host(id)
    if (host.life !== undefined || host.gone || this.settingUp.has(id)) return
    const life = new Life(this.time, host.rate, host.offsetMs)
    this.stopped.delete(id)
    host.life = life
    host.registers = { applied: 0, values: new Map() }
    host.waiters = []
    this.checks.started(host)
    this.note(id, 'starts')
    void this.#boot(host, life).catch((error: unknown) => this.guard(() => this.#ended(host, life, error as Error)))
  }

  async #boot(host: Host, life: Life): Promise<void> {
    if (host.damaged !== '') await this.#repair(host, life)
    const storage = await LogStorage.open(() => host.disk.open(life), { clusterId, nodeId: host.id })
    const driver: Driver = new Driver({
      identity: {
        id: host.id, role: host.role, clusterId, membership: host.membership,
        ...(host.demotedAtIndex === undefined ? {} : { demotedAtIndex: host.demotedAtIndex }),
      },
      storage,
      timing: this.timing,
      world: { clock: life, random: this.random, crash: (error) => this.guard(() => this.#ended(host, life, error)) },
      log: (level, message, fields) => {
        if (this.#trace || level !== 'debug') this.note(host.id, `${level === 'info' ? '' : `${level}: `}${message}${this.#trace && fields !== undefined ? ` ${JSON.stringify(fields)}` : ''}`)
      },
      hooks: {
        // What is under way when the state machine is replaced is the old one's.
        committed: async (entries) => {
          const { registers } = host
          await this.#reach(life, this.random() * 2)
          this.guard(() => this.#apply(host, registers, entries, driver))
        },
        restore: async (meta, chunks) => {
          const { registers } = host
          const parts: Uint8Array[] = []
          for await (const chunk of chunks) parts.push(chunk)
          this.guard(() => this.#restore(host, registers, meta, Buffer.concat(parts).toString(), driver))
        },
        lease: (lease) => this.guard(() => {
          // One that is lost counts to its end: closing a fence takes time, and only the kernel is sure to do it then.
          if (lease === null) return
          this.counts.leases += 1
          this.checks.leased(host, lease.term, life.toTrue(lease.untilMs))
        }),
        closeFence: async () => {
          await this.#reach(life, this.random() * 10)
          if (this.random() < this.fenceFails) throw new Error('the fence is stuck')
          host.leaseUntilMs = -Infinity
        },
        transferRequested: (to) => driver.transfer(to === '' ? undefined : to),
        changed: ({ role, term }) => this.guard(() => {
          if (role !== 'leader' || !this.checks.leads(host, term)) return
          life.soon(() => this.guard(() => this.onLeader?.(host.id)))
        }),
        gossip: () => undefined,
      },
    })
    host.driver = driver
    await driver.start((parts) => this.wires.attach(host.id, life, parts))
  }

  /** As `open.ts` does it, without its files. */
  async #repair(host: Host, life: Life): Promise<void> {
    const { voters, learners } = host.membership
    const start = await askForRepair({
      id: host.id, fingerprint: '', members: [...voters, ...learners], clock: life,
      log: (_level, message) => this.note(host.id, message),
      connect: (parts) => this.wires.attach(host.id, life, parts),
    })
    this.note(host.id, `begins anew with the membership at ${start.index}`)
    this.counts.repairs += 1
    host.disk.wipe()
    this.checks.wiped(host.id)
    host.membership = start.membership
    host.demotedAtIndex = start.index
    await LogStorage.create(host.disk.prepare() as Store, { clusterId, nodeId: host.id }, { term: start.term, vote: '' }, [])
    host.damaged = ''
  }

  /** Waits in the life of a process. */
  #reach(life: Life, ms: number): Promise<void> {
    return new Promise((resolve) => life.arrive(ms, resolve))
  }

  /** The process ended by itself. */
  #ended(host: Host, life: Life, error: Error): void {
    if (host.life !== life || life.over) return
    this.note(host.id, `ends: ${error.message}`)
    this.#stop(host)
    host.disk.crash()
    if (host.damaged !== '' && error.message.includes('is no member of the cluster any more')) {
      host.gone = true
      return
    }
    if (!(error instanceof StorageError)) this.fail(`${host.id} ended: ${error.stack}`)
    if (!this.checks.mayBeDamaged(host)) this.fail(`${host.id} calls its log damaged, but nothing damaged it: ${error.message}`)
    this.counts.damaged += 1
    host.damaged = error.message
  }

  #stop(host: Host): void {
    host.life?.end()
    host.life = undefined
    host.driver = undefined
    host.waiters = []
    this.wires.down(host.id)
  }

  /** `kill -9` or a power failure. The kernel's fence stays open until the lease ends. */
  crash(id: NodeId): void {
    const host = this.host(id)
    if (host.life === undefined) return
    this.counts.crashes += 1
    this.note(id, 'crashes')
    this.#stop(host)
    host.disk.crash()
  }

  /** `systemctl stop`: it hands over what it has. */
  end(id: NodeId): void {
    const driver = this.awake(id)
    if (driver === undefined) return
    this.note(id, 'is stopped')
    this.stopped.add(id)
    void driver.stop()
  }

  /** A machine that is no member is made one again, with the disk that it had or with a new one. */
  readmit(id: NodeId, via: Driver, isNew: boolean): void {
    const host = this.host(id)
    this.crash(id)
    this.note(id, isNew ? 'is to join again, with a new disk' : 'is to be a member again')
    if (isNew) this.settingUp.add(id)
    void via.addPeer(peer(id, host.role)).then((result) => this.guard(() => {
      // Who was set up and given up on meanwhile goes on with what is there.
      const given = isNew && !this.settingUp.delete(id)
      if (!result.ok || given) return
      if (isNew) {
        this.crash(id)
        host.disk.wipe()
        this.checks.wiped(id)
        host.membership = via.core.membership
        host.demotedAtIndex = result.index
        host.damaged = ''
        host.gone = false
        this.note(id, `has a new disk, and joined at ${result.index}`)
        void LogStorage.create(host.disk.prepare() as Store, { clusterId, nodeId: id }, { term: 0, vote: '' }, [])
      }
      this.start(id)
    }))
  }

  freeze(id: NodeId): void {
    const { life } = this.host(id)
    if (life === undefined || life.frozen) return
    this.note(id, 'is frozen')
    life.freeze()
  }

  thaw(id: NodeId): void {
    const { life } = this.host(id)
    if (life === undefined || !life.frozen) return
    this.note(id, 'goes on')
    life.thaw()
  }

  /** Running, not frozen, and ready. */
  awake(id: NodeId): Driver | undefined {
    const host = this.hosts.get(id)
    return host?.life?.frozen === false ? host.driver : undefined
  }

  core(id: NodeId): Raft | undefined {
    return this.hosts.get(id)?.driver?.core
  }

  /** The leader of the newest term among those that run. */
  get leader(): NodeId | undefined {
    let best: NodeId | undefined
    let bestTerm = -1
    for (const { id, driver } of this.hosts.values()) {
      if (driver?.core.role === 'leader' && driver.core.term > bestTerm) {
        best = id
        bestTerm = driver.core.term
      }
    }
    return best
  }

  // ---- the state machine --------------------------------------------------------------------------------------------

  #apply(host: Host, registers: Registers, entries: readonly Entry[], driver: Driver): void {
    for (const entry of entries) {
      if (entry.index !== registers.applied + 1) this.fail(`${host.id} is given entry ${entry.index} after ${registers.applied}`)
      const text = entry.type === 'noop' ? '' : decoder.decode(entry.data)
      this.checks.committed(host, entry.index, entry.term, entry.type, text)
      registers.applied = entry.index
      if (entry.type !== 'command') continue
      const at = text.indexOf('=')
      registers.values.set(text.slice(0, at), text.slice(at + 1))
    }
    if (host.registers === registers) this.#applied(host, driver)
  }

  #restore(host: Host, registers: Registers, meta: SnapshotMeta, text: string, driver: Driver): void {
    const values = new Map(JSON.parse(text) as [string, string][])
    this.checks.restored(host, meta, values)
    this.counts.installs += 1
    registers.applied = meta.index
    registers.values = values
    if (host.registers === registers) this.#applied(host, driver)
  }

  #applied(host: Host, driver: Driver): void {
    driver.applied(host.registers.applied)
    const { waiters } = host
    host.waiters = waiters.filter(({ index }) => index > host.registers.applied)
    for (const { index, run } of waiters) if (index <= host.registers.applied) run()
  }

  /** The process with the state machine died; a new one starts from nothing. */
  replay(id: NodeId): void {
    const host = this.host(id)
    const driver = this.awake(id)
    if (driver === undefined) return
    this.counts.replays += 1
    host.registers = { applied: 0, values: new Map() }
    host.waiters = []
    this.note(id, 'replays')
    void driver.replay()
  }

  /** Takes a snapshot of the state machine, whether it is time for one or not. */
  snapshot(id: NodeId): void {
    const host = this.host(id)
    const driver = this.awake(id)
    if (driver === undefined || host.role === 'witness' || host.registers.applied === 0) return
    const { applied } = host.registers
    const data = encoder.encode(JSON.stringify([...host.registers.values]))
    const pieces = async function* () {
      for (let at = 0; at < data.length; at += 40) yield data.subarray(at, at + 40)
    }
    driver.storeSnapshot(applied, pieces()).catch(() => undefined)
  }

  // ---- running ------------------------------------------------------------------------------------------------------

  /** Runs for this many true milliseconds. */
  run(ms: number): void {
    const end = this.time.now + ms
    this.time.settle()
    while (this.time.step(end)) if (this.#failure !== undefined) throw this.#failure
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Runs until the condition holds; fails after `withinMs`. */
  until(condition: () => boolean, withinMs: number, what: string): void {
    const end = this.time.now + withinMs
    this.time.settle()
    while (!condition()) {
      if (!this.time.step(end)) this.fail(`not within ${withinMs} ms: ${what}`)
      if (this.#failure !== undefined) throw this.#failure
    }
  }

  /** Whatever breaks inside of a promise must not be lost there. */
  guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#failure ??= error as Error
    }
  }

  /** Unhandled things inside of the driver, too. */
  failed(error: Error): void {
    this.#failure ??= error
  }

  fail(message: string): never {
    const error = new Violation(`${message}\n${this.transcript()}`)
    this.#failure ??= error
    throw this.#failure
  }

  note(who: string, text: string): void {
    this.#lines.push(`${this.time.now.toFixed(2).padStart(9)} ${who.padEnd(3)} ${text}`)
    if (!this.#trace && this.#lines.length > transcriptLines * 2) this.#lines.splice(0, transcriptLines)
  }

  transcript(): string {
    return this.#lines.join('\n')
  }

  /** Every machine that is a member by the leader's log. */
  isMember(id: NodeId): boolean {
    const { leader } = this
    return leader !== undefined && find(this.core(leader)!.membership, id) !== undefined
  }
}

function describe(message: Message): string {
  const { type, term, from: _from, to: _to, ...rest } = message
  const fields = Object.entries(rest).filter(([key]) => key !== 'entries' && key !== 'meta').map(([key, value]) => `${key} ${String(value)}`)
  return `${type} t${term} ${fields.join(' ')}`
}

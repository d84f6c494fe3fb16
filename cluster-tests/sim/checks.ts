/**
 * The invariants. Checked when something happens that could break them, so that a run stops where it went wrong.
 *
 * Election safety, log matching, leader completeness, state-machine safety (Ongaro, figure 3.2); a vote and a term are
 * durable before anything depends on them, and never taken back; nothing acknowledged is missing from the disk that
 * acknowledged it; never two unexpired leases by true time; a lease implies the newest committed term; what a client was told
 * to be committed is, and what it was told to be safe to repeat is not; no read is older than what was known before it.
 */
import type { Entry, Message, NodeId, SnapshotMeta } from '../../consensus/core/types.ts'
import { decodeRun, decodeState, type StateRecord } from '../../consensus/storage/records.ts'
import type { Operation } from '../../consensus/storage/store.ts'
import type { Host, SimulatedCluster } from './cluster.ts'

export class Violation extends Error {}

interface Committed {
  readonly term: number
  readonly type: Entry['type']
  readonly text: string
  /** It was committed in this term or an earlier one: leaders of later terms have it. */
  readonly by: number
}

/** What is on one machine's disk, as far as the checks need it. */
interface OnDisk {
  state: StateRecord | undefined
  /** The newest term in which it was seen, so that a replaced disk is not taken for one that forgets. */
  damaged: boolean
}

export class Checks {
  readonly #cluster: SimulatedCluster
  /** Everything that was ever handed to any state machine, by index; the first is unused. */
  readonly history: (Committed | undefined)[] = [undefined]
  readonly #leaders = new Map<number, NodeId>()
  /** Those whose vote for themselves is still being written, and their term. */
  readonly #silentLeaders = new Map<NodeId, number>()
  /** Term and index of every entry ever written, with its text and the term before it. */
  readonly #entries = new Map<string, string>()
  readonly #disks = new Map<NodeId, OnDisk>()
  #newestTerm = 0
  /** Acknowledged to a client: index → text. */
  readonly #acknowledged = new Map<number, string>()
  #acknowledgedTo = 0
  /** Said to be safe to repeat: not in the log, now or ever. */
  readonly #safe = new Set<string>()
  readonly #texts = new Set<string>()

  constructor(cluster: SimulatedCluster) {
    this.#cluster = cluster
  }

  /** Index up to which clients know the log to be committed. */
  get acknowledgedTo(): number {
    return this.#acknowledgedTo
  }

  // ---- disks --------------------------------------------------------------------------------------------------------

  #disk(id: NodeId): OnDisk {
    const known = this.#disks.get(id) ?? { state: undefined, damaged: false }
    this.#disks.set(id, known)
    return known
  }

  started(host: Host): void {
    this.#silentLeaders.delete(host.id)
    this.#disk(host.id)
  }

  /** The machine got a new, empty disk. */
  wiped(id: NodeId): void {
    this.#disks.delete(id)
  }

  rotted(id: NodeId): void {
    this.#disk(id).damaged = true
  }

  mayBeDamaged(host: Host): boolean {
    return this.#disk(host.id).damaged
  }

  written(host: Host, operations: readonly Operation[]): void {
    const disk = this.#disk(host.id)
    for (const operation of operations) {
      if (operation.type === 'del') continue
      const kind = operation.key[0]
      if (kind === 0x65) for (const entry of decodeRun(operation.key, operation.value)) this.#entryWritten(host, entry)
      else if (kind === 0x73) this.#stateWritten(host, disk, decodeState(operation.value))
    }
  }

  #stateWritten(host: Host, disk: OnDisk, state: StateRecord): void {
    const before = disk.state
    disk.state = state
    const { term, vote } = state.hardState
    if (vote === host.id && this.#silentLeaders.get(host.id) === term) this.#elected(host.id, term)
    if (before === undefined) return
    if (term < before.hardState.term) this.#cluster.fail(`${host.id} forgets term ${before.hardState.term}`)
    if (term === before.hardState.term && before.hardState.vote !== '' && vote !== before.hardState.vote) {
      this.#cluster.fail(`${host.id} takes back its vote for ${before.hardState.vote} in term ${term}`)
    }
  }

  #entryWritten(host: Host, entry: Entry): void {
    const key = `${entry.term}.${entry.index}`
    const text = `${entry.type} ${Buffer.from(entry.data).toString()}`
    const known = this.#entries.get(key)
    if (known === undefined) this.#entries.set(key, text)
    else if (known !== text) this.#cluster.fail(`${host.id} has another entry ${key}: ${text}, not ${known}`)
    const committed = this.history[entry.index]
    if (committed !== undefined && entry.term > committed.by) {
      this.#cluster.fail(`${host.id} writes entry ${entry.index} of term ${entry.term} over a committed one of term ${committed.term}`)
    }
  }

  /** Rule 7: nothing leaves that depends on what is not durable. */
  sent(message: Message): void {
    const state = this.#disk(message.from).state
    if (message.type === 'pre-vote' || message.type === 'pre-vote-reply') return
    const { term, vote } = state?.hardState ?? { term: 0, vote: '' }
    if (message.term > term) this.#cluster.fail(`${message.from} sends a ${message.type} of term ${message.term}, but has ${term} on disk`)
    if (message.type === 'vote-reply' && message.granted && message.term === term && vote !== message.to) {
      this.#cluster.fail(`${message.from} grants ${message.to} its vote, but has "${vote}" on disk`)
    }
    if (message.type === 'snapshot-reply' && message.ok && message.term === term && message.index > (state?.lastIndex ?? 0)) {
      this.#cluster.fail(`${message.from} acknowledges a snapshot at ${message.index}, but has ${state?.lastIndex} on disk`)
    }
    // (One of an earlier term is void: a later leader may have replaced what it speaks of in the very same write.)
    if (message.type === 'append-reply' && message.ok && message.term === term && message.matchIndex > (state?.lastIndex ?? 0)) {
      this.#cluster.fail(`${message.from} acknowledges ${message.matchIndex}, but has ${state?.lastIndex} on disk`)
    }
  }

  // ---- leaders ------------------------------------------------------------------------------------------------------

  /** Whether that is news. */
  leads(host: Host, term: number): boolean {
    if (this.#leaders.get(term) === host.id || this.#silentLeaders.get(host.id) === term) return false
    const { hardState } = this.#disk(host.id).state ?? { hardState: { term: 0, vote: '' } }
    if (hardState.term === term && hardState.vote === host.id) this.#elected(host.id, term)
    // Its own only voter: it says nothing, commits nothing and has no lease before its vote is durable (see `sent` and
    // `leased`), and a crash before that undoes its election.
    else this.#silentLeaders.set(host.id, term)
    this.#cluster.counts.elections += 1
    const { core } = host.driver!
    for (let index = core.firstIndex; index < this.history.length; index += 1) {
      const committed = this.history[index]
      if (committed !== undefined && committed.by < term && core.termAt(index) !== committed.term) {
        this.#cluster.fail(`${host.id} leads in term ${term} without the committed entry ${index} of term ${committed.term}`)
      }
    }
    return true
  }

  #elected(id: NodeId, term: number): void {
    const known = this.#leaders.get(term)
    if (known !== undefined && known !== id) this.#cluster.fail(`${id} and ${known} both lead in term ${term}`)
    this.#leaders.set(term, id)
    this.#silentLeaders.delete(id)
  }

  leased(host: Host, term: number, untilMs: number): void {
    const { now } = this.#cluster.time
    if (untilMs <= now) return
    host.leaseUntilMs = untilMs
    for (const other of this.#cluster.hosts.values()) {
      if (other !== host && other.leaseUntilMs > now) {
        this.#cluster.fail(`${host.id} and ${other.id} both hold the lease; ${other.id} for another ${(other.leaseUntilMs - now).toFixed(3)} ms`)
      }
    }
    if (term < this.#newestTerm) this.#cluster.fail(`${host.id} holds the lease of term ${term}, but ${this.#newestTerm} has committed`)
    if (this.#leaders.get(term) !== host.id) this.#cluster.fail(`${host.id} holds the lease of term ${term}, but its vote is not on disk`)
    const { core } = host.driver!
    if (core.termAt(core.commitIndex) !== term) this.#cluster.fail(`${host.id} holds the lease of term ${term} and has committed nothing in it`)
    if (host.role === 'witness') this.#cluster.fail(`the witness ${host.id} holds the lease`)
  }

  // ---- the state machine --------------------------------------------------------------------------------------------

  committed(host: Host, index: number, term: number, type: Entry['type'], text: string): void {
    const known = this.history[index]
    if (known === undefined) {
      this.history[index] = { term, type, text, by: host.driver!.core.term }
      this.#cluster.counts.committed += 1
      if (type === 'membership') this.#cluster.counts.membershipChanges += 1
      if (type === 'command') {
        if (this.#texts.has(text)) this.#cluster.fail(`${text} is in the log twice`)
        this.#texts.add(text)
        if (this.#safe.has(text)) this.#cluster.fail(`${text} is committed, but its client was told that it never would be`)
      }
      this.#newestTerm = Math.max(this.#newestTerm, term)
    } else if (known.term !== term || known.type !== type || known.text !== text) {
      this.#cluster.fail(`${host.id} applies ${term}.${index} ${type} ${text}, others ${known.term}.${index} ${known.type} ${known.text}`)
    }
  }

  restored(host: Host, meta: SnapshotMeta, values: ReadonlyMap<string, string>): void {
    const committed = this.history[meta.index]
    if (committed?.term !== meta.term) this.#cluster.fail(`${host.id} restores a snapshot at ${meta.term}.${meta.index}, which was never committed`)
    const expected = this.valuesAt(meta.index)
    for (const [key, value] of expected) {
      if (values.get(key) !== value) this.#cluster.fail(`${host.id} restores ${key} = ${values.get(key)} at ${meta.index}, not ${value}`)
    }
    if (values.size !== expected.size) this.#cluster.fail(`${host.id} restores ${values.size} registers at ${meta.index}, not ${expected.size}`)
  }

  /** What the registers hold after `index`. */
  valuesAt(index: number): Map<string, string> {
    const values = new Map<string, string>()
    for (let at = 1; at <= index; at += 1) {
      const entry = this.history[at]
      if (entry === undefined || entry.type !== 'command') continue
      const cut = entry.text.indexOf('=')
      values.set(entry.text.slice(0, cut), entry.text.slice(cut + 1))
    }
    return values
  }

  // ---- clients ------------------------------------------------------------------------------------------------------

  acknowledged(index: number, text: string): void {
    this.#acknowledged.set(index, text)
    this.#acknowledgedTo = Math.max(this.#acknowledgedTo, index)
    const known = this.history[index]
    if (known !== undefined && known.text !== text) this.#cluster.fail(`${text} was acknowledged at ${index}, where ${known.text} is`)
  }

  /** A client was told that this is not and will not be in the log. */
  safeToRepeat(text: string): void {
    this.#safe.add(text)
    if (this.#texts.has(text)) this.#cluster.fail(`${text} is committed, but its client was told that it never would be`)
  }

  /** At the end: nothing acknowledged is missing, and everybody has the same. */
  finish(running: readonly Host[]): void {
    for (const [index, text] of this.#acknowledged) {
      if (this.history[index]?.text !== text) this.#cluster.fail(`${text} was acknowledged at ${index}, where ${this.history[index]?.text} is`)
    }
    for (const { id, registers } of running) {
      const expected = this.valuesAt(registers.applied)
      for (const [key, value] of expected) {
        if (registers.values.get(key) !== value) this.#cluster.fail(`${id} ends with ${key} = ${registers.values.get(key)}, not ${value}`)
      }
    }
  }
}

/**
 * Collects what the driver must do and hands it over as one `Ready`. Knows the order rule: nothing that depends on a
 * term or a vote leaves before that is durable (safety rule 7). Pure.
 */
import type { Entry, HardState, Message, ReadResult, Ready, Role, SnapshotMeta } from './types.ts'

type Change = NonNullable<Ready['change']>

const noReads: readonly ReadResult[] = []

export class Outbox {
  #hardState: HardState | undefined
  #append: Entry[] = []
  #install: SnapshotMeta | undefined
  #immediate: Message[] = []
  #afterPersist: Message[] = []
  #reads: ReadResult[] | undefined
  /** See `Ready`. */
  transferWanted: Ready['transferWanted']
  #lostMemory = false
  #silent = false
  #reported: Change

  constructor(role: Role, term: number) {
    this.#reported = { role, term, leader: '' }
  }

  hardState(hardState: HardState): void {
    this.#hardState = hardState
  }

  /** Nothing about this message is unstable, as far as entries go. */
  send(message: Message): void {
    if (!this.#silent) this.#immediate.push(message)
  }

  /** The message promises something that is being written now. */
  sendDurable(message: Message): void {
    if (!this.#silent) this.#afterPersist.push(message)
  }

  /** This node has lost what it promised: takes back what has not left yet, and is silent for ever. */
  lostMemory(): void {
    this.#immediate = []
    this.#afterPersist = []
    this.#lostMemory = true
    this.#silent = true
  }

  append(entry: Entry): void {
    const pending = this.#append
    while (pending.length > 0 && pending[pending.length - 1]!.index >= entry.index) pending.pop()
    pending.push(entry)
  }

  read(id: number, index: number, ok: boolean): void {
    this.#reads ??= []
    this.#reads.push({ id, index, ok })
  }

  install(meta: SnapshotMeta): void {
    this.#install = meta
    this.#append = []
  }

  /** The last entry of the batch that `take` will hand out. */
  get lastAppended(): Entry | undefined {
    return this.#append[this.#append.length - 1]
  }

  take(committed: Ready['committed'], role: Role, term: number, leader: string): Ready | undefined {
    const before = this.#reported
    const unchanged = before.role === role && before.term === term && before.leader === leader
    if (unchanged && committed === undefined && this.#hardState === undefined && this.#append.length === 0
      && this.#install === undefined && this.#immediate.length === 0 && this.#afterPersist.length === 0
      && this.#reads === undefined && this.transferWanted === undefined && !this.#lostMemory) {
      return undefined
    }
    const held = this.#hardState !== undefined && this.#immediate.length > 0
    const change = unchanged ? undefined : { role, term, leader }
    if (change !== undefined) this.#reported = change
    const ready: Ready = {
      hardState: this.#hardState,
      append: this.#append,
      install: this.#install,
      immediate: held ? [] : this.#immediate,
      afterPersist: held ? [...this.#immediate, ...this.#afterPersist] : this.#afterPersist,
      committed,
      reads: this.#reads ?? noReads,
      transferWanted: this.transferWanted,
      lostMemory: this.#lostMemory,
      change,
    }
    this.#reads = undefined
    this.transferWanted = undefined
    this.#lostMemory = false
    this.#hardState = undefined
    this.#append = []
    this.#install = undefined
    this.#immediate = []
    this.#afterPersist = []
    return ready
  }
}

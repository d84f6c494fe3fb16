/**
 * Collects what the driver must do and hands it over as one `Ready`. Knows the order rule: nothing that depends on a
 * term or a vote leaves before that is durable (safety rule 7). Pure.
 */
import type { Entry, HardState, Message, Ready, Role, SnapshotMeta } from './types.ts'

type Change = NonNullable<Ready['change']>

export class Outbox {
  #hardState: HardState | undefined
  #append: Entry[] = []
  #install: SnapshotMeta | undefined
  #immediate: Message[] = []
  #afterPersist: Message[] = []
  #reported: Change

  constructor(role: Role, term: number) {
    this.#reported = { role, term, leader: '' }
  }

  hardState(hardState: HardState): void {
    this.#hardState = hardState
  }

  /** Nothing about this message is unstable, as far as entries go. */
  send(message: Message): void {
    this.#immediate.push(message)
  }

  /** The message promises something that is being written now. */
  sendDurable(message: Message): void {
    this.#afterPersist.push(message)
  }

  append(entry: Entry): void {
    const pending = this.#append
    while (pending.length > 0 && pending[pending.length - 1]!.index >= entry.index) pending.pop()
    pending.push(entry)
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
      && this.#install === undefined && this.#immediate.length === 0 && this.#afterPersist.length === 0) {
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
      change,
    }
    this.#hardState = undefined
    this.#append = []
    this.#install = undefined
    this.#immediate = []
    this.#afterPersist = []
    return ready
  }
}

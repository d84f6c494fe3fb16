/** Places in shared memory by name: stable while a name lives, so that counts go on over a change of the document. Pure. */
import type { Slots } from './route/table.ts'

/** What a place in shared memory is asked before it gets another name, and told when it does. */
export interface SlotUse {
  /** Nothing counts there any more. */
  idle(slot: number): boolean
  /** From here on it belongs to another name: its counts begin at zero. */
  renew(slot: number): void
}

class Places {
  readonly #limit: number
  readonly #use: SlotUse
  readonly #byName = new Map<string, number>()
  /** Names of earlier documents, the one gone longest first. */
  readonly #gone = new Map<string, number>()
  #current = new Set<string>()
  #next = 0

  constructor(limit: number, use: SlotUse) {
    this.#limit = limit
    this.#use = use
  }

  /**
   * A place is given to another name only when there is no fresh one left, and then the one whose name has been gone longest and
   * that is idle: late counts of an old name must not become a new one's.
   */
  of(name: string): number {
    this.#current.add(name)
    const known = this.#byName.get(name)
    if (known !== undefined) {
      this.#gone.delete(name)
      return known
    }
    const slot = this.#next < this.#limit ? this.#next++ : this.#recycle()
    this.#byName.set(name, slot)
    return slot
  }

  #recycle(): number {
    let chosen: string | undefined
    for (const [name, slot] of this.#gone) {
      chosen ??= name
      if (!this.#use.idle(slot)) continue
      chosen = name
      break
    }
    // There are twice as many places as a document can name.
    if (chosen === undefined) throw new Error(`more than ${this.#limit} names at once`)
    const slot = this.#gone.get(chosen)!
    this.#gone.delete(chosen)
    this.#byName.delete(chosen)
    this.#use.renew(slot)
    return slot
  }

  begin(): void {
    this.#current = new Set()
  }

  /** The names asked for since `begin` are those in force; all others are gone. */
  settle(): void {
    for (const [name, slot] of this.#byName) if (!this.#current.has(name) && !this.#gone.has(name)) this.#gone.set(name, slot)
    this.#current = new Set()
  }
}

export interface SlotLimits {
  readonly listeners: number
  readonly routes: number
  readonly pools: number
  readonly members: number
}

export class NamedSlots implements Slots {
  readonly #listeners: Places
  readonly #routes: Places
  readonly #pools: Places
  readonly #members: Places

  constructor(limits: SlotLimits, use: { readonly listeners: SlotUse; readonly routes: SlotUse; readonly pools: SlotUse; readonly members: SlotUse }) {
    this.#listeners = new Places(limits.listeners, use.listeners)
    this.#routes = new Places(limits.routes, use.routes)
    this.#pools = new Places(limits.pools, use.pools)
    this.#members = new Places(limits.members, use.members)
  }

  listener(name: string): number {
    return this.#listeners.of(name)
  }
  route(listener: string, name: string): number {
    return this.#routes.of(`${listener}/${name}`)
  }
  pool(name: string): number {
    return this.#pools.of(name)
  }
  member(pool: string, name: string): number {
    return this.#members.of(`${pool}/${name}`)
  }
  /** Before a document is named: what was asked for since the last one (health of its members) keeps no name of it alive. */
  begin(): void {
    this.#listeners.begin()
    this.#routes.begin()
    this.#pools.begin()
    this.#members.begin()
  }
  /** After a whole document has been named: what it does not name is gone. */
  settle(): void {
    this.#listeners.settle()
    this.#routes.settle()
    this.#pools.settle()
    this.#members.settle()
  }
}

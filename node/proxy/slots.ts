/** Places in shared memory by name: stable while a name lives, so that counts go on over a change of the document. */
import { maxListeners, maxMembers, maxPools } from './shared.ts'
import type { Slots } from './route/table.ts'

class Places {
  readonly #limit: number
  readonly #what: string
  readonly #byName = new Map<string, number>()
  #next = 0

  constructor(what: string, limit: number) {
    this.#what = what
    this.#limit = limit
  }

  /** Places are not given to another name again: late counts of an old one must not become a new one's. */
  of(name: string): number {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    if (this.#next === this.#limit) throw new Error(`more than ${this.#limit} ${this.#what} since the start of this process`)
    this.#byName.set(name, this.#next)
    return this.#next++
  }
}

export class NamedSlots implements Slots {
  readonly #listeners = new Places('listeners', maxListeners)
  readonly #pools = new Places('pools', maxPools)
  readonly #members = new Places('pool members', maxMembers)

  listener(name: string): number {
    return this.#listeners.of(name)
  }
  pool(name: string): number {
    return this.#pools.of(name)
  }
  member(pool: string, name: string): number {
    return this.#members.of(`${pool}/${name}`)
  }
}

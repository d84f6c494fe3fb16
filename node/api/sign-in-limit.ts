/**
 * Slows down guessing of passwords: after a few free attempts each further one from an address, or for a user name,
 * has to wait twice as long as the one before. Pure: instants (monotonic milliseconds) come in.
 *
 * An attempt counts when it begins, so that a burst of parallel attempts gains nothing. An address from which the user
 * has signed in before is not held up by guesses of others: nobody can lock an administrator out from elsewhere.
 */

interface Count {
  failures: number
  /** Nothing is taken before this instant. */
  allowedMs: number
  lastMs: number
}

export interface SignInLimits {
  readonly freePerAddress: number
  readonly freePerName: number
  readonly firstDelayMs: number
  readonly maxAddressDelayMs: number
  readonly maxNameDelayMs: number
  /** A count without a further failure is forgotten after this. */
  readonly forgetMs: number
  /** Most addresses, and most names, remembered; the oldest are forgotten first. */
  readonly maxEntries: number
}

export const signInLimits: SignInLimits = {
  freePerAddress: 10,
  freePerName: 5,
  firstDelayMs: 1000,
  maxAddressDelayMs: 5 * 60_000,
  maxNameDelayMs: 30_000,
  forgetMs: 15 * 60_000,
  maxEntries: 10_000,
}

export type SignInPermit = { readonly ok: true } | { readonly ok: false; readonly retryAfterMs: number }

export class SignInLimit {
  readonly #limits: SignInLimits
  readonly #addresses = new Map<string, Count>()
  readonly #names = new Map<string, Count>()
  /** `address name` pairs that have signed in. */
  readonly #known = new Set<string>()

  constructor(limits: SignInLimits = signInLimits) {
    this.#limits = limits
  }

  /** Asks for an attempt; when it may go on, it counts as failed until `succeeded` says otherwise. */
  begin(address: string, name: string, nowMs: number): SignInPermit {
    const known = this.#known.has(`${address} ${name}`)
    const byAddress = this.#count(this.#addresses, address, nowMs)
    const byName = known ? undefined : this.#count(this.#names, name, nowMs)
    const waitMs = Math.max(byAddress.allowedMs - nowMs, (byName?.allowedMs ?? nowMs) - nowMs)
    if (waitMs > 0) return { ok: false, retryAfterMs: Math.ceil(waitMs) }
    this.#fail(byAddress, this.#limits.freePerAddress, this.#limits.maxAddressDelayMs, nowMs)
    if (byName !== undefined) this.#fail(byName, this.#limits.freePerName, this.#limits.maxNameDelayMs, nowMs)
    return { ok: true }
  }

  succeeded(address: string, name: string): void {
    this.#addresses.delete(address)
    this.#names.delete(name)
    const pair = `${address} ${name}`
    this.#known.delete(pair)
    this.#known.add(pair)
    if (this.#known.size > this.#limits.maxEntries) this.#known.delete(this.#known.values().next().value!)
  }

  /** The attempt was neither right nor wrong (it could not be checked): it does not count. */
  withdrawn(address: string, name: string): void {
    for (const count of [this.#addresses.get(address), this.#names.get(name)]) {
      if (count === undefined) continue
      count.failures--
      count.allowedMs = 0
    }
  }

  #count(map: Map<string, Count>, key: string, nowMs: number): Count {
    const found = map.get(key)
    if (found !== undefined && nowMs - found.lastMs < this.#limits.forgetMs) return found
    map.delete(key)
    const count: Count = { failures: 0, allowedMs: nowMs, lastMs: nowMs }
    map.set(key, count)
    if (map.size > this.#limits.maxEntries) map.delete(map.keys().next().value!)
    return count
  }

  #fail(count: Count, free: number, maxMs: number, nowMs: number): void {
    count.failures++
    count.lastMs = nowMs
    const over = count.failures - free
    if (over >= 0) count.allowedMs = nowMs + Math.min(maxMs, this.#limits.firstDelayMs * 2 ** Math.min(over, 30))
  }
}

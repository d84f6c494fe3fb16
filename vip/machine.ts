/**
 * The lease machine: from leases, fitness, configuration, links and time to the VIPs that this node may answer for now, and
 * when to announce them. Pure: every instant comes in as an argument (milliseconds of one monotonic clock), and what comes
 * out is what shall be, not how to get there.
 *
 * Safety rules: holding needs an unexpired lease, whatever else is known (1); after `close` nothing opens before a lease of a
 * higher term (4); every step checks the lease against its own instant first, so that after a pause nothing is renewed or
 * announced on the strength of what was true before it (6).
 */
import type { VipLease, VipSpec, VipState } from './types.ts'

/** Instants after the acquisition at which a VIP is announced, milliseconds; then every `announceEveryMs`. */
export const announceAtMs: readonly number[] = [0, 100, 500, 2000]
export const announceEveryMs = 60_000

export type VipEvent =
  | { readonly type: 'configure'; readonly vips: readonly VipSpec[] }
  | { readonly type: 'lease'; readonly lease: VipLease }
  | { readonly type: 'fit'; readonly fit: boolean }
  | { readonly type: 'close' }
  /** The state of an interface: empty when it can carry VIPs, else why not. Unknown counts as usable. */
  | { readonly type: 'link'; readonly interface: string; readonly error: string }
  /** A VIP is under guard: only from here on may its address be added. Comes again after each `configure` that brought it. */
  | { readonly type: 'guarded'; readonly name: string }
  /** A VIP cannot be had with what is known now (no permission, no interface), lease or not. Ends with `guarded`. */
  | { readonly type: 'refused'; readonly name: string; readonly error: string }
  /** Fence open and address there (bind mode: lock taken and listening). */
  | { readonly type: 'acquired'; readonly name: string }
  /** Could not be acquired or renewed; let go of it and try again after `retryMs`. */
  | { readonly type: 'failed'; readonly name: string; readonly error: string; readonly retryMs: number }
  /** Cannot be acquired yet; who tries goes on trying. */
  | { readonly type: 'blocked'; readonly name: string; readonly error: string }
  /** Time has passed. */
  | { readonly type: 'tick' }

export interface Desired {
  /** To be open, present and listened on until `untilMs`; all others closed and withdrawn. */
  readonly open: readonly VipSpec[]
  /** 0 when nothing is open. */
  readonly untilMs: number
  /** Held, and an announcement is due now. Said once for each. */
  readonly announce: readonly VipSpec[]
  readonly states: readonly { readonly spec: VipSpec; readonly state: VipState; readonly error: string }[]
  /** The next instant at which time alone changes something; Infinity: none. */
  readonly wakeMs: number
}

interface Entry {
  readonly spec: VipSpec
  guarded: boolean
  refusal: string
  /** Since when it has been held without interruption; undefined: not held. */
  heldSinceMs: number | undefined
  announced: number
  retryAtMs: number
  failure: string
  blocked: string
}

function sameSpec(a: VipSpec, b: VipSpec): boolean {
  return a.name === b.name && a.address === b.address && a.prefixLength === b.prefixLength && a.interface === b.interface && a.announcer === b.announcer
}

export class VipMachine {
  #entries: Entry[] = []
  #lease: VipLease = null
  #fit = false
  /** Leases of this term and of earlier ones are void: the fence was closed on purpose. */
  #closedTerm = -1
  #highestTerm = -1
  readonly #linkErrors = new Map<string, string>()

  step(event: VipEvent, nowMs: number): Desired {
    this.#take(event, nowMs)
    return this.#desired(nowMs)
  }

  #take(event: VipEvent, nowMs: number): void {
    switch (event.type) {
      case 'configure':
        this.#entries = event.vips.map((spec) => this.#entries.find((entry) => sameSpec(entry.spec, spec)) ?? newEntry(spec))
        return
      case 'lease': {
        const { lease } = event
        // Of an earlier term: a leadership that is over.
        if (lease !== null && lease.term < this.#highestTerm) return
        if (lease !== null) this.#highestTerm = lease.term
        this.#lease = lease
        return
      }
      case 'fit':
        this.#fit = event.fit
        return
      case 'close':
        this.#closedTerm = this.#highestTerm
        this.#lease = null
        return
      case 'link':
        this.#linkErrors.set(event.interface, event.error)
        return
      case 'tick':
        return
    }
    const entry = this.#entries.find(({ spec }) => spec.name === event.name)
    if (entry === undefined) return
    switch (event.type) {
      case 'guarded':
        entry.guarded = true
        entry.refusal = ''
        return
      case 'refused':
        entry.guarded = false
        entry.refusal = event.error
        return
      case 'acquired':
        // A report that comes late says nothing about what has been let go of since.
        if (!this.#opens(entry, nowMs)) return
        entry.blocked = ''
        entry.failure = ''
        if (entry.heldSinceMs !== undefined) return
        entry.heldSinceMs = nowMs
        entry.announced = 0
        return
      case 'failed':
        entry.failure = event.error
        entry.retryAtMs = nowMs + event.retryMs
        return
      case 'blocked':
        entry.blocked = event.error
        entry.heldSinceMs = undefined
    }
  }

  /** The instant until which this node may answer, or 0. */
  #entitledUntil(nowMs: number): number {
    const lease = this.#lease
    return lease !== null && this.#fit && lease.term > this.#closedTerm && nowMs < lease.untilMs ? lease.untilMs : 0
  }

  #opens(entry: Entry, nowMs: number): boolean {
    return this.#entitledUntil(nowMs) > 0 && entry.guarded && this.#linkError(entry) === '' && nowMs >= entry.retryAtMs
  }

  #linkError({ spec }: Entry): string {
    return spec.announcer === 'kernel' ? (this.#linkErrors.get(spec.interface) ?? '') : ''
  }

  #desired(nowMs: number): Desired {
    const entitledUntilMs = this.#entitledUntil(nowMs)
    const open: VipSpec[] = []
    const announce: VipSpec[] = []
    const states: Desired['states'][number][] = []
    let wakeMs = entitledUntilMs > 0 ? entitledUntilMs : Infinity
    for (const entry of this.#entries) {
      if (this.#opens(entry, nowMs)) open.push(entry.spec)
      else {
        entry.heldSinceMs = undefined
        entry.blocked = ''
        if (entitledUntilMs === 0) {
          entry.failure = ''
          entry.retryAtMs = -Infinity
        } else if (nowMs < entry.retryAtMs) wakeMs = Math.min(wakeMs, entry.retryAtMs)
      }
      if (entry.heldSinceMs !== undefined) {
        if (nextAnnouncementMs(entry.heldSinceMs, entry.announced) <= nowMs) {
          announce.push(entry.spec)
          // Those that were missed are not made up for.
          do entry.announced++
          while (nextAnnouncementMs(entry.heldSinceMs, entry.announced) <= nowMs)
        }
        wakeMs = Math.min(wakeMs, nextAnnouncementMs(entry.heldSinceMs, entry.announced))
      }
      states.push({ spec: entry.spec, ...this.#state(entry, nowMs) })
    }
    return { open, untilMs: open.length > 0 ? entitledUntilMs : 0, announce, states, wakeMs }
  }

  #state(entry: Entry, nowMs: number): { state: VipState; error: string } {
    if (entry.refusal !== '') return { state: 'failed', error: entry.refusal }
    if (this.#entitledUntil(nowMs) === 0 || !entry.guarded) return { state: 'released', error: '' }
    if (entry.heldSinceMs !== undefined) return { state: 'held', error: '' }
    // What failed stays failed while it is tried again: a state that flaps helps nobody.
    const error = this.#linkError(entry) || entry.failure || entry.blocked
    return error === '' ? { state: 'acquiring', error } : { state: 'failed', error }
  }
}

function newEntry(spec: VipSpec): Entry {
  return { spec, guarded: false, refusal: '', heldSinceMs: undefined, announced: 0, retryAtMs: -Infinity, failure: '', blocked: '' }
}

function nextAnnouncementMs(heldSinceMs: number, announced: number): number {
  const listed = announceAtMs[announced]
  if (listed !== undefined) return heldSinceMs + listed
  return heldSinceMs + announceAtMs.at(-1)! + (announced - announceAtMs.length + 1) * announceEveryMs
}

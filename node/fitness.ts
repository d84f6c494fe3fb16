/**
 * Who can serve: what the silence of the own child means, and which peer node may be handed over to. Pure: the heart
 * brings turns and instants.
 */
import type { NodeId } from '../consensus/core/types.ts'
import { aliveEveryMs } from './link.ts'

const turns = (ms: number): number => Math.ceil(ms / aliveEveryMs)
/** Shorter stalls (garbage collection, a large document) change nothing at all. */
const suspectTurns = turns(750)
/** The child hangs, and another node can serve: it shall. Longer than the largest document takes to be read: the workers serve on. */
const hangsTurns = turns(3000)
/** As long as nobody else can serve the child is left its VIPs and this long: its workers may well go on serving. */
const aloneTurns = turns(10_000)
/** Until its first word a child loads its program; on a machine that swaps or is overloaded that takes long. */
const startTurns = turns(30_000)

/**
 * Listens for the child's words. Silence is counted in turns of the heart (`aliveEveryMs`), not by the clock: after a pause
 * of both processes the child gets its chance.
 */
export class Liveness {
  #silent = 0
  #spoken = false

  /** A new child was started. */
  started(): void {
    this.#silent = 0
    this.#spoken = false
  }

  spoke(): void {
    this.#silent = 0
    this.#spoken = true
  }

  /** Silent for so long that nobody should be told that it could take over. */
  get suspect(): boolean {
    return this.#spoken && this.#silent >= suspectTurns
  }

  /** One turn of the heart. Returns why the child has to be ended, or an empty text. */
  turn(otherCanServe: boolean): string {
    this.#silent++
    const limit = !this.#spoken ? startTurns : otherCanServe ? hangsTurns : aloneTurns
    if (this.#silent < limit) return ''
    const seconds = (this.#silent * aliveEveryMs) / 1000
    return this.#spoken ? `it has said nothing for ${seconds} s` : `it has not come up within ${seconds} s`
  }
}

/** What a heart tells the others of itself; the values are those on the wire. */
export const word = { notFit: 0, fit: 1, /** Fit, but a VIP cannot be held here. */ vipsFail: 2 } as const
export type Word = (typeof word)[keyof typeof word]

/** The last words of the peers' hearts. */
export class Words {
  readonly #validMs: number
  readonly #words = new Map<NodeId, { readonly word: Word; readonly standsBack: boolean; readonly atMs: number }>()

  /** A word counts for `validMs`. */
  constructor(validMs: number) {
    this.#validMs = validMs
  }

  /** Ignores what is no word. `standsBack`: an operator has handed over from it, and it is not to be preferred for that. */
  heard(from: NodeId, value: number | undefined, nowMs: number, standsBack = false): void {
    const known = Object.values(word).find((candidate) => candidate === value)
    if (known !== undefined) this.#words.set(from, { word: known, standsBack, atMs: nowMs })
  }

  /** The word of one peer that still counts; `notFit` if there is none. */
  of(id: NodeId, nowMs: number): Word {
    const last = this.#words.get(id)
    return last === undefined || nowMs - last.atMs > this.#validMs ? word.notFit : last.word
  }

  /** Why the preferred node should not lead although it could, or an empty text. Without its own recent word it should not. */
  againstPreferred(id: NodeId, nowMs: number): string {
    const now = this.of(id, nowMs)
    if (now === word.notFit) return `${id} is not fit to serve`
    if (now === word.vipsFail) return `a VIP cannot be held on ${id}`
    return this.#words.get(id)!.standsBack ? `an operator has handed over from ${id}` : ''
  }

  /** Who of `candidates` could serve in this node's place, those whose VIPs work first. */
  best(candidates: readonly NodeId[], nowMs: number): NodeId | undefined {
    return this.bestVips(candidates, nowMs) ?? candidates.find((id) => this.of(id, nowMs) === word.vipsFail)
  }

  /** Who of `candidates` could hold VIPs that fail here. One that failed with them too is none: no ping-pong. */
  bestVips(candidates: readonly NodeId[], nowMs: number): NodeId | undefined {
    return candidates.find((id) => this.of(id, nowMs) === word.fit)
  }
}

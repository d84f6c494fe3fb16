/**
 * Which faults a torture run injects, in which order, upon whom and for how long: all of it from one seed, before
 * anything has happened, so that a seed replays the same plan whatever the cluster made of it. Pure.
 */

/** `holder` holds the VIP when the fault strikes, `other` is the node that does not. */
export type Target = 'holder' | 'other' | 'witness'

export const faultKinds = [
  'kill-heart',
  'kill-child',
  'kill-node',
  'power-off',
  'freeze-heart',
  'freeze-child',
  'freeze-node',
  'stalls',
  'isolate',
  'cut-pair',
  'one-way',
  'deaf',
  'mute',
  'unplug',
  'loss',
  'disk-full',
  'hand-over',
  'wipe-and-rejoin',
] as const
export type FaultKind = (typeof faultKinds)[number]

/** For the report and the README: what each does, in one line. */
export const faultsInWords: Readonly<Record<FaultKind, string>> = {
  'kill-heart': 'kill -9 of the heart alone; its child has to notice',
  'kill-child': 'kill -9 of the data-plane process; the heart hands over',
  'kill-node': 'kill -9 of heart and child at once; the kernel lives on',
  'power-off': 'cable down, kill -9, an empty kernel when it comes back',
  'freeze-heart': 'SIGSTOP of the heart alone',
  'freeze-child': 'SIGSTOP of the data-plane process with all its workers',
  'freeze-node': 'SIGSTOP of all processes of the node',
  stalls: 'the heart stopped and let go many times a second, at random: a clock that runs too slowly',
  isolate: 'cut from both other members, not from clients',
  'cut-pair': 'two members cut from each other; the third is a bridge between them',
  'one-way': 'one direction of one wire cut',
  deaf: 'hears neither of the others, and is heard by both',
  mute: 'is heard by neither of the others, and hears both',
  unplug: 'cable down: no members, no clients, no backends',
  loss: '10 % of all frames between members lost, at random, both ways',
  'disk-full': 'the file system of its data directory filled to the last byte',
  'hand-over': 'planned switchover',
  'wipe-and-rejoin': 'killed, removed from the cluster, its disk emptied, joined again by token',
}

export interface Fault {
  readonly kind: FaultKind
  readonly target: Target
  /** The second member, for faults between two. */
  readonly peer: Target
  /** From injection to mending, milliseconds. */
  readonly lengthMs: number
  /** For faults with randomness of their own. */
  readonly seed: number
}

export interface Round {
  readonly number: number
  /** Wait after a steady second: the phase of the first fault, milliseconds. */
  readonly phaseMs: number
  /** The second one, where there is one, strikes while the first lasts, after this time. */
  readonly secondAfterMs: number
  readonly faults: readonly Fault[]
}

/** How often each kind comes, relative to the others. */
const weights: Readonly<Record<FaultKind, number>> = {
  'kill-heart': 3, 'kill-child': 3, 'kill-node': 3, 'power-off': 2, 'freeze-heart': 3, 'freeze-child': 2, 'freeze-node': 3,
  stalls: 4, isolate: 3, 'cut-pair': 4, 'one-way': 3, deaf: 2, mute: 2, unplug: 2, loss: 4, 'disk-full': 4, 'hand-over': 3,
  'wipe-and-rejoin': 1,
}

/** Every kind once in a random order, then by weight for ever: a short run has seen as many kinds as it can. */
export class Plan {
  readonly #random: () => number
  #number = 0
  #first: FaultKind[]

  /** `random`: numbers in [0, 1). */
  constructor(random: () => number) {
    this.#random = random
    this.#first = [...faultKinds]
    for (let i = this.#first.length - 1; i > 0; i--) {
      const j = this.#below(i + 1)
      ;[this.#first[i], this.#first[j]] = [this.#first[j]!, this.#first[i]!]
    }
  }

  next(): Round {
    this.#number++
    const first = this.#fault(this.#first.pop() ?? this.#weighted())
    // Long work of their own: a second fault would only decide which of the two is reported as not mended.
    const alone = first.kind === 'wipe-and-rejoin'
    const second = this.#fault(this.#weighted())
    const compound = this.#random() < 0.25 && !alone && second.kind !== 'wipe-and-rejoin'
    return {
      number: this.#number,
      phaseMs: Math.round(this.#random() * 500),
      secondAfterMs: Math.round(this.#random() * Math.min(first.lengthMs, 2000)),
      faults: compound ? [first, second] : [first],
    }
  }

  #fault(kind: FaultKind): Fault {
    const targets: Target[] = ['holder', 'other', 'witness']
    // The holder twice as often: that is where the service is. Some faults a witness cannot have.
    const anyone: Target[] = nodesOnly.has(kind) ? ['holder', 'holder', 'other'] : ['holder', 'holder', 'other', 'witness']
    const target = anyone[this.#below(anyone.length)]!
    const others = targets.filter((one) => one !== target)
    return {
      kind,
      target,
      peer: others[this.#below(others.length)]!,
      // Short ones, about as long as a lease, and long ones.
      lengthMs: Math.round(this.#random() < 0.4 ? 50 + this.#random() * 500 : 600 + this.#random() * 5400),
      seed: this.#below(2 ** 31),
    }
  }

  #weighted(): FaultKind {
    const total = faultKinds.reduce((sum, kind) => sum + weights[kind], 0)
    let at = this.#random() * total
    for (const kind of faultKinds) {
      at -= weights[kind]
      if (at < 0) return kind
    }
    return faultKinds.at(-1)!
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }
}

const nodesOnly: ReadonlySet<FaultKind> = new Set(['kill-child', 'freeze-child', 'hand-over'])

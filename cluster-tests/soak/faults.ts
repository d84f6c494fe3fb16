/** The faults of a torture run: how each is injected into a lab, and how it is mended. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '../drills/random.ts'
import type { LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import type { LinkLoss } from '../lab/network.ts'
import type { Fault, FaultKind, Target } from './plan.ts'

export interface Members {
  readonly holder: LabNode
  readonly other: LabNode
  readonly witness: LabNode
}

interface Injection {
  readonly lab: Lab
  readonly fault: Fault
  readonly target: LabNode
  readonly peer: LabNode
  readonly others: readonly LabNode[]
  /** Another serving node: through which an operator would mend this one. */
  readonly helper: LabNode
  /** Name of the nftables table of this fault, unique in the round. */
  readonly table: string
}

interface Kind {
  /** Resolves when the fault is in place; those that end by themselves resolve when they are over. */
  inject(injection: Injection): Promise<void>
  mend(injection: Injection): Promise<void>
}

const nothing = async (): Promise<void> => {}
const restart = async ({ target }: Injection): Promise<void> => target.start()
const healTable = ({ lab, table }: Injection): Promise<void> => lab.heal(table)

const losing = (losses: (injection: Injection) => LinkLoss[]): Kind => ({
  inject: (injection) => injection.lab.lose(injection.table, losses(injection)),
  mend: healTable,
})
const drop = (from: LabNode, to: LabNode, probability = 1): LinkLoss => ({ from: from.name, to: to.name, probability })
const both = (a: LabNode, b: LabNode, probability = 1): LinkLoss[] => [drop(a, b, probability), drop(b, a, probability)]

const frozen = (stop: (node: LabNode) => void, go: (node: LabNode) => void): Kind => ({
  inject: async ({ target }) => stop(target),
  mend: async ({ target }) => go(target),
})

const ballast = (node: LabNode): string => join(node.directory, 'ballast')

/** Writes until nothing more fits. @throws Error when the data directory is not small, and would fill a real disk. */
function fillDisk(node: LabNode, limitBytes: number): void {
  const file = openSync(ballast(node), 'a')
  try {
    let block = Buffer.alloc(1024 * 1024)
    for (let written = 0; written <= limitBytes; ) {
      try {
        written += writeSync(file, block)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        if (block.length === 1) return
        block = block.subarray(0, Math.floor(block.length / 2))
      }
    }
  } finally {
    closeSync(file)
  }
  rmSync(ballast(node))
  throw new Error(`${node.directory} has no limit of its own`)
}

/** Size of the file system of each data directory. */
export const diskBytes = 256 * 1024 * 1024

/** Stops and lets go for random moments: as long as they last, the process gets only a part of its time. */
async function stalls({ fault, target }: Injection): Promise<void> {
  const random = seededRandom(fault.seed)
  const endMs = performance.now() + fault.lengthMs
  // Moments from below a heartbeat to beyond a lease.
  const longestMs = [20, 60, 150, 280][Math.floor(random() * 4)]!
  try {
    while (performance.now() < endMs) {
      target.signalHeart('SIGSTOP')
      await delay(2 + random() * longestMs)
      target.signalHeart('SIGCONT')
      await delay(1 + random() * longestMs)
    }
  } finally {
    target.signalHeart('SIGCONT')
  }
}

async function wipeAndRejoin({ lab, target, helper }: Injection): Promise<void> {
  // Gone already when an earlier fault of the round killed it.
  if (target.heartPid() !== undefined) target.kill9Tree()
  await lab.cluster.expel(helper, target)
  await lab.cluster.join(helper, target)
}

const kinds: Readonly<Record<FaultKind, Kind>> = {
  'kill-heart': { inject: async ({ target }) => target.signalHeart('SIGKILL'), mend: restart },
  'kill-child': { inject: async ({ target }) => target.signalChild('SIGKILL'), mend: nothing },
  'kill-node': {
    inject: async ({ target }) => {
      if (target.heartPid() !== undefined) target.kill9Tree()
    },
    mend: restart,
  },
  'power-off': {
    inject: async ({ target }) => {
      await target.linkDown()
      if (target.heartPid() !== undefined) target.kill9Tree()
    },
    mend: async ({ target }) => {
      await target.host.reset()
      await target.linkUp()
      target.start()
    },
  },
  'freeze-heart': frozen((node) => node.signalHeart('SIGSTOP'), (node) => node.signalHeart('SIGCONT')),
  'freeze-child': frozen((node) => node.signalChild('SIGSTOP'), (node) => node.signalChild('SIGCONT')),
  'freeze-node': frozen(
    (node) => {
      if (node.heartPid() !== undefined) node.freezeTree()
    },
    (node) => {
      if (node.heartPid() !== undefined) node.thaw()
    },
  ),
  stalls: { inject: stalls, mend: nothing },
  isolate: losing(({ target, others }) => others.flatMap((other) => both(target, other))),
  'cut-pair': losing(({ target, peer }) => both(target, peer)),
  'one-way': losing(({ target, peer }) => [drop(target, peer)]),
  deaf: losing(({ target, others }) => others.map((other) => drop(other, target))),
  mute: losing(({ target, others }) => others.map((other) => drop(target, other))),
  unplug: { inject: ({ target }) => target.linkDown(), mend: ({ target }) => target.linkUp() },
  loss: losing(({ target, others: [a, b] }) => [...both(target, a!, 0.1), ...both(target, b!, 0.1), ...both(a!, b!, 0.1)]),
  'disk-full': {
    inject: async ({ target }) => fillDisk(target, diskBytes),
    mend: async ({ target }) => rmSync(ballast(target), { force: true }),
  },
  'hand-over': {
    inject: async ({ target }) => {
      // It may be refused, such as when nobody else is fit: that is an answer too.
      await target.api('POST', '/hand-over', {}, { timeoutMs: 5000 }).catch(() => undefined)
    },
    mend: nothing,
  },
  'wipe-and-rejoin': { inject: wipeAndRejoin, mend: restart },
}

/** A fault with its place in the cluster as it is now. */
export class Injected {
  readonly kind: FaultKind
  readonly on: string
  readonly #injection: Injection

  constructor(lab: Lab, fault: Fault, members: Members, number: number) {
    const at = (target: Target): LabNode => members[target]
    const target = at(fault.target)
    const others = Object.values(members).filter((node) => node !== target) as LabNode[]
    const helper = others.find((node) => !node.witness)!
    this.kind = fault.kind
    this.on = target.name
    this.#injection = { lab, fault, target, peer: at(fault.peer), others, helper, table: `fault_${number}` }
  }

  inject(): Promise<void> {
    return kinds[this.kind].inject(this.#injection)
  }
  mend(): Promise<void> {
    return kinds[this.kind].mend(this.#injection)
  }
}

/** Undoes every fault there is, whatever a failed round left behind. */
export async function mendAll(lab: Lab): Promise<void> {
  for (const number of [0, 1]) await lab.heal(`fault_${number}`)
  for (const node of lab.nodes()) {
    rmSync(ballast(node), { force: true })
    if (node.heartPid() !== undefined) node.thaw()
    await node.linkUp()
    node.start()
  }
}

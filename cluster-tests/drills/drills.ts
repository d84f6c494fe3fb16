/** The drills: what each breaks, and how it is mended. `run.ts` does the measuring, the same way for all. */
import { setTimeout as delay } from 'node:timers/promises'
import { describe, type LabNode } from '../lab/cluster.ts'
import type { Lab } from '../lab/lab.ts'
import { monotonicMs } from './clock.ts'

export interface DrillContext {
  readonly lab: Lab
  /** Holds the VIP when the fault strikes. */
  readonly holder: LabNode
}

export interface Drill {
  readonly name: string
  /** For the report: what is done, in one line. */
  readonly what: string
  inject(context: DrillContext): Promise<void>
  /** Runs while the probe goes on, after a new holder answers: what ends the fault by itself. */
  during?(context: DrillContext, faultMs: number): Promise<void>
  /** Runs after the probe: what an operator would mend. */
  mend?(context: DrillContext): Promise<void>
}

/** Length of the faults that end by themselves. */
const passingFaultMs = 5000

async function untilFaultIsOver(faultMs: number): Promise<void> {
  await delay(Math.max(0, faultMs + passingFaultMs - monotonicMs()))
}

export const drills: readonly Drill[] = [
  {
    name: 'kill-holder',
    what: 'kill -9 of the holder’s whole process tree; its kernel lives on',
    async inject({ holder }) {
      holder.kill9Tree()
    },
    async mend({ holder }) {
      holder.start()
    },
  },
  {
    name: 'crash-node',
    what: 'kill -9 of the holder’s data-plane process; its heart hands over',
    async inject({ holder }) {
      holder.kill9Child()
    },
  },
  {
    name: 'power-off',
    what: 'the holder’s cable goes down, then kill -9 of everything',
    async inject({ holder }) {
      await holder.linkDown()
      holder.kill9Tree()
    },
    async mend({ holder }) {
      // A machine that boots has an empty kernel.
      await holder.host.reset()
      await holder.linkUp()
      holder.start()
    },
  },
  {
    name: 'freeze',
    what: `SIGSTOP of the holder’s whole process tree for ${passingFaultMs / 1000} s, then SIGCONT`,
    async inject({ holder }) {
      holder.freezeTree()
    },
    async during({ holder }, faultMs) {
      await untilFaultIsOver(faultMs)
      holder.thaw()
    },
  },
  {
    name: 'partition',
    what: `the holder is cut from the other members, not from the client, for ${passingFaultMs / 1000} s`,
    async inject({ lab, holder }) {
      await holder.host.cutFrom(lab.nodes().filter((node) => node !== holder).map((node) => node.name))
    },
    async during({ holder }, faultMs) {
      await untilFaultIsOver(faultMs)
      await holder.host.heal()
    },
  },
  {
    name: 'switchover',
    what: 'planned hand-over by POST /api/v1/hand-over',
    async inject({ holder }) {
      const answer = await holder.api('POST', '/hand-over', {})
      if (answer.status >= 300) throw new Error(`hand-over: ${answer.status} ${describe(answer.body)}`)
    },
  },
]

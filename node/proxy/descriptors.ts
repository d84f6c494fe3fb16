/**
 * How many file descriptors the data plane may use. A process that has none left cannot accept, connect, read its disk or talk
 * to its heart; so clients are refused before that, and what goes on already has room to reach its members.
 */
import { closeSync, openSync, readFileSync } from 'node:fs'

export interface DescriptorLimits {
  /** Beyond this, new clients are refused. */
  readonly accept: number
  /** Beyond this, connections to members are too. What is above is for everything that is not the data plane. */
  readonly connect: number
}

/** What a process of this kind has open when it starts, and what each worker adds (event loop, channels): measured, and rounded up. */
const processDescriptors = 40
const workerDescriptors = 8

/** @param soft the process's own limit; Infinity: there is none */
export function descriptorLimits(soft: number, workers: number): DescriptorLimits {
  if (soft === Infinity) return { accept: Infinity, connect: Infinity }
  // An eighth, but not more than that, for files, the API, names that are looked up, and the heart.
  const reserve = processDescriptors + workers * workerDescriptors + Math.max(24, Math.min(216, Math.floor(soft / 8)))
  const connect = Math.max(16, soft - reserve)
  // A tenth is for members of clients that are already there.
  return { accept: Math.floor(connect * 0.9), connect }
}

/** The soft limit of this process (Node raises it to the hard one when it starts). */
export function softLimit(): number {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    return found === null ? Infinity : Number(found[1])
  } catch {
    return Infinity
  }
}

/** Whether the process has none left, whoever has taken them: then the kernel refuses clients, and nobody counts them. */
export function noneLeft(): boolean {
  try {
    closeSync(openSync('/dev/null', 'r'))
    return false
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EMFILE' || code === 'ENFILE'
  }
}

/** How long a refusal is still spoken of. */
const alarmMs = 60_000

/** Says when clients are refused, or are about to be. Looked at about once a second. */
export class DescriptorAlarm {
  readonly #limits: DescriptorLimits
  #refused = 0
  #refusedAtMs = -Infinity
  problem = ''

  constructor(limits: DescriptorLimits) {
    this.#limits = limits
  }

  /**
   * @param used descriptors of the data plane now
   * @param refused total of refusals; a total that falls begins anew (a listener is gone)
   * @param exhausted the process has none left
   */
  look(used: number, refused: number, exhausted: boolean, nowMs: number): void {
    if (refused > this.#refused || exhausted) this.#refusedAtMs = nowMs
    this.#refused = refused
    const { accept } = this.#limits
    const atLimit = used > accept || exhausted
    this.problem = atLimit || nowMs - this.#refusedAtMs < alarmMs
      ? `descriptor limit: new clients ${atLimit ? 'are' : 'were'} refused (${used} descriptors in use, new clients get up to ${accept}); raise LimitNOFILE or lower maxConnections`
      : ''
  }
}

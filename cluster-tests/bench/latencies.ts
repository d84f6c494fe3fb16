/** Latencies of one phase of a benchmark and what is said of them. */

export interface Summary {
  readonly count: number
  /** Answered with a failure, or not at all. */
  readonly failed: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** CPU time of the process that made the requests ÷ the time that it took: near 1, it was the limit itself. */
  readonly clientCpu: number
}

export class Latencies {
  readonly #ms: number[] = []
  readonly #cpu = process.cpuUsage()
  readonly #startedMs = performance.now()
  failed = 0

  add(ms: number): void {
    this.#ms.push(ms)
  }

  summary(): Summary {
    const seconds = (performance.now() - this.#startedMs) / 1000
    const { user, system } = process.cpuUsage(this.#cpu)
    const sorted = Float64Array.from(this.#ms).sort()
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
    return {
      count: sorted.length, failed: this.failed, perSecond: sorted.length / seconds,
      p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1), clientCpu: (user + system) / 1e6 / seconds,
    }
  }
}

/** `clients` callers, each of which calls again as soon as it is answered: for `warmSeconds` unmeasured, then `seconds`. */
export async function closedLoop(
  clients: number, warmSeconds: number, seconds: number, call: (client: number) => Promise<boolean>,
): Promise<Summary> {
  const measureFromMs = performance.now() + warmSeconds * 1000
  const untilMs = measureFromMs + seconds * 1000
  let latencies: Latencies | undefined
  const one = async (client: number): Promise<void> => {
    for (let nowMs = performance.now(); nowMs < untilMs; ) {
      const startMs = nowMs
      const ok = await call(client)
      nowMs = performance.now()
      if (startMs < measureFromMs) continue
      latencies ??= new Latencies()
      if (ok) latencies.add(nowMs - startMs)
      else latencies.failed += 1
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, client) => one(client)))
  return (latencies ?? new Latencies()).summary()
}

/** What the workers and the main thread need of a pool's health settings. Pure. */
import { durationMs } from '../../config/duration.ts'
import type { Maintenance, Pool } from '../../config/schema.ts'
import type { CircuitLimits } from '../../health/circuit.ts'
import type { EjectionPolicy, ErrorRate } from '../../health/ejection.ts'

export interface HealthPlan {
  /** undefined: live traffic ejects nobody. */
  readonly ejection: EjectionPolicy | undefined
  readonly errorRate: ErrorRate | undefined
  /** Status codes of answers that are failures: low and high in turn, both inclusive. */
  readonly failing: readonly number[]
  /** Percent; 0: never. */
  readonly panicThreshold: number
  readonly slowStartMs: number
  /** How long a draining member keeps what it has; 0: no limit. */
  readonly drainMs: number
  readonly circuit: CircuitLimits | undefined
  readonly maintenance: Maintenance | undefined
}

const optionalMs = (duration: string | undefined): number => (duration === undefined ? 0 : durationMs(duration))

export function healthPlan({ passiveHealth, panicThreshold, slowStart, drainTimeout, circuitBreaker, maintenance }: Pool): HealthPlan {
  return {
    ejection: passiveHealth === undefined ? undefined : {
      failures: passiveHealth.failures,
      ejectionMs: durationMs(passiveHealth.ejectionTime),
      maxEjectionMs: durationMs(passiveHealth.maxEjectionTime),
      maxEjected: passiveHealth.maxEjected,
    },
    errorRate: passiveHealth?.errorRate === undefined ? undefined : {
      share: passiveHealth.errorRate,
      windowMs: durationMs(passiveHealth.window),
      minimumRequests: passiveHealth.minimumRequests,
    },
    failing: rangesOf(passiveHealth?.statuses ?? '500-599'),
    panicThreshold: panicThreshold ?? 0,
    slowStartMs: optionalMs(slowStart),
    drainMs: optionalMs(drainTimeout),
    circuit: circuitBreaker === undefined ? undefined : {
      failures: circuitBreaker.failures,
      openMs: durationMs(circuitBreaker.openTime),
      trials: circuitBreaker.trials,
    },
    maintenance,
  }
}

function rangesOf(statuses: string): number[] {
  return statuses.split(',').flatMap((range) => {
    const [low, high = low] = range.split('-')
    return [Number(low), Number(high)]
  })
}

/** Which members of a pool may get new traffic, by their health. Pure. */
import type { MemberHealth } from '../observe/counters.ts'

/**
 * Members that are `up`; while there is none, those that are still being checked (a start must not refuse what would work), then
 * those that live traffic has ejected (a probe has taken the last other one down). Draining and disabled members never.
 *
 * Panic, as Envoy has it: when a smaller share of the members that are neither draining nor disabled is healthy than
 * `panicThreshold`, all of them are used. When nearly everything seems down, either the check is wrong, or the few that are left
 * could not carry the load alone.
 * @param panicThreshold percent; 0: never
 */
export function eligibleMembers(health: readonly MemberHealth[], panicThreshold: number): boolean[] {
  const serving = (now: MemberHealth): boolean => now !== 'draining' && now !== 'disabled'
  if (panicThreshold > 0) {
    let all = 0
    let healthy = 0
    for (const now of health) {
      if (!serving(now)) continue
      all++
      // Nobody has said yet that those are not well.
      if (now === 'up' || now === 'checking') healthy++
    }
    if (healthy * 100 < panicThreshold * all) return health.map(serving)
  }
  const used: MemberHealth = health.includes('up') ? 'up' : health.includes('checking') ? 'checking' : 'ejected'
  return health.map((now) => now === used)
}

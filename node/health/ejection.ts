/**
 * Outlier ejection: members that fail live traffic get none for a time. Which ones and for how long; counting is done by the
 * workers (`consecutive failures`), and probes go on meanwhile. Pure.
 */

export interface EjectionPolicy {
  /** Failures in a row that eject. */
  readonly failures: number
  /** The first ejection; the n-th in a row takes n times as long, at most `maxEjectionMs`. Milliseconds. */
  readonly ejectionMs: number
  readonly maxEjectionMs: number
  /** Largest share of the candidates that may be ejected at once, percent. */
  readonly maxEjected: number
}

/** What is known of one member. */
export interface Ejection {
  /** 0: it is not ejected. */
  readonly untilMs: number
  /** How often it was ejected lately: each ejection time without one takes one off. */
  readonly times: number
  /** When it was ejected, released, or forgiven an ejection. */
  readonly changedMs: number
}
export const neverEjected: Ejection = { untilMs: 0, times: 0, changedMs: 0 }

/** By the share of failures, beside failures in a row. */
export interface ErrorRate {
  /** Percent of the requests that ejects. */
  readonly share: number
  readonly windowMs: number
  /** With fewer requests in the window nothing is said. */
  readonly minimumRequests: number
}

/** Whether so many failures of so many requests are too many. */
export function failsTooOften(requests: number, failures: number, { share, minimumRequests }: ErrorRate): boolean {
  return requests >= minimumRequests && failures * 100 >= share * requests
}

export interface EjectionInput {
  /** It would get traffic: enabled, with a weight, and not down by the active check. */
  readonly candidate: boolean
  /** Failures in a row now. */
  readonly failures: number
  /** Its error rate is too high. */
  readonly failing?: boolean
}

/**
 * The ejections after one look at the pool. Never more than the allowed share of the candidates is ejected (of two or more, one
 * always may be), and never all of them: when others go down, those are let back whose time would end first.
 * @param before per member
 * @param nowMs > 0, monotonic
 */
export function ejectMembers(before: readonly Ejection[], members: readonly EjectionInput[], policy: EjectionPolicy, nowMs: number): Ejection[] {
  const after = before.map((one, at) => {
    // What is down or taken out starts anew when its check or its operator says so.
    if (one.untilMs > 0 && (!members[at]!.candidate || nowMs >= one.untilMs)) return { ...one, untilMs: 0, changedMs: nowMs }
    if (one.untilMs === 0 && one.times > 0 && nowMs - one.changedMs >= policy.ejectionMs) return { ...one, times: one.times - 1, changedMs: nowMs }
    return one
  })
  const candidates = members.filter((member) => member.candidate).length
  const allowed = candidates < 2 ? 0 : Math.min(candidates - 1, Math.max(1, Math.floor((candidates * policy.maxEjected) / 100)))
  const ejected = [...after.keys()].filter((at) => after[at]!.untilMs > 0).toSorted((a, b) => after[a]!.untilMs - after[b]!.untilMs || a - b)
  let count = ejected.length
  for (const at of ejected) {
    if (count <= allowed) break
    after[at] = { ...after[at]!, untilMs: 0, changedMs: nowMs }
    count--
  }
  // The worst ones first; what is let back in this same look is not put out again.
  const failing = [...members.keys()]
    .filter((at) => members[at]!.candidate && (members[at]!.failures >= policy.failures || members[at]!.failing === true) && after[at]!.untilMs === 0 && before[at]!.untilMs === 0)
    .toSorted((a, b) => members[b]!.failures - members[a]!.failures || a - b)
  for (const at of failing) {
    if (count >= allowed) break
    const times = after[at]!.times + 1
    after[at] = { untilMs: nowMs + Math.min(policy.maxEjectionMs, policy.ejectionMs * times), times, changedMs: nowMs }
    count++
  }
  return after
}

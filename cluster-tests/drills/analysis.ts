/**
 * What a drill's trace says: how long the service was away, and whether two nodes ever answered for the VIP. Pure: the
 * trace comes in, figures go out. All instants are milliseconds of the machine's CLOCK_MONOTONIC, which every process of
 * a lab shares.
 */

/** One HTTP request of the probe, on a connection of its own. */
export interface HttpSample {
  readonly sentMs: number
  /** When the whole answer was there, or when it was given up. */
  readonly doneMs: number
  readonly ok: boolean
  /** Node that answered, from the answer's `Via`; empty when it does not say. */
  readonly node: string
  /** Backend that served it. */
  readonly backend: string
}

/** One ARP frame in which somebody claims the VIP. `reply`: to a who-has. `announcement`: unasked (RFC 5227 §3). */
export interface ArpSample {
  readonly atMs: number
  readonly mac: string
  readonly kind: 'reply' | 'announcement'
}

export interface Trace {
  readonly startMs: number
  readonly endMs: number
  readonly http: readonly HttpSample[]
  readonly arp: readonly ArpSample[]
}

export interface Blackout {
  /** Longest time without service minus the probe's period, milliseconds, not below 0. */
  readonly blackoutMs: number
  readonly fromMs: number
  readonly toMs: number
  /** The service had not come back when the trace ended: the figure is a lower bound only. */
  readonly open: boolean
}

/**
 * The longest gap between successes that ends after the fault, minus the nominal period. Two orders are looked at and
 * the worse one counts: by completion (requests that all hang and then complete together leave a gap of completions) and
 * by sending (one stuck request that happens to complete in the middle of an outage splits the gap of completions, but
 * not the gap between the requests that succeeded). The time from the last success to the end of the trace counts too.
 *
 * Undefined when nothing succeeded before the fault: then there is nothing to measure against.
 */
export function blackout(trace: Trace, faultMs: number, periodMs: number): Blackout | undefined {
  const successes = trace.http.filter((sample) => sample.ok)
  const done = successes.map((sample) => sample.doneMs).toSorted((a, b) => a - b)
  const sent = successes.map((sample) => sample.sentMs).toSorted((a, b) => a - b)
  if (done[0] === undefined || done[0] > faultMs) return undefined
  let from = faultMs
  let to = faultMs
  let open = false
  for (const instants of [done, sent]) {
    for (let i = 1; i < instants.length; i++) {
      const a = instants[i - 1]!
      const b = instants[i]!
      if (b > faultMs && b - a > to - from) [from, to] = [a, b]
    }
  }
  const last = done.at(-1)!
  if (trace.endMs - last > to - from) [from, to, open] = [last, trace.endMs, true]
  return { blackoutMs: Math.max(0, to - from - periodMs), fromMs: from, toMs: to, open }
}

/** Longest gap between completions before the fault, minus the period, milliseconds: the noise of the measurement. */
export function longestGapBefore(http: readonly HttpSample[], faultMs: number, periodMs: number): number {
  const done = http.filter((sample) => sample.ok && sample.doneMs <= faultMs).map((sample) => sample.doneMs).toSorted((a, b) => a - b)
  let longest = 0
  for (let i = 1; i < done.length; i++) longest = Math.max(longest, done[i]! - done[i - 1]! - periodMs)
  return longest
}

export interface DualHolder {
  /** From the first answer of the new holder to the last one of the old holder after it; 0 when there is none. */
  readonly dualMs: number
  /** Answers of an old holder after the first one of a newer holder. */
  readonly replies: number
  /** How often the answering MAC changed for good, there and back counted as two. */
  readonly changes: number
}

/** Whoever answers alone this many times in a row is a holder; less is an interloper. 200 ms at a probe every 5 ms. */
const tenureReplies = 40

/**
 * Whether two MACs answered for the VIP at the same time. Strict: once a new MAC has answered, any later answer of the
 * old one counts, and so does everything in between, however long the silence. The one exception is a clean hand-back:
 * the old MAC returns, answers alone from then on for a whole tenure, after a whole tenure of the other.
 */
export function dualHolder(arp: readonly ArpSample[]): DualHolder {
  const runs = runsOf(arp.toSorted((a, b) => a.atMs - b.atMs))
  let dualMs = 0
  let replies = 0
  let changes = 0
  for (const piece of splitAtHandBacks(runs)) {
    const found = overlapOf(piece)
    dualMs = Math.max(dualMs, found.dualMs)
    replies += found.replies
  }
  let holder: string | undefined
  for (const run of runs) {
    if (run.samples.length < tenureReplies && holder !== undefined) continue
    if (holder !== undefined && holder !== run.mac) changes++
    holder = run.mac
  }
  return { dualMs, replies, changes }
}

interface Run {
  readonly mac: string
  readonly samples: ArpSample[]
}

function runsOf(arp: readonly ArpSample[]): Run[] {
  const runs: Run[] = []
  for (const sample of arp) {
    const last = runs.at(-1)
    if (last?.mac === sample.mac) last.samples.push(sample)
    else runs.push({ mac: sample.mac, samples: [sample] })
  }
  return runs
}

/** Cuts before a whole tenure of a MAC that was there before, when a whole tenure of another one precedes it. */
function splitAtHandBacks(runs: readonly Run[]): Run[][] {
  const pieces: Run[][] = []
  let piece: Run[] = []
  for (const run of runs) {
    const before = piece.at(-1)
    const clean = before !== undefined && before.samples.length >= tenureReplies && run.samples.length >= tenureReplies
    if (clean && piece.some((earlier) => earlier.mac === run.mac)) {
      pieces.push(piece)
      // The holder that hands back is the old one of the next piece: a late answer of it must not go unseen.
      piece = [before]
    }
    piece.push(run)
  }
  if (piece.length > 0) pieces.push(piece)
  return pieces
}

function overlapOf(piece: readonly Run[]): { dualMs: number; replies: number } {
  const firstAt = new Map<string, number>()
  let dualMs = 0
  let replies = 0
  for (const run of piece) {
    for (const sample of run.samples) {
      const own = firstAt.get(sample.mac)
      if (own === undefined) firstAt.set(sample.mac, sample.atMs)
      // Newer holders are those that first answered after this one did.
      let newer: number | undefined
      for (const [mac, at] of firstAt) {
        if (mac !== sample.mac && at >= (own ?? sample.atMs) && (newer === undefined || at < newer)) newer = at
      }
      if (own === undefined || newer === undefined) continue
      replies++
      // Two answers within the clock's grain are two answers all the same.
      dualMs = Math.max(dualMs, sample.atMs - newer, 0.001)
    }
  }
  return { dualMs, replies }
}

/**
 * HTTP answers of a node that had been replaced: sent after another node had answered, answered by one that had answered
 * before it. Clean hand-backs are told apart as for ARP, by 20 answers in a row (200 ms at a request every 10 ms).
 */
export function dualHttpAnswers(http: readonly HttpSample[]): number {
  const named = http.filter((sample) => sample.ok && sample.node !== '').toSorted((a, b) => a.sentMs - b.sentMs)
  const asArp: ArpSample[] = named.flatMap((sample) => {
    const twice: ArpSample = { atMs: sample.sentMs, mac: sample.node, kind: 'reply' }
    // Counted twice, so that one threshold serves both rates.
    return [twice, twice]
  })
  return dualHolder(asArp).replies / 2
}

/** Requests sent from `fromMs` on that failed. */
export function failedRequests(http: readonly HttpSample[], fromMs: number): number {
  return http.filter((sample) => !sample.ok && sample.sentMs >= fromMs).length
}

/** Instant of the first claim of the VIP by `mac` after `afterMs`, or undefined. */
export function firstClaim(arp: readonly ArpSample[], mac: string, afterMs: number): number | undefined {
  let first: number | undefined
  for (const sample of arp) {
    if (sample.mac === mac && sample.atMs > afterMs && (first === undefined || sample.atMs < first)) first = sample.atMs
  }
  return first
}

/** Instant of the last claim of the VIP by `mac` before the first one by `other` after `afterMs`. */
export function lastClaimBefore(arp: readonly ArpSample[], mac: string, other: string, afterMs: number): number | undefined {
  const end = firstClaim(arp, other, afterMs) ?? Infinity
  let last: number | undefined
  for (const sample of arp) {
    if (sample.mac === mac && sample.atMs < end && (last === undefined || sample.atMs > last)) last = sample.atMs
  }
  return last
}

export interface Summary {
  readonly n: number
  readonly min: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Nearest-rank percentiles (every figure is one that was measured). Undefined for no values. */
export function summarise(values: readonly number[]): Summary | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = (p: number): number => sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)]!
  if (sorted.length === 0) return undefined
  return { n: sorted.length, min: sorted[0]!, p50: rank(50), p99: rank(99), max: sorted.at(-1)! }
}

/** One observation of a proxy while a change is on its way: what it answered. */
export interface Observation {
  readonly sentMs: number
  readonly doneMs: number
  readonly answer: string
}

/**
 * When a change was in force on a proxy for good: the completion of the first new answer after the last request that
 * still got another one. Several workers take turns, so one new answer proves nothing. Undefined when the last answers
 * are not new ones.
 */
export function inForceAt(observations: readonly Observation[], wanted: string): number | undefined {
  const sorted = observations.toSorted((a, b) => a.sentMs - b.sentMs)
  let at: number | undefined
  for (const observation of sorted) {
    if (observation.answer !== wanted) at = undefined
    else at ??= observation.doneMs
  }
  return at
}

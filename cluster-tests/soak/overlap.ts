/**
 * Whether two nodes answered for the VIP at the same time, under faults that strike faster than a tenure lasts. The drills know one
 * fault at a time and call every return of an old holder within 200 ms an overlap; here the new holder may itself be killed
 * just after it began, and the old one rightly be back. What tells the two apart is silence: a node that takes over after
 * a fault does so after a time in which nobody answered; and where a hand-over was planned, that their answers do not alternate. Pure.
 */
import { dualHolder, dualHttpAnswers, type ArpSample, type DualHolder, type HttpSample } from '../drills/analysis.ts'

/** Ten questions without any answer; a stale holder beside a living one leaves no such gap, for that one answers every question. */
export const silenceMs = 50

/**
 * So many answers in a row of one node, none of another between them, are a tenure of its own: of two that both answer, each answers
 * every question, so that their answers alternate. Two planned hand-overs can follow each other without a silence.
 */
export const tenureAnswers = 10

function pieces<T>(samples: readonly T[], at: (sample: T) => number, who: (sample: T) => string): T[][] {
  const runs: T[][] = []
  for (const sample of samples.toSorted((a, b) => at(a) - at(b))) {
    const before = runs.at(-1)?.at(-1)
    if (before !== undefined && who(before) === who(sample) && at(sample) - at(before) < silenceMs) runs.at(-1)!.push(sample)
    else runs.push([sample])
  }
  const found: T[][] = []
  let last: T[] = []
  for (const run of runs) {
    const silent = last.length === 0 || at(run[0]!) - at(last.at(-1)!) >= silenceMs
    const handedOver = last.length >= tenureAnswers && run.length >= tenureAnswers
    if (silent || handedOver) found.push([])
    found.at(-1)!.push(...run)
    last = run
  }
  return found
}

/**
 * As `dualHolder`, for each time of unbroken answers by itself: the longest overlap, and all late answers. 0 is exact; a single late
 * answer after a silence may count for longer than it lasted.
 */
export function overlapOfClaims(arp: readonly ArpSample[]): Pick<DualHolder, 'dualMs' | 'replies'> {
  const found = pieces(arp, (sample) => sample.atMs, (sample) => sample.mac).map(dualHolder)
  return {
    dualMs: Math.max(0, ...found.map(({ dualMs }) => dualMs)),
    replies: found.reduce((sum, { replies }) => sum + replies, 0),
  }
}

/** As `dualHttpAnswers`, likewise: HTTP answers of a node that had been replaced. */
export function overlapOfAnswers(http: readonly HttpSample[]): number {
  const answered = http.filter((sample) => sample.ok && sample.node !== '')
  return pieces(answered, (sample) => sample.sentMs, (sample) => sample.node).reduce((sum, piece) => sum + dualHttpAnswers(piece), 0)
}

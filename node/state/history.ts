/**
 * The documents of all revisions in little memory. A change touches a few bytes of a document that may have megabytes, so
 * each revision is kept as what it replaces in the text before; every so often a whole text starts a new group. The oldest
 * groups go when there are too many revisions or bytes. Texts are ASCII (see config/canonical.ts): a character is a byte.
 */

/** One revision's text out of the text before: `keepStart` characters, `insert`, the last `keepEnd` characters. */
export interface Splice {
  readonly keepStart: number
  readonly keepEnd: number
  readonly insert: string
}

/** `base` is the text of revision `first`; `splices[i]` makes that of revision `first + i + 1`. */
export interface RevisionGroup {
  readonly first: number
  readonly base: string
  readonly splices: readonly Splice[]
}

export interface HistoryLimits {
  /** Revisions kept; the newest group is kept always, and groups go as a whole. */
  readonly revisions: number
  readonly bytes: number
  readonly groupSize: number
}
export const historyLimits: HistoryLimits = { revisions: 10_000, bytes: 256 * 1024 * 1024, groupSize: 64 }

interface Group {
  readonly first: number
  readonly base: string
  readonly splices: Splice[]
  bytes: number
}

/** Cost of keeping a splice beside its text, so that empty ones count too. */
const spliceOverheadBytes = 32

export class DocumentHistory {
  readonly #limits: HistoryLimits
  #groups: Group[] = []
  #bytes = 0
  #newest = 0
  #newestText = ''

  constructor(limits: HistoryLimits = historyLimits) {
    this.#limits = limits
  }

  /** 0 when there is none. */
  get newest(): number {
    return this.#newest
  }

  /** Oldest revision kept; 0 when there is none. */
  get oldest(): number {
    return this.#groups[0]?.first ?? 0
  }

  get newestText(): string {
    return this.#newestText
  }

  /** Stored bytes, roughly. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds the text of revision `newest + 1`. */
  add(text: string): void {
    const group = this.#groups.at(-1)
    const room = group !== undefined && group.splices.length + 1 < this.#limits.groupSize
    const splice = room ? spliceBetween(this.#newestText, text) : undefined
    this.#newest++
    this.#newestText = text
    // A rewrite of most of the text is cheaper to read as the start of a group, and lets older ones go.
    if (group === undefined || splice === undefined || splice.insert.length > text.length / 2) {
      this.#push({ first: this.#newest, base: text, splices: [], bytes: text.length })
    } else this.#append(group, splice)
    this.#trim()
  }

  #push(group: Group): void {
    this.#groups.push(group)
    this.#bytes += group.bytes
  }

  #append(group: Group, splice: Splice): void {
    group.splices.push(splice)
    group.bytes += splice.insert.length + spliceOverheadBytes
    this.#bytes += splice.insert.length + spliceOverheadBytes
  }

  #trim(): void {
    const { bytes, revisions } = this.#limits
    while (this.#groups.length > 1 && (this.#bytes > bytes || this.#newest - this.oldest + 1 > revisions)) {
      this.#bytes -= this.#groups.shift()!.bytes
    }
  }

  /** Text of a revision; undefined when it does not exist or is not kept any more. */
  text(revision: number): string | undefined {
    if (revision === this.#newest && revision > 0) return this.#newestText
    const kept = Number.isInteger(revision) && revision >= this.oldest && revision <= this.#newest
    if (!kept || this.#groups.length === 0) return undefined
    let low = 0
    let high = this.#groups.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#groups[middle]!.first <= revision) low = middle
      else high = middle - 1
    }
    const group = this.#groups[low]!
    let text = group.base
    for (const splice of group.splices.slice(0, revision - group.first)) text = applySplice(text, splice)
    return text
  }

  /** What is stored, for a snapshot; does not change when revisions are added later. */
  groups(): RevisionGroup[] {
    return this.#groups.map(({ first, base, splices }) => ({ first, base, splices: [...splices] }))
  }

  /** The inverse of `groups`. Throws a `RangeError` when they do not fit together. */
  static from(groups: readonly RevisionGroup[], limits: HistoryLimits = historyLimits): DocumentHistory {
    const history = new DocumentHistory(limits)
    for (const { first, base, splices } of groups) {
      if (history.#groups.length > 0 && first !== history.#newest + 1) {
        throw new RangeError(`revision ${first} follows ${history.#newest}`)
      }
      const group: Group = { first, base, splices: [], bytes: base.length }
      history.#push(group)
      history.#newest = first
      history.#newestText = base
      for (const splice of splices) {
        if (splice.keepStart + splice.keepEnd > history.#newestText.length) throw new RangeError('a splice does not fit')
        history.#append(group, splice)
        history.#newest++
        history.#newestText = applySplice(history.#newestText, splice)
      }
    }
    return history
  }
}

function spliceBetween(before: string, after: string): Splice {
  const limit = Math.min(before.length, after.length)
  let keepStart = 0
  while (keepStart < limit && before.charCodeAt(keepStart) === after.charCodeAt(keepStart)) keepStart++
  let keepEnd = 0
  const fromEnd = (text: string): number => text.charCodeAt(text.length - 1 - keepEnd)
  while (keepEnd < limit - keepStart && fromEnd(before) === fromEnd(after)) keepEnd++
  // A slice would keep the whole text alive; this copies.
  return { keepStart, keepEnd, insert: copied(after.slice(keepStart, after.length - keepEnd)) }
}

function applySplice(text: string, { keepStart, keepEnd, insert }: Splice): string {
  return text.slice(0, keepStart) + insert + text.slice(text.length - keepEnd)
}

function copied(text: string): string {
  return new TextDecoder().decode(new TextEncoder().encode(text))
}

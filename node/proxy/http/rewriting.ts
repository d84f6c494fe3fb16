/** The target of a request as a route changes it: another prefix, or what a regular expression finds replaced. */
import type { Matcher } from '../route/matcher.ts'
import type { RewritePlan } from '../route/plan.ts'
import type { Regex } from '../route/regex.ts'
import { regexOf } from '../route/rules.ts'
import { ascii } from './bytes.ts'
import { maxTargetBytes, type Head } from './head.ts'

const slash = 0x2f

/** A piece of a replacement: text, or the number of a group. */
type Piece = Uint8Array | number

/** What a route makes of targets. One at a time: `target` is valid until the next. */
export class Rewriting {
  readonly #prefix: Uint8Array | undefined
  readonly #regex: Regex | undefined
  readonly #pieces: readonly Piece[]
  readonly #groups: Int32Array
  #out: Buffer = Buffer.alloc(0)

  constructor(plan: RewritePlan) {
    this.#prefix = plan.prefix === undefined ? undefined : ascii(plan.prefix)
    this.#regex = plan.regex === '' ? undefined : regexOf(plan.regex)
    this.#pieces = piecesOf(plan.replacement)
    this.#groups = new Int32Array(2 * ((this.#regex?.groups ?? 0) + 1))
  }

  /**
   * The new target of a request that `matcher` has just matched.
   * @returns undefined: it stays as it came; null: it would be longer than a target may be
   */
  target(head: Head, buffer: Buffer, matcher: Matcher): Buffer | undefined | null {
    const { path, pathStart, pathEnd, queryStart } = matcher
    // `OPTIONS *` is about the server: it has no path.
    if (path[pathStart] !== slash) return undefined
    // What the request has, and what the replacement may add: each of its pieces at most once as long as the path.
    const room = 2 * maxTargetBytes
    if (this.#out.length === 0) this.#out = Buffer.allocUnsafeSlow(room)
    const out = this.#out
    let at = 0
    const put = (bytes: Uint8Array, start: number, end: number): void => {
      const length = Math.min(end - start, room - at)
      for (let i = 0; i < length; i++) out[at + i] = bytes[start + i]!
      at += length
    }
    if (this.#prefix !== undefined) {
      put(this.#prefix, 0, this.#prefix.length)
      put(path, pathStart + matcher.prefixLength, pathEnd)
    } else if (this.#regex !== undefined) {
      const groups = this.#groups
      groups.fill(-1)
      if (!this.#regex.exec(path, pathStart, pathEnd, groups)) return matcher.pathChanged ? this.#whole(head, buffer, matcher) : undefined
      put(path, pathStart, groups[0]!)
      for (const piece of this.#pieces) {
        if (typeof piece !== 'number') put(piece, 0, piece.length)
        else if (groups[2 * piece]! >= 0) put(path, groups[2 * piece]!, groups[2 * piece + 1]!)
      }
      put(path, groups[1]!, pathEnd)
    } else return matcher.pathChanged ? this.#whole(head, buffer, matcher) : undefined
    if (at === 0 || out[0] !== slash) {
      out.copyWithin(1, 0, Math.min(at, room - 1))
      out[0] = slash
      at++
    }
    put(buffer, queryStart, head.targetEnd)
    return at > maxTargetBytes ? null : out.subarray(0, at)
  }

  #whole(head: Head, buffer: Buffer, matcher: Matcher): Buffer {
    return normalTarget(head, buffer, matcher)
  }
}

/** The target with its path in normal form. */
export function normalTarget(head: Head, buffer: Buffer, matcher: Matcher): Buffer {
  return Buffer.concat([matcher.path.subarray(matcher.pathStart, matcher.pathEnd), buffer.subarray(matcher.queryStart, head.targetEnd)])
}

function piecesOf(replacement: string): Piece[] {
  return replacement.split(/(\$[0-9$])/).filter((text) => text !== '').map((text) => (/^\$[0-9]$/.test(text) ? Number(text[1]) : ascii(text === '$$' ? '$' : text)))
}

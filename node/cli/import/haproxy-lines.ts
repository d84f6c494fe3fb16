/** The text of a haproxy.cfg as sections of lines of words (HAProxy's configuration manual §2.2: quotes, escapes, comments). Pure. */
import type { Source } from './draft.ts'

export interface Line extends Source {
  readonly words: readonly string[]
}

export interface Section {
  readonly kind: string
  readonly name: string
  /** Words after the name: `from NAME`. */
  readonly rest: readonly string[]
  readonly head: Line
  readonly lines: readonly Line[]
}

const sectionKinds = new Set([
  'global', 'defaults', 'frontend', 'backend', 'listen', 'resolvers', 'peers', 'userlist', 'mailers', 'program', 'cache', 'ring', 'http-errors', 'log-forward', 'fcgi-app', 'crt-store',
])

/** Behind a backslash these stand for other characters; `\xHH` does, too. */
const escapes: Readonly<Record<string, string>> = { r: '\r', n: '\n', t: '\t' }

function wordsOf(text: string): string[] {
  const words: string[] = []
  let word = ''
  let any = false
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if (quote === "'") {
      if (char === quote) quote = ''
      else word += char
    } else if (char === '\\' && i + 1 < text.length) {
      // In front of what would mean something to the reader of the file the backslash goes; anywhere else it is a part of the word.
      const next = text[++i]!
      any = true
      const hex = next === 'x' ? /^[0-9a-f]{2}/i.exec(text.slice(i + 1, i + 3)) : null
      if (hex !== null) {
        word += String.fromCharCode(Number.parseInt(hex[0], 16))
        i += 2
      } else word += escapes[next] ?? (/[\s"'#\\]/.test(next) || (next === '$' && quote !== '') ? next : `\\${next}`)
    } else if (quote !== '') {
      if (char === quote) quote = ''
      else word += char
    } else if (char === '"' || char === "'") {
      quote = char
      any = true
    } else if (char === '#') break
    else if (/\s/.test(char)) {
      if (any) words.push(word)
      word = ''
      any = false
    } else {
      word += char
      any = true
    }
  }
  if (any) words.push(word)
  return words
}

export function readSections(text: string): Section[] {
  const sections: { kind: string; name: string; rest: string[]; head: Line; lines: Line[] }[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const words = wordsOf(raw)
    if (words.length === 0) continue
    const line: Line = { line: index + 1, text: raw, words }
    const [kind = '', name = '', ...rest] = words
    if (sectionKinds.has(kind)) sections.push({ kind, name, rest, head: line, lines: [] })
    else if (sections.length === 0) sections.push({ kind: '', name: '', rest: [], head: line, lines: [line] })
    else sections.at(-1)!.lines.push(line)
  }
  return sections
}

/** Milliseconds of a time of HAProxy: a number of milliseconds, or with a unit; undefined: not one. */
export function timeMs(text: string | undefined): number | undefined {
  const match = /^(\d+)(us|ms|s|m|h|d)?$/.exec(text ?? '')
  if (match === null) return undefined
  const unit = { us: 0.001, ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 24 * 3600_000 }[match[2] as 'ms' | undefined ?? 'ms']
  return Number(match[1]) * unit
}

/** A number with `k`, `m` or `g`, as sizes of tables are written. */
export function sizeOf(text: string | undefined): number | undefined {
  const match = /^(\d+)([kmg])?$/i.exec(text ?? '')
  if (match === null) return undefined
  return Number(match[1]) * { k: 1024, m: 1024 ** 2, g: 1024 ** 3 }[(match[2] ?? '').toLowerCase() as 'k'] || Number(match[1])
}

/** The word behind a keyword. */
export function valueAfter(words: readonly string[], keyword: string): string | undefined {
  const at = words.indexOf(keyword)
  return at < 0 ? undefined : words[at + 1]
}

/** Splits words at `if` or `unless`. */
export function conditional(words: readonly string[]): { readonly action: readonly string[]; readonly condition: readonly string[] } {
  const at = words.findIndex((word) => word === 'if' || word === 'unless')
  return at < 0 ? { action: words, condition: [] } : { action: words.slice(0, at), condition: words.slice(at) }
}

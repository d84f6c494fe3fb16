/** The text of an nginx.conf as a tree of directives. Pure. */
import type { Source } from './draft.ts'

export interface Directive extends Source {
  readonly name: string
  readonly args: readonly string[]
  /** undefined: it ends with a semicolon. */
  readonly block: readonly Directive[] | undefined
}

interface Token {
  readonly text: string
  readonly line: number
  /** It was quoted: never a brace or semicolon. */
  readonly quoted: boolean
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  let line = 1
  let word = ''
  let any = false
  let wordLine = 1
  const end = (): void => {
    if (any) tokens.push({ text: word, line: wordLine, quoted: false })
    word = ''
    any = false
  }
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if (char === '\n') {
      end()
      line++
    } else if (/\s/.test(char)) end()
    else if (char === '#' && !any) while (i + 1 < text.length && text[i + 1] !== '\n') i++
    else if ((char === '"' || char === "'") && !any) {
      const from = line
      let value = ''
      for (i++; i < text.length && text[i] !== char; i++) {
        if (text[i] === '\n') line++
        if (text[i] === '\\' && (text[i + 1] === char || text[i + 1] === '\\')) i++
        else if (text[i] === '\\' && /[trn]/.test(text[i + 1] ?? '')) {
          value += { t: '\t', r: '\r', n: '\n' }[text[++i]!]
          continue
        }
        value += text[i]
      }
      tokens.push({ text: value, line: from, quoted: true })
    } else if (char === '\\' && i + 1 < text.length && text[i + 1] !== '\n') {
      // What is behind a backslash is a part of the word; before a quote or another backslash it goes.
      const next = text[++i]!
      if (!any) wordLine = line
      word += /["'\\]/.test(next) ? next : `\\${next}`
      any = true
    } else if (char === '{' && word.endsWith('$')) {
      const end = text.indexOf('}', i)
      const stop = end < 0 || end - i > 100 ? i : end
      word += text.slice(i, stop + 1)
      i = stop
    } else if (char === ';' || char === '}' || char === '{') {
      // Braces of a regular expression belong to it: `\d{2}` follows a word, and no space.
      if (char === '{' && any && /[\])}\w.*+\\]$/.test(word) && /^\{\d+(,\d*)?\}/.test(text.slice(i))) {
        word += char
        continue
      }
      if (char === '}' && any && /\{\d+(,\d*)?$/.test(word)) {
        word += char
        continue
      }
      const lua = char === '{' && (word || tokens.at(-1)?.text || '').endsWith('_by_lua_block')
      end()
      tokens.push({ text: char, line, quoted: false })
      // Another language: nothing is read up to its closing brace.
      if (lua) {
        for (let depth = 1; i + 1 < text.length; i++) {
          const next = text[i + 1]!
          depth += next === '{' ? 1 : next === '}' ? -1 : 0
          if (depth === 0) break
          if (next === '\n') line++
        }
      }
    } else {
      if (!any) wordLine = line
      word += char
      any = true
    }
  }
  end()
  return tokens
}

/** Deepest nesting that is followed; a file of nothing but braces must not exhaust the stack. */
const maxDepth = 50

/** @returns the directives, or in words what is wrong with the file */
export function readDirectives(text: string): Directive[] | string {
  const tokens = tokensOf(text)
  const lines = text.split(/\r?\n/)
  let at = 0
  const block = (depth: number): Directive[] | string => {
    const directives: Directive[] = []
    if (depth > maxDepth) return 'blocks are nested too deeply'
    while (at < tokens.length) {
      const first = tokens[at]!
      if (first.text === '}' && !first.quoted) return directives
      const words: Token[] = []
      while (at < tokens.length && (tokens[at]!.quoted || !['{', '}', ';'].includes(tokens[at]!.text))) words.push(tokens[at++]!)
      const stop = tokens[at]
      if (stop === undefined || stop.text === '}') return `line ${first.line}: the directive ${first.text} has no end`
      at++
      const [name, ...args] = words
      if (name === undefined) continue
      let inner: Directive[] | undefined
      if (stop.text === '{') {
        const result = block(depth + 1)
        if (typeof result === 'string') return result
        if (tokens[at]?.text !== '}') return `line ${name.line}: the block ${name.text} has no end`
        at++
        inner = result
      }
      directives.push({ name: name.text, args: args.map((token) => token.text), block: inner, line: name.line, text: lines[name.line - 1] ?? '' })
    }
    return directives
  }
  const result = block(0)
  if (typeof result === 'string') return result
  return at < tokens.length ? `line ${tokens[at]!.line}: a brace too many` : result
}

/** Milliseconds of a time of nginx: `30s`, `1m30s`, `10` (seconds). */
export function nginxMs(text: string | undefined): number | undefined {
  if (/^\d+$/.test(text ?? '')) return Number(text) * 1000
  let total = 0
  const rest = (text ?? '').replace(/(\d+)(ms|[smhdw])/g, (_, number: string, unit: 'ms') => {
    total += Number(number) * { ms: 1, s: 1000, m: 60_000, h: 3600_000, d: 86_400_000, w: 604_800_000 }[unit]
    return ''
  })
  return text === undefined || text === '' || rest !== '' ? undefined : total
}

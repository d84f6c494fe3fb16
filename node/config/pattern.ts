/**
 * The regular expressions of the document: their syntax, and the program that they are compiled to. A subset of what PCRE and
 * ECMAScript have in common, without back-references and look-around, so that every pattern can be matched in time linear in
 * the input (`../proxy/route/regex.ts` does). Patterns are ASCII and are matched against bytes. Pure.
 *
 * Syntax: literals; `.`; `[a-z]`, `[^…]`; `\d \w \s` and their complements; `\t \n \r \f \v \xHH`; a `\` before punctuation; `^`
 * and `$` (begin and end of the whole input); `( )`, `(?: )`; `|`; `? * + {m} {m,} {m,n}`, lazy with a `?` behind; `(?i)` in front.
 */

/** Instructions of a program, as in Thompson, “Regular Expression Search Algorithm” (1968), and Cox, “Regular Expression Matching: the Virtual Machine Approach”. */
export const Op = {
  /** A byte of class set `x`, then the next instruction. */
  set: 0,
  /** `x`, else `y`: the first is preferred. */
  split: 1,
  jump: 2,
  /** The position goes into slot `x`. */
  save: 3,
  begin: 4,
  end: 5,
  match: 6,
} as const

export interface Pattern {
  readonly ops: Uint8Array
  readonly x: Uint16Array
  readonly y: Uint16Array
  /** Byte → class: bytes that the pattern never tells apart are one class. */
  readonly classes: Uint8Array
  readonly classCount: number
  /** Per set: 1 for each class that is in it. */
  readonly sets: readonly Uint8Array[]
  /** Groups that capture, without the whole. */
  readonly groups: number
}
export type PatternResult =
  | { readonly ok: true; readonly pattern: Pattern }
  /** `error` completes a sentence about the field: `has an unclosed "(" at character 3`. */
  | { readonly ok: false; readonly error: string }

/** Instructions of one program: bounds the memory, and the time per byte of input. */
export const maxPatternSize = 1000
const maxDepth = 50
const maxRepeat = 1000
export const maxPatternGroups = 9

type Node =
  | { readonly kind: 'empty' | 'begin' | 'end' }
  | { readonly kind: 'set'; readonly set: number }
  | { readonly kind: 'cat' | 'alt'; readonly list: readonly Node[] }
  | { readonly kind: 'repeat'; readonly node: Node; readonly min: number; readonly max: number; readonly lazy: boolean }
  | { readonly kind: 'group'; readonly node: Node; readonly index: number }

class Fault {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

/** Compiles a pattern. `ignoreCase`: as if it began with `(?i)`. */
export function compilePattern(text: string, ignoreCase = false): PatternResult {
  try {
    const parser = new Parser(text, ignoreCase)
    const node = parser.parse()
    const size = sizeOf(node) + 3
    if (size > maxPatternSize) return { ok: false, error: `is too large: it takes ${size > 1e6 ? 'more than a million' : size} steps, ${maxPatternSize} are allowed` }
    return { ok: true, pattern: new Emitter(parser.sets, parser.groups).program(node) }
  } catch (fault) {
    if (fault instanceof Fault) return { ok: false, error: fault.message }
    throw fault
  }
}

class Parser {
  readonly #text: string
  #at = 0
  #depth = 0
  #ignoreCase: boolean
  groups = 0
  /** Distinct sets of bytes, 256 flags each. */
  readonly sets: Uint8Array[] = []
  readonly #setByKey = new Map<string, number>()

  constructor(text: string, ignoreCase: boolean) {
    this.#text = text
    this.#ignoreCase = ignoreCase
    if (text.startsWith('(?i)')) {
      this.#ignoreCase = true
      this.#at = 4
    }
  }

  parse(): Node {
    const node = this.#alternatives()
    if (this.#at < this.#text.length) throw new Fault(`has a ")" without "(" at character ${this.#at + 1}`)
    return node
  }

  #alternatives(): Node {
    if (++this.#depth > maxDepth) throw new Fault(`is nested more than ${maxDepth} levels deep`)
    const list = [this.#sequence()]
    while (this.#text[this.#at] === '|') {
      this.#at++
      list.push(this.#sequence())
    }
    this.#depth--
    return list.length === 1 ? list[0]! : { kind: 'alt', list }
  }

  #sequence(): Node {
    const list: Node[] = []
    for (;;) {
      const char = this.#text[this.#at]
      if (char === undefined || char === '|' || char === ')') break
      list.push(this.#quantified())
    }
    return list.length === 0 ? { kind: 'empty' } : list.length === 1 ? list[0]! : { kind: 'cat', list }
  }

  #quantified(): Node {
    const from = this.#at
    const node = this.#atom()
    const range = this.#range()
    if (range === undefined) return node
    if (this.#text[from] === '^' || this.#text[from] === '$') throw new Fault(`repeats an anchor at character ${from + 1}`)
    const [min, max] = range
    if (max >= 0 && min > max) throw new Fault(`has a repetition from ${min} to ${max} at character ${from + 1}`)
    if (min > maxRepeat || max > maxRepeat) throw new Fault(`repeats more than ${maxRepeat} times at character ${from + 1}`)
    const lazy = this.#text[this.#at] === '?'
    if (lazy) this.#at++
    const next = this.#text[this.#at]
    if (next === '*' || next === '+' || next === '?' || this.#isRange()) throw new Fault(`has nothing to repeat at character ${this.#at + 1}`)
    return { kind: 'repeat', node, min, max, lazy }
  }

  #isRange(): boolean {
    return /^\{[0-9]+(,[0-9]*)?\}/.test(this.#text.slice(this.#at, this.#at + 16))
  }

  /** Least and greatest number (-1: no bound), behind which the position is then. */
  #range(): readonly [number, number] | undefined {
    const char = this.#text[this.#at]
    if (char === '?' || char === '*' || char === '+') {
      this.#at++
      return char === '?' ? [0, 1] : [char === '*' ? 0 : 1, -1]
    }
    if (char !== '{') return undefined
    const found = /^\{([0-9]{1,5})(,([0-9]{0,5}))?\}/.exec(this.#text.slice(this.#at, this.#at + 16))
    if (found === null) throw new Fault(`has a "{" at character ${this.#at + 1} that begins no repetition; write "\\{" for the character`)
    this.#at += found[0].length
    const min = Number(found[1])
    return [min, found[2] === undefined ? min : found[3] === '' ? -1 : Number(found[3])]
  }

  #atom(): Node {
    const at = this.#at
    const char = this.#text[this.#at++]!
    switch (char) {
      case '(': {
        let index = 0
        if (this.#text[this.#at] === '?') {
          if (this.#text[this.#at + 1] !== ':') throw new Fault(`has a "(?" at character ${at + 1}: only "(?:" is known (and "(?i)" in front), no look-around and no named groups`)
          this.#at += 2
        } else {
          index = ++this.groups
          if (index > maxPatternGroups) throw new Fault(`has more than ${maxPatternGroups} groups; "(?:" does not count`)
        }
        const node = this.#alternatives()
        if (this.#text[this.#at] !== ')') throw new Fault(`has an unclosed "(" at character ${at + 1}`)
        this.#at++
        return index === 0 ? node : { kind: 'group', node, index }
      }
      case '^':
        return { kind: 'begin' }
      case '$':
        return { kind: 'end' }
      case '.':
        return this.#set(new Uint8Array(256).fill(1))
      case '[':
        return this.#bracket(at)
      case '\\': {
        const set = new Uint8Array(256)
        this.#escape(set)
        return this.#set(set)
      }
      case '*':
      case '+':
      case '?':
        throw new Fault(`has nothing to repeat at character ${at + 1}`)
      case '{':
        throw new Fault(`has a "{" at character ${at + 1} that repeats nothing; write "\\{" for the character`)
      default: {
        const set = new Uint8Array(256)
        set[this.#byte(char, at)] = 1
        return this.#set(set)
      }
    }
  }

  #byte(char: string, at: number): number {
    const code = char.charCodeAt(0)
    if (code > 0x7e) throw new Fault(`has a character that is not ASCII at character ${at + 1}; bytes are written "\\xHH"`)
    return code
  }

  /** Adds what is behind a `\`. @returns its byte, or -1 for a class */
  #escape(set: Uint8Array): number {
    const at = this.#at - 1
    const char = this.#text[this.#at++]
    if (char === undefined) throw new Fault('ends with a "\\"')
    const named = namedSets[char.toLowerCase()]
    if (named !== undefined) {
      const inside = char === char.toLowerCase() ? 1 : 0
      for (let byte = 0; byte < 256; byte++) if (named[byte] === inside) set[byte] = 1
      return -1
    }
    let byte = controls[char]
    if (char === 'x') {
      const hex = this.#text.slice(this.#at, this.#at + 2)
      if (!/^[0-9A-Fa-f]{2}$/.test(hex)) throw new Fault(`has a "\\x" without two hexadecimal digits at character ${at + 1}`)
      this.#at += 2
      byte = Number.parseInt(hex, 16)
    } else if (byte === undefined) {
      if (/[A-Za-z0-9]/.test(char)) {
        throw new Fault(`has "\\${char}" at character ${at + 1}, which is not known${/[1-9]/.test(char) ? ': there are no back-references' : char === 'b' || char === 'B' ? ': there are no word boundaries' : ''}`)
      }
      byte = this.#byte(char, at)
    }
    set[byte] = 1
    return byte
  }

  #bracket(start: number): Node {
    const set = new Uint8Array(256)
    const inverted = this.#text[this.#at] === '^'
    if (inverted) this.#at++
    let first = true
    for (;;) {
      const char = this.#text[this.#at]
      if (char === undefined) throw new Fault(`has an unclosed "[" at character ${start + 1}`)
      if (char === ']') {
        if (first) throw new Fault(`has an empty "[]" at character ${start + 1}; write "\\]" for the character`)
        this.#at++
        break
      }
      first = false
      const from = this.#bracketByte(set)
      const to = this.#text[this.#at + 1]
      if (this.#text[this.#at] === '-' && to !== undefined && to !== ']') {
        const at = this.#at
        this.#at++
        const last = this.#bracketByte(set)
        if (from < 0 || last < 0 || from > last) throw new Fault(`has a range at character ${at} that leads nowhere`)
        for (let byte = from; byte <= last; byte++) set[byte] = 1
      }
    }
    // The case is folded first: [^a] with (?i) has neither a nor A.
    if (this.#ignoreCase) foldCase(set)
    if (inverted) for (let byte = 0; byte < 256; byte++) set[byte] = 1 - set[byte]!
    return this.#set(set)
  }

  #bracketByte(set: Uint8Array): number {
    const at = this.#at
    const char = this.#text[this.#at++]!
    if (char === '\\') return this.#escape(set)
    if (char === '[' && /^[:.=]/.test(this.#text.slice(this.#at, this.#at + 1))) throw new Fault(`has a POSIX class at character ${at + 1}; write for example "a-z" or "\\d"`)
    const byte = this.#byte(char, at)
    set[byte] = 1
    return byte
  }

  #set(set: Uint8Array): Node {
    if (this.#ignoreCase) foldCase(set)
    const key = String.fromCharCode(...set)
    let index = this.#setByKey.get(key)
    if (index === undefined) {
      index = this.sets.length
      this.sets.push(set)
      this.#setByKey.set(key, index)
    }
    return { kind: 'set', set: index }
  }
}

function bytesOf(test: (char: string) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (test(String.fromCharCode(byte)) ? 1 : 0))
}

const namedSets: Readonly<Record<string, Uint8Array>> = {
  d: bytesOf((char) => /[0-9]/.test(char)),
  w: bytesOf((char) => /[A-Za-z0-9_]/.test(char)),
  s: bytesOf((char) => /[ \t\n\r\f\v]/.test(char)),
}
const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 }

function foldCase(set: Uint8Array): void {
  for (let upper = 0x41; upper <= 0x5a; upper++) if (set[upper] === 1 || set[upper | 0x20] === 1) set[upper] = set[upper | 0x20] = 1
}

/** Instructions that a node takes. A number: what is too large is counted, not built. */
function sizeOf(node: Node): number {
  switch (node.kind) {
    case 'empty':
      return 0
    case 'cat':
      return node.list.reduce((sum, child) => sum + sizeOf(child), 0)
    case 'alt':
      return node.list.reduce((sum, child) => sum + sizeOf(child) + 2, 0)
    case 'group':
      return sizeOf(node.node) + 2
    case 'repeat': {
      const one = sizeOf(node.node)
      return node.max < 0 ? one * Math.max(1, node.min) + 2 : one * node.max + (node.max - node.min)
    }
    default:
      return 1
  }
}

class Emitter {
  readonly #ops: number[] = []
  readonly #x: number[] = []
  readonly #y: number[] = []
  readonly #sets: readonly Uint8Array[]
  readonly #groups: number

  constructor(sets: readonly Uint8Array[], groups: number) {
    this.#sets = sets
    this.#groups = groups
  }

  program(node: Node): Pattern {
    this.#put(Op.save, 0)
    this.#emit(node)
    this.#put(Op.save, 1)
    this.#put(Op.match)
    const classes = new Uint8Array(256)
    const classByKey = new Map<string, number>()
    const example: number[] = []
    for (let byte = 0; byte < 256; byte++) {
      const key = this.#sets.map((set) => set[byte]).join('')
      let number = classByKey.get(key)
      if (number === undefined) {
        number = classByKey.size
        classByKey.set(key, number)
        example.push(byte)
      }
      classes[byte] = number
    }
    return {
      ops: Uint8Array.from(this.#ops),
      x: Uint16Array.from(this.#x),
      y: Uint16Array.from(this.#y),
      classes,
      classCount: example.length,
      sets: this.#sets.map((set) => Uint8Array.from(example, (byte) => set[byte]!)),
      groups: this.#groups,
    }
  }

  #put(op: number, x = 0, y = 0): number {
    this.#ops.push(op)
    this.#x.push(x)
    this.#y.push(y)
    return this.#ops.length - 1
  }

  #emit(node: Node): void {
    switch (node.kind) {
      case 'empty':
        return
      case 'begin':
        this.#put(Op.begin)
        return
      case 'end':
        this.#put(Op.end)
        return
      case 'set':
        this.#put(Op.set, node.set)
        return
      case 'cat':
        for (const child of node.list) this.#emit(child)
        return
      case 'group':
        this.#put(Op.save, 2 * node.index)
        this.#emit(node.node)
        this.#put(Op.save, 2 * node.index + 1)
        return
      case 'alt': {
        const jumps: number[] = []
        for (const [index, child] of node.list.entries()) {
          if (index === node.list.length - 1) {
            this.#emit(child)
            break
          }
          const split = this.#put(Op.split, this.#ops.length + 1)
          this.#emit(child)
          jumps.push(this.#put(Op.jump))
          this.#y[split] = this.#ops.length
        }
        for (const jump of jumps) this.#x[jump] = this.#ops.length
        return
      }
      case 'repeat':
        return this.#repeat(node.node, node.min, node.max, node.lazy)
    }
  }

  #repeat(node: Node, min: number, max: number, lazy: boolean): void {
    for (let i = 0; i < min - (max < 0 ? 1 : 0); i++) this.#emit(node)
    if (max < 0) {
      if (min > 0) {
        // L: node, split L
        const start = this.#ops.length
        this.#emit(node)
        this.#choose(this.#put(Op.split), start, this.#ops.length, lazy)
        return
      }
      const split = this.#put(Op.split)
      this.#emit(node)
      this.#put(Op.jump, split)
      this.#choose(split, split + 1, this.#ops.length, lazy)
      return
    }
    const splits: number[] = []
    for (let i = min; i < max; i++) {
      splits.push(this.#put(Op.split))
      this.#emit(node)
    }
    for (const split of splits) this.#choose(split, split + 1, this.#ops.length, lazy)
  }

  #choose(split: number, more: number, leave: number, lazy: boolean): void {
    this.#x[split] = lazy ? leave : more
    this.#y[split] = lazy ? more : leave
  }
}

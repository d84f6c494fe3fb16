/** Rules about values of a request: header fields, cookies, query parameters; prepared once, tested on bytes in place. Pure. */
import { compilePattern } from '../../config/pattern.ts'
import { fieldStride, type Head } from '../http/head.ts'
import { escapedByte } from './path.ts'
import type { ValueRulePlan } from './plan.ts'
import { Regex } from './regex.ts'

/** A pattern of a valid document. */
export function regexOf(text: string, ignoreCase = false): Regex {
  const compiled = compilePattern(text, ignoreCase)
  if (!compiled.ok) throw new Error(`the pattern ${JSON.stringify(text)} ${compiled.error}`)
  return new Regex(compiled.pattern)
}

interface Rule {
  readonly name: Uint8Array
  readonly kind: ValueRulePlan['kind']
  readonly value: Uint8Array
  readonly regex: Regex | undefined
  readonly not: boolean
}

/** All the rules of a route about one kind of value. */
export class ValueRules {
  readonly #rules: readonly Rule[]
  /** For decoding: at most a target. */
  #scratch: Uint8Array = new Uint8Array(0)

  constructor(rules: readonly ValueRulePlan[], bytes: (text: string) => Uint8Array) {
    this.#rules = rules.map((rule) => ({
      name: bytes(rule.name),
      kind: rule.kind,
      value: bytes(rule.value),
      regex: rule.kind === 'regex' ? regexOf(rule.value) : undefined,
      not: rule.not,
    }))
  }

  /** Header fields: one of several of a name is enough. */
  headers(head: Head, buffer: Buffer): boolean {
    for (let i = 0; i < this.#rules.length; i++) {
      const rule = this.#rules[i]!
      let holds = false
      for (let field = 0; field < head.count && !holds; field++) {
        const base = field * fieldStride
        holds = sameName(buffer, head.fields[base]!, head.fields[base + 1]!, rule.name) && holdsFor(rule, buffer, head.fields[base + 2]!, head.fields[base + 3]!)
      }
      if (holds === rule.not) return false
    }
    return true
  }

  /** Cookies (RFC 6265 §4.2.1). */
  cookies(head: Head, buffer: Buffer): boolean {
    for (let i = 0; i < this.#rules.length; i++) {
      const rule = this.#rules[i]!
      let holds = false
      for (let field = 0; field < head.count && !holds; field++) {
        const base = field * fieldStride
        if (!sameName(buffer, head.fields[base]!, head.fields[base + 1]!, cookieName)) continue
        let at = head.fields[base + 2]!
        const end = head.fields[base + 3]!
        while (at < end && !holds) {
          while (at < end && (buffer[at] === 0x20 || buffer[at] === 0x3b)) at++
          let stop = at
          while (stop < end && buffer[stop] !== 0x3b) stop++
          let equals = at
          while (equals < stop && buffer[equals] !== 0x3d) equals++
          if (equals < stop && same(buffer, at, equals, rule.name)) {
            let last = stop
            while (last > equals + 1 && buffer[last - 1] === 0x20) last--
            holds = holdsFor(rule, buffer, equals + 1, last)
          }
          at = stop
        }
      }
      if (holds === rule.not) return false
    }
    return true
  }

  /** Query parameters in `[start, end)`, behind the `?`. Names and values are decoded first. */
  query(buffer: Buffer, start: number, end: number): boolean {
    if (this.#scratch.length < end - start) this.#scratch = new Uint8Array(end - start)
    const text = this.#scratch
    for (let i = 0; i < this.#rules.length; i++) {
      const rule = this.#rules[i]!
      let holds = false
      let at = start
      while (at < end && !holds) {
        let stop = at
        while (stop < end && buffer[stop] !== 0x26) stop++
        let equals = at
        while (equals < stop && buffer[equals] !== 0x3d) equals++
        const name = decode(buffer, at, equals, text)
        if (same(text, 0, name, rule.name)) {
          const value = equals < stop ? decode(buffer, equals + 1, stop, text) : 0
          holds = holdsFor(rule, text, 0, value)
        }
        at = stop + 1
      }
      if (holds === rule.not) return false
    }
    return true
  }
}

const cookieName = Uint8Array.from('cookie', (char) => char.charCodeAt(0))

function holdsFor(rule: Rule, buffer: Uint8Array, start: number, end: number): boolean {
  switch (rule.kind) {
    case 'present':
      return true
    case 'equals':
      return same(buffer, start, end, rule.value)
    case 'prefix':
      return end - start >= rule.value.length && same(buffer, start, start + rule.value.length, rule.value)
    case 'regex':
      return rule.regex!.test(buffer, start, end)
  }
}

export function same(buffer: Uint8Array, start: number, end: number, text: Uint8Array): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (buffer[start + i] !== text[i]) return false
  return true
}

/** A field's name against a name in lower case. */
function sameName(buffer: Uint8Array, start: number, end: number, lower: Uint8Array): boolean {
  if (end - start !== lower.length) return false
  for (let i = 0; i < lower.length; i++) {
    let byte = buffer[start + i]!
    if (byte >= 0x41 && byte <= 0x5a) byte |= 0x20
    if (byte !== lower[i]) return false
  }
  return true
}

/** As forms are decoded: `+` is a space. @returns the length in `out` */
function decode(buffer: Uint8Array, start: number, end: number, out: Uint8Array): number {
  let length = 0
  for (let at = start; at < end; at++) {
    let byte = buffer[at]!
    if (byte === 0x2b) byte = 0x20
    else if (byte === 0x25) {
      const value = escapedByte(buffer, at, end)
      if (value >= 0) {
        byte = value
        at += 2
      }
    }
    out[length++] = byte
  }
  return length
}

/**
 * Reads a value by the schema in one pass: says in words what is wrong, fills in defaults, puts keys into the schema's
 * order and addresses and host names into their one spelling. A general JSON Schema validator does the first in the
 * words of JSON Schema and the rest not at all; a test compares the verdicts with one.
 *
 * The readers are compiled from the schema when the module is loaded. A keyword that is not understood here is a bug and
 * throws then, so that the schema cannot grow a rule that nobody checks.
 */
import { readAddress } from './address.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { durationLimits, durationPattern, patternText, type Problem } from './schema.ts'
import { nearest } from './suggest.ts'

/** Problems of one document; a document that is all wrong does not make a million of them. */
export class ProblemList {
  static readonly limit = 100
  readonly problems: Problem[] = []

  add(field: string, message: string): undefined {
    if (!this.full) this.problems.push({ field, message })
    return undefined
  }

  get full(): boolean {
    return this.problems.length >= ProblemList.limit
  }
}

/** The part of JSON Schema that the configuration uses. */
export interface SchemaNode {
  readonly type?: string
  readonly const?: string | number
  readonly default?: unknown
  readonly description?: string
  readonly anyOf?: readonly SchemaNode[]
  readonly properties?: Readonly<Record<string, SchemaNode>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean
  readonly items?: SchemaNode
  readonly maxItems?: number
  readonly pattern?: string
  readonly format?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
}

export interface Reader {
  /** The completed value, or undefined after at least one problem was added. */
  read(value: unknown, field: string, out: ProblemList): unknown
  /** A completed value without what `read` would fill in again; undefined when nothing is left to say. */
  strip(value: unknown): unknown
}

/** How the message about a field starts that the schema does not have: its key is at fault, not its value. */
export const unknownFieldText = 'is not a known field'

/** RFC 6901 §3. */
export function pointerToken(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** What was found, in words and short, for “expected …, found …”. */
export function inWords(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}…` : value)
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value).slice(0, 40)
    case 'undefined':
      return 'nothing'
    default:
      if (value === null) return 'nothing (null)'
      return Array.isArray(value) ? 'a list' : 'an object'
  }
}

/** Compiles a schema. `fieldName`: the name of the property, which items of a list share; limits of durations are by name. */
export function compile(schema: SchemaNode, fieldName = ''): Reader {
  if (schema.anyOf !== undefined) return compileChoice(schema)
  known(schema, commonKeywords)
  if (schema.const !== undefined) return compileConstant(schema)
  switch (schema.type) {
    case 'object':
      return compileObject(schema)
    case 'array':
      return compileList(schema, fieldName)
    case 'string':
      return compileString(schema, fieldName)
    case 'integer':
      return compileInteger(schema)
    case 'boolean':
      return scalar((value, field, out) => (typeof value === 'boolean' ? value : wrong(out, field, 'true or false', value)))
    default:
      throw new Error(`schema type ${String(schema.type)} of ${fieldName} is not understood`)
  }
}

const commonKeywords: ReadonlySet<string> = new Set([
  'type', 'const', 'default', 'description', 'title', '$id', 'properties', 'required', 'additionalProperties', 'items', 'maxItems',
  'pattern', 'format', 'minLength', 'maxLength', 'minimum', 'maximum',
])

function known(schema: SchemaNode, keywords: ReadonlySet<string>): void {
  for (const keyword of Object.keys(schema)) {
    if (!keywords.has(keyword)) throw new Error(`schema keyword ${keyword} is not understood`)
  }
}

function wrong(out: ProblemList, field: string, expected: string, found: unknown, suggestion?: string): undefined {
  const other = suggestion === undefined ? '' : `; did you mean ${JSON.stringify(suggestion)}?`
  const hint = found === null ? '; leave the field out to get its default' : other
  return out.add(field, `expected ${expected}, found ${inWords(found)}${hint}`)
}

function scalar(read: Reader['read']): Reader {
  return { read, strip: (value) => value }
}

function compileChoice(schema: SchemaNode): Reader {
  known(schema, new Set(['anyOf', 'default', 'description']))
  const choices = schema.anyOf!.map((choice) => {
    if (choice.const === undefined) throw new Error('a choice is between constants only')
    return choice.const
  })
  const texts = choices.filter((choice) => typeof choice === 'string')
  const list = choices.map((choice) => JSON.stringify(choice)).join(', ')
  const expected = choices.length === 1 ? list : `one of ${list}`
  return scalar((value, field, out) => {
    if (choices.some((choice) => choice === value)) return value
    return wrong(out, field, expected, value, typeof value === 'string' ? nearest(value, texts) : undefined)
  })
}

function compileConstant(schema: SchemaNode): Reader {
  return scalar((value, field, out) => (value === schema.const ? value : wrong(out, field, JSON.stringify(schema.const), value)))
}

function compileInteger(schema: SchemaNode): Reader {
  const minimum = schema.minimum ?? Number.MIN_SAFE_INTEGER
  const maximum = schema.maximum ?? Number.MAX_SAFE_INTEGER
  const expected = `a whole number from ${minimum} to ${maximum}`
  return scalar((value, field, out) => {
    const fits = typeof value === 'number' && Number.isInteger(value) && value >= minimum && value <= maximum
    if (!fits) return wrong(out, field, expected, value)
    return value + 0 // −0 and 0 are one number in the document.
  })
}

function compileString(schema: SchemaNode, fieldName: string): Reader {
  const { pattern, format, minLength = 0, maxLength } = schema
  if (maxLength === undefined && pattern === undefined) throw new Error(`the string ${fieldName} has no limit`)
  if (format !== undefined && format !== 'ip-address') throw new Error(`the format ${format} of ${fieldName} is not understood`)
  const expression = pattern === undefined ? undefined : new RegExp(pattern)
  const text = pattern === undefined ? 'text' : patternText[pattern]
  if (text === undefined) throw new Error(`patternText has no words for the pattern of ${fieldName}`)
  const limits = durationLimits[fieldName]
  const duration = pattern === durationPattern
  if (duration && limits === undefined) throw new Error(`the duration ${fieldName} has no limits`)
  const lowerCase = fieldName === 'hosts'
  return scalar((value, field, out) => {
    if (typeof value !== 'string') return wrong(out, field, format === undefined ? text : 'an IPv4 or IPv6 address', value)
    if (format !== undefined) {
      const result = readAddress(value)
      return result.ok ? result.address : wrong(out, field, result.expected, value)
    }
    if (maxLength !== undefined && value.length > maxLength) {
      return out.add(field, `expected at most ${maxLength} characters, found ${value.length}`)
    }
    const fits = value.length >= minLength && (expression === undefined || expression.test(value))
    if (!fits) return wrong(out, field, text, value)
    if (duration && limits !== undefined) {
      const ms = parseDuration(value)!
      if (ms < limits.minimumMs || ms > limits.maximumMs) {
        const expected = `a duration from ${formatDuration(limits.minimumMs)} to ${formatDuration(limits.maximumMs)}`
        return wrong(out, field, expected, value)
      }
    }
    return lowerCase ? value.toLowerCase() : value
  })
}

function compileList(schema: SchemaNode, fieldName: string): Reader {
  const { maxItems, items } = schema
  if (maxItems === undefined || items === undefined) throw new Error(`the list ${fieldName} has no items or no limit`)
  const reader = compile(items, fieldName)
  return {
    read(value, field, out) {
      if (!Array.isArray(value)) return wrong(out, field, 'a list', value)
      if (value.length > maxItems) return out.add(field, `expected at most ${maxItems} entries, found ${value.length}`)
      const result: unknown[] = []
      for (let index = 0; index < value.length && !out.full; index++) {
        result.push(reader.read(value[index], `${field}/${index}`, out))
      }
      return result
    },
    strip: (value) => (value as unknown[]).map((item) => reader.strip(item)),
  }
}

interface Property {
  readonly key: string
  readonly reader: Reader
  readonly optional: boolean
  /** JSON text of the completed default; undefined: there is none. */
  readonly fallback: string | undefined
  readonly words: string
}

function compileObject(schema: SchemaNode): Reader {
  if (schema.additionalProperties !== false || schema.properties === undefined) throw new Error('an object names all its properties')
  const required = new Set(schema.required ?? [])
  const properties: Property[] = Object.entries(schema.properties).map(([key, child]) => {
    const reader = compile(child, key)
    return { key, reader, optional: !required.has(key), fallback: completedDefault(key, child, reader), words: words(child) }
  })
  const keys = properties.map((property) => property.key)
  const keySet = new Set(keys)
  return {
    read(value, field, out) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return wrong(out, field, 'an object', value)
      const given = value as Record<string, unknown>
      for (const key of Object.keys(given)) {
        if (out.full) return undefined
        if (!keySet.has(key)) unknownField(out, field, key, keys, given)
      }
      const result: Record<string, unknown> = {}
      for (const { key, reader, optional, fallback, words } of properties) {
        if (out.full) return undefined
        const present = Object.hasOwn(given, key) && given[key] !== undefined
        if (present) result[key] = reader.read(given[key], `${field}/${key}`, out)
        else if (fallback !== undefined) result[key] = JSON.parse(fallback)
        else if (!optional) out.add(`${field}/${key}`, `is missing; expected ${words}`)
      }
      return result
    },
    strip(value) {
      const result: Record<string, unknown> = {}
      for (const { key, reader, fallback } of properties) {
        const child = (value as Record<string, unknown>)[key]
        if (child === undefined || (fallback !== undefined && JSON.stringify(child) === fallback)) continue
        result[key] = reader.strip(child)
      }
      return result
    },
  }
}

function completedDefault(key: string, schema: SchemaNode, reader: Reader): string | undefined {
  if (schema.default === undefined) return undefined
  const out = new ProblemList()
  const completed = reader.read(schema.default, '', out)
  if (out.problems.length > 0) throw new Error(`the default of ${key} is not valid: ${out.problems[0]!.message}`)
  return JSON.stringify(completed)
}

function unknownField(out: ProblemList, field: string, key: string, keys: readonly string[], given: Record<string, unknown>): void {
  const free = keys.filter((candidate) => !Object.hasOwn(given, candidate))
  const suggestion = nearest(key, free) ?? nearest(key, keys)
  const hint = suggestion === undefined ? `; known here: ${keys.join(', ')}` : `; did you mean ${JSON.stringify(suggestion)}?`
  out.add(`${field}/${pointerToken(key.slice(0, 200))}`, `${unknownFieldText}${hint}`)
}

function words(schema: SchemaNode): string {
  if (schema.format === 'ip-address') return 'an IPv4 or IPv6 address'
  if (schema.pattern !== undefined) return patternText[schema.pattern] ?? 'text'
  if (schema.type === 'integer') return `a whole number from ${schema.minimum} to ${schema.maximum}`
  if (schema.type === 'array') return 'a list'
  return schema.type === 'object' ? 'an object' : 'text'
}

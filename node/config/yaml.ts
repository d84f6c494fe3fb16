/**
 * The document as YAML text: reading it with a line and column for every problem, and writing it so that two revisions
 * differ only where they differ. YAML 1.2 core schema, strict: no duplicate keys, no unknown tags, one document; text that
 * other programs read differently is refused or, when writing, quoted.
 */
import { Composer, isAlias, isMap, isScalar, isSeq, LineCounter, Parser } from 'yaml'
import type { CST, Document, Node, Pair } from 'yaml'
import { pointerToken, ProblemList, unknownFieldText } from './complete.ts'
import { documentLimits, type ConfigurationDocument, type Problem } from './schema.ts'
import { validateDocument, withoutDefaults, type ValidationResult } from './validate.ts'

/** Deeper than any valid document, shallower than any stack. */
const maxDepth = 32
/** How many nodes the aliases of a text may stand for. */
const maxAliasNodes = 10_000
/** The largest valid document has fewer; the parser's time is bounded by these rather than by the bytes. */
const maxLines = 300_000
const maxFlowCollections = 100_000

/** Reads and validates. Never throws; every problem has a 1-based line and column. */
export function parseYaml(text: string): ValidationResult {
  const bytes = new TextEncoder().encode(text).length
  if (bytes > documentLimits.yamlBytes) {
    return refused(`expected at most ${documentLimits.yamlBytes} bytes of YAML, found ${bytes}`)
  }
  const lines = new LineCounter()
  const parsed = parse(text, lines)
  if (!Array.isArray(parsed)) {
    return { ok: false, problems: [{ field: '', message: parsed.message, ...position(lines, parsed.offset) }] }
  }
  const [document, second] = parsed
  if (document === undefined) return refused('the text is empty; expected at least `haechi: 1`')
  if (second !== undefined) {
    const message = 'expected one document, found a second one'
    return { ok: false, problems: [{ field: '', message, ...position(lines, second.range[0]) }] }
  }
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) {
    const problems = faults
      .slice(0, ProblemList.limit)
      .map((fault) => ({ field: '', message: firstLine(fault.message), ...position(lines, fault.pos[0]) }))
    return { ok: false, problems }
  }
  const structure = checkStructure(document, lines)
  if (structure.length > 0) return { ok: false, problems: structure }

  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: maxAliasNodes })
  } catch (error) {
    return refused(`cannot be read as YAML: ${firstLine((error as Error).message)}`)
  }
  if (value === null || value === undefined) return refused('the text is empty; expected at least `haechi: 1`')
  const result = validateDocument(value)
  if (result.ok) return result
  return { ok: false, problems: result.problems.map((problem) => ({ ...problem, ...position(lines, locate(document, problem)) })) }
}

function refused(message: string): ValidationResult {
  return { ok: false, problems: [{ field: '', message, line: 1, column: 1 }] }
}

function firstLine(text: string): string {
  return (text.split('\n', 1)[0] ?? '').slice(0, 300)
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(line, 1), column: Math.max(col, 1) }
}

interface Unreadable {
  readonly message: string
  readonly offset: number
}

/**
 * Tokens first, without recursion; then their depth; only then the composer, which recurses. At most two documents are
 * composed.
 */
function parse(text: string, lines: LineCounter): Document.Parsed[] | Unreadable {
  const crowd = tooMany(text)
  if (crowd !== undefined) return crowd
  const tokens: CST.Token[] = []
  let documents = 0
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    tokens.push(token)
    if (token.type === 'document' && ++documents === 2) break
  }
  const deep = tooDeep(tokens)
  if (deep !== undefined) return deep
  // Unique keys are checked below: the library compares each key with each.
  const composer = new Composer({ version: '1.2', schema: 'core', strict: true, resolveKnownTags: false, uniqueKeys: false, prettyErrors: false })
  return [...composer.compose(tokens)] as Document.Parsed[]
}

function tooMany(text: string): Unreadable | undefined {
  let newLines = 0
  let flow = 0
  for (let offset = 0; offset < text.length; offset++) {
    const code = text.charCodeAt(offset)
    if (code === 0x0a && ++newLines > maxLines) return { message: `expected at most ${maxLines} lines`, offset }
    if ((code === 0x5b || code === 0x7b) && ++flow > maxFlowCollections) {
      return { message: `expected at most ${maxFlowCollections} opening brackets`, offset }
    }
  }
  return undefined
}

function tooDeep(tokens: readonly CST.Token[]): Unreadable | undefined {
  const stack: { token: CST.Token; depth: number }[] = tokens.map((token) => ({ token, depth: 0 }))
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { token, depth } = next
    if (depth > maxDepth) return { message: `nested deeper than ${maxDepth} levels`, offset: token.offset }
    const push = (child: CST.Token | null | undefined): void => {
      if (child !== null && child !== undefined) stack.push({ token: child, depth: depth + 1 })
    }
    if (token.type === 'document') push(token.value)
    else if ('items' in token) {
      for (const item of token.items) {
        push(item.key)
        push(item.value)
      }
    }
  }
  return undefined
}

/** Duplicate keys, keys that are no text, and aliases of something that does not exist. */
function checkStructure(document: Document.Parsed, lines: LineCounter): Problem[] {
  const problems: Problem[] = []
  const visit = (node: unknown, field: string): void => {
    if (problems.length >= ProblemList.limit) return
    if (isSeq(node)) {
      for (const [index, item] of node.items.entries()) visit(item, `${field}/${index}`)
    } else if (isMap(node)) {
      const seen = new Map<string, number>()
      for (const pair of node.items as Pair<Node, Node | null>[]) {
        const at = position(lines, startOf(pair.key) ?? startOf(node) ?? 0)
        if (!isScalar(pair.key)) {
          problems.push({ field, message: 'expected a plain key', ...at })
          continue
        }
        const key = String(pair.key.value)
        const first = seen.get(key)
        const below = `${field}/${pointerToken(key)}`
        if (first === undefined) seen.set(key, at.line)
        else problems.push({ field: below, message: `is here twice; the first is on line ${first}`, ...at })
        visit(pair.value, below)
      }
    }
  }
  visit(document.contents, '')
  return problems
}

function startOf(node: unknown): number | undefined {
  const range = (node as { range?: readonly number[] | null } | null | undefined)?.range
  return range?.[0]
}

/**
 * Offset of the field that a JSON pointer names: of its value; of its key when it is not known there or has no value; of
 * the object around it when it is missing.
 */
function locate(document: Document.Parsed, { field, message }: Problem): number {
  const ofKey = message.startsWith(unknownFieldText)
  let node: unknown = document.contents
  let offset = startOf(node) ?? 0
  const tokens = field.split('/').slice(1)
  for (const [index, token] of tokens.entries()) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    if (isAlias(node)) node = node.resolve(document)
    if (isSeq(node)) {
      node = node.items[Number(key)]
      offset = startOf(node) ?? offset
    } else if (isMap(node)) {
      const pair = (node.items as Pair<Node, Node | null>[]).find((item) => isScalar(item.key) && String(item.key.value) === key)
      if (pair === undefined) return offset
      node = pair.value
      offset = startOf(pair.key) ?? offset
      if (ofKey && index === tokens.length - 1) return offset
      if (isScalar(node) && node.value !== null) offset = startOf(node) ?? offset
    } else return offset
  }
  return offset
}

export interface YamlOptions {
  /** Leaves out what equals its default, as a person would: for files in git and for diffs. Default: false. */
  readonly omitDefaults?: boolean
}

/**
 * The document as YAML: block style, one value a line, the schema's order; `parseYaml` of it gives the same document.
 */
export function toYaml(document: ConfigurationDocument, options: YamlOptions = {}): string {
  const out: string[] = []
  writeMap(options.omitDefaults === true ? withoutDefaults(document) : document, '', '', out)
  return `${out.join('\n')}\n`
}

function writeMap(map: object, first: string, indent: string, out: string[]): void {
  let lead = first
  for (const [key, value] of Object.entries(map)) {
    // The `on` of a hash would be true to a reader of YAML 1.1.
    writeValue(`${lead}${reserved.test(key) ? JSON.stringify(key) : key}:`, value, `${indent}  `, out)
    lead = indent
  }
  if (lead === first && Object.keys(map).length === 0) out.push(`${first}{}`)
}

function writeValue(lead: string, value: unknown, indent: string, out: string[]): void {
  if (Array.isArray(value)) {
    if (value.length === 0) out.push(`${lead} []`)
    else {
      out.push(lead)
      for (const item of value) {
        if (typeof item === 'object' && item !== null) writeMap(item, `${indent}- `, `${indent}  `, out)
        else out.push(`${indent}- ${scalarText(item)}`)
      }
    }
  } else if (typeof value === 'object' && value !== null) {
    if (Object.keys(value).length === 0) out.push(`${lead} {}`)
    else {
      out.push(lead)
      writeMap(value, indent, indent, out)
    }
  } else out.push(`${lead} ${scalarText(value)}`)
}

/** Words that YAML 1.1 or 1.2 readers take for something other than text; `e0` is a number without digits to some. */
const reserved = /^(?:null|true|false|yes|no|on|off|y|n|e[0-9]+)$/i
/** Text that no reader takes for anything else; all other text is quoted as in JSON, which YAML 1.2 contains. */
const plain = new RegExp(
  `^(?:${[
    /[A-Za-z/][A-Za-z0-9_./-]*/, // names, paths, host names
    /[0-9]+(?:ms|s|m|h)/, // durations
    /[1-5][0-9]{2}-[1-5][0-9]{2}/, // status codes
    /[0-9]{1,3}(?:\.[0-9]{1,3}){3}/, // IPv4
    /[0-9a-f]*[a-f][0-9a-f]*:[0-9a-f:]*[0-9a-f]/, // IPv6 that cannot be a number in base 60
  ]
    .map((expression) => expression.source)
    .join('|')})$`,
)

function scalarText(value: unknown): string {
  if (typeof value === 'string') return plain.test(value) && !reserved.test(value) ? value : JSON.stringify(value)
  return String(value)
}

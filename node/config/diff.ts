/**
 * What changed between two documents, for people and for the audit log. Objects are matched by name, so that an inserted
 * member does not look like a change of all that follow.
 */
import { inWords, pointerToken } from './complete.ts'
import type { ConfigurationDocument } from './schema.ts'
import { unifiedText } from './unified.ts'
import { toYaml } from './yaml.ts'

export type ChangeKind = 'added' | 'removed' | 'changed'

export interface Change {
  /** By names where there are any: `pools/web/members/b/port`. Empty for “and n more”. */
  readonly path: string
  readonly kind: ChangeKind
  /** JSON text of the old and the new value; absent when added or removed. */
  readonly before?: string
  readonly after?: string
  /** For people: `pool web: member b added`. */
  readonly text: string
}

type Fields = Readonly<Record<string, unknown>>
interface Named extends Fields {
  readonly name: string
}

/** What a list of named objects is called in the singular. */
const singular: Readonly<Record<string, string>> = { vips: 'VIP', pools: 'pool', listeners: 'listener', members: 'member', routes: 'route' }
const plural: Readonly<Record<string, string>> = { vips: 'VIPs' }
const label: Readonly<Record<string, string>> = {
  healthCheck: 'health check', vip: 'VIP', preferredNode: 'preferred node', preemptDelay: 'preemption delay', preempt: 'preemption',
}

/**
 * Changes from `before` to `after`, in the order of the document; empty exactly when their canonical texts are equal.
 * Both are complete documents. More than `limit` changes are cut and counted in a last entry with an empty path.
 */
export function diffDocuments(before: ConfigurationDocument, after: ConfigurationDocument, limit = 1000): Change[] {
  const found = new Changes(limit)
  compareFields(before as unknown as Fields, after as unknown as Fields, [], [], found)
  return found.list()
}

/** Unified diff of the two documents as YAML without defaults; empty when they are equal. */
export function unifiedDiff(
  before: ConfigurationDocument,
  after: ConfigurationDocument,
  fromName = 'before',
  toName = 'after',
): string {
  return unifiedText(toYaml(before, { omitDefaults: true }), toYaml(after, { omitDefaults: true }), fromName, toName)
}

class Changes {
  readonly #limit: number
  readonly #changes: Change[] = []
  #more = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  add(change: () => Change): void {
    if (this.#changes.length < this.#limit) this.#changes.push(change())
    else this.#more++
  }

  list(): Change[] {
    if (this.#more > 0) this.#changes.push({ path: '', kind: 'changed', text: `… and ${this.#more} more changes` })
    return this.#changes
  }
}

/** `path` has the names of the objects on the way; `who` says them in words. */
function compareFields(before: Fields, after: Fields, path: readonly string[], who: readonly string[], found: Changes): void {
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const old = before[key]
    const now = after[key]
    if (same(old, now)) continue
    if (isNamedList(key, old, now)) compareLists(key, old as Named[], now as Named[], path, who, found)
    else if (isFields(old) && isFields(now)) compareFields(old, now, [...path, key], [...who, label[key] ?? key], found)
    else addField(key, old, now, path, who, found)
  }
}

function addField(key: string, old: unknown, now: unknown, path: readonly string[], who: readonly string[], found: Changes): void {
  const what = label[key] ?? key
  const where = pathText([...path, key])
  found.add(() => {
    const before = JSON.stringify(old)
    const after = JSON.stringify(now)
    if (old === undefined) return { path: where, kind: 'added', after, text: sentence(who, wholeText(what, now, 'added')) }
    if (now === undefined) return { path: where, kind: 'removed', before, text: sentence(who, wholeText(what, old, 'removed')) }
    const text = sentence(who, `${what} ${valueText(old)} → ${valueText(now)}`)
    return { path: where, kind: 'changed', before, after, text }
  })
}

function compareLists(
  key: string,
  old: readonly Named[],
  now: readonly Named[],
  path: readonly string[],
  who: readonly string[],
  found: Changes,
): void {
  const what = singular[key]!
  const byName = new Map(now.map((item) => [item.name, item]))
  const oldNames = new Set(old.map((item) => item.name))
  for (const item of old) {
    const where = [...path, key, item.name]
    const here = [...who, `${what} ${item.name}`]
    const other = byName.get(item.name)
    if (other !== undefined) compareFields(item, other, where, here, found)
    else found.add(() => ({ path: pathText(where), kind: 'removed', before: JSON.stringify(item), text: `${here.join(': ')} removed` }))
  }
  for (const item of now) {
    if (oldNames.has(item.name)) continue
    const where = [...path, key, item.name]
    const here = [...who, `${what} ${item.name}`]
    found.add(() => ({ path: pathText(where), kind: 'added', after: JSON.stringify(item), text: `${here.join(': ')} added` }))
  }
  const commonBefore = old.filter((item) => byName.has(item.name)).map((item) => item.name)
  const commonAfter = now.filter((item) => oldNames.has(item.name)).map((item) => item.name)
  // A new object between others is no reordering of theirs; but the place of an added route or member is part of the document.
  if (same(commonBefore, commonAfter)) return
  found.add(() => ({
    path: pathText([...path, key]),
    kind: 'changed',
    before: JSON.stringify(old.map((item) => item.name)),
    after: JSON.stringify(now.map((item) => item.name)),
    text: sentence(who, `${plural[key] ?? key} reordered`),
  }))
}

function sentence(who: readonly string[], what: string): string {
  return who.length === 0 ? what : `${who.join(': ')}: ${what}`
}

/** `pool web added`; of an object what it says: `failover added: preferred node n1, preemption false`. */
function wholeText(what: string, value: unknown, change: 'added' | 'removed'): string {
  if (!isFields(value)) return `${what} ${valueText(value)} ${change}`
  const fields = Object.entries(value).map(([key, field]) => `${label[key] ?? key} ${valueText(field)}`)
  return fields.length === 0 ? `${what} ${change}` : `${what} ${change}: ${fields.join(', ')}`
}

/** A value in a sentence: text bare, lists as their items, everything short. */
function valueText(value: unknown): string {
  if (Array.isArray(value)) {
    if (value.length === 0) return 'none'
    const shown = value.slice(0, 4).map((item) => valueText(item)).join(', ')
    return value.length > 4 ? `${shown}, … (${value.length})` : shown
  }
  if (isFields(value)) {
    const said = Object.values(value).filter((field) => typeof field === 'string' || typeof field === 'number').join(' ')
    if (said !== '' && said.length <= 60) return said
  }
  return typeof value === 'string' && value !== '' && value.length <= 60 ? value : inWords(value)
}

function pathText(path: readonly string[]): string {
  return path.map((part) => pointerToken(part)).join('/')
}

function isNamedList(key: string, old: unknown, now: unknown): boolean {
  // A route's `pools` name those of the document and are no objects of their own.
  return singular[key] !== undefined && isListOfNamed(old) && isListOfNamed(now)
}

function isListOfNamed(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => isFields(item) && typeof item['name'] === 'string')
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b)
}

/**
 * Differences between two configuration documents, for counting and for marking what the draft touches. Pure. The node's
 * own diff (POST /config/validate) is what the review shows; this one is there at once, without a request.
 */
import type { ConfigurationDocument } from '../../../node/api/types.ts'

export interface Difference {
  /** By names where there are any: `pools/web/members/b/port`. */
  readonly path: string
  readonly kind: 'added' | 'removed' | 'changed'
  readonly before: unknown
  readonly after: unknown
}

export type Named = { readonly name: string }
type Fields = { readonly [key: string]: unknown }

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An array of objects that each have a name of their own: compared by name and not by position. */
export function isNamedList(value: unknown): value is readonly (Fields & Named)[] {
  if (!Array.isArray(value)) return false
  const names = new Set<unknown>()
  for (const item of value) {
    if (!isFields(item) || typeof item['name'] !== 'string' || names.has(item['name'])) return false
    names.add(item['name'])
  }
  return true
}

export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, at) => sameValue(item, b[at]))
  if (!isFields(a) || !isFields(b)) return false
  const keys = new Set([...Object.keys(a), ...Object.keys(b)])
  return [...keys].every((key) => sameValue(a[key], b[key]))
}

/** One entry for each value that differs; an object that is only in one of them is one entry. */
export function differences(before: ConfigurationDocument, after: ConfigurationDocument): Difference[] {
  const found: Difference[] = []
  compare('', before, after, found)
  return found
}

function compare(path: string, before: unknown, after: unknown, found: Difference[]): void {
  if (Object.is(before, after)) return
  if (isNamedList(before) && isNamedList(after)) return compareLists(path, before, after, found)
  if (isFields(before) && isFields(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compare(path === '' ? key : `${path}/${key}`, before[key], after[key], found)
    }
    return
  }
  if (sameValue(before, after)) return
  found.push({ path, kind: before === undefined ? 'added' : after === undefined ? 'removed' : 'changed', before, after })
}

function compareLists(path: string, before: readonly (Fields & Named)[], after: readonly (Fields & Named)[], found: Difference[]): void {
  const old = new Map(before.map((item) => [item.name, item]))
  const now = new Map(after.map((item) => [item.name, item]))
  for (const item of before) {
    const other = now.get(item.name)
    if (other === undefined) found.push({ path: `${path}/${item.name}`, kind: 'removed', before: item, after: undefined })
    else compare(`${path}/${item.name}`, item, other, found)
  }
  for (const item of after) {
    if (!old.has(item.name)) found.push({ path: `${path}/${item.name}`, kind: 'added', before: undefined, after: item })
  }
  const orderBefore = before.map((item) => item.name).filter((name) => now.has(name))
  const orderAfter = after.map((item) => item.name).filter((name) => old.has(name))
  if (!sameValue(orderBefore, orderAfter)) {
    found.push({ path, kind: 'changed', before: orderBefore, after: orderAfter })
  }
}

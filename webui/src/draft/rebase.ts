/**
 * Three-way merge of configuration documents: the draft is carried over to a newer revision. Pure. Where both sides
 * changed the same value differently nothing is decided here: it is an overlap, and a person chooses.
 */
import type { ConfigurationDocument } from '../../../node/api/types.ts'
import { isFields, isNamedList, sameValue, type Named } from './difference.ts'

export type Side = 'mine' | 'theirs'

export interface Overlap {
  /** By names where there are any: `pools/web/members/b/port`. */
  readonly path: string
  readonly base: unknown
  readonly mine: unknown
  readonly theirs: unknown
}

export interface Rebased {
  /** Complete only when every overlap has a choice; until then an overlap has their value. */
  readonly document: ConfigurationDocument
  readonly overlaps: readonly Overlap[]
}

type Fields = { readonly [key: string]: unknown }

/** `choices`: by the path of the overlap. */
export function rebase(
  base: ConfigurationDocument,
  mine: ConfigurationDocument,
  theirs: ConfigurationDocument,
  choices: ReadonlyMap<string, Side> = new Map(),
): Rebased {
  const overlaps: Overlap[] = []
  const document = merge('', base, mine, theirs, choices, overlaps) as ConfigurationDocument
  return { document, overlaps }
}

function merge(path: string, base: unknown, mine: unknown, theirs: unknown, choices: ReadonlyMap<string, Side>, overlaps: Overlap[]): unknown {
  if (sameValue(mine, theirs)) return theirs
  if (sameValue(base, mine)) return theirs
  if (sameValue(base, theirs)) return mine
  if (isNamedList(mine) && isNamedList(theirs) && (base === undefined || isNamedList(base))) {
    return mergeLists(path, base ?? [], mine, theirs, choices, overlaps)
  }
  // An object that both have, or that both added under one name, is merged field by field.
  if (isFields(mine) && isFields(theirs) && (base === undefined || isFields(base))) {
    const merged: Record<string, unknown> = {}
    for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
      const value = merge(path === '' ? key : `${path}/${key}`, base?.[key], mine[key], theirs[key], choices, overlaps)
      if (value !== undefined) merged[key] = value
    }
    return merged
  }
  overlaps.push({ path, base, mine, theirs })
  return choices.get(path) === 'mine' ? mine : theirs
}

type NamedFields = Fields & Named

function mergeLists(
  path: string,
  base: readonly NamedFields[],
  mine: readonly NamedFields[],
  theirs: readonly NamedFields[],
  choices: ReadonlyMap<string, Side>,
  overlaps: Overlap[],
): unknown {
  const find = (list: readonly NamedFields[], name: string) => list.find((item) => item.name === name)
  const merged = new Map<string, unknown>()
  for (const name of new Set([...theirs, ...mine].map((item) => item.name))) {
    const value = merge(`${path}/${name}`, find(base, name), find(mine, name), find(theirs, name), choices, overlaps)
    if (value !== undefined) merged.set(name, value)
  }
  const order = mergeOrder(path, base, mine, theirs, choices, overlaps)
  return order.filter((name) => merged.has(name)).map((name) => merged.get(name))
}

/** The order of routes has a meaning, so it is a value of its own. */
function mergeOrder(
  path: string,
  base: readonly Named[],
  mine: readonly Named[],
  theirs: readonly Named[],
  choices: ReadonlyMap<string, Side>,
  overlaps: Overlap[],
): string[] {
  const names = (list: readonly Named[]) => list.map((item) => item.name)
  const [b, m, t] = [names(base), names(mine), names(theirs)]
  const everywhere = (list: readonly string[]) => list.filter((name) => b.includes(name) && m.includes(name) && t.includes(name))
  const mineMoved = !sameValue(everywhere(b), everywhere(m))
  const theirsMoved = !sameValue(everywhere(b), everywhere(t))
  let side: Side = mineMoved ? 'mine' : 'theirs'
  if (mineMoved && theirsMoved && !sameValue(everywhere(m), everywhere(t))) {
    const key = `${path}/*`
    overlaps.push({ path: key, base: everywhere(b), mine: everywhere(m), theirs: everywhere(t) })
    side = choices.get(key) ?? 'theirs'
  }
  const [lead, follow] = side === 'mine' ? [m, t] : [t, m]
  const order = [...lead]
  // What only the other side has goes behind the neighbour that it had there.
  follow.forEach((name, at) => {
    if (order.includes(name)) return
    const neighbour = follow.slice(0, at).findLast((other) => order.includes(other))
    order.splice(neighbour === undefined ? 0 : order.indexOf(neighbour) + 1, 0, name)
  })
  return order
}

/**
 * What requests a rule takes, in a form in which two rules can be joined exactly: a list of rules with exceptions becomes an ordered
 * list of routes. Pure.
 */
import { addressBytes, contains, readNetwork } from '../../config/cidr.ts'
import type { Part } from './draft.ts'

/** All that is there must hold; within one list one entry is enough (header fields, cookies, query: each must hold). */
export interface RouteMatch {
  readonly hosts?: readonly string[]
  readonly hostRegex?: string
  /** How the path begins, in characters and not in segments. At most one of the four about paths is there. */
  readonly prefixes?: readonly string[]
  readonly suffixes?: readonly string[]
  readonly pathsExact?: readonly string[]
  readonly pathRegex?: string
  readonly methods?: readonly string[]
  readonly sources?: readonly string[]
  readonly headers?: readonly Part[]
  readonly cookies?: readonly Part[]
  readonly query?: readonly Part[]
  /** true: only over TLS, false: only without. A matter of the listener. */
  readonly secure?: boolean
}

/** `match`, but none of `except`. */
export interface Branch {
  readonly match: RouteMatch
  readonly except: readonly RouteMatch[]
}

export const everything: RouteMatch = {}

/** Both hold. `never`: no request; undefined: it cannot be said in one route. */
export function and(a: RouteMatch, b: RouteMatch): RouteMatch | 'never' | undefined {
  if (a.secure !== undefined && b.secure !== undefined && a.secure !== b.secure) return 'never'
  const host = hostAnd(a, b)
  const path = pathAnd(a, b)
  const methods = listAnd(a.methods, b.methods, (x, y) => (x === y ? x : undefined))
  const sources = listAnd(a.sources, b.sources, narrower)
  if (host === 'never' || path === 'never' || methods === 'never' || sources === 'never') return 'never'
  if (host === undefined || path === undefined) return undefined
  const secure = a.secure ?? b.secure
  return {
    ...host, ...path,
    ...(methods === undefined ? {} : { methods }),
    ...(sources === undefined ? {} : { sources }),
    ...joined('headers', a, b), ...joined('cookies', a, b), ...joined('query', a, b),
    ...(secure === undefined ? {} : { secure }),
  }
}

function joined(key: 'headers' | 'cookies' | 'query', a: RouteMatch, b: RouteMatch): RouteMatch {
  const seen = new Set<string>()
  const all = [...(a[key] ?? []), ...(b[key] ?? [])].filter((rule) => !seen.has(JSON.stringify(rule)) && seen.add(JSON.stringify(rule)))
  return all.length === 0 ? {} : { [key]: all }
}

/** One entry of each list must hold at once. */
function listAnd(a: readonly string[] | undefined, b: readonly string[] | undefined, one: (x: string, y: string) => string | undefined): readonly string[] | 'never' | undefined {
  if (a === undefined || b === undefined) return a ?? b
  const both = new Set<string>()
  for (const x of a) {
    for (const y of b) {
      const found = one(x, y)
      if (found !== undefined) both.add(found)
    }
  }
  return both.size === 0 ? 'never' : [...both]
}

/** Of two networks the one within the other. */
function narrower(a: string, b: string): string | undefined {
  const [x, y] = [readNetwork(a), readNetwork(b)]
  if (!x.ok || !y.ok) return undefined
  if (x.network.bits <= y.network.bits) return contains(x.network, y.network.bytes) ? b : undefined
  return contains(y.network, x.network.bytes) ? a : undefined
}

function hostAnd(a: RouteMatch, b: RouteMatch): RouteMatch | 'never' | undefined {
  const only = (one: RouteMatch): RouteMatch => ({ ...(one.hosts === undefined ? {} : { hosts: one.hosts }), ...(one.hostRegex === undefined ? {} : { hostRegex: one.hostRegex }) })
  const [left, right] = [only(a), only(b)]
  if (Object.keys(left).length === 0) return right
  if (Object.keys(right).length === 0 || JSON.stringify(left) === JSON.stringify(right)) return left
  if (left.hosts !== undefined && right.hosts !== undefined) {
    const hosts = listAnd(left.hosts, right.hosts, narrowerHost)
    return hosts === 'never' ? 'never' : { hosts: hosts! }
  }
  const [list, regex] = left.hosts === undefined ? [right.hosts, left.hostRegex] : [left.hosts, right.hostRegex]
  if (list === undefined || list.some((host) => host.startsWith('*'))) return undefined
  const pattern = expression(regex!, 'i')
  return pattern === undefined ? undefined : filtered('hosts', list, (host) => pattern.test(host))
}

function narrowerHost(a: string, b: string): string | undefined {
  if (a === b) return a
  const within = (one: string, wide: string): boolean => wide.startsWith('*.') && one.replace(/^\*/, '').endsWith(wide.slice(1)) && one !== wide.slice(1)
  return within(a, b) ? a : within(b, a) ? b : undefined
}

function pathAnd(a: RouteMatch, b: RouteMatch): RouteMatch | 'never' | undefined {
  const [left, right] = [pathOf(a), pathOf(b)]
  if (Object.keys(left).length === 0) return right
  if (Object.keys(right).length === 0 || JSON.stringify(left) === JSON.stringify(right)) return left
  if (left.prefixes !== undefined && right.prefixes !== undefined) {
    const prefixes = listAnd(left.prefixes, right.prefixes, (x, y) => (x.startsWith(y) ? x : y.startsWith(x) ? y : undefined))
    return prefixes === 'never' ? 'never' : { prefixes: prefixes! }
  }
  if (left.suffixes !== undefined && right.suffixes !== undefined) {
    const suffixes = listAnd(left.suffixes, right.suffixes, (x, y) => (x.endsWith(y) ? x : y.endsWith(x) ? y : undefined))
    return suffixes === 'never' ? 'never' : { suffixes: suffixes! }
  }
  for (const [exact, other] of [[left, right], [right, left]] as const) {
    if (exact.pathsExact === undefined) continue
    const { prefixes, suffixes, pathsExact, pathRegex } = other
    if (prefixes !== undefined) return filtered('pathsExact', exact.pathsExact, (path) => prefixes.some((prefix) => path.startsWith(prefix)))
    if (suffixes !== undefined) return filtered('pathsExact', exact.pathsExact, (path) => suffixes.some((suffix) => path.endsWith(suffix)))
    if (pathsExact !== undefined) return filtered('pathsExact', exact.pathsExact, (path) => pathsExact.includes(path))
    const pattern = expression(pathRegex!, '')
    return pattern === undefined ? undefined : filtered('pathsExact', exact.pathsExact, (path) => pattern.test(path))
  }
  const prefixes = left.prefixes ?? right.prefixes
  const suffixes = left.suffixes ?? right.suffixes
  if (prefixes !== undefined && suffixes !== undefined && !prefixes.some((prefix) => suffixes.some((suffix) => overlap(prefix, suffix)))) {
    return { pathRegex: `^${oneOf(prefixes)}.*${oneOf(suffixes)}$` }
  }
  return undefined
}

function pathOf({ prefixes, suffixes, pathsExact, pathRegex }: RouteMatch): RouteMatch {
  if (prefixes !== undefined) return prefixes.includes('/') ? {} : { prefixes }
  if (suffixes !== undefined) return { suffixes }
  if (pathsExact !== undefined) return { pathsExact }
  return pathRegex === undefined ? {} : { pathRegex }
}

/** Whether the end of one text is the beginning of the other: then a path may be shorter than both together. */
function overlap(prefix: string, suffix: string): boolean {
  for (let length = 1; length <= Math.min(prefix.length, suffix.length); length++) if (prefix.endsWith(suffix.slice(0, length))) return true
  return prefix.includes(suffix)
}

function filtered(key: 'hosts' | 'pathsExact', list: readonly string[], keep: (text: string) => boolean): RouteMatch | 'never' {
  const kept = list.filter(keep)
  return kept.length === 0 ? 'never' : { [key]: kept }
}

/** The pattern as a JavaScript expression: only for short texts of the file itself. */
function expression(pattern: string, flags: string): RegExp | undefined {
  const insensitive = pattern.startsWith('(?i)')
  try {
    return new RegExp(insensitive ? pattern.slice(4) : pattern, insensitive ? 'i' : flags)
  } catch {
    return undefined
  }
}

/** Everything that the conditions do not take, as conditions. undefined: cannot be said. */
export function not(branches: readonly Branch[]): Branch[] | undefined {
  let result: Branch[] = [{ match: everything, except: [] }]
  for (const branch of branches) {
    const next: Branch[] = result.map(({ match, except }) => ({ match, except: [...except, branch.match] }))
    for (const exception of branch.except) {
      for (const { match, except } of result) {
        const inner = and(branch.match, exception)
        const here = inner === undefined || inner === 'never' ? inner : and(match, inner)
        if (here === undefined) return undefined
        if (here !== 'never') next.push({ match: here, except })
      }
    }
    result = next
  }
  return result
}

/** An entry of an ordered list: the first that matches decides. */
export interface Entry {
  readonly match: RouteMatch
  readonly action: Part
  /** For the name of the route. */
  readonly base: string
}

/**
 * A rule in front of others.
 * @param then what becomes of a request that the rule takes: entries that are asked in turn
 * @param rest what comes after the rule
 * @returns undefined: it cannot be said in routes
 */
export function inFront(branches: readonly Branch[], then: readonly Entry[], rest: readonly Entry[], secure: boolean): Entry[] | undefined {
  let result: Entry[] = [...rest]
  for (const { match, except } of branches.toReversed()) {
    const here = forListener(match, secure)
    if (here === undefined) continue
    const carved: Entry[] = []
    for (const exception of except) {
      const taken = forListener(exception, secure)
      const within = taken === undefined ? 'never' : and(here, taken)
      if (within === undefined) return undefined
      if (within === 'never') continue
      if (!narrow(within, result, carved)) return undefined
    }
    const own: Entry[] = []
    if (!narrow(here, then, own)) return undefined
    result = [...carved, ...own, ...result]
  }
  return result
}

/** Adds those parts of `list` that are within `match`. */
function narrow(match: RouteMatch, list: readonly Entry[], out: Entry[]): boolean {
  for (const entry of list) {
    const part = and(match, entry.match)
    if (part === undefined) return false
    if (part === 'never') continue
    out.push({ ...entry, match: part })
    // It takes all that is within: what comes after it is never reached.
    if (Object.keys(entry.match).length === 0 || JSON.stringify(part) === JSON.stringify(match)) break
  }
  return true
}

/** Without the question about TLS; undefined: it never holds on such a listener. */
export function forListener(match: RouteMatch, secure: boolean): RouteMatch | undefined {
  const { secure: wanted, ...rest } = match
  return wanted === undefined || wanted === secure ? rest : undefined
}

/** As fields of a route. */
export function fieldsOf(rules: RouteMatch): Part {
  const { hosts, hostRegex, prefixes, suffixes, pathsExact, pathRegex: given, methods, sources, headers, cookies, query } = rules
  const pathRegex = prefixes !== undefined && !prefixes.includes('/') ? `^${oneOf(prefixes)}` : suffixes !== undefined ? `${oneOf(suffixes)}$` : given
  const match = Object.fromEntries(Object.entries({ hostRegex, pathsExact, pathRegex, methods, headers, cookies, query, sources }).filter(([, value]) => value !== undefined))
  return { ...(hosts === undefined ? {} : { hosts }), ...(Object.keys(match).length === 0 ? {} : { match }) }
}

/** A text as a pattern that matches just it. */
export function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
}

/** A pattern for any of these texts. */
export function oneOf(texts: readonly string[]): string {
  return texts.length === 1 ? literal(texts[0]!) : `(?:${texts.map(literal).join('|')})`
}

/** The same pattern without regard to case. */
export function ignoringCase(pattern: string): string {
  return pattern.startsWith('(?i)') ? pattern : `(?i)${pattern}`
}

/** A network as the document writes it: without bits behind its prefix. undefined: it is none. */
export function networkOf(text: string): string | undefined {
  const read = readNetwork(text)
  if (read.ok) return text
  const [, masked] = /\((\S+\/\d+)\)$/.exec(read.expected) ?? []
  return masked !== undefined && addressBytes(masked.split('/')[0]!) !== undefined ? masked : undefined
}

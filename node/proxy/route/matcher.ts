/** The choice of a route: a listener's routes, prepared for matching on the bytes of a request head. No platform, no clock. */
import { addressBytes, contains, type Network } from '../../config/cidr.ts'
import { maxTargetBytes, Method, type Head } from '../http/head.ts'
import { isNormal, normalize, pathEndOf, type PathMode } from './path.ts'
import type { RoutePlan } from './plan.ts'
import type { Regex } from './regex.ts'
import { regexOf, same, ValueRules } from './rules.ts'
import type { ListenerPlan } from './table.ts'

type Bytes = (text: string) => Uint8Array

/** What `match` returns when no route takes a request, and when its path must not be passed on. */
export const noRoute = -1
export const refusedPath = -2

/** One route's rules. */
class Rules {
  readonly anyHost: boolean
  readonly suffixes: readonly string[]
  readonly hostRegex: Regex | undefined
  readonly anyPath: boolean
  readonly prefixes: readonly Uint8Array[]
  readonly exactPaths: readonly Uint8Array[]
  readonly pathRegex: Regex | undefined
  /** There are more rules than host and path. */
  readonly more: boolean
  /** A bit for each of `Method`; 0: every method. */
  readonly methods: number
  readonly otherMethods: readonly Uint8Array[]
  readonly headers: ValueRules | undefined
  readonly cookies: ValueRules | undefined
  readonly query: ValueRules | undefined
  readonly sources: readonly Network[]

  constructor(route: RoutePlan, bytes: Bytes) {
    this.suffixes = route.hostSuffixes
    this.hostRegex = route.hostRegex === '' ? undefined : regexOf(route.hostRegex, true)
    this.anyHost = route.exactHosts.length === 0 && route.hostSuffixes.length === 0 && this.hostRegex === undefined
    this.exactPaths = route.exactPaths.map(bytes)
    this.pathRegex = route.pathRegex === '' ? undefined : regexOf(route.pathRegex)
    const every = route.paths.length === 0 ? this.exactPaths.length === 0 && this.pathRegex === undefined : route.paths.includes('')
    this.anyPath = every
    // The longest first: it is the one that a rewrite replaces.
    this.prefixes = every ? [] : route.paths.toSorted((a, b) => b.length - a.length).map(bytes)
    const known = route.methods.map((name) => methodNames.indexOf(name)).filter((method) => method > 0)
    this.methods = known.reduce((bits, method) => bits | (1 << method), route.methods.length > 0 ? 1 << 31 : 0)
    this.otherMethods = route.methods.filter((name) => methodNames.indexOf(name) <= 0).map(bytes)
    this.headers = route.headers.length === 0 ? undefined : new ValueRules(route.headers, bytes)
    this.cookies = route.cookies.length === 0 ? undefined : new ValueRules(route.cookies, bytes)
    this.query = route.query.length === 0 ? undefined : new ValueRules(route.query, bytes)
    this.sources = route.sources
    this.more = this.methods !== 0 || route.sources.length > 0 || route.headers.length + route.cookies.length + route.query.length > 0
  }
}

/** By the numbers of `Method`. */
const methodNames: string[] = []
for (const [name, method] of Object.entries(Method)) methodNames[method] = name.toUpperCase()

const slashPath = Uint8Array.of(0x2f)

export class Matcher {
  readonly #rules: readonly Rules[]
  /** Routes that name a host, in order, by host. */
  readonly #byHost = new Map<string, number[]>()
  /** Routes that may take other hosts too, in order. */
  readonly #anyHost: readonly number[]
  readonly #needsHost: boolean
  readonly #needsPath: boolean
  readonly #mode: PathMode
  #scratch: Uint8Array = new Uint8Array(0)
  #source: Uint8Array | undefined
  #sourceBytes: readonly number[] = []

  // — what was found with the last request, until the next —

  /** The path as routes see it: `[pathStart, pathEnd)` of `path`. Set only where a rule or an action needs it. */
  path: Uint8Array = slashPath
  pathStart = 0
  pathEnd = 0
  /** The query with its `?`: `[queryStart, targetEnd)` of the request's buffer. */
  queryStart = 0
  /** How much of the path the matching prefix took. */
  prefixLength = 0
  /** The path that members get is not the one that came. */
  pathChanged = false

  constructor(listener: Pick<ListenerPlan, 'routes' | 'normalizePath'>, bytes: Bytes) {
    this.#rules = listener.routes.map((route) => new Rules(route, bytes))
    this.#mode = listener.normalizePath
    const any: number[] = []
    for (const [index, route] of listener.routes.entries()) {
      const rules = this.#rules[index]!
      if (rules.anyHost || rules.suffixes.length > 0 || rules.hostRegex !== undefined) any.push(index)
      else {
        for (const host of route.exactHosts) {
          const list = this.#byHost.get(host)
          if (list === undefined) this.#byHost.set(host, [index])
          else if (list.at(-1) !== index) list.push(index)
        }
      }
    }
    // A route with exact hosts and others is in the second list, and is asked for the exact ones there.
    this.#exactBeside = listener.routes.map((route, index) => (any.includes(index) && route.exactHosts.length > 0 ? new Set(route.exactHosts) : undefined))
    this.#anyHost = any
    this.#needsHost = this.#rules.some((rules) => !rules.anyHost)
    this.#needsPath = listener.normalizePath === 'forward' || listener.routes.some((route, index) => !this.#rules[index]!.anyPath || route.rewrite !== undefined || route.redirect?.prefix !== undefined)
  }
  readonly #exactBeside: readonly (ReadonlySet<string> | undefined)[]

  /**
   * The first route that matches decides. The host is compared without case, port and trailing dot; prefixes by whole segments.
   * @param source the client's address as text, in bytes
   * @returns an index into the listener plan's `routes`; `noRoute`: the listener's default pool takes it; `refusedPath`
   */
  match(head: Head, buffer: Buffer, source: Uint8Array): number {
    if (this.#rules.length === 0 && !this.#needsPath) return noRoute
    if (this.#needsPath && !this.#readPath(head, buffer)) return refusedPath
    let host = ''
    let hostEnd = head.hostEnd
    if (this.#needsHost) {
      hostEnd = nameEnd(buffer, head.hostStart, head.hostEnd)
      host = buffer.toString('latin1', head.hostStart, hostEnd).toLowerCase()
    }
    const named = this.#needsHost ? this.#byHost.get(host) : undefined
    const any = this.#anyHost
    let i = 0
    let j = 0
    const namedCount = named === undefined ? 0 : named.length
    while (i < namedCount || j < any.length) {
      let index: number
      let hostMatches = false
      if (j >= any.length || (i < namedCount && named![i]! < any[j]!)) {
        index = named![i++]!
        hostMatches = true
      } else index = any[j++]!
      const rules = this.#rules[index]!
      if (!hostMatches && !rules.anyHost && !this.#hostMatches(index, rules, host, buffer, head.hostStart, hostEnd)) continue
      if (!rules.anyPath && !this.#pathMatches(rules)) continue
      if (rules.more && !this.#moreMatches(rules, head, buffer, source)) continue
      if (rules.anyPath) this.prefixLength = 0
      return index
    }
    return noRoute
  }

  #hostMatches(index: number, rules: Rules, host: string, buffer: Buffer, start: number, end: number): boolean {
    if (this.#exactBeside[index]?.has(host) === true || hasSuffix(host, rules.suffixes)) return true
    return rules.hostRegex !== undefined && rules.hostRegex.test(buffer, start, end)
  }

  /** @returns false when it is to be refused */
  #readPath(head: Head, buffer: Buffer): boolean {
    this.pathChanged = false
    if (head.targetEmpty) {
      this.path = slashPath
      this.pathStart = 0
      this.pathEnd = 1
      this.queryStart = head.targetStart
      return true
    }
    const end = pathEndOf(buffer, head.targetStart, head.targetEnd)
    this.queryStart = end
    if (this.#mode === 'off' || isNormal(buffer, head.targetStart, end)) {
      this.path = buffer
      this.pathStart = head.targetStart
      this.pathEnd = end
      return true
    }
    if (this.#scratch.length === 0) this.#scratch = new Uint8Array(maxTargetBytes)
    const length = normalize(buffer, head.targetStart, end, this.#scratch, this.#mode === 'forward')
    if (length < 0) return false
    this.path = this.#scratch
    this.pathStart = 0
    this.pathEnd = length
    this.pathChanged = this.#mode === 'forward'
    return true
  }

  #pathMatches(rules: Rules): boolean {
    const { path, pathStart: start, pathEnd: end } = this
    const { prefixes, exactPaths } = rules
    this.prefixLength = 0
    for (let i = 0; i < prefixes.length; i++) {
      const prefix = prefixes[i]!
      const { length } = prefix
      if (end - start < length) continue
      let at = 0
      while (at < length && path[start + at] === prefix[at]) at++
      if (at < length || (start + length < end && path[start + length] !== 0x2f)) continue
      this.prefixLength = length
      return true
    }
    for (let i = 0; i < exactPaths.length; i++) if (same(path, start, end, exactPaths[i]!)) return true
    return rules.pathRegex !== undefined && rules.pathRegex.test(path, start, end)
  }

  #moreMatches(rules: Rules, head: Head, buffer: Buffer, source: Uint8Array): boolean {
    if (rules.methods !== 0 && (rules.methods & (1 << head.method)) === 0) {
      if (head.method !== Method.other || !rules.otherMethods.some((name) => same(buffer, head.start, head.methodEnd, name))) return false
    }
    if (rules.headers !== undefined && !rules.headers.headers(head, buffer)) return false
    if (rules.cookies !== undefined && !rules.cookies.cookies(head, buffer)) return false
    if (rules.query !== undefined) {
      const start = pathEndOf(buffer, head.targetStart, head.targetEnd) + 1
      if (!rules.query.query(buffer, Math.min(start, head.targetEnd), head.targetEnd)) return false
    }
    return rules.sources.length === 0 || this.#isFrom(rules.sources, source)
  }

  #isFrom(sources: readonly Network[], source: Uint8Array): boolean {
    // One client asks for many things: its address is read once.
    if (source !== this.#source) {
      this.#source = source
      this.#sourceBytes = addressBytes(String.fromCharCode(...source)) ?? []
    }
    for (let i = 0; i < sources.length; i++) if (contains(sources[i]!, this.#sourceBytes)) return true
    return false
  }
}

/** Where a host's name ends: before its port and a trailing dot. */
export function nameEnd(buffer: Buffer, start: number, end: number): number {
  let stop = end
  // The port: behind the last colon, unless that is inside an IPv6 literal.
  for (let i = end - 1; i > start; i--) {
    const byte = buffer[i]!
    if (byte === 0x3a) {
      stop = i
      break
    }
    if (byte < 0x30 || byte > 0x39) break
  }
  if (stop > start && buffer[stop - 1] === 0x2e) stop--
  return stop
}

function hasSuffix(host: string, suffixes: readonly string[]): boolean {
  for (let i = 0; i < suffixes.length; i++) {
    const suffix = suffixes[i]!
    if (host.length > suffix.length && host.endsWith(suffix)) return true
  }
  return false
}

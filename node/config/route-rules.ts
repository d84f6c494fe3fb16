/** What routes must fulfil beyond their shape: one action each, patterns that can be compiled, headers that may be changed. */
import { readNetwork } from './cidr.ts'
import type { ProblemList } from './complete.ts'
import { compilePattern } from './pattern.ts'
import type { HeaderEdits, Route, ValueRule } from './route-schema.ts'

/** Regular expressions of all listeners together: each keeps up to 64 KiB on every worker. */
export const maxPatterns = 2000

/** Framing, routing and what a proxy writes itself: these are never left to an edit. */
const keptRequestNames = new Set([
  'host', 'connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'content-length', 'upgrade', 'expect', 'via',
  'x-forwarded-for', 'x-forwarded-proto', 'x-client-cert-verified', 'x-client-cert-subject', 'x-client-cert-fingerprint',
])
const keptResponseNames = new Set(['connection', 'keep-alive', 'proxy-connection', 'trailer', 'transfer-encoding', 'content-length', 'upgrade', 'via'])

type Refer = (name: string, field: string) => void

/** Every pool that a route may send to, a mirror included. */
export function poolsOfRoute(route: Route): string[] {
  const pools = (route.pools ?? []).map((share) => share.pool)
  if (route.pool !== undefined) pools.push(route.pool)
  if (route.mirror !== undefined) pools.push(route.mirror.pool)
  return pools
}

/** Patterns of a route, for the limit of the document. */
export function patternsOfRoute(route: Route): number {
  const { match, rewrite } = route
  const rules = match === undefined ? [] : [...match.headers, ...match.cookies, ...match.query]
  const own = [match?.hostRegex, match?.pathRegex, rewrite?.regex].filter((pattern) => pattern !== undefined)
  return own.length + rules.filter((rule) => rule.regex !== undefined).length
}

/** @param refer adds a problem when there is no pool of that name */
export function checkRoute(route: Route, field: string, refer: Refer, out: ProblemList): void {
  checkAction(route, field, refer, out)
  checkMatch(route, field, out)
  checkRewrite(route, field, out)
  if (route.headers !== undefined) checkHeaderEdits(route.headers, `${field}/headers`, out)
  if (route.redirect !== undefined) {
    const { path, prefix, host, port } = route.redirect
    if (path !== undefined && prefix !== undefined) out.add(`${field}/redirect/prefix`, 'expected either `path` or `prefix`, found both')
    if (prefix !== undefined) needsPaths(route, `${field}/redirect/prefix`, out)
    if (host !== undefined && port !== undefined && host.includes(':')) out.add(`${field}/redirect/port`, 'expected the port either in `host` or here, found both')
  }
}

function checkAction(route: Route, field: string, refer: Refer, out: ProblemList): void {
  const actions = (['pool', 'pools', 'redirect', 'respond'] as const).filter((key) => route[key] !== undefined)
  if (actions.length === 0) out.add(`${field}/pool`, 'is missing; expected one of `pool`, `pools`, `redirect` and `respond`')
  else if (actions.length > 1) out.add(`${field}/${actions[1]}`, `expected one of \`pool\`, \`pools\`, \`redirect\` and \`respond\`, found ${actions.map((key) => `\`${key}\``).join(' and ')}`)
  if (route.pool !== undefined) refer(route.pool, `${field}/pool`)
  for (const [index, share] of (route.pools ?? []).entries()) refer(share.pool, `${field}/pools/${index}/pool`)
  if (route.pools !== undefined) {
    if (route.pools.every((share) => share.weight === 0)) out.add(`${field}/pools`, 'expected at least one pool with a weight above 0')
    const seen = new Set<string>()
    for (const [index, { pool }] of route.pools.entries()) {
      if (seen.has(pool)) out.add(`${field}/pools/${index}/pool`, `pool ${pool} is in this list already`)
      seen.add(pool)
    }
  } else if (route.split !== undefined) out.add(`${field}/split`, 'means nothing without `pools`')
  if (route.mirror !== undefined) refer(route.mirror.pool, `${field}/mirror/pool`)
  if (route.pool !== undefined || route.pools !== undefined) return
  for (const key of ['rewrite', 'mirror', 'timeouts', 'retries'] as const) {
    if (route[key] !== undefined && actions.length > 0) out.add(`${field}/${key}`, `means nothing with \`${actions[0]}\`: no member is asked`)
  }
}

function checkMatch(route: Route, field: string, out: ProblemList): void {
  const { match } = route
  if (match === undefined) return
  checkPattern(match.hostRegex, `${field}/match/hostRegex`, out)
  checkPattern(match.pathRegex, `${field}/match/pathRegex`, out)
  for (const part of ['headers', 'cookies', 'query'] as const) {
    for (const [index, rule] of match[part].entries()) checkValueRule(rule, `${field}/match/${part}/${index}`, out)
  }
  for (const [index, source] of match.sources.entries()) {
    const network = readNetwork(source)
    if (!network.ok) out.add(`${field}/match/sources/${index}`, `expected ${network.expected}, found ${JSON.stringify(source)}`)
  }
}

function checkValueRule(rule: ValueRule, field: string, out: ProblemList): void {
  const given = (['equals', 'prefix', 'regex'] as const).filter((key) => rule[key] !== undefined)
  if (given.length > 1) out.add(`${field}/${given[1]}`, `expected at most one of \`equals\`, \`prefix\` and \`regex\`, found ${given.map((key) => `\`${key}\``).join(' and ')}`)
  checkPattern(rule.regex, `${field}/regex`, out)
}

function checkPattern(text: string | undefined, field: string, out: ProblemList): number {
  if (text === undefined) return 0
  const result = compilePattern(text)
  if (result.ok) return result.pattern.groups
  out.add(field, `the regular expression ${result.error}`)
  return 9
}

function checkRewrite(route: Route, field: string, out: ProblemList): void {
  const { rewrite } = route
  if (rewrite === undefined) return
  const here = `${field}/rewrite`
  if (rewrite.prefix !== undefined) needsPaths(route, `${here}/prefix`, out)
  if (rewrite.prefix !== undefined && rewrite.regex !== undefined) out.add(`${here}/regex`, 'expected either `prefix` or `regex`, found both')
  const groups = checkPattern(rewrite.regex, `${here}/regex`, out)
  if (rewrite.regex !== undefined && rewrite.replacement === undefined) out.add(`${here}/replacement`, 'is missing; expected what takes the place of what `regex` matches')
  if (rewrite.replacement === undefined) return
  if (rewrite.regex === undefined) return void out.add(`${here}/replacement`, 'means nothing without `regex`')
  for (const [, group] of rewrite.replacement.matchAll(/\$(.?)/g)) {
    if (group === '$') continue
    if (!/[0-9]/.test(group!)) out.add(`${here}/replacement`, 'has a "$" that is no group; write "$$" for a dollar')
    else if (Number(group) > groups) out.add(`${here}/replacement`, `has $${group}, but the regular expression has ${groups === 0 ? 'no groups' : groups === 1 ? 'one group' : `${groups} groups`}`)
  }
}

function needsPaths(route: Route, field: string, out: ProblemList): void {
  if (route.paths.length === 0 || (route.match?.pathsExact.length ?? 0) > 0 || route.match?.pathRegex !== undefined) {
    out.add(field, 'needs a prefix that matched: the route must have `paths` and neither `pathsExact` nor `pathRegex`')
  }
}

/** Of a route, or of a listener. */
export function checkHeaderEdits(edits: HeaderEdits, field: string, out: ProblemList): void {
  const check = (names: readonly string[], part: string, inner: string, kept: ReadonlySet<string>): void => {
    const seen = new Set<string>()
    for (const [index, name] of names.entries()) {
      const lower = name.toLowerCase()
      const hint = lower === 'host' ? '; `rewrite.host` of a route changes it' : ''
      if (kept.has(lower)) out.add(`${field}/${part}/${index}${inner}`, `${name} is written by the proxy itself and cannot be changed here${hint}`)
      if (seen.has(lower)) out.add(`${field}/${part}/${index}${inner}`, `${name} is in this list already`)
      seen.add(lower)
    }
  }
  check(edits.setRequest.map(({ name }) => name), 'setRequest', '/name', keptRequestNames)
  check(edits.removeRequest, 'removeRequest', '', keptRequestNames)
  check(edits.setResponse.map(({ name }) => name), 'setResponse', '/name', keptResponseNames)
  check(edits.removeResponse, 'removeResponse', '', keptResponseNames)
}

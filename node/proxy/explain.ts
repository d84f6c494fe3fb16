/**
 * Which route a request would take, and why the others do not: the answer to an operator's question, found by the code that routes
 * real requests. Nothing is sent.
 */
import type { ConfigurationDocument, Listener } from '../config/schema.ts'
import { Redirection } from './http/redirect.ts'
import { ascii } from './http/bytes.ts'
import { Head } from './http/head.ts'
import { normalTarget, Rewriting } from './http/rewriting.ts'
import { Matcher, noRoute, refusedPath } from './route/matcher.ts'
import { routePlanOf, type RoutePlan } from './route/plan.ts'

export interface RouteQuestion {
  readonly method: string
  /** Path and query. */
  readonly target: string
  /** Value of Host. */
  readonly host: string
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  /** Address of the client. */
  readonly source: string
}

/** A kind of rule that a request does not fulfil. */
export type RouteRuleKind = 'hosts' | 'paths' | 'methods' | 'headers' | 'cookies' | 'query' | 'sources'

export interface RouteExplanation {
  /** `route`: that of `route`; `default`: the listener's pool; `none`: 404; `refused`: 400, the path can be read in two ways; `malformed`: 400, it is no request. */
  readonly outcome: 'route' | 'default' | 'none' | 'refused' | 'malformed'
  /** Empty unless the outcome is `route`. */
  readonly route: string
  readonly action: 'pools' | 'redirect' | 'respond' | 'none'
  /** Where it may go, with the share of each. */
  readonly pools: readonly { readonly pool: string; readonly weight: number }[]
  /** Of the answer that the listener gives itself; 0: it gives none. */
  readonly status: number
  /** Where a redirect leads; else empty. */
  readonly location: string
  /** What a member is asked for; empty: none is asked. */
  readonly target: string
  readonly memberHost: string
  /** Every route in order: whether it would take the request, and if not, which of its rules do not hold. */
  readonly routes: readonly { readonly name: string; readonly matches: boolean; readonly fails: readonly RouteRuleKind[] }[]
}

const nothing: RouteExplanation = { outcome: 'malformed', route: '', action: 'none', pools: [], status: 400, location: '', target: '', memberHost: '', routes: [] }

/** `listener`: one of the document's, of protocol http or https. */
export function explainRoute(document: ConfigurationDocument, listener: Listener, question: RouteQuestion): RouteExplanation {
  const head = new Head()
  const buffer = requestOf(question)
  if (buffer === undefined || head.parseRequest(buffer, 0, buffer.length, 1000) !== 0) return nothing
  const source = ascii(question.source)
  const poolIndex = new Map(document.pools.map((pool, index) => [pool.name, index]))
  const plans = listener.routes.map((route) => routePlanOf(route, 0, poolIndex))
  const normalizePath = listener.normalizePath ?? 'match'
  const takes = (plan: RoutePlan): boolean => new Matcher({ routes: [plan], normalizePath }, ascii).match(head, buffer, source) === 0
  const routes = plans.map((plan) => ({ name: plan.name, matches: takes(plan), fails: kinds.filter((kind) => !takes(only(plan, kind))) }))
  const matcher = new Matcher({ routes: plans, normalizePath }, ascii)
  const index = matcher.match(head, buffer, source)
  if (index === refusedPath) return { ...nothing, outcome: 'refused', routes }
  const secure = listener.protocol !== 'http'
  const locationOf = (redirection: Redirection): string => /\r\nLocation: ([^\r]*)/.exec(redirection.answer(head, buffer, matcher, false).toString('latin1'))?.[1] ?? ''
  const common = { ...nothing, outcome: index === noRoute ? ('default' as const) : ('route' as const), route: index === noRoute ? '' : plans[index]!.name, status: 0, routes }
  if (listener.redirectToHttps !== undefined) {
    const plan = { status: 308, scheme: 'https' as const, host: undefined, port: listener.redirectToHttps, path: undefined, prefix: undefined, keepQuery: true }
    return { ...common, action: 'redirect', status: 308, location: locationOf(new Redirection(plan, secure, '')) }
  }
  if (index === noRoute) {
    if (listener.pool === undefined) return { ...nothing, outcome: 'none', status: 404, routes }
    const target = matcher.pathChanged && normalizePath === 'forward' ? normalTarget(head, buffer, matcher).toString('latin1') : question.target
    return { ...common, action: 'pools', pools: [{ pool: listener.pool, weight: 1 }], target, memberHost: question.host }
  }
  const plan = plans[index]!
  const route = listener.routes[index]!
  if (plan.redirect !== undefined) return { ...common, action: 'redirect', status: plan.redirect.status, location: locationOf(new Redirection(plan.redirect, secure, '')) }
  if (plan.respond !== undefined) return { ...common, action: 'respond', status: plan.respond.status }
  const { rewrite } = plan
  const rewrites = rewrite !== undefined && (rewrite.prefix !== undefined || rewrite.regex !== '')
  let target = question.target
  if (rewrites) {
    const changed = new Rewriting(rewrite).target(head, buffer, matcher)
    if (changed === null) return { ...common, action: 'none', status: 414 }
    target = changed?.toString('latin1') ?? target
  } else if (normalizePath === 'forward' && matcher.pathChanged) target = normalTarget(head, buffer, matcher).toString('latin1')
  const pools = route.pools?.map(({ pool, weight }) => ({ pool, weight })) ?? [{ pool: route.pool ?? '', weight: 1 }]
  return { ...common, action: 'pools', pools, target, memberHost: rewrite === undefined || rewrite.host === '' ? question.host : rewrite.host }
}

const kinds: readonly RouteRuleKind[] = ['hosts', 'paths', 'methods', 'headers', 'cookies', 'query', 'sources']

/** The route with its rules of one kind alone. */
function only(plan: RoutePlan, kind: RouteRuleKind): RoutePlan {
  const none: RoutePlan = { ...plan, exactHosts: [], hostSuffixes: [], hostRegex: '', paths: [], exactPaths: [], pathRegex: '', methods: [], headers: [], cookies: [], query: [], sources: [] }
  if (kind === 'hosts') return { ...none, exactHosts: plan.exactHosts, hostSuffixes: plan.hostSuffixes, hostRegex: plan.hostRegex }
  if (kind === 'paths') return { ...none, paths: plan.paths, exactPaths: plan.exactPaths, pathRegex: plan.pathRegex }
  return { ...none, [kind]: plan[kind] }
}

function requestOf({ method, target, host, headers }: RouteQuestion): Buffer | undefined {
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...headers.map(({ name, value }) => `${name}: ${value}`)]
  // A line end inside of one would make other fields.
  if (lines.some((line) => /[\r\n]/.test(line))) return undefined
  return ascii(`${lines.join('\r\n')}\r\n\r\n`)
}

/** A route of the document as the workers need it: plain data, names resolved, durations in milliseconds. Pure. */
import { readNetwork, type Network } from '../../config/cidr.ts'
import { Priority } from '../filters/plan.ts'
import { durationMs } from '../../config/duration.ts'
import type { HeaderEdits, Redirect, Route, ValueRule } from '../../config/route-schema.ts'

export interface RoutePlan {
  readonly name: string
  /** Place of its counters in shared memory. */
  readonly slot: number
  /** In the queue of its pool: one of `Priority`. */
  readonly priority: number
  /** Lower case. */
  readonly exactHosts: readonly string[]
  /** With the leading dot: `.example.org` for `*.example.org`. */
  readonly hostSuffixes: readonly string[]
  /** A regular expression; '': none. */
  readonly hostRegex: string
  /** Path prefixes without a slash at the end. */
  readonly paths: readonly string[]
  readonly exactPaths: readonly string[]
  readonly pathRegex: string
  readonly methods: readonly string[]
  readonly headers: readonly ValueRulePlan[]
  readonly cookies: readonly ValueRulePlan[]
  readonly query: readonly ValueRulePlan[]
  readonly sources: readonly Network[]
  /** Index into the table's pools; -1: the route answers itself, or has `pools`. */
  readonly pool: number
  /** Several pools, by weight; empty: there is one. */
  readonly pools: readonly { readonly pool: number; readonly weight: number }[]
  /** `pools` are chosen by the client's address. */
  readonly bySource: boolean
  readonly redirect: RedirectPlan | undefined
  readonly respond: RespondPlan | undefined
  readonly rewrite: RewritePlan | undefined
  readonly headerEdits: HeaderEditsPlan | undefined
  readonly mirror: MirrorPlan | undefined
  /** Milliseconds; 0: none of its own. */
  readonly requestMs: number
  readonly serverIdleMs: number
  readonly tunnelMs: number
  readonly retries: RetriesPlan | undefined
}
export interface ValueRulePlan {
  /** Of headers in lower case. */
  readonly name: string
  readonly kind: 'present' | 'equals' | 'prefix' | 'regex'
  readonly value: string
  readonly not: boolean
}
export interface RedirectPlan {
  readonly status: number
  readonly scheme: 'http' | 'https' | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  readonly path: string | undefined
  readonly prefix: string | undefined
  readonly keepQuery: boolean
}
export interface RespondPlan {
  readonly status: number
  readonly contentType: string
  readonly body: string
}
export interface RewritePlan {
  readonly prefix: string | undefined
  readonly regex: string
  readonly replacement: string
  readonly host: string
}
export interface HeaderEditsPlan {
  readonly setRequest: readonly { readonly name: string; readonly value: string }[]
  readonly removeRequest: readonly string[]
  readonly setResponse: readonly { readonly name: string; readonly value: string }[]
  readonly removeResponse: readonly string[]
}
export interface MirrorPlan {
  readonly pool: number
  readonly percent: number
  readonly maxBodyBytes: number
}
export interface RetriesPlan {
  readonly attempts: number
  readonly onConnectFailure: boolean
  readonly onReset: boolean
  readonly onTimeout: boolean
  readonly statuses: readonly number[]
  readonly budgetPercent: number
  readonly maxBodyBytes: number
}

export function routePlanOf(route: Route, slot: number, poolIndex: ReadonlyMap<string, number>): RoutePlan {
  const { match, rewrite, mirror, timeouts, retries } = route
  const indexOf = (pool: string | undefined): number => (pool === undefined ? -1 : (poolIndex.get(pool) ?? -1))
  return {
    name: route.name,
    slot,
    priority: Priority[route.priority ?? 'normal'],
    exactHosts: route.hosts.filter((host) => !host.startsWith('*.')).map((host) => host.toLowerCase()),
    hostSuffixes: route.hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1).toLowerCase()),
    hostRegex: match?.hostRegex ?? '',
    paths: route.paths.map(withoutSlash),
    exactPaths: match?.pathsExact ?? [],
    pathRegex: match?.pathRegex ?? '',
    methods: match?.methods ?? [],
    headers: (match?.headers ?? []).map((rule) => valueRuleOf(rule, rule.name.toLowerCase())),
    cookies: (match?.cookies ?? []).map((rule) => valueRuleOf(rule, rule.name)),
    query: (match?.query ?? []).map((rule) => valueRuleOf(rule, rule.name)),
    sources: (match?.sources ?? []).flatMap((source) => {
      const read = readNetwork(source)
      return read.ok ? [read.network] : []
    }),
    pool: indexOf(route.pool),
    pools: (route.pools ?? []).map(({ pool, weight }) => ({ pool: indexOf(pool), weight })),
    bySource: route.split === 'source',
    redirect: route.redirect === undefined ? undefined : redirectOf(route.redirect),
    respond: route.respond,
    rewrite: rewrite === undefined ? undefined : {
      prefix: rewrite.prefix === undefined ? undefined : withoutSlash(rewrite.prefix),
      regex: rewrite.regex ?? '',
      replacement: rewrite.replacement ?? '',
      host: rewrite.host ?? '',
    },
    headerEdits: headerEditsOf(route.headers),
    mirror: mirror === undefined ? undefined : { pool: indexOf(mirror.pool), percent: mirror.percent, maxBodyBytes: mirror.maxBodyBytes },
    requestMs: msOf(timeouts?.request),
    serverIdleMs: msOf(timeouts?.serverIdle),
    tunnelMs: msOf(timeouts?.tunnel),
    retries: retries === undefined ? undefined : {
      attempts: retries.attempts,
      onConnectFailure: retries.after.includes('connect-failure'),
      onReset: retries.after.includes('reset'),
      onTimeout: retries.after.includes('timeout'),
      statuses: retries.statuses,
      budgetPercent: retries.budgetPercent,
      maxBodyBytes: retries.maxBodyBytes,
    },
  }
}

/** `/api/` and `/api` are one prefix. */
function withoutSlash(path: string): string {
  return path.replace(/\/+$/, '')
}

function msOf(duration: string | undefined): number {
  return duration === undefined ? 0 : durationMs(duration)
}

function valueRuleOf(rule: ValueRule, name: string): ValueRulePlan {
  const { not } = rule
  if (rule.equals !== undefined) return { name, kind: 'equals', value: rule.equals, not }
  if (rule.prefix !== undefined) return { name, kind: 'prefix', value: rule.prefix, not }
  if (rule.regex !== undefined) return { name, kind: 'regex', value: rule.regex, not }
  return { name, kind: 'present', value: '', not }
}

function redirectOf(redirect: Redirect): RedirectPlan {
  const { status, scheme, host, port, path, prefix, keepQuery } = redirect
  return { status, scheme, host, port, path, prefix: prefix === undefined ? undefined : withoutSlash(prefix), keepQuery }
}

/** Of a listener or a route; undefined when there is nothing to edit. */
export function headerEditsOf(edits: HeaderEdits | undefined): HeaderEditsPlan | undefined {
  if (edits === undefined) return undefined
  const { setRequest, removeRequest, setResponse, removeResponse } = edits
  return setRequest.length + removeRequest.length + setResponse.length + removeResponse.length === 0 ? undefined : edits
}

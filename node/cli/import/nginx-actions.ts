/** Where nginx sends a request: proxy_pass (also by a variable), redirects, conditions of `if`. Pure. */
import { duration, given, patternFault, type Part } from './draft.ts'
import type { Directive } from './nginx-lines.ts'
import { headersOf, nameOf, type Context, type Settings, type Variable } from './nginx-settings.ts'
import { everything, ignoringCase, literal, networkOf, type Branch, type RouteMatch } from './route-match.ts'

/** A place for the requests that fulfil a rule; the first one decides. */
export interface PassTarget {
  readonly rule: RouteMatch
  readonly action: Part
}

/** @returns undefined after a note */
export function actionOf(directive: Directive, settings: Settings, context: Context, prefix: string | undefined): PassTarget[] | undefined {
  const { draft, variables } = context
  const url = /^(https?):\/\/([^/$]+|\$\{?\w+\}?)(\/[^$]*|\$request_uri)?$/.exec(directive.args[0] ?? '')
  if (url === null) {
    draft.note('skipped', directive, 'requests go to an upstream or to an address and port')
    return undefined
  }
  const [, scheme = 'http', place = '', path] = url
  const to = (where: string, source: Directive): string | undefined => poolOf(where, scheme, source, settings, context)
  const finish = (target: Part, where: string): Part => actionTo(target, where, path === '$request_uri' ? undefined : path, settings, prefix)
  if (!place.startsWith('$')) {
    const pool = to(place, directive)
    return pool === undefined ? undefined : [{ rule: everything, action: finish({ pool }, place) }]
  }
  const variable = variables.get(`$${place.replace(/[${}]/g, '')}`)
  if (variable === undefined || (path !== undefined && prefix === undefined)) {
    draft.note('skipped', directive, 'the place is said by a variable that is not known')
    return undefined
  }
  if (variable.kind === 'split') return split(variable, to, finish, context)
  const targets: PassTarget[] = []
  let fallback: PassTarget | undefined
  for (const entry of variable.directive.block ?? []) {
    if (entry.args.length === 0) continue
    const pool = to(entry.args[0]!, entry)
    if (pool === undefined) continue
    const action = finish({ pool }, entry.args[0]!)
    if (entry.name === 'default') {
      fallback = { rule: everything, action }
      continue
    }
    const rule = ruleOf(variable.from, entry.name)
    if (typeof rule === 'string') draft.note('skipped', entry, rule)
    else targets.push({ rule, action })
  }
  // Whole values come before expressions.
  targets.sort((a, b) => Number(isExpression(a.rule)) - Number(isExpression(b.rule)))
  return fallback === undefined ? targets : [...targets, fallback]
}

function isExpression(rule: RouteMatch): boolean {
  return JSON.stringify(rule).includes('egex')
}

/** `split_clients`: shares of pools. */
function split({ from, directive }: Variable, to: (where: string, source: Directive) => string | undefined, finish: (target: Part, where: string) => Part, { draft }: Context): PassTarget[] | undefined {
  let rest = 1000
  const shares = new Map<string, number>()
  let where = ''
  for (const entry of directive.block ?? []) {
    const percent = /^(\d+(?:\.\d+)?)%$/.exec(entry.name)
    const pool = entry.args[0] === undefined ? undefined : to(entry.args[0], entry)
    const weight = percent === null ? rest : Math.min(rest, Math.round(Number(percent[1]) * 10))
    if (pool === undefined || (percent === null && entry.name !== '*')) {
      draft.note('skipped', entry, 'a share is a percentage and an upstream')
      continue
    }
    where = entry.args[0]!
    rest -= weight
    shares.set(pool, (shares.get(pool) ?? 0) + weight)
  }
  if (![...shares.values()].some((weight) => weight > 0)) return undefined
  const bySource = /^\$\{?(binary_)?remote_addr\}?\w*$/.test(from)
  if (!bySource) draft.note('differs', directive, 'each request is shared out anew (or by the address of the client: `split: source`)')
  else draft.note('differs', directive, 'the shares are the same, but other clients are in them')
  return [{ rule: everything, action: finish({ pools: [...shares].map(([pool, weight]) => ({ pool, weight })), ...(bySource ? { split: 'source' } : {}) }, where) }]
}

function poolOf(where: string, scheme: string, source: Directive, settings: Settings, { draft, upstreams }: Context): string | undefined {
  const known = upstreams.has(where)
  const target = known || /:\d+$/.test(where) ? where : `${where}:${scheme === 'https' ? 443 : 80}`
  const { tls, ...pool } = settings.pool
  if (scheme === 'https') {
    const { verify = false, authority, ...rest } = (tls as Part | undefined) ?? {}
    const asked = settings.asksForName ? nameOf(where) : undefined
    if (verify === false && authority !== undefined) draft.note('needless', source, 'without proxy_ssl_verify an authority has no effect')
    pool['tls'] = given({ verify, authority: verify === true ? authority : undefined, serverName: asked, ...rest })
  }
  return upstreams.use(target, source, pool)
}

function actionTo(target: Part, where: string, path: string | undefined, settings: Settings, prefix: string | undefined): Part {
  // A path that was rewritten goes on whole.
  let rewrite = settings.rewrite
  if (rewrite === undefined && path !== undefined && prefix !== undefined && path !== prefix) rewrite = { regex: `^${literal(prefix)}`, replacement: path }
  // Without a rule nginx asks members for the name in proxy_pass.
  const host = settings.keepsHost ? undefined : (settings.host ?? (/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$/.test(where) ? where : undefined))
  return given({
    ...target,
    rewrite: rewrite === undefined && host === undefined ? undefined : { ...rewrite, ...(host === undefined ? {} : { host }) },
    headers: headersOf(settings, false),
    timeouts: settings.serverIdleMs === undefined ? undefined : { serverIdle: duration(settings.serverIdleMs) },
    rateLimit: settings.rateLimit,
  })
}

/** Where a redirect goes: a fixed place, or the path that was asked for. undefined: neither. */
export function redirectOf(place: string, status: number, { serverName }: Context): Part | undefined {
  const url = /^(?:(https?|\$scheme):\/\/([^/$]+|\$(?:host|server_name|http_host)))?(\/[^$?#]*)?(\$request_uri|\$uri)?$/.exec(place)
  if (url === null || place === '') return undefined
  const [, scheme, written, path, keeps] = url
  const host = written === '$server_name' ? serverName : written
  if (keeps !== undefined && path !== undefined && path !== '/') return undefined
  if (host !== undefined && !host.startsWith('$') && !/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$/.test(host)) return undefined
  return {
    status,
    ...(scheme === undefined || scheme === '$scheme' ? {} : { scheme }),
    ...(host === undefined || host.startsWith('$') ? {} : { host }),
    ...(keeps === undefined ? { path: path ?? '/', keepQuery: false } : keeps === '$uri' ? { keepQuery: false } : {}),
  }
}

/** A variable that has a value, or fits an expression (`~…`, `~*…`), as a rule of routes; else why not. */
function ruleOf(variable: string, written: string): RouteMatch | string {
  const expression = /^~(\*?)(.*)$/.exec(written)
  const regex = expression === null ? undefined : expression[1] === '*' ? ignoringCase(expression[2]!) : expression[2]!
  const value = written.replace(/^\\/, '')
  const fault = regex === undefined ? undefined : patternFault(regex)
  if (fault !== undefined) return `the regular expression ${fault}`
  const field = /^\$(http|cookie|arg)_(\w+)$/.exec(variable)
  if (variable === '$host' || variable === '$http_host' || variable === '$server_name') {
    if (regex !== undefined) return { hostRegex: regex.replace(/^\(\?i\)/, '') }
    const host = value.toLowerCase()
    if (/^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(host)) return { hosts: [host] }
    return host.startsWith('.') ? { hosts: [host.slice(1), `*${host}`] } : `${value} is no host`
  }
  if (field !== null) {
    const list = { http: 'headers', cookie: 'cookies', arg: 'query' }[field[1] as 'http']
    const name = field[1] === 'http' ? field[2]!.replaceAll('_', '-') : field[2]!
    // No value, and none at all, are the same to nginx.
    if (value === '') return { [list]: [{ name, regex: '.', not: true }] }
    return { [list]: [{ name, ...(regex === undefined ? { equals: value } : { regex }) }] }
  }
  switch (variable) {
    case '$request_method': {
      const methods = regex === undefined ? [value] : (/^(?:\(\?i\))?\^\(?([A-Z|]+)\)?\$$/.exec(regex)?.[1]?.split('|') ?? [])
      return methods.length > 0 && methods.every((method) => /^[A-Z]{1,20}$/.test(method)) ? { methods } : 'methods are written in a list such as ^(GET|HEAD)$'
    }
    case '$scheme': case '$https':
      return { secure: value === 'https' || value === 'on' }
    case '$remote_addr': {
      const network = regex === undefined ? networkOf(value) : undefined
      return network === undefined ? 'clients are told by address' : { sources: [network] }
    }
    case '$uri': case '$document_uri': case '$request_uri':
      if (regex !== undefined && variable !== '$request_uri') return { pathRegex: regex }
      if (regex !== undefined && !regex.includes('?') && !regex.endsWith('$')) return { pathRegex: regex }
      return regex === undefined && /^\/[!-"$->@-~]*$/.test(value) ? { pathsExact: [value] } : 'the path is looked at without its query'
    default:
      return `the variable ${variable} is not known`
  }
}

/** A condition of `if`, in its brackets; else why it is not understood. */
export function conditionOf(text: string): Branch | string {
  const parsed = /^\(\s*(\$\w+)(?:\s+(=|!=|~|~\*|!~|!~\*)\s+(.*?))?\s*\)$/.exec(text.trim())
  if (parsed === null) return 'this condition is not understood'
  const [, variable = '', operator, value = ''] = parsed
  const present = operator === undefined
  const bare = value.replace(/^(["'])(.*)\1$/, '$2')
  const rule = present ? ruleOf(variable, '~.') : ruleOf(variable, operator.includes('~') ? `~${operator.endsWith('*') ? '*' : ''}${bare}` : `\\${bare}`)
  if (typeof rule === 'string') return rule
  return operator?.startsWith('!') === true ? { match: everything, except: [rule] } : { match: rule, except: [] }
}

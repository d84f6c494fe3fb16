/** Frontends of HAProxy as listeners: their rules as an ordered list of routes. Pure. */
import { duration, given, Names, type Draft, type Part, type Source } from './draft.ts'
import type { Proxy } from './haproxy.ts'
import { withoutTwins, type Bind } from './haproxy-bind.ts'
import type { HeaderEdit, Step } from './haproxy-rules.ts'
import { everything, fieldsOf, inFront, type Entry } from './route-match.ts'

/** Routes of one listener, by the schema. */
const maxRoutes = 1024

export function emitListeners(proxy: Proxy, pools: ReadonlyMap<string, Proxy>, draft: Draft): void {
  const { section, binds, pool, defaultBackend, uses, rules } = proxy
  if (proxy.stats && !pool.hasMembers && defaultBackend === undefined && uses.length === 0 && rules.steps.length + rules.redirects.length === 0) {
    for (const { source } of binds) draft.note('needless', source, 'the console and /api/v1/metrics take the place of a page of statistics')
    return draft.note('needless', section.head, 'the console and /api/v1/metrics take the place of a page of statistics')
  }
  if (proxy.mode === 'http' && !proxy.forwards) draft.note('differs', section.head, 'members get X-Forwarded-For and X-Forwarded-Proto without being asked')
  if (binds.length === 0) draft.note('skipped', section.head, 'it has no bind that could be taken over')
  for (const bind of withoutTwins(binds)) {
    const listener = listenerOf(proxy, bind, pools, draft)
    if (listener !== undefined) draft.listeners.push(listener)
  }
}

/** What a route does that leads to a backend, with the edits of that backend. */
function toBackend(backend: string, source: Source, pools: ReadonlyMap<string, Proxy>, secure: boolean, draft: Draft): Part | undefined {
  const proxy = pools.get(backend)
  if (proxy === undefined) {
    draft.note('skipped', source, `there is no backend ${backend} with servers`)
    return undefined
  }
  // What a listen section does with requests is done by its listener.
  const own = proxy.section.kind === 'backend' ? proxy.rules.edits : []
  return given({ pool: draft.name('pool', backend), headers: headersOf(own, secure), rewrite: proxy.rules.rewrite })
}

function headersOf(edits: readonly HeaderEdit[], secure: boolean): Part | undefined {
  const here = edits.filter((edit) => edit.secure === undefined || edit.secure === secure)
  const names = (list: HeaderEdit['list']): string[] => here.filter((edit) => edit.list === list).map(({ name }) => name)
  const values = (list: HeaderEdit['list']): Part[] => here.filter((edit) => edit.list === list).map(({ name, value }) => ({ name, value }))
  const lists = { setRequest: values('setRequest'), removeRequest: names('removeRequest'), setResponse: values('setResponse'), removeResponse: names('removeResponse') }
  const used = Object.entries(lists).filter(([, list]) => list.length > 0)
  return used.length === 0 ? undefined : Object.fromEntries(used)
}

/** Puts rules in front of `rest`, the first rule first. */
function withSteps(steps: readonly Step[], rest: readonly Entry[], secure: boolean, draft: Draft): Entry[] {
  let result: Entry[] = [...rest]
  for (const { branches, action, source } of steps.toReversed()) {
    const base = action === 'allow' ? '' : `${'redirect' in action ? 'redirect' : 'respond'}-${source.line}`
    const then: readonly Entry[] = action === 'allow' ? rest : [{ match: everything, action, base }]
    const next = inFront(branches, then, result, secure)
    if (next === undefined || next.length > maxRoutes) draft.note('skipped', source, 'this rule and those behind it cannot be said in routes: THE RULE IS MISSING')
    else result = next
  }
  return result
}

/** Everything that becomes of a request of HTTP, as routes. */
function entriesOf(proxy: Proxy, pools: ReadonlyMap<string, Proxy>, secure: boolean, draft: Draft): Entry[] {
  const { section, pool, rules, uses } = proxy
  const own = pool.hasMembers ? { name: section.name, source: section.head } : proxy.defaultBackend
  const through = (backend: string, action: Part): Entry[] => {
    const { section: { kind }, rules: { steps, redirects } } = pools.get(backend)!
    const all: Entry[] = [{ match: everything, action, base: backend }]
    return kind === 'backend' ? withSteps([...steps, ...redirects], all, secure, draft) : all
  }
  const last = own === undefined ? undefined : toBackend(own.name, own.source, pools, secure, draft)
  // HAProxy answers so where no backend takes a request.
  let entries: Entry[] = last === undefined ? [{ match: everything, action: { respond: { status: 503 } }, base: 'none' }] : through(own!.name, last)
  for (const { branches, backend, source } of uses.toReversed()) {
    const action = toBackend(backend, source, pools, secure, draft)
    if (action === undefined) continue
    const next = inFront(branches, through(backend, action), entries, secure)
    if (next === undefined || next.length > maxRoutes) draft.note('skipped', source, 'this rule and those behind it cannot be said in routes: THE RULE IS MISSING')
    else entries = next
  }
  return withSteps([...rules.steps, ...rules.redirects], entries, secure, draft)
}

function listenerOf(proxy: Proxy, bind: Bind, pools: ReadonlyMap<string, Proxy>, draft: Draft): Part | undefined {
  const { section, pool, rules, uses } = proxy
  const http = proxy.mode === 'http'
  const secure = bind.tls !== undefined
  const names = new Names()
  const routes: Part[] = []
  let fallback: string | undefined
  let protocol = http ? (secure ? 'https' : 'http') : 'tcp'
  if (http) {
    const entries = entriesOf(proxy, pools, secure, draft)
    const last = entries.at(-1)!
    const plain = Object.keys(last.match).length === 0 && Object.keys(last.action).join() === 'pool'
    for (const { match, action, base } of plain ? entries.slice(0, -1) : entries) routes.push({ name: names.fresh(base, 'route'), ...fieldsOf(match), ...action })
    if (plain) fallback = last.action['pool'] as string
  } else {
    const own = pool.hasMembers ? { name: section.name, source: section.head } : proxy.defaultBackend
    const action = own === undefined ? undefined : toBackend(own.name, own.source, pools, secure, draft)
    fallback = action?.['pool'] as string | undefined
    for (const { source } of [...rules.steps, ...rules.redirects]) draft.note('skipped', source, 'a tcp listener sees no requests')
    for (const { branches, backend, source } of uses) {
      const to = toBackend(backend, source, pools, secure, draft)
      if (to === undefined) continue
      const everyone = branches.length === 1 && branches[0]!.except.length === 0 && Object.keys(branches[0]!.match).length === 0
      if (everyone) {
        fallback = to['pool'] as string
        break
      }
      const byName = branches.filter(({ match, except }) => except.length === 0 && match.hosts !== undefined && Object.keys(match).length === 1)
      if (secure || byName.length < branches.length) draft.note('skipped', source, secure ? 'a tcp listener has one pool' : 'connections are routed by the names that TLS clients ask for, exact or with `*.` in front')
      if (!secure) for (const { match } of byName) routes.push({ name: names.fresh(backend, 'route'), hosts: match.hosts, pool: to['pool'] })
    }
    if (routes.length > 0) protocol = 'tls-passthrough'
    else if (fallback === undefined) {
      draft.note('skipped', bind.source, 'a tcp listener needs a pool')
      return undefined
    }
  }
  const ms = (key: string): number | undefined => pool.timeouts.get(key)
  const idleMs = Math.max(ms('client') ?? 0, ms('server') ?? 0)
  const tunnelMs = ms('tunnel') ?? (http || idleMs === 0 ? undefined : idleMs)
  const headMs = ms('http-request') ?? ms('client')
  const keepAliveMs = ms('http-keep-alive') ?? headMs
  const { rate, maxPerSource, allow, deny } = rules
  const lists = given({
    ...(allow.length === 0 ? {} : { allow: [draft.accessList(`${section.name}-allow`, allow)] }),
    ...(deny.length === 0 ? {} : { deny: [draft.accessList(`${section.name}-deny`, deny)] }),
  })
  return given({
    name: draft.fresh('listener', section.name),
    address: bind.address,
    port: bind.port,
    portEnd: bind.portEnd,
    protocol,
    routes: routes.length === 0 ? undefined : routes,
    pool: fallback,
    requestHeadTimeout: http && headMs !== undefined ? duration(headMs, 600_000) : undefined,
    clientKeepAlive: http && keepAliveMs !== undefined ? duration(keepAliveMs) : undefined,
    clientIdleTimeout: http && ms('client') !== undefined ? duration(ms('client')!) : undefined,
    tunnelTimeout: tunnelMs === undefined ? undefined : duration(tunnelMs),
    maxConnections: proxy.maxConnections,
    proxyProtocol: bind.acceptProxy ? 'accept' : undefined,
    accessLog: proxy.accessLog ? {} : undefined,
    requestId: http && proxy.requestId !== undefined ? { header: proxy.requestId } : undefined,
    ...lists,
    maxConnectionsPerSource: maxPerSource,
    rateLimit: rate === undefined ? undefined : { requests: rate.count, per: duration(rate.ms, 24 * 3600_000, 100) },
    headers: http ? headersOf(rules.edits, secure) : undefined,
    tls: bind.tls,
  })
}

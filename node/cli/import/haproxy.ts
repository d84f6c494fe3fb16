/** Reads a haproxy.cfg and says, line by line, what could not be taken over. Pure. */
import { Draft, whole } from './draft.ts'
import { readBind, type Bind } from './haproxy-bind.ts'
import { Acls } from './haproxy-conditions.ts'
import { readSections, timeMs, type Line, type Section } from './haproxy-lines.ts'
import { emitListeners } from './haproxy-listeners.ts'
import { PoolDraft } from './haproxy-pool.ts'
import { emptyRules, httpRequestRule, httpResponseRule, redirectRule, tcpRequestRule, type RuleContext, type Rules } from './haproxy-rules.ts'
import type { Branch } from './route-match.ts'

/** A frontend, backend or listen section with what its defaults say. */
export interface Proxy {
  readonly section: Section
  readonly pool: PoolDraft
  readonly acls: Acls
  readonly binds: Bind[]
  readonly rules: Rules
  /** Lines `use_backend` in order. */
  readonly uses: { readonly branches: readonly Branch[]; readonly backend: string; readonly source: Line }[]
  mode: string
  defaultBackend: { readonly name: string; readonly source: Line } | undefined
  maxConnections: number | undefined
  accessLog: boolean
  requestId: string | undefined
  forwards: boolean
  /** It has `stats`: without backends it is nothing but a page of statistics. */
  stats: boolean
}

export function importHaproxy(text: string): Draft {
  const draft = new Draft()
  const sections = readSections(text)
  const defaults = new Map<string, Section>()
  let lastDefaults: Section | undefined
  const proxies: Proxy[] = []
  const tables = new Map<string, string>()
  for (const { name, lines } of sections) for (const line of lines) if (line.words[0] === 'stick-table') tables.set(name, line.words.join(' '))
  const verifyByDefault = !sections.some(({ kind, lines }) => kind === 'global' && lines.some(({ words }) => words[0] === 'ssl-server-verify' && words[1] === 'none'))
  for (const section of sections) {
    for (const line of section.lines) if (/"[^"]*(?<!\\)\$\{?\w/.test(line.text)) draft.note('differs', line, 'variables of the environment are not read')
    switch (section.kind) {
      case 'global':
        for (const line of section.lines) draft.note('needless', line, 'the process, its limits and its logs are set up by Haechi itself')
        break
      case 'defaults':
        lastDefaults = section
        if (section.name !== '') defaults.set(section.name, section)
        break
      case 'frontend': case 'backend': case 'listen': {
        const from = section.rest.indexOf('from')
        const base = from < 0 ? lastDefaults : defaults.get(section.rest[from + 1] ?? '')
        proxies.push(readProxy(section, base, draft, tables, verifyByDefault))
        break
      }
      default:
        draft.note('skipped', section.head, section.kind === '' ? 'it is in no section' : `sections of this kind have no counterpart${section.kind === 'resolvers' ? '; members have addresses' : ''}`)
        for (const line of section.lines) if (line !== section.head) draft.note('skipped', line, 'in a section that has no counterpart')
    }
  }
  const pools = new Map<string, Proxy>()
  const leads = (proxy: Proxy, name: string): boolean => proxy.defaultBackend?.name === name || proxy.uses.some((use) => use.backend === name)
  for (const proxy of proxies) {
    const { section, pool } = proxy
    const { kind, name, head } = section
    if (kind === 'frontend' || (kind === 'listen' && !pool.hasMembers)) continue
    const users = proxies.filter((other) => other === proxy ? kind === 'listen' : leads(other, name))
    if (users.length === 0 && !pool.hasMembers && section.lines.some(({ words }) => words[0] === 'stick-table')) continue
    if (users.length === 0) draft.note('differs', head, 'no listener leads here: the pool is made, and its rules are lost')
    pools.set(name, proxy)
    const http = users.length === 0 ? proxy.mode === 'http' : users.every((user) => user.mode === 'http')
    draft.pools.push(pool.finish(draft.name('pool', name), draft, head, http))
  }
  for (const proxy of proxies) if (proxy.section.kind !== 'backend') emitListeners(proxy, pools, draft)
  draft.notes.sort((a, b) => a.line - b.line)
  return draft
}

function readProxy(section: Section, base: Section | undefined, draft: Draft, tables: ReadonlyMap<string, string>, verifyByDefault: boolean): Proxy {
  const proxy: Proxy = {
    section, pool: new PoolDraft(), mode: 'tcp', acls: new Acls(), binds: [], rules: emptyRules(), uses: [], defaultBackend: undefined, maxConnections: undefined,
    accessLog: false, requestId: undefined, forwards: false, stats: false,
  }
  proxy.pool.verifyByDefault = verifyByDefault
  const lines = [...(base?.lines ?? []), ...section.lines]
  // Rules depend on the mode, and conditions may name acls that stand further below.
  for (const { words: [keyword, first = '', ...rest] , line, text } of lines) {
    if (keyword === 'mode') proxy.mode = first
    if (keyword === 'acl') proxy.acls.add(first, rest, { line, text })
  }
  const context: RuleContext = { draft, acls: proxy.acls, rules: proxy.rules, isBackend: section.kind === 'backend', rewrites: section.kind !== 'frontend', isHttp: proxy.mode === 'http', tables, section: section.name }
  for (const line of lines) readLine(proxy, line, context)
  if (proxy.rules.accepted.length > 0 && proxy.rules.allow.length === 0) draft.note('needless', section.head, 'connections are accepted unless they are refused')
  return proxy
}

const timeouts = new Set(['connect', 'client', 'server', 'http-request', 'http-keep-alive', 'tunnel', 'queue', 'check'])
const needlessOptions = new Set([
  'dontlognull', 'dontlog-normal', 'logasap', 'log-separate-errors', 'contstats', 'splice-auto', 'splice-request', 'splice-response', 'tcp-smart-accept', 'tcp-smart-connect', 'clitcpka', 'srvtcpka', 'tcpka',
  'abortonclose', 'socket-stats', 'http-buffer-request', 'http-use-htx', 'http-ignore-probes', 'nolinger', 'idle-close-on-response', 'independent-streams',
])
const serverSide = new Set(['balance', 'server', 'default-server', 'cookie', 'stick', 'http-check', 'tcp-check', 'fullconn', 'hash-type', 'retries'])

function readLine(proxy: Proxy, line: Line, context: RuleContext): void {
  const { draft } = context
  const [keyword = '', first = '', ...rest] = line.words
  switch (keyword) {
    case 'acl':
      return
    case 'mode':
      if (first !== 'http' && first !== 'tcp') draft.note('skipped', line, 'modes are tcp and http')
      return
    case 'bind':
      proxy.binds.push(...readBind(line, proxy.mode === 'http', draft))
      return
    case 'maxconn':
      proxy.maxConnections = whole(first, 1, 1_000_000)
      if (proxy.section.kind !== 'backend') draft.note('differs', line, 'further connections are refused; they do not wait')
      return
    case 'timeout': {
      const ms = timeMs(rest[0])
      if (ms === undefined) return draft.note('skipped', line, 'not a time')
      // 0 is for ever.
      if (timeouts.has(first)) proxy.pool.timeouts.set(first, ms === 0 ? Number.MAX_SAFE_INTEGER : ms)
      else draft.note('skipped', line, `there is no timeout ${first}`)
      return
    }
    case 'default_backend':
      proxy.defaultBackend = { name: first, source: line }
      return
    case 'use_backend': {
      if (first.includes('%[')) return draft.note('skipped', line, 'the name of a pool cannot depend on the request')
      const branches = proxy.acls.read(rest, draft, line)
      if (branches !== undefined) proxy.uses.push({ branches, backend: first, source: line })
      return
    }
    case 'monitor-uri':
      proxy.rules.steps.unshift({ branches: [{ match: { pathsExact: [first] }, except: [] }], action: { respond: { status: 200, contentType: 'text/html', body: '<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n' } }, source: line })
      return
    case 'redirect':
      return redirectRule(line, line.words.slice(1), context)
    case 'http-request':
      return httpRequestRule(line, context)
    case 'http-response':
      return httpResponseRule(line, context)
    case 'tcp-request':
      return tcpRequestRule(line, context)
    case 'stick-table':
      // A table of rates belongs to the rules that ask it.
      if (line.words.some((word) => /^(http_req_rate|conn_rate|conn_cur)/.test(word)) || line.words[line.words.indexOf('store') + 1]?.includes('_rate(') === true) return
      break
    case 'unique-id-header':
      proxy.requestId = first
      return
    case 'unique-id-format':
      return draft.note('differs', line, 'an id is 32 hexadecimal digits')
    case 'log': case 'log-format': case 'log-tag': case 'log-format-sd': case 'error-log-format':
      return draft.note('needless', line, 'see `accessLog` of listeners')
    case 'id': case 'description': case 'enabled': case 'bind-process': case 'guid':
      return draft.note('needless', line, 'has no counterpart and is not missed')
    case 'disabled':
      return draft.note('skipped', line, 'the section is taken over although it is disabled')
    case 'stats':
      proxy.stats = true
      return draft.note('needless', line, 'the console and /api/v1/metrics take its place')
    case 'errorfile': case 'errorloc': case 'errorloc302': case 'errorloc303': case 'http-error': case 'errorfiles':
      return draft.note('skipped', line, 'see `maintenance` of pools for an answer of your own')
    case 'compression': case 'http-after-response': case 'filter': case 'email-alert': case 'capture': case 'declare': case 'monitor': case 'force-persist': case 'ignore-persist':
      return draft.note('skipped', line, 'has no counterpart')
    case 'option':
      switch (first) {
        case 'forwardfor':
          proxy.forwards = true
          draft.note('differs', line, 'what clients say in X-Forwarded-For is replaced; where another proxy of yours stands in front: `forwardedHeaders: append`')
          return
        case 'httplog': case 'tcplog': case 'httpslog':
          proxy.accessLog = true
          return draft.note('differs', line, 'the access log has JSON lines (see `accessLog`)')
        default:
          if (needlessOptions.has(first)) return draft.note('needless', line, 'has no counterpart and is not missed')
      }
      break
    case 'no':
      return draft.note('needless', line, `${first} ${rest[0] ?? ''} is not set`)
    default:
  }
  if (proxy.section.kind === 'frontend' && serverSide.has(keyword)) {
    // Of defaults; in a frontend itself HAProxy refuses it.
    if (proxy.section.lines.includes(line)) draft.note('skipped', line, 'has no meaning in a frontend')
    return
  }
  if (!proxy.pool.take(line, draft)) draft.note('skipped', line, `${keyword}${keyword === 'option' ? ` ${first}` : ''} is not understood`)
}

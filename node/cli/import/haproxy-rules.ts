/** Rules of HAProxy (`http-request`, `http-response`, `redirect`, `tcp-request`): refusals, redirects, answers, header fields, rates. Pure. */
import { groupsOf, headerFault, patternFault, whole, type Draft, type Part } from './draft.ts'
import type { Acls } from './haproxy-conditions.ts'
import { conditional, timeMs, valueAfter, type Line } from './haproxy-lines.ts'
import type { Branch } from './route-match.ts'

/** A change of header fields; `secure`: only over TLS, or only without. */
export interface HeaderEdit {
  readonly list: 'setRequest' | 'removeRequest' | 'setResponse' | 'removeResponse'
  readonly name: string
  readonly value: string
  readonly secure: boolean | undefined
}

/** A rule in front of those that choose a backend. */
export interface Step {
  readonly branches: readonly Branch[]
  /** `allow`: what comes after these rules decides. */
  readonly action: Part | 'allow'
  readonly source: Line
}

export interface Rules {
  readonly steps: Step[]
  readonly redirects: Step[]
  readonly edits: HeaderEdit[]
  rewrite: Part | undefined
  /** Requests (or connections) of one address in a time. */
  rate: { readonly count: number; readonly ms: number; readonly connections: boolean; readonly line: Line } | undefined
  maxPerSource: number | undefined
  /** Who may and who may not connect. */
  readonly allow: string[]
  /** `accept if { src … }` so far: means something only in front of a `reject`. */
  readonly accepted: string[]
  readonly deny: string[]
}

export function emptyRules(): Rules {
  return { steps: [], redirects: [], edits: [], rewrite: undefined, rate: undefined, maxPerSource: undefined, allow: [], accepted: [], deny: [] }
}

export interface RuleContext {
  readonly draft: Draft
  readonly acls: Acls
  readonly rules: Rules
  readonly isBackend: boolean
  /** Its servers are its own, so that what is asked of them can be changed. */
  readonly rewrites: boolean
  readonly isHttp: boolean
  /** `stick-table` lines of all sections, by their name. */
  readonly tables: ReadonlyMap<string, string>
  readonly section: string
}

const statusOf = (text: string | undefined, otherwise: number): number => whole(text, 200, 599) ?? otherwise

export function redirectRule(line: Line, words: readonly string[], context: RuleContext): void {
  const { draft, acls, rules } = context
  const { action, condition } = conditional(words)
  const branches = acls.read(condition, draft, line)
  if (branches === undefined) return
  // The kind and its options stand in any order.
  const kind = ['location', 'prefix', 'scheme'].find((word) => action.includes(word)) ?? ''
  const value = valueAfter(action, kind) ?? ''
  const options = action
  const status = whole(valueAfter(options, 'code'), 300, 399) ?? 302
  let target: Part
  if (kind === 'scheme') {
    if (value !== 'http' && value !== 'https') return draft.note('skipped', line, 'a redirect goes to http or https')
    target = { scheme: value }
  } else {
    const url = /^(?:(https?):\/\/([^/%]+|%\[(?:req\.)?hdr\(host\)\]))?(\/[^%]*)?(%\[(?:capture\.req\.uri|url|path|pathq)\])?$/i.exec(value)
    if (url === null) return draft.note('skipped', line, 'a redirect goes to a fixed place, or keeps host or path')
    const [, scheme, host, path, keeps] = url
    target = { ...(scheme === undefined ? {} : { scheme: scheme.toLowerCase() }), ...(host === undefined || host.startsWith('%') ? {} : { host }) }
    if (kind === 'prefix' || keeps !== undefined) {
      if ((kind === 'prefix' && keeps !== undefined) || (path !== undefined && path !== '/')) return draft.note('skipped', line, 'a redirect to a path in front of the one that was asked for cannot be said')
      if (options.includes('drop-query') || keeps === '%[path]') target['keepQuery'] = false
    } else if (kind === 'location') {
      const plain = (path ?? '/').replace(/[?#].*$/, '')
      if (plain !== (path ?? '/')) draft.note('differs', line, 'the query of the new place is left out')
      Object.assign(target, { path: plain, keepQuery: false })
    } else return draft.note('skipped', line, `redirect ${kind} is not understood`)
  }
  for (const option of ['set-cookie', 'clear-cookie', 'append-slash', 'ignore-empty']) if (options.includes(option)) draft.note('skipped', line, `the option ${option} of a redirect has no counterpart`)
  // Without a status in the schema for it: the nearest one.
  const known = [301, 302, 303, 307, 308].includes(status) ? status : 302
  const list = line.words[0] === 'redirect' ? rules.redirects : rules.steps
  list.push({ branches, action: { redirect: { status: known, ...target } }, source: line })
}

/** Whether a condition asks about TLS alone. undefined: it asks about more, or cannot be read. */
function tlsOnly(branches: readonly Branch[]): { readonly secure: boolean | undefined } | undefined {
  const [branch, ...more] = branches
  if (branch === undefined || more.length > 0 || branch.except.length > 0) return undefined
  return Object.keys(branch.match).every((key) => key === 'secure') ? { secure: branch.match.secure } : undefined
}

function edit(line: Line, list: HeaderEdit['list'], name: string, format: string | undefined, condition: readonly string[], { draft, acls, rules, rewrites }: RuleContext): void {
  if (/^X-Forwarded-(For|Proto)$/i.test(name) && list.endsWith('Request')) return draft.note(list === 'setRequest' ? 'needless' : 'differs', line, 'members get X-Forwarded-For and X-Forwarded-Proto without a rule, and nothing that a client says in them')
  const branches = acls.read(condition, draft, line)
  if (branches === undefined) return
  const only = tlsOnly(branches)
  if (only === undefined) return draft.note('skipped', line, 'header fields are edited without a condition')
  if (format !== undefined && /%[[a-zA-Z{(]/.test(format.replaceAll('%%', ''))) return draft.note('skipped', line, /^X-Real-IP$/i.test(name) ? 'members find the client in X-Forwarded-For' : 'the value of a header field cannot depend on the request')
  const value = format?.replaceAll('%%', '%')
  const side = list.endsWith('Request') ? 'request' : 'response'
  if (name.toLowerCase() === 'host' && list === 'setRequest' && value !== undefined && /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$/.test(value) && only.secure === undefined && rewrites) {
    rules.rewrite = { ...rules.rewrite, host: value }
    return
  }
  const fault = headerFault(name, value, side)
  if (fault !== undefined) return draft.note('skipped', line, fault)
  const others = rules.edits.filter((other) => other.list === list)
  if (others.length >= 32) return draft.note('skipped', line, 'at most 32 header fields are edited')
  // The last one counts.
  const before = rules.edits.findIndex((other) => other.list === list && other.name.toLowerCase() === name.toLowerCase() && other.secure === only.secure)
  if (before >= 0) rules.edits.splice(before, 1)
  rules.edits.push({ list, name, value: value ?? '', secure: only.secure })
}

/** A test of a counter: how many of what in which time; undefined: it is none. */
function counterOf(test: readonly string[], line: Line, { tables, section }: RuleContext): { readonly what: string; readonly count: number; readonly ms: number | undefined } | undefined {
  const found = /^(?:sc\d?_|src_)(http_req_rate|conn_rate|conn_cur)(?:\(([^)]*)\))?\s+(?:-m int\s+)?(gt|ge)\s+(\d+)$/.exec(test.join(' '))
  if (found === null) return undefined
  const [, what = '', args = '', how, count] = found
  const named = args.split(',').map((arg) => arg.trim()).find((arg) => arg !== '' && !/^\d+$/.test(arg))
  const table = tables.get(named ?? '') ?? tables.get(valueAfter(line.words, 'table') ?? '') ?? tables.get(section) ?? [...tables.values()].find((text) => text.includes(`${what}(`))
  const period = new RegExp(`${what}\\(([^)]+)\\)`).exec(table ?? '')?.[1]
  return { what, count: Math.max(1, Number(count) - (how === 'ge' ? 1 : 0)), ms: timeMs(period) }
}

/** Takes a refusal by a counter. @returns false: it is none */
function limit(line: Line, condition: readonly string[], context: RuleContext, status: number | undefined): boolean {
  const { draft, acls, rules, isHttp, isBackend } = context
  const test = acls.single(condition)
  const counter = test === undefined ? undefined : counterOf(test, line, context)
  if (counter === undefined) return false
  if (isBackend) draft.note('skipped', line, 'rates and connections of an address are limited by listeners and routes')
  else if (counter.what === 'conn_cur') rules.maxPerSource = Math.min(1_000_000, counter.count)
  else if (counter.ms === undefined) draft.note('skipped', line, 'its table, or the time in it, is not known')
  else {
    const connections = counter.what === 'conn_rate'
    if (connections && isHttp) draft.note('skipped', line, 'connections of HTTP clients are limited by their number at once (maxConnectionsPerSource), their requests by rate')
    else {
      rules.rate = { count: Math.min(1_000_000, counter.count), ms: counter.ms, connections, line }
      draft.note('differs', line, `a token bucket in place of a window: after ${counter.count} at once they come back evenly${status === undefined || status === 429 ? '' : `; the answer is 429 in place of ${status}`}`)
    }
  }
  return true
}

export function httpRequestRule(line: Line, context: RuleContext): void {
  const { draft, acls, rules } = context
  const { action, condition } = conditional(line.words.slice(1))
  const [kind = '', ...args] = action
  if (kind === 'redirect') return redirectRule(line, line.words.slice(2), context)
  if (/^track-sc\d$/.test(kind)) {
    if (args[0] !== 'src') draft.note('skipped', line, 'rates are counted by client address')
    return
  }
  switch (kind) {
    case 'deny': case 'tarpit': case 'reject': case 'silent-drop': {
      const status = statusOf(valueAfter(args, 'deny_status') ?? valueAfter(args, 'status'), kind === 'tarpit' ? 500 : 403)
      if (limit(line, condition, context, status)) return
      const branches = acls.read(condition, draft, line)
      if (branches === undefined) return
      if (kind === 'tarpit') draft.note('differs', line, 'it is answered at once')
      if (kind === 'reject' || kind === 'silent-drop') draft.note('differs', line, 'it is answered with 403')
      rules.steps.push({ branches, action: { respond: { status } }, source: line })
      return
    }
    case 'return': {
      if (args.some((arg) => ['file', 'lf-file', 'lf-string', 'errorfile', 'errorfiles', 'hdr', 'default-errorfiles'].includes(arg))) return draft.note('skipped', line, 'an answer is a fixed text')
      const branches = acls.read(condition, draft, line)
      if (branches === undefined) return
      const contentType = valueAfter(args, 'content-type')
      rules.steps.push({
        branches, source: line,
        action: { respond: { status: statusOf(valueAfter(args, 'status'), 200), ...(contentType === undefined ? {} : { contentType }), body: valueAfter(args, 'string') ?? '' } },
      })
      return
    }
    case 'allow': {
      const branches = acls.read(condition, draft, line)
      if (branches !== undefined) rules.steps.push({ branches, action: 'allow', source: line })
      return
    }
    case 'set-header': case 'add-header':
      if (kind === 'add-header') draft.note('differs', line, 'it takes the place of fields of this name')
      return edit(line, 'setRequest', args[0] ?? '', args.slice(1).join(' '), condition, context)
    case 'del-header':
      if (args.length > 1) return draft.note('skipped', line, 'header fields are removed by their whole name')
      return edit(line, 'removeRequest', args[0] ?? '', undefined, condition, context)
    case 'replace-path': case 'set-path':
      return rewrite(line, kind, args, condition, context)
    case 'set-var': case 'set-log-level': case 'capture': case 'set-nice': case 'set-tos': case 'set-mark':
      return draft.note('skipped', line, `http-request ${kind} has no counterpart`)
    default:
      draft.note('skipped', line, `http-request ${kind} is not understood`)
  }
}

function rewrite(line: Line, kind: string, [from = '', to = '']: readonly string[], condition: readonly string[], { draft, rules, rewrites }: RuleContext): void {
  if (condition.length > 0 || !rewrites) return draft.note('skipped', line, 'paths are rewritten in backends, without a condition')
  if (rules.rewrite?.['regex'] !== undefined) return draft.note('skipped', line, 'one rewrite of the path is possible')
  let regex: string
  let replacement: string
  if (kind === 'replace-path') {
    // The whole path is replaced, wherever the expression matched.
    regex = `^.*?(?:${from}).*$`
    replacement = to.replaceAll('$', '$$$$').replace(/\\(\d)/g, '$$$1')
    if (to.includes('%[')) return draft.note('skipped', line, 'the new path is made of the old one alone')
  } else {
    const format = /^(\/[^%]*)%\[path\]$/.exec(from)
    if (format === null) return draft.note('skipped', line, 'this new path cannot be said')
    regex = '^(/.*)$'
    replacement = `${format[1]!.replaceAll('$', '$$$$')}$1`
  }
  const fault = patternFault(regex)
  if (fault !== undefined) return draft.note('skipped', line, `the regular expression ${fault}`)
  const groups = groupsOf(regex)
  const bad = !/^[/$][!-"$->@-~]*$/.test(replacement) || [...replacement.matchAll(/\$(\d)/g)].some(([, group]) => Number(group) > groups)
  if (bad) return draft.note('skipped', line, 'this new path cannot be said')
  rules.rewrite = { ...rules.rewrite, regex, replacement }
}

export function httpResponseRule(line: Line, context: RuleContext): void {
  const { draft } = context
  const { action, condition } = conditional(line.words.slice(1))
  const [kind = '', name = '', ...value] = action
  if (kind === 'set-header' || kind === 'add-header') {
    if (/^set-cookie$/i.test(name)) return draft.note('skipped', line, 'it would take the place of the cookies of members')
    if (kind === 'add-header') draft.note('differs', line, 'it takes the place of fields of this name')
    edit(line, 'setResponse', name, value.join(' '), condition, context)
  } else if (kind === 'del-header' && value.length === 0) edit(line, 'removeResponse', name, undefined, condition, context)
  else draft.note('skipped', line, `http-response ${kind} is not understood`)
}

export function tcpRequestRule(line: Line, context: RuleContext): void {
  const { draft, acls, rules, isBackend } = context
  const { action, condition } = conditional(line.words.slice(1))
  const [level = '', kind = ''] = action
  if (level === 'inspect-delay' || (level === 'content' && kind === 'accept')) return draft.note('needless', line, 'a ClientHello or a request is waited for without it')
  if (/^track-sc\d$/.test(kind)) {
    if (action[2] !== 'src') draft.note('skipped', line, 'rates are counted by client address')
    return
  }
  if (isBackend || (kind !== 'reject' && kind !== 'accept') || !['connection', 'session', 'content'].includes(level)) return draft.note('skipped', line, `tcp-request ${level} ${kind} is not understood${isBackend ? ' in a backend' : ''}`)
  if (kind === 'reject' && limit(line, condition, context, undefined)) return
  const branches = acls.read(condition, draft, line)
  if (branches === undefined) return
  const isSources = (match: object): boolean => Object.keys(match).length === 1 && 'sources' in match
  const [only] = branches
  const exceptions = only?.except ?? []
  if (kind === 'accept' && branches.length > 0 && branches.every(({ match, except }) => isSources(match) && except.length === 0)) {
    rules.accepted.push(...branches.flatMap(({ match }) => match.sources!))
    return
  }
  if (kind === 'reject' && rules.accepted.length === 0 && branches.length > 0 && branches.every(({ match, except }) => isSources(match) && except.length === 0)) {
    rules.deny.push(...branches.flatMap(({ match }) => match.sources!))
    return
  }
  // `reject if !{ src … }`, and `reject` behind `accept if { src … }`.
  if (kind === 'reject' && rules.allow.length === 0 && branches.length === 1 && Object.keys(only!.match).length === 0 && exceptions.every(isSources) && exceptions.length <= 1) {
    const allowed = [...rules.accepted, ...exceptions.flatMap(({ sources }) => sources!)]
    if (allowed.length > 0) {
      rules.allow.push(...allowed)
      return
    }
  }
  draft.note('skipped', line, `tcp-request ${level} ${kind} is understood with lists of sources alone`)
}

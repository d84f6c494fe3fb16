/** Locations of an nginx server as routes, in the order in which nginx would choose among them. Pure. */
import { given, patternFault, type Part } from './draft.ts'
import { actionOf, conditionOf, redirectOf, type PassTarget } from './nginx-actions.ts'
import type { Directive } from './nginx-lines.ts'
import { fresh, headersOf, noteBlock, take, type Context, type Settings } from './nginx-settings.ts'
import { and, everything, ignoringCase, inFront, networkOf, type Branch, type Entry, type RouteMatch } from './route-match.ts'

/** A rule in front of what a server or location does: `if (…) { return … }`, a `rewrite` that redirects. */
interface Step {
  readonly branch: Branch
  readonly action: Part
  readonly source: Directive
}

interface Inside {
  pass: Directive | undefined
  answer: Directive | undefined
  tryFiles: Directive | undefined
  readonly locations: Directive[]
  readonly steps: Step[]
}

/** Everything of a block that is no location: settings, and an action if it has one. */
function readBlock(block: readonly Directive[], settings: Settings, context: Context, level: 'http' | 'server' | 'location'): Inside {
  const { draft, quiet } = context
  const inside: Inside = { pass: undefined, answer: undefined, tryFiles: undefined, locations: [], steps: [] }
  // An own list of rules takes the place of an inherited one.
  if (block.some(({ name }) => name === 'allow' || name === 'deny')) settings.access = []
  if (block.some(({ name }) => name === 'add_header')) settings.setResponse.clear()
  if (block.some(({ name }) => name === 'limit_req')) settings.rateLimit = undefined
  if (block.some(({ name }) => name === 'proxy_hide_header')) settings.removeResponse.clear()
  if (block.some(({ name }) => name === 'proxy_set_header')) {
    settings.setRequest.clear()
    settings.removeRequest.clear()
    settings.host = undefined
    settings.keepsHost = false
  }
  const before = JSON.stringify(settings.listener)
  for (const directive of block) {
    const { name } = directive
    if (name === 'location') inside.locations.push(directive)
    else if (name === 'proxy_pass') inside.pass = directive
    else if (name === 'return') inside.answer ??= directive
    else if (name === 'rewrite') rewrite(directive, settings, inside, context, level)
    else if (name === 'if') conditional(directive, settings, inside, context)
    else if (name === 'try_files') inside.tryFiles = directive
    else if (take(directive, settings, context)) {
      if (level === 'location' && JSON.stringify(settings.listener) !== before) {
        draft.note('skipped', directive, 'it is a matter of the whole listener: say it of the server')
        for (const key of Object.keys(settings.listener)) delete settings.listener[key]
        Object.assign(settings.listener, JSON.parse(before))
      }
    } else if (!quiet) noteBlock(directive, context)
  }
  return inside
}

function conditional(directive: Directive, settings: Settings, inside: Inside, context: Context): void {
  const { draft, quiet } = context
  if (quiet) return
  const branch = conditionOf(directive.args.join(' '))
  const [answer, ...more] = directive.block ?? []
  if (typeof branch === 'string' || answer === undefined || more.length > 0 || answer.name !== 'return') {
    draft.note('skipped', directive, typeof branch === 'string' ? branch : 'what is inside of `if` can be one `return`')
    for (const inner of directive.block ?? []) noteBlock(inner, context, 'within an `if` that is not understood')
    return
  }
  // A condition looks at the header fields of answers as they have been said so far; those of the block count.
  const action = answerOf(answer, settings, context)
  if (action !== undefined) inside.steps.push({ branch, action, source: directive })
}

function rewrite(directive: Directive, settings: Settings, inside: Inside, context: Context, level: string): void {
  const { draft, quiet } = context
  if (quiet) return
  const [regex = '', replacement = '', flag = ''] = directive.args
  const fault = patternFault(regex)
  if (fault !== undefined) return draft.note('skipped', directive, `the regular expression ${fault}`)
  if (/^https?:|^\$scheme:/.test(replacement) || flag === 'redirect' || flag === 'permanent') {
    // The whole path goes along: `^(.*)$ https://host$1`, `^/(.*)$ https://host/$1`.
    const keeps = /^\^?\(\.\*\)\$?$/.test(regex) ? /\$1\??$/ : /^\^?\/\(\.\*\)\$?$/.test(regex) ? /\/\$1\??$/ : undefined
    const place = keeps === undefined ? replacement.replace(/\?$/, '') : replacement.replace(keeps, '$request_uri')
    const target = redirectOf(place, flag === 'permanent' ? 301 : 302, context)
    if (target === undefined) return draft.note('skipped', directive, 'a redirect goes to a fixed place or keeps the path')
    target['keepQuery'] = !replacement.endsWith('?') || replacement.includes('$request_uri')
    inside.steps.push({ branch: { match: { pathRegex: regex }, except: [] }, action: given({ redirect: target, headers: headersOf(settings, true) }), source: directive })
    return
  }
  if (level !== 'location') return draft.note('skipped', directive, 'paths are rewritten in locations, on their way to a member')
  if (/\$[a-z]/i.test(replacement) || replacement.includes('?') || !/^[/$][!-"$->@-~]*$/.test(replacement)) return draft.note('skipped', directive, 'a new path is made of the old one alone')
  if (settings.rewrite !== undefined) return draft.note('skipped', directive, 'one rewrite of the path is possible')
  if (flag !== 'break') draft.note('differs', directive, 'the location is not looked for again with the new path')
  // nginx replaces the whole path by the replacement, wherever the expression matched.
  const all = `^.*?(?:${regex}).*$`
  if (patternFault(all) !== undefined) return draft.note('skipped', directive, `the regular expression ${patternFault(all)}`)
  settings.rewrite = { regex: all, replacement }
}

function answerOf(directive: Directive, settings: Settings, context: Context): Part | undefined {
  const { draft } = context
  const [code = '', ...rest] = directive.args
  const status = Number(code)
  const isStatus = /^\d+$/.test(code)
  const place = isStatus ? rest.join(' ') : code
  if (!isStatus || [301, 302, 303, 307, 308].includes(status)) {
    const redirect = redirectOf(place, isStatus ? status : 302, context)
    if (redirect === undefined) {
      draft.note('skipped', directive, 'a redirect goes to a fixed place or keeps the path')
      return undefined
    }
    return given({ redirect, headers: headersOf(settings, true) })
  }
  if (place.includes('$')) {
    draft.note('skipped', directive, 'an answer is a fixed text')
    return undefined
  }
  // 444: nginx closes the connection without an answer.
  if (status === 444) draft.note('differs', directive, 'the answer is 403')
  else if (!(status >= 200 && status <= 599)) {
    draft.note('skipped', directive, 'an answer has a status from 200 to 599')
    return undefined
  }
  const type = settings.setResponse.get('content-type')?.['value'] ?? settings.contentType
  const headers = headersOf({ ...settings, setResponse: new Map([...settings.setResponse].filter(([name]) => name !== 'content-type')) }, true)
  return given({ respond: given({ status: status === 444 ? 403 : status, contentType: place === '' ? undefined : type, body: place }), headers })
}

/** `allow` and `deny` in their order as routes: who is refused gets 403. */
function withAccess(settings: Settings, match: RouteMatch, action: Part, base: string, context: Context): Entry[] {
  const entries: Entry[] = []
  const refuse: Part = { respond: { status: 403 } }
  for (const { allow, source, directive } of settings.access) {
    const own = allow ? action : refuse
    if (source === 'all') return [...entries, { match, action: own, base }]
    const network = networkOf(source)
    const here = network === undefined ? undefined : and(match, { sources: [network] })
    if (here === undefined) context.draft.note('skipped', directive, `${source} is no address or network`)
    else if (here !== 'never') entries.push({ match: here, action: own, base })
  }
  return [...entries, { match, action, base }]
}

function passEntries(directive: Directive, match: RouteMatch, settings: Settings, context: Context, base: string, prefix: string | undefined): Entry[] | undefined {
  const targets: readonly PassTarget[] | undefined = actionOf(directive, settings, context, prefix)
  if (targets === undefined) return undefined
  const entries: Entry[] = []
  for (const { rule, action } of targets) {
    const here = and(match, rule)
    if (here === undefined) context.draft.note('skipped', directive, 'the variable asks about the same part of a request as the location')
    else if (here !== 'never') entries.push(...withAccess(settings, here, action, base, context))
  }
  return entries
}

/** `order`: how nginx would come to it; lower first. */
interface Located {
  readonly order: number
  readonly length: number
  readonly entries: readonly Entry[]
}

/** What a server does, as routes without its names, and what it says of the listener. */
export function locationsOf(block: readonly Directive[], inherited: readonly Directive[], context: Context): { readonly entries: Entry[]; readonly listener: Part } {
  const { draft, secure } = context
  const base = fresh(undefined)
  readBlock(inherited, base, { ...context, quiet: true }, 'http')
  const settings = fresh(base)
  const { answer, locations, steps, pass, tryFiles } = readBlock(block, settings, context, 'server')
  for (const stray of [pass, tryFiles]) if (stray !== undefined) draft.note('skipped', stray, 'it stands in a location')
  const nothing: Entry = { match: everything, action: { respond: { status: 404 } }, base: 'none' }
  let entries: Entry[] = [nothing]
  if (answer !== undefined) {
    // `return` of the server comes before its locations are looked at.
    const action = answerOf(answer, settings, context)
    if (action !== undefined) entries = [{ match: everything, action, base: 'all' }]
    for (const location of locations) draft.note('needless', location, 'the server answers everything before its locations are looked at')
  } else {
    const named = new Map(locations.filter(({ args }) => args[0]?.startsWith('@') === true).map((location) => [location.args[0]!, location]))
    const used = new Set<string>()
    const prefixes = locations.filter(({ args }) => args.length === 1).map(({ args }) => args[0]!)
    const located: Located[] = []
    for (const location of locations) {
      const [modifier = '', path = ''] = location.args.length === 1 ? ['', location.args[0]!] : location.args
      if (path.startsWith('@')) continue
      located.push(locate(location, modifier, path, prefixes, named, used, settings, context))
    }
    for (const [name, location] of named) if (!used.has(name)) draft.note('skipped', location, 'nothing that is understood leads here')
    // Array.prototype.toSorted is stable: expressions stay in their order.
    const sorted = located.toSorted((a, b) => a.order - b.order || (a.order === 3 ? 0 : b.length - a.length)).flatMap((one) => one.entries)
    const all = sorted.findIndex(({ match }) => Object.keys(match).length === 0)
    entries = all < 0 ? [...sorted, nothing] : sorted.slice(0, all + 1)
  }
  return { entries: withSteps(steps, entries, secure, context), listener: settings.listener }
}

function withSteps(steps: readonly Step[], rest: readonly Entry[], secure: boolean, { draft }: Context): Entry[] {
  let result = [...rest]
  for (const { branch, action, source } of steps.toReversed()) {
    const next = inFront([branch], [{ match: everything, action, base: 'if' }], result, secure)
    if (next === undefined) draft.note('skipped', source, 'this condition and what stands behind it cannot be said in routes: THE RULE IS MISSING')
    else result = next
  }
  return result
}

function locate(location: Directive, modifier: string, path: string, prefixes: readonly string[], named: ReadonlyMap<string, Directive>, used: Set<string>, settings: Settings, context: Context): Located {
  const { draft, secure } = context
  let match: RouteMatch = path === '/' ? everything : { prefixes: [path] }
  let order = 4
  if (modifier === '=') {
    match = /^\/[!-"$->@-~]*$/.test(path) ? { pathsExact: [path] } : { prefixes: [path] }
    order = 1
  } else if (modifier === '~' || modifier === '~*') {
    const pattern = modifier === '~*' ? ignoringCase(path) : path
    const fault = patternFault(pattern)
    order = 3
    if (fault !== undefined) {
      draft.note('skipped', location, `the regular expression ${fault}`)
      for (const inner of location.block ?? []) noteBlock(inner, context, 'within a location that is not understood')
      return { order, length: 0, entries: [] }
    }
    match = { pathRegex: pattern }
  } else if (modifier === '^~') {
    order = 2
    if (prefixes.some((other) => other.length > path.length && other.startsWith(path))) draft.note('differs', location, 'a longer location within it is looked at after it')
  }
  const base = path.replace(/^\W+/, '') === '' ? 'root' : path
  const own = fresh(settings)
  const inside = readBlock(location.block ?? [], own, context, 'location')
  for (const inner of inside.locations) {
    draft.note('skipped', inner, 'a location within a location is not understood')
    for (const one of inner.block ?? []) noteBlock(one, context, 'within a location that is not understood')
  }
  let pass = inside.pass
  let settled = own
  const last = inside.tryFiles?.args.at(-1)
  const target = last === undefined ? undefined : named.get(last)
  if (inside.tryFiles !== undefined) {
    draft.note(target === undefined ? 'skipped' : 'differs', inside.tryFiles, target === undefined ? 'files are not served' : `files are not served: everything goes to ${last}`)
    if (target !== undefined && pass === undefined) {
      used.add(last!)
      settled = fresh(settings)
      pass = readBlock(target.block ?? [], settled, context, 'location').pass
    }
  }
  let entries: Entry[] | undefined
  if (inside.answer !== undefined) {
    // nginx answers before it looks at who asks.
    const action = answerOf(inside.answer, own, context)
    entries = action === undefined ? undefined : [{ match, action, base }]
  } else if (pass !== undefined) entries = passEntries(pass, match, settled, context, base, order === 3 || target !== undefined ? undefined : path)
  if (entries === undefined) {
    const refused = own.access.length === 1 && own.access[0]!.source === 'all' && !own.access[0]!.allow
    if (!refused && inside.answer === undefined && pass === undefined) draft.note('skipped', location, 'it neither passes requests on nor answers them: the answer is 404')
    entries = withAccess(own, match, { respond: { status: 404 } }, base, context)
  }
  // Rules of the location: within what it takes.
  if (inside.steps.length > 0) {
    const narrowed = inside.steps.flatMap((step) => {
      const here = and(match, step.branch.match)
      if (here === undefined) draft.note('skipped', step.source, 'the condition asks about the same part of a request as the location: THE RULE IS MISSING')
      return here === undefined || here === 'never' ? [] : [{ ...step, branch: { ...step.branch, match: here } }]
    })
    entries = withSteps(narrowed, entries, secure, context)
  }
  return { order, length: path.length, entries }
}

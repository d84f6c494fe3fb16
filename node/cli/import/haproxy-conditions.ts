/** Conditions of HAProxy (acl lines, `if …` and `unless …`) as rules of routes. Pure. */
import { patternFault, type Draft, type Part, type Source } from './draft.ts'
import { and, everything, ignoringCase, literal, networkOf, not, oneOf, type Branch, type RouteMatch } from './route-match.ts'

const maxAlternatives = 64
/** What a term takes: any of these. An empty list takes nothing. */
type Any = readonly RouteMatch[]

const always: Any = [everything]

/** Words of one test: `path_beg -i /a /b`. Why it cannot be said, as text. */
function readTest(words: readonly string[]): Any | string {
  const [written = '', ...rest] = words
  let ignoreCase = false
  let method = ''
  const values: string[] = []
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i]!
    if (word === '-i') ignoreCase = true
    else if (word === '-m') method = rest[++i] ?? ''
    else if (word === '-f') return 'lists in files are not read'
    else if (word === '-n' || word === '-u' || word === '-M') return `the option ${word} of an acl is not known`
    else if (word !== '--') values.push(word)
  }
  // Hosts are compared without case and port anyway.
  const fetch = written.replace(/(,lower|,field\(1,:\))+$/, (converters) => {
    if (converters.includes('lower')) ignoreCase = true
    return ''
  })
  const parsed = /^([a-z0-9_.]+?)(?:_(beg|end|reg|dir|dom|sub|len))?(?:\(([^)]*)\))?$/i.exec(fetch)
  if (parsed === null) return `the test ${written} is not known`
  const [, name = '', suffix = '', argument = ''] = parsed
  const how = method !== '' ? method : suffix
  const known = (result: Any | string): Any | string => (written !== fetch && written.includes('field') && argument.toLowerCase() !== 'host' ? `the test ${written} is not known` : result)
  switch (name.toLowerCase()) {
    case 'always_true': case 'true':
      return always
    case 'always_false': case 'false':
      return []
    case 'ssl_fc':
      return values.length > 0 || how !== '' ? `the test ${words.join(' ')} is not known` : [{ secure: true }]
    case 'req_ssl_hello_type': case 'req.ssl_hello_type': case 'wait_end':
      return always
    case 'path': case 'url':
      if (name === 'url' && (how === 'reg' || how === 'end' || how === 'sub' || values.some((value) => value.includes('?')))) return 'tests of the query are made by parameter (url_param)'
      return values.length === 0 ? 'a test without a value' : paths(values, how, ignoreCase)
    case 'method':
      return values.every((value) => /^[A-Z]{1,20}$/i.test(value)) && values.length > 0 && how === '' ? [{ methods: values.map((value) => value.toUpperCase()) }] : 'a test of the method without a method'
    case 'src': {
      const sources = values.map(networkOf)
      return how !== '' || sources.length === 0 || sources.includes(undefined) ? `${words.join(' ')}: sources are addresses and networks` : [{ sources: sources as string[] }]
    }
    case 'hdr': case 'req.hdr': case 'req.fhdr': {
      const field = argument.split(',')[0]!.trim()
      if (field.toLowerCase() === 'host') return hosts(values, how)
      return known(named('headers', field, values, how, ignoreCase))
    }
    case 'cook': case 'req.cook':
      return known(named('cookies', argument.split(',')[0]!.trim(), values, how, ignoreCase))
    case 'url_param': case 'urlp':
      return known(named('query', argument.split(',')[0]!.trim(), values, how, ignoreCase))
    case 'req_ssl_sni': case 'req.ssl_sni': case 'ssl_fc_sni':
      return hosts(values, how)
    default:
      return `the test ${written} is not known`
  }
}

function checked(pattern: string, make: (pattern: string) => RouteMatch): Any | string {
  const fault = patternFault(pattern)
  return fault === undefined ? [make(pattern)] : `the regular expression ${fault}`
}

function each(patterns: readonly string[], make: (pattern: string) => RouteMatch): Any | string {
  const all: RouteMatch[] = []
  for (const pattern of patterns) {
    const one = checked(pattern, make)
    if (typeof one === 'string') return one
    all.push(...one)
  }
  return all
}

function hosts(values: readonly string[], how: string): Any | string {
  if (values.length === 0) return 'a test of the host without a value'
  const plain = values.map((value) => value.replace(/:\d+$/, '').toLowerCase())
  const isName = plain.every((value) => /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(value.replace(/^\./, '')))
  const pattern = (text: string): Any | string => checked(text, (hostRegex) => ({ hostRegex }))
  switch (how) {
    case '': case 'str':
      return isName && !plain.some((value) => value.startsWith('.')) ? [{ hosts: plain }] : pattern(`^${oneOf(plain)}$`)
    case 'end':
      return isName && plain.every((value) => value.startsWith('.')) ? [{ hosts: plain.map((value) => `*${value}`) }] : pattern(`${oneOf(plain)}$`)
    case 'beg':
      return pattern(`^${oneOf(plain)}`)
    case 'dom':
      return pattern(`(^|\\.)${oneOf(plain)}(\\.|$)`)
    case 'sub':
      return pattern(oneOf(plain))
    case 'reg':
      return each(values, (hostRegex) => ({ hostRegex }))
    default:
      return `the match ${how} of a host is not known`
  }
}

function paths(values: readonly string[], how: string, ignoreCase: boolean): Any | string {
  const pattern = (text: string): Any | string => checked(ignoreCase ? ignoringCase(text) : text, (pathRegex) => ({ pathRegex }))
  const clean = values.every((value) => /^\/[!-"$->@-~]*$/.test(value))
  switch (how) {
    case '': case 'str':
      return ignoreCase || !clean ? pattern(`^${oneOf(values)}$`) : [{ pathsExact: [...values] }]
    // A prefix of HAProxy is one of characters: `/api` matches `/apix` too.
    case 'beg':
      return values.includes('/') ? always : ignoreCase ? pattern(`^${oneOf(values)}`) : [{ prefixes: [...values] }]
    case 'end':
      return ignoreCase ? pattern(`${oneOf(values)}$`) : [{ suffixes: [...values] }]
    case 'sub':
      return pattern(oneOf(values))
    case 'dir':
      return pattern(`/(?:${values.map((value) => literal(value.replace(/^\/|\/$/g, ''))).join('|')})(?:/|$)`)
    case 'reg':
      return each(values.map((value) => (ignoreCase ? ignoringCase(value) : value)), (pathRegex) => ({ pathRegex }))
    default:
      return `the match ${how} of a path is not known`
  }
}

function named(list: 'headers' | 'cookies' | 'query', name: string, values: readonly string[], how: string, ignoreCase: boolean): Any | string {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(name)) return 'a test without a name'
  const rule = (part: Part): RouteMatch => ({ [list]: [{ name, ...part }] })
  const pattern = (text: string): Any | string => checked(ignoreCase ? ignoringCase(text) : text, (regex) => rule({ regex }))
  if (how === 'found') return [rule({})]
  if (values.length === 0) return 'a test without a value'
  switch (how) {
    case '': case 'str':
      return values.length === 1 && !ignoreCase ? [rule({ equals: values[0]! })] : pattern(`^${oneOf(values)}$`)
    case 'beg':
      return values.length === 1 && !ignoreCase ? [rule({ prefix: values[0]! })] : pattern(`^${oneOf(values)}`)
    case 'end':
      return pattern(`${oneOf(values)}$`)
    case 'sub':
      return pattern(oneOf(values))
    case 'reg':
      return each(values.map((value) => (ignoreCase ? ignoringCase(value) : value)), (regex) => rule({ regex }))
    default:
      return `the match ${how} is not known`
  }
}

const predefined: Readonly<Record<string, Any>> = {
  TRUE: always, FALSE: [], LOCALHOST: [{ sources: ['127.0.0.0/8'] }], WAIT_END: always, REQ_CONTENT: always, HTTP: always,
  METH_GET: [{ methods: ['GET', 'HEAD'] }],
}

/** Named conditions of one proxy. */
export class Acls {
  readonly #named = new Map<string, { readonly words: readonly string[]; readonly source: Source }[]>()

  add(name: string, words: readonly string[], source: Source): void {
    const list = this.#named.get(name)
    if (list === undefined) this.#named.set(name, [{ words, source }])
    else list.push({ words, source })
  }

  /** The words of the one test that a condition consists of, such as `sc_http_req_rate(0) gt 20`; undefined: it is more than one. */
  single(words: readonly string[]): readonly string[] | undefined {
    const [keyword, first, ...more] = words
    if (keyword !== 'if' || first === undefined) return undefined
    if (first === '{' && more.at(-1) === '}' && more.indexOf('}') === more.length - 1) return more.slice(0, -1)
    const named = this.#named.get(first)
    return more.length === 0 && named?.length === 1 ? named[0]!.words : undefined
  }

  /** The words from `if` or `unless` on. undefined after a note was made: the line cannot be taken over. */
  read(words: readonly string[], draft: Draft, source: Source): Branch[] | undefined {
    if (words.length === 0) return [{ match: everything, except: [] }]
    const [keyword, ...terms] = words
    const positive: Branch[] = []
    for (const branch of split(terms)) {
      const read = this.#branch(branch)
      if (typeof read === 'string') {
        draft.note('skipped', source, read)
        return undefined
      }
      positive.push(...read)
    }
    const result = keyword === 'unless' ? not(positive) : positive
    if (result === undefined) draft.note('skipped', source, 'this condition cannot be said in routes')
    return result
  }

  #branch(terms: readonly (readonly string[])[]): Branch[] | string {
    let all: Branch[] = [{ match: everything, except: [] }]
    for (const term of terms) {
      const negated = term[0] === '!'
      const named = this.#term(negated ? term.slice(1) : term)
      if (typeof named === 'string') return named
      let any: Any = named
      if (negated) {
        const turned = turn(any)
        if (turned === undefined) {
          all = all.map(({ match, except }) => ({ match, except: [...except, ...named] }))
          continue
        }
        any = turned
      }
      const next: Branch[] = []
      for (const { match, except } of all) {
        for (const rule of any) {
          const both = and(match, rule)
          if (both === undefined || next.length >= maxAlternatives) return 'these tests cannot be joined in one route'
          if (both !== 'never') next.push({ match: both, except })
        }
      }
      all = next
    }
    return all
  }

  #term(words: readonly string[]): Any | string {
    if (words[0] === '{') return readTest(words.slice(1, -1))
    const name = words[0] ?? ''
    const tests = this.#named.get(name)
    if (tests === undefined) {
      const known = predefined[name]
      if (known !== undefined) return known
      return /^METH_[A-Z]+$/.test(name) ? [{ methods: [name.slice(5)] }] : `there is no acl ${name}`
    }
    const any: RouteMatch[] = []
    for (const { words: test } of tests) {
      const one = readTest(test)
      if (typeof one === 'string') return one
      any.push(...one)
    }
    return merged(any)
  }
}

/** Lines of an acl that are lists of the same kind are one list. */
function merged(any: readonly RouteMatch[]): Any {
  const out: RouteMatch[] = []
  for (const rule of any) {
    const keys = Object.keys(rule) as (keyof RouteMatch)[]
    const [key] = keys
    const same = keys.length === 1 && ['hosts', 'prefixes', 'suffixes', 'pathsExact', 'methods', 'sources'].includes(key!) ? out.findIndex((other) => Object.keys(other).length === 1 && key! in other) : -1
    if (same < 0) out.push(rule)
    else out[same] = { [key!]: [...(out[same]![key!] as readonly string[]), ...(rule[key!] as readonly string[])] }
  }
  return out
}

/** The opposite of a rule about one header field, cookie or parameter, or about TLS. undefined: there is none. */
function turn(any: Any): Any | undefined {
  if (any.length !== 1) return undefined
  const [rule] = any
  const [key, ...more] = Object.keys(rule!)
  if (more.length > 0) return undefined
  if (key === 'secure') return [{ secure: rule!.secure !== true }]
  if (key !== 'headers' && key !== 'cookies' && key !== 'query') return undefined
  const parts = rule![key]!
  return parts.length === 1 ? [{ [key]: [{ ...parts[0], not: true }] }] : undefined
}

/** Terms by `or`: each a list of `['!', name]`, `[name]` or `['{', …, '}']` with an optional `!` in front. */
function split(words: readonly string[]): string[][][] {
  const branches: string[][][] = [[]]
  let negated = false
  for (let i = 0; i < words.length; i++) {
    let word = words[i]!
    if (word === 'or' || word === '||') {
      branches.push([])
      continue
    }
    while (word.startsWith('!')) {
      negated = !negated
      word = word.slice(1)
    }
    if (word === '') continue
    let term = [word]
    if (word === '{') {
      const end = words.indexOf('}', i)
      term = ['{', ...words.slice(i + 1, end < 0 ? words.length : end), '}']
      i = end < 0 ? words.length : end
    }
    branches.at(-1)!.push(negated ? ['!', ...term] : term)
    negated = false
  }
  return branches
}

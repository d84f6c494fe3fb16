/** Reads an nginx.conf (http and stream) and says, line by line, what could not be taken over. Pure. */
import { Draft, Names, patternFault, type Part } from './draft.ts'
import { readListen, type Listen } from './nginx-listen.ts'
import { readDirectives, type Directive } from './nginx-lines.ts'
import { locationsOf } from './nginx-locations.ts'
import { noteBlock, take, fresh, type Variable } from './nginx-settings.ts'
import { readStream } from './nginx-stream.ts'
import { Upstreams } from './nginx-upstreams.ts'
import { and, fieldsOf, literal, type Entry, type RouteMatch } from './route-match.ts'

interface Server {
  readonly directive: Directive
  readonly listens: readonly Listen[]
  readonly names: readonly string[]
  readonly certificates: readonly string[]
  readonly tls: Part
  /** All that is no matter of the listener. */
  readonly rest: readonly Directive[]
}

interface Place {
  readonly listen: Listen
  readonly servers: { readonly server: Server; readonly listen: Listen }[]
}

/** @returns in words what is wrong, if the file cannot be read */
export function importNginx(text: string): Draft | string {
  const directives = readDirectives(text)
  if (typeof directives === 'string') return directives
  const draft = new Draft()
  // A file that others include (conf.d/*.conf) is the inside of an http block.
  const [first] = directives
  if (first !== undefined && directives.some(({ name }) => name === 'server' || name === 'upstream')) readHttp({ ...first, name: 'http', args: [], block: directives }, draft)
  else for (const directive of directives) {
    if (directive.name === 'http') readHttp(directive, draft)
    else if (directive.name === 'stream') readStream(directive, draft)
    else noteBlock(directive, { draft })
  }
  draft.notes.sort((a, b) => a.line - b.line)
  return draft
}

const apart = new Set(['server', 'upstream', 'limit_req_zone', 'limit_conn_zone', 'map', 'split_clients'])

function readHttp(http: Directive, draft: Draft): void {
  const block = http.block ?? []
  const upstreams = new Upstreams(draft)
  const zones = new Map<string, Directive>()
  const variables = new Map<string, Variable>()
  for (const directive of block) {
    const { name, args } = directive
    if (name === 'upstream') upstreams.read(directive)
    else if (name === 'limit_req_zone' || name === 'limit_conn_zone') zones.set(/zone=([^:\s]+)/.exec(args.join(' '))?.[1] ?? '', directive)
    else if (name === 'map' || name === 'split_clients') variables.set(args[1] ?? '', { kind: name === 'map' ? 'map' : 'split', from: args[0] ?? '', directive })
  }
  const shared = block.filter(({ name }) => !apart.has(name))
  const isTls = ({ name }: Directive): boolean => name.startsWith('ssl_') || name === 'http2'
  const inherited = shared.filter((directive) => !isTls(directive))
  const context = { draft, upstreams, zones, variables, serverName: '', secure: false, quiet: false }
  // What is said here holds for all servers; what cannot be taken over is noted once.
  const settings = fresh(undefined)
  for (const directive of inherited) if (!take(directive, settings, context)) noteBlock(directive, context)
  const servers = block.filter(({ name }) => name === 'server').map((server) => readServer(server, shared.filter(isTls), draft))
  for (const { listen, servers: here } of places(servers, draft).values()) {
    const of = (server: Server): ReturnType<typeof locationsOf> => locationsOf(server.rest, inherited, { ...context, secure: listen.tls, serverName: server.names.find((name) => /^[a-z0-9][a-z0-9.-]*$/.test(name)) ?? '' })
    draft.listeners.push(listenerOf(listen, here, of, draft))
  }
  upstreams.noteUnused()
  const text = block.filter(({ name }) => name === 'server').map((server) => JSON.stringify(server)).join()
  for (const [name, { directive }] of variables) if (!text.includes(name)) noteBlock(directive, { draft }, 'nothing that is understood asks for this variable')
}

function readServer(server: Directive, inheritedTls: readonly Directive[], draft: Draft): Server {
  const own = server.block ?? []
  const listens: Listen[] = []
  const names: string[] = []
  const files: string[] = []
  const keys: string[] = []
  const tls: Part = {}
  const rest: Directive[] = []
  let authority: string | undefined
  let verify: Directive | undefined
  let tlsOn = false
  for (const directive of [...inheritedTls.filter(({ name }) => !own.some((other) => other.name === name)), ...own]) {
    const [first = ''] = directive.args
    switch (directive.name) {
      case 'listen': {
        const listen = readListen(directive, draft)
        if (listen !== undefined) listens.push(listen)
        break
      }
      case 'server_name': names.push(...directive.args.map((name) => (name.startsWith('~') ? name : name.toLowerCase()))); break
      case 'ssl': tlsOn = first === 'on'; break
      case 'ssl_certificate': files.push(first); break
      case 'ssl_certificate_key': keys.push(first); break
      case 'ssl_client_certificate': authority = first; break
      case 'ssl_trusted_certificate': draft.note('needless', directive, 'it is for stapling, which needs the chain of the certificate alone'); break
      case 'ssl_crl': draft.note('skipped', directive, 'revocation lists are imported with the authority (`haechi certificate put --revocations`)'); break
      case 'ssl_verify_client': if (first !== 'off') verify = directive; break
      case 'ssl_protocols':
        if (directive.args.every((version) => version === 'TLSv1.3')) tls['profile'] = 'modern'
        else if (directive.args.some((version) => /^(SSL|TLSv1(\.1)?$)/.test(version))) draft.note('differs', directive, 'TLS 1.2 and 1.3 are spoken')
        break
      case 'ssl_ciphers': draft.note('differs', directive, 'the ciphers are those of the `profile`: ECDHE and AEAD alone'); break
      case 'ssl_session_tickets': if (first === 'off') tls['sessionTickets'] = false; break
      case 'http2': if (first === 'on') draft.note('differs', directive, 'HTTP/2 is not spoken yet: clients use HTTP/1.1'); break
      default: rest.push(directive)
    }
  }
  if (verify !== undefined && authority === undefined) draft.note('skipped', verify, 'without ssl_client_certificate no client certificate can be verified')
  else if (verify !== undefined) tls['clientAuth'] = { mode: verify.args[0] === 'on' ? 'required' : 'optional', authority: draft.authority(authority!) }
  if (listens.length === 0 && !own.some(({ name }) => name === 'listen')) listens.push({ address: '0.0.0.0', port: 80, portEnd: undefined, tls: false, isDefault: false, proxyProtocol: false, udp: false, source: server })
  return {
    directive: server, names, tls, rest,
    listens: listens.map((listen) => ({ ...listen, tls: listen.tls || tlsOn })),
    certificates: listens.some((listen) => listen.tls || tlsOn) ? files.map((file, index) => draft.certificate(file, keys[index])) : [],
  }
}

type NameKind = 'exact' | 'wildcard' | 'regex'

/** Names of a server as rules of a route, by the order in which nginx looks at them. */
function hostsOf(server: Server, draft: Draft): Record<NameKind, RouteMatch[]> {
  const exact: string[] = []
  const wildcard: string[] = []
  const regex: RouteMatch[] = []
  const isName = (name: string): boolean => /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name)
  for (const name of server.names) {
    if (name === '_' || name === '') continue
    if (name.startsWith('~')) {
      const fault = patternFault(name.slice(1))
      if (fault === undefined) regex.push({ hostRegex: name.slice(1) })
      else draft.note('skipped', server.directive, `the name ${name}: the regular expression ${fault}`)
    } else if (name.startsWith('*.') && isName(name.slice(2))) wildcard.push(name)
    else if (name.startsWith('.') && isName(name.slice(1))) {
      exact.push(name.slice(1))
      wildcard.push(`*${name}`)
    } else if (name.endsWith('.*')) regex.unshift({ hostRegex: `^${literal(name.slice(0, -1))}` })
    else if (isName(name)) exact.push(name)
    else draft.note('skipped', server.directive, `the name ${name} cannot be that of a host`)
  }
  return { exact: exact.length === 0 ? [] : [{ hosts: exact }], wildcard: wildcard.map((name) => ({ hosts: [name] })), regex }
}

/** `0.0.0.0` and `::` on one port are one listener here: `::` takes IPv4 too. */
function places(servers: readonly Server[], draft: Draft): Map<string, Place> {
  const all = servers.flatMap((server) => server.listens.map((listen) => ({ server, listen })))
  const dual = new Set(all.filter(({ listen }) => listen.address === '::').map(({ listen }) => listen.port))
  const found = new Map<string, Place>()
  for (const { server, listen } of all) {
    if (listen.udp) {
      draft.note('skipped', listen.source, 'HTTP/3 is not spoken yet')
      continue
    }
    const address = listen.address === '0.0.0.0' && dual.has(listen.port) ? '::' : listen.address
    const key = `${address} ${listen.port}`
    const place = found.get(key)
    if (place === undefined) found.set(key, { listen: { ...listen, address }, servers: [{ server, listen }] })
    else {
      const at = place.servers.findIndex((one) => one.server === server)
      if (at < 0) place.servers.push({ server, listen })
      else if (listen.isDefault) place.servers[at] = { server, listen }
      found.set(key, { listen: { ...place.listen, tls: place.listen.tls || listen.tls, proxyProtocol: place.listen.proxyProtocol || listen.proxyProtocol }, servers: place.servers })
    }
  }
  return found
}

function listenerOf(listen: Listen, here: Place['servers'], of: (server: Server) => ReturnType<typeof locationsOf>, draft: Draft): Part {
  const fallback = here.find((one) => one.listen.isDefault)?.server ?? here[0]!.server
  const ordered = [fallback, ...here.map(({ server }) => server).filter((server) => server !== fallback)]
  const results = new Map(ordered.map((server) => [server, of(server)]))
  const names = new Names()
  const routes: Part[] = []
  const add = (server: Server, hosts: RouteMatch, entries: readonly Entry[]): void => {
    const title = server.names.find((name) => /^[a-z0-9]/.test(name)) ?? 'server'
    for (const { match, action, base } of entries) {
      const both = and(hosts, match)
      if (both === undefined) draft.note('skipped', server.directive, `a rule about hosts (${base}) cannot be joined with the names of the server`)
      else if (both !== 'never') routes.push({ name: names.fresh(`${title.slice(0, 25)}-${base.slice(0, 20)}`, 'route'), ...fieldsOf(both), ...action })
    }
  }
  // nginx looks for the exact name first, then for the longest wildcard, then for the first expression; else the default server.
  const named = here.flatMap(({ server }) => {
    const hosts = hostsOf(server, draft)
    return (['exact', 'wildcard', 'regex'] as const).flatMap((kind, order) => hosts[kind].map((rule) => ({ server, rule, order, length: kind === 'wildcard' ? rule.hosts![0]!.length : 0 })))
  }).toSorted((a, b) => a.order - b.order || b.length - a.length)
  const others = named.filter(({ server }) => server !== fallback)
  // The names of the default server matter only where another server would take them.
  const matters = others.some(({ order }) => order > 0)
  for (const { server, rule } of matters ? named : others) add(server, rule, results.get(server)!.entries)
  add(fallback, {}, results.get(fallback)!.entries)
  const { listener } = results.get(fallback)!
  for (const server of ordered) {
    if (server === fallback) continue
    if (JSON.stringify(results.get(server)!.listener) !== JSON.stringify(listener)) draft.note('differs', server.directive, `timeouts, limits and logs are those of the listener, taken from its default server (line ${fallback.directive.line})`)
    if (listen.tls && JSON.stringify(server.tls) !== JSON.stringify(fallback.tls)) draft.note('differs', server.directive, `what it says of TLS is taken from the default server of the listener (line ${fallback.directive.line})`)
  }
  const certificates = [...new Set(ordered.flatMap((server) => server.certificates))]
  return {
    name: draft.fresh('listener', `${listen.tls ? 'https' : 'http'}-${listen.port}`),
    address: listen.address, port: listen.port, protocol: listen.tls ? 'https' : 'http', routes,
    ...listener,
    ...(listen.proxyProtocol ? { proxyProtocol: 'accept' } : {}),
    ...(listen.tls ? { tls: { certificates, ...fallback.tls } } : {}),
  }
}

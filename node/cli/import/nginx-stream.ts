/** The stream block of an nginx.conf: listeners of tcp, udp and tls-passthrough. Pure. */
import { duration, whole, type Draft, type Part } from './draft.ts'
import { readListen, type Listen } from './nginx-listen.ts'
import { nginxMs, type Directive } from './nginx-lines.ts'
import { noteBlock, type Variable } from './nginx-settings.ts'
import { Upstreams } from './nginx-upstreams.ts'
import { networkOf } from './route-match.ts'

/** What holds for the servers within, too. */
const inheritable = new Set(['proxy_timeout', 'proxy_connect_timeout', 'allow', 'deny', 'access_log', 'proxy_protocol', 'proxy_responses'])

export function readStream(stream: Directive, draft: Draft): void {
  const upstreams = new Upstreams(draft)
  const variables = new Map<string, Variable>()
  const zones = new Map<string, Directive>()
  const block = stream.block ?? []
  for (const directive of block) {
    const { name, args } = directive
    if (name === 'upstream') upstreams.read(directive)
    else if (name === 'map') variables.set(args[1] ?? '', { kind: 'map', from: args[0] ?? '', directive })
    else if (name === 'limit_conn_zone') zones.set(/zone=([^:\s]+)/.exec(args.join(' '))?.[1] ?? '', directive)
    else if (name !== 'server' && !inheritable.has(name)) noteBlock(directive, { draft })
  }
  const shared = block.filter(({ name }) => inheritable.has(name))
  for (const server of block) if (server.name === 'server') readServer(server, shared, variables, zones, draft, upstreams)
  upstreams.noteUnused()
  const text = block.filter(({ name }) => name === 'server').map((server) => JSON.stringify(server)).join()
  for (const [name, { directive }] of variables) if (!text.includes(name)) noteBlock(directive, { draft }, 'nothing that is understood asks for this variable')
}

function readServer(server: Directive, shared: readonly Directive[], variables: ReadonlyMap<string, Variable>, zones: ReadonlyMap<string, Directive>, draft: Draft, upstreams: Upstreams): void {
  const own = server.block ?? []
  const listens: Listen[] = []
  const listener: Part = {}
  const udp: Part = {}
  const files: string[] = []
  const keys: string[] = []
  const pool: Part = {}
  const access: Directive[] = []
  let target: Directive | undefined
  let preread = false
  let idleMs = 600_000
  let secure = false
  let tls: Part = { verify: false }
  const ownAccess = own.some(({ name }) => name === 'allow' || name === 'deny')
  const taken = shared.filter(({ name }) => (name === 'allow' || name === 'deny' ? !ownAccess : !own.some((other) => other.name === name)))
  for (const directive of [...taken, ...own]) {
    const [first = ''] = directive.args
    switch (directive.name) {
      case 'listen': {
        const listen = readListen(directive, draft)
        if (listen !== undefined) listens.push(listen)
        break
      }
      case 'proxy_pass': target = directive; break
      case 'proxy_timeout': idleMs = nginxMs(first) ?? idleMs; break
      case 'proxy_connect_timeout': pool['connectTimeout'] = duration(nginxMs(first) ?? 60_000, 600_000); break
      case 'proxy_responses': udp['udpResponses'] = whole(first, 0, 1000) ?? 0; break
      case 'proxy_protocol': if (first === 'on') pool['sendProxyProtocol'] = 'v1'; break
      case 'proxy_next_upstream': if (first === 'off') pool['retries'] = 0; break
      case 'proxy_next_upstream_tries': if ((whole(first, 0, 11) ?? 0) > 0) pool['retries'] = whole(first, 1, 11)! - 1; break
      case 'proxy_ssl': secure = first === 'on'; break
      case 'proxy_ssl_verify': tls = { ...tls, verify: first === 'on' }; break
      case 'proxy_ssl_name': tls = { ...tls, serverName: first }; break
      case 'proxy_ssl_trusted_certificate': tls = { ...tls, authority: draft.authority(first) }; break
      case 'ssl_preread': preread = first === 'on'; break
      case 'ssl_certificate': files.push(first); break
      case 'ssl_certificate_key': keys.push(first); break
      case 'access_log':
        if (first === 'off') break
        listener['accessLog'] = { format: 'json' }
        draft.note('differs', directive, 'it is access.log in the data directory, with JSON lines')
        break
      case 'limit_conn':
        if (/^\$(binary_)?remote_addr$/.test(zones.get(first)?.args[0] ?? '$remote_addr')) listener['maxConnectionsPerSource'] = whole(directive.args[1], 1, 1_000_000) ?? 1
        else draft.note('skipped', directive, 'connections are limited by address, by listener or by pool')
        break
      case 'allow': case 'deny': access.push(directive); break
      default: noteBlock(directive, { draft })
    }
  }
  if (target === undefined) return draft.note('skipped', server, 'it has no proxy_pass')
  if (secure && tls['verify'] === false) delete tls['authority']
  if (secure) pool['tls'] = tls
  const place = target.args[0] ?? ''
  const variable = variables.get(place)
  const routes: Part[] = []
  let fallback: string | undefined
  if (variable !== undefined) {
    if (!preread || variable.from !== '$ssl_preread_server_name') return draft.note('skipped', target, 'connections are routed by the name that TLS clients ask for (ssl_preread)')
    fallback = byName(variable.directive, pool, routes, draft, upstreams)
  } else if (place.includes('$')) return draft.note('skipped', target, 'the place cannot depend on a variable')
  else fallback = upstreams.use(place, target, pool)
  Object.assign(listener, accessOf(access, server, draft))
  for (const listen of listens) {
    const protocol = listen.udp ? 'udp' : variable !== undefined ? 'tls-passthrough' : 'tcp'
    if (routes.length === 0 && fallback === undefined) {
      draft.note('skipped', listen.source, 'nothing that is understood is behind it')
      continue
    }
    draft.listeners.push({
      name: draft.fresh('listener', `${protocol === 'tls-passthrough' ? 'tls' : protocol}-${listen.port}`),
      address: listen.address, port: listen.port, ...(listen.portEnd === undefined ? {} : { portEnd: listen.portEnd }), protocol,
      ...(protocol === 'tls-passthrough' ? { routes } : {}),
      ...(fallback === undefined ? {} : { pool: fallback }),
      ...listener,
      ...(listen.udp ? { udpTimeout: duration(idleMs, 24 * 3600_000, 100), ...udp } : { tunnelTimeout: duration(idleMs) }),
      ...(listen.proxyProtocol ? { proxyProtocol: 'accept' } : {}),
      ...(listen.tls ? { tls: { certificates: files.map((file, index) => draft.certificate(file, keys[index])) } } : {}),
    })
  }
}

/** Routes by server name, exact ones first. @returns the pool of all others */
function byName(map: Directive, pool: Part, routes: Part[], draft: Draft, upstreams: Upstreams): string | undefined {
  const entries = map.block ?? []
  const wildcards = entries.some(({ name, args }) => name === 'hostnames' && args.length === 0)
  let fallback: string | undefined
  const found: { hosts: string[]; pool: string; order: number }[] = []
  for (const entry of entries) {
    if (entry.args.length === 0 && (entry.name === 'hostnames' || entry.name === 'volatile')) continue
    const name = entry.name.replace(/^\\/, '').toLowerCase()
    const isWild = name.startsWith('*.') || name.startsWith('.')
    const bare = name.replace(/^\*?\./, '')
    if (entry.name !== 'default' && entry.name !== '' && (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(bare) || (isWild && !wildcards))) {
      draft.note('skipped', entry, 'server names are exact, or wildcards (with `hostnames`)')
      continue
    }
    if (entry.name === '') {
      draft.note('skipped', entry, 'clients that ask for no name go where all others go')
      continue
    }
    const to = upstreams.use(entry.args[0] ?? '', entry, pool)
    if (to === undefined) continue
    if (entry.name === 'default') fallback = to
    else found.push({ hosts: name.startsWith('.') ? [bare, `*.${bare}`] : [name], pool: to, order: isWild ? 1000 - bare.length : 0 })
  }
  for (const [index, { hosts, pool: to }] of found.toSorted((a, b) => a.order - b.order).entries()) routes.push({ name: `name-${index + 1}`, hosts, pool: to })
  return fallback
}

/** `allow` and `deny` in their order, as lists: what is denied is denied whatever is allowed. */
function accessOf(rules: readonly Directive[], server: Directive, draft: Draft): Part {
  const allow: string[] = []
  const deny: string[] = []
  let closed = false
  for (const rule of rules) {
    const [source = ''] = rule.args
    if (source === 'all') {
      closed = rule.name === 'deny'
      break
    }
    const network = networkOf(source)
    if (network === undefined) draft.note('skipped', rule, `${source} is no address or network`)
    else if (rule.name === 'allow') allow.push(network)
    else {
      if (allow.length > 0) draft.note('differs', rule, 'whom it denies is denied, even if a line before allows it')
      deny.push(network)
    }
  }
  const base = `stream-${server.line}`
  return {
    ...(closed ? { allow: [draft.accessList(`${base}-allow`, allow)] } : {}),
    ...(deny.length === 0 ? {} : { deny: [draft.accessList(`${base}-deny`, deny)] }),
  }
}

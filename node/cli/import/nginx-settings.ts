/** Directives of nginx that hold for what is inside of them, too: from http over server to location. Pure. */
import { addressOf, duration, headerFault, whole, type Draft, type Part } from './draft.ts'
import { nginxMs, type Directive } from './nginx-lines.ts'
import type { Upstreams } from './nginx-upstreams.ts'

/** `map` and `split_clients`. */
export interface Variable {
  readonly kind: 'map' | 'split'
  /** What is looked at. */
  readonly from: string
  readonly directive: Directive
}

export interface Context {
  readonly draft: Draft
  readonly upstreams: Upstreams
  readonly zones: ReadonlyMap<string, Directive>
  readonly variables: ReadonlyMap<string, Variable>
  /** The first name of the server. */
  readonly serverName: string
  /** The listener has TLS. */
  readonly secure: boolean
  /** No notes: the block is read again for one of several servers in it. */
  readonly quiet: boolean
}

/** What has been said so far. */
export interface Settings {
  readonly listener: Part
  readonly pool: Part
  readonly setRequest: Map<string, Part>
  readonly removeRequest: Set<string>
  readonly setResponse: Map<string, Part>
  readonly removeResponse: Set<string>
  host: string | undefined
  /** Host goes on as it came. */
  keepsHost: boolean
  contentType: string | undefined
  serverIdleMs: number | undefined
  rateLimit: Part | undefined
  /** The answer to who is too fast. */
  limitStatus: number
  /** Members are asked for the name in proxy_pass. */
  asksForName: boolean
  rewrite: Part | undefined
  /** `allow` and `deny` in order. */
  access: { readonly allow: boolean; readonly source: string; readonly directive: Directive }[]
}

export function fresh(base: Settings | undefined): Settings {
  return {
    listener: { ...base?.listener }, pool: { ...base?.pool }, setRequest: new Map(base?.setRequest), removeRequest: new Set(base?.removeRequest),
    setResponse: new Map(base?.setResponse), removeResponse: new Set(base?.removeResponse), host: base?.host, keepsHost: base?.keepsHost ?? false, contentType: base?.contentType,
    serverIdleMs: base?.serverIdleMs, rateLimit: base?.rateLimit, limitStatus: base?.limitStatus ?? 503, asksForName: base?.asksForName ?? false, rewrite: undefined, access: [...(base?.access ?? [])],
  }
}

/** Takes a directive. @returns false: it is another one */
export function take(directive: Directive, settings: Settings, context: Context): boolean {
  const { draft, quiet } = context
  const note: Draft['note'] = (kind, source, why) => (quiet ? undefined : draft.note(kind, source, why))
  const [first = '', ...rest] = directive.args
  const tls = (part: Part): void => void (settings.pool['tls'] = { ...(settings.pool['tls'] as Part | undefined), ...part })
  const ms = (otherwise: number): number => nginxMs(first) ?? otherwise
  switch (directive.name) {
    case 'keepalive_timeout':
      settings.listener['clientKeepAlive'] = duration(ms(75_000))
      if (ms(1) === 0) note('differs', directive, 'connections are kept a moment')
      return true
    case 'client_header_timeout': settings.listener['requestHeadTimeout'] = duration(ms(60_000), 600_000); return true
    case 'client_body_timeout': settings.listener['clientIdleTimeout'] = duration(ms(60_000)); return true
    case 'large_client_header_buffers': case 'client_header_buffer_size': note('needless', directive, 'heads may have 64 KiB (maxHeadBytes)'); return true
    case 'send_timeout': note('needless', directive, 'a client that takes nothing is closed after clientIdleTimeout'); return true
    case 'client_max_body_size': note('skipped', directive, 'bodies are streamed and have no limit'); return true
    case 'access_log':
      if (first === 'off') delete settings.listener['accessLog']
      else {
        settings.listener['accessLog'] = { format: 'combined' }
        note('differs', directive, 'it is access.log in the data directory, in the combined format')
      }
      return true
    case 'default_type': settings.contentType = first; return true
    case 'proxy_connect_timeout': settings.pool['connectTimeout'] = duration(ms(60_000), 600_000); return true
    case 'proxy_read_timeout': settings.serverIdleMs = ms(60_000); return true
    case 'proxy_send_timeout': note('needless', directive, 'a member that takes nothing is given up after the read timeout'); return true
    case 'proxy_next_upstream':
      if (first === 'off') settings.pool['retries'] = 0
      else if (directive.args.some((arg) => /^http_|non_idempotent|invalid_header/.test(arg))) note('skipped', directive, 'requests are repeated after failed connections; for more set `retries` of the routes')
      return true
    case 'proxy_next_upstream_tries': {
      const tries = whole(first, 0, 11) ?? 0
      if (tries > 0) settings.pool['retries'] = tries - 1
      return true
    }
    case 'proxy_ssl_verify': tls({ verify: first === 'on' }); return true
    case 'proxy_ssl_trusted_certificate': tls({ authority: draft.authority(first) }); return true
    case 'proxy_ssl_certificate': tls({ certificate: draft.certificate(first) }); return true
    case 'proxy_ssl_certificate_key': return true
    case 'proxy_ssl_name':
      if (/^[A-Za-z0-9.-]+$/.test(first)) tls({ serverName: first })
      else note('skipped', directive, 'a server name does not depend on the request')
      return true
    case 'proxy_ssl_server_name': settings.asksForName = first === 'on'; return true
    case 'proxy_ssl_session_reuse': tls({ sessionReuse: first !== 'off' }); return true
    case 'proxy_redirect':
      if (first !== 'off') note('skipped', directive, 'Location of members goes on as it is')
      return true
    case 'proxy_set_header': setHeader(directive, settings, note); return true
    case 'proxy_hide_header':
      if (headerFault(first, undefined, 'response') !== undefined) note('skipped', directive, headerFault(first, undefined, 'response')!)
      else settings.removeResponse.add(first)
      return true
    case 'add_header': {
      const always = rest.at(-1) === 'always'
      const value = (always ? rest.slice(0, -1) : rest).join(' ')
      const fault = value.includes('$') ? 'the value of a header field cannot depend on the request' : /^set-cookie$/i.test(first) ? 'it would take the place of the cookies of members' : headerFault(first, value, 'response')
      if (fault !== undefined) note('skipped', directive, fault)
      else {
        settings.setResponse.set(first.toLowerCase(), { name: first, value })
        if (!always) note('differs', directive, 'answers of every status get it, in the place of what members say')
      }
      return true
    }
    case 'limit_req_status': settings.limitStatus = whole(first, 400, 599) ?? 503; return true
    case 'limit_req': return limitRequests(directive, settings, context, note)
    case 'limit_conn': {
      const zone = context.zones.get(first)
      if (zone !== undefined && !/^\$(binary_)?remote_addr$/.test(zone.args[0] ?? '')) note('skipped', directive, 'connections are limited by address, by listener or by pool')
      else {
        settings.listener['maxConnectionsPerSource'] = whole(rest[0], 1, 1_000_000) ?? 1
        note('differs', directive, 'connections count, idle ones too; further ones are closed without an answer')
      }
      return true
    }
    case 'allow': case 'deny':
      settings.access.push({ allow: directive.name === 'allow', source: first, directive })
      return true
    default:
      return false
  }
}

type Note = Draft['note']

function setHeader(directive: Directive, settings: Settings, note: Note): void {
  const [first = '', ...rest] = directive.args
  const value = rest.join(' ')
  switch (first.toLowerCase()) {
    case 'host':
      settings.keepsHost = ['$host', '$http_host', '$host:$server_port'].includes(value)
      settings.host = /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[1-9][0-9]{0,4})?$/.test(value) ? value : undefined
      if (!settings.keepsHost && settings.host === undefined && value !== '$proxy_host') {
        settings.keepsHost = true
        note('skipped', directive, 'Host is that of the request, or a fixed one; it goes on as it came')
      }
      return
    case 'x-forwarded-for':
      if (value.includes('proxy_add_x_forwarded_for')) note('differs', directive, 'what clients say in X-Forwarded-For is replaced; where another proxy of yours stands in front: `forwardedHeaders: append`')
      else if (value !== '$remote_addr') note('skipped', directive, 'X-Forwarded-For has the address of the client')
      return
    case 'x-forwarded-proto':
      if (value !== '$scheme') note('skipped', directive, 'X-Forwarded-Proto says whether the client came over TLS')
      return
    case 'upgrade': case 'connection':
      return note('needless', directive, 'upgrades (WebSocket) and kept connections need no rule')
    default:
  }
  if (value === '$request_id') {
    settings.listener['requestId'] = { header: first }
    return
  }
  const fault = value.includes('$') ? (/^x-real-ip$/i.test(first) ? 'members find the client in X-Forwarded-For' : 'the value of a header field cannot depend on the request') : headerFault(first, value === '' ? undefined : value, 'request')
  if (fault !== undefined) note('skipped', directive, fault)
  else if (value === '') settings.removeRequest.add(first)
  else settings.setRequest.set(first.toLowerCase(), { name: first, value })
}

function limitRequests(directive: Directive, settings: Settings, { zones }: Context, note: Note): boolean {
  const text = directive.args.join(' ')
  const zone = zones.get(/zone=(\S+)/.exec(text)?.[1] ?? '')
  const rate = /rate=(\d+)r\/(s|m)/.exec(zone?.args.join(' ') ?? '')
  const header = /^\$http_([a-z0-9_]+)$/.exec(zone?.args[0] ?? '')
  if (rate === null || zone === undefined) note('skipped', directive, 'its zone is not known')
  else if (header === null && !/^\$(binary_)?remote_addr$/.test(zone.args[0] ?? '')) note('skipped', directive, 'requests are counted by address or by a header field')
  else if (settings.rateLimit !== undefined) note('skipped', directive, 'a route has one rate limit: the first one is taken')
  else {
    const requests = whole(rate[1], 1, 1_000_000) ?? 1
    const burst = whole(/burst=(\d+)/.exec(text)?.[1], 0, 999_999) ?? 0
    settings.rateLimit = { requests, per: rate[2] === 's' ? '1s' : '1m', burst: burst + 1, ...(header === null ? {} : { key: 'header', header: header[1]!.replaceAll('_', '-') }) }
    if (burst > 0 && !text.includes('nodelay')) note('differs', directive, 'requests within the burst are not delayed')
    note('differs', directive, `each location counts for itself${settings.limitStatus === 429 ? '' : `; the answer is 429, not ${settings.limitStatus}`}`)
  }
  return true
}

/** Changes of header fields; `answer`: of an answer that no member gives. undefined: none. */
export function headersOf(settings: Settings, answer: boolean): Part | undefined {
  const { setRequest, removeRequest, setResponse, removeResponse } = settings
  const lists = {
    setRequest: answer ? [] : [...setRequest.values()],
    removeRequest: answer ? [] : [...removeRequest].filter((name) => !setRequest.has(name.toLowerCase())),
    setResponse: [...setResponse.values()],
    removeResponse: answer ? [] : [...removeResponse].filter((name) => !setResponse.has(name.toLowerCase())),
  }
  const used = Object.entries(lists).filter(([, list]) => list.length > 0).map(([key, list]) => [key, list.slice(0, 32)])
  return used.length === 0 ? undefined : Object.fromEntries(used)
}

const needless = new Set([
  'user', 'worker_processes', 'worker_rlimit_nofile', 'worker_cpu_affinity', 'worker_shutdown_timeout', 'pid', 'error_log', 'daemon', 'master_process', 'load_module', 'sendfile', 'sendfile_max_chunk',
  'tcp_nopush', 'tcp_nodelay', 'types_hash_max_size', 'types_hash_bucket_size', 'types', 'server_tokens', 'log_format', 'server_names_hash_bucket_size', 'server_names_hash_max_size', 'proxy_http_version',
  'proxy_buffering', 'proxy_buffers', 'proxy_buffer_size', 'proxy_busy_buffers_size', 'proxy_max_temp_file_size', 'proxy_request_buffering', 'client_body_buffer_size', 'proxy_headers_hash_max_size',
  'proxy_headers_hash_bucket_size', 'reset_timedout_connection', 'variables_hash_max_size', 'variables_hash_bucket_size', 'map_hash_bucket_size', 'map_hash_max_size', 'keepalive_requests', 'ssl_prefer_server_ciphers',
  'ssl_session_cache', 'ssl_session_timeout', 'ssl_dhparam', 'ssl_ecdh_curve', 'ssl_stapling', 'ssl_stapling_verify', 'resolver', 'resolver_timeout', 'limit_req_log_level', 'limit_conn_log_level', 'proxy_socket_keepalive',
  'preread_timeout', 'charset', 'env', 'thread_pool', 'pcre_jit', 'use', 'worker_connections', 'multi_accept', 'accept_mutex', 'log_not_found', 'lingering_close', 'lingering_timeout', 'open_file_cache', 'recursive_error_pages',
  'proxy_intercept_errors', 'merge_slashes', 'underscores_in_headers', 'port_in_redirect', 'server_name_in_redirect', 'absolute_redirect', 'aio', 'directio', 'proxy_pass_request_headers', 'proxy_pass_request_body',
])
const files = new Set(['root', 'alias', 'index', 'autoindex', 'fastcgi_pass', 'uwsgi_pass', 'scgi_pass', 'fastcgi_param', 'fastcgi_index', 'expires', 'gzip_static', 'dav_methods'])

/** A directive that has no counterpart, with everything in its block. */
export function noteBlock(directive: Directive, context: Pick<Context, 'draft'>, within: string | undefined = undefined): void {
  const { draft } = context
  const { name } = directive
  if (name === 'events' || name === 'types' || needless.has(name)) return draft.note('needless', directive, 'has no counterpart and is not missed')
  if (name === 'include') draft.note(directive.args[0]?.endsWith('mime.types') === true ? 'needless' : 'skipped', directive, 'included files are not read: import them too')
  else draft.note('skipped', directive, within ?? (files.has(name) ? 'files are not served, and there are no gateways' : `${name} has no counterpart`))
  for (const inner of directive.block ?? []) noteBlock(inner, context, `in a block ${name} that has no counterpart`)
}

/** Whether a place of proxy_pass is an address, to which no name belongs. */
export function nameOf(place: string): string | undefined {
  const host = place.replace(/:\d+$/, '')
  return addressOf(host) === undefined && /^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(host) ? host : undefined
}

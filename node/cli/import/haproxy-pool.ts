/** A backend of HAProxy as a pool. Pure. */
import { addressOf, duration, hostAndPort, Names, whole, type Draft, type Part } from './draft.ts'
import { sizeOf, timeMs, valueAfter, type Line } from './haproxy-lines.ts'

/** A server with what is a matter of the pool here. */
interface Server {
  readonly line: Line
  readonly member: Part
  readonly probed: boolean
  readonly probe: Part
  readonly tls: Part | undefined
  readonly proxyProtocol: string | undefined
}

/** What defaults and the section say of the servers' side. */
export class PoolDraft {
  balance: Part = {}
  readonly timeouts = new Map<string, number>()
  check: Part | undefined
  /** `ssl-server-verify` of the global section. */
  verifyByDefault = true
  #retries: number | undefined
  readonly #checkHeaders: Part[] = []
  #defaults: string[] = []
  readonly #servers: Server[] = []
  #persistence: { readonly line: Line; readonly part: Part } | undefined
  #table: { readonly expire: number | undefined; readonly size: number | undefined } | undefined
  #queues = false
  #allBackups = false
  #slowStart: number | undefined
  readonly #names = new Names()
  /** What `tcp-check` sends and expects. */
  readonly #dialogue: Part = {}

  get hasMembers(): boolean {
    return this.#servers.length > 0
  }

  /** Takes a line; false: it is none about servers. */
  take(line: Line, draft: Draft): boolean {
    const [keyword, first = '', ...rest] = line.words
    switch (keyword) {
      case 'balance':
        this.#balance(line, draft)
        return true
      case 'hash-type':
        draft.note('differs', line, 'hashing is always consistent here (Maglev): a change of the members moves few keys, and keys are at other members than before')
        return true
      case 'server':
        this.#server(line, draft)
        return true
      case 'default-server':
        this.#defaults.push(...line.words.slice(1))
        return true
      case 'server-template':
        draft.note('skipped', line, 'members are written one by one')
        return true
      case 'retries':
        this.#retries = whole(first, 0, 10)
        draft.note('differs', line, 'each further attempt goes to another member at once')
        return true
      case 'cookie':
        this.#cookie(line, draft)
        return true
      case 'stick-table':
        if (!/^(ip|ipv6|string|integer)$/.test(valueAfter(line.words, 'type') ?? '')) draft.note('skipped', line, 'this type of a table is not known')
        if (line.words.includes('peers')) draft.note('needless', line, 'tables are shared by all nodes without peers')
        this.#table = { expire: timeMs(valueAfter(line.words, 'expire')), size: sizeOf(valueAfter(line.words, 'size')) }
        return true
      case 'stick':
        this.#stick(line, draft)
        return true
      case 'http-check':
        this.#httpCheck(line, draft)
        return true
      case 'tcp-check':
        this.#tcpCheck(line, draft)
        return true
      case 'option':
        return this.#option(line, first, rest, draft)
      case 'fullconn':
        draft.note('needless', line, 'limits of members are fixed, not dynamic')
        return true
      case 'load-server-state-from-file':
        draft.note('needless', line, 'members are checked before they get traffic')
        return true
      default:
        return false
    }
  }

  #balance(line: Line, draft: Draft): void {
    const [, how = '', ...rest] = line.words
    const header = /^hdr\(([^)]+)\)$/.exec(how)
    if (header !== null) this.balance = { balance: 'hash', hash: { on: 'header', name: header[1] } }
    else if (how === 'roundrobin' || how === 'static-rr' || how === '') this.balance = { balance: 'round-robin' }
    else if (how === 'leastconn') this.balance = { balance: 'least-connections' }
    else if (how === 'first') this.balance = { balance: 'first-available' }
    else if (how === 'source') this.balance = { balance: 'hash', hash: { on: 'source' } }
    else if (how === 'uri') this.balance = { balance: 'hash', hash: { on: rest.includes('whole') ? 'uri' : 'path' } }
    else if (/^random(\(\d*\))?$/.test(how)) this.balance = { balance: 'random-two-choices' }
    else draft.note('skipped', line, `balance ${how} has no counterpart; round-robin is used`)
  }

  #option(line: Line, first: string, rest: readonly string[], draft: Draft): boolean {
    switch (first) {
      case 'httpchk': {
        const [method = 'OPTIONS', path = '/'] = rest.length === 0 ? ['OPTIONS', '/'] : rest.length === 1 ? ['OPTIONS', rest[0]!] : [rest[0]!, rest[1]!]
        this.check = { type: 'http', method: method.toUpperCase(), path }
        // Header fields are smuggled in behind the version: `HTTP/1.1\r\nHost:\ www`.
        for (const field of rest.slice(2).join(' ').split(/\r\n|\\r\\n/).slice(1)) {
          const [, name = '', value = ''] = /^([^:\s]+):\s*(.*)$/.exec(field) ?? []
          if (name.toLowerCase() === 'host') this.check['host'] = value
          else if (name !== '' && name.toLowerCase() !== 'connection') this.#checkHeaders.push({ name, value: value.trim() })
        }
        return true
      }
      case 'tcp-check':
        this.check = undefined
        return true
      case 'ssl-hello-chk':
        this.check = { type: 'tls' }
        return true
      case 'mysql-check': case 'pgsql-check': case 'redis-check': case 'smtpchk': case 'ldap-check':
        this.check = undefined
        draft.note('differs', line, 'members are checked by connecting to them')
        return true
      case 'allbackups':
        this.#allBackups = true
        return true
      case 'redispatch': case 'prefer-last-server': case 'http-server-close': case 'http-keep-alive': case 'httpclose': case 'forceclose': case 'http-pretend-keepalive': case 'log-health-checks':
        draft.note('needless', line, 'connections are kept and shared, and a failed connection goes to another member, without it')
        return true
      default:
        return false
    }
  }

  #httpCheck(line: Line, draft: Draft): void {
    const [, what, ...rest] = line.words
    const check = (this.check ??= { type: 'http' })
    if (what === 'connect') return draft.note('needless', line, 'probes connect as clients do')
    if (what === 'send') {
      for (let i = 0; i < rest.length; i++) {
        if (rest[i] === 'meth') check['method'] = (rest[++i] ?? 'GET').toUpperCase()
        else if (rest[i] === 'uri') check['path'] = rest[++i] ?? '/'
        else if (rest[i] === 'ver') i++
        else if (rest[i] === 'hdr') {
          const [name = '', value = ''] = [rest[++i], rest[++i]]
          if (name.toLowerCase() === 'host') check['host'] = value
          else this.#checkHeaders.push({ name, value })
        } else return draft.note('skipped', line, `${rest[i]} of a probe is not understood`)
      }
      return
    }
    if (what === 'expect') {
      const [kind, ...values] = rest
      if (kind === 'status' && /^[1-5][0-9]{2}(-[1-5][0-9]{2})?(,[1-5][0-9]{2}(-[1-5][0-9]{2})?)*$/.test(values[0] ?? '')) check['expectStatus'] = values[0]
      else if (kind === 'string') check['expectBody'] = values.join(' ')
      else if (kind === 'rstatus' && /^\^?\[([1-5])-?([1-5])\](\.\.|\[0-9\]\[0-9\]|\[0-9\]\{2\}|\\d\\d|\\d\{2\})?\$?$/.test(values[0] ?? '')) {
        const [, from = '2', to = '3'] = /\[([1-5])-?([1-5])\]/.exec(values[0]!)!
        check['expectStatus'] = `${from}00-${to}99`
      } else if (kind === 'rstatus' && /^\^?[1-5](\.\.|\[0-9\]\[0-9\]|\[0-9\]\{2\}|\\d\\d|\\d\{2\})\$?$/.test(values[0] ?? '')) {
        const [, digit = '2'] = /([1-5])/.exec(values[0]!)!
        check['expectStatus'] = `${digit}00-${digit}99`
      } else draft.note('skipped', line, 'this expectation cannot be said')
      return
    }
    if (what !== 'disable-on-404') draft.note('skipped', line, 'this step of a check is not understood')
    else draft.note('skipped', line, 'a member is drained by an operator, not by its check')
  }

  #tcpCheck(line: Line, draft: Draft): void {
    const [, what, ...rest] = line.words
    if (what === 'connect' && rest.length === 0) return
    const text = what === 'send' ? rest[0] : what === 'expect' && (rest[0] === 'string' || rest[0] === 'rstring') ? rest[1] : undefined
    const key = what === 'send' ? 'send' : 'expect'
    if (text === undefined || rest[0] === 'rstring' || !/^[\0-\xff]*$/.test(text) || this.#dialogue[key] !== undefined) return draft.note('skipped', line, 'a probe sends one text, and looks at how the answer begins')
    this.#dialogue[key] = [...text].map((char) => (char === '\\' ? '\\\\' : /[ -~]/.test(char) ? char : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)).join('')
    if (key === 'expect') draft.note('differs', line, 'the answer must begin with it')
  }

  #cookie(line: Line, draft: Draft): void {
    const [, name = '', ...options] = line.words
    if (!options.includes('insert')) return draft.note('skipped', line, 'only cookies that are inserted are known')
    const cookie: Part = { httpOnly: options.includes('httponly'), secure: options.includes('secure') ? 'always' : 'never', sameSite: 'unset' }
    const domain = valueAfter(options, 'domain')
    if (domain !== undefined) cookie['domain'] = domain.replace(/^\./, '')
    if (!options.includes('indirect')) cookie['toMember'] = true
    const same = /SameSite=(lax|strict|none)/i.exec(options.join(' '))
    if (same !== null) cookie['sameSite'] = same[1]!.toLowerCase()
    for (const option of ['nocache', 'postonly', 'preserve', 'maxidle', 'maxlife', 'dynamic', 'rewrite', 'prefix']) {
      if (options.includes(option)) draft.note('skipped', line, `the option ${option} of a cookie has no counterpart`)
    }
    this.#persistence = { line, part: { type: 'cookie', cookieName: name, cookie } }
    draft.note('differs', line, 'the value of the cookie is authenticated and names the member by itself: clients get a new one')
  }

  #stick(line: Line, draft: Draft): void {
    const [, how = '', what = '', ...more] = line.words
    if (more.includes('if') || more.includes('unless')) return draft.note('skipped', line, 'clients are kept without a condition')
    const table = { ...(this.#table?.expire === undefined ? {} : { ttl: duration(this.#table.expire, undefined, 1000) }), ...(this.#table?.size === undefined ? {} : { maxEntries: Math.max(1, Math.min(1_000_000, this.#table.size)) }) }
    const cookie = /cook\(([^),]+)/.exec(what)
    const header = /^(?:req\.)?hdr\(([^),]+)/.exec(what)
    if ((how === 'on' || how === 'match' || how === 'store-request') && /^src\b/.test(what)) this.#persistence = { line, part: { type: 'source', ...table } }
    else if (cookie !== null) this.#persistence = { line, part: { type: 'app-cookie', cookieName: cookie[1], ...table } }
    else if (header !== null && how !== 'store-response') this.#persistence = { line, part: { type: 'header', header: header[1], ...table } }
    else draft.note('skipped', line, 'clients can be kept by source, header field or cookie')
  }

  #server(line: Line, draft: Draft): void {
    const [, name = '', place = '', ...own] = line.words
    const { host, port } = hostAndPort(place)
    const address = addressOf(host.replace(/^ipv[46]@/, ''))
    if (address === undefined) return draft.note('skipped', line, `a member has an IP address; ${host || place} is not one`)
    const portNumber = whole(port, 0, 65535) ?? 0
    if (portNumber === 0) return draft.note('skipped', line, 'a member needs a port')
    const member: Part = { name: this.#names.fresh(name, 'member'), address, port: portNumber }
    const probe: Part = {}
    let tls: Part | undefined
    let secure = false
    let proxyProtocol: string | undefined
    let probed = false
    const options = [...this.#defaults, ...own]
    for (let i = 0; i < options.length; i++) {
      const option = options[i]!
      const value = (): string => options[++i] ?? ''
      const interval = (): string => duration(timeMs(value()) ?? 2000, 3600_000, 10)
      switch (option) {
        case 'check': probed = true; break
        case 'no-check': probed = false; break
        case 'weight': member['weight'] = whole(value(), 0, 256) ?? 1; break
        case 'backup': member['backup'] = true; break
        case 'no-backup': delete member['backup']; break
        case 'disabled': member['state'] = 'disabled'; break
        case 'enabled': delete member['state']; break
        case 'maxconn': {
          const most = whole(value(), 0, 1_000_000) ?? 0
          if (most > 0) member['maxConnections'] = most
          this.#queues ||= most > 0
          break
        }
        case 'inter': probe['interval'] = interval(); break
        case 'downinter': probe['downInterval'] = interval(); break
        case 'rise': probe['rise'] = whole(value(), 1, 100) ?? 2; break
        case 'fall': probe['fall'] = whole(value(), 1, 100) ?? 3; break
        case 'port': probe['port'] = whole(value(), 1, 65535) ?? portNumber; break
        case 'addr': {
          const text = value()
          if (addressOf(text) === undefined) draft.note('skipped', line, `a probe goes to an IP address; ${text} is not one`)
          else probe['address'] = addressOf(text)
          break
        }
        case 'slowstart': this.#slowStart = timeMs(value()); break
        case 'send-proxy': proxyProtocol = 'v1'; break
        case 'send-proxy-v2': proxyProtocol = 'v2'; break
        case 'no-send-proxy': case 'no-send-proxy-v2': proxyProtocol = undefined; break
        case 'ssl': secure = true; break
        case 'no-ssl': secure = false; break
        case 'verify': tls = { ...tls, verify: value() !== 'none' }; break
        case 'ca-file': {
          const file = value()
          if (file !== '@system-ca') tls = { ...tls, authority: file }
          break
        }
        case 'crt': tls = { ...tls, certificate: value() }; break
        case 'sni': case 'verifyhost': {
          const text = value().replace(/^str\((.*)\)$/, '$1')
          if (/^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/.test(text)) tls = { ...tls, serverName: text }
          else draft.note('skipped', line, `a server name that depends on the request (${text}) has no counterpart`)
          break
        }
        case 'ssl-min-ver': {
          const version = value()
          if (version === 'TLSv1.3') tls = { ...tls, profile: 'modern' }
          else if (version !== 'TLSv1.2') draft.note('differs', line, 'TLS 1.2 and 1.3 are spoken')
          break
        }
        case 'cookie': case 'id': value(); break
        case 'check-ssl': case 'check-send-proxy': case 'ssl-reuse': case 'tfo': case 'non-stick': draft.note('needless', line, `probes connect as clients do; ${option} is not needed`); break
        default: {
          const text = withValue.has(option) ? ` ${value()}` : ''
          draft.note('skipped', line, `the option ${option}${text} of a server has no counterpart`)
        }
      }
    }
    if (secure) {
      const verify = tls?.['verify'] !== false && (this.verifyByDefault || tls?.['verify'] === true)
      const { authority, certificate, serverName, profile } = tls ?? {}
      if (verify && serverName === undefined) draft.note('differs', line, 'the certificate must have the address of the member, or `tls.serverName` must say which name')
      if (!verify && authority !== undefined) draft.note('needless', line, 'without verification an authority has no effect')
      tls = {
        verify,
        ...(verify && authority !== undefined ? { authority: draft.authority(authority as string) } : {}),
        ...(certificate === undefined ? {} : { certificate: draft.certificate(certificate as string) }),
        ...(serverName === undefined ? {} : { serverName }),
        ...(profile === undefined ? {} : { profile }),
      }
    }
    const server: Server = { line, member, probed, probe, tls: secure ? tls : undefined, proxyProtocol }
    const twin = this.#servers.find((other) => other.member['address'] === address && other.member['port'] === portNumber)
    if (twin !== undefined) return draft.note('skipped', line, 'the same address and port is a member already')
    const [first] = this.#servers
    if (first !== undefined) {
      for (const [key, what] of [['tls', 'TLS'], ['proxyProtocol', 'the PROXY header'], ['probe', 'the check']] as const) {
        if (JSON.stringify(server[key]) !== JSON.stringify(first[key])) draft.note('differs', line, `${what} is that of the first server (line ${first.line.line}) for all members of a pool`)
      }
    }
    this.#servers.push(server)
  }

  /** The pool. `http`: it is used by requests. */
  finish(name: string, draft: Draft, head: Line, http: boolean): Part {
    const ms = (key: string): number | undefined => this.timeouts.get(key)
    const [first] = this.#servers
    const probed = this.#servers.filter((server) => server.probed)
    if (probed.length > 0 && probed.length < this.#servers.length) draft.note('differs', head, `all members of the pool are checked, not only ${probed.length} of ${this.#servers.length}`)
    const { tls } = first ?? {}
    const timeoutMs = ms('check')
    const dialogue = this.check === undefined ? this.#dialogue : {}
    const healthCheck: Part = probed.length === 0
      ? { type: 'none' }
      : {
          type: tls !== undefined && this.check === undefined ? 'tls' : 'tcp', ...this.check, ...dialogue,
          ...(this.#checkHeaders.length === 0 ? {} : { headers: this.#checkHeaders }), ...probed[0]!.probe,
          ...(timeoutMs === undefined ? {} : { timeout: duration(timeoutMs, 600_000) }),
        }
    if (tls !== undefined && healthCheck['type'] === 'http') healthCheck['type'] = 'https'
    // HAProxy's queue has the connect timeout where it has none of its own.
    const queueMs = ms('queue') ?? ms('connect') ?? 5000
    const backups = this.#servers.filter(({ member }) => member['backup'] === true)
    // Only the first backup server of HAProxy is used while it is there, unless it is told otherwise.
    if (backups.length > 1 && !this.#allBackups) {
      for (const [index, { member }] of backups.entries()) {
        delete member['backup']
        member['priority'] = Math.min(255, index + 1)
      }
    }
    let persistence = this.#persistence?.part
    if (persistence !== undefined && !http && persistence['type'] !== 'source') {
      draft.note('skipped', this.#persistence!.line, 'only requests of HTTP have cookies and header fields')
      persistence = undefined
    }
    return {
      name,
      ...this.balance,
      members: this.#servers.map(({ member }) => member),
      healthCheck,
      ...(ms('connect') === undefined ? {} : { connectTimeout: duration(ms('connect')!, 600_000) }),
      ...(ms('server') === undefined ? {} : { serverIdleTimeout: duration(ms('server')!) }),
      ...(this.#retries === undefined ? {} : { retries: this.#retries }),
      ...(persistence === undefined ? {} : { persistence }),
      ...(this.#queues ? { queue: { timeout: duration(queueMs, 600_000) } } : {}),
      ...(this.#slowStart === undefined ? {} : { slowStart: duration(this.#slowStart, 3600_000, 0) }),
      ...(first?.proxyProtocol === undefined ? {} : { sendProxyProtocol: first.proxyProtocol }),
      ...(tls === undefined ? {} : { tls }),
    }
  }
}

/** Options of servers that have no counterpart and a value behind them. */
const withValue = new Set([
  'resolvers', 'init-addr', 'resolve-prefer', 'resolve-net', 'resolve-opts', 'on-marked-down', 'on-marked-up', 'observe', 'error-limit', 'on-error', 'maxqueue', 'minconn', 'fastinter', 'alpn', 'npn',
  'source', 'agent-port', 'agent-inter', 'agent-addr', 'agent-send', 'track', 'pool-max-conn', 'pool-low-conn', 'pool-purge-delay', 'max-reuse', 'proto', 'check-proto', 'check-sni', 'check-alpn', 'redir',
  'ciphers', 'ciphersuites', 'curves', 'crl-file', 'ssl-max-ver', 'namespace', 'proxy-v2-options', 'set-proxy-v2-tlv-fmt', 'shard', 'socks4', 'tcp-ut', 'usesrc', 'ws', 'log-proto', 'hash-key', 'interface',
])

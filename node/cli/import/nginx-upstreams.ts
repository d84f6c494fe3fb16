/** Upstreams of nginx as pools: those with a name, and the servers that a proxy_pass names itself. Pure. */
import { addressOf, duration, hostAndPort, Names, plainName, whole, type Draft, type Part } from './draft.ts'
import { nginxMs, type Directive } from './nginx-lines.ts'

export class Upstreams {
  readonly #draft: Draft
  readonly #known = new Map<string, { readonly pool: Part; readonly directive: Directive }>()
  readonly #used = new Set<string>()
  /** Pools made so far by what they are: an upstream with other settings of its users is another pool. */
  readonly #made = new Map<string, string>()
  readonly #bases = new Set<string>()

  constructor(draft: Draft) {
    this.#draft = draft
  }

  read(upstream: Directive): void {
    const members: Part[] = []
    const pool: Part = { members }
    const names = new Names()
    let failures: number | undefined
    let ejectMs: number | undefined
    for (const directive of upstream.block ?? []) {
      const [first = '', ...options] = directive.args
      switch (directive.name) {
        case 'server': {
          const { host, port } = hostAndPort(first)
          const address = addressOf(host)
          const number = whole(port ?? '80', 1, 65535)
          if (address === undefined || number === undefined) {
            this.#draft.note('skipped', directive, `a member has an IP address and a port; ${first} is not that`)
            break
          }
          if (members.some((other) => other['address'] === address && other['port'] === number)) {
            this.#draft.note('skipped', directive, 'the same address and port is a member already')
            break
          }
          const member: Part = { name: names.fresh(`${address}-${number}`, 'member'), address, port: number }
          for (const option of options) {
            const [key, value = ''] = option.split('=')
            if (key === 'weight') member['weight'] = whole(value, 0, 256) ?? 1
            else if (key === 'backup') member['backup'] = true
            else if (key === 'down') member['state'] = 'disabled'
            else if (key === 'drain') member['state'] = 'drain'
            else if (key === 'max_conns') member['maxConnections'] = whole(value, 0, 1_000_000) ?? 0
            else if (key === 'max_fails' || key === 'fail_timeout') {
              const said = key === 'max_fails' ? whole(value, 0, 1000) : nginxMs(value)
              const before = key === 'max_fails' ? failures : ejectMs
              if (before !== undefined && before !== said) this.#draft.note('differs', directive, `${key} is that of the first server for all members of a pool`)
              else if (key === 'max_fails') failures = said
              else ejectMs = said
            } else if (key === 'slow_start') pool['slowStart'] = duration(nginxMs(value) ?? 1000, 3600_000, 0)
            else this.#draft.note('skipped', directive, `the option ${option} of a server has no counterpart`)
          }
          members.push(member)
          break
        }
        case 'least_conn': pool['balance'] = 'least-connections'; break
        case 'random':
          pool['balance'] = 'random-two-choices'
          if (first !== 'two') this.#draft.note('differs', directive, 'the less busy of two drawn members')
          break
        case 'least_time': pool['balance'] = 'least-response-time'; break
        case 'ip_hash':
          Object.assign(pool, { balance: 'hash', hash: { on: 'source' } })
          this.#draft.note('differs', directive, 'the whole address counts, not its first three numbers')
          break
        case 'hash': this.#hash(directive, pool); break
        case 'sticky': this.#sticky(directive, pool); break
        case 'queue': pool['queue'] = { maxLength: whole(first, 1, 100_000) ?? 1000, timeout: duration(nginxMs(options[0]?.replace('timeout=', '')) ?? 60_000, 600_000) }; break
        case 'keepalive': pool['maxIdleConnections'] = whole(first, 0, 10_000) ?? 128; break
        case 'keepalive_timeout': pool['keepAlive'] = duration(nginxMs(first) ?? 60_000); break
        case 'zone': case 'keepalive_requests': case 'keepalive_time':
          this.#draft.note('needless', directive, 'state is shared by all workers and nodes without it')
          break
        default:
          this.#draft.note('skipped', directive, `${directive.name} of an upstream has no counterpart`)
      }
    }
    // nginx ejects a member after one failed attempt for ten seconds, unless it is told otherwise.
    const ejection = duration(ejectMs ?? 10_000, 24 * 3600_000, 100)
    if (failures !== 0 && members.length > 1) pool['passiveHealth'] = { failures: failures ?? 1, statuses: '599', ejectionTime: ejection, maxEjectionTime: ejection, maxEjected: 100 }
    this.#known.set(upstream.args[0] ?? '', { pool, directive: upstream })
  }

  #hash(directive: Directive, pool: Part): void {
    const [key = ''] = directive.args
    const header = /^\$http_([a-z0-9_]+)$/.exec(key)
    const cookie = /^\$cookie_(.+)$/.exec(key)
    let hash: Part | undefined
    if (key === '$request_uri' || key === '$scheme$proxy_host$request_uri') hash = { on: 'uri' }
    else if (key === '$uri') hash = { on: 'path' }
    else if (key === '$remote_addr' || key === '$binary_remote_addr') hash = { on: 'source' }
    else if (header !== null) hash = { on: 'header', name: header[1]!.replaceAll('_', '-') }
    else if (cookie !== null) hash = { on: 'cookie', name: cookie[1] }
    if (hash === undefined) return this.#draft.note('skipped', directive, `${key} cannot be hashed; round-robin is used`)
    if (directive.args[1] !== 'consistent') this.#draft.note('differs', directive, 'hashing is always consistent here (Maglev)')
    else this.#draft.note('differs', directive, 'keys are at other members than before')
    Object.assign(pool, { balance: 'hash', hash })
  }

  #sticky(directive: Directive, pool: Part): void {
    const [kind, name = '', ...options] = directive.args
    if (kind !== 'cookie') return this.#draft.note('skipped', directive, 'only sticky cookies are known')
    this.#draft.note('differs', directive, 'the value of the cookie is authenticated: clients get a new one')
    const cookie: Part = { sameSite: 'unset', secure: 'never', httpOnly: options.includes('httponly') }
    for (const option of options) {
      const [key, value = ''] = option.split('=')
      if (key === 'domain') cookie['domain'] = value.replace(/^\./, '')
      else if (key === 'path') cookie['path'] = value
      else if (key === 'secure') cookie['secure'] = 'always'
      else if (key === 'expires') cookie['maxAge'] = duration(nginxMs(value) ?? 0, undefined, 0)
      else if (key === 'samesite') cookie['sameSite'] = value.toLowerCase()
    }
    pool['persistence'] = { type: 'cookie', cookieName: name, cookie }
  }

  /** A note for each that nobody uses. */
  noteUnused(): void {
    for (const [name, { directive }] of this.#known) if (!this.#used.has(name)) this.#draft.note('skipped', directive, 'no listener leads here')
  }

  /** Whether a name is that of an upstream. */
  has(name: string): boolean {
    return this.#known.has(name)
  }

  /**
   * The pool for `NAME` or `ADDRESS:PORT` with what its user sets of connections.
   * @returns its name, or undefined after a note
   */
  use(place: string, source: Directive, settings: Part): string | undefined {
    const key = `${place} ${JSON.stringify(settings)}`
    const made = this.#made.get(key)
    if (made !== undefined) return made
    let pool = this.#known.get(place)?.pool
    this.#used.add(place)
    let base = place
    if (pool === undefined) {
      const { host, port } = hostAndPort(place)
      const address = addressOf(host)
      if (address === undefined || port === undefined) {
        this.#draft.note('skipped', source, `there is no upstream ${place}, and a member has an IP address and a port`)
        return undefined
      }
      base = `to-${host}-${port}`
      pool = { members: [{ name: plainName(`${address}-${port}`) || 'member', address, port: whole(port, 1, 65535) ?? 80 }] }
    }
    const name = this.#draft.fresh('pool', base)
    if (this.#bases.has(place)) this.#draft.note('differs', source, `it has settings of its own, so it is another pool (${name}): its members are counted apart`)
    this.#bases.add(place)
    this.#draft.pools.push({ name, healthCheck: { type: 'none' }, ...pool, ...settings })
    this.#made.set(key, name)
    return name
  }
}

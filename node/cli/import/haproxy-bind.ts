/** Lines `bind` of HAProxy: where a listener listens, and its TLS. Pure. */
import { addressOf, hostAndPort, whole, type Draft, type Part } from './draft.ts'
import type { Line } from './haproxy-lines.ts'

export interface Bind {
  readonly source: Line
  readonly address: string
  readonly port: number
  readonly portEnd: number | undefined
  readonly tls: Part | undefined
  readonly acceptProxy: boolean
}

const needless = new Set(['no-sslv3', 'no-tlsv10', 'no-tlsv11', 'tfo', 'v4v6', 'defer-accept', 'no-tls-tickets-old', 'expose-fd', 'level', 'prefer-client-ciphers'])
const withValue = new Set([
  'ciphers', 'ciphersuites', 'curves', 'ecdhe', 'ssl-max-ver', 'name', 'backlog', 'maxconn', 'process', 'thread', 'interface', 'id', 'mss', 'nice', 'crt-list', 'crl-file', 'ca-sign-file', 'ca-verify-file',
  'tls-ticket-keys', 'user', 'group', 'uid', 'gid', 'mode', 'namespace', 'npn', 'proto', 'tcp-ut', 'severity-output', 'shards', 'ca-ignore-err', 'crt-ignore-err',
])

/** @param http the frontend speaks HTTP */
export function readBind(line: Line, http: boolean, draft: Draft): Bind[] {
  const [, places = '', ...options] = line.words
  const certificates: string[] = []
  const tls: Part = {}
  let secure = false
  let acceptProxy = false
  let authority: string | undefined
  let mode: string | undefined
  for (let i = 0; i < options.length; i++) {
    const option = options[i]!
    const value = (): string => options[++i] ?? ''
    switch (option) {
      case 'ssl': secure = true; break
      case 'crt': {
        const file = value()
        if (!/\.[a-z0-9]+$/i.test(file)) draft.note('differs', line, `${file} seems to be a directory: import each of its certificates, and name them all in the place of one`)
        const name = draft.certificate(file)
        if (!certificates.includes(name)) certificates.push(name)
        break
      }
      case 'ca-file': authority = value(); break
      case 'verify': mode = value(); break
      case 'ssl-min-ver': {
        const version = value()
        if (version === 'TLSv1.3') tls['profile'] = 'modern'
        else if (version !== 'TLSv1.2') draft.note('differs', line, 'TLS 1.2 and 1.3 are spoken')
        break
      }
      case 'force-tlsv13': tls['profile'] = 'modern'; break
      case 'strict-sni': tls['strictSni'] = true; break
      case 'no-tls-tickets': tls['sessionTickets'] = false; break
      case 'accept-proxy': acceptProxy = true; break
      case 'alpn': {
        const names = value().split(',').filter((name) => name !== '')
        if (!http) tls['alpn'] = names
        else if (names.includes('h2')) draft.note('differs', line, 'HTTP/2 is not spoken yet: clients use HTTP/1.1')
        break
      }
      case 'v6only': draft.note('differs', line, 'a listener on :: takes IPv4 too'); break
      case 'transparent': draft.note('needless', line, 'VIPs are listened on while they are elsewhere'); break
      default: {
        const text = withValue.has(option) ? ` ${value()}` : ''
        if (needless.has(option)) draft.note('needless', line, `the option ${option} of a bind is not missed`)
        else draft.note('skipped', line, `the option ${option}${text} of a bind has no counterpart${option === 'crl-file' ? ': revocation lists are imported with the authority' : ''}`)
      }
    }
  }
  if (mode !== undefined && mode !== 'none' && authority !== undefined) tls['clientAuth'] = { mode, authority: draft.authority(authority) }
  else if (mode !== undefined && mode !== 'none') draft.note('skipped', line, 'without ca-file no client certificate can be verified')
  else if (authority !== undefined) draft.note('needless', line, 'without `verify` clients are not asked for certificates')
  if (secure && certificates.length === 0) {
    draft.note('skipped', line, 'a listener with TLS names a certificate')
    return []
  }
  const binds: Bind[] = []
  for (const place of places.split(',')) {
    const { host, port } = hostAndPort(place)
    const plain = host.replace(/^ipv[46]@/, '')
    const address = plain === '' || plain === '*' ? '0.0.0.0' : addressOf(plain)
    const [from, to] = (port ?? '').split('-')
    const first = whole(from, 0, 65535) ?? 0
    if (address === undefined || first === 0) {
      draft.note('skipped', line, `a listener has an IP address and a port; ${place} is not that`)
      continue
    }
    binds.push({ source: line, address, port: first, portEnd: whole(to, 1, 65535), tls: secure ? { certificates, ...tls } : undefined, acceptProxy })
  }
  return binds
}

/** `0.0.0.0` and `::` of one frontend on one port are one listener here: `::` takes IPv4 too. */
export function withoutTwins(binds: readonly Bind[]): Bind[] {
  return binds.filter((bind) => bind.address !== '0.0.0.0' || !binds.some((other) => other.address === '::' && other.port === bind.port && other.portEnd === bind.portEnd))
}

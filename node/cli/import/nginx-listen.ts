/** Lines `listen` of nginx. Pure. */
import { addressOf, hostAndPort, whole, type Draft } from './draft.ts'
import type { Directive } from './nginx-lines.ts'

export interface Listen {
  readonly address: string
  readonly port: number
  readonly portEnd: number | undefined
  readonly tls: boolean
  readonly isDefault: boolean
  readonly proxyProtocol: boolean
  readonly udp: boolean
  readonly source: Directive
}

const needless = /^(reuseport|deferred|fastopen=.*|backlog=.*|rcvbuf=.*|sndbuf=.*|so_keepalive=.*|bind|ipv6only=on|accept_filter=.*|setfib=.*)$/
const known = new Set(['ssl', 'default_server', 'default', 'proxy_protocol', 'udp', 'http2', 'quic', 'spdy'])

/** @returns undefined after a note */
export function readListen(directive: Directive, draft: Draft): Listen | undefined {
  const [place = '', ...options] = directive.args
  const { host, port } = /^\d+(-\d+)?$/.test(place) ? { host: '', port: place } : hostAndPort(place)
  const address = host === '' || host === '*' ? '0.0.0.0' : addressOf(host)
  const [from, to] = (port ?? '80').split('-')
  const first = whole(from, 1, 65535)
  if (address === undefined || first === undefined) {
    draft.note('skipped', directive, `a listener has an IP address and a port; ${place} is not that`)
    return undefined
  }
  if (options.includes('http2') || options.includes('spdy')) draft.note('differs', directive, 'HTTP/2 is not spoken yet: clients use HTTP/1.1')
  for (const option of options) {
    if (known.has(option)) continue
    draft.note(needless.test(option) ? 'needless' : 'skipped', directive, `the option ${option} has no counterpart`)
  }
  return {
    address, port: first, portEnd: whole(to, 1, 65535), tls: options.includes('ssl'), isDefault: options.includes('default_server') || options.includes('default'),
    proxyProtocol: options.includes('proxy_protocol'), udp: options.includes('udp') || options.includes('quic'), source: directive,
  }
}

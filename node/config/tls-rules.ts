/** What TLS of listeners and pools must fulfil beyond its shape. Whether a certificate of a name exists is not for the document to say. Pure. */
import type { ProblemList } from './complete.ts'
import type { Listener, Pool } from './schema.ts'

/** @param pools by name */
export function checkListenerTls(listener: Listener, pools: ReadonlyMap<string, Pool>, field: string, out: ProblemList): void {
  const { tls, protocol } = listener
  if (protocol === 'udp' || protocol === 'tls-passthrough') {
    const why = protocol === 'udp' ? 'datagrams have no TLS' : 'what a tls-passthrough listener passes on is TLS already'
    const refuse = (name: string | undefined, at: string): void => {
      if (name !== undefined && pools.get(name)?.tls?.enabled === true) out.add(at, `pool ${name} has TLS to its members, and ${why}`)
    }
    refuse(listener.pool, `${field}/pool`)
    for (const [index, route] of listener.routes.entries()) refuse(route.pool, `${field}/routes/${index}/pool`)
  }
  if (protocol === 'tls-passthrough') checkPassthrough(listener, field, out)
  if (tls === undefined) {
    if (protocol === 'https') out.add(`${field}/tls`, 'is missing; an https listener needs `tls` with at least one certificate')
    return
  }
  if (protocol !== 'https' && protocol !== 'tcp') {
    const instead = protocol === 'http' ? '; for requests over TLS the protocol is https' : ''
    return void out.add(`${field}/tls`, `has no meaning on a listener of protocol ${protocol}${instead}`)
  }
  if (tls.certificates.length === 0) out.add(`${field}/tls/certificates`, 'expected at least one certificate')
  twice(tls.certificates, `${field}/tls/certificates`, out)
  if (protocol === 'https' && tls.alpn.some((name) => name !== 'http/1.1')) out.add(`${field}/tls/alpn`, 'expected nothing but "http/1.1" on an https listener')
  const alpnBytes = tls.alpn.reduce((sum, name) => sum + name.length + 1, 0)
  if (alpnBytes > 1000) out.add(`${field}/tls/alpn`, `expected names of at most 1000 characters together, found ${alpnBytes}`)
  const { mode, authority, forwardHeaders } = tls.clientAuth
  if (mode !== 'none' && authority === undefined) out.add(`${field}/tls/clientAuth/authority`, 'is missing; without it no client certificate can be good')
  if (mode === 'none' && authority !== undefined) out.add(`${field}/tls/clientAuth/mode`, 'expected "optional" or "required" where an authority is named, found "none"')
  if (forwardHeaders && protocol !== 'https') out.add(`${field}/tls/clientAuth/forwardHeaders`, 'expected false on a tcp listener: there are no header fields')
}

/** The name in the ClientHello is all that is seen of a connection. */
function checkPassthrough(listener: Listener, field: string, out: ProblemList): void {
  if (listener.redirectToHttps !== undefined) out.add(`${field}/redirectToHttps`, 'has no meaning on a listener of protocol tls-passthrough')
  if (listener.routes.length === 0 && listener.pool === undefined) out.add(`${field}/pool`, 'is missing; a tls-passthrough listener needs routes or a pool')
  for (const [index, route] of listener.routes.entries()) {
    const at = `${field}/routes/${index}`
    if (route.pool === undefined) out.add(`${at}/pool`, 'is missing; a route of a tls-passthrough listener leads to one pool')
    if (route.hosts.length === 0) out.add(`${at}/hosts`, 'expected at least one host: a tls-passthrough listener routes by the name that the client asks for')
    for (const key of ['paths', 'match', 'rewrite', 'headers', 'mirror', 'retries', 'redirect', 'respond', 'pools'] as const) {
      const value = route[key]
      if (value !== undefined && !(Array.isArray(value) && value.length === 0)) {
        out.add(`${at}/${key}`, 'has no meaning on a listener of protocol tls-passthrough: it looks at nothing but the name that the client asks for')
      }
    }
  }
}

export function checkPoolTls(pool: Pool, field: string, out: ProblemList): void {
  const { tls } = pool
  if (tls === undefined) return
  if (!tls.verify && tls.authority !== undefined) out.add(`${field}/tls/authority`, 'has no effect with `verify: false`')
}

function twice(names: readonly string[], field: string, out: ProblemList): void {
  const seen = new Set<string>()
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) out.add(`${field}/${index}`, `certificate ${name} is in this list already`)
    seen.add(name)
  }
}

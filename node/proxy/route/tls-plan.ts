/** TLS of listeners and pools as the workers need it. Certificates are named only: the material comes on its own way. Pure. */
import type { Listener, Pool } from '../../config/schema.ts'
import { durationMs } from '../../config/duration.ts'

export interface ListenerTlsPlan {
  readonly certificates: readonly string[]
  readonly strict: boolean
  readonly modern: boolean
  readonly alpn: readonly string[]
  readonly tickets: boolean
  readonly clientCertificate: 'none' | 'optional' | 'required'
  /** Empty: none. */
  readonly authority: string
  readonly forwardHeaders: boolean
  readonly handshakeMs: number
  readonly maxHandshakes: number
}

export interface PoolTlsPlan {
  readonly verify: boolean
  /** Empty: what the system trusts. */
  readonly authority: string
  readonly serverName: string
  /** Empty: none. */
  readonly certificate: string
  readonly alpn: readonly string[]
  readonly sessionReuse: boolean
  readonly modern: boolean
}

/** Undefined: connections of the listener are plain. */
export function listenerTlsOf(listener: Listener): ListenerTlsPlan | undefined {
  const { tls } = listener
  if (tls === undefined || (listener.protocol !== 'https' && listener.protocol !== 'tcp')) return undefined
  return {
    certificates: tls.certificates,
    strict: tls.strictSni,
    modern: tls.profile === 'modern',
    alpn: listener.protocol === 'https' ? ['http/1.1'] : tls.alpn,
    tickets: tls.sessionTickets,
    clientCertificate: tls.clientAuth.mode,
    authority: tls.clientAuth.authority ?? '',
    forwardHeaders: tls.clientAuth.forwardHeaders,
    handshakeMs: durationMs(tls.handshakeTimeout),
    maxHandshakes: tls.maxHandshakes,
  }
}

/** Undefined: connections to its members are plain. */
export function poolTlsOf(pool: Pool): PoolTlsPlan | undefined {
  const { tls } = pool
  if (tls === undefined || !tls.enabled) return undefined
  return {
    verify: tls.verify,
    authority: tls.authority ?? '',
    serverName: tls.serverName.toLowerCase(),
    certificate: tls.certificate ?? '',
    alpn: tls.alpn,
    sessionReuse: tls.sessionReuse,
    modern: tls.profile === 'modern',
  }
}

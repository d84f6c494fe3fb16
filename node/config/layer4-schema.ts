/**
 * The part of the configuration document about layer 4: UDP sessions, port ranges, the PROXY protocol, and how long the
 * connections of a removed listener may go on. Nothing here has a default that would stand in every document: those that
 * were stored before stay the same, to the byte.
 */
import Type from 'typebox'
import { durationPattern } from './parts.ts'

/** An address or a prefix; `checkPrefix` in layer4-rules.ts says the rest. */
export const prefixPattern = '^[0-9A-Fa-f:.]{2,45}(/(0|[1-9][0-9]{0,2}))?$'

export const layer4PatternText: Readonly<Record<string, string>> = {
  [prefixPattern]: 'an address or a prefix such as "10.0.0.0/8" or "2001:db8::/32"',
}

export const layer4DurationLimits = {
  udpTimeout: { minimumMs: 100, maximumMs: 24 * 3600_000 },
} as const

/** Limits of port ranges. */
export const portLimits = {
  /** Ports of one listener. */
  range: 1000,
  /** Ports of all listeners with a range together. */
  ranges: 4096,
} as const

/** How long the connections of a removed listener may go on when it does not say. */
export const defaultListenerDrain = '1h'
/** How long a UDP session may be silent when the listener does not say. */
export const defaultUdpTimeout = '30s'

const duration = (description: string) => Type.Optional(Type.String({ pattern: durationPattern, description }))

export const listenerLayer4Fields = {
  portEnd: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 65535, description: `Last port of a range that begins at \`port\`; at most ${portLimits.range} ports. Left out: \`port\` alone.` }),
  ),
  memberPort: Type.Optional(
    Type.Union([Type.Literal('member'), Type.Literal('same')], {
      description: 'tcp, tls-passthrough, udp: the port of the server. member: that of the member. same: the one that the client connected to; the port of the member is then for its health check. Left out: member.',
    }),
  ),
  proxyProtocol: Type.Optional(
    Type.Union([Type.Literal('off'), Type.Literal('accept')], {
      description: 'accept: each connection must begin with a PROXY header (version 1 or 2), and the addresses in it are the client’s. It must come within `requestHeadTimeout`. Left out: off.',
    }),
  ),
  trustedSources: Type.Optional(
    Type.Array(Type.String({ pattern: prefixPattern, maxLength: 49 }), {
      maxItems: 256,
      description: 'Addresses and prefixes of the proxies in front that send a PROXY header. Connections from elsewhere have none: they are served with their own address. Left out or empty: every connection must have one.',
    }),
  ),
  udpTimeout: duration(`udp: a session (one client address and port) ends after so long without a datagram in either direction. Left out: ${defaultUdpTimeout}.`),
  udpResponses: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 1000, description: 'udp: a session ends once each datagram of the client has been answered so many times (1 for DNS). Left out or 0: only by `udpTimeout`.' }),
  ),
  drainTimeout: duration(`How long connections may go on after the listener has been removed or moved to another address; then they are closed. Left out: ${defaultListenerDrain}. 0s: as long as it takes.`),
}

export const poolLayer4Fields = {
  sendProxyProtocol: Type.Optional(
    Type.Union([Type.Literal('off'), Type.Literal('v1'), Type.Literal('v2')], {
      description: 'Begins each connection to a member with a PROXY header that names the client. Connections are then not shared between clients. Health checks send one that names nobody, unless they have an address or port of their own. Left out: off.',
    }),
  ),
}

/** What a listener's plan says of layer 4. Pure. */
import { durationMs } from '../../config/duration.ts'
import { defaultListenerDrain, defaultUdpTimeout } from '../../config/layer4-schema.ts'
import type { Listener } from '../../config/schema.ts'
import { buildAddressSet, type AddressSetData } from '../filters/address-set.ts'

export interface Layer4Plan {
  /** Members are reached at the port that the client connected to. */
  readonly samePort: boolean
  /** Connections begin with a PROXY header… */
  readonly proxyProtocol: boolean
  /** …if they come from here; undefined: from everywhere. */
  readonly trusted: AddressSetData | undefined
  readonly udpTimeoutMs: number
  /** Answers to each datagram of a client after which its session ends; 0: no limit. */
  readonly udpResponses: number
  /** How long connections go on after the listener is gone; Infinity: as long as it takes. */
  readonly drainMs: number
}

export function layer4Of(listener: Listener): Layer4Plan {
  const trusted = listener.trustedSources ?? []
  const drainMs = durationMs(listener.drainTimeout ?? defaultListenerDrain)
  return {
    samePort: listener.memberPort === 'same',
    proxyProtocol: listener.proxyProtocol === 'accept',
    trusted: trusted.length === 0 ? undefined : buildAddressSet(trusted),
    udpTimeoutMs: durationMs(listener.udpTimeout ?? defaultUdpTimeout),
    udpResponses: listener.udpResponses ?? 0,
    drainMs: drainMs === 0 ? Infinity : drainMs,
  }
}

/** Version of the PROXY header that a pool's members get; 0: none. */
export function proxyVersionOf(setting: 'off' | 'v1' | 'v2' | undefined): 0 | 1 | 2 {
  return setting === 'v1' ? 1 : setting === 'v2' ? 2 : 0
}

/**
 * Versions of nodes that work together: which protocols a node speaks, which one two of them use, and what to do when there
 * is none. Pure. What the replicated commands mean is not known here: their level is only passed on.
 *
 * A new protocol raises `max`; `min` follows one release later. So any two neighbouring releases have one in common, and a
 * cluster is upgraded node by node, with a way back.
 */
import type { NodeId } from './core/types.ts'

/** Protocols of the log stream and of datagrams, both ends included. */
export interface ProtocolRange {
  readonly min: number
  readonly max: number
}

/** What a node says of itself in the hello of each stream. */
export interface Versions {
  readonly protocol: ProtocolRange
  /** Highest level of replicated commands that its state machine understands. */
  readonly commandLevel: number
  /** Version of the product, for people; at most 64 characters. */
  readonly product: string
}

/** Highest length of `Versions.product` that is taken, in UTF-16 code units. */
export const maxProductLength = 64

/** Protocols that this build speaks. `max` rises with every change of the wire format that an older node would not ignore. */
export const spokenProtocols: ProtocolRange = { min: 1, max: 1 }

/** For who says nothing else: this build's protocols and the first level. */
export const defaultVersions: Versions = { protocol: spokenProtocols, commandLevel: 1, product: '' }

/** The newest protocol that both speak; undefined when there is none. Both ends of a stream come to the same. */
export function commonProtocol(a: ProtocolRange, b: ProtocolRange): number | undefined {
  const protocol = Math.min(a.max, b.max)
  return protocol >= a.min && protocol >= b.min ? protocol : undefined
}

/** Why there is no stream between two nodes without a common protocol, and what to do, for a log. */
export function noCommonProtocol(own: Versions, peer: NodeId, theirs: Versions): string {
  const behind = theirs.protocol.min > own.protocol.max
  const [what, needed] = behind ? ['this node', theirs.protocol.min] : [peer, own.protocol.min]
  return `${peer} (${named(theirs)}) speaks protocol ${range(theirs.protocol)}, this node (${named(own)}) ${range(own.protocol)}: no stream between them; `
    + `upgrade ${what} to a version that speaks protocol ${needed}, or take the other one back to a version that both understand`
}

function range({ min, max }: ProtocolRange): string {
  return min === max ? String(min) : `${min} to ${max}`
}

function named({ product }: Versions): string {
  return product === '' ? 'version not told' : `version ${product}`
}

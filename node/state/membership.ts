/** Membership entries of the log: reading them, and what they changed in words for the audit log. */
import type { Membership, Peer } from '../../consensus/core/types.ts'
import { readPeer } from './command.ts'
import { Fields } from './fields.ts'
import { FormatError } from './msgpack.ts'

const maxPeers = 1000

/** JSON, UTF-8 (consensus/core/types.ts). Undefined when it is not that. */
export function readMembership(data: Uint8Array): Membership | undefined {
  try {
    const fields = new Fields(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data)), 'membership')
    const peers = (key: string): Peer[] => fields.list(key, maxPeers).map((peer) => readPeer(new Fields(peer, key)))
    return { voters: peers('voters'), learners: peers('learners') }
  } catch (error) {
    if (error instanceof FormatError || error instanceof SyntaxError || error instanceof TypeError) return undefined
    throw error
  }
}

/**
 * What changed, as one audit entry: `node.add`, `node.remove`, `node.promote`, or `node.change` when it was several things
 * at once; undefined when nothing did.
 */
export function membershipChange(before: Membership, after: Membership): { readonly action: string; readonly detail: string } | undefined {
  const was = byId(before)
  const is = byId(after)
  const actions = new Set<string>()
  const lines: string[] = []
  const note = (action: string, line: string): void => {
    actions.add(action)
    lines.push(line)
  }
  for (const [id, { peer, voter }] of is) {
    const old = was.get(id)
    if (old === undefined) note('node.add', `${id} (${peer.role}) at ${peer.address} added${voter ? '' : ' as learner'}`)
    else if (voter && !old.voter) note('node.promote', `${id} (${peer.role}) votes now`)
    else if (!voter && old.voter) note('node.change', `${id} (${peer.role}) votes no more`)
    else if (JSON.stringify(peer) !== JSON.stringify(old.peer)) note('node.change', `${id}: ${old.peer.address} → ${peer.address}`)
  }
  for (const [id, { peer }] of was) if (!is.has(id)) note('node.remove', `${id} (${peer.role}) removed`)
  if (lines.length === 0) return undefined
  const [action] = actions
  return { action: actions.size === 1 ? action! : 'node.change', detail: lines.join('\n') }
}

interface Seat {
  readonly peer: Peer
  readonly voter: boolean
}

function byId({ voters, learners }: Membership): Map<string, Seat> {
  const seats = [...learners.map((peer): Seat => ({ peer, voter: false })), ...voters.map((peer): Seat => ({ peer, voter: true }))]
  return new Map(seats.map((seat) => [seat.peer.id, seat]))
}

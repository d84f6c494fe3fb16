/**
 * How a node whose log is damaged gets a new one. It knows neither what it has promised (term, vote) nor what it has
 * acknowledged, so it must not count: it asks the leader to commit a membership in which it does not vote, and only when
 * that is committed begins anew, as a learner with nothing. The log comes as to any learner, and with it the vote.
 *
 * Why that is safe: until the demotion is committed this node says nothing but its request. The demotion is in force on
 * the leader from the moment that it is appended, so it is committed by a majority of the *other* voters, and with it
 * everything before it. An election in which the forgotten votes could matter needs one voter of that majority, and each
 * of them has a longer log than a candidate that still counts this node.
 */
import { find, isMembership } from './core/membership.ts'
import type { Membership, NodeId, Peer } from './core/types.ts'
import type { ConsensusOptions } from './consensus.ts'
import { pause, type Clock, type Network, type NetworkParts } from './environment.ts'
import { refusal } from './proposals.ts'

/** What a member answers to a `repair` request. */
export type RepairReply =
  /** `index`: of the committed membership entry by which the node lost its vote. `term`: it must start at least there. */
  | { readonly ok: true; readonly index: number; readonly term: number; readonly membership: Membership }
  | { readonly ok: false; readonly code: 'not-leader' | 'not-a-member' | 'invalid'; readonly detail: string }

export interface RepairOptions {
  readonly id: NodeId
  /** Of this node's certificate. */
  readonly fingerprint: string
  /** The members as last known; whoever dials this node is asked as well. */
  readonly members: readonly Peer[]
  readonly clock: Clock
  readonly log: ConsensusOptions['log']
  readonly connect: (parts: NetworkParts) => Network | Promise<Network>
  /** Ends the attempt. */
  readonly signal?: AbortSignal | undefined
}

const askEveryMs = 250
/** Longer than the leader waits for a majority. */
const answerTimeoutMs = 12_000
/** How long without an answer is worth an error in the log, and how often it is said again, milliseconds. */
const firstComplaintMs = 5000
const complainEveryMs = 60_000

/**
 * Asks every peer that can be reached until the leader has answered. Rejects when this node is no member any more, and
 * when `signal` ends it; otherwise it waits: without a majority of the others there is nobody who could repair it.
 */
export async function askForRepair(options: RepairOptions): Promise<Extract<RepairReply, { ok: true }>> {
  const { id, fingerprint, members, clock, log, signal } = options
  const others = members.filter((peer) => peer.id !== id)
  const reached = new Set<NodeId>()
  const network = await options.connect({
    join: undefined,
    // Who is a member by now is not known here. Nothing is believed but a leader's answer.
    mayConnect: () => true,
    handlers: {
      message: () => undefined,
      gossip: () => undefined,
      request: async () => refusal('not-leader', true, 'this node is being repaired'),
      snapshot: () => undefined,
      connected: (peer) => void reached.add(peer),
      disconnected: (peer) => void reached.delete(peer),
    },
  })
  const sinceMs = clock.now()
  let complainAtMs = sinceMs + firstComplaintMs
  let lastAnswer = ''
  try {
    network.setPeers(others)
    for (;;) {
      for (const peer of reached) {
        if (signal?.aborted === true) throw new Error('stopped while the log was being repaired')
        const reply = await ask(network, clock, peer, fingerprint)
        if (reply === undefined) continue
        if (reply.ok) {
          if (find({ voters: reply.membership.voters, learners: [] }, id) === undefined && find(reply.membership, id) !== undefined) return reply
          lastAnswer = `${peer}: an answer that cannot be`
        } else if (reply.code === 'not-a-member') {
          throw new Error(`the log is damaged and cannot be repaired: ${reply.detail}. Delete this data directory; the machine can join as a new node`)
        } else {
          lastAnswer = `${peer}: ${reply.detail}`
        }
      }
      if (clock.now() >= complainAtMs) {
        complainAtMs = clock.now() + complainEveryMs
        log('error', complaint(others, [...reached], lastAnswer), { waitingMs: Math.round(clock.now() - sinceMs) })
      }
      await pause(clock, askEveryMs)
      if (signal?.aborted === true) throw new Error('stopped while the log was being repaired')
    }
  } finally {
    await network.close(false)
  }
}

function complaint(others: readonly Peer[], reached: readonly NodeId[], lastAnswer: string): string {
  const known = others.map(({ id }) => id).join(', ') || 'none is known here'
  return `this node's log is damaged and no leader has answered yet (other members: ${known}; connected: ${reached.join(', ') || 'none'}`
    + `${lastAnswer === '' ? '' : `; last answer: ${lastAnswer}`}). It takes part again once a majority of the others has a leader: start them. `
    + 'If they are lost for good, run haechi recover on a node whose log is whole'
}

/** Undefined when there is no answer, or none that is understood. */
async function ask(network: Network, clock: Clock, peer: NodeId, fingerprint: string): Promise<RepairReply | undefined> {
  const sent = network.request(peer, { type: 'repair', fingerprint })
  if (sent === 'not-sent') return undefined
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = clock.after(answerTimeoutMs, () => resolve(undefined))
  const value = await Promise.race([sent, promise])
  clock.cancel(timer)
  if (typeof value !== 'object' || value === null) return undefined
  const { ok, index, term, membership, code, detail } = value as Record<string, unknown>
  const count = (field: unknown): field is number => typeof field === 'number' && Number.isSafeInteger(field) && field > 0
  if (ok === true) return count(index) && count(term) && isMembership(membership) ? { ok, index, term, membership } : undefined
  if (ok !== false || typeof detail !== 'string') return undefined
  return { ok, code: code === 'not-a-member' || code === 'invalid' ? code : 'not-leader', detail }
}

/**
 * Going on without the others: a node whose cluster has lost its majority for good makes itself the only voter. Offline,
 * because no member can agree to it; by an operator, because nobody else can know that the others are gone.
 *
 * One atomic write of the log does it: a membership of this node alone and the caller's commands (an audit entry) as the
 * first entries of a new term, and the next generation of the cluster. From then on members of earlier generations are
 * refused, so that an old machine that is started after all is not taken for a member. identity.json only follows: a crash
 * before it does is made good at the next start.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { encodeMembership, find, isVoter } from './core/membership.ts'
import type { Entry, Membership } from './core/types.ts'
import { readRepairMarker } from './damage.ts'
import { certificateFingerprint, loadCredentials, loadIdentity, rewriteIdentity, type Identity } from './identity.ts'
import { openLog } from './storage/level.ts'
import type { LogStorage } from './storage/storage.ts'

/** What an operator has to know before deciding. */
export interface RecoveryView {
  readonly id: string
  readonly clusterId: string
  /** How often the cluster has been recovered before. */
  readonly generation: number
  /** As this node's log says. */
  readonly membership: Membership
  /** Whether this node votes; a learner may lack any number of changes. */
  readonly voter: boolean
  readonly lastIndex: number
  readonly lastTerm: number
  /** Known here to be committed. What follows may or may not have been acknowledged to anybody. */
  readonly commitIndex: number
}

export interface Recovered {
  /** Index of the membership entry. */
  readonly index: number
  readonly term: number
  readonly generation: number
}

/** Looks, and changes nothing. Rejects with a clear `Error` when this directory cannot be recovered from, or is in use. */
export async function inspectForRecovery(directory: string): Promise<RecoveryView> {
  return withLog(directory, async (identity, storage) => viewOf(directory, identity, storage))
}

/**
 * Makes this node the only voter. `commands` are payloads for the state machine, made from what was found. Rejects like
 * `inspectForRecovery`; what is on disk then is as it was.
 */
export async function recoverAlone(directory: string, commands: (view: RecoveryView) => readonly Uint8Array[]): Promise<Recovered> {
  return withLog(directory, async (identity, storage) => {
    const view = viewOf(directory, identity, storage)
    const { certificate } = loadCredentials(directory)
    const self = { ...find(view.membership, view.id)!, fingerprint: certificateFingerprint(certificate) }
    const term = Math.max(storage.hardState.term, view.lastTerm) + 1
    const index = view.lastIndex + 1
    const generation = view.generation + 1
    const entries: Entry[] = [
      { index, term, type: 'membership', data: encodeMembership({ voters: [self], learners: [] }) },
      ...commands(view).map((data, at): Entry => ({ index: index + 1 + at, term, type: 'command', data })),
    ]
    await storage.recover(entries, { term, vote: view.id }, generation)
    await rewriteIdentity(directory, inGeneration(identity, generation))
    return { index, term, generation }
  })
}

/** The identity after a recovery. What a repair had to wait for is settled by it. */
export function inGeneration({ clusterId, id, role, address, apiAddress, membership }: Identity, generation: number): Identity {
  return { clusterId, id, role, address, apiAddress, membership, generation }
}

async function withLog<T>(directory: string, work: (identity: Identity, storage: LogStorage) => Promise<T>): Promise<T> {
  const identity = loadIdentity(directory)
  if (identity.role === 'witness') {
    throw new Error(
      `${identity.id} is a witness: it has neither the configuration as a node keeps it nor the key of the cluster's CA, so it cannot go on alone. `
      + 'Use a node; if none is left, found a new cluster with haechi init and the configuration that you keep',
    )
  }
  const marker = readRepairMarker(directory)
  if (marker !== undefined) {
    throw new Error(`the log of ${identity.id} is damaged (${marker.reason}): recover from a node whose log is whole`)
  }
  if (!existsSync(join(directory, 'ca.key'))) throw new Error(`${join(directory, 'ca.key')} is missing: nobody could join ${identity.id} afterwards`)
  const storage = await openLog(join(directory, 'log'), { clusterId: identity.clusterId, nodeId: identity.id })
  try {
    return await work(identity, storage)
  } finally {
    await storage.close()
  }
}

function viewOf(directory: string, { id, clusterId, generation }: Identity, storage: LogStorage): RecoveryView {
  const { lastIndex, commitIndex, snapshot } = storage
  if (lastIndex === 0) throw new Error(`the log of ${id} is empty: it has nothing to go on with`)
  const membership = storage.membershipAt(lastIndex)
  const own = find(membership, id)
  if (own === undefined) throw new Error(`${id} was removed from the cluster: its data is old. Recover from a node that is a member`)
  if (own.fingerprint !== undefined && own.fingerprint !== certificateFingerprint(loadCredentials(directory).certificate)) {
    throw new Error(`the member ${id} has another certificate: this is the data of a node that was removed. Recover from the one that joined later`)
  }
  const voter = isVoter(membership, id)
  if (voter && membership.voters.length === 1) throw new Error(`${id} is the only voter already: it needs no other. Start it with haechi start`)
  return {
    id, clusterId, generation: Math.max(generation ?? 0, storage.generation), membership, voter, lastIndex, commitIndex,
    lastTerm: storage.takeLoaded().at(-1)?.term ?? snapshot?.term ?? 0,
  }
}

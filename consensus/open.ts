/** Consensus on a real machine: the driver with this machine's clock, disk and network, or first the repair of its log. */
import { join as joinPath } from 'node:path'
import type { ConsensusOptions } from './consensus.ts'
import { balancedTiming, type Membership } from './core/types.ts'
import { beginAnew, demandRepair, MemberMemory, readRepairMarker, rememberedMembers, setAside } from './damage.ts'
import { Driver, type AbortableConsensus } from './driver.ts'
import { realClock, realWorld, type NetworkParts, type World } from './environment.ts'
import { certificateFingerprint, loadCredentials, loadIdentity, rewriteIdentity, type Identity } from './identity.ts'
import { inGeneration } from './recovery.ts'
import { askForRepair } from './repair.ts'
import { openLog } from './storage/level.ts'
import { StorageError, type LogStorage } from './storage/storage.ts'
import { parseHostPort } from './transport/address.ts'
import { Transport } from './transport/transport.ts'

/**
 * Opens the log in `options.directory`, listens, and takes part. A damaged log is repaired from the leader first, which
 * takes as long as there is none. Rejects with a clear error when it cannot. `world`: for tests.
 */
export async function openConsensus(options: ConsensusOptions, world: World = realWorld): Promise<AbortableConsensus> {
  const { directory, hooks, log } = options
  const listenText = options.listen ?? loadIdentity(directory).address
  const listen = parseHostPort(listenText)
  if (listen === undefined) throw new Error(`${listenText} is not host:port`)
  const { certificate, key, ca } = loadCredentials(directory)
  const fingerprint = certificateFingerprint(certificate)
  const connect = ({ id, clusterId, generation }: Identity) => (parts: NetworkParts) =>
    Transport.open({ self: id, clusterId: generationName(clusterId, generation ?? 0), listen, certificate, key, ca, log, ...(options.versions === undefined ? {} : { versions: options.versions }), ...parts })

  let storage = await openOrSetAside(options)
  if (storage === undefined) {
    const identity = loadIdentity(directory)
    const { clusterId, id } = identity
    const members = rememberedMembers(directory) ?? identity.membership
    const start = await askForRepair({
      id, fingerprint, members: everyPeer(members), clock: realClock, log, connect: connect(identity), signal: options.signal,
    })
    await beginAnew(directory, { clusterId, nodeId: id, ...(identity.generation === undefined ? {} : { generation: identity.generation }) }, start)
    log('warn', 'the log was begun anew: this node gets it from the leader, and its vote back once it has caught up', { index: start.index, term: start.term })
    storage = await openOwnLog(directory)
  }
  try {
    const identity = await withGenerationOf(directory, storage)
    const memory = new MemberMemory(directory)
    const driver = new Driver({
      identity, fingerprint, storage, log, timing: options.timing ?? balancedTiming, world,
      hooks: {
        ...hooks,
        changed: (status) => {
          memory.remember(status.membership)
          hooks.changed(status)
        },
      },
      ended: () => memory.settled(),
      demandRepair: async (reason) => void (await demandRepair(directory, reason, Date.now())),
    })
    memory.remember(driver.core.membership)
    await driver.start(connect(identity))
    return driver
  } catch (error) {
    await storage.close()
    throw error
  }
}

/** What members call their cluster among themselves. */
function generationName(clusterId: string, generation: number): string {
  return generation === 0 ? clusterId : `${clusterId}/${generation}`
}

function everyPeer({ voters, learners }: Membership) {
  return [...voters, ...learners]
}

function openOwnLog(directory: string): Promise<LogStorage> {
  const { clusterId, id } = loadIdentity(directory)
  return openLog(joinPath(directory, 'log'), { clusterId, nodeId: id })
}

/** Undefined when the log is damaged: it lies aside then, and a repair is due. */
async function openOrSetAside({ directory, log }: ConsensusOptions): Promise<LogStorage | undefined> {
  let marker = readRepairMarker(directory)
  if (marker === undefined) {
    try {
      return await openOwnLog(directory)
    } catch (error) {
      if (!(error instanceof StorageError) || error.kind !== 'damaged') throw error
      refuseIfAlone(directory, error.message)
      marker = await demandRepair(directory, error.message, Date.now())
    }
  }
  log('error', `the log is damaged and must be repaired from the leader: ${marker.reason}; what is left of it is in ${marker.aside}`, { since: marker.since })
  await setAside(directory, marker)
  return undefined
}

/** The log stays where it is then: it may be all that there is. */
function refuseIfAlone(directory: string, reason: string): void {
  const { id } = loadIdentity(directory)
  const members = rememberedMembers(directory)
  if (members === undefined || members.voters.some((voter) => voter.id !== id)) return
  throw new Error(
    `the log is damaged (${reason}) and this node is the only voter: there is nobody to repair it from, and haechi recover needs a log `
    + `that is whole. Restore ${directory} from a backup; or move it away and found a new cluster with haechi init and the configuration that you keep`,
  )
}

/** A recovery writes the generation into the log first. An identity.json that has not followed yet does so now. */
async function withGenerationOf(directory: string, storage: LogStorage): Promise<Identity> {
  const identity = loadIdentity(directory)
  if ((identity.generation ?? 0) >= storage.generation) return identity
  const next = inGeneration(identity, storage.generation)
  await rewriteIdentity(directory, next)
  return next
}

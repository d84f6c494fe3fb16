/** Consensus on a real machine: the driver with this machine's clock, disk and network. */
import { join as joinPath } from 'node:path'
import type { ConsensusOptions } from './consensus.ts'
import { balancedTiming } from './core/types.ts'
import { Driver, type AbortableConsensus } from './driver.ts'
import { realWorld } from './environment.ts'
import { loadCredentials, loadIdentity } from './identity.ts'
import { openLog } from './storage/level.ts'
import { parseHostPort } from './transport/address.ts'
import { Transport } from './transport/transport.ts'

/** Opens the log in `options.directory`, listens, and takes part. Rejects with a clear error when it cannot. */
export async function openConsensus(options: ConsensusOptions): Promise<AbortableConsensus> {
  const { directory, hooks, log } = options
  const identity = loadIdentity(directory)
  const listenText = options.listen ?? identity.address
  const listen = parseHostPort(listenText)
  if (listen === undefined) throw new Error(`${listenText} is not host:port`)
  const { certificate, key, ca } = loadCredentials(directory)
  const { id, clusterId } = identity
  const storage = await openLog(joinPath(directory, 'log'), { clusterId, nodeId: id })
  try {
    const driver = new Driver({ identity, storage, hooks, log, timing: options.timing ?? balancedTiming, world: realWorld })
    await driver.start((parts) => Transport.open({ self: id, clusterId, listen, certificate, key, ca, log, ...parts }))
    return driver
  } catch (error) {
    await storage.close()
    throw error
  }
}

/** Closing the fence from another process than the heart: what the child does when its heart has gone. */
import { LeaseSets } from './lease-sets.ts'

/** The nftables table of a node, in the families inet, arp and (where the kernel has it) netdev. */
export const defaultTable = 'haechi'

/** True when the kernel has confirmed, or when there is no fence to close. */
export function closeFenceNow(table = defaultTable): boolean {
  try {
    const sets = new LeaseSets(table, true)
    sets.setEgress(true)
    const result = sets.close()
    sets.dispose()
    return result.ok || result.code === 'ENOENT'
  } catch {
    // Unprivileged: then this node holds no kernel-mode VIP either.
    return false
  }
}

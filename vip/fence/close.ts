/** Closing the fence from another process than the heart: what the child does when its heart has gone. */
import { Netlink, NETLINK_NETFILTER, refusalIn } from '../syscalls.ts'
import { batch } from './nftables.ts'
import { allFamilies, closeAll, defaultTable } from './ruleset.ts'

/** The table belongs to the heart's socket until the kernel has torn that down, which may be a moment after its pipe closed. */
const attempts = 20
const betweenMs = 2

/** True when the kernel has confirmed, or when there is no fence to close. False: the lease's end closes it. */
export function closeFenceNow(table = defaultTable): boolean {
  try {
    const netlink = new Netlink(NETLINK_NETFILTER)
    // Each family by itself: netdev is not everywhere.
    const closed = allFamilies.map((in_) => {
      for (let attempt = 1; ; attempt++) {
        const code = netlink.send(batch(closeAll(table, [in_]), 1).bytes) || (refusalIn(netlink.receive())?.code ?? '')
        if (code === '' || code === 'ENOENT') return true
        if (code !== 'EPERM' || attempt === attempts) return false
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, betweenMs)
      }
    })
    netlink.close()
    return closed.every(Boolean)
  } catch {
    // No netlink: then this node holds no kernel-mode VIP either.
    return false
  }
}

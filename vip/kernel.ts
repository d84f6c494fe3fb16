/** Kernel settings that a node needs to take a VIP over at once. */
import { writeFileSync } from 'node:fs'

/**
 * Lets the standby's proxy listen on addresses that it does not have yet, so that a takeover binds nothing. Returns the
 * settings that could not be made (unprivileged), empty when all were.
 */
export function allowNonlocalBind(): string[] {
  const failed: string[] = []
  for (const file of ['/proc/sys/net/ipv4/ip_nonlocal_bind', '/proc/sys/net/ipv6/ip_nonlocal_bind']) {
    try {
      writeFileSync(file, '1')
    } catch {
      failed.push(file)
    }
  }
  return failed
}

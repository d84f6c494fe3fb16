/** The text of the fence's rules. Pure. */
import type { GuardedAddress } from './table.ts'

function elements(addresses: readonly string[]): string {
  return addresses.length === 0 ? '' : ` elements = { ${addresses.join(', ')} };`
}

function table(family: string, name: string, body: readonly string[]): string {
  // Made, deleted and made again in one transaction: works whether or not it was there.
  return [`table ${family} ${name} {}`, `delete table ${family} ${name}`, `table ${family} ${name} {`, ...body.map((line) => `  ${line}`), '}'].join('\n')
}

/**
 * What a node without a lease for a guarded address does: it sends no ARP and no neighbour advertisement for it (kernel
 * NAs have the address as their source), answers no ARP request for it, takes no packet for it and sends none from it.
 */
export function setsInOneTable(name: string, guarded: readonly GuardedAddress[], egress: boolean): string {
  const v4 = guarded.filter(({ address }) => !address.includes(':')).map(({ address }) => address)
  const v6 = guarded.filter(({ address }) => address.includes(':')).map(({ address }) => address)
  const tables = [
    table('inet', name, [
      `set guarded4 { type ipv4_addr;${elements(v4)} }`,
      `set guarded6 { type ipv6_addr;${elements(v6)} }`,
      'set lease4 { type ipv4_addr; flags timeout; }',
      'set lease6 { type ipv6_addr; flags timeout; }',
      'chain input { type filter hook input priority -300; policy accept;',
      '  ip daddr @guarded4 ip daddr != @lease4 counter drop',
      '  ip6 daddr @guarded6 ip6 daddr != @lease6 counter drop',
      '}',
      'chain output { type filter hook output priority -300; policy accept;',
      '  ip saddr @guarded4 ip saddr != @lease4 counter drop',
      '  ip6 saddr @guarded6 ip6 saddr != @lease6 counter drop',
      '}',
    ]),
    table('arp', name, [
      `set guarded4 { type ipv4_addr;${elements(v4)} }`,
      'set lease4 { type ipv4_addr; flags timeout; }',
      'chain input { type filter hook input priority 0; policy accept;',
      '  arp daddr ip @guarded4 arp daddr ip != @lease4 arp operation request counter drop',
      '}',
      'chain output { type filter hook output priority 0; policy accept;',
      '  arp saddr ip @guarded4 arp saddr ip != @lease4 counter drop',
      '}',
    ]),
  ]
  if (egress && v4.length > 0) {
    // Packet sockets pass no arp hook; the egress hook sees them too, so even an announcement needs the lease.
    const devices = [...new Set(guarded.filter(({ address, interface: device }) => v4.includes(address) && device !== '').map((one) => one.interface))]
    tables.push(
      table('netdev', name, [
        `set guarded4 { type ipv4_addr;${elements(v4)} }`,
        'set lease4 { type ipv4_addr; flags timeout; }',
        ...devices.flatMap((device, index) => [
          `chain egress${index} { type filter hook egress device "${device}" priority 0; policy accept;`,
          '  arp saddr ip @guarded4 arp saddr ip != @lease4 counter drop',
          '}',
        ]),
      ]),
    )
  }
  return `${tables.join('\n')}\n`
}

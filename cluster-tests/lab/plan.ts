/**
 * The shape of a lab as data: which hosts there are, their addresses and MACs, and the text of the `ip -batch` scripts
 * and sysctls that make them. Pure, so that what a lab is can be read (and tested) without making one.
 */

/** `node` and `witness` run Haechi; `backend` serves HTTP; `client` only looks on from outside. */
export type HostKind = 'node' | 'witness' | 'backend' | 'client'

export interface HostPlan {
  readonly name: string
  readonly kind: HostKind
  /** IPv4 address in 10.77.0.0/24. Every lab uses the same one: its bridge stands alone in a namespace. */
  readonly address: string
  /** IPv6 address in fd77::/64. */
  readonly address6: string
  /** Fixed, so that a packet capture reads well: the last byte shows the last number of the address. */
  readonly mac: string
}

export interface LabPlan {
  readonly name: string
  /** Namespace that holds the bridge and nothing else. */
  readonly bridge: string
  readonly hosts: readonly HostPlan[]
  readonly vip: string
}

const host = (name: string, kind: HostKind, number: number): HostPlan => ({
  name,
  kind,
  address: `10.77.0.${number}`,
  address6: `fd77::${number}`,
  mac: `02:00:00:77:00:${number}`,
})

/** All hosts of a lab. */
export const hosts: readonly HostPlan[] = [
  host('node1', 'node', 11),
  host('node2', 'node', 12),
  host('witness', 'witness', 13),
  host('backend1', 'backend', 21),
  host('backend2', 'backend', 22),
  host('backend3', 'backend', 23),
  host('client', 'client', 31),
]

/** Ports on which the hosts of a lab listen. */
export const ports = { consensus: 7400, api: 8443, backend: 8000, listener: 8080 } as const

/** Longest lab name; a namespace name is `haechi-LAB-HOST`. */
const namePattern = /^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$/

/** The plan of the lab called `name`, or undefined when that is no fit name (1 to 24 of `[a-z0-9-]`). */
export function labPlan(name: string): LabPlan | undefined {
  if (!namePattern.test(name)) return undefined
  return { name, bridge: namespaceOf(name, 'bridge'), hosts, vip: '10.77.0.100' }
}

/** Name under /run/netns. */
export function namespaceOf(lab: string, host: string): string {
  return `haechi-${lab}-${host}`
}

/** Names of all namespaces of a lab, hosts first. */
export function namespaces(plan: LabPlan): string[] {
  return [...plan.hosts.map((host) => namespaceOf(plan.name, host.name)), plan.bridge]
}

/**
 * `ip -batch` script that makes bridge and cables, to be run inside the bridge's namespace. Each port is named after the
 * host at its end. No spanning tree: a port forwards as soon as it is up. No multicast snooping: neighbour
 * advertisements reach every port, as on a switch without it.
 */
export function bridgeScript(plan: LabPlan): string {
  const lines = ['link add br0 type bridge stp_state 0 mcast_snooping 0', 'link set br0 up', 'link set lo up']
  for (const host of plan.hosts) {
    lines.push(
      `link add ${host.name} type veth peer name eth0 address ${host.mac} netns ${namespaceOf(plan.name, host.name)}`,
      `link set ${host.name} master br0 up`,
    )
  }
  return `${lines.join('\n')}\n`
}

/** `ip -batch` script for one host, to be run inside its namespace after its sysctls. */
export function hostScript(host: HostPlan): string {
  return [
    'link set lo up',
    `addr replace ${host.address}/24 brd 10.77.0.255 dev eth0`,
    `addr replace ${host.address6}/64 dev eth0 nodad`,
    'link set eth0 up',
    '',
  ].join('\n')
}

/**
 * Sysctls of one host below /proc/sys/net, set before the link comes up. Everything that decides how a client learns of
 * a moved address (arp_accept, gc, reachable time) is left at the kernel's default on purpose: a drill has to measure
 * what an ordinary neighbour does.
 */
export function sysctls(host: HostPlan): readonly (readonly [path: string, value: string])[] {
  const all: [string, string][] = [
    // Duplicate address detection would only add a second to the start of every host.
    ['ipv6/conf/all/accept_dad', '0'],
    ['ipv6/conf/default/accept_dad', '0'],
    ['ipv6/conf/eth0/accept_dad', '0'],
    ['ipv6/conf/eth0/router_solicitations', '0'],
  ]
  // Listeners bind to a VIP that the node does not hold yet.
  if (host.kind === 'node') all.push(['ipv4/ip_nonlocal_bind', '1'], ['ipv6/ip_nonlocal_bind', '1'])
  // A probe opens hundreds of connections a second; each leaves a port in TIME_WAIT for a minute.
  if (host.kind !== 'witness') all.push(['ipv4/ip_local_port_range', '10000 65535'])
  return all
}

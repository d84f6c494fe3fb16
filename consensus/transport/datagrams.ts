/**
 * The UDP socket of a node. Sending is synchronous and may lose; nothing that the network does to it (refused ports,
 * unreachable hosts) is an error for the sender: silence is what the core acts on.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { lookup as lookupHost } from 'node:dns'
import { isIP, isIPv6 } from 'node:net'
import type { HostPort } from './address.ts'

const noop = () => undefined

export class DatagramSocket {
  readonly #socket: Socket
  readonly #ipv6: boolean
  #open = false

  private constructor(ipv6: boolean, receive: (datagram: Buffer, from: RemoteInfo) => void, log: (message: string) => void) {
    this.#ipv6 = ipv6
    // Addresses are resolved before they get here; without this every send would take a detour over the resolver.
    const lookup = (host: string, _options: unknown, callback: (error: null, address: string, family: number) => void) =>
      callback(null, host, ipv6 ? 6 : 4)
    this.#socket = createSocket({ type: ipv6 ? 'udp6' : 'udp4', lookup: lookup as never })
    this.#socket.on('message', receive)
    this.#socket.on('error', (error) => log(`datagram socket: ${error.message}`))
  }

  /** Rejects when the address is in use. */
  static async bind(
    { host, port }: HostPort, receive: (datagram: Buffer, from: RemoteInfo) => void, log: (message: string) => void,
  ): Promise<DatagramSocket> {
    const datagrams = new DatagramSocket(isIPv6(host), receive, log)
    await new Promise<void>((resolve, reject) => {
      datagrams.#socket.once('error', reject)
      datagrams.#socket.bind({ address: host, port, exclusive: true }, () => {
        datagrams.#socket.off('error', reject)
        resolve()
      })
    })
    datagrams.#open = true
    return datagrams
  }

  /** `to.host` must be an IP address. */
  send(datagram: Buffer, to: HostPort): void {
    if (this.#open) this.#socket.send(datagram, to.port, to.host, noop)
  }

  /** An IP address for `host` that this socket can send to; undefined when there is none. */
  async resolve(host: string): Promise<string | undefined> {
    const address = isIP(host) === 0 ? await lookUp(host, this.#ipv6 ? 0 : 4) : host
    if (address === undefined || isIPv6(address) === this.#ipv6) return address
    // A socket on `::` reaches IPv4 by mapped addresses (RFC 4291 §2.5.5.2); an IPv4 socket does not reach IPv6.
    return this.#ipv6 ? `::ffff:${address}` : undefined
  }

  close(): void {
    if (!this.#open) return
    this.#open = false
    this.#socket.close()
  }
}

function lookUp(host: string, family: 0 | 4): Promise<string | undefined> {
  return new Promise((resolve) => lookupHost(host, { family }, (error, address) => resolve(error === null ? address : undefined)))
}

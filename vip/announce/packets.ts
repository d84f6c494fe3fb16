/** Sends a VIP's announcements out of its interface, from a packet socket. */
import { readFileSync } from 'node:fs'
import type { Link } from '../addresses.ts'
import { PacketSocket } from '../syscalls.ts'
import { gratuitousArp, unsolicitedAdvertisement } from './frames.ts'

export class Announcer {
  readonly #socket: PacketSocket

  /** @throws SyscallError (EPERM without CAP_NET_RAW) */
  constructor() {
    this.#socket = new PacketSocket()
  }

  /**
   * Announces an address once: both forms of gratuitous ARP (some stacks take an update from one form only), or an unsolicited
   * advertisement. `mayAnswer` is asked immediately before each packet: a pause may have hit since the last check.
   * Returns an error code, or empty; `false`: not sent, because the right to answer has gone.
   */
  announce(address: string, device: string, link: Link, mayAnswer: () => boolean): string | false {
    const frames = address.includes(':')
      ? [unsolicitedAdvertisement(address, link.mac, forwards(device))]
      : [gratuitousArp(address, link.mac, 'request'), gratuitousArp(address, link.mac, 'reply')]
    for (const frame of frames) {
      if (!mayAnswer()) return false
      const code = this.#socket.send(link.index, frame)
      if (code !== '') return code
    }
    return ''
  }

  close(): void {
    this.#socket.close()
  }
}

/** Whether this host is an IPv6 router on the interface. */
function forwards(device: string): boolean {
  try {
    return readFileSync(`/proc/sys/net/ipv6/conf/${device}/forwarding`, 'latin1').startsWith('1')
  } catch {
    return false
  }
}

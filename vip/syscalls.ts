/**
 * The few system calls that Node does not have: netlink and packet sockets, through koffi. Synchronous on purpose: between
 * reading the clock and the kernel's commit of a lease lie microseconds of this thread and nothing else.
 */
import koffi from 'koffi'
import { constants } from 'node:os'

const libc = koffi.load('libc.so.6')
// koffi has no ssize_t; intptr_t has the same size and sign.
const cSocket = libc.func('int socket(int domain, int type, int protocol)')
const cBind = libc.func('int bind(int fd, void *address, uint32_t length)')
const cSend = libc.func('intptr_t sendto(int fd, void *data, size_t length, int flags, void *address, uint32_t addressLength)')
const cReceive = libc.func('intptr_t recv(int fd, void *data, size_t length, int flags)')
const cClose = libc.func('int close(int fd)')
const cIndex = libc.func('uint32_t if_nametoindex(const char *name)')

export const AF_INET = 2
export const AF_INET6 = 10
const AF_NETLINK = 16
const AF_PACKET = 17
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
export const NETLINK_ROUTE = 0
export const NETLINK_NETFILTER = 12
const EAGAIN = 11

/** A failed system call. `code` is the name of the error, such as `EPERM`. */
export class SyscallError extends Error {
  readonly code: string
  readonly errno: number
  constructor(call: string, errno: number) {
    const code = errnoName(errno)
    super(`${call}: ${code}`)
    this.code = code
    this.errno = errno
  }
}

export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno)) if (value === errno) return name
  return `errno ${errno}`
}

/** Index of a network interface, or 0. */
export function interfaceIndex(name: string): number {
  return cIndex(name) as number
}

export interface NetlinkAnswer {
  readonly type: number
  readonly sequence: number
  readonly body: Buffer
}

/** A netlink socket of this process. `groups`: multicast groups (bit mask) to listen to. */
export class Netlink {
  readonly #fd: number
  readonly #buffer = Buffer.alloc(65_536)

  constructor(protocol: number, groups = 0) {
    this.#fd = cSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol) as number
    if (this.#fd < 0) throw new SyscallError('socket(AF_NETLINK)', koffi.errno())
    const address = Buffer.alloc(12)
    address.writeUInt16LE(AF_NETLINK, 0)
    address.writeUInt32LE(groups, 8)
    if ((cBind(this.#fd, address, 12) as number) < 0) throw new SyscallError('bind(AF_NETLINK)', koffi.errno())
  }

  /** The kernel handles the message before this returns; its answers wait in the socket. */
  send(message: Buffer): void {
    const sent = cSend(this.#fd, message, message.length, 0, null, 0) as number
    if (sent < 0) throw new SyscallError('sendto(AF_NETLINK)', koffi.errno())
  }

  /** All messages that wait, none if there are none. Never blocks. */
  receive(): NetlinkAnswer[] {
    const answers: NetlinkAnswer[] = []
    for (;;) {
      const length = cReceive(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT) as number
      if (length < 0) {
        const errno = koffi.errno()
        if (errno === EAGAIN) return answers
        // ENOBUFS: notifications were lost; what follows is still whole.
        if (errno === constants.errno.ENOBUFS) continue
        throw new SyscallError('recv(AF_NETLINK)', errno)
      }
      let at = 0
      while (at + 16 <= length) {
        const size = this.#buffer.readUInt32LE(at)
        if (size < 16 || at + size > length) break
        answers.push({
          type: this.#buffer.readUInt16LE(at + 4),
          sequence: this.#buffer.readUInt32LE(at + 8),
          body: Buffer.from(this.#buffer.subarray(at + 16, at + size)),
        })
        at += (size + 3) & ~3
      }
    }
  }

  close(): void {
    cClose(this.#fd)
  }
}

/** A packet socket that only sends. */
export class PacketSocket {
  readonly #fd: number

  constructor() {
    this.#fd = cSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) as number
    if (this.#fd < 0) throw new SyscallError('socket(AF_PACKET)', koffi.errno())
  }

  /** Sends a whole Ethernet frame out of an interface. */
  send(index: number, frame: Buffer): void {
    const address = Buffer.alloc(20)
    address.writeUInt16LE(AF_PACKET, 0)
    frame.copy(address, 2, 12, 14)
    address.writeInt32LE(index, 4)
    address[11] = 6
    frame.copy(address, 12, 0, 6)
    if ((cSend(this.#fd, frame, frame.length, 0, address, 20) as number) < 0) {
      throw new SyscallError('sendto(AF_PACKET)', koffi.errno())
    }
  }

  close(): void {
    cClose(this.#fd)
  }
}

/** One netlink attribute (RFC 3549 §2.3: length, type, payload, padded to four bytes). */
export function attribute(type: number, payload: Buffer): Buffer {
  const out = Buffer.alloc((4 + payload.length + 3) & ~3)
  out.writeUInt16LE(4 + payload.length, 0)
  out.writeUInt16LE(type, 2)
  payload.copy(out, 4)
  return out
}

/** One netlink message with its header. */
export function netlinkMessage(type: number, flags: number, sequence: number, body: Buffer): Buffer {
  const out = Buffer.alloc((16 + body.length + 3) & ~3)
  out.writeUInt32LE(16 + body.length, 0)
  out.writeUInt16LE(type, 4)
  out.writeUInt16LE(flags, 6)
  out.writeUInt32LE(sequence, 8)
  body.copy(out, 16)
  return out
}

export const NLM_F_REQUEST = 1
export const NLM_F_ACK = 4
export const NLM_F_REPLACE = 0x100
export const NLM_F_CREATE = 0x400
export const NLMSG_ERROR = 2

/** The errors among answers (acknowledgements are errors with number 0). */
export function errorsOf(answers: readonly NetlinkAnswer[]): number[] {
  return answers.filter((answer) => answer.type === NLMSG_ERROR).map((answer) => -answer.body.readInt32LE(0)).filter((errno) => errno !== 0)
}

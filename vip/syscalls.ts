/**
 * The few system calls that Node does not have: netlink and packet sockets, through koffi. Synchronous on purpose: between
 * reading the clock and the kernel's commit of a lease lie microseconds of this thread and nothing else.
 * Numbers are little-endian, as on the architectures that Haechi runs on (x86-64, arm64).
 */
import koffi from 'koffi'
import { constants } from 'node:os'

// Symbols that the process has anyway, so that it does not matter which C library it is.
const libc = koffi.load(null)
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

/** A failed system call. `code` is the name of the error, such as `EPERM`. */
export class SyscallError extends Error {
  readonly code: string
  constructor(call: string, errno: number) {
    const code = errnoName(errno)
    super(`${call}: ${code}`)
    this.code = code
  }
}

/** Name of an error number, such as `ENOENT` for 2. */
export function errnoName(errno: number): string {
  for (const [name, value] of Object.entries(constants.errno)) if (value === errno) return name
  return `errno ${errno}`
}

/** Index of a network interface, or 0. */
export function interfaceIndex(name: string): number {
  return cIndex(name) as number
}

/** One netlink message from the kernel, without its header. */
export interface NetlinkAnswer {
  readonly type: number
  readonly sequence: number
  readonly body: Buffer
}

/** A netlink socket of this process. `groups`: multicast groups (bit mask) to listen to. */
export class Netlink {
  readonly #fd: number
  // Kept for the life of the socket: the kernel writes into it while koffi holds only its address.
  readonly #buffer = Buffer.alloc(65_536)

  /** @throws SyscallError */
  constructor(protocol: number, groups = 0) {
    this.#fd = cSocket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol) as number
    if (this.#fd < 0) throw new SyscallError('socket(AF_NETLINK)', koffi.errno())
    const address = Buffer.alloc(12)
    address.writeUInt16LE(AF_NETLINK, 0)
    address.writeUInt32LE(groups, 8)
    if ((cBind(this.#fd, address, 12) as number) < 0) {
      const errno = koffi.errno()
      cClose(this.#fd)
      throw new SyscallError('bind(AF_NETLINK)', errno)
    }
  }

  /** The kernel handles the message before this returns; its answers wait in the socket. Returns an error code, or empty. */
  send(message: Buffer): string {
    const sent = cSend(this.#fd, message, message.length, 0, null, 0) as number
    return sent < 0 ? errnoName(koffi.errno()) : ''
  }

  /** All messages that wait, none if there are none. Never blocks. */
  receive(): NetlinkAnswer[] {
    const answers: NetlinkAnswer[] = []
    while (this.#receiveInto(answers)) continue
    return answers
  }

  /** Like `receive`, but takes no further datagram once a message with this sequence number was among them: one system
   *  call instead of two for a request whose acknowledgement is the last thing that the kernel says. */
  receiveUntil(sequence: number): NetlinkAnswer[] {
    const answers: NetlinkAnswer[] = []
    while (this.#receiveInto(answers)) if (answers.at(-1)?.sequence === sequence) break
    return answers
  }

  /** False when nothing was waiting. */
  #receiveInto(answers: NetlinkAnswer[]): boolean {
    const length = cReceive(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT) as number
    if (length < 0) {
      const errno = koffi.errno()
      if (errno === constants.errno.EAGAIN) return false
      // ENOBUFS: notifications were lost; what follows is still whole. EINTR: try again.
      if (errno === constants.errno.ENOBUFS || errno === constants.errno.EINTR) return true
      throw new SyscallError('recv(AF_NETLINK)', errno)
    }
    for (let at = 0; at + 16 <= length; ) {
      const size = this.#buffer.readUInt32LE(at)
      if (size < 16 || at + size > length) break
      answers.push({
        type: this.#buffer.readUInt16LE(at + 4),
        sequence: this.#buffer.readUInt32LE(at + 8),
        body: Buffer.from(this.#buffer.subarray(at + 16, at + size)),
      })
      at += (size + 3) & ~3
    }
    return length > 0
  }

  close(): void {
    cClose(this.#fd)
  }
}

/** A packet socket that only sends. */
export class PacketSocket {
  readonly #fd: number

  /** @throws SyscallError (EPERM without CAP_NET_RAW) */
  constructor() {
    // Protocol 0: it receives nothing.
    this.#fd = cSocket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) as number
    if (this.#fd < 0) throw new SyscallError('socket(AF_PACKET)', koffi.errno())
  }

  /** Sends a whole Ethernet frame out of an interface. Returns an error code, or empty. */
  send(index: number, frame: Buffer): string {
    const address = Buffer.alloc(20)
    address.writeUInt16LE(AF_PACKET, 0)
    frame.copy(address, 2, 12, 14)
    address.writeInt32LE(index, 4)
    address[11] = 6
    frame.copy(address, 12, 0, 6)
    const sent = cSend(this.#fd, frame, frame.length, 0, address, 20) as number
    return sent < 0 ? errnoName(koffi.errno()) : ''
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

/** The attributes in `data` from `from` on: type (without the nested and byte-order bits) and payload. */
export function* attributesOf(data: Buffer, from = 0): Generator<readonly [type: number, payload: Buffer]> {
  for (let at = from; at + 4 <= data.length; ) {
    const length = data.readUInt16LE(at)
    if (length < 4 || at + length > data.length) return
    yield [data.readUInt16LE(at + 2) & 0x3fff, data.subarray(at + 4, at + length)]
    at += (length + 3) & ~3
  }
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
export const NLM_F_DUMP = 0x300
export const NLM_F_CREATE = 0x400
export const NLM_F_APPEND = 0x800
const NLMSG_ERROR = 2

/** A refusal by the kernel: which message, and why (`ENOENT`). */
export interface NetlinkRefusal {
  readonly sequence: number
  readonly code: string
}

/** The first refusal among answers, or undefined (acknowledgements are errors with number 0). */
export function refusalIn(answers: readonly NetlinkAnswer[]): NetlinkRefusal | undefined {
  for (const { type, sequence, body } of answers) {
    const errno = type === NLMSG_ERROR ? -body.readInt32LE(0) : 0
    if (errno !== 0) return { sequence, code: errnoName(errno) }
  }
  return undefined
}

/** Whether the message with this sequence number was acknowledged. */
export function acknowledged(answers: readonly NetlinkAnswer[], sequence: number): boolean {
  return answers.some((answer) => answer.type === NLMSG_ERROR && answer.sequence === sequence && answer.body.readInt32LE(0) === 0)
}

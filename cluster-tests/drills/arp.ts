/**
 * Worker thread of the probe: asks who has the VIP every few milliseconds, and writes down every MAC that claims it.
 * It blocks in the kernel between two questions, so a busy main thread delays neither questions nor answers; and the
 * instants of answers are the kernel's own (SIOCGSTAMPNS), so that not even this thread's delays are in the figures.
 *
 * The questions come from a MAC of their own and from no address (an RFC 5227 §2.1.1 probe). The answers then go past
 * the client's kernel: asking with the client's own address would teach its neighbour table the new holder within
 * milliseconds, and hide a cluster that does not announce itself.
 */
import { parentPort, workerData } from 'node:worker_threads'
import koffi from 'koffi'
import type { ArpSample } from './analysis.ts'

export interface ArpProbeOptions {
  /** Dotted IPv4 address asked for. */
  readonly vip: string
  readonly interface: string
  /** Source MAC of the questions; must be nobody's. */
  readonly mac: string
  readonly periodMs: number
  /** Answers kept; after that the trace counts as truncated. */
  readonly maxSamples: number
  /** [0] set to 1: stop and hand over. */
  readonly control: Int32Array
}

export type ArpProbeMessage =
  | { readonly type: 'ready' }
  /** Another MAC claims the VIP than in the message before. */
  | { readonly type: 'change'; readonly mac: string; readonly atMs: number }
  | { readonly type: 'result'; readonly samples: readonly ArpSample[]; readonly sent: number; readonly truncated: boolean }

const AF_PACKET = 17
const SOCK_RAW = 3
const ETH_P_ARP = 0x0806
const MSG_DONTWAIT = 0x40
const POLLIN = 1
const SIOCGSTAMPNS = 0x8907
const CLOCK_REALTIME = 0
const CLOCK_MONOTONIC = 1
const frameBytes = 42

const libc = koffi.load(null)
const socket = libc.func('int socket(int domain, int type, int protocol)')
const bind = libc.func('int bind(int fd, void *address, uint32_t length)')
const send = libc.func('intptr_t send(int fd, void *data, uintptr_t length, int flags)')
const recv = libc.func('intptr_t recv(int fd, void *data, uintptr_t length, int flags)')
const ppoll = libc.func('int ppoll(void *fds, unsigned long count, void *timeout, void *mask)')
const ioctl = libc.func('int ioctl(int fd, unsigned long request, void *argument)')
const clockGettime = libc.func('int clock_gettime(int clock, void *time)')
const ifNametoindex = libc.func('unsigned int if_nametoindex(const char *name)')

const time = Buffer.alloc(16)
/** Seconds and nanoseconds of a `struct timespec` as milliseconds. */
const timespecMs = (): number => Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1e6
function clockMs(clock: number): number {
  clockGettime(clock, time)
  return timespecMs()
}

function openSocket(interfaceName: string): number {
  const index = ifNametoindex(interfaceName) as number
  if (index === 0) throw new Error(`no interface ${interfaceName}`)
  const protocol = ((ETH_P_ARP & 0xff) << 8) | (ETH_P_ARP >> 8)
  const fd = socket(AF_PACKET, SOCK_RAW, protocol) as number
  if (fd < 0) throw new Error(`packet socket: errno ${koffi.errno()}`)
  // struct sockaddr_ll, packet(7)
  const address = Buffer.alloc(20)
  address.writeUInt16LE(AF_PACKET, 0)
  address.writeUInt16BE(ETH_P_ARP, 2)
  address.writeInt32LE(index, 4)
  if ((bind(fd, address, address.length) as number) < 0) throw new Error(`bind to ${interfaceName}: errno ${koffi.errno()}`)
  return fd
}

const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex')
const macText = (frame: Buffer, at: number): string =>
  frame.toString('hex', at, at + 6).replaceAll(/(..)(?=.)/g, '$1:')

/** Who-has `vip`, broadcast, from `mac` and no address. RFC 826. */
function whoHas(mac: string, vip: Buffer): Buffer {
  const frame = Buffer.alloc(frameBytes)
  frame.fill(0xff, 0, 6)
  macBytes(mac).copy(frame, 6)
  frame.writeUInt16BE(ETH_P_ARP, 12)
  frame.writeUInt16BE(1, 14) // Ethernet
  frame.writeUInt16BE(0x0800, 16) // IPv4
  frame.writeUInt8(6, 18)
  frame.writeUInt8(4, 19)
  frame.writeUInt16BE(1, 20) // request
  macBytes(mac).copy(frame, 22)
  vip.copy(frame, 38)
  return frame
}

function run(options: ArpProbeOptions, post: (message: ArpProbeMessage) => void): void {
  const vip = Buffer.from(options.vip.split('.').map(Number))
  const question = whoHas(options.mac, vip)
  const fd = openSocket(options.interface)
  const frame = Buffer.alloc(2048)
  const poll = Buffer.alloc(8)
  poll.writeInt32LE(fd, 0)
  poll.writeInt16LE(POLLIN, 4)
  const timeout = Buffer.alloc(16)
  const samples: ArpSample[] = []
  let sent = 0
  let truncated = false
  let last = ''
  let changes = 0

  const take = (): void => {
    const length = recv(fd, frame, frame.length, MSG_DONTWAIT) as number
    if (length < frameBytes || frame.readUInt16BE(16) !== 0x0800) return
    // Whoever names the VIP as its own address claims it, by an answer or unasked.
    if (frame.compare(vip, 0, 4, 28, 32) !== 0) return
    const stamped = (ioctl(fd, SIOCGSTAMPNS, time) as number) === 0 ? timespecMs() : undefined
    const monotonic = clockMs(CLOCK_MONOTONIC)
    // The kernel stamps with the wall clock; only the age of the stamp is used.
    const age = stamped === undefined ? 0 : Math.max(0, clockMs(CLOCK_REALTIME) - stamped)
    const mac = macText(frame, 22)
    const asked = frame.readUInt16BE(20) === 2 && frame.compare(vip, 0, 4, 38, 42) !== 0 && frame[0] !== 0xff
    const sample: ArpSample = { atMs: monotonic - (age < 10_000 ? age : 0), mac, kind: asked ? 'reply' : 'announcement' }
    if (samples.length < options.maxSamples) samples.push(sample)
    else truncated = true
    if (mac === last) return
    last = mac
    if (changes++ < 1000) post({ type: 'change', mac, atMs: sample.atMs })
  }

  post({ type: 'ready' })
  let next = clockMs(CLOCK_MONOTONIC)
  while (Atomics.load(options.control, 0) === 0) {
    const now = clockMs(CLOCK_MONOTONIC)
    if (now >= next) {
      if ((send(fd, question, question.length, 0) as number) === question.length) sent++
      // After a delay the questions go on at their pace; they are not made up for in a burst.
      next = Math.max(next + options.periodMs, now)
    }
    const wait = Math.max(0, next - clockMs(CLOCK_MONOTONIC))
    timeout.writeBigInt64LE(0n, 0)
    timeout.writeBigInt64LE(BigInt(Math.round(wait * 1e6)), 8)
    poll.writeInt16LE(0, 6)
    if ((ppoll(poll, 1, timeout, null) as number) > 0) take()
  }
  post({ type: 'result', samples, sent, truncated })
}

if (parentPort !== null) {
  const port = parentPort
  run(workerData as ArpProbeOptions, (message) => port.postMessage(message))
}

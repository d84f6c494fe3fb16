/** A datagram to a member: healthy by its answer, or by the host not saying that the port is closed (ICMP). */
import { createSocket } from 'node:dgram'
import { beginsWith } from './payload.ts'
import type { Attempt, ProbeTarget } from './probes.ts'

/** Without an expected answer: how long the host has to say that the port is closed. Milliseconds. */
const silenceMs = 1000

/** Gives back what ends it. */
export function probeUdp(target: ProbeTarget, one: Attempt): () => void {
  const expected = target.expect ?? new Uint8Array(0)
  const socket = createSocket(target.address.includes(':') ? 'udp6' : 'udp4')
  const timer =
    expected.length > 0
      ? setTimeout(() => one.end(false, `no answer within ${target.timeoutMs} ms`), target.timeoutMs)
      : setTimeout(() => one.end(true, 'sent, and nothing speaks against it'), Math.min(silenceMs, target.timeoutMs))
  socket.on('error', (error: NodeJS.ErrnoException) => one.end(false, error.code === 'ECONNREFUSED' ? 'port closed (ICMP)' : (error.code ?? error.message.slice(0, 100))))
  socket.on('message', (message: Buffer) => {
    // From a connected socket: only the member's datagrams come here.
    if (beginsWith(message, expected) === 'yes') one.end(true, `answer ${one.took()}`)
    else one.end(false, `another answer than expected, ${message.length} bytes`)
  })
  socket.connect(target.port, target.address, () => {
    if (one.settled) return
    socket.send(target.send ?? new Uint8Array(0), (error) => {
      const { code } = (error ?? {}) as NodeJS.ErrnoException
      if (error !== null && error !== undefined) one.end(false, code === 'ECONNREFUSED' ? 'port closed (ICMP)' : (code ?? error.message))
    })
  })
  return () => {
    clearTimeout(timer)
    socket.close()
  }
}

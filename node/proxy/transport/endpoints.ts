/** Whose connection a socket is: what the kernel says, or what a proxy in front has said (a PROXY header). It outlives a TLS handshake. */
import type { Socket } from 'node:net'
import type { Endpoints } from './transport.ts'

const announced = new WeakMap<Socket, Endpoints>()

export function announce(socket: Socket, endpoints: Endpoints): void {
  announced.set(socket, endpoints)
}

export function remoteAddressOf(socket: Socket): string {
  return announced.get(socket)?.source ?? unmapped(socket.remoteAddress)
}

export function endpointsOf(socket: Socket): Endpoints {
  return (
    announced.get(socket) ?? {
      source: unmapped(socket.remoteAddress),
      sourcePort: socket.remotePort ?? 0,
      destination: unmapped(socket.localAddress),
      destinationPort: socket.localPort ?? 0,
    }
  )
}

/** Empty when the connection is gone. */
function unmapped(address: string | undefined): string {
  if (address === undefined) return ''
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

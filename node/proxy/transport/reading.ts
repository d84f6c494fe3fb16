/**
 * Reading of accepted sockets into one buffer of the thread, as Node's `onread` does for outgoing ones: without a fresh buffer, a
 * pass through the stream's queue and a tick for each read. Node offers it only where it makes the socket itself, so it is set here
 * where Node would have set it, if this version keeps it there; else the `data` events serve, at their price.
 */
import { Socket } from 'node:net'

interface Slots {
  readonly buffer: symbol
  readonly callback: symbol
}

/** Where a socket keeps the buffer and the function of its `onread`. */
const slots = findSlots()

function findSlots(): Slots | undefined {
  const buffer = Buffer.alloc(1)
  const callback = (): boolean => true
  const socket = new Socket({ onread: { buffer, callback } }) as unknown as Record<symbol, unknown>
  const holding = (what: unknown): symbol | undefined => Object.getOwnPropertySymbols(socket).find((symbol) => socket[symbol] === what)
  const found = { buffer: holding(buffer), callback: holding(callback) }
  return found.buffer === undefined || found.callback === undefined ? undefined : { buffer: found.buffer, callback: found.callback }
}

/**
 * @param received bytes `[0, length)` of the buffer, valid during the call; returns false to stop reading
 * @param buffer undefined: not wanted
 * @returns false: this version of Node does not do it, and nothing has changed
 */
export function readInto(socket: Socket, buffer: Buffer | undefined, received: (length: number) => boolean): boolean {
  const handle = (socket as unknown as { _handle: { useUserBuffer?(buffer: Buffer): void } | null })._handle
  if (buffer === undefined || slots === undefined || typeof handle?.useUserBuffer !== 'function') return false
  const open = socket as unknown as Record<symbol, unknown>
  open[slots.buffer] = buffer
  open[slots.callback] = received
  handle.useUserBuffer(buffer)
  return true
}

/**
 * Authenticated datagrams. Each side of a log stream (mutual TLS) tells the other a fresh key and session id for the
 * datagrams that it will send; every datagram then proves who sent it and that it is no replay. No clock, no socket.
 *
 *     session id (8) | counter (8) | body (26) | HMAC-SHA256 over all before, truncated (16)
 */
import { Buffer } from 'node:buffer'
import { createHmac, createSecretKey, randomBytes, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Message, NodeId } from '../core/types.ts'
import { datagramBodyBytes, readDatagramBody, writeDatagramBody } from './wire.ts'

const headBytes = 16
const macBytes = 16
export const datagramBytes = headBytes + datagramBodyBytes + macBytes

/** Sessions remembered per peer: those of streams that were lost before their successor was confirmed. */
const maxSessionsPerPeer = 8
/** Counters this far behind the newest are still accepted, once each. */
const windowSize = 64n
const windowMask = (1n << windowSize) - 1n

/** Accepts every counter at most once, and none that is older than the window (as RFC 4303 §3.4.3). */
export class ReplayWindow {
  #highest = -1n
  #seen = 0n

  /** Whether this counter is new; remembers it. Call only for authentic datagrams. */
  accept(counter: bigint): boolean {
    if (counter > this.#highest) {
      const shift = counter - this.#highest
      this.#seen = shift >= windowSize ? 1n : ((this.#seen << shift) | 1n) & windowMask
      this.#highest = counter
      return true
    }
    const age = this.#highest - counter
    if (age >= windowSize) return false
    const bit = 1n << age
    if ((this.#seen & bit) !== 0n) return false
    this.#seen |= bit
    return true
  }
}

/** The sending side of one session. */
export class SendingSession {
  readonly id: Buffer
  readonly key: Buffer
  readonly #secret: KeyObject
  #counter = 0n

  constructor(id: Buffer = randomBytes(8), key: Buffer = randomBytes(32)) {
    this.id = id
    this.key = key
    this.#secret = createSecretKey(key)
  }

  /** The datagram for `message`; undefined if its type does not travel as one. */
  seal(message: Message): Buffer | undefined {
    const datagram = Buffer.allocUnsafe(datagramBytes)
    if (!writeDatagramBody(message, datagram, headBytes)) return undefined
    this.id.copy(datagram, 0)
    datagram.writeBigUInt64BE(this.#counter, 8)
    this.#counter += 1n
    const signed = datagram.subarray(0, headBytes + datagramBodyBytes)
    createHmac('sha256', this.#secret).update(signed).digest().copy(datagram, headBytes + datagramBodyBytes, 0, macBytes)
    return datagram
  }
}

interface ReceivingSession {
  readonly peer: NodeId
  readonly secret: KeyObject
  readonly window: ReplayWindow
  /** Number of the last use: what was used least recently is forgotten first. */
  used: number
  heard: boolean
}

export type Opened =
  | { readonly ok: true; readonly from: NodeId; readonly message: Message; readonly firstOfSession: boolean }
  | { readonly ok: false; readonly reason: 'malformed' | 'unknown-session' | 'forged' | 'replayed' }

/** The receiving sides of all sessions of this node. */
export class ReceivingSessions {
  readonly #self: NodeId
  readonly #sessions = new Map<bigint, ReceivingSession>()
  #uses = 0

  constructor(self: NodeId) {
    this.#self = self
  }

  /** The peer told (over mutual TLS) what its datagrams will be signed with. */
  add(peer: NodeId, id: Uint8Array, key: Uint8Array): void {
    const number = Buffer.from(id).readBigUInt64BE(0)
    this.#sessions.set(number, {
      peer, secret: createSecretKey(key), window: new ReplayWindow(), used: (this.#uses += 1), heard: false,
    })
    const own = [...this.#sessions].filter(([, session]) => session.peer === peer)
    if (own.length <= maxSessionsPerPeer) return
    own.sort(([, left], [, right]) => left.used - right.used)
    this.#sessions.delete(own[0]![0])
  }

  /** The peer is no member any more. */
  forget(peer: NodeId): void {
    for (const [id, session] of this.#sessions) if (session.peer === peer) this.#sessions.delete(id)
  }

  open(datagram: Buffer): Opened {
    if (datagram.length !== datagramBytes) return { ok: false, reason: 'malformed' }
    const session = this.#sessions.get(datagram.readBigUInt64BE(0))
    if (session === undefined) return { ok: false, reason: 'unknown-session' }
    const end = headBytes + datagramBodyBytes
    const mac = createHmac('sha256', session.secret).update(datagram.subarray(0, end)).digest().subarray(0, macBytes)
    if (!timingSafeEqual(mac, datagram.subarray(end))) return { ok: false, reason: 'forged' }
    if (!session.window.accept(datagram.readBigUInt64BE(8))) return { ok: false, reason: 'replayed' }
    const message = readDatagramBody(datagram, headBytes, session.peer, this.#self)
    if (message === undefined) return { ok: false, reason: 'malformed' }
    const firstOfSession = !session.heard
    session.heard = true
    session.used = this.#uses += 1
    return { ok: true, from: session.peer, message, firstOfSession }
  }
}

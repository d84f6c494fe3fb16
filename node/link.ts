/**
 * The protocol between the heart (parent) and the child (main thread): length-prefixed msgpack frames on file
 * descriptor 3. Types only plus the framing; both composition roots import it.
 */
import type { Socket } from 'node:net'
import { Packr } from 'msgpackr'
import type { Entry, Peer, SnapshotMeta } from '../consensus/core/types.ts'
import type { ConsensusStatus, JoinRequest, JoinResponse, ProposeResult, ReadIndexResult } from '../consensus/consensus.ts'
import type { VipSpec, VipStatus } from '../vip/types.ts'

export interface HeartStatus {
  readonly consensus: ConsensusStatus
  readonly vips: readonly VipStatus[]
  /** Longest event-loop gap of the heart since the last report, milliseconds. */
  readonly loopGapMs: number
  /** Longest one of the last minute, milliseconds: nothing is missed by who looks once a minute. */
  readonly loopGapMaxMs: number
  readonly residentBytes: number
  readonly heartPid: number
}

/** Heart → child. */
export type ToChild =
  | { readonly type: 'restore-begin'; readonly meta: SnapshotMeta }
  | { readonly type: 'restore-chunk'; readonly data: Uint8Array }
  | { readonly type: 'restore-end' }
  | { readonly type: 'entries'; readonly entries: readonly Entry[] }
  /** Everything committed before the child's start has been sent. */
  | { readonly type: 'caught-up'; readonly index: number }
  | { readonly type: 'status'; readonly status: HeartStatus }
  | { readonly type: 'reply'; readonly id: number; readonly result: LinkResult }
  | { readonly type: 'take-snapshot'; readonly id: number }
  /** One chunk more of it is stored (`ok`), or it is not wanted any more. */
  | { readonly type: 'snapshot-credit'; readonly id: number; readonly ok: boolean }
  | { readonly type: 'gossip'; readonly from: string; readonly data: Uint8Array }
  | { readonly type: 'join'; readonly id: number; readonly request: JoinRequest }
  /** Bind mode: listen on, or stop listening on, these VIP addresses; answer with `listening`. */
  | { readonly type: 'hold'; readonly id: number; readonly addresses: readonly string[] }
  | { readonly type: 'stop' }

/** Child → heart. */
export type ToHeart =
  | { readonly type: 'propose'; readonly id: number; readonly data: Uint8Array; readonly priority: 'normal' | 'bulk' }
  | { readonly type: 'applied'; readonly index: number }
  /** For a linearizable read: up to where must be applied before it may be answered. The reply is a `ReadIndexResult`. */
  | { readonly type: 'read-index'; readonly id: number }
  | { readonly type: 'fit'; readonly fit: boolean; readonly reason: string }
  /** Every `aliveEveryMs`: the child's main thread turns. */
  | { readonly type: 'alive' }
  | { readonly type: 'vips'; readonly vips: readonly VipSpec[] }
  /** Who should lead when it can, by the document in force; an empty `preferred` for nobody. */
  | { readonly type: 'prefer'; readonly preferred: string; readonly preempt: boolean; readonly preemptDelayMs: number }
  | { readonly type: 'snapshot-begin'; readonly id: number; readonly index: number }
  | { readonly type: 'snapshot-chunk'; readonly id: number; readonly data: Uint8Array }
  | { readonly type: 'snapshot-end'; readonly id: number }
  | { readonly type: 'gossip'; readonly data: Uint8Array }
  | { readonly type: 'transfer'; readonly id: number; readonly to: string }
  | { readonly type: 'add-peer'; readonly id: number; readonly peer: Peer }
  | { readonly type: 'remove-peer'; readonly id: number; readonly peerId: string }
  | { readonly type: 'listening'; readonly id: number; readonly error: string }
  | {
      readonly type: 'join-reply'
      readonly id: number
      readonly result: { readonly ok: true; readonly response: JoinResponse } | { readonly ok: false; readonly error: string }
    }

export type LinkResult = ProposeResult | ReadIndexResult | { readonly ok: true } | { readonly ok: false; readonly detail: string }

/** How often the child says that it lives, milliseconds. */
export const aliveEveryMs = 250

type Fields = Readonly<Record<string, unknown>>
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
const isText = (value: unknown): boolean => typeof value === 'string'
const isBytes = (value: unknown): boolean => value instanceof Uint8Array
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null

const isVip = (value: unknown): boolean =>
  isObject(value) && isText(value.name) && isText(value.address) && isCount(value.prefixLength) && isText(value.interface) &&
  (value.announcer === 'kernel' || value.announcer === 'bind')

/** What each message has to hold. A parsed message of a broken child must not be able to break the heart. */
const shapes: { readonly [Type in ToHeart['type']]: (message: Fields) => boolean } = {
  propose: ({ id, data, priority }) => isCount(id) && isBytes(data) && (priority === 'normal' || priority === 'bulk'),
  applied: ({ index }) => isCount(index),
  'read-index': ({ id }) => isCount(id),
  fit: ({ fit, reason }) => typeof fit === 'boolean' && isText(reason),
  alive: () => true,
  vips: ({ vips }) => Array.isArray(vips) && vips.every(isVip),
  prefer: ({ preferred, preempt, preemptDelayMs }) => isText(preferred) && typeof preempt === 'boolean' && isCount(preemptDelayMs),
  'snapshot-begin': ({ id, index }) => isCount(id) && isCount(index),
  'snapshot-chunk': ({ id, data }) => isCount(id) && isBytes(data),
  'snapshot-end': ({ id }) => isCount(id),
  gossip: ({ data }) => isBytes(data),
  transfer: ({ id, to }) => isCount(id) && isText(to),
  'add-peer': ({ id, peer }) =>
    isCount(id) && isObject(peer) && [peer.id, peer.role, peer.address, peer.apiAddress].every(isText) &&
    (peer.fingerprint === undefined || isText(peer.fingerprint)),
  'remove-peer': ({ id, peerId }) => isCount(id) && isText(peerId),
  listening: ({ id, error }) => isCount(id) && isText(error),
  'join-reply': ({ id, result }) =>
    isCount(id) && isObject(result) && (result.ok === true ? isObject(result.response) : result.ok === false && isText(result.error)),
}

/** Whether a message from the child is one, field by field. */
export function isToHeart(message: unknown): message is ToHeart {
  if (!isObject(message) || typeof message.type !== 'string' || !Object.hasOwn(shapes, message.type)) return false
  return shapes[message.type as ToHeart['type']](message)
}

/** Frames above this, and frames that cannot be read, end the link: the other side is broken. */
export const maxFrameBytes = 32 * 1024 * 1024

export class Link<In, Out> {
  readonly #socket: Socket
  readonly #packr = new Packr({ useRecords: false, structuredClone: false })
  #parts: Buffer[] = []
  #have = 0
  #need = 4
  #length = -1
  #drained: Promise<void> | undefined

  constructor(socket: Socket, receive: (message: In) => void, closed: () => void) {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#data(chunk, receive))
    socket.on('error', () => socket.destroy())
    socket.on('close', closed)
  }

  /** Sends one message; false when the socket's buffer is full (await `drained()` before sending bulk data). */
  send(message: Out): boolean {
    if (this.#socket.destroyed) return false
    const body = this.#packr.pack(message)
    const head = Buffer.allocUnsafe(4)
    head.writeUInt32BE(body.length, 0)
    // What is sent in one turn leaves in one system call.
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    this.#socket.write(head)
    return this.#socket.write(body)
  }

  /** The other side does not keep up reading. */
  get full(): boolean {
    return this.#socket.writableNeedDrain
  }

  /** Resolves when the send buffer is empty enough to go on, or the link is closed. */
  drained(): Promise<void> {
    if (!this.#socket.writableNeedDrain || this.#socket.destroyed) return Promise.resolve()
    this.#drained ??= new Promise((resolve) => {
      const done = () => {
        this.#drained = undefined
        this.#socket.off('drain', done)
        this.#socket.off('close', done)
        resolve()
      }
      this.#socket.on('drain', done)
      this.#socket.on('close', done)
    })
    return this.#drained
  }

  close(): void {
    this.#socket.destroy()
  }

  #data(chunk: Buffer, receive: (message: In) => void): void {
    this.#parts.push(chunk)
    this.#have += chunk.length
    while (this.#have >= this.#need) {
      const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
      const taken = all.subarray(0, this.#need)
      const rest = all.subarray(this.#need)
      this.#parts = rest.length > 0 ? [rest] : []
      this.#have = rest.length
      if (this.#length < 0) {
        this.#length = taken.readUInt32BE(0)
        if (this.#length > maxFrameBytes) return this.close()
        this.#need = this.#length
        if (this.#length > 0) continue
      }
      this.#need = 4
      this.#length = -1
      let message: In
      try {
        message = this.#packr.unpack(taken) as In
      } catch {
        // The other side is broken: without the link it is ended and started anew, this side lives on.
        return this.close()
      }
      receive(message)
    }
  }
}

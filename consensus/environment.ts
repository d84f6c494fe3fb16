/**
 * What consensus needs of the world: time, chance and a network. The driver and its parts take them from here and nowhere
 * else, so that the same code runs on a machine and in the simulator, where a seed decides all three. (The disk comes in
 * as a `Store`, see `storage/store.ts`.)
 */
import { performance } from 'node:perf_hooks'
import type { ConsensusHooks } from './consensus.ts'
import type { Message, NodeId, Peer } from './core/types.ts'
import type { SnapshotPayload, SnapshotSink } from './transport/snapshots.ts'
import type { Request, SnapshotMessage } from './transport/wire.ts'
import type { Versions } from './versions.ts'

/** What `after` gives back and `cancel` takes. */
export type Timer = object

export interface Clock {
  /** Monotonic milliseconds, as `performance.now()`. */
  now(): number
  /** Runs once, not before `ms` milliseconds have passed. `background`: does not keep the process alive. */
  after(ms: number, run: () => void, background?: boolean): Timer
  /** Harmless for one that has run, and for undefined. */
  cancel(timer: Timer | undefined): void
  /** Runs when what has arrived by now has been read. */
  soon(run: () => void): void
}

export interface World {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** A broken invariant or an unreadable log: ends this participant, in production the process. */
  readonly crash: (error: Error) => void
}

/** Resolves after `ms` milliseconds. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve))
}

export const realClock: Clock = {
  now: () => performance.now(),
  after: (ms, run, background = false) => {
    const timer = setTimeout(run, ms)
    if (background) timer.unref()
    return timer
  },
  cancel: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
  soon: (run) => void setImmediate(run),
}

export const realWorld: World = {
  clock: realClock,
  random: Math.random,
  crash: (error) =>
    void setImmediate(() => {
      throw error
    }),
}

/** What the network tells the driver. */
export interface NetworkHandlers {
  /** Already authenticated: `message.from` is who sent it. */
  message(message: Message): void
  gossip(from: NodeId, data: Uint8Array): void
  /** The returned value travels back as the reply. */
  request(from: NodeId, request: Request): Promise<unknown>
  /** A snapshot with this SHA-256 (hex) is about to be streamed; undefined refuses it. */
  snapshot(from: NodeId, message: SnapshotMessage, sha256: string): SnapshotSink | undefined
  connected(id: NodeId): void
  disconnected(id: NodeId): void
  /** A peer refuses this node, because the member of this node's name has another certificate. */
  disowned?(id: NodeId): void
  /** A bearer of a peer's name was refused, because its record names another certificate. Unless the record is old. */
  impostor?(id: NodeId): void
}

/** What the driver sets up a network with. */
export interface NetworkParts {
  readonly handlers: NetworkHandlers
  /** Whether a certificate of the cluster in this name may open a stream now. */
  readonly mayConnect: (id: NodeId) => boolean
  readonly join: ConsensusHooks['join']
}

/** The driver's side of the network. Everything may be lost; nothing arrives twice or from somebody else on one stream. */
export interface Network {
  readonly port: number
  connected(id: NodeId): boolean
  /** What this node says of itself to others. */
  readonly versions?: Versions
  /** Frames and requests of newer versions that were passed over so far. */
  readonly unknownFrames?: number
  /** The protocol in use with `id`; undefined without a stream. */
  protocol?(id: NodeId): number | undefined
  /** What `id` announced last. */
  announced?(id: NodeId): Versions | undefined
  /** Instant of the last authentic message from `id`; undefined if never. */
  lastHeardMs(id: NodeId): number | undefined
  /** Whom to keep streams to. Peers that are no longer listed and may not connect any more are cut off. */
  setPeers(peers: readonly Peer[]): void
  /** False when it certainly was not sent. */
  send(message: Message): boolean
  /** Asks a peer; undefined when the stream breaks before the reply: then it is not known what became of it. */
  request(to: NodeId, request: Request): Promise<unknown> | 'not-sent'
  /** Best effort to every peer. */
  gossip(data: Uint8Array): void
  /** Sends the chunks that the receiver does not have yet. Resolves true once it has stored it all, false as soon as that failed. */
  sendSnapshot(message: SnapshotMessage, payload: SnapshotPayload): Promise<boolean>
  close(abruptly: boolean): Promise<void>
}

/**
 * One log stream: a WebSocket over mutual TLS between two members, whoever dialled. It exchanges hellos, then frames, and
 * notices when the other end has gone silent.
 */
import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { NodeId } from '../core/types.ts'
import { commonProtocol, noCommonProtocol, type Versions } from '../versions.ts'
import type { Frame, ReceivedFrame } from './wire.ts'
import { decodeFrame, encodeFrame } from './wire.ts'

/** Why a stream to what the cluster was before (or became by) `haechi recover` is given up. */
export const otherGeneration = 'it is of another generation of this cluster: one of the two has been recovered with haechi recover'

/** A stream on which nothing arrived for this many checks in a row is dead. */
const silentChecks = 3

export interface StreamHandlers {
  /** The hellos are exchanged: frames may be sent. */
  ready(stream: Stream, session: Uint8Array, key: Uint8Array): void
  frame(stream: Stream, frame: ReceivedFrame): void
  /** The other end is who it should be, but there is no protocol that both speak. `closed` follows. */
  refused(stream: Stream, versions: Versions, why: string): void
  closed(stream: Stream, why: string): void
}

export interface StreamOptions {
  readonly self: NodeId
  /** As the certificate of the other end says. */
  readonly peer: NodeId
  /** Fingerprint of that certificate. */
  readonly fingerprint: string
  readonly clusterId: string
  /** Of this node. */
  readonly versions: Versions
  /** This end made the connection. */
  readonly dialled: boolean
  readonly session: Uint8Array
  readonly key: Uint8Array
}

export class Stream {
  readonly peer: NodeId
  /** Which end made the connection. */
  readonly dialler: NodeId
  readonly session: Uint8Array
  /** Of the certificate that the other end presented: SHA-256, hex. */
  readonly fingerprint: string
  readonly #options: StreamOptions
  readonly #socket: WebSocket
  readonly #raw: Socket
  readonly #handlers: StreamHandlers
  /** What the other end announced, and the protocol that both use. Undefined before its hello. */
  #agreed: { readonly versions: Versions; readonly protocol: number } | undefined
  #closed = false
  #bytesSeen = 0
  readonly #ended = Promise.withResolvers<void>()
  #silent = 0

  constructor(socket: WebSocket, raw: Socket, options: StreamOptions, handlers: StreamHandlers) {
    this.peer = options.peer
    this.dialler = options.dialled ? options.self : options.peer
    this.session = options.session
    this.fingerprint = options.fingerprint
    this.#options = options
    this.#socket = socket
    this.#raw = raw
    this.#handlers = handlers
    raw.setNoDelay(true)
    socket.binaryType = 'nodebuffer'
    socket.on('message', (data: Buffer, isBinary: boolean) => this.#received(data, isBinary))
    socket.on('error', (error) => this.#end(error.message))
    socket.on('close', (code, reason) => this.#end(reason.length > 0 ? reason.toString() : `closed (${code})`))
    this.send({
      kind: 'hello', id: options.self, clusterId: options.clusterId, session: options.session, key: options.key, versions: options.versions,
    })
  }

  get ready(): boolean {
    return this.#agreed !== undefined && !this.#closed
  }
  /** The protocol that both ends speak; undefined before the hello. */
  get protocol(): number | undefined {
    return this.#agreed?.protocol
  }
  /** What the other end said of itself; undefined before the hello. */
  get versions(): Versions | undefined {
    return this.#agreed?.versions
  }
  /** Resolves when the stream is over. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }
  /** Bytes that wait to be sent. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  send(frame: Frame, sent?: (error?: Error) => void): void {
    this.sendEncoded(encodeFrame(frame), sent)
  }

  sendEncoded(data: Buffer, sent?: (error?: Error) => void): void {
    if (this.#socket.readyState !== 1) {
      sent?.(new Error('the stream is closed'))
      return
    }
    this.#socket.send(data, { binary: true, compress: false }, sent)
  }

  /** Call at a regular interval; ends the stream when nothing has arrived over several of them. Counts calls, not time,
   *  so that a pause of this process is not taken for silence of the other. */
  checkAlive(): void {
    const bytes = this.#raw.bytesRead
    this.#silent = bytes === this.#bytesSeen ? this.#silent + 1 : 0
    this.#bytesSeen = bytes
    if (this.#silent >= silentChecks) this.terminate('silent')
  }

  /** What has been handed over is still sent. */
  close(why: string): void {
    this.#socket.close(1000, why)
    // The other end may be gone: do not wait for its answer for ever.
    setTimeout(() => this.terminate(why), 1000).unref()
  }

  terminate(why: string): void {
    this.#socket.terminate()
    this.#end(why)
  }

  #received(data: Buffer, isBinary: boolean): void {
    if (this.#closed) return
    const frame = isBinary ? decodeFrame(data) : undefined
    if (frame === undefined) return this.terminate('an unintelligible frame')
    if (frame.kind === 'hello') {
      const { self, peer, clusterId, versions } = this.#options
      if (this.#agreed !== undefined) return this.terminate('a second hello')
      if (isOtherGeneration(frame.clusterId, clusterId)) return this.terminate(otherGeneration)
      if (frame.clusterId !== clusterId || frame.id !== peer || frame.id === self) return this.terminate('it is not who it should be')
      const protocol = commonProtocol(versions.protocol, frame.versions.protocol)
      if (protocol === undefined) {
        const why = noCommonProtocol(versions, peer, frame.versions)
        this.#handlers.refused(this, frame.versions, why)
        // Not at once: the other end has to read this one's hello to know why.
        return this.close('no common protocol')
      }
      this.#agreed = { versions: frame.versions, protocol }
      this.#handlers.ready(this, frame.session, frame.key)
      return
    }
    if (this.#agreed === undefined) return this.terminate('no hello')
    this.#handlers.frame(this, frame)
  }

  #end(why: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#ended.resolve()
    this.#handlers.closed(this, why)
  }
}

/** Whether two names of a cluster differ in the generation only (`<cluster id>` or `<cluster id>/<generation>`). */
function isOtherGeneration(a: string, b: string): boolean {
  return a !== b && a.split('/')[0] === b.split('/')[0]
}

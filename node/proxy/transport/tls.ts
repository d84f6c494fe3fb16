/**
 * TLS on `node:tls` beneath the seam: the socket's handle is wrapped in native code, so that encrypted bytes never come to
 * JavaScript. Contexts come prepared; here is only what a connection does.
 */
import { connect, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket, type ConnectionOptions, type TLSSocketOptions } from 'node:tls'
import { announce, endpointsOf, remoteAddressOf } from './endpoints.ts'
import { readInto } from './reading.ts'
import type { ClientTls, Connection, ConnectionOwner, Endpoints, Handshake, ServerTls, TlsFacts } from './transport.ts'

/** What Node's own writing passes for bytes; its type does not name it. */
const bytes = 'buffer' as BufferEncoding

/** More than this in one go would not reach the kernel at once: the native layer hands over ten buffers of 16 KiB. */
const maxPieceBytes = 128 * 1024
/** What was written while a write was on its way waits here; more than this, and the writer is told to stop. */
const maxWaitingBytes = 64 * 1024

const nothing = Buffer.alloc(0)

/** Parts of Node's TLS socket that its types do not name. */
interface NativeTls {
  setOCSPResponse(response: Buffer): void
  verifyError(): Error | null
  reading: boolean
  readStop(): number
  readStart(): number
}
interface Inner {
  readonly _handle: NativeTls | null
  _releaseControl(): boolean
}
function inner(socket: TLSSocket): Inner {
  return socket as unknown as Inner
}

/** Bytes that the kernel has not taken from a plain socket. */
function unsent(raw: Socket): number {
  const { _handle: handle } = raw as unknown as { _handle: { writeQueueSize: number } | null }
  return handle === null ? 0 : handle.writeQueueSize
}

/**
 * The native layer encrypts at once and copies, but takes one write at a time and says only in a later phase of the event loop
 * that it is done. So what is written meanwhile is gathered and goes as one piece (and one record) after it.
 */
export class TlsConnection implements Connection {
  owner: ConnectionOwner
  readonly copies = true
  tls: TlsFacts | undefined = undefined
  readonly #raw: Socket
  #socket: TLSSocket | undefined
  readonly #readsOn: boolean
  #error = ''
  /** The native layer has a write. */
  #busy = false
  /** The kernel did not take all of it. */
  #stuck = false
  /** Written meanwhile: `[#sent, #waiting)` of this. */
  #gathered: Buffer = nothing
  #sent = 0
  #waiting = 0
  /** `write` has returned false: `drained` is to follow. */
  #awaited = false
  #ending = false
  #closing = false
  /** Bytes come into the buffer of the thread. */
  #direct = false
  #paused = false
  /** Received while paused. */
  #held: Buffer = nothing
  /** And then the end. */
  #endHeld = false
  readonly #deliverHeld = (): void => {
    const socket = this.#socket
    if (this.#paused || this.#held.length === 0 || socket === undefined || socket.destroyed) return
    const held = this.#held
    this.#held = nothing
    this.owner.received(this, held, 0, held.length)
    if (this.#paused || socket.destroyed) return
    if (this.#endHeld) this.#peerEnded(socket)
    else socket.resume()
  }
  /** Reading was stopped by `pause`. */
  #stopped = false
  #broken = false
  readonly #written = (error?: Error | null): void => {
    this.#busy = false
    if (error !== undefined && error !== null) return this.#writeFailed(error)
    this.#stuck = false
    if (this.#waiting > 0) this.#sendWaiting()
    if (this.#busy) return
    if (this.#ending) this.#socket?.end()
    if (this.#closing) return void this.#socket?.destroy()
    if (this.#awaited && !this.#broken && this.#socket?.destroyed === false) {
      this.#awaited = false
      this.owner.drained(this)
    }
  }

  constructor(raw: Socket, owner: ConnectionOwner, readsOn: boolean) {
    this.#raw = raw
    this.owner = owner
    this.#readsOn = readsOn
  }

  /** From here on its owner hears of it. */
  attach(socket: TLSSocket, tls: TlsFacts, readBuffer: Buffer | undefined): void {
    this.#socket = socket
    this.tls = tls
    this.#direct = readInto(socket, readBuffer, (length) => {
      // What the native layer had decrypted already comes although it was told to stop.
      if (this.#paused || this.#held.length > 0) this.#hold(readBuffer!, length)
      else this.owner.received(this, readBuffer!, 0, length)
      return !this.#paused
    })
    if (!this.#direct) socket.on('data', (data: Buffer) => this.owner.received(this, data, 0, data.length))
    socket.on('end', () => {
      if (this.#held.length > 0) this.#endHeld = true
      else this.#peerEnded(socket)
    })
    socket.on('error', (error) => (this.#error ||= codeOf(error)))
    socket.on('close', () => this.owner.closed(this, this.#error))
  }

  get remoteAddress(): string {
    return remoteAddressOf(this.#raw)
  }
  get endpoints(): Endpoints {
    return endpointsOf(this.#raw)
  }
  announce(endpoints: Endpoints): void {
    announce(this.#raw, endpoints)
  }
  get flushed(): boolean {
    return !this.#stuck && this.#waiting === 0
  }

  write(data: Buffer): boolean {
    const socket = this.#socket
    if (this.#broken || socket === undefined || socket.destroyed || data.length === 0) return true
    if (this.#busy) {
      this.#gather(data, 0)
      if (!this.#stuck && this.#waiting <= maxWaitingBytes) return true
    } else if (data.length <= maxPieceBytes) {
      this.#send(socket, data)
      if (!this.#stuck) return true
    } else {
      this.#send(socket, data.subarray(0, maxPieceBytes))
      this.#gather(data, maxPieceBytes)
    }
    this.#awaited = true
    return false
  }

  #send(socket: TLSSocket, data: Buffer): void {
    this.#busy = true
    socket._write(data, bytes, this.#written)
    this.#stuck = unsent(this.#raw) > 0
  }

  #gather(data: Buffer, from: number): void {
    const length = data.length - from
    if (this.#gathered.length - this.#waiting < length) {
      const held = this.#waiting - this.#sent
      const grown = Buffer.allocUnsafe(Math.max(4096, 2 * (held + length)))
      this.#gathered.copy(grown, 0, this.#sent, this.#waiting)
      this.#gathered = grown
      this.#sent = 0
      this.#waiting = held
    }
    data.copy(this.#gathered, this.#waiting, from)
    this.#waiting += length
  }

  #sendWaiting(): void {
    const socket = this.#socket
    if (socket === undefined || socket.destroyed || this.#broken) return
    const from = this.#sent
    const to = Math.min(this.#waiting, from + maxPieceBytes)
    const piece = this.#gathered.subarray(from, to)
    if (to === this.#waiting) {
      // An idle connection keeps no buffer.
      this.#gathered = nothing
      this.#sent = 0
      this.#waiting = 0
    } else this.#sent = to
    this.#send(socket, piece)
  }

  #peerEnded(socket: TLSSocket): void {
    // The failure was told to the write: to a reader it looks like an orderly end, which it is not.
    if (this.#broken) socket.destroy()
    else this.owner.ended(this)
  }

  #hold(buffer: Buffer, length: number): void {
    this.#held = Buffer.concat([this.#held, buffer.subarray(0, length)])
  }

  #writeFailed(error: Error): void {
    if (this.#broken || this.#socket === undefined || this.#socket.destroyed) return
    this.#broken = true
    this.#error = codeOf(error)
    if (!this.#readsOn) this.#socket.destroy()
  }
  pause(): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#paused = true
    socket.pause()
    if (this.#direct) return
    // The stream would read on until its buffer is full, and lose that when the connection breaks off.
    const { _handle: handle } = inner(socket)
    if (handle === null || !handle.reading) return
    handle.reading = false
    handle.readStop()
    this.#stopped = true
  }
  resume(): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#paused = false
    // In its own time: whoever says `resume` is in the middle of something.
    if (this.#held.length > 0) return process.nextTick(this.#deliverHeld)
    socket.resume()
    if (!this.#stopped) return
    this.#stopped = false
    const { _handle: handle } = inner(socket)
    if (handle === null || handle.reading) return
    handle.reading = true
    handle.readStart()
  }
  end(): void {
    this.#ending = true
    // The end of TLS and of TCP must not overtake what is on its way.
    if (!this.#busy) this.#socket?.end()
  }
  close(): void {
    // All is with the kernel, but the goodbye of TLS has to wait for the native layer.
    if (this.#ending && this.#busy && this.flushed && !this.#broken) this.#closing = true
    else if (this.#socket === undefined) this.#raw.destroy()
    else this.#socket.destroy()
  }
  abort(): void {
    this.#raw.resetAndDestroy()
  }
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message
}

function factsOf(socket: TLSSocket, clientCertificate: TlsFacts['clientCertificate']): TlsFacts {
  return {
    serverName: (socket as { servername?: string | false }).servername || '',
    alpn: socket.alpnProtocol || '',
    version: socket.getProtocol() ?? '',
    resumed: socket.isSessionReused(),
    clientCertificate,
  }
}

/** Nobody: for the moment between the handshake and being owned. */
const nobody: ConnectionOwner = {
  connected: () => undefined,
  received: () => undefined,
  ended: () => undefined,
  drained: () => undefined,
  closed: () => undefined,
}

/** Options for the sockets of a listener, made once: a handshake adds nothing to them. */
const optionsOf = new WeakMap<ServerTls, TLSSocketOptions>()

function serverOptions(tls: ServerTls): TLSSocketOptions {
  const { select } = tls
  const options: TLSSocketOptions = {
    isServer: true,
    secureContext: tls.default.context,
    requestCert: tls.clientCertificate !== 'none',
    rejectUnauthorized: tls.clientCertificate === 'required',
    ...(tls.alpn.length === 0 ? {} : { ALPNProtocols: [...tls.alpn] }),
  }
  if (select !== undefined) {
    options.SNICallback = function choose(this: TLSSocket, serverName: string, done: (error: Error | null, context?: ServerTls['default']['context']) => void): void {
      const chosen = select(serverName.toLowerCase())
      if (chosen === undefined) return done(unknownName)
      if (chosen.ocspResponse !== undefined) inner(this)._handle?.setOCSPResponse(chosen.ocspResponse)
      done(null, chosen.context)
    }
  }
  return options
}

const unknownName = new Error('no certificate for this name')

/** `raw`: no byte is read from it by anybody else any more. See `Transport.secure`. */
export function secureServer(raw: Socket, tls: ServerTls, first: Buffer | undefined, handshake: Handshake, readBuffer: Buffer | undefined): () => void {
  let options = optionsOf.get(tls)
  if (options === undefined) optionsOf.set(tls, (options = serverOptions(tls)))
  let over = false
  if (first !== undefined && first.length > 0) raw.unshift(first)
  const socket = new TLSSocket(raw, options)
  const { ocspResponse } = tls.default
  if (ocspResponse !== undefined) inner(socket)._handle?.setOCSPResponse(ocspResponse)
  let error = ''
  let refusal: '' | 'name' | 'certificate' = ''
  const refuse = (why: string, kind: 'name' | 'certificate'): void => {
    error = why
    refusal = kind
    socket.destroy()
  }
  const failed = (failure: Error): void => {
    if (failure === unknownName) refusal = 'name'
    else if ((failure as NodeJS.ErrnoException).code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE') refusal = 'certificate'
    error ||= codeOf(failure)
  }
  const closed = (): void => {
    if (over) return
    over = true
    handshake.failed(error === '' ? 'closed' : error, refusal)
  }
  // Goodbye in the middle of a handshake.
  const ended = (): void => void socket.destroy()
  socket.on('error', failed)
  socket.on('close', closed)
  socket.on('end', ended)
  socket.once('secure', () => {
    if (over || socket.destroyed) return
    if (tls.needsName && !(socket as { servername?: string | false }).servername) return refuse('no name asked for', 'name')
    let clientCertificate: TlsFacts['clientCertificate']
    if (tls.clientCertificate !== 'none') {
      const certificate = socket.getPeerX509Certificate()
      if (certificate !== undefined) {
        const fault = inner(socket)._handle?.verifyError()
        if (fault !== null && fault !== undefined) return refuse(codeOf(fault), 'certificate')
        clientCertificate = { subject: certificate.subject, fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase() }
      } else if (tls.clientCertificate === 'required') return refuse('no client certificate', 'certificate')
    }
    inner(socket)._releaseControl()
    over = true
    socket.off('error', failed)
    socket.off('close', closed)
    socket.off('end', ended)
    const connection = new TlsConnection(raw, nobody, false)
    connection.attach(socket, factsOf(socket, clientCertificate), readBuffer)
    handshake.secured(connection)
  })
  return () => {
    if (over) return
    over = true
    socket.destroy()
  }
}

/** Connects, shakes hands, and then tells the owner that it is connected. */
export function connectSecurely(host: string, port: number, owner: ConnectionOwner, tls: ClientTls, first: Buffer | undefined, opened: (raw: Socket) => void, readBuffer: Buffer | undefined): Connection {
  const raw = connect({ host, port, allowHalfOpen: true, noDelay: true })
  opened(raw)
  const connection = new TlsConnection(raw, owner, true)
  let error = ''
  let handshaking = false
  raw.on('error', (failure) => (error ||= handshaking ? '' : codeOf(failure)))
  const closedEarly = (): void => {
    if (!handshaking) connection.owner.closed(connection, error)
  }
  raw.on('close', closedEarly)
  raw.once('connect', () => {
    if (raw.destroyed) return
    if (first !== undefined) raw.write(first)
    handshaking = true
    const session = tls.session(host, port)
    const options: ConnectionOptions = {
      socket: raw,
      host,
      secureContext: tls.context,
      rejectUnauthorized: tls.verify,
      ...(tls.serverName === '' ? {} : { servername: tls.serverName }),
      ...(tls.alpn.length === 0 ? {} : { ALPNProtocols: [...tls.alpn] }),
      ...(session === undefined ? {} : { session }),
    }
    const socket = connectTls(options)
    const failed = (failure: Error): void => void (error ||= `tls ${codeOf(failure)}`)
    const closed = (): void => connection.owner.closed(connection, error === '' ? 'tls closed' : error)
    socket.on('error', failed)
    socket.on('close', closed)
    socket.on('session', (fresh) => tls.keep(host, port, fresh))
    socket.once('secureConnect', () => {
      socket.off('error', failed)
      socket.off('close', closed)
      connection.attach(socket, factsOf(socket, undefined), readBuffer)
      connection.owner.connected(connection)
    })
  })
  return connection
}

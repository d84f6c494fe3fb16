/**
 * The network of one node: a TLS listener and a UDP socket on the same address, one log stream to every other member,
 * and authenticated datagrams for what must be fast and may get lost.
 *
 * Either end of a pair dials; the one with the lower id at once, the other a moment later. When both succeed, the stream
 * that the lower id dialled is kept. Datagrams are used once the other end has said that they arrive; until then (and
 * where UDP is blocked) the same messages also travel over the stream.
 */
import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import { WebSocket, WebSocketServer } from 'ws'
import { datagramTypes, type Message, type NodeId, type Peer } from '../core/types.ts'
import type { Network, NetworkHandlers, NetworkParts } from '../environment.ts'
import { formatHostPort, parseHostPort, type HostPort } from './address.ts'
import { DatagramSocket } from './datagrams.ts'
import { JoinServer } from './join.ts'
import { ReceivingSessions, SendingSession } from './sessions.ts'
import { IncomingSnapshot, OutgoingSnapshots, type SnapshotPayload } from './snapshots.ts'
import { defaultVersions, type Versions } from '../versions.ts'
import { otherGeneration, Stream, type StreamHandlers } from './stream.ts'
import { encodeFrame, maxFrameBytes, maxGossipBytes, notSupported, type ReceivedFrame, type Request, type SnapshotMessage } from './wire.ts'

/** Above this, appends to a peer are dropped: the core repeats what is not acknowledged. */
const maxBufferedBytes = 8 * 1024 * 1024
const maxBufferedGossipBytes = 1024 * 1024
const firstBackoffMs = 50
const maxBackoffMs = 1000
/** The higher id of a pair leaves the lower one this head start to dial. */
const courtesyMs = 250
const dialTimeoutMs = 1500
const aliveEveryMs = 500
const maxConnections = 256
/** Connections that have not shown a member's certificate (joiners, scanners). Beyond it the oldest one has to go. */
const maxStrangers = 64
/** What is left to be sent when the node stops gets this long. */
const flushMs = 200
/** A stream that was replaced by another one: the replies to what was asked on it may still come, for so long. */
const lateReplyMs = 2000
/** Requests of one peer that are being worked on. */
const maxServedRequests = 8192
const streamPath = '/log'
/** Refusals of one peer are logged this often, milliseconds. */
const refusalLogEveryMs = 30_000
/** Tells a dialler why it was refused, so that a node that was replaced learns of it. */
const refusalHeader = 'haechi-refusal'
const otherCertificate = 'other-certificate'
const notAMember = 'not-a-member'

export interface TransportOptions extends NetworkParts {
  readonly self: NodeId
  readonly clusterId: string
  readonly listen: HostPort
  /** PEM. */
  readonly certificate: string
  readonly key: string
  readonly ca: string
  /** What this node says of itself; default: this build's. */
  readonly versions?: Versions
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
}

interface PendingRequest {
  /** It was sent on this one; the reply may come on another. */
  readonly stream: Stream
  readonly resolve: (reply: unknown) => void
}

interface PeerLink {
  readonly id: NodeId
  /** Where to dial; undefined for one that only dials in. */
  address: HostPort | undefined
  datagramAddress: HostPort | undefined
  streams: Stream[]
  /** The one that frames are sent on. */
  active: Stream | undefined
  /** Datagrams are signed with this once the peer has acknowledged it. */
  sending: SendingSession | undefined
  /** Announced on streams, not acknowledged yet. */
  offered: Map<Stream, SendingSession>
  /** The peer says that datagrams arrive. */
  datagramsArrive: boolean
  datagramsSent: number
  datagramsHeard: number
  lastHeardMs: number
  dialing: boolean
  backoffMs: number
  retry: NodeJS.Timeout | undefined
  nextRequest: number
  /** Of the certificate that its member record names; undefined when it names none. */
  fingerprint: string | undefined
  /** When a refusal was last logged: a stranger that goes on trying must not fill the log. */
  refusalLoggedMs: number
  readonly requests: Map<number, PendingRequest>
  served: number
  /** What the peer announced last, refused or not; undefined before its first hello. */
  versions: Versions | undefined
  incoming: IncomingSnapshot | undefined
  readonly outgoing: OutgoingSnapshots
}

export class Transport implements Network {
  readonly #options: TransportOptions
  readonly #handlers: NetworkHandlers
  readonly #links = new Map<NodeId, PeerLink>()
  readonly #receiving: ReceivingSessions
  readonly #streamHandlers: StreamHandlers
  readonly #sockets = new Set<Socket>()
  /** TCP connections without an authenticated stream, oldest first. */
  readonly #strangers = new Map<string, Socket>()
  #server!: Server
  #upgrades!: WebSocketServer
  #datagrams!: DatagramSocket
  #alive: NodeJS.Timeout | undefined
  #closed = false
  #rejectedDatagrams = 0
  #unknownFrames = 0
  readonly #versions: Versions

  private constructor(options: TransportOptions) {
    this.#options = options
    this.#handlers = options.handlers
    this.#versions = options.versions ?? defaultVersions
    this.#receiving = new ReceivingSessions(options.self)
    this.#streamHandlers = {
      ready: (stream, session, key) => this.#streamReady(stream, session, key),
      frame: (stream, frame) => this.#frame(stream, frame),
      refused: (stream, versions, why) => this.#versionRefused(stream, versions, why),
      closed: (stream, why) => this.#streamClosed(stream, why),
    }
  }

  /** Listens (TCP and UDP on the same port). Rejects when the address cannot be used. */
  static async open(options: TransportOptions): Promise<Transport> {
    const transport = new Transport(options)
    await transport.#listen()
    transport.#alive = setInterval(() => transport.#everyAlive(), aliveEveryMs)
    return transport
  }

  /** The port that was bound. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }
  /** Datagrams that were dropped because they were not authentic, replayed or of an unknown session. */
  get rejectedDatagrams(): number {
    return this.#rejectedDatagrams
  }
  /** Frames and requests of newer versions that were passed over. */
  get unknownFrames(): number {
    return this.#unknownFrames
  }
  /** What this node says of itself. */
  get versions(): Versions {
    return this.#versions
  }

  /** The protocol in use with `id`; undefined without a stream. */
  protocol(id: NodeId): number | undefined {
    return this.#links.get(id)?.active?.protocol
  }

  /** What `id` announced last, even if it was refused for that; undefined if it has not yet. */
  announced(id: NodeId): Versions | undefined {
    return this.#links.get(id)?.versions
  }

  connected(id: NodeId): boolean {
    return this.#links.get(id)?.active !== undefined
  }

  /** Instant (`performance.now()`) of the last authentic datagram or frame from `id`; undefined if never. */
  lastHeardMs(id: NodeId): number | undefined {
    const at = this.#links.get(id)?.lastHeardMs
    return at === undefined || at < 0 ? undefined : at
  }

  /** Whom to keep streams to. Peers that are no longer listed and may not connect any more are cut off. */
  setPeers(peers: readonly Peer[]): void {
    if (this.#closed) return
    for (const peer of peers) {
      if (peer.id === this.#options.self) continue
      const link = this.#link(peer.id)
      if (link.fingerprint !== peer.fingerprint) {
        link.fingerprint = peer.fingerprint
        this.#cutOthers(link)
      }
      const address = parseHostPort(peer.address)
      if (address === undefined || (link.address?.host === address.host && link.address.port === address.port)) continue
      link.address = address
      link.datagramAddress = undefined
      void this.#resolveDatagramAddress(link, address)
      this.#scheduleDial(link, this.#courtesy(link))
    }
    const listed = new Set(peers.map(({ id }) => id))
    for (const [id, link] of this.#links) {
      if (listed.has(id)) continue
      link.address = undefined
      link.fingerprint = undefined
      if (!this.#options.mayConnect(id)) this.#drop(link)
    }
  }

  /** Sends by the way that fits the type. False when it certainly was not sent. Messages with entries can be large. */
  send(message: Message): boolean {
    const link = this.#links.get(message.to)
    if (link === undefined) return false
    if (!datagramTypes.has(message.type)) {
      const stream = link.active
      if (stream === undefined || (message.type === 'append' && stream.bufferedBytes > maxBufferedBytes)) return false
      stream.send({ kind: 'message', message })
      return true
    }
    const { sending, datagramAddress } = link
    if (sending !== undefined && datagramAddress !== undefined) {
      const datagram = sending.seal(message)
      if (datagram !== undefined) this.#datagrams.send(datagram, datagramAddress)
      link.datagramsSent += 1
      if (link.datagramsArrive) return true
    }
    if (link.active === undefined || link.active.bufferedBytes > maxBufferedBytes) return false
    link.active.send({ kind: 'message', message })
    return true
  }

  /** Asks a peer; undefined when the stream breaks before the reply: then it is not known what became of it. */
  request(to: NodeId, request: Request): Promise<unknown> | 'not-sent' {
    const link = this.#links.get(to)
    if (link?.active === undefined || link.active.bufferedBytes > maxBufferedBytes * 4) return 'not-sent'
    const id = link.nextRequest
    link.nextRequest += 1
    const { active } = link
    return new Promise((resolve) => {
      link.requests.set(id, { stream: active, resolve })
      active.send({ kind: 'request', id, request })
    })
  }

  /** To every connected peer whose stream is not congested. */
  gossip(data: Uint8Array): void {
    if (data.length > maxGossipBytes) throw new Error(`gossip of ${data.length} bytes exceeds ${maxGossipBytes}`)
    let frame: Buffer | undefined
    for (const { active } of this.#links.values()) {
      if (active === undefined || active.bufferedBytes > maxBufferedGossipBytes) continue
      frame ??= encodeFrame({ kind: 'gossip', data })
      active.sendEncoded(frame)
    }
  }

  /** Streams a snapshot; resolves with whether the peer has taken all of it. */
  async sendSnapshot(message: SnapshotMessage, payload: SnapshotPayload): Promise<boolean> {
    const link = this.#links.get(message.to)
    if (link?.active === undefined) return false
    return link.outgoing.send(link.active, message, payload)
  }

  /** Sends what has been handed over (for a moment), then closes everything; `abruptly`: at once. */
  async close(abruptly = false): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#alive)
    const streams = [...this.#links.values()].flatMap((link) => link.streams)
    for (const link of this.#links.values()) this.#drop(link)
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#upgrades.close()
    if (!abruptly) await Promise.race([Promise.all(streams.map((stream) => stream.ended)), sleep(flushMs, undefined, { ref: false })])
    for (const stream of streams) stream.terminate('closed')
    this.#datagrams.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  // — listening —

  async #listen(): Promise<void> {
    const { certificate, key, ca, listen, log } = this.#options
    const join = new JoinServer(this.#options.join, (message, fields) => log('info', message, fields))
    // Joiners have no certificate, so one is asked for but not demanded by TLS; the upgrade demands it. The CA goes with
    // the chain, because a joiner pins it.
    this.#server = createServer({
      cert: `${certificate}${ca}`, key, ca, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3',
      handshakeTimeout: 5000, headersTimeout: 5000, requestTimeout: 20_000, connectionsCheckingInterval: 2000, maxHeaderSize: 8192,
    }, (request, response) => join.handle(request, response))
    this.#server.maxConnections = maxConnections
    this.#upgrades = new WebSocketServer({ noServer: true, maxPayload: maxFrameBytes, perMessageDeflate: false, clientTracking: false })
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket as TLSSocket, head))
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      const remote = remoteOf(socket)
      this.#strangers.set(remote, socket)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        this.#strangers.delete(remote)
      })
      if (this.#strangers.size > maxStrangers) this.#strangers.values().next().value?.destroy()
    })
    this.#server.on('tlsClientError', () => undefined)
    // With port 0 the UDP port may be taken by somebody else: try another pair.
    for (let attempt = 1; ; attempt += 1) {
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        this.#server.listen(listen.port, listen.host, () => {
          this.#server.off('error', reject)
          resolve()
        })
      })
      const { address, port } = this.#server.address() as AddressInfo
      try {
        this.#datagrams = await DatagramSocket.bind({ host: address, port }, (data) => this.#datagram(data), (text) => log('debug', text))
        break
      } catch (error) {
        await new Promise((resolve) => this.#server.close(resolve))
        if (listen.port !== 0 || attempt >= 20) throw error
      }
    }
    this.#server.on('error', (error) => log('error', `consensus listener: ${error.message}`))
  }

  #upgrade(request: { url?: string | undefined }, socket: TLSSocket, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    const id = socket.authorized ? commonName(socket) : undefined
    const refusal = id === undefined ? 'no certificate of this cluster'
      : id === this.#options.self ? 'the name of this node itself'
      : request.url !== streamPath ? 'no such path'
      : this.#closed || !this.#options.mayConnect(id) ? notAMember : undefined
    if (refusal !== undefined || id === undefined) {
      this.#options.log('debug', `a stream was refused: ${refusal}`, { peer: id, from: socket.remoteAddress })
      socket.end(forbidden(refusal === notAMember ? notAMember : ''))
      return
    }
    const fingerprint = fingerprintOf(socket.getPeerCertificate())
    const link = this.#links.get(id)
    if (link !== undefined && !isOf(link, fingerprint)) {
      this.#warn(link, otherCertificateText(id), { from: socket.remoteAddress })
      this.#handlers.impostor?.(id)
      socket.end(forbidden(otherCertificate))
      return
    }
    this.#strangers.delete(remoteOf(socket))
    this.#upgrades.handleUpgrade(request as never, socket, head, (ws) => this.#adopt(ws, socket, this.#link(id), false, fingerprint))
  }

  /** Ends the streams of whoever had the name before, or pretends to have it. Its datagrams end with them. */
  #cutOthers(link: PeerLink): void {
    if (link.streams.every((stream) => isOf(link, stream.fingerprint))) return
    this.#warn(link, otherCertificateText(link.id), {})
    this.#receiving.forget(link.id)
    link.sending = undefined
    // All of them: sessions for datagrams are not told apart, and the right one dials again at once.
    for (const stream of link.streams) stream.terminate(otherCertificate)
  }

  #warn(link: PeerLink, text: string, fields: Record<string, unknown>): void {
    const now = performance.now()
    if (now - link.refusalLoggedMs < refusalLogEveryMs) return
    link.refusalLoggedMs = now
    this.#options.log('warn', text, { peer: link.id, ...fields })
  }

  // — dialling —

  #link(id: NodeId): PeerLink {
    let link = this.#links.get(id)
    if (link === undefined) {
      link = {
        id, address: undefined, datagramAddress: undefined, streams: [], active: undefined, sending: undefined, offered: new Map(),
        datagramsArrive: false, datagramsSent: 0, datagramsHeard: 0, lastHeardMs: -1, dialing: false, backoffMs: firstBackoffMs, fingerprint: undefined, refusalLoggedMs: -Infinity,
        retry: undefined, nextRequest: 1, requests: new Map(), served: 0, versions: undefined, incoming: undefined, outgoing: new OutgoingSnapshots(),
      }
      this.#links.set(id, link)
    }
    return link
  }

  #courtesy(link: PeerLink): number {
    return this.#options.self < link.id ? 0 : courtesyMs * (0.5 + Math.random())
  }

  #scheduleDial(link: PeerLink, delayMs: number): void {
    clearTimeout(link.retry)
    if (this.#closed || link.address === undefined) return
    link.retry = setTimeout(() => void this.#dial(link), delayMs)
  }

  async #dial(link: PeerLink): Promise<void> {
    const { address } = link
    if (this.#closed || link.dialing || link.streams.length > 0 || address === undefined) return
    link.dialing = true
    try {
      await this.#resolveDatagramAddress(link, address)
      await this.#connect(link, address)
    } catch (error) {
      if (this.#closed) return
      this.#options.log('debug', `no stream to ${link.id}: ${(error as Error).message}`)
      if (link.streams.length === 0) this.#dialLater(link)
    } finally {
      link.dialing = false
    }
  }

  #dialLater(link: PeerLink): void {
    this.#scheduleDial(link, link.backoffMs * (0.75 + Math.random() / 2))
    link.backoffMs = Math.min(link.backoffMs * 2, maxBackoffMs)
  }

  async #resolveDatagramAddress(link: PeerLink, address: HostPort): Promise<void> {
    const host = await this.#datagrams.resolve(address.host)
    if (host !== undefined && link.address === address) link.datagramAddress = { host, port: address.port }
  }

  #connect(link: PeerLink, address: HostPort): Promise<void> {
    const { certificate, key, ca } = this.#options
    let fingerprint = ''
    return new Promise((resolve, reject) => {
      const ws = new WebSocket(`wss://${formatHostPort(address)}${streamPath}`, {
        cert: certificate, key, ca, rejectUnauthorized: true, minVersion: 'TLSv1.3', handshakeTimeout: dialTimeoutMs,
        maxPayload: maxFrameBytes, perMessageDeflate: false,
        // Not under which name it is reached counts, but whose certificate it has.
        checkServerIdentity: (_host: string, presented: PeerCertificate) => {
          if (presented.subject?.CN !== link.id) return new Error(`the certificate is not that of ${link.id}`)
          fingerprint = fingerprintOf(presented)
          if (isOf(link, fingerprint)) return undefined
          this.#warn(link, otherCertificateText(link.id), { at: formatHostPort(address) })
          this.#handlers.impostor?.(link.id)
          return new Error('another certificate')
        },
      } as ConstructorParameters<typeof WebSocket>[2])
      let socket: Socket | undefined
      // From whoever proved to be that peer by now.
      ws.once('unexpected-response', (request, response) => {
        request.destroy()
        const why = response.headers[refusalHeader]
        if (why === otherCertificate) this.#handlers.disowned?.(link.id)
        // Not the first times: a peer may be starting, or about to learn of a new member.
        if (why === notAMember && link.backoffMs >= maxBackoffMs) {
          this.#warn(link, `${link.id} refuses this node, which is no member of its cluster: was it removed, or has the cluster been recovered without it?`, {})
        }
        reject(new Error(`refused (status ${response.statusCode})`))
      })
      ws.once('upgrade', (response) => (socket = response.socket))
      ws.once('error', reject)
      ws.once('open', () => {
        ws.off('error', reject)
        // The record may have changed meanwhile.
        if (this.#closed || socket === undefined || !isOf(link, fingerprint)) ws.terminate()
        else this.#adopt(ws, socket, link, true, fingerprint)
        resolve()
      })
    })
  }

  #adopt(ws: WebSocket, raw: Socket, link: PeerLink, dialled: boolean, fingerprint: string): void {
    const session = new SendingSession()
    const stream = new Stream(
      ws, raw,
      { self: this.#options.self, peer: link.id, fingerprint, clusterId: this.#options.clusterId, versions: this.#versions, dialled, session: session.id, key: session.key },
      this.#streamHandlers,
    )
    link.streams.push(stream)
    link.offered.set(stream, session)
  }

  // — streams —

  #streamReady(stream: Stream, session: Uint8Array, key: Uint8Array): void {
    const link = this.#links.get(stream.peer)
    if (link === undefined || !link.streams.includes(stream)) return stream.terminate('not a member any more')
    link.lastHeardMs = performance.now()
    link.backoffMs = firstBackoffMs
    link.versions = stream.versions
    this.#receiving.add(link.id, session, key)
    stream.send({ kind: 'hello-ack' })
    const before = link.active
    link.active = this.#preferred(link)
    for (const other of link.streams) if (other !== link.active && other.ready) other.close('another stream is used')
    if (before !== undefined) return
    this.#options.log('debug', `stream to ${link.id} is up`, { dialler: stream.dialler })
    this.#handlers.connected(link.id)
  }

  #versionRefused(stream: Stream, versions: Versions, why: string): void {
    const link = this.#links.get(stream.peer)
    if (link === undefined || !link.streams.includes(stream)) return
    link.versions = versions
    this.#warn(link, why, {})
  }

  /** Both ends choose alike: what the lower id dialled, the newest of those. */
  #preferred(link: PeerLink): Stream | undefined {
    const lower = this.#options.self < link.id ? this.#options.self : link.id
    const ready = link.streams.filter((stream) => stream.ready)
    return ready.findLast((stream) => stream.dialler === lower) ?? ready.at(-1)
  }

  #streamClosed(stream: Stream, why: string): void {
    const link = this.#links.get(stream.peer)
    if (link === undefined || !link.streams.includes(stream)) return
    link.streams = link.streams.filter((other) => other !== stream)
    link.offered.delete(stream)
    link.outgoing.streamClosed(stream)
    if (link.incoming?.stream === stream) {
      link.incoming.abort()
      link.incoming = undefined
    }
    if (why === otherGeneration) this.#warn(link, `the stream to ${link.id} was given up: ${why}`, {})
    const wasActive = link.active === stream
    if (wasActive) link.active = this.#preferred(link)
    if (link.streams.length === 0) {
      this.#forgetRequests(link)
      this.#dialLater(link)
    } else if ([...link.requests.values()].some((request) => request.stream === stream)) {
      // What it was to carry may be lost, though another one took its place. If not, the replies come on that one.
      setTimeout(() => this.#forgetRequests(link, stream), lateReplyMs).unref()
    }
    if (!wasActive || link.active !== undefined) return
    this.#options.log('debug', `stream to ${link.id} is down: ${why}`)
    this.#handlers.disconnected(link.id)
  }

  /** Answers what was asked (on `stream`, or at all) and cannot be answered any more with "not known". */
  #forgetRequests(link: PeerLink, stream?: Stream): void {
    for (const [id, request] of link.requests) {
      if (stream !== undefined && request.stream !== stream) continue
      link.requests.delete(id)
      request.resolve(undefined)
    }
  }

  #drop(link: PeerLink): void {
    clearTimeout(link.retry)
    const { streams } = link
    this.#forgetRequests(link)
    link.incoming?.abort()
    for (const stream of streams) link.outgoing.streamClosed(stream)
    this.#links.delete(link.id)
    this.#receiving.forget(link.id)
    for (const stream of streams) stream.close('not a member any more')
    if (link.active !== undefined) this.#handlers.disconnected(link.id)
  }

  #frame(stream: Stream, frame: ReceivedFrame): void {
    const link = this.#links.get(stream.peer)
    if (link === undefined || !link.streams.includes(stream)) return
    link.lastHeardMs = performance.now()
    switch (frame.kind) {
      case 'message':
        // Who it is from is what the certificate says.
        this.#handlers.message({ ...frame.message, from: link.id })
        break
      case 'hello-ack': {
        const session = link.offered.get(stream)
        if (session === undefined) break
        link.offered.delete(stream)
        link.sending = session
        link.datagramsArrive = false
        break
      }
      case 'alive':
        if (frame.datagrams) link.datagramsArrive = true
        else if (link.datagramsSent >= 3) link.datagramsArrive = false
        link.datagramsSent = 0
        break
      case 'gossip':
        if (frame.data.length <= maxGossipBytes) this.#handlers.gossip(link.id, frame.data)
        break
      case 'request':
        void this.#serve(link, frame.id, frame.request)
        break
      case 'reply': {
        const asked = link.requests.get(frame.id)
        link.requests.delete(frame.id)
        asked?.resolve(frame.reply)
        break
      }
      case 'snapshot-begin': {
        link.incoming?.abort()
        link.incoming = undefined
        const message = { ...frame.message, from: link.id }
        const sink = message.to === this.#options.self ? this.#handlers.snapshot(link.id, message, frame.sha256) : undefined
        if (sink === undefined) stream.send({ kind: 'snapshot-credit', stream: frame.stream, ok: false })
        else link.incoming = new IncomingSnapshot(stream, frame.stream, sink)
        break
      }
      case 'snapshot-chunk':
      case 'snapshot-end':
        if (link.incoming?.number !== frame.stream || link.incoming.stream !== stream) break
        if (frame.kind === 'snapshot-chunk') link.incoming.chunk(frame.number, frame.checksum, frame.data)
        else {
          link.incoming.end()
          link.incoming = undefined
        }
        break
      case 'snapshot-ready':
        link.outgoing.ready(frame.stream, frame.from)
        break
      case 'snapshot-credit':
        link.outgoing.credit(frame.stream, frame.ok)
        break
      case 'unknown-request':
        this.#unknownFrames += 1
        stream.send({ kind: 'reply', id: frame.id, reply: notSupported(this.#options.self, this.#versions, frame.type) })
        break
      case 'unknown':
        this.#unknownFrames += 1
        break
      case 'hello':
        break
    }
  }

  async #serve(link: PeerLink, id: number, request: Request): Promise<void> {
    if (link.served >= maxServedRequests) {
      link.active?.send({ kind: 'reply', id, reply: { overloaded: true } })
      return
    }
    link.served += 1
    let reply: unknown
    try {
      reply = await this.#handlers.request(link.id, request)
    } catch (error) {
      this.#options.log('error', `a ${request.type} request of ${link.id} failed: ${(error as Error).message}`)
      reply = undefined
    }
    link.served -= 1
    // On whichever stream there is by now.
    link.active?.send({ kind: 'reply', id, reply })
  }

  // — datagrams and liveness —

  #datagram(datagram: Buffer): void {
    if (this.#closed) return
    const opened = this.#receiving.open(datagram)
    if (!opened.ok) {
      this.#rejectedDatagrams += 1
      return
    }
    const link = this.#links.get(opened.from)
    if (link === undefined) return
    link.lastHeardMs = performance.now()
    link.datagramsHeard += 1
    if (opened.firstOfSession) link.active?.send({ kind: 'alive', datagrams: true })
    // It lives, so a stream to it can be made: now, not when the backoff ends.
    if (link.streams.length === 0 && !link.dialing && link.backoffMs > firstBackoffMs) {
      link.backoffMs = firstBackoffMs
      this.#scheduleDial(link, 0)
    }
    this.#handlers.message(opened.message)
  }

  #everyAlive(): void {
    for (const link of this.#links.values()) {
      for (const stream of link.streams) {
        if (stream.ready) stream.send({ kind: 'alive', datagrams: link.datagramsHeard > 0 })
        stream.checkAlive()
      }
      link.datagramsHeard = 0
    }
  }
}

function remoteOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function forbidden(reason: string): string {
  const why = reason === '' ? '' : `${refusalHeader}: ${reason}\r\n`
  return `HTTP/1.1 403 Forbidden\r\n${why}Connection: close\r\nContent-Length: 0\r\n\r\n`
}

/** Whether a certificate with this fingerprint is the one of the peer's member record. */
function isOf(link: PeerLink, fingerprint: string): boolean {
  return link.fingerprint === undefined || link.fingerprint === fingerprint
}

function otherCertificateText(id: NodeId): string {
  return `the certificate of ${id} is not that of the member ${id}: refused; was the node removed and joined again, and is its old data directory in use?`
}

function fingerprintOf(certificate: PeerCertificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex')
}

function commonName(socket: TLSSocket): string | undefined {
  const name = socket.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : undefined
}


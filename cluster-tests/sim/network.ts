/**
 * A network between simulated machines. Streams keep their order and break; datagrams get lost, late, doubled and out of
 * order; wires are cut in one direction or both. In a wild network streams behave as badly as datagrams, which TCP would not
 * do but the core must bear.
 */
import { datagramTypes, type Message, type NodeId, type Peer } from '../../consensus/core/types.ts'
import type { Network, NetworkHandlers, NetworkParts } from '../../consensus/environment.ts'
import type { SnapshotPayload } from '../../consensus/transport/snapshots.ts'
import type { Request, SnapshotMessage } from '../../consensus/transport/wire.ts'
import type { Life, VirtualTime } from './time.ts'

export interface NetworkFaults {
  /** Milliseconds one way, uniform between the two. */
  delayMs: readonly [number, number]
  /** Probabilities for each datagram. */
  loss: number
  duplicate: number
  /** Probability of an extra delay of up to a second. */
  straggle: number
  /** Probability, for each message on a stream, that the stream breaks instead. */
  breaks: number
  /** Probability that the reply to a request gets lost although streams stay: one stream has taken another's place. */
  lostReplies: number
  /** Streams lose, repeat and reorder as well. */
  wild: boolean
}

const redialMs = 60

interface Port {
  readonly id: NodeId
  readonly life: Life
  readonly handlers: NetworkHandlers
  readonly mayConnect: (id: NodeId) => boolean
  peers: ReadonlyMap<NodeId, Peer>
  readonly heard: Map<NodeId, number>
}

/** One stream between two lives. */
interface Stream {
  readonly a: Port
  readonly b: Port
  open: boolean
  /** When the last message in each direction arrives: order is kept. */
  arrivesMs: { a: number; b: number }
  /** What to do when it breaks. */
  readonly broken: Set<() => void>
}

const pairOf = (a: NodeId, b: NodeId): string => (a < b ? `${a}|${b}` : `${b}|${a}`)

export class Wires {
  readonly faults: NetworkFaults
  readonly #time: VirtualTime
  readonly #random: () => number
  readonly #ports = new Map<NodeId, Port>()
  readonly #streams = new Map<string, Stream>()
  /** Pairs of lives that have had a stream: their datagrams are authentic. */
  readonly #acquainted = new WeakMap<Life, WeakSet<Life>>()
  readonly #cut = new Set<string>()
  readonly #dialling = new Set<string>()
  /** A look at everything that is sent, for the transcript. */
  onMessage: ((message: Message) => void) | undefined

  constructor(time: VirtualTime, random: () => number, faults: NetworkFaults) {
    this.#time = time
    this.#random = random
    this.faults = { ...faults }
  }

  // ---- cutting ------------------------------------------------------------------------------------------------------

  /** Nothing sent by `from` reaches `to` any more. */
  cutOneWay(from: NodeId, to: NodeId): void {
    if (from === to) return
    this.#cut.add(`${from}>${to}`)
    const stream = this.#streams.get(pairOf(from, to))
    // TCP notices after a while.
    if (stream !== undefined) this.#time.after(this.#random() * 2000, () => this.#isCut(from, to) && this.#break(stream))
  }

  cut(a: NodeId, b: NodeId): void {
    this.cutOneWay(a, b)
    this.cutOneWay(b, a)
  }

  heal(): void {
    this.#cut.clear()
    for (const port of this.#ports.values()) this.#dial(port)
  }

  #isCut(a: NodeId, b: NodeId): boolean {
    return this.#cut.has(`${a}>${b}`) || this.#cut.has(`${b}>${a}`)
  }

  /** A process ended: its streams break, and the other ends notice at once. */
  down(id: NodeId): void {
    this.#ports.delete(id)
    for (const stream of this.#streams.values()) if (stream.a.id === id || stream.b.id === id) this.#break(stream)
  }

  // ---- streams ------------------------------------------------------------------------------------------------------

  #dial(port: Port): void {
    for (const id of port.peers.keys()) {
      const key = pairOf(port.id, id)
      if (id === port.id || this.#streams.has(key) || this.#dialling.has(key)) continue
      this.#dialling.add(key)
      this.#time.after(redialMs * (0.5 + this.#random()), () => {
        this.#dialling.delete(key)
        // Whoever lives under these names by now, and wants the other.
        const [a, b] = [this.#ports.get(port.id), this.#ports.get(id)]
        if (a?.peers.has(id) === true) this.#connect(a, id)
        else if (b?.peers.has(port.id) === true) this.#connect(b, port.id)
      })
    }
  }

  #connect(port: Port, to: NodeId): void {
    const other = this.#ports.get(to)
    const possible = other !== undefined && !port.life.frozen && !other.life.frozen && !this.#isCut(port.id, to)
    if (!possible || !other.mayConnect(port.id) || !port.mayConnect(to)) return this.#dial(port)
    const stream: Stream = { a: port, b: other, open: true, arrivesMs: { a: 0, b: 0 }, broken: new Set() }
    this.#streams.set(pairOf(port.id, to), stream)
    this.#acquaint(port.life, other.life)
    this.#acquaint(other.life, port.life)
    port.life.arrive(0, () => stream.open && port.handlers.connected(to))
    other.life.arrive(0, () => stream.open && other.handlers.connected(port.id))
  }

  #acquaint(a: Life, b: Life): void {
    const known = this.#acquainted.get(a) ?? new WeakSet<Life>()
    this.#acquainted.set(a, known)
    known.add(b)
  }

  #break(stream: Stream): void {
    if (!stream.open) return
    stream.open = false
    const { a, b } = stream
    this.#streams.delete(pairOf(a.id, b.id))
    for (const run of stream.broken) run()
    a.life.arrive(0, () => a.handlers.disconnected(b.id))
    b.life.arrive(0, () => b.handlers.disconnected(a.id))
    this.#dial(a)
    this.#dial(b)
  }

  #streamTo(port: Port, to: NodeId): Stream | undefined {
    const stream = this.#streams.get(pairOf(port.id, to))
    return stream !== undefined && (stream.a === port || stream.b === port) ? stream : undefined
  }

  #delay(): number {
    const [low, high] = this.faults.delayMs
    return low + this.#random() * (high - low) + (this.#random() < this.faults.straggle ? this.#random() * 1000 : 0)
  }

  /** Hands something over on a stream, in order, unless the stream breaks before. */
  #onStream(stream: Stream, from: Port, deliver: (to: Port) => void): void {
    const to = stream.a === from ? stream.b : stream.a
    const side = stream.a === from ? 'b' : 'a'
    if (this.#random() < this.faults.breaks) return this.#break(stream)
    const at = Math.max(stream.arrivesMs[side], this.#time.now + this.#delay())
    stream.arrivesMs[side] = at
    this.#time.at(at, () => {
      if (!stream.open) return
      // A cut wire stops the stream: TCP sends again, later ones wait, until it breaks.
      if (this.#cut.has(`${from.id}>${to.id}`)) return this.#break(stream)
      to.life.arrive(0, () => stream.open && deliver(to))
    })
  }

  // ---- one node's network -------------------------------------------------------------------------------------------

  attach(id: NodeId, life: Life, parts: NetworkParts): Network {
    const port: Port = { id, life, handlers: parts.handlers, mayConnect: parts.mayConnect, peers: new Map(), heard: new Map() }
    this.#ports.set(id, port)
    return {
      port: 1,
      connected: (to) => this.#streamTo(port, to) !== undefined,
      lastHeardMs: (to) => port.heard.get(to),
      setPeers: (peers) => {
        if (life.over) return
        port.peers = new Map(peers.map((peer) => [peer.id, peer]))
        this.#dial(port)
        for (const stream of this.#streams.values()) {
          const other = stream.a === port ? stream.b : stream.b === port ? stream.a : undefined
          if (other !== undefined && !port.peers.has(other.id) && !port.mayConnect(other.id)) this.#break(stream)
        }
      },
      send: (message) => !life.over && this.#send(port, message),
      request: (to, request) => (life.over ? 'not-sent' : this.#request(port, to, request)),
      gossip: () => undefined,
      sendSnapshot: (message, payload) => this.#sendSnapshot(port, message, payload),
      close: async () => {
        if (this.#ports.get(id) === port) this.down(id)
      },
    }
  }

  #send(port: Port, message: Message): boolean {
    this.onMessage?.(message)
    const stream = this.#streamTo(port, message.to)
    const deliver = (to: Port) => {
      to.heard.set(port.id, to.life.now())
      to.handlers.message(message)
    }
    if (!datagramTypes.has(message.type)) {
      if (stream === undefined) return false
      if (!this.faults.wild) {
        this.#onStream(stream, port, deliver)
        return true
      }
    }
    const copies = this.#random() < this.faults.loss ? 0 : this.#random() < this.faults.duplicate ? 2 : 1
    for (let copy = 0; copy < copies; copy += 1) {
      this.#time.after(this.#delay(), () => {
        const to = this.#ports.get(message.to)
        if (to === undefined || this.#cut.has(`${port.id}>${message.to}`)) return
        if (this.#acquainted.get(to.life)?.has(port.life) !== true) return
        to.life.arrive(0, () => deliver(to))
      })
    }
    return true
  }

  #request(port: Port, to: NodeId, request: Request): Promise<unknown> | 'not-sent' {
    const stream = this.#streamTo(port, to)
    if (stream === undefined) return 'not-sent'
    return new Promise((resolve) => {
      const settle = (reply: unknown) => {
        stream.broken.delete(lost)
        resolve(reply)
      }
      const lost = () => port.life.arrive(0, () => settle(undefined))
      stream.broken.add(lost)
      this.#onStream(stream, port, (other) => {
        void other.handlers.request(port.id, request).then((reply) => {
          // (Who asks for a repair asks again only after many seconds.)
          const isLost = request.type !== 'repair' && this.#random() < this.faults.lostReplies
          if (stream.open && !other.life.over && !isLost) this.#onStream(stream, other, () => settle(reply))
        })
      })
    })
  }

  async #sendSnapshot(port: Port, message: SnapshotMessage, payload: SnapshotPayload): Promise<boolean> {
    const stream = this.#streamTo(port, message.to)
    this.onMessage?.(message)
    if (stream === undefined) return false
    /** Carries `work` out on the other side and brings its outcome back; false when the stream breaks. */
    const over = (work: (to: Port) => Promise<boolean>): Promise<boolean> =>
      new Promise((resolve) => {
        if (!stream.open) return resolve(false)
        const settle = (ok: boolean) => {
          stream.broken.delete(lost)
          resolve(ok)
        }
        const lost = () => port.life.arrive(0, () => settle(false))
        stream.broken.add(lost)
        this.#onStream(stream, port, (to) => {
          void work(to).then((ok) => {
            if (stream.open && !to.life.over) this.#onStream(stream, to, () => settle(ok))
          })
        })
      })
    let reading: AsyncIterator<Uint8Array> | undefined
    let sink: ReturnType<NetworkHandlers['snapshot']>
    const abort = () => sink?.abort()
    stream.broken.add(abort)
    try {
      let from = 0
      const began = await over(async (to) => {
        sink = to.handlers.snapshot(port.id, message, payload.sha256)
        if (sink === undefined) return false
        return sink.start().then((there) => {
          from = there
          return true
        }, () => false)
      })
      if (!began) return false
      reading = payload.open(from)[Symbol.asyncIterator]()
      let next = reading.next()
      next.catch(() => undefined)
      for (let result = await next; result.done !== true; result = await next) {
        const chunk = result.value
        next = reading.next()
        next.catch(() => undefined)
        if (!(await over(() => sink!.write(chunk).then(() => true, () => false)))) return false
      }
      return await over((to) => {
        // Complete: from here on the receiver decides, whatever becomes of the stream.
        const complete = sink!
        sink = undefined
        return to.life.over ? Promise.resolve(false) : complete.end().then(() => true, () => false)
      })
    } finally {
      stream.broken.delete(abort)
      sink?.abort()
      void reading?.return?.()
    }
  }
}

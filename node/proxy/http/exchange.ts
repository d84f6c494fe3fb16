/**
 * One request and its answer, as far as the member is concerned: choose one → connect or take a kept connection → pass the head
 * and the body on → read the answer strictly → pass it back with backpressure. Belongs to one client's connection, which uses it
 * for one request after the other.
 */
import { ListenerField, MemberField, type ErrorCode } from '../shared.ts'
import type { PoolRuntime } from '../pool.ts'
import type { ListenerRuntime, Runtime } from '../runtime.ts'
import type { Connection } from '../transport/transport.ts'
import { Body, Framing } from './body.ts'
import { ascii } from './bytes.ts'
import { HeadScanner, Method, type Head } from './head.ts'
import type { MemberConnection, MemberPool, MemberUser } from './member.ts'
import { headRoomBytes, writeRequestHead, writeResponseHead } from './rewrite.ts'

/** Where an exchange is. `none`: there is none. */
export const Phase = { none: 0, connecting: 1, awaited: 2, body: 3 } as const

/** A head larger than this for a member is kept no longer than its exchange. */
const keepHeadBytes = 4096
const maxInterimResponses = 16

const nothing = Buffer.alloc(0)
const crlfcrlf = ascii('\r\n\r\n')
const continueLine = ascii('HTTP/1.1 100 Continue\r\n\r\n')

/** What an exchange needs of the connection that it answers to. */
export interface ExchangeClient {
  readonly connection: Connection
  /** Its address as text, in bytes. */
  readonly address: Uint8Array
  /** The connection ends after this exchange. */
  lastExchange: boolean
  /** The kernel did not take the last write to the client: no next exchange before it has, or what is unread would pile up. */
  congested: boolean
  /** The whole request has been passed on. */
  readonly requestComplete: boolean
  /** Coarse time at which something last moved, for the deadlines. */
  activeMs: number
  /** There is no connection to a member yet: the body has to wait. */
  memberAwaited(): void
  /** There is one. */
  memberReady(): void
  /** The member takes more of the body. */
  memberDrained(): void
  /** The answer is complete. */
  exchangeDone(): void
  /** There will be no answer of a member, or not all of it. */
  exchangeFailed(code: ErrorCode): void
  /** From here on the two connections are a tunnel; `over` is to be called at its end. */
  exchangeSwitched(member: Connection, over: () => void): void
}

export class Exchange implements MemberUser {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #members: MemberPool
  readonly #client: ExchangeClient

  phase: number = Phase.none
  /** Part of an answer is out. */
  started = false
  /** The member waits until the client has taken what there is. */
  memberPaused = false

  #method = 0
  #minor = 1
  #upgrade = false
  #hasBody = false
  /** The head for the member; kept until the answer begins, in case it has to be sent again. */
  #head: Buffer = nothing
  #headLength = 0

  #pool: PoolRuntime | undefined
  #index = -1
  /** What the choice of a member depends on. */
  #key = 0
  readonly #tried: number[] = []
  #member: MemberConnection | undefined

  #interims = 0
  /** Part of an answer's head. */
  #kept: Buffer = nothing
  #keptLength = 0
  readonly #scanner = new HeadScanner()
  readonly #body = new Body()
  #memberKeeps = false
  #chunksToClient = true

  constructor(runtime: Runtime, listener: ListenerRuntime, members: MemberPool, client: ExchangeClient) {
    this.#runtime = runtime
    this.#listener = listener
    this.#members = members
    this.#client = client
  }

  // — to the member —

  /** Sends a request on to a member of the pool. `buffer` holds its head. */
  begin(pool: PoolRuntime, head: Head, buffer: Buffer): void {
    this.#pool = pool
    this.#method = head.method
    this.#minor = head.minor
    this.#upgrade = head.upgrade
    this.#hasBody = head.chunked || head.contentLength > 0
    this.started = false
    this.#interims = 0
    this.#tried.length = 0
    // Chosen before the head is written: a request without Host gets the member's address.
    this.#key = pool.keyOf(head, buffer, this.#client.address)
    this.#index = pool.pick(this.#tried, this.#key)
    if (this.#index < 0) return this.#client.exchangeFailed('no-member-available')
    const room = head.end - head.start + headRoomBytes
    if (this.#head.length < room) this.#head = Buffer.allocUnsafe(Math.max(2048, room))
    this.#headLength = writeRequestHead(this.#head, head, buffer, {
      client: this.#client.address,
      via: this.#via(head),
      defaultHost: head.hostField < 0 ? this.#memberHost() : nothing,
      replaceForwarded: this.#listener.plan.replaceForwarded,
    })
    this.#reach(true)
  }

  #via(head: Head): Uint8Array {
    return head.minor === 0 ? this.#runtime.via10 : this.#runtime.via
  }

  #memberHost(): Uint8Array {
    const { address, port } = this.#pool!.plan.members[this.#index]!
    return ascii(address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`)
  }

  /** Takes a kept connection to the chosen member, or makes one. */
  #reach(mayReuse: boolean): void {
    const member = this.#pool!.plan.members[this.#index]!
    this.#tried.push(this.#index)
    const kept = mayReuse ? this.#members.take(member, this) : undefined
    if (kept !== undefined) {
      this.#member = kept
      this.memberConnected()
      return
    }
    this.phase = Phase.connecting
    this.#client.activeMs = this.#runtime.nowMs
    this.#client.memberAwaited()
    this.#member = this.#members.connect(member, this)
  }

  memberConnected(): void {
    this.#runtime.shared.addMember(this.#slot(), MemberField.requests, 1)
    this.phase = Phase.awaited
    this.#client.activeMs = this.#runtime.nowMs
    this.#member!.connection.write(this.#head.subarray(0, this.#headLength))
    // After another member had refused, the body waits.
    this.#client.memberReady()
  }

  /** Passes bytes of the body on. @returns false: stop until `memberDrained` */
  sendBody(buffer: Buffer, start: number, end: number): boolean {
    return this.#member === undefined || this.#runtime.forward(this.#member.connection, buffer, start, end)
  }

  memberDrained(): void {
    this.#client.activeMs = this.#runtime.nowMs
    this.#client.memberDrained()
  }

  // — from the member —

  memberReceived(buffer: Buffer, start: number, end: number): void {
    this.#client.activeMs = this.#runtime.nowMs
    if (this.phase === Phase.awaited) this.#readHead(buffer, start, end)
    else if (this.phase === Phase.body) this.#passBody(buffer, start, end)
    else this.abandon()
  }

  #readHead(piece: Buffer, pieceStart: number, pieceEnd: number): void {
    let buffer = piece
    let start = pieceStart
    let end = pieceEnd
    if (this.#keptLength > 0) {
      const total = this.#keptLength + pieceEnd - pieceStart
      if (this.#kept.length < total) {
        const grown = Buffer.allocUnsafe(total * 2)
        this.#kept.copy(grown, 0, 0, this.#keptLength)
        this.#kept = grown
      }
      piece.copy(this.#kept, this.#keptLength, pieceStart, pieceEnd)
      buffer = this.#kept
      start = 0
      end = total
    }
    const { plan } = this.#listener
    for (;;) {
      let length: number
      const found = this.#scanner.scanned === 0 ? buffer.indexOf(crlfcrlf, start) : -1
      if (found >= 0 && found + 4 <= end) length = found + 4 - start
      else length = this.#scanner.scan(buffer, start, end)
      if (length < 0 || length > plan.maxHeadBytes || (length === 0 && end - start >= plan.maxHeadBytes)) return this.#badResponse()
      if (length === 0) return this.#keep(buffer, start, end)
      this.#scanner.reset()
      const head = this.#runtime.responseHead
      if (head.parseResponse(buffer, start, start + length, plan.maxHeaders) !== 0) return this.#badResponse()
      if (head.status >= 200 || head.status === 101) {
        this.#kept = nothing
        this.#keptLength = 0
        if (head.status === 101) this.#switchProtocols(head, buffer, start + length, end)
        else this.#beginAnswer(head, buffer, start + length, end)
        return
      }
      if (++this.#interims > maxInterimResponses) return this.#badResponse()
      if (this.#minor === 1) this.#passInterim(head, buffer)
      start += length
      if (start === end) return this.#keep(buffer, start, end)
    }
  }

  #keep(buffer: Buffer, start: number, end: number): void {
    const length = end - start
    if (buffer === this.#kept) {
      if (start > 0) buffer.copyWithin(0, start, end)
    } else {
      if (this.#kept.length < length) this.#kept = Buffer.allocUnsafe(Math.max(1024, length * 2))
      buffer.copy(this.#kept, 0, start, end)
    }
    this.#keptLength = length
  }

  #passInterim(head: Head, buffer: Buffer): void {
    if (head.status === 100 && head.count === 0) {
      if (!this.#client.connection.write(continueLine)) this.#client.congested = true
      return
    }
    this.#write(writeResponseHead(this.#runtime.scratch, 0, head, buffer, { via: this.#via(head), connection: '', chunked: false, dropLength: true }))
  }

  #beginAnswer(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    const { status } = head
    const client = this.#client
    let framing: number
    if (this.#method === Method.head || status === 204 || status === 304) framing = Framing.none
    else if (head.chunked) framing = Framing.chunked
    else if (head.contentLength >= 0) framing = head.contentLength === 0 ? Framing.none : Framing.length
    else framing = Framing.close
    const body = this.#body
    body.begin(framing, head.contentLength)
    // A 204 that announces a body (RFC 9110 §8.6, RFC 9112 §6.1 forbid it) may still send one: into the next answer.
    const bodyToCome = status === 204 && (head.chunked || head.contentLength > 0)
    this.#memberKeeps = !head.close && (head.minor === 1 || head.keepAlive) && framing !== Framing.close && !bodyToCome
    this.#chunksToClient = this.#minor === 1
    // Without a length that the client can read, the connection's end is the body's end.
    if (framing === Framing.close || (framing === Framing.chunked && this.#minor === 0)) client.lastExchange = true
    // An answer before the request's end: what the client still sends would be taken for a next request.
    if (!client.requestComplete) client.lastExchange = true
    this.started = true
    this.phase = Phase.body
    const { shared, scratch } = this.#runtime
    shared.addListener(this.#listener.plan.slot, ListenerField.status1 + Math.floor(status / 100) - 1, 1)
    if (status >= 500) shared.addMember(this.#slot(), MemberField.errors, 1)
    let length = writeResponseHead(scratch, 0, head, buffer, {
      via: this.#via(head),
      connection: client.lastExchange ? 'close' : this.#minor === 0 ? 'keep-alive' : '',
      chunked: head.chunked && status !== 204 && this.#minor === 1,
      dropLength: status === 204,
    })
    // The head and what is there of the body in one write, if they fit; a read of the transport does.
    let from = bodyStart
    if (framing === Framing.length && end > bodyStart && length + end - bodyStart <= scratch.length) {
      from = body.read(buffer, bodyStart, end)
      buffer.copy(scratch, length, bodyStart, from)
      length += from - bodyStart
    }
    const ok = this.#write(length)
    if (body.done) return this.#done(end > from)
    if (!ok) this.#pauseMember()
    if (end > from) this.#passBody(buffer, from, end)
  }

  /** Writes `[0, length)` of the scratch buffer to the client. */
  #write(length: number): boolean {
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, length)
    const ok = this.#runtime.writeScratch(this.#client.connection, length)
    if (!ok) this.#client.congested = true
    return ok
  }

  #passBody(buffer: Buffer, start: number, end: number): void {
    const body = this.#body
    const { connection } = this.#client
    const to = body.read(buffer, start, end)
    if (to < 0) return this.#badResponse()
    let ok = true
    if (body.framing === Framing.chunked && !this.#chunksToClient) {
      const { spans } = body
      for (let i = 0; i < spans.length; i += 2) ok = this.#runtime.forward(connection, buffer, spans[i]!, spans[i + 1]!)
    } else ok = this.#runtime.forward(connection, buffer, start, to)
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, to - start)
    if (!ok) this.#client.congested = true
    if (body.done) this.#done(end > to)
    else if (!ok) this.#pauseMember()
  }

  #pauseMember(): void {
    if (this.memberPaused || this.#member === undefined) return
    this.memberPaused = true
    this.#member.connection.pause()
  }

  /** The client has taken everything. */
  resumeMember(): void {
    if (!this.memberPaused) return
    this.memberPaused = false
    this.#member?.connection.resume()
  }

  #switchProtocols(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    if (!this.#upgrade || !head.upgrade) return this.#badResponse()
    const member = this.#member!
    const slot = this.#slot()
    const { shared } = this.#runtime
    shared.addListener(this.#listener.plan.slot, ListenerField.status1, 1)
    this.#write(writeResponseHead(this.#runtime.scratch, 0, head, buffer, { via: this.#via(head), connection: '', chunked: false, dropLength: true }))
    if (end > bodyStart) {
      shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, end - bodyStart)
      this.#runtime.forward(this.#client.connection, buffer, bodyStart, end)
    }
    member.user = undefined
    // The member's place is taken until the tunnel ends.
    this.#index = -1
    this.#release()
    this.phase = Phase.none
    this.#client.exchangeSwitched(member.connection, () => shared.addActive(slot, -1))
  }

  // — ends —

  memberEnded(): void {
    if (this.phase === Phase.body && this.#body.framing === Framing.close) {
      this.#memberKeeps = false
      return this.#done(false)
    }
    this.#memberFailed()
  }

  memberClosed(error: string): void {
    if (this.phase === Phase.connecting) return this.#connectFailed('member-connect-failed')
    if (this.phase === Phase.body && this.#body.framing === Framing.close && error === '') {
      this.#memberKeeps = false
      return this.#done(false)
    }
    this.#memberFailed()
  }

  /** The connection to the chosen member could not be made: nothing was sent, so another may be tried. */
  #connectFailed(code: ErrorCode): void {
    const pool = this.#pool!
    this.#runtime.shared.addMember(this.#slot(), MemberField.connectFailures, 1)
    this.abandon()
    if (this.#tried.length <= pool.plan.retries) {
      this.#index = pool.pick(this.#tried, this.#key)
      if (this.#index >= 0) return this.#reach(true)
    }
    this.#client.exchangeFailed(code)
  }

  /** The member broke off. */
  #memberFailed(): void {
    const member = this.#member
    const kept = member !== undefined && member.uses > 1
    if (kept && this.phase === Phase.awaited && this.#interims === 0 && this.#keptLength === 0 && !this.#hasBody && isIdempotent(this.#method)) {
      // A kept connection that the member was closing just then: nothing was answered, so the request goes out again.
      member.discard()
      this.#member = undefined
      this.#tried.pop()
      return this.#reach(false)
    }
    this.#fail('member-closed')
  }

  #badResponse(): void {
    this.#fail('bad-member-response')
  }

  #fail(code: ErrorCode): void {
    this.#runtime.shared.addMember(this.#slot(), MemberField.errors, 1)
    this.abandon()
    this.#client.exchangeFailed(code)
  }

  /** Ends the exchange without an answer; the member sees it break off. */
  abandon(): void {
    this.#member?.discard()
    this.#release()
    this.phase = Phase.none
  }

  #slot(): number {
    return this.#pool!.plan.members[this.#index]!.slot
  }

  /** Gives the member's place back. */
  #release(): void {
    if (this.#index >= 0) this.#runtime.shared.addActive(this.#slot(), -1)
    this.#index = -1
    this.#member = undefined
    this.memberPaused = false
    this.#keptLength = 0
    this.#kept = nothing
    this.#scanner.reset()
  }

  /** The answer is complete. `excess`: the member sent more than that, so its connection cannot be trusted. */
  #done(excess: boolean): void {
    const member = this.#member
    if (member !== undefined) {
      // What the kernel has not taken yet is in this exchange's buffer, which the next request writes anew.
      if (this.#memberKeeps && !excess && this.#client.requestComplete && member.usable && member.connection.flushed) {
        if (this.memberPaused) member.connection.resume()
        this.#members.give(member, this.#pool!.plan)
      } else member.discard()
    }
    this.#release()
    this.phase = Phase.none
    this.#client.exchangeDone()
  }

  /** The member's deadlines. `silentMs`: for so long nothing has moved. */
  sweep(silentMs: number): void {
    const pool = this.#pool!.plan
    if (this.phase === Phase.connecting) {
      if (silentMs >= pool.connectMs) this.#connectFailed('member-connect-timeout')
    } else if (silentMs >= pool.serverIdleMs) this.#fail('member-timeout')
  }

  /** Between exchanges: keeps no table, and no large buffer. */
  rest(): void {
    this.#pool = undefined
    if (this.#head.length > keepHeadBytes) this.#head = nothing
  }
}

function isIdempotent(method: number): boolean {
  return method === Method.get || method === Method.head || method === Method.put || method === Method.delete || method === Method.options || method === Method.trace
}

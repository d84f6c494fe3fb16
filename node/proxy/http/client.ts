/**
 * A client's HTTP/1.1 connection and its exchanges, one after the other: head → route → member → stream both ways → `finish`
 * exactly once. The object lives as long as the connection; nothing is allocated per request but what the kernel did not take.
 */
import { ListenerField, MemberField, type ErrorCode } from '../shared.ts'
import type { ListenerRuntime, PoolRuntime, Runtime, Timed } from '../runtime.ts'
import { Tunnel } from '../tcp/tunnel.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { ascii } from './bytes.ts'
import { ChunkedReader } from './chunked.ts'
import { answerFor, codeOfFault } from './errors.ts'
import { HeadScanner, Method, type Head } from './head.ts'
import type { MemberConnection, MemberPool, MemberUser } from './member.ts'
import { headRoomBytes, writeRequestHead, writeResponseHead } from './rewrite.ts'

/** Where the request is. */
const Request = { idle: 0, head: 1, body: 2, complete: 3 } as const
/** Where the response is. `none`: no exchange. */
const Response = { none: 0, connecting: 1, awaited: 2, body: 3 } as const
const Framing = { none: 0, length: 1, chunked: 2, close: 3 } as const

/** Pipelined bytes kept while an exchange goes on; more waits in the kernel. */
const maxPendingBytes = 64 * 1024
/** After an early answer: how long the rest of a request is read and thrown away, so that the answer is not lost to a reset. */
const lingerMs = 2000
/** A head larger than this for a member is kept no longer than its exchange. */
const keepHeadBytes = 4096
const maxInterimResponses = 16

const nothing = Buffer.alloc(0)
const crlfcrlf = ascii('\r\n\r\n')
const continueLine = ascii('HTTP/1.1 100 Continue\r\n\r\n')

export class HttpClient implements ConnectionOwner, MemberUser, Timed {
  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #members: MemberPool
  readonly #connection: Connection
  readonly #gone: (client: HttpClient) => void
  readonly #address: Uint8Array

  #request: number = Request.idle
  #response: number = Response.none
  #requestFraming: number = Framing.none
  #responseFraming: number = Framing.none
  #requestRemaining = 0
  #responseRemaining = 0
  #requestChunks: ChunkedReader | undefined
  #responseChunks: ChunkedReader | undefined

  /** Bytes received and not yet used: part of a head, a body before its member is connected, the next request. */
  #pending: Buffer = nothing
  #pendingLength = 0
  readonly #scanner = new HeadScanner()
  #paused = false
  /** The kernel did not take the last write to the client: no next exchange before it has, or what is unread would pile up. */
  #congested = false
  /** The client has sent its last byte. */
  #clientEnded = false
  /** The one empty line that is ignored before a request has been. */
  #emptyLine = false

  /** The head for the member; kept until the response begins, in case it has to be sent again. */
  #head: Buffer = nothing
  #headLength = 0
  #method = 0
  #minor = 1
  /** The client's connection ends after this exchange. */
  #lastExchange = false
  #upgrade = false
  #bodySent = false
  #started = false

  #pool: PoolRuntime | undefined
  #index = -1
  readonly #tried: number[] = []
  #member: MemberConnection | undefined
  #interims = 0
  #responseHeadBytes: Buffer = nothing
  #responseHeadLength = 0
  readonly #responseScanner = new HeadScanner()
  #memberPaused = false
  #memberKeeps = false
  #chunksToClient = true

  #activeMs: number
  #headSinceMs: number
  #lingering = false
  #tunnel: Tunnel | undefined
  #finished = false

  constructor(runtime: Runtime, listener: ListenerRuntime, members: MemberPool, connection: Connection, gone: (client: HttpClient) => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.#members = members
    this.#connection = connection
    this.#gone = gone
    const remote = connection.remoteAddress
    this.#address = ascii(remote.startsWith('::ffff:') ? remote.slice(7) : remote)
    this.#activeMs = runtime.nowMs
    this.#headSinceMs = runtime.nowMs
    connection.owner = this
    runtime.timed.add(this)
  }

  /** The listener goes away: end now if nothing is going on, else after the current exchange. */
  drain(): void {
    if (this.#response === Response.none && this.#request === Request.idle) this.#end()
    else this.#lastExchange = true
  }

  /** A shutdown that has waited long enough. */
  close(): void {
    this.#tunnel?.close()
    this.#connection.close()
  }

  // — from the client —

  connected(): void {
    // Accepted connections are.
  }

  received(_connection: Connection, buffer: Buffer, start: number, end: number): void {
    this.#activeMs = this.#runtime.nowMs
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesIn, end - start)
    if (this.#lingering) return
    if (this.#pendingLength > 0 || this.#response === Response.connecting || this.#request === Request.complete || (this.#congested && this.#response === Response.none)) {
      this.#stash(buffer, start, end)
      if (this.#response === Response.none && !this.#congested) this.#usePending()
    } else {
      this.#use(buffer, start, end)
    }
  }

  /** Uses bytes as far as they can be used now, and keeps the rest. */
  #use(buffer: Buffer, start: number, end: number): void {
    let at = start
    while (at < end) {
      if (this.#request === Request.body && this.#response >= Response.awaited) {
        at = this.#sendBody(buffer, at, end)
        if (at < 0) return
      } else if (this.#request <= Request.head && this.#response === Response.none && !this.#congested && !this.#lingering && !this.#finished) {
        const next = this.#readHead(buffer, at, end)
        if (next < 0) return
        at = next
      } else break
    }
    if (at < end && !this.#lingering && !this.#finished) this.#stash(buffer, at, end)
    if (this.#clientEnded) this.#bodyCutShort()
  }

  #stash(buffer: Buffer, start: number, end: number): void {
    const length = this.#pendingLength + end - start
    if (this.#pending.length < length) {
      const grown = Buffer.allocUnsafe(Math.max(1024, length * 2))
      this.#pending.copy(grown, 0, 0, this.#pendingLength)
      this.#pending = grown
    }
    buffer.copy(this.#pending, this.#pendingLength, start, end)
    this.#pendingLength = length
    if (this.#request !== Request.head && length >= maxPendingBytes) this.#pause()
  }

  #usePending(): void {
    if (this.#pendingLength === 0) return
    // A head that comes in many pieces stays where it is until its end is there: each byte is looked at and copied once.
    if (
      this.#request === Request.head && this.#pendingLength < this.#listener.plan.maxHeadBytes &&
      this.#scanner.scan(this.#pending, 0, this.#pendingLength) === 0
    ) return
    const pending = this.#pending
    const length = this.#pendingLength
    this.#pending = nothing
    this.#pendingLength = 0
    this.#use(pending, 0, length)
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#connection.pause()
  }
  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#connection.resume()
  }

  /**
   * Reads a request head and starts its exchange.
   * @returns the position after the head, or -1 when everything was kept or refused
   */
  #readHead(buffer: Buffer, start: number, end: number): number {
    const { plan } = this.#listener
    let from = start
    if (this.#request === Request.idle) {
      // One empty line before a request is ignored (RFC 9112 §2.2).
      if (buffer[from] === 0x0d) {
        if (from + 1 === end) return this.#keepHead(buffer, from, end)
        if (buffer[from + 1] === 0x0a && !this.#emptyLine) {
          this.#emptyLine = true
          from += 2
        }
      }
      if (from === end) return end
    }
    let length: number
    if (this.#scanner.scanned === 0) {
      // The usual case: the whole head is there. A bare LF inside it is found by the parser.
      const found = buffer.indexOf(crlfcrlf, from)
      length = found >= 0 && found + 4 <= end ? found + 4 - from : this.#scanner.scan(buffer, from, end)
    } else length = this.#scanner.scan(buffer, from, end)
    if (length < 0) return this.#refuse('bad-request')
    if (length === 0) {
      if (end - from >= plan.maxHeadBytes) return this.#refuse('head-too-large')
      if (this.#request === Request.idle) this.#headSinceMs = this.#runtime.nowMs
      this.#request = Request.head
      return this.#keepHead(buffer, from, end)
    }
    if (length > plan.maxHeadBytes) return this.#refuse('head-too-large')
    this.#scanner.reset()
    const head = this.#runtime.requestHead
    const fault = head.parseRequest(buffer, from, from + length, plan.maxHeaders)
    this.#runtime.shared.addListener(plan.slot, ListenerField.requests, 1)
    if (fault !== 0) return this.#refuse(codeOfFault(fault))
    this.#begin(head, buffer)
    if (this.#lingering || this.#finished) return -1
    return from + length
  }

  /** Keeps part of a head. The scanner remembers how much of it has been looked at. */
  #keepHead(buffer: Buffer, start: number, end: number): number {
    if (buffer === this.#pending) return -1
    this.#pendingLength = 0
    this.#stash(buffer, start, end)
    return -1
  }

  #refuse(code: ErrorCode): number {
    // There is no method: an earlier HEAD must not take this answer's body away.
    this.#method = Method.other
    this.#lastExchange = true
    this.#answer(code)
    return -1
  }

  // — an exchange —

  #begin(head: Head, buffer: Buffer): void {
    const { plan, matcher, pools, closing } = this.#listener
    this.#method = head.method
    this.#minor = head.minor
    this.#upgrade = head.upgrade
    this.#lastExchange = this.#lastExchange || closing || head.close || (head.minor === 0 && !head.keepAlive)
    this.#bodySent = false
    this.#emptyLine = false
    this.#started = false
    this.#interims = 0
    this.#tried.length = 0
    if (head.chunked) {
      this.#requestFraming = Framing.chunked
      this.#requestChunks ??= new ChunkedReader()
      this.#requestChunks.reset()
      this.#request = Request.body
    } else if (head.contentLength > 0) {
      this.#requestFraming = Framing.length
      this.#requestRemaining = head.contentLength
      this.#request = Request.body
    } else {
      this.#requestFraming = Framing.none
      this.#request = Request.complete
    }
    const index = matcher.match(buffer, head.hostStart, head.hostEnd, head.targetStart, head.targetEnd)
    this.#pool = pools[index]
    if (this.#pool === undefined) return this.#answer('no-route')
    // Chosen before the head is written: a request without Host gets the member's address.
    this.#index = this.#pool.pick(this.#tried)
    if (this.#index < 0) return this.#answer('no-member-available')
    const room = head.end - head.start + headRoomBytes
    if (this.#head.length < room) this.#head = Buffer.allocUnsafe(Math.max(2048, room))
    this.#headLength = writeRequestHead(this.#head, head, buffer, {
      client: this.#address,
      via: head.minor === 0 ? this.#runtime.via10 : this.#runtime.via,
      defaultHost: head.hostField < 0 ? this.#memberHost() : nothing,
      replaceForwarded: plan.replaceForwarded,
    })
    this.#reach(true)
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
    this.#response = Response.connecting
    this.#activeMs = this.#runtime.nowMs
    if (this.#request === Request.body) this.#pause()
    this.#member = this.#members.connect(member, this)
  }

  memberConnected(): void {
    this.#send()
    // After another member had refused, the body waits.
    this.#resume()
    if (this.#request === Request.body) this.#usePending()
  }

  #send(): void {
    const { slot } = this.#pool!.plan.members[this.#index]!
    this.#runtime.shared.addMember(slot, MemberField.requests, 1)
    this.#response = Response.awaited
    this.#activeMs = this.#runtime.nowMs
    this.#member!.connection.write(this.#head.subarray(0, this.#headLength))
  }

  /**
   * Passes body bytes on.
   * @returns the position after what belongs to this request, or -1 when it was malformed
   */
  #sendBody(buffer: Buffer, start: number, end: number): number {
    let to: number
    if (this.#requestFraming === Framing.length) {
      to = Math.min(end, start + this.#requestRemaining)
      this.#requestRemaining -= to - start
      if (this.#requestRemaining === 0) this.#request = Request.complete
    } else {
      to = this.#requestChunks!.read(buffer, start, end)
      if (to < 0) {
        // What went on so far has no end: the member must see it break off.
        this.#dropMember(true)
        this.#lastExchange = true
        this.#answerOrAbort('body-malformed')
        return -1
      }
      if (this.#requestChunks!.done) this.#request = Request.complete
    }
    this.#bodySent = true
    if (this.#member !== undefined && !this.#runtime.forward(this.#member.connection, buffer, start, to)) this.#pause()
    return to
  }

  memberDrained(): void {
    this.#activeMs = this.#runtime.nowMs
    this.#resume()
  }

  // — from the member —

  memberReceived(buffer: Buffer, start: number, end: number): void {
    this.#activeMs = this.#runtime.nowMs
    if (this.#response === Response.awaited) this.#readResponseHead(buffer, start, end)
    else if (this.#response === Response.body) this.#passBody(buffer, start, end)
    else this.#dropMember(true)
  }

  #readResponseHead(piece: Buffer, pieceStart: number, pieceEnd: number): void {
    let buffer = piece
    let start = pieceStart
    let end = pieceEnd
    if (this.#responseHeadLength > 0) {
      const total = this.#responseHeadLength + pieceEnd - pieceStart
      if (this.#responseHeadBytes.length < total) {
        const grown = Buffer.allocUnsafe(total * 2)
        this.#responseHeadBytes.copy(grown, 0, 0, this.#responseHeadLength)
        this.#responseHeadBytes = grown
      }
      piece.copy(this.#responseHeadBytes, this.#responseHeadLength, pieceStart, pieceEnd)
      buffer = this.#responseHeadBytes
      start = 0
      end = total
    }
    const { plan } = this.#listener
    for (;;) {
      let length: number
      const found = this.#responseScanner.scanned === 0 ? buffer.indexOf(crlfcrlf, start) : -1
      if (found >= 0 && found + 4 <= end) length = found + 4 - start
      else length = this.#responseScanner.scan(buffer, start, end)
      if (length < 0 || length > plan.maxHeadBytes || (length === 0 && end - start >= plan.maxHeadBytes)) {
        return this.#badResponse()
      }
      if (length === 0) return this.#keepResponseHead(buffer, start, end)
      this.#responseScanner.reset()
      const head = this.#runtime.responseHead
      if (head.parseResponse(buffer, start, start + length, plan.maxHeaders) !== 0) return this.#badResponse()
      if (head.status >= 200 || head.status === 101) {
        const kept = this.#responseHeadBytes
        this.#responseHeadBytes = nothing
        this.#responseHeadLength = 0
        this.#beginResponse(head, buffer === kept ? kept : buffer, start + length, end)
        return
      }
      if (++this.#interims > maxInterimResponses) return this.#badResponse()
      if (this.#minor === 1) this.#passInterim(head, buffer)
      start += length
      if (start === end) return this.#keepResponseHead(buffer, start, end)
    }
  }

  #keepResponseHead(buffer: Buffer, start: number, end: number): void {
    const length = end - start
    if (buffer === this.#responseHeadBytes) {
      if (start > 0) buffer.copyWithin(0, start, end)
    } else {
      if (this.#responseHeadBytes.length < length) this.#responseHeadBytes = Buffer.allocUnsafe(Math.max(1024, length * 2))
      buffer.copy(this.#responseHeadBytes, 0, start, end)
    }
    this.#responseHeadLength = length
  }

  #passInterim(head: Head, buffer: Buffer): void {
    if (head.status === 100 && head.count === 0) {
      if (!this.#connection.write(continueLine)) this.#congested = true
      return
    }
    const length = writeResponseHead(this.#runtime.scratch, 0, head, buffer, { via: head.minor === 0 ? this.#runtime.via10 : this.#runtime.via, connection: '', chunked: false, dropLength: true })
    if (!this.#runtime.writeScratch(this.#connection, length)) this.#congested = true
  }

  #badResponse(): void {
    this.#runtime.shared.addMember(this.#slot(), MemberField.errors, 1)
    this.#dropMember(true)
    this.#answerOrAbort('bad-member-response')
  }

  #slot(): number {
    return this.#pool!.plan.members[this.#index]!.slot
  }

  #beginResponse(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    const { status } = head
    if (status === 101) return this.#switchProtocols(head, buffer, bodyStart, end)
    const noBody = this.#method === Method.head || status === 204 || status === 304
    if (noBody) this.#responseFraming = Framing.none
    else if (head.chunked) this.#responseFraming = Framing.chunked
    else if (head.contentLength >= 0) this.#responseFraming = head.contentLength === 0 ? Framing.none : Framing.length
    else this.#responseFraming = Framing.close
    this.#responseRemaining = head.contentLength
    // A 204 that announces a body (RFC 9110 §8.6, RFC 9112 §6.1 forbid it) may still send one: into the next answer.
    const bodyToCome = status === 204 && (head.chunked || head.contentLength > 0)
    this.#memberKeeps = !head.close && (head.minor === 1 || head.keepAlive) && this.#responseFraming !== Framing.close && !bodyToCome
    this.#chunksToClient = this.#minor === 1
    if (this.#responseFraming === Framing.chunked) {
      this.#responseChunks ??= new ChunkedReader()
      this.#responseChunks.reset()
    }
    // Without a length that the client can read, the connection's end is the body's end.
    if (this.#responseFraming === Framing.close || (this.#responseFraming === Framing.chunked && this.#minor === 0)) this.#lastExchange = true
    // An answer before the request's end: what the client still sends would be taken for a next request.
    if (this.#request !== Request.complete) this.#lastExchange = true
    this.#started = true
    this.#response = Response.body
    const { shared } = this.#runtime
    shared.addListener(this.#listener.plan.slot, ListenerField.status1 + Math.floor(status / 100) - 1, 1)
    if (status >= 500) shared.addMember(this.#slot(), MemberField.errors, 1)
    const { scratch } = this.#runtime
    let length = writeResponseHead(scratch, 0, head, buffer, {
      via: head.minor === 0 ? this.#runtime.via10 : this.#runtime.via,
      connection: this.#lastExchange ? 'close' : this.#minor === 0 ? 'keep-alive' : '',
      chunked: head.chunked && !(status === 204) && this.#minor === 1,
      dropLength: status === 204,
    })
    // The head and what is there of the body in one write, if they fit; a read of the transport does.
    if (this.#responseFraming === Framing.length && end > bodyStart && length + end - bodyStart <= scratch.length) {
      const take = Math.min(end - bodyStart, this.#responseRemaining)
      buffer.copy(scratch, length, bodyStart, bodyStart + take)
      length += take
      this.#responseRemaining -= take
      const ok = this.#writeClient(length)
      if (this.#responseRemaining === 0) return this.#responseDone(end - bodyStart - take > 0)
      if (!ok) this.#pauseMember()
      return
    }
    const ok = this.#writeClient(length)
    if (this.#responseFraming === Framing.none) return this.#responseDone(end > bodyStart)
    if (!ok) this.#pauseMember()
    if (end > bodyStart) this.#passBody(buffer, bodyStart, end)
  }

  #writeClient(length: number): boolean {
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, length)
    const ok = this.#runtime.writeScratch(this.#connection, length)
    if (!ok) this.#congested = true
    return ok
  }

  #passBody(buffer: Buffer, start: number, end: number): void {
    let to = end
    let ok = true
    let done = false
    if (this.#responseFraming === Framing.length) {
      to = Math.min(end, start + this.#responseRemaining)
      this.#responseRemaining -= to - start
      done = this.#responseRemaining === 0
    } else if (this.#responseFraming === Framing.chunked) {
      const chunks = this.#responseChunks!
      to = chunks.read(buffer, start, end)
      if (to < 0) return this.#badResponse()
      done = chunks.done
      if (!this.#chunksToClient) {
        for (let i = 0; i < chunks.spans.length; i += 2) ok = this.#runtime.forward(this.#connection, buffer, chunks.spans[i]!, chunks.spans[i + 1]!)
      }
    }
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, to - start)
    if (this.#responseFraming !== Framing.chunked || this.#chunksToClient) ok = this.#runtime.forward(this.#connection, buffer, start, to)
    if (!ok) this.#congested = true
    if (done) this.#responseDone(end > to)
    else if (!ok) this.#pauseMember()
  }

  #pauseMember(): void {
    if (this.#memberPaused || this.#member === undefined) return
    this.#memberPaused = true
    this.#member.connection.pause()
  }

  /** Everything that was written to the client has been taken by the kernel. */
  drained(): void {
    this.#activeMs = this.#runtime.nowMs
    this.#congested = false
    if (this.#lingering) this.#headSinceMs = this.#runtime.nowMs
    else if (this.#memberPaused) {
      this.#memberPaused = false
      this.#member?.connection.resume()
    } else if (this.#response === Response.none && !this.#finished) this.#proceed()
  }

  memberEnded(): void {
    if (this.#response === Response.body && this.#responseFraming === Framing.close) {
      this.#memberKeeps = false
      return this.#responseDone(false)
    }
    this.#memberFailed('')
  }

  memberClosed(error: string): void {
    if (this.#response === Response.connecting) return this.#connectFailed('member-connect-failed')
    if (this.#response === Response.body && this.#responseFraming === Framing.close && error === '') {
      this.#memberKeeps = false
      return this.#responseDone(false)
    }
    this.#memberFailed(error)
  }

  /** The connection to the chosen member could not be made: nothing was sent, so another may be tried. */
  #connectFailed(code: ErrorCode): void {
    const pool = this.#pool!
    this.#runtime.shared.addMember(this.#slot(), MemberField.connectFailures, 1)
    this.#member?.discard()
    this.#releaseMember()
    this.#response = Response.none
    if (this.#tried.length <= pool.plan.retries) {
      this.#index = pool.pick(this.#tried)
      if (this.#index >= 0) return this.#reach(true)
    }
    this.#answer(code)
  }

  /** The member broke off. */
  #memberFailed(_error: string): void {
    const member = this.#member
    const fresh = member === undefined || member.uses === 1
    const repeatable =
      !fresh && this.#response === Response.awaited && this.#interims === 0 && this.#responseHeadLength === 0 && this.#requestFraming === Framing.none &&
      !this.#bodySent && isIdempotent(this.#method)
    if (repeatable) {
      // A kept connection that the member was closing just then: nothing was answered, so the request goes out again.
      member.discard()
      this.#member = undefined
      this.#tried.pop()
      return this.#reach(false)
    }
    this.#runtime.shared.addMember(this.#slot(), MemberField.errors, 1)
    this.#dropMember(true)
    this.#answerOrAbort('member-closed')
  }

  /** Gives the member's place back. */
  #releaseMember(): void {
    if (this.#index >= 0) this.#runtime.shared.addActive(this.#slot(), -1)
    this.#index = -1
    this.#member = undefined
    this.#memberPaused = false
    this.#responseHeadLength = 0
    this.#responseHeadBytes = nothing
    this.#responseScanner.reset()
  }

  #dropMember(_broken: boolean): void {
    this.#member?.discard()
    this.#releaseMember()
  }

  /** The response is complete. `excess`: the member sent more than that, so its connection cannot be trusted. */
  #responseDone(excess: boolean): void {
    const member = this.#member
    if (member !== undefined) {
      // What the kernel has not taken yet is in this client's buffer, which the next request writes anew.
      if (this.#memberKeeps && !excess && this.#request === Request.complete && member.usable && member.connection.flushed) {
        if (this.#memberPaused) member.connection.resume()
        this.#members.give(member, this.#pool!.plan)
      } else member.discard()
    }
    this.#releaseMember()
    this.#next()
  }

  /** Ends the exchange and begins the next one, or ends the connection. */
  #next(): void {
    const complete = this.#request === Request.complete
    this.#response = Response.none
    this.#pool = undefined
    if (this.#head.length > keepHeadBytes) this.#head = nothing
    if (this.#lastExchange || !complete) {
      if (complete && this.#pendingLength === 0) this.#end()
      else this.#linger()
      return
    }
    this.#request = Request.idle
    this.#headSinceMs = this.#runtime.nowMs
    if (!this.#congested) this.#proceed()
  }

  /** Goes on to what the client has sent meanwhile. */
  #proceed(): void {
    this.#resume()
    if (this.#pendingLength > 0) this.#usePending()
    if (this.#clientEnded && this.#response === Response.none && !this.#lingering) this.#end()
  }

  /** Sends everything, then closes. */
  #end(): void {
    this.#request = Request.complete
    if (this.#clientEnded) {
      this.#connection.end()
      if (this.#connection.flushed) this.#connection.close()
      else this.#linger()
      return
    }
    this.#linger()
  }

  /** Half-closes and throws away what still arrives, for a bounded time. */
  #linger(): void {
    if (this.#lingering) return
    this.#lingering = true
    this.#pendingLength = 0
    this.#pending = nothing
    this.#headSinceMs = this.#runtime.nowMs
    this.#connection.end()
    this.#paused = true
    this.#resume()
  }

  // — answers of Haechi's own —

  #answerOrAbort(code: ErrorCode): void {
    if (!this.#started) return this.#answer(code)
    // Part of an answer is out: only a failure of the connection tells the client that it is not whole.
    this.#runtime.error(this.#listener, code)
    this.#breakOff()
    this.#connection.abort()
  }

  /** No exchange any more: what the connection's end brings is not counted as another error. */
  #breakOff(): void {
    this.#dropMember(true)
    this.#response = Response.none
    this.#lingering = true
  }

  #answer(code: ErrorCode): void {
    this.#runtime.error(this.#listener, code)
    const answer = answerFor(code)
    this.#response = Response.none
    if (answer === undefined) return this.#connection.close()
    if (this.#request !== Request.complete || this.#minor === 0) this.#lastExchange = true
    const withoutBody = this.#method === Method.head
    const bytes = this.#lastExchange
      ? withoutBody ? answer.closeHead : answer.close
      : withoutBody ? answer.keepHead : answer.keep
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.status1 + Math.floor(answer.status / 100) - 1, 1)
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesOut, bytes.length)
    if (!this.#connection.write(bytes)) this.#congested = true
    this.#method = Method.other
    this.#next()
  }

  // — switching protocols —

  #switchProtocols(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    if (!this.#upgrade || !head.upgrade) return this.#badResponse()
    const member = this.#member!
    const slot = this.#slot()
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.status1, 1)
    const length = writeResponseHead(this.#runtime.scratch, 0, head, buffer, { via: head.minor === 0 ? this.#runtime.via10 : this.#runtime.via, connection: '', chunked: false, dropLength: true })
    this.#writeClient(length)
    if (end > bodyStart) this.#runtime.forward(this.#connection, buffer, bodyStart, end)
    member.user = undefined
    this.#runtime.timed.delete(this)
    const pending = this.#pending
    const pendingLength = this.#pendingLength
    this.#pendingLength = 0
    this.#tunnel = new Tunnel(this.#runtime, this.#listener, this.#connection, member.connection, (error) => {
      if (error !== '') this.#runtime.error(this.#listener, error)
      this.#runtime.shared.addActive(slot, -1)
      this.#index = -1
      this.#finish()
    })
    if (pendingLength > 0) this.#tunnel.received(this.#connection, pending, 0, pendingLength)
    if (this.#clientEnded) this.#tunnel.ended(this.#connection)
  }

  // — ends and deadlines —

  ended(): void {
    this.#clientEnded = true
    if (this.#lingering) {
      // What is still to be sent is sent first; both directions ended, it closes by itself.
      if (this.#connection.flushed) this.#connection.close()
      return
    }
    if (this.#response === Response.none && this.#request <= Request.head) {
      // Between requests that is how a client says goodbye; within a head it is a truncated request.
      if (this.#request === Request.head) this.#runtime.error(this.#listener, 'client-closed')
      // Requests that wait until an answer has been taken are still served.
      if (!this.#congested) this.#end()
      return
    }
    this.#bodyCutShort()
  }

  /** The client has ended. A half-close after the whole request is allowed; the rest of a body that is not here will never come. */
  #bodyCutShort(): void {
    if (this.#request !== Request.body || this.#pendingLength > 0 || this.#lingering || this.#finished) return
    this.#runtime.error(this.#listener, 'client-closed')
    this.#breakOff()
    this.#connection.close()
  }

  closed(): void {
    if (this.#response !== Response.none) {
      this.#runtime.error(this.#listener, 'client-closed')
      this.#dropMember(true)
    }
    this.#finish()
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    this.#runtime.shared.closeConnection(this.#listener.plan.slot)
    this.#pending = nothing
    this.#head = nothing
    this.#gone(this)
  }

  sweep(nowMs: number): void {
    const { plan } = this.#listener
    if (this.#lingering) {
      // As long as it takes what was written, a slow client is not cut off.
      if (nowMs - this.#headSinceMs >= (this.#connection.flushed ? lingerMs : Math.max(lingerMs, plan.clientIdleMs))) this.#connection.close()
      return
    }
    if (this.#response === Response.none) {
      if (this.#congested) {
        if (nowMs - this.#activeMs < plan.clientIdleMs) return
        this.#runtime.error(this.#listener, 'client-timeout')
        this.#breakOff()
        this.#connection.abort()
      } else if (this.#request === Request.idle) {
        if (nowMs - this.#headSinceMs >= plan.keepAliveMs) this.#connection.close()
      } else if (this.#request === Request.head && nowMs - this.#headSinceMs >= plan.requestHeadMs) this.#refuse('request-timeout')
      return
    }
    const silentMs = nowMs - this.#activeMs
    const pool = this.#pool!.plan
    if (this.#response === Response.connecting) {
      if (silentMs >= pool.connectMs) this.#connectFailed('member-connect-timeout')
    } else if (this.#request === Request.body && !this.#paused) {
      if (silentMs < plan.clientIdleMs) return
      this.#dropMember(true)
      this.#lastExchange = true
      this.#answerOrAbort('client-timeout')
    } else if (this.#memberPaused) {
      // The client does not read.
      if (silentMs >= plan.clientIdleMs) this.#answerOrAbort('client-timeout')
    } else if (silentMs >= pool.serverIdleMs) {
      this.#runtime.shared.addMember(this.#slot(), MemberField.errors, 1)
      this.#dropMember(true)
      this.#answerOrAbort('member-timeout')
    }
  }
}

function isIdempotent(method: number): boolean {
  return method === Method.get || method === Method.head || method === Method.put || method === Method.delete || method === Method.options || method === Method.trace
}

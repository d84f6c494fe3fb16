/**
 * A client's HTTP/1.1 connection: reads one request after the other, strictly, and gives each to its exchange (`exchange.ts`);
 * answers itself what cannot go on; ends so that nothing is lost. The object lives as long as the connection; nothing is
 * allocated per request but what the kernel did not take.
 */
import { ListenerField, type ErrorCode } from '../shared.ts'
import type { ListenerRuntime, Runtime, Timed } from '../runtime.ts'
import { Tunnel } from '../tcp/tunnel.ts'
import { certificateFields } from '../tls/client-certificate.ts'
import type { Connection, ConnectionOwner } from '../transport/transport.ts'
import { Body, Framing } from './body.ts'
import { ascii } from './bytes.ts'
import type { Action } from './action.ts'
import type { SourceKey } from '../filters/filters.ts'
import { answerFor, type Answer, codeOfFault, rateLimitedAnswer } from './errors.ts'
import { Exchange } from './exchange.ts'
import { Phase, type ExchangeClient } from './exchange-client.ts'
import { refusedPath } from '../route/matcher.ts'
import { HeadScanner, Method, type Head } from './head.ts'
import type { MemberPool } from './member.ts'
import { PendingBytes } from './pending.ts'

/** Where the request is. */
const Request = { idle: 0, head: 1, body: 2, complete: 3 } as const

/** Pipelined bytes kept while an exchange goes on; more waits in the kernel. */
const maxPendingBytes = 64 * 1024
/** After an early answer: how long the rest of a request is read and thrown away, so that the answer is not lost to a reset. */
const lingerMs = 2000

const crlfcrlf = ascii('\r\n\r\n')

export class HttpClient implements ConnectionOwner, ExchangeClient, Timed {
  readonly connection: Connection
  readonly address: Uint8Array
  readonly secure: boolean
  readonly certificateFields: Uint8Array | undefined
  lastExchange = false
  congested = false
  activeMs: number

  readonly #runtime: Runtime
  readonly #listener: ListenerRuntime
  readonly #gone: (client: HttpClient) => void
  readonly #exchange: Exchange

  #request: number = Request.idle
  readonly #body = new Body()
  /** Of the request, for answers of Haechi's own. */
  #method = 0
  #minor = 1

  /** Bytes received and not yet used: part of a head, a body before its member is connected, the next request. */
  readonly #pending = new PendingBytes()
  readonly #scanner = new HeadScanner()
  #paused = false
  /** The client has sent its last byte. */
  #clientEnded = false
  /** The one empty line that is ignored before a request has been. */
  #emptyLine = false

  #headSinceMs: number
  #lingering = false
  #tunnel: Tunnel | undefined
  #finished = false
  /** Whom it counts for in rate limits, once one has asked. */
  #source: SourceKey | undefined

  constructor(runtime: Runtime, listener: ListenerRuntime, members: MemberPool, connection: Connection, gone: (client: HttpClient) => void) {
    this.#runtime = runtime
    this.#listener = listener
    this.connection = connection
    this.#gone = gone
    this.address = ascii(connection.remoteAddress)
    const { tls } = connection
    this.secure = tls !== undefined
    this.certificateFields = tls !== undefined && listener.plan.tls?.forwardHeaders === true ? certificateFields(tls) : undefined
    this.activeMs = runtime.nowMs
    this.#headSinceMs = runtime.nowMs
    this.#exchange = new Exchange(runtime, listener, members, this)
    connection.owner = this
    runtime.timed.add(this)
  }

  /** The listener goes away: end now if nothing is going on, else after the current exchange. */
  drain(): void {
    if (this.#exchange.phase === Phase.none && this.#request === Request.idle) this.#end()
    else this.lastExchange = true
  }

  /** A shutdown that has waited long enough. */
  close(): void {
    this.#tunnel?.close()
    this.connection.close()
  }

  // — bytes of the client —

  connected(): void {
    // Accepted connections are.
  }

  received(_connection: Connection, buffer: Buffer, start: number, end: number): void {
    this.activeMs = this.#runtime.nowMs
    this.#runtime.shared.addListener(this.#listener.plan.slot, ListenerField.bytesIn, end - start)
    if (this.#lingering) return
    const { phase } = this.#exchange
    if (this.#pending.length > 0 || phase === Phase.connecting || this.#request === Request.complete || (this.congested && phase === Phase.none)) {
      this.#stash(buffer, start, end)
      if (phase === Phase.none && !this.congested) this.#usePending()
    } else {
      this.#use(buffer, start, end)
    }
  }

  /** Uses bytes as far as they can be used now, and keeps the rest. */
  #use(buffer: Buffer, start: number, end: number): void {
    const exchange = this.#exchange
    let at = start
    while (at < end) {
      if (this.#request === Request.body && exchange.phase >= Phase.awaited) {
        at = this.#sendBody(buffer, at, end)
        if (at < 0) return
      } else if (this.#request <= Request.head && exchange.phase === Phase.none && !this.congested && !this.#lingering && !this.#finished) {
        const next = this.#readHead(buffer, at, end)
        if (next < 0) return
        at = next
      } else break
    }
    if (at < end && !this.#lingering && !this.#finished) this.#stash(buffer, at, end)
    if (this.#clientEnded) this.#bodyCutShort()
  }

  #stash(buffer: Buffer, start: number, end: number): void {
    this.#pending.add(buffer, start, end)
    if (this.#request !== Request.head && this.#pending.length >= maxPendingBytes) this.#pause()
  }

  #usePending(): void {
    if (this.#pending.length === 0) return
    // A head that comes in many pieces stays where it is until its end is there: each byte is looked at and copied once.
    if (
      this.#request === Request.head && this.#pending.length < this.#listener.plan.maxHeadBytes &&
      this.#scanner.scan(this.#pending.bytes, 0, this.#pending.length) === 0
    ) return
    const { length } = this.#pending
    this.#use(this.#pending.take(), 0, length)
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.connection.pause()
  }
  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.connection.resume()
  }

  // — a request —

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
    if (buffer === this.#pending.bytes) return -1
    this.#pending.clear()
    this.#stash(buffer, start, end)
    return -1
  }

  #refuse(code: ErrorCode): number {
    // There is no method: an earlier HEAD must not take this answer's body away.
    this.#method = Method.other
    this.lastExchange = true
    this.#exchange.arrive(-1)
    this.#answer(code)
    return -1
  }

  #begin(head: Head, buffer: Buffer): void {
    const { matcher, actions, filters, closing } = this.#listener
    this.#method = head.method
    this.#minor = head.minor
    this.lastExchange = this.lastExchange || closing || head.close || (head.minor === 0 && !head.keepAlive)
    this.#emptyLine = false
    this.#body.begin(head.chunked ? Framing.chunked : head.contentLength > 0 ? Framing.length : Framing.none, head.contentLength)
    this.#request = this.#body.done ? Request.complete : Request.body
    const route = matcher.match(head, buffer, this.address)
    this.#exchange.arrive(route < 0 ? -1 : route)
    this.#exchange.observe(head, buffer)
    if (route === refusedPath) return this.#answer('bad-request')
    if (filters.atRequest) {
      const waitMs = filters.refuse(route, head, buffer, (this.#source ??= filters.sourceOf(this.connection.remoteAddress)), this.#exchange.arrivedMs)
      if (waitMs > 0) return this.#answer('rate-limited', rateLimitedAnswer(waitMs))
    }
    const action = actions[route < 0 ? actions.length - 1 : route]!
    if (action.answers) return this.#answerByRoute(action, head, buffer)
    const pool = action.choose(this.address)
    if (pool === undefined) this.#answer('no-route')
    else this.#exchange.begin(pool, action, head, buffer)
  }

  /**
   * Passes body bytes on.
   * @returns the position after what belongs to this request, or -1 when it was malformed
   */
  #sendBody(buffer: Buffer, start: number, end: number): number {
    const to = this.#body.read(buffer, start, end)
    if (to < 0) {
      // What went on so far has no end: the member must see it break off.
      this.#exchange.abandon()
      this.lastExchange = true
      this.exchangeFailed('body-malformed')
      return -1
    }
    if (this.#body.done) this.#request = Request.complete
    if (!this.#exchange.sendBody(buffer, start, to)) this.#pause()
    return to
  }

  // — what the exchange says —

  get requestComplete(): boolean {
    return this.#request === Request.complete
  }

  memberAwaited(): void {
    if (this.#request === Request.body) this.#pause()
  }

  memberReady(): void {
    this.#resume()
    if (this.#request === Request.body) this.#usePending()
  }

  memberDrained(): void {
    this.#resume()
  }

  exchangeDone(): void {
    this.#next()
  }

  exchangeFailed(code: ErrorCode): void {
    if (!this.#exchange.started) return this.#answer(code)
    // Part of an answer is out: only a failure of the connection tells the client that it is not whole.
    this.#runtime.error(this.#listener, code)
    this.#exchange.finish(code)
    this.#breakOff()
    this.connection.abort()
  }

  exchangeSwitched(member: Connection, slot: number, over: () => void): void {
    this.#runtime.timed.delete(this)
    const { length } = this.#pending
    const pending = this.#pending.take()
    this.#tunnel = new Tunnel(this.#runtime, this.#listener, this.connection, member, slot, (error) => {
      if (error !== '') this.#runtime.error(this.#listener, error)
      this.#exchange.bytesIn += this.#tunnel!.bytesIn
      this.#exchange.bytesOut += this.#tunnel!.bytesOut
      this.#exchange.finish(error)
      over()
      this.#finish()
    }, this.#exchange.tunnelMs)
    // That has been counted when it came.
    if (length > 0) this.#tunnel.sendEarly(pending, length)
    if (this.#clientEnded) this.#tunnel.ended(this.connection)
  }

  /** Everything that was written to the client has been taken by the kernel. */
  drained(): void {
    this.activeMs = this.#runtime.nowMs
    this.congested = false
    if (this.#lingering) this.#headSinceMs = this.#runtime.nowMs
    else if (this.#exchange.memberPaused) this.#exchange.resumeMember()
    else if (this.#exchange.phase === Phase.none && !this.#finished) this.#proceed()
  }

  // — answers of Haechi's own —

  #answer(code: ErrorCode, answer = this.#exchange.pool?.health.answerFor(code) ?? answerFor(code)): void {
    this.#runtime.error(this.#listener, code)
    if (answer === undefined) {
      this.#exchange.finish(code)
      return this.connection.close()
    }
    if (this.#request !== Request.complete || this.#minor === 0) this.lastExchange = true
    this.#send(answer, code)
  }

  /** A route answers itself: a redirect or a fixed response. */
  #answerByRoute(action: Action, head: Head, buffer: Buffer): void {
    if (this.#request !== Request.complete || this.#minor === 0) this.lastExchange = true
    const { redirection } = action
    if (redirection === undefined) return this.#send(action.answer!, '')
    const bytes = redirection.answer(head, buffer, this.#listener.matcher, this.lastExchange)
    this.#sendBytes(redirection.status, bytes, '')
  }

  #send(answer: Answer, code: ErrorCode | ''): void {
    const withoutBody = this.#method === Method.head
    const bytes = this.lastExchange
      ? withoutBody ? answer.closeHead : answer.close
      : withoutBody ? answer.keepHead : answer.keep
    this.#sendBytes(answer.status, bytes, code)
  }

  #sendBytes(status: number, bytes: Buffer, code: ErrorCode | ''): void {
    const { shared } = this.#runtime
    const { slot } = this.#listener.plan
    shared.addListener(slot, ListenerField.status1 + Math.floor(status / 100) - 1, 1)
    shared.addListener(slot, ListenerField.bytesOut, bytes.length)
    if (!this.connection.write(bytes)) this.congested = true
    this.#exchange.status = status
    this.#exchange.bytesOut += bytes.length
    this.#exchange.finish(code)
    this.#method = Method.other
    this.#next()
  }

  // — from one exchange to the next, and ends —

  /** Begins the next exchange, or ends the connection. */
  #next(): void {
    const complete = this.#request === Request.complete
    this.#exchange.rest()
    if (this.lastExchange || !complete) {
      if (complete && this.#pending.length === 0) this.#end()
      else this.#linger()
      return
    }
    this.#request = Request.idle
    this.#headSinceMs = this.#runtime.nowMs
    if (!this.congested) this.#proceed()
  }

  /** Goes on to what the client has sent meanwhile. */
  #proceed(): void {
    this.#resume()
    if (this.#pending.length > 0) this.#usePending()
    if (this.#clientEnded && this.#exchange.phase === Phase.none && !this.#lingering) this.#end()
  }

  /** Sends everything, then closes. */
  #end(): void {
    this.#request = Request.complete
    if (this.#clientEnded) {
      this.connection.end()
      if (this.connection.flushed) this.connection.close()
      else this.#linger()
      return
    }
    this.#linger()
  }

  /** Half-closes and throws away what still arrives, for a bounded time. */
  #linger(): void {
    if (this.#lingering) return
    this.#lingering = true
    this.#pending.clear()
    this.#headSinceMs = this.#runtime.nowMs
    this.connection.end()
    this.#paused = true
    this.#resume()
  }

  /** No exchange any more: what the connection's end brings is not counted as another error. */
  #breakOff(): void {
    this.#exchange.abandon()
    this.#lingering = true
  }

  ended(): void {
    this.#clientEnded = true
    if (this.#lingering) {
      // What is still to be sent is sent first; both directions ended, it closes by itself.
      if (this.connection.flushed) this.connection.close()
      return
    }
    if (this.#exchange.phase === Phase.none && this.#request <= Request.head) {
      // Between requests that is how a client says goodbye; within a head it is a truncated request.
      if (this.#request === Request.head) this.#runtime.error(this.#listener, 'client-closed')
      // Requests that wait until an answer has been taken are still served.
      if (!this.congested) this.#end()
      return
    }
    this.#bodyCutShort()
  }

  /** The client has ended. A half-close after the whole request is allowed; the rest of a body that is not here will never come. */
  #bodyCutShort(): void {
    if (this.#request !== Request.body || this.#pending.length > 0 || this.#lingering || this.#finished) return
    this.#runtime.error(this.#listener, 'client-closed')
    this.#exchange.finish('client-closed')
    this.#breakOff()
    this.connection.close()
  }

  closed(): void {
    if (this.#exchange.phase !== Phase.none) {
      this.#runtime.error(this.#listener, 'client-closed')
      this.#exchange.finish('client-closed')
      this.#exchange.abandon()
    }
    this.#finish()
  }

  #finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#runtime.timed.delete(this)
    this.#runtime.shared.closeConnection(this.#listener.plan.slot)
    this.#exchange.clientGone()
    this.#pending.clear()
    this.#gone(this)
  }

  // — deadlines —

  sweep(nowMs: number): void {
    const { plan } = this.#listener
    const exchange = this.#exchange
    if (this.#lingering) {
      // As long as it takes what was written, a slow client is not cut off.
      if (nowMs - this.#headSinceMs >= (this.connection.flushed ? lingerMs : Math.max(lingerMs, plan.clientIdleMs))) this.connection.close()
      return
    }
    const silentMs = nowMs - this.activeMs
    if (exchange.phase === Phase.none) {
      if (this.congested) {
        if (silentMs < plan.clientIdleMs) return
        this.#runtime.error(this.#listener, 'client-timeout')
        this.#breakOff()
        this.connection.abort()
      } else if (this.#request === Request.idle) {
        if (nowMs - this.#headSinceMs >= plan.keepAliveMs) this.connection.close()
      } else if (this.#request === Request.head && nowMs - this.#headSinceMs >= plan.requestHeadMs) this.#refuse('request-timeout')
      return
    }
    if (exchange.endIfDrained()) return
    if (nowMs >= exchange.deadlineMs) return exchange.expire()
    // The client does not send the rest of its request, or does not read its answer.
    const waitsForClient = exchange.phase !== Phase.connecting && ((this.#request === Request.body && !this.#paused) || exchange.memberPaused)
    if (!waitsForClient) return exchange.sweep(silentMs)
    if (silentMs < plan.clientIdleMs) return
    exchange.abandon()
    this.lastExchange = true
    this.exchangeFailed('client-timeout')
  }
}

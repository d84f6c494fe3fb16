/**
 * One request and its answer, as far as the member is concerned: choose one → connect or take a kept connection → pass the head
 * and the body on (`exchange-request.ts`) → read the answer strictly → pass it back with backpressure, or try another member. Belongs
 * to one client's connection, which uses it for one request after the other.
 */
import { ListenerField, MemberField, type ErrorCode } from '../shared.ts'
import { Body, Framing, framingOfAnswer, isKept } from './body.ts'
import { ascii } from './bytes.ts'
import { Phase } from './exchange-client.ts'
import { ExchangeRequest } from './exchange-request.ts'
import { isIdempotent, type Head } from './head.ts'
import { writeResponseHead } from './rewrite.ts'

const maxInterimResponses = 16

/** For what the proxy itself adds to the head of an answer: its own fields, a cookie, a request id. */
const answerRoomBytes = 8 * 1024

const continueLine = ascii('HTTP/1.1 100 Continue\r\n\r\n')

export class Exchange extends ExchangeRequest {
  readonly #body = new Body()
  #memberKeeps = false
  #chunksToClient = true

  // — from the member —

  memberReceived(buffer: Buffer, start: number, end: number): void {
    this.client.activeMs = this.runtime.nowMs
    if (this.phase === Phase.awaited) this.#readHead(buffer, start, end)
    else if (this.phase === Phase.body) this.#passBody(buffer, start, end)
    else this.abandon()
  }

  #readHead(piece: Buffer, pieceStart: number, pieceEnd: number): void {
    const { plan } = this.listener
    const reader = this.reader
    const head = this.runtime.responseHead
    reader.take(piece, pieceStart, pieceEnd)
    for (;;) {
      const found = reader.next(head, plan.maxHeadBytes, plan.maxHeaders)
      if (found < 0) return this.#badResponse()
      if (found === 0) return
      const { buffer, start, end } = reader
      if (head.status >= 200 || head.status === 101) {
        reader.reset()
        const { health } = this.pool!
        if (health.counts) health.answered(this.slot(), head.status)
        if (head.status === 101) this.#switchProtocols(head, buffer, start, end)
        else if (!this.action.retriesStatus(head.status) || !this.#repeat(MemberField.errors)) this.#beginAnswer(head, buffer, start, end)
        return
      }
      if (++this.interims > maxInterimResponses) return this.#badResponse()
      if (this.minor === 1) this.#passInterim(head, buffer)
    }
  }

  #passInterim(head: Head, buffer: Buffer): void {
    if (head.status === 100 && head.count === 0) {
      if (!this.client.connection.write(continueLine)) this.client.congested = true
      return
    }
    this.#write(writeResponseHead(this.runtime.scratch, 0, head, buffer, { via: this.via(head), connection: '', chunked: false, dropLength: true }))
  }

  #beginAnswer(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    const { status } = head
    const client = this.client
    const framing = framingOfAnswer(head, this.method)
    const body = this.#body
    body.begin(framing, head.contentLength)
    this.#memberKeeps = isKept(head, framing)
    this.#chunksToClient = this.minor === 1
    // Without a length that the client can read, the connection's end is the body's end.
    if (framing === Framing.close || (framing === Framing.chunked && this.minor === 0)) client.lastExchange = true
    // An answer before the request's end: what the client still sends would be taken for a next request.
    if (!client.requestComplete) client.lastExchange = true
    this.started = true
    this.status = status
    this.answeredMs = performance.now()
    this.phase = Phase.body
    const { shared } = this.runtime
    shared.addListener(this.listener.plan.slot, ListenerField.status1 + Math.floor(status / 100) - 1, 1)
    if (status >= 500) shared.addMember(this.slot(), MemberField.errors, 1)
    if (this.pool!.measures) this.measured(status < 500)
    const { marks } = this.observer
    if (marks.responds) marks.dropFromAnswer(head, buffer)
    const { responseEdits } = this.action
    responseEdits?.drop(head, buffer)
    const scratch = this.runtime.scratchFor(head.end - head.start + (responseEdits?.size ?? 0) + answerRoomBytes)
    let length = writeResponseHead(scratch, 0, head, buffer, {
      via: this.via(head),
      connection: client.lastExchange ? 'close' : this.minor === 0 ? 'keep-alive' : '',
      chunked: head.chunked && status !== 204 && this.minor === 1,
      dropLength: status === 204,
    })
    if (responseEdits !== undefined) length = responseEdits.append(scratch, length)
    length = this.stickTo(head, buffer, length)
    if (marks.responds && this.note !== undefined) length = marks.appendToAnswer(scratch, length, this.note)
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
    this.runtime.shared.addListener(this.listener.plan.slot, ListenerField.bytesOut, length)
    this.bytesOut += length
    const ok = this.runtime.writeScratch(this.client.connection, length)
    if (!ok) this.client.congested = true
    return ok
  }

  #passBody(buffer: Buffer, start: number, end: number): void {
    const body = this.#body
    const { connection } = this.client
    const to = body.read(buffer, start, end)
    if (to < 0) return this.#badResponse()
    let ok = true
    if (body.framing === Framing.chunked && !this.#chunksToClient) {
      const { spans } = body
      for (let i = 0; i < spans.length; i += 2) ok = this.runtime.forward(connection, buffer, spans[i]!, spans[i + 1]!)
    } else ok = this.runtime.forward(connection, buffer, start, to)
    this.runtime.shared.addListener(this.listener.plan.slot, ListenerField.bytesOut, to - start)
    this.bytesOut += to - start
    if (!ok) this.client.congested = true
    if (body.done) this.#done(end > to)
    else if (!ok) this.#pauseMember()
  }

  #pauseMember(): void {
    if (this.memberPaused || this.connected === undefined) return
    this.memberPaused = true
    this.connected.connection.pause()
  }

  /** The client has taken everything. */
  resumeMember(): void {
    if (!this.memberPaused) return
    this.memberPaused = false
    this.connected?.connection.resume()
  }

  #switchProtocols(head: Head, buffer: Buffer, bodyStart: number, end: number): void {
    if (!this.upgrade || !head.upgrade) return this.#badResponse()
    const member = this.connected!
    const slot = this.slot()
    const { index, pool } = this
    const { shared } = this.runtime
    shared.addListener(this.listener.plan.slot, ListenerField.status1, 1)
    if (this.pool!.measures) this.measured(true)
    this.status = 101
    this.answeredMs = performance.now()
    const length = writeResponseHead(this.runtime.scratch, 0, head, buffer, { via: this.via(head), connection: '', chunked: false, dropLength: true })
    this.#write(this.stickTo(head, buffer, length))
    if (end > bodyStart) {
      shared.addListener(this.listener.plan.slot, ListenerField.bytesOut, end - bodyStart)
      this.runtime.forward(this.client.connection, buffer, bodyStart, end)
    }
    member.user = undefined
    // The member's place is taken until the tunnel ends.
    this.index = -1
    this.release()
    this.phase = Phase.none
    this.client.exchangeSwitched(member.connection, slot, () => pool!.release(index))
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
    if (this.phase === Phase.connecting) {
      if (error !== 'EMFILE' && error !== 'ENFILE') return this.#connectFailed(error.startsWith('tls ') ? 'member-tls-failed' : 'member-connect-failed')
      // Not the member's fault, and another one would not help.
      this.abandon()
      return this.client.exchangeFailed('descriptor-limit')
    }
    if (this.phase === Phase.body && this.#body.framing === Framing.close && error === '') {
      this.#memberKeeps = false
      return this.#done(false)
    }
    this.#memberFailed()
  }

  /** The connection to the chosen member could not be made: nothing was sent, so another may be tried. */
  #connectFailed(code: ErrorCode): void {
    const pool = this.pool!
    this.runtime.shared.addMember(this.slot(), MemberField.connectFailures, 1)
    if (pool.measures) this.measured(false)
    if (pool.health.counts) pool.health.failed(this.slot())
    this.abandon()
    const { retries } = this.action
    const again = retries === undefined
      ? this.tried.length <= pool.plan.retries
      : retries.onConnectFailure && this.tried.length <= retries.attempts && this.#mayRetry()
    if (again) {
      this.index = this.choose(pool)
      if (this.index >= 0) {
        this.member = this.index
        this.chosenMs = performance.now()
        this.#count(ListenerField.retries)
        return this.reach(true)
      }
    }
    this.client.exchangeFailed(code)
  }

  /** The member broke off. */
  #memberFailed(): void {
    const member = this.connected
    const kept = member !== undefined && member.uses > 1
    if (kept && this.phase === Phase.awaited && this.interims === 0 && this.reader.empty && !this.hasBody && isIdempotent(this.method)) {
      // A kept connection that the member was closing just then: nothing was answered, so the request goes out again.
      member.discard()
      this.connected = undefined
      this.tried.pop()
      return this.reach(false)
    }
    if (this.phase === Phase.awaited && this.action.retries?.onReset === true && this.#repeatFailed()) return
    this.#fail('member-closed')
  }

  /**
   * Sends the request to another member, if its route wants that, the budget allows it, and a repetition is safe (RFC 9110 §9.2.2): an
   * idempotent method, and a body that is here whole as far as it came.
   * @param field what counts at the member that is given up
   * @returns false: all is as before
   */
  #repeat(field: number): boolean {
    const { retries } = this.action
    const pool = this.pool!
    if (retries === undefined || this.tried.length > retries.attempts || this.upgrade || !isIdempotent(this.method)) return false
    if (this.hasBody && this.keptBody?.isWithin(retries.maxBodyBytes) !== true) return false
    if (!this.#mayRetry()) return false
    const next = this.choose(pool)
    if (next < 0) return false
    this.runtime.shared.addMember(this.slot(), field, 1)
    if (pool.measures) this.measured(false)
    this.abandon()
    this.index = next
    this.member = next
    this.chosenMs = performance.now()
    this.#count(ListenerField.retries)
    this.reach(true)
    return true
  }

  /** Whether the budget of the route allows another retry. */
  #mayRetry(): boolean {
    if (this.action.budget!.take(this.runtime.nowMs)) return true
    this.#count(ListenerField.retriesRefused)
    return false
  }

  #count(field: number): void {
    this.runtime.shared.addListener(this.listener.plan.slot, field, 1)
  }

  #badResponse(): void {
    this.#fail('bad-member-response')
  }

  #fail(code: ErrorCode): void {
    this.runtime.shared.addMember(this.slot(), MemberField.errors, 1)
    const pool = this.pool!
    if (pool.measures) this.measured(false)
    if (pool.health.counts) pool.health.failed(this.slot())
    this.abandon()
    this.client.exchangeFailed(code)
  }

  /** The answer is complete. `excess`: the member sent more than that, so its connection cannot be trusted. */
  #done(excess: boolean): void {
    const member = this.connected
    if (member !== undefined) {
      // What the kernel has not taken yet is in this exchange's buffer, which the next request writes anew.
      if (this.#memberKeeps && !excess && this.client.requestComplete && member.usable && member.connection.flushed) {
        if (this.memberPaused) member.connection.resume()
        if (this.pool!.plan.proxyVersion === 0) this.members.give(member, this.pool!.plan)
        else {
          this.clientGone()
          member.user = undefined
          this.own = member
        }
      } else member.discard()
    }
    this.release()
    this.phase = Phase.none
    this.finish('')
    this.client.exchangeDone()
  }

  /** The member's deadlines. `silentMs`: for so long nothing has moved. */
  sweep(silentMs: number): void {
    const pool = this.pool!.plan
    if (this.ticket !== undefined) return
    if (this.phase === Phase.connecting) {
      if (silentMs >= pool.connectMs) this.#connectFailed('member-connect-timeout')
    } else if (silentMs >= (this.action.serverIdleMs === 0 ? pool.serverIdleMs : this.action.serverIdleMs)) {
      if (this.phase === Phase.awaited && this.action.retries?.onTimeout === true && this.#repeatFailed()) return
      this.#fail('member-timeout')
    }
  }

  /** `repeat` after a failure that no answer has told: it counts against the member all the same. */
  #repeatFailed(): boolean {
    const { health } = this.pool!
    const slot = this.slot()
    if (!this.#repeat(MemberField.errors)) return false
    if (health.counts) health.failed(slot)
    return true
  }

  /** Between exchanges: keeps no table, and no large buffer. */
  rest(): void {
    this.pool = undefined
    this.action = this.listener.actions.at(-1)!
    this.keptBody?.rest()
    this.head.rest()
  }
}

/**
 * Copies of requests to a shadow pool: sent and forgotten. Nothing of the client waits for them: their answers are read to their
 * end and thrown away, their failures are counted at the shadow's members only, and when too many are under way a copy is not made.
 */
import { MemberField } from '../shared.ts'
import type { PoolRuntime } from '../pool.ts'
import type { Runtime, Timed } from '../runtime.ts'
import { proxyHeader } from '../tcp/proxy-protocol.ts'
import { AnswerReader } from './answer-reader.ts'
import { Body, Framing, framingOfAnswer, isKept } from './body.ts'
import { Head } from './head.ts'
import type { MemberConnection, MemberPool, MemberUser } from './member.ts'

/** Copies under way at once on one worker. */
export const maxCopies = 64

/** Limits for answers that nobody reads. */
const maxHeadBytes = 65_536
const maxHeaders = 1000

export class Mirrors implements Timed {
  readonly runtime: Runtime
  readonly members: MemberPool
  readonly #copies = new Set<Copy>()
  readonly head = new Head()

  constructor(runtime: Runtime, members: MemberPool) {
    this.runtime = runtime
    this.members = members
    runtime.timed.add(this)
  }

  /**
   * Sends a copy, if there is room for one and a member for it.
   * @param method of `Method`. @param request head and body, whole; it belongs to the copy from here on
   * @returns false: it was left out
   */
  send(pool: PoolRuntime, method: number, request: Buffer): boolean {
    if (this.#copies.size >= maxCopies) return false
    // The key of the request is gone: a hash would send all copies to one member.
    const index = pool.pick([], (Math.random() * 2 ** 32) >>> 0)
    if (index < 0) return false
    const copy = new Copy(this, pool, index, method, request)
    this.#copies.add(copy)
    copy.begin()
    return true
  }

  over(copy: Copy): void {
    this.#copies.delete(copy)
  }

  sweep(nowMs: number): void {
    for (const copy of this.#copies) copy.sweep(nowMs)
  }
}

class Copy implements MemberUser {
  readonly #mirrors: Mirrors
  readonly #pool: PoolRuntime
  readonly #index: number
  readonly #method: number
  #request: Buffer
  #member: MemberConnection | undefined
  readonly #reader = new AnswerReader()
  readonly #body = new Body()
  #connected = false
  #answered = false
  #keeps = false
  #over = false
  #activeMs: number

  constructor(mirrors: Mirrors, pool: PoolRuntime, index: number, method: number, request: Buffer) {
    this.#mirrors = mirrors
    this.#pool = pool
    this.#index = index
    this.#method = method
    this.#request = request
    this.#activeMs = mirrors.runtime.nowMs
  }

  begin(): void {
    const { members } = this.#mirrors
    const plan = this.#pool.plan.members[this.#index]!
    const { proxyVersion } = this.#pool.plan
    if (proxyVersion !== 0) {
      // It is Haechi's own: nobody is behind it.
      this.#member = members.connect(plan, this, proxyHeader(proxyVersion, undefined))
      return
    }
    this.#member = members.take(plan, this)
    if (this.#member === undefined) this.#member = members.connect(plan, this)
    else this.memberConnected()
  }

  memberConnected(): void {
    this.#connected = true
    this.#activeMs = this.#mirrors.runtime.nowMs
    this.#count(MemberField.requests)
    this.#member!.connection.write(this.#request)
    this.#request = Buffer.alloc(0)
  }

  memberDrained(): void {
    this.#activeMs = this.#mirrors.runtime.nowMs
  }

  memberReceived(buffer: Buffer, start: number, end: number): void {
    this.#activeMs = this.#mirrors.runtime.nowMs
    if (this.#answered) return this.#skip(buffer, start, end)
    const reader = this.#reader
    const { head } = this.#mirrors
    reader.take(buffer, start, end)
    for (;;) {
      const found = reader.next(head, maxHeadBytes, maxHeaders)
      if (found < 0) return this.#fail(MemberField.errors)
      if (found === 0) return
      if (head.status < 200 && head.status !== 101) continue
      // A copy asks for no upgrade.
      if (head.status === 101) return this.#fail(MemberField.errors)
      break
    }
    this.#answered = true
    if (head.status >= 500) this.#count(MemberField.errors)
    const framing = framingOfAnswer(head, this.#method)
    this.#body.begin(framing, head.contentLength)
    this.#keeps = isKept(head, framing)
    const rest = reader.start
    const last = reader.end
    const from = reader.buffer
    reader.reset()
    if (this.#body.done) this.#done(last > rest)
    else if (last > rest) this.#skip(from, rest, last)
  }

  #skip(buffer: Buffer, start: number, end: number): void {
    const to = this.#body.read(buffer, start, end)
    if (to < 0) return this.#fail(MemberField.errors)
    if (this.#body.done) this.#done(end > to)
  }

  memberEnded(): void {
    if (this.#answered && this.#body.framing === Framing.close) this.#done(true)
    else this.#fail(MemberField.errors)
  }

  memberClosed(): void {
    if (this.#over) return
    if (this.#answered && this.#body.framing === Framing.close) this.#release()
    else this.#fail(this.#connected ? MemberField.errors : MemberField.connectFailures)
  }

  sweep(nowMs: number): void {
    const { connectMs, serverIdleMs } = this.#pool.plan
    if (nowMs - this.#activeMs >= (this.#connected ? serverIdleMs : connectMs)) this.#fail(this.#connected ? MemberField.errors : MemberField.connectFailures)
  }

  #done(excess: boolean): void {
    const member = this.#member!
    if (this.#keeps && !excess && this.#pool.plan.proxyVersion === 0 && member.usable && member.connection.flushed) this.#mirrors.members.give(member, this.#pool.plan)
    else member.discard()
    this.#release()
  }

  #fail(field: number): void {
    this.#count(field)
    this.#member?.discard()
    this.#release()
  }

  #count(field: number): void {
    this.#mirrors.runtime.shared.addMember(this.#pool.plan.members[this.#index]!.slot, field, 1)
  }

  #release(): void {
    if (this.#over) return
    this.#over = true
    this.#pool.release(this.#index)
    this.#member = undefined
    this.#mirrors.over(this)
  }
}

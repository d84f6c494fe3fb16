/**
 * Linearizable reads of this node (dissertation §6.4): the leader's core is asked for an index, over the stream if that is
 * another node. A read changes nothing, so it is asked again until it is answered or its time is over. Those that come
 * in while a question is under way share the next one: however many there are, one question a round trip.
 */
import type { ReadIndexResult } from './consensus.ts'
import type { Raft } from './core/raft.ts'
import type { ReadResult } from './core/types.ts'
import type { Clock, Network, Timer } from './environment.ts'

const timeoutMs = 3000
const retryEveryMs = 25
/** One question to the leader. It holds up all later ones, so its answer must not be waited for longer than any read waits. */
const answerTimeoutMs = 1000
/** Callers that wait on one node. */
const maxWaiting = 16_384

/** What the leader answers to `{ type: 'read-index' }`. */
export type ReadIndexReply = { readonly ok: true; readonly index: number } | { readonly ok: false; readonly detail: string }

export interface ReadsOptions {
  readonly raft: Raft
  readonly clock: Clock
  readonly request: Network['request']
  readonly pump: () => void
}

const noAnswer = { ok: false, detail: 'the leader did not answer in time' } as const

interface Waiter {
  readonly deadlineMs: number
  readonly resolve: (result: ReadIndexResult) => void
}

export class Reads {
  readonly #options: ReadsOptions
  /** What the core has accepted, by its number. */
  readonly #asked = new Map<number, (index: number | undefined) => void>()
  /** Not asked yet: they go with the next question. */
  #waiting: Waiter[] = []
  #underWay: readonly Waiter[] = []
  #why = 'no leader is known'
  #timer: Timer | undefined
  #stopped = false

  constructor(options: ReadsOptions) {
    this.#options = options
  }

  read(): Promise<ReadIndexResult> {
    if (this.#stopped) return Promise.resolve({ ok: false, code: 'stopped', detail: 'this node is stopping' })
    if (this.#waiting.length >= maxWaiting) return Promise.resolve({ ok: false, code: 'overloaded', detail: `${this.#waiting.length} reads are waiting` })
    return new Promise((resolve) => {
      this.#waiting.push({ deadlineMs: this.#options.clock.now() + timeoutMs, resolve })
      if (this.#underWay.length === 0 && this.#timer === undefined) this.#ask()
    })
  }

  /** A peer asks this node as the leader. */
  async serve(): Promise<ReadIndexReply> {
    const answer = this.#askCore()
    if (typeof answer === 'string') return { ok: false, detail: answer }
    const index = await answer
    return index === undefined ? { ok: false, detail: 'leadership has just changed' } : { ok: true, index }
  }

  /** Of `Ready`. */
  decided(results: readonly ReadResult[]): void {
    for (const { id, index, ok } of results) {
      const settle = this.#asked.get(id)
      this.#asked.delete(id)
      settle?.(ok ? index : undefined)
    }
  }

  /** Role or leader changed: those that wait for one need not wait for the next attempt. */
  changed(): void {
    if (this.#timer === undefined) return
    this.#options.clock.cancel(this.#timer)
    this.#timer = undefined
    if (this.#underWay.length === 0) this.#ask()
  }

  stop(): void {
    this.#stopped = true
    this.#options.clock.cancel(this.#timer)
    const all = [...this.#underWay, ...this.#waiting]
    this.#underWay = []
    this.#waiting = []
    for (const { resolve } of all) resolve({ ok: false, code: 'stopped', detail: 'this node is stopping' })
  }

  #askCore(): Promise<number | undefined> | string {
    const { raft, clock, pump } = this.#options
    const accepted = raft.read(clock.now())
    if (!accepted.ok) return accepted.detail
    return new Promise((resolve) => {
      this.#asked.set(accepted.id, resolve)
      pump()
    })
  }

  #ask(): void {
    if (this.#stopped || this.#waiting.length === 0) return
    this.#underWay = this.#waiting
    this.#waiting = []
    void this.#question().then((index) => {
      const asked = this.#underWay
      this.#underWay = []
      if (index !== undefined) for (const { resolve } of asked) resolve({ ok: true, index })
      else this.#again(asked)
      if (this.#timer === undefined) this.#ask()
    })
  }

  async #question(): Promise<number | undefined> {
    const { raft, request } = this.#options
    if (raft.role === 'leader') {
      const answer = this.#askCore()
      if (typeof answer !== 'string') return answer
      this.#why = answer
      return undefined
    }
    if (raft.leader === '') {
      this.#why = 'no leader is known'
      return undefined
    }
    const reply = request(raft.leader, { type: 'read-index' })
    if (reply === 'not-sent') {
      this.#why = `the leader ${raft.leader} is not connected`
      return undefined
    }
    const answer = await this.#inTime(reply)
    const { ok, index, detail } = (answer ?? {}) as { ok?: unknown; index?: unknown; detail?: unknown }
    if (ok === true && typeof index === 'number' && Number.isSafeInteger(index) && index >= 0) return index
    this.#why = typeof detail === 'string' ? detail : `the connection to ${raft.leader} broke`
    return undefined
  }

  async #inTime(reply: Promise<unknown>): Promise<unknown> {
    const { clock } = this.#options
    const { promise, resolve } = Promise.withResolvers<unknown>()
    const timer = clock.after(answerTimeoutMs, () => resolve(noAnswer))
    const answer = await Promise.race([reply, promise])
    clock.cancel(timer)
    return answer
  }

  #again(waiters: readonly Waiter[]): void {
    const { clock } = this.#options
    const now = clock.now()
    const left = waiters.filter(({ deadlineMs, resolve }) => {
      if (deadlineMs > now) return true
      resolve({ ok: false, code: this.#options.raft.leader === '' ? 'no-leader' : 'timeout', detail: this.#why })
      return false
    })
    this.#waiting = [...left, ...this.#waiting]
    if (this.#waiting.length === 0 || this.#stopped) return
    this.#timer = clock.after(retryEveryMs, () => {
      this.#timer = undefined
      if (this.#underWay.length === 0) this.#ask()
    })
  }
}

/**
 * One core under a microscope: the test plays its disk, its clock and all its peers. Nothing is durable until the test
 * says so, which makes visible what was sent too early.
 */
import { Raft } from '../core/raft.ts'
import type { RaftOptions, StoredEntry } from '../core/raft.ts'
import { balancedTiming } from '../core/types.ts'
import type { Entry, Membership, Message, NodeId, Ready } from '../core/types.ts'

type WithoutEnvelope<M> = M extends Message ? Omit<M, 'from' | 'to'> : never
export type Said = WithoutEnvelope<Message>

/** What has come out since the last `take`, several Readies in one. */
export interface Taken {
  hardState: Ready['hardState']
  append: Entry[]
  install: Ready['install']
  /** On the wire already. */
  sent: Message[]
  /** Leaves when `persist` is called. */
  held: Message[]
  committed: number[]
}

export class Solo {
  now: number
  readonly raft: Raft
  #written: { index: number; term: number } | undefined
  #install: Ready['install']

  /** `terms`: the stored log, one term for each entry from index 1 on. Timeouts are in the middle of their range. */
  constructor(id: NodeId, membership: Membership, options: Partial<RaftOptions> & { terms?: readonly number[] } = {}) {
    const { terms = [], ...rest } = options
    this.now = rest.now ?? 1000
    const entries: StoredEntry[] = terms.map((term, at) => ({ index: at + 1, term, type: 'command', bytes: 1 }))
    this.raft = new Raft({
      id, timing: balancedTiming, random: () => 0.5, now: this.now,
      hardState: { term: terms[terms.length - 1] ?? 0, vote: '' }, membership, snapshot: undefined, entries, ...rest,
    })
  }

  /** `from` says something to this node. */
  hear(from: NodeId, said: Said): void {
    this.raft.step({ ...said, from, to: this.raft.id } as Message, this.now)
  }

  /** Lets `ms` pass, in the steps that the core asks for. */
  pass(ms: number): void {
    const until = this.now + ms
    while (this.raft.nextDeadline() <= until) {
      this.now = Math.max(this.now, this.raft.nextDeadline())
      this.raft.tick(this.now)
    }
    this.now = until
  }

  take(): Taken {
    const taken: Taken = { hardState: undefined, append: [], install: undefined, sent: [], held: [], committed: [] }
    for (let ready = this.raft.ready(); ready !== undefined; ready = this.raft.ready()) {
      taken.hardState = ready.hardState ?? taken.hardState
      taken.append.push(...ready.append)
      taken.install = ready.install ?? taken.install
      taken.sent.push(...ready.immediate)
      taken.held.push(...ready.afterPersist)
      if (ready.committed !== undefined) {
        for (let index = ready.committed.from; index <= ready.committed.to; index += 1) taken.committed.push(index)
      }
    }
    const last = taken.append[taken.append.length - 1]
    if (last !== undefined) this.#written = { index: last.index, term: last.term }
    this.#install = taken.install ?? this.#install
    return taken
  }

  /** What was taken is durable now. */
  persist(): void {
    if (this.#install !== undefined) this.raft.installed(this.#install, this.now)
    if (this.#written !== undefined) this.raft.persisted(this.#written.index, this.#written.term, this.now)
    this.#install = undefined
    this.#written = undefined
  }

  /** Takes and persists until nothing is left; returns everything that was sent. */
  flush(): Message[] {
    const all: Message[] = []
    for (;;) {
      const { sent, held, append, install, hardState, committed } = this.take()
      all.push(...sent, ...held)
      const count = sent.length + held.length + append.length + committed.length
      if (count === 0 && install === undefined && hardState === undefined) return all
      this.persist()
    }
  }

  /** Becomes leader of the next term by the votes of `voters`; the no-op is durable here, and not yet elsewhere. */
  lead(...voters: readonly NodeId[]): void {
    this.pass(Math.max(0, this.raft.nextDeadline() - this.now))
    this.flush()
    for (const voter of voters) this.hear(voter, { type: 'pre-vote-reply', term: this.raft.term + 1, granted: true })
    this.flush()
    for (const voter of voters) this.hear(voter, { type: 'vote-reply', term: this.raft.term, granted: true })
    this.flush()
    if (this.raft.role !== 'leader') throw new Error(`${this.raft.id} is ${this.raft.role}`)
  }

  /** `from` has everything up to `index`, durably. */
  acknowledge(from: NodeId, index = this.raft.lastIndex): void {
    const { term } = this.raft
    this.hear(from, { type: 'append-reply', term, ok: true, matchIndex: index, hintIndex: 0, hintTerm: 0 })
  }

  /** `from` answers the heartbeat with this sequence number. */
  beat(from: NodeId, sequence: number): void {
    this.hear(from, { type: 'heartbeat-ack', term: this.raft.term, sequence, lastIndex: this.raft.lastIndex })
  }
}

/** The messages of one type, narrowed. */
export function only<T extends Message['type']>(messages: readonly Message[], type: T): (Message & { type: T })[] {
  return messages.filter((message): message is Message & { type: T } => message.type === type)
}

export function commands(firstIndex: number, ...terms: readonly number[]): Entry[] {
  return terms.map((term, at) => ({ index: firstIndex + at, term, type: 'command', data: new Uint8Array([at]) }))
}

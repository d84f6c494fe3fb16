/**
 * The Raft core: one participant's view of the cluster as a pure machine. Input goes in through `step` (messages),
 * `tick` (time), `propose` and the driver's completions; what must be done about it comes out of `ready`. No clock, no
 * timer, no randomness, no I/O: the same inputs give the same outputs.
 *
 * Sources: Ongaro, "Consensus: Bridging Theory and Practice" (2014): §3 the algorithm, §3.10 leadership transfer, §4
 * membership, §6.2 check-quorum, §6.4.1 lease, §9.6 pre-vote. Rule numbers are those of the safety rules in the design;
 * `README.md` beside this file says what was decided where the sources leave room.
 */
import { Election } from './election.ts'
import { caughtUpEntries, Leadership } from './leadership.ts'
import type { TransferResult } from './leadership.ts'
import { checkTiming } from './lease.ts'
import { Log } from './log.ts'
import {
  changed, decodeMembership, encodeMembership, find, isSingleChange, isVoter, MembershipHistory,
} from './membership.ts'
import type { MembershipChange } from './membership.ts'
import type {
  CoreProposeResult, Preference, ProgressStatus, ProposeRefusal, RaftOptions, ReadAcceptance, ReadRefusal,
} from './options.ts'
import { Outbox } from './outbox.ts'
import { Preferred } from './preference.ts'
import type { Progress } from './progress.ts'
import { tally } from './quorum.ts'
import { Replication } from './replication.ts'
import { Stable } from './stable.ts'
import type {
  Entry, EntryType, Membership, Message, NodeId, NodeRole, Ready, Role, SnapshotMeta, Timing,
} from './types.ts'
import { isValidMessage } from './validate.ts'

export type { TransferResult } from './leadership.ts'
export type { MembershipChange } from './membership.ts'
export type {
  CoreProposeResult, Preference, ProgressStatus, ProposeRefusal, RaftOptions, ReadAcceptance, ReadRefusal, StoredEntry,
} from './options.ts'

/** Proposals beyond this are refused until earlier ones commit. */
const maxUncommittedEntries = 65_536
const maxUncommittedBytes = 64 * 1024 * 1024

const noBytes = new Uint8Array(0)

export class Raft {
  readonly id: NodeId
  readonly timing: Timing
  #now: number

  #role: Role = 'follower'
  #term: number
  #vote: NodeId
  #leader: NodeId = ''

  readonly #log: Log
  readonly #stable: Stable
  readonly #memberships: MembershipHistory
  readonly #outbox: Outbox
  #snapshot: SnapshotMeta | undefined
  #commitIndex: number
  /** Up to here `Ready.committed` has been handed out. */
  #handedIndex: number
  /** A received snapshot that is being written; until it is, the log accepts nothing. */
  #installing: SnapshotMeta | undefined
  #snapshotWanted = false

  readonly #election: Election
  #leading: Leadership | undefined
  readonly #preferred: Preferred
  #lostMemory = false

  /** Before the log reaches this index, this node does not know what it may have acknowledged in an earlier life. */
  readonly #demotedAtIndex: number
  #lastReadId = 0
  #invalidMessages = 0
  #violations = 0

  constructor(options: RaftOptions) {
    checkTiming(options.timing)
    this.id = options.id
    this.timing = options.timing
    this.#now = options.now
    this.#preferred = new Preferred(options.id, options.timing)
    this.#term = options.hardState.term
    this.#vote = options.hardState.vote
    this.#demotedAtIndex = options.demotedAtIndex ?? 0
    this.#snapshot = options.snapshot
    const base = options.snapshot?.index ?? 0
    this.#log = new Log(base, options.snapshot?.term ?? 0)
    this.#memberships = new MembershipHistory(base, options.snapshot?.membership ?? options.membership)
    for (const entry of options.entries) {
      if (entry.index <= base) continue
      if (entry.index !== this.#log.lastIndex + 1) {
        throw new Error(`raft: stored log has ${entry.index} after ${this.#log.lastIndex}`)
      }
      this.#log.append(entry.term, entry.bytes)
      if (entry.type !== 'membership') continue
      const membership = entry.data && decodeMembership(entry.data)
      if (membership === undefined) throw new Error(`raft: stored membership entry ${entry.index} is not readable`)
      this.#memberships.append(entry.index, membership)
    }
    if (this.#log.lastTerm > this.#term) {
      throw new Error(`raft: stored log has term ${this.#log.lastTerm}, but the stored term is ${this.#term}`)
    }
    this.#stable = new Stable(this.#log.lastIndex)
    this.#commitIndex = base
    this.#handedIndex = base
    this.#outbox = new Outbox('follower', this.#term)
    // What this node acknowledged before it was restarted is not known: wait as if it had been a moment ago (rule 3).
    // Only a lone voter that was itself the last leader (or is new) has nobody to wait for. A lone voter that was not
    // may have become one by the other's removing itself, and the other may still hold its lease.
    const wasLeader = this.#term === 0 || (this.#vote === this.id && this.#log.lastTerm === this.#term)
    const stickyMs = this.#isAlone() && wasLeader ? 0 : options.timing.minElectionMs
    this.#election = new Election(options.timing, options.random, options.now + stickyMs)
    this.#election.dueMs = this.#nextElection()
  }

  // ---- status -------------------------------------------------------------------------------------------------------

  get role(): Role {
    return this.#role
  }
  get term(): number {
    return this.#term
  }
  /** Whom this node voted for in `term`; empty string for nobody. */
  get vote(): NodeId {
    return this.#vote
  }
  /** Empty string when unknown. */
  get leader(): NodeId {
    return this.#leader
  }
  get commitIndex(): number {
    return this.#commitIndex
  }
  get lastIndex(): number {
    return this.#log.lastIndex
  }
  get firstIndex(): number {
    return this.#log.firstIndex
  }
  /** Everything up to here is durable on this node. */
  get stableIndex(): number {
    return this.#stable.index
  }
  get snapshotIndex(): number {
    return this.#snapshot?.index ?? 0
  }
  /** The one in force: of the newest membership entry in the log, committed or not. */
  get membership(): Membership {
    return this.#memberships.current
  }
  /** Index of the entry that brought it in; it is committed once `commitIndex` is not below. */
  get membershipIndex(): number {
    return this.#memberships.index
  }
  get nodeRole(): NodeRole | undefined {
    return find(this.membership, this.id)?.role
  }
  get transferring(): boolean {
    return this.#leading?.transfer !== undefined
  }
  /** Malformed messages dropped so far. */
  get invalidMessages(): number {
    return this.#invalidMessages
  }
  /** Messages dropped because they contradict what is committed or elected. Not zero: a peer has lost its memory. */
  get violations(): number {
    return this.#violations
  }
  /** See `Ready.lostMemory`. */
  get lostMemory(): boolean {
    return this.#lostMemory
  }
  /** Term of the entry at `index`; undefined outside the log. */
  termAt(index: number): number | undefined {
    return this.#log.termAt(index)
  }
  /** Payload bytes of the entries in `(after, to]`, both within the log. */
  bytesBetween(after: number, to: number): number {
    return this.#log.bytesBetween(after, to)
  }
  /** The leader's view of a peer; undefined when not leader or not a peer. */
  progress(id: NodeId): ProgressStatus | undefined {
    return this.#leading?.replication.get(id)
  }

  /**
   * The right to answer for VIPs: only for a leader whose term has committed an entry and who has not given the lease
   * up. Counted from the *sending* of the newest heartbeat that a majority acknowledged (rule 2). Undefined when there
   * is none or it has run out, whatever happened since the last call (rule 6), and on a witness, which never holds a
   * VIP.
   */
  lease(now: number): { readonly term: number; readonly untilMs: number } | undefined {
    const leading = this.#leading
    // A leader that its log no longer lists is being removed: it is no `node` any more either.
    if (leading === undefined || this.#commitIndex < leading.noopIndex || this.nodeRole !== 'node') return undefined
    const untilMs = leading.quorumLeaseMs(this.membership, now)
    return untilMs > now ? { term: this.#term, untilMs } : undefined
  }

  // ---- time ---------------------------------------------------------------------------------------------------------

  /** The instant at which `tick` must be called. Changes with every input. */
  nextDeadline(): number {
    if (this.#leading !== undefined) return this.#leading.nextDeadline(this.membership, this.#now)
    if (this.#lostMemory) return Infinity
    return Math.min(this.#election.dueMs, this.#election.resendMs)
  }

  /** Lets time pass. Harmless when nothing is due. */
  tick(now: number): void {
    this.#advance(now)
    const leading = this.#leading
    if (leading !== undefined) {
      this.#tickLeader(leading)
    } else if (this.#lostMemory) {
      return
    } else if (this.#now >= this.#election.dueMs) {
      this.#campaign()
    } else if (this.#now >= this.#election.resendMs) {
      this.#sendVotes()
    }
  }

  #tickLeader(leading: Leadership): void {
    if (this.#now >= leading.quorumDueMs(this.membership, this.#now)) return this.#stepDown()
    const { transfer } = leading
    if (transfer !== undefined && this.#now >= transfer.deadlineMs) {
      this.#preferred.avoid(transfer.to, this.#now)
      return this.#stepDownForOthers()
    }
    if (this.#now < leading.heartbeatDueMs) return
    leading.replication.expire(this.#now)
    if (transfer !== undefined) transfer.asked = false
    leading.beat(this.#outbox, this.#commitIndex, this.#stable.index, this.#now)
    // Whom a read waited for may have been removed meanwhile, and nobody be left who answers.
    leading.confirmReads(this.membership, this.#outbox)
    this.#considerPromotion()
    this.#considerHandover()
    this.#considerPreemption()
  }

  /**
   * Asks for an index that is not below any that was committed, anywhere, before this call: whoever has applied up to
   * it may answer a linearizable read. The result comes in `Ready.reads`. By the lease at once, also on a witness;
   * without one, by the next round of heartbeats (dissertation §6.4, §6.4.1).
   */
  read(now: number): ReadAcceptance {
    this.#advance(now)
    const leading = this.#leading
    const refuse = (code: ReadRefusal, detail: string) => ({ ok: false, code, detail }) as const
    if (leading === undefined) return refuse('not-leader', 'not the leader')
    if (this.#commitIndex < leading.noopIndex) {
      return refuse('term-not-committed', 'no entry of this term has committed yet')
    }
    const id = this.#lastReadId + 1
    if (leading.quorumLeaseMs(this.membership, this.#now) > this.#now) {
      this.#outbox.read(id, this.#commitIndex, true)
    } else {
      if (!leading.mayWait) return refuse('overloaded', 'too many reads are waiting for a majority')
      leading.waitToRead(id, this.#commitIndex, this.#now)
      // A lone voter is its own majority.
      leading.confirmReads(this.membership, this.#outbox)
      this.#tickLeader(leading)
    }
    this.#lastReadId = id
    return { ok: true, id }
  }

  #advance(now: number): void {
    if (now > this.#now) this.#now = now
  }

  /** The only voter. */
  #isAlone(): boolean {
    const { voters } = this.membership
    return voters.length === 1 && voters[0]!.id === this.id
  }

  /** When this node campaigns unless it hears from a leader. */
  #nextElection(): number {
    if (this.#isAlone()) return Math.max(this.#now, this.#election.stickyUntilMs)
    // A witness lets the nodes go first: it would only hand over again.
    if (this.nodeRole === 'witness') return this.#now + this.#election.timeout() + this.timing.maxElectionMs
    return this.#now + this.#election.timeout(this.#preferred.turn(this.membership, this.#leader))
  }

  // ---- changes of role ----------------------------------------------------------------------------------------------

  #becomeFollower(term: number, leader: NodeId): void {
    const before = this.#role
    const leading = this.#leading
    if (leading !== undefined && !leading.leaseGivenUp) {
      // This node acknowledged its own heartbeats: like every voter of that quorum it must not help to elect another
      // leader while the lease that they gave may still be in force.
      this.#election.stickTo(leading.quorumSentMs(this.membership, this.#now))
    }
    leading?.failReads(this.#outbox)
    this.#outbox.transferWanted = undefined
    this.#role = 'follower'
    this.#leader = leader
    this.#leading = undefined
    this.#election.end()
    if (term > this.#term) this.#enterTerm(term, '')
    if (before === 'leader') this.#election.dueMs = this.#nextElection()
    else if (before !== 'follower') this.#election.dueMs = this.#now + this.#election.pause()
  }

  #enterTerm(term: number, vote: NodeId): void {
    this.#term = term
    this.#vote = vote
    this.#outbox.hardState({ term, vote })
  }

  /** Stops leading within the term: the vote of the term stays cast. */
  #stepDown(): void {
    this.#becomeFollower(this.#term, '')
  }

  /** Stops leading because another node should: gives the others a head start. */
  #stepDownForOthers(): void {
    this.#stepDown()
    if (!this.#isAlone()) this.#election.dueMs += this.timing.maxElectionMs
  }

  /** Whether the log has all that this node may ever have acknowledged, see `RaftOptions.demotedAtIndex`. */
  get #remembers(): boolean {
    return this.#log.lastIndex >= this.#demotedAtIndex
  }

  #mayCampaign(): boolean {
    if (this.#installing !== undefined || this.#now < this.#election.stalledUntilMs || !this.#remembers) return false
    // A voter whose removal is in its log but not known to be committed may be the only one that can be elected
    // (§4.2.2).
    return this.#memberships.mayVote(this.id, this.#commitIndex)
  }

  /** Election timeout: ask first whether an election could be won, so that terms do not grow in vain (§9.6). */
  #campaign(): void {
    this.#leader = ''
    if (!this.#mayCampaign()) {
      this.#role = 'follower'
      this.#election.end()
      this.#election.dueMs = this.#now + this.#election.timeout()
      return
    }
    if (this.#now < this.#election.stickyUntilMs) {
      this.#election.dueMs = this.#election.stickyUntilMs
      return
    }
    this.#role = 'pre-candidate'
    this.#election.begin(this.id)
    if (tally(this.membership.voters, this.#election.answers) === 'won') return this.#elect(false)
    for (const { id } of this.membership.voters) {
      if (id === this.id) continue
      this.#outbox.send({
        type: 'pre-vote', from: this.id, to: id, term: this.#term + 1,
        lastIndex: this.#log.lastIndex, lastTerm: this.#log.lastTerm,
      })
    }
    this.#election.dueMs = this.#now + this.#election.pause()
  }

  #elect(transfer: boolean): void {
    this.#role = 'candidate'
    this.#leader = ''
    this.#enterTerm(this.#term + 1, this.id)
    this.#election.begin(this.id)
    this.#election.isTransfer = transfer
    if (tally(this.membership.voters, this.#election.answers) === 'won') return this.#becomeLeader()
    this.#election.voted(this.#now)
    this.#election.dueMs = this.#now + this.#election.campaignTimeout()
    this.#sendVotes()
  }

  /** Asks every voter that has not answered. They travel as datagrams, so they are repeated. */
  #sendVotes(): void {
    this.#election.resendMs = this.#now + this.timing.heartbeatMs
    for (const { id } of this.membership.voters) {
      if (this.#election.answers.has(id)) continue
      // Not before this node's own vote is durable: it counts for the majority that the answers complete (rule 7).
      this.#outbox.sendDurable({
        type: 'vote', from: this.id, to: id, term: this.#term,
        lastIndex: this.#log.lastIndex, lastTerm: this.#log.lastTerm, transfer: this.#election.isTransfer,
      })
    }
  }

  #becomeLeader(): void {
    this.#role = 'leader'
    this.#leader = this.id
    this.#election.settled()
    const replication = new Replication(this.id, this.#log, this.timing)
    replication.follow(this.membership, this.membershipIndex, this.#now)
    const leading = new Leadership({
      self: this.id, timing: this.timing, term: this.#term, replication, now: this.#now,
      noopIndex: this.#log.lastIndex + 1, votesDurable: this.#election.answers.size > 1,
    })
    this.#leading = leading
    this.#appendOwn('noop', noBytes)
    leading.beat(this.#outbox, this.#commitIndex, this.#stable.index, this.#now)
  }

  // ---- messages -----------------------------------------------------------------------------------------------------

  /** Takes in one message. Malformed ones are dropped and counted. */
  step(message: Message, now: number): void {
    this.#advance(now)
    if (this.#lostMemory) return
    if (!isValidMessage(message, this.id)) {
      this.#invalidMessages += 1
      return
    }
    if (message.type === 'pre-vote') return this.#onPreVote(message)
    if (message.type === 'pre-vote-reply') return this.#onPreVoteReply(message)
    if (message.term > this.#term) {
      if (!this.#followsTermOf(message)) return
    } else if (message.term < this.#term) {
      return this.#onOldTerm(message)
    }
    switch (message.type) {
      case 'vote': return this.#onVote(message)
      case 'vote-reply': return this.#onVoteReply(message)
      case 'heartbeat': return this.#onHeartbeat(message)
      case 'heartbeat-ack': return this.#onHeartbeatAck(message)
      case 'append': return this.#onAppend(message)
      case 'append-reply': return this.#onAppendReply(message)
      case 'snapshot': return void this.#acceptLeader(message.from)
      case 'snapshot-reply': return this.#onSnapshotReply(message)
      case 'timeout-now': return this.#onTimeoutNow(message)
      case 'snapshot-request': return this.#onSnapshotRequest(message)
    }
  }

  /** A message of a later term: whether it moves this node to that term. */
  #followsTermOf(message: Exclude<Message, { type: 'pre-vote' | 'pre-vote-reply' }>): boolean {
    switch (message.type) {
      case 'heartbeat':
      case 'append':
      case 'snapshot':
        this.#becomeFollower(message.term, message.from)
        return true
      case 'vote':
        // Stickiness covers the term as well: a node that is cut off from the leader, or was removed, must not end a
        // leadership by asking (rule 3, §4.2.3). A transfer's election was asked for by the leader itself.
        if ((!message.transfer && this.#sticks()) || !this.#remembers) return false
        this.#becomeFollower(message.term, '')
        return true
      case 'timeout-now':
      case 'snapshot-request':
        return false
      default:
        // Answers depose a leader only when they come from a participant.
        if (this.#leading !== undefined && this.#leading.replication.get(message.from) === undefined) return false
        this.#becomeFollower(message.term, '')
        return true
    }
  }

  /** An earlier term: tell a leader or candidate of the past what the term is, so that it cannot stay there. */
  #onOldTerm(message: Message): void {
    const { from } = message
    if (message.type === 'vote') {
      this.#outbox.sendDurable({ type: 'vote-reply', from: this.id, to: from, term: this.#term, granted: false })
    } else if (message.type === 'heartbeat') {
      this.#outbox.sendDurable({
        type: 'heartbeat-ack', from: this.id, to: from, term: this.#term,
        sequence: message.sequence, lastIndex: this.#log.lastIndex,
      })
    } else if (message.type === 'append' || message.type === 'snapshot') {
      this.#outbox.sendDurable({
        type: 'append-reply', from: this.id, to: from, term: this.#term, ok: false,
        matchIndex: 0, hintIndex: 0, hintTerm: 0,
      })
    }
  }

  /** Whether a leader (this node included) may hold a lease to which this node contributed. */
  #sticks(): boolean {
    if (this.#now < this.#election.stickyUntilMs) return true
    const leading = this.#leading
    return leading !== undefined && !leading.leaseGivenUp
      && this.#now < leading.quorumSentMs(this.membership, this.#now) + this.timing.minElectionMs
  }

  #isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.#log.lastTerm || (lastTerm === this.#log.lastTerm && lastIndex >= this.#log.lastIndex)
  }

  #onPreVote(message: Message & { type: 'pre-vote' }): void {
    const granted = this.#remembers && message.term > this.#term && this.#role !== 'leader' && !this.#sticks()
      && this.#now >= this.#election.graceUntilMs && this.#isUpToDate(message.lastIndex, message.lastTerm)
    // A refusal carries this node's own term: a candidate that is behind catches up and can then be granted.
    this.#outbox.send({
      type: 'pre-vote-reply', from: this.id, to: message.from, term: granted ? message.term : this.#term, granted,
    })
  }

  #onPreVoteReply(message: Message & { type: 'pre-vote-reply' }): void {
    if (this.#role !== 'pre-candidate') return
    if (message.granted) {
      if (message.term !== this.#term + 1) return
      this.#election.answers.set(message.from, true)
      if (tally(this.membership.voters, this.#election.answers) === 'won') this.#elect(false)
    } else if (message.term > this.#term) {
      this.#becomeFollower(message.term, '')
    }
  }

  #onVote(message: Message & { type: 'vote' }): void {
    const granted = this.#vote === message.from || (
      this.#remembers && this.#vote === '' && this.#leader === '' && this.#leading === undefined
      && (message.transfer || !this.#sticks()) && this.#isUpToDate(message.lastIndex, message.lastTerm)
    )
    if (granted) {
      if (this.#role !== 'follower') this.#becomeFollower(this.#term, '')
      if (this.#vote === '') {
        this.#enterTerm(this.#term, message.from)
        this.#election.voted(this.#now)
      }
      this.#election.dueMs = this.#nextElection()
    }
    this.#outbox.sendDurable({ type: 'vote-reply', from: this.id, to: message.from, term: this.#term, granted })
  }

  #onVoteReply(message: Message & { type: 'vote-reply' }): void {
    if (this.#role !== 'candidate') return
    this.#election.answers.set(message.from, message.granted)
    if (tally(this.membership.voters, this.#election.answers) === 'won') return this.#becomeLeader()
    // Somebody else is campaigning too, or has a longer log: do not sit out the whole timeout.
    if (!message.granted) {
      const again = this.#now + this.#election.pause() + this.timing.heartbeatMs
      this.#election.dueMs = Math.min(this.#election.dueMs, again)
    }
  }

  /** A message of this term's leader. False if this node knows another one, which cannot be. */
  #acceptLeader(from: NodeId): boolean {
    if (this.#role === 'leader' || (this.#leader !== '' && this.#leader !== from)) {
      this.#violations += 1
      return false
    }
    if (this.#role !== 'follower' || this.#leader !== from) this.#becomeFollower(this.#term, from)
    this.#election.heardLeader(this.#now)
    this.#election.dueMs = this.#nextElection()
    return true
  }

  #onHeartbeat(message: Message & { type: 'heartbeat' }): void {
    if (!this.#acceptLeader(message.from)) return
    if (message.commit > this.#log.lastIndex && this.#remembers) return this.#loseMemory()
    this.#commitTo(Math.min(message.commit, this.#log.lastIndex))
    this.#outbox.send({
      type: 'heartbeat-ack', from: this.id, to: message.from, term: this.#term,
      sequence: message.sequence, lastIndex: this.#log.lastIndex,
    })
  }

  /**
   * The commit index in a heartbeat is at most what this node has acknowledged to that leader in this term. Since then
   * its log agrees with the leader's up to there, so nothing can have truncated it; and no snapshot replaces what agrees.
   * So a log that is shorter now has been lost: by a disk that lied, or one that was put back. (An install under way has
   * set the end of the log to the snapshot's, which is not below anything that was acknowledged to this leader.)
   */
  #loseMemory(): void {
    this.#becomeFollower(this.#term, '')
    this.#lostMemory = true
    this.#outbox.lostMemory()
  }

  #onHeartbeatAck(message: Message & { type: 'heartbeat-ack' }): void {
    const leading = this.#leading
    if (leading === undefined) return
    leading.acknowledged(message.from, message.sequence, message.lastIndex, this.#now)
    leading.confirmReads(this.membership, this.#outbox)
  }

  #onTimeoutNow(message: Message & { type: 'timeout-now' }): void {
    // Only the current term's leader may ask: a stale one must not break a later leader's lease (rule 4).
    if (this.#role !== 'follower' || this.#leader !== message.from) return
    if (this.#mayCampaign()) this.#elect(true)
  }

  // ---- the log ------------------------------------------------------------------------------------------------------

  /** Appends to the log if this node leads. Membership entries go alone, see `changeMembership`. */
  propose(
    entries: readonly { readonly type: 'command' | 'membership'; readonly data: Uint8Array }[], now: number,
  ): CoreProposeResult {
    this.#advance(now)
    const leading = this.#leading
    if (leading === undefined) return { ok: false, code: 'not-leader', detail: 'not the leader' }
    if (leading.transfer !== undefined) {
      return { ok: false, code: 'transferring', detail: `handing over to ${leading.transfer.to}` }
    }
    const waiting = this.#log.lastIndex - this.#commitIndex
    if (waiting + entries.length > maxUncommittedEntries
      || this.#log.bytesBetween(this.#commitIndex, this.#log.lastIndex) > maxUncommittedBytes) {
      return { ok: false, code: 'overloaded', detail: `${waiting} entries are waiting to be committed` }
    }
    const membershipEntry = entries.find(entry => entry.type === 'membership')
    if (membershipEntry !== undefined) {
      const refusal = this.#refuseMembership(entries.length, membershipEntry.data, leading)
      if (refusal !== undefined) return refusal
    }
    const firstIndex = this.#log.lastIndex + 1
    for (const entry of entries) this.#appendOwn(entry.type, entry.data)
    return { ok: true, firstIndex, term: this.#term }
  }

  #refuseMembership(
    count: number, data: Uint8Array, leading: Leadership,
  ): (CoreProposeResult & { ok: false }) | undefined {
    const refuse = (code: ProposeRefusal, detail: string) => ({ ok: false, code, detail }) as const
    if (count !== 1) return refuse('invalid-membership', 'a membership entry goes alone')
    const membership = decodeMembership(data)
    if (membership === undefined || !isSingleChange(this.membership, membership)) {
      return refuse('invalid-membership', 'not a single change of the membership')
    }
    // The 2015 correction: without an entry of this term, a change that an earlier leader left behind could still
    // commit beside this one, and their majorities need not intersect.
    if (this.#commitIndex < leading.noopIndex) {
      return refuse('term-not-committed', 'no entry of this term has committed yet')
    }
    if (this.membershipIndex > this.#commitIndex) {
      return refuse('membership-pending', 'the membership change before has not committed yet')
    }
    return undefined
  }

  /** Proposes one change of the membership. A learner is promoted by the leader itself once it has caught up. */
  changeMembership(change: MembershipChange, now: number): CoreProposeResult {
    const next = changed(this.membership, change)
    if (!next.ok) {
      return this.#leading === undefined
        ? { ok: false, code: 'not-leader', detail: 'not the leader' }
        : { ok: false, code: 'invalid-membership', detail: next.detail }
    }
    if (change.type === 'demote' && this.#leading !== undefined && change.peer.id === this.id) {
      return { ok: false, code: 'invalid-membership', detail: 'a leader cannot demote itself' }
    }
    const result = this.propose([{ type: 'membership', data: encodeMembership(next.membership) }], now)
    // Whatever it acknowledged is gone. What was counted by that stays true of the other voters, see README.md.
    if (result.ok && change.type === 'demote') {
      this.#leading?.replication.startAnew(change.peer.id, result.firstIndex, this.#now)
    }
    return result
  }

  #appendOwn(type: EntryType, data: Uint8Array): void {
    this.#appendEntry({ index: this.#log.lastIndex + 1, term: this.#term, type, data })
  }

  #appendEntry(entry: Entry): void {
    this.#log.append(entry.term, entry.data.length)
    this.#outbox.append(entry)
    if (entry.type !== 'membership') return
    const membership = decodeMembership(entry.data)
    if (membership === undefined) throw new Error(`raft: membership entry ${entry.index} is not readable`)
    this.#memberships.append(entry.index, membership)
    this.#leading?.replication.follow(membership, entry.index, this.#now)
  }

  #onAppend(message: Message & { type: 'append' }): void {
    if (!this.#acceptLeader(message.from) || this.#installing !== undefined) return
    const { prevIndex, prevTerm, entries } = message
    const log = this.#log
    if (prevIndex >= log.baseIndex && log.termAt(prevIndex) !== prevTerm) {
      if (prevIndex <= this.#commitIndex) this.#violations += 1
      const hintIndex = log.lastAtMost(Math.min(prevIndex, log.lastIndex), prevTerm)
      this.#outbox.send({
        type: 'append-reply', from: this.id, to: message.from, term: this.#term, ok: false,
        // On a refusal: which message was refused, so that the leader can tell a stale refusal.
        matchIndex: prevIndex, hintIndex, hintTerm: log.termAt(hintIndex) ?? 0,
      })
      return
    }
    for (const entry of entries) {
      if (entry.index < log.baseIndex) continue
      const known = log.termAt(entry.index)
      if (known === entry.term) continue
      if (known !== undefined) {
        if (entry.index <= this.#commitIndex) {
          this.#violations += 1
          return
        }
        log.truncateFrom(entry.index)
        this.#stable.truncateFrom(entry.index)
        this.#memberships.truncateFrom(entry.index)
      }
      this.#appendEntry(entry)
    }
    const agreed = prevIndex + entries.length
    this.#commitTo(Math.min(message.commit, agreed))
    this.#outbox.sendDurable({
      type: 'append-reply', from: this.id, to: message.from, term: this.#term, ok: true,
      // What is committed is in every later leader's log, so it agrees as well.
      matchIndex: Math.max(agreed, Math.min(this.#commitIndex, this.#stable.index)), hintIndex: 0, hintTerm: 0,
    })
  }

  #onAppendReply(message: Message & { type: 'append-reply' }): void {
    const progress = this.#leading?.replication.get(message.from)
    if (progress === undefined) return
    progress.heardMs = this.#now
    if (!message.ok) {
      progress.refused(message.matchIndex, this.#log.lastAtMost(message.hintIndex, message.hintTerm))
    } else if (message.matchIndex > this.#log.lastIndex) {
      this.#invalidMessages += 1
    } else if (progress.acknowledged(message.matchIndex)) {
      this.#maybeCommit()
      this.#considerPromotion()
      this.#considerHandover()
    }
  }

  /**
   * Commits what a majority has, if the last of it is of this term (§3.6.2): an earlier term's could still be
   * replaced.
   */
  #maybeCommit(): void {
    const leading = this.#leading
    if (leading === undefined) return
    const index = leading.matchedByMajority(this.membership, this.#stable.index)
    if (index <= this.#commitIndex || this.#log.termAt(index) !== this.#term) return
    this.#commitTo(index)
    if (this.membershipIndex <= index && !isVoter(this.membership, this.id)) {
      // This leader committed its own removal: spread the news, then leave (§4.2.2).
      this.#fill(leading)
      this.#stepDown()
    }
  }

  #commitTo(index: number): void {
    if (index <= this.#commitIndex) return
    if (index > this.#log.lastIndex) {
      throw new Error(`raft: commit index ${index} beyond the log's end ${this.#log.lastIndex}`)
    }
    this.#commitIndex = index
  }

  /**
   * The write of the `Ready` whose last entry has this index and term is durable. Call once per `Ready` with entries,
   * in order, or only for the last of several. A completion for entries that were truncated meanwhile is ignored.
   */
  persisted(lastIndex: number, term: number, now: number): void {
    this.#advance(now)
    this.diskRecovered()
    if (this.#stable.completed(lastIndex, term, index => this.#log.termAt(index))) {
      this.#maybeCommit()
      this.#considerHandover()
    }
  }

  /** A write takes longer than a minimum election timeout (rule 9): stop leading, do not campaign. */
  diskStalled(now: number): void {
    this.#advance(now)
    this.#election.stalledUntilMs = this.#now + this.timing.maxElectionMs * 10
    if (this.#leading !== undefined) this.#stepDownForOthers()
  }

  /** A write has completed again. `persisted` and `installed` imply it; call it for a write of the hard state alone. */
  diskRecovered(): void {
    this.#election.stalledUntilMs = -Infinity
  }

  // ---- snapshots ----------------------------------------------------------------------------------------------------

  /**
   * The whole payload of a snapshot has arrived. `install`: it replaces the log, see `Ready.install`. `keep`: the log
   * has all that it covers; the driver may store it and compact. `ignore`: of no use.
   */
  snapshotReceived(meta: SnapshotMeta, from: NodeId, now: number): 'install' | 'keep' | 'ignore' {
    this.#advance(now)
    if (this.#leading !== undefined || this.#installing !== undefined || this.#lostMemory) return 'ignore'
    const reply = (index: number) => this.#outbox.sendDurable({
      type: 'snapshot-reply', from: this.id, to: from, term: this.#term, ok: true, index,
    })
    if (this.#log.termAt(meta.index) === meta.term) {
      // A tail behind it may have been acknowledged: it must not be thrown away.
      this.#commitTo(meta.index)
      reply(Math.min(this.#commitIndex, this.#stable.index))
      const wanted = this.#snapshotWanted && meta.index > this.snapshotIndex && meta.index <= this.#stable.index
      this.#snapshotWanted = false
      return wanted ? 'keep' : 'ignore'
    }
    if (meta.index <= this.#commitIndex) {
      reply(Math.min(this.#commitIndex, this.#stable.index))
      return 'ignore'
    }
    this.#snapshotWanted = false
    this.#installing = meta
    this.#log.reset(meta.index, meta.term)
    this.#stable.replaced()
    this.#memberships.reset(meta.index, meta.membership)
    this.#commitIndex = meta.index
    this.#handedIndex = meta.index
    if (this.#role !== 'follower') this.#becomeFollower(this.#term, '')
    this.#outbox.install(meta)
    reply(meta.index)
    return 'install'
  }

  /** The snapshot of `Ready.install` is durable and the base of the log. */
  installed(meta: SnapshotMeta, now: number): void {
    this.#advance(now)
    this.diskRecovered()
    if (this.#installing === undefined || this.#installing.index !== meta.index) return
    this.#installing = undefined
    this.#snapshot = meta
    this.#stable.reset(meta.index)
  }

  /**
   * A snapshot at `meta.index` is stored and the log prefix up to `through` removed. Keeping a tail before the snapshot
   * spares slightly late peers the snapshot.
   */
  compacted(meta: SnapshotMeta, through = meta.index): void {
    if (through > meta.index || meta.index > this.#handedIndex) {
      throw new Error(`raft: compaction to ${through} with a snapshot at ${meta.index}`)
    }
    if (meta.index > this.snapshotIndex) this.#snapshot = meta
    this.#log.compact(through)
    this.#memberships.compact(through)
  }

  /** Leader: the transport has streamed the snapshot to `to`, or could not (no connection, no snapshot). */
  snapshotSent(to: NodeId, ok: boolean, now: number): void {
    this.#advance(now)
    this.#leading?.replication.get(to)?.snapshotEnded(ok, this.#now)
  }

  #onSnapshotReply(message: Message & { type: 'snapshot-reply' }): void {
    const progress = this.#leading?.replication.get(message.from)
    if (progress === undefined) return
    progress.heardMs = this.#now
    if (!message.ok || message.index > this.#log.lastIndex) return progress.snapshotEnded(false, this.#now)
    if (progress.acknowledged(message.index)) this.#maybeCommit()
    if (progress.state === 'snapshot') progress.becomeProbe()
  }

  /**
   * A node without a state machine whose log has grown too long: asks the leader for a snapshot. False without
   * leader.
   */
  requestSnapshot(now: number): boolean {
    this.#advance(now)
    if (this.#leader === '' || this.#leading !== undefined) return false
    this.#snapshotWanted = true
    this.#outbox.send({ type: 'snapshot-request', from: this.id, to: this.#leader, term: this.#term })
    return true
  }

  #onSnapshotRequest(message: Message & { type: 'snapshot-request' }): void {
    const progress = this.#leading?.replication.get(message.from)
    if (progress === undefined || progress.state === 'snapshot' || this.#snapshot === undefined) return
    if (progress.matchIndex < this.#snapshot.index) return
    this.#outbox.send({ type: 'snapshot', from: this.id, to: message.from, term: this.#term, meta: this.#snapshot })
  }

  // ---- handing over -------------------------------------------------------------------------------------------------

  /**
   * To whom `transfer` would hand over now: a voter that answers; without `to` the most up-to-date one with role
   * `node`. Ask this *before* closing the fence.
   */
  transferTarget(to: NodeId | undefined, now: number): TransferResult {
    const leading = this.#leading
    if (leading === undefined) return { ok: false, detail: 'not the leader' }
    return leading.transferTarget(this.membership, to, this.#preferred, now)
  }

  /** Who should lead when it can. Not before it is said; the driver says it at a start and whenever it changes. */
  prefer(preference: Preference, now: number): void {
    this.#advance(now)
    const isOther = this.#preferred.set(preference)
    if (isOther && this.#role === 'follower' && this.#leader === '') this.#election.dueMs = this.#nextElection()
  }

  /**
   * Hands leadership over. The caller has closed the fence already: the lease is given up for the rest of this term,
   * whatever comes of it. When there is no target, or it has not taken over within a minimum election timeout, this
   * node steps down, so that a new term (and lease) can begin.
   */
  transfer(to: NodeId | undefined, now: number): TransferResult {
    this.#advance(now)
    const leading = this.#leading
    const target = this.transferTarget(to, this.#now)
    if (leading === undefined || leading.transfer !== undefined) return target
    leading.leaseGivenUp = true
    if (target.ok) leading.transfer = { to: target.to, deadlineMs: this.#now + this.timing.minElectionMs, asked: false }
    else this.#stepDown()
    return target
  }

  #hasCaughtUp(leading: Leadership, progress: Progress): boolean {
    return progress.state === 'replicate' && leading.responds(progress, this.#now)
      && this.#log.lastIndex - progress.matchIndex <= caughtUpEntries && progress.matchIndex >= this.membershipIndex
  }

  /** A witness that leads looks for a node to lead instead. It holds no VIP, so there is no fence to close. */
  #considerHandover(): void {
    const leading = this.#leading
    if (leading === undefined || leading.transfer !== undefined || this.#commitIndex < leading.noopIndex) return
    if (this.nodeRole !== 'witness') return
    const target = this.transferTarget(undefined, this.#now)
    // The preferred node gets a moment to answer and to catch up.
    const isEarly = this.#now < leading.electedMs + this.timing.heartbeatMs && this.#preferred.mayLead(this.membership)
    if (target.ok && isEarly && target.to !== this.#preferred.id) return
    if (target.ok && this.#hasCaughtUp(leading, leading.replication.get(target.to)!)) {
      this.transfer(target.to, this.#now)
    }
  }

  /** Has the driver hand over to the preferred node: it must close the fence before (rule 4). */
  #considerPreemption(): void {
    const leading = this.#leading
    if (leading === undefined || leading.transfer !== undefined || this.#commitIndex < leading.noopIndex) return
    const progress = leading.replication.get(this.#preferred.id)
    if (progress === undefined || !this.#hasCaughtUp(leading, progress)) return
    if (this.#preferred.takesOver(this.membership, progress, this.#now)) this.#outbox.transferWanted = this.#preferred.id
  }

  /** Promotes one learner that has caught up (rule 8: one change at a time, after an entry of this term). */
  #considerPromotion(): void {
    const leading = this.#leading
    const { learners } = this.membership
    if (leading === undefined || learners.length === 0 || leading.transfer !== undefined) return
    if (this.#commitIndex < leading.noopIndex || this.membershipIndex > this.#commitIndex) return
    for (const { id } of learners) {
      const progress = leading.replication.get(id)
      if (progress === undefined || !this.#hasCaughtUp(leading, progress)) continue
      this.changeMembership({ type: 'promote', id }, this.#now)
      return
    }
  }

  // ---- output -------------------------------------------------------------------------------------------------------

  #fill(leading: Leadership): void {
    if (!leading.mayTalk(this.#stable.index)) return
    const state = { term: this.#term, commit: this.#commitIndex, snapshot: this.#snapshot }
    leading.replication.fill(this.#outbox, state, this.#now)
    const { transfer } = leading
    if (transfer === undefined || transfer.asked) return
    if (leading.replication.get(transfer.to)?.matchIndex !== this.#log.lastIndex) return
    transfer.asked = true
    this.#outbox.send({ type: 'timeout-now', from: this.id, to: transfer.to, term: this.#term })
  }

  /** Takes what is to be done; undefined when there is nothing. Must be handled, and writes completed, in order. */
  ready(): Ready | undefined {
    if (this.#leading !== undefined) this.#fill(this.#leading)
    const last = this.#outbox.lastAppended
    if (last !== undefined) this.#stable.writing(last.index, last.term)
    const to = Math.min(this.#commitIndex, this.#stable.index)
    const committed = to > this.#handedIndex ? { from: this.#handedIndex + 1, to } : undefined
    if (committed !== undefined) this.#handedIndex = to
    return this.#outbox.take(committed, this.#role, this.#term, this.#leader)
  }
}

/**
 * The heart: composition root of the parent process. Consensus and VIPs, nothing else, so that nothing large can delay
 * a heartbeat or a lease renewal. It starts the child (`main.ts`), feeds it committed entries, and when the child dies
 * or is not fit to serve it gives the VIPs up on purpose (fence first) and hands leadership over. A witness is a heart
 * without a child.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants as osConstants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Entry, NodeId, SnapshotMeta, Timing } from '../consensus/core/types.ts'
import type { Consensus, ConsensusHooks, JoinRequest, JoinResponse, ProposeResult } from '../consensus/consensus.ts'
import { openConsensus } from '../consensus/open.ts'
import { loadIdentity } from '../consensus/identity.ts'
import { maxProductLength, spokenProtocols } from '../consensus/versions.ts'
import type { VipManager, VipStatus } from '../vip/types.ts'
import { Liveness, word, Words } from './fitness.ts'
import { environmentOfChild } from './heart-settings.ts'
import { endLeftoverChildren } from './leftover.ts'
import { aliveEveryMs, isToHeart, Link, type HeartStatus, type LinkResult, type ToChild, type ToHeart } from './link.ts'
import { createLog, type Log } from './observe/log.ts'
import { ChunkQueue } from './snapshot-transfer.ts'
import { commandLevel } from './state/level.ts'
import { version } from './version.ts'

export interface HeartOptions {
  readonly directory: string
  /** host:port for consensus; default: from the identity. */
  readonly listen?: string
  /** host:port for the API; default: from the identity. */
  readonly api?: string
  /** Proxy worker threads; default: one per core. */
  readonly workers?: number
  readonly timing?: Timing
  /** Stop when standard input ends: the starter has gone. */
  readonly stopOnStdinEnd?: boolean
}

/** Restart delays of a child that keeps dying, milliseconds: at once, then slower. */
const restartDelaysMs = [0, 250, 500, 1000, 2000, 5000]
/** A child that lived this long has proven itself: the delays start anew. */
const provenMs = 30_000
const statusEveryMs = 250
const fitGossipEveryMs = 500
/** A VIP that could not be held here is not tried again by the others' hand-overs for this long, or until VIPs change. */
const vipsFailMs = 300_000
/** First byte of a gossip message: for the peers' children, or for the hearts themselves. */
const gossipForChild = 0
const gossipForHeart = 1
/** A snapshot that could not be stored (a full disk) is tried again after this time. */
const snapshotRetryMs = 10_000
/** How long a drained child may take to end before it is killed. */
const childStopMs = 8000

type JoinAnswer = { readonly ok: true; readonly response: JoinResponse } | { readonly ok: false; readonly error: string }

/**
 * Runs until stopped by SIGTERM or SIGINT; then ends the process. Rejects with a clear error when the node cannot start
 * (damaged files, an address in use, a second heart for the same directory); then nothing of it keeps the process alive.
 */
export async function runHeart(options: HeartOptions): Promise<void> {
  const heart = new Heart(options)
  await heart.start()
}

/** Of the heart, as `nice` counts. */
const heartPriority = -15

/** Best effort: an unprivileged process keeps its place and still works. */
function raisePriority(log: Log): void {
  try {
    setPriority(0, Math.max(osConstants.priority.PRIORITY_HIGHEST, heartPriority))
  } catch {
    log('debug', 'priority not raised: not permitted')
  }
  try {
    // Where the kernel shares the processors out among sessions (sched(7), autogroup), a priority counts within its session only:
    // without this the heart waits its turn among all others, by hundreds of milliseconds on a busy machine. Not in a session
    // that is somebody else's, such as a terminal's.
    const session = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ')[3]
    if (session === String(process.pid)) writeFileSync('/proc/self/autogroup', String(heartPriority))
  } catch {
    log('debug', 'priority among sessions not raised: not permitted, or there is none')
  }
  try {
    writeFileSync('/proc/self/oom_score_adj', '-900')
  } catch {
    log('debug', 'out-of-memory protection not set: not permitted')
  }
}

/** The child must be neither as urgent nor as protected as the heart. */
function lowerChild(pid: number): void {
  try {
    setPriority(pid, 0)
    writeFileSync(`/proc/${pid}/oom_score_adj`, '0')
  } catch {
    // It has ended already, or nothing was raised to begin with.
  }
}

class Heart {
  readonly #options: HeartOptions
  readonly #log: Log
  #consensus!: Consensus
  #vips: VipManager | undefined
  #self: NodeId = ''
  #witness = false

  #child: ChildProcess | undefined
  #link: Link<ToHeart, ToChild> | undefined
  #childStartedMs = 0
  #restarts = 0
  #restartTimer: NodeJS.Timeout | undefined
  /** The child has been given everything up to its start, so that live entries may flow. */
  #feeding = false
  readonly #liveness = new Liveness()
  #fit = false
  /** When a VIP could last not be held here (performance.now()), and the VIPs that it was among. */
  #vipsFailedMs = -Infinity
  #vipsWanted = ''
  #stopping = false

  #nextId = 1
  readonly #waiting = new Map<number, (answer: { error: string } | JoinAnswer) => void>()
  #snapshot: { id: number; chunks: ChunkQueue } | undefined
  #snapshotNotBeforeMs = -Infinity
  readonly #words = new Words(4 * fitGossipEveryMs)
  /** The preference that consensus was last told, as text. */
  #preference = ''
  /** Of the term in which an operator handed over from this preferred node: it does not ask to lead again until it does; else -1. */
  #standsBackTerm = -1
  #handOverTimer: NodeJS.Timeout | undefined
  #handingOver = false
  #statusQueued = false
  #loopGapMs = 0
  /** Longest gap of each tick of the last minute. */
  readonly #loopGaps: number[] = []

  constructor(options: HeartOptions) {
    this.#options = options
    this.#log = createLog('heart')
  }

  async start(): Promise<void> {
    raisePriority(this.#log)
    const identity = loadIdentity(this.#options.directory)
    this.#self = identity.id
    this.#witness = identity.role === 'witness'
    this.#watchSignals()
    this.#watchLoop()
    if (!this.#witness) {
      // A witness is small: it does without what it never uses.
      const [{ createVipManager }, { allowNonlocalBind }] = await Promise.all([import('../vip/manager.ts'), import('../vip/kernel.ts')])
      this.#vips = createVipManager({ log: this.#log, listenChange: (addresses) => this.#hold(addresses) })
      this.#vips.onChange((status) => this.#vipsChanged(status))
      allowNonlocalBind()
    }
    this.#watchStarter()
    this.#consensus = await openConsensus({
      directory: this.#options.directory,
      ...(this.#options.listen === undefined ? {} : { listen: this.#options.listen }),
      ...(this.#options.timing === undefined ? {} : { timing: this.#options.timing }),
      versions: { protocol: spokenProtocols, commandLevel, product: version.slice(0, maxProductLength) },
      hooks: this.#hooks(),
      log: this.#log,
    })
    this.#log('info', `${this.#witness ? 'witness' : 'node'} ${this.#self} is up`)
    if (!this.#witness) {
      const left = endLeftoverChildren(this.#options.directory)
      if (left.length > 0) this.#log('warn', `ended what an earlier heart had left behind: ${left.join(', ')}`)
      this.#startChild()
    }
    setInterval(() => this.#queueStatus(), statusEveryMs).unref()
    setInterval(() => this.#everyTick(), fitGossipEveryMs).unref()
    setInterval(() => this.#watchChild(), aliveEveryMs).unref()
    const { keepWorkingSetSmall } = await import('./working-set.ts')
    keepWorkingSetSmall()
  }

  #hooks(): ConsensusHooks {
    return {
      committed: (entries) => this.#committed(entries),
      restore: (meta, chunks) => this.#restore(meta, chunks),
      lease: (lease) => this.#vips?.lease(lease),
      closeFence: () => this.#vips?.close() ?? Promise.resolve(),
      transferRequested: (to, why) => (why === 'asked' ? this.#handOver(to) : this.#handToPreferred(to)),
      changed: ({ role, term }) => {
        // It leads again, by whatever way: the operator's word has had its time.
        if (role === 'leader' && term > this.#standsBackTerm) this.#standsBackTerm = -1
        this.#queueStatus()
      },
      gossip: (from, data) => this.#gossiped(from, data),
      ...(this.#witness ? {} : { join: (request: JoinRequest) => this.#join(request) }),
    }
  }

  // — feeding the child —

  async #committed(entries: readonly Entry[]): Promise<void> {
    const link = this.#link
    if (link === undefined || !this.#feeding) return
    if (!link.send({ type: 'entries', entries })) await link.drained()
  }

  async #restore(meta: SnapshotMeta, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const link = this.#link
    if (link === undefined || !this.#feeding) return
    link.send({ type: 'restore-begin', meta })
    for await (const data of chunks) if (!link.send({ type: 'restore-chunk', data })) await link.drained()
    link.send({ type: 'restore-end' })
  }

  #startChild(): void {
    if (this.#stopping) return
    const api = this.#options.api
    const args = [fileURLToPath(new URL('./main.ts', import.meta.url)), '--dir', this.#options.directory]
    if (api !== undefined) args.push('--api', api)
    if (this.#options.workers !== undefined) args.push('--workers', String(this.#options.workers))
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: environmentOfChild(),
    })
    this.#child = child
    this.#childStartedMs = performance.now()
    if (child.pid !== undefined) lowerChild(child.pid)
    const pipe = child.stdio[3]
    if (!(pipe instanceof Socket)) throw new Error('the pipe to the child is not a socket')
    const link = new Link<ToHeart, ToChild>(
      pipe,
      (message) => this.#received(link, message),
      () => this.#childGone(link, child),
    )
    this.#link = link
    this.#liveness.started()
    child.on('error', (error) => {
      this.#log('error', `the child could not be started: ${error.message}`)
      this.#childGone(link, child)
    })
    child.on('exit', (code, signal) => {
      if (!this.#stopping) this.#log('error', 'the child ended', { code, signal, child: child.pid })
      this.#childGone(link, child)
    })
    this.#feeding = true
    void this.#consensus.replay().then(() => {
      if (this.#link === link) link.send({ type: 'caught-up', index: this.#consensus.status().commitIndex })
    })
  }

  /** Called by whichever is seen first, the pipe's end or the exit; the fence closes before anything else is done. */
  #childGone(link: Link<ToHeart, ToChild>, child: ChildProcess): void {
    if (this.#link !== link) return
    this.#setFit(false, 'the child process has ended')
    this.#link = undefined
    this.#feeding = false
    this.#child = undefined
    link.close()
    // A child that lost its pipe but lives on would go on listening: end it for certain.
    child.kill('SIGKILL')
    for (const answer of this.#waiting.values()) answer({ ok: false, error: 'the child process has ended' })
    this.#waiting.clear()
    this.#snapshot?.chunks.end(new Error('the child process has ended'))
    this.#snapshot = undefined
    if (this.#stopping) return
    if (performance.now() - this.#childStartedMs > provenMs) this.#restarts = 0
    const delayMs = restartDelaysMs[Math.min(this.#restarts, restartDelaysMs.length - 1)]!
    this.#restarts++
    this.#restartTimer = setTimeout(() => this.#startChild(), delayMs)
  }

  /** A hanging child is ended like a dead one: fence first, hand over, start a new one. */
  #watchChild(): void {
    const child = this.#child
    if (child === undefined || this.#stopping) return
    const reason = this.#liveness.turn(this.#fitPeer() !== undefined)
    if (reason === '') return
    this.#log('error', `the child hangs: ending it, ${reason}`, { child: child.pid })
    this.#liveness.started()
    this.#setFit(false, 'the child process hangs')
    child.kill('SIGKILL')
  }

  #received(link: Link<ToHeart, ToChild>, message: ToHeart): void {
    if (this.#link !== link) return
    if (!isToHeart(message)) {
      this.#log('error', 'the child sent what is no message: ending it', { child: this.#child?.pid })
      link.close()
      return
    }
    this.#liveness.spoke()
    switch (message.type) {
      case 'alive':
        break
      case 'propose':
        this.#answer(link, message.id, this.#consensus.propose(message.data, message.priority))
        break
      case 'applied':
        this.#consensus.applied(message.index)
        this.#considerSnapshot(link)
        break
      case 'read-index':
        this.#answer(link, message.id, this.#consensus.readIndex())
        break
      case 'fit':
        this.#setFit(message.fit, message.reason)
        break
      case 'vips':
        this.#vipsConfigured(JSON.stringify(message.vips))
        void this.#vips?.configure(message.vips).catch((error: Error) => this.#log('error', `VIPs: ${error.message}`))
        break
      case 'prefer': {
        const { preferred, preempt, preemptDelayMs } = message
        const preference = JSON.stringify([preferred, preempt, preemptDelayMs])
        // A new child says the same again.
        if (preference === this.#preference) break
        this.#preference = preference
        this.#standsBackTerm = -1
        this.#consensus.prefer({ preferred, preempt, preemptDelayMs })
        break
      }
      case 'snapshot-begin':
        if (this.#snapshot?.id === message.id) this.#storeSnapshot(link, this.#snapshot, message.index)
        break
      case 'snapshot-chunk':
        if (this.#snapshot?.id === message.id) this.#snapshot.chunks.push(message.data)
        break
      case 'snapshot-end':
        if (this.#snapshot?.id === message.id) this.#snapshot.chunks.end()
        break
      case 'gossip':
        this.#consensus.gossip(tagged(gossipForChild, message.data))
        break
      case 'transfer':
        this.#answer(link, message.id, this.#handOver(message.to))
        break
      case 'add-peer':
        this.#answer(link, message.id, this.#consensus.addPeer(message.peer))
        break
      case 'remove-peer':
        this.#answer(link, message.id, this.#consensus.removePeer(message.peerId))
        break
      case 'listening':
        this.#resolve(message.id, { error: message.error })
        break
      case 'join-reply':
        this.#resolve(message.id, message.result)
        break
    }
  }

  #answer(link: Link<ToHeart, ToChild>, id: number, result: Promise<LinkResult>): void {
    void result
      .catch((error: Error): ProposeResult => ({ ok: false, code: 'lost', retrySafe: false, detail: error.message }))
      .then((answer) => link.send({ type: 'reply', id, result: answer }))
  }

  #resolve(id: number, answer: { error: string } | JoinAnswer): void {
    this.#waiting.get(id)?.(answer)
    this.#waiting.delete(id)
  }

  // — snapshots: only the child knows the state, only the heart owns the disk —

  #considerSnapshot(link: Link<ToHeart, ToChild>): void {
    if (this.#snapshot !== undefined || performance.now() < this.#snapshotNotBeforeMs || !this.#consensus.wantsSnapshot()) return
    const id = this.#nextId++
    this.#snapshot = { id, chunks: new ChunkQueue(() => link.send({ type: 'snapshot-credit', id, ok: true })) }
    link.send({ type: 'take-snapshot', id })
  }

  #storeSnapshot(link: Link<ToHeart, ToChild>, snapshot: { id: number; chunks: ChunkQueue }, index: number): void {
    void this.#consensus
      .storeSnapshot(index, snapshot.chunks)
      .catch((error: Error) => {
        this.#log('warn', `snapshot not stored: ${error.message}`)
        this.#snapshotNotBeforeMs = performance.now() + snapshotRetryMs
        link.send({ type: 'snapshot-credit', id: snapshot.id, ok: false })
      })
      .finally(() => {
        if (this.#snapshot === snapshot) this.#snapshot = undefined
      })
  }

  // — fitness and hand-over —

  #setFit(fit: boolean, reason: string): void {
    this.#vips?.setFit(fit)
    if (fit === this.#fit) return
    this.#fit = fit
    if (this.#stopping) return
    this.#log(fit ? 'info' : 'warn', fit ? 'fit to serve' : `not fit to serve: ${reason}`)
    this.#gossipFit()
    if (!fit) this.#giveUp(reason)
    this.#queueStatus()
  }

  #gossipFit(): void {
    if (this.#witness) return
    const vipsFail = performance.now() - this.#vipsFailedMs < vipsFailMs
    const own = !this.#fit || this.#liveness.suspect ? word.notFit : vipsFail ? word.vipsFail : word.fit
    this.#consensus?.gossip(Buffer.from([gossipForHeart, own, this.#standsBackTerm < 0 ? 0 : 1]))
  }

  #gossiped(from: NodeId, data: Uint8Array): void {
    if (data[0] === gossipForHeart) this.#words.heard(from, data[1], performance.now(), data[2] === 1)
    else if (data[0] === gossipForChild && this.#link?.full === false) {
      // The next one says the same and more: none is worth piling up for a child that does not keep up.
      this.#link.send({ type: 'gossip', from, data: data.subarray(1) })
    }
  }

  #otherNodes(): NodeId[] {
    const { peers } = this.#consensus.status()
    return peers.filter(({ peer, voter }) => voter && peer.role === 'node').map(({ peer }) => peer.id)
  }

  /** A peer node whose child serves, by its own recent word; undefined when there is none. */
  #fitPeer(): NodeId | undefined {
    return this.#words.best(this.#otherNodes(), performance.now())
  }

  /** Leads but cannot serve: another one shall, if there is one that can. The fence is closed already. */
  #giveUp(reason: string): void {
    if (this.#handOverTimer !== undefined || this.#handingOver || this.#consensus === undefined) return
    const attempt = (): void => {
      this.#handOverTimer = undefined
      if (this.#stopping || this.#fit || this.#consensus.status().role !== 'leader') return
      const to = this.#fitPeer()
      if (to === undefined) {
        this.#handOverTimer = setTimeout(attempt, fitGossipEveryMs)
        return
      }
      this.#transfer(to, reason)
    }
    attempt()
  }

  #transfer(to: NodeId, reason: string): void {
    if (this.#handingOver) return
    this.#handingOver = true
    this.#log('warn', `handing leadership over to ${to}: ${reason}`)
    void this.#consensus.transfer(to).then((result) => {
      this.#handingOver = false
      if (!result.ok) this.#log('warn', `hand-over to ${to} failed: ${result.detail}`)
    })
  }

  #vipsChanged(status: readonly VipStatus[]): void {
    this.#queueStatus()
    const failed = status.find((vip) => vip.state === 'failed')
    if (failed === undefined) return
    const firstTime = performance.now() - this.#vipsFailedMs >= vipsFailMs
    this.#vipsFailedMs = performance.now()
    if (firstTime) this.#gossipFit()
    if (this.#consensus?.status().role !== 'leader') return
    const to = this.#words.bestVips(this.#otherNodes(), performance.now())
    if (to !== undefined) this.#transfer(to, `VIP ${failed.name} cannot be held here (${failed.error})`)
  }

  /** Other VIPs may fare better. */
  #vipsConfigured(wanted: string): void {
    if (wanted === this.#vipsWanted) return
    this.#vipsWanted = wanted
    this.#vipsFailedMs = -Infinity
  }

  async #handOver(to: string): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    const status = this.#consensus.status()
    if (status.role !== 'leader') return this.#consensus.requestTransfer(to)
    const target = to === '' ? this.#fitPeer() : to
    if (target === undefined) return { ok: false, detail: 'no other node is fit to serve' }
    if (target === this.#self) return { ok: false, detail: `${target} leads already` }
    const peer = status.peers.find((candidate) => candidate.peer.id === target)
    if (peer === undefined) return { ok: false, detail: `there is no node ${target}` }
    if (peer.peer.role === 'witness') return { ok: false, detail: `${target} is a witness and cannot hold VIPs` }
    if (this.#words.of(target, performance.now()) === word.notFit) return { ok: false, detail: `${target} is not fit to serve` }
    return this.#transferForOperator(target)
  }

  /** Away from here as long as the operator means it: the preferred node says with its word that it does not want to lead. */
  async #transferForOperator(to: NodeId): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    const before = this.#standsBackTerm
    this.#standsBackTerm = this.#consensus.status().term
    this.#gossipFit()
    const result = await this.#consensus.transfer(to)
    if (!result.ok && this.#consensus.status().role === 'leader') this.#standsBackTerm = before
    return result
  }

  /** The preferred node is back: it gets the leadership only by its own recent word that it can serve and wants to. */
  async #handToPreferred(to: NodeId): Promise<{ readonly ok: true } | { readonly ok: false; readonly detail: string }> {
    const detail = this.#words.againstPreferred(to, performance.now())
    if (detail !== '') return { ok: false, detail }
    this.#log('info', `handing leadership over to ${to}: it is preferred`)
    return this.#consensus.transfer(to)
  }

  // — questions to the child —

  #ask(make: (id: number) => ToChild, timeoutMs: number): Promise<{ error: string } | JoinAnswer> {
    const link = this.#link
    if (link === undefined) return Promise.resolve({ ok: false, error: 'the data plane is not running' })
    const id = this.#nextId++
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#resolve(id, { ok: false, error: 'the data plane did not answer' }), timeoutMs)
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      link.send(make(id))
    })
  }

  async #hold(addresses: readonly string[]): Promise<string> {
    const answer = await this.#ask((id) => ({ type: 'hold', id, addresses }), 5000)
    return 'error' in answer ? answer.error : ''
  }

  async #join(request: JoinRequest): Promise<JoinAnswer> {
    const answer = await this.#ask((id) => ({ type: 'join', id, request }), 15_000)
    return 'ok' in answer ? answer : { ok: false, error: answer.error }
  }

  // — status —

  #queueStatus(): void {
    if (this.#statusQueued || this.#link === undefined) return
    this.#statusQueued = true
    setImmediate(() => {
      this.#statusQueued = false
      const link = this.#link
      // A child that does not keep up reading gets the next one; nothing may pile up here.
      if (link === undefined || link.full || this.#consensus === undefined) return
      const status: HeartStatus = {
        consensus: this.#consensus.status(),
        vips: this.#vips?.status() ?? [],
        loopGapMs: this.#loopGapMs,
        loopGapMaxMs: Math.max(this.#loopGapMs, ...this.#loopGaps),
        residentBytes: process.memoryUsage.rss(),
        heartPid: process.pid,
      }
      link.send({ type: 'status', status })
    })
  }

  #everyTick(): void {
    this.#gossipFit()
    this.#loopGaps.push(this.#loopGapMs)
    if (this.#loopGaps.length > 60_000 / fitGossipEveryMs) this.#loopGaps.shift()
    this.#loopGapMs = 0
    const status = this.#consensus.status()
    // Elected without being able to serve (a start, a crash while following): let a fit one take over.
    if (status.role === 'leader' && !this.#fit && !this.#witness && this.#fitPeer() !== undefined) {
      this.#giveUp('not fit to serve')
    }
  }

  #watchLoop(): void {
    let last = performance.now()
    setInterval(() => {
      const now = performance.now()
      this.#loopGapMs = Math.max(this.#loopGapMs, now - last - 20)
      last = now
    }, 20).unref()
  }

  // — the end —

  #watchSignals(): void {
    const stop = (why: string) => () => void this.#stop(why)
    process.on('SIGTERM', stop('SIGTERM'))
    process.on('SIGINT', stop('SIGINT'))
    process.on('SIGHUP', () => undefined)
  }

  #watchStarter(): void {
    if (this.#options.stopOnStdinEnd !== true) return
    const stop = (why: string) => () => void this.#stop(why)
    process.stdin.on('end', stop('standard input ended')).on('error', stop('standard input failed')).resume()
    // From the first moment, for a damaged log may have to wait long for its repair; but a start that fails must not be kept
    // alive by an open standard input.
    const { stdin } = process as { readonly stdin: { unref?: () => void } }
    stdin.unref?.()
  }

  async #stop(why: string): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    this.#log('info', `stopping (${why})`)
    clearTimeout(this.#restartTimer)
    // A node that cannot stop cleanly must still stop: the lease then does the rest.
    setTimeout(() => process.exit(1), childStopMs + 4000).unref()
    await this.#vips?.close()
    await this.#consensus?.stop()
    await this.#vips?.stop()
    const child = this.#child
    if (child !== undefined && child.exitCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      const timer = setTimeout(() => child.kill('SIGKILL'), childStopMs)
      this.#link?.send({ type: 'stop' })
      await ended
      clearTimeout(timer)
    }
    this.#log('info', 'stopped')
    process.exit(0)
  }
}

function tagged(tag: number, data: Uint8Array): Uint8Array {
  const out = Buffer.allocUnsafe(data.length + 1)
  out[0] = tag
  out.set(data, 1)
  return out
}

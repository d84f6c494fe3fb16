/**
 * Composition root of the child process: the replicated state machine, the API, health, the proxy, observability.
 * It owns no durable state: after a start the heart replays snapshot and log to it. When the pipe to the heart closes
 * it closes the fence and ends.
 */
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { availableParallelism } from 'node:os'
import { join as joinPath } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import ipaddr from 'ipaddr.js'
import type { Entry, NodeId } from '../consensus/core/types.ts'
import type { JoinRequest, ProposeResult, ReadIndexResult } from '../consensus/consensus.ts'
import { caFingerprint, loadIdentity, signCsr } from '../consensus/identity.ts'
import { closeFenceNow } from '../vip/fence/close.ts'
import { interfaceFor } from '../vip/addresses.ts'
import type { VipSpec } from '../vip/types.ts'
import type { NodeContext, ReadBarrier, Submission, SubmitResult } from './api/context.ts'
import { createApi } from './api/server.ts'
import type { NodeReport } from './api/types.ts'
import { expiries } from './certificates/describe.ts'
import { CertificateFeed } from './certificates/feed.ts'
import { sealerOf } from './certificates/seal.ts'
import { durationMs } from './config/duration.ts'
import type { ConfigurationDocument } from './config/schema.ts'
import { createHealthMonitor } from './health/monitor.ts'
import { aliveEveryMs, Link, type HeartStatus, type LinkResult, type ToChild, type ToHeart } from './link.ts'
import { ReportReader, ReportWriter } from './observe/gossip.ts'
import { createLog } from './observe/log.ts'
import { PoolLatencies } from './observe/latency.ts'
import { metricsText } from './observe/metrics.ts'
import { buildOverview, Rates } from './observe/overview.ts'
import { createProxy } from './proxy/manager.ts'
import type { ApplyReport } from './proxy/proxy.ts'
import { ClusterSessions } from './sessions/cluster.ts'
import { persistenceSecret } from './sessions/keys.ts'
import { SnapshotFeed } from './snapshot-transfer.ts'
import { LevelError } from './state/level.ts'
import { ClusterState, encodeCommand } from './state/state.ts'
import type { Command, Outcome, SessionUpdate } from './state/types.ts'
import { version } from './version.ts'

/** A peer's report older than this says nothing any more. */
const reportValidMs = 3500
const reportEveryMs = 1000
/** A proposal whose entry was committed but not seen applied here within this time has an unknown fate for the caller. */
const applyWaitMs = 10_000
const drainMs = 5000
const apiRetryMs = 2000
/** A linearizable read that is not confirmed, or that this node has not caught up with, after this time is refused. */
const readBarrierMs = 2000

interface Waiter {
  readonly resolve: (result: SubmitResult) => void
  readonly timer: NodeJS.Timeout
}

class Child {
  readonly #log = createLog('node')
  readonly #directory: string
  readonly #apiAddress: string
  readonly #identity
  readonly #link: Link<ToChild, ToHeart>
  readonly #startedEpochMs = Date.now()
  readonly #writer = new ReportWriter()
  readonly #readers = new Map<NodeId, ReportReader>()

  #state = ClusterState.empty()
  #restoring: ReturnType<typeof ClusterState.restoration> | undefined
  readonly #snapshots = new SnapshotFeed()
  /** The log needs a newer version of this program: why, or empty. Nothing is applied any more then. */
  #outdated = ''
  #caughtUp = false
  #heart: HeartStatus | undefined
  #nextId = 1
  readonly #replies = new Map<number, (result: LinkResult) => void>()
  readonly #waiters = new Map<string, Waiter>()
  /** Reads that wait until `index` is applied here. */
  readonly #waitingReads = new Set<{ readonly index: number; readonly resolve: (applied: boolean) => void }>()

  readonly #proxy
  readonly #sessions: ClusterSessions
  readonly #health
  readonly #certificates
  readonly #rates = new Rates()
  readonly #reports = new Map<NodeId, { report: NodeReport; receivedMs: number }>()
  readonly #changeListeners = new Set<() => void>()
  #revisionInForce = 0
  #applying: Promise<void> = Promise.resolve()
  /** Failures to listen that have been logged. */
  #listenFailures = new Set<string>()
  readonly #latencies = new PoolLatencies()
  #proxyFailed = ''
  /** Why the newest revision could not be put in force, or empty. */
  #applyFailed = ''
  #apiFailed = ''
  /** VIP addresses held in bind mode, as the heart last said. */
  #boundVips: readonly string[] = []
  #stopping = false
  #closeApi: (() => Promise<void>) | undefined

  constructor(options: { directory: string; api: string | undefined; workers: number }) {
    this.#directory = options.directory
    this.#identity = loadIdentity(options.directory)
    this.#apiAddress = options.api ?? this.#identity.apiAddress
    this.#proxy = createProxy({
      workers: options.workers,
      nodeId: this.#identity.id,
      accessLogPath: joinPath(options.directory, 'access.log'),
      log: this.#log,
      failed: (reason) => this.#failed(reason),
      persistenceSecret: persistenceSecret(readFileSync(joinPath(options.directory, 'ca.key'), 'utf8'), this.#identity.clusterId),
      replicate: (update) => this.#sessions.replicate(update),
      sessionsWanted: () => this.#sessions.refill(),
    })
    this.#sessions = new ClusterSessions({
      keeper: () => this.#proxy.sessions,
      state: () => this.#state,
      // With an older document in force it would take entries for expired whose members it does not know yet.
      leads: () => this.#heart?.consensus.role === 'leader' && this.#revisionInForce === this.#state.revision,
      propose: (id, entries) => this.#proposeSessions(id, entries),
    })
    this.#sessions.watch(this.#state)
    this.#health = createHealthMonitor({
      log: this.#log,
      checksDirectory: joinPath(this.#directory, 'checks'),
      onChange: (pool, member, health) => {
        this.#proxy.setMemberHealth(pool, member, health)
        this.#changed()
      },
    })
    this.#certificates = new CertificateFeed({
      sealer: sealerOf(options.directory),
      nodeId: this.#identity.id,
      log: this.#log,
      submit: (submission) => this.#submit(submission),
      use: (material) => {
        this.#health.useCertificates(material)
        return this.#proxy.setTlsMaterial(material)
      },
    })
    this.#link = new Link<ToChild, ToHeart>(
      new Socket({ fd: 3, readable: true, writable: true }),
      (message) => this.#received(message),
      () => this.#orphaned(),
    )
  }

  async start(): Promise<void> {
    process.on('SIGTERM', () => undefined) // The heart decides; a signal to the whole group must not race it.
    process.on('SIGINT', () => undefined)
    process.on('SIGHUP', () => undefined)
    // First of all, so that a slow start is not mistaken for a hanging process.
    setInterval(() => this.#link.send({ type: 'alive' }), aliveEveryMs)
    this.#link.send({ type: 'alive' })
    await this.#proxy.start()
    setInterval(() => this.#everySecond(), reportEveryMs)
    await this.#openApi()
  }

  /** An API that cannot be served (its port is taken) degrades the node; it does not end a data plane that serves. */
  async #openApi(): Promise<void> {
    while (!this.#stopping) {
      try {
        const api = await createApi(this.#context(), this.#listenOptions(), this.#log)
        this.#closeApi = () => api.close()
        this.#apiFailed = ''
        this.#log('info', `API and console at ${api.url}`)
        return
      } catch (error) {
        const { message } = error as Error
        if (message !== this.#apiFailed) this.#log('error', `the API cannot be served: ${message}; trying again`)
        this.#apiFailed = message
        await sleep(apiRetryMs)
      }
    }
  }

  /** The heart has gone: nobody renews the lease for this node any more. */
  #orphaned(): void {
    if (this.#stopping) return
    const closed = closeFenceNow()
    this.#log('error', 'the heart has gone: fence closed, ending', { fence: closed })
    process.exit(1)
  }

  #failed(reason: string): void {
    this.#proxyFailed = reason
    this.#link.send({ type: 'fit', fit: false, reason })
    this.#log('error', `the proxy failed: ${reason}`)
    // The heart starts a new child; nothing of this one is worth keeping.
    setTimeout(() => process.exit(1), 100)
  }

  // — from the heart —

  #received(message: ToChild): void {
    switch (message.type) {
      case 'restore-begin':
        this.#restoring = ClusterState.restoration()
        break
      case 'restore-chunk':
        this.#asFarAsUnderstood(() => this.#restoring?.add(message.data))
        break
      case 'restore-end':
        if (this.#outdated === '' && this.#restoring !== undefined) this.#restored(this.#restoring.finish())
        this.#restoring = undefined
        break
      case 'entries':
        this.#asFarAsUnderstood(() => message.entries.forEach((entry) => this.#apply(entry)))
        this.#link.send({ type: 'applied', index: this.#state.appliedIndex })
        this.#applied()
        if (this.#caughtUp) void this.#certificates.feed(this.#state)
        break
      case 'caught-up':
        this.#caughtUp = true
        this.#reconcile()
        break
      case 'status':
        this.#statusArrived(message.status)
        break
      case 'reply':
        this.#replies.get(message.id)?.(message.result)
        this.#replies.delete(message.id)
        break
      case 'take-snapshot':
        this.#snapshot(message.id)
        break
      case 'snapshot-credit':
        this.#snapshots.credit(message.id, message.ok)
        break
      case 'gossip':
        this.#gossip(message.from, message.data)
        break
      case 'join':
        void this.#join(message.id, message.request)
        break
      case 'hold':
        void this.#hold(message.id, message.addresses)
        break
      case 'stop':
        void this.#stop()
        break
    }
  }

  /** A log or snapshot of a newer version is not guessed at: this node stops here, gives up what it holds and says so. */
  #asFarAsUnderstood(take: () => void): void {
    if (this.#outdated !== '') return
    try {
      take()
    } catch (error) {
      if (!(error instanceof LevelError)) throw error
      this.#outdated = error.message
      this.#log('error', this.#outdated, { level: error.level, supported: error.supported, version })
      this.#link.send({ type: 'fit', fit: false, reason: this.#outdated })
      this.#settleLost(this.#outdated)
      this.#report()
      this.#changed()
    }
  }

  #restored(state: ClusterState): void {
    this.#state = state
    this.#sessions.restored()
    this.#link.send({ type: 'applied', index: this.#state.appliedIndex })
    this.#settleLost('a snapshot was installed while the change was under way')
    this.#applied()
    if (this.#caughtUp) this.#reconcile()
  }

  #apply(entry: Entry): void {
    const before = this.#state.revision
    const outcome = this.#state.apply(entry)
    if (outcome !== undefined) this.#settle(outcome)
    if (entry.type === 'membership') this.#changed()
    if (this.#state.revision !== before && this.#caughtUp) this.#reconcile()
  }

  #settle(outcome: Outcome): void {
    const waiter = this.#waiters.get(outcome.id)
    if (waiter === undefined) return
    clearTimeout(waiter.timer)
    this.#waiters.delete(outcome.id)
    waiter.resolve({ ok: true, outcome })
  }

  /** What was waited for may be among entries that are not seen here one by one, or not at all. */
  #settleLost(why: string): void {
    for (const [id, waiter] of this.#waiters) {
      clearTimeout(waiter.timer)
      this.#waiters.delete(id)
      waiter.resolve(unknownFate(why))
    }
  }

  #statusArrived(status: HeartStatus): void {
    const before = this.#heart
    this.#heart = status
    const holdings = (s: HeartStatus | undefined): string => s?.vips.map((vip) => `${vip.name}=${vip.state}`).join() ?? ''
    if (
      before?.consensus.leader !== status.consensus.leader ||
      before.consensus.role !== status.consensus.role ||
      holdings(before) !== holdings(status)
    ) {
      this.#report()
      this.#changed()
    }
  }

  // — the document comes into force —

  #reconcile(): void {
    const { revision, document } = this.#state
    this.#applying = this.#applying.then(async () => {
      if (revision !== this.#state.revision) return // A newer one is queued behind.
      this.#link.send({ type: 'vips', vips: this.#vipSpecs(document) })
      this.#link.send(preferenceOf(document))
      // First, so that no listener starts without what it names.
      await this.#certificates.feed(this.#state)
      const report = await this.#proxy.apply(revision, document)
      if (this.#bindModeVips(document).length > 0) await this.#proxy.setHeld(this.#heldAddresses(document))
      this.#health.configure(document.pools)
      this.#revisionInForce = report.revision
      this.#logFailures(report.failures, revision)
      this.#applyFailed = ''
      if (this.#proxyFailed === '' && this.#outdated === '') this.#link.send({ type: 'fit', fit: true, reason: '' })
    }).catch((error: Error) => {
      // A committed revision stays committed: what was in force goes on, and the node says so.
      this.#applyFailed = `revision ${revision} is not in force: ${error.message}`
      this.#log('error', this.#applyFailed, { stack: error.stack })
    }).then(() => {
      this.#report()
      this.#changed()
    })
  }

  #logFailures(failures: ApplyReport['failures'], revision: number): void {
    const before = this.#listenFailures
    this.#listenFailures = new Set(failures.map(({ listener, error }) => `listener ${listener} does not listen: ${error}`))
    for (const text of this.#listenFailures) if (!before.has(text)) this.#log('error', text, { revision })
  }

  #vipSpecs(document: ConfigurationDocument): VipSpec[] {
    return document.vips.map((vip) => {
      const ipv6 = vip.address.includes(':')
      const found = vip.interface === '' ? interfaceFor(vip.address) : undefined
      return {
        name: vip.name,
        address: vip.address,
        prefixLength: vip.prefixLength ?? (ipv6 ? 128 : 32),
        interface: vip.interface !== '' ? vip.interface : (found?.interface ?? ''),
        announcer: isLoopback(vip.address) ? 'bind' : 'kernel',
      }
    })
  }

  #bindModeVips(document: ConfigurationDocument): string[] {
    return document.vips.filter((vip) => isLoopback(vip.address)).map((vip) => vip.address)
  }

  /** Kernel-mode VIPs are always listened on (the fence guards them); bind-mode ones only while held. */
  #heldAddresses(document: ConfigurationDocument): string[] {
    const kernel = document.vips.filter((vip) => !isLoopback(vip.address)).map((vip) => vip.address)
    return [...kernel, ...this.#boundVips]
  }

  async #hold(id: number, addresses: readonly string[]): Promise<void> {
    this.#boundVips = addresses
    try {
      const report = await this.#proxy.setHeld(this.#heldAddresses(this.#state.document))
      this.#logFailures(report.failures, report.revision)
      // One port that cannot be had degrades this node; it does not take the VIP from the other listeners.
      this.#link.send({ type: 'listening', id, error: '' })
    } catch (error) {
      this.#link.send({ type: 'listening', id, error: (error as Error).message })
    }
  }

  // — proposals —

  #request(make: (id: number) => ToHeart): Promise<LinkResult> {
    const id = this.#nextId++
    return new Promise((resolve) => {
      this.#replies.set(id, resolve)
      this.#link.send(make(id))
    })
  }

  async #submit(submission: Submission): Promise<SubmitResult> {
    if (this.#outdated !== '') return { ok: false, refusal: { ok: false, code: 'not-supported', retrySafe: true, detail: this.#outdated } }
    if ((submission.level ?? 1) > this.#state.level) {
      const detail = `the cluster's commands are of levels up to ${this.#state.level} until the upgrade is finished (haechi upgrade finish)`
      return { ok: false, refusal: { ok: false, code: 'not-supported', retrySafe: true, detail } }
    }
    const command = { ...submission, id: randomUUID(), atEpochMs: Date.now() } as Command
    const applied = new Promise<SubmitResult>((resolve) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(command.id)
        resolve(unknownFate('it was not seen applied on this node in time'))
      }, applyWaitMs)
      this.#waiters.set(command.id, { resolve, timer })
    })
    const data = encodeCommand(command)
    const answered = this.#request((id) => ({ type: 'propose', id, data, priority: submission.kind === 'sessions' ? 'bulk' : 'normal' })).then((answer) => {
      const result = answer as ProposeResult
      const waiter = this.#waiters.get(command.id)
      if (result.ok || waiter === undefined) return applied
      clearTimeout(waiter.timer)
      this.#waiters.delete(command.id)
      return { ok: false, refusal: result } as const
    })
    // What is seen applied here needs no other answer: that of a leader which has gone meanwhile comes late or never.
    return Promise.race([applied, answered])
  }

  /** Of clients that persistence keeps on their members: in bulk, so that a flood of them delays nothing else. */
  async #proposeSessions(id: string, entries: readonly SessionUpdate[]): Promise<'done' | 'again' | 'refused'> {
    if (this.#outdated !== '') return 'refused'
    const actor = { name: 'system', from: '', node: this.#identity.id }
    const data = encodeCommand({ kind: 'sessions', id, actor, atEpochMs: Date.now(), entries })
    const result = (await this.#request((replyId) => ({ type: 'propose', id: replyId, data, priority: 'bulk' }))) as ProposeResult
    if (result.ok) return 'done'
    return result.code === 'too-large' || result.code === 'invalid' || result.code === 'not-supported' ? 'refused' : 'again'
  }

  async #readBarrier(): Promise<ReadBarrier> {
    const deadlineMs = performance.now() + readBarrierMs
    const timeout: ReadIndexResult = { ok: false, code: 'timeout', detail: 'no majority confirmed the leader in time' }
    const confirmed = await Promise.race([
      this.#request((id) => ({ type: 'read-index', id })) as Promise<ReadIndexResult>,
      sleep(readBarrierMs, timeout, { ref: false }),
    ])
    if (!confirmed.ok) {
      const { code, detail } = confirmed
      return { ok: false, code: code === 'overloaded' ? code : code === 'stopped' ? 'stopping' : 'no-quorum', detail }
    }
    if (await this.#appliedUpTo(confirmed.index, deadlineMs - performance.now())) return { ok: true }
    const detail = `this node has applied the log up to ${this.#state.appliedIndex} and would need ${confirmed.index}`
    return { ok: false, code: 'not-ready', detail }
  }

  /** Resolves with true once `index` is applied, with false after `timeoutMs`. */
  #appliedUpTo(index: number, timeoutMs: number): Promise<boolean> {
    if (this.#state.appliedIndex >= index) return Promise.resolve(true)
    return new Promise((resolve) => {
      const reader = {
        index,
        resolve: (applied: boolean): void => {
          clearTimeout(timer)
          this.#waitingReads.delete(reader)
          resolve(applied)
        },
      }
      const timer = setTimeout(() => reader.resolve(false), Math.max(0, timeoutMs))
      this.#waitingReads.add(reader)
    })
  }

  #applied(): void {
    for (const reader of this.#waitingReads) if (reader.index <= this.#state.appliedIndex) reader.resolve(true)
  }

  async #join(id: number, request: JoinRequest): Promise<void> {
    try {
      this.#link.send({ type: 'join-reply', id, result: await this.#admit(request) })
    } catch (error) {
      this.#link.send({ type: 'join-reply', id, result: { ok: false, error: (error as Error).message } })
    }
  }

  async #admit(request: JoinRequest): Promise<Extract<ToHeart, { type: 'join-reply' }>['result']> {
    const { peer } = request
    const { voters, learners } = this.#state.membership
    if ([...voters, ...learners].some((known) => known.id === peer.id)) {
      return { ok: false, error: `there is a node named ${peer.id} already; remove it first or choose another name` }
    }
    if ([...voters, ...learners].some((known) => known.address === peer.address)) {
      return { ok: false, error: `another node uses the address ${peer.address} already` }
    }
    // The certificate is made before the token is spent, so that a faulty request leaves the token usable.
    const { certificate, peer: member } = await signCsr(this.#directory, request.csr, peer)
    const spent = await this.#submit({
      kind: 'token-consume',
      actor: { name: 'join-token', from: peer.address, node: this.#identity.id },
      secretHash: createHash('sha256').update(request.secret).digest('hex'),
      peer,
      nowEpochMs: Date.now(),
      commandLevel: request.commandLevel ?? 1,
    })
    if (!spent.ok) return { ok: false, error: spent.refusal.detail }
    if (spent.outcome.code !== 'ok') return { ok: false, error: spent.outcome.detail }
    const added = await this.#request((replyId) => ({ type: 'add-peer', id: replyId, peer: member }))
    if (!added.ok) return { ok: false, error: `the cluster did not take the node in: ${added.detail}` }
    return {
      ok: true,
      response: {
        clusterId: this.#identity.clusterId,
        ...(this.#identity.generation === undefined ? {} : { generation: this.#identity.generation }),
        caCertificate: readFileSync(joinPath(this.#directory, 'ca.pem'), 'utf8'),
        certificate,
        caKey: peer.role === 'node' ? readFileSync(joinPath(this.#directory, 'ca.key'), 'utf8') : '',
        membership: this.#heart?.consensus.membership ?? this.#state.membership,
        ...('index' in added ? { joinedAtIndex: added.index } : {}),
      },
    }
  }

  /** Fixed now, made piece by piece: entries go on being applied meanwhile. */
  #snapshot(id: number): void {
    this.#link.send({ type: 'snapshot-begin', id, index: this.#state.appliedIndex })
    this.#snapshots.start(id, this.#state.snapshot(), (data) =>
      this.#link.send(data === undefined ? { type: 'snapshot-end', id } : { type: 'snapshot-chunk', id, data }),
    )
  }

  // — what the others know of this node, and it of them —

  #ownReport(): NodeReport {
    const health = new Map(this.#health.snapshot().map((entry) => [`${entry.pool}/${entry.member}`, entry]))
    const listeners = this.#proxy.listeners()
    const vips = this.#heart?.vips ?? []
    const failedVips = vips.filter((vip) => vip.error !== '')
    const degraded = [
      this.#outdated,
      this.#proxyFailed,
      this.#applyFailed,
      this.#apiFailed === '' ? '' : `API: ${this.#apiFailed}`,
      this.#heart?.consensus.storageError ?? '',
      this.#heart?.consensus.identityError ?? '',
      // The proxy's own word, not that of the last apply: it goes on trying, and may listen by now.
      ...listeners.filter(({ error }) => error !== '').map(({ name, error }) => `listener ${name}: ${error}`),
      ...this.#proxy.problems(),
      ...failedVips.map((vip) => `VIP ${vip.name}: ${vip.error}`),
      this.#preferenceProblem(),
      ...this.#certificates.problems,
      this.#caughtUp ? '' : 'catching up with the log',
    ].filter((text) => text !== '')
    return {
      id: this.#identity.id,
      atEpochMs: Date.now(),
      startedEpochMs: this.#startedEpochMs,
      revisionInForce: this.#revisionInForce,
      degraded: degraded.join('; '),
      appliedIndex: this.#state.appliedIndex,
      vips: vips.map((vip) => ({
        name: vip.name,
        address: vip.address,
        state: vip.state,
        sinceEpochMs: vip.sinceEpochMs,
        leaseRemainingMs: vip.fenceRemainingMs,
        error: vip.error,
      })),
      listeners,
      members: this.#proxy.members().map((member) => {
        const probed = health.get(`${member.pool}/${member.member}`)
        if (probed === undefined) return member
        // What live traffic says is known to the proxy alone.
        if (member.health === 'ejected') return { ...member, lastProbe: probed.lastProbe }
        return { ...member, health: probed.health, healthSinceEpochMs: probed.sinceEpochMs, lastProbe: probed.lastProbe }
      }),
      circuits: this.#proxy.circuits(),
      latencies: this.#latencies.take(this.#proxy.poolTraffic(), performance.now()),
      heartLoopGapMs: this.#heart?.loopGapMs ?? 0,
      ...(this.#heart === undefined ? {} : { heartLoopGapMaxMs: this.#heart.loopGapMaxMs }),
      heartResidentBytes: this.#heart?.residentBytes ?? 0,
      residentBytes: process.memoryUsage.rss(),
      version,
      ...(this.#heart === undefined ? {} : { heartPid: this.#heart.heartPid, heard: heardOf(this.#heart) }),
      stateHash: this.#state.hash((data) => createHash('sha256').update(data).digest('hex')),
    }
  }

  /** The document is valid without that node: members come and go by themselves. One report of it is enough, the leader's. */
  #preferenceProblem(): string {
    const { consensus } = this.#heart ?? {}
    const preferred = this.#state.document.failover?.preferredNode
    if (preferred === undefined || consensus?.role !== 'leader') return ''
    const peer = [...consensus.membership.voters, ...consensus.membership.learners].find(({ id }) => id === preferred)
    if (peer === undefined) return `failover: the preferred node ${preferred} is no member of the cluster`
    return peer.role === 'witness' ? `failover: the preferred node ${preferred} is a witness and cannot hold VIPs` : ''
  }

  #report(): NodeReport {
    const report = this.#ownReport()
    this.#reports.set(report.id, { report, receivedMs: performance.now() })
    this.#link.send({ type: 'gossip', data: this.#writer.write(report) })
    return report
  }

  #gossip(from: NodeId, data: Uint8Array): void {
    const reader = this.#readers.get(from) ?? new ReportReader()
    const report = reader.read(from, data)
    if (report === undefined) return
    this.#readers.set(from, reader)
    this.#reports.set(from, { report, receivedMs: performance.now() })
  }

  #freshReports(): Map<NodeId, NodeReport> {
    const now = performance.now()
    const fresh = new Map<NodeId, NodeReport>()
    for (const [id, { report, receivedMs }] of this.#reports) {
      if (now - receivedMs > 60_000) {
        this.#reports.delete(id)
        this.#readers.delete(id)
      } else if (now - receivedMs <= reportValidMs) fresh.set(id, report)
    }
    return fresh
  }

  #everySecond(): void {
    this.#report()
    this.#sessions.everySecond()
    if (this.#caughtUp && this.#outdated === '') this.#certificates.tick(this.#state, this.#heart?.consensus.role === 'leader')
    this.#rates.add(Date.now(), this.#freshReports(), performance.now())
  }

  #changed(): void {
    for (const listener of this.#changeListeners) listener()
  }

  // — the API —

  #context(): NodeContext {
    return {
      selfId: this.#identity.id,
      version,
      directory: this.#directory,
      state: () => this.#state,
      submit: (submission) => this.#submit(submission),
      readBarrier: () => this.#readBarrier(),
      heart: () => this.#heart,
      overview: (history) =>
        buildOverview({
          self: this.#identity.id,
          clusterId: this.#identity.clusterId,
          atEpochMs: Date.now(),
          revision: this.#state.revision,
          document: this.#state.document,
          heart: this.#heart,
          reports: this.#freshReports(),
          rates: this.#rates,
          expiring: this.#certificates.expiring,
          history,
        }),
      handOver: async (to) => {
        const result = await this.#request((id) => ({ type: 'transfer', id, to }))
        return result.ok ? { ok: true } : { ok: false, detail: result.detail }
      },
      removeNode: async (peerId) => (await this.#request((id) => ({ type: 'remove-peer', id, peerId }))) as ProposeResult,
      joinAnchor: () => ({
        caFingerprint: caFingerprint(this.#directory),
        addresses: this.#state.membership.voters.filter((peer) => peer.role === 'node').map((peer) => peer.address),
      }),
      sessionTable: () => this.#proxy.sessions,
      metrics: () => {
        const { revision, sessionCount: sessions } = this.#state
        const certificates = expiries(this.#state.certificates)
        return metricsText({ report: this.#ownReport(), heart: this.#heart, revision, sessions, sessionTable: this.#sessions.counters, certificates, traffic: this.#proxy.traffic() })
      },
      onChange: (listener) => {
        this.#changeListeners.add(listener)
        return () => this.#changeListeners.delete(listener)
      },
    }
  }

  #listenOptions(): Parameters<typeof createApi>[1] {
    const colon = this.#apiAddress.lastIndexOf(':')
    const host = this.#apiAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
    const read = (name: string): string => readFileSync(joinPath(this.#directory, name), 'utf8')
    return {
      host,
      port: Number(this.#apiAddress.slice(colon + 1)),
      ...(isLoopback(host) ? {} : { tls: { certificate: read('node.pem') + read('ca.pem'), key: read('node.key') } }),
      socketPath: joinPath(this.#directory, 'api.sock'),
      consoleDirectory: fileURLToPath(new URL('../webui/dist', import.meta.url)),
    }
  }

  async #stop(): Promise<void> {
    this.#stopping = true
    await Promise.all([this.#closeApi?.(), this.#proxy.stop(drainMs)])
    this.#health.stop()
    this.#sessions.stop()
    process.exit(0)
  }
}

/** Also when there is none (any more): the heart has to hear of that. */
function preferenceOf({ failover }: ConfigurationDocument): Extract<ToHeart, { type: 'prefer' }> {
  const { preferredNode = '', preempt = false, preemptDelay = '0ms' } = failover ?? {}
  return { type: 'prefer', preferred: preferredNode, preempt, preemptDelayMs: durationMs(preemptDelay) }
}

function isLoopback(address: string): boolean {
  if (address === 'localhost') return true
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'loopback'
}

/** How long ago this node heard from each peer, for those that do not hear it themselves. */
function heardOf(heart: HeartStatus): { id: string; agoMs: number }[] {
  return heart.consensus.peers.flatMap(({ peer, lastHeardAgoMs }) => (lastHeardAgoMs === null ? [] : [{ id: peer.id, agoMs: lastHeardAgoMs }]))
}

function unknownFate(detail: string): SubmitResult {
  return { ok: false, refusal: { ok: false, code: 'timeout', retrySafe: false, detail } }
}

const { values } = parseArgs({
  options: { dir: { type: 'string' }, api: { type: 'string' }, workers: { type: 'string' } },
})
if (values.dir === undefined) throw new Error('--dir is missing: the heart starts this process')
const workers = values.workers === undefined ? availableParallelism() : Number(values.workers)
await new Child({ directory: values.dir, api: values.api, workers }).start()

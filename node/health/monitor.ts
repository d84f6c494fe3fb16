/**
 * The active health checks of a node: probes every member at its interval and says when its health changes. The jitter
 * keeps probes of many members, and of many nodes, from falling into step.
 */
import { durationMs } from '../config/duration.ts'
import type { HealthCheck, Member, Pool } from '../config/schema.ts'
import type { MemberHealth } from '../observe/counters.ts'
import { bytesOf } from './payload.ts'
import { createProbe, type Probe, type ProbeResult, type ProbeTarget } from './probes.ts'
import { afterProbe, unchecked, type Transitions } from './transitions.ts'

export interface HealthMonitorOptions {
  /** A member has another health than before, or is new. Called synchronously, also from within `configure`. */
  readonly onChange: (pool: string, member: string, health: MemberHealth, detail: string) => void
  /** After each probe. `durationMs`: milliseconds. */
  readonly onProbe?: (pool: string, member: string, result: ProbeResult) => void
  readonly log?: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** Wall clock for people, milliseconds since the epoch. */
  readonly now?: () => number
  /** Monotonic milliseconds. */
  readonly monotonic?: () => number
  /** 0 ≤ x < 1. */
  readonly random?: () => number
  readonly probe?: Probe
  /** Where the programs of script checks are. Without it such checks fail. */
  readonly checksDirectory?: string
  /** Probes at once. Default 64. */
  readonly concurrency?: number
}

export interface MemberHealthStatus {
  readonly pool: string
  readonly member: string
  readonly health: MemberHealth
  readonly sinceEpochMs: number
  /** In words; empty before the first probe. */
  readonly lastProbe: string
  /** How often it turned between up and down since it is known. */
  readonly turns: number
}

/** What TLS checks need beside the configuration, which only names it (`tls` of the pool). */
export interface CheckCertificates {
  /** `certificates`: PEM. */
  readonly authorities: readonly { readonly name: string; readonly certificates: string }[]
  /** PEM. */
  readonly keyPairs: readonly { readonly name: string; readonly chain: string; readonly key: string }[]
}

export interface HealthMonitor {
  /** The pools as they are from now on. What is known of a member is kept as long as it is the same server. */
  configure(pools: readonly Pool[]): void
  /** For the probes from now on. */
  useCertificates(certificates: CheckCertificates): void
  snapshot(): MemberHealthStatus[]
  /** Ends all probes; nothing is called any more. */
  stop(): void
}

interface Watched {
  readonly pool: string
  member: Member
  check: HealthCheck
  tls: Pool['tls']
  proxyProtocol: Pool['sendProxyProtocol']
  transitions: Transitions
  health: MemberHealth
  sinceEpochMs: number
  lastProbe: string
  timer: NodeJS.Timeout | undefined
  /** A probe waits for its turn or runs; aborting it forgets its result. */
  running: AbortController | undefined
}

/** Of the interval, to either side. */
const jitter = 0.1

export function createHealthMonitor(options: HealthMonitorOptions): HealthMonitor {
  return new Monitor(options)
}

class Monitor implements HealthMonitor {
  readonly #options: HealthMonitorOptions
  readonly #now: () => number
  readonly #monotonic: () => number
  readonly #random: () => number
  readonly #concurrency: number
  readonly #probe: Probe
  readonly #watched = new Map<string, Watched>()
  #certificates: CheckCertificates = { authorities: [], keyPairs: [] }
  #active = 0
  /** By pool, so that each has its turn: one whose many members do not answer must not delay the others' probes. */
  readonly #waiting = new Map<string, Map<Watched, AbortController>>()
  #stopped = false

  constructor(options: HealthMonitorOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#monotonic = options.monotonic ?? (() => performance.now())
    this.#random = options.random ?? Math.random
    this.#concurrency = options.concurrency ?? 64
    this.#probe = options.probe ?? createProbe(options.checksDirectory)
  }

  configure(pools: readonly Pool[]): void {
    if (this.#stopped) return
    const wanted = new Set<string>()
    for (const pool of pools) {
      for (const member of pool.members) {
        const key = `${pool.name}/${member.name}`
        wanted.add(key)
        const watched = this.#watched.get(key)
        if (watched === undefined) this.#add(key, pool, member)
        else this.#update(watched, pool, member)
      }
    }
    for (const [key, watched] of this.#watched) {
      if (wanted.has(key)) continue
      this.#rest(watched)
      this.#watched.delete(key)
    }
  }

  useCertificates(certificates: CheckCertificates): void {
    this.#certificates = certificates
  }

  snapshot(): MemberHealthStatus[] {
    return [...this.#watched.values()].map(({ pool, member, health, sinceEpochMs, lastProbe, transitions }) => ({
      pool,
      member: member.name,
      health,
      sinceEpochMs,
      lastProbe,
      turns: transitions.turns,
    }))
  }

  stop(): void {
    this.#stopped = true
    for (const watched of this.#watched.values()) this.#rest(watched)
    this.#watched.clear()
  }

  #add(key: string, pool: Pool, member: Member): void {
    const watched: Watched = {
      pool: pool.name,
      member,
      check: pool.healthCheck,
      tls: pool.tls,
      proxyProtocol: pool.sendProxyProtocol,
      transitions: unchecked,
      health: healthOf(member, pool.healthCheck, unchecked),
      sinceEpochMs: this.#now(),
      lastProbe: '',
      timer: undefined,
      running: undefined,
    }
    this.#watched.set(key, watched)
    this.#options.onChange(watched.pool, member.name, watched.health, '')
    this.#start(watched)
  }

  #update(watched: Watched, pool: Pool, member: Member): void {
    const moved = member.address !== watched.member.address || member.port !== watched.member.port
    const otherCheck = JSON.stringify(pool.healthCheck) !== JSON.stringify(watched.check)
    const unprobedBefore = watched.check.type === 'none'
    const disabled = member.state === 'disabled'
    const enabledAgain = watched.member.state === 'disabled' && !disabled
    watched.member = member
    watched.check = pool.healthCheck
    watched.tls = pool.tls
    watched.proxyProtocol = pool.sendProxyProtocol
    // Another server, or one that was not looked at: what was known says nothing about now.
    if (moved || enabledAgain) {
      watched.transitions = unchecked
      watched.lastProbe = ''
    } else if (otherCheck) {
      // The same server, looked at in another way: it keeps its standing until the new probes have spoken, so that a
      // changed path does not take a whole pool out of service for a moment.
      watched.transitions = { ...watched.transitions, verdict: unprobedBefore ? 'up' : watched.transitions.verdict, against: 0 }
    }
    if (moved || otherCheck || disabled) this.#rest(watched)
    this.#show(watched, 'configured')
    if (watched.timer === undefined && watched.running === undefined) this.#start(watched)
  }

  #start(watched: Watched): void {
    if (!probed(watched)) return
    // The first verdict should be there soon: up to half a second, or less when the interval is shorter.
    this.#schedule(watched, this.#random() * Math.min(500, durationMs(watched.check.interval)))
  }

  #rest(watched: Watched): void {
    clearTimeout(watched.timer)
    watched.timer = undefined
    const { running } = watched
    watched.running = undefined
    this.#leave(watched)
    running?.abort()
  }

  #schedule(watched: Watched, delayMs: number): void {
    watched.timer = setTimeout(() => {
      watched.timer = undefined
      const controller = new AbortController()
      watched.running = controller
      if (!countsAsProbe(watched) || this.#active < this.#concurrency) void this.#run(watched, controller)
      else this.#wait(watched, controller)
    }, delayMs)
  }

  #wait(watched: Watched, controller: AbortController): void {
    let ofPool = this.#waiting.get(watched.pool)
    if (ofPool === undefined) this.#waiting.set(watched.pool, (ofPool = new Map()))
    ofPool.set(watched, controller)
  }

  #leave(watched: Watched): void {
    const ofPool = this.#waiting.get(watched.pool)
    if (ofPool?.delete(watched) === true && ofPool.size === 0) this.#waiting.delete(watched.pool)
  }

  async #run(watched: Watched, controller: AbortController): Promise<void> {
    const counts = countsAsProbe(watched)
    if (counts) this.#active++
    const startedMs = this.#monotonic()
    const result = await this.#probe(targetOf(watched, this.#certificates), this.#monotonic, controller.signal)
    if (counts) this.#active--
    this.#next()
    if (watched.running !== controller) return
    watched.running = undefined
    watched.lastProbe = result.detail
    watched.transitions = afterProbe(watched.transitions, result.success, watched.check)
    const { pool, member } = watched
    this.#options.onProbe?.(pool, member.name, result)
    this.#show(watched, result.detail)
    // A callback may have reconfigured or stopped the monitor.
    const busy = watched.timer !== undefined || watched.running !== undefined
    if (this.#stopped || busy || !this.#isWatched(watched) || !probed(watched)) return
    const { interval, downInterval = interval } = watched.check
    const intervalMs = durationMs(watched.transitions.verdict === 'down' ? downInterval : interval) * (1 - jitter + 2 * jitter * this.#random())
    this.#schedule(watched, Math.max(1, intervalMs - (this.#monotonic() - startedMs)))
  }

  #isWatched(watched: Watched): boolean {
    return this.#watched.get(`${watched.pool}/${watched.member.name}`) === watched
  }

  #next(): void {
    if (this.#active >= this.#concurrency) return
    for (const [pool, ofPool] of this.#waiting) {
      // It goes behind the others.
      this.#waiting.delete(pool)
      for (const [watched, controller] of ofPool) {
        ofPool.delete(watched)
        if (ofPool.size > 0) this.#waiting.set(pool, ofPool)
        return void this.#run(watched, controller)
      }
    }
  }

  #show(watched: Watched, detail: string): void {
    const health = healthOf(watched.member, watched.check, watched.transitions)
    if (health === watched.health) return
    const before = watched.health
    watched.health = health
    watched.sinceEpochMs = this.#now()
    const { pool, member } = watched
    const fields = { pool, member: member.name, before, detail }
    this.#options.log?.(health === 'down' ? 'warn' : 'info', `member ${pool}/${member.name} is ${health}`, fields)
    this.#options.onChange(pool, member.name, health, detail)
  }
}

function healthOf(member: Member, check: HealthCheck, { verdict }: Transitions): MemberHealth {
  if (member.state === 'disabled') return 'disabled'
  if (member.state === 'drain') return 'draining'
  return check.type === 'none' ? 'up' : verdict
}

function probed({ member, check }: Watched): boolean {
  return member.state !== 'disabled' && check.type !== 'none'
}

/** Programs wait for a turn of their own (`script-probe.ts`), and must not wait in the place of others. */
function countsAsProbe({ check }: Watched): boolean {
  return check.type !== 'script'
}

function targetOf({ member, check, tls, proxyProtocol = 'off' }: Watched, certificates: CheckCertificates): ProbeTarget {
  const { maxLatency, method, headers, expectBody, verify, sni, send, expect, script } = check
  return {
    ...(check.type === 'tls' || check.type === 'https' ? trustOf(tls, verify ?? false, certificates) : {}),
    // A member without a check is not probed.
    type: check.type === 'none' ? 'tcp' : check.type,
    address: check.address ?? member.address,
    port: check.port ?? member.port,
    // A port of its own for checks is not the one that expects the header.
    ...(proxyProtocol === 'off' || check.port !== undefined || check.address !== undefined ? {} : { proxyProtocol }),
    path: check.path,
    host: check.host,
    expectStatus: check.expectStatus,
    timeoutMs: durationMs(check.timeout),
    ...(maxLatency === undefined ? {} : { maxLatencyMs: durationMs(maxLatency) }),
    ...(method === undefined ? {} : { method }),
    ...(headers === undefined ? {} : { headers }),
    ...(expectBody === undefined ? {} : { expectBody }),
    ...(verify === undefined ? {} : { verify }),
    ...(sni === undefined ? {} : { sni }),
    ...(send === undefined ? {} : { send: bytesOf(send) }),
    ...(expect === undefined ? {} : { expect: bytesOf(expect) }),
    ...(script === undefined ? {} : { script }),
  }
}

/** What the pool's own TLS says about whom to believe, and what to show. */
function trustOf(tls: Pool['tls'], verify: boolean, { authorities, keyPairs }: CheckCertificates): Partial<ProbeTarget> {
  if (tls === undefined) return {}
  const authority = authorities.find(({ name }) => name === tls.authority)
  const keyPair = keyPairs.find(({ name }) => name === tls.certificate)
  if (verify && tls.authority !== undefined && authority === undefined) return { fault: `there is no authority ${tls.authority} to verify with` }
  if (tls.certificate !== undefined && keyPair === undefined) return { fault: `there is no certificate ${tls.certificate} to show` }
  return {
    // A check that names its own comes after this.
    ...(tls.serverName === '' ? {} : { sni: tls.serverName }),
    ...(authority === undefined ? {} : { authorities: authority.certificates }),
    ...(keyPair === undefined ? {} : { keyPair: { chain: keyPair.chain, key: keyPair.key } }),
  }
}

/**
 * Carries out what the lease machine says: fence, addresses and announcements in kernel mode; lock and listeners in bind mode.
 * Order of acquiring: fence open → address → announcements. Order of giving up: fence closed → address removed.
 */
import { Addresses } from './addresses.ts'
import { gratuitousArp, unsolicitedAdvertisement } from './announce/frames.ts'
import { BindLock, defaultBindLockPort } from './bind-lock.ts'
import { defaultTable } from './fence/close.ts'
import { LeaseSets } from './fence/lease-sets.ts'
import { installTable, removeTable, updatesInPlace } from './fence/table.ts'
import { VipMachine } from './machine.ts'
import { PacketSocket } from './syscalls.ts'
import type { VipLease, VipManager, VipSpec, VipState, VipStatus } from './types.ts'

export interface VipManagerOptions {
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** Bind mode: listen on exactly these VIP addresses. Resolves with an error text, or empty. */
  readonly listenChange?: (addresses: readonly string[]) => Promise<string>
  readonly bindLockPort?: number
  readonly tableName?: string
}

/** How often the kernel lifetime of a held address is renewed. */
const addressRenewMs = 500
const lockRetryMs = 20
const tableRetryMs = 500

interface Vip {
  readonly spec: VipSpec
  state: VipState
  sinceEpochMs: number
  error: string
  announcements: number
  /** Kernel mode: the address is on the interface (as far as this process knows), and when its lifetime was last renewed. */
  added: boolean
  renewedMs: number
  /** Bind mode. */
  lock: BindLock | undefined
}

export function createVipManager(options: VipManagerOptions): VipManager {
  return new Manager(options)
}

class Manager implements VipManager {
  readonly #options: VipManagerOptions
  readonly #log: VipManagerOptions['log']
  readonly #table: string
  readonly #machine = new VipMachine()
  #vips: Vip[] = []
  readonly #listeners: ((status: readonly VipStatus[]) => void)[] = []

  #sets: LeaseSets | undefined
  #addresses: Addresses | undefined
  #packets: PacketSocket | undefined
  /** Why kernel mode cannot work; empty when the table stands or is being made. */
  #fenceError = ''
  #fenceStands = false
  #fenceUntilMs = 0
  #egressKnown: boolean | undefined

  #timer: NodeJS.Timeout | undefined
  #tableRetry: NodeJS.Timeout | undefined
  #configuring: Promise<void> = Promise.resolve()
  #binding: Promise<void> = Promise.resolve()
  #bindQueued = false
  #stopped = false

  constructor(options: VipManagerOptions) {
    this.#options = options
    this.#log = options.log
    this.#table = options.tableName ?? defaultTable
  }

  // — configuration —

  configure(specs: readonly VipSpec[]): Promise<void> {
    this.#configuring = this.#configuring.then(() => this.#configure(specs))
    return this.#configuring
  }

  async #configure(specs: readonly VipSpec[]): Promise<void> {
    const same = (a: VipSpec, b: VipSpec): boolean =>
      a.name === b.name && a.address === b.address && a.prefixLength === b.prefixLength && a.interface === b.interface && a.announcer === b.announcer
    if (specs.length === this.#vips.length && specs.every((spec, i) => same(spec, this.#vips[i]!.spec))) return
    const kernelBefore = this.#kernelVips().map((vip) => vip.spec)
    const kept = specs.map((spec) => this.#vips.find((vip) => same(vip.spec, spec)) ?? newVip(spec))
    const removed = this.#vips.filter((vip) => !kept.includes(vip))
    const kernel = specs.filter((spec) => spec.announcer === 'kernel')
    const changed = kernel.length !== kernelBefore.length || kernel.some((spec, i) => !same(spec, kernelBefore[i]!))
    this.#vips = kept
    // What is no longer wanted loses its address while it is still guarded.
    for (const vip of removed) {
      this.#withdraw(vip)
      vip.lock?.release()
    }
    if (changed) await this.#installFence()
    this.#drive()
    this.#changed()
  }

  async #installFence(): Promise<void> {
    clearTimeout(this.#tableRetry)
    const guarded = this.#kernelVips().map(({ spec }) => ({ address: spec.address, interface: spec.interface }))
    try {
      this.#addresses ??= new Addresses()
      this.#packets ??= new PacketSocket()
      this.#sets ??= new LeaseSets(this.#table, await updatesInPlace(this.#table))
    } catch (error) {
      this.#fenceError = `no permission for the kernel's network settings (${(error as Error).message}); run as root or with CAP_NET_ADMIN and CAP_NET_RAW`
      this.#log('error', `VIPs cannot be held: ${this.#fenceError}`)
      return
    }
    this.#fenceUntilMs = 0
    const { error, egress } = await installTable(this.#table, guarded)
    this.#fenceError = error
    this.#fenceStands = error === ''
    this.#sets.setEgress(egress)
    if (error !== '') {
      this.#log('error', `the fence could not be set up: ${error}`)
      this.#tableRetry = setTimeout(() => void this.configureAgain(), tableRetryMs)
    } else if (this.#egressKnown !== egress) {
      this.#egressKnown = egress
      this.#log('info', `fence set up, ${egress ? 'announcements guarded by the egress hook' : 'no egress hook: announcements are guarded by the lease check alone'}`)
    }
  }

  /** After the table vanished under us, or could not be made: make it again, then go on. */
  async configureAgain(): Promise<void> {
    this.#configuring = this.#configuring.then(async () => {
      if (this.#stopped) return
      await this.#installFence()
      this.#drive()
    })
    return this.#configuring
  }

  // — inputs —

  lease(lease: VipLease): void {
    this.#machine.lease(lease)
    this.#drive()
  }

  setFit(fit: boolean): void {
    this.#machine.setFit(fit)
    this.#drive()
  }

  async close(): Promise<void> {
    this.#machine.close()
    this.#drive()
    await this.#binding
  }

  status(): readonly VipStatus[] {
    const now = performance.now()
    return this.#vips.map(({ spec, state, sinceEpochMs, error, announcements }) => ({
      name: spec.name,
      address: spec.address,
      state,
      sinceEpochMs,
      error,
      announcements,
      fenceRemainingMs: state === 'held' ? Math.max(0, Math.round((spec.announcer === 'kernel' ? this.#fenceUntilMs : (this.#machine.mayAnswerUntil(now) ?? 0)) - now)) : 0,
    }))
  }

  onChange(listener: (status: readonly VipStatus[]) => void): void {
    this.#listeners.push(listener)
  }

  async stop(): Promise<void> {
    await this.close()
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#tableRetry)
    await this.#configuring
    // Without addresses there is nothing left to guard: the machine is left as it was found.
    if (this.#sets !== undefined && this.#vips.every((vip) => !vip.added)) await removeTable(this.#table)
    this.#sets?.dispose()
    this.#addresses?.dispose()
    this.#packets?.close()
    this.#sets = undefined
  }

  // — the one place where things happen —

  #drive(): void {
    if (this.#stopped) return
    const now = performance.now()
    const untilMs = this.#machine.mayAnswerUntil(now)
    if (this.#kernelVips().length > 0) {
      if (untilMs === undefined) this.#closeKernel()
      else this.#holdKernel(untilMs)
    }
    if (this.#vips.some((vip) => vip.spec.announcer === 'bind')) this.#queueBind()
    this.#arm()
  }

  /** Wakes up for the end of the lease and for the next announcement. */
  #arm(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const now = performance.now()
    const untilMs = this.#machine.mayAnswerUntil(now)
    if (untilMs === undefined || this.#stopped) return
    const due = Math.min(untilMs, this.#machine.announcementDueMs() ?? Infinity)
    this.#timer = setTimeout(() => this.#drive(), Math.max(0, Math.ceil(due - now)))
  }

  #closeKernel(): void {
    if (this.#fenceUntilMs > 0) {
      const result = this.#sets?.close()
      if (result !== undefined && !result.ok && result.code !== 'ENOENT') this.#log('error', `fence not closed: ${result.code}; it closes by itself`)
      this.#fenceUntilMs = 0
    }
    for (const vip of this.#kernelVips()) this.#withdraw(vip)
  }

  #withdraw(vip: Vip): void {
    if (vip.added) {
      const { address, prefixLength, interface: device } = vip.spec
      const error = this.#addresses?.remove(address, prefixLength, device) ?? ''
      if (error !== '') this.#log('warn', `VIP ${vip.spec.name}: ${error}`)
      vip.added = false
    }
    if (vip.spec.announcer === 'kernel') this.#enter(vip, 'released', '')
  }

  #holdKernel(untilMs: number): void {
    const sets = this.#sets
    const addresses = this.#addresses
    const wanted = this.#kernelVips()
    if (sets === undefined || addresses === undefined || !this.#fenceStands) {
      // Still being made is no failure: nobody has to hand over because of it.
      for (const vip of wanted) this.#enter(vip, this.#fenceError === '' ? 'acquiring' : 'failed', this.#fenceError)
      return
    }
    const linksChanged = addresses.linksChanged()
    const usable = wanted.filter((vip) => this.#usable(vip, addresses, linksChanged))
    const renewed = sets.renew(usable.map((vip) => vip.spec.address), untilMs - performance.now())
    const now = performance.now()
    if (now >= untilMs) {
      // A pause between reading the clock and here: what was renewed was late. Close before anything is said or sent.
      this.#fenceUntilMs = untilMs
      this.#closeKernel()
      return
    }
    if (!renewed.ok) {
      this.#fenceLost(renewed.code)
      return
    }
    this.#fenceUntilMs = untilMs
    let acquired = false
    for (const vip of usable) {
      if (!vip.added || now - vip.renewedMs >= addressRenewMs) {
        const fresh = !vip.added
        const error = addresses.put(vip.spec.address, vip.spec.prefixLength, vip.spec.interface)
        if (error !== '') {
          this.#enter(vip, 'failed', error)
          continue
        }
        vip.added = true
        vip.renewedMs = now
        acquired ||= fresh
      }
      this.#enter(vip, 'held', '')
    }
    if (acquired) {
      this.#machine.acquired(now)
      this.#machine.announceAgain(now)
    }
    if (this.#machine.takeAnnouncement(performance.now())) for (const vip of usable) this.#announce(vip, addresses)
  }

  /** Someone removed the table (`nft flush ruleset`): without a fence nothing is held. */
  #fenceLost(code: string): void {
    this.#log('error', `the fence was removed by another program (${code}); VIPs are released until it is set up again`)
    this.#fenceError = `the fence was removed by another program (${code})`
    this.#fenceStands = false
    this.#fenceUntilMs = 0
    for (const vip of this.#kernelVips()) {
      this.#withdraw(vip)
      this.#enter(vip, 'failed', this.#fenceError)
    }
    void this.configureAgain()
  }

  #usable(vip: Vip, addresses: Addresses, linksChanged: boolean): boolean {
    // Looked at only when something changed; asking for each renewal would cost more than the renewal.
    if (vip.state !== 'held' || linksChanged) {
      const { interface: device } = vip.spec
      const link = device === '' ? undefined : addresses.link(device)
      const error =
        device === '' ? `no interface of this node has a subnet with ${vip.spec.address}; name one in the VIP's interface`
        : link === undefined ? `there is no interface ${device}`
        : link.running ? '' : `interface ${device} is down`
      if (error !== '') {
        this.#withdraw(vip)
        this.#enter(vip, 'failed', error)
        return false
      }
    }
    return true
  }

  #announce(vip: Vip, addresses: Addresses): void {
    if (!vip.added) return
    const { address, interface: device } = vip.spec
    const link = addresses.link(device)
    if (link === undefined || this.#packets === undefined) return
    const frames = address.includes(':')
      ? [unsolicitedAdvertisement(address, link.mac)]
      : [gratuitousArp(address, link.mac, 'request'), gratuitousArp(address, link.mac, 'reply')]
    try {
      for (const frame of frames) {
        // Immediately before each: a pause may have hit since the last check.
        if (this.#machine.mayAnswerUntil(performance.now()) === undefined) return
        this.#packets.send(link.index, frame)
      }
      vip.announcements++
    } catch (error) {
      this.#log('warn', `VIP ${vip.spec.name} could not be announced: ${(error as Error).message}`)
    }
  }

  // — bind mode —

  #queueBind(): void {
    if (this.#bindQueued) return
    const wantsHeld = this.#machine.mayAnswerUntil(performance.now()) !== undefined
    const settled = this.#bindVips().every((vip) => (vip.state === 'held') === wantsHeld && (wantsHeld || vip.lock?.taken !== true))
    if (settled) return
    this.#bindQueued = true
    this.#binding = this.#binding.then(() => {
      this.#bindQueued = false
      return this.#bind()
    })
  }

  async #bind(): Promise<void> {
    const vips = this.#bindVips()
    const held = (): boolean => this.#machine.mayAnswerUntil(performance.now()) !== undefined
    if (!held()) {
      const listening = vips.filter((vip) => vip.lock?.taken === true)
      if (listening.length > 0) await this.#options.listenChange?.([])
      for (const vip of vips) {
        vip.lock?.release()
        this.#enter(vip, 'released', '')
      }
      return
    }
    let missing = false
    for (const vip of vips) {
      vip.lock ??= new BindLock(vip.spec.address, this.#options.bindLockPort ?? defaultBindLockPort)
      if (vip.lock.taken) continue
      this.#enter(vip, vip.state === 'failed' ? 'failed' : 'acquiring', vip.error)
      const error = await vip.lock.take()
      if (error !== '') {
        missing = true
        this.#enter(vip, 'failed', `${vip.spec.address} cannot be taken: ${error}`)
      }
    }
    const taken = vips.filter((vip) => vip.lock?.taken === true)
    if (taken.some((vip) => vip.state !== 'held')) {
      const error = (await this.#options.listenChange?.(taken.map((vip) => vip.spec.address))) ?? ''
      if (held()) {
        for (const vip of taken) this.#enter(vip, error === '' ? 'held' : 'failed', error)
        this.#machine.acquired(performance.now())
      }
    }
    if (missing || !held()) setTimeout(() => this.#drive(), lockRetryMs)
  }

  // — bookkeeping —

  #kernelVips(): Vip[] {
    return this.#vips.filter((vip) => vip.spec.announcer === 'kernel')
  }
  #bindVips(): Vip[] {
    return this.#vips.filter((vip) => vip.spec.announcer === 'bind')
  }

  #enter(vip: Vip, state: VipState, error: string): void {
    if (vip.state === state && vip.error === error) return
    vip.state = state
    vip.error = error
    vip.sinceEpochMs = Date.now()
    this.#log(state === 'failed' ? 'error' : 'info', `VIP ${vip.spec.name} (${vip.spec.address}): ${state}${error === '' ? '' : `: ${error}`}`)
    this.#changed()
  }

  #changed(): void {
    const status = this.status()
    for (const listener of this.#listeners) listener(status)
  }
}

function newVip(spec: VipSpec): Vip {
  return {
    spec, state: 'released', sinceEpochMs: Date.now(), error: '', announcements: 0, added: false, renewedMs: -Infinity, lock: undefined,
  }
}

/**
 * Carries out what the lease machine says: fence, addresses and announcements in kernel mode; lock and listeners in bind mode.
 * Order of acquiring: fence open → address → announcements. Order of giving up: fence closed → address removed.
 * Everything in kernel mode happens synchronously inside the call that caused it.
 */
import ipaddr from 'ipaddr.js'
import { addressLifetimeS, addressRenewMs, Addresses, type Link } from './addresses.ts'
import { BindAnnouncer, defaultBindLockPort } from './announce/bind.ts'
import { Announcer } from './announce/packets.ts'
import { Fence } from './fence/fence.ts'
import { VipMachine, type Desired, type VipEvent } from './machine.ts'
import { SyscallError } from './syscalls.ts'
import type { VipLease, VipManager, VipSpec, VipState, VipStatus } from './types.ts'

export interface VipManagerOptions {
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** Bind mode: listen on exactly these VIP addresses. Resolves with an error text, or empty. */
  readonly listenChange?: (addresses: readonly string[]) => Promise<string>
  readonly bindLockPort?: number
  readonly tableName?: string
  /** See `FenceOptions.asOnOldKernels`. For tests. */
  readonly asOnOldKernels?: boolean
}

/** How often the kernel is asked whether a link changed; one system call. */
const linkPollMs = 100
/** After an address could not be added. */
const addressRetryMs = 1000
/** After the fence could not be opened, though it stands. */
const fenceRetryMs = 20
/** After the fence could not be set up. */
const setUpRetryMs = 2000

interface Shown {
  state: VipState
  error: string
  sinceEpochMs: number
  announcements: number
}

/** What needs the kernel's permission; made with the first kernel-mode VIP. */
interface Kernel {
  readonly fence: Fence
  readonly addresses: Addresses
  readonly announcer: Announcer
}

export function createVipManager(options: VipManagerOptions): VipManager {
  return new Manager(options)
}

class Manager implements VipManager {
  readonly #options: VipManagerOptions
  readonly #log: VipManagerOptions['log']
  readonly #machine = new VipMachine()
  readonly #bind: BindAnnouncer
  readonly #listeners: ((status: readonly VipStatus[]) => void)[] = []
  #specs: readonly VipSpec[] = []
  readonly #shown = new Map<string, Shown>()
  #desired: Desired = { open: [], untilMs: 0, announce: [], states: [], wakeMs: Infinity }

  #kernel: Kernel | undefined
  /** The tables stand. */
  #fenced = false
  /** Addresses put on an interface by this process, and when their lifetime was last renewed. */
  readonly #present = new Map<string, { readonly spec: VipSpec; renewedMs: number }>()
  readonly #links = new Map<string, Link | undefined>()

  readonly #events: VipEvent[] = []
  #working = false
  #wake: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined
  #setUpRetry: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: VipManagerOptions) {
    this.#options = options
    this.#log = options.log
    this.#bind = new BindAnnouncer({
      lockPort: options.bindLockPort ?? defaultBindLockPort,
      clock: () => performance.now(),
      listenChange: options.listenChange ?? (() => Promise.resolve('nothing here can listen')),
      report: (address, outcome, error) => {
        const name = this.#specs.find((spec) => spec.announcer === 'bind' && spec.address === address)?.name
        if (name === undefined) return
        this.#handle(outcome === 'acquired' ? { type: 'acquired', name } : { type: 'blocked', name, error })
      },
    })
  }

  // — inputs —

  async configure(vips: readonly VipSpec[]): Promise<void> {
    if (this.#stopped) return
    // One spelling of an address, the kernel's; in bind mode the listeners' owner has to recognise its own.
    const specs = vips.map((spec) => (spec.announcer === 'kernel' ? { ...spec, address: ipaddr.parse(spec.address).toString() } : spec))
    this.#specs = specs
    for (const name of this.#shown.keys()) if (!specs.some((spec) => spec.name === name)) this.#shown.delete(name)
    // First what is no longer wanted: closed, then without its address, all while it is still guarded.
    this.#handle({ type: 'configure', vips: specs })
    this.#setUp()
    await this.#bind.settled()
  }

  lease(lease: VipLease): void {
    this.#handle({ type: 'lease', lease })
  }

  setFit(fit: boolean): void {
    this.#handle({ type: 'fit', fit })
  }

  async close(): Promise<void> {
    this.#handle({ type: 'close' })
    // Normally 0: the kernel has confirmed. If it could not, its own timeouts close the fence, and only then is it closed.
    const openForMs = (this.#kernel?.fence.untilMs ?? 0) - performance.now()
    if (openForMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.ceil(openForMs)))
    await this.#bind.settled()
  }

  status(): readonly VipStatus[] {
    const now = performance.now()
    const fencedMs = Math.max(0, (this.#kernel?.fence.untilMs ?? 0) - now)
    const open = new Set(this.#desired.open.map(({ name }) => name))
    return this.#specs.map(({ name, address, announcer }) => {
      const { state, error, sinceEpochMs, announcements } = this.#show(name)
      const remainingMs = announcer === 'kernel' ? fencedMs : Math.max(0, this.#desired.untilMs - now)
      return { name, address, state, sinceEpochMs, fenceRemainingMs: open.has(name) ? Math.floor(remainingMs) : 0, announcements, error }
    })
  }

  onChange(listener: (status: readonly VipStatus[]) => void): void {
    this.#listeners.push(listener)
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    await this.close()
    this.#stopped = true
    clearTimeout(this.#wake)
    clearInterval(this.#poll)
    clearTimeout(this.#setUpRetry)
    const kernel = this.#kernel
    if (kernel === undefined) return
    // Without addresses there is nothing left to guard: the machine is left as it was found. What the kernel says counts.
    const left = kernel.addresses.present().find(({ address }) => kernel.fence.guarded.has(address))
    if (left !== undefined) this.#log('warn', `${left.address} is still on an interface: it stays guarded`)
    else if (this.#fenced) {
      const code = kernel.fence.remove()
      if (code !== '') this.#log('warn', `the fence's tables could not be removed: ${code}`)
    }
    kernel.fence.dispose()
    kernel.addresses.dispose()
    kernel.announcer.close()
    this.#kernel = undefined
  }

  // — the one place where things happen —

  /** Events that carrying out gives rise to are handled in turn, listeners hear of the result. */
  #handle(event: VipEvent): void {
    if (this.#stopped) return
    this.#events.push(event)
    if (this.#working) return
    this.#working = true
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) {
        this.#desired = this.#machine.step(next, performance.now())
        this.#carryOut(this.#desired)
      }
    } finally {
      this.#working = false
    }
    this.#arm()
    this.#tell()
  }

  #carryOut(desired: Desired): void {
    if (this.#kernel !== undefined) this.#carryOutInKernel(this.#kernel, desired)
    this.#bind.want(desired.open.filter(({ announcer }) => announcer === 'bind').map(({ address }) => address))
  }

  #carryOutInKernel(kernel: Kernel, { open, untilMs, announce }: Desired): void {
    const wanted = open.filter(({ announcer }) => announcer === 'kernel')
    if (!this.#moveFence(kernel, wanted, untilMs)) {
      for (const held of this.#present.values()) this.#withdraw(kernel, held.spec)
      return
    }
    for (const { spec } of this.#present.values()) if (!wanted.includes(spec)) this.#withdraw(kernel, spec)
    const lifetimeS = addressLifetimeS(untilMs - performance.now())
    for (const spec of wanted) this.#keepAddress(kernel, spec, lifetimeS)
    for (const spec of announce) if (wanted.includes(spec) && this.#present.has(spec.name)) this.#announce(kernel, spec, untilMs)
  }

  /** Opens exactly these until then. False: nothing may be answered for. */
  #moveFence({ fence }: Kernel, wanted: readonly VipSpec[], untilMs: number): boolean {
    if (wanted.length === 0) {
      if (fence.untilMs === 0) return true
      const code = fence.close()
      if (code === 'ENOENT') this.#fenceLost()
      else if (code !== '') this.#log('error', `the fence could not be closed (${code}); the kernel closes it when the lease ends`)
      return code === ''
    }
    const addresses = wanted.map(({ address }) => address)
    let code = fence.open(addresses, untilMs)
    // `nft flush ruleset`, a reload of a firewall. Set up again and opened at once, it costs the clients a moment.
    if (code === 'ENOENT' && this.#fenceLost()) code = fence.open(addresses, untilMs)
    if (code === '') return true
    if (code === 'EXPIRED' || code === 'SLOW') {
      // Too little is left, or a pause hit, or the kernel took too long: this lease is as good as over. The next one counts.
      if (code === 'SLOW') this.#log('warn', 'the kernel took too long to renew the fence; VIPs are released until the next renewal of the lease')
      this.#events.push({ type: 'lease', lease: null })
      return false
    }
    const error = `the fence could not be opened: ${code}`
    this.#log('error', error)
    for (const { name } of wanted) this.#events.push({ type: 'failed', name, error, retryMs: fenceRetryMs })
    return false
  }

  #keepAddress({ addresses }: Kernel, spec: VipSpec, lifetimeS: number): void {
    const now = performance.now()
    const held = this.#present.get(spec.name)
    if (held !== undefined && now - held.renewedMs < addressRenewMs) return
    const error = addresses.put(spec.address, spec.prefixLength, spec.interface, lifetimeS)
    if (error !== '') {
      this.#events.push({ type: 'failed', name: spec.name, error, retryMs: addressRetryMs })
      return
    }
    if (held !== undefined) held.renewedMs = now
    else {
      this.#present.set(spec.name, { spec, renewedMs: now })
      this.#events.push({ type: 'acquired', name: spec.name })
    }
  }

  #withdraw({ addresses }: Kernel, spec: VipSpec): void {
    const error = addresses.remove(spec.address, spec.prefixLength, spec.interface)
    // Still guarded and closed, and the kernel removes it at the end of its lifetime.
    if (error !== '') this.#log('warn', `VIP ${spec.name}: ${error}`)
    this.#present.delete(spec.name)
  }

  #announce({ announcer }: Kernel, spec: VipSpec, untilMs: number): void {
    const link = this.#links.get(spec.interface)
    if (link === undefined || !link.announces) return
    const code = announcer.announce(spec.address, spec.interface, link, () => performance.now() < untilMs)
    if (code === '') this.#show(spec.name).announcements++
    else if (code !== false) this.#log('warn', `VIP ${spec.name} could not be announced: ${code}`)
  }

  // — fence and links —

  /** Guards every kernel-mode VIP, clears away what an earlier process or configuration left, then lets the machine go on. */
  #setUp(): void {
    clearTimeout(this.#setUpRetry)
    for (const { name, announcer } of this.#specs) if (announcer === 'bind') this.#handle({ type: 'guarded', name })
    const specs = this.#specs.filter(({ announcer }) => announcer === 'kernel')
    if (specs.length === 0 && this.#kernel === undefined) return
    const occupied = new Set<string>()
    const error = this.#guard(specs, occupied)
    if (error !== '') {
      this.#log('error', `VIPs cannot be held: ${error}`)
      for (const { name } of specs) this.#handle({ type: 'refused', name, error })
      this.#setUpRetry = setTimeout(() => this.#setUp(), setUpRetryMs)
      return
    }
    this.#lookAtLinks()
    for (const spec of specs) {
      const refusal = occupied.has(spec.address)
        ? `${spec.address} is configured on this node by another program: take it out of the network configuration, or choose another VIP`
        : this.#refusalOf(spec)
      this.#handle(refusal === '' ? { type: 'guarded', name: spec.name } : { type: 'refused', name: spec.name, error: refusal })
    }
    this.#poll ??= setInterval(() => this.#pollLinks(), linkPollMs).unref()
  }

  #refusalOf(spec: VipSpec): string {
    if (spec.interface === '') return `no interface of this node has a subnet with ${spec.address}; name one in the VIP's interface`
    const first = this.#specs.find(({ address }) => address === spec.address)
    return first === spec ? '' : `VIP ${first?.name} has the address ${spec.address} already`
  }

  /** Returns an error for people, or empty; `occupied`: addresses that another program configured for good on this host. Such an
   *  address is not ours to guard or to remove: it may be the one by which the operator reaches this node. */
  #guard(specs: readonly VipSpec[], occupied: Set<string>): string {
    try {
      this.#kernel ??= this.#openKernel()
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error
      return `no permission for the kernel's network settings (${error.message}): run as root or give CAP_NET_ADMIN and CAP_NET_RAW`
    }
    const { fence, addresses } = this.#kernel
    const present = addresses.present()
    for (const { address, permanent } of present) if (permanent && !fence.guarded.has(address)) occupied.add(address)
    const wanted = specs.map(({ address }) => address).filter((address) => !occupied.has(address))
    let failed = this.#fenced ? fence.guard(wanted) : 'not set up yet'
    if (failed !== '') failed = this.#install(this.#kernel, wanted)
    if (failed !== '') return failed
    // Nothing that is guarded may be on an interface without a lease of this process. Removed while guarded.
    const own = new Set([...this.#present.values()].map(({ spec }) => spec.address))
    let left = false
    for (const { address, prefixLength, index, permanent } of present) {
      if (!fence.guarded.has(address) || own.has(address) || permanent) continue
      this.#log('warn', `${address} is still on an interface, from an earlier process: removed`)
      left = addresses.remove(address, prefixLength, index) !== '' || left
    }
    return left ? '' : fence.unguard([...fence.guarded].filter((address) => !wanted.includes(address) && !occupied.has(address)))
  }

  #openKernel(): Kernel {
    const addresses = new Addresses()
    try {
      const announcer = new Announcer()
      const { tableName: table, asOnOldKernels } = this.#options
      const fence = new Fence({
        clock: () => performance.now(),
        ...(table === undefined ? {} : { table }),
        ...(asOnOldKernels === undefined ? {} : { asOnOldKernels }),
      })
      return { addresses, announcer, fence }
    } catch (error) {
      addresses.dispose()
      throw error
    }
  }

  #install({ fence }: Kernel, wanted: readonly string[]): string {
    const error = fence.install(wanted)
    this.#fenced = error === ''
    for (const [device, link] of this.#links) if (link !== undefined && this.#fenced) fence.attach(device, link.index)
    if (this.#fenced) {
      const { owned, restartInPlace, egressError } = fence.abilities
      this.#log('info', 'fence set up', { ownTable: owned, renewInPlace: restartInPlace, egressError })
    }
    return error
  }

  /** The tables are gone. Sets them up again, closed; false when that failed. */
  #fenceLost(): boolean {
    this.#fenced = false
    const wanted = this.#specs.filter(({ announcer }) => announcer === 'kernel').map(({ address }) => address)
    const error = this.#kernel === undefined ? 'no permission' : this.#install(this.#kernel, wanted)
    this.#log('error', 'the fence was removed by another program', { restored: error === '', error })
    if (error !== '') this.#setUpRetry = setTimeout(() => this.#setUp(), setUpRetryMs)
    return error === ''
  }

  #pollLinks(): void {
    if (this.#kernel?.addresses.linksChanged() === true) this.#lookAtLinks()
  }

  #lookAtLinks(): void {
    const kernel = this.#kernel
    if (kernel === undefined) return
    const egressBefore = kernel.fence.abilities.egressError
    for (const device of new Set(this.#specs.filter(({ announcer }) => announcer === 'kernel').map((spec) => spec.interface))) {
      if (device === '') continue
      const link = kernel.addresses.link(device)
      this.#links.set(device, link)
      if (link !== undefined) kernel.fence.attach(device, link.index)
      const error = link === undefined ? `there is no interface ${device}` : link.running ? '' : `interface ${device} is down`
      this.#handle({ type: 'link', interface: device, error })
    }
    const { egressError } = kernel.fence.abilities
    if (egressError !== egressBefore) this.#log('info', `announcements are guarded by the lease check alone: ${egressError}`)
  }

  // — bookkeeping —

  /** Wakes up for the end of the lease and for the next announcement. */
  #arm(): void {
    clearTimeout(this.#wake)
    if (this.#stopped || this.#desired.wakeMs === Infinity) return
    this.#wake = setTimeout(() => this.#handle({ type: 'tick' }), Math.max(0, Math.ceil(this.#desired.wakeMs - performance.now())))
  }

  #show(name: string): Shown {
    const shown = this.#shown.get(name) ?? { state: 'released', error: '', sinceEpochMs: Date.now(), announcements: 0 }
    this.#shown.set(name, shown)
    return shown
  }

  #tell(): void {
    let changed = false
    for (const { spec, state, error } of this.#desired.states) {
      const shown = this.#show(spec.name)
      if (shown.state === state && shown.error === error) continue
      if (shown.state !== state) shown.sinceEpochMs = Date.now()
      shown.state = state
      shown.error = error
      changed = true
      this.#log(state === 'failed' ? 'error' : 'info', `VIP ${spec.name} (${spec.address}): ${state}${error === '' ? '' : `: ${error}`}`)
    }
    if (!changed) return
    const status = this.status()
    for (const listener of this.#listeners) listener(status)
  }
}

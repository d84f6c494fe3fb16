/**
 * What the rest of Haechi sees of VIP handling. Knows leases and addresses, nothing of Raft or HTTP.
 * All instants are milliseconds of this process's `performance.now()` (CLOCK_MONOTONIC) clock.
 */

/** A VIP as wanted by the configuration, already resolved for this node. */
export interface VipSpec {
  readonly name: string
  /** Textual IPv4 or IPv6 address, canonical form. */
  readonly address: string
  readonly prefixLength: number
  /** Interface that gets the address. */
  readonly interface: string
  /** `kernel`: address + fence + ARP/NA (needs CAP_NET_ADMIN and CAP_NET_RAW). `bind`: unprivileged loopback mode, the
   *  holder alone listens on the address; an exclusive UDP socket on `bindLockPort` of the VIP is the lock. */
  readonly announcer: 'kernel' | 'bind'
}

/** `released`: not ours. `acquiring`: fence opening, address being added. `held`. `failed`: wanted but cannot (see `error`). */
export type VipState = 'released' | 'acquiring' | 'held' | 'failed'

export interface VipStatus {
  readonly name: string
  readonly address: string
  readonly state: VipState
  /** Wall-clock milliseconds since the epoch when it entered the state (for people only). */
  readonly sinceEpochMs: number
  /** Milliseconds of kernel-enforced lease left at the time of the call; 0 when none. */
  readonly fenceRemainingMs: number
  readonly announcements: number
  readonly error: string
}

/** Right to answer until `untilMs`; null: none. */
export type VipLease = { readonly term: number; readonly untilMs: number } | null

export interface VipManager {
  /** Declares the wanted VIPs (idempotent; reconciles: removed VIPs are closed, then their address removed). The fence
   *  guards every listed address from this call on, whether or not there is a lease. */
  configure(vips: readonly VipSpec[]): Promise<void>
  /** New or renewed lease, or null. Renewal is synchronous down to the kernel (netlink from this thread). Only when
   *  `fit` is true are VIPs acquired. */
  lease(lease: VipLease): void
  /** Whether this node can serve (child up, proxy listening). False: close the fence, withdraw addresses. */
  setFit(fit: boolean): void
  /** Closes the fence for all VIPs now; resolves when the kernel has confirmed (bind mode: when the listeners' owner
   *  has confirmed). No renewal opens it again before the next `lease()` with a higher term. */
  close(): Promise<void>
  status(): readonly VipStatus[]
  /** Called on every state change of any VIP. In bind mode the listeners follow this. */
  onChange(listener: (status: readonly VipStatus[]) => void): void
  /** close(), remove addresses, delete the nftables table only if no VIP of ours is left guarded. */
  stop(): Promise<void>
}

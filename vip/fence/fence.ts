/**
 * The kernel-enforced lease. Guarded addresses are closed unless an element with a timeout says otherwise, and the kernel
 * removes that element without anybody's help. Every call is one nf_tables transaction, committed before it returns.
 *
 * Promise of `open`: when it returns empty, the kernel closes the fence no later than `untilMs`. A transaction can be late (the
 * process was paused, or another program held the kernel's nf_tables lock), and the kernel counts from its own moment. So each
 * attempt asks for a little less than the rest of the lease and is good only if it took no longer than that.
 */
import { acknowledged, Netlink, NETLINK_NETFILTER, netlinkMessage, NLM_F_DUMP, NLM_F_REQUEST, refusalIn } from '../syscalls.ts'
import { addElements, batch, deleteTable, getElements, getTable, newSet, parseElements, typeOf, type Family, type NftMessage } from './nftables.ts'
import { addressOf, allFamilies, closeAll, defaultTable, egressChain, guard, keyOf, lease, tables, unguard } from './ruleset.ts'

/** What each attempt holds back of the lease, milliseconds: what it may take. */
const attemptMs = [1, 5, 20]
/** A shorter rest is not asked for: below a tick of the slowest kernel clock (10 ms) timeouts are rounded up. */
const shortestMs = 10
/** Stands for the timeout in a prepared batch; found again by its bytes. */
const placeholder = 0x1d7e_a5ed_b175

interface Prepared {
  readonly bytes: Buffer
  readonly last: number
  /** Offsets of the timeouts in `bytes`. */
  readonly timeouts: readonly number[]
}

export interface FenceOptions {
  readonly table?: string
  /** Milliseconds of the clock that leases are given in. */
  readonly clock: () => number
  /** Does without what Linux 6.9 and 6.12 brought (tables that belong to a socket, renewal in place). For tests. */
  readonly asOnOldKernels?: boolean
}

export class Fence {
  readonly #netlink = new Netlink(NETLINK_NETFILTER)
  readonly #table: string
  readonly #clock: () => number
  readonly #asOnOldKernels: boolean
  #families: readonly Family[] = []
  #sequence = 1
  readonly #guarded = new Set<string>()
  /** Egress chains by index of their device. */
  readonly #devices = new Map<number, string>()
  #restartInPlace = false
  #owned = false
  #egressError = ''

  #open: readonly string[] = []
  #untilMs = 0
  /** Batches for the current set of open addresses: with all sets emptied first, and in place. */
  #refill: Prepared | undefined
  #restart: Prepared | undefined

  /** @throws SyscallError when there is no such socket */
  constructor(options: FenceOptions) {
    this.#table = options.table ?? defaultTable
    this.#clock = options.clock
    this.#asOnOldKernels = options.asOnOldKernels ?? false
  }

  get guarded(): ReadonlySet<string> {
    return this.#guarded
  }
  /** The instant at which the kernel closes it (or has closed it); 0: closed by us. */
  get untilMs(): number {
    return this.#untilMs
  }
  /** For log and status: what this kernel offers. `egressError` is empty when announcements are guarded too. */
  get abilities(): { readonly owned: boolean; readonly restartInPlace: boolean; readonly egressError: string } {
    return { owned: this.#owned, restartInPlace: this.#restartInPlace, egressError: this.#egressError }
  }

  /**
   * Sets the tables up, closed, in place of what an earlier process left, in one transaction: there is no instant at which a
   * guarded address is open. What the earlier process guarded stays guarded (its address may still be there).
   * Returns an error for people, or empty.
   */
  install(addresses: readonly string[] = []): string {
    const before = allFamilies.filter((in_) => this.#request(getTable(in_, this.#table)) === '')
    const leftover = before.includes('inet') ? [...this.#list('guarded4'), ...this.#list('guarded6')] : []
    const guarded = [...new Set([...leftover, ...this.#guarded, ...addresses])]
    const remove = before.map((in_) => deleteTable(in_, this.#table))
    const withoutEgress = allFamilies.filter((in_) => in_ !== 'netdev')
    let error = ''
    for (const [families, owned] of [[allFamilies, true], [allFamilies, false], [withoutEgress, true], [withoutEgress, false]] as const) {
      if (owned && this.#asOnOldKernels) continue
      const result = this.#transact([...remove, ...tables(this.#table, families, guarded, owned)])
      if (result.code === '') {
        this.#families = families
        this.#owned = owned
        this.#egressError = families === allFamilies ? '' : 'this kernel has no nftables family netdev'
        this.#forget()
        this.#untilMs = 0
        this.#devices.clear()
        for (const address of guarded) this.#guarded.add(address)
        this.#restartInPlace = !this.#asOnOldKernels && this.#probeRestart()
        return ''
      }
      error = this.#explain(result)
      if (result.code === 'EPERM') break
    }
    return error
  }

  /** Guards more addresses. Returns an error for people, or empty. */
  guard(addresses: readonly string[]): string {
    const fresh = addresses.filter((address) => !this.#guarded.has(address))
    const result = this.#transact(guard(this.#table, this.#families, fresh))
    if (result.code !== '') return this.#explain(result)
    for (const address of fresh) this.#guarded.add(address)
    return ''
  }

  /** Only for addresses that are on no interface any more. */
  unguard(addresses: readonly string[]): string {
    const known = addresses.filter((address) => this.#guarded.has(address))
    const result = this.#transact(unguard(this.#table, this.#families, known))
    if (result.code !== '') return this.#explain(result)
    for (const address of known) this.#guarded.delete(address)
    return ''
  }

  /** Guards announcements out of a device as well. Not being able to is no error: see `abilities.egressError`. */
  attach(device: string, index: number): void {
    if (!this.#families.includes('netdev') || this.#devices.get(index) === device) return
    const result = this.#transact(egressChain(this.#table, device, index))
    if (result.code === '' || result.code === 'EEXIST') this.#devices.set(index, device)
    // The egress hook came with Linux 5.16 and can be left out of a kernel.
    else this.#egressError = `no egress hook on ${device} (${result.code})`
  }

  /**
   * Exactly these addresses may answer until `untilMs`, the others may not from now on. Returns empty, or why not: `EXPIRED` (too
   * little is left), `SLOW` (the kernel took too long, three times), or the kernel's error code, `ENOENT` when the table is gone.
   * On failure everything is closed as far as the kernel could be reached.
   */
  open(addresses: readonly string[], untilMs: number): string {
    const same = addresses.length === this.#open.length && addresses.every((address, index) => address === this.#open[index])
    if (same && untilMs === this.#untilMs && this.#clock() < untilMs) return ''
    if (!same) this.#forget()
    const inPlace = this.#restartInPlace && same
    let prepared = inPlace ? this.#restart : this.#refill
    if (prepared === undefined) {
      prepared = prepare(lease(this.#table, this.#families, addresses, placeholder, inPlace))
      if (inPlace) this.#restart = prepared
      else this.#refill = prepared
    }
    let failure = 'SLOW'
    for (const spareMs of attemptMs) {
      const before = this.#clock()
      const timeoutMs = Math.floor(untilMs - before) - spareMs
      if (timeoutMs < shortestMs) {
        failure = 'EXPIRED'
        break
      }
      for (const at of prepared.timeouts) prepared.bytes.writeBigUInt64BE(BigInt(timeoutMs), at)
      // Until proven otherwise it may be open: whoever closes must not take it for closed.
      this.#open = addresses
      this.#untilMs = Math.max(this.#untilMs, untilMs)
      const code = this.#commit(prepared.bytes, prepared.last).code
      if (code !== '') {
        failure = code
        break
      }
      if (this.#clock() - before <= spareMs) {
        this.#untilMs = untilMs
        return ''
      }
    }
    this.close()
    return failure
  }

  /** Ends every lease. Empty: the kernel has confirmed. Else the fence is closed only once `untilMs` has passed. */
  close(): string {
    const result = this.#transact(closeAll(this.#table, this.#families))
    if (result.code === '') {
      this.#forget()
      this.#untilMs = 0
    }
    return result.code
  }

  /** Removes the tables. Only when no guarded address is on an interface. */
  remove(): string {
    const result = this.#transact(this.#families.map((in_) => deleteTable(in_, this.#table)))
    if (result.code === '') {
      this.#guarded.clear()
      this.#forget()
      this.#untilMs = 0
    }
    return result.code
  }

  dispose(): void {
    this.#netlink.close()
  }

  /** Milliseconds after which each leased address closes, as the kernel says. For tests and diagnosis. */
  leased(): Map<string, number> {
    const found = new Map<string, number>()
    for (const set of ['lease4', 'lease6']) {
      for (const { key, expiresMs } of this.#elements(set)) if (expiresMs !== undefined) found.set(addressOf(key), expiresMs)
    }
    return found
  }

  #forget(): void {
    this.#open = []
    this.#refill = undefined
    this.#restart = undefined
  }

  /** Whether an element that is there starts anew when it is added again (Linux ≥ 6.12): found out by trying. */
  #probeRestart(): boolean {
    const set = 'probe'
    const element = (timeoutMs: number): NftMessage => addElements('inet', this.#table, set, [{ key: keyOf('192.0.2.1'), timeoutMs, restart: true }])
    if (this.#transact([newSet('inet', this.#table, set, 4, true, 1)]).code !== '') return false
    this.#transact([element(100_000)])
    this.#transact([element(200_000)])
    const [found] = this.#elements(set)
    this.#transact([{ ...newSet('inet', this.#table, set, 4, true, 1), kind: 'deleteSet', flags: 0 }])
    return found?.expiresMs !== undefined && found.expiresMs > 150_000
  }

  #list(set: string): string[] {
    return this.#elements(set).map(({ key }) => addressOf(key))
  }

  #elements(set: string): ReturnType<typeof parseElements> {
    const { kind, body } = getElements('inet', this.#table, set)
    if (this.#netlink.send(netlinkMessage(typeOf(kind), NLM_F_REQUEST | NLM_F_DUMP, this.#sequence++, body)) !== '') return []
    return this.#netlink.receive().filter(({ type }) => type === typeOf('newElements')).flatMap((answer) => parseElements(answer.body))
  }

  /** A question that is no transaction. Returns the error code, or empty. */
  #request({ kind, body }: NftMessage): string {
    const failed = this.#netlink.send(netlinkMessage(typeOf(kind), NLM_F_REQUEST, this.#sequence++, body))
    return failed || (refusalIn(this.#netlink.receive())?.code ?? '')
  }

  #transact(messages: readonly NftMessage[]): Outcome {
    if (messages.length === 0) return { code: '', atBegin: false }
    const first = this.#sequence
    const { bytes, last } = batch(messages, first)
    this.#sequence = last + 2
    return this.#commit(bytes, last, first)
  }

  #commit(bytes: Buffer, last: number, first?: number): Outcome {
    const failed = this.#netlink.send(bytes)
    if (failed !== '') return { code: failed, atBegin: false }
    const answers = this.#netlink.receiveUntil(last)
    const refusal = refusalIn(answers)
    if (refusal === undefined) return { code: acknowledged(answers, last) ? '' : 'ENOMSG', atBegin: false }
    this.#netlink.receive()
    return { code: refusal.code, atBegin: refusal.sequence === first }
  }

  #explain({ code, atBegin }: Outcome): string {
    if (code !== 'EPERM') return `the kernel refused the fence (nftables): ${code}`
    // Without the capability the whole batch is refused; with it, only what touches a table of somebody else.
    return atBegin
      ? 'no permission to change nftables: run as root or give CAP_NET_ADMIN and CAP_NET_RAW'
      : `the nftables table ${this.#table} belongs to another running process: stop that one first`
  }
}

interface Outcome {
  /** Empty, or the kernel's error. */
  readonly code: string
  /** The batch as such was refused, not a message in it. */
  readonly atBegin: boolean
}

/** A batch whose timeouts can be filled in. Its sequence numbers stay the same: each batch is answered before the next. */
function prepare(messages: readonly NftMessage[]): Prepared {
  const { bytes, last } = batch(messages, 1)
  const pattern = Buffer.alloc(8)
  pattern.writeBigUInt64BE(BigInt(placeholder))
  const timeouts: number[] = []
  for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 8)) timeouts.push(at)
  return { bytes, last, timeouts }
}

/** One client address and port of a UDP listener: its datagrams go to one member, whose answers go back. */
import { ascii } from '../http/bytes.ts'
import { chooseFor, type Stick } from '../persistence.ts'
import { SessionFacts } from '../filters/observer.ts'
import type { PoolRuntime } from '../pool.ts'
import type { MemberPlan } from '../route/table.ts'
import { MemberField } from '../shared.ts'
import type { DatagramOwner, DatagramSocket } from '../transport/datagrams.ts'
import type { UdpPort } from './port.ts'

export class UdpSession implements DatagramOwner {
  readonly key: string
  /** Of the limits by address, given back at its end. */
  readonly place: number
  /** Coarse time of the last datagram in either direction. */
  activeMs: number
  readonly #owner: UdpPort
  /** As the socket that listens names the client. */
  readonly #address: string
  readonly #port: number
  /** Its IPv4 address if it has one. */
  readonly #plain: string
  readonly #pool: PoolRuntime | undefined
  readonly #hash: number
  readonly #facts: SessionFacts
  readonly #tried: number[] = []
  #stick: Stick | undefined
  #index = -1
  #socket: DatagramSocket | undefined
  /** Datagrams of the client, and answers, since the session began. */
  #datagrams = 0
  #answers = 0
  #ended = false

  constructor(owner: UdpPort, key: string, address: string, port: number, plain: string, place: number) {
    const { listener, runtime } = owner
    this.#owner = owner
    this.key = key
    this.place = place
    this.#address = address
    this.#port = port
    this.#plain = plain
    this.activeMs = runtime.nowMs
    this.#pool = listener.pools[listener.plan.pool]
    this.#facts = new SessionFacts(this.#pool, listener.observer)
    this.#hash = this.#pool?.keyOfAddress(ascii(plain)) ?? 0
  }

  /** Where its datagrams go; undefined while there is none. */
  get member(): MemberPlan | undefined {
    return this.#index < 0 ? undefined : this.#pool!.plan.members[this.#index]
  }

  /** A datagram of the client. */
  send(data: Buffer): void {
    const { runtime, listener } = this.#owner
    this.activeMs = runtime.nowMs
    this.#datagrams++
    this.#facts.bytesIn += data.length
    if (this.#socket === undefined && !this.#connect()) return
    if (this.#socket?.send(data, '', 0) === false) runtime.error(listener, 'udp-dropped')
  }

  /** @returns false: there is no member, and the session has ended */
  #connect(): boolean {
    const { runtime, listener, datagrams, port } = this.#owner
    const pool = this.#pool
    const refusal = pool?.health.gated === true ? pool.health.refuses() : ''
    if (refusal !== '' || pool === undefined) return this.#refuse(refusal === '' ? 'no-member-available' : refusal)
    for (;;) {
      ;[this.#index, this.#stick] = chooseFor(this.#plain, this.#stick, pool, this.#tried, this.#hash)
      if (this.#index < 0) return this.#refuse(this.#tried.length === 0 ? 'no-member-available' : 'member-connect-failed')
      const member = pool.plan.members[this.#index]!
      try {
        this.#socket = datagrams.connect(member.address, listener.plan.layer4.samePort ? port : member.port, this)
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'EMFILE' || code === 'ENFILE') {
          this.#leaveMember()
          return this.#refuse('descriptor-limit')
        }
        // No route to it, say.
        this.#memberFailed()
        if (this.#tried.length > pool.plan.retries) return this.#refuse('member-connect-failed')
        continue
      }
      this.#facts.chosen(this.#index)
      runtime.shared.countDescriptors(1)
      runtime.shared.addMember(member.slot, MemberField.requests, 1)
      return true
    }
  }

  #refuse(code: Parameters<UdpPort['runtime']['error']>[1]): false {
    this.#owner.runtime.error(this.#owner.listener, code)
    this.#facts.code = code
    this.end()
    return false
  }

  /** An answer of the member. */
  received(data: Buffer): void {
    if (this.#ended) return
    const { runtime, listener } = this.#owner
    this.activeMs = runtime.nowMs
    if (this.#answers === 0 && this.#pool?.health.counts === true) this.#pool.health.succeeded(this.member!.slot)
    this.#answers++
    this.#facts.bytesOut += data.length
    this.#owner.answer(data, this.#address, this.#port)
    const { udpResponses } = listener.plan.layer4
    if (udpResponses > 0 && this.#answers >= udpResponses * this.#datagrams) this.end()
  }

  /** The member's host says that nobody listens there: what the client sends next goes to another one. */
  failed(): void {
    if (this.#ended || this.#index < 0) return
    this.#memberFailed()
    if (this.#tried.length > this.#pool!.plan.retries) this.#refuse('member-connect-failed')
  }

  #memberFailed(): void {
    const pool = this.#pool!
    const { slot } = pool.plan.members[this.#index]!
    this.#owner.runtime.shared.addMember(slot, MemberField.connectFailures, 1)
    if (pool.health.counts) pool.health.failed(slot)
    if (pool.measures) this.#owner.runtime.shared.recordFailure(slot)
    this.#tried.push(this.#index)
    this.#leaveMember()
  }

  #leaveMember(): void {
    const { shared } = this.#owner.runtime
    if (this.#socket !== undefined) {
      this.#socket.close()
      this.#socket = undefined
      shared.countDescriptors(-1)
    }
    if (this.#index >= 0) this.#pool!.release(this.#index)
    this.#index = -1
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#leaveMember()
    this.#facts.finish(undefined, ascii(this.#plain))
    this.#owner.forget(this)
  }
}

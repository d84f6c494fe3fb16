/** The head of a request as it goes to a member, with all that a route and the listener change in it; kept until its answer begins, in case it has to be sent again. */
import type { Observer } from '../filters/observer.ts'
import { markBytes } from '../filters/request-id.ts'
import type { ListenerRuntime, Runtime } from '../runtime.ts'
import type { Action } from './action.ts'
import type { ExchangeClient } from './exchange-client.ts'
import type { Head } from './head.ts'
import { headRoomBytes, writeRequestHead } from './rewrite.ts'
import { normalTarget } from './rewriting.ts'

/** One larger than this is kept no longer than its exchange. */
const keepHeadBytes = 4096

const nothing = Buffer.alloc(0)

export class MemberHead {
  /** `[0, length)` is the head. */
  bytes: Buffer = nothing
  length = 0

  /**
   * Writes the head for a request that was just matched.
   * @param memberHost Host for a request that brings none
   * @returns false: the route would make a target of it that is too long for one
   */
  write(runtime: Runtime, listener: ListenerRuntime, client: ExchangeClient, action: Action, observer: Observer, head: Head, buffer: Buffer, memberHost: Uint8Array): boolean {
    const { marks } = observer
    let target: Buffer | undefined
    if (action.changesTarget) {
      const { matcher } = listener
      const changed = action.rewriting === undefined ? (matcher.pathChanged ? normalTarget(head, buffer, matcher) : undefined) : action.rewriting.target(head, buffer, matcher)
      if (changed === null) return false
      target = changed
    }
    const { requestEdits, host } = action
    if (host.length > 0) head.replaceHost()
    requestEdits?.drop(head, buffer)
    const room = head.end - head.start + headRoomBytes + markBytes + (target?.length ?? 0) + host.length + (requestEdits?.size ?? 0) + (client.certificateFields?.length ?? 0)
    if (this.bytes.length < room) this.bytes = Buffer.allocUnsafe(Math.max(2048, room))
    this.length = writeRequestHead(this.bytes, head, buffer, {
      client: client.address,
      via: head.minor === 0 ? runtime.via10 : runtime.via,
      defaultHost: host.length > 0 ? host : memberHost,
      replaceForwarded: listener.plan.replaceForwarded,
      secure: client.secure,
      certificateFields: client.certificateFields,
      target,
    })
    if (requestEdits !== undefined) this.length = requestEdits.append(this.bytes, this.length)
    if (marks.on) this.length = marks.append(this.bytes, this.length)
    return true
  }

  /** Between exchanges: no large buffer. */
  rest(): void {
    if (this.bytes.length > keepHeadBytes) this.bytes = nothing
  }
}

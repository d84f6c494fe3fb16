/**
 * What one worker works with: the listeners in force; the transport; shared memory; the coarse clock; and the list of
 * everything that has a deadline.
 */
import { ascii } from './http/bytes.ts'
import { Head } from './http/head.ts'
import type { PoolRuntime } from './pool.ts'
import { Matcher, type ListenerPlan, type MemberPlan } from './route/table.ts'
import type { ErrorCode, Shared } from './shared.ts'
import type { Connection, Transport } from './transport/transport.ts'

/** Largest piece that is copied and written at once: a read of the transport and a head. */
export const scratchBytes = 64 * 1024 + 70 * 1024

/** Deadlines are looked at this often; a timeout is late by at most this. */
export const sweepEveryMs = 100

/** Something with a deadline. */
export interface Timed {
  /** Called at every sweep with the coarse clock. */
  sweep(nowMs: number): void
}

/** A listener in force. The object stays while the listener does; `plan` and `matcher` follow the newest table. */
export class ListenerRuntime {
  plan: ListenerPlan
  matcher: Matcher
  pools: readonly PoolRuntime[]
  /** Removed: connections end after what they are doing. */
  closing = false

  constructor(plan: ListenerPlan, pools: readonly PoolRuntime[]) {
    this.plan = plan
    this.pools = pools
    this.matcher = new Matcher(plan, ascii)
  }

  update(plan: ListenerPlan, pools: readonly PoolRuntime[]): void {
    this.plan = plan
    this.pools = pools
    this.matcher = new Matcher(plan, ascii)
  }
}

export class Runtime {
  readonly transport: Transport
  readonly shared: Shared
  /** For `Via`, after a message of HTTP/1.1 and of HTTP/1.0 (RFC 9110 §7.6.3: the protocol that it was received with). */
  readonly via: Buffer
  readonly via10: Buffer
  /** Coarse: milliseconds, moved on by every sweep. */
  nowMs: number
  readonly timed = new Set<Timed>()
  readonly requestHead = new Head()
  readonly responseHead = new Head()
  /** For building what is written at once. Replaced when the kernel did not take it. */
  scratch: Buffer = Buffer.allocUnsafeSlow(scratchBytes)

  constructor(transport: Transport, shared: Shared, nodeId: string, nowMs: number) {
    this.transport = transport
    this.shared = shared
    this.via = ascii(`1.1 ${nodeId}`)
    this.via10 = ascii(`1.0 ${nodeId}`)
    this.nowMs = nowMs
  }

  sweep(nowMs: number): void {
    this.nowMs = nowMs
    for (const one of this.timed) one.sweep(nowMs)
  }

  /** Writes `[0, length)` of the scratch buffer. */
  writeScratch(connection: Connection, length: number): boolean {
    // While a connection holds bytes, each further piece would hold a whole scratch buffer: many small ones would cost much.
    if (!connection.flushed) return connection.write(Buffer.from(this.scratch.subarray(0, length)))
    const ok = connection.write(this.scratch.subarray(0, length))
    if (!connection.flushed) this.scratch = Buffer.allocUnsafeSlow(scratchBytes)
    return ok
  }

  /** Copies a piece that is valid only now and writes it. Pieces are at most one read of the transport. */
  forward(connection: Connection, buffer: Buffer, start: number, end: number): boolean {
    let ok = true
    for (let at = start; at < end; ) {
      const to = Math.min(end, at + scratchBytes)
      buffer.copy(this.scratch, 0, at, to)
      ok = this.writeScratch(connection, to - at)
      at = to
    }
    return ok
  }

  error(listener: ListenerRuntime, code: ErrorCode): void {
    this.shared.addError(listener.plan.slot, code)
  }
}

export function sameMember(a: MemberPlan, b: MemberPlan): boolean {
  return a.slot === b.slot && a.address === b.address && a.port === b.port
}

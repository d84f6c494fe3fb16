/** What an exchange and the connection of its client know of each other. */
import type { ErrorCode } from '../shared.ts'
import type { Connection } from '../transport/transport.ts'

/** Where an exchange is. `none`: there is none. */
export const Phase = { none: 0, connecting: 1, awaited: 2, body: 3 } as const

/** What an exchange needs of the connection that it answers to. */
export interface ExchangeClient {
  readonly connection: Connection
  /** Its address as text, in bytes. */
  readonly address: Uint8Array
  /** It is inside TLS. */
  readonly secure: boolean
  /** What members learn of its certificate; undefined: nothing. */
  readonly certificateFields: Uint8Array | undefined
  /** The connection ends after this exchange. */
  lastExchange: boolean
  /** The kernel did not take the last write to the client: no next exchange before it has, or what is unread would pile up. */
  congested: boolean
  /** The whole request has been passed on. */
  readonly requestComplete: boolean
  /** Coarse time at which something last moved, for the deadlines. */
  activeMs: number
  /** There is no connection to a member yet: the body has to wait. */
  memberAwaited(): void
  /** There is one. */
  memberReady(): void
  /** The member takes more of the body. */
  memberDrained(): void
  /** The answer is complete. */
  exchangeDone(): void
  /** There will be no answer of a member, or not all of it. */
  exchangeFailed(code: ErrorCode): void
  /** From here on the two connections are a tunnel; `over` is to be called at its end. */
  exchangeSwitched(member: Connection, slot: number, over: () => void): void
}

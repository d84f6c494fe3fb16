/** When the keys of TLS session tickets (RFC 8446 §4.6.1, RFC 5077) are made anew. Pure. */
import type { StoredTicketKeys } from '../state/types.ts'

/** Name, HMAC key and AES key of a ticket, as Node's `ticketKeys` takes them. */
export const ticketKeyBytes = 48
/**
 * Whoever gets hold of a key can read what was resumed with it, so a key does not live long. Node keeps one key at a time: at a
 * rotation each client that comes back makes one full handshake.
 */
export const rotateEveryMs = 12 * 3600_000

export interface TicketKeyAge {
  readonly keys: StoredTicketKeys | undefined
  /** The configuration has listeners that end TLS. */
  readonly needed: boolean
  /** How long this node has known this generation, monotonic milliseconds. */
  readonly seenMs: number
  /** Wall clock: a node that has just started does not know how old the keys are but for it. */
  readonly nowEpochMs: number
}

export function ticketKeysDue({ keys, needed, seenMs, nowEpochMs }: TicketKeyAge): boolean {
  if (!needed) return false
  return keys === undefined || Math.max(seenMs, nowEpochMs - keys.atEpochMs) >= rotateEveryMs
}

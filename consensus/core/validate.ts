/**
 * Whether a message from the network has the shape that the core relies on. A peer that is broken or of another version
 * must not be able to crash a heart: what fails here is counted and dropped. Pure.
 */
import { decodeMembership, isMembership } from './membership.ts'
import type { Entry, Message, NodeId } from './types.ts'

/** Far beyond any real term or index, and far from where doubles lose integers. */
const maxNumber = 2 ** 52

/** Entries in one append message that are accepted; a leader sends at most 256. */
const maxEntries = 4096

export function isValidMessage(message: Message, self: NodeId): boolean {
  if (typeof message !== 'object' || message === null) return false
  if (typeof message.from !== 'string' || message.from === '' || message.from === self || message.to !== self) {
    return false
  }
  if (!isCount(message.term)) return false
  switch (message.type) {
    case 'pre-vote':
      return message.term > 0 && isCount(message.lastIndex) && isCount(message.lastTerm)
    case 'vote':
      return message.term > 0 && isCount(message.lastIndex) && isCount(message.lastTerm)
        && typeof message.transfer === 'boolean'
    case 'pre-vote-reply':
    case 'vote-reply':
      return typeof message.granted === 'boolean'
    case 'heartbeat':
      return message.term > 0 && isCount(message.sequence) && isCount(message.commit)
    case 'heartbeat-ack':
      return isCount(message.sequence) && isCount(message.lastIndex)
    case 'append':
      return message.term > 0 && isCount(message.prevIndex) && isCount(message.prevTerm) && isCount(message.commit)
        && message.prevTerm <= message.term && Array.isArray(message.entries)
        && message.count === message.entries.length
        && message.count <= maxEntries && areEntries(message.entries, message.prevIndex, message.prevTerm, message.term)
    case 'append-reply':
      return typeof message.ok === 'boolean' && isCount(message.matchIndex) && isCount(message.hintIndex)
        && isCount(message.hintTerm)
    case 'snapshot': {
      const { meta } = message
      return typeof meta === 'object' && meta !== null && message.term > 0 && isCount(meta.index) && meta.index > 0
        && isCount(meta.term) && meta.term <= message.term && isCount(meta.bytes) && isMembership(meta.membership)
    }
    case 'snapshot-reply':
      return typeof message.ok === 'boolean' && isCount(message.index)
    case 'timeout-now':
    case 'snapshot-request':
      return true
    default:
      return false
  }
}

/** The entries follow on `prevIndex` without a gap, terms do not fall and do not exceed the leader's. */
function areEntries(entries: readonly Entry[], prevIndex: number, prevTerm: number, term: number): boolean {
  let index = prevIndex
  let lastTerm = prevTerm
  for (const entry of entries) {
    index += 1
    if (entry.index !== index || !Number.isInteger(entry.term) || entry.term < lastTerm || entry.term > term) {
      return false
    }
    if (!(entry.data instanceof Uint8Array)) return false
    if (entry.type === 'membership') {
      if (decodeMembership(entry.data) === undefined) return false
    } else if (entry.type !== 'command' && entry.type !== 'noop') return false
    lastTerm = entry.term
  }
  return true
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < maxNumber
}

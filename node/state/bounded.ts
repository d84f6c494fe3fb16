/** The parts of the state that grow with use, each with its bound. The bounds are part of the state machine: every node
 *  drops the same entries at the same index. */
import { sha256Hex } from '../config/sha256.ts'
import type { AuditEntry, OutcomeCode } from './types.ts'

export const stateLimits = {
  /** Command ids remembered; session batches have as many of their own, so that a flood of them forgets no others. */
  commandIds: 10_000,
  auditEntries: 50_000,
  /** Texts of all audit entries, UTF-16 code units. */
  auditCharacters: 32 * 1024 * 1024,
  sessions: 1_000_000,
  users: 1000,
  tokens: 1000,
  certificates: 2000,
  /** Of one certificate: chain, sealed key, revocations. */
  certificateBytes: 256 * 1024,
  certificatesBytes: 16 * 1024 * 1024,
} as const

/** What became of a command. */
export interface Fate {
  readonly index: number
  readonly code: OutcomeCode
}

/** The last commands, so that one that was proposed twice is applied once. */
export class CommandIds {
  readonly #limit: number
  readonly #fates = new Map<string, Fate>()

  constructor(limit: number) {
    this.#limit = limit
  }

  get(id: string): Fate | undefined {
    return this.#fates.get(id)
  }

  add(id: string, fate: Fate): void {
    this.#fates.set(id, fate)
    if (this.#fates.size > this.#limit) this.#fates.delete(this.#fates.keys().next().value!)
  }

  /** Oldest first. */
  entries(): [string, Fate][] {
    return [...this.#fates]
  }
}

/**
 * The newest audit entries, and a digest over all there ever were: each digest covers the one before, so that equal
 * digests mean equal logs from the first entry on, dropped ones included.
 */
export class AuditLog {
  /** Dropped entries are undone in the array only now and then: copying it for each would cost more than the entry. */
  #entries: AuditEntry[] = []
  #dropped = 0
  #characters = 0
  #digest: string
  #total: number

  constructor(digest = '', total = 0) {
    this.#digest = digest
    this.#total = total
  }

  get digest(): string {
    return this.#digest
  }

  /** Entries ever added, dropped ones included. */
  get total(): number {
    return this.#total
  }

  add(entry: AuditEntry): void {
    this.#digest = sha256Hex(new TextEncoder().encode(`${this.#digest}\n${JSON.stringify(entry)}`))
    this.#total++
    this.restore(entry)
    while (this.#excessive()) this.#characters -= charactersOf(this.#entries[this.#dropped++]!)
    if (this.#dropped > 4096) {
      this.#entries = this.#entries.slice(this.#dropped)
      this.#dropped = 0
    }
  }

  #excessive(): boolean {
    const kept = this.#entries.length - this.#dropped
    return kept > stateLimits.auditEntries || (this.#characters > stateLimits.auditCharacters && kept > 1)
  }

  /** Puts back an entry that the digest covers already. */
  restore(entry: AuditEntry): void {
    this.#entries.push(entry)
    this.#characters += charactersOf(entry)
  }

  /** Oldest first. */
  entries(): readonly AuditEntry[] {
    return this.#entries.slice(this.#dropped)
  }

  /** At most `limit` entries, newest first; with an index below `before` when it is given. */
  page(before: number | undefined, limit: number): AuditEntry[] {
    const found: AuditEntry[] = []
    for (let at = this.#entries.length - 1; at >= this.#dropped && found.length < limit; at--) {
      const entry = this.#entries[at]!
      if (before === undefined || entry.index < before) found.push(entry)
    }
    return found
  }
}

function charactersOf({ action, detail, actor }: AuditEntry): number {
  return action.length + detail.length + actor.name.length + actor.from.length + actor.node.length + 64
}

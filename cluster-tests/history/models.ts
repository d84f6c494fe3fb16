/**
 * The objects whose histories are checked: a register that is changed by compare-and-swap on its revision (as the
 * configuration document is), and plain registers by key. Pure.
 */
import type { Model, Operation, Step } from './linearizability.ts'

/** A value and how often it has been changed. */
export interface Revisioned {
  readonly revision: number
  readonly value: string
}

export type CasOp =
  | { readonly kind: 'read' }
  /** Writes `value` as revision `expect + 1` if the revision is `expect`, else changes nothing. */
  | { readonly kind: 'write'; readonly expect: number; readonly value: string }
export type CasResult =
  | ({ readonly kind: 'read' } & Revisioned)
  | { readonly kind: 'written'; readonly revision: number }
  /** The revision was another one; `revision` says which, where it is known. */
  | { readonly kind: 'conflict'; readonly revision?: number }

const no: Step<never> = { ok: false }

/** The compare-and-swap register. Revisions only grow, which settles most operations of unknown outcome by itself. */
export function casRegister(initial: Revisioned): Model<Revisioned, CasOp, CasResult> {
  return {
    initial,
    key: ({ revision, value }) => `${revision}:${value}`,
    readOnly: (op) => op.kind === 'read',
    spent: (state, op) => op.kind === 'read' || op.expect < state.revision,
    step(state, op, result) {
      if (op.kind === 'read') {
        if (result === undefined) return { ok: true, next: state }
        return result.kind === 'read' && result.revision === state.revision && result.value === state.value ? { ok: true, next: state } : no
      }
      const matches = op.expect === state.revision
      const next: Revisioned = { revision: op.expect + 1, value: op.value }
      if (result === undefined) return { ok: true, next: matches ? next : state }
      if (result.kind === 'written') return matches && result.revision === next.revision ? { ok: true, next } : no
      if (result.kind !== 'conflict' || matches) return no
      return result.revision === undefined || result.revision === state.revision ? { ok: true, next: state } : no
    },
  }
}

export type RegisterOp =
  | { readonly kind: 'read'; readonly key: string }
  /** Write a value only once in a history: that makes checking fast, and a stale read impossible to mistake. */
  | { readonly kind: 'write'; readonly key: string; readonly value: string }
/** Of a read: the value, or null before the first write. Of a write: null. */
export type RegisterResult = string | null

/** Registers by key, each empty (null) at first. A write is always possible. */
export const registers: Model<string | null, RegisterOp, RegisterResult> = {
  initial: null,
  key: (state) => (state === null ? '' : `=${state}`),
  readOnly: (op) => op.kind === 'read',
  part: (op) => op.key,
  step(state, op, result) {
    if (op.kind === 'write') return { ok: true, next: op.value }
    return result === undefined || result === state ? { ok: true, next: state } : no
  },
  prepare: boundUnknownWrites,
}

/**
 * A write of unknown outcome whose value nobody ever read may as well not have happened: it is left out. One whose value
 * was read, and that nobody else wrote, had happened when the first such read completed.
 */
function boundUnknownWrites(
  history: readonly Operation<RegisterOp, RegisterResult>[],
): readonly Operation<RegisterOp, RegisterResult>[] {
  const firstRead = new Map<string, number>()
  const writers = new Map<string, number>()
  for (const { op, result, completeMs } of history) {
    if (op.kind === 'write') writers.set(op.value, (writers.get(op.value) ?? 0) + 1)
    else if (completeMs !== undefined && typeof result === 'string') {
      firstRead.set(result, Math.min(completeMs, firstRead.get(result) ?? Infinity))
    }
  }
  return history.flatMap((operation) => {
    const { op, completeMs } = operation
    if (op.kind === 'read' || completeMs !== undefined) return [operation]
    const read = firstRead.get(op.value)
    if (read === undefined) return []
    return [writers.get(op.value) === 1 ? { ...operation, completeMs: read } : operation]
  })
}

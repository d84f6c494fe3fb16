/**
 * The draft: one edited copy of the whole configuration document, kept in this browser tab across pages and sign-ins
 * until it is applied or discarded. It remembers the revision it started from, so that nothing is overwritten unseen.
 */
import { useSyncExternalStore } from 'react'
import type { ConfigView, ConfigurationDocument } from '../../../node/api/types.ts'
import { differences, sameValue, type Difference } from './difference.ts'

export interface Draft {
  /** The revision that was edited. */
  readonly base: ConfigView
  readonly document: ConfigurationDocument
  readonly differences: readonly Difference[]
  readonly canUndo: boolean
  readonly canRedo: boolean
}

interface Kept {
  readonly base: ConfigView
  readonly document: ConfigurationDocument
}

const storageKey = 'haechi.draft'
/** Keystrokes in one field closer together than this are one step of undo, milliseconds. */
const strokeMs = 2_000
const undoLimit = 200

let undo: ConfigurationDocument[] = []
let redo: ConfigurationDocument[] = []
let lastField = ''
let lastEditEpochMs = 0
let draft: Draft | undefined = restore()
const listeners = new Set<() => void>()

function restore(): Draft | undefined {
  try {
    const text = sessionStorage.getItem(storageKey)
    if (text === null) return undefined
    const kept = JSON.parse(text) as Kept
    return { ...kept, differences: differences(kept.base.document, kept.document), canUndo: false, canRedo: false }
  } catch {
    return undefined
  }
}

function become(base: ConfigView | undefined, document?: ConfigurationDocument): void {
  if (base === undefined || document === undefined) {
    draft = undefined
    undo = []
    redo = []
    lastField = ''
  } else {
    const found = differences(base.document, document)
    const touched = found.length > 0 || undo.length > 0 || redo.length > 0
    draft = touched ? { base, document, differences: found, canUndo: undo.length > 0, canRedo: redo.length > 0 } : undefined
  }
  try {
    if (draft === undefined || draft.differences.length === 0) sessionStorage.removeItem(storageKey)
    else sessionStorage.setItem(storageKey, JSON.stringify({ base: draft.base, document: draft.document } satisfies Kept))
  } catch {
    // Too large for the browser's storage: the draft then lives as long as the page.
  }
  for (const listener of listeners) listener()
}

/**
 * Edits the draft, or begins one from `current`. `field`: edits of one field in quick succession are one step of undo;
 * empty: always a step of its own.
 */
export function edit(current: ConfigView, field: string, change: (document: ConfigurationDocument) => ConfigurationDocument): void {
  const live = draft !== undefined && (draft.differences.length > 0 || draft.base.revision === current.revision) ? draft : undefined
  const base = live?.base ?? current
  const before = live?.document ?? current.document
  if (live === undefined) undo = []
  const next = change(before)
  if (sameValue(before, next)) return
  const now = Date.now()
  const continues = field !== '' && field === lastField && now - lastEditEpochMs < strokeMs && undo.length > 0
  if (!continues) {
    undo = [...undo.slice(-undoLimit + 1), before]
  }
  lastField = field
  lastEditEpochMs = now
  redo = []
  become(base, next)
}

export function undoEdit(): void {
  const before = undo.at(-1)
  if (draft === undefined || before === undefined) return
  redo = [...redo, draft.document]
  undo = undo.slice(0, -1)
  lastField = ''
  become(draft.base, before)
}

export function redoEdit(): void {
  const next = redo.at(-1)
  if (draft === undefined || next === undefined) return
  undo = [...undo, draft.document]
  redo = redo.slice(0, -1)
  lastField = ''
  become(draft.base, next)
}

export function discardDraft(): void {
  become(undefined)
}

/** Carries the draft over to a newer revision. Its undo steps end here: they belong to the old one. */
export function moveDraft(base: ConfigView, document: ConfigurationDocument): void {
  undo = []
  redo = []
  lastField = ''
  become(base, document)
}

export function useDraft(): Draft | undefined {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    () => draft,
  )
}

/** A revision and its document as readers get them: read on demand, and never changed. */
import type { ConfigurationDocument } from '../config/schema.ts'
import type { RevisionMeta } from './snapshot.ts'
import type { Revision } from './types.ts'

/** Reads its document when it is asked for. */
export class StoredRevision implements Revision {
  readonly revision: number
  readonly author: string
  readonly from: string
  readonly atEpochMs: number
  readonly comment: string
  readonly rolledBackTo: number | null
  readonly hash: string
  readonly #read: () => ConfigurationDocument

  constructor(meta: RevisionMeta, read: () => ConfigurationDocument) {
    this.revision = meta.revision
    this.author = meta.author
    this.from = meta.from
    this.atEpochMs = meta.atEpochMs
    this.comment = meta.comment
    this.rolledBackTo = meta.rolledBackTo
    this.hash = meta.hash
    this.#read = read
  }

  get document(): ConfigurationDocument {
    return this.#read()
  }
}

/** Readers share the document: a change by one of them would make nodes differ. */
export function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) frozen(child)
  }
  return value
}

/** The memory of filters that outlives a change of the document: buckets of rate limits, and address sets that did not change. */
import { buildAddressSet, type AddressSetData } from './address-set.ts'
import type { FilterMemory } from './plan.ts'
import { allocateRateTable } from './rate-table.ts'

export class KeptFilterMemory implements FilterMemory {
  #tables = new Map<string, SharedArrayBuffer>()
  #nextTables = new Map<string, SharedArrayBuffer>()
  #sets = new Map<string, { readonly prefixes: readonly string[]; readonly set: AddressSetData }>()
  #nextSets = new Map<string, { readonly prefixes: readonly string[]; readonly set: AddressSetData }>()

  rateTable(name: string): SharedArrayBuffer {
    const table = this.#nextTables.get(name) ?? this.#tables.get(name) ?? allocateRateTable()
    this.#nextTables.set(name, table)
    return table
  }

  addressSet(name: string, prefixes: readonly string[]): AddressSetData {
    const known = this.#nextSets.get(name) ?? this.#sets.get(name)
    const kept = known !== undefined && same(known.prefixes, prefixes) ? known : { prefixes, set: buildAddressSet(prefixes) }
    this.#nextSets.set(name, kept)
    return kept.set
  }

  /** After a whole document has been compiled: what it does not name is forgotten. */
  settle(): void {
    this.#tables = this.#nextTables
    this.#nextTables = new Map()
    this.#sets = this.#nextSets
    this.#nextSets = new Map()
  }
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((prefix, i) => prefix === b[i]))
}
